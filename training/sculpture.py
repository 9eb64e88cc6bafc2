"""A sculpture: a list of signed-distance primitives that are joined smoothly, and the paints they carry.

Sculptures stand on x forward, y left, z up, and are about one unit long. Everything is plain numbers, so that
worker processes make them on the CPU while the GPU turns the last batch into pictures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

# Columns of a row of the table of primitives.
SHAPE, CUTS, BLEND, CENTER, AXES, FLAT, SIZE, PAINT = 0, 1, 2, 3, 6, 15, 17, 21
COLUMNS = 22
# Values of SHAPE.
CONE, BOX, RING, DRUM = range(4)
# Columns of a row of the table of paints.
COLOR_A, COLOR_B, PATTERN, FREQUENCY, DIRECTION, PHASE = 0, 3, 6, 7, 8, 11
PAINT_COLUMNS = 12
# Values of PATTERN.
PLAIN, STRIPES, SPOTS, SHADED, CHECKS = range(5)

MAX_PARTS = 96
MAX_PAINTS = 16


@dataclass
class Sculpture:
    """Parts under construction. Lengths are in the sculpture's units; ``blend`` is the radius of the smooth union."""

    rows: list[Vector] = field(default_factory=list)
    paints: list[Vector] = field(default_factory=list)

    def paint(
        self,
        first: Sequence[float],
        second: Sequence[float] | None = None,
        pattern: int = PLAIN,
        frequency: float = 0.0,
        direction: Sequence[float] = (1, 0, 0),
        phase: float = 0.0,
    ) -> int:
        """A new paint's number: two colours (sRGB in [0,1]) and how they alternate along ``direction``."""
        row = np.zeros(PAINT_COLUMNS)
        row[COLOR_A : COLOR_A + 3] = first
        row[COLOR_B : COLOR_B + 3] = first if second is None else second
        row[PATTERN], row[FREQUENCY], row[PHASE] = pattern, frequency, phase
        row[DIRECTION : DIRECTION + 3] = direction
        self.paints.append(row)
        return min(len(self.paints), MAX_PAINTS) - 1

    def cone(
        self,
        start: Vector,
        end: Vector,
        r0: float,
        r1: float,
        paint: int,
        blend: float = 0.03,
        flat: tuple[float, float] = (1.0, 1.0),
        side: Vector | None = None,
    ) -> None:
        """Two balls and the cone that touches both, squeezed by ``flat`` along ``side`` and along the third axis."""
        axis = np.asarray(end, float) - start
        length = float(np.linalg.norm(axis))
        # The formula needs |r0 - r1| < length.
        length = max(length, 1.05 * abs(r0 - r1), 1e-3)
        self._add(CONE, start, frame(axis, side), flat, (length, max(r0, 4e-3), max(r1, 4e-3), 0), paint, blend)

    def box(
        self,
        center: Vector,
        half: Sequence[float],
        axes: NDArray[np.float64],
        round_: float,
        paint: int,
        blend: float = 0.0,
    ) -> None:
        """A box of half sizes ``half`` along the rows of ``axes``, its edges rounded by ``round_`` (within the box)."""
        round_ = min(round_, 0.95 * min(half))
        self._add(BOX, center, axes, (1.0, 1.0), (*(h - round_ for h in half), round_), paint, blend)

    def ring(self, center: Vector, axis: Vector, radius: float, thick: float, paint: int, blend: float = 0.0) -> None:
        """A torus around ``axis``."""
        self._add(RING, center, frame(axis), (1.0, 1.0), (radius, max(thick, 4e-3), 0, 0), paint, blend)

    def drum(
        self,
        start: Vector,
        end: Vector,
        r0: float,
        r1: float,
        round_: float,
        paint: int,
        blend: float = 0.0,
        cuts: bool = False,
    ) -> None:
        """A truncated cone with flat ends; with ``cuts`` it is taken away from what was built before."""
        axis = np.asarray(end, float) - start
        length = max(float(np.linalg.norm(axis)), 1e-3)
        self._add(
            DRUM, start, frame(axis), (1.0, 1.0), (length, max(r0, 4e-3), max(r1, 4e-3), round_), paint, blend, cuts
        )

    def move(self, first: int, scale: float, rotation: NDArray[np.float64], shift: Vector) -> None:
        """Scale, turn by ``rotation`` (3,3) and shift the parts from number ``first`` on."""
        for row in self.rows[first:]:
            row[CENTER : CENTER + 3] = scale * rotation @ row[CENTER : CENTER + 3] + shift
            row[AXES : AXES + 9] = (row[AXES : AXES + 9].reshape(3, 3) @ rotation.T).ravel()
            row[SIZE : SIZE + 4] *= scale
            row[BLEND] *= scale

    def _add(
        self,
        shape: int,
        center: Vector,
        axes: NDArray[np.float64],
        flat: tuple[float, float],
        size: Sequence[float],
        paint: int,
        blend: float,
        cuts: bool = False,
    ) -> None:
        row = np.empty(COLUMNS)
        row[SHAPE], row[CUTS], row[BLEND], row[PAINT] = shape, cuts, max(blend, 1e-4), paint
        row[CENTER : CENTER + 3], row[AXES : AXES + 9] = center, axes.ravel()
        row[FLAT : FLAT + 2], row[SIZE : SIZE + 4] = flat, size
        self.rows.append(row)

    def tables(self) -> tuple[NDArray[np.float32], NDArray[np.float32], int]:
        """Primitives (MAX_PARTS,COLUMNS), paints (MAX_PAINTS,PAINT_COLUMNS), zero-padded, and how many primitives."""
        count = min(len(self.rows), MAX_PARTS)
        parts = np.zeros((MAX_PARTS, COLUMNS), np.float32)
        paints = np.zeros((MAX_PAINTS, PAINT_COLUMNS), np.float32)
        for table, rows in ((parts, self.rows), (paints, self.paints)):
            for i, row in enumerate(rows[: len(table)]):
                table[i] = row
        return parts, paints, count


def vector(x: float, y: float, z: float) -> Vector:
    return np.array([x, y, z], np.float64)


def unit(v: Vector) -> Vector:
    """``v`` at length one; the x axis if it has none."""
    length = math.sqrt(float(v @ v))
    return v / length if length > 1e-9 else vector(1, 0, 0)


def frame(axis: Vector, side: Vector | None = None) -> NDArray[np.float64]:
    """(3,3) orthonormal rows: ``axis``, then ``side`` made square to it (any, if absent), then the third."""
    x = unit(axis)
    guess = side if side is not None else (vector(0, 1, 0) if abs(x[1]) < 0.9 else vector(0, 0, 1))
    y = guess - (guess @ x) * x
    if y @ y < 1e-8:
        y = vector(0, 0, 1) - x[2] * x if abs(x[2]) < 0.9 else vector(1, 0, 0) - x[0] * x
    y = unit(y)
    return np.stack([x, y, _cross(x, y)])


def turned(v: Vector, axis: Vector, angle: float) -> Vector:
    """``v`` turned about the unit vector ``axis`` by ``angle`` radians."""
    c, s = math.cos(angle), math.sin(angle)
    out: Vector = c * v + s * _cross(axis, v) + (1 - c) * float(axis @ v) * axis
    return out


def _cross(a: Vector, b: Vector) -> Vector:
    return vector(a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])
