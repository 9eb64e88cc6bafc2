"""An octopus that shoots upwards before a cluttered reef: travel, and arms that gather and spread."""

from __future__ import annotations

import numpy as np

from scripts.creatures.sculpt import Array, Bone, Move, Part, blend, edge, ellipsoid, limb, rgb, turn

FRAMES, FPS, FACES = 32, 16, 6000
SIZE = (360, 640)
BACKDROP = "reef"
VIEW = {"yaw": -10.0, "pitch": 4.0, "distance": 3.65, "target": (0.0, 0.0, 0.53)}

_JOINTS = 5
_ARMS = [(-0.17, 0.05), (-0.115, -0.08), (-0.045, 0.11), (0.045, 0.11), (0.115, -0.08), (0.17, 0.05)]
_REACH = [-0.46, -0.3, -0.11, 0.11, 0.3, 0.46]
_EYES = [np.array([s * 0.112, 0.208, 0.6]) for s in (1, -1)]


def _chain(arm: int) -> list[tuple[float, float, float]]:
    """Joints of an arm: out and down, the tip curling up."""
    (x0, y0), reach = _ARMS[arm], _REACH[arm]
    u = np.linspace(0, 1, _JOINTS + 1)
    x = x0 + (reach - x0) * u**0.9
    drop = 0.42 - 0.42 * abs(reach)
    z = 0.4 - drop * np.sin(0.62 * np.pi * u) - 0.06 * u
    y = y0 * (1 + 0.5 * u)
    return [(float(a), float(b), float(c)) for a, b, c in zip(x, y, z, strict=True)]


_CHAINS = [_chain(i) for i in range(len(_ARMS))]
_RADII = np.linspace(0.088, 0.03, _JOINTS + 1)

BONES = {
    "body": Bone((0, 0, 0.45)),
    "crown": Bone((0, 0, 0.55), "body"),
    **{
        f"arm{a}.{j}": Bone(chain[j], f"arm{a}.{j - 1}" if j else "body")
        for a, chain in enumerate(_CHAINS)
        for j in range(_JOINTS)
    },
}


def parts() -> list[Part]:
    """The blobs of the octopus."""
    out = [
        Part("body", ellipsoid((0, 0, 0.5), (0.235, 0.21, 0.17))),
        Part("crown", ellipsoid((0, -0.03, 0.74), (0.27, 0.25, 0.245)), 0.12),
    ]
    for a, chain in enumerate(_CHAINS):
        for j in range(_JOINTS):
            out.append(
                Part(f"arm{a}.{j}", limb(chain[j], chain[j + 1], _RADII[j], _RADII[j + 1]), 0.05 if j < 2 else 0.02)
            )
    for eye in _EYES:
        out.append(Part("body", ellipsoid(eye - np.array([0, 0.02, 0]), (0.068, 0.05, 0.075)), 0.008))
    return out


def paint(p: Array, n: Array) -> Array:
    """Coral red, paler spots and undersides, big eyes, a smile."""
    x, y, z = p.T
    colour = np.tile(rgb("f0586a"), (len(p), 1))
    colour = blend(colour, rgb("c93a78"), np.clip((z - 0.62) * 1.9, 0, 0.75))
    colour = blend(colour, rgb("ff8f70"), np.clip((0.36 - z) * 3.2, 0, 0.8))
    rng = np.random.default_rng(11)
    for _ in range(60):
        q = np.array([rng.uniform(-0.28, 0.28), rng.choice([-1, 1]) * rng.uniform(0.05, 0.3), rng.uniform(0.68, 1.0)])
        colour = blend(
            colour, rgb("ffc2a8"), 0.9 * edge(np.linalg.norm(p - q, axis=1), rng.uniform(0.018, 0.05), 0.005)
        )
    for chain in _CHAINS:
        path = np.array(
            [np.array(chain[j]) * (1 - t) + np.array(chain[j + 1]) * t for j in range(_JOINTS) for t in (0.0, 0.5)]
        )
        for k, q in enumerate(path[2:]):
            ring = np.linalg.norm(p - q - np.array([0, 0.04 - 0.002 * k, 0.012]), axis=1)
            colour = blend(colour, rgb("ffe0c9"), 0.9 * edge(ring, 0.034 - 0.0018 * k, 0.005))
    cheek = np.hypot(np.abs(x) - 0.175, z - 0.515)
    front = edge(-y, -0.06, 0.01)
    colour = blend(colour, rgb("ffb3b8"), 0.8 * edge(cheek, 0.036, 0.014) * front)
    smile = np.abs(z - (0.502 + 3.2 * x**2))
    colour = blend(colour, rgb("6b1538"), edge(smile, 0.008, 0.003) * edge(np.abs(x), 0.062, 0.004) * front)
    for eye in _EYES:
        away = np.linalg.norm((p - eye) * np.array([1, 0.6, 0.93]), axis=1)
        colour = blend(colour, rgb("fffdf5"), edge(away, 0.072, 0.003))
        pupil = np.linalg.norm((p - eye - np.array([-0.1 * eye[0], 0.02, 0.004])) * np.array([1, 0.6, 0.9]), axis=1)
        colour = blend(colour, rgb("23162e"), edge(pupil, 0.046, 0.003))
        glint = np.linalg.norm((p - eye - np.array([0.014, 0.03, 0.026])) * np.array([1, 0.5, 1]), axis=1)
        colour = blend(colour, rgb("ffffff"), edge(glint, 0.0185, 0.003))
    return colour


def moves(time: float) -> dict[str, Move]:
    """The octopus at ``time`` in [0,1) of the clip: it hovers, shoots up in one stroke, and hovers again.

    It rises by more than its own height, so that every part of the reef is seen for a good share of the clip.
    """
    rise = time**3 * (10 - 15 * time + 6 * time**2)
    gather = np.sin(np.pi * np.clip((time - 0.22) / 0.6, 0, 1)) ** 2
    lean = np.sin(2 * np.pi * time)
    tall = 1 + 0.13 * gather - 0.04
    wide = 1 / np.sqrt(tall)
    drift = 0.16 * (2 * rise - 1)
    out = {
        "body": Move(turn("y", 9 * gather + 4 * lean), shift=(drift, 0, -0.64 + 1.38 * rise)),
        "crown": Move(turn("y", 5 * lean), (wide, wide, tall)),
    }
    for a, reach in enumerate(_REACH):
        side = np.sign(reach)
        for j in range(_JOINTS):
            wave = 9 * np.sin(2 * np.pi * (2 * time) - 0.9 * j + 0.7 * a) * (1 - 0.5 * gather)
            inward = gather * abs(reach) * (58 if j == 0 else 16)
            out[f"arm{a}.{j}"] = Move(turn("y", side * (inward - 6) + wave * (0.35 + 0.2 * j)))
    return out
