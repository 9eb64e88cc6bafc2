"""The search as a stage: both methods find a known camera, warm starts are used, and bad frames are refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.stages.camera.known_cameras import angle_deg, frame_of, orbit, painted_creature
from v2m4.errors import V2M4Error
from v2m4.events import CameraView, Event, Progress, drain
from v2m4.geometry.camera import Camera
from v2m4.geometry.rotations import rotation_from_axis_angle
from v2m4.perceptual.structure import Structure
from v2m4.settings import CameraSettings, Settings, changed
from v2m4.stages.camera.search import FoundCamera, search_camera
from v2m4.stereo.features import Features

CPU = torch.device("cpu")
FAST = changed(Settings.of("fast").camera, {"score.size": 112})
SMALL_PAPER = changed(
    Settings.of("paper").camera,
    {
        "algorithm1.samples": 300,
        "score.size": 56,
        "algorithm1.swarm.size": 40,
        "algorithm1.swarm.iterations": 8,
        "algorithm1.descent.iterations": 60,
        "algorithm1.descent.size": 64,
        "stereo.size": 128,
        "algorithm1.lookat_range": 0.2,
        "algorithm1.radius_min": 1.5,
        "algorithm1.radius_max": 3.0,
    },
)


def search(
    camera: Camera, settings: CameraSettings, start: Camera | None = None, frame: np.ndarray | None = None
) -> tuple[FoundCamera, list[Event]]:
    mesh = painted_creature()
    frame = frame_of(mesh, camera) if frame is None else frame
    events: list[Event] = []

    def recorded():
        steps = search_camera(
            mesh, frame, settings, Structure(), Features(), torch.Generator().manual_seed(3), 7, start, CPU
        )
        while True:
            try:
                event = next(steps)
            except StopIteration as stop:
                return stop.value
            events.append(event)
            yield event

    return drain(recorded()), events


@pytest.mark.parametrize(
    ("yaw", "pitch", "radius", "lookat", "tolerance_deg"),
    [
        (-120, -40, 2.6, (0.25, 0.1, 0.2), 1.0),  # off-centre, from below
        (170, 88, 2.4, (0.05, 0.1, 0), 1.0),  # from straight above, where yaw and roll are one
        (90, 0, 4.8, (0, 0.3, -0.4), 2.5),  # 50 pixels large, far from the middle
    ],
)
def test_fast_finds_the_camera(yaw: float, pitch: float, radius: float, lookat: tuple, tolerance_deg: float) -> None:
    truth = orbit(yaw, pitch, radius, lookat)
    found, _ = search(truth, FAST)
    assert angle_deg(found.camera, truth) < tolerance_deg
    assert found.overlap > 0.97


def test_fast_finds_a_camera_that_is_tilted_sideways() -> None:
    level = orbit(60, 20, 2.3)
    roll = torch.eye(4)
    roll[:3, :3] = rotation_from_axis_angle(torch.tensor([0.0, 0.0, 0.35]))
    truth = Camera(roll @ level.world_to_camera)
    found, _ = search(truth, FAST)
    assert angle_deg(found.camera, truth) < 1.0


def test_a_lit_frame_is_matched_by_the_unlit_mesh() -> None:
    truth = orbit(20, 10, 2.2)
    frame = frame_of(painted_creature(), truth).astype(np.float32)
    side = np.linspace(1.15, 0.55, frame.shape[1], dtype=np.float32)[None, :, None]
    frame[..., :3] = (frame[..., :3] * side).clip(0, 255)
    found, _ = search(truth, FAST, frame=frame.astype(np.uint8))
    assert angle_deg(found.camera, truth) < 4.0


def test_a_warm_start_saves_the_global_search() -> None:
    truth = orbit(35, 15, 2.2)
    found, events = search(truth, FAST, start=orbit(45, 10, 2.4, (0.03, 0, 0)))
    assert angle_deg(found.camera, truth) < 1.0
    assert [e.phase for e in events if isinstance(e, CameraView)] == ["descent"]


def test_a_bad_warm_start_leads_to_the_global_search() -> None:
    truth = orbit(35, 15, 2.2)
    found, events = search(truth, FAST, start=orbit(-100, -30, 4.5))
    assert angle_deg(found.camera, truth) < 1.0
    assert "sampling" in [e.phase for e in events if isinstance(e, CameraView)]


def test_the_stereo_step_joins_in_where_the_overlap_stays_low() -> None:
    found, events = search(orbit(35, 15, 2.2), changed(FAST, {"rigid.stereo_below": 1.1}))
    assert "stereo" in [e.phase for e in events if isinstance(e, CameraView)]
    assert found.overlap > 0.97


def test_the_paper_way_runs_its_four_phases_and_improves() -> None:
    truth = orbit(35, 15, 2.2)
    found, events = search(truth, SMALL_PAPER)
    views = [e for e in events if isinstance(e, CameraView)]
    assert [v.phase for v in views if v.phase != "stereo"] == ["sampling", "swarm", "descent"]
    assert found.phases["swarm"][0] <= found.phases["sampling"][0]
    assert found.phases["descent"][1] >= found.phases["swarm"][1] - 0.01
    assert found.overlap > 0.8
    assert all(v.keyframe == 7 and v.image.dtype == np.uint8 and v.image.shape == (256, 256, 4) for v in views)


@pytest.mark.parametrize("off", ["algorithm1.swarm", "algorithm1.descent", "stereo"])
def test_every_part_of_the_paper_way_can_be_switched_off(off: str) -> None:
    quick = changed(
        SMALL_PAPER,
        {
            "algorithm1.samples": 60,
            "algorithm1.swarm.size": 8,
            "algorithm1.swarm.iterations": 2,
            "algorithm1.descent.iterations": 5,
            f"{off}.enabled": False,
        },
    )
    found, events = search(orbit(35, 15, 2.2), quick)
    phases = {e.phase for e in events if isinstance(e, CameraView)}
    assert off.removeprefix("algorithm1.") not in phases
    assert set(found.phases) == phases


def test_progress_never_goes_back_and_the_same_seed_gives_the_same_camera() -> None:
    found, events = search(orbit(35, 15, 2.2), FAST)
    shares = [e.fraction for e in events if isinstance(e, Progress)]
    assert shares == sorted(shares) and shares[0] >= 0 and shares[-1] <= 1
    again, _ = search(orbit(35, 15, 2.2), FAST)
    assert torch.equal(found.camera.world_to_camera, again.camera.world_to_camera)


def test_reposing_puts_the_mesh_before_the_identity_camera() -> None:
    mesh, camera = painted_creature(), orbit(35, 15, 2.2)
    moved = mesh.transformed(camera.world_to_camera)
    assert torch.allclose(moved.vertices, camera.to_camera(mesh.vertices), atol=1e-6)
    seen, _ = Camera.identity().project(moved.vertices)
    assert torch.allclose(seen, camera.project(mesh.vertices)[0], atol=1e-5)


def test_an_empty_frame_is_refused_in_a_sentence() -> None:
    with pytest.raises(V2M4Error, match="mask is empty"):
        search(orbit(0, 0, 2), FAST, frame=np.zeros((64, 64, 4), np.uint8))


def test_a_frame_that_is_not_square_is_refused() -> None:
    with pytest.raises(V2M4Error, match="square"):
        search(orbit(0, 0, 2), FAST, frame=np.zeros((64, 32, 4), np.uint8))
