"""Pixels in: a video file, an animated picture, or a folder or zip of pictures becomes a `Clip` of square RGBA frames.

Frames are decoded, turned upright, shrunk and written one by one, so memory does not grow with their number. Readers
(`v2m4.sources`) know the file formats; this file knows what a `Clip` is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from v2m4.clip import Clip
from v2m4.color import OPAQUE
from v2m4.errors import V2M4Error
from v2m4.events import Progress, StageRun
from v2m4.files import write_atomically
from v2m4.settings import VideoSettings
from v2m4.sources import Source, TimedFrame, open_source

_MIN_SIDE = 16  # pixels: smaller pictures show nothing that could be followed
_FULL = 255  # alpha of what hides all behind it
_ALPHA_NOISE = 12  # levels by which compression makes alpha differ that was the same everywhere
_USUAL_FPS = 24.0  # of a file that does not tell its own
_STRAY_SHARE = 1e-3  # of a picture's pixels, whose alpha may be anything
_PANE_FILL = 0.92  # of its own box: less is no rectangle with rounded corners
_PANE_AREA = 0.6  # of the picture: less is more than bars beside it
_LEAST_ALPHA = 0.5  # of 255: what rounds to 0


@dataclass(frozen=True)
class VideoFacts:
    """What a quick look at a file tells. ``frames`` and ``seconds`` are estimates where the file does not say.

    size: (width, height) of the upright frames, in pixels. has_alpha: the first frame has transparent pixels. counted:
    the file says how many frames it has.
    """

    frames: int
    size: tuple[int, int]
    seconds: float
    fps: float
    has_alpha: bool
    counted: bool = True


def probe(path: Path, settings: VideoSettings | None = None) -> VideoFacts:
    """Look at the header and first frames of ``path``; raises V2M4Error for what `load_video` would refuse at once."""
    settings = settings or VideoSettings()
    _refuse_settings(settings)
    with open_source(Path(path), settings.pictures_fps) as source:
        _refuse_shape(source, settings)
        first, second = (next(frames, None) for frames in [source.frames(0.0, settings.longest_side)] * 2)
        if first is None:
            raise _too_few(source, 0, settings)
        if second is None:
            raise _single_frame(source)
        if 0 < source.seconds <= settings.start_s:
            raise _too_few(source, 0, settings)
        expected = _expected_frames(source, settings)
        if _is_too_many(expected, settings):
            raise _too_long(source, expected, settings)
        fps = source.fps if source.fps > 0 else _USUAL_FPS
        frames = source.frame_count or max(2, round(source.seconds * fps))
        seconds = source.seconds or frames / fps
        alpha = _AlphaSeen()
        for frame in (first, second):
            alpha.add(frame.rgba)
        return VideoFacts(
            frames, source.size, seconds, frames / seconds, alpha.is_cut_out(), counted=source.frame_count > 0
        )


def load_video(
    path: Path, folder: Path, settings: VideoSettings, warn: Callable[[str], None] = lambda sentence: None
) -> StageRun[Clip]:
    """Decode ``path`` into ``folder`` (00000.png …, clip.json) and return the clip; yields Progress.

    Frames are upright, at most ``settings.longest_side`` on their longer side (never enlarged) and centred in a square
    with transparent padding. Frames without transparency get alpha 255. Timestamps are the file's own, from the first
    frame read; pictures in a folder or zip are ``1 / settings.pictures_fps`` apart. ``warn`` is told, a sentence
    each, what of the file is not there. Raises V2M4Error when the file cannot be used; nothing stays in ``folder``
    then.
    """
    _refuse_settings(settings)
    with open_source(Path(path), settings.pictures_fps) as source:
        _refuse_shape(source, settings)
        expected = _expected_frames(source, settings)
        if _is_too_many(expected, settings):
            raise _too_long(source, expected, settings)
        scale = min(1.0, settings.longest_side / max(source.size))
        fitted = _fitted(source.size, scale)
        _clear(folder)
        done = False
        try:
            clip = yield from _write_frames(source, folder, settings, scale, fitted, expected)
            clip.save()
            done = True
            for sentence in _lacks(source):
                warn(sentence)
        finally:
            if not done:
                _clear(folder)
        return clip


def _lacks(source: Source) -> Iterator[str]:
    """Sentences about frames that a decoded file should have, but has not."""
    if source.missing:
        yield (
            f"{source.name} lacks {source.missing} of its {source.missing + source.frame_count} frames, by the numbers "
            "in the names of its pictures. The motion goes on through the time of these."
        )
    if source.damaged:
        yield f"Damaged frames of {source.name} were left out: {source.damaged}."


def _write_frames(
    source: Source, folder: Path, settings: VideoSettings, scale: float, fitted: tuple[int, int], expected: int
) -> StageRun[Clip]:
    side = max(fitted)
    left, top = (side - fitted[0]) // 2, (side - fitted[1]) // 2
    times: list[float] = []
    end, alpha = 0.0, _AlphaSeen()
    for index, frame in enumerate(_trimmed(source, settings)):
        end = max(end, frame.time + frame.duration)
        if index % settings.frame_step:
            continue
        if len(times) == settings.max_frames:
            raise _too_long(source, max(expected, settings.max_frames + 1), settings)
        picture = fit(frame.rgba, fitted)
        alpha.add(picture)
        square = np.zeros((side, side, 4), np.uint8)
        square[top : top + fitted[1], left : left + fitted[0]] = picture
        write_png(folder / f"{len(times):05d}.png", square)
        times.append(frame.time)
        note = f"{source.damaged} damaged frames skipped" if source.damaged else ""
        yield Progress("video", min(0.99, len(times) / max(expected, len(times))), note=note)
    if len(times) < 2:
        raise _too_few(source, len(times), settings)
    end = min(end, settings.end_s) if settings.end_s is not None else end
    has_alpha = alpha.is_cut_out()
    clip = Clip(
        folder=folder,
        name=source.name_stem,
        times=tuple(round(t - times[0], 6) for t in times),
        duration=round(max(end - times[0], times[-1] - times[0] + 1e-3), 6),
        side=side,
        source_size=source.size,
        scale=scale,
        offset=(float(left), float(top)),
        has_alpha=has_alpha,
    )
    if not has_alpha and not alpha.opaque:
        _make_opaque(clip)
    return clip


def _trimmed(source: Source, settings: VideoSettings) -> Iterator[TimedFrame]:
    """Frames within [start_s, end_s], their times strictly increasing."""
    last = -math.inf
    tolerance = 1e-4
    for frame in source.frames(settings.start_s, settings.longest_side):
        time = frame.time if frame.time > last else last + 1e-3
        last = time
        if time < settings.start_s - tolerance:
            continue
        if settings.end_s is not None and time > settings.end_s + tolerance:
            return
        yield TimedFrame(time, frame.duration, frame.rgba)


def fit(rgba: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Shrink (H,W,4) to ``size`` = (width, height) by area averaging, weighting colours by alpha.

    Where nothing but alpha 0 is averaged, the colours below it are, since alpha may turn out to be no cut-out.
    """
    if (rgba.shape[1], rgba.shape[0]) == size:
        return rgba
    shrinks = size[0] < rgba.shape[1] or size[1] < rgba.shape[0]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    if rgba[..., 3].min() == 255:
        return np.asarray(cv2.resize(rgba, size, interpolation=how), dtype=np.uint8)
    alpha = rgba[..., 3:].astype(np.float32) / 255
    premultiplied = np.concatenate([rgba[..., :3] * alpha, alpha], axis=-1)
    small_f = cv2.resize(premultiplied, size, interpolation=how)
    below = cv2.resize(np.ascontiguousarray(rgba[..., :3]), size, interpolation=how)
    weighted = small_f[..., :3] / np.maximum(small_f[..., 3:], 1e-4)
    colour = np.where(small_f[..., 3:] > _LEAST_ALPHA / 255, weighted, below)
    return np.concatenate([colour, small_f[..., 3:] * 255], axis=-1).round().clip(0, 255).astype(np.uint8)


def write_png(path: Path, rgba: NDArray[np.uint8]) -> None:
    """Write (H,W,4) RGBA as PNG, whole or not at all, compressed fast rather than small."""
    ok, data = cv2.imencode(".png", cv2.cvtColor(rgba, cv2.COLOR_RGBA2BGRA), [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not ok:
        raise V2M4Error(f"Cannot encode {path.name} as PNG. Report this with the clip's size and format.")
    write_atomically(path, data.tobytes())


def _fitted(size: tuple[int, int], scale: float) -> tuple[int, int]:
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _alpha_range(rgba: NDArray[np.uint8]) -> tuple[int, int]:
    """The lowest and highest alpha of a picture, but for a few stray pixels."""
    ordered = np.sort(rgba[..., 3], axis=None)
    stray = int(_STRAY_SHARE * len(ordered))
    return int(ordered[stray]), int(ordered[-1 - stray])


@dataclass
class _AlphaSeen:
    """What the alpha of the frames so far tells. opaque: it is 255 everywhere. differs: within some frame. panes: where
    it does, it only shapes the picture itself, as bars, rounded corners or a mark on it do."""

    opaque: bool = True
    differs: bool = False
    panes: bool = True

    def add(self, rgba: NDArray[np.uint8]) -> None:
        """Look at one more frame (H,W,4)."""
        low, high = _alpha_range(rgba)
        self.opaque = self.opaque and rgba[..., 3].min() == _FULL
        if low < OPAQUE and high - low > _ALPHA_NOISE:
            self.differs = True
            self.panes = self.panes and _is_pane(rgba[..., 3] > (low + high) / 2)

    def is_cut_out(self) -> bool:
        """Whether alpha tells an object. One that is the same all over each frame, as in a fade, does not."""
        return self.differs and not self.panes


def _is_pane(opaque: NDArray[np.bool_]) -> bool:
    """Whether the opaque part (H,W) is a rectangle, but for its corners, from one side of the picture to the other."""
    rows, columns = (np.flatnonzero(opaque.any(axis)) for axis in (1, 0))
    box = opaque[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    across = opaque.shape[0] == box.shape[0] or opaque.shape[1] == box.shape[1]
    return bool(across and box.mean() >= _PANE_FILL and opaque.mean() >= _PANE_AREA)


def _make_opaque(clip: Clip) -> None:
    """Set alpha inside the picture to 255, in all frames; the padding stays transparent.

    Where a part of a frame is transparent, the colours below may mean nothing: it gets those of the nearest place that
    is not.
    """
    left, top, right, bottom = clip.content_box()
    for index in range(len(clip)):
        frame = clip.frame(index).copy()
        picture = frame[top:bottom, left:right]
        clear = picture[..., 3] <= _ALPHA_NOISE
        if clear.any() and not clear.all():
            _, nearest = cv2.distanceTransformWithLabels(
                clear.astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
            )
            colours = np.zeros((int(nearest.max()) + 1, 3), np.uint8)
            colours[nearest[~clear]] = picture[~clear, :3]
            picture[..., :3] = colours[nearest]
        picture[..., 3] = _FULL
        write_png(clip.path(index), frame)


def _is_too_many(expected: int, settings: VideoSettings) -> bool:
    """Whether so many frames are surely more than allowed; headers and rates are a little off at times."""
    return expected > settings.max_frames * 1.05 + 2


def _expected_frames(source: Source, settings: VideoSettings) -> int:
    """How many frames will be kept, as far as the header tells; 0 if it does not."""
    fps = source.fps if source.fps > 0 else _USUAL_FPS
    seconds = source.seconds or source.frame_count / fps
    count = source.frame_count or round(seconds * fps)
    if seconds > 0:
        end = seconds if settings.end_s is None else min(seconds, settings.end_s)
        count = round(count * max(0.0, end - settings.start_s) / seconds)
    return math.ceil(count / settings.frame_step)


def _clear(folder: Path) -> None:
    """Remove what an earlier or unfinished decoding left."""
    for path in [*folder.glob("[0-9]" * 5 + ".png"), folder / "clip.json"]:
        path.unlink(missing_ok=True)


def _refuse_settings(settings: VideoSettings) -> None:
    if settings.frame_step < 1:
        raise V2M4Error(f"The frame step must be 1 or more, but is {settings.frame_step}. 1 reads every frame.")
    if settings.longest_side < _MIN_SIDE:
        raise V2M4Error(f"The longest side must be at least {_MIN_SIDE} pixels, but is {settings.longest_side}.")
    if not settings.start_s >= 0:
        raise V2M4Error(f"The start must be 0 seconds or later, but is {settings.start_s:g}.")
    if settings.end_s is not None and not settings.end_s > settings.start_s:
        raise V2M4Error(
            f"The end ({settings.end_s:g} s) must come after the start ({settings.start_s:g} s). Change one of them."
        )


def _refuse_shape(source: Source, settings: VideoSettings) -> None:
    width, height = source.size
    if min(width, height) < _MIN_SIDE:
        raise V2M4Error(
            f"{source.name} is only {width} x {height} pixels; {_MIN_SIDE} a side is the least, 256 a sensible size."
        )
    if max(width, height) > settings.max_source_side:
        raise V2M4Error(
            f"{source.name} is {width} x {height} pixels, more than the {settings.max_source_side} a side that are "
            "read. Make it smaller first, for example with: ffmpeg -i IN -vf scale=1920:-2 OUT.mp4"
        )
    narrow = min(_fitted(source.size, min(1.0, settings.longest_side / max(source.size))))
    if narrow < _MIN_SIDE:
        raise V2M4Error(
            f"{source.name} is {width} x {height} pixels, so that its shorter side would be shrunk to {narrow}; "
            f"{_MIN_SIDE} are the least. Raise --video.longest-side, or crop the clip around the object."
        )


def _too_long(source: Source, frames: int, settings: VideoSettings) -> V2M4Error:
    step = math.ceil(frames * settings.frame_step / settings.max_frames)
    return V2M4Error(
        f"{source.name} would give about {frames} frames, more than the {settings.max_frames} allowed. Trim it "
        f"(--video.start-s, --video.end-s), read fewer frames (--video.frame-step {step}), "
        "or raise --video.max-frames."
    )


def _too_few(source: Source, frames: int, settings: VideoSettings) -> V2M4Error:
    trimmed = settings.start_s > 0 or settings.end_s is not None or settings.frame_step > 1
    if trimmed and (source.frame_count != 1):
        which = "Only one frame is" if frames else "No frame is"
        length = f" (the clip is {source.seconds:.2f} s long)" if source.seconds else ""
        name = source.name.replace("The folder", "the folder", 1)
        return V2M4Error(
            f"{which} left of {name} after trimming{length}; at least two are needed. "
            "Change the start, the end or the frame step."
        )
    if frames == 0:
        return V2M4Error(f"{source.name} holds no picture that can be decoded. Export it again, for example as MP4.")
    return _single_frame(source)


def _single_frame(source: Source) -> V2M4Error:
    return V2M4Error(
        f"{source.name} holds a single picture, so nothing moves in it. Give a video of the moving object, "
        "or a folder of its frames, with at least two frames."
    )
