"""Where rays meet a sculpture: sphere tracing (Hart 1996), from outside or from inside."""

from __future__ import annotations

import torch
from torch import Tensor

from training.field import field, field_torch

CLOSE = 1e-3  # a ray this near to the surface has met it, in the sculpture's units
STEPS = 96


@torch.no_grad()
def march(
    origins: Tensor,
    directions: Tensor,
    starts: Tensor,
    limits: Tensor,
    parts: Tensor,
    counts: Tensor,
    sign: float = 1.0,
) -> Tensor:
    """(B,N) length along the ray where it meets the surface; -1 where it does not before its limit.

    origins, directions (unit): (B,N,3). starts, limits: (B,N). sign: 1 outside looking for an entry, -1 inside
    looking for an exit.
    """
    if directions.is_cuda:
        from training.field_triton import march_triton

        return march_triton(origins, directions, starts, limits, parts, counts, sign, CLOSE, STEPS)
    return march_torch(origins, directions, starts, limits, parts, counts, sign)


@torch.no_grad()
def march_torch(
    origins: Tensor,
    directions: Tensor,
    starts: Tensor,
    limits: Tensor,
    parts: Tensor,
    counts: Tensor,
    sign: float = 1.0,
) -> Tensor:
    """As `march`, in plain PyTorch: the kernel's oracle."""
    out = torch.full_like(starts, -1.0)
    for b in range(len(starts)):
        rays = (starts[b] < limits[b]).nonzero()[:, 0]
        t = starts[b, rays]
        for _ in range(STEPS):
            at = origins[b, rays] + t[:, None] * directions[b, rays]
            d = sign * field_torch(at[None], parts[b : b + 1], counts[b : b + 1])[0][0]
            met = d < CLOSE
            out[b, rays[met]] = t[met]
            t = t + (0.9 * d).clamp_min(0.5 * CLOSE)
            going = ~met & (t < limits[b, rays])
            rays, t = rays[going], t[going]
            if not len(rays):
                break
    return out


@torch.no_grad()
def normals(points: Tensor, parts: Tensor, counts: Tensor, step: float = 2e-3) -> Tensor:
    """(B,N,3) unit normals at points on the surface, by differences over a tetrahedron (Quilez)."""
    corners = torch.tensor([[1, -1, -1], [-1, -1, 1], [-1, 1, -1], [1, 1, 1]], dtype=points.dtype, device=points.device)
    total = sum(field(points + step * c, parts, counts)[0][..., None] * c for c in corners)
    assert isinstance(total, Tensor)
    return torch.nn.functional.normalize(total, dim=-1, eps=1e-12)
