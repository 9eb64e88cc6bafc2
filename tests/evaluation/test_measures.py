"""The measures have the values that their definitions give by hand."""

import numpy as np
import pytest
import torch

from tests.toys import ball, bobbing_ball
from v2m4.evaluation.measures import edge_stretch, flipped_share, jitter, psnr, ssim
from v2m4.masks import mask_iou

RNG = np.random.default_rng(0)


def test_iou():
    a, b = np.zeros((10, 10), bool), np.zeros((10, 10), bool)
    assert mask_iou(a, b) == 1
    a[:, :6], b[:, 3:9] = True, True
    assert mask_iou(a, b) == pytest.approx(3 / 9)
    assert mask_iou(a, a) == 1


def test_psnr():
    a = RNG.integers(0, 200, (16, 16, 3)).astype(np.uint8)
    assert psnr(a, a + 25) == pytest.approx(20 * np.log10(255 / 25))
    where = np.zeros((16, 16), bool)
    assert np.isnan(psnr(a, a, where))
    where[3:5] = True
    b = a.copy()
    b[~where] = 255
    assert psnr(a, b, where) == pytest.approx(78, abs=0.2)
    b[3] += 10
    assert psnr(a, b, where) == pytest.approx(10 * np.log10(255**2 / 50))


def test_ssim_is_one_for_equals_and_falls_with_noise():
    a = RNG.integers(0, 256, (40, 50, 3)).astype(np.uint8)
    mild = (a + RNG.normal(0, 10, a.shape)).clip(0, 255).astype(np.uint8)
    strong = (a + RNG.normal(0, 60, a.shape)).clip(0, 255).astype(np.uint8)
    assert ssim(a, a) == pytest.approx(1)
    assert 1 > ssim(a, mild) > ssim(a, strong) > 0
    assert ssim(a, strong) == pytest.approx(ssim(strong, a))


def test_ssim_of_flat_pictures_by_hand():
    """Without variance only the luminance term is left."""
    a, b = np.full((20, 20, 3), 100, np.uint8), np.full((20, 20, 3), 120, np.uint8)
    c1 = (0.01 * 255) ** 2
    assert ssim(a, b) == pytest.approx((2 * 100 * 120 + c1) / (100**2 + 120**2 + c1))


def test_no_face_flips_in_a_smooth_motion_and_a_pushed_in_vertex_flips_its_neighbours():
    animation = bobbing_ball()
    faces = animation.mesh.faces
    assert flipped_share(animation.vertices[0], animation.vertices, faces) == 0
    turned = animation.vertices.flip(-1) * torch.tensor([1.0, 1.0, -1.0])  # a rotation
    assert flipped_share(animation.vertices[0], turned, faces) == 0
    broken = animation.vertices.clone()
    broken[2, 40] = 2 * broken[2, 41] - broken[2, 40]  # over to the far side of its neighbour
    share = flipped_share(animation.vertices[0], broken, faces)
    assert 1 / len(faces) <= share <= 6 / len(faces)


def test_edge_stretch():
    mesh = ball()
    poses = torch.stack([mesh.vertices, mesh.vertices * 2, mesh.vertices * 3])
    low, high = edge_stretch(mesh.vertices, poses, mesh.faces)
    assert (low, high) == pytest.approx((1, 3))


def test_jitter_ignores_uniform_motion():
    points = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    steps = torch.arange(6.0)[:, None, None]
    uniform = points + steps * torch.tensor([1.0, 2.0, 0.5])
    assert jitter(uniform) == pytest.approx(0, abs=1e-6)
    shaken = uniform + (steps % 2) * 0.1
    diagonal = float((points.amax(0) - points.amin(0)).norm())
    assert jitter(shaken) == pytest.approx(0.2 * 3**0.5 / diagonal, rel=1e-4)
    assert jitter(uniform[:2]) == 0
