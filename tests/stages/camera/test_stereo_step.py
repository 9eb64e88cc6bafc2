"""The stereo step: point maps, right up to a similarity, noise and outliers, give the reference's camera."""

from __future__ import annotations

import math

import pytest
import torch

from tests.stages.camera.known_cameras import MovedTruth, angle_deg, frame_of, orbit, painted_creature
from v2m4.events import drain
from v2m4.geometry.camera import FOV_DEG, Camera
from v2m4.geometry.rotations import rotation_from_axis_angle
from v2m4.perceptual.structure import Structure
from v2m4.render import render_fast
from v2m4.settings import ScoreSettings, StereoStepSettings, changed
from v2m4.stages.camera.scoring import Scorer, premultiplied
from v2m4.stages.camera.stereo_fit import camera_by_descent, camera_by_pnp, similarity_by_chamfer, similarity_by_matches
from v2m4.stages.camera.stereo_step import stereo_camera
from v2m4.stereo import PointMaps
from v2m4.stereo.features import Features

DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")],
    ),
]

SIZE = 96
SETTINGS = changed(
    StereoStepSettings(),
    {
        "size": SIZE,
        "fit_iterations": 400,
        "pose_iterations": 400,
        "keep": 0.3,
        "points": 900,
    },
)
# A camera's axes, turned a little: what point maps come in.
SIMILARITY = torch.eye(4)
SIMILARITY[:3, :3] = (
    1.7
    * rotation_from_axis_angle(torch.tensor([0.15, -0.1, 0.12]))
    @ torch.tensor([[-1.0, 0, 0], [0, 0, -1], [0, -1, 0]])
)
SIMILARITY[:3, 3] = torch.tensor([0.4, -0.2, 3.0])


def scene():
    """The mesh, the true camera of the frame, the scorer, and the cameras of seven renderings around it."""
    mesh, truth = painted_creature(), orbit(40, 20, 2.0, (0.05, 0.02, -0.03))
    scorer = Scorer(
        mesh, premultiplied(frame_of(mesh, truth)), ScoreSettings(size=64), Structure(), torch.device("cpu")
    )
    yaws = (60, 10, 75, 100, -20, 140, 35)
    cameras = Camera(torch.stack([orbit(y, 10 + 5 * (i % 3), 2.2).world_to_camera for i, y in enumerate(yaws)]))
    return mesh, truth, scorer, cameras


@pytest.mark.parametrize("fit", ["chamfer", "matched"])
def test_both_fits_recover_the_camera(fit: str) -> None:
    mesh, truth, scorer, cameras = scene()
    positions = render_fast(mesh, cameras, SIZE, ("position",)).position
    own = render_fast(mesh, Camera(truth.world_to_camera[None]), SIZE, ("position",)).position[0]
    stereo = MovedTruth(own, positions, SIMILARITY, noise=0.005, outliers=0.1 if fit == "matched" else 0.03)
    rng = torch.Generator().manual_seed(0)
    found = drain(stereo_camera(scorer, cameras, stereo, changed(SETTINGS, {"fit": fit}), rng))
    assert found is not None
    assert angle_deg(found, truth) < (1.0 if fit == "matched" else 6.0)
    assert scorer.overlap(found) > (0.97 if fit == "matched" else 0.85)


def test_features_recover_the_camera_from_renderings_nearby() -> None:
    _, truth, scorer, cameras = scene()
    near = Camera(cameras.world_to_camera[[0, 1, 6]])
    found = drain(
        stereo_camera(scorer, near, Features(), changed(SETTINGS, {"size": 256}), torch.Generator().manual_seed(0))
    )
    assert found is not None
    assert angle_deg(found, truth) < 5
    assert scorer.overlap(found) > 0.93


def test_matched_similarity_is_exact_and_ignores_wrong_matches() -> None:
    rng = torch.Generator().manual_seed(1)
    true = torch.rand(800, 3, generator=rng)
    predicted = true @ SIMILARITY[:3, :3].T + SIMILARITY[:3, 3]
    predicted[:240] = torch.rand(240, 3, generator=rng)
    fit = similarity_by_matches(predicted, true, torch.ones(800), changed(SETTINGS, {"points": 800}), rng)
    assert torch.allclose(fit.apply(predicted[240:]), true[240:], atol=1e-4)


@pytest.mark.parametrize("device", DEVICES)
def test_chamfer_finds_the_way_out_of_a_half_turn(device: str) -> None:
    """Points that start turned by 180 degrees about the vertical axis end where they belong."""
    true = painted_creature().vertices[::2]
    flip = torch.diag(torch.tensor([-1.0, -1.0, 1.0]))
    axes = torch.tensor([[-1.0, 0, 0], [0, 0, -1], [0, -1, 0]])
    predicted = true @ flip @ axes * 0.5
    predicted, true = predicted.to(device), true.to(device)
    longer = changed(SETTINGS, {"fit_iterations": 600})
    fit = drain(similarity_by_chamfer(predicted, true, longer, torch.Generator().manual_seed(0)))
    assert float((fit.apply(predicted) - true).norm(dim=1).mean()) < 0.02


@pytest.mark.parametrize("device", DEVICES)
def test_pnp_and_descent_find_the_camera_that_sees_the_points(device: str) -> None:
    truth = orbit(-130, 35, 2.5, (0.1, -0.1, 0.05))
    points = painted_creature().vertices
    pixels, _ = truth.project(points)
    assert angle_deg(camera_by_pnp(points, pixels, FOV_DEG, SETTINGS, tolerance=0.012), truth) < 0.05
    start = orbit(-110, 25, 2.2)
    longer = changed(SETTINGS, {"pose_iterations": 500})
    descended = drain(camera_by_descent(points.to(device), pixels.to(device), start, longer))
    assert angle_deg(Camera(descended.world_to_camera.cpu()), truth) < 0.5


def test_pnp_says_none_rather_than_guess() -> None:
    rng = torch.Generator().manual_seed(0)
    points, pixels = torch.rand(5, 3, generator=rng), torch.rand(5, 2, generator=rng)
    assert camera_by_pnp(points, pixels, FOV_DEG, SETTINGS, tolerance=0.012) is None


def test_a_model_that_sees_nothing_gives_no_camera() -> None:
    mesh, _, scorer, cameras = scene()
    positions = render_fast(mesh, cameras, SIZE, ("position",)).position
    stereo = MovedTruth(positions[0], positions, SIMILARITY, noise=10.0, outliers=1.0)
    found = drain(stereo_camera(scorer, cameras, stereo, SETTINGS, torch.Generator().manual_seed(0)))
    assert found is None or math.isfinite(scorer.overlap(found))


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_points_that_are_no_numbers_are_passed_over(share: float) -> None:
    """What a model answers whose weights, or whose picture, it cannot make sense of."""
    mesh, truth, scorer, cameras = scene()
    positions = render_fast(mesh, cameras, SIZE, ("position",)).position
    own = render_fast(mesh, Camera(truth.world_to_camera[None]), SIZE, ("position",)).position[0]
    sound = MovedTruth(own, positions, SIMILARITY, noise=0.005, outliers=0.0)

    def stereo(images: torch.Tensor) -> PointMaps:
        maps = sound(images)
        broken = torch.rand(maps.confidence.shape, generator=torch.Generator().manual_seed(0)) < share
        return PointMaps(maps.points.masked_fill(broken[..., None], torch.nan), maps.confidence)

    found = drain(stereo_camera(scorer, cameras, stereo, SETTINGS, torch.Generator().manual_seed(0)))
    assert (found is None) if share == 1.0 else (found is not None and angle_deg(found, truth) < 6.0)
