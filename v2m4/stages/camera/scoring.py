"""How well a camera shows the mesh as the frame does: the score of section 4.1, in batches."""

from __future__ import annotations

from collections.abc import Generator
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from v2m4.errors import V2M4Error
from v2m4.events import CameraView, Phase
from v2m4.geometry.camera import Camera
from v2m4.geometry.mesh import Mesh
from v2m4.perceptual import Perceptual
from v2m4.render import render_fast
from v2m4.render.pictures import render_rgba
from v2m4.settings import ScoreSettings

_VIEW_SIDE = 512  # pixels of the pictures that the events show


def premultiplied(reference: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(S,S,4) float32 in [0,1], colour premultiplied on black, of a square straight-alpha frame."""
    if reference.ndim != 3 or reference.shape[0] != reference.shape[1] or reference.shape[2] != 4:
        raise V2M4Error(
            f"The camera search needs a square RGBA frame (S,S,4), but got {reference.shape}. Pad it first."
        )
    frame = reference.astype(np.float32) / np.float32(255)
    frame[..., :3] *= frame[..., 3:]
    return frame


def resized(image: Tensor, size: int) -> Tensor:
    """(S,S,C) resampled to (size,size,C), averaging where it shrinks."""
    if image.shape[0] == size:
        return image
    planes = image.permute(2, 0, 1)[None]
    out = functional.interpolate(planes, size=(size, size), mode="bilinear", align_corners=False, antialias=True)
    return out[0].permute(1, 2, 0)


class Scorer:
    """Scores cameras of one mesh against one frame. What depends on the frame alone is computed once."""

    def __init__(
        self,
        mesh: Mesh,
        frame: NDArray[np.float32],
        settings: ScoreSettings,
        perceptual: Perceptual,
        device: torch.device,
    ) -> None:
        """frame: (S,S,4) premultiplied on black, from `premultiplied`. Raises V2M4Error if it shows no object."""
        if int((frame[..., 3] > 0.5).sum()) < settings.fewest_pixels:
            raise V2M4Error("The frame shows no object to search a camera for: its mask is empty. Check the matting.")
        self.mesh, self.settings, self.perceptual = mesh.to(device), settings, perceptual
        self.frame = torch.from_numpy(frame).to(device)
        small = resized(self.frame, settings.size)
        self.color, self.mask = small[..., :3], small[..., 3]
        self.mask_weight = settings.mask_weight * self.mask.numel() / float(self.mask.sum().clamp_min(1.0))
        self.prepared = perceptual.prepare(self.color)
        self.batch = 16 if device.type == "cpu" else 256
        # A GPU's libraries prepare themselves for every number of pictures, so that these should come back.
        self.together = 1 if device.type == "cpu" else 32

    @torch.no_grad()
    def score(self, camera: Camera) -> Tensor:
        """(N,) scores of a batch of cameras, lower is better: image_weight x the distance of the rendering inside the
        frame's mask from the frame, + mask_weight x the masks' mean squared difference x (pixels / mask pixels)."""
        w2c = camera.world_to_camera.to(self.frame.device)
        images = render_fast(self.mesh, Camera(w2c, camera.fov_deg), self.settings.size, ("mask", "color"))
        assert images.mask is not None and images.color is not None
        distance = self._distances(images.color * self.mask[..., None])
        difference = (images.mask - self.mask).square().mean((1, 2))
        return self.settings.image_weight * distance + self.mask_weight * difference

    def _distances(self, pictures: Tensor) -> Tensor:
        """(N,) of pictures (N,S,S,3). Many show nothing of the object within the mask: these are all alike, and one
        distance is theirs."""
        seen = (pictures != 0).flatten(1).any(1).nonzero()[:, 0]
        count = len(seen)
        if count == len(pictures):
            return self.perceptual(self.prepared, pictures)
        distance = self._of_nothing.expand(len(pictures))
        if not count:
            return distance
        room = min(len(pictures), -(-count // self.together) * self.together)
        asked = torch.cat([seen, seen[:1].expand(room - count)])
        return distance.index_copy(0, seen, self.perceptual(self.prepared, pictures[asked])[:count])

    @cached_property
    def _of_nothing(self) -> Tensor:
        """(1,) the distance of a black picture."""
        return self.perceptual(self.prepared, torch.zeros_like(self.color)[None])

    def score_all(self, camera: Camera) -> Generator[float, None, Tensor]:
        """`score` in batches, on the CPU; yields the share done after each, which a GPU may still be at."""
        parts = camera.world_to_camera.split(self.batch)
        scores = []
        for done, part in enumerate(parts):
            scores.append(self.score(Camera(part, camera.fov_deg)))
            yield (done + 1) / len(parts)
        return torch.cat(scores).cpu()

    @torch.no_grad()
    def overlap(self, camera: Camera) -> float:
        """Intersection over union of the camera's mask with the frame's."""
        size = self.settings.overlap_size
        drawn = render_fast(self.mesh, self._one(camera), size, ("mask",), supersample=2).mask
        assert drawn is not None
        seen = resized(self.frame[..., 3:], size)[..., 0]
        return float(torch.minimum(drawn[0], seen).sum() / torch.maximum(drawn[0], seen).sum().clamp_min(1e-6))

    @torch.no_grad()
    def view(self, camera: Camera, phase: Phase, keyframe: int, score: float) -> CameraView:
        """The event that shows what a phase has found."""
        side = min(self.frame.shape[0], _VIEW_SIDE)
        picture = render_rgba(self.mesh, self._one(camera), side)
        return CameraView(keyframe, phase, picture, score, self.overlap(camera))

    def _one(self, camera: Camera) -> Camera:
        return Camera(camera.world_to_camera.reshape(1, 4, 4).to(self.frame.device), camera.fov_deg)
