"""Finds parity fixtures, hands each to the check that knows it, and reports the worst comparison.

A family of models contributes a module `tests/parity/checks_<family>.py` with a list `CHECKS` of `Check`. A check
recognises its fixture by file name and metadata, builds the model from the configuration inside the fixture, and
returns one `Measure` per compared tensor. The helpers at the end are shared by all families.
"""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

FAMILIES = ("trellis", "dust3r", "vggt", "v2m4", "triposg", "hunyuan3d", "craftsman3d", "triposr", "cotracker", "fvd")
WITHOUT_NETWORKS = ("v2m4", "fvd")


@dataclass(frozen=True)
class Measure:
    """One comparison: `error` must not exceed `tolerance` (both in the same unit, relative unless `name` says so)."""

    name: str
    error: float
    tolerance: float

    @property
    def passed(self) -> bool:
        return self.error <= self.tolerance

    @property
    def severity(self) -> float:
        """Error as a multiple of the tolerance; infinite for NaN and for any deviation where none is allowed."""
        if math.isnan(self.error):
            return math.inf
        if self.tolerance > 0:
            return self.error / self.tolerance
        return 0.0 if self.error <= 0 else math.inf


@dataclass(frozen=True)
class Check:
    """How one kind of fixture is recognised and run.

    `matches(path, meta)` decides by file name and metadata. `run(path, meta, tensors)` returns the comparisons.
    For a `*.safetensors` fixture `meta` is its string-to-string metadata and `tensors` holds all of its tensors
    (`w.*`, `in.*`, `out.*`, `mid.*`); for a `manifest_*.json` `meta` is the parsed file and `tensors` is empty.
    """

    family: str
    matches: Callable[[Path, Mapping[str, Any]], bool]
    run: Callable[[Path, Mapping[str, Any], dict[str, Tensor]], list[Measure]]


@dataclass(frozen=True)
class Outcome:
    """What came of one fixture; `problem` says why no comparison could be made."""

    path: Path
    family: str = "?"
    measures: Sequence[Measure] = field(default_factory=tuple)
    problem: str = ""

    @property
    def passed(self) -> bool:
        return not self.problem and bool(self.measures) and all(m.passed for m in self.measures)

    @property
    def worst(self) -> Measure | None:
        return max(self.measures, key=lambda m: m.severity, default=None)


def discover_checks() -> list[Check]:
    """The checks of every family whose module exists; a module that exists but cannot be imported is an error."""
    checks: list[Check] = []
    for family in FAMILIES:
        if Path(__file__).with_name(f"checks_{family}.py").exists():
            checks += importlib.import_module(f"tests.parity.checks_{family}").CHECKS
    return checks


def run_folder(folder: Path, checks: Sequence[Check] | None = None, device: str = "cpu") -> Iterator[Outcome]:
    """Run every fixture directly inside `folder`, in order of name. A folder without any is itself a failure."""
    checks = discover_checks() if checks is None else checks
    paths = sorted([*folder.glob("*.safetensors"), *folder.glob("manifest_*.json")])
    if not paths:
        yield Outcome(folder, problem="there are no fixtures in this folder")
    for path in paths:
        yield run_fixture(path, checks, device)


def run_fixture(path: Path, checks: Sequence[Check], device: str = "cpu") -> Outcome:
    """Run the one check that recognises `path`. Whatever goes wrong inside ends up in `Outcome.problem`.

    On another `device` the check gets the fixture's tensors there, and makes its own there, but for eight-bit ones
    (pictures and masks, which come from files) and families without networks. Products keep all digits of float32.
    """
    try:
        meta, tensors = load_fixture(path)
    except (OSError, ValueError, SafetensorError) as error:
        return Outcome(path, problem=f"cannot be read: {error}")
    found = [c for c in checks if c.matches(path, meta)]
    if len(found) != 1:
        claimed = ", ".join(c.family for c in found)
        return Outcome(path, problem=f"recognised by several checks ({claimed})" if found else "not recognised")
    try:
        with full_precision(), torch.device("cpu" if found[0].family in WITHOUT_NETWORKS else device):
            measures = found[0].run(path, meta, {name: there(tensor) for name, tensor in tensors.items()})
    except Exception as error:
        return Outcome(path, found[0].family, problem=f"{type(error).__name__}: {error}")
    problem = "" if measures else "nothing was compared"
    return Outcome(path, found[0].family, tuple(measures), problem)


@contextmanager
def full_precision() -> Iterator[None]:
    """Convolutions without the ten-bit mantissas that a GPU gives them by default."""
    before = torch.backends.cudnn.allow_tf32
    try:
        torch.backends.cudnn.allow_tf32 = False
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def there(tensor: Tensor) -> Tensor:
    """The tensor on the device on which tensors are made at present; eight-bit ones stay on the CPU."""
    return tensor if tensor.dtype == torch.uint8 else tensor.to(torch.get_default_device())


def report(outcome: Outcome, verbose: bool = False) -> str:
    """Name, largest error, tolerance and verdict on one line; with `verbose`, a line per comparison below it."""
    name = f"{outcome.path.parent.name}/{outcome.path.name}"
    verdict = "ok" if outcome.passed else "FAILED"
    if outcome.problem:
        return f"{name:64s} {verdict}: {outcome.problem}"
    worst = outcome.worst
    assert worst is not None
    line = f"{name:64s} error {worst.error:8.2e}  tolerance {worst.tolerance:8.2e}  {verdict}  ({worst.name})"
    shown = outcome.measures if verbose else [m for m in outcome.measures if not m.passed]
    return "\n".join([line, *(f"    {m.name:60s} {m.error:8.2e}  {m.tolerance:8.2e}" for m in shown)])


def load_fixture(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """(metadata, tensors) of a safetensors fixture; (parsed content, {}) of a JSON manifest."""
    if path.suffix == ".json":
        content = json.loads(path.read_text())
        if not isinstance(content, dict):
            raise ValueError("it is not a JSON object")
        return content, {}
    with safe_open(str(path), framework="pt") as file:
        return dict(file.metadata() or {}), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118


def group(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose name starts with `prefix` and a dot, under the rest of their name."""
    return {k[len(prefix) + 1 :]: v for k, v in tensors.items() if k.startswith(f"{prefix}.")}


def config_of(meta: Mapping[str, Any]) -> Any:
    """The configuration inside a safetensors fixture's metadata."""
    return json.loads(meta["config"])


def weights_of(path: Path, meta: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The `w.*` tensors as float32; taken from the file beside it where the metadata names one (`weights_from`)."""
    source = tensors
    if "weights_from" in meta:
        source = load_fixture(path.with_name(Path(meta["weights_from"]).name))[1]
    return {k: there(v.float() if v.is_floating_point() else v) for k, v in group(source, "w").items()}


def relative_error(got: Tensor, want: Tensor) -> float:
    """Largest absolute difference divided by the largest magnitude of `want`; infinite if shapes differ or not finite.

    Where `want` is zero throughout the difference itself is returned.
    """
    if got.shape != want.shape or not bool(torch.isfinite(got).all()):
        return math.inf
    if want.numel() == 0:
        return 0.0
    want = want.double().cpu()
    scale = float(want.abs().max())
    return float((got.detach().double().cpu() - want).abs().max()) / (scale if scale > 0 else 1.0)


def mismatch(got: Tensor, want: Tensor) -> float:
    """Share of elements that differ; infinite if the shapes do. For what must be equal exactly (tolerance 0)."""
    if got.shape != want.shape:
        return math.inf
    return float((got.cpu().to(want.dtype) != want.cpu()).double().mean()) if want.numel() else 0.0


def compare(
    got: Mapping[str, Tensor], want: Mapping[str, Tensor], tolerance: float | Mapping[str, float]
) -> list[Measure]:
    """A measure for each tensor of `want`: exact for integers and booleans, else `relative_error` within `tolerance`.

    A tensor missing from `got` counts as infinitely wrong. With a mapping, each name has its own tolerance.
    """
    measures = []
    for name, expected in want.items():
        limit = tolerance if isinstance(tolerance, float | int) else tolerance[name]
        if name not in got:
            measures.append(Measure(f"{name} is missing", math.inf, limit))
        elif expected.is_floating_point():
            measures.append(Measure(name, relative_error(got[name], expected), limit))
        else:
            measures.append(Measure(name, mismatch(got[name], expected), 0.0))
    return measures


def manifest_measures(got: Mapping[str, Tensor], want: Mapping[str, tuple[Sequence[int], str | None]]) -> list[Measure]:
    """Keys, shapes and dtypes of a state dict against a manifest: `want` maps each key to (shape, dtype name or None).

    Each measure counts the keys that differ; its name lists the first few of them.
    """
    shared = [k for k in want if k in got]
    differing = {
        "missing keys": [k for k in want if k not in got],
        "unknown keys": [k for k in got if k not in want],
        "shapes": [k for k in shared if list(got[k].shape) != list(want[k][0])],
        "dtypes": [k for k in shared if want[k][1] is not None and str(got[k].dtype) != f"torch.{want[k][1]}"],
    }
    return [Measure(_with_examples(title, keys), float(len(keys)), 0.0) for title, keys in differing.items()]


def _with_examples(title: str, keys: Iterable[str]) -> str:
    first = list(keys)[:4]
    return f"{title}: {', '.join(first)}" if first else title
