"""DUSt3R's network in small: shapes, laws, checkpoints of every kind, the plug."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from v2m4.errors import V2M4Error
from v2m4.nn.weights import load_strictly
from v2m4.settings import Dust3rSettings, Settings
from v2m4.stereo import STEREOS
from v2m4.stereo.dust3r import Dust3r
from v2m4.stereo.dust3r import predictor as predictor_module
from v2m4.stereo.dust3r.head import points_and_confidence
from v2m4.stereo.dust3r.model import (
    AsymmetricCroCo3DStereo,
    Dust3rConfig,
    second_names,
    with_second_decoder,
)
from v2m4.stereo.dust3r.pairs import complete_graph, predict_pairs
from v2m4.stereo.dust3r.preprocess import network_image

TINY = Dust3rConfig(
    enc_embed_dim=32,
    enc_depth=2,
    enc_num_heads=2,
    dec_embed_dim=16,
    dec_depth=4,
    dec_num_heads=2,
    feature_dim=8,
    last_dim=8,
    layer_dims=(8, 8, 12, 16),
)


def tiny(seed: int = 0) -> AsymmetricCroCo3DStereo:
    torch.manual_seed(seed)
    return AsymmetricCroCo3DStereo(TINY).eval()


def test_the_head_reads_tokens_before_half_way_three_quarters_and_at_the_end() -> None:
    assert Dust3rConfig().levels_read == (0, 6, 9, 12)
    assert TINY.levels_read == (0, 2, 3, 4)


def test_an_unsupported_relative_of_the_model_is_refused() -> None:
    with pytest.raises(V2M4Error, match="another kind of head"):
        Dust3rConfig.from_official({"head_type": "linear"})
    with pytest.raises(V2M4Error, match="rotary"):
        Dust3rConfig.from_official({"pos_embed": "cosine"})


def test_lengths_of_points_are_exponential_and_confidence_stays_in_its_range() -> None:
    raw = torch.zeros(1, 4, 1, 3)
    raw[0, :, 0, 1] = torch.tensor([0.0, 0.0, 2.0, 50.0])
    raw[0, :, 0, 2] = torch.tensor([3.0, 4.0, 0.0, 1.0])
    points, confidence = points_and_confidence(raw, (1.0, 20.0))
    assert torch.equal(points[0, 0, 0], torch.zeros(3))
    assert float(points[0, 0, 1, 2]) == pytest.approx(math.expm1(2), rel=1e-5)
    assert float(points[0, 0, 2].norm()) == pytest.approx(math.expm1(5), rel=1e-5)
    assert confidence[0, 0].tolist() == pytest.approx([2.0, 20.0, 1 + math.e], rel=1e-5)


@pytest.mark.parametrize("size", [(32, 48), (48, 32), (80, 16)])
def test_maps_have_the_images_size_on_any_grid(size: tuple[int, int]) -> None:
    with torch.no_grad():
        maps = tiny()(torch.rand(1, 3, *size), torch.rand(1, 3, *size))
    assert maps.points1.shape == maps.points2.shape == (1, *size, 3)
    assert (maps.confidence1 > 1).all()


def test_pairs_of_a_complete_graph_come_in_the_authors_order() -> None:
    assert complete_graph(3).tolist() == [[1, 0], [2, 0], [2, 1], [0, 1], [0, 2], [1, 2]]
    assert len(complete_graph(8)) == 56


@pytest.mark.parametrize(("pairs_per_batch", "images_per_head"), [(1, 1), (4, 3), (6, 8)])
def test_batched_pairs_equal_pairs_one_by_one(pairs_per_batch: int, images_per_head: int) -> None:
    model, images = tiny(), torch.rand(3, 3, 32, 48) * 2 - 1
    edges = complete_graph(3)
    together = predict_pairs(model, images, edges, pairs_per_batch, images_per_head)
    with torch.no_grad():
        for e, (i, j) in enumerate(edges.tolist()):
            alone = model(images[i : i + 1], images[j : j + 1])
            assert torch.allclose(together.points1[e], alone.points1[0], rtol=1e-3, atol=1e-5)
            assert torch.allclose(together.points2[e], alone.points2[0], rtol=1e-3, atol=1e-5)
            assert torch.allclose(together.confidence1[e], alone.confidence1[0], rtol=1e-3)
            assert torch.allclose(together.confidence2[e], alone.confidence2[0], rtol=1e-3)


def test_the_best_confidence_of_a_pixel_is_kept() -> None:
    predictions = predict_pairs(tiny(), torch.rand(3, 3, 32, 32), complete_graph(3), 6, 6)
    best = predictions.confidence_per_image()
    of_image_1 = [predictions.confidence1[e] for e, (i, _) in enumerate(predictions.edges.tolist()) if i == 1]
    of_image_1 += [predictions.confidence2[e] for e, (_, j) in enumerate(predictions.edges.tolist()) if j == 1]
    assert torch.equal(best[1], torch.stack(of_image_1).amax(0))


def test_checkpoints_with_doubled_names_and_with_one_decoder_load() -> None:
    source = tiny(1)
    state = source.state_dict()
    doubled = {**state, **{second: state[own] for second, own in second_names().items()}}
    target = tiny(2)
    load_strictly(target, doubled, "dust3r", second_names())
    assert all(torch.equal(a, b) for a, b in zip(source.parameters(), target.parameters(), strict=True))
    only_doubled = {name: t for name, t in doubled.items() if name not in second_names().values()}
    load_strictly(tiny(3), only_doubled, "dust3r", second_names())
    one_decoder = {name: t for name, t in state.items() if not name.startswith("dec_blocks2")}
    target = tiny(4)
    load_strictly(target, with_second_decoder(one_decoder), "dust3r")
    assert torch.equal(target.dec_blocks2[1].mlp.fc1.weight, source.dec_blocks[1].mlp.fc1.weight)


@pytest.mark.parametrize(
    ("size", "target", "want"), [((40, 40), 64, (64, 64)), ((36, 52), 64, (32, 64)), ((70, 90), 48, (32, 48))]
)
def test_preparation_gives_sides_that_divide_by_16(size, target: int, want: tuple[int, int]) -> None:
    image = network_image(torch.rand(*size, 3), target)
    assert image.shape[1:] == want
    assert image.min() >= -1
    assert image.max() <= 1


def test_preparation_cuts_to_eight_bits_and_keeps_the_middle() -> None:
    picture = np.zeros((18, 18, 3), dtype=np.uint8)
    picture[1:17, 1:17] = 200
    image = network_image(torch.from_numpy(picture).float() / 255 + 0.9 / 255, 18)
    want = torch.from_numpy(np.array(Image.fromarray(picture).crop((1, 1, 17, 17)))).permute(2, 0, 1) / 255 * 2 - 1
    assert torch.equal(image, want)


@pytest.mark.parametrize("size", [(48, 48), (40, 56)])
def test_the_plug_gives_a_point_and_a_confidence_for_every_pixel(size: tuple[int, int]) -> None:
    plug = Dust3r(model=tiny(), size=48, alignment=Dust3rSettings(iterations=3))
    maps = plug(torch.rand(3, *size, 3))
    assert maps.points.shape == (3, *size, 3)
    assert maps.confidence.shape == (3, *size)
    assert torch.isfinite(maps.points).all()
    assert (maps.confidence > 1).all()


def test_half_precision_stays_close_to_full_precision() -> None:
    images = torch.rand(2, 32, 32, 3)
    edges = complete_graph(2)
    full = predict_pairs(tiny(), images.permute(0, 3, 1, 2), edges, 2, 2)
    plug = Dust3r(model=tiny(), size=32, precision="bfloat16")
    from v2m4.nn.precision import computing

    with computing("bfloat16", plug.device):
        half = predict_pairs(plug.model, images.permute(0, 3, 1, 2), edges, 2, 2)
    assert half.points1.dtype == torch.float32
    assert float((half.points1 - full.points1).norm() / full.points1.norm()) < 0.05


def test_one_picture_is_too_few() -> None:
    with pytest.raises(V2M4Error, match="dust3r: needs at least 2 pictures"):
        Dust3r(model=tiny(), size=32)(torch.rand(1, 32, 32, 3))


def test_the_plug_loads_the_pinned_checkpoint(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setattr(predictor_module, "Dust3rConfig", lambda: TINY)
    source = tiny(7)
    save_file(source.state_dict(), tmp_path / "model.safetensors")
    asked = []

    def fetch(*arguments: str):
        asked.append(arguments)
        return tmp_path / "model.safetensors"

    monkeypatch.setattr(predictor_module, "fetch", fetch)
    plug = STEREOS["dust3r"].create(Settings(), torch.device("cpu"))
    assert asked == [
        (
            "naver/DUSt3R_ViTLarge_BaseDecoder_512_dpt",
            "model.safetensors",
            "61c57447d7b0adc8a1a30b2b0adec7a8935aa2a3",
            "dust3r",
        )
    ]
    assert all(torch.equal(a, b) for a, b in zip(source.parameters(), plug.model.parameters(), strict=True))


def test_the_real_size_has_the_parameters_of_the_release() -> None:
    with torch.device("meta"):
        model = AsymmetricCroCo3DStereo()
    assert sum(p.numel() for p in model.parameters()) == 571_171_208
