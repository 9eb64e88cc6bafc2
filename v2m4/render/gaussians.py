"""Rendering 3D Gaussians (Kerbl et al. 2023) without aliasing (Mip-Splatting, Yu et al. 2024), differentiable.

`gsplat` draws them where it is installed and the Gaussians are on a CUDA device, our Triton kernel where there is none,
and the plain PyTorch of this file anywhere: EWA projection (Zwicker et al. 2001), a sort by tile and depth, and alpha
blending of whole tiles at once. All three follow the same rules, so they can be compared.
"""

from __future__ import annotations

from functools import cache
from typing import Literal

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from v2m4.device import triton_works, works
from v2m4.errors import V2M4Error
from v2m4.geometry.camera import Camera
from v2m4.geometry.rotations import rotation_from_quaternion
from v2m4.render.splats import (
    ALPHA_MAX,
    ALPHA_MIN,
    KERNEL_SIZE,
    NEAR,
    TILE,
    TRANSMITTANCE_MIN,
    Gaussians,
    Splats,
    TileLists,
)

Backend = Literal["auto", "gsplat", "triton", "torch"]
_ROUND = 128  # splats of a tile between looks at whether it is opaque
_LANES = 1 << 24  # pairs of splat and pixel at once: bounds the memory


def render_gaussians(
    gaussians: Gaussians,
    camera: Camera,
    size: int,
    kernel_size: float = KERNEL_SIZE,
    background: Tensor | None = None,
    backend: Backend = "auto",
) -> tuple[Tensor, Tensor]:
    """Color (size,size,3) and opacity (size,size) of the Gaussians before ``background`` (3,), black if absent.

    ``camera`` is a single one. Differentiable with respect to every field of ``gaussians``.
    """
    if camera.world_to_camera.dim() != 2:
        raise V2M4Error("Gaussians are rendered with one camera at a time; give world_to_camera the shape (4, 4).")
    if background is None:
        background = gaussians.means.new_zeros(3)
    chosen = choose_backend(backend, gaussians.means.device)
    if chosen == "gsplat":
        return _render_gsplat(gaussians, camera, size, kernel_size, background)
    splats = project(gaussians, camera, size, kernel_size)
    lists = list_tiles(splats, size)
    if chosen == "triton":
        from v2m4.render.gaussians_triton import blend_tiles

        color, remaining = blend_tiles(splats, lists, size)
    else:
        color, remaining = _blend_tiles_torch(splats, lists, size)
    return color + remaining[..., None] * background, 1 - remaining


def choose_backend(backend: Backend, device: torch.device) -> Backend:
    """What draws on ``device``: on CUDA gsplat or Triton where they work, else PyTorch.

    Raises V2M4Error where ``backend`` is a certain one that cannot run there.
    """
    on_gpu = device.type == "cuda"
    if backend == "auto":
        if on_gpu and gsplat_works(device):
            return "gsplat"
        return "triton" if on_gpu and triton_works(device) else "torch"
    if backend in ("gsplat", "triton") and not on_gpu:
        raise V2M4Error(
            f"The {backend} splatter works on CUDA only, but the Gaussians are on {device.type}. Choose auto."
        )
    if (backend == "gsplat" and not gsplat_works(device)) or (backend == "triton" and not triton_works(device)):
        raise V2M4Error(f"The {backend} splatter is not installed, or does not work on {device}. Choose auto.")
    return backend


@cache
def gsplat_works(device: torch.device) -> bool:
    """Whether gsplat is installed and draws a Gaussian on ``device``; tried once per process."""

    def trial() -> None:
        one = torch.ones(1, 3, device=device)
        ahead, turn = torch.tensor([[0.0, 0.0, 2.0]], device=device), torch.tensor([[1.0, 0, 0, 0]], device=device)
        gaussian = Gaussians(ahead, 0.1 * one, turn, 0.5 * one[0, :1], one)
        _, alpha = _render_gsplat(gaussian, Camera.identity(device=device), 8, KERNEL_SIZE, torch.zeros_like(one[0]))
        if not 0.1 < float(alpha.max()) < 1:
            raise RuntimeError("a Gaussian in front of the camera is not drawn")

    return device.type == "cuda" and works("gsplat", trial)


def _render_gsplat(
    gaussians: Gaussians, camera: Camera, size: int, kernel_size: float, background: Tensor
) -> tuple[Tensor, Tensor]:
    from gsplat import rasterization

    focal = camera.focal * size
    intrinsics = gaussians.means.new_tensor([[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1]])
    color, alpha, _ = rasterization(
        gaussians.means,
        gaussians.rotations,
        gaussians.scales,
        gaussians.opacities,
        gaussians.colors.clamp_min(0),
        camera.world_to_camera[None].to(gaussians.means),
        intrinsics[None],
        size,
        size,
        near_plane=NEAR,
        eps2d=kernel_size,
        backgrounds=background[None],
        rasterize_mode="antialiased",
        packed=False,  # gsplat 1.5 takes a background in this mode only
    )
    return color[0], alpha[0, ..., 0]


def project(gaussians: Gaussians, camera: Camera, size: int, kernel_size: float = KERNEL_SIZE) -> Splats:
    """The Gaussians on an image of ``size`` pixels, widened by the filter and dimmed so that they keep their light.

    The perspective is linearised at each centre, at most 1.3 times the field of view away from the axis.
    """
    w2c = camera.world_to_camera.to(gaussians.means)
    focal = camera.focal * size
    x, y, z = Camera(w2c).to_camera(gaussians.means).unbind(1)
    visible = z > NEAR
    z = torch.where(visible, z, 1)
    limit = 1.3 * 0.5 / camera.focal
    tx, ty = (x / z).clamp(-limit, limit) * z, (y / z).clamp(-limit, limit) * z
    # The rows (N,3) of the projection's slope in world axes, then of the ellipse's half. Written as sums, for products
    # of so small matrices are slow.
    turn = w2c[:3, :3]
    toward = ((focal / z)[:, None] * (turn[k] - (t / z)[:, None] * turn[2]) for k, t in enumerate((tx, ty)))
    axes = rotation_from_quaternion(gaussians.rotations) * gaussians.scales[:, None, :]
    right, down = ((row[:, :, None] * axes).sum(1) for row in toward)
    xx = (right**2).sum(1)
    yy = (down**2).sum(1)
    xy = (right * down).sum(1)
    sharp = xx * yy - xy * xy
    xx, yy = xx + kernel_size, yy + kernel_size
    determinant = (xx * yy - xy * xy).clamp_min(1e-12)
    dimming = (sharp.clamp_min(0) / determinant).clamp_min(1e-12).sqrt()
    opacity = gaussians.opacities * dimming
    center = torch.stack([focal * x / z + size / 2, focal * y / z + size / 2], dim=1)
    conic = torch.stack([yy, -xy, xx], dim=1) / determinant[:, None]
    # Where opacity * exp(-d/2) falls below the threshold, for the box around that ellipse.
    level = 2 * torch.log((opacity.detach() / ALPHA_MIN).clamp_min(1e-6))
    reach = (torch.stack([xx, yy], dim=1).detach() * level[:, None].clamp_min(0)).sqrt()
    visible = visible & (level > 0) & center.detach().isfinite().all(1)
    reach = torch.where(visible[:, None], reach, -1)
    return Splats(center, conic, opacity, gaussians.colors.clamp_min(0), z.detach(), reach)


@torch.no_grad()
def list_tiles(splats: Splats, size: int, tile: int = TILE) -> TileLists:
    """Which Gaussians reach each tile of ``tile`` pixels squared, from front to back. Tiles are row-major."""
    across = -(-size // tile)
    # Pixel centres lie half a pixel inside; a hair of slack keeps rounding from losing one.
    first = ((splats.center - splats.reach - 0.501) / tile).floor().clamp(0, across)
    last = ((splats.center + splats.reach - 0.499) / tile).floor().clamp(-1, across - 1)
    extent = (last - first + 1).clamp_min(0).long()
    extent = torch.where(splats.reach[:, :1] >= 0, extent, 0)
    number = extent.prod(1)
    gaussian = torch.repeat_interleave(torch.arange(len(number), device=number.device), number)
    within = torch.arange(len(gaussian), device=number.device) - (number.cumsum(0) - number)[gaussian]
    column = first[gaussian, 0].long() + within % extent[gaussian, 0]
    row = first[gaussian, 1].long() + within // extent[gaussian, 0]
    tiles = row * across + column
    # Positive floats order as their bits do, so one sort of integers orders by tile, then depth.
    bits = splats.depth.float().contiguous().view(torch.int32)[gaussian].long()
    keys, order = torch.sort((tiles << 32) | bits, stable=True)
    bounds = torch.searchsorted(keys >> 32, torch.arange(across * across + 1, device=keys.device))
    return TileLists(gaussian[order], bounds[:-1], bounds[1:] - bounds[:-1])


def _blend_tiles_torch(splats: Splats, lists: TileLists, size: int) -> tuple[Tensor, Tensor]:
    """Color (size,size,3) and what remains of the light behind (size,size)."""
    across = -(-size // TILE)
    table = torch.cat([splats.center, splats.conic, splats.opacity[:, None], splats.color], dim=1)
    needed = _needed(table.detach(), lists, across)
    color = table.new_zeros(across * across, TILE * TILE, 3)
    remaining = table.new_ones(across * across, TILE * TILE)
    order = torch.argsort(needed, descending=True)
    counts = needed[order].tolist()
    begin = 0
    while begin < len(counts) and counts[begin] > 0:
        # Tiles of similar depth together, as many as the memory's budget allows.
        end = begin + max(1, _LANES // (counts[begin] * TILE * TILE))
        while end > begin + 1 and (end > len(counts) or counts[end - 1] == 0):
            end -= 1
        chosen = order[begin:end]
        c, r = checkpoint(
            _blend, table, lists.gaussian, lists.start[chosen], needed[chosen], chosen, across, use_reentrant=False
        )
        color, remaining = color.index_copy(0, chosen, c), remaining.index_copy(0, chosen, r)
        begin = end
    return _untile(color, across, size), _untile(remaining[..., None], across, size)[..., 0]


def _untile(values: Tensor, across: int, size: int) -> Tensor:
    channels = values.shape[2]
    grid = values.view(across, across, TILE, TILE, channels).transpose(1, 2)
    return grid.reshape(across * TILE, across * TILE, channels)[:size, :size]


def _blend(
    table: Tensor, gaussian: Tensor, start: Tensor, count: Tensor, tiles: Tensor, across: int
) -> tuple[Tensor, Tensor]:
    """Color (T,P,3) and remaining light (T,P) of T tiles of P pixels: sum of c_i a_i prod_{j<i} (1 - a_j)."""
    alpha, index, drawn = _alphas(table, gaussian, start, count, tiles, across)
    log_after = torch.log1p(-alpha).cumsum(1)
    before = torch.cat([torch.zeros_like(log_after[:, :1]), log_after[:, :-1]], dim=1).exp()
    # A Gaussian that would take the light below the minimum ends its pixel.
    kept = (log_after.detach() >= torch.tensor(TRANSMITTANCE_MIN).log()) & drawn[..., None]
    weight = torch.where(kept, alpha * before, 0)
    colors = table.index_select(0, index.flatten())[:, 6:].view(*index.shape, 3)
    remaining = torch.where(kept, torch.log1p(-alpha), 0).sum(1).exp()
    return weight.transpose(1, 2) @ colors, remaining


def _alphas(
    table: Tensor, gaussian: Tensor, start: Tensor, count: Tensor, tiles: Tensor, across: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Opacities (T,K,P) of the first ``count`` Gaussians of each tile, their rows (T,K), and which exist (T,K)."""
    slot = torch.arange(int(count.max()), device=table.device)
    drawn = slot < count[:, None]
    index = gaussian[torch.where(drawn, start[:, None] + slot, 0)]
    rows = table.index_select(0, index.flatten())[:, :6].view(*index.shape, 1, 6)
    pixel = torch.arange(TILE * TILE, device=table.device)
    x = (tiles % across * TILE)[:, None] + pixel % TILE + 0.5
    y = (tiles // across * TILE)[:, None] + pixel // TILE + 0.5
    dx, dy = x[:, None] - rows[..., 0], y[:, None] - rows[..., 1]
    power = 0.5 * (rows[..., 2] * dx * dx + rows[..., 4] * dy * dy) + rows[..., 3] * dx * dy
    alpha = (rows[..., 5] * torch.exp(-power.clamp_min(0))).clamp_max(ALPHA_MAX)
    return torch.where((alpha >= ALPHA_MIN) & drawn[..., None], alpha, 0), index, drawn


@torch.no_grad()
def _needed(table: Tensor, lists: TileLists, across: int) -> Tensor:
    """How many Gaussians (T,) of each tile have to be looked at before all its pixels are opaque."""
    needed = torch.zeros_like(lists.length)
    alive = (lists.length > 0).nonzero()[:, 0]
    light = table.new_zeros(len(lists.length), TILE * TILE)
    at_most = max(1, _LANES // (_ROUND * TILE * TILE))
    while alive.numel():
        for tiles in alive.split(at_most):
            count = (lists.length[tiles] - needed[tiles]).clamp_max(_ROUND)
            alpha, _, _ = _alphas(table, lists.gaussian, lists.start[tiles] + needed[tiles], count, tiles, across)
            light[tiles] += torch.log1p(-alpha).sum(1)
            needed[tiles] += count
        bright = (light[alive] >= torch.tensor(TRANSMITTANCE_MIN).log()).any(1)
        alive = alive[bright & (needed[alive] < lists.length[alive])]
    return needed
