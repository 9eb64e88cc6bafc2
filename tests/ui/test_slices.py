"""A GPU lent for one bounded slice at a time: each in a process of its own, forked when models are loaded."""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.conftest import little_settings
from tests.test_crossings import settings_of
from tests.ui.conftest import write_clip
from v2m4.events import Event, Finished, MeshRegistered
from v2m4.generators.sculpt.generator import network
from v2m4.recipe import Recipe
from v2m4.run import Step
from v2m4.settings import Settings, changed
from v2m4.ui import runner
from v2m4.ui.store import RunRecord, Store

pytestmark = [pytest.mark.timeout(240), pytest.mark.xdist_group("page")]


KEPT = ("generation/mesh.npz", "camera/camera.json", "refinement/mesh.npz", "registration/registered.npz")
ON_CPU = ("video", "matting", "keyframes", "refinement", "mending", "export")


class Lender:
    """Does what `spaces.GPU` does: asks how long, forks, hands events back through a pipe."""

    def __init__(self, work: Callable[..., Iterator[Event]]) -> None:
        self.work = work
        self.asked: list[int] = []

    def __call__(self, record: RunRecord, step: Step, *more: Any) -> Iterator[Event]:
        self.asked.append(runner.seconds_needed(record, step, *more))
        fork = multiprocessing.get_context("fork")
        receiving, sending = fork.Pipe(duplex=False)

        def slice_() -> None:
            for event in self.work(record, step, *more):
                sending.send(event)
            sending.send(None)

        process = fork.Process(target=slice_)
        process.start()
        sending.close()
        while (event := receiving.recv()) is not None:
            yield event
        process.join()
        assert process.exitcode == 0


@pytest.fixture
def lender(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lender]:
    lent = Lender(runner.lent_slice)
    monkeypatch.setattr(runner, "gpu_slice", lent)
    monkeypatch.setattr(runner, "gpu_share", lambda recipe, stage: 0.0 if stage in ON_CPU else 9.0)
    monkeypatch.setattr(Recipe, "wants_gpu", True)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    torch.ones(2000, 2000).exp().sum()  # the process that is forked has computed on several threads
    yield lent
    torch.set_num_threads(threads)


def done(store: Store, clip: Path) -> tuple[list[Event], bytes]:
    record = store.create(clip, little_settings())
    events = list(runner.do_run(store, record))
    assert isinstance(events[-1], Finished)
    return events, (record.folder / "animation.glb").read_bytes()


def test_a_slice_holds_as_many_steps_as_fit(lender: Lender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = write_clip(tmp_path / "lizard.mp4", frames=5, size=64)
    events, file = done(Store(tmp_path / "long"), clip)
    assert lender.asked == [60, 10], "from a mesh to poses, up to a slice; the least, once poses are mended"
    told = [e.keyframe for e in events if isinstance(e, MeshRegistered)]
    assert len(told) == len(set(told)) == 3, "nothing is told twice"

    monkeypatch.setattr(runner, "expected_seconds", lambda run, stage: 100.0)
    events, again = done(Store(tmp_path / "short"), clip)
    assert len(lender.asked) > 4, "steps that do not fit together get a slice each"
    assert sum(isinstance(e, MeshRegistered) for e in events) == 3
    assert file == again


@pytest.mark.usefixtures("tiny_trellis")
def test_the_learned_path_in_slices_is_that_of_one_process(
    lender: Lender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slices that end in the middle of keyframes: the refinement does not fit any more."""
    monkeypatch.setattr(runner, "expected_seconds", lambda run, stage: 100.0 * (stage == "refinement"))
    monkeypatch.setattr(runner, "gpu_share", lambda recipe, stage: 0.0 if stage in (*ON_CPU[:3], *ON_CPU[4:]) else 9.0)
    clip = write_clip(tmp_path / "lizard.mp4", frames=2, size=64)
    settings = changed(settings_of(("trellis", "meshes", "rigid"), clip), {"refinement.keep_better": True})
    torch.set_num_threads(1)

    def run(name: str) -> Path:
        store = Store(tmp_path / name)
        record = store.create(clip, settings)
        assert isinstance(list(runner.do_run(store, record))[-1], Finished)
        return record.folder

    sliced = run("sliced")
    assert len(lender.asked) == 3, "each refinement begins one"
    monkeypatch.setattr(runner, "gpu_slice", runner.slice_of)
    whole = run("whole")
    kept = [f"work/{frame:05d}/{name}" for frame in range(2) for name in KEPT]
    for name in (*kept, "animation.glb"):
        assert (sliced / name).read_bytes() == (whole / name).read_bytes(), name


def test_following_the_video_asks_for_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    learned = {"generator.name": "trellis", "stereo": "dust3r", "perceptual": "dreamsim"}
    monkeypatch.setattr("v2m4.recipe.pick_device", lambda name: torch.device("cuda"))
    fast, paper = (Recipe.of(changed(Settings.of(preset), learned)) for preset in ("fast", "paper"))
    assert not runner.uses_gpu(fast, Step("registration", 5, 0)) and runner.uses_gpu(fast, Step("generation", 0))
    assert runner.gpu_seconds(fast, 7) == runner.gpu_seconds(fast, 26)
    assert runner.uses_gpu(paper, Step("registration", 5, 0))
    assert runner.gpu_seconds(paper, 14) > runner.gpu_seconds(paper, 7) > runner.gpu_seconds(fast, 7) > 0
    cpu = Recipe.of(changed(Settings.of("fast"), {"generator.name": "inflate", "device": "cpu"}))
    assert runner.gpu_seconds(cpu, 7) == 0


@pytest.mark.parametrize(("measured", "expected"), [([0.3, 6.0, 5.0], 6.0), ([0.3, 6.0], 6.0), ([12.0, 1.6, 1.5], 1.6)])
def test_a_step_is_expected_to_take_as_long_as_the_longer_of_the_last_two(
    measured: list[float], expected: float
) -> None:
    """The first registration has nothing to do: by the mean, a slice of a minute would be overrun."""
    run: Any = SimpleNamespace(seconds=lambda stage: measured)
    assert runner.expected_seconds(run, "registration") == expected


@pytest.mark.parametrize("lent", [False, True])
def test_a_server_warms_up_by_itself_but_never_where_processes_are_forked(
    lent: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip, folder = write_clip(tmp_path / "clip.mp4", frames=5, size=64), tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setattr(Recipe, "wants_gpu", lent)
    network.cache_clear()
    runner.warm_up(changed(little_settings(), {"generator.name": "sculpt"}), clip, seconds=0.3).join()
    assert network.cache_info().currsize == (0 if lent else 1)
    assert not [*folder.glob("*/*")]  # what it made is gone
