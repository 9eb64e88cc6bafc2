"""From a decoder to a mesh in the pipeline's canonical frame: volume, marching cubes, axes, clean-up."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from v2m4.errors import NoSurfaceError, V2M4Error
from v2m4.generators.vecset.volume import Field, VolumeRule, closed_at_border, coarse_to_fine
from v2m4.geometry.cleanup import clean, remove_cavities, remove_small_pieces, simplify
from v2m4.geometry.marching_cubes import marching_cubes
from v2m4.geometry.mesh import Mesh
from v2m4.settings import CleanupSettings


@dataclass(frozen=True)
class Extraction:
    """A generator's grid: cells per axis of each level, half the side of the cube, and how the mesh is scaled.

    divisions: the released code divides the cube into so many when it places vertices, which need not be the cells.
    """

    levels: tuple[int, ...]
    bound: float
    divisions: int
    rule: VolumeRule = field(default_factory=VolumeRule)


def extract(field: Field, extraction: Extraction, device: torch.device, chunk: int, plug: str) -> Mesh:
    """The surface of `field` (logits at points, positive inside) as a closed mesh in the model's own frame.

    Raises V2M4Error if there is none.
    """
    volume = coarse_to_fine(field, extraction.levels, extraction.bound, extraction.rule, device, chunk)
    if not bool(torch.isfinite(volume.logits).all()):
        raise V2M4Error(f"{plug}: the network's values are not finite numbers. Try another seed or device.")
    vertices, faces = marching_cubes(closed_at_border(volume.logits))
    if len(faces) == 0:
        raise NoSurfaceError(f"{plug} made an object without a surface. Try another seed or another generator.")
    return Mesh(placed(vertices - 1, extraction.bound, extraction.divisions), faces)


def placed(vertices: Tensor, bound: float, divisions: int) -> Tensor:
    """Vertices (V, 3) in grid units -> a cube from -bound to bound cut into `divisions`."""
    return vertices * (2 * bound / divisions) - bound


def canonical(vertices: Tensor) -> Tensor:
    """Vertices (V, 3) with y up, in -1..1 -> z up, about TRELLIS's size: halved towards their mean.

    The mean is that of before the axes change, as in the paper's release.
    """
    mean = vertices.mean(0)
    turned = torch.stack([vertices[:, 0], -vertices[:, 2], vertices[:, 1]], dim=1)
    return (turned - mean) * 0.5 + mean


def finish(mesh: Mesh, max_faces: int, settings: CleanupSettings) -> Mesh:
    """The cleaned mesh of at most `max_faces` faces in the canonical frame."""
    # Fewer faces first: the surface has no seams and no holes yet, and the rest is then a hundred times less work.
    vertices, faces = mesh.vertices.cpu().double().numpy(), mesh.faces.cpu().numpy()
    faces = remove_cavities(vertices, remove_small_pieces(faces, settings.floater_faces))
    vertices, faces = simplify(vertices, faces, max_faces, settings.aggressiveness)
    light = Mesh(torch.from_numpy(vertices).to(mesh.vertices), torch.from_numpy(faces).to(mesh.faces.device))
    cleaned = clean(light, max_faces, settings)
    return cleaned.with_vertices(canonical(cleaned.vertices))
