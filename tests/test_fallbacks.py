"""What runs on a GPU, told without one: what does not compile or cannot be imported is done without."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType

import pytest
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode

from v2m4 import device, doctor
from v2m4.errors import V2M4Error
from v2m4.generators.trellis.convolution import _gathering
from v2m4.generators.trellis.layers import normalise_heads
from v2m4.geometry.neighbours import Neighbours
from v2m4.render import gaussians, visibility
from v2m4.render.antialias import find_outlines
from v2m4.render.gaussians import gsplat_works
from v2m4.render.raster import Raster
from v2m4.render.raster_nvdiffrast import nvdiffrast_works
from v2m4.stereo.dust3r import distances

GPU = torch.device("cuda", 0)


@pytest.fixture(autouse=True)
def _nothing_tried_yet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    present = {"triton"}
    monkeypatch.setattr(device, "find_spec", lambda name: object() if name in present else None)
    tries = device.triton_works, gsplat_works, nvdiffrast_works
    for tried in tries:
        tried.cache_clear()
    yield
    for tried in tries:
        tried.cache_clear()


def module(monkeypatch: pytest.MonkeyPatch, name: str, **contents: object) -> None:
    """Let ``import name`` find a module with these contents."""
    made = ModuleType(name)
    vars(made).update(contents)
    monkeypatch.setitem(sys.modules, name, made)


def probe(monkeypatch: pytest.MonkeyPatch, error: Exception | None) -> None:
    """Let the trial kernel raise ``error``, or run."""

    def ones_plus_one(where: torch.device) -> Tensor:
        if error is not None:
            raise error
        return torch.full((4,), 2.0)

    monkeypatch.setattr(device, "import_module", lambda name: None)
    module(monkeypatch, "v2m4.device_triton", ones_plus_one=ones_plus_one)


def test_a_kernel_that_does_not_compile_is_reported_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    probe(monkeypatch, RuntimeError("Failed to find C compiler.\nPlease specify via CC."))
    assert not device.triton_works(GPU) and not device.triton_works(GPU)
    assert [r.getMessage() for r in caplog.records] == [
        "triton is installed but does not work here, so a slower way is taken: Failed to find C compiler."
    ]


def test_triton_is_for_gpus_and_may_be_absent(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    probe(monkeypatch, None)
    assert device.triton_works(GPU) and not device.triton_works(torch.device("cpu"))
    device.triton_works.cache_clear()
    monkeypatch.setattr(device, "find_spec", lambda name: None)
    assert not device.triton_works(GPU)
    assert not caplog.records


def some(*shape: int) -> Tensor:
    return torch.ones(shape, device=GPU)


def a_raster(backend: visibility.Backend) -> Raster:
    empty = torch.full((1, 4, 4), -1, device=GPU)
    return Raster(some(1, 4, 4, 2), empty, some(1, 4, 4), backend)


class Kernel(Exception):  # noqa: N818
    """Raised in place of what a kernel would compute."""


def kernel(*_: object, **__: object) -> None:
    raise Kernel


def gathered(x: Tensor) -> Tensor:
    """The rows of ``x``, which without the kernel would be indexed for."""
    gather = _gathering(x)
    return gather(x) if isinstance(gather, partial) else x


def summed() -> object:
    return distances.WeightedDistance.apply(some(1, 1, 3, 4), some(1, 1, 3, 4), some(1, 1, 1, 3, 4), some(1, 1, 1, 4))


CALLERS: dict[str, tuple[str, str, Callable[[], object]]] = {
    "neighbours": (
        "v2m4.geometry.neighbours_triton",
        "nearest_triton",
        lambda: Neighbours(some(5, 3)).nearest(some(7, 3)),
    ),
    "norms": (
        "v2m4.generators.trellis.norms_triton",
        "normalise_heads_triton",
        lambda: normalise_heads(some(7, 2, 8), some(2, 8)),
    ),
    "convolution": (
        "v2m4.generators.trellis.gather_triton",
        "gather_rows_or_zero",
        lambda: gathered(some(7, 8)),
    ),
    "distances": ("v2m4.stereo.dust3r.distances_triton", "weighted_distance_kernel", summed),
}


class _Launched:
    def __getitem__(self, grid: object) -> Callable[..., None]:
        return kernel


@pytest.mark.parametrize("caller", CALLERS)
def test_tensors_on_a_gpu_go_to_the_kernels_only_where_these_work(caller: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On fake tensors, which have a device and a shape but no content, and cannot be indexed."""
    monkeypatch.setattr(distances, "plain_terms", lambda *given: distances.Terms(given[0].sum(), *given[:2]))
    name, function, call = CALLERS[caller]
    module(monkeypatch, name, **{function: _Launched() if caller == "distances" else kernel, "WIDTH_MULTIPLE": 8})
    for error in (None, RuntimeError("Failed to find C compiler")):
        device.triton_works.cache_clear()
        probe(monkeypatch, error)
        device.triton_works(GPU)
        with FakeTensorMode():
            if error is None:
                with pytest.raises(Kernel):
                    call()
            else:
                result = call()
                assert isinstance(result, Tensor) and result.is_cuda


def test_rasteriser_and_splatter_do_without_broken_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    probe(monkeypatch, None)
    assert visibility.choose_backend("auto", GPU) == "triton" == gaussians.choose_backend("auto", GPU)
    device.triton_works.cache_clear()
    probe(monkeypatch, RuntimeError("Failed to find C compiler"))
    assert visibility.choose_backend("auto", GPU) == "torch" == gaussians.choose_backend("auto", GPU)
    for choose in (visibility.choose_backend, gaussians.choose_backend):
        with pytest.raises(V2M4Error, match="does not work on cuda:0. Choose auto"):
            choose("triton", GPU)


@pytest.mark.parametrize(("works", "expected"), [(True, "triton"), (False, "torch")])
def test_outlines_after_nvdiffrast_are_found_by_what_works(
    works: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module(monkeypatch, "v2m4.render.outlines_triton", outlines_triton=lambda *_: "triton")
    antialias = sys.modules["v2m4.render.antialias"]  # the package names a function so
    monkeypatch.setattr(antialias, "outlines_torch", lambda *_: "torch")
    monkeypatch.setattr(antialias, "triton_works", lambda _: works)
    with FakeTensorMode():
        assert find_outlines(a_raster("nvdiffrast"), some(1, 3, 4), torch.tensor([[0, 1, 2]])) == expected
        assert find_outlines(a_raster("torch"), some(1, 3, 4), torch.tensor([[0, 1, 2]])) == "torch"


@pytest.mark.parametrize("package", ["nvdiffrast", "gsplat"])
def test_a_package_that_cannot_be_imported_is_done_without(
    package: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path
) -> None:
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text("raise ImportError('libcudart.so.11.0: cannot open shared object')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(device, "find_spec", lambda name: object() if name == package else None)
    works, choose = {
        "nvdiffrast": (nvdiffrast_works, visibility.choose_backend),
        "gsplat": (gsplat_works, gaussians.choose_backend),
    }[package]
    with FakeTensorMode():
        assert not works(GPU)
        assert choose("auto", GPU) == "torch"
        with pytest.raises(V2M4Error, match=f"The {package} .*Choose auto"):
            choose(package, GPU)
    assert f"{package} is installed but does not work here" in caplog.text and "libcudart" in caplog.text


@pytest.mark.parametrize(("works", "state"), [(True, "present"), (False, "broken")])
def test_doctor_tells_what_is_installed_but_fails(monkeypatch: pytest.MonkeyPatch, works: bool, state: str) -> None:
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: object() if name == "gsplat" else None)
    monkeypatch.setattr(doctor, "pick_device", lambda name: GPU)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(gaussians, "gsplat_works", lambda device: works)
    states = {name: doctor.optional_state(name) for name in ("gsplat", "nvdiffrast")}
    assert states == {"gsplat": state, "nvdiffrast": "absent"}
    everything = {name: states.get(name, "absent") for name in doctor._OPTIONAL}
    facts = {"version": "1", "python": "3", "torch": "2", "cores": 2, "gpu": None, "free_disk_gb": 1, "plugs": []}
    monkeypatch.setattr(doctor, "real_3d_hint", lambda: "")
    assert ("gsplat is installed but fails" in doctor.report({**facts, "optional": everything})) == (not works)
