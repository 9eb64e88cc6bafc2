"""Texture lookups, bilinear and mip-mapped, differentiable in the texture and the coordinates."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from v2m4.errors import V2M4Error
from v2m4.geometry.gather import gather_rows
from v2m4.render.raster import Raster, pixel_centres

Filter = Literal["bilinear", "mipmap"]


def sample_texture(
    texture: Tensor, uv: Tensor, uv_derivatives: Tensor | None = None, mode: Filter = "bilinear"
) -> Tensor:
    """Colours (…,C) of a texture (H,W,C) at coordinates (…,2); u to the right, v down, repeating beyond [0,1].

    Texel centres lie at (i + 0.5) / size, as in glTF. mode mipmap needs ``uv_derivatives`` (…,4): du/dx, du/dy,
    dv/dx, dv/dy per pixel of the image; it blends the two levels around the longer axis of the pixel's footprint.
    Gradients reach the texture and ``uv``; the level is held constant.
    """
    shape, flat = uv.shape[:-1], uv.reshape(-1, 2)
    if mode == "bilinear":
        table = texture.reshape(-1, texture.shape[-1])
        # Filled on the device: a copy from the host could not be part of a recorded step.
        size = torch.cat([torch.full((1, 1), n, device=uv.device) for n in (texture.shape[1], texture.shape[0])], dim=1)
        return _bilinear(table, torch.zeros_like(flat[:, 0], dtype=torch.long), size, flat).view(
            *shape, texture.shape[-1]
        )
    if uv_derivatives is None:
        raise V2M4Error("Mip-mapped texture lookups need the coordinates' derivatives; pass uv_derivatives.")
    levels = mip_levels(texture)
    sizes = torch.tensor([[t.shape[1], t.shape[0]] for t in levels], device=uv.device)
    starts = torch.cat([torch.zeros(1, dtype=torch.long, device=uv.device), sizes.prod(1).cumsum(0)[:-1]])
    table = torch.cat([t.reshape(-1, t.shape[-1]) for t in levels])
    level = footprint_level(uv_derivatives.reshape(-1, 4).detach(), texture.shape[0], texture.shape[1])
    level = level.clamp(0, len(levels) - 1)
    fine = level.floor().long()
    coarse = (fine + 1).clamp_max(len(levels) - 1)
    share = (level - fine)[:, None]
    low = _bilinear(table, starts[fine], sizes[fine], flat)
    high = _bilinear(table, starts[coarse], sizes[coarse], flat)
    return (low + share * (high - low)).view(*shape, texture.shape[-1])


def mip_levels(texture: Tensor) -> list[Tensor]:
    """The texture (H,W,C) and its successive halvings (area averages), down to one texel along the shorter side."""
    levels = [texture]
    while min(levels[-1].shape[:2]) > 1:
        image = levels[-1].permute(2, 0, 1)[None]
        half = functional.adaptive_avg_pool2d(image, (image.shape[2] // 2, image.shape[3] // 2))
        levels.append(half[0].permute(1, 2, 0))
    return levels


def footprint_level(derivatives: Tensor, height: int, width: int) -> Tensor:
    """(N,) mip level, from 0: log2 of the longer axis, in texels, of the ellipse a pixel covers in the texture."""
    ux, uy, vx, vy = (derivatives * derivatives.new_tensor([width, width, height, height])).unbind(-1)
    a, b, c = ux**2 + uy**2, ux * vx + uy * vy, vx**2 + vy**2
    longest = 0.5 * (a + c) + (0.25 * (a - c) ** 2 + b**2).sqrt()
    return 0.5 * longest.clamp_min(1.0).log2()


@torch.no_grad()
def uv_derivatives(raster: Raster, clip: Tensor, faces: Tensor, uv: Tensor, uv_faces: Tensor) -> Tensor:
    """(N,4) du/dx, du/dy, dv/dx, dv/dy per pixel step at the covered pixels; uv (T,2), uv_faces (F,3)."""
    _, height, width = raster.triangle.shape
    owned = raster.covered
    face = raster.triangle.reshape(-1)[owned]
    view, fx, fy = pixel_centres(owned, height, width, clip.dtype)
    p = gather_rows(clip.reshape(-1, 4), view[:, None] * clip.shape[1] + faces[face])
    x, y, w = p[..., 0] - fx[:, None] * p[..., 3], p[..., 1] - fy[:, None] * p[..., 3], p[..., 3]
    x1, y1, w1, x2, y2, w2 = (t.roll(-k, 1) for k in (1, 2) for t in (x, y, w))
    areas, by_x, by_y = x1 * y2 - y1 * x2, y1 * w2 - w1 * y2, w1 * x2 - x1 * w2
    total = areas.sum(1, keepdim=True)
    total = torch.where(total == 0, 1.0, total)
    corners = uv[uv_faces[face]]
    weights = areas / total
    grads = [
        ((d / total - weights * (d.sum(1, keepdim=True) / total))[..., None] * corners).sum(1) * step
        for d, step in ((by_x, 2.0 / width), (by_y, 2.0 / height))
    ]
    return torch.stack(grads, dim=-1).reshape(-1, 4)


def _bilinear(table: Tensor, start: Tensor, size: Tensor, uv: Tensor) -> Tensor:
    """(N,C) from a table of textures laid end to end; start (N,), size (N|1,2) as width, height."""
    at = uv * size - 0.5
    corner = at.detach().floor()
    share = at - corner
    low = corner.long() % size
    high = (low + 1) % size
    x = torch.stack([low[:, 0], high[:, 0], low[:, 0], high[:, 0]], dim=1)
    y = torch.stack([low[:, 1], low[:, 1], high[:, 1], high[:, 1]], dim=1)
    texels = gather_rows(table, start[:, None] + y * size[:, :1] + x)
    s, t = share[:, :1], share[:, 1:]
    upper = texels[:, 0] + s * (texels[:, 1] - texels[:, 0])
    lower = texels[:, 2] + s * (texels[:, 3] - texels[:, 2])
    return upper + t * (lower - upper)
