"""The texture by gradient descent over views, as section 4.4 of the paper does it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from v2m4.clip import Clip
from v2m4.device import triton_works
from v2m4.errors import V2M4Error
from v2m4.events import Progress, StageRun
from v2m4.geometry.camera import Camera, surrounding_cameras
from v2m4.geometry.mesh import Mesh
from v2m4.nn.cuda_graphs import Repeated
from v2m4.nn.schedule import half_cosine
from v2m4.render import Raster, interpolate, rasterize, render, sample_texture
from v2m4.render.atlas import Texels, texels_of
from v2m4.settings import FillSettings, OptimiseSettings, TextureSettings
from v2m4.stages.texture.inpainting import inpaint
from v2m4.stages.texture.look import Look, atlas_of
from v2m4.stages.texture.samples import Samples, place_samples

_CACHED_BYTES = 1 << 31  # of observations that a recorded descent holds equally long
_VIEWS_AT_ONCE = 10  # of the mesh's own look
_TOLD_EVERY = 25  # iterations, each of which takes a fraction of a millisecond on a GPU


@dataclass(frozen=True)
class Observation:
    """What one view demands: colors (N,3) in [0,1] at the texture coordinates uv (N,2), with its weight in the loss, of
    which a rendering has 1."""

    uv: Tensor
    colors: Tensor
    weight: float = 1.0


def optimise_texture(
    vertices: Tensor,
    mesh: Mesh,
    clip: Clip,
    keyframes: Sequence[int],
    settings: TextureSettings,
    *,
    anchor: int | None = None,
    rng: torch.Generator | None = None,
    device: torch.device | str = "cpu",
) -> StageRun[Mesh]:
    """Descend on a black texture until it looks like the views. Arguments and result as for `texture_mesh`, but
    ``anchor`` is an index into the keyframes.

    The views are the keyframes and, where the mesh brought a look of its own, renderings of that from all sides of the
    anchor's pose. Texels that no view saw are filled from those around them on the surface.
    """
    rng = rng or torch.Generator().manual_seed(0)
    still = mesh.with_vertices(vertices[anchor or 0].detach().float()).to(device)
    yield Progress("texture", 0.0, note="unwrapping")
    uv, uv_faces = atlas_of(still.to("cpu"), settings)
    charted = replace(still, uv=uv.to(device), uv_faces=uv_faces.to(device))
    observations: list[Observation] = []
    for pose, frame in zip(vertices, keyframes, strict=True):
        picture = torch.from_numpy(np.array(clip.frame(frame))).to(device).float() / 255
        posed = charted.with_vertices(pose.detach().float().to(device))
        seen = observe(posed, Camera.identity(device=device), picture, opaque=settings.optimise.opaque)
        observations.append(replace(seen, weight=settings.optimise.reference_weight))
        yield Progress("texture", 0.05 * len(observations) / len(keyframes), note="looking at the frames")
    if mesh.texture is not None or mesh.colors is not None:
        cameras = orbit(still.vertices, settings.optimise.views, settings.optimise.orbit_radius)
        for first in range(0, len(cameras), _VIEWS_AT_ONCE):
            some = Camera(torch.stack([c.world_to_camera for c in cameras[first : first + _VIEWS_AT_ONCE]]))
            observations += look_around(still, charted, some, settings.optimise.orbit_size)
            yield Progress("texture", 0.05 + 0.1 * len(observations) / (settings.optimise.views + len(keyframes)))
    observations = [o for o in observations if len(o.uv)]
    if not observations:
        raise V2M4Error("No keyframe shows the registered mesh, so it cannot be textured. Check the camera search.")
    with ThreadPoolExecutor(1) as beside:  # the processor has little to do while a GPU descends
        layout = beside.submit(lay_out, mesh.faces.cpu(), uv, uv_faces, settings)
        texture = yield from descend(observations, settings.size, settings.optimise, rng)
        yield Progress("texture", 0.97, note="filling")
        texels, samples = layout.result()
    corners = uv[uv_faces[torch.from_numpy(samples.face)]]  # (P,3,2)
    at = (corners * torch.from_numpy(samples.weights)[..., None]).sum(1)
    touched = touches(observations, settings.size).cpu() >= settings.optimise.seen
    picture = fill_unseen(still.to("cpu"), texels, samples, at, texture.cpu(), touched, settings.fill)
    yield Progress("texture", 1.0)
    return replace(mesh, uv=charted.uv, uv_faces=charted.uv_faces, texture=picture.to(device), colors=None)


def observe(mesh: Mesh, camera: Camera, picture: Tensor, *, opaque: float) -> Observation:
    """The pixels of an (S,S,4) RGBA picture, of more than ``opaque`` alpha, that show both the object and the mesh."""
    assert mesh.uv is not None and mesh.uv_faces is not None
    raster: Raster = rasterize(camera.clip(mesh.vertices).reshape(1, -1, 4).contiguous(), mesh.faces, len(picture))
    uv = interpolate(mesh.uv, raster, mesh.uv_faces)[0]
    both = (raster.triangle[0] >= 0) & (picture[..., 3] > opaque)  # (S,S)
    return Observation(uv[both], picture[..., :3][both])


def look_around(mesh: Mesh, charted: Mesh, cameras: Camera, size: int) -> list[Observation]:
    """What pictures of the mesh's own look by a batch of cameras demand of ``charted``, the same with the texture
    coordinates that are wanted: all their pixels that show it."""
    assert charted.uv is not None and charted.uv_faces is not None
    images = render(mesh, cameras, size, ("color",), antialias=False)
    assert images.color is not None
    shown = images.triangle >= 0  # (B,S,S)
    raster = Raster(images.barycentrics, images.triangle, images.barycentrics[..., 0], "auto")
    uv, colors = interpolate(charted.uv, raster, charted.uv_faces)[shown], images.color[shown]
    pixels = shown.flatten(1).sum(1).tolist()
    return [Observation(*of_view) for of_view in zip(uv.split(pixels), colors.split(pixels), strict=True)]


def orbit(vertices: Tensor, count: int, radius: float) -> list[Camera]:
    """Cameras evenly around the box of a mesh (V,3) in camera space, ``radius`` times its longest side away."""
    low, high = vertices.amin(0).cpu(), vertices.amax(0).cpu()
    upright_to_camera = torch.eye(4)
    upright_to_camera[:3, :3] = torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]) * (high - low).max()
    upright_to_camera[:3, 3] = (low + high) / 2
    cameras = surrounding_cameras(count, radius, upright_to_camera)
    return [Camera(w2c.to(vertices.device)) for w2c in cameras.world_to_camera]


def total_variation(texture: Tensor) -> Tensor:
    """Mean absolute difference of vertical neighbours plus that of horizontal ones; texture (…,H,W,C)."""
    down = (texture[..., 1:, :, :] - texture[..., :-1, :, :]).abs().mean()
    right = (texture[..., :, 1:, :] - texture[..., :, :-1, :]).abs().mean()
    return down + right


def view_loss(texture: Tensor, observation: Observation, tv_weight: float) -> Tensor:
    """L1 difference at the observed pixels plus the texture's total variation, times the view's weight."""
    difference = (sample_texture(texture, observation.uv) - observation.colors).abs().mean()
    return observation.weight * (difference + tv_weight * total_variation(texture))


@dataclass(frozen=True)
class StackedObservations:
    """K observations made equally long: uv (K,N,2), colors (K,N,3), and share (K,N,1), the weight of a difference of
    colours in the loss, 0 where an observation's own rows repeat to fill the length. weight: (K,)."""

    uv: Tensor
    colors: Tensor
    share: Tensor
    weight: Tensor

    @staticmethod
    def of(observations: Sequence[Observation]) -> StackedObservations:
        """All of them, in order."""
        longest = max(len(o.uv) for o in observations)
        place = torch.arange(longest, device=observations[0].uv.device)
        uv = torch.stack([o.uv[place % len(o.uv)] for o in observations])
        colors = torch.stack([o.colors[place % len(o.uv)] for o in observations])
        weight = torch.tensor([o.weight for o in observations]).to(uv)
        length = torch.tensor([len(o.uv) for o in observations], device=uv.device)
        share = (weight / (3 * length))[:, None] * (place < length[:, None])
        return StackedObservations(uv, colors, share[..., None], weight)

    def difference(self, texture: Tensor, pick: Tensor) -> Tensor:
        """`view_loss` of the observation number pick (1,), but for the total variation, by work of a fixed size."""
        uv, colors, share = (t.index_select(0, pick)[0] for t in (self.uv, self.colors, self.share))
        return ((sample_texture(texture, uv) - colors).abs() * share).sum()


def descend(
    observations: Sequence[Observation], size: int, settings: OptimiseSettings, rng: torch.Generator
) -> StageRun[Tensor]:
    """Adam on a (size,size,3) texture, one view drawn per iteration. Returns it, in [0,1].

    On a GPU, where the observations fit into its memory equally long, an iteration is recorded and replayed.
    """
    device = observations[0].uv.device
    texture = torch.zeros(size, size, 3, device=device, requires_grad=True)
    picks = torch.stack(
        [torch.randint(len(observations), (), generator=rng, device=rng.device) for _ in range(settings.iterations)]
    )
    longest = max(len(o.uv) for o in observations)
    if device.type == "cuda" and 6 * 4 * longest * len(observations) <= _CACHED_BYTES:
        descent = _recorded_descent(texture, StackedObservations.of(observations), picks, settings)
    else:
        descent = _plain_descent(texture, observations, picks, settings)
    for step, _ in enumerate(descent, 1):
        if step % _TOLD_EVERY == 0:
            yield Progress("texture", 0.15 + 0.8 * step / settings.iterations)
    return texture.detach().clamp(0, 1)


def _plain_descent(
    texture: Tensor, observations: Sequence[Observation], picks: Tensor, settings: OptimiseSettings
) -> Iterator[None]:
    adam = torch.optim.Adam([texture], lr=settings.lr, betas=(settings.beta1, settings.beta2))
    for step, pick in enumerate(picks.tolist()):
        adam.zero_grad()
        view_loss(texture, observations[pick], settings.tv_weight).backward()
        adam.step()
        adam.param_groups[0]["lr"] = _rate_after(step, settings)
        yield


def _recorded_descent(
    texture: Tensor, observations: StackedObservations, picks: Tensor, settings: OptimiseSettings
) -> Iterator[None]:
    """The same, but for rounding, with iterations that can be recorded."""
    device = texture.device
    picks, turn = picks.to(device), torch.zeros(1, dtype=torch.long, device=device)
    rate = torch.tensor(settings.lr, device=device)
    slopes = texture.grad = torch.zeros_like(texture)
    add_slopes = _add_slopes_triton if triton_works(device) else _add_slopes
    adam = torch.optim.Adam(
        [texture], lr=rate, betas=(settings.beta1, settings.beta2), fused=True, capturable=device.type == "cuda"
    )

    def iteration() -> None:
        slopes.zero_()
        add_slopes(texture, observations, picks.index_select(0, turn), settings.tv_weight)
        adam.step()
        turn.add_(1)

    once = Repeated(iteration, device)
    for step in range(settings.iterations):
        once()
        rate.fill_(_rate_after(step, settings))
        yield


def _add_slopes(texture: Tensor, observations: StackedObservations, pick: Tensor, tv_weight: float) -> None:
    """Let the loss of the observation number pick (1,) add to the texture's slopes."""
    variation = observations.weight.index_select(0, pick)[0] * total_variation(texture)
    (observations.difference(texture, pick) + tv_weight * variation).backward()


def _add_slopes_triton(texture: Tensor, observations: StackedObservations, pick: Tensor, tv_weight: float) -> None:
    from v2m4.stages.texture.difference_triton import add_difference_slopes
    from v2m4.stages.texture.variation_triton import add_variation_slopes

    assert texture.grad is not None
    seen = (observations.uv, observations.colors, observations.share)
    add_difference_slopes(texture.detach(), *seen, pick, texture.grad)
    add_variation_slopes(texture.detach(), tv_weight * observations.weight.index_select(0, pick), texture.grad)


def _rate_after(step: int, settings: OptimiseSettings) -> float:
    """Adam's step after iteration ``step``: that of the first is kept for the second, as the original has it."""
    return half_cosine(step / settings.iterations, settings.lr, settings.lr_end)


def touches(observations: Sequence[Observation], side: int) -> Tensor:
    """(side,side) how many pixels of all observations drew on each texel, by the weights of bilinear lookups."""
    place = torch.cat([observation.uv for observation in observations]) * side - 0.5
    touched = torch.zeros(side * side, device=place.device)
    corner = place.floor()
    share = place - corner
    for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):
        x, y = ((corner.long() + torch.tensor([dx, dy], device=place.device)) % side).unbind(1)
        weight = (1 - dx - share[:, 0]).abs() * (1 - dy - share[:, 1]).abs()
        touched.scatter_add_(0, y * side + x, weight)
    return touched.view(side, side)


def lay_out(faces: Tensor, uv: Tensor, uv_faces: Tensor, settings: TextureSettings) -> tuple[Texels, Samples]:
    """Which texel shows what of the surface (faces (F,3)), and where its colours are continued."""
    texels = texels_of(uv, uv_faces, settings.size)
    return texels, place_samples(faces.numpy(), texels, settings.fill.samples)


def fill_unseen(
    mesh: Mesh, texels: Texels, samples: Samples, at: Tensor, texture: Tensor, touched: Tensor, settings: FillSettings
) -> Tensor:
    """The texture (size,size,3) with the texels that views did not touch (touched (size,size): False) filled along the
    surface, and the gutters. at: (P,2) texture coordinates of the samples."""
    seen = sample_texture(touched[..., None].float(), at).numpy()[:, 0]
    colors = sample_texture(texture, at).numpy()
    known = touched.reshape(-1).numpy()[texels.index].astype(np.float32)  # (N,)
    found = texture.reshape(-1, 3).numpy()[texels.index]
    values = inpaint(Look(colors, seen, found, known), mesh, samples, texels, settings)
    return torch.from_numpy(texels.picture(values))
