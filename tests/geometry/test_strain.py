"""What a deformation does to faces, against singular values computed one by one."""

from __future__ import annotations

import numpy as np
import pytest

from tests.toys import ball
from v2m4.arrays import Float64, Int64
from v2m4.geometry.strain import FaceStrain, folded


@pytest.fixture
def rest() -> tuple[Float64, Int64]:
    mesh = ball()
    return mesh.vertices.double().numpy(), mesh.faces.numpy()


def turned(vertices: Float64) -> Float64:
    """Turned about an axis and moved."""
    c, s = np.cos(1.0), np.sin(1.0)
    return np.asarray(vertices @ np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]]) + [3.0, -1, 2])


def test_a_motion_as_a_whole_strains_nothing(rest: tuple[Float64, Int64]) -> None:
    strain = FaceStrain(*rest)
    assert np.allclose(strain.largest_stretch(turned(rest[0])), 1)
    assert not strain.torn(turned(rest[0]), 1.01).any()
    assert np.allclose(strain.largest_stretch(2.5 * turned(rest[0])), 2.5)


def test_stretches_are_the_deformation_gradients_singular_values(rest: tuple[Float64, Int64]) -> None:
    vertices, faces = rest
    posed = vertices + 0.3 * np.random.default_rng(0).normal(size=vertices.shape)
    strain = FaceStrain(vertices, faces)
    found = np.stack([strain.largest_stretch(posed), strain.smallest_stretch(posed)], axis=1)
    for face, values in zip(faces[:40], found, strict=False):
        before, after = (
            np.stack([v[face[1]] - v[face[0]], v[face[2]] - v[face[0]]], axis=1) for v in (vertices, posed)
        )
        gradient = after @ np.linalg.pinv(before)  # in space: zero along the face's normal at rest
        assert values == pytest.approx(np.linalg.svd(gradient, compute_uv=False)[:2])


def test_a_vertex_pushed_through_to_the_other_side_turns_faces_over(rest: tuple[Float64, Int64]) -> None:
    vertices, faces = rest
    posed = vertices.copy()
    posed[40] = posed[40 + 3]  # past two of its neighbours
    over = FaceStrain(vertices, faces).turned_over(posed)
    assert over.any() and set(np.flatnonzero(over)) <= set(np.flatnonzero(np.isin(faces, [40, 41, 42, 39]).any(1)))
    assert not folded(vertices, faces).any()


def test_limiting_shrinks_what_is_drawn_out_and_leaves_the_rest(rest: tuple[Float64, Int64]) -> None:
    vertices, faces = rest
    strain = FaceStrain(vertices, faces)
    posed = vertices.copy()
    posed[40] *= 3
    worst = [strain.largest_stretch(posed).max()]
    for _ in range(30):
        posed = strain.limited(posed, 1.5)
        worst.append(strain.largest_stretch(posed).max())
    assert worst[0] > 5 and worst[-1] < 1.6
    far = np.linalg.norm(vertices - vertices[40], axis=1) > 1.5
    assert (posed[far] == vertices[far]).all()


def test_limits_and_folds_are_those_of_numpy(rest: tuple[Float64, Int64]) -> None:
    vertices, faces = rest
    posed = vertices + 0.3 * np.random.default_rng(0).normal(size=vertices.shape)
    most, corners = 1.3, vertices[faces]
    total, number = np.zeros(posed.shape), np.zeros(len(posed))
    for face, at, now in zip(faces, corners, posed[faces], strict=True):
        gradient = (now[1:] - now[0]).T @ np.linalg.pinv((at[1:] - at[0]).T)  # in space
        left, size, right = np.linalg.svd(gradient)
        if size[0] > most:
            shape = (at - at[0]) @ (left * np.minimum(size, most) @ right).T
            total[face] += now.mean(axis=0) + shape - shape.mean(axis=0)
            number[face] += 1
    wanted = np.where(number[:, None] > 0, total / np.maximum(number, 1)[:, None], posed)
    assert (number > 0).any()
    assert np.abs(FaceStrain(vertices, faces).limited(posed, most) - wanted).max() < 1e-9

    normal = np.cross(posed[faces[:, 1]] - posed[faces[:, 0]], posed[faces[:, 2]] - posed[faces[:, 0]])
    around = np.zeros(posed.shape)
    np.add.at(around, faces, np.repeat(normal[:, None], 3, axis=1))
    around /= np.linalg.norm(around, axis=1, keepdims=True)
    over = (normal[:, None] * around[faces]).sum(axis=(1, 2)) < 0
    assert over.any() and (folded(posed, faces) == over).all()


def test_some_faces_by_themselves_are_torn_as_in_the_whole(rest: tuple[Float64, Int64]) -> None:
    vertices, faces = rest
    posed = vertices + 0.3 * np.random.default_rng(3).normal(size=vertices.shape)
    strain = FaceStrain(vertices, faces)
    zone = vertices[:, 2] > 0
    inside = np.flatnonzero(zone[faces].all(axis=1))
    all_there = np.bincount(faces[inside].ravel(), minlength=len(zone)) == np.bincount(faces.ravel())
    full = all_there[faces[inside]].all(axis=1)  # what the normals about all corners are known of

    part = strain.part(inside, np.cumsum(zone) - 1)

    assert (part.stretches(posed[zone]) == strain.stretches(posed)[:, inside]).all()
    torn = strain.torn(posed, 1.5)[inside]
    assert torn[full].any() and not torn[full].all()
    assert (part.torn(posed[zone], 1.5) == torn)[full].all()
