"""From a field to a mesh: closed, outward, in the canonical frame, or a sentence."""

from __future__ import annotations

import pytest
import torch
import trimesh
from torch import Tensor

from v2m4.errors import V2M4Error
from v2m4.generators.vecset.surface import Extraction, canonical, extract, finish
from v2m4.generators.vecset.volume import halvings
from v2m4.settings import GeneratorSettings

CPU = torch.device("cpu")
GRID = Extraction(halvings(32, 8), 1.0, 32)


def ball(p: Tensor, radius: float = 0.6) -> Tensor:
    """Positive inside."""
    return 10 * (radius - p.norm(dim=1))


def test_a_ball_comes_out_as_a_closed_outward_ball() -> None:
    mesh = extract(ball, GRID, CPU, 4096, "toy")
    shape = trimesh.Trimesh(mesh.vertices.numpy(), mesh.faces.numpy(), process=False)
    assert shape.is_watertight
    assert shape.volume == pytest.approx(4 / 3 * torch.pi * 0.6**3, rel=0.02)
    torch.testing.assert_close(mesh.vertices.norm(dim=1), torch.full((len(mesh.vertices),), 0.6), atol=5e-3, rtol=0)


def test_a_surface_that_leaves_the_cube_is_closed() -> None:
    mesh = extract(lambda p: ball(p, 1.3), GRID, CPU, 4096, "toy")
    assert trimesh.Trimesh(mesh.vertices.numpy(), mesh.faces.numpy(), process=False).is_watertight
    assert float(mesh.vertices.abs().max()) < 1.001


def test_the_finished_mesh_is_small_light_and_without_debris() -> None:
    def with_speck_and_cavity(p: Tensor) -> Tensor:
        speck = ball(p - p.new_tensor([0.85, 0.85, 0.85]), 0.04)
        shell = torch.minimum(ball(p), -ball(p, 0.3))
        return torch.maximum(shell, speck)

    dense = Extraction(halvings(64, 16), 1.0, 64)
    raw = extract(with_speck_and_cavity, dense, CPU, 4096, "toy")
    assert trimesh.Trimesh(raw.vertices.numpy(), raw.faces.numpy(), process=False).body_count == 3
    mesh = finish(raw, 500, GeneratorSettings().vecset_cleanup)
    shape = trimesh.Trimesh(mesh.vertices.numpy(), mesh.faces.numpy(), process=False)
    assert len(mesh.faces) <= 500
    assert shape.is_watertight
    assert shape.body_count == 1
    assert float(mesh.vertices.abs().max()) == pytest.approx(0.3, abs=0.01)
    assert shape.volume == pytest.approx(4 / 3 * torch.pi * 0.3**3, rel=0.05)


def test_up_is_turned_from_y_to_z_and_the_size_is_halved() -> None:
    points = torch.tensor([[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0], [-1.0, -1.0, -1.0]])
    expected = 0.5 * torch.tensor([[1.0, 0, 0], [0, 0, 1.0], [0, -1.0, 0], [-1.0, 1.0, -1.0]])
    torch.testing.assert_close(canonical(points), expected)


@pytest.mark.parametrize(
    ("field", "said"),
    [(lambda p: -torch.ones(len(p)), "without a surface"), (lambda p: torch.full((len(p),), torch.nan), "not finite")],
)
def test_fields_without_a_surface_are_explained(field, said) -> None:
    with pytest.raises(V2M4Error, match=said):
        extract(field, GRID, CPU, 4096, "toy")
