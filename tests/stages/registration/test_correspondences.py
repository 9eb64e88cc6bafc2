"""What frames say about a surface: visibility, flow, outlines, and limbs that come out of hiding."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tests.geometry.test_embedded_deformation import tube
from v2m4.geometry.embedded_deformation import PointToPlane
from v2m4.settings import CorrespondenceSettings
from v2m4.stages.registration.correspondences import (
    FrameView,
    SurfaceSamples,
    concatenate,
    contrasting_background,
    flow_matches,
    make_view,
    match_outlines,
    outline_constraints,
    pixel_constraints,
    residual_mask,
    sample_frame_at,
    surface_at,
    to_pixels,
    unexplained_region_constraints,
    visible_points,
)

NUMBERS = CorrespondenceSettings()
Array = np.ndarray
SIZE = 96


def plate(x: float, y: float, z: float, width: float, height: float, cells: int = 8) -> tuple[Array, Array]:
    """A flat grid that faces the camera."""
    u, v = np.meshgrid(np.linspace(-0.5, 0.5, cells + 1), np.linspace(-0.5, 0.5, cells + 1))
    vertices = np.stack([x + width * u, y + height * v, np.full_like(u, z)], axis=-1).reshape(-1, 3)
    corner = (np.arange(cells)[:, None] * (cells + 1) + np.arange(cells)).ravel()
    quads = np.stack([corner, corner + 1, corner + cells + 2, corner + cells + 1], axis=1)
    return vertices, np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])


def together(*parts: tuple[Array, Array]) -> tuple[Array, Array]:
    offsets = np.cumsum([0] + [len(v) for v, _ in parts[:-1]])
    return np.concatenate([v for v, _ in parts]), np.concatenate(
        [f + o for (_, f), o in zip(parts, offsets, strict=True)]
    )


def pattern(points: Array) -> Array:
    """Grey values painted on the surface."""
    return 140 + 50 * np.sin(25 * points[:, 0]) * np.cos(21 * points[:, 1]) + 30 * np.sin(9 * points[:, 0] + 1)


def picture(vertices: Array, faces: Array, painted: Array, size: int = SIZE) -> Array:
    """(S,S,4) uint8 frame of the mesh, painted by grey values (V,)."""
    seen = visible_points(vertices, faces, size)
    frame = np.zeros((size, size, 4), np.uint8)
    value = (seen.barycentrics * painted[seen.corners]).sum(1)
    frame[seen.rows, seen.columns, :3] = value.clip(0, 255)[:, None]
    frame[seen.rows, seen.columns, 3] = 255
    return frame


def residuals(planes: PointToPlane, vertices: Array) -> Array:
    points = (planes.barycentrics[..., None] * vertices[planes.corners]).sum(1)
    return np.asarray((points * planes.normals).sum(1))


def test_seen_points_project_onto_their_pixels() -> None:
    vertices, faces = plate(0.1, 0.0, 2.0, 0.8, 0.6)
    vertices[:, 2] += vertices[:, 0]
    seen = visible_points(vertices, faces, SIZE)
    assert len(seen.rows) > 500
    np.testing.assert_allclose(seen.barycentrics.sum(1), 1)
    points = (seen.barycentrics[..., None] * vertices[seen.corners]).sum(1)
    np.testing.assert_allclose(to_pixels(points, SIZE), np.stack([seen.columns, seen.rows], 1) + 0.5, atol=1e-6)
    np.testing.assert_allclose(seen.depth[seen.rows, seen.columns], points[:, 2])


def test_a_view_knows_how_far_its_outline_is() -> None:
    frame = np.zeros((SIZE, SIZE, 4), np.uint8)
    frame[24:72, 24:72] = 255
    view = make_view(frame, SIZE, 0.0)
    assert view.mask.sum() == 48**2
    assert view.outside[48, 14] == pytest.approx(9.5, abs=0.6)
    assert view.outside[48, 48] == pytest.approx(-23.5, abs=0.6)
    np.testing.assert_allclose(view.gradient[48, 14], [-1, 0], atol=1e-3)


def test_the_background_contrasts() -> None:
    frame = np.full((8, 8, 4), 255, np.uint8)
    assert contrasting_background(frame) == 0
    frame[..., :3] = 20
    assert contrasting_background(frame) == 255
    frame[..., 3] = 0
    assert contrasting_background(frame) == 0


def test_looking_up_finds_the_colour_and_what_was_hidden() -> None:
    near, far = plate(-0.2, 0, 2.0, 0.3, 0.5), plate(-0.2, 0, 2.4, 0.3, 0.5)
    before, faces = together(near, far)
    painted = pattern(before)
    view = make_view(picture(before, faces, painted), SIZE, 0.0)
    after = before.copy()
    after[len(near[0]) :, 0] += 0.4  # the far plate comes out from behind
    seen = visible_points(after, faces, SIZE)
    points = surface_at(before, seen.corners, seen.barycentrics)
    grey, known = sample_frame_at(points, visible_points(before, faces, SIZE), view, NUMBERS.same_surface)
    on_near = (seen.corners < len(near[0])).all(1)
    assert known[on_near].mean() > 0.9
    assert known[~on_near].mean() < 0.1
    truth = (seen.barycentrics * painted[seen.corners]).sum(1)
    assert np.median(np.abs(grey - truth)[known]) < 3


def test_flow_tells_where_the_surface_went() -> None:
    vertices, faces = plate(0, 0, 2.0, 0.9, 0.9)
    painted = pattern(vertices)
    moved = vertices + np.array([0.03, -0.02, 0])
    seen = visible_points(vertices, faces, SIZE)
    rendering = make_view(picture(vertices, faces, painted), SIZE, 0.0)
    view = make_view(picture(moved, faces, painted), SIZE, 0.0)
    planes = pixel_constraints(flow_matches(seen, rendering.image, rendering.mask, view, NUMBERS), SIZE)
    assert len(planes.weights) > 100
    before, after = np.abs(residuals(planes, vertices)), np.abs(residuals(planes, moved))
    assert np.average(after, weights=planes.weights) < 0.3 * np.average(before, weights=planes.weights)


def test_flow_reaches_a_fourteenth_of_the_picture_though_the_object_is_smaller() -> None:
    """A limb of a small figure swings farther than the figure is wide."""
    size = 512
    vertices, faces = plate(0, 0, 2.0, 0.1, 0.1, cells=16)
    painted = np.random.default_rng(0).uniform(60, 255, len(vertices))
    a_pixel = 0.1 / np.ptp(to_pixels(vertices, size)[:, 0])
    moved = vertices + np.array([size / 14 * a_pixel, 0, 0])
    seen = visible_points(vertices, faces, size)
    rendering, view = (make_view(picture(v, faces, painted, size), size, 0.0) for v in (vertices, moved))
    matches = flow_matches(seen, rendering.image, rendering.mask, view, NUMBERS)
    asked = matches.targets - to_pixels(surface_at(vertices, matches.corners, matches.barycentrics), size)
    assert len(asked) > 20
    assert np.median(asked[:, 0]) == pytest.approx(size / 14, abs=1)


def test_flow_sees_what_moves_inside_a_thin_outline() -> None:
    """A rod that rolls about its axis: nothing of its outline moves."""
    size = 192
    vertices, faces = tube(24, 12, length=1.4, radius=0.13)
    painted = 150 + 60 * np.sin(18 * vertices[:, 0]) + 30 * np.cos(40 * vertices[:, 1])
    middle = np.array([0.0, 0.0, 3.0])
    rolled = Rotation.from_rotvec([0.2, 0.0, 0.0]).apply(vertices - middle) + middle
    seen = visible_points(vertices, faces, size)
    rendering, view = (make_view(picture(v, faces, painted, size), size, 255.0) for v in (vertices, rolled))
    matches = flow_matches(seen, rendering.image, rendering.mask, view, NUMBERS)
    asked, true = (
        (there - to_pixels(surface_at(vertices, matches.corners, matches.barycentrics), size))[:, 1].mean()
        for there in (matches.targets, to_pixels(surface_at(rolled, matches.corners, matches.barycentrics), size))
    )
    assert abs(asked - true) < 0.5 * abs(true)


def test_outlines_that_agree_ask_for_nothing_and_others_for_the_shift() -> None:
    vertices, faces = plate(0, 0, 2.0, 0.6, 0.6)
    moved = vertices + np.array([0.05, 0, 0])
    view = make_view(picture(moved, faces, pattern(moved)), SIZE, 0.0)
    agreed = outline_constraints(match_outlines(visible_points(moved, faces, SIZE), moved, view, NUMBERS), view)
    pixel = 2.0 / 1.37 / SIZE
    assert np.abs(residuals(agreed, moved)).max() < 1.1 * pixel
    asked = outline_constraints(match_outlines(visible_points(vertices, faces, SIZE), vertices, view, NUMBERS), view)
    assert np.abs(residuals(asked, vertices)).max() > 0.7 * 0.05
    assert np.average(np.abs(residuals(asked, moved)), weights=asked.weights) < 1.1 * pixel


def test_a_limb_is_not_drawn_to_the_near_side_of_one_that_the_mesh_lacks() -> None:
    """The rims of the gap between them face each other: only looking which way they face tells them apart."""
    vertices, faces = plate(-0.15, 0, 2.0, 0.15, 0.6)
    both, two = together((vertices, faces), plate(0.1, 0, 2.0, 0.15, 0.6))
    view = make_view(picture(both, two, pattern(both)), SIZE, 0.0)
    seen = visible_points(vertices, faces, SIZE)
    pulls = []
    for facing in (False, True):
        matches = match_outlines(seen, vertices, view, replace(NUMBERS, outline_facing=facing))
        from_there = to_pixels(surface_at(vertices, matches.corners, matches.barycentrics), SIZE)
        way = (matches.targets - from_there)[:, 0]
        pulls.append(float((matches.weights * way * (way > 3)).sum()))
    assert pulls[0] > 20
    assert pulls[1] < 0.25 * pulls[0]


def test_an_empty_mask_matches_nothing() -> None:
    vertices, faces = plate(0, 0, 2.0, 0.6, 0.6)
    view = make_view(np.zeros((SIZE, SIZE, 4), np.uint8), SIZE, 0.0)
    assert len(match_outlines(visible_points(vertices, faces, SIZE), vertices, view, NUMBERS).weights) == 0


def hidden_limb(shift: float) -> tuple[Array, Array, Array, FrameView, Array]:
    """A dark limb behind a dark one; in the frame it has moved out by ``shift``. Also the rendering before."""
    near, far = plate(-0.2, 0, 2.0, 0.15, 0.6), plate(-0.2, 0, 2.3, 0.15, 0.6)
    vertices, faces = together(near, far)
    painted = np.full(len(vertices), 60.0)
    after = vertices.copy()
    after[len(near[0]) :, 0] += shift
    frame = make_view(picture(after, faces, painted), SIZE, 255.0)
    return vertices, faces, painted, frame, make_view(picture(vertices, faces, painted), SIZE, 255.0).image


def test_only_what_is_not_drawn_is_unexplained() -> None:
    vertices, faces, _, frame, rendering = hidden_limb(0.3)
    seen = visible_points(vertices, faces, SIZE)
    missing = residual_mask(rendering, np.isfinite(seen.depth), frame, NUMBERS)
    assert missing.any() and not (missing & np.isfinite(seen.depth)).any()
    _, _, _, same, rendering = hidden_limb(0.0)
    assert not residual_mask(rendering, np.isfinite(seen.depth), same, NUMBERS).any()


def test_a_hidden_limb_claims_what_appears_and_the_one_in_sight_does_not() -> None:
    vertices, faces, painted, frame, rendering = hidden_limb(0.12)
    seen = visible_points(vertices, faces, SIZE)
    half = len(vertices) // 2
    corners = np.repeat(np.arange(len(vertices))[:, None], 3, axis=1)
    nodes = (np.arange(len(vertices)) >= half).astype(np.int64)
    samples = SurfaceSamples(corners, np.tile([1.0, 0.0, 0.0], (len(vertices), 1)), painted, nodes)
    missing = residual_mask(rendering, np.isfinite(seen.depth), frame, NUMBERS)
    planes = unexplained_region_constraints(seen, vertices, samples, missing, frame, NUMBERS)
    assert len(planes.weights) > 10
    assert (planes.corners >= half).all()
    nothing = unexplained_region_constraints(seen, vertices, samples, np.zeros_like(missing), frame, NUMBERS)
    assert len(nothing.weights) == 0


def test_concatenated_constraints_weigh_what_is_asked() -> None:
    def planes(count: int, weight: float) -> PointToPlane:
        ones = np.ones((count, 3))
        return PointToPlane.through_camera(np.zeros((count, 3), np.int64), ones, ones, np.full(count, weight))

    both = concatenate(planes(10, 1.0), planes(3, 7.0), relative=0.5)
    assert both.weights[10:].sum() == pytest.approx(0.5 * both.weights[:10].sum())
    assert concatenate(planes(0, 1.0), planes(3, 7.0), relative=0.5).weights.sum() == 21
    assert concatenate(planes(1, 1.0), planes(1, 3.0), scale=2.0).weights.tolist() == [1.0, 6.0]
