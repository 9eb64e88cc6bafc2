"""Random sculptures by kind: the recipes of bodies, limbs, wings, furniture, and how they are posed and painted.

Proportions are drawn wide on purpose: what matters is that thickness, hidden limbs and backs follow from what is seen.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Callable

import numpy as np

from training.sculpture import CHECKS, PLAIN, SHADED, SPOTS, STRIPES, Sculpture, Vector, frame, turned, unit, vector

X, Y, Z = vector(1, 0, 0), vector(0, 1, 0), vector(0, 0, 1)
Random = np.random.Generator
Recipe = Callable[[Sculpture, Random], None]


# -- paints ---------------------------------------------------------------------------------------------------------


def color(rng: Random) -> tuple[float, float, float]:
    """A random colour: often natural (brown, grey, green), sometimes loud."""
    style = rng.random()
    if style < 0.35:
        return colorsys.hsv_to_rgb(rng.uniform(0.02, 0.14), rng.uniform(0.1, 0.8), rng.uniform(0.15, 0.95))
    if style < 0.55:
        value = rng.uniform(0.05, 1)
        return colorsys.hsv_to_rgb(rng.random(), rng.uniform(0, 0.12), value)
    return colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.3, 1), rng.uniform(0.2, 1))


def near(base: tuple[float, ...], rng: Random, amount: float = 0.12) -> tuple[float, ...]:
    """A colour like ``base``, lighter or darker."""
    gain = math.exp(rng.normal(0, 2.5 * amount))
    return tuple(float(np.clip(c * gain + rng.normal(0, 0.3 * amount), 0, 1)) for c in base)


def coat(s: Sculpture, rng: Random, base: tuple[float, ...] | None = None) -> int:
    """A paint for a body: plain, shaded from back to belly, striped, spotted or checked."""
    base = color(rng) if base is None else base
    pattern = int(rng.choice([PLAIN, SHADED, STRIPES, SPOTS, CHECKS], p=[0.4, 0.25, 0.15, 0.13, 0.07]))
    second = color(rng) if rng.random() < 0.4 else near(base, rng, 0.25)
    if pattern == SHADED:
        direction = unit(Z + rng.normal(0, 0.25, 3))
        return s.paint(base, second, pattern, rng.uniform(4, 25), direction, rng.uniform(-0.1, 0.2))
    direction = unit(rng.normal(0, 1, 3) if rng.random() < 0.4 else X + rng.normal(0, 0.2, 3))
    return s.paint(base, second, pattern, rng.uniform(8, 50), direction, rng.uniform(0, 6.3))


def plain(s: Sculpture, rng: Random, base: tuple[float, ...] | None = None) -> int:
    return s.paint(color(rng) if base is None else near(base, rng))


# -- building blocks ------------------------------------------------------------------------------------------------


def chain(
    s: Sculpture,
    rng: Random,
    root: Vector,
    direction: Vector,
    lengths: list[float],
    radii: list[float],
    bends: list[tuple[Vector, float]],
    paint: int | list[int],
    blend: float = 0.02,
    flat: tuple[float, float] = (1.0, 1.0),
    side: Vector | None = None,
) -> tuple[Vector, Vector]:
    """Cones in a row, each turned against the last by (axis, angle); the end point and the last direction."""
    at, d = root, unit(direction)
    for i, length in enumerate(lengths):
        if i < len(bends):
            d = turned(d, unit(bends[i][0]), bends[i][1])
        end = at + length * d
        here = paint if isinstance(paint, int) else paint[min(i, len(paint) - 1)]
        s.cone(at, end, radii[i], radii[i + 1], here, blend, flat, side)
        at = end
    return at, d


def spine(
    s: Sculpture,
    rng: Random,
    points: list[Vector],
    radii: list[float],
    paint: int,
    flat: tuple[float, float],
    blend: float,
) -> None:
    for i in range(len(points) - 1):
        s.cone(points[i], points[i + 1], radii[i], radii[i + 1], paint, blend, flat, Y)


def eyes(s: Sculpture, rng: Random, center: Vector, ahead: Vector, radius: float) -> None:
    """Two eyes on a head: balls, dark or white with dark pupils."""
    side = unit(np.cross(Z, ahead)) if abs(ahead[2]) < 0.95 else Y
    up = np.cross(ahead, side)
    size = radius * rng.uniform(0.12, 0.34)
    dark = s.paint((0.03, 0.03, 0.04))
    white = s.paint((0.95, 0.95, 0.92)) if rng.random() < 0.35 else dark
    spread, lift = rng.uniform(0.35, 0.8), rng.uniform(0.1, 0.5)
    for sign in (-1, 1):
        out = unit(ahead * rng.uniform(0.7, 0.9) + sign * spread * side + lift * up)
        at = center + out * (radius * 0.92)
        s.cone(at, at + 1e-3 * ahead, size, size, white, 1e-3)
        if white != dark:
            s.cone(at + 0.5 * size * out, at + 0.5 * size * out + 1e-3 * ahead, 0.65 * size, 0.65 * size, dark, 1e-3)


def ears(s: Sculpture, rng: Random, center: Vector, ahead: Vector, radius: float, paint: int) -> None:
    """Two ears: round, pointed or long, thin as leaves; or horns."""
    style = rng.choice(["none", "round", "pointed", "long", "horns"], p=[0.15, 0.25, 0.3, 0.15, 0.15])
    if style == "none":
        return
    side = unit(np.cross(Z, ahead))
    up = unit(np.cross(ahead, side))
    lean = rng.uniform(-0.5, 0.3)
    for sign in (-1, 1):
        out = unit(up + sign * rng.uniform(0.4, 1.1) * side + lean * ahead)
        base = center + 0.85 * radius * out
        if style == "round":
            r = radius * rng.uniform(0.3, 0.55)
            s.cone(base, base + 0.3 * r * out, r, r, paint, 0.01, (rng.uniform(0.2, 0.6), 1.0), ahead)
        elif style == "horns":
            r = radius * rng.uniform(0.1, 0.22)
            horn = s.paint(near((0.8, 0.75, 0.6), rng))
            bends = [(side, 0.0), (ahead, -sign * rng.uniform(-0.6, 0.8)), (side, rng.uniform(-0.7, 0.7))]
            chain(
                s,
                rng,
                base,
                out,
                [radius * rng.uniform(0.3, 0.7)] * 3,
                [r, 0.8 * r, 0.6 * r, 0.2 * r],
                bends,
                horn,
                0.01,
            )
        else:
            length = radius * (rng.uniform(0.5, 0.9) if style == "pointed" else rng.uniform(1.0, 2.0))
            r = radius * rng.uniform(0.22, 0.4)
            tip = 0.15 * r if style == "pointed" else 0.7 * r
            s.cone(base, base + length * out, r, tip, paint, 0.01, (rng.uniform(0.25, 0.6), 1.0), ahead)


def head(
    s: Sculpture, rng: Random, at: Vector, ahead: Vector, radius: float, paint: int, base: tuple[float, ...]
) -> None:
    """A head with perhaps a snout or a beak, eyes and ears, at ``at`` and looking ``ahead``."""
    ahead = unit(turned(unit(ahead), Z, rng.normal(0, 0.35)) + vector(0, 0, rng.normal(-0.05, 0.2)))
    s.cone(at - 0.3 * radius * ahead, at + 0.2 * radius * ahead, radius, radius * rng.uniform(0.7, 1), paint, 0.03)
    snout = rng.random()
    down = unit(ahead - rng.uniform(0, 0.4) * Z)
    if snout < 0.55:
        length, r = radius * rng.uniform(0.5, 1.7), radius * rng.uniform(0.35, 0.7)
        tip = at + (0.4 * radius + length) * down
        s.cone(at + 0.3 * radius * down, tip, r, r * rng.uniform(0.4, 0.95), paint, 0.04)
        if rng.random() < 0.6:
            s.cone(tip, tip + 0.3 * r * down, 0.35 * r, 0.35 * r, s.paint(near((0.1, 0.07, 0.07), rng)), 0.005)
    elif snout < 0.8:
        beak = s.paint(color(rng))
        length, r = radius * rng.uniform(0.4, 1.4), radius * rng.uniform(0.2, 0.45)
        s.cone(at + 0.7 * radius * down, at + (0.7 * radius + length) * down, r, 0.15 * r, beak, 0.01)
    eyes(s, rng, at, ahead, radius)
    ears(s, rng, at, ahead, radius, plain(s, rng, base) if rng.random() < 0.4 else paint)


def tail(s: Sculpture, rng: Random, root: Vector, back: Vector, size: float, paint: int) -> None:
    """None, a stub, a thin whip or a thick tail, bent at random."""
    style = rng.choice(["none", "stub", "thin", "thick"], p=[0.12, 0.18, 0.35, 0.35])
    if style == "none":
        return
    parts = {"stub": 1, "thin": 4, "thick": 4}[style]
    length = (
        size * {"stub": rng.uniform(0.1, 0.25), "thin": rng.uniform(0.4, 1.1), "thick": rng.uniform(0.5, 1.3)}[style]
    )
    r = (
        size
        * {"stub": rng.uniform(0.06, 0.15), "thin": rng.uniform(0.025, 0.06), "thick": rng.uniform(0.08, 0.24)}[style]
    )
    taper = rng.uniform(0.1, 1.3) if style != "thick" else rng.uniform(0.05, 0.5)
    radii = [r * (1 - i / parts) + r * taper * i / parts for i in range(parts + 1)]
    lift, sway = rng.normal(0, 0.35), rng.normal(0, 0.3)
    bends = [(Y, lift + rng.normal(0, 0.1)) if i % 2 else (Z, sway + rng.normal(0, 0.1)) for i in range(parts)]
    start = unit(back + vector(0, 0, rng.uniform(-0.8, 0.7)))
    chain(s, rng, root, start, [length / parts] * parts, radii, bends, paint, 0.03)


def leg(
    s: Sculpture,
    rng: Random,
    root: Vector,
    length: float,
    r: float,
    swing: float,
    fold: float,
    out: float,
    paints: list[int],
) -> None:
    """A leg of two or three joints, hanging from ``root``, swung about y, folded at the knee, turned out about x."""
    down = turned(turned(-Z, Y, swing), X, out)
    parts = int(rng.integers(2, 4))
    shares = [0.5, 0.5] if parts == 2 else [0.42, 0.36, 0.22]
    taper = rng.uniform(0.45, 1.0)
    radii = [r * (1 + (taper - 1) * i / parts) for i in range(parts + 1)]
    bends = [(Y, 0.0), (Y, fold), (Y, -0.9 * fold)]
    end, d = chain(s, rng, root, down, [length * q for q in shares], radii, bends, paints, 0.02)
    style = rng.random()
    if style < 0.65:
        foot = radii[-1] * rng.uniform(1.0, 1.5)
        reach = foot * rng.uniform(0.4, 2.0)
        s.cone(end, end + reach * unit(X + 0.3 * d), foot, 0.8 * foot, paints[-1], 0.01, (1.0, rng.uniform(0.5, 1)), Y)


def leg_paints(s: Sculpture, rng: Random, body: int, base: tuple[float, ...]) -> list[int]:
    if rng.random() < 0.55:
        return [body]
    return [body, plain(s, rng, base) if rng.random() < 0.5 else plain(s, rng)]


# -- kinds ----------------------------------------------------------------------------------------------------------


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
    for x, radius, bend in ((-0.45 * length, hind, 1), (0.42 * length, front, knee)):
        for sign in (-1, 1):
            at = vector(x, sign * 0.6 * radius, legs - 0.1 * radius)
            swing = rng.normal(0, 0.45 * reach)
            fold = bend * abs(rng.normal(0, 0.6 * reach))
            leg(s, rng, at, legs * rng.uniform(0.95, 1.05), r, swing, fold, sign * rng.normal(0.03, 0.08), paints)


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


TRAINED: dict[str, tuple[Recipe, float]] = {
    "quadruped": (quadruped, 0.26),
    "biped": (biped, 0.2),
    "strider": (strider, 0.1),
    "bird": (bird, 0.11),
    "fish": (fish, 0.07),
    "snake": (snake, 0.04),
    "plant": (plant, 0.04),
    "vehicle": (vehicle, 0.05),
    "vessel": (vessel, 0.04),
    "composite": (composite, 0.09),
}
HELD_OUT: dict[str, tuple[Recipe, float]] = {
    "insect": (insect, 0.25),
    "tentacled": (tentacled, 0.25),
    "furniture": (furniture, 0.25),
    "tool": (tool, 0.25),
}


def sculpt(rng: Random, kinds: dict[str, tuple[Recipe, float]], kind: str | None = None) -> tuple[Sculpture, str]:
    """A random sculpture of one of ``kinds``, and which."""
    if kind is None:
        names = list(kinds)
        shares = np.array([kinds[n][1] for n in names])
        kind = str(rng.choice(names, p=shares / shares.sum()))
    s = Sculpture()
    kinds[kind][0](s, rng)
    return s, kind
