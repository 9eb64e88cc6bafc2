"""The score of a camera is the sum that section 4.1 defines."""

from __future__ import annotations

import pytest
import torch

from tests.stages.camera.known_cameras import frame_of, orbit, painted_creature
from v2m4.geometry.camera import Camera
from v2m4.perceptual.structure import Structure
from v2m4.settings import CameraSettings, changed
from v2m4.stages.camera.scoring import Scorer, premultiplied


def test_the_score_is_the_weighted_sum_of_the_method() -> None:
    mesh, truth = painted_creature(), orbit(35, 15, 2.2)
    frame = premultiplied(frame_of(mesh, truth, 64))
    options = changed(CameraSettings(), {"score.size": 64, "score.image_weight": 0.0, "score.mask_weight": 0.1})
    scorer = Scorer(mesh, frame, options.score, Structure(), torch.device("cpu"))
    away = orbit(0, 0, 2.2, (5.0, 0, 0))  # sees nothing: the whole mask is missing
    alpha = torch.from_numpy(frame[..., 3])
    expected = 0.1 * float(alpha.square().mean()) * alpha.numel() / float(alpha.sum())
    assert float(scorer.score(Camera(away.world_to_camera[None]))) == pytest.approx(expected, rel=1e-4)
    assert float(scorer.score(Camera(truth.world_to_camera[None]))) < 0.02 * expected + 2e-3
