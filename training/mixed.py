"""Random creatures of a second kind: stuffed animals, sprawling and winged ones, riders, and things in company."""

from __future__ import annotations

import math

import numpy as np

from training.creatures import biped, bird, fish, quadruped, strider
from training.parts import Random, X, Y, Z, chain, coat, color, ears, eyes, head, plain, tail
from training.sculpture import AXES, CENTER, SIZE, Sculpture, Vector, turned, unit, vector
from training.things import composite, plant, vehicle, vessel


def plush(s: Sculpture, rng: Random) -> None:
    """Stuffed and fat animals: big heads, round bellies, short limbs; sitting, standing, walking upright."""
    base = color(rng)
    fur = coat(s, rng, base)
    second = plain(s, rng) if rng.random() < 0.5 else plain(s, rng, base)
    limb = second if rng.random() < 0.4 else fur
    wide, tall = rng.uniform(0.13, 0.26), rng.uniform(0.12, 0.34)
    lean = turned(Z, Y, rng.normal(0.05, 0.15))
    top = tall * lean
    deep = rng.uniform(0.75, 1.1)
    s.cone(vector(0, 0, 0), top, wide, wide * rng.uniform(0.6, 1.0), fur, 0.03, (deep, 1.0), X)
    if rng.random() < 0.5:  # a belly of another colour
        s.cone(
            0.35 * wide * deep * X,
            0.6 * top + 0.35 * wide * deep * X,
            0.75 * wide,
            0.6 * wide,
            second,
            0.01,
            (deep, 1.0),
            X,
        )
    r = rng.uniform(0.11, 0.24)
    ahead = unit(turned(turned(X, Z, rng.normal(0, 0.4)), Y, rng.normal(0, 0.2)))
    at = top + (0.3 * wide + 0.75 * r) * lean
    squash = (rng.uniform(0.8, 1.05), 1.0)
    s.cone(at - 0.2 * r * Y, at + 0.2 * r * Y, r, r, fur, 0.03, squash, ahead)
    muzzle = second if rng.random() < 0.6 else fur
    nose = at + 0.75 * r * ahead - 0.25 * r * Z
    length = r * rng.uniform(0.1, 0.6)
    s.cone(nose, nose + length * ahead, r * rng.uniform(0.3, 0.55), r * rng.uniform(0.25, 0.45), muzzle, 0.02)
    s.cone(
        nose + (length + 0.3 * r) * ahead,
        nose + (length + 0.35 * r) * ahead,
        0.12 * r,
        0.12 * r,
        s.paint((0.06, 0.05, 0.05)),
    )
    eyes(s, rng, at, ahead, r)
    ears(s, rng, at, ahead, r, limb if rng.random() < 0.5 else fur)
    _stubs(s, rng, top, wide, limb, fur)
    if rng.random() < 0.4:
        tail(s, rng, -wide * deep * X, -X, 0.7 * (tall + wide), fur)


def _stubs(s: Sculpture, rng: Random, top: Vector, wide: float, limb: int, fur: int) -> None:
    """Arms at ``top`` and legs at the origin of a body so ``wide``."""
    arm, thick = rng.uniform(0.12, 0.3), wide * rng.uniform(0.28, 0.5)
    sits = rng.random() < 0.45
    legs, stride = rng.uniform(0.1, 0.28), rng.normal(0, 0.5)
    for sign in (-1, 1):
        root = top - 0.15 * wide * Z + sign * 0.75 * wide * Y
        d = turned(turned(-Z, X, sign * abs(rng.normal(0.5, 0.6))), Y, rng.normal(-0.5, 0.6))
        bends = [(Y, 0.0), (unit(rng.normal(0, 1, 3)), rng.normal(0, 0.5))]
        chain(s, rng, root, d, [arm / 2] * 2, [thick, 0.9 * thick, thick * rng.uniform(0.7, 1.1)], bends, [fur, limb])
        root = sign * 0.55 * wide * Y - 0.4 * wide * Z
        if sits:
            d = unit(X + sign * rng.uniform(0, 0.8) * Y - rng.uniform(0, 0.3) * Z)
        else:
            d = turned(turned(-Z, X, sign * rng.normal(0.05, 0.1)), Y, sign * stride + rng.normal(0, 0.1))
        foot = thick * rng.uniform(0.8, 1.3)
        end, _ = chain(s, rng, root, d, [legs], [1.2 * thick, foot], [], limb)
        toe = unit(Z + 0.4 * X) if sits else X
        s.cone(end, end + rng.uniform(0.3, 1.2) * foot * toe, foot, 0.9 * foot, limb, 0.01)


def sprawler(s: Sculpture, rng: Random) -> None:
    """Lizards, crocodiles, turtles: low and wide, elbows out, at times with a shell."""
    base = color(rng)
    body, skin = coat(s, rng, base), plain(s, rng, base)
    length, wide = rng.uniform(0.25, 0.5), rng.uniform(0.06, 0.16)
    low = wide * rng.uniform(0.3, 1.0)
    flat = rng.uniform(0.45, 0.9)
    bend = rng.normal(0, 0.35)
    at, d = vector(-length / 2, 0, low + flat * wide), turned(X, Z, -bend / 2)
    hips = at
    middle = hips + 0.5 * length * d
    chest = middle + 0.5 * length * turned(d, Z, bend)
    s.cone(hips, middle, 0.8 * wide, wide, body, 0.04, (1.0, flat), Y)
    s.cone(middle, chest, wide, 0.8 * wide, body, 0.04, (1.0, flat), Y)
    forward = unit(chest - middle)
    if rng.random() < 0.35:  # a shell
        size, high = length * rng.uniform(0.5, 0.75), rng.uniform(0.4, 0.9)
        s.cone(
            middle - 0.2 * size * X,
            middle + 0.2 * size * X,
            size,
            size,
            coat(s, rng),
            0.01,
            (rng.uniform(0.6, 1), high),
            Y,
        )
        s.drum(middle - 2 * size * Z, middle - 0.15 * size * Z, 2 * size, 2 * size, 0, skin, 0.01, cuts=True)
        s.cone(hips, chest, 0.7 * wide, 0.7 * wide, skin, 0.02, (1.0, flat), Y)
        chest = middle + 0.9 * size * forward
    ahead = unit(forward + rng.uniform(-0.1, 0.8) * Z + rng.normal(0, 0.2) * Y)
    neck = chest + rng.uniform(0.02, 0.18) * ahead
    s.cone(chest, neck, 0.6 * wide, 0.5 * wide, skin, 0.03)
    head(s, rng, neck, unit(forward + 0.3 * ahead), wide * rng.uniform(0.5, 0.9), skin, base)
    parts, total = 5, rng.uniform(0.1, 1.0) * length * 1.8
    r = 0.6 * wide
    radii = [r * (1 - 0.9 * i / parts) for i in range(parts + 1)]
    bends = [(Z, rng.normal(0, 0.35)) for _ in range(parts)]
    chain(s, rng, hips, unit(-X + rng.normal(0, 0.2) * Z), [total / parts] * parts, radii, bends, body, 0.03)
    leg, thick = rng.uniform(0.08, 0.22), wide * rng.uniform(0.2, 0.4)
    for root, side in ((hips, -1.0), (chest - 0.15 * length * forward, 1.0)):
        for sign in (-1, 1):
            out = unit(sign * Y + rng.normal(0, 0.5) * X + rng.uniform(-0.4, 0.3) * Z)
            knee = root + sign * 0.7 * wide * Y + leg * out
            foot = vector(knee[0] + 0.3 * leg * side * rng.normal(0.5, 0.6), knee[1] + sign * 0.2 * leg, 0.02)
            s.cone(root + sign * 0.5 * wide * Y, knee, 1.2 * thick, 0.9 * thick, skin, 0.02)
            s.cone(knee, foot, 0.9 * thick, 0.6 * thick, skin, 0.01)
            s.cone(foot, foot + thick * (1.5 * X + sign * Y), 0.6 * thick, 0.4 * thick, skin, 0.01, (1.0, 0.5), X)


def winged(s: Sculpture, rng: Random) -> None:
    """A creature on two or four legs with wings as thin sheets, spread or folded, of an upper and a lower part."""
    (quadruped if rng.random() < 0.6 else strider)(s, rng)
    spine = s.rows[1]
    shoulder = spine[CENTER : CENTER + 3] + 0.4 * spine[SIZE] * spine[AXES : AXES + 3]
    thick = float(spine[SIZE + 1])
    skin, bone = coat(s, rng), plain(s, rng)
    span, chord = rng.uniform(0.2, 0.5), rng.uniform(0.06, 0.18)
    lift, sweep, fold = rng.normal(0.5, 0.5), rng.uniform(-0.2, 0.9), rng.uniform(-0.3, 1.2)
    for sign in (-1, 1):
        turn = lift + rng.normal(0, 0.08)
        root = shoulder + sign * 0.6 * thick * Y + 0.5 * thick * Z
        d = unit(sign * math.cos(turn) * Y + math.sin(turn) * Z - sweep * X)
        mid = root + span * d
        outer = unit(d + fold * (0.3 * Z - X) - 0.2 * fold * Z)
        tip = mid + span * rng.uniform(0.5, 1.1) * outer
        for a, b, r0, r1 in ((root, mid, 0.9 * chord, chord), (mid, tip, chord, 0.25 * chord)):
            s.cone(a - 0.7 * chord * X, b - 0.7 * chord * X, r0, r1, skin, 0.01, (1.0, rng.uniform(0.06, 0.15)), X)
            s.cone(a, b, 0.12 * chord, 0.1 * chord, bone, 0.005)


def rider(s: Sculpture, rng: Random) -> None:
    """Somebody on a four-legged creature, or a load on it."""
    quadruped(s, rng)
    spine = s.rows[0]
    back = spine[CENTER : CENTER + 3] + rng.uniform(0.3, 1.0) * spine[SIZE] * spine[AXES : AXES + 3]
    top = back + rng.uniform(0.6, 0.95) * float(spine[SIZE + 2]) * Z
    first = len(s.rows)
    if rng.random() < 0.7:
        biped(s, rng)
        size = rng.uniform(0.35, 0.7)
        s.move(first, size, np.eye(3), top - size * rng.uniform(0.15, 0.4) * Z)
    else:
        (composite if rng.random() < 0.6 else vessel)(s, rng)
        s.move(first, rng.uniform(0.3, 0.6), np.eye(3), top)


def company(s: Sculpture, rng: Random) -> None:
    """Two things that touch or stand beside each other."""
    kinds = (quadruped, biped, bird, fish, plush, plant, vehicle, vessel, composite)
    for number in range(2):
        first = len(s.rows)
        kinds[int(rng.integers(len(kinds)))](s, rng)
        ahead = turned(X, Z, rng.uniform(-math.pi, math.pi))
        turn = np.column_stack([ahead, turned(ahead, Z, math.pi / 2), Z])
        angle = rng.uniform(-math.pi, math.pi)
        away = rng.uniform(0.05, 0.4) if number else 0.0
        shift = away * vector(math.cos(angle), math.sin(angle), rng.normal(0, 0.3))
        s.move(first, rng.uniform(0.4, 1.0), turn, shift)
