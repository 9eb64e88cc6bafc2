"""Triton kernel of `distances.fused_terms`; imported only where Triton is installed."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def weighted_distance_kernel(  # type: ignore[no-untyped-def]
    world,
    transforms,
    points,
    weights,
    toward_world,
    sums,
    blocks,
    pixels,
    chunks,
    rounding,
    SLOTS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """One image and one run of pixels: over all slots, distances, their pull on the world, and 13 sums per slot.

    Layouts (contiguous): world, toward_world (N, B, 3, Q); transforms (N, S, 3, 4); points (N, S, B, 3, Q);
    weights (N, S, B, Q); sums (N, S, B * chunks, 13), which are the transform's gradient row by row, then the loss.
    """
    # 1. Which image, which block of its pixels, which run within that: BLOCK pixels (lanes).
    image = tl.program_id(0).to(tl.int64)
    run = tl.program_id(1)
    block = run // chunks
    pixel = (run % chunks) * BLOCK + tl.arange(0, BLOCK)
    inside = pixel < pixels
    at_world = (image * blocks + block) * 3 * pixels + pixel
    world_x = tl.load(world + at_world, mask=inside, other=0.0)
    world_y = tl.load(world + at_world + pixels, mask=inside, other=0.0)
    world_z = tl.load(world + at_world + 2 * pixels, mask=inside, other=0.0)
    # 2. What all slots together pull the world with.
    total_x = tl.zeros([BLOCK], dtype=tl.float32)
    total_y = tl.zeros([BLOCK], dtype=tl.float32)
    total_z = tl.zeros([BLOCK], dtype=tl.float32)
    for slot in range(SLOTS):
        row = image * SLOTS + slot
        matrix = transforms + row * 12
        at = (row * blocks + block) * 3 * pixels + pixel
        # 3. A slot's points, laid into the world by its pair's transform, and how far from the world they end.
        x = tl.load(points + at, mask=inside, other=0.0)
        y = tl.load(points + at + pixels, mask=inside, other=0.0)
        z = tl.load(points + at + 2 * pixels, mask=inside, other=0.0)
        weight = tl.load(weights + (row * blocks + block) * pixels + pixel, mask=inside, other=0.0)
        away_x = tl.load(matrix) * x + tl.load(matrix + 1) * y + tl.load(matrix + 2) * z + tl.load(matrix + 3)
        away_y = tl.load(matrix + 4) * x + tl.load(matrix + 5) * y + tl.load(matrix + 6) * z + tl.load(matrix + 7)
        away_z = tl.load(matrix + 8) * x + tl.load(matrix + 9) * y + tl.load(matrix + 10) * z + tl.load(matrix + 11)
        away_x -= world_x
        away_y -= world_y
        away_z -= world_z
        distance = tl.sqrt(away_x * away_x + away_y * away_y + away_z * away_z)
        # 4. Their pull: a unit vector times the weight, less within rounding of the place.
        strength = weight / tl.maximum(distance, rounding)
        push_x = away_x * strength
        push_y = away_y * strength
        push_z = away_z * strength
        total_x += push_x
        total_y += push_y
        total_z += push_z
        # 5. The gradient of the transform, pull times (x, y, z, 1) row by row, and the weighted distance.
        out = sums + (row * blocks * chunks + run) * 13
        tl.store(out, tl.sum(push_x * x))
        tl.store(out + 1, tl.sum(push_x * y))
        tl.store(out + 2, tl.sum(push_x * z))
        tl.store(out + 3, tl.sum(push_x))
        tl.store(out + 4, tl.sum(push_y * x))
        tl.store(out + 5, tl.sum(push_y * y))
        tl.store(out + 6, tl.sum(push_y * z))
        tl.store(out + 7, tl.sum(push_y))
        tl.store(out + 8, tl.sum(push_z * x))
        tl.store(out + 9, tl.sum(push_z * y))
        tl.store(out + 10, tl.sum(push_z * z))
        tl.store(out + 11, tl.sum(push_z))
        tl.store(out + 12, tl.sum(weight * distance))
    # 6. The world is pulled the other way.
    tl.store(toward_world + at_world, -total_x, mask=inside)
    tl.store(toward_world + at_world + pixels, -total_y, mask=inside)
    tl.store(toward_world + at_world + 2 * pixels, -total_z, mask=inside)
