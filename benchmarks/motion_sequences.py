"""Moving creatures with exact truth for `bench_motion`: bodies of blobs or of rigid parts, skinned to a few bones.

Kinds differ in what makes motion hard to see: turns out of the picture plane, limbs that look alike and cross, flat
colours, thin legs, parts that hold together by nothing. ``TUNED`` may be looked at while methods are chosen,
``HELD_OUT`` may not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import SimpleNamespace

import fast_simplification
import numpy as np
import torch

from scripts.creatures.sculpt import (
    Array,
    Bone,
    Move,
    Part,
    Sculpture,
    blend,
    edge,
    ellipsoid,
    gradient,
    limb,
    pose,
    rgb,
    surface,
    turn,
    union,
)
from scripts.make_examples import camera_of, frames_of, to_y_up
from v2m4.arrays import Bytes, Int64
from v2m4.evaluation.truth import Truth
from v2m4.geometry.mesh import Mesh

FPS = 24
CELL = 0.022  # of the grid that surfaces are found on
_LOW, _HIGH = np.array([-1.2, -1.2, -0.1]), np.array([1.2, 1.2, 1.5])


@dataclass(frozen=True)
class Sequence3D:
    """A creature and its motion. rigid: every part is a surface of its own. moves: of the bones at a time in [0,1).
    paint: rest positions (N,3) to colours (N,3). view: yaw and pitch in degrees, distance, target."""

    parts: list[Part]
    bones: dict[str, Bone]
    moves: Callable[[float], dict[str, Move]]
    paint: Callable[[Array], Array]
    view: dict[str, object]
    frames: int = 24
    faces: int = 3000
    rigid: bool = False


def swing(time: float, phase: float = 0.0, turns: float = 1.0) -> float:
    """A sine of ``turns`` periods over the clip, with ``phase`` in periods."""
    return float(np.sin(2 * np.pi * (turns * time + phase)))


def striped(
    first: str, second: str, waves: float = 40.0, along: Sequence[float] = (0.4, 0.5, 1.0)
) -> Callable[[Array], Array]:
    """Wavy stripes with spots: texture to follow everywhere."""
    direction = np.asarray(along)

    def paint(p: Array) -> Array:
        bands = np.sin(waves * (p @ direction) + 3 * np.sin(11 * p[:, 0]) + 2 * np.sin(9 * p[:, 1]))
        spots = np.sin(23 * p[:, 0] + 1) * np.sin(19 * p[:, 1] + 2) * np.sin(21 * p[:, 2])
        colour = blend(np.tile(rgb(first), (len(p), 1)), rgb(second), edge(-bands, -0.2, 0.2))
        return blend(colour, rgb("fff4d6"), edge(-spots, -0.4, 0.1))

    return paint


def zoned(levels: Sequence[tuple[float, str]]) -> Callable[[Array], Array]:
    """Flat colours by height: (up to z, colour)."""

    def paint(p: Array) -> Array:
        colour = np.tile(rgb(levels[-1][1]), (len(p), 1))
        for height, code in reversed(levels[:-1]):
            colour = blend(colour, rgb(code), edge(p[:, 2], height, 0.01))
        return colour

    return paint


# ---------------------------------------------------------------- bodies


def bird() -> tuple[list[Part], dict[str, Bone]]:
    """Wings spread sideways, facing +y."""
    parts = [
        Part("body", ellipsoid((0, 0, 0.5), (0.13, 0.3, 0.12))),
        Part("head", ellipsoid((0, 0.36, 0.6), (0.1, 0.12, 0.1)), 0.06),
        Part("head", limb((0, 0.44, 0.59), (0, 0.56, 0.56), 0.035, 0.012), 0.02),
        Part("tail", ellipsoid((0, -0.42, 0.5), (0.13, 0.2, 0.03)), 0.05),
    ]
    bones = {"body": Bone((0, 0, 0.5)), "head": Bone((0, 0.26, 0.54), "body"), "tail": Bone((0, -0.26, 0.5), "body")}
    for side, s in (("l", 1), ("r", -1)):
        parts.append(Part(f"inner.{side}", ellipsoid((s * 0.3, 0.02, 0.54), (0.26, 0.15, 0.03)), 0.04))
        parts.append(Part(f"outer.{side}", ellipsoid((s * 0.68, -0.02, 0.54), (0.27, 0.12, 0.022)), 0.03))
        bones[f"inner.{side}"] = Bone((s * 0.1, 0.02, 0.54), "body")
        bones[f"outer.{side}"] = Bone((s * 0.48, 0.0, 0.54), f"inner.{side}")
    return parts, bones


def human(plump: float = 1.0, holding: bool = False) -> tuple[list[Part], dict[str, Bone]]:
    """Standing, facing +y, arms a little apart."""
    w = plump
    parts = [
        Part("hips", ellipsoid((0, 0, 0.52), (0.13 * w, 0.09 * w, 0.11))),
        Part("chest", ellipsoid((0, 0, 0.76), (0.16 * w, 0.1 * w, 0.17)), 0.06),
        Part("head", ellipsoid((0, 0.01, 1.06), (0.1, 0.115, 0.125)), 0.03),
        Part("head", ellipsoid((0, 0.12, 1.04), (0.025, 0.035, 0.03)), 0.015),
    ]
    bones = {
        "hips": Bone((0, 0, 0.5)),
        "chest": Bone((0, 0, 0.6), "hips"),
        "head": Bone((0, 0, 0.93), "chest"),
    }
    for side, s in (("l", 1), ("r", -1)):
        parts += [
            Part(f"arm.{side}", limb((s * 0.16 * w, 0, 0.86), (s * 0.32 * w, 0, 0.68), 0.05 * w, 0.042), 0.03),
            Part(f"hand.{side}", limb((s * 0.32 * w, 0, 0.68), (s * 0.38 * w, 0.06, 0.48), 0.042, 0.045), 0.02),
            Part(f"leg.{side}", limb((s * 0.085 * w, 0, 0.48), (s * 0.1 * w, 0, 0.26), 0.075 * w, 0.055), 0.03),
            Part(f"foot.{side}", limb((s * 0.1 * w, 0, 0.26), (s * 0.1 * w, 0, 0.05), 0.055, 0.045), 0.02),
            Part(f"foot.{side}", ellipsoid((s * 0.1 * w, 0.06, 0.03), (0.05, 0.1, 0.035)), 0.02),
        ]
        bones[f"arm.{side}"] = Bone((s * 0.15 * w, 0, 0.87), "chest")
        bones[f"hand.{side}"] = Bone((s * 0.32 * w, 0, 0.68), f"arm.{side}")
        bones[f"leg.{side}"] = Bone((s * 0.085 * w, 0, 0.48), "hips")
        bones[f"foot.{side}"] = Bone((s * 0.1 * w, 0, 0.26), f"leg.{side}")
    if holding:
        parts.append(Part("hand.l", limb((0.38, 0.06, 0.46), (0.42, 0.5, 0.62), 0.02, 0.014), 0.01))
        parts.append(Part("hand.r", ellipsoid((-0.44, 0.08, 0.5), (0.03, 0.16, 0.2)), 0.01))
    return parts, bones


def quadruped(thin: float = 1.0) -> tuple[list[Part], dict[str, Bone]]:
    """Along y, facing +y."""
    parts = [
        Part("body", ellipsoid((0, 0, 0.55), (0.13, 0.34, 0.15))),
        Part("neck", limb((0, 0.27, 0.62), (0, 0.42, 0.82), 0.085, 0.065), 0.05),
        Part("head", ellipsoid((0, 0.5, 0.88), (0.075, 0.13, 0.075)), 0.03),
        Part("head", limb((0, 0.58, 0.86), (0, 0.68, 0.82), 0.045, 0.035), 0.02),
        Part("tail", limb((0, -0.32, 0.6), (0, -0.52, 0.42), 0.04, 0.02), 0.03),
    ]
    bones = {
        "body": Bone((0, 0, 0.55)),
        "neck": Bone((0, 0.26, 0.6), "body"),
        "head": Bone((0, 0.42, 0.82), "neck"),
        "tail": Bone((0, -0.3, 0.6), "body"),
    }
    for s in (1, -1):
        parts.append(Part("head", limb((s * 0.05, 0.45, 0.93), (s * 0.085, 0.42, 1.04), 0.028, 0.014), 0.01))
    for key, s, y in (("fl", 1, 0.24), ("fr", -1, 0.24), ("bl", 1, -0.24), ("br", -1, -0.24)):
        parts.append(
            Part(f"thigh.{key}", limb((s * 0.09, y, 0.48), (s * 0.09, y, 0.26), 0.065 * thin, 0.042 * thin), 0.03)
        )
        parts.append(
            Part(
                f"shin.{key}", limb((s * 0.09, y, 0.26), (s * 0.09, y + 0.01, 0.035), 0.042 * thin, 0.035 * thin), 0.015
            )
        )
        bones[f"thigh.{key}"] = Bone((s * 0.09, y, 0.46), "body")
        bones[f"shin.{key}"] = Bone((s * 0.09, y, 0.26), f"thigh.{key}")
    return parts, bones


def many_legged(pairs: int = 4) -> tuple[list[Part], dict[str, Bone]]:
    """Pairs of thin legs of two joints around a low body, facing +y."""
    parts = [
        Part("body", ellipsoid((0, 0.1, 0.3), (0.12, 0.14, 0.09))),
        Part("back", ellipsoid((0, -0.18, 0.34), (0.16, 0.2, 0.14)), 0.03),
    ]
    bones = {"body": Bone((0, 0.1, 0.3)), "back": Bone((0, -0.02, 0.3), "body")}
    for k in range(pairs):
        for side, s in (("l", 1), ("r", -1)):
            angle = np.radians(35 - 35 * k * 3 / (pairs - 1))
            out = np.array([s * np.cos(angle), np.sin(angle), 0.0])
            hip = np.array([0, 0.1, 0.3]) + 0.09 * out
            knee, toe = hip + 0.26 * out + [0, 0, 0.17], hip + 0.5 * out - [0, 0, 0.27]
            parts.append(Part(f"upper.{k}{side}", limb(hip.tolist(), knee.tolist(), 0.024, 0.02), 0.01))
            parts.append(Part(f"lower.{k}{side}", limb(knee.tolist(), toe.tolist(), 0.02, 0.014), 0.004))
            bones[f"upper.{k}{side}"] = Bone(tuple(hip), "body")
            bones[f"lower.{k}{side}"] = Bone(tuple(knee), f"upper.{k}{side}")
    return parts, bones


def fish() -> tuple[list[Part], dict[str, Bone]]:
    """A chain of six bones along y, facing +y, with fins."""
    parts, bones = [], {}
    for k, (width, height) in enumerate(
        ((0.08, 0.1), (0.12, 0.17), (0.12, 0.18), (0.09, 0.14), (0.06, 0.09), (0.03, 0.05))
    ):
        y = 0.5 - 0.2 * k
        parts.append(Part(f"spine.{k}", ellipsoid((0, y, 0.5), (width, 0.14, height)), 0.06))
        bones[f"spine.{k}"] = Bone((0, y + 0.1, 0.5), f"spine.{k - 1}" if k else None)
    parts.append(Part("spine.5", ellipsoid((0, -0.66, 0.5), (0.02, 0.1, 0.2)), 0.03))
    parts.append(Part("spine.2", ellipsoid((0, 0.05, 0.7), (0.018, 0.16, 0.1)), 0.03))
    for side, s in (("l", 1), ("r", -1)):
        parts.append(Part(f"fin.{side}", ellipsoid((s * 0.2, 0.2, 0.44), (0.12, 0.07, 0.018)), 0.02))
        bones[f"fin.{side}"] = Bone((s * 0.1, 0.22, 0.45), "spine.1")
    return parts, bones


def machine() -> tuple[list[Part], dict[str, Bone]]:
    """A robot whose parts do not touch."""
    parts = [
        Part("hips", ellipsoid((0, 0, 0.5), (0.14, 0.1, 0.07))),
        Part("chest", ellipsoid((0, 0, 0.76), (0.19, 0.13, 0.16))),
        Part("chest", limb((0, 0, 0.55), (0, 0, 0.62), 0.04, 0.04)),
        Part("head", ellipsoid((0, 0.01, 1.07), (0.14, 0.12, 0.11))),
        Part("head", limb((0.05, 0.12, 1.09), (0.05, 0.14, 1.09), 0.03, 0.03)),
        Part("head", limb((-0.05, 0.12, 1.09), (-0.05, 0.14, 1.09), 0.03, 0.03)),
        Part("head", limb((0, 0, 1.17), (0, 0, 1.27), 0.012, 0.02)),
    ]
    bones = {"hips": Bone((0, 0, 0.5)), "chest": Bone((0, 0, 0.57), "hips"), "head": Bone((0, 0, 0.95), "chest")}
    for side, s in (("l", 1), ("r", -1)):
        parts += [
            Part(f"arm.{side}", ellipsoid((s * 0.23, 0, 0.85), (0.06, 0.06, 0.06))),
            Part(f"arm.{side}", limb((s * 0.27, 0, 0.8), (s * 0.33, 0, 0.68), 0.035, 0.035)),
            Part(f"hand.{side}", limb((s * 0.35, 0.01, 0.62), (s * 0.37, 0.05, 0.5), 0.045, 0.035)),
            Part(f"hand.{side}", ellipsoid((s * 0.385, 0.07, 0.42), (0.06, 0.06, 0.05))),
            Part(f"leg.{side}", limb((s * 0.08, 0, 0.41), (s * 0.09, 0, 0.3), 0.05, 0.045)),
            Part(f"foot.{side}", limb((s * 0.09, 0, 0.22), (s * 0.095, 0, 0.1), 0.04, 0.05)),
            Part(f"foot.{side}", ellipsoid((s * 0.1, 0.05, 0.03), (0.06, 0.11, 0.035))),
        ]
        bones[f"arm.{side}"] = Bone((s * 0.21, 0, 0.85), "chest")
        bones[f"hand.{side}"] = Bone((s * 0.34, 0, 0.65), f"arm.{side}")
        bones[f"leg.{side}"] = Bone((s * 0.08, 0, 0.45), "hips")
        bones[f"foot.{side}"] = Bone((s * 0.09, 0, 0.26), f"leg.{side}")
    return parts, bones


# ---------------------------------------------------------------- motions


def flapping(time: float) -> dict[str, Move]:
    """Two beats of the wings; the body bobs."""
    beat, late = swing(time, 0.0, 2), swing(time, -0.18, 2)
    out = {"body": Move(turn("x", 4 * beat), shift=(0, 0, -0.06 * beat)), "head": Move(turn("x", -4 * beat))}
    for side, s in (("l", 1), ("r", -1)):
        out[f"inner.{side}"] = Move(turn("y", -s * (45 * beat)))
        out[f"outer.{side}"] = Move(turn("y", -s * (32 * late)))
    return out


def twisting(amount: float = 50.0, bend: float = 14.0) -> Callable[[float], dict[str, Move]]:
    """The upper body turns about the vertical and leans, the arms follow."""

    def moves(time: float) -> dict[str, Move]:
        a, b = swing(time), swing(time, 0.1)
        return {
            "chest": Move(turn("z", amount * a) @ turn("y", bend * b)),
            "head": Move(turn("z", 0.4 * amount * a)),
            "arm.l": Move(turn("x", 30 * a)),
            "arm.r": Move(turn("x", 30 * a)),
            "hand.l": Move(turn("x", 20 + 20 * a)),
            "hand.r": Move(turn("x", 20 - 20 * a)),
        }

    return moves


def walking(time: float) -> dict[str, Move]:
    """Two legs walk on the spot, arms swing."""
    out = {"hips": Move(turn("z", 8 * swing(time)), shift=(0, 0, 0.02 * swing(time, 0, 2)))}
    for side, phase in (("l", 0.0), ("r", 0.5)):
        out[f"leg.{side}"] = Move(turn("x", 32 * swing(time, phase)))
        out[f"foot.{side}"] = Move(turn("x", -26 + 24 * swing(time, phase + 0.3)))
        out[f"arm.{side}"] = Move(turn("x", -28 * swing(time, phase)))
        out[f"hand.{side}"] = Move(turn("x", 15 - 12 * swing(time, phase)))
    return out


def ambling(time: float) -> dict[str, Move]:
    """Two strides of a four-beat walk."""
    out = {"head": Move(turn("x", 6 * swing(time, 0.1, 4))), "tail": Move(turn("z", 14 * swing(time, 0.2, 2)))}
    for key, phase in (("fl", 0.25), ("fr", 0.75), ("bl", 0.0), ("br", 0.5)):
        out[f"thigh.{key}"] = Move(turn("x", 24 * swing(time, phase, 2)))
        out[f"shin.{key}"] = Move(turn("x", (-1 if key[0] == "b" else 1) * (-18 + 18 * swing(time, phase + 0.3, 2))))
    return out


def swaying(
    moves: Callable[[float], dict[str, Move]], root: str, shift: float, roll: float, turns: float
) -> Callable[[float], dict[str, Move]]:
    """A gait of ``turns`` strides whose root goes from side to side by ``shift`` and rolls by ``roll`` degrees."""

    def out(time: float) -> dict[str, Move]:
        side, up = swing(time, 0.15, turns), swing(time, 0.1, 2 * turns)
        return {**moves(time), root: Move(turn("y", roll * side), shift=(shift * side, 0, 0.015 * up))}

    return out


def looking_around(time: float) -> dict[str, Move]:
    """Stands and turns its head."""
    a = swing(time)
    return {
        "neck": Move(turn("z", 30 * a) @ turn("x", 8 * swing(time, 0, 2))),
        "head": Move(turn("z", 32 * a) @ turn("x", -8 * swing(time, 0.2))),
        "tail": Move(turn("y", 20 * swing(time, 0.1, 2))),
    }


def galloping(time: float) -> dict[str, Move]:
    """Two strides: fore and hind legs almost in pairs, the body pitches."""
    out = {
        "body": Move(turn("x", 7 * swing(time, 0.1, 2)), shift=(0, 0, 0.05 * swing(time, 0.3, 2))),
        "neck": Move(turn("x", -9 * swing(time, 0.15, 2))),
        "tail": Move(turn("x", 16 * swing(time, 0.4, 2))),
    }
    for key, phase in (("fl", 0.0), ("fr", 0.1), ("bl", 0.5), ("br", 0.58)):
        sign = 1 if key[0] == "f" else -1
        out[f"thigh.{key}"] = Move(turn("x", 38 * swing(time, phase, 2)))
        out[f"shin.{key}"] = Move(turn("x", sign * (-26 + 26 * swing(time, phase + 0.3, 2))))
    return out


def trotting(time: float) -> dict[str, Move]:
    """Two strides, diagonal legs together."""
    out = {"body": Move(shift=(0, 0, 0.02 * swing(time, 0, 4))), "head": Move(turn("x", 5 * swing(time, 0, 2)))}
    for key, phase in (("fl", 0.0), ("fr", 0.5), ("bl", 0.5), ("br", 0.0)):
        out[f"thigh.{key}"] = Move(turn("x", 30 * swing(time, phase, 2)))
        out[f"shin.{key}"] = Move(turn("x", (-1 if key[0] == "b" else 1) * (-20 + 20 * swing(time, phase + 0.3, 2))))
    return out


def crawling(pairs: int = 4) -> Callable[[float], dict[str, Move]]:
    """Legs in two groups."""

    def moves(time: float) -> dict[str, Move]:
        out = {"body": Move(shift=(0.03 * swing(time), 0, 0.02 * swing(time, 0, 2)))}
        for k in range(pairs):
            for side, s in (("l", 1), ("r", -1)):
                phase = 0.5 * ((k + (s > 0)) % 2)
                lift = max(0.0, swing(time, phase + 0.25, 2))
                out[f"upper.{k}{side}"] = Move(turn("z", s * 20 * swing(time, phase, 2)) @ turn("y", -s * 18 * lift))
                out[f"lower.{k}{side}"] = Move(turn("y", s * 12 * lift))
        return out

    return moves


def swimming(time: float) -> dict[str, Move]:
    """A wave runs down the body, two beats."""
    out = {f"spine.{k}": Move(turn("z", (3 + 4 * k) * swing(time, -0.12 * k, 2))) for k in range(6)}
    for side, s in (("l", 1), ("r", -1)):
        out[f"fin.{side}"] = Move(turn("y", s * 25 * swing(time, 0.1, 2)))
    return out


def pointing(time: float) -> dict[str, Move]:
    """One arm comes forward and goes back, the body leans after it."""
    reach = (1 - np.cos(2 * np.pi * time)) / 2
    return {
        "chest": Move(turn("z", 15 * reach) @ turn("x", -6 * reach)),
        "head": Move(turn("z", -10 * reach)),
        "arm.r": Move(turn("x", 75 * reach)),
        "hand.r": Move(turn("x", 25 * reach)),
        "arm.l": Move(turn("x", -15 * reach)),
    }


def dancing(time: float) -> dict[str, Move]:
    """Everything turns, about all axes."""
    out = {
        "hips": Move(turn("z", 35 * swing(time)), shift=(0.06 * swing(time), 0, 0.03 * swing(time, 0, 2))),
        "chest": Move(turn("z", 15 * swing(time, 0.2)) @ turn("y", 12 * swing(time, 0, 2))),
        "head": Move(turn("z", 25 * swing(time, 0.3)) @ turn("x", 10 * swing(time, 0, 2))),
    }
    for side, s, phase in (("l", 1, 0.0), ("r", -1, 0.4)):
        out[f"arm.{side}"] = Move(
            turn("y", -s * (30 + 35 * swing(time, phase))) @ turn("x", 35 * swing(time, phase + 0.2))
        )
        out[f"hand.{side}"] = Move(turn("x", 45 + 40 * swing(time, phase, 2)))
        out[f"leg.{side}"] = Move(turn("x", 22 * swing(time, phase)) @ turn("y", -s * (6 + 6 * swing(time, phase))))
        out[f"foot.{side}"] = Move(turn("x", -20 + 20 * swing(time, phase + 0.3)))
    return out


def _view(yaw: float, pitch: float, distance: float, height: float) -> dict[str, object]:
    return {"yaw": yaw, "pitch": pitch, "distance": distance, "target": (0.0, 0.0, height)}


def _rotor(time: float) -> dict[str, Move]:
    out = walking(time)
    return {**out, "hips": Move(turn("z", 70 * swing(time, 0, 0.5)))}


TUNED: dict[str, Callable[[], Sequence3D]] = {
    "bird_flaps": lambda: Sequence3D(*bird(), flapping, striped("2f9fb3", "133f66"), _view(35, 18, 2.9, 0.52)),
    "human_twists": lambda: Sequence3D(*human(), twisting(), striped("c2543a", "31507a"), _view(15, 8, 2.5, 0.6)),
    "quadruped_looks": lambda: Sequence3D(
        *quadruped(), looking_around, striped("a8743f", "5b3a1e"), _view(60, 8, 2.6, 0.5)
    ),
    "eight_legs": lambda: Sequence3D(
        *many_legged(), crawling(), zoned([(0.2, "4a3a30"), (9, "8a6a4a")]), _view(25, 25, 2.5, 0.25)
    ),
    "robot_dances": lambda: Sequence3D(
        *machine(),
        dancing,
        zoned([(0.12, "555a66"), (0.47, "9aa3b5"), (0.95, "d9903a"), (9, "e8e2d0")]),
        _view(20, 8, 2.6, 0.6),
        rigid=True,
    ),
    "quadruped_trots": lambda: Sequence3D(
        *quadruped(0.8), trotting, zoned([(0.3, "5b3a1e"), (9, "b98050")]), _view(70, 10, 2.6, 0.5)
    ),
    "human_sways": lambda: Sequence3D(
        *human(), swaying(walking, "hips", 0.05, 5, 1), striped("4f7a43", "7a3150"), _view(50, 8, 2.5, 0.6)
    ),
    "quadruped_ambles": lambda: Sequence3D(
        *quadruped(1.1),
        swaying(ambling, "body", 0.04, 6, 2),
        zoned([(0.15, "3a3030"), (0.6, "8a8078"), (9, "6a6058")]),
        _view(55, 10, 2.6, 0.5),
    ),
    "human_points": lambda: Sequence3D(
        *human(),
        pointing,
        zoned([(0.1, "3a3030"), (0.5, "3f5a8a"), (0.92, "b8b0a0"), (9, "e0b090")]),
        _view(-8, 6, 2.3, 0.65),
    ),
}
HELD_OUT: dict[str, Callable[[], Sequence3D]] = {
    "bird_flat": lambda: Sequence3D(
        *bird(), flapping, zoned([(0.5, "e8e0d0"), (9, "5577aa")]), _view(-50, 25, 2.9, 0.52)
    ),
    "plump_bends": lambda: Sequence3D(
        *human(1.35), twisting(30, 22), striped("6a4fb3", "e8b04a"), _view(-30, 5, 2.6, 0.6)
    ),
    "knight_walks": lambda: Sequence3D(
        *human(1.0, True),
        walking,
        zoned([(0.1, "3a3030"), (0.5, "4a5a80"), (0.95, "a04038"), (9, "e0b090")]),
        _view(50, 8, 2.6, 0.6),
    ),
    "horse_gallops": lambda: Sequence3D(*quadruped(0.85), galloping, zoned([(9, "f0f0f0")]), _view(75, 6, 2.7, 0.5)),
    "robot_walks": lambda: Sequence3D(
        *machine(), _rotor, striped("3a8a7a", "204050"), _view(-25, 12, 2.6, 0.6), rigid=True
    ),
    "dog_looks": lambda: Sequence3D(
        *quadruped(1.15),
        looking_around,
        zoned([(0.12, "ffffff"), (0.8, "8a5a3a"), (9, "5a3a2a")]),
        _view(25, 12, 2.6, 0.5),
    ),
    "six_legs": lambda: Sequence3D(*many_legged(3), crawling(3), striped("8a3a2a", "2a2020"), _view(50, 30, 2.5, 0.25)),
    "fish_swims": lambda: Sequence3D(*fish(), swimming, striped("e08a30", "f0f0e8"), _view(65, 15, 2.2, 0.5)),
}
KINDS = {**TUNED, **HELD_OUT}


def _shape(kind: Sequence3D) -> Sculpture:
    """The creature's surface and skin; colours are the vertices' own, so it has no uv."""
    groups = [[part] for part in kind.parts] if kind.rigid else [kind.parts]
    names, vertices, faces, weights = list(kind.bones), [], [], []
    for group in groups:
        distance = union(group)
        cell = CELL / 2 if kind.rigid else CELL
        v, f = surface(distance, _LOW, _HIGH, CELL) if not kind.rigid else _small(distance, cell)
        share = kind.faces if not kind.rigid else max(60, kind.faces // len(groups))
        if len(f) > share:
            v, f = fast_simplification.simplify(v.astype(np.float32), f.astype(np.int32), target_count=share)
        v, f = v.astype(np.float64), f.astype(np.int64)
        for _ in range(3):
            v = v - distance(v)[:, None] * gradient(distance, v)
        near = np.full((len(v), len(names)), np.inf)
        for part in group:
            column = names.index(part.bone)
            near[:, column] = np.minimum(near[:, column], part.shape(v))
        closeness = np.exp(-(near - near.min(axis=1, keepdims=True)) / 0.03)
        closeness[closeness < 1e-2] = 0
        corners = v[f]
        if np.einsum("ij,ij->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) < 0:
            f = f[:, ::-1].copy()
        faces.append(f + sum(map(len, vertices)))
        vertices.append(v)
        weights.append(closeness / closeness.sum(axis=1, keepdims=True))
    empty: Int64 = np.zeros((0, 3), np.int64)
    return Sculpture(
        np.concatenate(vertices),
        np.concatenate(faces),
        np.zeros((0, 2), np.float32),
        empty,
        np.concatenate(weights),
        union(kind.parts),
    )


def _small(distance: Callable[[Array], Array], cell: float) -> tuple[Array, Int64]:
    """The surface of a small part: its box is found on a coarse grid first."""
    rough, _ = surface(distance, _LOW, _HIGH, 2 * CELL)
    return surface(distance, rough.min(0) - 3 * CELL, rough.max(0) + 3 * CELL, cell)


def film(name: str, size: int) -> tuple[Truth, list[Bytes]]:
    """The true shapes of a kind and its pictures, (size,size,4) uint8 each."""
    kind = KINDS[name]()
    sculpture = _shape(kind)
    poses = np.stack([pose(sculpture, kind.bones, kind.moves(i / kind.frames)) for i in range(kind.frames)])
    colours = torch.from_numpy(kind.paint(sculpture.vertices).clip(0, 1)).float()
    mesh = Mesh(torch.from_numpy(poses[0]).float(), torch.from_numpy(sculpture.faces), colors=colours)
    camera = camera_of(SimpleNamespace(VIEW=kind.view))  # type: ignore[arg-type]
    axes = torch.eye(4)
    axes[:3, :3] = to_y_up(torch.eye(3)).T
    half, focal = size / 2, camera.focal * size
    moved = torch.from_numpy(poses).float()
    truth = Truth(
        vertices=to_y_up(moved),
        times=np.arange(kind.frames) / FPS,
        mesh=Mesh(to_y_up(moved[0]), mesh.faces, colors=colours),
        world_to_camera=camera.world_to_camera @ axes.T,
        intrinsics=np.array([[focal, 0, half], [0, focal, half], [0, 0, 1]]),
        size=(size, size),
    )
    return truth, list(_pictures(mesh, moved, kind, size))


def _pictures(mesh: Mesh, poses: torch.Tensor, kind: Sequence3D, size: int) -> Iterator[Bytes]:
    """Pictures with transparency: the object before black and before white tells how much of a pixel it covers."""
    camera = camera_of(SimpleNamespace(VIEW=kind.view))  # type: ignore[arg-type]
    black, white = (
        frames_of(mesh, poses, camera, (size, size), np.full((size, size, 3), grey, np.float32)) for grey in (0.0, 1.0)
    )
    for dark, bright in zip(black, white, strict=True):
        alpha = 255 - (bright.astype(np.int64) - dark).mean(-1).clip(0, 255)  # (S,S)
        colour = (dark * 255.0 / np.maximum(alpha, 1)[..., None]).clip(0, 255)
        yield np.concatenate([colour, alpha[..., None]], axis=-1).round().astype(np.uint8)
