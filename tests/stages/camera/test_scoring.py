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


def test_pictures_that_show_nothing_are_compared_once() -> None:
    class Counting(Structure):
        asked = 0

        def __call__(self, prepared: object, images: torch.Tensor) -> torch.Tensor:
            self.asked += len(images)
            return super().__call__(prepared, images)

    mesh, truth = painted_creature(), orbit(35, 15, 2.2)
    cameras = [truth, orbit(0, 0, 2.2, (5.0, 0, 0)), orbit(70, 10, 2.5), orbit(0, 0, 2.2, (0, 6.0, 0)), truth]
    camera = Camera(torch.stack([c.world_to_camera for c in cameras]))
    distance, options = Counting(), changed(CameraSettings(), {"score.size": 64}).score
    scorer = Scorer(mesh, premultiplied(frame_of(mesh, truth, 64)), options, distance, torch.device("cpu"))
    scores = scorer.score(camera)
    assert distance.asked == 3 + 1
    assert scorer.score(camera).equal(scores) and distance.asked == 2 * 3 + 1
    scorer.together = 2
    torch.testing.assert_close(scorer.score(camera), scores)
    assert distance.asked == 2 * 3 + 1 + 4, "in sizes that come back"
    plain = Scorer(mesh, scorer.frame.numpy(), options, Structure(), torch.device("cpu"))
    plain._distances = lambda pictures: plain.perceptual(plain.prepared, pictures)  # type: ignore[method-assign]
    torch.testing.assert_close(scores, plain.score(camera))
