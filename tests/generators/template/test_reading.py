"""Mesh files as people have them: names of other machines, old encodings, and textures that are not there."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.formats.gltf import files
from tests.formats.gltf.files import COLORS, FACES, POSITIONS, UV, picture
from v2m4.color import linear_to_srgb, srgb_to_linear
from v2m4.errors import V2M4Error
from v2m4.formats.wavefront import split_map
from v2m4.generators.template.generator import Template
from v2m4.geometry.mesh import Mesh
from v2m4.render import sample_texture


def obj_text(uv: bool = True, colors: bool = False, negative: bool = False) -> str:
    """The bent strip of `files`; v counts upwards in OBJ."""
    rows = np.column_stack([POSITIONS, COLORS]) if colors else POSITIONS
    lines = ["v " + " ".join(f"{x:.6f}" for x in row) for row in rows]
    lines += [f"vt {u:.6f} {1 - v:.6f}" for u, v in UV] if uv else []
    lines += ["usemtl Fläche"]
    for face in FACES.astype(int) + 1:
        numbers = face - 11 if negative else face
        lines.append("f " + " ".join(f"{n}/{n}" if uv else str(n) for n in numbers))
    return "\n".join(lines) + "\n"


def write_obj(folder: Path, map_line: str, encoding: str = "utf-8", text: str | None = None) -> Path:
    (folder / "m.mtl").write_bytes(f"# für\nnewmtl Fläche\nKd 1 1 1\n{map_line}\n".encode(encoding))
    (folder / "m.obj").write_bytes(f"# Körper\nmtllib m.mtl\n{text or obj_text()}".encode(encoding))
    return folder / "m.obj"


def write_picture(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(picture()).save(path)


def face_colors(mesh: Mesh) -> np.ndarray:
    """(F,3) of the faces' centres."""
    assert mesh.texture is not None and mesh.uv is not None and mesh.uv_faces is not None
    return sample_texture(mesh.texture, mesh.uv[mesh.uv_faces].mean(1)).numpy()


def expected_colors(uv: np.ndarray = UV) -> np.ndarray:
    centres = torch.from_numpy(uv[FACES].mean(1).astype(np.float32)) % 1.0
    return sample_texture(torch.from_numpy(picture() / 255).float(), centres).numpy()


@pytest.mark.parametrize(
    ("stored", "line"),
    [
        ("tex.png", "map_Kd tex.png"),
        ("tex.png", "MAP_KD tex.png"),
        ("tex.png", "\tmap_Kd   tex.png  "),
        ("two words.png", "map_Kd two words.png"),
        ("two words.png", "map_Kd two%20words.png"),
        ("textures/tex.png", "map_Kd textures\\tex.png"),
        ("tex.png", "map_Kd C:\\Users\\me\\tex.png"),
        ("tex.png", "map_Kd /home/me/tex.png"),
        ("TEX.PNG", "map_Kd tex.png"),
        ("tex.png", "map_Kd -s 1 1 1 -o 0 0 0 tex.png"),
        ("tex.png", "map_Kd -blendu on -bm 1.0 -mm 0 1 -imfchan l -clamp off tex.png"),
    ],
)
def test_obj_textures_are_found(tmp_path: Path, stored: str, line: str) -> None:
    write_picture(tmp_path / stored)
    template = Template(write_obj(tmp_path, line))
    assert template.warnings == ()
    np.testing.assert_allclose(face_colors(template.mesh), expected_colors(), atol=0.01)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16"])
def test_obj_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    write_picture(tmp_path / "tex.png")
    template = Template(write_obj(tmp_path, "map_Kd tex.png", encoding))
    np.testing.assert_allclose(face_colors(template.mesh), expected_colors(), atol=0.01)


def test_obj_maps_are_scaled_and_moved(tmp_path: Path) -> None:
    write_picture(tmp_path / "tex.png")
    template = Template(write_obj(tmp_path, "map_Kd -s 0.5 0.5 -o 0.25 0.125 tex.png"))
    upwards = np.column_stack([UV[:, 0], 1 - UV[:, 1]]) * 0.5 + [0.25, 0.125]
    expected = expected_colors(np.column_stack([upwards[:, 0], 1 - upwards[:, 1]]))
    np.testing.assert_allclose(face_colors(template.mesh), expected, atol=0.01)


def test_obj_faces_may_count_backwards(tmp_path: Path) -> None:
    write_picture(tmp_path / "tex.png")
    # Another piece follows, so that the file's end is not where the faces count from.
    text = obj_text(negative=True) + "v 0 0 9\nv 1 0 9\nv 0 1 9\nvt 0.1 0.9\nf -3/-1 -2/-1 -1/-1\n"
    mesh = Template(write_obj(tmp_path, "map_Kd tex.png", text=text)).mesh
    assert len(mesh.faces) == len(FACES) + 1 and len(mesh.vertices) == len(POSITIONS) + 3
    np.testing.assert_allclose(face_colors(mesh)[: len(FACES)], expected_colors(), atol=0.01)


@pytest.mark.parametrize(
    ("line", "words"), [("map_Kd gone.png", "gone.png.*Fläche"), ("map_Kd broken.png", "broken.png")]
)
def test_an_obj_texture_that_is_not_there_is_said_and_like_no_colours(tmp_path: Path, line: str, words: str) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    template = Template(write_obj(tmp_path, line))
    assert len(template.warnings) == 1
    assert re.search(words, template.warnings[0])
    assert template.mesh.texture is None and template.mesh.colors is None


def test_an_obj_without_its_material_file_says_so(tmp_path: Path) -> None:
    path = write_obj(tmp_path, "")
    (tmp_path / "m.mtl").unlink()
    template = Template(path)
    assert "m.mtl" in template.warnings[0]
    assert template.mesh.texture is None and template.mesh.colors is None


def test_obj_words_may_be_parted_by_tabs(tmp_path: Path) -> None:
    write_picture(tmp_path / "tex.png")
    mesh = Template(write_obj(tmp_path, "map_Kd\ttex.png", text=obj_text().replace(" ", "\t"))).mesh
    np.testing.assert_allclose(face_colors(mesh), expected_colors(), atol=0.01)


def test_an_obj_material_is_found_in_other_cases_and_one_that_is_nowhere_is_said(tmp_path: Path) -> None:
    write_picture(tmp_path / "tex.png")
    found = Template(write_obj(tmp_path, "map_Kd tex.png", text=obj_text().replace("Fläche", "FLÄCHE")))
    assert found.warnings == ()
    np.testing.assert_allclose(face_colors(found.mesh), expected_colors(), atol=0.01)
    lost = Template(write_obj(tmp_path, "map_Kd tex.png", text=obj_text().replace("Fläche", "Kante")))
    assert re.search("“Kante”.*in none of its material files", lost.warnings[0])
    assert lost.mesh.texture is None and lost.mesh.colors is None


def test_an_obj_colour_that_is_no_rgb_counts_as_none(tmp_path: Path) -> None:
    path = write_obj(tmp_path, "")
    (tmp_path / "m.mtl").write_text("newmtl Fläche\nKd spectral red.rfl 1\n")
    assert Template(path).mesh.colors is None


def test_obj_vertex_colours(tmp_path: Path) -> None:
    (tmp_path / "m.obj").write_text(obj_text(uv=False, colors=True))
    mesh = Template(tmp_path / "m.obj").mesh
    assert mesh.colors is not None
    assert torch.cdist(mesh.colors, torch.from_numpy(COLORS)).amin(0).max() < 0.01


@pytest.mark.parametrize(
    ("value", "options", "name"),
    [
        ("a b.png", {}, "a b.png"),
        ("-o 1 2 -s 3 4 5 -clamp on a  b.png", {"-o": ["1", "2"], "-s": ["3", "4", "5"], "-clamp": ["on"]}, "a  b.png"),
        ("-mm 0 1 7.png", {"-mm": ["0", "1"]}, "7.png"),
        ("-t 1 -odd.png", {"-t": ["1"]}, "-odd.png"),
        ("", {}, ""),
    ],
)
def test_map_lines(value: str, options: dict[str, list[str]], name: str) -> None:
    assert split_map(value) == (options, name)


def ply_text(comment: bytes) -> bytes:
    head = b"ply\nformat ascii 1.0\n" + comment + b"\nelement vertex 10\n"
    head += b"".join(b"property float %s\n" % n for n in (b"x", b"y", b"z", b"s", b"t"))
    head += b"element face 8\nproperty list uchar int vertex_indices\nend_header\n"
    rows = [" ".join(f"{x:.6f}" for x in (*p, u, 1 - v)) for p, (u, v) in zip(POSITIONS, UV, strict=True)]
    rows += ["3 " + " ".join(map(str, face)) for face in FACES]
    return head + "\n".join(rows).encode() + b"\n"


@pytest.mark.parametrize(
    "comment", [b"comment TextureFile tex.png", "comment für\r\ncomment TextureFile C:\\x\\TEX.png".encode("latin-1")]
)
def test_ply_textures_are_found(tmp_path: Path, comment: bytes) -> None:
    write_picture(tmp_path / "tex.png")
    (tmp_path / "m.ply").write_bytes(ply_text(comment))
    template = Template(tmp_path / "m.ply")
    assert template.warnings == ()
    np.testing.assert_allclose(face_colors(template.mesh), expected_colors(), atol=0.01)


QUADS_AND_TRIANGLES = [[0, 2, 3, 1], [2, 4, 3], [3, 4, 5], [4, 6, 8, 9, 7, 5]]


def binary_ply(order: str, faces: list[list[int]], length: str = "uchar", names: str = "red green blue") -> bytes:
    """The bent strip with the faces as given; ``order``: little or big."""
    sign, code = "<" if order == "little" else ">", {"uchar": "B", "int": "i"}[length]
    lines = ["ply", f"format binary_{order}_endian 1.0", f"element vertex {len(POSITIONS)}"]
    lines += [f"property float {name}" for name in "xyz"] + [f"property uchar {name}" for name in names.split()]
    lines += [f"element face {len(faces)}", f"property list {length} int vertex_indices", "end_header\n"]
    colors = (COLORS * 255).round().astype(int)
    body = [struct.pack(f"{sign}3f3B", *p, *c) for p, c in zip(POSITIONS, colors, strict=True)]
    body += [struct.pack(f"{sign}{code}{len(face)}i", len(face), *face) for face in faces]
    return "\n".join(lines).encode() + b"".join(body)


@pytest.mark.parametrize(("order", "length"), [("little", "uchar"), ("big", "uchar"), ("little", "int")])
def test_binary_ply_faces_may_differ_in_size(tmp_path: Path, order: str, length: str) -> None:
    (tmp_path / "m.ply").write_bytes(binary_ply(order, QUADS_AND_TRIANGLES, length))
    mesh = Template(tmp_path / "m.ply").mesh
    (tmp_path / "same.ply").write_bytes(binary_ply(order, FACES.tolist(), length))
    same = Template(tmp_path / "same.ply").mesh
    assert len(mesh.faces) == 2 + 1 + 1 + 4
    assert len(mesh.vertices) == len(POSITIONS) and mesh.colors is not None
    np.testing.assert_allclose(np.ptp(mesh.vertices, axis=0), np.ptp(same.vertices, axis=0))


def test_binary_ply_whose_faces_are_cut_off_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.ply").write_bytes(binary_ply("little", QUADS_AND_TRIANGLES)[:-10])
    with pytest.raises(V2M4Error, match="faces end before"):
        Template(tmp_path / "m.ply")


@pytest.mark.parametrize("names", ["diffuse_red diffuse_green diffuse_blue", "r g b"])
def test_ply_colours_have_several_names(tmp_path: Path, names: str) -> None:
    (tmp_path / "m.ply").write_bytes(binary_ply("little", FACES.tolist(), names=names))
    mesh = Template(tmp_path / "m.ply").mesh
    assert mesh.colors is not None
    assert torch.cdist(mesh.colors, torch.from_numpy(COLORS)).amin(0).max() < 0.01


def test_a_ply_texture_that_is_not_there_is_said(tmp_path: Path) -> None:
    (tmp_path / "m.ply").write_bytes(ply_text(b"comment TextureFile gone.png"))
    template = Template(tmp_path / "m.ply")
    assert "gone.png" in template.warnings[0]
    assert template.mesh.texture is None and template.mesh.colors is None


def test_a_gltf_texture_that_is_not_there_is_said(tmp_path: Path) -> None:
    file = files.textured()
    file.json["images"] = [{"uri": "gone%20for%20good.png"}]
    template = Template(file.glb(tmp_path / "m.glb"))
    assert "gone" in template.warnings[0]
    assert template.mesh.texture is None and template.mesh.colors is None


@pytest.mark.parametrize("factor", [None, [0.5, 1.0, 0.25, 1.0]])
def test_vertex_colours_multiply_the_texture_in_linear_light(tmp_path: Path, factor: list[float] | None) -> None:
    file = files.strip(TEXCOORD_0=UV, COLOR_0=COLORS)
    files.material(file, {"baseColorTexture": {"index": 0}} | ({} if factor is None else {"baseColorFactor": factor}))
    mesh = Template(file.glb(tmp_path / "m.glb")).mesh
    seen = srgb_to_linear(expected_colors()) * COLORS[FACES].mean(1) * np.array((factor or [1.0] * 4)[:3])
    np.testing.assert_allclose(face_colors(mesh), linear_to_srgb(seen), atol=0.02)


def test_a_colour_that_all_vertices_share_only_tints_the_texture(tmp_path: Path) -> None:
    file = files.strip(TEXCOORD_0=UV, COLOR_0=np.full((10, 3), 0.25, np.float32))
    files.material(file, {"baseColorTexture": {"index": 0}})
    mesh = Template(file.glb(tmp_path / "m.glb")).mesh
    assert mesh.texture is not None and mesh.texture.shape == (8, 8, 3)
    np.testing.assert_allclose(face_colors(mesh), linear_to_srgb(srgb_to_linear(expected_colors()) * 0.25), atol=0.01)


def test_coordinates_without_a_texture_are_like_no_colours(tmp_path: Path) -> None:
    mesh = Template(files.strip(TEXCOORD_0=UV).glb(tmp_path / "m.glb")).mesh
    assert mesh.texture is None and mesh.colors is None


def test_vertices_of_no_face_do_not_count(tmp_path: Path) -> None:
    file = files.strip()
    stray = np.concatenate([POSITIONS, np.array([[1000, 0, 0], [np.nan, 0, 0]], np.float32)])
    files.primitive(file)["attributes"]["POSITION"] = file.declare(stray, bufferView=file.view(stray.tobytes()))
    file.json["accessors"][-1] |= {"min": [0, 0, 0], "max": [1000, 1, 2]}
    mesh = Template(file.glb(tmp_path / "m.glb")).mesh
    assert len(mesh.vertices) == len(POSITIONS) and float(mesh.vertices[:, 0].amax()) == pytest.approx(0.5)
