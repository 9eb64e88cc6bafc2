"""Pictures without gradients, at the speed of compiled loops: for scoring thousands of cameras, and for previews."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from v2m4.arrays import Float32, Int32
from v2m4.geometry.camera import Camera
from v2m4.geometry.mesh import Mesh, face_normals, vertex_normals
from v2m4.render.images import PLAIN_GREY, Images, _background, _pick, _shrink, render
from v2m4.render.raster import locate_numba
from v2m4.render.threads import parallel_for
from v2m4.render.visibility import visible_triangles_numba


@torch.no_grad()
def render_fast(
    mesh: Mesh,
    camera: Camera,
    size: int,
    want: Collection[str] = ("mask",),
    *,
    supersample: int = 1,
    background: float | Tensor = 0.0,
    smooth_normals: bool = False,
) -> Images:
    """`render` without antialiasing and gradients, 5 to 20 times faster on the CPU; the same arguments and results.

    Silhouettes are as soft as ``supersample`` makes them. On other devices this is `render` itself. Memory: about 4
    bytes per sample and 12 more for each of color and normal, so thousands of views are better rendered in batches.
    Barycentrics are zeros if only the mask is asked for.
    """
    if mesh.vertices.device.type != "cpu":
        return render(
            mesh,
            camera,
            size,
            want,
            supersample=supersample,
            background=background,
            antialias=False,
            smooth_normals=smooth_normals,
        )
    from v2m4.render.raster_numba import interpolate_pixels, sample_pixels

    # 1. Which face owns each sample: (B,side,side), and where in the face it lies: (B,side,side,3), if anybody asks.
    camera = (
        camera if camera.world_to_camera.dim() == 3 else replace(camera, world_to_camera=camera.world_to_camera[None])
    )
    clip = camera.clip(mesh.vertices.detach()).float()
    clip = (clip if clip.dim() == 3 else clip[None]).contiguous()
    side = size * supersample
    owner = visible_triangles_numba(clip, mesh.faces, side, side)
    shape = (len(clip), side, side)
    owned, corners = owner.numpy(), _int32(mesh.faces)
    textured = mesh.texture is not None or mesh.colors is not None
    within_faces = bool({"normal", "depth", "position"} & set(want)) or ("color" in want and textured)
    located = locate_numba(clip, mesh.faces, owner) if within_faces else torch.zeros(*shape, 3)

    # 2. What the kernels share: views go to threads; attributes (V,C) or (B,V,C) come to samples, (B,side,side,C).
    def rows(work: Callable[[int, int], None]) -> None:
        parallel_for(lambda view0, view1, _row0, _row1: work(view0, view1), len(clip), 1)

    def at_pixels(attributes: Tensor, faces: Int32, out: Float32 | None = None) -> Tensor:
        table = attributes.detach().float().reshape(-1, *attributes.shape[-2:]).contiguous().numpy()
        if out is None:
            out = np.zeros((*shape, table.shape[-1]), np.float32)
        rows(lambda v0, v1: interpolate_pixels(located.numpy(), owned, table, faces, v0, v1, out))
        return torch.from_numpy(out)

    # 3. The layers. Those that are blended are averaged over a pixel's samples, the others take the one at its centre.
    color = normal = depth = position = mask = None
    if "mask" in want:
        mask = _shrink((owner >= 0).float()[..., None], supersample)[..., 0]
    if "color" in want:
        color = _background(background, size, supersample, clip).float().expand(*shape, 3)
        color = color.clone(memory_format=torch.contiguous_format)
        if mesh.texture is not None and mesh.uv is not None and mesh.uv_faces is not None:
            uv = at_pixels(mesh.uv, _int32(mesh.uv_faces)).numpy()
            texture, picture = mesh.texture.detach().float().contiguous().numpy(), color.numpy()
            rows(lambda v0, v1: sample_pixels(texture, uv, owned, v0, v1, picture))
        elif mesh.colors is not None:
            at_pixels(mesh.colors, corners, color.numpy())
        else:
            color[owner >= 0] = PLAIN_GREY
        color = _shrink(color, supersample)
    if "normal" in want:
        if smooth_normals:
            normal = functional.normalize(at_pixels(vertex_normals(mesh.vertices, mesh.faces), corners), dim=-1)
        else:
            # A face's three corners all carry its normal.
            own = np.repeat(np.arange(len(corners), dtype=np.int32)[:, None], 3, axis=1)
            normal = at_pixels(face_normals(mesh.vertices, mesh.faces), own)
        normal = _shrink(normal, supersample)
    if "depth" in want:
        depth = _pick(at_pixels(clip[..., 3:], corners)[..., 0], supersample)
    if "position" in want:
        position = _pick(at_pixels(mesh.vertices, corners), supersample)
    triangle = _pick(owner, supersample).long()
    return Images(mask, color, depth, normal, position, triangle, _pick(located[..., :2], supersample))


def _int32(faces: Tensor) -> Int32:
    return faces.to(torch.int32).contiguous().numpy()
