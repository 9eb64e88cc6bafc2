"""Video files as people have them: every frame is read, from whatever container, with the times that it has there."""

from __future__ import annotations

import contextlib
import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from tests.test_video import bar_length, scene, write_video
from v2m4.errors import V2M4Error
from v2m4.events import drain
from v2m4.settings import VideoSettings, changed
from v2m4.sources import open_source
from v2m4.video import load_video, probe

SETTINGS = VideoSettings(longest_side=64)
COUNT = 14
CONTAINERS = {
    ".mp4": "libx264",
    ".mov": "libx264",
    ".mkv": "libx264",
    ".webm": "libvpx-vp9",
    ".avi": "mpeg4",
    ".ts": "libx264",
    ".mts": "libx264",
    ".mpg": "mpeg2video",
    ".vob": "mpeg2video",
    ".flv": "libx264",
    ".h264": "libx264",
    ".ogv": "libvpx",
}


def write(path: Path, offset_s: float = 0.0) -> Path:
    """A clip of several groups of pictures, with B-frames where the codec has them."""
    codec = CONTAINERS[path.suffix]
    options = {"g": "6"} | ({} if codec.startswith("libvpx") else {"bf": "2"})
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(COUNT):
            frame = av.VideoFrame.from_ndarray(scene(index), format="rgb24")
            frame.pts, frame.time_base = round(offset_s * 25) + index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    "name",
    ["\U0001f600 clip.mp4", "two\nlines.mp4", "-o.mp4", "x" * 250 + ".mp4", "100%25d.mp4", "'\"[a]*.mp4", "none"],
)
def test_any_name_that_the_file_system_allows_will_do(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "clip.mp4").rename(name)
    assert len(drain(load_video(Path(name), tmp_path / "frames", SETTINGS))) == COUNT


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_every_frame_of_every_container_is_read_from_the_first(tmp_path, suffix):
    path = write(tmp_path / f"clip{suffix}")
    facts, clip = probe(path, SETTINGS), drain(load_video(path, tmp_path / "frames", SETTINGS))
    assert [bar_length(clip.frame(i), 52) // 4 for i in range(len(clip))] == list(range(1, COUNT + 1))
    assert (clip.times[0], clip.times[-1]) == pytest.approx((0, (COUNT - 1) / 25), abs=2e-3)
    assert abs(facts.frames - COUNT) <= 1
    assert facts.seconds == pytest.approx(COUNT / 25, abs=0.05)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".mpg"])
def test_a_late_start_gives_the_frames_of_a_full_decoding(tmp_path, suffix):
    path = write(tmp_path / f"clip{suffix}")
    with open_source(path, 24.0) as source:
        whole = [frame for frame in source.frames(0.0, 64) if frame.time >= 0.3]
        part = [frame for frame in source.frames(0.3, 64) if frame.time >= 0.3]
        again = list(source.frames(0.0, 64))
    assert [f.time for f in part] == [f.time for f in whole]
    assert all((a.rgba == b.rgba).all() for a, b in zip(part, whole, strict=True))
    assert len(again) == COUNT


def test_a_clip_whose_clock_starts_late_is_as_long_as_its_pictures(tmp_path):
    path = write(tmp_path / "live.mkv", offset_s=95443)
    facts = probe(path, SETTINGS)
    clip = drain(load_video(path, tmp_path / "frames", SETTINGS))
    assert (facts.frames, len(clip)) == (COUNT, COUNT)
    assert facts.seconds == pytest.approx(COUNT / 25, abs=0.05)
    assert clip.times[0] == 0


def test_a_recording_of_a_browser_does_not_know_its_length_and_is_accepted(tmp_path):
    class Pipe(io.RawIOBase):
        """Written from start to end, as a browser's recorder does."""

        def __init__(self, file: io.BufferedWriter) -> None:
            self.file = file

        def writable(self) -> bool:
            return True

        def write(self, data: bytes) -> int:  # type: ignore[override]
            return self.file.write(data)

    path = tmp_path / "pipe.webm"
    with path.open("wb") as file, av.open(Pipe(file), "w", format="webm", options={"live": "1"}) as container:
        stream = container.add_stream("libvpx", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(COUNT):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(scene(index), format="rgb24")))
        container.mux(stream.encode(None))
    with av.open(str(path)) as container:
        assert not container.duration and not container.streams.video[0].frames
    assert probe(path, SETTINGS).frames == COUNT


@pytest.mark.parametrize(("orientation", "size"), [(1, (64, 48)), (6, (48, 64))])
def test_pictures_with_exif_in_an_avi(tmp_path, orientation, size):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, "camera"
    path = tmp_path / "camera.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=12)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        for index in range(5):
            data = io.BytesIO()
            Image.fromarray(scene(index)).save(data, "JPEG", exif=exif, quality=95)
            packet = av.Packet(data.getvalue())
            packet.stream, packet.pts, packet.dts, packet.time_base = stream, index, index, Fraction(1, 12)
            packet.is_keyframe = True
            container.mux(packet)
    facts = probe(path, SETTINGS)
    assert (facts.frames, facts.size) == (5, size)
    assert len(drain(load_video(path, tmp_path / "frames", SETTINGS))) == 5


@pytest.mark.parametrize("name", ["a:b.mp4", "file:x.mp4", "data:image.mp4", "concat:a|b.mp4", "walk%03d #1?.mp4"])
def test_names_that_look_like_addresses_are_files_first(tmp_path, monkeypatch, name):
    write_video(tmp_path / "plain.mp4", [scene(i) for i in range(3)]).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert probe(Path(name), SETTINGS).frames == 3


@pytest.mark.parametrize("address", ["https://example.org/a.mp4", "rtsp://camera/1", "data:video/mp4;base64,AAAA"])
def test_addresses_are_refused(address):
    with pytest.raises(V2M4Error, match="is an address"):
        probe(Path(address), SETTINGS)


def test_a_playlist_does_not_reach_into_the_network(tmp_path):
    path = tmp_path / "list.m3u8"
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(V2M4Error, match=r"list\.m3u8"):
        probe(path, SETTINGS)


@pytest.mark.parametrize("value", [0, 128, 255])
def test_alpha_that_is_the_same_everywhere_is_no_cut_out(tmp_path, value):
    frames = [np.dstack([scene(i), np.full((48, 64), value, np.uint8)]) for i in range(4)]
    path = write_video(tmp_path / "a.mov", frames, "qtrle", "argb")
    small = changed(SETTINGS, {"longest_side": 64})
    clip = drain(load_video(path, tmp_path / "frames", small))
    left, top, right, bottom = clip.content_box()
    assert not clip.has_alpha and not probe(path, small).has_alpha
    inside = clip.frame(2)[top:bottom, left:right]
    assert (inside[..., 3] == 255).all()
    assert np.abs(inside[..., :3].astype(int) - scene(2)).max() <= 1


def fade(index: int) -> np.ndarray:
    return np.full((48, 64), 60 * index)


def bars(index: int) -> np.ndarray:
    alpha = np.full((48, 64), 255)
    alpha[:6] = alpha[-6:] = 0
    return alpha


def rounded_corners(index: int) -> np.ndarray:
    y, x = np.mgrid[:48, :64]
    outside = np.hypot(np.maximum(abs(x - 31.5) - 21.5, 0), np.maximum(abs(y - 23.5) - 13.5, 0))
    return np.where(outside > 10, 0, 255)


def mark(index: int) -> np.ndarray:
    alpha = np.full((48, 64), 255)
    alpha[2:6, 2:12] = 120
    return alpha


@pytest.mark.parametrize("shape", [fade, bars, rounded_corners, mark])
def test_alpha_that_only_shapes_or_fades_the_picture_is_no_cut_out(tmp_path, shape):
    frames = [np.dstack([scene(i), shape(i).astype(np.uint8)]) for i in range(4)]
    for frame in frames:
        frame[frame[..., 3] == 0, :3] = 0
    path = write_video(tmp_path / "a.mov", frames, "qtrle", "argb")
    clip = drain(load_video(path, tmp_path / "frames", SETTINGS))
    left, top, right, bottom = clip.content_box()
    assert not clip.has_alpha and not probe(path, SETTINGS).has_alpha
    inside = clip.frame(3)[top:bottom, left:right]
    assert (inside[..., 3] == 255).all()
    # What was transparent shows what lies beside it, not the black below.
    assert (inside[..., :3].max(-1) > 60).all()


def test_colours_below_alpha_0_survive_shrinking(tmp_path):
    large = [np.dstack([scene(i, 256, 192), np.zeros((192, 256), np.uint8)]) for i in range(3)]
    clip = drain(load_video(write_video(tmp_path / "a.mov", large, "qtrle", "argb"), tmp_path / "frames", SETTINGS))
    assert np.abs(clip.frame(1)[16, 6, :3].astype(int) - (220, 30, 30)).max() <= 2


def test_an_object_that_enters_late_keeps_its_alpha(tmp_path):
    frames = [np.zeros((48, 64, 4), np.uint8) for _ in range(4)]
    frames[3][10:30, 10:30] = 255
    clip = drain(load_video(write_video(tmp_path / "a.mov", frames, "qtrle", "argb"), tmp_path / "frames", SETTINGS))
    assert clip.has_alpha
    assert not clip.frame(0).any()


def test_a_file_that_is_cut_off_gives_what_comes_before_the_cut(tmp_path):
    whole = tmp_path / "whole.mp4"
    with av.open(str(whole), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=12, options={"g": "4"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(COUNT):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(scene(index), format="rgb24")))
        container.mux(stream.encode(None))
    for share in (0.75, 0.85, 0.95):
        path = tmp_path / f"cut{share}.mp4"
        path.write_bytes(whole.read_bytes()[: int(share * whole.stat().st_size)])
        alone = 0
        with av.open(str(path)) as container:
            context = container.streams.video[0].codec_context
            context.thread_type, context.thread_count = "NONE", 1
            for packet in container.demux(video=0):
                with contextlib.suppress(av.error.FFmpegError):
                    alone += len(context.decode(packet))
        with open_source(path, 24.0) as source:
            assert (share, len(list(source.frames(0.0, 64))), source.damaged > 0) == (share, alone, True)


def interlaced(path: Path, codec: str, pixels: str) -> Path:
    """A disc that moves 6 pixels from field to field, top field first."""
    graph = av.filter.Graph()
    source = graph.add_buffer(width=192, height=144, format=av.VideoFormat("rgb24"), time_base=Fraction(1, 25))
    graph.link_nodes(source, graph.add("setfield", "tff"), graph.add("buffersink"))
    graph.configure()
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options={"flags": "+ildct+ilme", "qmax": "4"})
        stream.width, stream.height, stream.pix_fmt = 192, 144, pixels
        for index in range(6):
            picture = disc(2 * index)
            picture[1::2] = disc(2 * index + 1)[1::2]
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            graph.push(frame)
            container.mux(stream.encode(graph.pull().reformat(format=pixels)))
        container.mux(stream.encode(None))
    return path


def disc(field: int) -> np.ndarray:
    y, x = np.mgrid[:144, :192]
    inside = (x - 40 - 6 * field) ** 2 + (y - 72) ** 2 < 30**2
    return np.where(inside[..., None], (200, 60, 40), (190, 205, 200)).astype(np.uint8)


@pytest.mark.parametrize(
    ("name", "codec", "pixels"), [("a.mkv", "mpeg2video", "yuv422p"), ("a.mp4", "libx264", "yuv444p")]
)
def test_interlaced_frames_become_whole_pictures_with_their_times(tmp_path, name, codec, pixels):
    path = interlaced(tmp_path / name, codec, pixels)
    with open_source(path, 24.0) as source:
        frames = list(source.frames(0.0, 192))
    assert [round(f.time * 25) for f in frames] == list(range(6))
    for index, frame in enumerate(frames):
        red = frame.rgba[..., 0].astype(int) - frame.rgba[..., 2] > 80
        truth = disc(2 * index)[..., 2] == 40
        assert (red & truth).sum() / (red | truth).sum() > 0.96


def test_a_recording_that_was_stopped_before_its_index_was_written_says_so(tmp_path):
    whole, cut = write(tmp_path / "whole.mp4"), tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(V2M4Error, match=r"cut\.mp4 is cut off: the index"):
        probe(cut, SETTINGS)


def test_a_name_too_long_for_the_file_system_is_no_file():
    with pytest.raises(V2M4Error, match="There is no file or folder aaa"):
        probe(Path("a" * 300), SETTINGS)


def test_a_link_that_leads_nowhere_says_so(tmp_path):
    (tmp_path / "a.mp4").symlink_to("nowhere.mp4")
    with pytest.raises(V2M4Error, match=r"a\.mp4 is a link that leads nowhere"):
        probe(tmp_path / "a.mp4", SETTINGS)
