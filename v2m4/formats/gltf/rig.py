"""The skeleton and skin of a glTF scene, if it brings one."""

from __future__ import annotations

import numpy as np

from v2m4.arrays import Int64
from v2m4.formats.gltf.scene import Part, Scene
from v2m4.geometry.rig import Rig

MOST_POINTS = 20_000  # that tell how the skin hangs on the bones; between them it is alike


def rig_of(scene: Scene) -> Rig | None:
    """The joints that some part's skin names, as the nodes stand, and the surface that they carry: its vertices, but
    those that are nowhere. Parts without a skin are carried by the joint that they hang under, else by the first. None
    if no part has a skin, or it has one joint.
    """
    carriers = [part.carriers[0] for part in scene.parts if part.carriers is not None]
    above = {
        child: index for index, node in enumerate(scene.document.json["nodes"]) for child in node.get("children", [])
    }
    joints = (
        _with_parents_first(np.unique(np.concatenate([each.ravel() for each in carriers])), above) if carriers else []
    )
    if len(joints) < 2:
        return None
    place = {node: number for number, node in enumerate(joints)}
    parents = [next((place[node] for node in _upwards(joint, above) if node in place), -1) for joint in joints]
    rests = [part.at_rest() for part in scene.parts]
    used = [np.flatnonzero(np.isfinite(rest).all(axis=1)) for rest in rests]
    points = np.concatenate([rest[own] for rest, own in zip(rests, used, strict=True)])
    chosen = np.arange(0, len(points), max(1, -(-len(points) // MOST_POINTS)))
    weights = np.zeros((len(chosen), len(joints)))
    first = 0
    for part, vertices in zip(scene.parts, used, strict=True):
        numbers, shares = _nodes_of(part, place, above)
        inside = (chosen >= first) & (chosen < first + len(vertices))
        rows = np.repeat(np.flatnonzero(inside)[:, None], numbers.shape[1], axis=1)
        own = vertices[chosen[inside] - first]
        np.add.at(weights, (rows, numbers[own]), shares[own])
        first += len(vertices)
    places = np.stack([scene.worlds[joint][:3, 3] for joint in joints])
    return Rig(np.array(parents, np.int64), places, points[chosen], weights)


def _upwards(node: int, above: dict[int, int]) -> list[int]:
    """The nodes that a node hangs under, nearest first. A scene has been read, so none hangs under itself."""
    out = list[int]()
    while node in above:
        node = above[node]
        out.append(node)
    return out


def _with_parents_first(nodes: Int64, above: dict[int, int]) -> list[int]:
    return sorted(nodes.tolist(), key=lambda node: (len(_upwards(node, above)), node))


def _nodes_of(part: Part, place: dict[int, int], above: dict[int, int]) -> tuple[Int64, np.ndarray]:
    """Numbers of bones (P,J) and shares (P,J) that carry a part."""
    if part.carriers is not None:
        nodes, shares = part.carriers
        numbers = np.array([place[node] for node in np.unique(nodes).tolist()], np.int64)
        return numbers[np.searchsorted(np.unique(nodes), nodes)], shares
    under = next((place[node] for node in [part.node, *_upwards(part.node, above)] if node in place), 0)
    return np.full((len(part.positions), 1), under, np.int64), np.ones((len(part.positions), 1))
