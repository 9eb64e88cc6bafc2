"""The whole pipeline on a device that is not the CPU: whoever forgets to move a tensor fails here, without a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.second_device import second_device
from tests.test_crossings import clip, mesh, settings_of
from v2m4.evaluation.glb import read_glb
from v2m4.events import Finished, MeshRefined
from v2m4.pipeline import execute, open_run, plan, reconstruct
from v2m4.recipe import Recipe
from v2m4.workbench import Workbench

__all__ = ["clip", "mesh"]
pytestmark = pytest.mark.usefixtures("tiny_trellis")


def test_mixed_devices_are_caught_and_what_is_right_is_let_through() -> None:
    with second_device() as there:
        x, weight = torch.rand(3, 4).to(there), torch.rand(4, 2, device=there, requires_grad=True)
        (x @ weight).square().sum().backward()
        assert weight.grad is not None and weight.grad.device == there
        assert x.cpu().numpy().shape == (3, 4)
        with pytest.raises(RuntimeError, match="same device"):
            _ = x + torch.rand(3, 4)
        with pytest.raises(TypeError, match="Tensor.cpu"):
            x.numpy()


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.device]:
    """The second device, which every run takes."""
    with second_device() as device:
        for module in ("recipe", "workbench"):
            monkeypatch.setattr(f"v2m4.{module}.pick_device", lambda name: device)
        yield device


def test_a_run_moves_what_each_stage_needs(there: torch.device, clip: Path, mesh: Path, tmp_path: Path) -> None:
    events = list(reconstruct(clip, settings_of(("trellis", "video", "rigid"), mesh), tmp_path))
    assert isinstance(events[-1], Finished)
    assert any(isinstance(event, MeshRefined) for event in events)
    assert torch.isfinite(read_glb(events[-1].files["glb"]).at(0.0)).all()


def test_the_papers_search_and_refinement_do_so_for_every_keyframe(
    there: torch.device, clip: Path, mesh: Path, tmp_path: Path
) -> None:
    """Up to the first registration between meshes, whose sparse solver knows real devices only."""
    recipe = Recipe.of(settings_of(("trellis", "meshes", "algorithm1"), mesh))
    run, bench = open_run(tmp_path, clip, recipe), Workbench(recipe)
    refined = 0
    for step in plan(run):
        if step.stage == "registration" and step.after is not None:
            break
        refined += sum(isinstance(event, MeshRefined) for event in execute(run, step, bench))
    assert refined == 2
