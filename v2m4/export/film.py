"""Films of a finished animation: from its reference camera or around it, in any look, size and rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from PIL import Image

from v2m4.arrays import Bytes
from v2m4.clip import Clip
from v2m4.errors import V2M4Error
from v2m4.export.looks import OVER_BLACK, Lighting, Look, backdrop, picture
from v2m4.export.orbit import travelled
from v2m4.export.video import VideoWriter
from v2m4.files import replacing
from v2m4.geometry.camera import Camera
from v2m4.geometry.mesh import Mesh

View = Literal["reference", "orbit"]
Background = Literal["white", "black", "transparent", "panorama"]
Layer = Look | Literal["overlay"]
SMALLEST, LARGEST = 16, 4096  # side of a film, in pixels: smaller shows nothing, larger fills the memory
# The overlay on the video: colour of the outline, its widths in the picture's longer side, and the mesh's opacity.
_CONTOUR, _CONTOUR_WIDTHS, _OVERLAY = (255, 110, 0), 400, 0.6


@dataclass(frozen=True)
class Stage:
    """What is filmed: the mesh at any time, the camera of the video, the clip (object cut out), and as it was read."""

    at: Callable[[float], Mesh]
    camera: Camera
    clip: Clip
    source: Clip | None = None

    @cached_property
    def depths(self) -> tuple[float, float]:
        """Least and greatest distance from the reference camera, over all frames."""
        each = [self.camera.to_camera(self.at(time).vertices)[:, 2] for time in self.clip.times]
        return min(float(z.min()) for z in each), max(float(z.max()) for z in each)

    @cached_property
    def middle(self) -> torch.Tensor:
        """(3,) the middle of the box around all frames' meshes, as the reference camera sees it."""
        each = [self.camera.to_camera(self.at(time).vertices) for time in self.clip.times]
        low, high = (torch.stack([f(v, 0) for v in each]) for f in (torch.amin, torch.amax))
        return (low.amin(0) + high.amax(0)) / 2


@dataclass(frozen=True)
class Film:
    """How it is filmed.

    size: (width, height) in pixels. fps: pictures per second, in between interpolated; None: the clip's own times.
    orbit_deg: how far the camera travels about the object during the clip. panorama: what lights clay and may stand
    behind.
    """

    size: tuple[int, int]
    view: View = "reference"
    orbit_deg: float = 360.0
    fps: float | None = None
    background: Background = "white"
    light: Lighting | None = None

    def checked(self) -> Film:
        """This. Raises V2M4Error for a size or rate that cannot be."""
        for what, value in zip(("width", "height"), self.size, strict=True):
            if not SMALLEST <= value <= LARGEST:
                raise V2M4Error(f"The {what} must lie between {SMALLEST} and {LARGEST} pixels, but is {value}.")
        if self.fps is not None and not 0.01 <= self.fps <= 1000:
            raise V2M4Error(f"The rate must lie between 0.01 and 1000 pictures per second, but is {self.fps:g}.")
        if not math.isfinite(self.orbit_deg):
            raise V2M4Error("The orbit must be a number of degrees.")
        return self

    def times(self, clip: Clip) -> tuple[float, ...]:
        """Seconds of the pictures."""
        if self.fps is None:
            return clip.times
        return tuple(k / self.fps for k in range(max(1, math.ceil(clip.duration * self.fps - 1e-9))))


def default_size(stage: Stage, view: View, longer: int) -> tuple[int, int]:
    """(width, height), even, with the video's shape for the reference view and square for an orbit."""
    if view == "orbit":
        return longer - longer % 2, longer - longer % 2
    left, top, right, bottom = stage.clip.content_box()
    scale = longer / max(right - left, bottom - top)
    width, height = (max(2, round(n * scale / 2) * 2) for n in (right - left, bottom - top))
    return width, height


def pictures(stage: Stage, film: Film, layer: Layer) -> Iterator[Bytes]:
    """(H,W,4) straight alpha of every picture of the film, composited over its background."""
    if layer == "overlay" and (film.view != "reference" or stage.source is None):
        raise V2M4Error("The overlay lies on the video, so it exists for the reference view only.")
    light = film.light or Lighting.studio()
    side, corner = _window(stage, film)
    for time in film.times(stage.clip):
        camera = _camera(stage, film, time)
        look: Look = "color" if layer == "overlay" else layer
        square = picture(stage.at(time), camera, side, look, stage.depths, light)
        rgba = _cut(square, corner, film.size)
        if layer == "overlay":
            assert stage.source is not None
            frame = _frame_at(stage.source, time, side)
            yield _overlay(rgba, _cut(frame, corner, film.size))
        elif film.background == "transparent":
            yield rgba
        else:
            behind = _cut(backdrop(camera, side, light), corner, film.size) if film.background == "panorama" else None
            yield _over(rgba, "black" if layer in OVER_BLACK else film.background, behind)


def write_film(path: Path, stage: Stage, film: Film, layer: Layer) -> None:
    """Write the film: .mp4 (H.264), .webm (VP9, with transparency), or a folder of PNGs for a path without suffix.

    Raises V2M4Error for another suffix, and for transparency in a file that cannot hold it.
    """
    suffix, times = path.suffix.lower(), film.checked().times(stage.clip)
    if suffix not in ("", ".mp4", ".webm"):
        raise V2M4Error(f"{path.name}: films are written as .mp4, .webm, or into a folder of PNGs (no suffix).")
    if suffix == ".mp4" and film.background == "transparent" and layer != "overlay":
        raise V2M4Error(f"{path.name}: an mp4 holds no transparency. Write a .webm, or a folder of PNGs (no suffix).")
    if not suffix:
        for index, rgba in enumerate(pictures(stage, film, layer)):
            _write_png(path / f"{index:05d}.png", rgba, film.background == "transparent")
        for old in path.glob("[0-9]" * 5 + ".png"):  # of a longer film that was here before
            if int(old.stem) >= len(times):
                old.unlink()
        return
    duration = stage.clip.duration if film.fps is None else len(times) / film.fps
    codec: Literal["h264", "vp9"] = "vp9" if suffix == ".webm" else "h264"
    with VideoWriter(path, times, duration, codec=codec) as writer:
        for rgba in pictures(stage, film, layer):
            writer.add(rgba if codec == "vp9" else rgba[..., :3])


def write_sheet(path: Path, stage: Stage, film: Film, layers: Sequence[Layer], columns: int) -> None:
    """Write a PNG of ``columns`` moments side by side: the video above, a row for each of ``layers`` below."""
    times = film.checked().times(stage.clip)
    chosen = sorted({round(k) for k in np.linspace(0, len(times) - 1, min(max(1, columns), len(times)))})
    side, corner = _window(stage, film)
    rows = []
    if stage.source is not None and film.view == "reference":
        frames = [_cut(_frame_at(stage.source, times[k], side), corner, film.size) for k in chosen]
        rows.append(np.concatenate([_over(frame, "white", None) for frame in frames], axis=1))
    for layer in layers:
        every = list(enumerate(pictures(stage, film, layer)))
        rows.append(np.concatenate([rgba for index, rgba in every if index in chosen], axis=1))
    _write_png(path, np.concatenate(rows, axis=0), film.background == "transparent")


def _camera(stage: Stage, film: Film, time: float) -> Camera:
    if film.view == "reference":
        return stage.camera
    return travelled(stage.camera, stage.middle, math.radians(film.orbit_deg) * time / max(stage.clip.duration, 1e-9))


def _window(stage: Stage, film: Film) -> tuple[int, tuple[int, int]]:
    """(side of the square that is rendered, left and top of the film's picture in it): the video just fits."""
    width, height = film.size
    left, top, right, bottom = stage.clip.content_box() if film.view == "reference" else (0, 0, 1, 1)
    whole = stage.clip.side if film.view == "reference" else 1
    scale = min(width / (right - left), height / (bottom - top))
    side = max(1, round(whole * scale))
    middle = ((left + right) / 2 * side / whole, (top + bottom) / 2 * side / whole)
    return side, (round(middle[0] - width / 2), round(middle[1] - height / 2))


def _cut(square: Bytes, corner: tuple[int, int], size: tuple[int, int]) -> Bytes:
    """(H,W,C) of a square picture from a corner that may lie outside; zeros where the square ends."""
    out = np.zeros((size[1], size[0], square.shape[2]), np.uint8)
    left, top = corner
    x0, y0 = max(0, left), max(0, top)
    part = square[y0 : max(y0, top + size[1]), x0 : max(x0, left + size[0])]
    out[y0 - top : y0 - top + part.shape[0], x0 - left : x0 - left + part.shape[1]] = part
    return out


def _frame_at(clip: Clip, time: float, side: int) -> Bytes:
    """(side,side,4) the frame that is shown at ``time``."""
    index = max((k for k, t in enumerate(clip.times) if t <= time + 1e-9), default=0)
    with Image.fromarray(clip.frame(index)) as image:
        kernel = Image.Resampling.BOX if side < clip.side else Image.Resampling.BICUBIC
        return np.asarray(image.resize((side, side), kernel))


def _over(rgba: Bytes, background: str, behind: Bytes | None) -> Bytes:
    """Opaque (H,W,4): over white, black, or a picture (H,W,3)."""
    paper = np.float32(255 if background == "white" else 0) if behind is None else behind.astype(np.float32)
    alpha = rgba[..., 3:].astype(np.float32) / 255
    colour = (rgba[..., :3] * alpha + paper * (1 - alpha)).round().astype(np.uint8)
    return np.concatenate([colour, np.full_like(colour[..., :1], 255)], axis=-1)


def _overlay(rgba: Bytes, frame: Bytes) -> Bytes:
    """The rendering, half seen through, on the video's frame, with its outline."""
    thinned = rgba.copy()
    thinned[..., 3] = (rgba[..., 3] * _OVERLAY).astype(np.uint8)
    out = _over(thinned, "white", _over(frame, "white", None)[..., :3])
    covered = (rgba[..., 3] > 127).astype(np.uint8)
    width = max(1, round(max(covered.shape) / _CONTOUR_WIDTHS))
    kernel = np.ones((2 * width + 1, 2 * width + 1), np.uint8)
    out[(cv2.dilate(covered, kernel) > 0) & (covered == 0), :3] = _CONTOUR
    return out


def _write_png(path: Path, rgba: Bytes, transparent: bool) -> None:
    with replacing(path) as temporary:
        Image.fromarray(rgba if transparent else rgba[..., :3]).save(temporary, format="PNG")
