"""How the second pass has its networks recorded; what it computes is tested with the refinement."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from tests.generators.trellis import tiny
from v2m4.generators.trellis import second_pass
from v2m4.generators.trellis.predictor import Trellis
from v2m4.settings import GeneratorSettings, TrellisSettings


@pytest.mark.parametrize("able", [True, False], ids=["recorded at once", "only after a rehearsal"])
def test_networks_are_called_backward_before_the_first_recording_or_where_one_fails(
    monkeypatch: pytest.MonkeyPatch, able: bool
) -> None:
    rehearsed: list[bool] = []

    def rehearse(*_: object, stream: object = None, slopes: bool = True) -> None:
        rehearsed.append(slopes)

    def record(function: Callable[..., Tensor], *_: object, **more: object) -> Callable[..., Tensor]:
        if not rehearsed[-1] and not able:
            raise RuntimeError("operation not permitted when stream is capturing")
        return function

    monkeypatch.setattr(second_pass, "warm_up", rehearse)
    monkeypatch.setattr(second_pass, "Recorded", record)
    monkeypatch.setattr(second_pass, "GraphPool", object)
    monkeypatch.setattr(second_pass, "branches", lambda *_: (None, None))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: SimpleNamespace(cuda_stream=0))
    plug = Trellis(GeneratorSettings(trellis=TrellisSettings(steps=2), max_faces=500), model=tiny.model())
    extras = plug(tiny.picture(), torch.Generator().manual_seed(7)).extras
    for _ in range(2):
        plug.resume(extras)._record()
        assert plug.model().rehearsed
    assert rehearsed == [True] * 3 + [False] * 3 + [True] * 3 * (not able)
