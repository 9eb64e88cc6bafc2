"""The law of a run's folder: whatever happened in it before, it ends as a fresh one would.

Random histories of other settings, of attempts that were stopped, failed or killed, and of files that were deleted or
damaged; after each, one whole run, whose files are compared byte for byte with those of a folder of its own.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import draw_frames, little_settings
from v2m4.pipeline import reconstruct
from v2m4.run import Run
from v2m4.settings import Settings, changed

FRAMES, SIZE = 3, 64
BASE = {
    "generator.name": "inflate",
    "generator.inflate.faces": 200,
    "keyframes.stride": 1,
    "registration.meshes.alignment.iterations": 2,
    "registration.meshes.limbs.rounds": 0,
    "registration.meshes.large_steps.iterations": 2,
    "registration.meshes.view_size": 32,
    "registration.meshes.surface_samples": 100,
    "registration.video.nodes": 12,
    "camera.score.size": 48,
    "camera.rigid.directions": 60,
    "camera.rigid.candidates": 4,
    "camera.stereo.enabled": False,
    "texture.size": 48,
    "export.preview_size": 48,
}
VARIANTS: list[dict[str, object]] = [
    {},
    {"texture.size": 32},
    {"camera.rigid.directions": 50},
    {"registration.method": "meshes"},
    {"keyframes.stride": 2},
    {"export.per_frame": "obj", "export.preview": False},
    {"low_vram": True},
]


class CrashError(Exception):
    """What ends an attempt in these tests."""


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_frames(tmp_path_factory.mktemp("clip") / "lizard", FRAMES, SIZE)


def settings_of(variant: int) -> Settings:
    return changed(little_settings(), {**BASE, **VARIANTS[variant]})


def files_of(folder: Path) -> dict[str, bytes]:
    """All files but the lock and the manifest; the report without what was measured by the clock."""
    found = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in ("lock", "run.json")
    }
    report = json.loads(found["report.json"])
    del report["seconds"]
    return found | {"report.json": json.dumps(report).encode()}


@pytest.fixture(scope="module")
def fresh(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], dict[str, bytes]]:
    """The files of a variant in a folder of its own, made at the first use."""
    made: dict[int, dict[str, bytes]] = {}

    def files(variant: int) -> dict[str, bytes]:
        if variant not in made:
            folder = tmp_path_factory.mktemp("fresh")
            list(reconstruct(clip, settings_of(variant), folder))
            made[variant] = files_of(folder)
        return made[variant]

    return files


def attempt(clip: Path, folder: Path, variant: int, events: int, killed: bool) -> None:
    """A run that ends after so many events, if it has as many; one that is ``killed`` has no time to tidy up."""
    with pytest.MonkeyPatch.context() as patch:
        if killed:
            patch.setattr(Run, "abandon", lambda run: None)
        run = reconstruct(clip, settings_of(variant), folder)
        try:
            for _ in range(events):
                next(run)
            run.throw(CrashError())  # type: ignore[attr-defined]
        except (CrashError, StopIteration):
            return


def harm(folder: Path, draw: random.Random) -> str:
    """Delete a file below work, or damage it; a result is only deleted, since a changed one is somebody's own."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name not in ("lock", "run.json"))
    if not files:
        return "nothing there"
    path = draw.choice(files)
    if draw.random() < 0.5 or "work" not in path.relative_to(folder).parts:
        path.unlink()
        return f"deleted {path.relative_to(folder)}"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] + b"rubbish")
    return f"damaged {path.relative_to(folder)}"


def check(seed: int, length: int, clip: Path, folder: Path, fresh: Callable[[int], dict[str, bytes]]) -> None:
    draw, history = random.Random(seed), []
    for _ in range(length):
        variant = draw.randrange(len(VARIANTS))
        if draw.random() < 0.4:
            history.append(harm(folder, draw))
        else:
            events, killed = draw.randrange(1, 120), draw.random() < 0.5
            history.append(f"{'killed' if killed else 'stopped'} {VARIANTS[variant]} after {events} events")
            attempt(clip, folder, variant, events, killed)
    last = draw.randrange(len(VARIANTS))
    list(reconstruct(clip, settings_of(last), folder))
    found, expected = files_of(folder), fresh(last)
    differing = [name for name in {*found, *expected} if found.get(name) != expected.get(name)]
    assert not differing, (sorted(differing), history, VARIANTS[last])


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.xdist_group("run law")
def test_any_history_ends_as_a_fresh_folder_does(
    seed: int, clip: Path, tmp_path: Path, fresh: Callable[[int], dict[str, bytes]]
) -> None:
    check(seed, 4, clip, tmp_path, fresh)
