"""What each step of a run does: read its inputs from the run's folder, call the stage, write the artefacts.

A worker yields live events only; `recall` and `recall_views` tell of a finished step from what it left in the folder.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

import v2m4
from v2m4.animation import Animation
from v2m4.clip import Clip
from v2m4.device import pick_device
from v2m4.events import (
    CameraFound,
    CameraView,
    Event,
    Finished,
    ForegroundReady,
    FramesReady,
    KeyframesChosen,
    MeshGenerated,
    MeshRefined,
    MeshRegistered,
    Progress,
    Stage,
    Steps,
    TextureReady,
)
from v2m4.files import write_atomically
from v2m4.geometry.camera import Camera
from v2m4.geometry.mesh import Mesh
from v2m4.plugs import chosen_plugs, create_generator, create_perceptual, create_stereo, generator_plug
from v2m4.run import (
    STAGES,
    Run,
    Step,
    load_arrays,
    load_camera,
    load_mesh,
    load_tensors,
    save_arrays,
    save_camera,
    save_mesh,
    save_picture,
    save_tensors,
)
from v2m4.settings import Settings

if TYPE_CHECKING:
    from v2m4.stages.registration.video import VideoTracker


class Workbench:
    """The plugs of a run, each made at its first use and kept, so that no model is loaded twice."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._follower: tuple[tuple[Path, int], VideoTracker] | None = None

    @cached_property
    def device(self) -> torch.device:
        """Where the numbers are crunched."""
        return pick_device(self.settings.device)

    @cached_property
    def generator(self) -> Any:
        """Image to mesh."""
        return create_generator(self.settings, self.device)

    @cached_property
    def stereo(self) -> Any:
        """Pictures to point maps, or None when the camera search does without."""
        return create_stereo(self.settings, self.device)

    @cached_property
    def perceptual(self) -> Any:
        """Image distance."""
        return create_perceptual(self.settings, self.device)

    def follower(self, run: Run) -> VideoTracker:
        """What follows the run's video; made anew only when the anchor's mesh is another one."""
        from v2m4.stages.registration.video import VideoTracker

        _, anchor = keyframes_of(run)
        made = (run.keyframe(anchor) / "camera.json").stat().st_mtime_ns
        if self._follower is None or self._follower[0] != (run.folder, made):
            follower = VideoTracker(posed_mesh(run, anchor), masked_clip(run), anchor, run.settings.registration.video)
            self._follower = ((run.folder, made), follower)
        return self._follower[1]


def keyframes_of(run: Run) -> tuple[tuple[int, ...], int]:
    """The keyframes' frame indices, ascending, and the anchor: the one from whose mesh all others are registered."""
    data = json.loads((run.work / "keyframes.json").read_text())
    return tuple(data["indices"]), data["anchor"]


def masked_clip(run: Run) -> Clip:
    """The clip with its object cut out."""
    return Clip.load(run.work / "masked")


def posed_mesh(run: Run, index: int) -> Mesh:
    """The mesh of a keyframe, refined if it was, in camera space."""
    folder = run.keyframe(index)
    refined = run.done(Step("refinement", index))
    camera, _ = load_camera(folder / "camera.json")
    return load_mesh(folder / ("refined.npz" if refined else "mesh.npz")).transformed(camera.world_to_camera)


def registered_vertices(run: Run, index: int) -> Tensor:
    """(V,3) camera-space vertices of the animation at a keyframe."""
    return torch.from_numpy(load_arrays(run.keyframe(index) / "registered.npz")["vertices"])


def refinable(run: Run, index: int) -> bool:
    """Whether the keyframe's mesh came with what refinement needs, and refinement is wanted."""
    return run.settings.refinement.enabled and (run.keyframe(index) / "extras.safetensors").exists()


def _video(run: Run, step: Step, bench: Workbench) -> Steps[None]:
    from v2m4.video import load_video

    yield from load_video(run.source, run.work / "frames", run.settings.video)


def _matting(run: Run, step: Step, bench: Workbench) -> Steps[None]:
    from v2m4.matting.stage import cut_out

    clip = Clip.load(run.work / "frames")
    matte = yield from cut_out(clip, run.work / "masked", run.settings.matting)
    facts = {"method": matte.method, "warnings": list(matte.warnings)}
    write_atomically(run.work / "matting.json", json.dumps(facts, indent=1).encode())


def _keyframes(run: Run, step: Step, bench: Workbench) -> Steps[None]:
    from v2m4.keyframes import choose_anchor, choose_keyframes

    clip = masked_clip(run)
    indices = choose_keyframes(clip, run.settings.keyframes)
    yield Progress("keyframes", 0.5)
    first = generator_plug(run.settings).name == "template" or run.settings.registration.method == "meshes"
    anchor = indices[0] if first else choose_anchor(clip, indices)
    data = {"indices": list(indices), "anchor": anchor}
    write_atomically(run.work / "keyframes.json", json.dumps(data).encode())


def _generation(run: Run, step: Step, bench: Workbench) -> Steps[None]:
    from v2m4.export.glb import write_still

    index = _keyframe(step)
    yield Progress("generation", 0.0, index)
    made = bench.generator(masked_clip(run).frame(index), run.rng(step), bench.device)
    folder = run.keyframe(index)
    save_mesh(folder / "mesh.npz", made.mesh.to("cpu"))
    if made.camera is not None:
        save_camera(folder / "hint.json", made.camera)
    tensors = {name: value for name, value in made.extras.items() if isinstance(value, Tensor)}
    arrays = {name: value for name, value in made.extras.items() if isinstance(value, np.ndarray)}
    if tensors:
        save_tensors(folder / "extras.safetensors", tensors)
    if arrays:
        save_arrays(folder / "extras.npz", **arrays)
    write_still(folder / "mesh.glb", made.mesh.to("cpu"), axes="z_up")


def _camera(run: Run, step: Step, bench: Workbench) -> Steps[None]:
    from v2m4.stages.camera.search import search_camera

    index = _keyframe(step)
    folder = run.keyframe(index)
    hint = folder / "hint.json"
    start = load_camera(hint)[0] if hint.exists() else _camera_before(run, index)
    views: dict[str, dict[str, float]] = {}
    search = search_camera(
        load_mesh(folder / "mesh.npz"),
        masked_clip(run).frame(index),
        run.settings.camera,
        perceptual=bench.perceptual,
        stereo=bench.stereo,
        rng=run.rng(step),
        keyframe=index,
        start=start,
        device=bench.device,
    )
    while True:
        try:
            event = next(search)
        except StopIteration as stop:
            found = stop.value
            break
        if isinstance(event, CameraView):
            save_picture(folder / f"view_{event.phase}.png", event.image)
            views[event.phase] = {"score": event.score, "overlap": event.overlap}
        yield event
    write_atomically(folder / "views.json", json.dumps(views, indent=1).encode())
    save_camera(folder / "camera.json", found.camera, score=found.score, overlap=found.overlap)


def _camera_before(run: Run, index: int) -> Any:
    """The camera of the keyframe before, which sees nearly the same pose."""
    earlier = [i for i in keyframes_of(run)[0] if i < index and run.done(Step("camera", i))]
    warm = run.settings.camera.warm_start and earlier
    return load_camera(run.keyframe(earlier[-1]) / "camera.json")[0] if warm else None


def _refinement(run: Run, step: Step, bench: Workbench) -> Steps[None]:
    from v2m4.export.glb import write_still
    from v2m4.stages.refinement import refine_appearance

    index = _keyframe(step)
    folder = run.keyframe(index)
    mesh = yield from refine_appearance(
        bench.generator,
        load_tensors(folder / "extras.safetensors"),
        masked_clip(run).frame(index),
        load_camera(folder / "camera.json")[0],
        run.settings.refinement,
        rng=run.rng(step),
        keyframe=index,
        device=bench.device,
    )
    save_mesh(folder / "refined.npz", mesh.to("cpu"))
    write_still(folder / "refined.glb", mesh.to("cpu"), axes="z_up")


def _registration(run: Run, step: Step, bench: Workbench) -> Steps[None]:
    index = _keyframe(step)
    topology = posed_mesh(run, keyframes_of(run)[1])
    if run.settings.registration.method == "video":
        vertices = yield from _follow(run, step, bench)
    elif step.after is None:
        vertices = topology.vertices
    else:
        from v2m4.stages.registration.meshes import register_meshes

        vertices = yield from register_meshes(
            registered_vertices(run, step.after),
            topology,
            posed_mesh(run, index),
            run.settings.registration.meshes,
            rng=run.rng(step),
            keyframe=index,
            device=bench.device,
        )
    save_arrays(run.keyframe(index) / "registered.npz", vertices=vertices.cpu().numpy())
    picture, overlap = _registered_view(run, topology.with_vertices(vertices.cpu()), index)
    save_picture(run.keyframe(index) / "registered.png", picture)
    write_atomically(run.keyframe(index) / "registered.json", json.dumps({"overlap": overlap}).encode())


def _follow(run: Run, step: Step, bench: Workbench) -> Steps[Tensor]:
    """Register by following the video from the keyframe before; the follower's state travels through the folder."""
    from v2m4.stages.registration.video import TrackerState

    index, follower = _keyframe(step), bench.follower(run)
    if step.after is None:
        state = follower.start()
    else:
        before = TrackerState(**load_arrays(run.keyframe(step.after) / "follow.npz"))
        state = yield from follower.follow(before, step.after, index)
    save_arrays(run.keyframe(index) / "follow.npz", **vars(state))
    return torch.from_numpy(state.vertices).float()


def _registered_view(run: Run, mesh: Mesh, index: int) -> tuple[NDArray[np.uint8], float]:
    """The registered mesh seen by the video camera, (S,S,4) uint8, and its mask overlap with the frame."""
    from v2m4.render import render_fast

    clip = masked_clip(run)
    size = min(clip.side, _VIEW_SIZE)
    images = render_fast(mesh, Camera.identity(), size, ("mask", "color"), supersample=2)
    assert images.mask is not None and images.color is not None
    mask, color = images.mask[0].numpy(), images.color[0].numpy()
    with Image.fromarray(clip.frame(index)[..., 3]) as alpha:
        truth = np.asarray(alpha.resize((size, size), Image.Resampling.BOX)) > 127
    found = mask > 0.5
    overlap = float((found & truth).sum() / max((found | truth).sum(), 1))
    straight = color / np.maximum(mask[..., None], 1e-6)
    picture = np.concatenate([straight, mask[..., None]], axis=-1)
    return (picture.clip(0, 1) * 255 + 0.5).astype(np.uint8), overlap


def _texture(run: Run, step: Step, bench: Workbench) -> Steps[None]:
    from v2m4.stages.texture.stage import texture_mesh

    indices, anchor = keyframes_of(run)
    poses = torch.stack([registered_vertices(run, i) for i in indices])
    mesh = yield from texture_mesh(
        poses,
        posed_mesh(run, anchor),
        masked_clip(run),
        indices,
        run.settings.texture,
        anchor=anchor,
        keep=run.settings.texture.keep_template and generator_plug(run.settings).name == "template",
        rng=run.rng(step),
        device=bench.device,
    )
    save_mesh(run.work / "textured.npz", mesh.to("cpu"))
    if mesh.texture is not None:
        save_picture(run.work / "texture.png", (mesh.texture.cpu().clamp(0, 1) * 255).byte().numpy())


def animation_of(run: Run) -> Animation:
    """The finished animation, from the run's artefacts."""
    indices, _ = keyframes_of(run)
    clip = masked_clip(run)
    poses = torch.stack([registered_vertices(run, i) for i in indices])
    mesh = load_mesh(run.work / "textured.npz").with_vertices(poses[0])
    return Animation(poses, tuple(clip.times[i] for i in indices), mesh, clip.duration, clip.name, indices)


def _export(run: Run, step: Step, bench: Workbench) -> Steps[None]:
    from v2m4.evaluation.report import measure
    from v2m4.export.frames import write_frames
    from v2m4.export.glb import write_glb
    from v2m4.export.placement import camera_description, write_camera
    from v2m4.export.preview import write_preview

    settings = run.settings
    animation, clip = animation_of(run), masked_clip(run)
    yield Progress("export", 0.0)
    report = yield from measure(animation, clip)
    plugs = {port: plug.name for port, plug in chosen_plugs(settings).items()}
    provenance = {
        "generator": f"v2m4 {v2m4.__version__}",
        "preset": settings.preset,
        "seed": settings.seed,
        "plugs": plugs,
        "camera": camera_description(animation, clip),
        "statistics": {
            "vertices": len(animation.mesh.vertices),
            "faces": len(animation.mesh.faces),
            "keyframes": len(animation),
            **{f"mean_{name}": report[name]["mean"] for name in ("iou", "psnr", "ssim") if name in report},
        },
    }
    write_glb(run.folder / "animation.glb", animation, settings.export, provenance)
    write_camera(run.folder / "animation.camera.json", animation, clip)
    if settings.export.per_frame != "none":
        write_frames(run.folder / "frames", animation, clip.times, settings.export.per_frame)
    if settings.export.preview:
        yield from write_preview(run.folder / "preview.mp4", animation, Clip.load(run.work / "frames"), settings.export)
    report |= {
        "version": v2m4.__version__,
        "clip": clip.name,
        "frames": len(clip),
        "times": list(clip.times),
        "duration": clip.duration,
        "keyframes": list(animation.keyframes),
        "faces": len(animation.mesh.faces),
        "vertices": len(animation.mesh.vertices),
        "plugs": plugs,
        "warnings": json.loads((run.work / "matting.json").read_text())["warnings"],
        "seconds": {stage: round(sum(run.seconds(stage)), 2) for stage in STAGES if run.seconds(stage)},
    }
    write_atomically(run.folder / "report.json", json.dumps(report, indent=1).encode())
    write_atomically(run.folder / "settings.json", settings.to_json().encode())


def recall(run: Run, step: Step) -> Iterator[Event]:
    """The milestone of a finished step, told from its artefacts."""
    folder = run.keyframe(step.keyframe) if step.keyframe is not None else run.work
    match step.stage:
        case "video":
            clip = Clip.load(run.work / "frames")
            yield FramesReady(len(clip), clip.source_size, clip.duration)
        case "matting":
            facts = json.loads((run.work / "matting.json").read_text())
            yield ForegroundReady(facts["method"], tuple(facts["warnings"]))
        case "keyframes":
            indices, anchor = keyframes_of(run)
            yield KeyframesChosen(indices, anchor, tuple(masked_clip(run).path(i) for i in indices))
        case "generation":
            faces = len(load_arrays(folder / "mesh.npz")["faces"])
            yield MeshGenerated(_keyframe(step), faces, folder / "mesh.glb")
        case "camera":
            yield CameraFound(_keyframe(step), load_camera(folder / "camera.json")[1]["overlap"])
        case "refinement":
            yield MeshRefined(_keyframe(step), folder / "refined.glb")
        case "registration":
            overlap = json.loads((folder / "registered.json").read_text())["overlap"]
            yield MeshRegistered(_keyframe(step), overlap, folder / "registered.png")
        case "texture":
            yield TextureReady(run.work / "texture.png")
        case "export":
            files = {name: run.folder / file for name, file in _RESULTS.items() if (run.folder / file).exists()}
            yield Finished(files, json.loads((run.folder / "report.json").read_text()))


def recall_views(run: Run, step: Step) -> Iterator[Event]:
    """The camera views of a finished search."""
    if step.stage != "camera":
        return
    folder = run.keyframe(_keyframe(step))
    for phase, facts in json.loads((folder / "views.json").read_text()).items():
        with Image.open(folder / f"view_{phase}.png") as image:
            yield CameraView(_keyframe(step), phase, np.asarray(image), facts["score"], facts["overlap"])


def _keyframe(step: Step) -> int:
    assert step.keyframe is not None
    return step.keyframe


_VIEW_SIZE = 384
_RESULTS: Mapping[str, str] = {
    "glb": "animation.glb",
    "camera": "animation.camera.json",
    "preview": "preview.mp4",
    "settings": "settings.json",
    "report": "report.json",
    "frames": "frames",
}
WORK: Mapping[Stage, Callable[[Run, Step, Workbench], Steps[None]]] = {
    "video": _video,
    "matting": _matting,
    "keyframes": _keyframes,
    "generation": _generation,
    "camera": _camera,
    "refinement": _refinement,
    "registration": _registration,
    "texture": _texture,
    "export": _export,
}
