"""What a picture of a mesh can show: its colours, its normals, its mask, its depth, or its shape as lit clay."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import cv2
import numpy as np
import torch
from torch import Tensor

from v2m4.arrays import Bytes
from v2m4.color import linear_to_srgb, srgb_to_linear
from v2m4.errors import V2M4Error
from v2m4.geometry.camera import Camera
from v2m4.geometry.mesh import Mesh
from v2m4.render.environment import irradiance, irradiance_matrices, look_up, panorama_directions
from v2m4.render.fast import render_fast

Look = Literal["color", "normal", "mask", "depth", "clay"]
LOOKS: tuple[Look, ...] = get_args(Look)
OVER_BLACK = ("mask", "depth")
"""Looks that mean brightness: behind them is black, unless nothing is."""
_SUPERSAMPLE = 2
_CLAY = 0.5
_FARTHEST_GREY = 0.2  # of the depth: what is furthest differs from the background


@dataclass(frozen=True)
class Lighting:
    """A panorama (H,W,3), linear light, y up, +z towards the reference camera, and its irradiance (3,4,4)."""

    panorama: Tensor
    matrices: Tensor

    @staticmethod
    def of(panorama: Tensor) -> Lighting:
        """The lighting of a panorama, as bright as makes a white surface that faces the sky's mean just white."""
        matrices = irradiance_matrices(panorama)
        mean = float(irradiance(matrices, torch.eye(3)).mean()) / math.pi
        return Lighting(panorama, matrices / max(mean, 1e-9))

    @staticmethod
    def studio() -> Lighting:
        """A soft sky, brighter above and from where the camera stands."""
        x, y, z = panorama_directions(32, 64).unbind(-1)
        return Lighting.of((0.5 + 0.5 * y + 0.35 * z - 0.25 * x).clamp_min(0)[..., None].expand(-1, -1, 3))

    @staticmethod
    def read(path: Path) -> Lighting:
        """The panorama in a picture file, equirectangular; Radiance (.hdr) holds light, others sRGB."""
        data = cv2.imread(str(path), cv2.IMREAD_UNCHANGED) if path.is_file() else None
        if data is None or data.ndim != 3 or min(data.shape[:2]) < 2:
            raise V2M4Error(f"{path} is no panorama that can be read. Give an equirectangular .hdr, .png or .jpg.")
        picture = data[..., 2::-1].astype(np.float32)
        if data.dtype != np.float32:
            picture = srgb_to_linear(picture / (255 if data.dtype == np.uint8 else 65535))
        return Lighting.of(torch.from_numpy(np.ascontiguousarray(picture, np.float32)))


def picture(mesh: Mesh, camera: Camera, size: int, look: Look, depths: tuple[float, float], light: Lighting) -> Bytes:
    """(size,size,4) uint8 with straight alpha.

    depths: distances along the axis that are shown white and dark grey. normal: x to the right, y up, z towards the
    camera, each from [-1,1] to [0,255]. clay: lit by ``light``, which stands still while the camera travels.
    """
    want = {"color": ("mask", "color"), "normal": ("mask", "normal"), "clay": ("mask", "normal")}
    names = {**want, "mask": ("mask",), "depth": ("mask", "depth")}[look]
    images = render_fast(mesh, camera, size, names, supersample=_SUPERSAMPLE, smooth_normals=look == "clay")
    assert images.mask is not None
    alpha = images.mask[0, ..., None]  # (S, S, 1)
    if look == "color":
        assert images.color is not None
        shown = images.color[0] / alpha.clamp_min(1e-6)
    elif look in ("normal", "clay"):
        assert images.normal is not None
        world = torch.nn.functional.normalize(images.normal[0], dim=-1)
        shown = _colour_of(world, camera) if look == "normal" else _lit(world, light)
    elif look == "depth":
        assert images.depth is not None
        near, far = depths
        share = ((images.depth[0, ..., None] - near) / max(far - near, 1e-9)).clamp(0, 1)
        shown = (1 - (1 - _FARTHEST_GREY) * share).expand(-1, -1, 3)
    else:
        shown = torch.ones(size, size, 3)
    return (torch.cat([shown, alpha], dim=-1).clamp(0, 1) * 255).round().byte().numpy()


def backdrop(camera: Camera, size: int, light: Lighting) -> Bytes:
    """(size,size,3) the panorama as the camera sees it."""
    centre = (torch.arange(size) + 0.5) / size - 0.5
    y, x = torch.meshgrid(centre, centre, indexing="ij")
    rays = torch.stack([x / camera.focal, y / camera.focal, torch.ones_like(x)], dim=-1)  # (S, S, 3)
    world = _upright(rays @ camera.world_to_camera[:3, :3])
    linear = look_up(light.panorama, world).numpy().clip(0, 1)
    return (linear_to_srgb(linear) * 255).round().astype(np.uint8)


def _colour_of(normals: Tensor, camera: Camera) -> Tensor:
    seen = normals @ camera.world_to_camera[:3, :3].T
    return (seen * torch.tensor([1.0, -1.0, -1.0]) + 1) / 2


def _lit(normals: Tensor, light: Lighting) -> Tensor:
    linear = (_CLAY * irradiance(light.matrices, _upright(normals)) / math.pi).clamp(0, 1)
    return torch.from_numpy(linear_to_srgb(linear.numpy())).float()


def _upright(directions: Tensor) -> Tensor:
    """From the reference camera's axes (y down, z forward) to y up, z backward."""
    return directions * torch.tensor([1.0, -1.0, -1.0])
