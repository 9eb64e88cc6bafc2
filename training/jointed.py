"""Figures of separate rigid parts: machines that walk, dolls, building-block people."""

from __future__ import annotations

import math

import numpy as np

from training.parts import Random, X, Y, Z, color, near
from training.sculpture import Sculpture, Vector, frame, turned, unit, vector


def jointed(s: Sculpture, rng: Random) -> None:
    """A head, a trunk and limbs of boxes, drums and balls in few flat colours, in any pose."""
    base = color(rng)
    main = s.paint(base)
    second = s.paint(color(rng)) if rng.random() < 0.5 else s.paint(near(base, rng, 0.3))
    grey = s.paint(near((rng.uniform(0.1, 0.8),) * 3, rng, 0.1))
    eye = s.paint(color(rng)) if rng.random() < 0.4 else s.paint((0.04, 0.04, 0.05))
    legs, torso = rng.uniform(0.14, 0.42), rng.uniform(0.16, 0.32)
    half = vector(rng.uniform(0.05, 0.13), rng.uniform(0.07, 0.17), torso / 2)
    lean, twist = rng.normal(0, 0.12), rng.normal(0, 0.3)
    up = turned(Z, Y, lean)
    hips = vector(0, 0, legs)
    middle = hips + (0.5 * torso + 0.01) * up
    ahead = turned(X, Z, twist)
    axes = np.stack([unit(ahead - (ahead @ up) * up), np.cross(up, unit(ahead - (ahead @ up) * up)), up])
    # 1. The trunk.
    style = rng.random()
    if style < 0.45:
        s.box(middle, half, axes, min(half) * rng.uniform(0.05, 0.7), main)
    else:
        low, high = half[1] * rng.uniform(0.5, 1.1), half[1] * rng.uniform(0.7, 1.1)
        s.drum(middle - half[2] * up, middle + half[2] * up, low, high, 0.01, main)
    if rng.random() < 0.5:  # a plate, a belt
        plate = middle + 0.8 * half[0] * axes[0] + rng.uniform(-0.3, 0.5) * half[2] * up
        s.box(plate, half * vector(0.4, rng.uniform(0.3, 0.8), rng.uniform(0.15, 0.5)), axes, 0.005, second)
    s.drum(hips - 0.02 * up, hips + 0.03 * up, half[1] * 0.8, half[1] * 0.7, 0.005, grey)
    # 2. The head on a neck.
    top = middle + half[2] * up
    neck = rng.uniform(0.0, 0.07)
    s.drum(top - 0.01 * up, top + (neck + 0.02) * up, 0.03, 0.03, 0.003, grey)
    _head(
        s,
        rng,
        top + neck * up,
        turned(unit(axes[0] + rng.normal(0, 0.12) * Z), Z, rng.normal(0, 0.35)),
        (main, second, grey, eye),
    )
    # 3. Limbs.
    thick = rng.uniform(0.02, 0.05)
    arm, hand = rng.uniform(0.2, 0.42), int(rng.integers(0, 4))
    boxy, bulky = rng.random() < 0.3, rng.uniform(0.8, 1.8)
    stride = rng.normal(0, 0.35)
    for sign in (-1, 1):
        root = top - 0.2 * half[2] * up + sign * (half[1] + 0.6 * thick) * axes[1]
        d = turned(turned(-Z, X, sign * min(abs(rng.normal(0.3, 0.7)), 2.9)), Y, rng.normal(-0.2, 0.6))
        end, d = _limb(
            s,
            rng,
            root,
            d,
            arm,
            thick,
            bulky,
            boxy,
            unit(rng.normal(0, 1, 3)),
            rng.normal(0, 0.8),
            (main, second, grey),
        )
        _hand(s, rng, end, d, hand, thick, (second, grey))
        root = hips + sign * 0.55 * half[1] * axes[1]
        d = turned(turned(-Z, X, sign * rng.normal(0.05, 0.08)), Y, sign * stride + rng.normal(0, 0.08))
        end, d = _limb(
            s, rng, root, d, legs, 1.15 * thick, bulky, boxy, Y, abs(rng.normal(0, 0.4)), (main, second, grey)
        )
        size = thick * rng.uniform(1.2, 2.2)
        if rng.random() < 0.6:
            s.box(end + 0.5 * size * X, [1.4 * size, size, 0.6 * size], frame(X), 0.3 * size, second)
        else:
            s.cone(end, end + 1.2 * size * X, size, 0.9 * size, second, 0.0, (1.0, 0.7), Y)


def _head(s: Sculpture, rng: Random, at: Vector, ahead: Vector, paints: tuple[int, int, int, int]) -> None:
    main, second, grey, dark = paints
    r = rng.uniform(0.06, 0.17)
    axes = frame(ahead, unit(np.cross(Z, ahead)))
    side, up = axes[1], axes[2]
    deep, wide, high = r * rng.uniform(0.6, 1.1), r * rng.uniform(0.8, 1.5), r * rng.uniform(0.6, 1.1)
    middle = at + 0.95 * high * up
    style = rng.random()
    if style < 0.5:
        s.box(middle, [deep, wide, high], axes, min(deep, wide, high) * rng.uniform(0.05, 0.8), main)
    elif style < 0.75:
        s.drum(middle - high * up, middle + high * up, wide, wide * rng.uniform(0.7, 1.0), 0.2 * r, main)
        deep = wide
    else:
        s.cone(middle, middle + 1e-3 * X, high, high, main, 0.0)
        deep = wide = high
    front = middle + deep * axes[0] + rng.uniform(-0.2, 0.3) * high * up
    look = rng.random()
    if look < 0.55:  # lamps or discs for eyes
        size = min(wide, high) * rng.uniform(0.2, 0.48)
        for sign in (-1, 1):
            place = front + sign * rng.uniform(0.45, 0.55) * wide * side
            s.drum(place - 0.1 * r * axes[0], place + rng.uniform(0.0, 0.2) * r * axes[0], size, size, 0.003, dark)
    elif look < 0.85:  # a visor
        s.box(front, [0.12 * r, 0.8 * wide, high * rng.uniform(0.15, 0.35)], axes, 0.004, dark)
    if rng.random() < 0.4:
        s.box(front - 0.65 * high * up, [0.06 * r, 0.5 * wide, 0.08 * high], axes, 0.003, grey)
    extra = rng.random()
    if extra < 0.3:  # an antenna
        tip = middle + (high + rng.uniform(0.05, 0.15)) * up
        s.drum(middle + 0.8 * high * up, tip, 0.008, 0.006, 0.001, grey)
        s.cone(tip, tip + 1e-3 * X, 0.02, 0.02, second, 0.0)
    elif extra < 0.55:  # ear caps
        for sign in (-1, 1):
            s.drum(
                middle + sign * 0.9 * wide * side,
                middle + sign * 1.15 * wide * side,
                0.4 * high,
                0.35 * high,
                0.004,
                second,
            )
    elif extra < 0.75:  # a lid
        s.box(middle + high * up, [0.9 * deep, 0.9 * wide, 0.15 * high], axes, 0.01, second)


def _limb(
    s: Sculpture,
    rng: Random,
    root: Vector,
    d: Vector,
    length: float,
    r: float,
    bulky: float,
    boxy: bool,
    hinge: Vector,
    bend: float,
    paints: tuple[int, int, int],
) -> tuple[Vector, Vector]:
    """Two rigid parts with balls at their joints; the end and the last direction."""
    main, second, grey = paints
    at, d = root, unit(d)
    s.cone(root, root + 1e-3 * X, 1.3 * r, 1.3 * r, grey, 0.0)
    for i in range(2):
        if i:
            d = turned(d, hinge, bend)
            s.cone(at, at + 1e-3 * X, r, r, grey, 0.0)
        end = at + 0.5 * length * d
        thick = r * (bulky if i else 1.0)
        shell = second if i and rng.random() < 0.4 else main
        if boxy:
            s.box((at + end) / 2, [0.22 * length, thick, thick], frame(d), 0.2 * thick, shell)
        else:
            s.drum(
                at + 0.04 * length * d, end - 0.04 * length * d, thick, thick * rng.uniform(0.8, 1.2), 0.1 * r, shell
            )
        at = end
    return at, d


def _hand(s: Sculpture, rng: Random, at: Vector, d: Vector, fingers: int, r: float, paints: tuple[int, int]) -> None:
    second, grey = paints
    s.cone(at, at + 0.8 * r * d, 1.1 * r, r, second, 0.0)
    across = unit(np.cross(d, X) + 1e-3 * Y)
    for i in range(fingers):
        turn = (i - (fingers - 1) / 2) * 0.5
        finger = turned(d, across if fingers < 3 else unit(np.cross(across, d)), turn)
        s.cone(at + 1.2 * r * finger, at + (2.2 + 0.3 * math.sin(i)) * r * finger, 0.4 * r, 0.35 * r, grey, 0.0)
