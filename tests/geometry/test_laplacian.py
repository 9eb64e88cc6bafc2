"""Laplacians, the large-steps solve and its optimiser."""

import torch

from tests.render.scenes import ellipsoid
from v2m4.geometry.laplacian import (
    AdamUniform,
    Inverse,
    LargeSteps,
    cholesky,
    compute_matrix,
    dense_matrix,
    solve,
    uniform_laplacian,
)


def test_the_uniform_laplacian_counts_neighbours():
    square = torch.tensor([[0, 1, 2], [0, 2, 3]])
    dense = uniform_laplacian(5, square).to_dense()
    assert dense.diagonal().tolist() == [3, 2, 3, 2, 0]
    assert dense[0, 2] == -1 and dense[1, 3] == 0
    assert (dense.sum(1) == 0).all() and torch.equal(dense, dense.T)


def test_to_and_from_differential_are_inverse_and_the_gradient_is_the_solve():
    mesh = ellipsoid(2)
    space = LargeSteps(len(mesh.vertices), mesh.faces, 99.0)
    u = space.to_differential(mesh.vertices).requires_grad_()
    v = space.from_differential(u)
    torch.testing.assert_close(v.detach(), mesh.vertices, atol=2e-5, rtol=0)
    weight = torch.rand(v.shape, generator=torch.Generator().manual_seed(0))
    (v * weight).sum().backward()
    torch.testing.assert_close(space.to_differential(u.grad), weight, atol=1e-3, rtol=0)


def test_adam_uniform_moves_every_entry_by_one_common_step_length():
    x = torch.tensor([[1.0, 0.0], [0.1, 0.0]], requires_grad=True)
    optimiser = AdamUniform([x], lr=0.5)
    x.grad = torch.tensor([[2.0, 0.0], [0.2, -1.0]])
    before = x.detach().clone()
    optimiser.step()
    torch.testing.assert_close(before - x.detach(), 0.5 * torch.tensor([[1.0, 0], [0.1, -0.5]]))


def descend(step: float, iterations: int) -> tuple[float, float, float]:
    """Pulls an ellipsoid onto another: the loss left of the first, how far u had to go and how far it went."""
    mesh = ellipsoid(2)
    target = mesh.vertices * torch.tensor([1.3, 0.8, 1.1]) + 0.1
    space = LargeSteps(len(mesh.vertices), mesh.faces, 99.0)
    start = space.to_differential(mesh.vertices)
    u = start.clone().requires_grad_()
    optimiser = AdamUniform([u], lr=step)
    losses = []
    for _ in range(iterations):
        loss = (space.from_differential(u) - target).square().sum(1).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    way, gone = (float((x - start).abs().max()) for x in (space.to_differential(target), u.detach()))
    return losses[-1] / losses[0], way, gone


def test_large_steps_pull_a_mesh_onto_a_smooth_target_in_few_iterations():
    left, way, _ = descend(step=0.1, iterations=150)  # the paper's step
    assert way < 0.1 * 150
    assert left < 0.05


def test_a_step_bounds_how_far_the_differential_goes():
    left, way, gone = descend(step=0.02, iterations=150)
    assert gone <= 0.02 * 150 < way
    assert left > 0.05


def test_the_inverse_solves_as_the_factorisation_does():
    mesh = ellipsoid(3)
    matrix = compute_matrix(len(mesh.vertices), mesh.faces, 99.0)
    dense = dense_matrix(len(mesh.vertices), mesh.faces, 99.0)
    assert torch.equal(matrix.to_dense(), dense)
    right = torch.randn(len(mesh.vertices), 3, generator=torch.Generator().manual_seed(0))
    expected, found = solve(cholesky(matrix), right), solve(Inverse(dense), right)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(matrix @ found, right, rtol=1e-4, atol=1e-4)
