"""TripoSR beyond the fixtures: what its parts promise, loading, and what a bad picture or checkpoint is told."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.generators.triposr.tiny_triposr import OFFICIAL, TINY, disc_picture, tiny_network
from v2m4.errors import V2M4Error
from v2m4.generators.triposr.config import TripoSRConfig
from v2m4.generators.triposr.network import FieldDecoder
from v2m4.generators.triposr.picture import object_square, on_grey
from v2m4.generators.triposr.predictor import TripoSR, from_pretrained
from v2m4.generators.triposr.surface import GridField, query, refine, surface
from v2m4.geometry.cleanup import clean
from v2m4.settings import CleanupSettings, GeneratorSettings, TripoSRSettings

LEVEL = math.log(25)


@pytest.fixture(scope="module")
def triposr() -> TripoSR:
    return TripoSR(GeneratorSettings(max_faces=600, triposr=TripoSRSettings(grid=33)), network=tiny_network())


def test_a_picture_becomes_a_closed_coloured_mesh_of_unit_size(triposr: TripoSR) -> None:
    mesh = triposr(disc_picture(), torch.Generator()).mesh
    assert trimesh.Trimesh(mesh.vertices.numpy(), mesh.faces.numpy(), process=False).is_watertight
    assert len(mesh.faces) <= 600
    low, high = mesh.vertices.amin(0), mesh.vertices.amax(0)
    assert float((high - low).max()) == pytest.approx(1, abs=1e-5)
    assert torch.allclose(low, -high, atol=1e-5)
    assert mesh.colors is not None
    assert mesh.colors.shape == mesh.vertices.shape
    assert bool(((mesh.colors >= 0) & (mesh.colors <= 1)).all())


def test_nothing_is_random(triposr: TripoSR) -> None:
    first, second = (triposr(disc_picture(), torch.Generator().manual_seed(seed)).mesh for seed in (1, 2))
    assert torch.equal(first.vertices, second.vertices)


def test_the_grid_split_by_plane_equals_direct_look_ups(triposr: TripoSR) -> None:
    planes, decoder = triposr.triplane(disc_picture()), triposr.network.decoder
    side, radius = 17, decoder.config.radius
    axis = torch.linspace(-radius, radius, side)
    direct = query(decoder, planes, torch.cartesian_prod(axis, axis, axis))
    split = GridField.of(decoder, planes, side).exponents(torch.arange(side**3))
    assert torch.allclose(split, direct.density.log(), atol=2e-5)


@pytest.mark.parametrize("stride", [2, 3, 5])
def test_coarse_to_fine_gives_the_same_body_from_fewer_nodes(triposr: TripoSR, stride: int) -> None:
    planes, decoder = triposr.triplane(disc_picture()), triposr.network.decoder
    side = 65
    *_, found = refine(GridField.of(decoder, planes, side), LEVEL, stride)
    # Crumbs between the nodes of the coarse grid may stay unseen; cleaning removes them.
    whole, fast = (clean(surface(decoder, planes, side, 25.0, stride=s), 10**6, CleanupSettings()) for s in (1, stride))
    assert found.asked < side**3
    assert fast.vertices.shape == whole.vertices.shape
    assert torch.allclose(fast.vertices, whole.vertices, atol=1e-6)
    assert torch.equal(fast.faces, whole.faces)


class _Rod:
    """A field with a thin bent rod that only its thick end shows to a coarse grid."""

    side = 61
    maps = torch.zeros(3, 1)

    def exponents(self, nodes: torch.Tensor) -> torch.Tensor:
        x, y, z = (n.float() for n in (nodes // 61**2, nodes // 61 % 61, nodes % 61))
        end = 6 - ((x - 9) ** 2 + (y - 30) ** 2 + (z - 30) ** 2).sqrt()
        bend = 30 + 12 * torch.sin(x / 12)
        rod = torch.minimum(1.3 - ((y - bend) ** 2 + (z - 31.5) ** 2).sqrt(), torch.minimum(x - 8, 55 - x))
        return torch.maximum(end, rod)


def test_a_thin_limb_is_followed_to_its_end() -> None:
    *_, found = refine(_Rod(), 0.0, stride=6)  # type: ignore[arg-type]
    whole = _Rod().exponents(torch.arange(61**3)).view(61, 61, 61)
    crossing = (whole[1:] > 0) != (whole[:-1] > 0)
    seen = (found.exponents[1:] > 0) != (found.exponents[:-1] > 0)
    inner = crossing & torch.isfinite(found.exponents[1:]) & torch.isfinite(found.exponents[:-1])
    assert found.asked < 0.5 * 61**3
    assert int(inner.sum()) == int(crossing.sum())
    assert bool(seen[crossing].all())


def test_an_empty_field_is_told_in_a_sentence() -> None:
    decoder = FieldDecoder(TINY.field)
    with torch.no_grad(), pytest.raises(V2M4Error, match="saw no object"):
        surface(decoder, torch.zeros(3, 4, 16, 16), 17, 25.0, stride=4)


@settings(max_examples=20, deadline=None)
@given(top=st.integers(0, 20), left=st.integers(0, 20), height=st.integers(3, 25), width=st.integers(3, 25))
def test_the_object_is_centred_and_fills_its_share(top: int, left: int, height: int, width: int) -> None:
    picture = np.zeros((50, 60, 4), np.uint8)
    picture[top : top + height, left : left + width] = 255
    square = object_square(picture)
    rows, columns = np.nonzero(square[..., 3])
    side = max(height, width) - 1  # the last row and column are lost
    assert square.shape == (int(side / 0.85), int(side / 0.85), 4)
    assert len(rows) == (height - 1) * (width - 1)
    for at, length in ((rows, height - 1), (columns, width - 1)):
        before, after = at.min(), len(square) - 1 - at.max()
        assert abs(before - after) <= 2
        assert at.max() - at.min() + 1 == length


def test_transparent_ground_is_grey() -> None:
    assert (on_grey(np.zeros((2, 2, 4), np.uint8)) == 127).all()


@pytest.mark.parametrize("rows", [0, 1])
def test_an_empty_picture_is_told_in_a_sentence(triposr: TripoSR, rows: int) -> None:
    picture = np.zeros((16, 16, 4), np.uint8)
    picture[:rows, :, 3] = 255
    with pytest.raises(V2M4Error, match="shows no object"):
        triposr(picture, torch.Generator())


def _folder(path: Path, config: dict | str = OFFICIAL, drop: str = "") -> Path:
    text = config if isinstance(config, str) else yaml.safe_dump(config)
    (path / "config.yaml").write_text(text)
    state = {name: tensor for name, tensor in tiny_network().state_dict().items() if name != drop}
    torch.save(state, path / "model.ckpt")
    return path


def test_sizes_come_from_the_configuration() -> None:
    assert TripoSRConfig.from_official(OFFICIAL, TINY.vit) == TINY


def test_a_folder_laid_out_like_the_hub_is_read(tmp_path: Path) -> None:
    network = from_pretrained(str(_folder(tmp_path)), TINY.vit)
    for name, tensor in tiny_network().state_dict().items():
        assert torch.equal(network.state_dict()[name], tensor)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"renderer": {**OFFICIAL["renderer"], "density_activation": "softplus"}}, "density_activation"),
        ({"backbone_cls": "other"}, "backbone_cls"),
        ({"post_processor": {"in_channels": 32, "out_channels": 5}}, "three planes"),
        ({"tokenizer": {"plane_size": 8}}, "num_channels"),
        ({"backbone": {**OFFICIAL["backbone"], "cross_attention_dim": 25}}, "widths"),
    ],
)
def test_a_configuration_that_is_not_supported_is_refused(change: dict, told: str) -> None:
    with pytest.raises(V2M4Error, match=told):
        TripoSRConfig.from_official({**OFFICIAL, **change}, TINY.vit)


@pytest.mark.parametrize("text", ["[1, 2", "- just\n- a list\n"])
def test_a_damaged_configuration_is_told_in_a_sentence(tmp_path: Path, text: str) -> None:
    with pytest.raises(V2M4Error, match="run again to download"):
        from_pretrained(str(_folder(tmp_path, text)))


def test_a_foreign_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(V2M4Error, match="another model"):
        from_pretrained(str(_folder(tmp_path, drop="decoder.layers.0.bias")), TINY.vit)
