"""What animals with the anatomy of life share: coats with pale bellies and dark feet, tails, eyes at the sides."""

from __future__ import annotations

import math

from training.parts import Random, X, Y, Z, chain, coat, near, plain
from training.sculpture import SHADED, Sculpture, Vector, unit, vector


def coats(s: Sculpture, rng: Random, base: tuple[float, ...], level: float) -> tuple[int, int, int]:
    """Paints of back, belly and feet."""
    style = rng.random()
    second = near((0.92, 0.88, 0.8), rng, 0.1) if rng.random() < 0.6 else near(base, rng, 0.3)
    if style < 0.6:
        fur = s.paint(base)
    elif style < 0.8:  # belly and legs of another colour
        direction = unit(Z + rng.normal(0, 0.12, 3))
        fur = s.paint(base, second, SHADED, rng.uniform(8, 60), direction, level - rng.uniform(0.0, 0.15))
    else:
        fur = coat(s, rng, base)
    pale = s.paint(second) if rng.random() < 0.75 else fur
    shade = rng.random()
    dark = s.paint(near((0.12, 0.08, 0.06), rng)) if shade < 0.4 else plain(s, rng, base) if shade < 0.6 else fur
    return fur, pale, dark


def side_eyes(s: Sculpture, rng: Random, at: Vector, ahead: Vector, side: Vector, skull: float) -> None:
    """Eyes at the sides of a skull, as of what is hunted."""
    size, dark = skull * rng.uniform(0.12, 0.26), s.paint(near((0.05, 0.04, 0.04), rng))
    for sign in (-1, 1):
        out = unit(0.45 * ahead + sign * side + rng.uniform(0.2, 0.5) * Z)
        s.cone(at + 0.9 * skull * out, at + 0.9 * skull * out + 1e-3 * X, size, size, dark, 1e-3)


def hairy_tail(s: Sculpture, rng: Random, root: Vector, length: float, paints: tuple[int, int, int]) -> None:
    """A stub, a whip with a tassel, or a brush with a tip."""
    fur, pale, dark = paints
    style = rng.random()
    if style < 0.15:
        s.cone(
            root,
            root + length * rng.uniform(0.04, 0.12) * unit(-X + rng.normal(0, 0.6) * Z),
            0.05 * length,
            0.03 * length,
            fur,
            0.02,
        )
        return
    brush = style < 0.6
    reach, r = (
        length * rng.uniform(0.35, 1.0),
        length * (rng.uniform(0.05, 0.12) if brush else rng.uniform(0.015, 0.04)),
    )
    shape = (0.5, 0.9, 1.0, 0.8, 0.3) if brush else (1.5, 1.0, 0.9, 0.9, 1.0)
    start = unit(-X + rng.uniform(-1.6, 0.9) * Z + rng.normal(0, 0.2) * Y)
    bends = [(Y, rng.normal(0, 0.25)) if i % 2 else (Z, rng.normal(0, 0.25)) for i in range(4)]
    end = (pale if rng.random() < 0.5 else dark) if rng.random() < 0.6 else fur
    chain(s, rng, root, start, [reach / 4] * 4, [r * f for f in shape], bends, [fur, fur, fur, end], 0.02)


def downwards(angle: float, out: float = 0.0) -> Vector:
    """Downwards, ``angle`` forwards and ``out`` to the left, in radians."""
    return unit(vector(math.sin(angle), math.tan(out), -math.cos(angle)))
