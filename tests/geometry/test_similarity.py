"""Similarities from matched points, some of them wrong."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from v2m4.errors import V2M4Error
from v2m4.geometry.rotations import rotation_from_quaternion
from v2m4.geometry.similarity import umeyama, umeyama_ransac

seeds = st.integers(0, 10**6)


def random_rotation(seed: int) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    return rotation_from_quaternion(torch.randn(4, generator=rng, dtype=torch.float64))


@settings(max_examples=20, deadline=None)
@given(seeds, st.floats(0.1, 10))
def test_umeyama_recovers_a_similarity(seed, scale):
    rng = torch.Generator().manual_seed(seed)
    source = torch.randn(10, 3, generator=rng, dtype=torch.float64)
    rotation, shift = random_rotation(seed), torch.randn(3, generator=rng, dtype=torch.float64)
    fit = umeyama(source, scale * source @ rotation.T + shift, torch.rand(10, generator=rng, dtype=torch.float64) + 0.1)
    torch.testing.assert_close(fit.rotation, rotation)
    torch.testing.assert_close(fit.translation, shift)
    assert fit.scale == pytest.approx(scale)
    homogeneous = torch.cat([source, torch.ones_like(source[:, :1])], dim=1)
    torch.testing.assert_close((homogeneous @ fit.matrix().T)[:, :3], fit.apply(source))


def test_a_reflection_is_not_taken_for_a_rotation():
    source = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    assert torch.linalg.det(umeyama(source, source * torch.tensor([1.0, 1.0, -1.0])).rotation) > 0


def test_points_of_no_weight_do_not_count():
    source = torch.randn(12, 3, generator=torch.Generator().manual_seed(0))
    target = source + 1
    target[8:] += 100
    fit = umeyama(source, target, torch.tensor([1.0] * 8 + [0.0] * 4))
    torch.testing.assert_close(fit.apply(source[:8]), target[:8], atol=1e-5, rtol=0)


def test_ransac_survives_half_the_matches_being_wrong():
    rng = torch.Generator().manual_seed(1)
    source = torch.randn(200, 3, generator=rng)
    target = 2 * source @ random_rotation(5).float().T + 0.5
    target[:100] = torch.randn(100, 3, generator=rng) * 3
    fit, right = umeyama_ransac(source, target, rng, threshold=0.02, trials=256, sample=4)
    assert right[100:].all() and right[:100].sum() <= 2
    assert fit.scale == pytest.approx(2, rel=1e-3)


@pytest.mark.parametrize(
    "points",
    [torch.zeros(2, 3), torch.arange(12.0).view(4, 3) * torch.tensor([1.0, 0, 0]), torch.full((5, 3), torch.nan)],
)
def test_points_that_fix_no_rotation_are_refused(points):
    with pytest.raises(V2M4Error):
        umeyama(points, points)
