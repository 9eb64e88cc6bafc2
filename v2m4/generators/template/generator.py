"""The user's own mesh as the object's shape: read, merged into one mesh with one texture, brought to canonical pose."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from v2m4.arrays import Bytes, Float64, Int64, Real
from v2m4.errors import V2M4Error
from v2m4.generators import Generated
from v2m4.generators.template.reading import GLTF, read_parts, read_rig
from v2m4.generators.template.simplify import fewer_faces
from v2m4.generators.template.texture_merge import Appearance, MeshPart, merge_appearances
from v2m4.geometry.cleanup import compact, same_place
from v2m4.geometry.mesh import Mesh
from v2m4.geometry.rig import Rig
from v2m4.settings import GeneratorSettings, Settings, TemplateSettings

MOST_FACES = 2_000_000  # more take minutes to read and simplify
_LINE = 1e-6  # of its length: what is no wider (root mean square) is a line
WELD_STEPS = 1e5  # vertices are joined on a grid of so many steps across the object

_log = logging.getLogger(__name__)

_Z_UP = np.eye(4)
_FROM_Y_UP = np.array([[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])


@dataclass(frozen=True)
class Template:
    """The generator `template`: the same mesh for every picture.

    path: a GLB, glTF, OBJ, PLY, STL or OFF file. GLB, glTF and OBJ are read as y up, the others as z up. A scene is
    flattened, an animated file taken as it stands at rest: nodes, joints and morph weights by their defaults. Vertices
    at equal places are joined, texture seams are kept. A mesh with more than ``max_faces`` faces is simplified, its
    appearance carried over. ``to_canonical`` is the (4,4) float64 matrix from the file's coordinates to the mesh's (z
    up, centred, longest side 1). ``rig``: the file's own skeleton and skin, if it brings them, in the mesh's pose.
    ``warnings``: sentences about what the file names but lacks, such as textures.
    Raises `V2M4Error` when the file holds no usable mesh.
    """

    path: Path
    max_faces: int = GeneratorSettings().max_faces
    settings: TemplateSettings = field(default_factory=TemplateSettings)
    mesh: Mesh = field(init=False, repr=False)
    to_canonical: Float64 = field(init=False, repr=False)
    rig: Rig | None = field(init=False, repr=False)
    warnings: tuple[str, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        warnings: list[str] = []
        mesh, matrix = load_template(Path(self.path), self.max_faces, self.settings, warnings.append)
        object.__setattr__(self, "mesh", mesh)
        object.__setattr__(self, "to_canonical", matrix)
        rig = read_rig(Path(self.path))
        object.__setattr__(self, "rig", None if rig is None else rig.transformed(matrix))
        object.__setattr__(self, "warnings", tuple(warnings))

    @classmethod
    def from_settings(cls, settings: Settings, device: torch.device) -> Template:
        """The plug for a run's settings. Raises V2M4Error if they name no mesh."""
        chosen = settings.generator
        if chosen.template is None:
            raise V2M4Error("The generator “template” animates a mesh of yours. Give it with --template MESH.")
        return cls(chosen.template, chosen.max_faces, chosen.own_mesh)

    def __call__(self, reference: Bytes, rng: torch.Generator, device: torch.device | str = "cpu") -> Generated:
        """The mesh, whatever the picture shows; its camera has to be searched for."""
        return Generated(self.mesh.to(device), warnings=self.warnings, rig=self.rig)


def check_file(settings: Settings) -> None:
    """Raise V2M4Error if the mesh that the settings name cannot be used, before anything is made of the video."""
    if settings.generator.template is not None:
        load_template(settings.generator.template, MOST_FACES, settings.generator.own_mesh, lambda warning: None)


def load_template(
    path: Path,
    max_faces: int = GeneratorSettings().max_faces,
    settings: TemplateSettings | None = None,
    warn: Callable[[str], None] = _log.warning,
) -> tuple[Mesh, Float64]:
    """The mesh in canonical pose, and the (4,4) matrix that took it there from the file's coordinates.

    ``warn`` is told, a sentence each, what the file names but lacks.
    """
    settings = settings or TemplateSettings()
    parts = read_parts(path, settings, warn)
    return mesh_of_parts(parts, path.suffix.lower(), f"template {path.name}", max_faces, settings)


def mesh_of_parts(
    parts: list[MeshPart], suffix: str, what: str, max_faces: int, settings: TemplateSettings
) -> tuple[Mesh, Float64]:
    """The parts of a file as one mesh in canonical pose, and the (4,4) matrix that took it there.

    suffix: of the file (“.glb”), which decides what is up. what: how errors call it.
    """
    # 1. Where the parts lie.
    upright = _FROM_Y_UP if suffix in (*GLTF, ".obj") else _Z_UP
    positions = np.concatenate([p.positions for p in parts])
    faces = _offset([p.faces for p in parts], [len(p.positions) for p in parts])
    if len(faces) > MOST_FACES:
        raise V2M4Error(
            f"The {what} has {len(faces)} faces; more than {MOST_FACES} are too many to work with. "
            "Simplify it first (in Blender: the Decimate modifier)."
        )
    # 2. The box, z up, of all vertices that a face has.
    positions = positions @ upright[:3, :3].T
    shown = positions[np.unique(faces)]
    if not np.isfinite(shown).all():
        raise V2M4Error(f"The {what} has vertices that are not finite numbers (NaN). Export it again.")
    low, high = shown.min(0), shown.max(0)
    longest = float((high - low).max())
    if longest <= 0:
        raise V2M4Error(f"All vertices of the {what} lie in one point. Export it again.")
    positions = np.nan_to_num(positions, nan=0.0, posinf=0.0, neginf=0.0)
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
    middle = shown - shown.mean(0)
    if np.linalg.svd(middle.T @ middle, compute_uv=False)[1] <= (_LINE * longest) ** 2 * len(shown):
        raise V2M4Error(f"All vertices of the {what} lie on one line. Export it again.")
    if len(mesh.faces) > max_faces:
        mesh = fewer_faces(mesh, max_faces, settings)
        if len(mesh.faces) == 0:
            raise V2M4Error(
                f"Nothing is left of the {what} once it is simplified to {max_faces} faces. Export it again."
            )
    return mesh, matrix


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
