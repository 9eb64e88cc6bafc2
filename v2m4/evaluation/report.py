"""How well an animation shows its video: every frame re-rendered from the reference camera and compared."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from v2m4.animation import Animation
from v2m4.arrays import Mask
from v2m4.clip import Clip
from v2m4.errors import V2M4Error
from v2m4.evaluation.glb import read_glb
from v2m4.evaluation.measures import edge_stretch, flipped_share, jitter, psnr, ssim
from v2m4.evaluation.soundness import crumpled_share, stretched_share, topology, torn_share, unseen_share
from v2m4.events import Progress, StageRun, drain
from v2m4.geometry.camera import FOV_DEG, Camera
from v2m4.geometry.mesh import Mesh
from v2m4.masks import mask_iou
from v2m4.render.fast import render_fast
from v2m4.render.pictures import straight_alpha
from v2m4.render.threads import in_order

Watch = Callable[[NDArray[np.uint8]], None]
"""What gets a frame's re-rendering, (S,S,4) with straight alpha."""
FRAMES_AT_ONCE = 4  # at most: each takes some tens of megabytes
_TRACKED_VERTICES = 2000  # whose jitter is measured, at most
_CENTRE_TOLERANCE = 0.005  # of a camera file, in picture widths: more is another crop and no rounding


def measure(
    animation: Animation, clip: Clip, stretch: float = 3.0, rest: Tensor | None = None, watch: Watch | None = None
) -> StageRun[dict[str, Any]]:
    """Compare every frame of ``clip`` (object cut out) with ``animation``; yields after each. watch: as of `compare`.

    Returns plain values: ``iou``, ``psnr`` and ``ssim`` with ``mean``, ``worst``, ``worst_frame`` and ``per_frame``
    (the first three over the frames that show the object); ``jitter``; ``flipped_faces``, ``stretched_faces`` (to more
    than ``stretch`` times some length), ``torn_faces`` (either), ``crumpled_faces`` (pressed to less than one part in
    ``stretch``) and ``edge_stretch``, against the pose ``rest`` (V,3), by default the first; ``unseen_surface`` (share
    of the area that no frame shows) and ``topology``. IoU: of the silhouettes (alpha above a half). PSNR in dB: over
    white, within the union of both silhouettes, so that what is missing or too much counts. SSIM: over white, within
    the object's box.
    """
    poses, faces = animation.vertices, animation.mesh.faces
    seen = torch.zeros(len(faces), dtype=torch.bool)
    report = yield from compare(animation.mesh_at, Camera.identity(FOV_DEG), clip, seen, watch)
    step = max(1, poses.shape[1] // _TRACKED_VERTICES)
    report["jitter"] = jitter(torch.stack([animation.at(time)[::step] for time in clip.times]))
    still = poses[0] if rest is None else rest
    report |= tears(still, poses, faces, stretch)
    report["edge_stretch"] = edge_stretch(still, poses, faces)
    report["unseen_surface"] = unseen_share(poses[0], faces, seen)
    report["topology"] = topology(poses.shape[1], faces)
    return report


def tears(rest: Tensor, posed: Tensor, faces: Tensor, stretch: float) -> dict[str, float]:
    """``flipped_faces``, ``stretched_faces``, ``torn_faces`` (either) and ``crumpled_faces`` of poses (K,V,3), as of
    `measure`."""
    return {
        "flipped_faces": flipped_share(rest, posed, faces),
        "stretched_faces": stretched_share(rest, posed, faces, stretch),
        "torn_faces": torn_share(rest, posed, faces, stretch),
        "crumpled_faces": crumpled_share(rest, posed, faces, stretch),
    }


def evaluate(glb: Path, clip: Clip, camera: Path | None = None) -> dict[str, Any]:
    """IoU, PSNR, SSIM, jitter and edge stretch, as of `measure`, for a GLB and the description of its reference camera
    (``NAME.camera.json`` beside it by default).

    Raises V2M4Error if either cannot be read or the camera belongs to a picture of another shape.
    """
    model = read_glb(glb)
    view = read_camera(camera or glb.with_suffix(".camera.json"), clip)
    report = drain(compare(lambda time: model.mesh.with_vertices(model.at(time)), view, clip))
    step = max(1, len(model.mesh.vertices) // _TRACKED_VERTICES)
    report["jitter"] = jitter(torch.stack([model.at(time)[::step] for time in clip.times]))
    if len(model.times):
        poses = torch.stack([model.at(t) for t in model.times])
        report["edge_stretch"] = edge_stretch(model.mesh.vertices, poses, model.mesh.faces)
    return report


def read_camera(path: Path, clip: Clip) -> Camera:
    """The camera described by `write_camera`'s JSON, over the square picture of ``clip``."""
    try:
        data = json.loads(path.read_text())
        w2c = torch.tensor(data["world_to_camera"], dtype=torch.float32).reshape(4, 4)
        width, height, fov_deg = float(data["width"]), float(data["height"]), float(data["fov_deg"])
        to_frame = np.asarray(data.get("image_to_frame", np.eye(3)), float).reshape(3, 3)
    except OSError as error:
        raise V2M4Error(f"The camera {path} cannot be read: {error.strerror}. It belongs beside the GLB.") from error
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        raise V2M4Error(f"{path} does not describe a camera ({error}).") from error
    focal = 0.5 * height / math.tan(math.radians(fov_deg) / 2)
    intrinsics = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
    k = np.linalg.inv(clip.image_to_frame()) @ to_frame @ intrinsics / clip.side
    if np.abs(k[:2, 2] - 0.5).max() > _CENTRE_TOLERANCE or abs(k[0, 0] - k[1, 1]) > _CENTRE_TOLERANCE:
        raise V2M4Error(f"The camera {path} belongs to a video of another size or crop than {clip.name}.")
    return Camera(w2c, math.degrees(2 * math.atan(0.5 / k[0, 0])))


def compare(
    mesh_at: Callable[[float], Mesh],
    camera: Camera,
    clip: Clip,
    seen: Tensor | None = None,
    watch: Watch | None = None,
) -> StageRun[dict[str, Any]]:
    """``iou``, ``psnr`` and ``ssim`` of every frame, as of `measure`; yields after each.

    seen: (F,) bool, where the faces that are visible in some frame are marked. watch: gets each frame's re-rendering.
    """
    rows: list[tuple[float, float, float]] = []
    shown: list[bool] = []

    def looked_at(index: int) -> tuple[NDArray[np.uint8], Tensor, tuple[float, float, float], bool]:
        frame = clip.frame(index)
        images = render_fast(mesh_at(clip.times[index]), camera, clip.side, ("mask", "color"), supersample=2)
        rendered = straight_alpha(images)
        row = compare_pictures(rendered, frame)
        return rendered, images.triangle.reshape(-1), row, bool((frame[..., 3] > 127).any())

    for index, (rendered, owners, row, there) in enumerate(in_order(looked_at, len(clip), FRAMES_AT_ONCE)):
        if seen is not None:
            seen[owners[owners >= 0]] = True
        rows.append(row)
        shown.append(there)
        if watch is not None:
            watch(rendered)
        yield Progress("export", (index + 1) / len(clip), note="measuring")
    names = ("iou", "psnr", "ssim")
    judged = np.array(shown) if any(shown) else np.ones(len(shown), bool)
    return {name: _summary(np.array(v), judged) for name, v in zip(names, zip(*rows, strict=True), strict=True)}


def compare_pictures(rendered: NDArray[np.uint8], frame: NDArray[np.uint8]) -> tuple[float, float, float]:
    """IoU, PSNR and SSIM of two (S,S,4) pictures with straight alpha."""
    ours, theirs = rendered[..., 3] > 127, frame[..., 3] > 127
    either = ours | theirs
    if not either.any():
        return 1.0, psnr(over_white(rendered), over_white(frame)), 1.0
    rows, columns = np.nonzero(either.any(axis=1))[0], np.nonzero(either.any(axis=0))[0]
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    a, b = over_white(rendered[box]), over_white(frame[box])
    return mask_iou(ours, theirs), psnr(a, b, either[box]), ssim(a, b)


def over_white(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H,W,3) of a picture (H,W,4) with straight alpha."""
    alpha = rgba[..., 3:].astype(np.float32) / 255
    return (rgba[..., :3] * alpha + 255 * (1 - alpha)).round().astype(np.uint8)


def _summary(values: NDArray[np.float64], judged: Mask) -> dict[str, Any]:
    worst = int(np.argmin(np.where(judged, values, np.inf)))
    return {
        "mean": round(float(values[judged].mean()), 4),
        "worst": round(float(values[worst]), 4),
        "worst_frame": worst,
        "per_frame": [round(float(v), 4) for v in values],
    }
