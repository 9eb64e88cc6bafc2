"""The export step: the animation is measured and written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import torch

import v2m4
from v2m4.animation import Animation
from v2m4.artefacts import (
    animation_of,
    keyframes_of,
    load_camera,
    load_warnings,
    masked_clip,
    matting_of,
    meshless,
    read_clip,
    registered_vertices,
)
from v2m4.clip import Clip
from v2m4.evaluation.report import measure, tears
from v2m4.evaluation.verdict import verdict
from v2m4.events import Event, Finished, Progress, StageRun
from v2m4.export.frames import write_frames
from v2m4.export.glb import encode_texture, write_glb
from v2m4.export.placement import camera_description, write_camera
from v2m4.export.preview import PreviewWriter
from v2m4.files import digest_of, reading, write_atomically
from v2m4.ownership import RESULTS
from v2m4.run import Run, Step
from v2m4.stage_spec import StageSpec
from v2m4.workbench import Workbench


def work(run: Run, step: Step, bench: Workbench) -> StageRun[None]:
    """Measure and show every frame, then write the GLB and what goes with it; all of it takes its place at once."""
    settings, folder = run.recipe.settings, run.place(step)
    animation, clip = animation_of(run), masked_clip(run)
    yield Progress("export", 0.0)
    rest = animation.vertices[animation.keyframes.index(keyframes_of(run)[1])]
    if settings.export.material == "auto" and run.recipe.keeps_look:
        written = replace(settings.export, material="lit")
    else:
        written = settings.export
    with ExitStack() as stack:
        picture, watch = None, None
        if animation.mesh.texture is not None:  # is encoded while the frames are measured
            pool = stack.enter_context(ThreadPoolExecutor(1))
            picture = pool.submit(encode_texture, animation.mesh.texture, written.texture_format)
        if settings.export.preview:  # shows the pictures that are measured
            preview = PreviewWriter(folder / RESULTS["preview"], read_clip(run), settings.export.preview_size)
            watch = stack.enter_context(preview).add
        measured = yield from measure(animation, clip, settings.export.verdict.stretched, rest, watch)
    told = provenance(run, animation, clip, measured)
    encoded = None if picture is None else picture.result()
    write_glb(folder / RESULTS["glb"], animation, written, told, encoded)
    write_camera(folder / RESULTS["camera"], animation, clip)
    if settings.export.per_frame != "none":
        write_frames(folder / RESULTS["frames"], animation, clip.times, settings.export.per_frame)
    write_atomically(folder / RESULTS["settings"], settings.to_json().encode())
    files = {name: digest_of(folder / name) for name in RESULTS.values() if (folder / name).exists()}
    report = facts(run, animation, clip, measured) | {"files": files} | measured
    write_atomically(folder / RESULTS["report"], json.dumps(report, indent=1).encode())
    run.publish(folder)


def provenance(run: Run, animation: Animation, clip: Clip, measured: dict[str, Any]) -> dict[str, Any]:
    """What the GLB says of how it was made."""
    settings = run.recipe.settings
    return {
        "generator": f"v2m4 {v2m4.__version__}",
        "preset": settings.preset,
        "seed": settings.seed,
        "plugs": run.recipe.names,
        "camera": camera_description(animation, clip),
        "statistics": {
            "vertices": len(animation.mesh.vertices),
            "faces": len(animation.mesh.faces),
            "keyframes": len(animation),
            **{f"mean_{name}": measured[name]["mean"] for name in ("iou", "psnr", "ssim") if name in measured},
        },
    }


def facts(run: Run, animation: Animation, clip: Clip, measured: dict[str, Any]) -> dict[str, Any]:
    """What the report says beside the measures; the verdict stands first."""
    matting = matting_of(run)
    thresholds = run.recipe.settings.export.verdict
    overlaps, look = measured["iou"]["per_frame"], measured["psnr"]["per_frame"]
    hurt = measured["torn_faces"], measured["crumpled_faces"]
    judged = verdict(overlaps, matting.empty, matting.warnings, thresholds, *hurt, look)
    made = [Step(stage, index) for index in animation.keyframes for stage in ("generation", "refinement")]
    of_meshes = [w for step in made if run.done(step) for w in load_warnings(run.place(step))]
    passed_over = [
        f"Frame {index} has no mesh of its own, so the animation goes over it: {why}"
        for index, why in meshless(run).items()
    ]
    return {
        "verdict": judged,
        "version": v2m4.__version__,
        "clip": clip.name,
        "frames": len(clip),
        "times": list(clip.times),
        "duration": clip.duration,
        "keyframes": list(animation.keyframes),
        "faces": len(animation.mesh.faces),
        "vertices": len(animation.mesh.vertices),
        "plugs": run.recipe.names | {"matting": matting.method},
        "licences": run.recipe.licences(matting.method),
        "weights": run.recipe.weights,
        "camera_confidence": camera_confidence(run),
        "warnings": [
            *load_warnings(run.place(Step("video"))),
            *matting.warnings,
            *passed_over,
            *dict.fromkeys(of_meshes),
        ],
        "seconds": run.times(),
        "before_mending": before_mending(run, animation) if run.recipe.mends else {},
    }


def before_mending(run: Run, animation: Animation) -> dict[str, float]:
    """What was stretched and flipped in the poses as they were registered."""
    poses = torch.stack([registered_vertices(run, index) for index in animation.keyframes])
    rest = poses[animation.keyframes.index(keyframes_of(run)[1])]
    return tears(rest, poses, animation.mesh.faces, run.recipe.settings.export.verdict.stretched)


def camera_confidence(run: Run) -> dict[str, float]:
    """Frame of every keyframe whose camera was searched: how well the mesh it was found for covers the object there."""
    found = {}
    for index in keyframes_of(run)[0]:
        step = Step("camera", index)
        if run.done(step):  # what lies there otherwise is of earlier settings
            found[str(index)] = round(float(load_camera(run.place(step) / "camera.json")[1]["overlap"]), 4)
    return found


def recall(run: Run, step: Step) -> Iterator[Event]:
    """The files that were written, and the report."""
    files = {name: run.folder / file for name, file in RESULTS.items() if (run.folder / file).exists()}
    with reading(run.folder / RESULTS["report"]):
        report = json.loads((run.folder / RESULTS["report"]).read_text())
    yield Finished(files, report)


SPEC = StageSpec(
    name="export",
    title="writing the results",
    per="run",
    reads=("written_settings", "keeps_look"),
    work=work,
    recall=recall,
    prior_s=6.0,
)
