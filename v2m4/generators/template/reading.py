"""The parts of a mesh file, whatever its format: glTF by the project's own reader, the others by trimesh."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import trimesh

from v2m4.arrays import Float64
from v2m4.color import linear_to_srgb, tinted
from v2m4.errors import V2M4Error
from v2m4.formats.gltf.document import Document
from v2m4.formats.gltf.rig import rig_of
from v2m4.formats.gltf.scene import Part, scene_of
from v2m4.formats.ply import PlyText
from v2m4.formats.wavefront import ObjText, Wrapped
from v2m4.generators.template.texture_merge import MeshPart
from v2m4.generators.template.tint import painted
from v2m4.geometry.rig import Rig
from v2m4.settings import TemplateSettings

GLTF = (".glb", ".gltf")
FORMATS = (*GLTF, ".obj", ".ply", ".stl", ".off")
MOST_BYTES = 500 * 2**20  # larger files would not fit a small machine's memory once they are read


def read_parts(path: Path, settings: TemplateSettings, warn: Callable[[str], None]) -> list[MeshPart]:
    """The file's parts where its scene puts them; ``warn`` is told of textures that it names but that are not there.
    Raises V2M4Error when it holds no usable mesh."""
    if not path.exists():
        raise V2M4Error(f"The template {path} does not exist. Check the path.")
    if path.suffix.lower() not in FORMATS:
        raise V2M4Error(
            f"The template {path.name} is not a mesh file that can be read. Use one of: {', '.join(FORMATS)}."
        )
    if path.is_dir() or path.stat().st_size == 0:
        raise V2M4Error(f"The template {path.name} is empty. Export it again.")
    if path.stat().st_size > MOST_BYTES:
        raise V2M4Error(f"The template {path.name} is larger than {MOST_BYTES >> 20} MB. Simplify it first.")
    return parts_of(path.read_bytes(), path.suffix.lower(), path.parent, f"template {path.name}", settings, warn)


def read_rig(path: Path) -> Rig | None:
    """The skeleton and skin that the file brings, in its own coordinates; None if it brings none. Errors as of
    `read_parts`, which is called first."""
    if path.suffix.lower() not in GLTF:
        return None
    document = Document.of(path.read_bytes(), path.parent, f"The template {path.name}")
    return rig_of(scene_of(document)) if document.json.get("skins") else None


def parts_of(
    data: bytes,
    suffix: str,
    folder: Path | None,
    what: str,
    settings: TemplateSettings,
    warn: Callable[[str], None],
) -> list[MeshPart]:
    """The parts of a file whose content is ``data``. What it names is looked for in ``folder``, nowhere if that is
    None. what: how errors call it."""
    if suffix in GLTF:
        parts, warnings, points = _gltf_parts(Document.of(data, folder, f"The {what}"), settings)
    else:
        parts, warnings, points = _other_parts(data, suffix, folder, what)
    if not parts:
        content = "only points, no faces" if points else "no mesh"
        raise V2M4Error(f"The {what} holds {content}. Export the object as a triangle mesh.")
    for sentence in dict.fromkeys(warnings):
        warn(sentence)
    return parts


def _gltf_parts(document: Document, settings: TemplateSettings) -> tuple[list[MeshPart], list[str], int]:
    scene = scene_of(document)
    shown = [part for part in scene.parts if len(part.faces)]
    warnings = [f"A texture is left out. {p.surface.missing}" for p in shown if p.surface.missing is not None]
    return [_gltf_part(part, settings) for part in shown], warnings, scene.others + len(scene.parts) - len(shown)


def _gltf_part(part: Part, settings: TemplateSettings) -> MeshPart:
    """The part at rest, its base colour as a texture or as colours of its vertices; neither if it names none."""
    surface, positions = part.surface, part.at_rest()
    factor = np.ones(3) if surface.factor is None else surface.factor
    # A colour that all vertices share tints like the material's own.
    colors = surface.colors
    if surface.picture is not None and colors is not None and np.allclose(colors, colors[:1], atol=1e-4):
        factor, colors = factor * colors[0], None
    if surface.picture is not None and surface.uv is not None:
        picture = tinted(surface.picture, factor)
        placed = MeshPart(positions, part.faces, surface.uv, picture)
        return placed if colors is None else painted(placed, colors, settings)
    if colors is not None:
        return MeshPart(positions, part.faces, colors=_srgb(colors * factor))
    if surface.factor is None or (surface.missing is not None and np.allclose(surface.factor, 1)):
        return MeshPart(positions, part.faces)
    return MeshPart(positions, part.faces, colors=np.broadcast_to(_srgb(surface.factor), positions.shape))


def _srgb(linear: Float64) -> Float64:
    return np.asarray(linear_to_srgb(linear.clip(0, 1)), np.float64)


def _other_parts(data: bytes, suffix: str, folder: Path | None, what: str) -> tuple[list[MeshPart], list[str], int]:
    """Parts of the formats that trimesh reads, warnings, and how many clouds of points there are besides."""
    wrapped: dict[str, Wrapped] = {}
    unnamed, warnings, named = Wrapped(), list[str](), dict[str, bytes]()
    try:
        if suffix == ".obj":
            text = ObjText.of(data, folder, what)
            data, wrapped, warnings, named = text.data, text.materials, text.warnings, text.named
        elif suffix == ".ply":
            ply = PlyText.of(data, folder, what)
            data, warnings, named, unnamed = ply.data, ply.warnings, ply.named, Wrapped(picture=ply.picture)
        scene = trimesh.load_scene(io.BytesIO(data), file_type=suffix[1:], resolver=named, process=False)
    # The readers of half a dozen formats fail in as many ways on damaged files.
    except Exception as error:
        reason = str(error).strip().splitlines()
        raise V2M4Error(
            f"The {what} cannot be read ({reason[0][:200] if reason else type(error).__name__}). "
            "It may be damaged or compressed; export it again as a plain GLB."
        ) from error
    parts, points = [], 0
    for node in scene.graph.nodes_geometry:
        transform, name = scene.graph[node]
        geometry = scene.geometry[name]
        if not isinstance(geometry, trimesh.Trimesh):
            points += isinstance(geometry, trimesh.PointCloud)
            continue
        if len(geometry.faces) == 0:
            points += len(geometry.vertices) > 0
            continue
        placed = np.asarray(geometry.vertices, np.float64) @ transform[:3, :3].T + transform[:3, 3]
        faces = np.asarray(geometry.faces, np.int64)
        if faces.min() < 0 or faces.max() >= len(placed):
            raise V2M4Error(f"The {what} has faces that name vertices it lacks. Export it again.")
        look = _look(geometry.visual, len(placed), wrapped, unnamed)
        parts.append(MeshPart(placed, np.ascontiguousarray(faces), *look))
    return parts, warnings, points


def _look(visual: Any, vertices: int, wrapped: dict[str, Wrapped], unnamed: Wrapped) -> tuple[Any, Any, Any]:
    """(uv, texture, vertex colours) of a part; each may be None. Colours are sRGB in [0,1]. Materials are looked up in
    ``wrapped``; ``unnamed`` stands for those that are not there."""
    if visual.kind == "texture":
        return _textured(visual, vertices, wrapped.get(visual.material.name, unnamed))
    if visual.kind == "vertex":
        return None, None, np.asarray(visual.vertex_colors, np.float64)[:, :3] / 255
    if visual.kind == "face":
        return None, None, np.asarray(visual.face_colors, np.float64)[:, None, :3].repeat(3, 1) / 255
    return None, None, None


def _textured(visual: Any, vertices: int, material: Wrapped) -> tuple[Any, Any, Any]:
    uv = getattr(visual, "uv", None)
    if material.picture is not None and uv is not None and len(uv) == vertices and np.isfinite(uv).all():
        pixels, laid = material.laid(np.asarray(uv, np.float64))
        # OBJ and PLY count v upwards from the picture's last row.
        return np.column_stack([laid[:, 0], 1 - laid[:, 1]]), pixels, None
    stored = visual.vertex_attributes.get("color")
    if stored is not None and len(stored) == vertices:
        full = np.iinfo(stored.dtype).max if stored.dtype.kind in "ui" else 1
        return None, None, np.asarray(stored, np.float64)[:, :3] / full
    # The MTL format's diffuse colour tints its texture only by convention, so it counts only where there is none.
    if material.diffuse is None or material.lacks_picture:
        return None, None, None
    return None, None, np.broadcast_to(material.diffuse, (vertices, 3))
