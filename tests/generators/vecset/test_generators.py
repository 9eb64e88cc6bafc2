"""The three generators: a picture in, a clean mesh in the canonical frame out."""

from __future__ import annotations

import dataclasses
import importlib
from typing import Any

import numpy as np
import pytest
import torch
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.generators.trellis.tiny import picture
from tests.generators.vecset import tiny
from v2m4.errors import V2M4Error
from v2m4.generators.craftsman3d import picture as craftsman3d_picture
from v2m4.generators.hunyuan3d import picture as hunyuan3d_picture
from v2m4.generators.triposg import picture as triposg_picture

NAMES = list(tiny.MODELS)


def plug(name: str, **options: Any) -> Any:
    kind, make = tiny.MODELS[name]
    return kind(tiny.SETTINGS, options.get("device", "cpu"), model=make(**options))


def rng(seed: int = 7) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_becomes_a_closed_mesh_within_the_budget(name: str) -> None:
    mesh = plug(name)(picture(), rng()).mesh
    shape = trimesh.Trimesh(mesh.vertices.numpy(), mesh.faces.numpy(), process=False)
    assert 100 < len(mesh.faces) <= tiny.SETTINGS.max_faces
    assert bool(torch.isfinite(mesh.vertices).all())
    assert shape.is_watertight
    assert shape.volume > 0
    assert float(mesh.vertices.abs().max()) < 0.6
    assert mesh.faces.dtype == torch.int64
    assert mesh.colors is None
    assert mesh.texture is None


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_and_the_picture_decide(name: str) -> None:
    generator = plug(name)
    first, same, other = (generator(picture(), rng(seed)).mesh.vertices for seed in (7, 7, 8))
    assert torch.equal(first, same)
    assert first.shape != other.shape or not torch.equal(first, other)
    # Only the content of the picture differs: the object's place and size are normalised away.
    inverted = picture()
    inverted[..., :3] = 255 - inverted[..., :3]
    different = generator(inverted, rng()).mesh.vertices
    assert first.shape != different.shape or not torch.equal(first, different)


@pytest.mark.parametrize("name", NAMES)
def test_empty_pictures_and_shapes_are_explained(name: str) -> None:
    generator = plug(name)
    with pytest.raises(V2M4Error, match=f"{name}: .*background removal"):
        generator(np.zeros((32, 32, 4), np.uint8), rng())
    torch.nn.init.zeros_(generator.model().decoder.geo_decoder.output_proj.weight)
    torch.nn.init.constant_(
        generator.model().decoder.geo_decoder.output_proj.bias, -9 * generator.model().decoder.config.sign
    )
    with pytest.raises(V2M4Error, match="without a surface"):
        generator(picture(), rng())


@pytest.mark.parametrize("name", NAMES)
def test_the_model_is_loaded_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loads = []
    kind, make = tiny.MODELS[name]

    def load(*arguments: object, **options: object) -> object:
        loads.append(options)
        return make()

    monkeypatch.setattr(importlib.import_module(f"v2m4.generators.{name}.generator"), "from_pretrained", load)
    generator = kind(tiny.SETTINGS, low_vram=True, source="somewhere")
    assert generator.model() is generator.model("cpu")
    assert len(loads) == 1
    assert loads[0]["low_vram"] is True


@pytest.mark.parametrize("name", NAMES)
def test_running_out_of_memory_is_explained(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = plug(name)

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(generator.model(), "sample", full)
    with pytest.raises(V2M4Error, match=f"{name}: the GPU's memory"):
        generator(picture(), rng())


@pytest.mark.parametrize("name", NAMES)
def test_guidance_and_steps_come_from_the_settings(name: str) -> None:
    kind, make = tiny.MODELS[name]
    own = dataclasses.replace(getattr(tiny.SETTINGS, name), steps=4, guidance=3.0)
    generator = kind(dataclasses.replace(tiny.SETTINGS, **{name: own}), model=make())
    assert generator.guidance() == 3.0
    steps = generator.flow_grid(generator.model()).steps
    assert len(steps) == (3 if name == "hunyuan3d" else 4)  # its last step has no length


@pytest.mark.parametrize("name", NAMES)
def test_every_tensor_is_made_on_the_models_device(name: str) -> None:
    elsewhere = torch.device("meta")  # mixing it with the CPU is an error, as with a GPU
    generator = plug(name, device=elsewhere)
    (model,) = generator._models.values()
    with torch.no_grad():
        tokens = model.encode(generator.pixels(picture(), model))
        latents = model.sample(tokens, model.noise(rng()), generator.flow_grid(model), generator.guidance())
        answers = model.decoder.query(torch.rand(5, 3, device=elsewhere), model.decoder.keys_values(latents))
    assert {tensor.device.type for tensor in (tokens, latents, answers)} == {"meta"}


@settings(max_examples=10, deadline=None)
@given(st.integers(20, 90), st.integers(20, 90), st.integers(0, 15), st.integers(0, 15))
def test_pictures_have_the_encoders_size_wherever_the_object_is(width: int, height: int, x: int, y: int) -> None:
    rgba = np.zeros((128, 128, 4), np.uint8)
    rgba[y : y + height, x : x + width] = (200, 60, 10, 255)
    assert triposg_picture.encoder_input(rgba).shape == (1, 3, 224, 224)
    assert craftsman3d_picture.encoder_input(rgba).shape == (1, 3, 518, 518)
    image, mask = hunyuan3d_picture.processed(hunyuan3d_picture.cropped(rgba))
    assert image.shape == (1, 3, 512, 512)
    longest = max(np.ptp(np.nonzero(mask)[0]), np.ptp(np.nonzero(mask)[1])) / len(mask)
    assert longest == pytest.approx(1 - hunyuan3d_picture.BORDER_RATIO, abs=0.03)


def test_the_surroundings_are_white_whatever_colour_hides_behind_them() -> None:
    rgba = picture()
    rgba[rgba[..., 3] == 0, :3] = (255, 0, 255)
    assert triposg_picture.object_picture(rgba)[0, 0].tolist() == [255, 255, 255]
    assert craftsman3d_picture.object_on_white(rgba)[0, 0].tolist() == [255, 255, 255]
    assert hunyuan3d_picture.recentred(rgba)[0][0, 0].tolist() == [255, 255, 255]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", NAMES)
def test_low_vram_keeps_networks_on_the_gpu_only_while_they_work(name: str) -> None:
    device = torch.device("cuda")
    generator = plug(name, device=device, low_vram=True)
    mesh = generator(picture(), rng()).mesh
    assert {p.device.type for n in generator.model().networks() for p in n.parameters()} == {"cpu"}
    same = plug(name, device=device)(picture(), rng()).mesh
    torch.testing.assert_close(mesh.vertices, same.vertices)


def field_of(generator: Any) -> torch.Tensor:
    """Logits of the shape for the test picture at some points."""
    model = generator.model()
    with torch.no_grad():
        tokens = model.encode(generator.pixels(picture(), model))
        latents = model.sample(tokens, model.noise(rng()), generator.flow_grid(model), generator.guidance())
        points = torch.rand(200, 3, generator=rng()) * 2 - 1
        return model.decoder.query(points, model.decoder.keys_values(latents))


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("triposg", torch.float16), ("hunyuan3d", torch.float16), ("craftsman3d", torch.bfloat16)],
)
def test_the_half_precision_of_a_gpu_gives_nearly_the_same_field(name: str, dtype: torch.dtype) -> None:
    exact = field_of(plug(name))
    generator = plug(name)
    for network in generator.model().networks():
        network.to(dtype)
    assert bool(torch.isfinite(generator(picture(), rng()).mesh.vertices).all())
    near = field_of(generator)
    assert near.dtype == torch.float32
    # A guided flow in numbers of 11 or 8 bits, rounded at every layer.
    assert float((near - exact).abs().max() / exact.abs().max()) < 10 * torch.finfo(dtype).eps
