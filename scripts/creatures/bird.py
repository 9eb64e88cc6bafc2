"""A plump striped bird that hops and flaps: squash and stretch, seen from the front."""

from __future__ import annotations

import numpy as np

from scripts.creatures.sculpt import Array, Bone, Move, Part, blend, edge, ellipsoid, limb, rgb, turn

FRAMES, FPS, FACES = 32, 24, 5200
SIZE = (512, 512)
BACKDROP = "bcaae6"
VIEW = {"yaw": 18.0, "pitch": 9.0, "distance": 2.15, "target": (0.0, 0.0, 0.6)}

BONES = {
    "body": Bone((0, 0, 0.06)),
    "head": Bone((0, 0, 0.56), "body"),
    "tail": Bone((0, -0.24, 0.36), "body"),
    "wing.l": Bone((0.27, 0.0, 0.52), "body"),
    "wing.r": Bone((-0.27, 0.0, 0.52), "body"),
    "foot.l": Bone((0.12, 0.04, 0.12), "body"),
    "foot.r": Bone((-0.12, 0.04, 0.12), "body"),
}

_EYES = [np.array([s * 0.098, 0.196, 0.715]) for s in (1, -1)]


def parts() -> list[Part]:
    """The blobs of the bird."""
    out = [
        Part("body", ellipsoid((0, 0, 0.37), (0.31, 0.28, 0.28))),
        Part("head", ellipsoid((0, 0.02, 0.67), (0.225, 0.21, 0.21)), 0.14),
        Part("head", ellipsoid((0, 0.24, 0.645), (0.062, 0.1, 0.042)), 0.015),
        Part("head", limb((0, -0.02, 0.86), (0.02, -0.06, 0.965), 0.034, 0.02), 0.03),
        Part("head", limb((0.0, 0.03, 0.86), (-0.05, 0.04, 0.95), 0.03, 0.018), 0.03),
        Part("tail", limb((0, -0.24, 0.36), (0.0, -0.42, 0.5), 0.1, 0.06), 0.08),
    ]
    for eye in _EYES:
        out.append(Part("head", ellipsoid(eye - np.array([0, 0.012, 0]), (0.042, 0.03, 0.047)), 0.004))
    for side, s in (("l", 1), ("r", -1)):
        out.append(Part(f"wing.{side}", ellipsoid((s * 0.355, 0.0, 0.4), (0.06, 0.13, 0.2), turn("y", s * -24)), 0.03))
        out.append(Part(f"foot.{side}", limb((s * 0.12, 0.03, 0.14), (s * 0.125, 0.05, 0.06), 0.045, 0.04), 0.03))
        out.append(Part(f"foot.{side}", ellipsoid((s * 0.13, 0.1, 0.04), (0.085, 0.13, 0.04)), 0.03))
    return out


def paint(p: Array, n: Array) -> Array:
    """Teal plumage with white stripes, a cream belly, coral beak and feet."""
    x, y, z = p.T
    colour = np.tile(rgb("2f9fb3"), (len(p), 1))
    colour = blend(colour, rgb("1f7f98"), np.clip((0.45 - z) * 1.5, 0, 0.6))
    bands = np.sin(68 * (z - 0.35 * y * y + 0.12 * np.abs(x)))
    wing = edge(-np.abs(x), -0.315, 0.01)
    striped = np.maximum(edge(y, 0.03, 0.01), wing) * edge(z, 0.585, 0.006)
    colour = blend(colour, rgb("fdf6e3"), edge(-bands, -0.25, 0.12) * striped)
    belly = (x / 0.215) ** 2 + ((z - 0.33) / 0.25) ** 2
    colour = blend(colour, rgb("fff0d2"), edge(belly, 1, 0.04) * edge(-y, -0.05, 0.01) * (1 - wing))
    mask = ((np.abs(x) - 0.095) / 0.092) ** 2 + ((z - 0.7) / 0.105) ** 2
    colour = blend(colour, rgb("fff0d2"), edge(mask, 1, 0.06) * edge(-y, -0.08, 0.01))
    cheek = np.hypot(np.abs(x) - 0.165, z - 0.615)
    colour = blend(colour, rgb("ff8fa0"), 0.85 * edge(cheek, 0.036, 0.014) * edge(-y, -0.05, 0.01))
    beak = ((x) / 0.07) ** 2 + ((z - 0.645) / 0.052) ** 2
    colour = blend(colour, rgb("ff8a3c"), edge(beak, 1, 0.06) * edge(-y, -0.2, 0.008))
    colour = blend(colour, rgb("ff8a3c"), edge(z, 0.105, 0.012))
    colour = blend(colour, rgb("ff8a3c"), edge(-z, -0.885, 0.008))
    for eye in _EYES:
        away = np.linalg.norm((p - eye) * np.array([1.08, 0.9, 1.0]), axis=1)
        colour = blend(colour, rgb("1b1b26"), edge(away, 0.05, 0.004))
        glint = np.linalg.norm(p - eye - np.array([0.014, 0.02, 0.02]), axis=1)
        colour = blend(colour, rgb("ffffff"), edge(glint, 0.0165, 0.003))
    return colour


def moves(time: float) -> dict[str, Move]:
    """The bird at ``time`` in [0,1) of the clip: one hop."""
    phase = time % 1.0
    air = np.clip((phase - 0.18) / 0.64, 0, 1)
    height = 0.24 * 4 * air * (1 - air)
    crouch = np.exp(-((((phase + 0.5) % 1 - 0.5) / 0.13) ** 2))
    stretch = 1 - 0.17 * crouch + 0.06 * np.sin(np.pi * air) * (1 if 0 < air < 1 else 0)
    side = np.sin(2 * np.pi * time)
    wide = 1 / np.sqrt(stretch)
    flap = 12 + 62 * np.sin(np.pi * air) ** 2 * (0.7 + 0.3 * np.cos(4 * np.pi * air))
    feet = 30 * np.sin(np.pi * air)
    return {
        "body": Move(turn("z", 8 * side) @ turn("y", 6 * side), (wide, wide, stretch), (0.05 * side, 0, height)),
        "head": Move(turn("y", -7 * side) @ turn("x", -8 * crouch + 6 * np.sin(np.pi * air))),
        "tail": Move(turn("x", -25 * np.sin(np.pi * air) + 10 * crouch)),
        "wing.l": Move(turn("y", -flap)),
        "wing.r": Move(turn("y", flap)),
        "foot.l": Move(turn("x", feet)),
        "foot.r": Move(turn("x", feet)),
    }
