"""Animals that run on their hind legs, and those that crouch and leap."""

from __future__ import annotations

import math

import numpy as np

from training.anatomy import coats, downwards, hairy_tail, side_eyes
from training.parts import Random, X, Y, Z, chain, color, ears, eyes
from training.sculpture import Sculpture, Vector, turned, unit, vector


def runner(s: Sculpture, rng: Random) -> None:
    """On two legs with a body carried level or half upright: running reptiles, long-legged birds, hoppers."""
    base = color(rng)
    length, thick = rng.uniform(0.24, 0.4), rng.uniform(0.055, 0.12)
    legs = rng.uniform(0.22, 0.42)
    fur, pale, dark = coats(s, rng, base, legs)
    rise = rng.uniform(-0.1, 0.5) if rng.random() < 0.7 else rng.uniform(0.5, 1.2)
    wide = rng.uniform(0.6, 1.0)
    hips = vector(0, 0, legs)
    up = vector(math.cos(rise), 0, math.sin(rise))
    chest = hips + length * up
    middle = hips + 0.5 * length * up - rng.uniform(0, 0.3) * thick * Z
    belly = rng.uniform(0.9, 1.25) * thick
    s.cone(hips, middle, thick, belly, fur, 0.03, (wide, 1.0), Y)
    s.cone(middle, chest, belly, thick * rng.uniform(0.65, 0.9), fur, 0.03, (wide, 1.0), Y)
    if rng.random() < 0.45:
        s.cone(
            middle - 0.25 * thick * Z, chest - 0.2 * thick * Z, 0.85 * belly, 0.6 * thick, pale, 0.01, (wide, 1.0), Y
        )
    # Neck in a bow, head with jaws.
    neck, look = rng.uniform(0.1, 0.34), rng.normal(0, 0.25)
    d = unit(up + rng.uniform(0.1, 1.6) * Z)
    slim = thick * rng.uniform(0.35, 0.6)
    bends = [(Z, 0.3 * look), (Y, rng.uniform(-0.2, 0.5)), (Z, 0.3 * look)]
    at, _ = chain(s, rng, chest, d, [neck / 3] * 3, [0.75 * thick, 1.1 * slim, slim, slim], bends, fur, 0.03)
    skull = slim * rng.uniform(0.95, 1.6)
    ahead = turned(unit(X + rng.normal(-0.1, 0.25) * Z), Z, look)
    side = unit(np.cross(Z, ahead))
    snout = skull * rng.uniform(0.9, 2.6)
    s.cone(at, at + 0.4 * skull * ahead, skull, 0.85 * skull, fur, 0.02, (rng.uniform(0.65, 1), 1.0), side)
    gape = rng.uniform(0, 0.35) * (rng.random() < 0.5)
    upper = at + 0.5 * skull * ahead
    tip = rng.uniform(0.2, 0.5) * skull
    s.cone(
        upper + 0.1 * skull * Z,
        upper + snout * unit(ahead + 0.3 * gape * Z),
        0.6 * skull,
        tip,
        fur,
        0.02,
        (0.8, 1.0),
        side,
    )
    jaw = pale if rng.random() < 0.4 else fur
    s.cone(
        upper - 0.35 * skull * Z,
        upper + 0.9 * snout * unit(ahead - (0.15 + gape) * Z),
        0.4 * skull,
        0.8 * tip,
        jaw,
        0.01,
        (0.8, 1.0),
        side,
    )
    side_eyes(s, rng, at + 0.2 * skull * ahead, ahead, side, skull)
    # A tail that thins out, or feathers.
    total = rng.uniform(0.35, 1.0) if rng.random() < 0.75 else rng.uniform(0.05, 0.2)
    start = unit(-up + vector(0, 0, rng.normal(0.3 * max(rise, 0), 0.15)))
    bends = [(Y, rng.normal(0, 0.1)) if i % 2 else (Z, rng.normal(0, 0.18)) for i in range(5)]
    radii = [thick * (0.8 - 0.75 * (i / 5) ** rng.uniform(0.6, 1.0)) for i in range(6)]
    chain(s, rng, hips, start, [total / 5] * 5, radii, bends, fur, 0.04)
    _hind_and_arms(s, rng, hips, chest, thick, wide, (fur, dark))


def _hind_and_arms(
    s: Sculpture, rng: Random, hips: Vector, chest: Vector, thick: float, wide: float, paints: tuple[int, int]
) -> None:
    fur, dark = paints
    phase, stride = rng.uniform(0, 2 * math.pi), rng.uniform(0.1, 0.8)
    together = rng.random() < 0.15
    r, shank = thick * rng.uniform(0.2, 0.36), rng.uniform(0.35, 0.75)
    lower = dark if rng.random() < 0.5 else fur
    arm, claw = rng.uniform(0.04, 0.22), rng.uniform(0.03, 0.08)
    for sign in (-1, 1):
        beat = phase + (0 if sign < 0 or together else math.pi)
        swing, lift = stride * math.sin(beat), max(0.0, math.cos(beat)) * stride
        angles = [swing + 0.7 * shank + 0.6 * lift, swing - shank - 0.6 * lift, swing + 0.5 * shank - 0.3 * lift]
        shares = [0.36, 0.36, 0.28]
        root = hips + sign * 0.6 * wide * thick * Y
        drop = sum(q * math.cos(a) for q, a in zip(shares, angles, strict=True))
        total = root[2] / max(drop, 0.45) if rng.random() < 0.7 else root[2] * 1.1
        at = root
        for i, (share, angle) in enumerate(zip(shares, angles, strict=True)):
            end = at + total * share * downwards(angle, sign * 0.04)
            bulge = (2.6, 1.6, 0.9, 0.8)
            s.cone(
                at,
                end,
                r * bulge[i],
                r * bulge[i + 1],
                fur if i < 2 else lower,
                0.02,
                (0.8, 1.0) if i == 0 else (1, 1),
                Y,
            )
            at = end
        flat = X if lift < 0.1 else unit(X + 0.5 * downwards(angles[-1]))
        for turn in (-0.45, 0.0, 0.45):
            s.cone(at, at + claw * turned(flat, Z, turn), 0.7 * r, 0.35 * r, lower, 0.008)
        shoulder = chest + vector(-0.1 * thick, sign * 0.6 * wide * thick, -0.4 * thick)
        bends = [(Y, 0.0), (Y, -rng.uniform(0.3, 1.6)), (Y, rng.normal(0, 0.4))]
        start = downwards(rng.normal(-0.2, 0.5), sign * 0.15)
        thin = max(0.4 * r, 0.008)
        chain(
            s,
            rng,
            shoulder,
            start,
            [0.45 * arm, 0.4 * arm, 0.25 * arm],
            [1.6 * thin, thin, 0.8 * thin, 0.5 * thin],
            bends,
            [fur, fur, lower],
            0.012,
        )


def croucher(s: Sculpture, rng: Random) -> None:
    """Low and folded: toads, hares, monkeys, or stretched in a leap; feet with toes spread."""
    base = color(rng)
    length, thick = rng.uniform(0.22, 0.4), rng.uniform(0.09, 0.17)
    pitch = rng.uniform(0.0, 0.9)
    fur, pale, dark = coats(s, rng, base, 0.12)
    hips = vector(0, 0, thick * rng.uniform(0.6, 1.2))
    up = vector(math.cos(pitch), 0, math.sin(pitch))
    chest = hips + length * up
    wide = rng.uniform(0.9, 1.35)
    flat = (wide, rng.uniform(0.65, 1.0))
    s.cone(hips, chest, thick * rng.uniform(0.7, 1.0), thick, fur, 0.04, flat, Y)
    if rng.random() < 0.5:
        s.cone(
            hips + 0.3 * length * up - 0.2 * thick * Z,
            chest - 0.25 * thick * Z,
            0.85 * thick,
            0.9 * thick,
            pale,
            0.01,
            flat,
            Y,
        )
    # The head: broad, close to the body, with eyes that may stand out.
    look = rng.normal(0, 0.25)
    ahead = turned(unit(X + rng.normal(0.05, 0.2) * Z), Z, look)
    side = unit(np.cross(Z, ahead))
    skull = thick * rng.uniform(0.6, 1.05)
    at = chest + 0.7 * thick * unit(up + ahead) + rng.uniform(0, 0.3) * thick * Z
    s.cone(chest, at, 0.8 * thick, 0.9 * skull, fur, 0.04, (wide, 0.9), Y)
    nose = at + skull * rng.uniform(0.3, 1.1) * ahead - 0.15 * skull * Z
    s.cone(
        at, nose, skull, skull * rng.uniform(0.4, 0.8), fur, 0.03, (rng.uniform(0.9, 1.3), rng.uniform(0.6, 0.9)), side
    )
    if rng.random() < 0.4:
        s.cone(at - 0.3 * skull * Z, nose - 0.2 * skull * Z, 0.9 * skull, 0.5 * skull, pale, 0.01, (1.1, 0.6), side)
    if rng.random() < 0.6:
        bulb, pupil = s.paint(color(rng)) if rng.random() < 0.5 else fur, s.paint((0.03, 0.03, 0.04))
        size = skull * rng.uniform(0.2, 0.42)
        for sign in (-1, 1):
            out = unit(sign * rng.uniform(0.5, 0.9) * side + 0.6 * Z + rng.uniform(0, 0.4) * ahead)
            eye = at + 0.9 * skull * out
            s.cone(eye, eye + 1e-3 * X, size, size, bulb, 0.01)
            gaze = eye + 0.5 * size * unit(sign * side + 0.3 * ahead)
            s.cone(gaze, gaze + 1e-3 * X, 0.6 * size, 0.6 * size, pupil, 1e-3)
    else:
        eyes(s, rng, at, ahead, skull)
        ears(s, rng, at, ahead, skull, fur)
    if rng.random() < 0.35:
        hairy_tail(s, rng, hips - 0.7 * thick * X, length, (fur, pale, dark))
    _folded(s, rng, hips, chest, thick, wide, (fur, dark))


def _folded(
    s: Sculpture, rng: Random, hips: Vector, chest: Vector, thick: float, wide: float, paints: tuple[int, int]
) -> None:
    """Hind legs folded beside the body or stretched, arms in front."""
    fur, dark = paints
    r = thick * rng.uniform(0.2, 0.42)
    lower = dark if rng.random() < 0.3 else fur
    stretch = float(np.clip(rng.normal(0.15, 0.35), 0, 1))
    leg, arm = rng.uniform(0.16, 0.34), rng.uniform(0.14, 0.3)
    splay, bow = rng.uniform(0.2, 1.1), rng.uniform(0.1, 0.9)
    toes = int(rng.integers(3, 5)) if rng.random() < 0.7 else 1
    for sign in (-1, 1):
        one = float(np.clip(stretch + rng.normal(0, 0.1), 0, 1))
        root = hips + sign * 0.7 * thick * wide * Y
        thigh = unit((1 - 1.7 * one) * X + sign * splay * Y + (0.25 - 0.6 * one) * Z)
        shin = unit((-1 + 0.1 * one) * X + sign * 0.15 * splay * Y - (0.6 - 0.2 * one) * Z)
        foot = unit((1 - 1.9 * one) * X + sign * 0.4 * Y - 0.1 * Z)
        knee = root + leg * thigh
        heel = knee + leg * rng.uniform(0.9, 1.1) * shin
        heel[2] = max(float(heel[2]), 0.5 * r) if one < 0.4 else heel[2]
        ball = heel + 0.55 * leg * foot
        s.cone(root, knee, 1.5 * r, r, fur, 0.02)
        s.cone(knee, heel, r, 0.6 * r, fur, 0.012)
        s.cone(heel, ball, 0.6 * r, 0.5 * r, lower, 0.01, (1.0, 0.7), Y)
        _toes(s, ball, foot, toes, 0.3 * leg, 0.4 * r, lower)
        root = chest + vector(0, sign * 0.75 * thick * wide, -0.2 * thick)
        elbow = root + 0.5 * arm * unit(sign * bow * Y - Z + rng.normal(-0.3, 0.4) * X)
        hand = elbow + 0.5 * arm * unit(-Z + rng.uniform(-0.2, 1.2) * X - sign * 0.2 * bow * Y)
        s.cone(root, elbow, 0.85 * r, 0.65 * r, fur, 0.015)
        s.cone(elbow, hand, 0.65 * r, 0.5 * r, fur, 0.01)
        _toes(s, hand, unit(X + sign * 0.3 * Y - 0.2 * Z), toes, 0.25 * arm, 0.38 * r, lower)


def _toes(s: Sculpture, at: Vector, ahead: Vector, count: int, length: float, r: float, paint: int) -> None:
    for i in range(count):
        turn = 0.0 if count == 1 else -0.7 + 1.4 * i / (count - 1)
        s.cone(at, at + length * turned(ahead, Z, turn), r, 0.7 * r if count > 1 else r, paint, 0.006)
