"""docs/inputs.md: what was tried with this project's readers. `python -m tests.sources.test_inputs_table` writes it."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from v2m4.sources import open_source

TABLE = Path(__file__).parents[2] / "docs" / "inputs.md"
NEXT = "## Meshes of your own"  # what stands below the table is not made here
COUNT, WIDTH, HEIGHT = 10, 64, 48
COLOUR = (200, 60, 40)
MOST_OFF = 12  # levels of 255, mean over the plain picture
CONTAINERS = {
    "mp4": "libx264",
    "mov": "libx264",
    "m4v": "libx264",
    "mkv": "libx264",
    "webm": "libvpx-vp9",
    "avi": "mpeg4",
    "ts": "libx264",
    "mts": "libx264",
    "m2ts": "libx264",
    "mpg": "mpeg2video",
    "vob": "mpeg2video",
    "flv": "libx264",
    "3gp": "libx264",
    "wmv": "wmv2",
    "asf": "msmpeg4",
    "ogv": "libtheora",
    "mxf": "mpeg2video",
    "nut": "ffv1",
    "y4m": "wrapped_avframe -pix_fmt yuv420p",
    "h264": "libx264",
    "hevc": "libx265",
    "mjpeg": "mjpeg",
    "gif": "gif",
    "apng": "apng",
}
CODECS = {
    "libx264": "mp4",
    "libx265": "mp4",
    "libaom-av1": "mp4",
    "libsvtav1": "mkv",
    "libvpx": "webm",
    "libvpx-vp9": "webm",
    "mpeg1video": "mpg",
    "mpeg2video": "mpg",
    "mpeg4": "avi",
    "libxvid": "avi",
    "mjpeg": "avi",
    "prores_ks": "mov",
    "dnxhd -profile:v dnxhr_hq -pix_fmt yuv422p": "mov",
    "qtrle": "mov",
    "png": "mov",
    "ffv1": "mkv",
    "huffyuv": "avi",
    "utvideo": "avi",
    "cinepak": "avi",
    "h263p": "avi",
    "wmv1": "wmv",
    "flv1": "flv",
    "svq1": "mov",
    "rawvideo -pix_fmt bgr24": "avi",
}
# Pixel formats, each in a codec that stores it without loss or nearly so.
FORMATS = {
    "yuv420p": "libx264",
    "yuvj420p": "libx264",
    "yuv422p": "libx264",
    "yuv444p": "libx264",
    "nv12": "libx264",
    "yuv420p10le": "libx264",
    "yuv422p10le": "libx264",
    "yuv444p10le": "libx264",
    "yuv420p12le": "libx265",
    "gbrp": "libx264rgb -pix_fmt bgr0",
    "yuv411p": "ffv1",
    "yuv410p": "ffv1",
    "yuv440p": "ffv1",
    "yuv444p16le": "ffv1",
    "yuva420p": "ffv1",
    "yuva444p10le": "ffv1",
    "bgr0": "ffv1",
    "bgra": "ffv1",
    "rgb48le": "ffv1",
    "rgba64le": "ffv1",
    "gbrp10le": "ffv1",
    "gbrp16le": "ffv1",
    "rgb24": "png",
    "rgba": "png",
    "rgb48be": "png",
    "rgb555le": "qtrle",
    "argb": "qtrle",
    "pal8": "gif",
    "gray": "ffv1",
    "gray10le": "ffv1",
    "gray16le": "ffv1",
    "ya8": "png",
    "ya16be": "png",
    "gray16be": "png",
    "monob": "png",
}
PICTURES = {
    "PNG": (".png", ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")),
    "TIFF": (".tif", ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "LAB", "I;16", "I", "F")),
    "JPEG": (".jpg", ("L", "RGB", "CMYK")),
    "WebP": (".webp", ("RGB", "RGBA")),
    "BMP": (".bmp", ("1", "L", "P", "RGB")),
}


@dataclass(frozen=True)
class Tried:
    """One file: the section it stands in, its name there, and how it was read. ``frames`` is None if FFmpeg here cannot
    make it; ``off``: mean distance from the true colour (grey where the format has no more) in levels."""

    section: str
    name: str
    frames: int | None
    off: float = 0.0

    @property
    def right(self) -> bool:
        """Whether all frames were read, in their colour."""
        return self.frames == COUNT and self.off <= MOST_OFF


def read(path: Path, colourless: bool = False) -> tuple[int, float]:
    """Frames read, and how far the middle of the last one is from what was drawn."""
    with open_source(path, 24.0) as source:
        pictures = [frame.rgba for frame in source.frames(0.0, 512)]
    height, width = pictures[-1].shape[:2]
    middle = pictures[-1][height // 4 : height // 2, width // 4 : -width // 4, :3].astype(float).mean((0, 1))
    grey = np.full(3, np.dot(COLOUR, (0.299, 0.587, 0.114)))
    return len(pictures), float(np.abs(middle - (grey if colourless else COLOUR)).mean())


def make_video(path: Path, codec: str, pixels: str = "") -> bool:
    """Ten frames of one colour by the command ffmpeg; False if it cannot."""
    name, *options = codec.split(" ")
    chosen = ["-pix_fmt", pixels] if pixels and not options else []
    bits = ["-b:v", "2M"] if name in ("libtheora", "mpeg1video", "mpeg2video", "mpeg4", "h263p", "libvpx") else []
    size = ["-s", "352x288"] if name in ("h263p", "dnxhd") else []
    command = ["ffmpeg", "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{WIDTH}x{HEIGHT}"]
    command += ["-r", "25", "-i", "-", "-c:v", name, *options, *chosen, *bits, *size, "-an", str(path)]
    done = subprocess.run(command, input=moving(), capture_output=True, check=False, timeout=120)
    return done.returncode == 0 and path.exists() and path.stat().st_size > 0


def moving() -> bytes:
    """Ten frames of one colour (rgb24) below which a white bar grows."""
    frames = np.full((COUNT, HEIGHT, WIDTH, 3), COLOUR, np.uint8)
    for index, frame in enumerate(frames):
        frame[-6:, : 4 * (index + 1)] = 255
    return frames.tobytes()


def tried_video(folder: Path, section: str, name: str, suffix: str, codec: str, pixels: str = "") -> Tried:
    path = folder / f"{section}-{name}.{suffix}".replace(" ", "_").replace(":", "_")
    if not make_video(path, codec, pixels):
        return Tried(section, name, None)
    return Tried(section, name, *read(path, colourless=pixels.startswith(("gray", "ya", "mono"))))


def tried_pictures(folder: Path, kind: str, suffix: str, mode: str) -> Tried:
    place = folder / f"{kind}-{mode.replace(';', '')}"
    place.mkdir()
    picture = Image.new("RGB", (WIDTH, HEIGHT), COLOUR)
    grey = np.asarray(picture.convert("L"), float)
    deep = {"I;16": ("uint16", 257), "I": ("int32", (2**31 - 1) / 255), "F": ("float32", 1 / 255)}
    if mode in deep:
        dtype, factor = deep[mode]
        picture = Image.fromarray((grey * factor).astype(dtype))
    elif mode == "1":
        picture = picture.convert("L").convert("1")
    elif mode == "LAB":
        picture = Image.merge("LAB", [Image.new("L", picture.size, v) for v in (121, 128 + 55, 128 + 45)])
    else:
        picture = picture.convert(mode)
    for index in range(COUNT):
        picture.save(place / f"{index}{suffix}")
    return Tried(f"{kind} pictures", mode, *read(place, colourless=mode in ("1", "L", "LA", *deep)))


def everything(folder: Path) -> Iterator[Tried]:
    """All that stands in the table."""
    for suffix, codec in CONTAINERS.items():
        yield tried_video(folder, "Containers", suffix, suffix, codec)
    for codec, suffix in CODECS.items():
        yield tried_video(folder, "Codecs", codec.split(" ")[0], suffix, codec)
    for pixels, codec in FORMATS.items():
        suffix = {"qtrle": "mov", "gif": "gif"}.get(codec, "mkv")
        yield tried_video(folder, "Pixel formats", pixels, suffix, codec, pixels)
    for kind, (suffix, modes) in PICTURES.items():
        for mode in modes:
            yield tried_pictures(folder, kind, suffix, mode)


def table(tried: list[Tried]) -> str:
    """The document."""
    made = [entry for entry in tried if entry.frames is not None]
    right = sum(entry.right for entry in made)
    lines = [
        "# Inputs that were tried",
        "",
        f"Ten frames of one colour in each; right means that all ten were read, within {MOST_OFF} of 255 levels on",
        f"average. {right} of {len(made)} are. Made by `python -m tests.sources.test_inputs_table` and ffmpeg.",
        "Beside these, the tests read recordings of browsers, live streams, phones (HLG, PQ, Rec. 2020, Display P3,",
        "rotation), camcorders (interlaced), cameras (EXIF, all orientations, ICC profiles) and screens, files that",
        "were cut off, folders with gaps in their numbers or of several kinds, zips, animated GIF, WebP, PNG, TIFF.",
        "YCgCo is decoded; videos in ICtCp, constant luminance or ST 2085 are refused by name. Alpha that is the",
        "same all over each frame, or that only shapes the picture itself (bars, rounded corners), is no cut-out.",
        "What the container cuts off the picture (MP4's and MOV's `clap`, Matroska's PixelCrop) and the codec's own",
        "cropping are applied.",
        "",
        "| | right | wrong | could not be made here |",
        "|---|---|---|---|",
    ]
    for section in dict.fromkeys(entry.section for entry in tried):
        rows = [entry for entry in tried if entry.section == section]
        columns = (
            [e.name for e in rows if e.right],
            [f"{e.name} ({e.frames} frames, off by {e.off:.0f})" for e in rows if e.frames is not None and not e.right],
            [e.name for e in rows if e.frames is None],
        )
        lines.append(f"| {section} | " + " | ".join(", ".join(names) for names in columns) + " |")
    return "\n".join(lines) + "\n"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs the command ffmpeg")
def test_all_that_the_table_names_is_read(tmp_path):
    tried = list(everything(tmp_path))
    assert [entry for entry in tried if entry.frames is not None and not entry.right] == []
    for section in dict.fromkeys(entry.section for entry in tried):
        assert f"| {section} |" in TABLE.read_text()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        _, heading, meshes = TABLE.read_text().partition(NEXT)
        TABLE.write_text(f"{table(list(everything(Path(place)))).rstrip()}\n\n{heading}{meshes}")
