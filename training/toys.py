"""Toy animals of one piece: plump bodies that flow into neck and tail, big heads with horns or frills, stout legs."""

from __future__ import annotations

import math

import numpy as np

from training.anatomy import downwards, side_eyes
from training.parts import Random, X, Y, Z, chain, coat, color, ears, eyes, near, plain
from training.sculpture import CENTER, SIZE, Sculpture, Vector, turned, unit, vector


def toy(s: Sculpture, rng: Random) -> None:
    """On four stout legs, or upright on two with flippers, wings or arms."""
    base = color(rng)
    fur = coat(s, rng, base)
    pale = s.paint(near((0.93, 0.88, 0.75), rng, 0.15)) if rng.random() < 0.6 else plain(s, rng, base)
    if rng.random() < 0.72:
        _on_four(s, rng, base, fur, pale)
    else:
        _upright(s, rng, base, fur, pale)


def _on_four(s: Sculpture, rng: Random, base: tuple[float, ...], fur: int, pale: int) -> None:
    length, deep = rng.uniform(0.28, 0.6), rng.uniform(0.1, 0.21)
    wide, legs = rng.uniform(0.75, 1.1), rng.uniform(0.08, 0.3)
    height = legs + 0.55 * deep
    # 1. The trunk: an arched row of balls, fattest wherever it likes.
    bow, arch = rng.normal(0, 0.25), rng.normal(0.02, 0.04)
    hips = vector(-0.5 * length, 0, height)
    d = turned(X, Z, -bow)
    middle = hips + 0.5 * length * d + arch * Z
    chest = middle + 0.5 * length * turned(d, Z, 2 * bow) + (rng.normal(0, 0.04) - arch) * Z
    radii = [deep * rng.uniform(0.7, 1.05), deep * rng.uniform(0.9, 1.15), deep * rng.uniform(0.7, 1.05)]
    blend, flat = rng.uniform(0.03, 0.09), (wide, 1.0)
    for i, (a, b) in enumerate(((hips, middle), (middle, chest))):
        s.cone(a, b, radii[i], radii[i + 1], fur, blend, flat, Y)
    if rng.random() < 0.6:
        drop = rng.uniform(0.1, 0.25) * deep
        s.cone(hips - drop * Z, chest - drop * Z, 0.9 * radii[0], 0.9 * radii[2], pale, 0.01, flat, Y)
    # 2. Neck and head: from none to long, level to upright; the head is carried level.
    forward, back = unit(chest - middle), unit(hips - middle)
    look = rng.normal(0, 0.3)
    reach = deep * (rng.uniform(0.1, 0.9) if rng.random() < 0.55 else rng.uniform(0.9, 3.2))
    rise = rng.uniform(-0.1, 1.4)
    d = turned(unit(math.cos(rise) * forward + math.sin(rise) * Z), Z, 0.4 * look)
    skull = deep * rng.uniform(0.5, 1.25)
    slim = min(skull * rng.uniform(0.6, 0.95), radii[2])
    bends = [(Y, 0.0), (Y, rng.uniform(-0.35, 0.3)), (Y, rng.uniform(-0.2, 0.5))]
    thick = [0.85 * radii[2], 0.5 * (0.85 * radii[2] + slim), slim, slim]
    at, _ = chain(s, rng, chest + 0.2 * deep * d, d, [reach / 3] * 3, thick, bends, fur, blend, flat, Y)
    throat = _balls(s, 3)
    ahead = unit(turned(forward, Z, look) + rng.normal(-0.1, 0.2) * Z)
    crown = _head(s, rng, at, ahead, skull, base, fur, pale)
    # 3. The tail goes on from the body.
    total = length * (rng.uniform(0.15, 0.5) if rng.random() < 0.4 else rng.uniform(0.5, 1.3))
    root = radii[0] * rng.uniform(0.45, 0.85)
    bends = [(Y, rng.normal(0, 0.18)) if i % 2 else (Z, rng.normal(0, 0.22)) for i in range(5)]
    radii_ = [root * (1 - 0.85 * (i / 5) ** rng.uniform(0.7, 1.1)) for i in range(6)]
    start = unit(back + rng.normal(0.0, 0.3) * Z)
    chain(s, rng, hips + 0.3 * radii[0] * start, start, [total / 5] * 5, radii_, bends, fur, blend)
    stern = _balls(s, 5)
    # 4. Four legs as stout as columns, on one ground, the near pair and the far pair out of step.
    _columns(s, rng, hips, chest, radii, wide, legs, (fur, plain(s, rng, base) if rng.random() < 0.3 else fur, pale))
    # 5. Plates, knobs or a mane from the head to the tail.
    if rng.random() < 0.45:
        mark = plain(s, rng)
        line = [
            (crown, 0.9 * skull),
            *throat[:0:-1],
            (chest, radii[2]),
            (middle, radii[1]),
            (hips, radii[0]),
            *stern[1:],
        ]
        _plates(s, rng, line, deep * rng.uniform(0.18, 0.5), mark)


def _balls(s: Sculpture, count: int) -> list[tuple[Vector, float]]:
    """Where the last ``count`` cones begin, and how thick they are there."""
    return [(row[CENTER : CENTER + 3].copy(), float(row[SIZE + 1])) for row in s.rows[-count:]]


def _head(
    s: Sculpture, rng: Random, at: Vector, ahead: Vector, skull: float, base: tuple[float, ...], fur: int, pale: int
) -> Vector:
    """Skull, muzzle or beak, eyes, and ears, horns or a frill; its middle."""
    side = unit(np.cross(Z, ahead))
    up = unit(np.cross(ahead, side))
    at = at + 0.35 * skull * ahead
    squash = (rng.uniform(0.85, 1.1), rng.uniform(0.85, 1.05))
    s.cone(at - 0.2 * skull * ahead, at + 0.15 * skull * ahead, skull, 0.95 * skull, fur, 0.03, squash, side)
    length = skull * (rng.uniform(0.1, 0.7) if rng.random() < 0.6 else rng.uniform(0.7, 1.5))
    r0, r1 = skull * rng.uniform(0.5, 0.9), skull * rng.uniform(0.25, 0.7)
    down = unit(ahead - rng.uniform(0, 0.35) * Z)
    nose = at + 0.55 * skull * ahead + length * down
    muzzle = pale if rng.random() < 0.3 else fur
    s.cone(at + 0.4 * skull * ahead - 0.15 * skull * Z, nose, r0, r1, muzzle, 0.04, (rng.uniform(0.8, 1.2), 1.0), side)
    if rng.random() < 0.35:  # a beak's hook, or a nose
        hook = s.paint(color(rng))
        s.cone(nose + 0.6 * r1 * down, nose + r1 * (1.1 * down - 0.4 * Z), 0.5 * r1, 0.2 * r1, hook, 0.01)
    if rng.random() < 0.5:
        eyes(s, rng, at, ahead, skull)
    else:
        side_eyes(s, rng, at, ahead, side, skull)
    style = rng.random()
    if style < 0.3:
        ears(s, rng, at - 0.1 * skull * ahead, ahead, skull, fur)
    elif style < 0.75:  # horns over the eyes, on the nose, or both
        horn = s.paint(near((0.8, 0.75, 0.6), rng, 0.3) if rng.random() < 0.6 else color(rng))
        long, sweep, spread = skull * rng.uniform(0.4, 2.0), rng.uniform(-0.6, 1.0), rng.uniform(0.1, 0.7)
        thick = skull * rng.uniform(0.12, 0.26)
        if rng.random() < 0.75:
            for sign in (-1, 1):
                out = unit(up + sweep * ahead + sign * spread * side)
                root = at + 0.75 * skull * unit(0.9 * up + 0.2 * ahead + sign * 0.6 * side)
                bends = [(side, 0.0), (side, rng.normal(0, 0.35))]
                chain(s, rng, root, out, [long / 2] * 2, [thick, 0.7 * thick, 0.15 * thick], bends, horn, 0.01)
        if rng.random() < 0.6:
            root = at + 0.4 * skull * ahead + 0.6 * length * down + 0.75 * r1 * up
            tip = root + long * rng.uniform(0.3, 0.7) * unit(up + rng.uniform(-0.2, 0.8) * ahead)
            s.cone(root, tip, 0.9 * thick, 0.15 * thick, horn, 0.01)
    if rng.random() < 0.25:
        _frill(s, rng, at, ahead, side, skull, fur if rng.random() < 0.5 else plain(s, rng, base))
    return at


def _frill(s: Sculpture, rng: Random, at: Vector, ahead: Vector, side: Vector, skull: float, paint: int) -> None:
    """A shield behind the head, leaning back, with knobs on its rim, or a mane around it."""
    up = unit(np.cross(ahead, side))
    lean = rng.uniform(0.2, 1.6)  # how far it leans back
    out = unit(up - lean * ahead)
    wide, high = skull * rng.uniform(0.9, 1.7), skull * rng.uniform(0.5, 1.5)
    thin = rng.uniform(0.1, 0.3)
    root = at - 0.35 * skull * ahead + 0.3 * skull * up
    # Squeezed along its normal, which is square to `out` and to the side.
    rim_wide = wide * rng.uniform(0.7, 1.1)
    s.cone(root, root + high * out, wide, rim_wide, paint, 0.02, (1.0, thin), side)
    if rng.random() < 0.5:
        knob, mark = skull * rng.uniform(0.1, 0.22), plain(s, rng)
        for i in range(5):
            angle = -1.2 + 2.4 * i / 4
            rim = root + high * out + 0.95 * rim_wide * (math.sin(angle) * side + math.cos(angle) * out)
            s.cone(rim, rim + knob * out, knob, 0.5 * knob, mark, 0.01)


def _columns(
    s: Sculpture,
    rng: Random,
    hips: Vector,
    chest: Vector,
    radii: list[float],
    wide: float,
    legs: float,
    paints: tuple[int, int, int],
) -> None:
    """Stout legs with feet, and at times nails or toes."""
    fur, lower, nail = paints
    thick = radii[1] * rng.uniform(0.26, 0.5)
    stride, phase = rng.uniform(0, 0.7), rng.uniform(0, 2 * math.pi)
    beats = (0, math.pi, math.pi, 0) if rng.random() < 0.6 else tuple(rng.uniform(0, 2 * math.pi, 4))
    taper, foot = rng.uniform(0.65, 1.05), rng.uniform(0.95, 1.4)
    toes = int(rng.integers(2, 5)) if rng.random() < 0.45 else 0
    for number, (front, sign) in enumerate(((True, 1), (True, -1), (False, 1), (False, -1))):
        beat = phase + beats[number]
        swing, lift = stride * math.sin(beat), max(0.0, math.cos(beat)) * stride
        hip, r = (chest, radii[2]) if front else (hips, radii[0])
        root = hip + vector(-0.2 * r if front else 0.1 * r, sign * (0.62 * r * wide), -0.2 * r)
        bend = 0.5 * lift * (1 if front else -1)
        out = sign * rng.normal(0.04, 0.05)
        total = root[2] - 0.4 * thick
        knee = root + 0.55 * total * downwards(swing + bend, out)
        heel = knee + 0.45 * total / max(math.cos(swing), 0.7) * downwards(swing - bend, out)
        heel[2] = max(float(heel[2]), 0.4 * thick)
        s.cone(root, knee, thick * rng.uniform(1.15, 1.7), thick, fur, 0.04, (0.95, 1.0), Y)
        s.cone(knee, heel, thick, taper * thick, lower, 0.02)
        ball = heel + rng.uniform(0.1, 0.7) * thick * X
        s.cone(heel, ball, foot * taper * thick, 0.9 * foot * taper * thick, lower, 0.015, (1.0, 0.7), Y)
        for i in range(toes):
            d = turned(X, Z, -0.7 + 1.4 * i / max(toes - 1, 1))
            tip = ball + 0.8 * foot * taper * thick * d - 0.2 * thick * Z
            s.cone(tip, tip + 0.1 * thick * d, 0.28 * thick, 0.24 * thick, nail, 0.008)


def _plates(s: Sculpture, rng: Random, line: list[tuple[Vector, float]], high: float, paint: int) -> None:
    """Plates, knobs or cones upright along the tops of balls (middle, radius) in a row."""
    count = int(rng.integers(5, 14))
    thin = rng.uniform(0.2, 1.0)
    for i in range(count):
        share = (i + 0.5) / count * (len(line) - 1)
        k = min(int(share), len(line) - 2)
        (a, ra), (b, rb) = line[k], line[k + 1]
        at = a + (share - k) * (b - a) + (0.9 * (ra + (share - k) * (rb - ra))) * Z
        size = high * (0.45 + 0.55 * math.sin(math.pi * (i + 0.5) / count))
        s.cone(at, at + 0.8 * size * Z, 0.55 * size, 0.2 * size, paint, 0.01, (thin, 1.0), Y)


def _upright(s: Sculpture, rng: Random, base: tuple[float, ...], fur: int, pale: int) -> None:
    wide, tall = rng.uniform(0.14, 0.24), rng.uniform(0.1, 0.3)
    deep, tilt = rng.uniform(0.8, 1.1), rng.normal(0.03, 0.12)
    legs = wide * rng.uniform(0.1, 0.9)
    lean = turned(Z, Y, tilt)
    low = vector(0, 0, legs + 0.8 * wide)
    top = low + tall * lean
    r = wide * rng.uniform(0.6, 1.05)
    s.cone(low, top, wide, r, fur, 0.05, (deep, 1.0), X)
    ahead = unit(turned(X, Z, rng.normal(0, 0.35)) + rng.normal(0, 0.15) * Z)
    if rng.random() < 0.65:
        push = rng.uniform(0.1, 0.3) * wide * X
        s.cone(low + push, top + push, 0.88 * wide, 0.85 * r, pale, 0.01, (deep, 1.0), X)
    skull = r * rng.uniform(0.85, 1.3) if rng.random() < 0.65 else r * rng.uniform(1.3, 1.8)
    at = top + rng.uniform(0.3, 1.0) * skull * lean - 0.35 * skull * ahead
    _head(s, rng, at, ahead, skull, base, fur, pale)
    # Arms, flippers or wings, from hanging to spread.
    reach, raised = wide * rng.uniform(0.6, 1.6), rng.uniform(-1.2, 0.7)
    thick, thin = wide * rng.uniform(0.2, 0.45), rng.uniform(0.3, 1.0)
    limb = fur if rng.random() < 0.7 else plain(s, rng, base)
    for sign in (-1, 1):
        turn = raised + rng.normal(0, 0.25)
        d = unit(vector(rng.normal(0.1, 0.3), sign * math.cos(turn), math.sin(turn)))
        root = low + 0.75 * (top - low) + sign * 0.75 * r * Y
        bends = [(X, 0.0), (X, sign * rng.normal(0, 0.4))]
        radii = [thick, thick * rng.uniform(0.8, 1.3), thick * rng.uniform(0.3, 0.8)]
        chain(s, rng, root, d, [reach / 2] * 2, radii, bends, limb, 0.03, (1.0, thin), unit(Z + 0.3 * X))
    # Two feet under the body, perhaps a stub of a tail.
    foot, feet = wide * rng.uniform(0.25, 0.5), plain(s, rng) if rng.random() < 0.6 else fur
    step = rng.normal(0, 0.3)
    for sign in (-1, 1):
        heel = vector(sign * step * 0.3 * wide, sign * 0.5 * wide, 0.35 * foot)
        s.cone(vector(0, sign * 0.45 * wide, legs + 0.3 * wide), heel + 0.3 * foot * Z, 1.1 * foot, foot, fur, 0.03)
        for turn in (-0.5, 0.0, 0.5) if rng.random() < 0.5 else (0.0,):
            toe = heel + foot * rng.uniform(0.8, 1.6) * turned(X, Z, sign * 0.2 + turn)
            s.cone(heel, toe, 0.8 * foot, 0.5 * foot, feet, 0.015, (1.0, 0.6), Y)
    if rng.random() < 0.5:
        end = low - wide * unit(X + rng.uniform(0, 0.8) * Z) * rng.uniform(1.1, 1.6)
        s.cone(low - 0.6 * wide * X, end, 0.35 * wide, 0.12 * wide, fur, 0.04)
