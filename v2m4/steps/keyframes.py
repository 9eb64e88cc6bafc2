"""The keyframes step: which frames get a pose of their own, and which one's mesh gives the topology."""

from __future__ import annotations

import json
from collections.abc import Iterator

from v2m4.artefacts import keyframes_of, masked_clip, matting_of
from v2m4.events import Event, KeyframesChosen, Progress, StageRun
from v2m4.files import write_atomically
from v2m4.keyframes import choose_anchor, choose_keyframes, refuse_anchor
from v2m4.run import Run, Step
from v2m4.stage_spec import StageSpec
from v2m4.workbench import Workbench


def work(run: Run, step: Step, bench: Workbench) -> StageRun[None]:
    """Choose the keyframes, and among them the anchor."""
    clip = masked_clip(run)
    settings = run.recipe.settings.keyframes
    refuse_anchor(settings, len(clip))
    indices = choose_keyframes(clip, settings, matting_of(run).empty)
    yield Progress("keyframes", 0.5)
    if settings.anchor is not None:
        wanted = settings.anchor
        anchor = min(indices, key=lambda index: abs(index - wanted))
    else:
        anchor = indices[0] if run.recipe.anchor == "first" else choose_anchor(clip, indices, settings)
    data = {"indices": list(indices), "anchor": anchor}
    write_atomically(run.place(step) / "keyframes.json", json.dumps(data).encode())


def recall(run: Run, step: Step) -> Iterator[Event]:
    """The keyframes and the anchor."""
    indices, anchor = keyframes_of(run)
    yield KeyframesChosen(indices, anchor, tuple(masked_clip(run).path(i) for i in indices))


SPEC = StageSpec(
    name="keyframes",
    title="choosing keyframes",
    per="run",
    reads=("settings.keyframes", "anchor"),
    work=work,
    recall=recall,
    prior_s=1.0,
)
