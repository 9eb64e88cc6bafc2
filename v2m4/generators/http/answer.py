"""A mesh out of bytes that a stranger sent: which format it is, and nothing beside it is opened."""

from __future__ import annotations

import json
import logging
import re
from typing import Any

from v2m4.errors import V2M4Error
from v2m4.generators.http.client import own_words
from v2m4.generators.template.generator import MOST_FACES, mesh_of_parts
from v2m4.generators.template.reading import parts_of
from v2m4.geometry.mesh import Mesh
from v2m4.settings import TemplateSettings

_log = logging.getLogger(__name__)

_WHAT = "mesh that the server sent"
_FOR_OWNERS = re.compile(r"(Export|Simplify) (it|the object)\b.*$", re.DOTALL)
_FOR_ASKERS = "Try another seed or another keyframe (--keyframes.anchor), or look at the server's own settings."
"""What to do about a mesh that cannot be used: whoever has a file can export it anew, whoever asked a server cannot."""
_OBJ_LINE = re.compile(rb"^\s*(v|f|o|g|mtllib|usemtl)\s", re.MULTILINE)


def mesh_from_bytes(body: bytes, max_faces: int) -> Mesh:
    """The mesh of a GLB, OBJ or PLY file in memory: z up, about the origin, its longest side 1, its look kept.

    GLB and OBJ are read as y up, PLY as z up. Raises V2M4Error for anything else, and for what is damaged or too large.
    """
    kind = _kind(body)
    if kind == "glb":
        _check_glb(body)
    # Without a folder, nothing that the file names (materials, pictures) is looked for.
    try:
        parts = parts_of(body, f".{kind}", None, _WHAT, TemplateSettings(), _log.warning)
        return mesh_of_parts(parts, f".{kind}", _WHAT, max_faces, TemplateSettings())[0]
    except V2M4Error as error:
        raise V2M4Error(_FOR_OWNERS.sub(_FOR_ASKERS, str(error))) from error
    # The readers of mesh files and of the pictures within fail in as many ways on damaged ones.
    except Exception as error:
        reason = str(error).strip().splitlines()
        raise V2M4Error(
            f"The {_WHAT} cannot be read ({reason[0][:200] if reason else type(error).__name__}). It may be damaged or "
            "compressed (Draco, meshopt); let the server send a plain GLB."
        ) from error


def _kind(body: bytes) -> str:
    if body[:4] == b"glTF":
        return "glb"
    if body[:4] in (b"ply\n", b"ply\r"):
        return "ply"
    if _OBJ_LINE.search(body[:1000]) and b"\0" not in body[:1000]:
        return "obj"
    raise V2M4Error(
        f"The server's answer is no mesh (GLB, OBJ or PLY); it begins “{own_words(body[:60])}”. Check that "
        "generator.http.url and generator.http.form are those of a mesh server."
    )


def _check_glb(body: bytes) -> None:
    """Refuse what would cost more than its size says: huge counts, and nodes that are not a tree."""
    try:
        length = int.from_bytes(body[12:16], "little")
        described: Any = json.loads(body[20 : 20 + length])
        counts = [int(accessor.get("count", 0)) for accessor in described.get("accessors", [])]
        children = [int(child) for node in described.get("nodes", []) for child in node.get("children", [])]
        corners = _corners(described, counts)
        tree = len(children) == len(set(children)) and not _has_circle(described)
    except (ValueError, AttributeError, TypeError, LookupError, OverflowError, RecursionError) as error:
        raise V2M4Error(f"The {_WHAT} is a damaged GLB. Ask the server again.") from error
    if max(corners, *counts, 0) > 3 * MOST_FACES:
        raise V2M4Error(f"The {_WHAT} has more than {MOST_FACES} faces. Ask it for a lighter mesh.")
    if not tree:
        raise V2M4Error(f"The {_WHAT} has nodes that are not a tree. Let the server send a valid GLB.")


def _corners(described: dict[str, Any], counts: list[int]) -> int:
    """The corners of all faces to be drawn: parts may share their numbers, and nodes their meshes, at no cost."""

    def of_part(part: dict[str, Any]) -> int:
        return counts[part["indices"] if "indices" in part else part.get("attributes", {})["POSITION"]]

    meshes = [sum(of_part(part) for part in mesh.get("primitives", [])) for mesh in described.get("meshes", [])]
    drawn = [meshes[node["mesh"]] for node in described.get("nodes", []) if "mesh" in node]
    return sum(drawn) if drawn else sum(meshes)


def _has_circle(described: dict[str, Any]) -> bool:
    """Whether some node is its own descendant, every node having one parent at most."""
    nodes = described.get("nodes", [])
    parent = {int(child): i for i, node in enumerate(nodes) for child in node.get("children", [])}
    cleared: set[int] = set()
    for start in range(len(nodes)):
        at: int | None = start
        way: set[int] = set()
        while at is not None and at not in cleared:
            if at in way:
                return True
            way.add(at)
            at = parent.get(at)
        cleared |= way
    return False
