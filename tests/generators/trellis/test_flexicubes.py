"""FlexiCubes on voxels: the fixtures, the dense grid as oracle, and what any extracted surface must satisfy."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor

from tests.generators.trellis.dense_grid import extract_grid
from v2m4.generators.trellis.flexicubes import CORNERS, MeshResult, case_rules, extract

FIXTURES = Path(__file__).parents[2] / "parity" / "fixtures" / "trellis"


@pytest.mark.parametrize(("name", "resolution"), [("smooth", 16), ("random", 10)])
def test_fixture_is_met_with_the_same_topology(name: str, resolution: int) -> None:
    data = load_file(FIXTURES / f"flexicubes_{name}.safetensors")
    mesh = extract(data["in.coords"][:, 1:], data["in.feats"], resolution)
    assert mesh.success
    assert torch.equal(mesh.faces, data["out.faces"].long())
    torch.testing.assert_close(mesh.vertices, data["out.vertices"], atol=2e-6, rtol=0)
    torch.testing.assert_close(mesh.attributes, data["out.vertex_attrs"], atol=2e-5, rtol=0)
    torch.testing.assert_close(mesh.face_normals, data["out.face_normal"], atol=1e-2, rtol=0)


def test_every_corner_sign_case_has_its_dual_vertices_in_order() -> None:
    data = load_file(FIXTURES / "flexicubes_cases.safetensors")
    offset = data["out.case_offset"].tolist()
    for case in range(256):
        cube = torch.empty(2, 2, 2)
        for c, (x, y, z) in enumerate(CORNERS.tolist()):
            cube[x, y, z] = -1.0 if case >> c & 1 else 1.0
        mesh = extract_grid(cube.flatten(), torch.zeros(1, 8), torch.zeros(1, 12), torch.zeros(1))
        expected = data["out.case_vertices"][offset[case] : offset[case + 1]]
        torch.testing.assert_close(mesh.vertices, expected, atol=1e-6, rtol=0)
        assert mesh.success == (len(expected) > 0)


def test_grid_fixture_with_inverted_cases_and_gamma_splits() -> None:
    data = load_file(FIXTURES / "flexicubes_cases.safetensors")
    raw = [data[f"in.grid_{name}"] for name in ("sdf", "alpha", "beta", "gamma", "attr")]
    mesh = extract_grid(*raw)
    assert torch.equal(mesh.faces, data["out.grid_faces"].long())
    torch.testing.assert_close(mesh.vertices, data["out.grid_vertices"], atol=1e-5, rtol=0)
    torch.testing.assert_close(mesh.attributes, data["out.grid_attrs"], atol=2e-5, rtol=0)


def test_thirty_six_cases_need_their_neighbours_agreement() -> None:
    rules = case_rules()
    assert int(rules.partner.any(1).sum()) == 36
    assert rules.vertices[0] == rules.vertices[255] == 0
    assert int(rules.vertices.max()) == 4


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31 - 1), resolution=st.integers(2, 5), share=st.floats(0.05, 1))
def test_sparse_equals_dense(seed: int, resolution: int, share: float) -> None:
    rng = torch.Generator().manual_seed(seed)
    axis = torch.arange(resolution)
    cubes = torch.cartesian_prod(axis, axis, axis)
    chosen = torch.rand(len(cubes), generator=rng) < share
    chosen[0] = True
    coords = cubes[chosen][torch.randperm(int(chosen.sum()), generator=rng)]
    feats = torch.randn(len(coords), 101, generator=rng)
    sparse = extract(coords, feats, resolution)
    dense, deform = _dense(coords, feats, resolution)
    assert sparse.success == dense.success
    assert torch.equal(sparse.faces, dense.faces)
    torch.testing.assert_close(sparse.attributes, dense.attributes[:, :6], atol=1e-5, rtol=0)
    assert len(deform) == len(dense.vertices)
    torch.testing.assert_close(sparse.vertices, dense.vertices / resolution - 0.5 + deform, atol=1e-5, rtol=0)


def _dense(coords: Tensor, feats: Tensor, resolution: int) -> tuple[MeshResult, Tensor]:
    """The same surface by plain loops over the whole grid; the interpolated deformation apart."""
    side = resolution + 1
    sums, count = torch.zeros(side**3, 10), torch.zeros(side**3)
    weights = torch.zeros(resolution**3, 21)
    for (x, y, z), row in zip(coords.tolist(), feats, strict=True):
        weights[(x * resolution + y) * resolution + z] = row[32:53]
        for c, (i, j, k) in enumerate(CORNERS.tolist()):
            at = ((x + i) * side + y + j) * side + z + k
            sums[at] += torch.cat([row[c : c + 1] - 1 / resolution, row[8 + 3 * c :][:3], row[53 + 6 * c :][:6]])
            count[at] += 1
    mean = sums / count.clamp_min(1)[:, None]
    sdf = torch.where(count > 0, mean[:, 0], 1.0)
    # extract_grid applies a sigmoid; deformations go through it as the logit of their value shifted into (0,1).
    shift = torch.logit(0.5 + 0.25 * mean[:, 1:4].tanh())
    parts = sdf, weights[:, 12:20], weights[:, :12], weights[:, 20], torch.cat([mean[:, 4:], shift], dim=1)
    dense = extract_grid(*parts)
    return dense, (dense.attributes[:, 6:] - 0.5) * 4 / (2 * resolution)


def test_gradients_match_finite_differences() -> None:
    rng = torch.Generator().manual_seed(3)
    coords = torch.cartesian_prod(*[torch.arange(2)] * 3)[torch.randperm(8, generator=rng)[:5]]
    feats = torch.randn(5, 101, generator=rng, dtype=torch.float64)

    def surface(x: Tensor) -> tuple[Tensor, Tensor]:
        mesh = extract(coords, x, 3)
        return mesh.vertices, mesh.attributes

    assert torch.autograd.gradcheck(surface, feats.requires_grad_(), eps=1e-7, atol=1e-5)


def test_a_filled_ball_becomes_a_closed_outward_surface() -> None:
    resolution = 24
    axis = torch.arange(resolution)
    coords = torch.cartesian_prod(axis, axis, axis)
    corners = (coords[:, None] + CORNERS) / resolution - 0.5
    feats = torch.zeros(len(coords), 101)
    feats[:, :8] = corners.norm(dim=-1) - 0.35
    mesh = extract(coords, feats, resolution)
    a, b, c = (mesh.vertices[mesh.faces[:, i]] for i in range(3))
    volume = (a * torch.linalg.cross(b, c)).sum() / 6
    radius = 0.35 + 1 / resolution
    assert float(volume) == pytest.approx(4 / 3 * torch.pi * radius**3, rel=0.02)
    directed = torch.cat([mesh.faces[:, [0, 1]], mesh.faces[:, [1, 2]], mesh.faces[:, [2, 0]]])
    forward = {tuple(e) for e in directed.tolist()}
    assert len(forward) == len(directed)
    assert all((j, i) in forward for i, j in forward)


def test_no_sign_change_means_no_surface_and_says_so() -> None:
    mesh = extract(torch.tensor([[1, 1, 1]]), torch.ones(1, 101), 4)
    assert not mesh.success
    assert [len(x) for x in mesh[:4]] == [0, 0, 0, 0]
