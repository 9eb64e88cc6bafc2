"""Four-legged animals with the anatomy of life: legs of three parts on one ground, muzzles, socks, pale bellies."""

from __future__ import annotations

import math

import numpy as np

from training.anatomy import coats, downwards, hairy_tail, side_eyes
from training.parts import Random, X, Y, Z, color, ears, eyes, near, plain
from training.sculpture import Sculpture, Vector, turned, unit, vector


def mammal(s: Sculpture, rng: Random) -> None:
    """From a cat to an ox, or a toy of one: standing, walking, bounding, sitting, lying."""
    toy = rng.random() < 0.3
    length = rng.uniform(0.4, 0.6)
    legs = rng.uniform(0.1, 0.28) if toy else rng.uniform(0.2, 0.62)
    deep = length * (rng.uniform(0.22, 0.42) if toy else rng.uniform(0.17, 0.3))  # radius of the chest
    wide = rng.uniform(0.75, 1.05) if toy else rng.uniform(0.55, 0.9)
    base = color(rng)
    pose = rng.choice(
        ["stand", "walk", "trot", "bound", "free", "sit", "lie"], p=[0.14, 0.3, 0.14, 0.18, 0.1, 0.08, 0.06]
    )
    fur, pale, dark = coats(s, rng, base, legs + 0.3 * deep)
    # 1. The trunk, from the hips to the withers.
    tilt = rng.uniform(0.5, 1.0) if pose == "sit" else rng.normal(0, 0.14 if pose == "bound" else 0.05)
    height = {"sit": 0.6 * deep, "lie": 0.7 * deep}.get(pose, legs + 0.35 * deep)
    hips = vector(-0.5 * length * math.cos(tilt), 0, height)
    chest = hips + length * vector(math.cos(tilt), 0, math.sin(tilt))
    arch = rng.normal(0, 0.07) if pose == "bound" else rng.normal(0.0, 0.02)
    sway = rng.normal(0, 0.03)
    rump, waist = deep * rng.uniform(0.7, 1.05), deep * rng.uniform(0.6, 1.05)
    middle = (hips + chest) / 2 + vector(0, sway, arch + rng.uniform(-0.2, 0.3) * (deep - waist))
    for a, b, r0, r1 in ((hips, middle, rump, waist), (middle, chest - 0.12 * length * X, waist, deep)):
        s.cone(a, b, r0, r1, fur, rng.uniform(0.02, 0.06), (wide, 1.0), Y)
    if rng.random() < 0.5:  # a pale belly or breast
        drop = deep * rng.uniform(0.16, 0.3)
        under = [p - drop * Z for p in (middle, chest - 0.05 * length * X)]
        s.cone(under[0], under[1], 0.82 * waist, 0.88 * deep, pale, 0.01, (wide, 1.0), Y)
    # 2. Neck and head.
    _front(s, rng, chest, deep, wide, toy, (fur, pale, dark), base)
    # 3. Tail.
    hairy_tail(s, rng, hips + vector(-0.75 * rump, 0, 0.45 * rump), length, (fur, pale, dark))
    # 4. Legs: two parts below the body in front, three behind.
    thick = deep * (rng.uniform(0.28, 0.5) if toy else rng.uniform(0.14, 0.32))
    _legs(s, rng, pose, hips, chest, (rump, deep), wide, thick, toy, (fur, pale, dark))
    if rng.random() < 0.15:
        _ridge(s, rng, hips, middle, chest, deep, plain(s, rng))


def _front(
    s: Sculpture,
    rng: Random,
    chest: Vector,
    deep: float,
    wide: float,
    toy: bool,
    paints: tuple[int, int, int],
    base: tuple[float, ...],
) -> None:
    """Neck, skull, muzzle, nose, eyes, ears, perhaps horns and a frill."""
    fur, pale, dark = paints
    skull = deep * (rng.uniform(0.65, 1.25) if toy else rng.uniform(0.33, 0.62))
    reach = deep * (rng.uniform(0.2, 1.2) if toy else rng.uniform(0.5, 2.4))
    rise, look = rng.normal(0.65, 0.4), rng.normal(0, 0.3)
    root = chest + vector(0.1 * deep, 0, 0.35 * deep)
    d = turned(vector(math.cos(rise), 0, math.sin(rise)), Z, 0.4 * look)
    bend = rng.normal(-0.1, 0.25)
    joint = root + 0.5 * reach * d
    d = unit(d + bend * Z)
    at = joint + 0.5 * reach * d
    thin = max(0.75 * skull, deep * rng.uniform(0.3, 0.55))
    flat = (rng.uniform(0.65, 1.0), 1.0)
    s.cone(
        root - 0.3 * deep * X, joint, 0.75 * deep * min(1, wide + 0.1), 0.5 * (deep * 0.6 + thin), fur, 0.05, flat, Y
    )
    s.cone(joint, at, 0.5 * (deep * 0.6 + thin), thin, fur, 0.03, flat, Y)
    if rng.random() < 0.35:  # a pale throat
        s.cone(root - 0.25 * deep * Z, at - 0.2 * skull * Z, 0.6 * deep * wide, 0.85 * thin, pale, 0.01, flat, Y)
    # The head looks ahead more than the neck does, and up to its limit down.
    nod = rng.uniform(-0.15, 0.85)
    ahead = turned(vector(math.cos(nod), 0, -math.sin(nod)), Z, look + rng.normal(0, 0.2))
    side = unit(np.cross(Z, ahead))
    at = at + 0.3 * skull * ahead
    s.cone(
        at - 0.25 * skull * ahead,
        at + 0.2 * skull * ahead,
        skull,
        0.92 * skull,
        fur,
        0.02,
        (rng.uniform(0.8, 1.05), 1.0),
        side,
    )
    muzzle = skull * (rng.uniform(0.4, 1.3) if toy else rng.uniform(0.7, 2.2))
    r0, r1 = skull * rng.uniform(0.55, 0.8), skull * rng.uniform(0.28, 0.6)
    down = unit(ahead - rng.uniform(0.05, 0.3) * Z)
    nose = at + 0.5 * skull * ahead + muzzle * down
    face = pale if rng.random() < 0.4 else fur
    s.cone(at + 0.4 * skull * ahead - 0.2 * skull * Z, nose, r0, r1, fur, 0.03, (rng.uniform(0.75, 1.1), 1.0), side)
    if rng.random() < 0.5:  # the jaw, or a pale lower half
        s.cone(
            at + 0.3 * skull * ahead - 0.45 * skull * Z,
            nose - 0.4 * r1 * Z,
            0.8 * r0,
            0.75 * r1,
            face,
            0.01,
            (0.9, 1.0),
            side,
        )
    if rng.random() < 0.7:
        tip = s.paint(near((0.06, 0.05, 0.05), rng))
        s.cone(nose + 0.75 * r1 * down, nose + 0.85 * r1 * down, 0.4 * r1, 0.4 * r1, tip, 0.005)
    if rng.random() < 0.5:
        eyes(s, rng, at, ahead, skull)
    else:
        side_eyes(s, rng, at, ahead, side, skull)
    if rng.random() < 0.9:
        ears(s, rng, at - 0.15 * skull * ahead, ahead, skull, dark if rng.random() < 0.25 else fur)
    horn = s.paint(near((0.8, 0.75, 0.6), rng)) if rng.random() < 0.12 else None
    if horn is not None:
        for shift in ((-0.5, 0.5), (0.0,), (-0.5, 0.0, 0.5))[int(rng.integers(3))]:
            start = at + 0.8 * skull * (0.7 * Z + shift * side) + (0.6 * muzzle * ahead if shift == 0 else 0 * X)
            s.cone(
                start,
                start + skull * rng.uniform(0.5, 1.6) * unit(Z + rng.uniform(0, 1) * ahead + 0.4 * shift * side),
                0.22 * skull,
                0.05 * skull,
                horn,
                0.01,
            )
        if rng.random() < 0.5:
            back = at - 0.4 * skull * ahead + 0.5 * skull * Z
            s.cone(
                back,
                back + 0.4 * skull * unit(Z - ahead),
                1.2 * skull,
                1.3 * skull,
                plain(s, rng, base),
                0.02,
                (1.0, 0.2),
                side,
            )


def _ridge(s: Sculpture, rng: Random, hips: Vector, middle: Vector, chest: Vector, deep: float, paint: int) -> None:
    """A mane, or plates along the back."""
    count, high = int(rng.integers(3, 7)), deep * rng.uniform(0.3, 0.9)
    for i in range(count):
        share = (i + 0.5) / count
        a, b = (hips, middle) if share < 0.5 else (middle, chest)
        at = a + (2 * share % 1) * (b - a) + 0.85 * deep * Z
        s.cone(at, at + high * unit(Z - 0.3 * X), 0.35 * deep, 0.06 * deep, paint, 0.01, (0.25, 1.0), Y)


def _legs(
    s: Sculpture,
    rng: Random,
    pose: str,
    hips: Vector,
    chest: Vector,
    radii: tuple[float, float],
    wide: float,
    thick: float,
    toy: bool,
    paints: tuple[int, int, int],
) -> None:
    fur, _, dark = paints
    rump, deep = radii
    phase, stride = rng.uniform(0, 2 * math.pi), rng.uniform(0.15, 0.65) * (0.6 if toy else 1.0)
    # When each leg swings: left and right in front, left and right behind.
    beats = {
        "walk": (0, math.pi, 0.6 * math.pi, 1.6 * math.pi),
        "trot": (0, math.pi, math.pi, 0),
        "bound": (0, rng.uniform(-0.6, 0.6), math.pi + rng.normal(0, 0.6), math.pi + rng.normal(0, 0.6)),
    }.get(pose, tuple(rng.uniform(0, 2 * math.pi, 4)))
    if pose == "stand":
        stride = rng.uniform(0, 0.12)
    grounded = pose in ("stand", "walk", "trot", "sit") and rng.random() < 0.85
    hoof, paw = rng.random() < 0.4, rng.uniform(0.9, 1.5)
    socks = [fur, fur, dark, dark] if rng.random() < 0.6 else [fur, fur, fur, dark]
    shank = rng.uniform(0.4, 0.8)  # how strongly the hind legs are bent
    for number, (front, sign) in enumerate(((True, 1), (True, -1), (False, 1), (False, -1))):
        beat = phase + beats[number]
        swing, lift = stride * math.sin(beat), max(0.0, math.cos(beat)) * stride * 1.6
        if front:
            root = chest + vector(-0.14 * deep, sign * 0.5 * wide * deep, -0.35 * deep)
            upper = swing - 0.35 + (0.4 if toy else 0)
            angles = [upper, swing + 0.12 + 0.3 * lift, swing - 0.6 * lift]
            shares, bulge = [0.34, 0.36, 0.3], (1.9, 1.25, 0.9, 0.75)
        else:
            root = hips + vector(0.15 * rump, sign * 0.5 * wide * rump, -0.15 * rump)
            angles = [swing + 0.35 * shank + 0.5 * lift, swing - shank - 0.5 * lift, swing + 0.3 * shank - 0.2 * lift]
            if toy:
                angles = [swing, swing, swing]
            shares, bulge = [0.36, 0.34, 0.3], (2.6, 1.5, 0.85, 0.75)
        if pose == "lie":
            angles = [1.0, -1.3, 1.4] if not front else [-0.6, 1.4, 1.5]
        elif pose == "sit" and not front:
            angles = [1.3, -0.9, 1.5]
        out = sign * rng.normal(0.03, 0.06)
        total = root[2] / 0.97
        drop = sum(q * math.cos(a) for q, a in zip(shares, angles, strict=True))
        if grounded:  # the foot is on the ground
            total = float(np.clip(root[2] / max(drop, 0.3), 0.75 * total, 1.5 * total))
        if pose == "lie" or (pose == "sit" and not front):
            total = 1.6 * deep * rng.uniform(0.8, 1.3)
        at = root
        for i, (share, angle) in enumerate(zip(shares, angles, strict=True)):
            end = at + total * share * downwards(angle, out)
            flat = (wide * 0.9, 1.0) if i == 0 else (1.0, 1.0)
            s.cone(at, end, thick * bulge[i], thick * bulge[i + 1], socks[i], 0.03 if i == 0 else 0.012, flat, Y)
            at = end
        foot = thick * (0.8 if hoof else paw)
        toe = X if pose in ("lie", "sit") or grounded else unit(X + 0.6 * downwards(angles[-1]))
        end = at + foot * rng.uniform(0.5, 1.6) * toe
        s.cone(at, end, 0.95 * foot, 0.75 * foot, socks[3], 0.01, (1.0, 0.7), Y)
