"""Mesh to mesh: a moved and bent body found again from a mesh that shares no vertices with it."""

import numpy as np
import pytest
import torch
import trimesh
from torch import Tensor

from tests.render.scenes import ellipsoid
from v2m4.errors import V2M4Error
from v2m4.events import Progress, drain
from v2m4.geometry.arap import arap_energy
from v2m4.geometry.camera import Camera
from v2m4.geometry.chamfer import SurfaceChamfer
from v2m4.geometry.losses import RestShape, area_change, edge_change
from v2m4.geometry.mesh import Mesh, face_normals
from v2m4.geometry.rotations import closest_rotation_by_quaternion, rotation_from_axis_angle
from v2m4.render.recordable import recordable_normal_map
from v2m4.settings import Settings, changed
from v2m4.stages.registration.meshes import NormalViews, PointTracks, align_globally, register_meshes, tracking_loss
from v2m4.stages.registration.normal_views import normal_map

FAST = changed(
    Settings.of("fast").registration.meshes,
    {
        "alignment.iterations": 40,
        "large_steps.iterations": 15,
        "surface_samples": 1200,
        "limbs.rounds": 10,
        "view_size": 64,
        "view_pool": 8,
    },
)


def sausage(bend: float, body: trimesh.Trimesh) -> Mesh:
    """A sphere made long (one unit along x), flattened and bent upwards by an angle in radians, with a hump on it."""
    x, y, z = np.asarray(body.vertices).T * [[0.5], [0.08], [0.12]]
    z = np.where(z > 0, z * (1 + np.exp(-((x - 0.2) ** 2) / 0.01)), z)
    if bend:
        radius, angle = 1 / bend - z, bend * x
        x, z = radius * np.sin(angle), 1 / bend - radius * np.cos(angle)
    return Mesh(torch.tensor(np.stack([x, y, z], 1)).float(), torch.tensor(np.asarray(body.faces)).long())


def ours(bend: float, subdivisions: int = 3) -> Mesh:
    """The sausage, cut as the source meshes are."""
    return sausage(bend, trimesh.creation.icosphere(subdivisions))


def theirs(bend: float) -> Mesh:
    """The same shape, cut in another way."""
    turned = trimesh.creation.uv_sphere(count=[24, 26])
    turned.vertices = turned.vertices[:, [2, 0, 1]]
    return sausage(bend, turned)


def error(found: Tensor, truth: Mesh) -> float:
    diagonal = (truth.vertices.amax(0) - truth.vertices.amin(0)).norm()
    return float((found - truth.vertices).norm(dim=1).mean() / diagonal)


def test_a_view_whose_gradient_is_no_number_spoils_nothing(monkeypatch: pytest.MonkeyPatch):
    truth, whole = ours(0.7), NormalViews.differences

    def spoilt(views, vertices, faces, count, rng):
        for part in whole(views, vertices, faces, count, rng):
            yield part + (vertices[:5] * float("nan")).sum()

    monkeypatch.setattr(NormalViews, "differences", spoilt)
    source = ours(0.0)
    found = drain(
        register_meshes(
            source.vertices, source, theirs(0.7), FAST, rng=torch.Generator().manual_seed(0), frame=torch.eye(4)
        )
    )
    assert found.isfinite().all() and error(found, truth) < 0.5 * error(source.vertices, truth)


def test_a_bent_body_is_found_from_a_mesh_without_common_vertices():
    source, truth, target = ours(0.0), ours(0.7), theirs(0.7)
    rng = torch.Generator().manual_seed(0)
    found = drain(register_meshes(source.vertices, source, target, FAST, rng=rng, frame=torch.eye(4)))
    still = error(source.vertices, truth)
    assert error(found, truth) < min(0.01, 0.3 * still)
    flipped = (face_normals(found, source.faces) * face_normals(truth.vertices, source.faces)).sum(1) < 0
    assert flipped.float().mean() <= 0.001


def test_the_same_seed_gives_the_same_vertices():
    source, target = ours(0.0, 2), theirs(0.3)
    few = changed(FAST, {"alignment.iterations": 5, "large_steps.iterations": 4, "limbs.rounds": 2})
    runs = [
        drain(register_meshes(source.vertices, source, target, few, rng=torch.Generator().manual_seed(3))) for _ in "ab"
    ]
    assert torch.equal(runs[0], runs[1])


def test_progress_rises_from_nought_to_one():
    source, target = ours(0.0, 2), theirs(0.2)
    few = changed(FAST, {"alignment.iterations": 4, "large_steps.iterations": 4, "limbs.rounds": 2})
    events = list(
        register_meshes(source.vertices, source, target, few, rng=torch.Generator().manual_seed(0), keyframe=7)
    )
    shares = [e.fraction for e in events]
    assert all(isinstance(e, Progress) and e.keyframe == 7 for e in events)
    assert shares == sorted(shares) and shares[0] < 0.1 and shares[-1] == 1


def test_a_half_turn_is_found_by_the_restart_and_only_by_it():
    source = ours(0.3, 2)
    half = rotation_from_axis_angle(torch.tensor([0.0, 0.0, torch.pi]))
    target = Mesh(source.vertices @ half.T, source.faces)
    ends = {}
    for above in (0.0, 1e9):
        settings = changed(
            FAST,
            {
                "alignment.iterations": 60,
                "alignment.image_weight": 0.0,
                "surface_samples": 0,
                "alignment.restart_above": above,
            },
        )
        views, rng = NormalViews(target, Camera.identity(), 8), torch.Generator().manual_seed(0)
        up = torch.tensor([0.0, 0, 1])
        *_, end = align_globally(source.vertices, source.faces, target, settings, views, rng, up=up)
        ends[above] = error(end.vertices, target)
    assert ends[0.0] < 0.01 < 0.1 < ends[1e9]


def test_scale_per_axis_and_shift_are_found():
    mesh = ellipsoid(2)
    target = Mesh(mesh.vertices * torch.tensor([1.1, 0.9, 1.0]) + torch.tensor([0.1, 0.0, -0.05]), mesh.faces)
    settings = changed(
        FAST,
        {
            "alignment.iterations": 150,
            "alignment.image_weight": 0.0,
            "surface_samples": 0,
            "alignment.restart_above": 1e9,
        },
    )
    views, rng = NormalViews(target, Camera.identity(), 8), torch.Generator().manual_seed(0)
    *_, end = align_globally(mesh.vertices, mesh.faces, target, settings, views, rng, up=torch.tensor([0.0, 0, 1]))
    assert error(end.vertices, target) < 0.005


def test_pictures_alone_move_the_mesh_towards_the_target():
    mesh = ellipsoid(2)
    target = Mesh(mesh.vertices + torch.tensor([0.06, 0.0, 0.0]), mesh.faces)
    settings = changed(
        FAST,
        {
            "alignment.iterations": 40,
            "alignment.chamfer_weight": 0.0,
            "alignment.restart_above": 1e9,
            "alignment.views": 6,
            "alignment.lr": 0.005,
        },
    )
    views = NormalViews.around(target, settings, torch.eye(4))
    *_, end = align_globally(
        mesh.vertices,
        mesh.faces,
        target,
        settings,
        views,
        torch.Generator().manual_seed(0),
        up=torch.tensor([0.0, 0, 1]),
    )
    assert error(end.vertices, target) < 0.5 * error(mesh.vertices, target)


def test_views_drawn_in_parts_add_up_to_the_whole():
    target = ellipsoid(2)
    moved = target.vertices * 1.1
    settings = changed(FAST, {"view_pool": 6, "view_size": 32})
    views = NormalViews.around(target, settings, None)
    parts = list(views.differences(moved, target.faces, 6, torch.Generator().manual_seed(0)))
    again = list(views.differences(target.vertices, target.faces, 6, torch.Generator().manual_seed(0)))
    assert 0.001 < float(sum(parts)) < 0.2
    assert float(sum(again)) < 1e-6


def test_the_normal_maps_of_a_recorded_step_are_those_of_the_renderer_and_so_are_their_slopes():
    target = ours(0.5)
    settings = changed(FAST, {"view_pool": 5, "view_size": 48})
    views = NormalViews.around(target, settings, torch.eye(4))
    camera, weight = views._cameras, torch.rand(5, 48, 48, 3, generator=torch.Generator().manual_seed(0))
    maps, slopes = [], []
    for draw in (lambda v: normal_map(target.with_vertices(v), camera, 48),
                 lambda v: recordable_normal_map(v, target.faces, camera, 48)):  # fmt: skip
        vertices = target.vertices.clone().requires_grad_()
        maps.append(draw(vertices))
        slopes.append(torch.autograd.grad((maps[-1] * weight).sum(), vertices)[0])
    torch.testing.assert_close(maps[1], maps[0])
    torch.testing.assert_close(slopes[1], slopes[0], rtol=1e-4, atol=1e-5)
    assert slopes[0].abs().amax() > 0.1


def test_steps_made_for_a_recording_end_where_the_others_do(monkeypatch: pytest.MonkeyPatch):
    settings = changed(
        FAST,
        {
            "view_pool": 6,
            "alignment.views": 6,  # every iteration sees all of them: what is drawn when does not matter
            "large_steps.views": 6,
            "alignment.restart_above": 0.0,
            "alignment.restart_after": 10,
            "surface_samples": 0,
            "normal_match": 0.0,
            "limbs.rounds": 0,
        },
    )
    source, target = ours(0.0, 2), theirs(0.4)
    ends = []
    for recordable in (False, True):
        monkeypatch.setattr(NormalViews, "recordable", lambda views, count, can=recordable: can)
        rng = torch.Generator().manual_seed(0)
        ends.append(drain(register_meshes(source.vertices, source, target, settings, rng=rng, frame=torch.eye(4))))
    assert (ends[1] - ends[0]).abs().max() < 1e-3 < 0.02 < (ends[0] - source.vertices).abs().max()


def test_tracked_points_are_measured_in_pixels():
    vertices = torch.tensor([[0.0, 0, 2], [0.2, 0, 2], [0, 0.2, 2]])
    projection = torch.zeros(4, 4)
    projection[0, 0] = projection[1, 1] = 2 * Camera.identity().focal
    projection[3, 2] = projection[2, 2] = 1
    seen = (Camera.identity().project(vertices[:1])[0] * 100) + torch.tensor([[3.0, 0.0]])
    track = PointTracks(projection, torch.tensor([0]), torch.tensor([[1.0, 0.0]]), seen, 100)
    torch.testing.assert_close(tracking_loss(vertices, torch.tensor([[0, 1, 2]]), [track]), torch.tensor(1.5))


def test_an_empty_or_broken_mesh_is_refused():
    mesh = ellipsoid(1)
    broken = mesh.with_vertices(mesh.vertices * torch.nan)
    with pytest.raises(V2M4Error, match="target"):
        drain(register_meshes(mesh.vertices, mesh, broken, FAST, rng=torch.Generator()))


def test_what_is_recorded_of_a_step_waits_for_no_device(monkeypatch: pytest.MonkeyPatch):
    """Tensors without values raise where somebody asks for them, as a recording on a GPU does."""
    monkeypatch.setattr("v2m4.geometry.arap.closest_rotation", closest_rotation_by_quaternion)
    mesh = ellipsoid(2)
    rest = RestShape(
        **{name: value.to("meta") for name, value in vars(RestShape.of(mesh.vertices, mesh.faces)).items()}
    )
    target = Mesh(mesh.vertices.to("meta"), mesh.faces.to("meta"))
    vertices = target.vertices.clone().requires_grad_()
    rng = torch.Generator().manual_seed(0)
    cloud = SurfaceChamfer(vertices, target.faces, target, samples=0, normal_match=0.0, rng=rng)
    loss = cloud(vertices) + arap_energy(vertices, rest) + area_change(vertices, rest) + edge_change(vertices, rest)
    (slope,) = torch.autograd.grad(loss, vertices)
    assert slope.shape == vertices.shape and slope.is_meta


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_registration_on_a_gpu_is_recorded_and_ends_where_that_on_a_cpu_does(caplog: pytest.LogCaptureFixture):
    settings = changed(FAST, {"surface_samples": 0, "normal_match": 0.0, "large_steps.iterations": 60})
    source, target, truth = ours(0.0), theirs(0.5), ours(0.5)
    ends = [
        drain(
            register_meshes(
                source.vertices, source, target, settings, rng=torch.Generator().manual_seed(0), device=device
            )
        ).cpu()
        for device in ("cpu", "cuda")
    ]
    errors = [error(end, truth) for end in ends]
    assert "could not be recorded" not in caplog.text
    assert bool(ends[1].isfinite().all())
    assert errors[1] < 1.2 * errors[0] + 1e-3
