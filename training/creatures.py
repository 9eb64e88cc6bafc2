"""Random creatures: bodies, limbs and wings in random proportions and poses."""

from __future__ import annotations

import colorsys
import math

import numpy as np

from training.parts import (
    Random,
    X,
    Y,
    Z,
    chain,
    coat,
    color,
    eyes,
    head,
    hold,
    leg,
    leg_paints,
    near,
    plain,
    spine,
    tail,
)
from training.sculpture import Sculpture, frame, turned, unit, vector


def quadruped(s: Sculpture, rng: Random) -> None:
    """From a mouse to a horse to a hippopotamus, standing, walking, running, sitting low."""
    base = color(rng)
    body = coat(s, rng, base)
    length, thick = rng.uniform(0.35, 0.75), rng.uniform(0.07, 0.22)
    if rng.random() < 0.2:
        thick *= 1.4
    legs = rng.uniform(0.12, 0.55) if rng.random() < 0.85 else rng.uniform(0.05, 0.12)
    front, hind = thick * rng.uniform(0.75, 1.2), thick * rng.uniform(0.7, 1.25)
    arch, bow = rng.normal(0, 0.05), rng.normal(0, 0.04)
    points = [
        vector(-length / 2, 0, legs),
        vector(0, bow, legs + arch),
        vector(length / 2, 0, legs + rng.normal(0, 0.05)),
    ]
    spine(s, rng, points, [hind, thick, front], body, (rng.uniform(0.65, 1.1), 1.0), rng.uniform(0.02, 0.08))
    neck_length, neck_r = rng.uniform(0.03, 0.4) * (1 if rng.random() < 0.8 else 1.8), thick * rng.uniform(0.35, 0.8)
    ahead = unit(X + rng.uniform(-0.4, 2.0) * Z + rng.normal(0, 0.15) * Y)
    head_r = thick * rng.uniform(0.4, 1.15)
    root = points[2] + 0.4 * front * (X + Z)
    neck = root + neck_length * ahead
    s.cone(root, neck, 0.8 * neck_r + 0.2 * front, neck_r, body, 0.05)
    head(s, rng, neck, unit(X + 0.3 * ahead), head_r, body if rng.random() < 0.7 else coat(s, rng, base), base)
    if rng.random() < 0.2:  # a mane or a row of plates along the back
        mane = plain(s, rng)
        for i in range(4):
            at = points[0] + (i + 1) / 4.5 * (points[2] - points[0]) + vector(0, 0, thick)
            s.cone(
                at,
                at + vector(0, 0, thick * rng.uniform(0.3, 0.8)),
                0.4 * thick,
                0.05 * thick,
                mane,
                0.01,
                (0.25, 1.0),
                Y,
            )
    tail(s, rng, points[0] - 0.6 * hind * X + 0.3 * hind * Z, -X, length, body)
    r, paints = rng.uniform(0.2, 0.5) * thick, leg_paints(s, rng, body, base)
    reach = rng.uniform(0.1, 0.9)
    knee = rng.choice([-1, 1])
    thigh, bounds = rng.uniform(1, 2.4) if rng.random() < 0.6 else 1.0, rng.random() < 0.35
    for x, radius, bend in ((-0.45 * length, hind, 1), (0.42 * length, front, knee)):
        together = rng.normal(0, 0.6 * reach)
        for sign in (-1, 1):
            at = vector(x, sign * 0.6 * radius, legs - 0.1 * radius)
            swing = together + rng.normal(0, 0.15) if bounds else rng.normal(0, 0.45 * reach)
            fold = bend * abs(rng.normal(0, 0.6 * reach))
            out = sign * rng.normal(0.03, 0.08)
            leg(s, rng, at, legs * rng.uniform(0.95, 1.05), r, swing, fold, out, paints, thigh)


def biped(s: Sculpture, rng: Random) -> None:
    """People-like: clothed, slim to round, adult to toy-like, arms and legs in any pose."""
    skin = near(colorsys.hsv_to_rgb(rng.uniform(0.03, 0.1), rng.uniform(0.15, 0.65), rng.uniform(0.25, 1)), rng)
    skin_paint, shirt, trousers, shoes = s.paint(skin), coat(s, rng), coat(s, rng), plain(s, rng)
    if rng.random() < 0.35:  # one fur or one suit
        shirt = trousers = coat(s, rng)
        skin_paint = shirt if rng.random() < 0.5 else skin_paint
    toy = rng.random() < 0.4
    head_r = rng.uniform(0.1, 0.2) if toy else rng.uniform(0.055, 0.085)
    legs = rng.uniform(0.12, 0.35) if toy else rng.uniform(0.38, 0.52)
    torso = rng.uniform(0.18, 0.34)
    waist, chest = rng.uniform(0.06, 0.15), rng.uniform(0.08, 0.15)
    lean = rng.normal(0, 0.2)
    hips = vector(0, 0, legs)
    up = turned(turned(Z, Y, lean), X, rng.normal(0, 0.1))
    shoulders = hips + torso * up
    flat = (rng.uniform(0.55, 1.0), 1.0)
    middle = hips + 0.45 * torso * up
    s.cone(
        hips, middle, waist, waist * rng.uniform(0.85, 1.1), trousers if rng.random() < 0.3 else shirt, 0.03, flat, X
    )
    s.cone(middle, shoulders - 0.4 * chest * up, waist, chest, shirt, 0.03, flat, X)
    if rng.random() < 0.2:  # a skirt or a coat
        s.drum(
            hips + 0.1 * up,
            hips - legs * rng.uniform(0.2, 0.8) * Z,
            waist,
            waist * rng.uniform(1.2, 2.2),
            0.01,
            shirt,
            0.02,
        )
    neck = shoulders + rng.uniform(0.0, 0.05) * up
    s.cone(shoulders - 0.3 * chest * up, neck + 0.3 * head_r * up, 0.4 * head_r, 0.4 * head_r, skin_paint, 0.015)
    at = neck + 0.85 * head_r * up
    if rng.random() < 0.55:
        ahead = unit(turned(X, Z, rng.normal(0, 0.4)))
        s.cone(
            at - 0.2 * head_r * Z,
            at + 0.2 * head_r * Z,
            0.85 * head_r,
            head_r,
            skin_paint,
            0.02,
            (1.0, rng.uniform(0.8, 1.0)),
            ahead,
        )
        eyes(s, rng, at, ahead, head_r)
        nose = at + 0.95 * head_r * ahead
        s.cone(nose, nose - 0.1 * head_r * Z, 0.12 * head_r, 0.15 * head_r, skin_paint, 0.01)
        hair = plain(s, rng)
        if rng.random() < 0.75:
            s.cone(
                at + head_r * (0.2 * Z - 0.15 * ahead),
                at + head_r * (0.3 * Z - 0.2 * ahead),
                head_r,
                1.02 * head_r,
                hair,
                0.005,
            )
            if rng.random() < 0.4:
                s.cone(
                    at - 0.5 * head_r * ahead,
                    at - head_r * (0.6 * ahead + rng.uniform(0.8, 2.5) * Z),
                    0.8 * head_r,
                    0.4 * head_r,
                    hair,
                    0.02,
                    (1, 0.5),
                    Y,
                )
        if rng.random() < 0.25:
            hat = plain(s, rng)
            s.drum(
                at + 0.55 * head_r * Z, at + 0.65 * head_r * Z, rng.uniform(1.1, 1.7) * head_r, 1.1 * head_r, 0.005, hat
            )
            s.drum(
                at + 0.6 * head_r * Z,
                at + rng.uniform(1.1, 1.8) * head_r * Z,
                0.9 * head_r,
                rng.uniform(0.3, 0.9) * head_r,
                0.01,
                hat,
            )
    elif rng.random() < 0.5:
        head(s, rng, at, X, head_r, skin_paint, skin)
    else:  # a boxy head
        axes = frame(turned(X, Z, rng.normal(0, 0.4)))
        s.box(at, [head_r * rng.uniform(0.7, 1.1) for _ in range(3)], axes, head_r * rng.uniform(0.05, 0.6), skin_paint)
        eyes(s, rng, at, axes[0], head_r)
    worn = rng.random()
    if worn < 0.12:  # a cape, as a thin sheet
        hem = hips - chest * X - legs * rng.uniform(-0.2, 0.8) * Z - rng.uniform(0, 0.15) * X
        neckline = shoulders - 0.6 * chest * X - 0.2 * chest * Z
        s.cone(neckline, hem, 0.9 * chest, chest * rng.uniform(0.9, 1.8), coat(s, rng), 0.005, (1.0, 0.12), Y)
    elif worn < 0.2:  # something on the back
        half = [chest * rng.uniform(0.3, 0.7), chest * rng.uniform(0.5, 0.9), torso * rng.uniform(0.25, 0.5)]
        s.box(middle - (0.6 * chest + half[0]) * X, half, np.eye(3), 0.02, coat(s, rng), 0.01)
    arm_length, arm_r = rng.uniform(0.28, 0.42) * (0.7 if toy else 1), rng.uniform(0.02, 0.05)
    sleeve = [shirt, shirt if rng.random() < 0.5 else skin_paint]
    for sign in (-1, 1):
        root = shoulders - 0.5 * chest * up + sign * 0.95 * chest * Y
        raise_, swing = abs(rng.normal(0.25, 0.55)), rng.normal(0, 0.6)
        d = turned(turned(-Z, X, sign * min(raise_, 2.8)), Y, -swing)
        elbow = (
            (unit(np.cross(d, X) + 0.1 * Y), rng.normal(0, 0.7))
            if rng.random() < 0.5
            else (Y, -abs(rng.normal(0, 0.8)))
        )
        end, d = chain(
            s, rng, root, d, [arm_length / 2] * 2, [arm_r, 0.9 * arm_r, 0.75 * arm_r], [(Y, 0.0), elbow], sleeve, 0.02
        )
        s.cone(
            end,
            end + rng.uniform(0.02, 0.05) * d,
            rng.uniform(0.8, 1.4) * arm_r,
            0.9 * arm_r,
            skin_paint,
            0.01,
            (0.7, 1.0),
            Y,
        )
        if rng.random() < 0.15:
            hold(s, rng, end + 0.03 * d, d)
    leg_r = rng.uniform(0.035, 0.075)
    stride = rng.uniform(0.05, 0.8)
    for sign in (-1, 1):
        root = hips + sign * 0.55 * waist * Y
        d = turned(turned(-Z, X, sign * rng.normal(0.05, 0.12)), Y, rng.normal(0, stride))
        bends = [(Y, 0.0), (Y, abs(rng.normal(0, stride)))]
        end, d = chain(s, rng, root, d, [legs / 2] * 2, [leg_r * 1.2, leg_r, 0.75 * leg_r], bends, [trousers], 0.02)
        toe = unit(X + 0.4 * d + sign * rng.normal(0.1, 0.15) * Y)
        s.cone(end, end + rng.uniform(0.05, 0.1) * toe, 0.9 * leg_r, 0.8 * leg_r, shoes, 0.01)


def strider(s: Sculpture, rng: Random) -> None:
    """A body carried level over two strong legs, with a long tail and small arms, or upright and round."""
    base = color(rng)
    body = coat(s, rng, base)
    length, thick = rng.uniform(0.25, 0.45), rng.uniform(0.08, 0.18)
    legs = rng.uniform(0.2, 0.45)
    up = unit(X + rng.uniform(0, 1.8) * Z)
    hips = vector(0, 0, legs)
    chest = hips + length * up
    spine(s, rng, [hips, hips + 0.5 * length * up, chest], [thick, 1.1 * thick, 0.8 * thick], body, (0.85, 1.0), 0.05)
    d = unit(up + rng.uniform(0, 1.2) * Z)
    neck = chest + rng.uniform(0.05, 0.35) * d
    s.cone(chest, neck, 0.6 * thick, 0.4 * thick, body, 0.04)
    head(s, rng, neck, X, thick * rng.uniform(0.45, 0.9), body, base)
    parts = 4
    total = rng.uniform(0.3, 1.0)
    bends = [(Y, rng.normal(0, 0.2)) if i % 2 else (Z, rng.normal(0, 0.25)) for i in range(parts)]
    radii = [thick * (0.75 - 0.7 * i / parts) for i in range(parts + 1)]
    chain(
        s,
        rng,
        hips - 0.3 * thick * X,
        unit(-X + rng.normal(0, 0.3) * Z),
        [total / parts] * parts,
        radii,
        bends,
        body,
        0.05,
    )
    r, paints = thick * rng.uniform(0.3, 0.55), leg_paints(s, rng, body, base)
    for sign in (-1, 1):
        root = hips + sign * 0.65 * thick * Y
        leg(s, rng, root, legs, r, rng.normal(-0.1, 0.5), abs(rng.normal(0.3, 0.4)), sign * 0.05, paints)
        arm = rng.uniform(0.05, 0.25)
        root = chest - 0.2 * thick * Z + sign * 0.6 * thick * Y
        leg(s, rng, root, arm, 0.3 * r + 0.01, rng.normal(-0.4, 0.4), -abs(rng.normal(0.5, 0.5)), sign * 0.15, paints)


def bird(s: Sculpture, rng: Random) -> None:
    """Standing with folded wings or flying with wings as thin sheets; short to very long necks and legs."""
    base = color(rng)
    body = coat(s, rng, base)
    wing = coat(s, rng, base) if rng.random() < 0.6 else body
    thick = rng.uniform(0.08, 0.18)
    length = thick * rng.uniform(1.2, 2.6)
    up = unit(X + rng.uniform(-0.1, 1.5) * Z)
    back, chest = -0.5 * length * up, 0.5 * length * up
    s.cone(back, chest, thick * rng.uniform(0.4, 0.9), thick, body, 0.04, (0.9, 1.0), Y)
    d = unit(up + rng.uniform(0.2, 2) * Z)
    neck = chest + 0.6 * thick * d + rng.uniform(0, 0.35) * (rng.random() < 0.4) * d
    s.cone(chest, neck, 0.6 * thick, thick * rng.uniform(0.25, 0.5), body, 0.05)
    r = thick * rng.uniform(0.4, 0.75)
    s.cone(neck, neck + 0.2 * r * X, r, 0.9 * r, body, 0.03)
    beak = s.paint(color(rng))
    s.cone(
        neck + 0.7 * r * X,
        neck + (0.8 + rng.uniform(0.3, 1.8)) * r * X - 0.2 * r * Z,
        rng.uniform(0.2, 0.4) * r,
        0.05 * r,
        beak,
        0.01,
    )
    eyes(s, rng, neck, X, r)
    fan = unit(-up + rng.normal(0, 0.3) * Z)
    reach = thick * rng.uniform(0.8, 2.5)
    s.cone(back, back + reach * fan, 0.3 * thick, thick * rng.uniform(0.2, 0.8), wing, 0.02, (1.0, 0.18), Y)
    flying = rng.random() < 0.5
    flap, sweep = rng.normal(0.1, 0.6), rng.uniform(-0.2, 0.6)
    for sign in (-1, 1):
        if flying:
            span, chord = rng.uniform(0.25, 0.45), rng.uniform(0.06, 0.14)
            lift = flap + rng.normal(0, 0.08)
            d = unit(sign * math.cos(lift) * Y + math.sin(lift) * Z - sweep * X)
            root = 0.2 * length * up + sign * 0.6 * thick * Y
            mid = root + span * d
            tip_d = unit(d + rng.normal(-0.2, 0.3) * Z - rng.uniform(0, 0.6) * X)
            s.cone(root, mid, chord, 0.9 * chord, wing, 0.02, (1.0, rng.uniform(0.12, 0.25)), X)
            s.cone(mid, mid + span * rng.uniform(0.4, 1) * tip_d, 0.9 * chord, 0.25 * chord, wing, 0.01, (1.0, 0.15), X)
        else:
            root = 0.35 * length * up + sign * 0.85 * thick * Y
            end = back + sign * 0.6 * thick * Y - rng.uniform(0, 0.8) * thick * up
            s.cone(root, end, 0.55 * thick, 0.2 * thick, wing, 0.01, (0.3, 1.0), Y)
    legs = rng.uniform(0.05, 0.4) if not flying or rng.random() < 0.3 else 0.0
    if legs:
        r = rng.uniform(0.008, 0.025)
        horny = s.paint(color(rng))
        for sign in (-1, 1):
            root = vector(0, sign * 0.4 * thick, -0.5 * thick)
            bends = [(Y, rng.normal(0, 0.3)), (Y, rng.normal(0, 0.4))]
            end, _ = chain(s, rng, root, -Z, [legs / 2 + 0.03] * 2, [1.5 * r, r, r], bends, horny, 0.01)
            for turn in (-0.5, 0, 0.5):
                s.cone(end, end + 0.05 * turned(X, Z, turn) - 0.01 * Z, r, 0.6 * r, horny, 0.005)


def fish(s: Sculpture, rng: Random) -> None:
    """Flat or round bodies, bent sideways, with fins and a tail fin as thin sheets; whales and rays too."""
    base = color(rng)
    body = coat(s, rng, base)
    fin = plain(s, rng, base) if rng.random() < 0.6 else plain(s, rng)
    length, high = rng.uniform(0.5, 0.9), rng.uniform(0.08, 0.25)
    bend = rng.normal(0, 0.25)
    flat = (rng.uniform(0.3, 0.75), 1.0) if rng.random() < 0.8 else (1.0, rng.uniform(0.4, 0.8))
    count = 4
    d, at = X, vector(0.5 * length, 0, 0)
    profile = [
        high * rng.uniform(0.5, 0.8),
        high,
        high * rng.uniform(0.7, 1),
        high * rng.uniform(0.3, 0.6),
        high * rng.uniform(0.12, 0.3),
    ]
    points = [at]
    for _ in range(count):
        d = turned(d, Z, bend / 2 + rng.normal(0, 0.05))
        at = at - length / count * d
        points.append(at)
    for i in range(count):
        s.cone(
            points[i],
            points[i + 1],
            profile[i],
            profile[i + 1],
            body,
            0.05,
            flat,
            unit(np.cross(Z, points[i] - points[i + 1])),
        )
    eyes(s, rng, points[0], X, profile[0] * min(1.0, flat[0] + 0.15))
    side = unit(np.cross(Z, d))
    level = rng.random() < 0.15  # whales have theirs flat
    for sign in (-1, 1):
        spread = side if level else Z
        tip = points[-1] + rng.uniform(0.5, 1.3) * high * (-d + sign * rng.uniform(0.5, 1.1) * spread)
        s.cone(points[-1] + 0.05 * d, tip, 0.25 * high, 0.15 * high, fin, 0.02, (0.15, 1.0), Z if level else side)
    if rng.random() < 0.8:
        i = int(rng.integers(1, 3))
        root = points[i] + 0.8 * profile[i] * Z
        s.cone(
            root + 0.1 * X,
            root + rng.uniform(0.3, 1.0) * high * Z - rng.uniform(0, 0.2) * X,
            0.4 * high,
            0.15 * high,
            fin,
            0.01,
            (0.12, 1.0),
            Y,
        )
    droop = rng.uniform(-0.4, 1.0)
    for sign in (-1, 1):
        root = points[1] + sign * 0.8 * profile[1] * flat[0] * Y - 0.2 * profile[1] * Z
        tip = root + high * rng.uniform(0.6, 1.6) * unit(sign * Y - droop * Z - rng.uniform(0.2, 1.2) * X)
        s.cone(root, tip, 0.2 * high, 0.3 * high, fin, 0.01, (1.0, 0.15), X)


def snake(s: Sculpture, rng: Random) -> None:
    """Snakes, worms, eels, caterpillars: winding, coiled or reared up."""
    base = color(rng)
    body = coat(s, rng, base)
    count = int(rng.integers(8, 20))
    r = rng.uniform(0.025, 0.11)
    step = rng.uniform(0.07, 0.12)
    winding, beat, curl = rng.uniform(0, 0.9), rng.uniform(0.5, 1.6), rng.normal(0, 0.15)
    rear = rng.uniform(0, 0.35) if rng.random() < 0.4 else 0.0
    d, at = X, vector(0, 0, 0)
    for i in range(count):
        d = turned(d, Z, winding * math.sin(beat * i) + curl)
        if i > count - 5:
            d = unit(d + rear * Z)
        end = at + step * d
        thick = r * (0.35 + 0.65 * min(1, i / 4))
        s.cone(at, end, thick, r * (0.35 + 0.65 * min(1, (i + 1) / 4)), body, 0.02)
        at = end
    s.cone(at, at + 0.8 * r * d, r * rng.uniform(1, 1.6), 0.9 * r, body, 0.03, (1.0, 0.75), unit(np.cross(Z, d)))
    eyes(s, rng, at + 0.2 * r * d, unit(d), 1.2 * r)


def insect(s: Sculpture, rng: Random) -> None:
    """Beetles, ants, spiders, crabs: six or eight bent legs, perhaps wings, feelers or claws."""
    base = color(rng)
    body = coat(s, rng, base)
    limb = plain(s, rng, base)
    r = rng.uniform(0.08, 0.18)
    back = -X * r * rng.uniform(1.0, 2.0)
    s.cone(0.5 * back, back, 0.9 * r, r * rng.uniform(0.8, 1.4), body, 0.02, (1.0, rng.uniform(0.6, 1)), Y)
    s.cone(vector(0, 0, 0), 0.3 * r * X, 0.7 * r, 0.6 * r, body, 0.02)
    s.cone(r * X, 1.1 * r * X, 0.5 * r, 0.45 * r, body, 0.02)
    eyes(s, rng, r * X, X, 0.5 * r)
    pairs, thin = int(rng.integers(3, 5)), rng.uniform(0.012, 0.03)
    length, lift = rng.uniform(0.2, 0.5), rng.uniform(0.1, 1.0)
    for sign in (-1, 1):
        for i in range(pairs):
            angle = sign * (0.5 + 2.1 * i / (pairs - 1) + rng.normal(0, 0.15))
            out = vector(math.cos(angle), math.sin(angle), 0)
            root = 0.4 * r * (out - 0.5 * X)
            knee = root + 0.5 * length * unit(out + lift * Z)
            s.cone(root, knee, thin, 0.9 * thin, limb, 0.01)
            s.cone(knee, knee + length * unit(0.5 * out - (0.6 + 0.7 * lift) * Z), 0.9 * thin, 0.4 * thin, limb, 0.01)
        if rng.random() < 0.5:
            tip = r * X + rng.uniform(0.15, 0.35) * unit(X + sign * rng.uniform(0.2, 0.8) * Y + rng.uniform(0, 1) * Z)
            s.cone(1.2 * r * X, tip, 0.5 * thin, 0.4 * thin, limb, 0.005)


def tentacled(s: Sculpture, rng: Random) -> None:
    """Octopuses, jellyfish, stars: a head over four to eight curling arms."""
    base = color(rng)
    body = coat(s, rng, base)
    r = rng.uniform(0.12, 0.24)
    top = vector(-0.3 * r, 0, r * rng.uniform(0.5, 1.5))
    s.cone(vector(0, 0, 0), top, 0.8 * r, r, body, 0.05)
    eyes(s, rng, 0.3 * top, X, 0.85 * r)
    arms = int(rng.integers(4, 9))
    for i in range(arms):
        angle = 2 * math.pi * (i + rng.uniform(-0.2, 0.2)) / arms
        out = vector(math.cos(angle), math.sin(angle), rng.uniform(-0.8, 0.2))
        side = vector(-math.sin(angle), math.cos(angle), 0)
        bends = [(side, rng.normal(0, 0.4)) if j % 2 else (Z, rng.normal(0, 0.4)) for j in range(4)]
        thick = r * rng.uniform(0.2, 0.35)
        radii = [thick * (1 - 0.2 * j) for j in range(5)]
        chain(
            s, rng, 0.5 * r * vector(out[0], out[1], -0.6), out, [rng.uniform(0.06, 0.14)] * 4, radii, bends, body, 0.03
        )
