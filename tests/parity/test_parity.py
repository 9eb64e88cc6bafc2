"""Every recorded fixture that came with the project passes its check, and the runner itself can fail."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.parity.__main__ import main
from tests.parity.runner import (
    Check,
    Measure,
    compare,
    discover_checks,
    load_fixture,
    manifest_measures,
    mismatch,
    relative_error,
    report,
    run_fixture,
)

FIXTURES = Path(__file__).parent / "fixtures"
CHECKS = discover_checks()
PATHS = sorted([*FIXTURES.glob("*/*.safetensors"), *FIXTURES.glob("*/manifest_*.json")])


@pytest.mark.parametrize("path", PATHS, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_agrees_with_the_original(path: Path) -> None:
    outcome = run_fixture(path, CHECKS)
    assert outcome.passed, report(outcome)


def test_every_family_brought_fixtures() -> None:
    assert {c.family for c in CHECKS} == {p.parent.name for p in PATHS}


def test_fixtures_stay_small() -> None:
    assert sum(p.stat().st_size for p in FIXTURES.rglob("*") if p.is_file()) < 30e6


def _fixture(folder: Path, name: str = "thing.safetensors") -> Path:
    path = folder / name
    save_file({"in.x": torch.ones(3)}, str(path), metadata={"format": "mine"})
    return path


def _check(error: float) -> Check:
    return Check("toy", lambda p, m: m.get("format") == "mine", lambda p, m, t: [Measure("x", error, 1e-3)])


def test_a_fixture_passes_within_its_tolerance(tmp_path: Path) -> None:
    outcome = run_fixture(_fixture(tmp_path), [_check(1e-4)])
    assert outcome.passed
    assert "ok" in report(outcome)


@pytest.mark.parametrize("error", [2e-3, float("nan"), float("inf")])
def test_a_fixture_fails_beyond_its_tolerance(tmp_path: Path, error: float) -> None:
    outcome = run_fixture(_fixture(tmp_path), [_check(error)])
    assert not outcome.passed
    assert "FAILED" in report(outcome)


def test_unknown_damaged_ambiguous_and_raising_fixtures_fail(tmp_path: Path) -> None:
    def explode(*_: object) -> list[Measure]:
        raise ValueError("boom")

    path = _fixture(tmp_path)
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(path.read_bytes()[:20])
    assert run_fixture(path, []).problem == "not recognised"
    assert "several" in run_fixture(path, [_check(0), _check(0)]).problem
    assert "boom" in run_fixture(path, [Check("toy", lambda p, m: True, explode)]).problem
    assert "nothing" in run_fixture(path, [Check("toy", lambda p, m: True, lambda p, m, t: [])]).problem
    assert "cannot be read" in run_fixture(damaged, [_check(0)]).problem
    manifest = tmp_path / "manifest_list.json"
    manifest.write_text("[]")
    assert "cannot be read" in run_fixture(manifest, CHECKS).problem


def test_the_command_exits_with_1_for_unrecognised_fixtures_and_empty_folders(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path)]) == 1
    _fixture(tmp_path)
    assert main([str(tmp_path)]) == 1
    assert "not recognised" in capsys.readouterr().out


def test_the_command_exits_with_0_when_all_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "slat_norm.safetensors").write_bytes((FIXTURES / "trellis" / "slat_norm.safetensors").read_bytes())
    assert main([str(tmp_path)]) == 0
    assert "1 of 1 passed" in capsys.readouterr().out


def test_a_single_changed_number_is_found(tmp_path: Path) -> None:
    source = FIXTURES / "trellis" / "slat_norm.safetensors"
    meta, tensors = load_fixture(source)
    tensors["out.slat"][0, 0] *= 1.001
    save_file(tensors, str(tmp_path / source.name), metadata=meta)
    assert not run_fixture(tmp_path / source.name, CHECKS).passed


def test_errors_are_relative_to_the_largest_magnitude() -> None:
    assert relative_error(torch.tensor([1.0, 4.0]), torch.tensor([1.0, 5.0])) == pytest.approx(0.2)
    assert relative_error(torch.tensor([0.5]), torch.tensor([0.0])) == 0.5
    assert relative_error(torch.ones(2), torch.ones(3)) == float("inf")
    assert relative_error(torch.tensor([float("nan")]), torch.ones(1)) == float("inf")
    assert mismatch(torch.tensor([1, 2]), torch.tensor([1, 3], dtype=torch.int32)) == 0.5


def test_compare_counts_missing_tensors_as_wrong() -> None:
    (missing,) = compare({}, {"a": torch.ones(1)}, 1e-5)
    assert not missing.passed


def test_manifests_are_compared_key_by_key() -> None:
    got = {"a": torch.empty(2), "b": torch.empty(3)}
    want = {"a": ([2], "float16"), "c": ([1], None)}
    errors = {m.name.split(":")[0]: m.error for m in manifest_measures(got, want)}
    assert errors == {"missing keys": 1, "unknown keys": 1, "shapes": 0, "dtypes": 1}
