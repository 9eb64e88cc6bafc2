"""One still per frame, in the world of the animated GLB."""

import pytest
import torch
import trimesh

from tests.export.khronos import assert_valid
from tests.toys import bobbing_ball
from v2m4.evaluation.glb import read_glb
from v2m4.export.frames import write_frames
from v2m4.export.glb import write_glb
from v2m4.settings import ExportSettings

TIMES = (0.0, 0.05, 0.3)


def test_glbs_show_what_the_animation_shows(tmp_path):
    animation = bobbing_ball()
    write_glb(tmp_path / "animation.glb", animation, ExportSettings(), {})
    paths = write_frames(tmp_path / "frames", animation, TIMES, "glb", ExportSettings(morph_normals=True))
    assert [p.name for p in paths] == ["mesh_00000.glb", "mesh_00001.glb", "mesh_00002.glb"]
    model = read_glb(tmp_path / "animation.glb")
    for path, time in zip(paths, TIMES, strict=True):
        torch.testing.assert_close(read_glb(path).mesh.vertices, model.at(time), atol=1e-5, rtol=0)
    assert_valid(paths[1])


def test_objs_share_a_texture_and_keep_the_right_way_up(tmp_path):
    animation = bobbing_ball()
    write_glb(tmp_path / "animation.glb", animation, ExportSettings(), {})
    paths = write_frames(tmp_path / "frames", animation, TIMES, "obj")
    assert sorted(p.name for p in (tmp_path / "frames").iterdir()) == [
        "material.mtl",
        *(p.name for p in paths),
        "texture.png",
    ]
    mesh = trimesh.load(paths[2], force="mesh", process=False)
    assert mesh.is_volume or mesh.volume > 0
    expected = read_glb(tmp_path / "animation.glb").at(0.3)
    torch.testing.assert_close(
        torch.tensor(mesh.bounds).float(), torch.stack([expected.amin(0), expected.amax(0)]), atol=1e-5, rtol=0
    )
    # trimesh measures v upwards, as OBJ does; ours goes down from the first row of the picture
    assert mesh.visual.uv[:, 1].min() == pytest.approx(0, abs=1e-6)
    top = mesh.vertices[:, 1].argmax()
    picture = mesh.visual.material.image
    shown = picture.getpixel((0, round((1 - mesh.visual.uv[top, 1]) * (picture.height - 1))))
    first_row = (animation.mesh.texture[0, 0] * 255).round().int().tolist()
    assert shown[1] == pytest.approx(first_row[1], abs=3)
