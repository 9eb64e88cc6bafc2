"""Every feature of glTF that shape and base colour depend on, read as three.js reads it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.formats.gltf.files import COLORS, FACES, POSITIONS, UV, File, material, primitive, strip, textured
from tests.formats.gltf.three import corners_of, seen_by_three
from v2m4.errors import V2M4Error
from v2m4.formats.gltf.scene import read_scene

TURN = [0.1825742, 0.3651484, 0.5477226, 0.7302967]  # a unit quaternion, x y z w


def plain() -> File:
    return strip()


def without_indices() -> File:
    file = File()
    corners = FACES.reshape(-1)
    named = {"POSITION": file.accessor(POSITIONS[corners]), "COLOR_0": file.accessor(COLORS[corners])}
    file.json |= {
        "meshes": [{"primitives": [{"attributes": named}]}],
        "nodes": [{"mesh": 0}],
        "scenes": [{"nodes": [0]}],
    }
    return file


def indices_of(dtype: str) -> Callable[[], File]:
    def make() -> File:
        file = strip()
        primitive(file)["indices"] = file.accessor(FACES.reshape(-1, 1).astype(dtype))
        return file

    return make


def quantised_positions(dtype: str, normalized: bool) -> Callable[[], File]:
    def make() -> File:
        file = strip()
        full = np.iinfo(dtype).max
        steps = np.round((POSITIONS + 1) / 6 * full).astype(dtype)
        primitive(file)["attributes"]["POSITION"] = file.accessor(steps, normalized=normalized)
        size = 6.0 if normalized else 6.0 / full
        file.json["nodes"][0] |= {"scale": [size] * 3, "translation": [-1, -1, -1]}
        file.json |= {"extensionsUsed": ["KHR_mesh_quantization"], "extensionsRequired": ["KHR_mesh_quantization"]}
        return file

    return make


def normalised_uv(dtype: str) -> Callable[[], File]:
    def make() -> File:
        file = textured()
        steps = np.round(UV * np.iinfo(dtype).max).astype(dtype)
        primitive(file)["attributes"]["TEXCOORD_0"] = file.accessor(steps, normalized=True)
        return file

    return make


def colors_of(dtype: str, width: int) -> Callable[[], File]:
    def make() -> File:
        values = np.column_stack([COLORS, np.full(10, 0.5, np.float32)])[:, :width]
        file = strip()
        stored = (
            values.astype(np.float32) if dtype == "float32" else np.round(values * np.iinfo(dtype).max).astype(dtype)
        )
        primitive(file)["attributes"]["COLOR_0"] = file.accessor(stored, normalized=dtype != "float32")
        return file

    return make


def everything_in_the_color() -> File:
    file = strip(TEXCOORD_0=UV, COLOR_0=COLORS)
    material(file, {"baseColorTexture": {"index": 0}, "baseColorFactor": [0.9, 0.5, 0.2, 1]})
    return file


def second_uv() -> File:
    file = textured(texCoord=1)
    primitive(file)["attributes"]["TEXCOORD_1"] = file.accessor((1 - UV) * np.float32(0.5))
    return file


def moved_texture() -> File:
    moved = {"offset": [0.1, -0.3], "rotation": 0.7, "scale": [0.6, 0.6]}
    file = textured(extensions={"KHR_texture_transform": moved})
    file.json |= {"extensionsUsed": ["KHR_texture_transform"], "extensionsRequired": ["KHR_texture_transform"]}
    return file


def moved_second_uv() -> File:
    file = second_uv()
    info = file.json["materials"][0]["pbrMetallicRoughness"]["baseColorTexture"]
    info |= {"texCoord": 0, "extensions": {"KHR_texture_transform": {"texCoord": 1, "scale": [2, 0.5]}}}
    file.json["extensionsUsed"] = ["KHR_texture_transform"]
    return file


def interleaved() -> File:
    file = textured()
    rows = np.zeros((10, 9), np.float32)
    rows[:, :3], rows[:, 4:6], rows[:, 6:] = POSITIONS, UV, COLORS
    view = file.view(rows.tobytes(), byteStride=36)
    named = primitive(file)["attributes"]
    named["POSITION"] = file.declare(POSITIONS, bufferView=view)
    named["TEXCOORD_0"] = file.declare(UV, bufferView=view, byteOffset=16)
    named["COLOR_0"] = file.declare(COLORS, bufferView=view, byteOffset=24)
    return file


def sparse(based: bool) -> Callable[[], File]:
    def make() -> File:
        file = strip()
        few = np.array([1, 4, 9], np.uint16)
        places = {"bufferView": file.view(few.tobytes()), "componentType": 5123}
        values = {"bufferView": file.view((POSITIONS[few] + np.float32(0.5)).tobytes())}
        base = {"bufferView": file.json["accessors"][1]["bufferView"]} if based else {}
        given = {"sparse": {"count": 3, "indices": places, "values": values}}
        primitive(file)["attributes"]["POSITION"] = file.declare(POSITIONS, **base, **given)
        return file

    return make


def morphed(by: str, width: str = "float32") -> Callable[[], File]:
    def make() -> File:
        file = strip()
        rng = np.random.default_rng(0)
        targets = rng.normal(size=(2, 10, 3))
        if width != "float32":
            file.json["extensionsRequired"] = file.json["extensionsUsed"] = ["KHR_mesh_quantization"]
            targets = np.round(np.clip(targets / 4, -1, 1) * np.iinfo(width).max)
        primitive(file)["targets"] = [
            {"POSITION": file.accessor(t.astype(width), normalized=width != "float32")} for t in targets
        ]
        file.json["meshes"][0]["weights"] = [0.25, 0.5]
        if by == "node":
            file.json["nodes"][0]["weights"] = [-0.5, 2.0]
        return file

    return make


def mode(number: int) -> Callable[[], File]:
    def make() -> File:
        file = strip()
        primitive(file)["mode"] = number
        order = np.arange(10) if number == 5 else np.array([0, 2, 4, 6, 8, 9, 7, 5, 3, 1])
        primitive(file)["indices"] = file.accessor(order.astype(np.uint8).reshape(-1, 1))
        return file

    return make


def nodes() -> File:
    file = strip()
    file.json["nodes"] = [
        {"children": [1, 2], "rotation": TURN, "translation": [1, 2, 3]},
        {"mesh": 0, "scale": [1, -2, 0.5]},  # mirrored
        {"children": [3], "matrix": [0, 1, 0, 0, -1, 0, 0, 0, 0, 0, 1, 0, 4, 5, 6, 1]},
        {"mesh": 0},
        {"mesh": 0},  # belongs to no scene
    ]
    return file


def second_scene() -> File:
    file = strip()
    file.json["nodes"] = [{"mesh": 0}, {"mesh": 0, "translation": [7, 0, 0]}]
    file.json |= {"scenes": [{"nodes": [0]}, {"nodes": [1]}], "scene": 1}
    return file


def several_primitives() -> File:
    file = everything_in_the_color()
    other = {"attributes": {"POSITION": file.accessor(POSITIONS + np.float32(3))}, "material": 1}
    other["indices"] = file.accessor(FACES[:3].reshape(-1, 1))
    file.json["materials"].append({"pbrMetallicRoughness": {"baseColorFactor": [0, 0.5, 1, 0.5]}})
    file.json["meshes"][0]["primitives"].append(other)
    return file


def instances() -> File:
    file = strip()
    copies = {
        "TRANSLATION": file.accessor(np.array([[0, 0, 0], [5, 1, 0], [-5, 2, 1]], np.float32)),
        "ROTATION": file.accessor(np.array([[0, 0, 0, 1], TURN, [0, 0, 1, 0]], np.float32)),
        "SCALE": file.accessor(np.array([[1, 1, 1], [2, 1, 3], [1, 1, 1]], np.float32)),
    }
    file.json["nodes"][0] |= {"scale": [2, 2, 2], "extensions": {"EXT_mesh_gpu_instancing": {"attributes": copies}}}
    file.json |= {"extensionsUsed": ["EXT_mesh_gpu_instancing"], "extensionsRequired": ["EXT_mesh_gpu_instancing"]}
    return file


def skinned(
    weights: str = "float32", joints: str = "uint8", bound: bool = True, morphs: bool = False
) -> Callable[[], File]:
    def make() -> File:
        file = strip()
        share = (POSITIONS[:, 0] / 4).astype(np.float64)
        table = np.column_stack([1 - share, share, 0 * share, 0 * share])
        if weights != "float32":
            full = np.iinfo(weights).max
            table[:, 1] = np.round(share * full)
            table[:, 0] = full - table[:, 1]  # they must sum to one
        which = np.tile([0, 1, 0, 0], (10, 1)).astype(joints)
        named = primitive(file)["attributes"]
        named["JOINTS_0"] = file.accessor(which)
        named["WEIGHTS_0"] = file.accessor(table.astype(weights), normalized=weights != "float32")
        skin = {"joints": [1, 2], "skeleton": 1}
        if bound:
            inverse = np.tile(np.eye(4, dtype=np.float32), (2, 1, 1))
            inverse[1, :3, 3] = -2, 0, 0.25
            skin["inverseBindMatrices"] = file.accessor(inverse.transpose(0, 2, 1).reshape(2, 16))
        if morphs:
            primitive(file)["targets"] = [{"POSITION": file.accessor(POSITIONS[::-1].copy())}]
            file.json["meshes"][0]["weights"] = [0.4]
        file.json["nodes"] = [
            {"mesh": 0, "skin": 0, "scale": [1, 3, 1], "translation": [9, 9, 9]},  # does not count
            {"children": [2], "translation": [0, 1, 0]},
            {"rotation": TURN, "translation": [2, 0, 0], "scale": [1, 1.5, 1]},
        ]
        file.json |= {"skins": [skin], "scenes": [{"nodes": [0, 1]}]}
        return file

    return make


FEATURES: dict[str, Callable[[], File]] = {
    "plain": plain,
    "without indices": without_indices,
    **{f"indices {t}": indices_of(t) for t in ("uint8", "uint16", "uint32")},
    **{f"positions {t}": quantised_positions(t, False) for t in ("int8", "uint8", "int16", "uint16")},
    **{f"positions {t} normalised": quantised_positions(t, True) for t in ("int8", "uint8", "int16", "uint16")},
    "texture": textured,
    **{f"uv {t}": normalised_uv(t) for t in ("uint8", "uint16", "int16")},
    **{f"colours {t} {w}": colors_of(t, w) for t in ("uint8", "uint16", "float32") for w in (3, 4)},
    "colour x texture x factor": everything_in_the_color,
    "second uv set": second_uv,
    "texture transform": moved_texture,
    "texture transform with uv set": moved_second_uv,
    "interleaved": interleaved,
    "sparse": sparse(True),
    "sparse over zeros": sparse(False),
    "morph weights of the mesh": morphed("mesh"),
    "morph weights of the node": morphed("node"),
    "morph targets int8": morphed("mesh", "int8"),
    "morph targets int16": morphed("mesh", "int16"),
    "strip": mode(5),
    "fan": mode(6),
    "nodes": nodes,
    "second scene": second_scene,
    "several primitives": several_primitives,
    "instances": instances,
    "skin": skinned(),
    "skin uint16 joints uint8 weights": skinned("uint8", "uint16"),
    "skin uint16 weights": skinned("uint16"),
    "skin without bind matrices": skinned(bound=False),
    "skin and morph": skinned(morphs=True),
}


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
    from v2m4.formats.gltf.surface import transformed_uv

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
    from v2m4.formats.gltf.surface import repeating

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


@pytest.mark.parametrize(
    ("change", "words"),
    [
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


@pytest.mark.parametrize("name", ["KHR_materials_unlit", "KHR_lights_punctual", "KHR_materials_clearcoat"])
def test_extensions_that_change_no_base_colour_are_let_through(tmp_path: Path, name: str) -> None:
    file = strip()
    needs(name)(file)
    assert len(read_scene(file.glb(tmp_path / "x.glb")).parts) == 1


@pytest.mark.parametrize(
    ("uri", "words"),
    [("gone.bin", "gone.bin"), ("https://example.org/a.bin", "network"), ("data:;base64,QQ=", "base64")],
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
