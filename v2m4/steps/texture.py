"""The texture step: one texture for all keyframes."""

from __future__ import annotations

from collections.abc import Iterator

from v2m4.artefacts import keyframes_of, masked_clip, moving_vertices, posed_mesh, save_mesh, save_picture
from v2m4.events import Event, StageRun, TextureReady
from v2m4.run import Run, Step
from v2m4.stage_spec import StageSpec
from v2m4.stages.texture.stage import texture_mesh
from v2m4.workbench import Workbench


def work(run: Run, step: Step, bench: Workbench) -> StageRun[None]:
    """Texture the registered mesh."""
    indices, anchor = keyframes_of(run)
    place = run.place(step)
    mesh = yield from texture_mesh(
        moving_vertices(run),
        posed_mesh(run, anchor),
        masked_clip(run),
        indices,
        run.recipe.settings.texture,
        anchor=anchor,
        keep=run.recipe.keeps_look,
        rng=run.rng(step),
        device=bench.device,
    )
    save_mesh(place / "mesh.npz", mesh.to("cpu"))
    if mesh.texture is not None:
        save_picture(place / "texture.png", (mesh.texture.cpu().clamp(0, 1) * 255).byte().numpy())


def recall(run: Run, step: Step) -> Iterator[Event]:
    """Where the texture lies."""
    yield TextureReady(run.place(step) / "texture.png")


SPEC = StageSpec(
    name="texture",
    title="painting the texture",
    per="run",
    reads=("settings.texture", "keeps_look"),
    work=work,
    recall=recall,
    prior_s=1.5,
    gpu_s=20,
    warm_gpu_s=1,
)
