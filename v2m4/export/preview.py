"""The preview: the video and the animation re-rendered from its camera, side by side."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from v2m4.clip import Clip
from v2m4.events import Progress, StageRun
from v2m4.export.video import VideoWriter
from v2m4.geometry.camera import Camera
from v2m4.geometry.mesh import Mesh
from v2m4.render.pictures import render_rgba
from v2m4.settings import ExportSettings


class Moving(Protocol):
    """What has a mesh at every time, in the space of the reference camera: an animation, or a mesh per frame."""

    def mesh_at(self, time: float) -> Mesh:
        """The mesh at ``time`` in seconds."""
        ...


PAPER = (244, 243, 240)
"""sRGB colour behind the re-render, and behind the video where it is transparent."""
_GAP_PX = 4


def write_preview(path: Path, animation: Moving, clip: Clip, settings: ExportSettings) -> StageRun[None]:
    """Write an H.264 video with the clip's own timestamps: ``clip`` on the left, ``animation`` on the right.

    Both without the padding to a square, their longer side at most ``settings.preview_size`` pixels. Yields after
    every frame. Raises V2M4Error if it cannot be encoded.
    """
    with VideoWriter(path, clip.times, clip.duration) as writer:
        for index, picture in enumerate(preview_frames(animation, clip, settings.preview_size)):
            writer.add(picture)
            yield Progress("export", (index + 1) / len(clip), note="preview")


def preview_frames(animation: Moving, clip: Clip, size: int) -> Iterator[NDArray[np.uint8]]:
    """(H,W,3) pictures of the preview, one per frame of the clip."""
    left, top, right, bottom = clip.content_box()
    shrink = min(1.0, size / max(right - left, bottom - top))
    width, height = (max(2, round((n * shrink) / 2) * 2) for n in (right - left, bottom - top))
    gap = np.full((height, _GAP_PX, 3), PAPER, np.uint8)
    for index, time in enumerate(clip.times):
        shown = over_paper(clip.frame(index))
        rendered = over_paper(render_rgba(animation.mesh_at(time), Camera.identity(), clip.side))
        halves = []
        for picture in (shown, rendered):
            with Image.fromarray(picture[top:bottom, left:right]) as image:
                halves.append(np.asarray(image.resize((width, height), Image.Resampling.LANCZOS)))
        yield np.concatenate([halves[0], gap, halves[1]], axis=1)


def over_paper(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H,W,4) straight alpha composited over the preview's background, (H,W,3)."""
    alpha = rgba[..., 3:].astype(np.float32) / 255
    return (rgba[..., :3] * alpha + np.asarray(PAPER, np.float32) * (1 - alpha)).round().astype(np.uint8)
