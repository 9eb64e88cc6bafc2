"""Random sculptures by kind, which kinds are trained on, and which are kept out.

Proportions are drawn wide on purpose: what matters is that thickness, hidden limbs and backs follow from what is seen.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from training.creatures import biped, bird, fish, insect, quadruped, snake, strider, tentacled
from training.jointed import jointed
from training.mammals import mammal
from training.mixed import company, plush, rider, sprawler, winged
from training.parts import Random
from training.runners import croucher, runner
from training.sculpture import Sculpture
from training.things import composite, furniture, plant, tool, vehicle, vessel
from training.toys import toy

Recipe = Callable[[Sculpture, Random], None]

TRAINED: dict[str, tuple[Recipe, float]] = {
    "quadruped": (quadruped, 0.1),
    "biped": (biped, 0.15),
    "strider": (strider, 0.04),
    "bird": (bird, 0.07),
    "fish": (fish, 0.05),
    "snake": (snake, 0.03),
    "plant": (plant, 0.03),
    "vehicle": (vehicle, 0.05),
    "vessel": (vessel, 0.03),
    "composite": (composite, 0.08),
    "plush": (plush, 0.07),
    "sprawler": (sprawler, 0.04),
    "winged": (winged, 0.03),
    "rider": (rider, 0.02),
    "company": (company, 0.04),
    "mammal": (mammal, 0.2),
    "runner": (runner, 0.09),
    "croucher": (croucher, 0.08),
    "jointed": (jointed, 0.06),
    "toy": (toy, 0.25),
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
