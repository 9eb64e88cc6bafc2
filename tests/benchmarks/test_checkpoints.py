"""Random checkpoints in the official layout are found and read by the code that reads real ones."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import torch

from benchmarks.checkpoints import environment, to_transformers, write_checkpoints
from tests.generators.trellis.tiny import backbone
from v2m4.nn.dinov2 import Dinov2, Dinov2Config, from_transformers

READ = """
import torch
from benchmarks.checkpoints import shrink
shrink()
from v2m4.generators import GENERATORS
from v2m4.perceptual import PERCEPTUALS
from v2m4.settings import Settings
from v2m4.stereo import STEREOS
for plug in (GENERATORS["trellis"], PERCEPTUALS["dreamsim"], STEREOS["dust3r"]):
    assert not [lack for lack in plug.missing() if lack.startswith("weights")], plug.missing()
    made = plug.create(Settings(), torch.device("cpu"))
    if plug.name == "trellis":
        assert made.model().image_encoder is not None
print("all read")
"""


def test_toy_checkpoints_are_read_by_the_plugs(tmp_path: Path) -> None:
    assert write_checkpoints(tmp_path, torch.device("cpu"), toy=True) > 1e6
    done = subprocess.run(
        [sys.executable, "-c", READ],
        env={**os.environ, **environment(tmp_path)},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "all read", done.stderr[-2000:]


def test_the_encoders_names_lead_back() -> None:
    library = backbone().state_dict()
    ours = Dinov2(Dinov2Config.of_transformers(backbone().config.to_dict()))  # type: ignore[operator, union-attr]
    ours.load_state_dict(from_transformers(library))
    state = ours.state_dict()
    again = from_transformers(to_transformers(state))
    assert again.keys() == state.keys()
    assert all(torch.equal(again[name], state[name]) for name in state)
