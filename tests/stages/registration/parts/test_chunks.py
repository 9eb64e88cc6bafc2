"""A mesh cut into slices of its limbs, and the skeleton that ties them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from tests.geometry.test_embedded_deformation import tube
from v2m4.geometry.embedded_deformation import deform, rest_pose
from v2m4.settings import ChunkSettings
from v2m4.stages.registration.parts.chunks import Chunks, cut_into_chunks
from v2m4.stages.registration.parts.chunks_numba import cross_body
from v2m4.stages.registration.parts.rig import rigged
from v2m4.stages.registration.parts.skeleton import Poses

SIX = ChunkSettings(chunks=6)


@pytest.fixture(scope="module")
def chunks() -> Chunks:
    return cut_into_chunks(*tube(24, 12, length=1.4, radius=0.13), SIX)


def test_a_ray_through_a_tube_meets_its_other_side() -> None:
    vertices, faces = tube(8, 16, radius=0.1)
    inside = np.array([[0.01, 0.0, 3.0 + 0.09], [0.01, 0.0, 3.0 + 0.09]])
    depth, hit = np.full(2, np.inf), np.full(2, -1)
    cross_body(inside, np.array([[0, 0, 1.0], [0, 0, -1.0]]), vertices, faces, depth, hit)
    np.testing.assert_allclose(depth, [0.19, 0.01], atol=0.005)
    assert (hit >= 0).all()


def test_chunks_are_slices_of_a_tube(chunks: Chunks) -> None:
    # Their middles lie on its axis, and each holds a ring's both sides.
    np.testing.assert_allclose(chunks.graph.nodes[:, 1:], [[0.0, 3.0]] * 6, atol=0.05)
    label = chunks.graph.node_indices[:, 0]
    for chunk in range(6):
        assert np.ptp(chunks.graph.rest[label == chunk][:, 2]) > 0.2


def test_neighbouring_chunks_share_a_joint_seen_alike_from_both(chunks: Chunks) -> None:
    ends = chunks.graph.nodes[chunks.graph.edges]
    np.testing.assert_allclose(ends[:, 0] + chunks.arms[:, 0], ends[:, 1] + chunks.arms[:, 1], atol=1e-12)
    pairs = coo_matrix((np.ones(len(chunks.graph.edges)), chunks.graph.edges.T), shape=(6, 6))
    assert connected_components(pairs)[0] == 1
    np.testing.assert_allclose(deform(chunks.graph, rest_pose(chunks.graph)), chunks.graph.rest, atol=1e-12)


def test_separate_parts_are_not_in_one_chunk() -> None:
    (a, faces), (b, _) = tube(8, 8, length=0.5), tube(8, 8, length=0.5)
    both = np.concatenate([a, b + np.array([0.0, 0.3, 0.0])]), np.concatenate([faces, faces + len(a)])
    label = cut_into_chunks(*both, SIX).graph.node_indices[:, 0]
    assert not set(label[: len(a)]) & set(label[len(a) :])
    body = rigged(*both, SIX)
    assert (body.skeleton.parents[1:] >= 0).all(), "tied together all the same"


def test_the_skeleton_of_a_tube_is_a_chain_from_its_middle() -> None:
    body = rigged(*tube(24, 12, length=1.4, radius=0.13), SIX)
    parents, joints = body.skeleton.parents, body.skeleton.joints
    assert parents[0] == -1 and all(parents[part] < part for part in range(1, 6))
    assert abs(joints[0, 0]) < 0.3, "the root is one of the two middle slices"
    assert np.bincount(parents[1:]).max() <= 2, "no slice has more than two neighbours"
    np.testing.assert_allclose(joints[:, 1:], [[0.0, 3.0]] * 6, atol=0.065)  # half the radius
    np.testing.assert_allclose(body.weights.sum(axis=1), 1.0)
    np.testing.assert_allclose(body.posed(Poses.rest(body.skeleton, 1))[0], body.vertices, atol=1e-12)
