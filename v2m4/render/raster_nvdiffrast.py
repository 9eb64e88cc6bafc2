"""nvdiffrast's rasteriser and interpolation (Laine et al. 2020), used on CUDA where the package works.

Its `RasterizeCudaContext` needs no display. Rows run as ours do: row 0 has y = -w. It snaps vertices to a grid of
sixteenths of a pixel, so a pixel may belong to a face that its centre just misses. Silhouettes are blended by our own
`antialias`, whose docstring says why.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor

from v2m4.device import works


@cache
def nvdiffrast_works(device: torch.device) -> bool:
    """Whether nvdiffrast is installed and draws a triangle on ``device``; tried once per process."""

    def trial() -> None:
        corners = torch.tensor([[[-1.0, -1, 0, 1], [3, -1, 0, 1], [-1, 3, 0, 1]]], device=device)
        if int(rasterize_nvdiffrast(corners, torch.tensor([[0, 1, 2]], device=device), 8, 8)[0, 4, 4, 3]) != 1:
            raise RuntimeError("a triangle in front of the camera is not drawn")

    return device.type == "cuda" and works("nvdiffrast", trial)


@cache
def context(device: int) -> Any:
    """nvdiffrast's context of a GPU: made once, on first use, in the process that uses it."""
    import nvdiffrast.torch as dr

    return dr.RasterizeCudaContext(device=torch.device("cuda", device))


def rasterize_nvdiffrast(clip: Tensor, faces: Tensor, height: int, width: int) -> Tensor:
    """(B,H,W,4) u, v, z/w and face index + 1 of clip (B,V,4)."""
    import nvdiffrast.torch as dr

    device = clip.device.index if clip.device.index is not None else torch.cuda.current_device()
    raster, _ = dr.rasterize(context(device), clip.float().contiguous(), _int32(faces), resolution=[height, width])
    return raster


def interpolate_nvdiffrast(attributes: Tensor, raster: Tensor, faces: Tensor) -> Tensor:
    """(B,H,W,C) attributes (V,C) or (B,V,C) at the pixels."""
    import nvdiffrast.torch as dr

    attributes = attributes if attributes.dim() == 3 else attributes[None]
    values, _ = dr.interpolate(attributes.float().contiguous(), raster, _int32(faces))
    return values


def _int32(faces: Tensor) -> Tensor:
    return faces.to(torch.int32).contiguous()
