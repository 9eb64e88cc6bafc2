"""The remeshing's compiled loops, each against a plain version of the same step on small triangulations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from scipy.spatial import Delaunay

from v2m4.generators.inflate import remeshing_numba as kernels
from v2m4.generators.inflate.remeshing import vertex_faces

SIDE = 12
seeds = st.integers(0, 10**6)
few = settings(max_examples=30, deadline=None)
Faces = NDArray[np.int64]


def triangulation(seed: int, count: int = 25) -> tuple[NDArray[np.float64], Faces, NDArray[np.bool_]]:
    """Points (N,3) with any heights, Delaunay triangles, and which points are on the hull (the rim)."""
    random = np.random.default_rng(seed)
    corners = [(1, 1), (SIDE - 1, 1), (SIDE - 1, SIDE - 1), (1, SIDE - 1)]
    plane = np.concatenate([corners, random.uniform(1.5, SIDE - 1.5, (count, 2))])
    faces = Delaunay(plane).simplices.astype(np.int64)
    a, b, c = (plane[faces[:, i]] for i in range(3))
    turned = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) < (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    faces[turned] = faces[turned][:, ::-1]
    return np.column_stack([plane, random.random(len(plane))]), faces, np.arange(len(plane)) < 4


def surface(seed: int) -> NDArray[np.float32]:
    """Any distance and squared height per distance, both positive, and any middle: (3,SIDE,SIDE)."""
    random = np.random.default_rng(seed + 1)
    return (random.uniform(1, 5, (3, SIDE, SIDE)) - np.array([0, 0, 3])[:, None, None]).astype(np.float32)


def looked_up(grid: NDArray[np.float32], points: NDArray[np.float64]) -> NDArray[np.float64]:
    return map_coordinates(grid.astype(float), points[:, [1, 0]].T - 0.5, order=1, mode="nearest")


def raised(grid: NDArray[np.float32], points: NDArray[np.float64]) -> NDArray[np.float64]:
    distance, squared, middle = (looked_up(layer, points) for layer in grid)
    return middle + np.sqrt(distance * squared)


def as_set(faces: Faces) -> set[tuple[int, ...]]:
    """The triangles, whatever their order and first corner."""
    return {tuple(np.roll(f, -int(np.argmin(f))).tolist()) for f in faces}


def area(points: NDArray[np.float64], face: tuple[int, ...] | Faces) -> float:
    a, b, c = (points[int(v), :2] for v in face)
    return float((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))


@few
@given(seeds)
def test_heights_are_the_middle_plus_the_root_of_the_two_fields_product(seed: int) -> None:
    points, _, rim = triangulation(seed)
    grid = surface(seed)
    heights = kernels.surface_heights(points[:, :2].copy(), rim, grid)
    assert heights[~rim] == pytest.approx(raised(grid, points)[~rim], rel=1e-3, abs=1e-3)
    assert heights[rim] == pytest.approx(looked_up(grid[2], points)[rim], rel=1e-3, abs=1e-3)


@few
@given(seeds)
def test_opposite_faces_share_the_edge_the_other_way_round(seed: int) -> None:
    points, faces, _ = triangulation(seed)
    owner = {(int(f[k]), int(f[(k + 1) % 3])): n for n, f in enumerate(faces) for k in range(3)}
    expected = [[owner.get((int(f[(k + 1) % 3]), int(f[k])), -1) for k in range(3)] for f in faces]
    assert kernels.opposite_faces(faces, len(points)).tolist() == expected


@few
@given(seeds)
def test_edges_are_ranked_by_length_over_the_length_wanted(seed: int) -> None:
    points, faces, rim = triangulation(seed)
    size = surface(seed)[0] / 3
    opposite = kernels.opposite_faces(faces, len(points))
    urgency, ratio = np.zeros(3 * len(faces)), np.full(3 * len(faces), np.inf)
    kernels.rank_edges_to_split(points, rim, faces, opposite, size, 1.45, urgency)
    kernels.rank_edges_to_collapse(points, rim, faces, size, ratio)
    a, b = faces.ravel(), np.roll(faces, -1, axis=1).ravel()
    expected = np.linalg.norm(points[b] - points[a], axis=1) / looked_up(size, (points[a] + points[b]) / 2)
    once = opposite.ravel() > np.arange(len(faces)).repeat(3)
    chord, long = rim[a] & rim[b], expected > 1.45
    wanted = np.where(once, np.where(chord, 1e6 + expected, np.where(long, expected, 0)), 0)
    assert urgency == pytest.approx(wanted, rel=1e-3)
    assert ratio[~rim[a]] == pytest.approx(expected[~rim[a]], rel=1e-3) and np.isinf(ratio[rim[a]]).all()


@few
@given(seeds)
def test_halving_puts_a_vertex_on_the_edge_and_splits_both_its_triangles(seed: int) -> None:
    points, faces, _ = triangulation(seed)
    opposite = kernels.opposite_faces(faces, len(points))
    order = np.random.default_rng(seed).permutation(np.flatnonzero(opposite.ravel() > np.arange(len(faces)).repeat(3)))
    space, room = np.zeros((len(points) + len(order), 3)), np.zeros((len(faces) + 2 * len(order), 3), np.int64)
    space[: len(points)], room[: len(faces)] = points, faces
    vertices, triangles = kernels.halve_edges(order, opposite, space, room, len(points), len(faces), surface(seed))

    expected, middles, touched = as_set(faces), [], set()
    for e in order:
        f, k = divmod(int(e), 3)
        if {f, int(opposite[f, k])} & touched:
            continue
        touched |= {f, int(opposite[f, k])}
        a, b = int(faces[f, k]), int(faces[f, (k + 1) % 3])
        new = len(points) + len(middles)
        middles.append((points[a, :2] + points[b, :2]) / 2)
        for start, end in ((a, b), (b, a)):
            (face,) = (t for t in expected if (start, end) in {(t[i], t[(i + 1) % 3]) for i in range(3)})
            tip = next(v for v in face if v not in (a, b))
            expected = (expected - {face}) | as_set(np.array([[start, new, tip], [new, end, tip]]))
    assert as_set(room[:triangles]) == expected and vertices == len(points) + len(middles)
    np.testing.assert_allclose(space[len(points) : vertices, :2], np.array(middles))


@few
@given(seeds)
def test_flipping_edges_on_a_plane_ends_in_the_delaunay_triangulation(seed: int) -> None:
    points, delaunay, rim = triangulation(seed, 12)
    points[:, 2] = 0
    faces, random = delaunay.copy(), np.random.default_rng(seed)
    for _ in range(6):
        opposite = kernels.opposite_faces(faces, len(points))
        f, k = int(random.integers(len(faces))), int(random.integers(3))
        g = int(opposite[f, k])
        if g < 0:
            continue
        a, b, c = (int(faces[f, (k + i) % 3]) for i in range(3))
        d = next(int(v) for v in faces[g] if v not in (a, b))
        if not (rim[c] and rim[d]) and area(points, (a, d, c)) > 0.01 and area(points, (d, b, c)) > 0.01:
            faces[f], faces[g] = (a, d, c), (d, b, c)
    nowhere = np.zeros(len(points), bool)
    kernels.flip_edges(points, nowhere, faces, kernels.opposite_faces(faces, len(points)))
    assert as_set(faces) == as_set(delaunay)


def test_no_edge_is_flipped_into_one_between_vertices_of_the_rim() -> None:
    points = np.array([[0.0, 0, 0], [4, 0, 0], [2, 0.5, 0], [2, -0.5, 0]])
    faces = np.array([[0, 1, 2], [1, 0, 3]])
    for rim, flipped in ((np.zeros(4, bool), True), (np.array([False, False, True, True]), False)):
        turned = faces.copy()
        kernels.flip_edges(points, rim, turned, kernels.opposite_faces(turned, 4))
        assert (as_set(turned) != as_set(faces)) == flipped


@few
@given(seeds)
def test_vertices_move_one_after_the_other_unless_that_turns_a_triangle_over(seed: int) -> None:
    points, faces, rim = triangulation(seed)
    grid = surface(seed)
    move = np.random.default_rng(seed).normal(0, 0.7, (len(points), 3))
    move[rim] = 0
    expected = points.copy()
    for v in np.flatnonzero(~rim):
        moved = expected.copy()
        moved[v, :2] += move[v, :2]
        if all(area(moved, f) > 1e-3 for f in faces if v in f):
            expected = moved
    inside = (expected[:, :2] > 0.5).all(1) & (expected[:, :2] < SIDE - 0.5).all(1)
    kernels.shift_vertices(points, faces, move, *vertex_faces(faces, len(points)), grid)
    np.testing.assert_allclose(points[:, :2], expected[:, :2])
    went = (move[:, :2] != 0).any(1) & (np.abs(points - triangulation(seed)[0])[:, :2].sum(1) > 0) & inside
    assert points[went, 2] == pytest.approx(raised(grid, points)[went], rel=1e-3, abs=1e-3)


@few
@given(seeds)
def test_edges_collapse_where_nothing_turns_over_pinches_or_joins_the_rim(seed: int) -> None:
    points, faces, rim = triangulation(seed)
    starts = faces.ravel()
    order = np.random.default_rng(seed).permutation(np.flatnonzero(~rim[starts]))
    left, blocked = {tuple(f) for f in faces.tolist()}, set()
    gone_expected = set()
    for e in order:
        # The kernel reads the edge where its face is now.
        v, u = int(faces[e // 3, e % 3]), int(faces[e // 3, (e % 3 + 1) % 3])
        if {v, u} & gone_expected:
            continue
        around = [f for f in left if v in f]
        if not around or not any(u in f for f in around) or {w for f in around for w in f} & blocked:
            continue
        beside = {w for f in around for w in f} - {v}
        common = {w for w in beside - {u} if any(w in f and u in f for f in left)}
        shared = {w for w in common if any({v, u, w} == set(f) for f in left)}
        stretched = [tuple(u if w == v else w for w in f) for f in around if u not in f]
        joins_rim = any(rim[u] and rim[w] for f in around if u not in f for w in f)
        if common != shared or joins_rim or any(area(points, f) <= 1e-2 for f in stretched):
            continue
        blocked |= {w for f in left if v in f or u in f for w in f}
        left = (left - set(around)) | set(stretched)
        gone_expected.add(v)

    found = faces.copy()
    gone, dead = np.zeros(len(points), bool), np.zeros(len(faces), bool)
    kernels.collapse_edges(order, points, rim, found, *vertex_faces(faces, len(points)), gone, dead)
    assert as_set(found[~dead]) == as_set(np.array(sorted(left)))
    assert set(np.flatnonzero(gone).tolist()) == gone_expected
