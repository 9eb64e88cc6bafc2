"""The texture from the frames themselves: which points of the surface each sees, how well, and in what colour.

Every part of the surface takes its colour from the frame that sees it best, one frame (the anchor) being preferred
wherever it sees well, so that nothing is averaged over frames whose registration differs by a pixel. Parts that no
frame sees are inpainted (`inpainting`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from torch import Tensor

from v2m4.arrays import Bytes, Int32, Mask, Real
from v2m4.clip import Clip
from v2m4.events import Progress, StageRun
from v2m4.geometry.camera import Camera
from v2m4.geometry.mesh import Mesh, vertex_normals
from v2m4.masks import mask_iou
from v2m4.render.atlas import texels_of
from v2m4.render.raster import interpolate, rasterize
from v2m4.settings import ProjectSettings, TextureSettings
from v2m4.stages.texture.inpainting import inpaint
from v2m4.stages.texture.look import Look, atlas_of
from v2m4.stages.texture.project_numba import sample_view
from v2m4.stages.texture.samples import Samples, place_samples


def project_texture(
    vertices: Tensor,
    mesh: Mesh,
    clip: Clip,
    keyframes: Sequence[int],
    settings: TextureSettings,
    *,
    anchor: int | None = None,
) -> StageRun[Mesh]:
    """Blend the frames into an atlas. Arguments and result as for `stage.texture_mesh`, all on the CPU, but
    ``anchor`` is an index into the keyframes."""
    start = vertices[anchor or 0].detach().float()
    yield Progress("texture", 0.0, note="unwrapping")
    uv, uv_faces = atlas_of(mesh.with_vertices(start), settings)
    texels = texels_of(uv, uv_faces, settings.size)
    samples = place_samples(mesh.faces.numpy(), texels, settings.fill.samples)
    yield Progress("texture", 0.2, note="looking at the frames")
    views: list[ProjectedFrame] = []
    for i, frame in enumerate(keyframes):
        pose = vertices[i].detach().float().contiguous()
        views.append(project_frame(mesh, pose, clip.frame(frame), samples, settings.project))
        yield Progress("texture", 0.2 + 0.3 * (i + 1) / len(keyframes))
    shares, colors, seen = choose_views(views, samples, anchor, settings.project)
    yield Progress("texture", 0.6, note="blending")
    total = np.zeros((len(texels.index), 3), np.float32)
    weight = np.zeros((len(texels.index), 1), np.float32)
    for i, (view, share) in enumerate(zip(views, shares, strict=True)):
        if share.max() > 0:
            here, trust = view.sample(samples.texel, samples.share, share)
            trust *= samples.at_texels(share[:, None])[:, 0]
            total += here * trust[:, None]
            weight[:, 0] += trust
        yield Progress("texture", 0.6 + 0.25 * (i + 1) / len(views))
    sure: Real = np.minimum(weight[:, 0] / settings.project.sure, 1)
    found: Real = total / np.maximum(weight, 1e-6)
    yield Progress("texture", 0.95, note="filling")
    look = Look(colors, seen, found, sure)
    picture = texels.picture(inpaint(look, mesh.with_vertices(start), samples, texels, settings.fill))
    yield Progress("texture", 1.0)
    return replace(mesh, uv=uv, uv_faces=uv_faces, texture=torch.from_numpy(picture), colors=None)


def choose_views(
    views: list[ProjectedFrame], samples: Samples, anchor: int | None, settings: ProjectSettings
) -> tuple[list[Real], Real, Real]:
    """Which frame colours which part of the surface.

    Returns per view (P,) shares that add up to 1 where any view sees, with soft borders; the samples' colours (P,3)
    from them, and how surely those are seen (P,) in [0,1].
    """
    corner = np.arange(len(samples.face), dtype=np.int32)[:, None].repeat(3, 1)
    unit = np.tile(np.array([1, 0, 0], np.float32), (len(corner), 1))
    everywhere = np.ones(len(corner), np.float32)
    looks = [view.sample(corner, unit, everywhere) for view in views]
    trust = np.stack([seen for _, seen in looks], axis=1)
    sharpest = max(max(v.sharpness for v in views), 1e-9)
    sharp = settings.sharpness_weight
    quality = np.array(
        [v.overlap**settings.overlap_power * ((1 - sharp) + sharp * v.sharpness / sharpest) for v in views]
    )
    scores = samples.smooth(trust * quality, settings.label_smoothing)
    scores[:, int(scores.sum(0).argmax()) if anchor is None else anchor] *= settings.anchor_bonus
    best = scores.argmax(1)
    chosen = np.zeros_like(scores)
    chosen[np.arange(len(best)), best] = scores.max(1) > 1e-4
    shares = samples.smooth(chosen, settings.label_smoothing)
    used = shares * trust
    seen = used.sum(1)
    colors = sum(c * used[:, i : i + 1] for i, (c, _) in enumerate(looks)) / np.maximum(seen, 1e-6)[:, None]
    return [np.ascontiguousarray(s, dtype=np.float32) for s in shares.T], colors, np.minimum(seen / settings.sure, 1)


@dataclass(frozen=True)
class ProjectedFrame:
    """A frame, and what it can say of the mesh's samples.

    points, normals: (P,3) of the samples in camera space. image: (S,S,3) float32 in [0,1]. depth: (S,S) of the mesh,
    infinite outside. trust: (S,S) in [0,1], small near silhouettes. tolerance: the depth within which a point counts
    as the visible one. overlap: of mesh and object in the picture. sharpness: of it. grazing, facing: cosines to the
    line of sight between which a place becomes trustworthy.
    """

    points: Real
    normals: Real
    image: Real
    depth: Real
    trust: Real
    focal: float
    tolerance: float
    overlap: float
    sharpness: float
    grazing: float
    facing: float

    def sample(self, texel: Int32, share: Real, wanted: Real) -> tuple[Real, Real]:
        """Colours (N,3) and trust (N,) of points between samples (N,3), where the sum of ``wanted`` (P,) there is
        above zero."""
        return sample_view(
            self.points,
            self.normals,
            texel,
            share,
            np.ascontiguousarray(wanted, dtype=np.float32),
            self.image,
            self.depth,
            self.trust,
            self.focal,
            self.tolerance,
            self.grazing,
            self.facing,
        )


def project_frame(
    mesh: Mesh, vertices: Tensor, frame: Bytes, samples: Samples, settings: ProjectSettings
) -> ProjectedFrame:
    """The view of ``mesh`` with ``vertices`` (V,3) in camera space in a frame (S,S,4) uint8."""
    camera = Camera.identity()
    side = frame.shape[0]
    clip = camera.clip(vertices)[None].contiguous()
    raster = rasterize(clip, mesh.faces, side)
    drawn = raster.triangle[0].numpy() >= 0
    z = interpolate(vertices[:, 2:].contiguous(), raster, mesh.faces)[0, ..., 0].numpy()
    depth = np.where(drawn, z, np.inf).astype(np.float32)
    solid = frame[..., 3] > settings.opaque
    extent = float((vertices.amax(0) - vertices.amin(0)).max())
    usable = solid & drawn & ~_depth_jumps(depth, settings.depth_jump * extent)
    away = cv2.distanceTransform(np.pad(usable, 1).astype(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
    from_edge = (away - settings.edge_near_px) / (settings.edge_far_px - settings.edge_near_px)
    trust = _smoothstep(from_edge).astype(np.float32)
    faces = mesh.faces.numpy()
    normals = vertex_normals(vertices, mesh.faces).numpy()
    object_mask = frame[..., 3] > 127
    image = np.ascontiguousarray(frame[..., :3], dtype=np.float32) / 255
    return ProjectedFrame(
        samples.interpolate(faces, vertices.numpy()),
        samples.interpolate(faces, normals),
        image,
        depth,
        trust,
        camera.focal,
        settings.depth_tolerance * extent,
        mask_iou(drawn, object_mask) if object_mask.any() else 0.0,
        _sharpness(image, usable),
        settings.grazing_cosine,
        settings.facing_cosine,
    )


def _depth_jumps(depth: Real, jump: float) -> Mask:
    """Pixels beside which the depth jumps: the silhouettes of one limb before another. The second difference tells
    a jump from a steep surface."""
    known = np.where(np.isfinite(depth), depth, 0)
    kernel = np.array([[1, -2, 1]], np.float32)
    across, down = (np.abs(cv2.filter2D(known, cv2.CV_32F, k)) for k in (kernel, kernel.T))
    return np.maximum(across, down) > jump


def _sharpness(image: Real, usable: Mask) -> float:
    if not usable.any():
        return 0.0
    return float(np.abs(cv2.Laplacian(image.mean(-1), cv2.CV_32F))[usable].mean())


def _smoothstep(x: Real) -> Real:
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)
