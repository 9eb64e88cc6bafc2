"""The generator: a picture in, a coloured mesh and everything for its refinement out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.generators.trellis import tiny
from v2m4.errors import V2M4Error
from v2m4.generators.trellis import predictor
from v2m4.generators.trellis.model import TrellisSample
from v2m4.generators.trellis.predictor import Trellis
from v2m4.settings import GeneratorSettings, TrellisSettings

SETTINGS = GeneratorSettings(trellis=TrellisSettings(steps=3))


@pytest.fixture(scope="module")
def plug() -> Trellis:
    return Trellis(SETTINGS, model=tiny.model())


@pytest.fixture(scope="module")
def sample(plug: Trellis) -> TrellisSample:
    return plug.generate([tiny.picture()], torch.Generator().manual_seed(7))


def test_a_picture_becomes_a_finite_coloured_mesh(plug: Trellis) -> None:
    generated = plug(tiny.picture(), torch.Generator().manual_seed(7))
    mesh = generated.mesh
    half_a_cell = 0.5 / plug.model().mesh_decoder.grid_resolution
    assert mesh.vertices.abs().max() <= 0.5 + half_a_cell
    assert mesh.faces.dtype == torch.int64
    assert mesh.faces.max() < len(mesh.vertices)
    assert mesh.colors is not None
    assert mesh.colors.shape == mesh.vertices.shape
    assert mesh.colors.min() >= 0 and mesh.colors.max() <= 1
    assert set(generated.extras) == {"cond", "coords", "noise", "slat", "states"}


def test_the_sample_holds_all_that_a_second_pass_needs(sample: TrellisSample) -> None:
    n = len(sample.voxels)
    assert sample.noise.shape == sample.slat.shape == (n, 8)
    assert sample.cond.shape == sample.negative.shape == (1, 1 + 4 + 14 * 14, tiny.CONDITION)
    assert not sample.negative.any()
    for tensor in (sample.slat, sample.mesh.vertices, *vars(sample.gaussians).values()):
        assert bool(torch.isfinite(tensor).all())
    given = (sample.voxels, sample.noise, sample.cond, sample.negative, _sampling(sample))
    again, states = sample.model.sample_latent(*given)  # type: ignore[arg-type]
    torch.testing.assert_close(again, sample.slat)
    assert torch.equal(states[0], sample.noise) and torch.equal(states, sample.states)


def _sampling(sample: TrellisSample) -> object:
    from dataclasses import replace

    return replace(sample.model.latent_sampling, steps=3, guidance=5.0)


def test_the_seed_decides(plug: Trellis, sample: TrellisSample) -> None:
    same = plug.generate([tiny.picture()], torch.Generator().manual_seed(7))
    other = plug.generate([tiny.picture()], torch.Generator().manual_seed(8))
    assert torch.equal(same.mesh.vertices, sample.mesh.vertices)
    assert not torch.equal(other.voxels.coords, sample.voxels.coords)


def test_noise_is_drawn_for_the_structure_first(sample: TrellisSample) -> None:
    rng = torch.Generator().manual_seed(7)
    torch.randn(1, 8, 4, 4, 4, generator=rng)
    assert torch.equal(sample.noise, torch.randn(len(sample.voxels), 8, generator=rng))


@pytest.mark.parametrize("mode", ["stochastic", "multidiffusion"])
def test_several_pictures_make_one_object(mode: str) -> None:
    plug = Trellis(SETTINGS, model=tiny.model(), multi_image=mode)  # type: ignore[arg-type]
    pictures = [tiny.picture(), np.ascontiguousarray(tiny.picture()[:, ::-1])]
    sample = plug.generate(pictures, torch.Generator().manual_seed(7))
    assert sample.cond.shape[0] == 2
    assert sample.negative.shape[0] == 1
    assert sample.voxels.batch_size == 1


def test_the_model_is_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loads = []

    def load(*arguments: object, **options: object) -> object:
        loads.append(options)
        return tiny.model()

    monkeypatch.setattr(predictor, "from_pretrained", load)
    plug = Trellis(SETTINGS, low_vram=True, source="somewhere")
    assert plug.model() is plug.model("cpu")
    assert len(loads) == 1
    assert loads[0]["low_vram"] is True


def test_an_empty_structure_is_explained() -> None:
    model = tiny.model()
    torch.nn.init.constant_(model.structure_decoder.out_layer[2].bias, -1e3)
    with pytest.raises(V2M4Error, match="no solid part"):
        Trellis(SETTINGS, model=model)(tiny.picture(), torch.Generator())


def test_a_surface_that_is_nowhere_is_explained() -> None:
    model = tiny.model()
    torch.nn.init.constant_(model.mesh_decoder.out_layer.bias, 1e3)
    with pytest.raises(V2M4Error, match="without a surface"):
        Trellis(SETTINGS, model=model)(tiny.picture(), torch.Generator())


def test_pictures_are_needed(plug: Trellis) -> None:
    with pytest.raises(V2M4Error, match="at least one picture"):
        plug.generate([], torch.Generator())
    with pytest.raises(V2M4Error, match="no opaque pixel"):
        plug(np.zeros((32, 32, 4), np.uint8), torch.Generator())
    with pytest.raises(V2M4Error, match="without an image encoder"):
        Trellis(SETTINGS, model=tiny.model(image_encoder=None))(tiny.picture(), torch.Generator())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_low_vram_keeps_networks_on_the_gpu_only_while_they_work() -> None:
    device = torch.device("cuda")
    plug = Trellis(SETTINGS, device, model=tiny.model(device=device, low_vram=True))
    sample = plug.generate([tiny.picture()], torch.Generator().manual_seed(7))
    assert sample.slat.is_cuda
    assert {p.device.type for n in sample.model.networks() for p in n.parameters()} == {"cpu"}
    flow = sample.model.latent_flow
    with sample.model.resident(flow):
        with sample.model.resident(flow):
            assert next(flow.parameters()).is_cuda
        assert next(flow.parameters()).is_cuda
    assert not next(flow.parameters()).is_cuda
    resident = Trellis(SETTINGS, device, model=tiny.model(device=device))
    same = resident.generate([tiny.picture()], torch.Generator().manual_seed(7))
    assert torch.equal(same.voxels.coords, sample.voxels.coords)
