"""The least variances of all norms are the originals'.

Fixtures of ordinary activations cannot tell 1e-5 from 1e-6, so the numbers themselves are compared with those that the
official code gives its layers.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from v2m4.generators.craftsman3d.network import CraftsManDiT
from v2m4.generators.hunyuan3d import network as hunyuan3d
from v2m4.generators.triposg.network import TripoSgDiT, TripoSgVaeConfig
from v2m4.generators.triposr.network import TripoSRNetwork
from v2m4.generators.vecset.decoder import VecsetDecoder
from v2m4.nn.dinov2 import Dinov2Config
from v2m4.tracks.cotracker3 import transformer as cotracker3
from v2m4.tracks.cotracker3.model import CoTracker3


def of(module: nn.Module) -> dict[str, float]:
    """The epsilon of each norm by its name, without the numbers of blocks."""
    norms = (nn.LayerNorm, nn.RMSNorm, nn.GroupNorm)
    return {
        ".".join(part for part in name.split(".") if not part.isdigit()): float(norm.eps or 0)
        for name, norm in module.named_modules()
        if isinstance(norm, norms)
    }


EXPECTED: dict[str, tuple[Callable[[], nn.Module], Callable[[str], float]]] = {
    "TripoSG's transformer": (TripoSgDiT, lambda name: 1e-6 if "attention" in name else 1e-5),
    "TripoSG's decoder": (lambda: VecsetDecoder(TripoSgVaeConfig().decoder()), lambda name: 1e-5),
    "Hunyuan3D-2's decoder": (VecsetDecoder, lambda name: 1e-5 if name.endswith("ln_post") else 1e-6),
    "CraftsMan3D's transformer": (CraftsManDiT, lambda name: 1e-5 if name.startswith("dino_embed") else 1e-6),
    "TripoSR": (
        TripoSRNetwork,
        lambda name: 1e-12 if name.startswith("image_tokenizer") else 1e-6 if name == "backbone.norm" else 1e-5,
    ),
    "CoTracker3": (CoTracker3, lambda name: 1e-5),
}


@pytest.mark.parametrize("network", EXPECTED)
def test_norms_have_the_epsilons_of_the_originals(network: str) -> None:
    make, expected = EXPECTED[network]
    with torch.device("meta"):
        found = of(make())
    assert len(found) > 0
    assert found == {name: expected(name) for name in found}


def test_norms_without_weights_have_the_epsilons_of_the_originals() -> None:
    assert hunyuan3d._EPS == 1e-6
    assert cotracker3._EPS == 1e-6
    assert Dinov2Config().eps == 1e-6
