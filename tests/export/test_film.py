"""Films of an animation whose pictures are known: sizes, looks, transparency, the overlay."""

import math
from dataclasses import replace

import av
import numpy as np
import pytest
import torch

from tests.toys import bobbing_ball, filmed
from v2m4.errors import V2M4Error
from v2m4.export.film import Film, Stage, default_size, pictures, write_film
from v2m4.export.looks import LOOKS, Lighting, backdrop, picture
from v2m4.export.orbit import travelled
from v2m4.geometry.camera import Camera
from v2m4.render.environment import panorama_directions

TIMES = (0.0, 0.2, 0.4, 0.6)


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    animation = bobbing_ball()
    clip = filmed(animation, tmp_path_factory.mktemp("clip"), TIMES, 64)
    return Stage(animation.mesh_at, Camera.identity(), clip, clip)


def test_the_reference_view_lies_on_the_video_pixel_by_pixel(stage):
    size = default_size(stage, "reference", 64)
    assert size == (64, 32)
    left, top, right, bottom = stage.clip.content_box()
    for index, shown in enumerate(pictures(stage, Film(size, background="transparent"), "color")):
        frame = stage.clip.frame(index)[top:bottom, left:right]
        assert np.abs(shown.astype(int) - frame).max() <= 1


@pytest.mark.parametrize("size", [(64, 64), (96, 32), (30, 90)])
def test_any_shape_contains_the_whole_video_in_its_middle(stage, size):
    film = Film(size, background="transparent")
    shown = next(iter(pictures(stage, film, "mask")))
    scale = min(size[0] / 64, size[1] / 32)
    own = next(iter(pictures(stage, Film((round(64 * scale), round(32 * scale)), background="transparent"), "mask")))
    assert shown.shape == (size[1], size[0], 4)
    assert float(shown[..., 3].sum()) == pytest.approx(float(own[..., 3].sum()), rel=0.02)


def test_looks_mean_what_they_say(stage):
    mesh, light = stage.at(0.0), Lighting.studio()
    shown = {look: picture(mesh, stage.camera, 65, look, stage.depths, light) for look in LOOKS}
    solid = shown["mask"][..., 3] == 255
    assert (shown["mask"][solid][:, :3] == 255).all()
    assert all((rgba[..., 3] == shown["mask"][..., 3]).all() for rgba in shown.values())
    # The ball's middle looks at the camera, its left edge to the left, its top up.
    rows, columns = np.nonzero(solid)
    row, column = round(rows.mean()), round(columns.mean())
    normal = shown["normal"].astype(int)
    assert normal[row, column, 2] > 240
    assert normal[row, columns.min() + 1, 0] < 90 and normal[row, columns.max() - 1, 0] > 165
    assert normal[rows.min() + 1, column, 1] > 165
    assert shown["depth"][row, column, 0] > shown["depth"][row, columns.min() + 1, 0] > 40
    assert shown["clay"][rows.min() + 1, column, 0] > shown["clay"][rows.max() - 1, column, 0]


def test_white_light_from_everywhere_makes_clay_of_one_grey():
    even = Lighting.of(torch.ones(128, 256, 3))
    ball = bobbing_ball().mesh_at(0.0)
    clay = picture(ball, Camera.identity(), 48, "clay", (1, 2), even)
    grey = clay[clay[..., 3] == 255][:, :3]
    assert int(grey.max()) - int(grey.min()) <= 2


def test_the_panorama_stands_behind_upright():
    sky = Lighting.of((panorama_directions(33, 64)[..., 1:2] > 0).float().expand(-1, -1, 3))
    behind = backdrop(Camera.identity(), 32, sky)
    assert behind[0].min() == 255 and behind[-1].max() == 0


def test_an_orbit_keeps_its_middle_and_comes_back(stage):
    middle = stage.camera.to_camera(stage.middle[None])
    for angle in (1.0, math.pi, 2 * math.pi):
        camera = travelled(stage.camera, stage.middle, angle)
        assert camera.to_camera(stage.middle[None])[0].tolist() == pytest.approx(middle[0].tolist(), abs=1e-5)
    assert torch.allclose(camera.world_to_camera, stage.camera.world_to_camera, atol=1e-5)


def test_a_rate_interpolates_the_poses(stage):
    film = Film((64, 32), fps=40, background="transparent")
    assert len(film.times(stage.clip)) == math.ceil(stage.clip.duration * 40)
    between = list(pictures(stage, film, "mask"))
    assert len({shown.tobytes() for shown in between}) > 3 * len(TIMES)


def test_vp9_keeps_what_shows_through(stage, tmp_path):
    write_film(tmp_path / "film.webm", stage, Film((64, 32), background="transparent"), "color")
    decoder = av.codec.Codec("libvpx-vp9", "r").create()
    with av.open(str(tmp_path / "film.webm")) as container:
        frames = [f for packet in container.demux(video=0) for f in decoder.decode(packet)]
    want = list(pictures(stage, Film((64, 32), background="transparent"), "color"))
    assert len(frames) == len(want)
    for frame, rgba in zip(frames, want, strict=True):
        assert np.abs(frame.to_ndarray(format="rgba")[..., 3].astype(int) - rgba[..., 3]).mean() < 4


def test_pngs_and_backgrounds(stage, tmp_path):
    write_film(tmp_path / "frames", stage, Film((64, 32), background="transparent"), "clay")
    assert len(list((tmp_path / "frames").glob("*.png"))) == len(TIMES)
    for background, corner in (("white", 255), ("black", 0)):
        shown = next(iter(pictures(stage, Film((64, 32), background=background), "normal")))
        assert (shown[0, 0] == [corner] * 3 + [255]).all()
    assert (next(iter(pictures(stage, Film((64, 32)), "mask")))[0, 0, :3] == 0).all()  # white on white says nothing


def test_the_overlay_outlines_the_mesh_on_the_video(stage):
    moved = replace(stage, at=lambda t: stage.at(t).with_vertices(stage.at(t).vertices + torch.tensor([0.2, 0, 0])))
    over = next(iter(pictures(moved, Film((128, 64)), "overlay")))
    assert (over[..., :3] == (255, 110, 0)).all(-1).sum() > 40
    with pytest.raises(V2M4Error, match="reference view only"):
        next(iter(pictures(stage, Film((64, 32), view="orbit"), "overlay")))
