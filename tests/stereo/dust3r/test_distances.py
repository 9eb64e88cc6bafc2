"""The fused sum of distances equals the plain one, and the plain one its definition."""

import pytest
import torch
from torch import Tensor

from v2m4.device import triton_works
from v2m4.stereo.dust3r.distances import ROUNDING, WeightedDistance, fused_terms, plain_terms

Problem = tuple[Tensor, Tensor, Tensor, Tensor]


def random_problem(images: int, slots: int, blocks: int, pixels: int, seed: int = 0) -> Problem:
    generator = torch.Generator().manual_seed(seed)
    world = torch.randn(images, blocks, 3, pixels, generator=generator)
    transforms = torch.randn(images, slots, 3, 4, generator=generator)
    points = torch.randn(images, slots, blocks, 3, pixels, generator=generator)
    weights = torch.rand(images, slots, blocks, pixels, generator=generator)
    weights[:, -1] = 0
    return world, transforms, points, weights


def test_the_plain_sum_has_the_gradient_of_its_definition() -> None:
    world, transforms, points, weights = (t.double() for t in random_problem(2, 3, 2, 5))
    world.requires_grad_()
    transforms.requires_grad_()
    carried = transforms[:, :, None, :, :3] @ points + transforms[:, :, None, :, 3:]
    want = (weights * (world[:, None] - carried).norm(dim=3)).sum()
    gradients = torch.autograd.grad(want, (world, transforms))
    loss = WeightedDistance.apply(world, transforms, points, weights)
    assert loss.item() == pytest.approx(want.item())
    for ours, theirs in zip(torch.autograd.grad(loss, (world, transforms)), gradients, strict=True):
        assert torch.allclose(ours, theirs)


def test_distances_that_are_rounding_do_not_pull() -> None:
    points = torch.randn(1, 1, 1, 3, 4, generator=torch.Generator().manual_seed(0))
    transforms = torch.eye(3, 4)[None, None]
    world = points[0] + torch.tensor([0.0, 1e-9, 1e-3 * ROUNDING, 1.0])
    pull = plain_terms(world, transforms, points, torch.ones(1, 1, 1, 4)).world.norm(dim=2).flatten()
    assert pull[0] == 0
    assert pull[2] < 0.1
    assert pull[3].item() == pytest.approx(1.0, rel=1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("shape", [(2, 3, 2, 5), (3, 4, 1, 1500), (8, 14, 16, 4096)])
def test_the_fused_sum_equals_the_plain_one(shape: tuple[int, int, int, int]) -> None:
    if not triton_works(torch.device("cuda")):
        pytest.skip("Triton cannot compile here")
    problem = random_problem(*shape)
    fused = fused_terms(*(t.cuda() for t in problem))
    plain = plain_terms(*(t.double() for t in problem))
    for ours, theirs in zip(fused, plain, strict=True):
        assert torch.allclose(ours.cpu().double(), theirs, rtol=1e-4, atol=1e-5 * theirs.abs().max().item())
    again = fused_terms(*(t.cuda() for t in problem))
    assert all(torch.equal(a, b) for a, b in zip(fused, again, strict=True))
