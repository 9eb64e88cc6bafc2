"""Files that cannot be evaluated are refused with a sentence; other programs' variants are understood."""

import json
import struct

import numpy as np
import pytest
import torch

from tests.toys import ball, bobbing_ball
from v2m4.errors import V2M4Error
from v2m4.evaluation.glb import read_glb
from v2m4.export.container import GltfDocument
from v2m4.export.glb import animated_glb, write_still
from v2m4.formats.gltf.binary import split_glb
from v2m4.settings import ExportSettings


def join_glb(document, binary):
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    head = struct.pack("<III", 0x46546C67, 2, 28 + len(text) + len(binary))
    return (
        head + struct.pack("<II", len(text), 0x4E4F534A) + text + struct.pack("<II", len(binary), 0x004E4942) + binary
    )


@pytest.fixture
def parts():
    return split_glb(animated_glb(bobbing_ball(), ExportSettings(), {}))


def read(tmp_path, document, binary):
    (tmp_path / "x.glb").write_bytes(join_glb(document, binary))
    return read_glb(tmp_path / "x.glb")


def test_nodes_move_turn_and_scale_what_they_hold(tmp_path, parts):
    document, binary = parts
    before = read(tmp_path, document, binary)
    document["nodes"] = [
        {"children": [1], "rotation": [0, 0, np.sqrt(0.5), np.sqrt(0.5)]},  # a quarter turn about z
        {"children": [2], "scale": [2, 2, 2], "translation": [1, 0, 0]},
        {"mesh": 0, "matrix": [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 3, 1]},
    ]
    document["animations"][0]["channels"][0]["target"]["node"] = 2
    after = read(tmp_path, document, binary)
    for time in (0.0, 0.3):
        moved = (before.at(time) + torch.tensor([0, 0, 3.0])) * 2 + torch.tensor([1.0, 0, 0])
        expected = torch.stack([-moved[:, 1], moved[:, 0], moved[:, 2]], dim=-1)
        torch.testing.assert_close(after.at(time), expected, atol=1e-5, rtol=0)


def test_steps_do_not_blend(tmp_path, parts):
    document, binary = parts
    document["animations"][0]["samplers"][0]["interpolation"] = "STEP"
    model = read(tmp_path, document, binary)
    assert torch.equal(model.at(0.24), model.at(0.11))
    assert not torch.equal(model.at(0.26), model.at(0.11))


def test_without_animation_the_files_own_weights_hold(tmp_path, parts):
    document, binary = parts
    moving = read(tmp_path, document, binary)
    document.pop("animations")
    document["meshes"][0]["weights"] = [0, 0, 1, 0, 0]
    still = read(tmp_path, document, binary)
    torch.testing.assert_close(still.at(5.0), moving.at(0.25), atol=1e-6, rtol=0)


def change_skin(d):
    d["nodes"][0]["skin"] = 0


def change_path(d):
    d["animations"][0]["channels"][0]["target"]["path"] = "translation"


def change_cubic(d):
    d["animations"][0]["samplers"][0]["interpolation"] = "CUBICSPLINE"


def change_parts(d):
    d["meshes"][0]["primitives"] *= 2


def change_points(d):
    d["meshes"][0]["primitives"][0]["mode"] = 0


def change_empty(d):
    d["nodes"][0].pop("mesh")


def change_reference(d):
    d["meshes"][0]["primitives"][0]["attributes"]["POSITION"] = 999


def change_length(d):
    d["accessors"][0]["count"] = 10**6


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (change_skin, "skeleton"),
        (change_path, "whole nodes"),
        (change_cubic, "cubic"),
        (change_parts, "2 separate parts"),
        (change_points, "other than triangles"),
        (change_empty, "no mesh"),
        (change_reference, "damaged"),
        (change_length, "cut short"),
    ],
)
def test_refusals(tmp_path, parts, change, sentence):
    document, binary = parts
    change(document)
    with pytest.raises(V2M4Error, match=sentence):
        read(tmp_path, document, binary)


@pytest.mark.parametrize("content", [b"", b"plain text, long enough to hold a header", b"glTF" + bytes(40)])
def test_not_a_glb(tmp_path, content):
    (tmp_path / "x.glb").write_bytes(content)
    with pytest.raises(V2M4Error, match="not a GLB"):
        read_glb(tmp_path / "x.glb")


def test_no_such_file(tmp_path):
    with pytest.raises(V2M4Error, match="Cannot read"):
        read_glb(tmp_path / "none.glb")


def test_views_are_aligned_whatever_comes_before():
    document = GltfDocument("test")
    document.view(b"abc")
    assert document.accessor(np.zeros((2, 3), np.int8), target=34962) == 0
    parsed, binary = split_glb(document.to_bytes())
    assert [v["byteOffset"] % 4 for v in parsed["bufferViews"]] == [0, 0]
    assert parsed["bufferViews"][1]["byteStride"] == 4
    assert len(binary) % 4 == 0


def test_stills_do_not_move(tmp_path):
    write_still(tmp_path / "s.glb", ball())
    model = read_glb(tmp_path / "s.glb")
    assert torch.equal(model.at(3.0), model.mesh.vertices)
