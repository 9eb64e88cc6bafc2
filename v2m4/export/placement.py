"""From the reference camera's space to the world of the exported files.

Exported files are y-up. The video tells nothing about gravity, so the camera is taken to be level: its downward axis
becomes -y. The object is centred on the origin and about one unit large; the reference camera is described beside it,
so that rendering the file from there lands on the video's pixels.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from v2m4.animation import Animation
from v2m4.clip import Clip
from v2m4.files import write_atomically
from v2m4.geometry.camera import FOV_DEG

CAMERA_TO_GLTF = (1.0, -1.0, -1.0)
"""Half a turn about x: (x right, y down, z forward) becomes glTF's (x right, y up, z towards the viewer)."""


@dataclass(frozen=True)
class Placement:
    """world = scale * diag(CAMERA_TO_GLTF) * (camera-space point - centre)."""

    centre: tuple[float, float, float]
    scale: float

    @staticmethod
    def of(vertices: Tensor) -> Placement:
        """Centre of the box around all poses (K,V,3), and the scale that makes the median pose one unit large."""
        low, high = vertices.amin(dim=1), vertices.amax(dim=1)
        size = float((high - low).amax(dim=-1).median())
        x, y, z = ((low.amin(0) + high.amax(0)) / 2).tolist()
        return Placement((x, y, z), 1.0 / size if size > 0 else 1.0)

    def to_world(self, points: Tensor) -> Tensor:
        """Camera-space points (…,3) in the exported file's world."""
        turn = torch.tensor(CAMERA_TO_GLTF, dtype=points.dtype, device=points.device)
        centre = torch.tensor(self.centre, dtype=points.dtype, device=points.device)
        return (points - centre) * (turn * self.scale)

    def world_to_camera(self) -> NDArray[np.float64]:
        """(4,4) rigid matrix of the reference camera (OpenCV axes) in the exported file's world.

        Its camera space is the method's own times ``scale``, which projects to the same pixels.
        """
        matrix = np.diag([*CAMERA_TO_GLTF, 1.0])
        matrix[:3, 3] = np.asarray(self.centre) * self.scale
        return matrix


def camera_description(animation: Animation, clip: Clip, fov_deg: float = FOV_DEG) -> dict[str, Any]:
    """The reference camera in the exported world, as `write_camera` stores it.

    ``fov_deg`` spans the processed square picture, ``width`` = ``height`` = its side in pixels; ``image_to_frame``
    (3,3) maps its pixels to those of the source video. ``world_to_camera``: OpenCV axes.
    """
    return {
        "fov_deg": fov_deg,
        "world_to_camera": Placement.of(animation.vertices).world_to_camera().tolist(),
        "convention": "opencv",
        "width": clip.side,
        "height": clip.side,
        "image_to_frame": clip.image_to_frame().tolist(),
        "frame_width": clip.source_size[0],
        "frame_height": clip.source_size[1],
    }


def write_camera(path: Path, animation: Animation, clip: Clip, fov_deg: float = FOV_DEG) -> None:
    """Write the reference camera as JSON beside the GLB (`camera_description`)."""
    write_atomically(path, json.dumps(camera_description(animation, clip, fov_deg), indent=1).encode())
