"""`v2m4 render` as a user meets it: files of every kind, and what it refuses."""

import json
import math
import shutil

import av
import numpy as np
import pytest
from PIL import Image

from tests.toys import bobbing_ball
from v2m4.cli import main
from v2m4.export.glb import still_glb
from v2m4.settings import ExportSettings


def render(capsys, *words):
    code = main(["render", *map(str, words)])
    said = capsys.readouterr()
    return code, said.out.split(), said.err


def test_a_film_has_the_size_and_rate_that_were_asked_for(capsys, finished, tmp_path):
    film = tmp_path / "turn.mp4"
    code, out, _ = render(capsys, finished[1], "-o", film, "--view", "orbit", "--size", "64x48", "--fps", "20")
    assert (code, out) == (0, [str(film)])
    with av.open(str(film)) as container:
        frames = list(container.decode(video=0))
    assert (frames[0].width, frames[0].height) == (64, 48)
    assert np.diff([f.time for f in frames]) == pytest.approx(0.05, abs=2e-3)


def test_several_looks_and_views_go_into_a_folder_in_the_run(capsys, finished):
    code, out, _ = render(capsys, finished[1], "--looks", "mask", "overlay", "--view", "both", "--size", "40")
    names = ["mask-reference.mp4", "overlay-reference.mp4", "mask-orbit.mp4"]
    assert code == 0 and out == [str(finished[1] / "renders" / name) for name in names]
    assert render(capsys, finished[1], "--looks", "mask", "--size", "40")[0] == 0  # its own files it may replace


def test_transparent_pictures_go_into_a_folder_per_film(capsys, finished, tmp_path):
    """A shorter film leaves none of a longer one behind."""
    words = [finished[1], "-o", tmp_path, "--pngs", "--background", "transparent", "--size", "40", "--overwrite"]
    longer, shorter = (render(capsys, *words, "--fps", fps) for fps in (40, 20))
    folder = tmp_path / "color-reference"
    assert longer[:2] == shorter[:2] == (0, [str(folder)])
    names = sorted(path.name for path in folder.iterdir())
    report = json.loads((finished[1] / "report.json").read_text())
    assert names == [f"{k:05d}.png" for k in range(math.ceil(report["duration"] * 20 - 1e-9))]
    with Image.open(folder / names[0]) as image:
        alpha = np.asarray(image)[..., 3]
    assert alpha.max() == 255 and alpha[0, 0] == 0


def test_any_model_can_be_filmed_all_around(capsys, tmp_path):
    """Without video and camera; of whatever size and place it is, it fills most of the picture in every picture."""
    ball = bobbing_ball()
    for name, size, place in (("small", 0.001, 5.0), ("large", 700.0, -9000.0)):
        mesh = ball.mesh_at(0.0)
        mesh = mesh.with_vertices(mesh.vertices * size + place)
        (tmp_path / f"{name}.glb").write_bytes(still_glb(mesh, name, ExportSettings()))
        folder = tmp_path / name
        words = [folder.with_suffix(".glb"), "-o", folder, "--pngs", "--view", "orbit", "--size", "64", "--fps", "2"]
        code, _, _ = render(capsys, *words, "--looks", "mask")
        assert code == 0
        assert render(capsys, folder.with_suffix(".glb"), "--view", "orbit", "--size", "32", "--fps", "1")[1] == [
            str(tmp_path / f"{name}-renders" / "color-orbit.mp4")  # of each its own
        ]
        pictures = [np.asarray(Image.open(path)) for path in sorted((folder / "mask-orbit").iterdir())]
        assert len(pictures) == 8  # four seconds of something that does not move
        for picture in pictures:
            rows, columns = np.nonzero(picture[..., 0] > 127)
            assert min(np.ptp(rows), np.ptp(columns)) > 0.7 * 64 and max(np.ptp(rows), np.ptp(columns)) < 0.9 * 64
    code, _, err = render(capsys, tmp_path / "small.glb", "--looks", "mask")
    assert code == 2 and "--view orbit" in err


def test_a_contact_sheet_has_the_video_above(capsys, finished, tmp_path):
    sheet = tmp_path / "sheet.png"
    code, _, _ = render(capsys, finished[1], "-o", sheet, "--sheet", "3", "--looks", "color", "depth", "--size", "40")
    assert code == 0
    with Image.open(sheet) as image:
        assert image.size == (3 * 40, 3 * 30)  # three moments; video, colour, depth; four by three as the video


def test_what_exists_is_not_replaced_unasked(capsys, finished, tmp_path):
    precious = tmp_path / "film.mp4"
    precious.write_text("mine")
    code, _, err = render(capsys, finished[1], "-o", precious, "--size", "32")
    assert code == 2 and "exists already" in err and precious.read_text() == "mine"
    assert render(capsys, finished[1], "-o", precious, "--size", "32", "--overwrite")[0] == 0
    assert precious.stat().st_size > 500


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--size", "9"), "--size 9 cannot be"),
        (("--size", "99999"), "from 16 to 4096"),
        (("--size", "64x5000"), "--size 64x5000 cannot be"),
        (("--size", "huge"), "--size huge cannot be"),
        (("--fps", "0"), "rate must lie"),
        (("--fps", "nan"), "rate must lie"),
        (("--orbit-deg", "inf", "--view", "orbit"), "number of degrees"),
        (("--looks", "color", "mask", "-o", "a.mp4"), "2 films do not fit into a.mp4"),
        (("--looks", "overlay", "--view", "orbit"), "reference only"),
        (("-o", "film.avi"), "film.avi: films are written as"),
        (("-o", "film.mp4", "--background", "transparent"), "holds no transparency"),
        (("--pngs", "-o", "film.mp4"), "PNGs go into a folder, not film.mp4"),
        (("--pngs", "--sheet", "3"), "drop --pngs or --sheet"),
        (("--panorama", "nowhere.hdr"), "nowhere.hdr is no panorama"),
    ],
)
def test_what_cannot_be_is_a_sentence_and_no_file(capsys, finished, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    code, out, err = render(capsys, finished[1], "--size", "32", *words)
    assert code == 2 and out == [] and said in err
    assert not list(tmp_path.iterdir())


def test_something_else_is_a_sentence(capsys, finished, tmp_path):
    code, _, err = render(capsys, tmp_path)
    assert code == 2 and "holds no run" in err
    code, _, err = render(capsys, tmp_path / "thing.glb")
    assert code == 2 and "There is no result" in err and "thing.glb" in err
    (tmp_path / "thing.glb").write_bytes(b"no GLB")
    code, _, err = render(capsys, tmp_path / "thing.glb")
    assert code == 2 and "thing.glb" in err and "--video" not in err
    shutil.copyfile(finished[1] / "animation.glb", tmp_path / "thing.glb")
    code, _, err = render(capsys, tmp_path / "thing.glb")
    assert code == 2 and "--video" in err
