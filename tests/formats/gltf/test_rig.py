"""The skeleton and skin of a glTF scene."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.formats.gltf.features import FEATURES
from tests.formats.gltf.files import POSITIONS, File, primitive, strip
from v2m4.errors import V2M4Error
from v2m4.formats.gltf.rig import rig_of
from v2m4.formats.gltf.scene import read_scene
from v2m4.geometry.rig import Rig


def rig_in(file: File, folder: Path) -> Rig | None:
    return rig_of(read_scene(file.glb(folder / "m.glb")))


@pytest.mark.parametrize("name", ["skin", "skin uint16 joints uint8 weights", "skin without bind matrices"])
def test_joints_and_weights_are_the_files(name: str, tmp_path: Path) -> None:
    rig = rig_in(FEATURES[name](), tmp_path)
    assert rig is not None
    assert rig.parents.tolist() == [-1, 0]
    np.testing.assert_allclose(rig.joints, [[0, 1, 0], [2, 1, 0]], atol=1e-6)
    share = POSITIONS[:, 0] / 4
    np.testing.assert_allclose(rig.weights, np.stack([1 - share, share], axis=1), atol=3e-3)
    np.testing.assert_allclose(rig.points, read_scene(tmp_path / "m.glb").parts[0].at_rest(), atol=1e-6)


def test_a_hat_without_a_skin_is_carried_by_the_joint_that_it_hangs_under(tmp_path: Path) -> None:
    file = FEATURES["skin"]()
    hat = {"POSITION": file.accessor(POSITIONS + 5)}
    file.json["meshes"].append({"primitives": [{"attributes": hat}]})
    file.json["nodes"].append({"mesh": 1})
    file.json["nodes"][2]["children"] = [3]
    rig = rig_in(file, tmp_path)
    assert rig is not None and len(rig.points) == 2 * len(POSITIONS)
    np.testing.assert_array_equal(rig.weights[len(POSITIONS) :], [[0, 1]] * len(POSITIONS))


def test_vertices_that_are_nowhere_are_not_carried(tmp_path: Path) -> None:
    file = FEATURES["skin"]()
    lost = np.concatenate([POSITIONS + 5, np.full((1, 3), np.nan, np.float32)]).astype(np.float32)
    corners = file.accessor(np.arange(3, dtype=np.uint16).reshape(-1, 1))
    file.json["meshes"].append({"primitives": [{"attributes": {"POSITION": file.accessor(lost)}, "indices": corners}]})
    file.json["nodes"].append({"mesh": 1})
    file.json["nodes"][2]["children"] = [3]
    rig = rig_in(file, tmp_path)
    assert rig is not None and np.isfinite(rig.points).all() and len(rig.points) == 2 * len(POSITIONS)


def three_joints(file: File) -> None:
    primitive(file)["attributes"]["JOINTS_0"] = file.accessor(np.zeros((len(POSITIONS), 3), np.uint8))


def no_weights(file: File) -> None:
    del primitive(file)["attributes"]["WEIGHTS_0"]


def endless_weight(file: File) -> None:
    weights = np.full((len(POSITIONS), 4), 0.25, np.float32)
    weights[3, 1] = np.inf
    primitive(file)["attributes"]["WEIGHTS_0"] = file.accessor(weights)


def joint(node: Any) -> Callable[[File], None]:
    def change(file: File) -> None:
        file.json["skins"][0]["joints"][1] = node

    return change


def one_bind(file: File) -> None:
    file.json["skins"][0]["inverseBindMatrices"] = file.accessor(np.eye(4, dtype=np.float32).reshape(1, 16))


def no_skins(file: File) -> None:
    file.json["skins"] = None


def joints_that_hang_under_each_other(file: File) -> None:
    first = len(file.json["nodes"])
    file.json["nodes"] += [{"children": [first + 1]}, {"children": [first]}]
    joint(first)(file)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (three_joints, "a vertex has 3 joints and 4 weights"),
        (no_weights, "JOINTS_0 without WEIGHTS_0"),
        (endless_weight, "not finite"),
        (joint(-1), "skin 0 names node -1 as a joint"),
        (joint(99), "skin 0 names node 99 as a joint"),
        (joint("hip"), "skin 0 names node hip as a joint"),
        (one_bind, "skin 0 has 1 inverse bind matrices for 2 joints"),
        (no_skins, "names skin 0, of 0"),
        (joints_that_hang_under_each_other, "hangs under itself"),
    ],
)
def test_a_damaged_skin_is_refused_in_words(tmp_path: Path, change: Callable[[File], None], words: str) -> None:
    file = FEATURES["skin"]()
    change(file)
    with pytest.raises(V2M4Error, match=f"m.glb is damaged: .*{words}.*Export it again"):
        read_scene(file.glb(tmp_path / "m.glb"))


def test_a_mesh_without_a_skin_has_no_rig(tmp_path: Path) -> None:
    assert rig_in(strip(), tmp_path) is None
