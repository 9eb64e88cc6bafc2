"""The Frechet distance against the closed form of Gaussians and SciPy's matrix root; clips as the protocol has them."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import sqrtm

from v2m4.evaluation.frechet import clip_tensor, frechet_distance, prepare_clip, windows

RNG = np.random.default_rng(0)


def whitened(count: int, width: int) -> np.ndarray:
    """Features (N,D) whose mean is exactly 0 and whose covariance exactly 1."""
    x = RNG.normal(size=(count, width))
    x -= x.mean(axis=0)
    return x @ np.linalg.inv(np.linalg.cholesky(np.cov(x.T))).T


@given(st.floats(0.1, 3), st.floats(0.1, 3), st.floats(-5, 5))
def test_known_gaussians_have_the_distance_of_the_formula(s, t, shift):
    """N(0, s^2) and N(m, t^2) in D dimensions: D (s - t)^2 + |m|^2."""
    a, b = s * whitened(40, 6), t * whitened(30, 6) + shift
    assert frechet_distance(a, b) == pytest.approx(6 * (s - t) ** 2 + 6 * shift**2, rel=1e-9, abs=1e-9)


def test_it_is_the_matrix_root_of_scipy():
    a, b = RNG.normal(size=(50, 8)) @ RNG.normal(size=(8, 8)), RNG.normal(size=(60, 8)) + 0.3
    ca, cb = np.cov(a.T), np.cov(b.T)
    root = np.real(np.trace(ca + cb - 2 * sqrtm(ca @ cb)))
    assert frechet_distance(a, b) == pytest.approx(((a.mean(0) - b.mean(0)) ** 2).sum() + root, rel=1e-9)


def test_equal_sets_are_at_no_distance_and_a_single_clip_counts_by_its_mean():
    few = RNG.normal(size=(4, 400))  # fewer clips than features: both covariances are singular
    assert frechet_distance(few, few) == pytest.approx(0, abs=1e-8)
    assert frechet_distance(few[:1], few[:1] + 1) == pytest.approx(400)


@given(st.lists(st.integers(0, 200), max_size=5))
def test_windows_are_whole_and_do_not_overlap(lengths):
    found = list(windows(lengths))
    assert len(found) == sum(n // 32 for n in lengths)
    assert all(start % 32 == 0 and start + 32 <= lengths[video] for video, start in found)


def test_a_clip_is_cut_to_its_middle_square():
    pictures = [np.full((40, 80, 3), level, np.uint8) for level in (0, 255)]
    clip = clip_tensor(pictures)
    assert clip.shape == (3, 2, 512, 512)
    prepared = prepare_clip(clip)
    assert prepared.shape == (3, 2, 224, 224)
    for frame, level in ((0, -1.0), (1, 1.0)):
        assert torch.allclose(prepared[:, frame], torch.tensor(level), atol=1e-6)
    stripes = torch.zeros(3, 1, 30, 60)
    stripes[..., 15:45] = 1
    assert prepare_clip(stripes, 30).min() == pytest.approx(1)
