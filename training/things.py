"""Random things: plants, vehicles, furniture, tools, vessels, and whatever boxes and balls add up to."""

from __future__ import annotations

import colorsys
import math

import numpy as np

from training.parts import (
    Random,
    X,
    Y,
    Z,
    coat,
    near,
    plain,
)
from training.sculpture import Sculpture, frame, turned, unit, vector


def plant(s: Sculpture, rng: Random) -> None:
    """Trees, mushrooms, cacti, flowers and potted plants."""
    style = rng.choice(["tree", "mushroom", "cactus", "flower"])
    green = colorsys.hsv_to_rgb(rng.uniform(0.18, 0.45), rng.uniform(0.3, 0.9), rng.uniform(0.2, 0.9))
    leaf, wood = coat(s, rng, green if rng.random() < 0.8 else None), s.paint(near((0.45, 0.3, 0.18), rng))
    tall, r = rng.uniform(0.3, 0.7), rng.uniform(0.02, 0.09)
    top = vector(rng.normal(0, 0.08), rng.normal(0, 0.08), tall)
    if style == "tree":
        s.cone(vector(0, 0, 0), top, 1.3 * r, 0.8 * r, wood, 0.02)
        if rng.random() < 0.4:
            for i in range(int(rng.integers(2, 5))):
                size = rng.uniform(0.15, 0.3) * (1 - 0.22 * i)
                at = top + (0.18 * i - 0.15) * Z
                s.drum(at, at + 0.25 * Z, size, 0.02, 0.01, leaf, 0.01)
        else:
            for _ in range(int(rng.integers(3, 9))):
                at = top + rng.normal(0, 0.16, 3) * vector(1, 1, 0.7)
                s.cone(0.6 * top, at, 0.5 * r, 0.3 * r, wood, 0.02)
                s.cone(at, at + 0.02 * Z, *(rng.uniform(0.08, 0.2, 2)), leaf, 0.05)
    elif style == "mushroom":
        s.cone(vector(0, 0, 0), top, 1.8 * r, 1.2 * r, wood, 0.02)
        cap = rng.uniform(0.15, 0.4)
        s.cone(top, top + 0.05 * Z, cap, cap * rng.uniform(0.4, 0.9), leaf, 0.02, (1.0, 1.0))
        s.drum(top - cap * Z, top - 0.02 * Z, 1.1 * cap, 1.1 * cap, 0.0, wood, 0.01, cuts=True)
        s.cone(vector(0, 0, 0), top, 1.8 * r, 1.2 * r, wood, 0.02)
    elif style == "cactus":
        r = rng.uniform(0.06, 0.14)
        s.cone(vector(0, 0, 0), tall * Z, r, 0.9 * r, leaf, 0.02)
        for _ in range(int(rng.integers(0, 4))):
            angle = rng.uniform(0, 6.3)
            out = vector(math.cos(angle), math.sin(angle), rng.uniform(0, 0.4))
            at = tall * rng.uniform(0.3, 0.8) * Z
            elbow = at + rng.uniform(0.15, 0.28) * unit(out)
            s.cone(at, elbow, 0.6 * r, 0.55 * r, leaf, 0.03)
            s.cone(elbow, elbow + rng.uniform(0.1, 0.3) * Z, 0.55 * r, 0.5 * r, leaf, 0.03)
    else:
        s.cone(vector(0, 0, 0), top, 0.5 * r, 0.4 * r, leaf, 0.01)
        petal, count = plain(s, rng), int(rng.integers(5, 9))
        facing = unit(Z + rng.normal(0, 0.8, 3))
        axes = frame(facing)
        size = rng.uniform(0.08, 0.2)
        for i in range(count):
            out = turned(axes[1], facing, 2 * math.pi * i / count)
            tip = top + size * unit(out + rng.uniform(-0.2, 0.6) * facing)
            s.cone(top, tip, 0.02, 0.4 * size, petal, 0.01, (0.2, 1.0), facing)
        s.cone(top, top + 0.02 * facing, 0.3 * size, 0.3 * size, plain(s, rng), 0.01)
        for _ in range(int(rng.integers(1, 4))):
            angle = rng.uniform(0, 6.3)
            at = top * rng.uniform(0.2, 0.7)
            s.cone(
                at,
                at + rng.uniform(0.15, 0.3) * vector(math.cos(angle), math.sin(angle), 0.6),
                0.02,
                0.05,
                leaf,
                0.01,
                (1.0, 0.2),
                -Z,
            )
    if rng.random() < 0.3:
        pot = coat(s, rng)
        s.drum(vector(0, 0, -0.2), vector(0, 0, 0.02), rng.uniform(0.08, 0.14), rng.uniform(0.12, 0.2), 0.01, pot)


def vehicle(s: Sculpture, rng: Random) -> None:
    """Cars, trucks, planes, boats and carts of boxes, drums and wheels."""
    body, glass = coat(s, rng), s.paint(near((0.15, 0.2, 0.28), rng))
    tyre = s.paint(near((0.08, 0.08, 0.08), rng))
    axes = np.eye(3)
    length, wide, high = rng.uniform(0.3, 0.5), rng.uniform(0.1, 0.2), rng.uniform(0.05, 0.12)
    if rng.random() < 0.25:
        r = rng.uniform(0.05, 0.1)
        s.cone(-length * X, length * X, 0.4 * r, r, body, 0.02)
        s.cone(0.55 * length * X + 0.6 * r * Z, 0.3 * length * X + 0.6 * r * Z, 0.5 * r, 0.5 * r, glass, 0.01)
        span, sweep = rng.uniform(0.3, 0.6), rng.uniform(0, 0.4)
        for sign in (-1, 1):
            s.cone(
                0.1 * length * X,
                span * unit(sign * Y - sweep * X + rng.normal(0.05, 0.05) * Z),
                0.12,
                0.05,
                body,
                0.01,
                (1.0, 0.15),
                X,
            )
            s.cone(
                -0.9 * length * X, -0.95 * length * X + 0.35 * span * sign * Y, 0.06, 0.04, body, 0.01, (1.0, 0.2), X
            )
        s.cone(-0.9 * length * X, -length * X + 0.35 * span * Z, 0.08, 0.04, body, 0.01, (0.2, 1.0), Y)
        return
    s.box(vector(0, 0, 0), [length, wide, high], axes, rng.uniform(0.01, 0.06), body)
    cabin = length * rng.uniform(0.25, 0.6)
    shift = rng.uniform(-0.4, 0.45) * length
    s.box(
        vector(shift, 0, 1.6 * high),
        [cabin, 0.88 * wide, high * rng.uniform(0.7, 1.5)],
        axes,
        rng.uniform(0.01, 0.05),
        glass if rng.random() < 0.5 else body,
        0.02,
    )
    if rng.random() < 0.3:
        s.box(
            vector(-0.5 * length, 0, 1.8 * high),
            [0.45 * length, wide, high * rng.uniform(0.8, 2)],
            axes,
            0.01,
            coat(s, rng),
        )
    r = rng.uniform(0.05, 0.12)
    for x in [-0.6, 0.6] if rng.random() < 0.8 else [-0.7, -0.35, 0.65]:
        for sign in (-1, 1):
            at = vector(x * length, sign * 0.95 * wide, -high)
            s.drum(at - 0.25 * r * sign * Y, at + 0.3 * r * sign * Y, r, r, 0.01, tyre)
            s.drum(at, at + 0.36 * r * sign * Y, 0.5 * r, 0.5 * r, 0.005, body)


def furniture(s: Sculpture, rng: Random) -> None:
    """Chairs, tables, shelves, lamps."""
    wood, cloth = coat(s, rng), coat(s, rng)
    style = rng.choice(["chair", "table", "sofa", "lamp"])
    axes = np.eye(3)
    wide, deep, high = rng.uniform(0.18, 0.4), rng.uniform(0.18, 0.3), rng.uniform(0.15, 0.4)
    r = rng.uniform(0.012, 0.035)
    if style == "lamp":
        s.drum(vector(0, 0, 0), vector(0, 0, 0.03), 0.15, 0.13, 0.005, wood)
        joint = vector(rng.normal(0, 0.1), rng.normal(0, 0.1), rng.uniform(0.2, 0.5))
        s.cone(vector(0, 0, 0), joint, r, r, wood, 0.01)
        d = unit(rng.normal(0, 1, 3) + Z)
        s.cone(joint, joint + 0.25 * d, r, r, wood, 0.01)
        s.drum(joint + 0.2 * d, joint + 0.4 * d, 0.06, 0.17, 0.005, cloth)
        s.drum(joint + 0.24 * d, joint + 0.45 * d, 0.04, 0.16, 0.0, cloth, 0.001, cuts=True)
        return
    thick = rng.uniform(0.015, 0.06) if style != "sofa" else rng.uniform(0.06, 0.12)
    s.box(vector(0, 0, high), [deep, wide, thick], axes, 0.3 * thick, cloth if style != "table" else wood)
    splay = rng.uniform(0, 0.15)
    if style != "sofa" or rng.random() < 0.5:
        for x in (-1, 1):
            for y in (-1, 1):
                top = vector(0.85 * x * deep, 0.85 * y * wide, high)
                s.cone(top, top * vector(1 + splay, 1 + splay, 0), r, r * rng.uniform(0.6, 1), wood, 0.003)
    if style != "table":
        back = rng.uniform(0.2, 0.4)
        lean = frame(turned(X, Y, -rng.uniform(0, 0.25)), Y)
        s.box(vector(-0.95 * deep, 0, high + back), [max(thick, 0.02), wide, back], lean, 0.01, cloth)
        if style == "sofa" or rng.random() < 0.3:
            for y in (-1, 1):
                s.box(vector(0, y * wide, high + 0.1), [deep, max(0.7 * thick, 0.02), 0.1], axes, 0.01, wood)


def tool(s: Sculpture, rng: Random) -> None:
    """Hammers, keys, spoons, brushes, rackets, umbrellas: a handle and something at its end."""
    grip, metal = coat(s, rng), plain(s, rng)
    d = unit(rng.normal(0, 1, 3) * vector(1, 1, 1.5))
    axes = frame(d)
    length, r = rng.uniform(0.4, 0.8), rng.uniform(0.015, 0.05)
    end = length * d
    s.cone(vector(0, 0, 0), end, r, r * rng.uniform(0.6, 1.2), grip, 0.01)
    style = rng.choice(["hammer", "spoon", "ring", "blade", "brush"])
    size = rng.uniform(0.08, 0.2)
    if style == "hammer":
        s.drum(end - size * axes[1], end + size * axes[1], *(size * rng.uniform(0.2, 0.5, 2)), 0.01, metal)
    elif style == "spoon":
        s.cone(end, end + size * d, 0.6 * size, 0.5 * size, metal, 0.02, (1.0, rng.uniform(0.15, 0.4)), axes[1])
    elif style == "ring":
        s.ring(end + size * d, axes[2], size, rng.uniform(0.012, 0.04), metal, 0.01)
    elif style == "blade":
        s.box(end + size * d, [1.5 * size, rng.uniform(0.03, 0.1), 0.012], axes, 0.006, metal, 0.01)
    else:
        s.box(end, [0.4 * size, size, 0.4 * size], axes, 0.01, metal)
        s.box(end + 0.6 * size * d, [0.4 * size, 0.95 * size, 0.35 * size], axes, 0.01, plain(s, rng))


def vessel(s: Sculpture, rng: Random) -> None:
    """Cups, bottles, vases, pots: revolved outlines, hollow or not, with handles, spouts and lids."""
    glaze = coat(s, rng)
    count = int(rng.integers(2, 5))
    heights = np.cumsum(rng.uniform(0.08, 0.3, count))
    radii = rng.uniform(0.08, 0.28, count + 1) if rng.random() < 0.6 else np.full(count + 1, rng.uniform(0.12, 0.25))
    z = np.concatenate([[0.0], heights])
    for i in range(count):
        s.drum(z[i] * Z, z[i + 1] * Z, radii[i], radii[i + 1], 0.01, glaze, 0.02)
    if rng.random() < 0.6:
        wall = rng.uniform(0.012, 0.03)
        inner = plain(s, rng)
        for i in range(count):
            top = z[i + 1] + (0.2 if i == count - 1 else 0.005)
            s.drum(
                max(z[i], 0.03) * Z,
                top * Z,
                max(radii[i] - wall, 0.02),
                max(radii[i + 1] - wall, 0.02),
                0.0,
                inner,
                0.001,
                cuts=True,
            )
    middle = 0.5 * z[-1]
    reach = float(np.interp(middle, z, radii))
    for sign in (1, -1)[: int(rng.integers(0, 3))]:
        r = rng.uniform(0.06, 0.14)
        at = vector(0, sign * (reach + 0.55 * r), middle * rng.uniform(0.8, 1.3))
        s.ring(at, X, r, rng.uniform(0.012, 0.035), glaze, 0.01)
    if rng.random() < 0.25:
        start = vector(reach, 0, 0.6 * middle)
        s.cone(start, start + vector(rng.uniform(0.1, 0.25), 0, rng.uniform(0.1, 0.3)), 0.05, 0.025, glaze, 0.02)


def composite(s: Sculpture, rng: Random) -> None:
    """Anything: balls, boxes, drums and rings stuck together, sometimes mirrored."""
    paints = [coat(s, rng) for _ in range(3)]
    mirrored = rng.random() < 0.6
    at = vector(0, 0, 0)
    for _ in range(int(rng.integers(3, 10))):
        shape, size, paint = rng.random(), rng.uniform(0.05, 0.2), int(rng.choice(paints))
        d = unit(rng.normal(0, 1, 3))
        for sign in (1, -1) if mirrored and abs(at[1]) > 0.04 else (1,):
            flip = vector(1, sign, 1)
            place, way = at * flip, d * flip
            if shape < 0.5:
                s.cone(
                    place,
                    place + rng.uniform(0.02, 0.3) * way,
                    size,
                    size * rng.uniform(0.3, 1),
                    paint,
                    rng.uniform(0.002, 0.06),
                    (rng.uniform(0.3, 1), 1.0),
                )
            elif shape < 0.75:
                s.box(
                    place,
                    [size * rng.uniform(0.3, 1.6) for _ in range(3)],
                    frame(way),
                    size * rng.uniform(0.02, 0.3),
                    paint,
                    rng.uniform(0, 0.02),
                )
            elif shape < 0.9:
                s.drum(
                    place,
                    place + rng.uniform(0.05, 0.3) * way,
                    size,
                    size * rng.uniform(0.2, 1.2),
                    0.01,
                    paint,
                    rng.uniform(0, 0.02),
                )
            else:
                s.ring(place, way, size, size * rng.uniform(0.15, 0.4), paint, 0.01)
        at = at * rng.uniform(0.3, 1) + rng.uniform(0.08, 0.3) * unit(rng.normal(0, 1, 3))
