"""A long-necked dinosaur that strolls: soft legs, a swaying neck and tail, seen from the side in a wide picture."""

from __future__ import annotations

import numpy as np

from scripts.creatures.sculpt import Array, Bone, Move, Part, blend, edge, ellipsoid, limb, rgb, turn

FRAMES, FPS, FACES = 32, 24, 6000
SIZE = (640, 360)
BACKDROP = "b5d8ef"
VIEW = {"yaw": 20.0, "pitch": 8.0, "distance": 3.3, "target": (0.1, 0.0, 0.47)}

_NECK = [(-0.26, 0, 0.5), (-0.36, 0, 0.6), (-0.43, 0, 0.71), (-0.47, 0, 0.82)]
_NECK_RADII = [0.14, 0.108, 0.092, 0.085]
_TAIL = [(0.28, 0, 0.43), (0.42, 0, 0.37), (0.56, 0, 0.335), (0.7, 0, 0.335), (0.83, 0, 0.37), (0.93, 0, 0.43)]
_TAIL_RADII = [0.15, 0.11, 0.08, 0.058, 0.04, 0.024]
_LEGS = {"fl": (-0.21, 0.115, 0.0), "fr": (-0.17, -0.115, 0.5), "bl": (0.2, 0.12, 0.75), "br": (0.24, -0.12, 0.25)}
_EYES = [np.array([-0.545, s * 0.083, 0.918]) for s in (1, -1)]

BONES = {
    "body": Bone((0, 0, 0.4)),
    **{f"neck{i}": Bone(p, f"neck{i - 1}" if i else "body") for i, p in enumerate(_NECK[:-1])},
    "head": Bone(_NECK[-1], "neck2"),
    **{f"tail{i}": Bone(p, f"tail{i - 1}" if i else "body") for i, p in enumerate(_TAIL[:-1])},
    **{f"thigh.{k}": Bone((x, y, 0.34), "body") for k, (x, y, _) in _LEGS.items()},
    **{f"shin.{k}": Bone((x, y, 0.18), f"thigh.{k}") for k, (x, y, _) in _LEGS.items()},
}
_SPOTS = [
    (-0.41, 0.79),
    (-0.36, 0.63),
    (-0.27, 0.55),
    (-0.24, 0.42),
    (-0.16, 0.58),
    (-0.09, 0.48),
    (-0.02, 0.58),
    (0.04, 0.41),
    (0.11, 0.55),
    (0.17, 0.45),
    (0.24, 0.54),
    (0.27, 0.36),
    (0.36, 0.45),
    (0.44, 0.37),
    (0.54, 0.39),
    (0.64, 0.33),
    (0.75, 0.36),
]


def parts() -> list[Part]:
    """The blobs of the dinosaur."""
    out = [Part("body", ellipsoid((0.02, 0, 0.43), (0.34, 0.2, 0.21)))]
    for i in range(3):
        out.append(Part(f"neck{i}", limb(_NECK[i], _NECK[i + 1], _NECK_RADII[i], _NECK_RADII[i + 1]), 0.08))
    out.append(Part("head", ellipsoid((-0.525, 0, 0.885), (0.125, 0.098, 0.095), turn("y", 8)), 0.06))
    out.append(Part("head", ellipsoid((-0.63, 0, 0.855), (0.085, 0.078, 0.066)), 0.06))
    for i in range(5):
        out.append(Part(f"tail{i}", limb(_TAIL[i], _TAIL[i + 1], _TAIL_RADII[i], _TAIL_RADII[i + 1]), 0.08))
    for key, (x, y, _) in _LEGS.items():
        out.append(Part(f"thigh.{key}", limb((x, y * 0.9, 0.34), (x, y, 0.19), 0.105, 0.08), 0.05))
        out.append(Part(f"shin.{key}", limb((x, y, 0.18), (x, y, 0.075), 0.078, 0.078), 0.02))
        out.append(Part(f"shin.{key}", ellipsoid((x - 0.02, y, 0.045), (0.098, 0.085, 0.045)), 0.03))
    for bone, x, z, size in _plates():
        out.append(Part(bone, ellipsoid((x, 0, z), (0.055 * size, 0.022, 0.085 * size)), 0.016))
    for eye in _EYES:
        out.append(Part("head", ellipsoid(eye, (0.034, 0.022, 0.036)), 0.004))
    return out


def _plates() -> list[tuple[str, float, float, float]]:
    return [
        ("neck2", -0.385, 0.81, 0.62),
        ("neck1", -0.305, 0.715, 0.75),
        ("neck0", -0.195, 0.655, 0.9),
        ("body", -0.06, 0.655, 1.05),
        ("body", 0.09, 0.655, 1.1),
        ("body", 0.235, 0.61, 1.0),
        ("tail0", 0.375, 0.53, 0.85),
        ("tail1", 0.505, 0.45, 0.7),
        ("tail2", 0.63, 0.405, 0.55),
    ]


def paint(p: Array, n: Array) -> Array:
    """Leaf green with violet spots, a pale belly, orange plates."""
    x, y, z = p.T
    colour = np.tile(rgb("63b96a"), (len(p), 1))
    colour = blend(colour, rgb("3f9d63"), np.clip((z - 0.42) * 1.6, 0, 0.55))
    rng = np.random.default_rng(8)
    for cx, cz in _SPOTS:
        for side in (-1, 1):
            r, lobes = rng.uniform(0.024, 0.05), rng.uniform(0, 6)
            at_x, at_z = cx + rng.normal(0, 0.012), cz + rng.normal(0, 0.012)
            wobble = 1 + 0.1 * np.sin(3 * np.arctan2(z - at_z, x - at_x) + lobes)
            spot = edge(np.hypot(x - at_x, z - at_z) / wobble, r)
            colour = blend(colour, rgb("6a4fb3"), 0.92 * spot * edge(-side * y, 0.0))
    under = np.where(x < -0.28, n[:, 0] * -0.75 - n[:, 2] * 0.65, -n[:, 2])
    belly = edge(-under, -0.62, 0.05) * edge(-z, -0.14, 0.02)
    colour = blend(colour, rgb("f6dd84"), belly)
    for _, cx, cz, size in _plates():
        d = np.hypot((x - cx) / (0.055 * size), (z - cz) / (0.085 * size))
        slim = edge(np.abs(y), 0.032, 0.004)
        tip = np.clip((z - cz) / (0.085 * size) + 0.1, 0, 1)
        colour = blend(
            colour, rgb("ff9a3d") * (1 - tip)[:, None] + rgb("ffd35c") * tip[:, None], edge(d, 1.12, 0.05) * slim
        )
    for lx, ly, _ in _LEGS.values():
        for k in (-1, 0, 1):
            toe = np.linalg.norm(p - np.array([lx - 0.102 + 0.012 * abs(k), ly + 0.045 * k, 0.032]), axis=1)
            colour = blend(colour, rgb("ffa94d"), edge(toe, 0.027, 0.004))
    cheek = np.linalg.norm(
        p - np.stack([np.full_like(x, -0.56), np.sign(y) * 0.088, np.full_like(x, 0.855)], 1), axis=1
    )
    colour = blend(colour, rgb("ff8f8f"), 0.8 * edge(cheek, 0.032, 0.012))
    smile = np.abs(z - (0.838 + 1.6 * (x + 0.635) ** 2))
    colour = blend(
        colour, rgb("2b5b3b"), edge(smile, 0.0055, 0.0025) * edge(np.abs(x + 0.635), 0.075) * edge(n[:, 2], 0.6)
    )
    nostril = np.hypot(x + 0.69, z - 0.885) + np.abs(np.abs(y) - 0.035)
    colour = blend(colour, rgb("2b5b3b"), edge(nostril, 0.014, 0.004))
    for eye in _EYES:
        away = np.linalg.norm(p - eye, axis=1)
        colour = blend(colour, rgb("fffdf5"), edge(away, 0.045, 0.003))
        colour = blend(
            colour, rgb("1b1b26"), edge(np.linalg.norm(p - eye - np.array([-0.006, 0, 0]), axis=1), 0.035, 0.003)
        )
        glint = np.linalg.norm(p - eye - np.array([-0.006, np.sign(eye[1]) * 0.02, 0.016]), axis=1)
        colour = blend(colour, rgb("ffffff"), edge(glint, 0.0125, 0.003))
    return colour


def moves(time: float) -> dict[str, Move]:
    """The dinosaur at ``time`` in [0,1) of the clip: one stride, a little way forward."""
    stride = 2 * np.pi * time
    out = {"body": Move(turn("y", 2.5 * np.sin(2 * stride)), shift=(0.16 - 0.3 * time, 0, 0.012 * np.cos(2 * stride)))}
    for i in range(3):
        out[f"neck{i}"] = Move(turn("y", 5 * np.sin(2 * stride - 0.5 - 0.5 * i)))
    out["head"] = Move(turn("y", -9 * np.sin(2 * stride - 1.2)))
    for i in range(5):
        out[f"tail{i}"] = Move(turn("y", 7 * np.sin(stride - 0.75 * i)) @ turn("z", 5 * np.sin(stride - 0.6 * i)))
    for key, (_, _, phase) in _LEGS.items():
        swing = stride + 2 * np.pi * phase
        lift = max(0.0, np.cos(swing))
        out[f"thigh.{key}"] = Move(turn("y", 24 * np.sin(swing)))
        out[f"shin.{key}"] = Move(turn("y", -34 * lift))
    return out
