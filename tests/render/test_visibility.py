"""Which triangle owns a pixel: compiled kernel against PyTorch, and the laws both must keep."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.render.scenes import ellipsoid, orbit, soup
from v2m4.errors import V2M4Error
from v2m4.geometry.camera import Camera
from v2m4.render.visibility import choose_backend, visible_triangles_numba, visible_triangles_torch

BOTH = pytest.mark.parametrize("visible", [visible_triangles_numba, visible_triangles_torch])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(1, 33), st.integers(1, 33), st.booleans())
def test_numba_and_torch_agree_on_any_triangle_soup(seed, triangles, height, width, behind):
    clip, faces = soup(seed, triangles, behind)
    torch.testing.assert_close(
        visible_triangles_numba(clip, faces, height, width), visible_triangles_torch(clip, faces, height, width)
    )


def test_numba_and_torch_agree_on_a_closed_mesh_in_several_views():
    mesh, camera = ellipsoid(3), orbit(5)
    clip = camera.clip(mesh.vertices)
    ours = visible_triangles_numba(clip, mesh.faces, 61, 87)
    assert (ours >= 0).float().mean() > 0.05
    torch.testing.assert_close(ours, visible_triangles_torch(clip, mesh.faces, 61, 87))


@BOTH
def test_a_triangle_owns_exactly_the_pixel_centres_inside_it(visible):
    # Corners in pixels of an 8 x 8 image: (1,1), (6,1), (1,6).
    corners = torch.tensor([[1.0, 1], [6, 1], [1, 6]]) / 4 - 1
    clip = torch.cat([corners, torch.tensor([[0.5, 1.0]] * 3)], dim=1)[None]
    rows, columns = torch.meshgrid(torch.arange(8) + 0.5, torch.arange(8) + 0.5, indexing="ij")
    inside = (rows >= 1) & (columns >= 1) & (rows + columns <= 7)
    assert torch.equal(visible(clip, torch.tensor([[0, 1, 2]]), 8, 8)[0] >= 0, inside)


@BOTH
def test_the_nearer_of_two_triangles_wins_whatever_their_order(visible):
    big = torch.tensor([[-3.0, -3, 0, 1], [3, -3, 0, 1], [0, 3, 0, 1]])
    near, far = big.clone(), big.clone()
    near[:, 2], far[:, 2] = 0.2, 0.4
    faces = torch.tensor([[0, 1, 2], [3, 4, 5]])
    assert (visible(torch.cat([near, far])[None], faces, 5, 5)[0, 2] == 0).all()
    assert (visible(torch.cat([far, near])[None], faces, 5, 5)[0, 2] == 1).all()


@BOTH
def test_both_sides_of_a_triangle_are_drawn(visible):
    clip = torch.tensor([[[-3.0, -3, 0, 1], [3, -3, 0, 1], [0, 3, 0, 1]]])
    assert (visible(clip, torch.tensor([[0, 2, 1]]), 4, 4)[0, 1:3] == 0).any()
    assert (visible(clip, torch.tensor([[0, 1, 2]]), 4, 4)[0, 1:3] == 0).any()


@BOTH
def test_a_ground_plane_running_under_the_camera_is_cut_at_the_camera(visible):
    # A floor half a unit below (y down) the camera, reaching from behind it to far ahead.
    floor = torch.tensor([[-9.0, 0.5, -5], [9, 0.5, -5], [9, 0.5, 50], [-9, 0.5, 50]])
    clip = Camera.identity().clip(floor)[None]
    owner = visible(clip, torch.tensor([[0, 1, 2], [0, 2, 3]]), 32, 32)[0]
    assert (owner[:16] == -1).all()
    assert (owner[18:, 10:22] >= 0).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_two_triangles_sharing_an_edge_leave_no_gap(seed):
    rng = torch.Generator().manual_seed(seed)
    middle = torch.rand(1, 2, generator=rng) * 1.6 - 0.8
    corners = torch.tensor([[-1.5, -1.5], [1.5, -1.5], [1.5, 1.5], [-1.5, 1.5]])
    xy = torch.cat([corners, middle])
    w = torch.rand(5, 1, generator=rng) + 0.5
    clip = torch.cat([xy * w, 0.3 * w, w], dim=1)[None]
    fan = torch.tensor([[0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4]])
    assert (visible_triangles_numba(clip, fan, 40, 40) >= 0).all()


@BOTH
def test_degenerate_and_distant_triangles_are_ignored(visible):
    line = torch.tensor([[-1.0, 0, 0, 1], [0, 0, 0, 1], [1, 0, 0, 1]])
    beyond = torch.tensor([[-3.0, -3, 1.5, 1], [3, -3, 1.5, 1], [0, 3, 1.5, 1]])
    broken = torch.full((3, 4), torch.nan)
    clip = torch.cat([line, beyond, broken])[None]
    assert (visible(clip, torch.arange(9).view(3, 3), 7, 7) == -1).all()


@BOTH
def test_no_faces_give_an_empty_picture(visible):
    assert (visible(torch.zeros(2, 3, 4), torch.zeros(0, 3, dtype=torch.long), 4, 6) == -1).all()


def test_a_backend_on_the_wrong_device_is_refused_with_advice():
    with pytest.raises(V2M4Error, match="choose auto"):
        choose_backend("nvdiffrast", torch.device("cpu"))
    assert choose_backend("auto", torch.device("cpu")) == "numba"
