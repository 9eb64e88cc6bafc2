"""The meshes of a glTF scene where its nodes, joints and morph weights put them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from v2m4.arrays import Float64, Int64
from v2m4.errors import V2M4Error
from v2m4.formats.gltf import draco
from v2m4.formats.gltf.document import MOST_ELEMENTS, Document, normalised
from v2m4.formats.gltf.surface import Surface, read_surface

_TRIANGLES, _STRIP, _FAN = 4, 5, 6
_LEAST_COST = 300  # corners that a part costs at least
_NEEDED = re.compile("POSITION$|(TEXCOORD|COLOR|JOINTS|WEIGHTS)_")


@dataclass(frozen=True)
class Part:
    """A primitive of triangles under a node.

    node: its number. faces: (F,3), counter-clockwise from outside once placed. positions: (N,3) and targets: (M,N,3)
    differences, before ``placement``: the node's (4,4) matrix, or (N,4,4) by the joints of its skin. weights: (M,) of
    the targets as the file has them at rest; None if it names none. carriers: the nodes (N,J) that carry the vertices
    and how much (N,J), by its skin; None if it has none.
    """

    node: int
    faces: Int64
    positions: Float64
    targets: Float64
    weights: Float64 | None
    placement: Float64
    skinned: bool
    surface: Surface
    carriers: tuple[Int64, Float64] | None = None

    def place(self, points: Float64) -> Float64:
        """(N,3) points of the part in the scene."""
        return self.turn(points) + self.placement[..., :3, 3]

    def turn(self, vectors: Float64) -> Float64:
        """(N,3) differences of the part's points in the scene."""
        linear = self.placement[..., :3, :3]
        return vectors @ linear.T if linear.ndim == 2 else np.einsum("nij,nj->ni", linear, vectors)

    def at_rest(self) -> Float64:
        """(N,3) in the scene, under the file's own morph weights and the joints where their nodes stand."""
        if self.weights is None or not self.weights.any():
            return self.place(self.positions)
        return self.place(self.positions + np.tensordot(self.weights, self.targets, 1))


@dataclass(frozen=True)
class Scene:
    """What the file's scene shows. others: primitives of points or lines, which are left out. worlds: the (4,4)
    matrices of its nodes, and of all that skins name."""

    document: Document
    parts: list[Part]
    others: int
    worlds: dict[int, Float64]


def read_scene(path: Path) -> Scene:
    """The scene of a GLB or glTF file (the default one, else the first). Raises V2M4Error, its sentence naming what is
    wrong, for files that are damaged, incomplete or need what cannot be read."""
    return scene_of(Document.open(path))


def scene_of(document: Document) -> Scene:
    """The scene of an open document; errors as of `read_scene`."""
    try:
        return _Reader(document).scene()
    except _DamageError as damage:
        raise V2M4Error(f"{document.title} is damaged: {damage}. Export it again.") from damage
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        lacking = f" (“{error.args[0]}”)" if isinstance(error, KeyError) else ""
        raise V2M4Error(
            f"{document.title} is damaged: its description refers to something it does not hold{lacking}. "
            "Export it again."
        ) from error


class _DamageError(Exception):
    """What is wrong with a file, in words for its user."""


class _Reader:
    def __init__(self, document: Document) -> None:
        self.document, self.json = document, document.json
        self.nodes: list[dict[str, Any]] = self.json.get("nodes", [])
        self.above = {child: i for i, node in enumerate(self.nodes) for child in node.get("children", [])}
        self.worlds: dict[int, Float64] = {}
        self.surfaces: dict[int, Surface] = {}

    def scene(self) -> Scene:
        parts, others = list[Part](), 0
        # Joints may stand anywhere, so every node is placed before any skin is posed.
        shown = list(self._walk())
        if sum(self._cost(self.nodes[index]) for index in shown if "mesh" in self.nodes[index]) > MOST_ELEMENTS:
            raise V2M4Error(
                f"{self.document.title} shows so many parts, copies of them and morph targets that more than "
                f"{MOST_ELEMENTS} triangles would have to be placed, too many to work with. Simplify it first."
            )
        for index in shown:
            node = self.nodes[index]
            if "mesh" not in node:
                continue
            mesh = self.json["meshes"][node["mesh"]]
            for primitive in mesh["primitives"]:
                if primitive.get("mode", _TRIANGLES) < _TRIANGLES:
                    others += 1
                    continue
                part = self._part(index, node.get("weights", mesh.get("weights")), primitive)
                if part is None:
                    continue
                parts += [_facing(copy) for copy in self._copies(part)]
        return Scene(self.document, parts, others, self.worlds)

    def _walk(self) -> Iterator[int]:
        """The visible nodes' numbers, parents first; places all nodes of the scene."""
        roots = [index for index in range(len(self.nodes)) if index not in self.above]
        scenes = self.json.get("scenes") or [{"nodes": roots}]
        stack = [(index, np.eye(4), True) for index in reversed(scenes[self.json.get("scene", 0)].get("nodes", []))]
        while stack:
            index, above, visible = stack.pop()
            if index in self.worlds:
                raise _DamageError(f"node {index} stands in two places")
            node = self.nodes[index]
            world = self.worlds[index] = above @ local_matrix(node)
            visible = visible and node.get("extensions", {}).get("KHR_node_visibility", {}).get("visible", True)
            if visible:
                yield index
            stack += [(child, world, visible) for child in reversed(node.get("children", []))]

    def _cost(self, node: dict[str, Any]) -> int:
        """About how many triangles a node's mesh is worth, by what the file declares; nothing is read for it."""
        accessors, total = self.json.get("accessors", []), 0
        for primitive in self.json["meshes"][node["mesh"]]["primitives"]:
            if "POSITION" not in primitive["attributes"]:
                continue
            corners = accessors[primitive["indices"]]["count"] if "indices" in primitive else 0
            vertices = accessors[primitive["attributes"]["POSITION"]]["count"]
            total += max(corners, vertices, _LEAST_COST) // 3 + len(primitive.get("targets", [])) * vertices // 3
        return int(total * min((accessors[i]["count"] for i in self._instances(node).values()), default=1))

    @staticmethod
    def _instances(node: dict[str, Any]) -> dict[str, int]:
        """The accessors that tell where a node wants copies of its mesh (EXT_mesh_gpu_instancing)."""
        found: dict[str, int] = node.get("extensions", {}).get("EXT_mesh_gpu_instancing", {}).get("attributes", {})
        return {} if "skin" in node else found

    def _copies(self, part: Part) -> Iterator[Part]:
        """The part, or its copies where its node asks for several."""
        copies = self._instances(self.nodes[part.node])
        if not copies:
            yield part
            return
        keys = {"TRANSLATION": "translation", "ROTATION": "rotation", "SCALE": "scale"}
        values = {k: self.document.accessor(copies[name]) for name, k in keys.items() if name in copies}
        for number in range(min((len(v) for v in values.values()), default=0)):
            yield replace(part, placement=part.placement @ local_matrix({k: v[number] for k, v in values.items()}))

    def _part(self, node: int, weights: Any, primitive: dict[str, Any]) -> Part | None:
        attributes = self._attributes(primitive)
        positions = attributes.get("POSITION")
        if positions is None:
            return None
        positions = positions.astype(np.float64)
        for name, values in attributes.items():
            if name != "indices" and len(values) != len(positions):
                raise _DamageError(f"{name} has {len(values)} entries for {len(positions)} vertices")
        # 1. Shape and its morph targets.
        faces = _triangles(attributes["indices"].reshape(-1).astype(np.int64), primitive.get("mode", _TRIANGLES))
        if len(faces) and faces.max() >= len(positions):
            raise V2M4Error(f"{self.document.title} has faces that name vertices it lacks. Export it again.")
        targets = [
            self.document.accessor(target["POSITION"]).astype(np.float64)
            if "POSITION" in target
            else np.zeros_like(positions)
            for target in primitive.get("targets", [])
        ]
        if any(shape.shape != (len(positions), 3) for shape in (positions, *targets)):
            raise _DamageError("its positions are not three numbers for each vertex")
        # 2. Where it stands: a skin's joints override its node (section 3.7.3.3).
        placement, skinned, carriers = self.worlds[node], "skin" in self.nodes[node], None
        if skinned and "JOINTS_0" in attributes:
            bones, inverse = self._skin(self.nodes[node]["skin"])
            joints, shares = _carriers(attributes, len(bones))
            placement = self._joints(bones, inverse, joints, shares)
            carriers = bones[joints], shares
        stacked = np.stack(targets) if targets else np.zeros((0, len(positions), 3))
        rest = None
        if weights is not None and targets:
            rest = np.zeros(len(targets))
            given = np.asarray(weights, np.float64)[: len(targets)]  # some exporters write too few or too many
            rest[: len(given)] = given
        # 3. Its look, once for all nodes that show it.
        if id(primitive) not in self.surfaces:
            self.surfaces[id(primitive)] = read_surface(self.document, primitive, attributes)
        return Part(node, faces, positions, stacked, rest, placement, skinned, self.surfaces[id(primitive)], carriers)

    def _attributes(self, primitive: dict[str, Any]) -> dict[str, NDArray[Any]]:
        """Vertex attributes (N,C) by name, and the ``indices``."""
        accessors = self.json.get("accessors", [])
        packed = primitive.get("extensions", {}).get(draco.EXTENSION)
        plain = {name: i for name, i in primitive["attributes"].items() if _NEEDED.match(name)}
        out: dict[str, NDArray[Any]] = {}
        if packed is not None and (draco.available() or "bufferView" not in accessors[plain["POSITION"]]):
            wanted = {name: number for name, number in packed["attributes"].items() if name in plain}
            faces, unpacked = draco.decode(self.document.view(packed["bufferView"]), wanted, self.document.title)
            out["indices"] = faces
            for name, values in unpacked.items():
                out[name] = normalised(values) if accessors[plain.pop(name)].get("normalized", False) else values
        out |= {name: self.document.accessor(index) for name, index in plain.items() if name not in out}
        if "indices" not in out and "POSITION" in out:
            given = "indices" in primitive
            out["indices"] = self.document.accessor(primitive["indices"]) if given else np.arange(len(out["POSITION"]))
        return out

    def _skin(self, number: int) -> tuple[Int64, Float64]:
        """The nodes (J,) of a skin's joints, and the matrices (J,4,4) from the mesh's space to theirs."""
        skins = self.json.get("skins") or []
        if number not in range(len(skins)):
            raise _DamageError(f"a mesh names skin {number}, of {len(skins)}")
        skin = skins[number]
        for joint in skin["joints"]:
            if joint not in range(len(self.nodes)):
                raise _DamageError(f"skin {number} names node {joint} as a joint, of {len(self.nodes)} nodes")
        count = len(skin["joints"])
        if "inverseBindMatrices" not in skin:
            return np.asarray(skin["joints"], np.int64), np.broadcast_to(np.eye(4), (count, 4, 4))
        columns = self.document.accessor(skin["inverseBindMatrices"])[:count]
        if len(columns) < count:
            raise _DamageError(f"skin {number} has {len(columns)} inverse bind matrices for {count} joints")
        inverse = columns.astype(np.float64).reshape(-1, 4, 4).transpose(0, 2, 1)
        return np.asarray(skin["joints"], np.int64), inverse

    def _joints(self, bones: Int64, inverse: Float64, joints: Int64, shares: Float64) -> Float64:
        """(N,4,4) matrices from the mesh's space to the scene by linear blend skinning."""
        moved = np.stack([self._world(bone) for bone in bones.tolist()]) @ inverse  # (J,4,4)
        total = np.zeros((len(joints), 4, 4))
        for column in range(joints.shape[1]):
            total += shares[:, column, None, None] * moved[joints[:, column]]
        return total

    def _world(self, joint: int) -> Float64:
        """The joint's matrix, also where the scene leaves it out."""
        chain = [joint]
        while chain[-1] not in self.worlds and chain[-1] in self.above:
            if self.above[chain[-1]] in chain:
                raise _DamageError(f"node {joint} hangs under itself")
            chain.append(self.above[chain[-1]])
        for node in reversed(chain):
            if node not in self.worlds:
                above = self.worlds[self.above[node]] if node in self.above else np.eye(4)
                self.worlds[node] = above @ local_matrix(self.nodes[node])
        return self.worlds[joint]


def _carriers(attributes: dict[str, NDArray[Any]], count: int) -> tuple[Int64, Float64]:
    """Numbers (N,J) of a skin's ``count`` joints and their shares (N,J), which sum to one, of vertices; those that no
    joint carries go to the first. Weights need not sum to one."""
    sets = list(takewhile(lambda number: f"JOINTS_{number}" in attributes, range(len(attributes))))
    for number in sets:
        if f"WEIGHTS_{number}" not in attributes:
            raise _DamageError(f"it has JOINTS_{number} without WEIGHTS_{number}")
    joints = np.concatenate([attributes[f"JOINTS_{i}"].astype(np.int64) for i in sets], axis=1)
    weights = np.concatenate([attributes[f"WEIGHTS_{i}"].astype(np.float64) for i in sets], axis=1)
    if joints.shape != weights.shape:
        raise _DamageError(f"a vertex has {joints.shape[1]} joints and {weights.shape[1]} weights")
    if len(joints) and not 0 <= joints.min() <= joints.max() < count:
        raise _DamageError(f"a vertex hangs on joint {joints.max()} of a skin of {count}")
    if not np.isfinite(weights).all():
        raise _DamageError("weights of its skin are not finite numbers (NaN)")
    free = weights.sum(axis=1) <= 0
    joints[free], weights[free, 0] = 0, 1.0
    return joints, weights / weights.sum(axis=1, keepdims=True)


def _facing(part: Part) -> Part:
    """The part with its faces turned round if its placement mirrors it."""
    with np.errstate(invalid="ignore"):  # what stands nowhere is refused, or left out, by whoever takes it
        mirrored = np.median(np.linalg.det(part.placement[..., :3, :3])) < 0
    if mirrored:
        return replace(part, faces=part.faces[:, ::-1].copy())
    return part


def local_matrix(node: dict[str, Any]) -> Float64:
    """(4,4) of a node against its parent: its matrix, or translation, rotation (x, y, z, w) and scale."""
    if "matrix" in node:
        return np.asarray(node["matrix"], np.float64).reshape(4, 4).T
    q = np.asarray(node.get("rotation", (0.0, 0.0, 0.0, 1.0)), np.float64)
    x, y, z, w = q / max(float(np.linalg.norm(q)), 1e-30)
    out = np.eye(4)
    out[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    out[:3, :3] *= np.asarray(node.get("scale", (1.0, 1.0, 1.0)), np.float64)
    out[:3, 3] = node.get("translation", (0.0, 0.0, 0.0))
    return out


def _triangles(indices: Int64, mode: int) -> Int64:
    """(F,3) corners of triangles, of a strip, or of a fan (section 3.7.2.1)."""
    if mode == _TRIANGLES:
        return indices[: len(indices) // 3 * 3].reshape(-1, 3)
    i = np.arange(max(len(indices) - 2, 0))
    if mode == _STRIP:
        odd = i % 2
        return indices[np.stack([i + 2 * odd, i + 1, i + 2 - 2 * odd], 1)]
    if mode == _FAN:
        return indices[np.stack([np.zeros_like(i), i + 1, i + 2], 1)]
    raise _DamageError(f"its primitives have the mode {mode}")
