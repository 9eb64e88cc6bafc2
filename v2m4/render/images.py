"""Meshes and cameras in, pictures out: what the stages call."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from v2m4.errors import V2M4Error
from v2m4.geometry.camera import Camera
from v2m4.geometry.gather import gather_rows
from v2m4.geometry.mesh import Mesh, face_normals, vertex_normals
from v2m4.render.antialias import antialias as blend_silhouettes
from v2m4.render.raster import Raster, interpolate, rasterize
from v2m4.render.texture import Filter, sample_texture, uv_derivatives
from v2m4.render.visibility import Backend

KINDS = ("mask", "color", "depth", "normal", "position")
PLAIN_GREY = 0.8  # the colour of a mesh that has neither texture nor vertex colours


@dataclass(frozen=True)
class Images:
    """Pictures of B views, row 0 on top. Those not asked for are None.

    mask: (B,H,W) share of the pixel that is covered, in [0,1]. color: (B,H,W,3) in [0,1], over the background.
    normal: (B,H,W,3) world-space unit normals, zero outside (blended at silhouettes if antialiased).
    depth: (B,H,W) distance along the camera's axis, 0 outside. position: (B,H,W,3) world coordinates, 0 outside.
    triangle: (B,H,W) int64 face at the pixel's centre, -1 outside. barycentrics: (B,H,W,2) of its corners 0 and 1,
    with gradients if any of color, depth, position or smooth normals was asked for; else they may be zeros.
    With supersampling, depth, position, triangle and barycentrics belong to one sample next to the pixel's centre.
    """

    mask: Tensor | None
    color: Tensor | None
    depth: Tensor | None
    normal: Tensor | None
    position: Tensor | None
    triangle: Tensor
    barycentrics: Tensor


def render(
    mesh: Mesh,
    camera: Camera,
    size: int,
    want: Collection[str] = ("mask", "color"),
    *,
    supersample: int = 1,
    background: float | Tensor = 0.0,
    antialias: bool = True,
    smooth_normals: bool = False,
    texture_filter: Filter = "bilinear",
    backend: Backend = "auto",
) -> Images:
    """Render a mesh from a batch of cameras, differentiably.

    mesh: one for all views, or with vertices (B,V,3), one per view. camera: world_to_camera (4,4) or (B,4,4).
    size: side of the pictures in pixels. want: any of mask, color, depth, normal, position.
    supersample: samples per pixel side. background: a number, (3,), or pictures (B,H,W,3) to put the object on.
    antialias: blend silhouettes analytically, which lets gradients of mask, color and normal move them.
    smooth_normals: interpolate vertex normals instead of taking each face's.
    Gradients reach vertices, camera, texture, vertex colours and background.
    """
    unknown = set(want) - set(KINDS)
    if unknown:
        raise V2M4Error(f"The renderer does not make {', '.join(sorted(unknown))}; it makes {', '.join(KINDS)}.")
    camera = (
        camera if camera.world_to_camera.dim() == 3 else replace(camera, world_to_camera=camera.world_to_camera[None])
    )
    clip = camera.clip(mesh.vertices)
    if clip.dim() == 2:
        clip = clip[None]
    smooth = smooth_normals and "normal" in want
    within_faces = smooth or bool({"color", "depth", "position"} & set(want))
    # Masks and flat normals are constant over a face: their gradients come from the silhouettes alone.
    shown = clip if within_faces else clip.detach()
    raster = rasterize(shown, mesh.faces, size * supersample, backend, barycentrics=within_faces)
    inside = (raster.triangle >= 0).to(clip.dtype)[..., None]

    layers: dict[str, Tensor] = {}
    if "mask" in want:
        layers["mask"] = inside
    if "color" in want:
        behind = _background(background, size, supersample, clip)
        layers["color"] = behind + inside * (_colors(mesh, raster, clip, texture_filter) - behind)
    if "normal" in want:
        layers["normal"] = _normals(mesh, raster, smooth)
    names = list(layers)
    if layers and antialias:
        blended = blend_silhouettes(torch.cat(list(layers.values()), dim=-1), raster, clip, mesh.faces)
        layers = dict(zip(names, blended.split([layers[n].shape[-1] for n in names], dim=-1), strict=True))
    layers = {n: _shrink(t, supersample) for n, t in layers.items()}

    depth = _pick(interpolate(clip[..., 3:], raster, mesh.faces)[..., 0], supersample) if "depth" in want else None
    position = _pick(interpolate(mesh.vertices, raster, mesh.faces), supersample) if "position" in want else None
    mask = layers.get("mask")
    return Images(
        mask=None if mask is None else mask[..., 0],
        color=layers.get("color"),
        depth=depth,
        normal=layers.get("normal"),
        position=position,
        triangle=_pick(raster.triangle, supersample),
        barycentrics=_pick(raster.barycentrics, supersample),
    )


def _colors(mesh: Mesh, raster: Raster, clip: Tensor, texture_filter: Filter) -> Tensor:
    if mesh.texture is not None and mesh.uv is not None and mesh.uv_faces is not None:
        uv = interpolate(mesh.uv, raster, mesh.uv_faces).reshape(-1, 2)
        owned = raster.covered
        derivatives = None
        if texture_filter == "mipmap":
            derivatives = uv_derivatives(raster, clip, mesh.faces, mesh.uv, mesh.uv_faces)
        values = sample_texture(mesh.texture, uv[owned], derivatives, texture_filter)
        out = torch.zeros(len(uv), 3, dtype=values.dtype, device=values.device)
        return out.index_copy(0, owned, values).view(*raster.triangle.shape, 3)
    if mesh.colors is not None:
        return interpolate(mesh.colors, raster, mesh.faces)
    return clip.new_full((*raster.triangle.shape, 3), PLAIN_GREY)


def _normals(mesh: Mesh, raster: Raster, smooth: bool) -> Tensor:
    if smooth:
        return functional.normalize(interpolate(vertex_normals(mesh.vertices, mesh.faces), raster, mesh.faces), dim=-1)
    owned = raster.covered
    face = raster.triangle.reshape(-1)[owned]
    normals = face_normals(mesh.vertices, mesh.faces)
    if normals.dim() == 3 and len(normals) > 1:
        face = face + owned // raster.triangle[0].numel() * normals.shape[1]
    values = gather_rows(normals.reshape(-1, 3), face)
    out = torch.zeros(raster.triangle.numel(), 3, dtype=values.dtype, device=values.device)
    return out.index_copy(0, owned, values).view(*raster.triangle.shape, 3)


def _background(background: float | Tensor, size: int, supersample: int, like: Tensor) -> Tensor:
    if not isinstance(background, Tensor):
        return like.new_full((1, 1, 1, 3), background)
    if background.dim() < 3:
        return background.expand(1, 1, 1, 3)
    if background.shape[-3:-1] != (size, size):
        raise V2M4Error(f"The background is {tuple(background.shape)}, but the pictures are {size} x {size}.")
    return background.repeat_interleave(supersample, -3).repeat_interleave(supersample, -2)


def _shrink(image: Tensor, factor: int) -> Tensor:
    if factor == 1:
        return image
    views, height, width, channels = image.shape
    samples = image.view(views, height // factor, factor, width // factor, factor, channels)
    if factor == 2:  # in the order in which `mean` adds, four times as fast as it
        pairs = samples[..., 0, :] + samples[..., 1, :]  # (B,H,2,W,C)
        return (pairs[:, :, 0] + pairs[:, :, 1]) * 0.25
    return samples.mean((2, 4))


def _pick(image: Tensor, factor: int) -> Tensor:
    return image if factor == 1 else image[:, factor // 2 :: factor, factor // 2 :: factor]
