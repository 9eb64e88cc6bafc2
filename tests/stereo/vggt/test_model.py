"""VGGT in small: shapes, laws, cameras, checkpoints, the plug."""

import math

import pytest
import torch
from safetensors.torch import save_file

from v2m4.errors import V2M4Error
from v2m4.settings import Settings
from v2m4.stereo import STEREOS
from v2m4.stereo.vggt import VggtCommercialStereo, VggtStereo
from v2m4.stereo.vggt import predictor as predictor_module
from v2m4.stereo.vggt.aggregator import AggregatorConfig
from v2m4.stereo.vggt.heads import points_and_confidence, position_map
from v2m4.stereo.vggt.model import Vggt, VggtConfig, world_point_part

TINY = VggtConfig(
    AggregatorConfig(img_size=42, embed_dim=24, depth=3, num_heads=2, dino_depth=1, dino_num_heads=2),
    camera_trunk_depth=1,
    camera_num_heads=2,
    point_features=8,
    point_channels=(8, 8, 12, 16),
    point_levels=(0, 1, 1, 2),
)


def tiny(seed: int = 0) -> Vggt:
    torch.manual_seed(seed)
    model = Vggt(TINY)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return model.eval()


@pytest.mark.parametrize("size", [(42, 42), (28, 56), (70, 42)])
def test_maps_have_the_images_size_on_any_grid(size: tuple[int, int]) -> None:
    with torch.no_grad():
        output = tiny()(torch.rand(2, 3, 3, *size))
    assert output.points.shape == (2, 3, *size, 3)
    assert output.confidence.shape == (2, 3, *size)
    assert (output.confidence > 1).all()
    assert output.poses.shape == (2, 3, 9)


def test_the_batch_of_the_heads_does_not_change_results() -> None:
    images = torch.rand(1, 5, 3, 28, 42)
    model = tiny()
    with torch.no_grad():
        whole, pieces = model(images, frames_per_batch=8), model(images, frames_per_batch=2)
    assert torch.allclose(whole.points, pieces.points, rtol=1e-4, atol=1e-5)


def test_frames_after_the_first_may_be_exchanged() -> None:
    images = torch.rand(1, 4, 3, 28, 28)
    order = [0, 3, 1, 2]
    model = tiny()
    with torch.no_grad():
        plain, exchanged = model(images), model(images[:, order])
    assert torch.allclose(exchanged.points, plain.points[:, order], rtol=1e-3, atol=1e-4)
    assert not torch.allclose(model(images[:, [1, 0, 2, 3]]).points[:, [1, 0, 2, 3]], plain.points, rtol=1e-2)


def test_points_grow_exponentially_per_axis() -> None:
    raw = torch.tensor([0.0, -1.0, 2.0, 0.0]).view(1, 4, 1, 1)
    points, confidence = points_and_confidence(raw)
    assert points.flatten().tolist() == pytest.approx([0.0, -math.expm1(1), math.expm1(2)], rel=1e-5)
    assert confidence.item() == 2.0


def test_the_position_map_is_odd_in_its_sines_and_even_in_its_cosines() -> None:
    placed = position_map(16, (4, 6), (56, 84))
    assert placed.shape == (16, 4, 6)
    assert torch.allclose(placed[:4], -placed[:4].flip(2), atol=1e-6)
    assert torch.allclose(placed[4:8], placed[4:8].flip(2), atol=1e-6)
    assert torch.allclose(placed[8:12], -placed[8:12].flip(1), atol=1e-6)


@pytest.mark.parametrize("size", [(42, 42), (40, 56)])
def test_the_plug_gives_a_point_and_a_confidence_for_every_pixel(size: tuple[int, int]) -> None:
    maps = VggtStereo(model=tiny(), size=42)(torch.rand(3, *size, 3))
    assert maps.points.shape == (3, *size, 3)
    assert maps.confidence.shape == (3, *size)
    assert torch.isfinite(maps.points).all()


def test_half_precision_stays_close_to_full_precision() -> None:
    images = torch.rand(2, 28, 28, 3)
    full = VggtStereo(model=tiny(), size=28)(images)
    half = VggtStereo(model=tiny(), size=28, precision="bfloat16")(images)
    assert half.points.dtype == torch.float32
    assert float((half.points - full.points).norm() / full.points.norm()) < 0.1


def test_the_heads_that_are_not_used_are_left_out_of_a_checkpoint() -> None:
    names = ["aggregator.camera_token", "depth_head.norm.weight", "track_head.x", "point_head.norm.weight"]
    kept = world_point_part(dict.fromkeys(names, torch.zeros(1)))
    assert list(kept) == ["aggregator.camera_token", "point_head.norm.weight"]


@pytest.mark.parametrize("plug", [VggtStereo, VggtCommercialStereo])
def test_each_variant_loads_its_own_checkpoint(monkeypatch: pytest.MonkeyPatch, tmp_path, plug) -> None:
    monkeypatch.setattr(predictor_module, "VggtConfig", lambda: TINY)
    declared = STEREOS[plug.name]
    repository, filename, revision = declared.weights[0]
    source = tiny(5)
    state = {**source.state_dict(), "depth_head.norm.weight": torch.zeros(2)}
    if filename.endswith(".safetensors"):
        save_file(state, tmp_path / filename)
    else:
        torch.save(state, tmp_path / filename)
    asked = []
    monkeypatch.setattr(predictor_module, "fetch", lambda *a: (asked.append(a), tmp_path / filename)[1])
    loaded = declared.create(Settings(), torch.device("cpu"))
    assert asked == [(repository, filename, revision, plug.name)]
    assert all(torch.equal(a, b) for a, b in zip(source.parameters(), loaded.model.parameters(), strict=True))


def test_only_the_commercial_variant_may_be_used_commercially() -> None:
    assert {name for name, plug in STEREOS.items() if plug.commercial} >= {"vggt-commercial"}
    assert not STEREOS["vggt"].commercial
    assert not STEREOS["dust3r"].commercial


def test_another_models_checkpoint_is_refused_with_the_keys_that_differ(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(predictor_module, "VggtConfig", lambda: TINY)
    save_file({"dec_blocks.0.norm1.weight": torch.zeros(4)}, tmp_path / "model.safetensors")
    with pytest.raises(V2M4Error, match=r"vggt: .*missing.*1 unknown: dec_blocks\.0\.norm1\.weight"):
        VggtStereo(repository=str(tmp_path))


def test_the_real_size_has_the_parameters_of_the_release() -> None:
    with torch.device("meta"):
        model = Vggt()
    counts = [
        sum(p.numel() for p in part.parameters()) for part in (model.aggregator, model.camera_head, model.point_head)
    ]
    assert counts == [909_112_320, 216_174_610, 32_654_628]
