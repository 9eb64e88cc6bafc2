"""Marching cubes: where the surface lies, that it has no cracks, and which way it faces."""

from __future__ import annotations

import pytest
import torch
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from v2m4.geometry.marching_cubes import CORNERS, EDGES, case_triangles, marching_cubes


def _mesh(values: torch.Tensor, level: float = 0.0) -> trimesh.Trimesh:
    vertices, faces = marching_cubes(values, level)
    return trimesh.Trimesh(vertices.double().numpy(), faces.numpy(), process=False)


def _enclosed(seed: int, side: int = 9) -> torch.Tensor:
    """Noise, every ambiguous case included, that is outside at the border of the grid."""
    values = torch.full((side, side + 1, side + 2), -1.0)
    values[1:-1, 1:-1, 1:-1] = torch.randn(side - 2, side - 1, side, generator=torch.Generator().manual_seed(seed))
    return values


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_the_surface_of_any_field_is_closed_and_consistently_wound(seed: int) -> None:
    mesh = _mesh(_enclosed(seed))
    assert mesh.is_watertight
    assert mesh.is_winding_consistent


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), level=st.floats(-0.9, 1.0))
def test_every_vertex_lies_on_the_level(seed: int, level: float) -> None:
    values = _enclosed(seed)
    vertices, _ = marching_cubes(values, level)
    low = vertices.floor().long()
    high = torch.minimum(low + (vertices > low).long(), torch.tensor(values.shape) - 1)
    share = (vertices - low).sum(1).double()
    a, b = values[tuple(low.T)].double(), values[tuple(high.T)].double()
    assert torch.allclose(a + share * (b - a), torch.full_like(a, level), atol=2e-5)
    # Each vertex is on one edge of the grid.
    assert int(((vertices - low) > 0).sum(1).max()) <= 1


def test_a_ball_has_its_volume_and_faces_outwards() -> None:
    axis = torch.linspace(-1, 1, 40)
    x, y, z = torch.meshgrid(axis, axis, axis, indexing="ij")
    mesh = _mesh(0.7 - (x**2 + y**2 + z**2).sqrt())
    radius = 0.7 * 39 / 2
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(4 / 3 * torch.pi * radius**3, rel=5e-3)


def test_axes_are_those_of_the_array() -> None:
    values = torch.full((4, 6, 8), -1.0)
    values[2, 4, 6] = 1.0
    vertices, faces = marching_cubes(values)
    assert torch.allclose(vertices.mean(0), torch.tensor([2.0, 4.0, 6.0]))
    assert len(vertices) == 6
    assert len(faces) == 8


def test_only_the_given_cells_are_looked_at() -> None:
    values = torch.full((8, 4, 4), -1.0)
    values[1, 1, 1] = values[6, 2, 2] = 1.0
    cells = torch.zeros(7, 3, 3, dtype=torch.bool)
    cells[:3] = True
    values[4:] = torch.nan  # nobody asks
    vertices, faces = marching_cubes(values, cells=cells)
    assert len(faces) == 8
    assert vertices.isfinite().all()


def test_a_field_that_never_crosses_has_no_surface() -> None:
    vertices, faces = marching_cubes(torch.ones(5, 5, 5))
    assert vertices.shape == (0, 3)
    assert faces.shape == (0, 3)


def test_opposite_cases_cross_the_same_edges_and_every_triangle_uses_crossed_edges_only() -> None:
    table = case_triangles()
    for case in range(256):
        crossed = {k for k, (a, b) in enumerate(EDGES) if (case >> a & 1) != (case >> b & 1)}
        assert set(table[case].flatten().tolist()) - {-1} == crossed
    assert len(CORNERS) == 8
