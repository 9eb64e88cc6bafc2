"""What sculptures of several kinds share: paints, chains of cones, heads, tails and legs."""

from __future__ import annotations

import colorsys
import math

import numpy as np

from training.sculpture import CHECKS, PLAIN, SHADED, SPOTS, STRIPES, Sculpture, Vector, frame, turned, unit, vector

X, Y, Z = vector(1, 0, 0), vector(0, 1, 0), vector(0, 0, 1)
Random = np.random.Generator


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
    pattern = int(rng.choice([PLAIN, SHADED, STRIPES, SPOTS, CHECKS], p=[0.45, 0.29, 0.11, 0.11, 0.04]))
    second = color(rng) if rng.random() < 0.4 else near(base, rng, 0.25)
    if pattern == SHADED:
        direction = unit(Z + rng.normal(0, 0.25, 3))
        return s.paint(base, second, pattern, rng.uniform(4, 25), direction, rng.uniform(-0.1, 0.2))
    direction = unit(rng.normal(0, 1, 3) if rng.random() < 0.4 else X + rng.normal(0, 0.2, 3))
    return s.paint(base, second, pattern, rng.uniform(8, 50), direction, rng.uniform(0, 6.3))


def plain(s: Sculpture, rng: Random, base: tuple[float, ...] | None = None) -> int:
    return s.paint(color(rng) if base is None else near(base, rng))


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
    style = rng.choice(["none", "stub", "thin", "thick", "bushy"], p=[0.1, 0.15, 0.3, 0.3, 0.15])
    if style == "none":
        return
    bushy = style == "bushy"
    style = "thin" if bushy else style
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
    if bushy:
        radii = [
            r + size * rng.uniform(0.05, 0.14) * math.sin(math.pi * min(1, (i + 0.3) / parts)) for i in range(parts + 1)
        ]
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
    thigh: float = 1.0,
) -> None:
    """A leg of two or three joints, hanging from ``root``, swung about y, folded at the knee, turned out about x;
    at its root ``thigh`` times as thick."""
    down = turned(turned(-Z, Y, swing), X, out)
    parts = int(rng.integers(2, 4))
    shares = [0.5, 0.5] if parts == 2 else [0.42, 0.36, 0.22]
    taper = rng.uniform(0.45, 1.0)
    radii = [r * (1 + (taper - 1) * i / parts) for i in range(parts + 1)]
    radii[0] *= thigh
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


def hold(s: Sculpture, rng: Random, hand: Vector, along: Vector) -> None:
    """Something in a hand: a stick, a ball, a board, a bag."""
    style, paint = rng.random(), coat(s, rng, near(color(rng), rng))
    d = unit(X + rng.normal(0, 0.8, 3))
    if style < 0.4:
        r, length = rng.uniform(0.006, 0.02), rng.uniform(0.15, 0.6)
        s.cone(hand - 0.3 * length * d, hand + 0.7 * length * d, r, r * rng.uniform(0.5, 2.5), paint, 0.003)
    elif style < 0.6:
        r = rng.uniform(0.04, 0.12)
        s.cone(hand + r * along, hand + 1.01 * r * along, r, r, paint, 0.003)
    elif style < 0.8:
        half = [rng.uniform(0.008, 0.03), *rng.uniform(0.04, 0.18, 2)]
        s.box(hand, half, frame(d), 0.008, paint, 0.003)
    else:
        half = [float(v) for v in rng.uniform(0.03, 0.1, 3)]
        s.box(hand + vector(0, 0, -half[2] - 0.03), half, np.eye(3), 0.02, paint, 0.003)
        s.ring(hand, Y, 0.03, 0.006, paint, 0.003)
