"""Pictures of a triplane by volume rendering, as TripoSR's previews are made: the whole field and its axes at once.

Samples lie at the middles of n equal parts of the way through the cube; the opacity of one is 1 - exp(-density / n),
whatever the length of that way; the ground is white.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from v2m4.generators.triposr.network import FieldDecoder
from v2m4.generators.triposr.surface import query

_BOX = 0.999  # of the cube's side
_TINY = 1e-6


def orbit_rays(
    n_views: int, elevation_deg: float, camera_distance: float, fovy_deg: float, height: int, width: int
) -> tuple[Tensor, Tensor]:
    """Origins (n, 3) and unit directions (n, h, w, 3) of cameras around z that start on +x and look at the origin."""
    azimuth = torch.arange(n_views) * (2 * math.pi / n_views)
    elevation = torch.full_like(azimuth, math.radians(elevation_deg))
    away = torch.stack([elevation.cos() * azimuth.cos(), elevation.cos() * azimuth.sin(), elevation.sin()], dim=1)
    forward = -away
    right = torch.nn.functional.normalize(torch.linalg.cross(forward, torch.tensor([0.0, 0, 1]).expand_as(forward)))
    up = torch.linalg.cross(right, forward)
    focal = 0.5 * height / math.tan(math.radians(fovy_deg) / 2)
    x = (torch.arange(width) + 0.5 - width / 2) / focal
    y = -(torch.arange(height) + 0.5 - height / 2) / focal
    directions = (
        forward[:, None, None]
        + x[None, None, :, None] * right[:, None, None]
        + y[None, :, None, None] * up[:, None, None]
    )
    return camera_distance * away, torch.nn.functional.normalize(directions, dim=-1)


def render_field(decoder: FieldDecoder, planes: Tensor, origins: Tensor, directions: Tensor, samples: int) -> Tensor:
    """(n, h, w, 3) pictures of planes (3, c, p, p), for rays that all meet the cube."""
    o = origins[:, None, None].expand_as(directions).reshape(-1, 3)
    d = directions.reshape(-1, 3)
    half = decoder.config.radius * _BOX
    safe = torch.where(d.abs() < _TINY, torch.full_like(d, _TINY), d)
    walls = torch.stack([(-half - o) / safe, (half - o) / safe])  # (2, rays, 3)
    near, far = walls.amin(0).amax(1).clamp_min(0), walls.amax(0).amin(1)
    middle = (torch.arange(samples) + 0.5) / samples
    t = near[:, None] + (far - near)[:, None] * middle
    points = o[:, None] + t[..., None] * d[:, None]  # (rays, n, 3)
    values = query(decoder, planes, points.reshape(-1, 3))
    alpha = 1 - torch.exp(-values.density.view_as(t) / samples)
    through = torch.cumprod(torch.cat([torch.ones_like(alpha[:, :1]), 1 - alpha + 1e-10], dim=1), dim=1)[:, :-1]
    weight = through * alpha
    color = (weight[..., None] * values.color.view(*t.shape, 3)).sum(1)
    return (color + 1 - weight.sum(1, keepdim=True)).view(directions.shape)
