"""Training, smoke-tested on the CPU with a network of a few thousand weights."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from training.average import average
from training.evaluate import layers_of
from training.kinds import TRAINED
from training.scene import Batch, make_batch
from training.tables import tables
from training.train import Recipe, Trainer, learning_rate, mirrored, run_slice, side_losses
from v2m4.generators.sculpt.network import ColumnNetwork

CPU = torch.device("cpu")


def trainer(**changed: float) -> Trainer:
    network = ColumnNetwork(widths=(8, 8, 16, 16), depth=1, heads=2, head=16)
    return Trainer(replace(Recipe(batch=1, columns=64, warmup=1, rate=3e-3), **changed), CPU, network)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def batch() -> Batch:
    made = tables(TRAINED, 1, np.random.default_rng(3), "vessel")
    return make_batch(*made, 64, torch.Generator().manual_seed(0))


def test_a_few_steps_on_one_example_lower_the_loss(batch: Batch) -> None:
    learner = trainer()
    losses = [sum(learner.train(batch)[0]) for _ in range(12)]
    assert np.mean(losses[-3:]) < 0.9 * np.mean(losses[:2])
    assert learner.step == 12 and learner.skipped == 0


def test_a_mirrored_example_shows_the_same_object_from_the_mirrored_side(batch: Batch) -> None:
    """Every column's depths lie where its picture is; twice mirrored is as before."""
    other = mirrored(batch)
    assert not torch.equal(batch.image, other.image)
    again = mirrored(other)
    for field in ("image", "pixels", "columns", "sides", "colors", "known", "valid"):
        assert torch.equal(getattr(again, field), getattr(batch, field))
    for examples in (batch, other):
        opaque = F.avg_pool2d(examples.image[:, 3:4], 2)[0, 0] > 0
        assert (opaque & examples.known[0]).sum() > 0.9 * examples.known.sum()
        depths, _ = layers_of(examples.columns)
        gap = depths[0, :, 0] - examples.sides[0, 0].flatten()[examples.pixels[0]]
        assert gap.abs().median() < 0.02


def test_what_is_not_finite_never_reaches_the_weights(batch: Batch) -> None:
    learner = trainer()
    before = [p.clone() for p in learner.network.parameters()]
    image = torch.full_like(batch.image, math.nan)
    # Known to be bad: chosen away. Not known to be bad: the step is skipped.
    learner.train(replace(batch, image=image, columns=batch.columns * math.nan, valid=torch.tensor([False])))
    learner.train(replace(batch, columns=batch.columns * math.nan))
    assert learner.skipped >= 1
    for old, new in zip(before, learner.network.parameters(), strict=True):
        assert new.isfinite().all() and (new - old).abs().max() < 0.01


def test_the_learning_rate_rises_and_falls() -> None:
    recipe = Recipe(warmup=100)
    rates = [learning_rate(step, step / 1000, recipe) for step in range(1001)]
    assert rates[0] < 0.02 * recipe.rate and max(rates) > 0.95 * recipe.rate
    assert rates[-1] == pytest.approx(recipe.last_rate)
    # A fresh optimiser is warmed up wherever it begins; four processes go twice as far in a step.
    assert learning_rate(0, 0.5, recipe) < 0.1 * rates[500]
    assert learning_rate(500, 0, recipe, 4) == pytest.approx(2 * recipe.rate)


def test_a_slice_goes_on_where_the_last_one_ended(tmp_path: Path) -> None:
    recipe = {"steps": 1}
    first = trainer(**recipe)
    run_slice(first, tmp_path, 600, 0, time.monotonic())
    assert {f.name for f in tmp_path.iterdir()} == {"state.pt", "sculpt.safetensors", "log.csv"}
    assert (tmp_path / "log.csv").read_text().splitlines()[-1].startswith("1,")
    second = trainer(**recipe)
    assert second.load(tmp_path) and second.step == 1 and second.since == 0
    for a, b in zip(first.network.parameters(), second.network.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    # Only the shipped weights: the average, in half precision, with a fresh optimiser.
    (tmp_path / "state.pt").unlink()
    third = trainer(**recipe)
    assert third.load(tmp_path) and third.step == third.since == 1
    for a, b in zip(first.averaged.parameters(), third.network.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
    assert not trainer(**recipe).load(tmp_path / "empty")


def slice_of(rank: int, folder: Path, steps: int) -> None:
    """One of two processes of a slice; it leaves its weights."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=(folder / "meeting").as_uri(), rank=rank, world_size=2)
    learner = trainer(steps=steps)
    # Only the first process has a clock: its word ends the slice for all.
    run_slice(learner, folder / "run", 0 if rank == 0 else 600, 0, time.monotonic())
    torch.save([learner.step, *learner.network.parameters()], folder / f"{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_stay_together_and_end_together(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(slice_of, (tmp_path, 5), 2)  # type: ignore[no-untyped-call]
    (step, *first), (other, *second) = (torch.load(tmp_path / f"{r}.pt", weights_only=False) for r in (0, 1))
    assert step == other == 1
    for a, b in zip(first, second, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    assert {f.name for f in (tmp_path / "run").iterdir()} == {"state.pt", "sculpt.safetensors", "log.csv"}


def test_losses_of_the_two_sides() -> None:
    """A side that is nearer by a constant has no slant; one that leans has a slant; the truth has neither."""
    truth = torch.stack([torch.zeros(1, 64, 64), torch.full((1, 64, 64), 0.4)], dim=1)  # (B,2,h,w)
    known = torch.ones(1, 64, 64, dtype=torch.bool)
    assert [float(v) for v in side_losses(truth, truth, known)] == pytest.approx([0, 0, 0], abs=1e-6)
    sides, slant, missed = side_losses(truth + 0.1, truth, known)
    assert float(sides) == pytest.approx(0.1) and float(slant) == pytest.approx(0, abs=1e-6)
    assert float(missed) == pytest.approx(1 - 0.3 / 0.5)
    ramp = torch.linspace(-0.1, 0.1, 64).expand(1, 2, 64, 64)
    assert float(side_losses(truth + ramp, truth, known)[1]) > 0.01
    # What is not known counts for nothing, whatever stands there.
    known = known & (torch.arange(64) < 32)
    wild = torch.where(known[:, None], truth, torch.nan)
    assert [float(v) for v in side_losses(wild, truth, known)] == pytest.approx([0, 0, 0], abs=1e-6)


def test_weights_are_averaged_name_by_name(tmp_path: Path) -> None:
    files = [tmp_path / f"{n}.safetensors" for n in (1, 3)]
    for file, value in zip(files, (1.0, 3.0), strict=True):
        save_file({"a": torch.full((2, 2), value), "b": torch.tensor([2 * value])}, file)
    average(files, tmp_path / "mean.safetensors")
    mean = load_file(tmp_path / "mean.safetensors")
    assert mean["a"].tolist() == [[2, 2], [2, 2]] and mean["b"].tolist() == [4]
    assert all(value.dtype == torch.float16 for value in mean.values())
