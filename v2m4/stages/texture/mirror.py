"""Colours for what nobody saw, from its mirror image: the far flank of an animal looks like the near one.

That is true of the plane that divides left from right, and of no other: the back of a head is not a face. A plane is
therefore believed only if it is the shape's one plane, or, where a shape has several (a ball has any), if it stands
upright and the colours that are seen on both sides agree.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from v2m4.arrays import Real
from v2m4.geometry.mesh import Mesh, vertex_normals
from v2m4.geometry.sampling import sample_surface, surface_points
from v2m4.geometry.symmetry import MirrorPlane, mirror_planes
from v2m4.settings import MirrorFillSettings
from v2m4.stages.texture.look import Look
from v2m4.stages.texture.samples import Samples


def mirror_look(look: Look, mesh: Mesh, samples: Samples, settings: MirrorFillSettings) -> Look:
    """The look with unseen parts taken from their mirror images, if the mesh, as it is posed, has a plane for that."""
    faces, corners = mesh.faces.numpy(), mesh.vertices.numpy()
    points = samples.interpolate(faces, corners)
    normals = samples.interpolate(faces, vertex_normals(mesh.vertices, mesh.faces).numpy())
    plane = color_plane(mesh.vertices, mesh.faces, points, look.sample_colors, look.samples_seen, settings)
    if plane is None:
        return look
    return Look(
        *fill_mirrored(plane, points, normals, look.sample_colors, look.samples_seen, settings),
        *fill_mirrored(
            plane, samples.at_texels(points), samples.at_texels(normals), look.texel_colors, look.texels_seen, settings
        ),
    )


def color_plane(
    vertices: Tensor, faces: Tensor, points: Real, colors: Real, seen: Real, settings: MirrorFillSettings
) -> MirrorPlane | None:
    """The plane across which the look of a mesh, vertices (V,3) in camera space and faces (F,3), may be mirrored, or
    None.

    points (P,3), their colors (P,3) and how surely these are seen (P,) in [0,1]: what is known of the look.
    """
    face, weights = sample_surface(vertices, faces, settings.points, torch.Generator().manual_seed(0))
    planes = mirror_planes(surface_points(vertices, faces, face, weights).double().numpy(), settings.search)
    # 1. Those that the shape alone cannot tell apart, neither as a whole nor by its small parts.
    clearly = settings.clearly
    equal = [plane for plane in planes if plane.error < settings.error and plane.error < clearly * planes[0].error]
    finest = min((plane.whole_error for plane in equal), default=0.0)
    equal = [plane for plane in equal if plane.whole_error <= max(clearly * finest, finest + settings.noticeable)]
    known = seen > settings.seen
    if not equal or known.sum() < settings.fewest:
        return None
    # 2. The only one, unless the colours speak against it; of several an upright one that they speak for.
    told = [_difference(plane, points[known], colors[known], settings) for plane in equal]
    if len(equal) == 1:
        return equal[0] if told[0] is None or told[0] < settings.disagree else None
    supported = [
        (difference, i)
        for i, (plane, difference) in enumerate(zip(equal, told, strict=True))
        if difference is not None and difference < settings.agree and abs(plane.normal[1]) < settings.upright
    ]
    return equal[min(supported)[1]] if supported else None


def _difference(plane: MirrorPlane, points: Real, colors: Real, settings: MirrorFillSettings) -> float | None:
    """How much seen colours differ from those at their mirror images, as a share of how much any two differ; None if
    too few are seen on both sides."""
    gap, mate = cKDTree(points).query(plane.mirrored(points))
    apart = np.abs(points @ plane.normal - plane.offset)
    spread = float(np.sqrt(points.var(axis=0).sum()))
    # Near the plane a point is its own image, which tells nothing.
    both = (gap < settings.reach * spread) & (apart > settings.reach * spread)
    if both.mean() < settings.both_sides:
        return None
    usual = float(np.abs(colors - colors[np.random.default_rng(0).permutation(len(colors))]).mean())
    return float(np.abs(colors[both] - colors[mate[both]]).mean()) / max(usual, 1e-3)


def fill_mirrored(
    plane: MirrorPlane, points: Real, normals: Real, colors: Real, seen: Real, settings: MirrorFillSettings
) -> tuple[Real, Real]:
    """The colors (N,3) and the trust (N,) in [0,1] of points (N,3) with normals (N,3), those of unseen points taken
    from around their mirror images as far as these are seen."""
    known, lacking = np.flatnonzero(seen > settings.seen), np.flatnonzero(seen <= settings.seen)
    if len(known) == 0 or len(lacking) == 0:
        return colors, seen
    gap, nearest = cKDTree(points[known]).query(plane.mirrored(points[lacking]), workers=-1)
    mate = known[nearest]
    lengths = np.linalg.norm(normals, axis=1).clip(1e-12)
    alike = (plane.turned(normals[lacking]) * normals[mate]).sum(1) / (lengths[lacking] * lengths[mate])
    reach = settings.reach * float(np.sqrt(points.var(axis=0).sum()))
    trust = np.where(alike > settings.facing_cosine, np.exp(-((gap / reach) ** 2)), 0) * seen[mate]
    better = trust > seen[lacking]
    filled, surely = colors.copy(), seen.copy()
    filled[lacking[better]] = colors[mate[better]]
    surely[lacking[better]] = trust[better]
    return filled, surely
