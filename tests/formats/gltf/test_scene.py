"""Every feature of glTF that shape and base colour depend on, read as three.js reads it."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.formats.gltf.features import FEATURES, everything_in_the_color, nodes
from tests.formats.gltf.files import FACES, POSITIONS, UV, File, picture, png, primitive, strip, textured
from tests.formats.gltf.three import corners_of, seen_by_three
from v2m4.errors import V2M4Error
from v2m4.formats.gltf.scene import read_scene
from v2m4.formats.gltf.surface import repeating, transformed_uv


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, object]]:
    """All files and what three.js sees in them; one process reads them all."""
    folder = tmp_path_factory.mktemp("gltf")
    paths = [make().glb(folder / f"{number}.glb") for number, make in enumerate(FEATURES.values())]
    return {name: (path, seen) for name, path, seen in zip(FEATURES, paths, seen_by_three(*paths), strict=True)}


@pytest.mark.parametrize("feature", FEATURES)
def test_as_three_reads_it(feature: str, theirs: dict[str, tuple[Path, object]]) -> None:
    path, expected = theirs[feature]
    assert isinstance(expected, list), expected
    parts = read_scene(path).parts
    assert len(parts) == len(expected)
    for part, corners in zip(parts, expected, strict=True):
        np.testing.assert_allclose(corners_of(part), corners, atol=2e-5)


def test_a_texture_is_scaled_before_it_is_turned() -> None:
    """The specification's order (three.js has the other one, which differs for unequal scales): its own example uses
    the lower left quadrant."""
    corners = np.array([[0.0, 0], [1, 0], [0, 1]])
    moved = transformed_uv(corners, {"offset": [0, 1], "rotation": np.pi / 2, "scale": [0.5, 0.25]})
    np.testing.assert_allclose(moved, [[0, 1], [0, 0.5], [0.25, 1]], atol=1e-12)


def test_mirroring_placements_turn_faces_round(tmp_path: Path) -> None:
    mirrored, straight = read_scene(nodes().glb(tmp_path / "x.glb")).parts
    assert (mirrored.faces == straight.faces[:, ::-1]).all()


@pytest.mark.parametrize(
    "uri", [None, "scene.bin", "two%20words%C3%A9.bin", "sub/scene.bin", "sub\\scene.bin", "SCENE.BIN"]
)
def test_buffers_lie_beside_or_in_the_text(tmp_path: Path, uri: str | None) -> None:
    file = everything_in_the_color()
    (tmp_path / "sub").mkdir()
    name = {None: "unused", "two%20words%C3%A9.bin": "two wordsé.bin", "SCENE.BIN": "scene.bin"}.get(uri, uri)
    (tmp_path / str(name).replace("\\", "/")).write_bytes(file.data)
    scene = read_scene(file.gltf(tmp_path / "x.gltf", uri))
    expected = read_scene(file.glb(tmp_path / "x.glb"))
    np.testing.assert_array_equal(corners_of(scene.parts[0]), corners_of(expected.parts[0]))
    np.testing.assert_array_equal(scene.parts[0].surface.picture, expected.parts[0].surface.picture)


@pytest.mark.parametrize(
    ("wrap", "row"), [(10497, [0, 1, 2, 0, 1, 2]), (33648, [0, 1, 2, 2, 1, 0]), (33071, [0, 1, 2, 2, 2, 2])]
)
def test_wrapping_is_drawn_into_the_picture(wrap: int, row: list[int]) -> None:
    picture = np.arange(3, dtype=np.float32).reshape(1, 3, 1).repeat(3, 2) / 2
    uv = np.array([[(i + 0.5) / 3, 0.5] for i in range(6)] + [[0, 0.5], [2.0, 0.5]])
    laid, moved = repeating(picture, uv, 0, wrap)
    texels = np.floor(moved[:6, 0] * laid.shape[1]).astype(int) % laid.shape[1]
    np.testing.assert_allclose(laid[0, texels, 0] * 2, row)


def needs(name: str) -> Callable[[File], None]:
    def change(file: File) -> None:
        file.json["extensionsRequired"] = [name]

    return change


def names_no_vertex(file: File) -> None:
    primitive(file)["indices"] = file.accessor(np.array([[0], [1], [99]], np.uint16))


def circles(file: File) -> None:
    file.json["nodes"][0]["children"] = [0]


def cut_short(file: File) -> None:
    file.json["accessors"][1]["count"] = 10**6


def old(file: File) -> None:
    file.json["asset"]["version"] = "1.0"


def described(**entries: Any) -> Callable[[File], None]:
    return lambda file: file.json.update(entries)


def too_few(attribute: str) -> Callable[[File], None]:
    def change(file: File) -> None:
        primitive(file)["attributes"][attribute] = file.accessor(np.zeros((4, 3), np.float32))

    return change


def too_few_in_a_target(file: File) -> None:
    primitive(file)["targets"] = [{"POSITION": file.accessor(np.zeros((4, 3), np.float32))}]


def flat_positions(file: File) -> None:
    primitive(file)["attributes"] = {"POSITION": file.accessor(UV)}


def joints_in_a_circle(file: File) -> None:
    file.json["nodes"] = [{"mesh": 0, "skin": 0}, {"children": [2]}, {"children": [1]}]
    file.json["skins"] = [{"joints": [1]}]
    ones = np.ones((len(POSITIONS), 4))
    primitive(file)["attributes"] |= {
        "JOINTS_0": file.accessor(0 * ones.astype(np.uint8)),
        "WEIGHTS_0": file.accessor(ones.astype(np.float32)),
    }


def millions_of_copies(file: File) -> None:
    file.json["accessors"].append({"componentType": 5126, "count": 3_000_000, "type": "VEC3"})
    copies = {"attributes": {"TRANSLATION": len(file.json["accessors"]) - 1}}
    file.json["nodes"][0]["extensions"] = {"EXT_mesh_gpu_instancing": copies}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (described(asset=None), "no version"),
        (described(asset={"version": "2.9", "minVersion": "2.9"}), "glTF 2.9"),
        (described(extensionsRequired=None), "extensionsRequired"),
        (described(extensionsRequired=[3]), "extensionsRequired"),
        (too_few("COLOR_0"), "COLOR_0 has 4 entries for 10 vertices"),
        (too_few_in_a_target, "three numbers for each vertex"),
        (flat_positions, "three numbers for each vertex"),
        (joints_in_a_circle, "damaged"),
        (millions_of_copies, "too many to work with"),
        (needs("EXT_meshopt_compression"), "EXT_meshopt_compression.*gltf-transform"),
        (needs("KHR_meshopt_compression"), "KHR_meshopt_compression"),
        (needs("VENDOR_unheard_of"), "VENDOR_unheard_of"),
        (names_no_vertex, "vertices it lacks"),
        (circles, "damaged"),
        (cut_short, "cut short"),
        (old, "glTF 1.0"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(tmp_path: Path, change: Callable[[File], None], words: str) -> None:
    file = strip()
    change(file)
    with pytest.raises(V2M4Error, match=words):
        read_scene(file.glb(tmp_path / "x.glb"))


def test_a_description_nested_without_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.gltf").write_text('{"extras":' + "[" * 100_000 + "]" * 100_000 + "}")
    with pytest.raises(V2M4Error, match="cannot be read"):
        read_scene(tmp_path / "x.gltf")


def test_weights_for_targets_that_are_not_there_count_for_nothing(tmp_path: Path) -> None:
    file = strip()
    primitive(file)["targets"] = [{"POSITION": primitive(file)["attributes"]["POSITION"]}]
    file.json["meshes"][0]["weights"] = [0.5, 1, 1]
    (part,) = read_scene(file.glb(tmp_path / "x.glb")).parts
    np.testing.assert_allclose(part.at_rest(), 1.5 * POSITIONS, atol=1e-6)


def test_data_in_a_uri_may_lack_its_padding(tmp_path: Path) -> None:
    file = textured()
    code = base64.urlsafe_b64encode(png(picture())).decode().rstrip("=")
    file.json["images"] = [{"uri": f"data:image/png;base64,{code}"}]
    (part,) = read_scene(file.glb(tmp_path / "x.glb")).parts
    assert part.surface.missing is None and part.surface.picture is not None


def test_a_black_surface_that_shines_looks_as_it_shines(tmp_path: Path) -> None:
    file = textured()
    shines = {"pbrMetallicRoughness": {"baseColorFactor": [0, 0, 0, 1]}, "emissiveFactor": [1, 0.5, 1]}
    file.json["materials"] = [shines | {"emissiveTexture": {"index": 0}}]
    (part,) = read_scene(file.glb(tmp_path / "x.glb")).parts
    assert part.surface.factor is not None and part.surface.factor.tolist() == [1, 0.5, 1]
    assert part.surface.picture is not None


@pytest.mark.parametrize("name", ["KHR_materials_unlit", "KHR_lights_punctual", "KHR_materials_clearcoat"])
def test_extensions_that_change_no_base_colour_are_let_through(tmp_path: Path, name: str) -> None:
    file = strip()
    needs(name)(file)
    assert len(read_scene(file.glb(tmp_path / "x.glb")).parts) == 1


@pytest.mark.parametrize(
    ("uri", "words"),
    [("gone.bin", "gone.bin"), ("https://example.org/a.bin", "network"), ("data:;base64,A", "base64")],
)
def test_missing_buffers_are_named(tmp_path: Path, uri: str, words: str) -> None:
    with pytest.raises(V2M4Error, match=words):
        read_scene(strip().gltf(tmp_path / "x.gltf", uri))


def test_a_missing_texture_is_said(tmp_path: Path) -> None:
    file = textured()
    file.json["images"] = [{"uri": "gone.png"}]
    surface = read_scene(file.glb(tmp_path / "x.glb")).parts[0].surface
    assert surface.picture is None and surface.missing is not None and "gone.png" in surface.missing


def test_a_ktx2_texture_is_said(tmp_path: Path) -> None:
    file = textured()
    file.json["textures"] = [{"extensions": {"KHR_texture_basisu": {"source": 0}}}]
    needs("KHR_texture_basisu")(file)
    missing = read_scene(file.glb(tmp_path / "x.glb")).parts[0].surface.missing
    assert missing is not None and "KHR_texture_basisu" in missing and "ktxdecompress" in missing


def compressed() -> File:
    """The strip by Draco, without the plain accessors' data."""
    draco = pytest.importorskip("DracoPy")
    data = draco.encode(
        POSITIONS, FACES.astype(np.uint32), quantization_bits=16, compression_level=1, tex_coord=UV.astype(float)
    )
    file = File()
    packed = {"bufferView": file.view(data), "attributes": {"POSITION": 1, "TEXCOORD_0": 0}}
    named = {"POSITION": file.declare(POSITIONS), "TEXCOORD_0": file.declare(UV)}
    shape = {"attributes": named, "indices": file.declare(FACES.reshape(-1, 1))}
    shape["extensions"] = {"KHR_draco_mesh_compression": packed}
    file.json |= {"meshes": [{"primitives": [shape]}], "nodes": [{"mesh": 0}], "scenes": [{"nodes": [0]}]}
    file.json["extensionsRequired"] = file.json["extensionsUsed"] = ["KHR_draco_mesh_compression"]
    return file


def test_draco(tmp_path: Path) -> None:
    part = read_scene(compressed().glb(tmp_path / "x.glb")).parts[0]
    found, expected = part.positions[part.faces].reshape(-1, 3), POSITIONS[FACES].reshape(-1, 3)
    assert len(part.faces) == len(FACES)
    distances = np.linalg.norm(found[:, None] - expected[None], axis=-1)
    assert distances.min(0).max() < 1e-3 and distances.min(1).max() < 1e-3


def test_draco_without_its_decoder_is_refused_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = compressed().glb(tmp_path / "x.glb")
    monkeypatch.setattr("v2m4.formats.gltf.draco.available", lambda: False)
    with pytest.raises(V2M4Error, match=r"KHR_draco_mesh_compression.*v2m4\[draco\].*gltf-transform"):
        read_scene(path)
