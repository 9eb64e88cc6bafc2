"""The features of glTF that shape and base colour depend on, a file for each."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.formats.gltf.files import COLORS, FACES, POSITIONS, UV, File, material, primitive, strip, textured

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
