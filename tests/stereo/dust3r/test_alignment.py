"""Global alignment: its loss, its gradient, and that it finds the scene."""

import pytest
import torch

from tests.stereo.dust3r.scenes import wavy_scene
from v2m4.errors import V2M4Error
from v2m4.geometry.similarity import umeyama
from v2m4.settings import Dust3rSettings
from v2m4.stereo.dust3r.alignment import (
    Observations,
    Unknowns,
    align,
    alignment_loss,
    cameras,
    descend,
    focals,
    pair_transforms,
    unknowns_from,
    world_points,
)
from v2m4.stereo.dust3r.pairs import PairPredictions
from v2m4.stereo.dust3r.spanning_tree import start_from_tree

SETTINGS = Dust3rSettings(iterations=40)


def started(images: int, seed: int, noise: float) -> tuple[PairPredictions, Unknowns]:
    pairs = wavy_scene(images, seed, noise).pairs
    return pairs, unknowns_from(start_from_tree(pairs, SETTINGS), pairs, SETTINGS)


def error_up_to_similarity(points: torch.Tensor, truth: torch.Tensor) -> float:
    flat, want = points.reshape(-1, 3), truth.reshape(-1, 3)
    fit = umeyama(flat, want, torch.ones(len(want)))
    return float((fit.apply(flat) - want).norm(dim=-1).mean())


def loss_pair_by_pair(unknowns: Unknowns, pairs: PairPredictions) -> torch.Tensor:
    """The definition, written as a loop."""
    transforms = pair_transforms(unknowns.pair_poses, SETTINGS.pair_scale)
    world = world_points(unknowns, pairs.size, SETTINGS).transpose(1, 2)
    loss = world.new_zeros(())
    for e, (i, j) in enumerate(pairs.edges.tolist()):
        for image, points, confidence in (
            (i, pairs.points1[e], pairs.confidence1[e]),
            (j, pairs.points2[e], pairs.confidence2[e]),
        ):
            carried = points.reshape(-1, 3).to(world) @ transforms[e, :, :3].T + transforms[e, :, 3]
            loss = loss + (confidence.flatten().log() * (world[image] - carried).norm(dim=-1)).sum()
    return loss / pairs.confidence1.numel()


@pytest.mark.parametrize("images", [2, 3, 4])
def test_loss_and_gradient_equal_the_definition(images: int) -> None:
    pairs, start = started(images, seed=images, noise=0.02)
    fast = Unknowns(*(t.double().requires_grad_() for t in start.tensors()))
    plain = Unknowns(*(t.double().requires_grad_() for t in start.tensors()))
    seen = Observations.of(pairs)
    seen = Observations(seen.points.double(), seen.weights.double(), seen.pair, seen.size)
    loss, want = alignment_loss(fast, seen, SETTINGS), loss_pair_by_pair(plain, pairs)
    assert loss.item() == pytest.approx(want.item(), rel=1e-6)
    loss.backward()
    want.backward()
    for ours, theirs in zip(fast.tensors(), plain.tensors(), strict=True):
        assert torch.allclose(ours.grad, theirs.grad, atol=2e-5 * float(theirs.grad.abs().max()))


def test_images_in_fewer_pairs_than_others_are_padded_without_effect() -> None:
    pairs, start = started(3, seed=5, noise=0.02)
    fewer = PairPredictions(
        pairs.edges[:4], pairs.points1[:4], pairs.confidence1[:4], pairs.points2[:4], pairs.confidence2[:4]
    )
    unknowns = Unknowns(start.pair_poses[:4], *start.tensors()[1:])
    assert Observations.of(fewer).points.shape[1] == 3
    loss = alignment_loss(unknowns, Observations.of(fewer), SETTINGS)
    assert float(loss) == pytest.approx(float(loss_pair_by_pair(unknowns, fewer)), rel=1e-5)


@pytest.mark.parametrize("images", [2, 4])
def test_perfect_pairs_give_the_scene_at_the_start_already(images: int) -> None:
    scene = wavy_scene(images, seed=1)
    unknowns = unknowns_from(start_from_tree(scene.pairs, SETTINGS), scene.pairs, SETTINGS)
    points = world_points(unknowns, scene.pairs.size, SETTINGS).transpose(1, 2)
    assert error_up_to_similarity(points, scene.points) < 1e-3
    assert torch.allclose(focals(unknowns, SETTINGS), torch.tensor(scene.focal), rtol=1e-3)
    relative = torch.linalg.inv(scene.cameras[0]) @ scene.cameras[1]
    ours = cameras(unknowns)
    found = ours[0, :, :3].T @ ours[1, :, :3]
    assert torch.allclose(found, relative[:3, :3], atol=2e-3)


def test_descent_lowers_the_loss_and_comes_closer_to_the_truth() -> None:
    scene = wavy_scene(4, seed=2, noise=0.03)
    seen = Observations.of(scene.pairs)
    unknowns = unknowns_from(start_from_tree(scene.pairs, SETTINGS), scene.pairs, SETTINGS)
    before = error_up_to_similarity(world_points(unknowns, seen.size, SETTINGS).transpose(1, 2), scene.points)
    losses = [float(loss) for loss in descend(unknowns, seen, SETTINGS)]
    with torch.no_grad():
        after = error_up_to_similarity(world_points(unknowns, seen.size, SETTINGS).transpose(1, 2), scene.points)
    assert len(losses) == SETTINGS.iterations
    assert losses[-1] < losses[0]
    assert after < before
    # The noise of single predictions is 0.03 per axis; six pairs per image average it out.
    assert after < 0.03


def test_align_returns_one_point_per_pixel_and_is_deterministic() -> None:
    scene = wavy_scene(3, seed=3, noise=0.01)
    first, second = align(scene.pairs, SETTINGS), align(scene.pairs, SETTINGS)
    assert first.shape == scene.points.shape
    assert torch.equal(first, second)


def test_pairs_that_do_not_connect_the_images_are_refused() -> None:
    pairs = wavy_scene(4, seed=0).pairs
    apart = torch.tensor([[sorted(e) in ([0, 1], [2, 3]) for e in pairs.edges.tolist()]]).flatten()
    cut = PairPredictions(*(t[apart] for t in vars(pairs).values()))
    with pytest.raises(V2M4Error, match="do not connect all 4 images"):
        align(cut, SETTINGS)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_recorded_descent_on_a_gpu_ends_where_the_cpu_does() -> None:
    scene = wavy_scene(4, seed=2, noise=0.03)
    on_gpu = PairPredictions(scene.pairs.edges, *(t.cuda() for t in list(vars(scene.pairs).values())[1:]))
    settings = Dust3rSettings(iterations=300)
    cpu, gpu = align(scene.pairs, settings), align(on_gpu, settings)
    assert error_up_to_similarity(gpu.cpu(), cpu) < 0.01
