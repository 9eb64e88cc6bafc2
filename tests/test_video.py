"""What goes in: every kind of file becomes the same square RGBA frames, and every unusable one a sentence."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from v2m4.clip import Clip
from v2m4.errors import V2M4Error
from v2m4.events import Progress, drain
from v2m4.settings import VideoSettings
from v2m4.video import fit, load_video, probe

SETTINGS = VideoSettings(longest_side=64)


def scene(index: int, width: int = 64, height: int = 48) -> NDArray[np.uint8]:
    """A blue picture with a red square in its top left quarter and a white bar whose length tells the index."""
    picture = np.full((height, width, 3), (20, 40, 160), np.uint8)
    picture[4 : height // 3, 4 : width // 3] = (220, 30, 30)
    picture[-10:, : 4 * (index + 1)] = 255
    return picture


def bar_length(rgba: NDArray[np.uint8], row: int) -> int:
    return int((rgba[row, :, :3].min(-1) > 180).sum())


def write_video(
    path: Path,
    frames: list[NDArray[np.uint8]],
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    ticks: list[int] | None = None,
    rotation: int = 0,
    **options: str,
) -> Path:
    """Frames (H,W,3 or 4) as a video; ``ticks`` are presentation times in hundredths of a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=20, options=options)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pix_fmt
        stream.codec_context.time_base = Fraction(1, 100)
        if rotation:
            stream.set_display_rotation(rotation)
        if pix_fmt == "yuva420p":
            stream.metadata["alpha_mode"] = "1"
        for index, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(picture, format="rgba" if picture.shape[2] == 4 else "rgb24")
            frame.pts, frame.time_base = (ticks[index] if ticks else 5 * index), Fraction(1, 100)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def load(path: Path, folder: Path, settings: VideoSettings = SETTINGS) -> Clip:
    return drain(load_video(path, folder / "frames", settings))


def cut_out(index: int) -> NDArray[np.uint8]:
    alpha = np.zeros((48, 64, 1), np.uint8)
    alpha[8:40, 8 + index : 40 + index] = 255
    return np.concatenate([scene(index), alpha], axis=-1)


@pytest.mark.parametrize(
    ("suffix", "codec", "pix_fmt"),
    [(".mp4", "libx264", "yuv420p"), (".webm", "libvpx-vp9", "yuv420p"), (".mov", "prores_ks", "yuv422p10le")],
)
def test_video_files_become_square_frames_with_transparent_padding(tmp_path, suffix, codec, pix_fmt):
    path = write_video(tmp_path / f"clip{suffix}", [scene(i) for i in range(6)], codec, pix_fmt)
    clip = load(path, tmp_path)
    assert (len(clip), clip.side, clip.name, clip.source_size, clip.has_alpha) == (6, 64, "clip", (64, 48), False)
    frame = clip.frame(3)
    left, top, right, bottom = clip.content_box()
    assert (left, top, right, bottom) == (0, 8, 64, 56)
    assert (frame[top:bottom, :, 3] == 255).all()
    assert not frame[:top].any() and not frame[bottom:].any()
    assert np.abs(frame[top:bottom, :, :3].astype(int) - scene(3)).mean() < 12
    assert Clip.load(clip.folder) == clip


def test_frames_come_in_order_and_keep_their_times(tmp_path):
    ticks = [0, 3, 20, 21, 60, 100]
    path = write_video(tmp_path / "vfr.mp4", [scene(i) for i in range(6)], ticks=ticks)
    clip = load(path, tmp_path)
    assert clip.times == pytest.approx([t / 100 for t in ticks], abs=2e-3)
    assert [bar_length(clip.frame(i), 52) // 4 for i in range(6)] == [1, 2, 3, 4, 5, 6]
    assert clip.duration > clip.times[-1]


@pytest.mark.parametrize("rotation", [90, -90, 180])
def test_rotation_metadata_is_applied(tmp_path, rotation):
    frames = [scene(0)] * 3
    upright = np.rot90(scene(0), rotation // 90)
    clip = load(write_video(tmp_path / "phone.mp4", frames, rotation=rotation), tmp_path)
    assert clip.source_size == (upright.shape[1], upright.shape[0])
    left, top, right, bottom = clip.content_box()
    assert np.abs(clip.frame(1)[top:bottom, left:right, :3].astype(int) - upright).mean() < 12


def test_alpha_of_webm_vp9_is_read(tmp_path):
    path = write_video(tmp_path / "a.webm", [cut_out(i) for i in range(4)], "libvpx-vp9", "yuva420p", crf="10")
    clip = load(path, tmp_path)
    assert clip.has_alpha and probe(path).has_alpha
    opaque = clip.frame(2)[8:56, :, 3] > 127
    assert (opaque == (cut_out(2)[..., 3] > 0)).mean() > 0.98


def test_alpha_of_prores_4444_is_read(tmp_path):
    path = write_video(tmp_path / "a.mov", [cut_out(i) for i in range(4)], "prores_ks", "yuva444p10le", profile="4444")
    clip = load(path, tmp_path)
    assert clip.has_alpha
    assert ((clip.frame(2)[8:56, :, 3] > 127) == (cut_out(2)[..., 3] > 0)).mean() > 0.98


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_animated_pictures_keep_delays_and_transparency(tmp_path, suffix):
    frames = [Image.fromarray(cut_out(i)) for i in range(4)]
    path = tmp_path / f"anim{suffix}"
    extra = {"disposal": 2} if suffix == ".gif" else {}
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=[50, 100, 40, 60], **extra)
    clip = load(path, tmp_path)
    assert clip.has_alpha
    assert clip.times == pytest.approx([0, 0.05, 0.15, 0.19])
    assert clip.duration == pytest.approx(0.25)
    assert ((clip.frame(2)[8:56, :, 3] > 127) == (cut_out(2)[..., 3] > 0)).mean() > 0.98


def write_pictures(folder: Path, count: int = 12, suffix: str = ".png") -> Path:
    folder.mkdir()
    for i in range(count):
        picture = Image.fromarray(cut_out(i) if suffix == ".png" else scene(i))
        picture.save(folder / f"frame{i}{suffix}")
    (folder / "notes.txt").write_text("not a picture")
    return folder


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_a_folder_is_read_in_natural_order(tmp_path, suffix):
    folder = write_pictures(tmp_path / "walk", suffix=suffix)
    clip = load(folder, tmp_path, replace(SETTINGS, pictures_fps=10))
    assert (clip.name, len(clip), clip.has_alpha) == ("walk", 12, suffix == ".png")
    assert clip.times == pytest.approx([i / 10 for i in range(12)])
    if suffix != ".png":
        assert [bar_length(clip.frame(i), 52) // 4 for i in range(12)] == list(range(1, 13))


def test_frames_that_a_series_lacks_are_told(tmp_path):
    folder, said = write_pictures(tmp_path / "walk"), list[str]()
    for i in (4, 5, 8):
        (folder / f"frame{i}.png").unlink()
    clip = drain(load_video(folder, tmp_path / "frames", SETTINGS, said.append))
    assert clip.times[3:5] == pytest.approx([3 / 24, 6 / 24])
    assert len(said) == 1 and said[0].startswith("The folder walk lacks 3 of its 12 frames")
    drain(load_video(write_pictures(tmp_path / "whole"), tmp_path / "other", SETTINGS, said.append))
    assert len(said) == 1


def test_damaged_frames_are_told(tmp_path):
    path, said = tmp_path / "cut.mp4", list[str]()
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=12, options={"g": "4"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(12):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(scene(index), format="rgb24")))
        container.mux(stream.encode(None))
    path.write_bytes(path.read_bytes()[: int(0.85 * path.stat().st_size)])
    drain(load_video(path, tmp_path / "frames", SETTINGS, said.append))
    assert len(said) == 1 and said[0].startswith("Damaged frames of cut.mp4 were left out: ")


def test_a_zip_is_read_like_a_folder(tmp_path):
    folder = write_pictures(tmp_path / "walk")
    with zipfile.ZipFile(tmp_path / "walk.zip", "w") as archive:
        for picture in folder.iterdir():
            archive.write(picture, f"inside/{picture.name}")
        archive.writestr("__MACOSX/._frame0.png", b"rubbish")
    from_zip, from_folder = load(tmp_path / "walk.zip", tmp_path / "a"), load(folder, tmp_path / "b")
    assert len(from_zip) == len(from_folder) == 12
    assert all((from_zip.frame(i) == from_folder.frame(i)).all() for i in range(12))


def test_trimming_and_frame_step(tmp_path):
    path = write_video(tmp_path / "clip.mp4", [scene(i) for i in range(10)])
    clip = load(path, tmp_path, replace(SETTINGS, start_s=0.1, end_s=0.4, frame_step=2))
    assert [bar_length(clip.frame(i), 52) // 4 for i in range(len(clip))] == [3, 5, 7, 9]
    assert clip.times == pytest.approx([0, 0.1, 0.2, 0.3])


def test_a_late_start_seeks_to_the_same_frames(tmp_path):
    path = write_video(tmp_path / "long.mp4", [scene(i % 14) for i in range(60)], g="7")
    whole = load(path, tmp_path / "a")
    part = load(path, tmp_path / "b", replace(SETTINGS, start_s=2.0))
    assert len(part) == 20
    assert all((part.frame(i) == whole.frame(40 + i)).all() for i in range(20))


def test_large_frames_are_shrunk_and_small_ones_never_enlarged(tmp_path):
    large = write_video(tmp_path / "large.mp4", [scene(i, 320, 180) for i in range(3)])
    clip = load(large, tmp_path / "a")
    assert (clip.side, clip.scale) == (64, pytest.approx(0.2))
    corner = clip.image_to_frame() @ np.array([64, 14 + 36, 1])
    assert corner[:2] == pytest.approx([320, 180])
    small = write_video(tmp_path / "small.mp4", [scene(i, 32, 32) for i in range(3)])
    assert load(small, tmp_path / "b").side == 32


def test_progress_is_reported_for_every_frame_and_never_falls(tmp_path):
    path = write_video(tmp_path / "clip.mp4", [scene(i) for i in range(8)])
    events = list(load_video(path, tmp_path / "frames", SETTINGS))
    fractions = [e.fraction for e in events if isinstance(e, Progress)]
    assert len(fractions) == 8
    assert fractions == sorted(fractions) and fractions[-1] <= 1


def test_probe_tells_the_facts_without_decoding_all(tmp_path):
    facts = probe(write_video(tmp_path / "clip.mp4", [scene(i) for i in range(10)]))
    assert (facts.frames, facts.size, facts.has_alpha) == (10, (64, 48), False)
    assert facts.fps == pytest.approx(20, rel=0.1)
    assert facts.seconds == pytest.approx(0.5, rel=0.1)


def test_a_start_behind_the_end_is_refused_at_the_first_look(tmp_path):
    path = write_video(tmp_path / "clip.mp4", [scene(i) for i in range(10)])
    assert probe(path, VideoSettings(start_s=0.3)).frames == 10
    with pytest.raises(V2M4Error, match=r"No frame is left of clip\.mp4.*0\.50 s long"):
        probe(path, VideoSettings(start_s=0.6))


@given(width=st.integers(16, 200), height=st.integers(16, 200), alpha=st.integers(0, 255))
def test_shrinking_keeps_a_plain_colour_and_its_alpha(width, height, alpha):
    plain = np.full((60, 80, 4), (200, 100, 50, alpha), np.uint8)
    small = fit(plain, (min(width, 80), min(height, 60)))
    assert np.abs(small[..., 3].astype(int) - alpha).max() <= 1
    if alpha > 8:
        assert np.abs(small[..., :3].astype(int) - (200, 100, 50)).max() <= 1


def test_colours_under_transparency_do_not_bleed_when_shrunk():
    picture = np.zeros((64, 64, 4), np.uint8)
    picture[:, :33] = (255, 0, 0, 255)
    picture[:, 33:, 1] = 255
    small = fit(picture, (16, 16))
    seen = small[..., 3] > 0
    assert (small[seen][:, 1] == 0).all()


def _sound(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 44100), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _unequal(folder: Path) -> None:
    folder.mkdir()
    Image.fromarray(scene(0)).save(folder / "0.png")
    Image.fromarray(scene(0, 32, 32)).save(folder / "1.png")


def _truncated(path: Path) -> None:
    whole = write_video(path.with_name("whole.mp4"), [scene(i) for i in range(8)])
    path.write_bytes(whole.read_bytes()[:900])


def _broken_picture(folder: Path) -> None:
    write_pictures(folder, 4)
    (folder / "frame2.png").write_bytes((folder / "frame2.png").read_bytes()[:60])


def _encrypted(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("0.png", b"x")
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(bytes(data))


BAD = {
    "missing.mp4": (lambda p: None, "There is no file or folder"),
    "empty.mp4": (lambda p: p.write_bytes(b""), "is empty"),
    "text.mp4": (lambda p: p.write_text("hello " * 500), "not a video that can be read"),
    "cut-off.mp4": (_truncated, "cut-off.mp4 is cut off: the index"),
    "sound.mp4": (_sound, "only sound"),
    "one-frame.mp4": (lambda p: write_video(p, [scene(0)]), "a single picture"),
    "photo.jpg": (lambda p: Image.fromarray(scene(0)).save(p), "a single picture"),
    "photo.png": (lambda p: Image.fromarray(scene(0)).save(p), "a single picture"),
    "tiny.mp4": (lambda p: write_video(p, [np.zeros((8, 8, 3), np.uint8)] * 3), "only 8 x 8 pixels"),
    "nothing": (lambda p: p.mkdir(), "no PNG, JPG or WebP pictures"),
    "lonely": (lambda p: write_pictures(p, 1), "a single picture"),
    "unequal": (_unequal, "differ in size"),
    "broken": (_broken_picture, "frame2.png in the folder broken cannot be decoded"),
    "words.zip": (lambda p: zipfile.ZipFile(p, "w").writestr("a.txt", "b"), "no PNG, JPG or WebP pictures"),
    "half.zip": (lambda p: p.write_bytes(b"PK\x03\x04" + b"\0" * 40), "damaged zip"),
    "locked.zip": (_encrypted, "password"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_a_sentence_and_leaves_nothing_behind(tmp_path, name):
    make, words = BAD[name]
    make(tmp_path / name)
    with pytest.raises(V2M4Error, match=words) as problem:
        load(tmp_path / name, tmp_path / "out")
    assert str(problem.value).endswith((".", "MP4")) and "\n" not in str(problem.value)
    assert not list((tmp_path / "out").glob("**/*.*"))


def test_a_very_long_clip_is_refused_before_it_is_decoded(tmp_path):
    frames = [np.full((16, 16, 3), i % 256, np.uint8) for i in range(10_000)]
    path = write_video(tmp_path / "long.mp4", frames, "mpeg4")
    events = load_video(path, tmp_path / "frames", SETTINGS)
    with pytest.raises(V2M4Error, match=r"about 10000 frames.*--video\.frame-step 17"):
        next(events)
    clip = load(path, tmp_path, replace(SETTINGS, frame_step=500, max_frames=20))
    assert len(clip) == 20


def test_an_8k_clip_is_refused_with_advice(tmp_path):
    path = write_video(tmp_path / "8k.mp4", [np.zeros((4320, 7680, 3), np.uint8)] * 2, preset="ultrafast")
    with pytest.raises(V2M4Error, match=r"7680 x 4320.*scale="):
        load(path, tmp_path)
    with pytest.raises(V2M4Error, match="7680 x 4320"):
        probe(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"frame_step": 0}, "frame step"),
        ({"start_s": -1.0}, "start"),
        ({"start_s": 2.0, "end_s": 1.0}, "after the start"),
        ({"longest_side": 4}, "longest side"),
        ({"start_s": 9.0}, "No frame is left"),
        ({"frame_step": 100}, "Only one frame is left"),
        ({"max_frames": 3}, "more than the 3 allowed"),
    ],
)
def test_impossible_settings_say_what_to_change(tmp_path, change, words):
    path = write_video(tmp_path / "clip.mp4", [scene(i) for i in range(10)])
    with pytest.raises(V2M4Error, match=words):
        load(path, tmp_path, replace(SETTINGS, **change))


def test_stopping_early_leaves_no_frames(tmp_path):
    path = write_video(tmp_path / "clip.mp4", [scene(i) for i in range(10)])
    steps = load_video(path, tmp_path / "frames", SETTINGS)
    next(steps)
    assert list((tmp_path / "frames").glob("*.png"))
    steps.close()
    assert not list((tmp_path / "frames").iterdir())
