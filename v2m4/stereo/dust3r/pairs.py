"""Every ordered pair of a set of images through the network, each image encoded once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from v2m4.stereo.dust3r.model import AsymmetricCroCo3DStereo, Encoded


@dataclass
class PairPredictions:
    """Point maps of E ordered pairs; those of pair e are in the camera frame of image `edges[e, 0]`.

    edges: (E, 2) on the CPU. points: (E, H, W, 3); confidence: (E, H, W), above 1.
    """

    edges: Tensor
    points1: Tensor
    confidence1: Tensor
    points2: Tensor
    confidence2: Tensor

    @property
    def image_count(self) -> int:
        """How many images the edges speak of."""
        return int(self.edges.max()) + 1

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the images."""
        return self.points1.shape[1], self.points1.shape[2]

    def confidence_per_image(self) -> Tensor:
        """(N, H, W) the highest confidence that any pair gives each pixel of each image."""
        best = self.confidence1.new_zeros(self.image_count, *self.size)
        for e, (i, j) in enumerate(self.edges.tolist()):
            torch.maximum(best[i], self.confidence1[e], out=best[i])
            torch.maximum(best[j], self.confidence2[e], out=best[j])
        return best


def complete_graph(images: int) -> Tensor:
    """(images * (images - 1), 2) all ordered pairs: (i, j) with j < i, row by row, then the same ones swapped."""
    one_way = torch.tril_indices(images, images, offset=-1).T
    return torch.cat([one_way, one_way.flip(1)])


@torch.no_grad()
def predict_pairs(
    model: AsymmetricCroCo3DStereo, images: Tensor, edges: Tensor, pairs_per_batch: int, images_per_head: int
) -> PairPredictions:
    """Run `edges` (E, 2) of `images` (N, 3, H, W) in [-1, 1] through `model`.

    Each image is encoded once. `pairs_per_batch` pairs share a pass of the decoders, `images_per_head` maps a pass of
    the heads; both only bound memory.
    """
    tokens, grid = model.encode(images)
    height, width = images.shape[2:]
    count = len(edges)
    predictions = PairPredictions(
        edges.cpu(),
        *(
            torch.empty(count, height, width, *last, device=images.device, dtype=torch.float32)
            for last in ((3,), (), (3,), ())
        ),
    )
    outputs = (
        (predictions.points1, predictions.confidence1),
        (predictions.points2, predictions.confidence2),
    )
    on_device = edges.to(images.device)
    for start in range(0, count, pairs_per_batch):
        batch = on_device[start : start + pairs_per_batch]
        lists = model.decode(Encoded(tokens[batch[:, 0]], grid), Encoded(tokens[batch[:, 1]], grid))
        for view, (token_lists, (points, confidence)) in enumerate(zip(lists, outputs, strict=True), start=1):
            for first in range(0, len(batch), images_per_head):
                part = slice(first, first + images_per_head)
                target = slice(start + first, start + min(first + images_per_head, len(batch)))
                points[target], confidence[target] = model.maps(view, [t[part] for t in token_lists], grid)
    return predictions
