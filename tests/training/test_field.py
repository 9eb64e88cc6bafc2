"""The sculptures' formula: distances that can be written down, the union, what cuts, the kernel against its twin."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from training.field import FAR_AWAY, field_torch
from training.kinds import HELD_OUT, TRAINED, sculpt
from training.rays import march_torch, normals
from training.sculpture import MAX_PAINTS, MAX_PARTS, Sculpture, vector

ORIGIN, X, Z = vector(0, 0, 0), vector(1, 0, 0), vector(0, 0, 1)


def distances(s: Sculpture, points: Tensor) -> Tensor:
    parts, _, count = s.tables()
    return field_torch(points[None].float(), torch.from_numpy(parts)[None], torch.tensor([count]))[0][0]


def somewhere(n: int = 400) -> Tensor:
    return torch.randn(n, 3, generator=torch.Generator().manual_seed(0))


def test_a_capsule_is_as_far_as_its_axis_less_its_radius() -> None:
    s, p = Sculpture(), somewhere()
    s.cone(ORIGIN, X, 0.2, 0.2, s.paint((1, 1, 1)))
    nearest = torch.stack([p[:, 0].clamp(0, 1), torch.zeros(len(p)), torch.zeros(len(p))], dim=1)
    torch.testing.assert_close(distances(s, p), (p - nearest).norm(dim=1) - 0.2, atol=1e-5, rtol=1e-5)


def test_boxes_rings_and_drums_vanish_where_their_surfaces_are() -> None:
    s = Sculpture()
    s.box(ORIGIN, [0.3, 0.2, 0.1], np.eye(3), 0.0, 0)
    on = torch.tensor([[0.3, 0, 0], [0, -0.2, 0], [0.1, 0.1, 0.1], [0.3, 0.2, 0.1]])
    torch.testing.assert_close(distances(s, on), torch.zeros(4), atol=1e-5, rtol=0)
    s = Sculpture()
    s.ring(ORIGIN, Z, 0.5, 0.1, 0)
    on = torch.tensor([[0.6, 0, 0], [0, 0.4, 0], [0.5, 0, 0.1]])
    torch.testing.assert_close(distances(s, on), torch.zeros(3), atol=1e-5, rtol=0)
    s = Sculpture()
    s.drum(ORIGIN, Z, 0.4, 0.2, 0.0, 0)
    on = torch.tensor([[0.4, 0, 0], [0, 0.3, 0.5], [0.1, 0, 1.0], [0, 0, 0]])
    torch.testing.assert_close(distances(s, on), torch.zeros(4), atol=1e-5, rtol=0)


def test_what_cuts_takes_away_and_a_smooth_union_only_adds() -> None:
    s = Sculpture()
    s.drum(ORIGIN, Z, 0.5, 0.5, 0.0, 0)
    s.drum(0.1 * Z, 1.5 * Z, 0.4, 0.4, 0.0, 0, cuts=True)
    inside = distances(s, torch.tensor([[0, 0, 0.05], [0.45, 0, 0.5], [0, 0, 0.5]])) < 0
    assert inside.tolist() == [True, True, False]
    apart, joined, p = Sculpture(), Sculpture(), somewhere()
    for target, blend in ((apart, 0.0), (joined, 0.2)):
        target.cone(ORIGIN, X, 0.2, 0.2, 0)
        target.cone(ORIGIN, Z, 0.2, 0.1, 0, blend)
    assert (distances(joined, p) <= distances(apart, p) + 1e-6).all()


@pytest.mark.parametrize("kind", [*TRAINED, *HELD_OUT])
def test_every_kind_gives_finite_sculptures_that_hold_something(kind: str) -> None:
    rng = np.random.default_rng(1)
    for _ in range(10):
        s, named = sculpt(rng, {**TRAINED, **HELD_OUT}, kind)
        parts, paints, count = s.tables()
        assert named == kind and 0 < count <= MAX_PARTS and len(s.paints) <= MAX_PAINTS
        assert np.isfinite(parts).all() and np.isfinite(paints).all()
        at = torch.from_numpy(parts[:count, 3:6]).double().numpy()
        near = torch.from_numpy(at.mean(0) + rng.normal(0, 0.3, (4000, 3))).float()
        d = distances(s, torch.cat([near, torch.from_numpy(at).float()]))
        assert d.isfinite().all() and d.min() < 0 < d.max() < FAR_AWAY


def test_rays_meet_a_ball_where_they_should_from_outside_and_inside() -> None:
    s = Sculpture()
    s.cone(ORIGIN, 1e-3 * X, 0.5, 0.5, 0)
    parts, _, count = s.tables()
    table, number = torch.from_numpy(parts)[None], torch.tensor([count])
    origins = torch.tensor([[[-2.0, 0, 0], [-2.0, 0.3, 0], [-2.0, 0.7, 0]]])
    directions = torch.tensor([1.0, 0, 0]).expand(1, 3, 3)
    t = march_torch(origins, directions, torch.zeros(1, 3), torch.full((1, 3), 4.0), table, number)
    torch.testing.assert_close(t, torch.tensor([[1.5, 1.6, -1.0]]), atol=3e-3, rtol=0)
    middle = torch.tensor([[[0.0, 0.3, 0]]])
    out = march_torch(middle, directions[:, :1], torch.zeros(1, 1), torch.full((1, 1), 4.0), table, number, sign=-1.0)
    torch.testing.assert_close(out, torch.tensor([[0.4]]), atol=3e-3, rtol=0)
    point = torch.tensor([[[0.0, 0.3, 0.4]]])
    torch.testing.assert_close(normals(point, table, number), point / 0.5, atol=5e-3, rtol=0)


@pytest.mark.gpu
def test_the_kernels_agree_with_plain_pytorch() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    from training.field_triton import field_triton, march_triton
    from training.rays import CLOSE, STEPS
    from training.tables import tables

    parts, _, counts = (t.cuda() for t in tables({**TRAINED, **HELD_OUT}, 16, np.random.default_rng(0)))
    points = 0.5 * torch.randn(16, 2000, 3, device="cuda")
    torch.testing.assert_close(field_triton(points, parts, counts)[0], field_torch(points, parts, counts)[0])
    directions = torch.nn.functional.normalize(torch.randn(16, 300, 3, device="cuda"), dim=-1)
    origins = -2 * directions + 0.1 * torch.randn(16, 300, 3, device="cuda")
    starts, limits = torch.zeros(16, 300, device="cuda"), torch.full((16, 300), 4.0, device="cuda")
    found = march_triton(origins, directions, starts, limits, parts, counts, 1.0, CLOSE, STEPS)
    wanted = march_torch(origins, directions, starts, limits, parts, counts)
    # A ray that grazes the surface may be caught a step earlier or not at all.
    assert float(((found - wanted).abs() > 2 * CLOSE).float().mean()) < 0.01


def test_moved_parts_have_the_same_shape_elsewhere() -> None:
    """The distance at a moved point is the scaled distance at the old one."""
    rng = np.random.default_rng(5)
    s, _ = sculpt(rng, TRAINED, "biped")
    c, d = math.cos(0.7), math.sin(0.7)
    turn, shift = np.array([[c, -d, 0], [d, c, 0], [0, 0, 1]]), np.array([0.3, -0.2, 0.1])
    points = rng.normal(0, 0.4, (1, 500, 3))
    fields = []
    for at in (points, 0.6 * points @ turn.T + shift):
        parts, _, count = s.tables()
        counts = torch.tensor([count], dtype=torch.int32)
        fields.append(field_torch(torch.from_numpy(at).float(), torch.from_numpy(parts)[None], counts)[0])
        s.move(0, 0.6, turn, shift)
    torch.testing.assert_close(0.6 * fields[0], fields[1], rtol=1e-3, atol=1e-4)
