"""VGGT's world-point path (Wang et al., "VGGT: Visual Geometry Grounded Transformer", CVPR 2025, arXiv 2503.11651).

Backbone, point head and camera head; the depth and track heads of the checkpoint are not part of this path.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from v2m4.stereo.vggt.aggregator import Aggregator, AggregatorConfig
from v2m4.stereo.vggt.heads import CameraHead, PointHead, points_and_confidence

UNUSED_HEADS = ("depth_head.", "track_head.")


@dataclass(frozen=True)
class VggtConfig:
    """Sizes of the network; the defaults are those of VGGT-1B."""

    aggregator: AggregatorConfig = field(default_factory=AggregatorConfig)
    camera_trunk_depth: int = 4
    camera_num_heads: int = 16
    point_features: int = 256
    point_channels: tuple[int, ...] = (256, 512, 1024, 1024)
    point_levels: tuple[int, ...] = (4, 11, 17, 23)


class VggtOutput(NamedTuple):
    """World points (B, S, H, W, 3) in the first frame's camera frame, confidence > 1 (B, S, H, W), poses (B, S, 9)."""

    points: Tensor
    confidence: Tensor
    poses: Tensor


class Vggt(nn.Module):
    """S views of one scene, (B, S, 3, H, W) in [0, 1], sides multiples of 14, to `VggtOutput`."""

    def __init__(self, config: VggtConfig = VggtConfig()) -> None:
        super().__init__()
        self.config = config
        width = 2 * config.aggregator.embed_dim
        self.aggregator = Aggregator(config.aggregator)
        self.camera_head = CameraHead(width, config.camera_trunk_depth, config.camera_num_heads)
        self.point_head = PointHead(
            width,
            config.aggregator.patch_size,
            config.point_features,
            config.point_channels,
            config.point_levels,
        )

    def forward(self, images: Tensor, frames_per_batch: int = 8) -> VggtOutput:
        """The point head takes `frames_per_batch` frames at a time, which bounds memory and does not change results."""
        last = self.config.aggregator.depth - 1
        tokens = self.aggregator(images, {*self.config.point_levels, last})
        # The heads work in full precision whatever the backbone was run in: coordinates come out of an exponential.
        with torch.autocast(images.device.type, enabled=False):
            poses = self.camera_head(tokens[last][:, :, 0].float())[-1]
            parts = [
                points_and_confidence(self._raw_points(tokens, start, start + frames_per_batch, images))
                for start in range(0, images.shape[1], frames_per_batch)
            ]
        b = len(images)
        points, confidence = (torch.cat([part[k].unflatten(0, (b, -1)) for part in parts], dim=1) for k in (0, 1))
        return VggtOutput(points, confidence, poses)

    def _raw_points(self, tokens: Mapping[int, Tensor], start: int, stop: int, images: Tensor) -> Tensor:
        chunk = {level: tokens[level][:, start:stop] for level in self.config.point_levels}
        return self.point_head(chunk, self.aggregator.first_patch, (images.shape[3], images.shape[4]))


def world_point_part(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a full VGGT checkpoint that this path uses."""
    return {name: tensor for name, tensor in state_dict.items() if not name.startswith(UNUSED_HEADS)}
