"""Descent on the six numbers ends where the masks agree."""

from __future__ import annotations

import torch

from tests.stages.camera.known_cameras import frame_of, orbit, painted_creature
from v2m4.events import drain
from v2m4.perceptual.structure import Structure
from v2m4.settings import CameraSettings, changed
from v2m4.stages.camera.descent import descend
from v2m4.stages.camera.scoring import Scorer, premultiplied
from v2m4.stages.camera.six_numbers import camera_of, numbers_of


def test_descent_brings_the_masks_together() -> None:
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
