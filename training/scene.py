"""From sculptures to what the network is trained on: pictures, columns of occupancy, and the colours of far sides.

The network takes every camera for one of 40 degrees, as its user does; most are, others see 25 to 60. The object stands
upright in most pictures, anywhere in it, at any yaw and at the pitches from which people film. All lengths of the
targets are in the units of `v2m4.generators.sculpt.network`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from training.degrade import degrade
from training.field import field
from training.rays import CLOSE, march, normals
from training.sculpture import (
    AXES,
    BOX,
    CENTER,
    CHECKS,
    COLOR_A,
    COLOR_B,
    CONE,
    CUTS,
    DIRECTION,
    FLAT,
    FREQUENCY,
    PAINT,
    PATTERN,
    PHASE,
    RING,
    SHADED,
    SHAPE,
    SIZE,
    SPOTS,
    STRIPES,
)
from v2m4.generators.sculpt.network import FARTHEST, GRID, NEAREST, PICTURE, SLICES, network_input, slice_depths
from v2m4.geometry.camera import FOV_DEG

MARGIN = 1.2  # side of the crop over the longer side of the object's box
SOFT = (
    0.4 * (FARTHEST - NEAREST) / SLICES
)  # width of the occupancy's edge: it lets a column tell where between two slices it is
WAYS_IN = tuple(CLOSE * n for n in (3, 6, 12, 24, 48))  # lengths behind an entry at which the inside is looked for
AHEAD = 4.0  # cells of the grid by which a fine ray starts before its neighbours' surfaces
COARSE = 96  # rays per side of the picture in which the object's box is found
OTHER = (25.0, 60.0)  # fields of view in degrees of the cameras that are not what they are taken for
_WIDE = 2 * math.tan(math.radians(FOV_DEG) / 2)


@dataclass(frozen=True)
class Batch:
    """Examples. image: (B,6,PICTURE,PICTURE), the network's input. pixels: (B,N) indices of columns in the flattened
    GRID x GRID. columns: (B,N,SLICES) soft occupancy in [0,1]. sides: (B,2,GRID,GRID) depths of first entry and exit
    relative to ``away``, and colors: (B,6,GRID,GRID) in [0,1], both where known: (B,GRID,GRID) bool. valid: (B,) bool,
    False for the rare sculpture that nothing can be learnt from."""

    image: Tensor
    pixels: Tensor
    columns: Tensor
    sides: Tensor
    colors: Tensor
    known: Tensor
    valid: Tensor


@dataclass(frozen=True)
class View:
    """Cameras. rotation: (B,3,3) world to camera, rows right, down, forward. eye: (B,3). middle: (B,2) and width: (B,)
    of the square that is cut out, in the camera's plane at depth 1. near, far: (B,) bounds of the object's depth.
    taken: (B,) by how much slopes grow when the camera is taken for one of 40 degrees."""

    rotation: Tensor
    eye: Tensor
    middle: Tensor
    width: Tensor
    near: Tensor
    far: Tensor
    taken: Tensor

    def slopes(self, side: int) -> Tensor:
        """(B,side*side,2) x and y of the rays (x, y, 1) through the centres of the square's pixels."""
        at = (torch.arange(side, device=self.eye.device) + 0.5) / side - 0.5
        y, x = torch.meshgrid(at, at, indexing="ij")
        offset = torch.stack([x, y], dim=-1).view(1, -1, 2)
        return self.middle[:, None] + self.width[:, None, None] * offset

    def directions(self, slopes: Tensor) -> Tensor:
        """(B,N,3) in the world, of forward component 1, so that a length along them is a depth."""
        local = torch.cat([slopes, torch.ones_like(slopes[..., :1])], dim=-1)
        return local @ self.rotation


@torch.no_grad()
def make_batch(parts: Tensor, paints: Tensor, counts: Tensor, columns: int, rng: torch.Generator) -> Batch:
    """Examples from tables of sculptures, with ``columns`` random columns each (all GRID * GRID if 0)."""
    view, found = _look(parts, counts, rng)
    look = _Look.random(len(parts), parts.device, rng)
    entries = _entries(view, view.slopes(GRID), parts, counts)
    rgb, alpha = _picture(view, entries, parts, paints, counts, look)
    exits, colors, known, finite = _far_sides(view, entries, parts, paints, counts, look)
    hit = entries > 0
    scale = 1 / (view.width * (entries * hit).sum(1) / hit.sum(1).clamp_min(1))
    rgb, alpha, kept = degrade(rgb, alpha, rng)
    kept = F.avg_pool2d(kept, PICTURE // GRID)[:, 0] > 0.5
    known = known & kept
    slopes = view.slopes(PICTURE).view(-1, PICTURE, PICTURE, 2).permute(0, 3, 1, 2)
    image = network_input(rgb, alpha, slopes * view.taken[:, None, None, None])
    sides = torch.stack([entries, exits], dim=1) * scale[:, None, None] - 1 / view.width[:, None, None]
    sides = sides.view(-1, 2, GRID, GRID)
    seen = known.flatten(1)
    valid = found & finite & scale.isfinite() & (seen.sum(1) > 40) & image.flatten(1).isfinite().all(1)
    weight = seen.float() + (~seen.any(1, keepdim=True)).float()
    if columns:
        pixels = torch.multinomial(weight, columns, replacement=True, generator=rng)
    else:
        pixels = torch.arange(GRID * GRID, device=parts.device).expand(len(parts), -1)
    targets = _columns(view, scale, parts, counts, pixels)
    valid = valid & targets.flatten(1).isfinite().all(1)
    return Batch(image, pixels, targets, sides, colors, known, valid)


def _columns(view: View, scale: Tensor, parts: Tensor, counts: Tensor, pixels: Tensor) -> Tensor:
    """(B,N,SLICES) soft occupancy of columns."""
    batch, n = pixels.shape
    slopes = view.slopes(GRID).gather(1, pixels[..., None].expand(-1, -1, 2))
    directions = view.directions(slopes)  # (B,N,3)
    depth = (1 / view.width[:, None] + slice_depths(pixels.device)) / scale[
        :, None
    ]  # (B,SLICES) in the sculpture's units
    points = view.eye[:, None, None] + directions[:, :, None] * depth[:, None, :, None]  # (B,N,SLICES,3)
    distance, _ = field(points.view(batch, n * SLICES, 3), parts, counts)
    return torch.sigmoid(-distance.view(batch, n, SLICES) * scale[:, None, None] / SOFT)


def _bounds(parts: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """(B,3) middles and (B,) radii of balls around the sculptures."""
    shape, a, b, c, d = parts[..., SHAPE], *(parts[..., SIZE + i] for i in range(4))
    start = parts[..., CENTER : CENTER + 3]
    straight = ((shape != BOX) & (shape != RING)).float()
    end = start + (straight * a)[..., None] * parts[..., AXES : AXES + 3]
    thick = torch.maximum(b, c) * parts[..., FLAT : FLAT + 2].amax(-1).clamp_min(1)
    radius = torch.where(shape == CONE, thick, thick + d)
    radius = torch.where(shape == BOX, (a**2 + b**2 + c**2).sqrt() + d, radius)
    radius = torch.where(shape == RING, a + b, radius)[..., None]
    used = (torch.arange(parts.shape[1], device=parts.device) < counts[:, None]) & (parts[..., CUTS] < 0.5)
    low = torch.where(used[..., None], torch.minimum(start, end) - radius, torch.inf).amin(1)
    high = torch.where(used[..., None], torch.maximum(start, end) + radius, -torch.inf).amax(1)
    return (low + high) / 2, (high - low).norm(dim=-1) / 2


def _rotations(batch: int, device: torch.device, rng: torch.Generator) -> Tensor:
    """(B,3,3) world to camera: any yaw; pitch mostly slightly from above, at times from -15 to 45 degrees; little
    roll; now and then an object that lies or tumbles."""

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(batch, device=device, generator=rng)

    def normal(std: float) -> Tensor:
        return std * torch.randn(batch, device=device, generator=rng)

    yaw, roll = uniform(-math.pi, math.pi), normal(0.05)
    pitch = torch.where(uniform(0, 1) < 0.7, 0.15 + normal(0.13), uniform(-0.25, 0.79))
    tumbles = uniform(0, 1) < 0.08
    pitch, roll = torch.where(tumbles, normal(1.0), pitch), torch.where(tumbles, normal(1.0), roll)
    cy, sy, cp, sp, cr, sr = yaw.cos(), yaw.sin(), pitch.cos(), pitch.sin(), roll.cos(), roll.sin()
    forward = torch.stack([-sy * cp, -cy * cp, -sp], dim=-1)
    right = torch.stack([-cy, sy, torch.zeros_like(cy)], dim=-1)
    down = torch.linalg.cross(forward, right)
    turned_right = cr[:, None] * right + sr[:, None] * down
    turned_down = cr[:, None] * down - sr[:, None] * right
    return torch.stack([turned_right, turned_down, forward], dim=1)


def _look(parts: Tensor, counts: Tensor, rng: torch.Generator) -> tuple[View, Tensor]:
    """Random cameras, and whether they show anything (B,)."""
    batch, device = len(parts), parts.device

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(batch, *shape, device=device, generator=rng)

    # 1. The camera: how much of the picture the object fills, and where it is.
    middle, radius = _bounds(parts, counts)
    rotation = _rotations(batch, device, rng)
    degrees = torch.where(uniform(0, 1) < 0.5, FOV_DEG, uniform(*OTHER))
    across = 2 * torch.tan(torch.deg2rad(degrees) / 2)
    fill = uniform(0.3, 1.1)
    distance = radius / (fill * across / 2)
    shift = uniform(-0.5, 0.5, 2) * (across * (1 - 0.75 * fill).clamp_min(0.1))[:, None]
    local = torch.cat([shift, torch.ones_like(shift[:, :1])], dim=-1) * distance[:, None]
    eye = middle - (local[:, None] @ rotation)[:, 0]
    near, far = (distance - radius).clamp_min(0.05 * distance), distance + radius
    # 2. The object's box in the picture, by coarse rays through a square that surely holds it.
    span = 2.3 * radius / (distance**2 - radius**2).clamp_min(0.1 * distance**2).sqrt()
    wide = View(rotation, eye, shift, span, near, far, _WIDE / across)
    slopes = wide.slopes(COARSE)
    hit = _entries(wide, slopes, parts, counts) > 0
    low = torch.where(hit[..., None], slopes, torch.inf).amin(1)
    high = torch.where(hit[..., None], slopes, -torch.inf).amax(1)
    found = hit.sum(1) > 20
    low, high = torch.where(found[:, None], low, -0.1), torch.where(found[:, None], high, 0.1)
    box = (high - low).amax(-1) + span / COARSE
    width = box * MARGIN * uniform(0.96, 1.06)
    centre = (low + high) / 2 + uniform(-0.015, 0.015, 2) * box[:, None]
    return View(rotation, eye, centre, width, near, far, wide.taken), found


def _entries(view: View, slopes: Tensor, parts: Tensor, counts: Tensor, earliest: Tensor | None = None) -> Tensor:
    """(B,N) depth of the first surface on each ray; -1 where there is none. earliest: (B,N) depths before which there
    is none, infinite where there is none at all."""
    directions = view.directions(slopes)
    length = directions.norm(dim=-1, keepdim=True)
    n = slopes.shape[1]
    origins = view.eye[:, None].expand(-1, n, -1)
    starts, limits = (b[:, None] * length[..., 0] for b in (view.near, view.far))
    if earliest is not None:
        starts = torch.maximum(earliest * length[..., 0], starts)
    t = march(origins, directions / length, starts.contiguous(), limits.contiguous(), parts, counts)
    return torch.where(t > 0, t / length[..., 0], t)


def _exits(view: View, slopes: Tensor, depths: Tensor, parts: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """(B,N) depths of the first and of the last exit of the rays that enter at ``depths``; -1 where there is none."""
    directions = view.directions(slopes)
    length = directions.norm(dim=-1)
    unit = directions / length[..., None]
    origins = view.eye[:, None].expand_as(directions)
    hit = depths > 0
    ends = torch.where(hit, view.far[:, None] * length, -1.0)
    inside = depths * length + _way_in(origins, unit, depths * length, parts, counts)
    first = march(origins, unit, inside, ends, parts, counts, sign=-1.0)
    reach = ((view.far - view.near)[:, None] * length).expand_as(depths)
    back = march(
        origins + unit * (view.far[:, None] * length)[..., None],
        -unit,
        torch.zeros_like(depths),
        torch.where(hit, reach, -1.0),
        parts,
        counts,
    )
    last = torch.where(back >= 0, view.far[:, None] - back / length, -torch.ones_like(back))
    return torch.where(first > 0, first / length, first), last


def _way_in(origins: Tensor, unit: Tensor, entries: Tensor, parts: Tensor, counts: Tensor) -> Tensor:
    """(B,N) how far behind the entries, lengths along rays, one is inside for certain: a ray that grazes the surface
    stays close to it for long, and would leave where it came in."""
    out = torch.full_like(entries, WAYS_IN[0])
    for way in reversed(WAYS_IN):
        distance, _ = field(origins + unit * (entries + way)[..., None], parts, counts)
        out = torch.where(distance < -1.5 * CLOSE, way, out)
    return out


@dataclass(frozen=True)
class _Look:
    """Light and surface, per object. light: (B,3) from above. sky: how much brighter what looks up is, without it.
    grain: of the surface, and its frequency. The others are (B,)."""

    light: Tensor
    ambient: Tensor
    sky: Tensor
    diffuse: Tensor
    shine: Tensor
    occlusion: Tensor
    facet: Tensor
    grain: Tensor
    fine: Tensor
    tint: Tensor

    @staticmethod
    def random(batch: int, device: torch.device, rng: torch.Generator) -> _Look:
        def uniform(low: float, high: float, *shape: int) -> Tensor:
            return low + (high - low) * torch.rand(batch, *shape, device=device, generator=rng)

        light = torch.randn(batch, 3, device=device, generator=rng)
        light[:, 2] = light[:, 2].abs() + 0.2
        ambient = uniform(0.35, 0.95)
        diffuse = (1.05 - ambient) * uniform(0.6, 1.5)
        shine = uniform(0, 0.6) * (uniform(0, 1) < 0.3)
        facet = uniform(0.02, 0.12) * (uniform(0, 1) < 0.45)
        grain = uniform(0, 0.12) * (uniform(0, 1) < 0.25)
        # Some are lit from everywhere, as flat pictures are, and some stand in the dark.
        even = uniform(0, 1) < 0.12
        ambient = torch.where(even, uniform(0.9, 1.05), ambient)
        diffuse = torch.where(even, uniform(0, 0.1), diffuse)
        dim = torch.where(uniform(0, 1) < 0.2, uniform(0.2, 0.7), 1.0)
        tint = uniform(0.88, 1.12, 3) * uniform(0.9, 1.4, 1) * dim[:, None]
        return _Look(
            F.normalize(light, dim=-1),
            ambient,
            uniform(0, 0.35) * ~even,
            diffuse,
            shine,
            uniform(0, 0.7) * torch.where(even, 0.3, 1.0) * (uniform(0, 1) < 0.7),
            facet,
            grain,
            uniform(15, 90),
            tint,
        )


def _picture(
    view: View, entries: Tensor, parts: Tensor, paints: Tensor, counts: Tensor, look: _Look
) -> tuple[Tensor, Tensor]:
    """Colours (B,3,PICTURE,PICTURE) and coverage (B,1,PICTURE,PICTURE) of the square, both in [0,1]. entries:
    (B,GRID*GRID) first surfaces of its coarser rays: the finer ones start shortly before what meets their neighbours,
    and are spared where nothing does."""
    slopes = view.slopes(PICTURE)
    coarse = entries.view(-1, 1, GRID, GRID)
    first = -F.max_pool2d(torch.where(coarse > 0, -coarse, -torch.inf), 3, 1, 1)
    first = F.interpolate(first, size=(PICTURE, PICTURE), mode="nearest").flatten(1)  # (B,PICTURE*PICTURE)
    cell = view.width[:, None] / GRID
    depths = _entries(view, slopes, parts, counts, first * (1 - AHEAD * cell))
    seen = depths > 0
    # Only what is seen is coloured: as many rays of each object as of the one that fills its square most.
    most = max(1, int(seen.sum(1).amax()))
    at = torch.topk(seen.half(), most, dim=1, sorted=False).indices
    some = slopes.gather(1, at[..., None].expand(-1, -1, 2))
    colors = _colors(view, some, depths.gather(1, at), parts, paints, counts, look, behind=False)
    rgb = torch.zeros(*depths.shape, 3, device=depths.device).scatter_(1, at[..., None].expand(-1, -1, 3), colors)
    rgb = torch.where(seen[..., None], rgb, 0.0)
    return rgb.transpose(1, 2).reshape(-1, 3, PICTURE, PICTURE), seen.float().view(-1, 1, PICTURE, PICTURE)


def _far_sides(
    view: View, depths: Tensor, parts: Tensor, paints: Tensor, counts: Tensor, look: _Look
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """First exits (B,GRID*GRID) of rays that enter at ``depths`` (B,GRID*GRID), colours of first and last exits
    (B,6,GRID,GRID), where there is an object (B,GRID,GRID), and whether all is finite (B,)."""
    slopes = view.slopes(GRID)
    first, last = _exits(view, slopes, depths, parts, counts)
    colors = [_colors(view, slopes, d, parts, paints, counts, look, behind=True).transpose(1, 2) for d in (first, last)]
    known = (depths > 0) & (first > 0) & (last > 0)
    out = torch.cat(colors, dim=1)
    return first, out.view(-1, 6, GRID, GRID), known.view(-1, GRID, GRID), out.flatten(1).isfinite().all(1)


def _colors(
    view: View,
    slopes: Tensor,
    depths: Tensor,
    parts: Tensor,
    paints: Tensor,
    counts: Tensor,
    look: _Look,
    behind: bool,
) -> Tensor:
    """(B,N,3) colours at ``depths`` on rays. ``behind``: as if the light stood behind the object in mirror image, so
    that the far side meets the near side at the rim in the same brightness."""
    points = view.eye[:, None] + view.directions(slopes) * depths.clamp_min(0.01)[..., None]
    _, owner = field(points, parts, counts)
    part = parts.gather(1, owner.long()[..., None].expand(-1, -1, parts.shape[2]))[..., PAINT].long()
    paint = paints.gather(1, part.clamp(0, paints.shape[1] - 1)[..., None].expand(-1, -1, paints.shape[2]))
    albedo = _pattern(points, paint)
    # Low-poly: all points of a cell share the normal at its middle.
    cell = look.facet[:, None, None].clamp_min(1e-6)
    warped = points + 0.5 * cell * torch.sin(points.roll(1, -1) / cell)
    middles = torch.where(look.facet[:, None, None] > 0, (torch.round(warped / cell)) * cell, points)
    n = normals(middles.contiguous(), parts, counts)
    forward = view.rotation[:, None, 2]
    toward = (n * forward).sum(-1, keepdim=True)
    if behind:
        n = n - 2 * toward * forward
    else:
        n = torch.where(toward > 0.3, n - 2 * toward * forward, n)
    lit = (n * look.light[:, None]).sum(-1)
    above = 1 + look.sky[:, None] * n[..., 2]
    shade = look.ambient[:, None] * above + look.diffuse[:, None] * (0.5 * lit + 0.5).clamp_min(0) ** 1.5
    open_, _ = field(points + 0.06 * n, parts, counts)
    shade = shade * (1 - look.occlusion[:, None] * (1 - open_ / 0.06).clamp(0, 1))
    half = F.normalize(look.light[:, None] - forward, dim=-1)
    glint = look.shine[:, None] * (n * half).sum(-1).clamp_min(0) ** 24
    fine = look.fine[:, None, None]
    grain = 1 + look.grain[:, None] * torch.sin(points * fine + 7 * torch.sin(points.roll(1, -1) * 0.6 * fine)).sum(-1)
    return (albedo * (shade * grain)[..., None] * look.tint[:, None] + glint[..., None]).clamp(0, 1)


def _pattern(points: Tensor, paint: Tensor) -> Tensor:
    """(B,N,3) colour of ``paint`` (B,N,PAINT_COLUMNS) at points (B,N,3)."""
    kind, frequency, phase = paint[..., PATTERN], paint[..., FREQUENCY], paint[..., PHASE]
    along = (points * paint[..., DIRECTION : DIRECTION + 3]).sum(-1)
    waves = torch.sin(points * frequency[..., None] + phase[..., None])
    mix = torch.zeros_like(along)
    wavy = along + 0.02 * torch.sin(9 * points.sum(-1) + phase)
    mix = torch.where(kind == STRIPES, torch.sigmoid(8 * torch.sin(frequency * wavy + phase)), mix)
    mix = torch.where(kind == SPOTS, torch.sigmoid(12 * (waves.sum(-1) - 0.9)), mix)
    mix = torch.where(kind == SHADED, torch.sigmoid(frequency * (phase - along)), mix)
    mix = torch.where(kind == CHECKS, (waves.prod(-1) > 0).float(), mix)
    a, b = paint[..., COLOR_A : COLOR_A + 3], paint[..., COLOR_B : COLOR_B + 3]
    return a + mix[..., None] * (b - a)
