"""Laplacians, the large-steps solve and its optimiser."""

import torch

from tests.render.scenes import ellipsoid
from v2m4.geometry.laplacian import AdamUniform, LargeSteps, uniform_laplacian


def test_the_uniform_laplacian_counts_neighbours():
    square = torch.tensor([[0, 1, 2], [0, 2, 3]])
    dense = uniform_laplacian(5, square).to_dense()
    assert dense.diagonal().tolist() == [3, 2, 3, 2, 0]
    assert dense[0, 2] == -1 and dense[1, 3] == 0
    assert (dense.sum(1) == 0).all() and torch.equal(dense, dense.T)


def test_encoding_and_decoding_are_inverse_and_the_gradient_is_the_solve():
    mesh = ellipsoid(2)
    space = LargeSteps(len(mesh.vertices), mesh.faces, 99.0)
    u = space.encode(mesh.vertices).requires_grad_()
    v = space.decode(u)
    torch.testing.assert_close(v.detach(), mesh.vertices, atol=2e-5, rtol=0)
    weight = torch.rand(v.shape, generator=torch.Generator().manual_seed(0))
    (v * weight).sum().backward()
    torch.testing.assert_close(space.encode(u.grad), weight, atol=1e-3, rtol=0)


def test_adam_uniform_moves_every_entry_by_one_common_step_length():
    x = torch.tensor([[1.0, 0.0], [0.1, 0.0]], requires_grad=True)
    optimiser = AdamUniform([x], lr=0.5)
    x.grad = torch.tensor([[2.0, 0.0], [0.2, -1.0]])
    before = x.detach().clone()
    optimiser.step()
    torch.testing.assert_close(before - x.detach(), 0.5 * torch.tensor([[1.0, 0], [0.1, -0.5]]))


def test_large_steps_pull_a_mesh_onto_a_smooth_target_in_few_iterations():
    mesh = ellipsoid(2)
    target = mesh.vertices * torch.tensor([1.3, 0.8, 1.1]) + 0.1
    space = LargeSteps(len(mesh.vertices), mesh.faces, 99.0)
    u = space.encode(mesh.vertices).requires_grad_()
    optimiser = AdamUniform([u], lr=0.02)
    losses = []
    for _ in range(150):
        loss = (space.decode(u) - target).square().sum(1).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]
