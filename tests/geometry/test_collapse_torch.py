"""Edge collapses, many at a time: they keep what the surface is, and lie as near to it as those one at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree
from torch import Tensor

from v2m4.geometry import cleanup
from v2m4.geometry.collapse_torch import collapse_torch
from v2m4.geometry.marching_cubes import marching_cubes
from v2m4.settings import ManyCollapsesSettings

MANY = ManyCollapsesSettings()


def solid(side: int, plate: float = 0.03) -> tuple[Tensor, Tensor]:
    """A bumpy ellipsoid with a thin plate on it and a ring through it, in [-1,1]."""
    axis = torch.linspace(-1, 1, side, dtype=torch.float64)
    x, y, z = torch.meshgrid(axis, axis, axis, indexing="ij")
    body = 0.3 * ((x / 0.5) ** 2 + (y / 0.3) ** 2 + (z / 0.25) ** 2).sqrt() - 0.3
    body = body + 0.01 * torch.sin(20 * x) * torch.sin(17 * y) * torch.sin(23 * z)
    thin = torch.maximum(torch.maximum(y.abs() - plate, (x - 0.1).abs() - 0.3), (z - 0.35).abs() - 0.2)
    ring = (((x - 0.6) ** 2 + z**2).sqrt() - 0.25).square() + y**2
    values = torch.minimum(torch.minimum(body, thin), ring.sqrt() - 0.06)
    vertices, faces = marching_cubes(values)
    return 2 * vertices.double() / side - 1, faces.long()[:, [0, 2, 1]]


def euler(faces: Tensor) -> int:
    edges = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).sort(1).values
    return len(faces.unique()) - len(edges.unique(dim=0)) + len(faces)


def off(surface: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> float:
    """Root mean square distance of points on ``other`` from the planes of ``surface`` nearest to them."""

    def sampled(vertices: Tensor, faces: Tensor, count: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(0)
        corners = vertices.numpy()[faces.numpy()]
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        area = np.linalg.norm(normals, axis=1)
        chosen = rng.choice(len(faces), count, p=area / area.sum())
        weights = rng.dirichlet((1, 1, 1), count)
        return (weights[..., None] * corners[chosen]).sum(1), normals[chosen] / area[chosen, None]

    points, normals = sampled(*surface, 100_000)
    asked, _ = sampled(*other, 4000)
    _, near = cKDTree(points).query(asked)
    return float(np.sqrt(np.square(((asked - points[near]) * normals[near]).sum(1)).mean()))


def test_a_first_part_of_the_collapses_many_at_a_time_ends_as_near_to_a_closed_whole_surface() -> None:
    vertices, faces = solid(80)
    wanted = len(faces) // 12
    few = collapse_torch(vertices, faces, 3 * wanted, MANY)
    assert 3 * wanted <= len(few[1]) <= 3 * wanted + 1
    assert euler(few[1]) == euler(faces)
    assert cleanup.encloses(few[0].numpy(), few[1].numpy())

    def one_by_one(vertices: Tensor, faces: Tensor) -> tuple[Tensor, Tensor]:
        places, left = cleanup.simplify(vertices.numpy(), faces.numpy(), wanted, 5.0)
        return torch.from_numpy(places), torch.from_numpy(left)

    exact = (vertices, faces)
    assert off(exact, one_by_one(*few)) < 1.1 * off(exact, one_by_one(*exact))


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), share=st.floats(0.1, 0.9))
def test_whatever_hangs_together_does_so_afterwards(seed: int, share: float) -> None:
    vertices, faces = solid(24, plate=0.06)
    rng = torch.Generator().manual_seed(seed)
    faces = faces[torch.rand(len(faces), generator=rng) > 0.01]  # holes
    least = int(share * len(faces))
    places, few = collapse_torch(vertices, faces, least, MANY)
    assert least <= len(few) <= len(faces) and bool(places.isfinite().all())
    assert euler(few) == euler(faces)
    _, border = cleanup._directed_edges(faces.numpy())
    _, after = cleanup._directed_edges(few.numpy())
    assert border.sum() == after.sum(), "borders stay as they are"


def test_flat_stays_flat_and_is_thinned_evenly() -> None:
    side = 20
    x, y = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    corner = (x * side + y)[:-1, :-1].flatten()
    faces = torch.cat([torch.stack([corner, corner + side, corner + side + 1], 1)])
    faces = torch.cat([faces, torch.stack([corner, corner + side + 1, corner + 1], 1)])
    vertices = torch.stack([x.flatten(), y.flatten(), torch.zeros(side * side)], 1).double()
    places, few = collapse_torch(vertices, faces, 200, MANY)
    assert len(few) < 0.5 * len(faces)
    assert float(places[:, 2].abs().max()) < 1e-6
    a, b, c = places[few].unbind(1)
    area = torch.linalg.cross(b - a, c - a)[:, 2] / 2
    assert float(area.min()) > 0 and float(area.sum()) == pytest.approx((side - 1) ** 2)


def test_what_has_few_faces_is_left_alone() -> None:
    vertices, faces = solid(16)
    assert collapse_torch(vertices, faces, len(faces), MANY) == (vertices, faces)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_finds_the_same_each_time() -> None:
    vertices, faces = (t.cuda() for t in solid(96))
    first, second = (collapse_torch(vertices, faces, len(faces) // 8, MANY) for _ in range(2))
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])
    known = collapse_torch(vertices.cpu(), faces.cpu(), len(faces) // 8, MANY)
    assert len(first[1]) == pytest.approx(len(known[1]), abs=2)
    assert euler(first[1].cpu()) == euler(faces.cpu())
