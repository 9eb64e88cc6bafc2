"""The Chamfer distance of surfaces: known values, its gradient, and neighbours that must face alike."""

import pytest
import torch

from tests.render.scenes import ellipsoid
from v2m4.geometry.chamfer import SurfaceChamfer, chamfer
from v2m4.geometry.mesh import Mesh


def rng():
    return torch.Generator().manual_seed(0)


def between(vertices, target, samples=0, normal_match=0.0):
    distance = SurfaceChamfer(vertices, target.faces, target, samples=samples, normal_match=normal_match, rng=rng())
    return distance(vertices)


def test_it_is_the_sum_of_both_mean_squares():
    there, back = torch.tensor([[3.0, 4, 0], [0, 0, 0]]), torch.tensor([[0.0, 0, 2]])
    assert chamfer(there, back) == pytest.approx(12.5 + 4)


def test_vertices_a_little_shifted_and_the_gradient():
    points = torch.cartesian_prod(*[torch.arange(3.0)] * 3)
    moved = (points + torch.tensor([0.1, 0, 0])).requires_grad_()
    loss = between(moved, Mesh(points, torch.zeros(0, 3, dtype=torch.int64)))
    torch.testing.assert_close(loss, torch.tensor(0.02))
    loss.backward()
    torch.testing.assert_close(moved.grad, torch.tensor([0.4 / 27, 0, 0]).expand(27, 3))


def test_samples_of_the_same_surface_lie_closer_the_more_there_are():
    mesh = ellipsoid(3)
    few, many = (between(mesh.vertices, mesh, samples=n) for n in (100, 3000))
    assert 0 < float(many) < float(few) / 10


def test_the_two_sides_of_a_thin_wall_are_told_apart_by_their_normals():
    """Two sheets back to back, then one drawn through the other: points alone see a small distance."""
    sheet = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]])
    gap = torch.tensor([0, 0, 0.02])
    front, behind = torch.tensor([[0, 1, 2], [1, 3, 2]]), torch.tensor([[4, 6, 5], [5, 6, 7]])
    faces = torch.cat([front, behind])
    wall, through = Mesh(torch.cat([sheet, sheet - gap]), faces), torch.cat([sheet - 3 * gap, sheet + 2 * gap])
    blind, facing = (between(through, wall, samples=2000, normal_match=m) for m in (0.0, 1.0))
    assert float(blind) < float(facing) / 1.5
