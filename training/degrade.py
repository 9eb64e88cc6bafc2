"""What real pictures and masks add: soft and wrong edges, blur, noise, few pixels, a foreign background at the rim."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def degrade(rgb: Tensor, alpha: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Colours (B,3,S,S) and opacity (B,1,S,S) as a camera and a matting would give them, and where the picture does
    not end (B,1,S,S), 1 inside its border."""
    batch, _, side, _ = rgb.shape
    device = rgb.device

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(batch, *(shape or (1, 1, 1)), device=device, generator=rng)

    # Some come straight from a renderer: with exact masks and without noise.
    clean = uniform(0, 1) < 0.3
    # 1. Fewer pixels than asked for: the object is often small in the video.
    soft = blur(torch.cat([rgb, alpha], dim=1), uniform(0.3, 1.0).view(batch))
    fewer = F.interpolate(F.interpolate(soft, scale_factor=0.5, mode="area"), size=(side, side), mode="bilinear")
    much = F.interpolate(F.interpolate(soft, scale_factor=0.3125, mode="area"), size=(side, side), mode="bilinear")
    chosen = torch.where(clean, 1.0, uniform(0, 1))
    soft = torch.where(chosen < 0.3, fewer, torch.where(chosen < 0.45, much, soft))
    # 2. The background shines through at the rim.
    color, cover = soft[:, :3] / soft[:, 3:].clamp_min(1e-3), soft[:, 3:]
    leak = uniform(0, 1) * (~clean & (uniform(0, 1) < 0.5))
    background = uniform(0, 1, 3, 1, 1)
    color = color * (1 - leak * (1 - cover)) + background * leak * (1 - cover)
    # 3. The mask is off by a pixel or two, unevenly, and has holes.
    uneven = blur(torch.randn(batch, 1, side, side, device=device, generator=rng), uniform(3, 12).view(batch))
    uneven = uneven / uneven.flatten(1).std(1).clamp_min(1e-6)[:, None, None, None]
    wide = blur(cover, torch.full((batch,), 1.8, device=device))
    offset = uniform(-0.22, 0.22) + uniform(0, 0.15) * uneven
    moved = torch.sigmoid((wide - 0.5 + offset) * uniform(6, 20)) * (wide > 0.02)
    cover = torch.where(~clean & (uniform(0, 1) < 0.5), moved, cover)
    cover = torch.where(~clean & (uniform(0, 1) < 0.05) & (uneven > 2.4), 0.0, cover)
    # 4. The object leaves the picture on one side.
    at = (torch.arange(side, device=device) + 0.5) / side
    x, y = at.view(1, 1, 1, side), at.view(1, 1, side, 1)
    edge, which = uniform(0.08, 0.3), uniform(0, 1)
    cut = torch.where(which < 0.03, x < edge, torch.where(which < 0.06, x > 1 - edge, (y > 1 - edge) & (which < 0.1)))
    kept = 1 - cut.float()
    # 5. Sensor and coding.
    noise = torch.randn(rgb.shape, device=device, generator=rng) * uniform(0, 0.05) * ~clean
    chroma = F.interpolate(F.interpolate(color, scale_factor=0.25, mode="area"), size=(side, side), mode="bilinear")
    grey = color.mean(1, keepdim=True)
    coded = grey + chroma - chroma.mean(1, keepdim=True)
    color = torch.where(~clean & (uniform(0, 1) < 0.4), coded, color) + noise
    return color.clamp(0, 1), (cover * kept).clamp(0, 1), kept.expand_as(alpha)


def blur(x: Tensor, sigma: Tensor) -> Tensor:
    """(B,C,S,S) blurred by Gaussians of ``sigma`` (B,) pixels each."""
    batch, channels = x.shape[:2]
    radius = max(1, int(torch.ceil(2.5 * sigma.max())))
    at = torch.arange(-radius, radius + 1, device=x.device, dtype=x.dtype)
    kernel = torch.exp(-0.5 * (at / sigma[:, None]) ** 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(channels, 0)  # (B*C,2r+1)
    flat = x.reshape(1, batch * channels, *x.shape[2:])
    flat = F.conv2d(flat, kernel[:, None, None], padding=(0, radius), groups=batch * channels)
    flat = F.conv2d(flat, kernel[:, None, :, None], padding=(radius, 0), groups=batch * channels)
    return flat.view_as(x)
