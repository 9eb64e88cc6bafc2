"""Keyframes for which a generator makes rubbish: passed over and told of; where all are rubbish, a sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.conftest import draw_frames
from tests.test_crossings import settings_of
from tests.toys import ball
from v2m4.errors import NoSurfaceError, V2M4Error
from v2m4.events import Finished, KeyframePassedOver, MeshRegistered
from v2m4.generators import GENERATORS, Generated, GeneratorPlug
from v2m4.geometry.mesh import Mesh
from v2m4.pipeline import reconstruct
from v2m4.settings import Settings, changed

FRAMES = 4


class Unreliable:
    """Long balls, but rubbish for the calls in ``broken``, each of another kind."""

    broken: tuple[int, ...] = ()

    def __init__(self) -> None:
        self.calls = 0

    @classmethod
    def from_settings(cls, settings: Settings, device: torch.device) -> Unreliable:
        return cls()

    def __call__(self, reference: NDArray[np.uint8], rng: torch.Generator, device: torch.device | str) -> Generated:
        call, self.calls = self.calls, self.calls + 1
        body = ball()
        mesh = Mesh(body.vertices * torch.tensor([0.5, 0.3, 0.3]), body.faces, colors=0.5 + 0.4 * body.vertices)
        if call not in self.broken:
            return Generated(mesh)
        if call % 3 == 0:
            return Generated(Mesh(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int64)))
        if call % 3 == 1:
            return Generated(mesh.with_vertices(mesh.vertices.log()))
        raise NoSurfaceError("Nothing came out.")


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return draw_frames(tmp_path / "lizard", FRAMES, 96)


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    plug = GeneratorPlug("generator", "unreliable", f"{__name__}:Unreliable", "", "MIT", True)
    monkeypatch.setitem(GENERATORS, "unreliable", plug)
    crossing = settings_of(("unreliable", "meshes", "rigid"), Path())
    return changed(crossing, {"refinement.enabled": False})


@pytest.mark.parametrize(("broken", "kept"), [((2,), [0, 1, 3]), ((0, 3), [1, 2])], ids=["one", "first and last"])
def test_keyframes_without_a_mesh_are_passed_over(
    broken: tuple[int, ...],
    kept: list[int],
    settings: Settings,
    clip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Unreliable, "broken", broken)
    events = list(reconstruct(clip, settings, tmp_path / "out"))
    last = events[-1]
    assert isinstance(last, Finished)
    assert last.report["keyframes"] == kept
    assert sorted(e.keyframe for e in events if isinstance(e, MeshRegistered)) == kept
    assert sorted(e.keyframe for e in events if isinstance(e, KeyframePassedOver)) == list(broken)
    told = [w for w in last.report["warnings"] if "no mesh of its own" in w]
    assert len(told) == len(broken) and told[0].startswith(f"Frame {broken[0]} ")
    *_, again = reconstruct(clip, settings, tmp_path / "out")
    assert isinstance(again, Finished) and again.report["keyframes"] == kept


def test_where_no_keyframe_has_one_all_reasons_are_told(
    settings: Settings, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Unreliable, "broken", tuple(range(FRAMES)))
    with pytest.raises(
        V2M4Error, match=r"No keyframe got a mesh\. Frame 0: .*is empty.* Frame 1: .*not finite.*Frame 2"
    ):
        list(reconstruct(clip, settings, tmp_path / "out"))
    assert not (tmp_path / "out" / "animation.glb").exists()
