"""The user's own mesh as the object's shape: read, merged into one mesh with one texture, brought to canonical pose."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import trimesh

from v2m4.arrays import Bytes, Float64, Int64, Real
from v2m4.color import linear_to_srgb, srgb_to_linear
from v2m4.errors import V2M4Error
from v2m4.generators import Generated
from v2m4.generators.template.simplify import fewer_faces
from v2m4.generators.template.texture_merge import Appearance, MeshPart, merge_appearances
from v2m4.geometry.cleanup import compact, same_place
from v2m4.geometry.mesh import Mesh
from v2m4.settings import Settings, TemplateSettings

FORMATS = (".glb", ".gltf", ".obj", ".ply", ".stl", ".off")
MOST_FACES = 2_000_000
MOST_BYTES = 500 * 2**20
WELD_STEPS = 1e5  # vertices are joined on a grid of so many steps across the object

_Z_UP = np.eye(4)
_FROM_Y_UP = np.array([[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])


@dataclass(frozen=True)
class Template:
    """The generator `template`: the same mesh for every picture.

    path: a GLB, glTF, OBJ, PLY, STL or OFF file. GLB, glTF and OBJ are read as y up, the others as z up. A scene is
    flattened, an animated file taken in its rest pose. Vertices at equal places are joined, texture seams are kept. A
    mesh with more than ``max_faces`` faces is simplified, its appearance carried over.
    ``to_canonical`` is the (4,4) float64 matrix from the file's coordinates to the mesh's (z up, centred, longest side
    1). Raises `V2M4Error` when the file holds no usable mesh.
    """

    path: Path
    max_faces: int = 10_000
    settings: TemplateSettings = field(default_factory=TemplateSettings)
    mesh: Mesh = field(init=False, repr=False)
    to_canonical: Float64 = field(init=False, repr=False)

    def __post_init__(self) -> None:
        mesh, matrix = load_template(Path(self.path), self.max_faces, self.settings)
        object.__setattr__(self, "mesh", mesh)
        object.__setattr__(self, "to_canonical", matrix)

    @classmethod
    def from_settings(cls, settings: Settings, device: torch.device) -> Template:
        """The plug for a run's settings. Raises V2M4Error if they name no mesh."""
        chosen = settings.generator
        if chosen.template is None:
            raise V2M4Error("The generator “template” animates a mesh of yours. Give it with --template MESH.")
        return cls(chosen.template, chosen.max_faces, chosen.own_mesh)

    def __call__(self, reference: Bytes, rng: torch.Generator, device: torch.device | str = "cpu") -> Generated:
        """The mesh, whatever the picture shows; its camera has to be searched for."""
        return Generated(self.mesh.to(device))


def load_template(
    path: Path, max_faces: int = 10_000, settings: TemplateSettings | None = None
) -> tuple[Mesh, Float64]:
    """The mesh in canonical pose, and the (4,4) matrix that took it there from the file's coordinates."""
    scene = _read(path)
    return mesh_of_scene(scene, path.suffix.lower(), f"template {path.name}", max_faces, settings or TemplateSettings())


def mesh_of_scene(
    scene: trimesh.Scene, suffix: str, what: str, max_faces: int, settings: TemplateSettings
) -> tuple[Mesh, Float64]:
    """The scene of a file as one mesh in canonical pose, and the (4,4) matrix that took it there.

    suffix: of the file (“.glb”), which decides what is up and how colours are stored. what: how errors call it.
    """
    # 1. The file's meshes, each where its scene puts it.
    upright = _FROM_Y_UP if suffix in (".glb", ".gltf", ".obj") else _Z_UP
    parts = _parts(scene, suffix, what)
    positions = np.concatenate([p.positions for p in parts])
    if not np.isfinite(positions).all():
        raise V2M4Error(f"The {what} has vertices that are not finite numbers (NaN). Export it again.")
    # 2. The box of all, z up.
    positions = positions @ upright[:3, :3].T
    low, high = positions.min(0), positions.max(0)
    longest = float((high - low).max())
    if longest <= 0:
        raise V2M4Error(f"All vertices of the {what} lie in one point. Export it again.")
    faces = _offset([p.faces for p in parts], [len(p.positions) for p in parts])
    if len(faces) > MOST_FACES:
        raise V2M4Error(
            f"The {what} has {len(faces)} faces; more than {MOST_FACES} are too many to work with. "
            "Simplify it first (in Blender: the Decimate modifier)."
        )
    # 3. Centred, of unit size, vertices joined.
    matrix = np.eye(4)
    matrix[:3] = upright[:3] / longest
    matrix[:3, 3] = -(low + high) / 2 / longest
    vertices = (positions - (low + high) / 2) / longest
    kept, corner = same_place(np.round(vertices * WELD_STEPS))
    vertices = vertices[kept]
    # 4. One mesh with one appearance.
    appearance = merge_appearances(parts, settings)
    mesh = _assemble(vertices, corner[faces], appearance, corner)
    if len(mesh.faces) == 0:
        raise V2M4Error(f"All faces of the {what} have no area. Export it again.")
    return (fewer_faces(mesh, max_faces, settings) if len(mesh.faces) > max_faces else mesh), matrix


def _read(path: Path) -> trimesh.Scene:
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
    try:
        return trimesh.load_scene(path, process=False)
    # The readers of half a dozen formats fail in as many ways on damaged files.
    except Exception as error:
        reason = str(error).strip().splitlines()
        raise V2M4Error(
            f"The template {path.name} cannot be read ({reason[0] if reason else type(error).__name__}). "
            "It may be damaged or compressed; export it again as a plain GLB."
        ) from error


def _parts(scene: trimesh.Scene, suffix: str, what: str) -> list[MeshPart]:
    """The scene's meshes where its graph puts them, every instance a part."""
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
        if np.linalg.det(transform[:3, :3]) < 0:
            faces = faces[:, ::-1]
        parts.append(
            MeshPart(
                placed, np.ascontiguousarray(faces), *_appearance(geometry.visual, len(placed), len(faces), suffix)
            )
        )
    if not parts:
        content = "only points, no faces" if points else "no mesh"
        raise V2M4Error(f"The {what} holds {content}. Export the object as a triangle mesh.")
    return parts


def _appearance(visual: Any, vertices: int, faces: int, suffix: str) -> tuple[Any, Any, Any]:
    """(uv, texture, vertex colours) of a part; each may be None. Colours are sRGB in [0,1]."""
    linear = suffix in (".glb", ".gltf")
    if visual.kind == "texture":
        material = visual.material
        image = getattr(material, "baseColorTexture", None) or getattr(material, "image", None)
        factor = getattr(material, "baseColorFactor", None)
        if factor is None and not hasattr(material, "baseColorFactor"):
            # The MTL format's diffuse colour tints its texture only by convention; most exporters write both.
            factor = None if image is not None else getattr(material, "diffuse", None)
        tint = np.ones(3) if factor is None else np.asarray(factor, np.float64)[:3] / _full(factor)
        uv = getattr(visual, "uv", None)
        if image is not None and uv is not None and len(uv) == vertices and np.isfinite(uv).all():
            pixels: Real = np.asarray(image.convert("RGB"), np.float32) / 255
            if not np.allclose(tint, 1):
                pixels = linear_to_srgb(srgb_to_linear(pixels) * tint) if linear else pixels * tint
            # trimesh counts v upwards from the image's last row.
            return np.column_stack([uv[:, 0], 1 - uv[:, 1]]), pixels.astype(np.float32), None
        stored = visual.vertex_attributes.get("color") if hasattr(visual, "vertex_attributes") else None
        if stored is not None and len(stored) == vertices:
            values = np.asarray(stored, np.float64)[:, :3] / _full(stored)
            return None, None, linear_to_srgb(values * tint) if linear else values * tint
        color = linear_to_srgb(tint) if linear else tint
        return None, None, np.broadcast_to(color, (vertices, 3))
    if visual.kind == "vertex":
        values = np.asarray(visual.vertex_colors, np.float64)[:, :3] / 255
        return None, None, linear_to_srgb(values) if linear else values
    if visual.kind == "face":
        return None, None, np.asarray(visual.face_colors, np.float64)[:, None, :3].repeat(3, 1) / 255
    return None, None, None


def _full(values: Any) -> float:
    """The value that stands for full intensity in an integer or floating-point colour."""
    array = np.asarray(values)
    return float(np.iinfo(array.dtype).max) if array.dtype.kind in "ui" else 1.0


def _offset(faces: list[Int64], counts: list[int]) -> Int64:
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    return np.concatenate([f + s for f, s in zip(faces, starts, strict=True)])


def _assemble(vertices: Float64, faces: Int64, appearance: Appearance, corner: Int64) -> Mesh:
    """Drop faces that welding closed and vertices no face needs; average colours where vertices were joined."""
    a, b, c = faces.T
    keep = (a != b) & (b != c) & (c != a)
    faces = faces[keep]
    used, packed = compact(faces)
    colors = None
    if appearance.colors is not None:
        total = np.zeros((len(vertices), 3))
        np.add.at(total, corner, appearance.colors)
        colors = _tensor((total / np.bincount(corner, minlength=len(vertices))[:, None])[used])
    uv = uv_faces = None
    if appearance.uv is not None and appearance.uv_faces is not None:
        used_uv, packed_uv = compact(appearance.uv_faces[keep])
        uv, uv_faces = _tensor(appearance.uv[used_uv]), torch.from_numpy(packed_uv)
    texture = None if appearance.texture is None else _tensor(appearance.texture)
    return Mesh(_tensor(vertices[used]), torch.from_numpy(packed), uv, uv_faces, texture, colors)


def _tensor(values: Real) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
