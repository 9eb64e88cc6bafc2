"""nvdiffrast's fused operations, used on CUDA where the package is installed.

Its `RasterizeCudaContext` needs no display. Rows run as ours do: row 0 has y = -w.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor


@lru_cache(maxsize=16)
def context(device: int) -> Any:
    """nvdiffrast's context of a GPU: made once, on first use, in the process that uses it."""
    import nvdiffrast.torch as dr

    return dr.RasterizeCudaContext(device=torch.device("cuda", device))


def rasterize_cuda(clip: Tensor, faces: Tensor, height: int, width: int) -> Tensor:
    """(B,H,W,4) u, v, z/w and face index + 1 of clip (B,V,4)."""
    import nvdiffrast.torch as dr

    device = clip.device.index if clip.device.index is not None else torch.cuda.current_device()
    raster, _ = dr.rasterize(context(device), clip.float().contiguous(), _int32(faces), resolution=[height, width])
    return raster


def interpolate_cuda(attributes: Tensor, raster: Tensor, faces: Tensor) -> Tensor:
    """(B,H,W,C) attributes (V,C) or (B,V,C) at the pixels."""
    import nvdiffrast.torch as dr

    attributes = attributes if attributes.dim() == 3 else attributes[None]
    values, _ = dr.interpolate(attributes.float().contiguous(), raster, _int32(faces))
    return values


def antialias_cuda(image: Tensor, raster: Tensor, clip: Tensor, faces: Tensor) -> Tensor:
    """(B,H,W,C) with blended silhouettes."""
    import nvdiffrast.torch as dr

    return dr.antialias(image.float().contiguous(), raster, clip.float().contiguous(), _int32(faces))


def _int32(faces: Tensor) -> Tensor:
    return faces.to(torch.int32).contiguous()
