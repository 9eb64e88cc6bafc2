"""The losses that keep a mesh's shape: what they are blind to, what they punish, and their gradients."""

import math

import pytest
import torch

from tests.render.scenes import ellipsoid
from v2m4.geometry.arap import arap_energy
from v2m4.geometry.losses import (
    RestShape,
    area_change,
    edge_change,
)
from v2m4.geometry.rotations import rotation_from_axis_angle

TURN = rotation_from_axis_angle(torch.tensor([0.3, -1.0, 0.8], dtype=torch.float64))


@pytest.fixture(scope="module")
def scene():
    mesh = ellipsoid(2)
    vertices = mesh.vertices.double()
    return vertices, mesh.faces, RestShape.of(vertices, mesh.faces)


@pytest.mark.parametrize("loss", [arap_energy, area_change, edge_change])
def test_rigid_motion_costs_nothing(scene, loss):
    vertices, _, rest = scene
    assert loss(vertices @ TURN.T + 3, rest) < 1e-12


@pytest.mark.parametrize("loss", [arap_energy, area_change, edge_change])
def test_stretching_costs_and_a_mirror_image_only_counts_as_not_rigid(scene, loss):
    vertices, _, rest = scene
    assert loss(vertices * torch.tensor([1.3, 1, 1], dtype=torch.float64), rest) > 1e-6
    mirrored = loss(vertices * torch.tensor([-1.0, 1, 1], dtype=torch.float64), rest)
    assert (mirrored > 1e-3) if loss is arap_energy else (mirrored < 1e-12)


def test_rigidity_of_a_stretch_known_in_closed_form():
    """One triangle stretched along one of its edges' directions: the residual of the best rotation is known."""
    vertices = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]], dtype=torch.float64)
    rest = RestShape.of(vertices, torch.tensor([[0, 1, 2]]))
    wider = vertices * torch.tensor([2.0, 1, 1], dtype=torch.float64)
    found = arap_energy(wider, rest)
    by_hand = 0.0
    for i in range(3):
        others = [j for j in range(3) if j != i]
        e = torch.stack([vertices[j] - vertices[i] for j in others])[:, :2]
        d = torch.stack([wider[j] - wider[i] for j in others])[:, :2]
        w = 1 / (e.norm(dim=1) + 1e-8)
        # In the plane the best angle has a closed form: atan2 of the summed cross and dot products.
        angle = math.atan2(
            float((w * (e[:, 0] * d[:, 1] - e[:, 1] * d[:, 0])).sum()), float((w * (e * d).sum(1)).sum())
        )
        turn = torch.tensor(
            [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]], dtype=torch.float64
        )
        by_hand += float((w * (d - e @ turn.T).square().sum(1)).sum())
    assert float(found) == pytest.approx(by_hand / 6, rel=1e-6)


@pytest.mark.parametrize("loss", [arap_energy, area_change, edge_change])
def test_gradients_match_finite_differences(scene, loss):
    vertices, _, rest = scene
    rng = torch.Generator().manual_seed(0)
    moved = vertices + 0.05 * torch.randn(vertices.shape, generator=rng, dtype=torch.float64)
    direction = torch.randn(vertices.shape, generator=rng, dtype=torch.float64)
    leaf = moved.clone().requires_grad_()
    loss(leaf, rest).backward()
    measured = (loss(moved + 1e-6 * direction, rest) - loss(moved - 1e-6 * direction, rest)) / 2e-6
    torch.testing.assert_close((leaf.grad * direction).sum(), measured, rtol=1e-5, atol=1e-12)


def test_gradients_stay_finite_on_symmetric_and_flat_neighbourhoods():
    vertices = torch.cartesian_prod(torch.arange(4.0), torch.arange(4.0), torch.zeros(1))
    faces = torch.tensor([[4 * i + j, 4 * i + j + 4, 4 * i + j + 1] for i in range(3) for j in range(3)])
    leaf = vertices.clone().requires_grad_()
    arap_energy(leaf, RestShape.of(vertices, faces)).backward()
    assert leaf.grad.isfinite().all()
