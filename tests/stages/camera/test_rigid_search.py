"""The parts of the fast search: the crop, distance from the mask, and all angles at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.stages.camera.known_cameras import angle_deg, frame_of, orbit, painted_creature
from v2m4.events import drain
from v2m4.geometry.camera import Camera
from v2m4.geometry.mesh import Mesh
from v2m4.settings import RigidSearchSettings
from v2m4.stages.camera.rigid_alignment import Poses, render_poses
from v2m4.stages.camera.rigid_search import (
    angle_scores,
    bounding_sphere,
    coarse_poses,
    crop_around,
    cut_sides,
    fit_distance,
    low_poly,
    polar,
    upright,
)
from v2m4.stages.camera.scoring import premultiplied

SETTINGS = RigidSearchSettings()
OFF_CENTRE = orbit(40, 25, 3.0, (0.4, -0.3, 0.3))


def test_a_crop_is_what_its_camera_renders() -> None:
    mesh = painted_creature()
    middle, _ = bounding_sphere(mesh)
    crop = crop_around(premultiplied(frame_of(mesh, OFF_CENTRE, 512)), 40.0, SETTINGS)
    poses = crop.poses(OFF_CENTRE, middle)
    drawn = render_poses(mesh, middle, poses, 96, crop.fov_deg, supersample=4).image[0]
    seen = crop.picture(96).image
    assert np.abs(drawn - seen).mean() < 0.01
    back = crop.camera(poses.extrinsics(middle)).world_to_camera[0]
    assert torch.allclose(back, OFF_CENTRE.world_to_camera, atol=1e-5)


def test_distance_and_shift_follow_from_the_mask() -> None:
    mesh = painted_creature()
    middle, reach = bounding_sphere(mesh)
    crop = crop_around(premultiplied(frame_of(mesh, OFF_CENTRE, 512)), 40.0, SETTINGS)
    picture, truth = crop.picture(64), crop.poses(OFF_CENTRE, middle)
    poses = Poses(truth.rotation, np.array([[0.3, -0.2, 5 * reach]]))
    for _ in range(3):
        mask = render_poses(mesh, middle, poses, 64, crop.fov_deg).image[..., 3]
        poses = fit_distance(poses, mask, picture, SETTINGS)
    assert np.abs(poses.centre - truth.centre).max() < 0.03 * truth.centre[0, 2]


def test_all_angles_are_scored_at_once() -> None:
    """A view turned by 100 degrees scores best at 100 degrees, with the score of equal pictures."""
    mesh = painted_creature()
    middle, reach = bounding_sphere(mesh)
    pose = Poses.of(orbit(35, 15, 2.5).world_to_camera[None].double().numpy(), middle)
    pose = Poses(pose.rotation, np.array([[0.0, 0.0, 4 * reach]]))
    a = np.radians(100)
    about = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    turned = Poses(about @ pose.rotation, pose.centre)
    view, target = (render_poses(mesh, middle, p, 96, 40.0, supersample=2).image for p in (pose, turned))
    nowhere, same = np.zeros((1, 2)), np.ones(1)
    known = np.concatenate([target, np.ones_like(target[..., :1])], axis=-1)
    unrolled = polar(known, nowhere, same, SETTINGS)[0], polar(view, nowhere, same, SETTINGS)
    scores = angle_scores(*unrolled, SETTINGS)[0]
    assert np.argmax(scores) * 5 == 100
    assert scores.max() == pytest.approx(1.5, abs=0.12)


def test_the_coarse_search_comes_within_a_dozen_degrees() -> None:
    mesh = painted_creature()
    middle, _ = bounding_sphere(mesh)
    crop = crop_around(premultiplied(frame_of(mesh, OFF_CENTRE)), 40.0, SETTINGS)
    poses, scores = drain(coarse_poses(mesh, crop, RigidSearchSettings(directions=400, roll_limit_deg=30), keep=8))
    errors = [angle_deg(Camera(w), OFF_CENTRE) for w in crop.camera(poses.extrinsics(middle)).world_to_camera]
    assert min(errors) < 12
    assert list(scores) == sorted(scores, reverse=True)


def test_upright_means_level_and_not_upside_down() -> None:
    level = orbit(35, 15, 2.2).world_to_camera[None, :3, :3].double().numpy()
    half_turn = np.diag([-1.0, -1.0, 1.0])
    quarter = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    assert upright(level, 10).all()
    assert not upright(half_turn @ level, 10).any()
    assert not upright(quarter @ level, 30).any()
    assert upright(half_turn @ level, 180).all()
    above = orbit(35, 90, 2.2).world_to_camera[None, :3, :3].double().numpy()
    assert upright(quarter @ above, 10).all()


def test_a_frame_that_cuts_the_object_is_noticed() -> None:
    frame = np.zeros((64, 64, 4), np.float32)
    frame[20:40, 20:40, 3] = 1
    assert cut_sides(frame, SETTINGS.cut_share) == []
    frame[20:40, 40:, 3] = 1
    assert cut_sides(frame, SETTINGS.cut_share) == [(1, 0)]


def test_the_low_poly_mesh_looks_the_same_from_afar() -> None:
    """A texture becomes vertex colours, and a mesh of very many faces is simplified, keeping its colours."""
    import trimesh

    sphere = trimesh.creation.icosphere(subdivisions=5)
    vertices = torch.tensor(sphere.vertices, dtype=torch.float32)
    faces = torch.tensor(sphere.faces, dtype=torch.int64)
    colored = Mesh(vertices, faces, colors=(vertices + 1) / 2)
    light = low_poly(colored, SETTINGS.low_poly)
    assert len(light.faces) < len(faces) / 2
    assert float((light.colors - (light.vertices + 1) / 2).abs().max()) < 0.08

    uv = torch.stack([(vertices[:, 0] + 1) / 2, (vertices[:, 2] + 1) / 2], dim=1) * 0.9 + 0.05
    ramp = torch.linspace(0, 1, 64)
    texture = torch.stack([ramp[None].expand(64, 64), ramp[:, None].expand(64, 64), torch.zeros(64, 64)], dim=-1)
    textured = low_poly(Mesh(vertices, faces, uv=uv, uv_faces=faces, texture=texture), SETTINGS.low_poly)
    assert textured.texture is None
    assert float((textured.colors[:, 0] - ((textured.vertices[:, 0] + 1) * 0.45 + 0.05)).abs().max()) < 0.08
