"""The benchmark of a GPU lent in slices: what stands in for trained weights goes on where the slice before ended."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from typing import Any, cast

import pytest
import torch

from benchmarks import slices_case, stand_in
from tests.generators.trellis import tiny
from v2m4.events import Event
from v2m4.generators.trellis.predictor import Trellis
from v2m4.run import Step
from v2m4.settings import GeneratorSettings, TrellisSettings
from v2m4.ui.store import RunRecord


@pytest.mark.parametrize("first", [Step("generation", 20, 15), Step("refinement", 15, 10)], ids=str)
def test_a_slice_gives_the_known_mesh_of_its_keyframe(first: Step, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it begins with what another slice generated."""
    options = GeneratorSettings(trellis=TrellisSettings(steps=1))
    generator = stand_in.KnownTrellis(options, torch.device("cpu"), model=tiny.model())
    monkeypatch.setattr(stand_in.KnownTrellis, "model", Trellis.model)  # networks as they are
    monkeypatch.setattr(stand_in.KnownTrellis, "made", 0)
    monkeypatch.setattr(stand_in, "known_mesh", lambda frame, faces: frame)
    frames: list[Any] = []

    def lent(record: RunRecord, step: Step) -> Iterator[Event]:
        for _ in range(2):
            made = generator(tiny.picture(), torch.Generator().manual_seed(0))
            frames.append((made.mesh, int(made.extras["frame"])))
        yield from ()

    monkeypatch.setattr(slices_case, "lent_slice", lent)
    monkeypatch.setattr(slices_case.faulthandler, "dump_traceback_later", lambda seconds: None)
    receiver, sender = multiprocessing.Pipe(duplex=False)
    slices_case.work(cast(RunRecord, None), first, 4, sender)
    assert receiver.recv() is None
    assert frames == [(20, 20), (25, 25)]
