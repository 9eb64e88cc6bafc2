"""Videos that play in browsers, at the clip's own times."""

import av
import numpy as np
import pytest

from tests.toys import bobbing_ball, filmed
from v2m4.errors import V2M4Error
from v2m4.export.preview import PAPER, PreviewWriter, over_paper, side_by_side
from v2m4.export.video import VideoWriter
from v2m4.geometry.camera import Camera
from v2m4.render.pictures import render_rgba

UNEVEN = (0.0, 0.05, 0.2, 0.24, 0.7)


def rendered(animation, clip):
    """What the clip's camera sees of the animation at every frame."""
    return [render_rgba(animation.mesh_at(time), Camera.identity(), clip.side) for time in clip.times]


def write(path, animation, clip, size=512):
    with PreviewWriter(path, clip, size) as preview:
        for picture in rendered(animation, clip):
            preview.add(picture)


def decode(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        pictures = [f.to_ndarray(format="rgb24") for f in frames]
        return stream.codec_context.name, stream.pix_fmt, [f.time for f in frames], pictures, container.duration / 1e6


def test_input_and_rerender_side_by_side_at_the_real_times(tmp_path):
    animation = bobbing_ball()
    clip = filmed(animation, tmp_path / "clip", UNEVEN)
    write(tmp_path / "preview.mp4", animation, clip)
    codec, layout, times, pictures, duration = decode(tmp_path / "preview.mp4")
    assert (codec, layout) == ("h264", "yuv420p")
    assert times == pytest.approx(UNEVEN, abs=1e-3)
    assert duration == pytest.approx(animation.duration, abs=0.02)
    height, width, _ = pictures[0].shape
    assert (width, height) == (2 * 96 + 4, 48)  # the padding above and below the wide clip is gone
    for picture in pictures:
        left, right = picture[:, :96].astype(int), picture[:, -96:].astype(int)
        assert np.abs(left - right).mean() < 2
        assert np.abs(left - PAPER).max() > 60  # something is there


def test_the_index_comes_first_so_that_browsers_start_at_once(tmp_path):
    clip = filmed(bobbing_ball(), tmp_path / "clip", UNEVEN)
    write(tmp_path / "preview.mp4", bobbing_ball(), clip)
    data = (tmp_path / "preview.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_the_same_pictures_give_the_same_bytes(tmp_path):
    times = tuple(index / 12 for index in range(24))
    animation = bobbing_ball()
    clip = filmed(animation, tmp_path / "clip", times)
    pictures = [side_by_side(clip, index, picture, 96) for index, picture in enumerate(rendered(animation, clip))]
    written = set()
    for _ in range(20):
        with VideoWriter(tmp_path / "same.mp4", times, 2.0) as writer:
            for picture in pictures:
                writer.add(picture)
        written.add((tmp_path / "same.mp4").read_bytes())
    assert len(written) == 1


def test_large_clips_are_shrunk_to_even_sides(tmp_path):
    clip = filmed(bobbing_ball(), tmp_path / "clip", UNEVEN[:2])
    write(tmp_path / "preview.mp4", bobbing_ball(), clip, size=50)
    assert decode(tmp_path / "preview.mp4")[3][0].shape == (24, 2 * 50 + 4, 3)


def test_stopping_leaves_no_half_file(tmp_path):
    clip = filmed(bobbing_ball(), tmp_path / "clip", UNEVEN)

    def stop():
        with PreviewWriter(tmp_path / "out" / "preview.mp4", clip, 512) as preview:
            preview.add(rendered(bobbing_ball(), clip)[0])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop()
    assert not list((tmp_path / "out").iterdir())


def test_odd_pictures_lose_a_pixel(tmp_path):
    with VideoWriter(tmp_path / "odd.mp4", (0.0, 0.5), 1.0) as writer:
        for shade in (40, 200):
            writer.add(np.full((33, 21, 3), shade, np.uint8))
    _, _, _, pictures, _ = decode(tmp_path / "odd.mp4")
    assert [p.shape for p in pictures] == [(32, 20, 3)] * 2
    assert [int(p.mean()) for p in pictures] == pytest.approx([40, 200], abs=3)


def test_no_frames_no_video(tmp_path):
    with pytest.raises(V2M4Error, match="no frames"):
        VideoWriter(tmp_path / "none.mp4", (), 1.0)


def test_transparent_pixels_show_the_paper():
    clear = np.zeros((2, 2, 4), np.uint8)
    assert (over_paper(clear) == PAPER).all()
    solid = np.full((2, 2, 4), 255, np.uint8)
    assert (over_paper(solid) == 255).all()
