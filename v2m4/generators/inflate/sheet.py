"""From an outline and the depths over it to a closed mesh before its camera."""

from __future__ import annotations

import numpy as np
import torch

from v2m4.arrays import Bytes, Float64
from v2m4.generators import Generated
from v2m4.generators.inflate.heights import Heights
from v2m4.generators.inflate.outline import Crop, Outline
from v2m4.generators.inflate.texture import paint
from v2m4.generators.inflate.triangulation import Sides, edges_for, triangulate
from v2m4.geometry.camera import Camera
from v2m4.geometry.mesh import Mesh
from v2m4.settings import InflateSettings

_RECOUNT = (0.6, 1.7)  # the edge changes by no more than that when a count was missed: beyond, it does not tell


def sheet(picture: Bytes, crop: Crop, outline: Outline, heights: Heights, settings: InflateSettings) -> Generated:
    """The closed, textured mesh between the two sides, and its camera, for an (S,S,4) picture."""
    sides = _sides(outline, heights, settings)
    mesh, camera = _in_space(sides, crop, picture.shape[0], settings.working_size)
    texture, uv, uv_faces = paint(picture, crop, sides, heights, settings)
    return Generated(Mesh(mesh.vertices, mesh.faces, uv, uv_faces, texture), camera)


def _sides(outline: Outline, heights: Heights, settings: InflateSettings) -> Sides:
    """Both sides, with the number of faces wanted, to within a few per cent where the outline allows it."""
    edge, coarseness = edges_for(outline, heights, settings)
    sides = triangulate(outline, heights, edge, coarseness, settings.meshing)
    ratio = (len(sides.front.faces) + len(sides.back.faces)) / settings.faces
    if abs(ratio - 1) >= settings.meshing.count_tolerance:
        again = edge * float(np.clip(ratio**0.5, *_RECOUNT))
        sides = triangulate(outline, heights, again, coarseness, settings.meshing)
    return sides


def _in_space(sides: Sides, crop: Crop, side: int, working_size: int) -> tuple[Mesh, Camera]:
    """Both sides around the picture's plane, in the canonical pose: z up, the front towards +y.

    All vertices stay on the rays of their pixels, so the mesh cannot leave the silhouette.
    """
    camera = Camera.identity()
    away = camera.focal * side * crop.scale.max() / working_size
    # One working pixel of depth is as long as one of the picture, at the depth of the plane.
    unit = away / (crop.scale.mean() * side * camera.focal)
    front, back = sides.front, sides.back
    slopes = crop.to_picture(front.points[front.rim]) / side - 0.5
    axis = (slopes.min(0) + slopes.max(0)) / 2 / camera.focal

    def placed(points: Float64, depth: Float64) -> Float64:
        ray = (crop.to_picture(points) / side - 0.5) / camera.focal
        return np.column_stack([ray, np.ones(len(ray))]) * (away + unit * depth)[:, None]

    inner = ~back.rim
    near = placed(front.points, -front.height)
    far = placed(back.points[inner], back.height[inner])
    # The two share the rim's vertices, which come first on both sides.
    behind = np.arange(len(back.points))
    behind[inner] = len(near) + np.arange(int(inner.sum()))
    # Faces are positively oriented in (x right, y down), which from the camera is clockwise.
    faces = np.concatenate([front.faces[:, ::-1], behind[back.faces]])
    world_to_camera = torch.tensor(
        [[-1, 0, 0, axis[0] * away], [0, 0, -1, axis[1] * away], [0, -1, 0, away], [0, 0, 0, 1]], dtype=torch.float32
    )
    points = torch.from_numpy(np.concatenate([near, far])).float() - world_to_camera[:3, 3]
    vertices = points @ world_to_camera[:3, :3]
    return Mesh(vertices, torch.from_numpy(np.ascontiguousarray(faces))), Camera(world_to_camera)
