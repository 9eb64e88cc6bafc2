"""Section 4.4: one texture for all keyframes.

``project`` blends the frames into the atlas directly: every part of the surface takes its colour from the frame that
sees it best, one frame (the anchor) being preferred wherever it sees well, so that nothing is averaged over frames
whose registration differs by a pixel. Parts that no frame sees keep the look the generator gave them, shifted to meet
the seen parts' colours; where it gave none, they are taken from their mirror images, and what is left is filled
smoothly along the surface. ``optimise`` is the paper's gradient descent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from v2m4.clip import Clip
from v2m4.errors import V2M4Error
from v2m4.events import Progress, Steps
from v2m4.geometry.mesh import Mesh, vertex_normals
from v2m4.render.atlas import Texels, has_own_atlas, texels_of, unwrap
from v2m4.render.texture import sample_texture
from v2m4.settings import TextureSettings
from v2m4.stages.texture.mirror import color_plane, fill_mirrored
from v2m4.stages.texture.project import PALETTE, Samples, View, place_samples, spread_colors, witness

Floats = NDArray[Any]

ANCHOR_BONUS = 2.5  # how much better another frame must see a place to be taken instead of the anchor
LABEL_SMOOTHING = 4  # rounds of averaging of the frames' scores over the surface, and of their borders


def texture_mesh(
    vertices: Tensor,
    mesh: Mesh,
    clip: Clip,
    keyframes: Sequence[int],
    settings: TextureSettings,
    *,
    anchor: int | None = None,
    keep: bool = False,
    rng: torch.Generator | None = None,
    device: torch.device | str = "cpu",
) -> Steps[Mesh]:
    """Give the registered mesh one texture for all keyframes.

    vertices: (K,V,3) of the keyframes in camera space. mesh: the topology, in whatever pose; its own texture or vertex
    colours, if it has them, are what unseen parts look like. keyframes: the K frame numbers. anchor: the frame number
    of the keyframe whose mesh it is; the one that sees most if absent. keep: a mesh that comes with a texture or
    colours (the user's template) keeps them.
    Returns the mesh with uv, uv_faces and a (size,size,3) texture, its vertices untouched.
    """
    if len(vertices) != len(keyframes) or len(keyframes) == 0:
        raise V2M4Error(
            f"There are {len(vertices)} registered poses for {len(keyframes)} keyframes; they must be equal."
        )
    first = None if anchor is None else list(keyframes).index(anchor)
    if keep and (mesh.texture is not None or mesh.colors is not None):
        yield Progress("texture", 1.0, note="the mesh keeps its own look")
        return mesh
    if settings.method == "optimise":
        from v2m4.stages.texture.optimise import optimise_texture

        return (
            yield from optimise_texture(vertices, mesh, clip, keyframes, settings, anchor=first, rng=rng, device=device)
        )
    result = yield from project_texture(vertices.cpu(), mesh.to("cpu"), clip, keyframes, settings.size, anchor=first)
    return result.to(device)


def project_texture(
    vertices: Tensor,
    mesh: Mesh,
    clip: Clip,
    keyframes: Sequence[int],
    size: int,
    *,
    anchor: int | None = None,
) -> Steps[Mesh]:
    """Blend the frames into a ``size`` x ``size`` atlas. Arguments as for `texture_mesh`, all on the CPU, but
    ``anchor`` is an index into the keyframes."""
    start = vertices[anchor or 0].detach().float()
    yield Progress("texture", 0.0, note="unwrapping")
    uv, uv_faces = atlas_of(mesh.with_vertices(start), size)
    texels = texels_of(uv, uv_faces, size)
    samples = place_samples(mesh.faces.numpy(), texels)
    yield Progress("texture", 0.2, note="looking at the frames")
    views: list[View] = []
    for i, frame in enumerate(keyframes):
        views.append(witness(mesh, vertices[i].detach().float().contiguous(), clip.frame(frame), samples))
        yield Progress("texture", 0.2 + 0.3 * (i + 1) / len(keyframes))
    shares, colors, seen = choose_views(views, samples, anchor)
    yield Progress("texture", 0.6, note="blending")
    total = np.zeros((len(texels.index), 3), np.float32)
    weight = np.zeros((len(texels.index), 1), np.float32)
    for i, (view, share) in enumerate(zip(views, shares, strict=True)):
        if share.max() > 0:
            here, trust = view.see(samples.texel, samples.share, share)
            trust *= samples.at_texels(share[:, None])[:, 0]
            total += here * trust[:, None]
            weight[:, 0] += trust
        yield Progress("texture", 0.6 + 0.25 * (i + 1) / len(views))
    # A texel counts as fully seen from half trust on.
    sure = np.minimum(2 * weight, 1)
    found = total / np.maximum(weight, 1e-6)
    base_samples, base_texels = own_look(mesh, samples, texels)
    bare = mesh.texture is None and mesh.colors is None
    if bare:
        look = Look(colors, seen, found, sure[:, 0])
        colors, seen, found, sure[:, 0] = mirror_look(look, mesh.with_vertices(start), samples)
    unseen = samples.at_texels(spread_colors(colors - base_samples, seen, samples, PALETTE if bare else 0))
    blended = sure * found + (1 - sure) * (unseen + base_texels)
    yield Progress("texture", 0.95, note="filling")
    picture = texels.picture(np.clip(blended, 0, 1))
    yield Progress("texture", 1.0)
    return replace(mesh, uv=uv, uv_faces=uv_faces, texture=torch.from_numpy(picture), colors=None)


class Look(NamedTuple):
    """Colours of the samples (P,3) and texels (N,3), and how surely each is seen, (P,) and (N,) in [0,1]."""

    sample_colors: Floats
    samples_seen: Floats
    texel_colors: Floats
    texels_seen: Floats


def mirror_look(look: Look, mesh: Mesh, samples: Samples) -> Look:
    """The look with unseen parts taken from their mirror images, if the mesh, as it is posed, has a plane for that."""
    faces, corners = mesh.faces.numpy(), mesh.vertices.numpy()
    points, normals = (samples.on(faces, v) for v in (corners, vertex_normals(mesh.vertices, mesh.faces).numpy()))
    plane = color_plane(mesh.vertices, mesh.faces, points, look.sample_colors, look.samples_seen)
    if plane is None:
        return look
    return Look(
        *fill_mirrored(plane, points, normals, look.sample_colors, look.samples_seen),
        *fill_mirrored(
            plane, samples.at_texels(points), samples.at_texels(normals), look.texel_colors, look.texels_seen
        ),
    )


def atlas_of(mesh: Mesh, size: int) -> tuple[Tensor, Tensor]:
    """The mesh's own texture coordinates where they suit, else new ones: uv (T,2), uv_faces (F,3)."""
    if mesh.uv is not None and mesh.uv_faces is not None and has_own_atlas(mesh, size):
        return mesh.uv, mesh.uv_faces
    return unwrap(mesh.vertices, mesh.faces, size)


def choose_views(views: list[View], samples: Samples, anchor: int | None) -> tuple[list[Floats], Floats, Floats]:
    """Which frame colours which part of the surface.

    Returns per view (P,) shares that add up to 1 where any view sees, with soft borders; the samples' colours (P,3)
    from them, and how surely those are seen (P,) in [0,1].
    """
    corner = np.arange(len(samples.face), dtype=np.int32)[:, None].repeat(3, 1)
    unit = np.tile(np.array([1, 0, 0], np.float32), (len(corner), 1))
    everywhere = np.ones(len(corner), np.float32)
    looks = [view.see(corner, unit, everywhere) for view in views]
    trust = np.stack([seen for _, seen in looks], axis=1)
    sharpest = max(max(v.sharpness for v in views), 1e-9)
    quality = np.array([v.overlap**3 * (0.5 + 0.5 * v.sharpness / sharpest) for v in views])
    scores = samples.smooth(trust * quality, LABEL_SMOOTHING)
    scores[:, int(scores.sum(0).argmax()) if anchor is None else anchor] *= ANCHOR_BONUS
    best = scores.argmax(1)
    chosen = np.zeros_like(scores)
    chosen[np.arange(len(best)), best] = scores.max(1) > 1e-4
    shares = samples.smooth(chosen, LABEL_SMOOTHING)
    used = shares * trust
    seen = used.sum(1)
    colors = sum(c * used[:, i : i + 1] for i, (c, _) in enumerate(looks)) / np.maximum(seen, 1e-6)[:, None]
    return [np.ascontiguousarray(s, dtype=np.float32) for s in shares.T], colors, np.minimum(2 * seen, 1)


def own_look(mesh: Mesh, samples: Samples, texels: Texels) -> tuple[Floats, Floats]:
    """The colours that the mesh brought, (P,3) at the samples and (N,3) at the texels; zeros if it brought none."""
    if mesh.texture is not None and mesh.uv is not None and mesh.uv_faces is not None:
        uv, uv_faces = mesh.uv.numpy(), mesh.uv_faces.numpy()

        def look(face: Floats, weights: Floats) -> Floats:
            at = (uv[uv_faces[face]] * weights[..., None]).sum(1).astype(np.float32)
            assert mesh.texture is not None
            return sample_texture(mesh.texture, torch.from_numpy(at)).numpy()

    elif mesh.colors is not None:
        colors, faces = mesh.colors.numpy(), mesh.faces.numpy()

        def look(face: Floats, weights: Floats) -> Floats:
            return (colors[faces[face]] * weights[..., None]).sum(1)

    else:
        return np.zeros((len(samples.face), 3), np.float32), np.zeros((len(texels.index), 3), np.float32)
    return look(samples.face, samples.weights), look(texels.face, texels.weights)
