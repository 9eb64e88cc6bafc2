"""Descent on the six numbers ends where the masks agree."""

from __future__ import annotations

import pytest
import torch

from tests.stages.camera.known_cameras import frame_of, orbit, painted_creature
from v2m4.events import drain
from v2m4.perceptual.structure import Structure
from v2m4.settings import CameraSettings, changed
from v2m4.stages.camera.descent import descend
from v2m4.stages.camera.scoring import Scorer, premultiplied
from v2m4.stages.camera.six_numbers import camera_of, numbers_of


@pytest.mark.parametrize("recordable", [False, True])
def test_descent_brings_the_masks_together(recordable: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("v2m4.stages.camera.descent.can_record", lambda device: recordable)
    mesh, truth = painted_creature(), orbit(35, 15, 2.2)
    options = changed(
        CameraSettings(), {"score.size": 64, "algorithm1.descent.size": 64, "algorithm1.descent.iterations": 80}
    )
    scorer = Scorer(mesh, premultiplied(frame_of(mesh, truth)), options.score, Structure(), torch.device("cpu"))
    start = numbers_of(orbit(42, 10, 2.4, (0.05, 0.03, 0.04)))
    found = drain(descend(scorer, start, options.algorithm1.descent))
    before, after = scorer.overlap(camera_of(start)), scorer.overlap(camera_of(found))
    assert before < 0.9
    assert after > 0.95


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_descent_on_a_gpu_is_recorded_and_ends_where_that_on_a_cpu_does(caplog: pytest.LogCaptureFixture) -> None:
    mesh, truth = painted_creature(), orbit(35, 15, 2.2)
    options = changed(CameraSettings(), {"algorithm1.descent.size": 64, "algorithm1.descent.iterations": 80})
    start = numbers_of(orbit(42, 10, 2.4, (0.05, 0.03, 0.04)))
    ends = []
    for device in (torch.device("cpu"), torch.device("cuda")):
        scorer = Scorer(mesh, premultiplied(frame_of(mesh, truth)), options.score, Structure(device), device)
        ends.append(drain(descend(scorer, start, options.algorithm1.descent)))
    assert "could not be recorded" not in caplog.text
    assert (ends[1] - ends[0]).abs().max() < 0.02
