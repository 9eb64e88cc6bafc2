"""Mesh to mesh: deform one mesh onto another that shares no vertices with it (section 4.3 of the paper).

First one rotation, translation and scale per axis for all, then every vertex through the large-steps parametrisation.
Both descend on the distance between the surfaces and on the difference of their normal maps in views from all around;
the second also asks the mesh to keep its shape: rigid neighbourhoods, face areas, edge lengths.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from v2m4.errors import V2M4Error
from v2m4.events import Progress, StageRun
from v2m4.geometry.camera import Camera, surrounding_cameras
from v2m4.geometry.chamfer import SurfaceChamfer
from v2m4.geometry.laplacian import AdamUniform, LargeSteps
from v2m4.geometry.losses import RestShape, arap_energy, area_change, edge_change
from v2m4.geometry.mesh import Mesh
from v2m4.geometry.rotations import rotation_from_6d
from v2m4.geometry.sampling import surface_points
from v2m4.render import render
from v2m4.settings import MeshToMeshSettings
from v2m4.stages.registration.limb_alignment import coarse_alignment

_PIXELS_AT_ONCE = 1 << 21
_CACHED_PIXELS = 1 << 24
_GLOBAL_SHARE = 0.3  # of the progress bar


@dataclass(frozen=True)
class PointTracks:
    """Where points of the surface were seen in one view, by a point tracker.

    projection: (4,4) world to clip. triangle: (N,) int64. barycentrics: (N,2), of corners 0 and 1. pixels: (N,2)
    columns and rows, in pixels of an image of ``size`` x ``size``.
    """

    projection: Tensor
    triangle: Tensor
    barycentrics: Tensor
    pixels: Tensor
    size: int


def register_meshes(
    source_vertices: Tensor,
    source: Mesh,
    target: Mesh,
    settings: MeshToMeshSettings,
    *,
    rng: torch.Generator,
    device: torch.device | str = "cpu",
    frame: Tensor | None = None,
    tracks: Sequence[PointTracks] = (),
    keyframe: int | None = None,
) -> StageRun[Tensor]:
    """Deform ``source`` (its faces, at source_vertices (V,3)) onto ``target``; returns the vertices (V,3).

    frame: (4,4) from the upright world (z up, object at its origin) to that of the meshes. Without it the meshes are
    taken to be in camera space, where up is -y, and the views surround the target's middle.
    rng: on the CPU; draws the views. tracks: optional, see `tracking_loss`.
    """
    for name, vertices in (("source", source_vertices), ("target", target.vertices)):
        if len(vertices) == 0 or not bool(torch.isfinite(vertices).all()):
            raise V2M4Error(f"The {name} mesh of keyframe {keyframe} is empty or holds numbers that are not finite.")
    target = target.to(device)
    start, faces = source_vertices.to(device), source.faces.to(device)
    views = NormalViews.around(target, settings, frame)

    def tell(fraction: float) -> Progress:
        return Progress("registration", fraction, keyframe)

    moved = start
    if settings.alignment.iterations > 0:
        steps = align_globally(start, faces, target, settings, views, rng, up=_up(frame, device))
        for share in steps:
            yield tell(_GLOBAL_SHARE * share.fraction)
            moved = share.vertices
    if settings.limbs.rounds > 0:
        for share in align_limbs(moved, faces, target, settings, rng):
            yield tell(_GLOBAL_SHARE * (1 + share.fraction))
            moved = share.vertices
    before = _GLOBAL_SHARE * (2 if settings.limbs.rounds > 0 else 1)
    for share in align_locally(moved, faces, target, settings, views, rng, tracks=tracks):
        yield tell(before + (1 - before) * share.fraction)
        moved = share.vertices
    return moved


@dataclass(frozen=True)
class Aligning:
    """A descent under way: the share done in [0,1], the vertices (V,3) as they are and the loss."""

    fraction: float
    vertices: Tensor
    loss: float


def align_globally(
    vertices: Tensor,
    faces: Tensor,
    target: Mesh,
    settings: MeshToMeshSettings,
    views: NormalViews,
    rng: torch.Generator,
    *,
    up: Tensor,
    pivot: Tensor | None = None,
) -> Iterator[Aligning]:
    """Rotation, translation and scale per axis: (x - pivot) R^T * scale + pivot + translation.

    A descent from the pose as it is; if that ends further than ``restart_above`` from the target, another one from
    the pose turned by 180 degrees about ``up``, and the better of the two stays. pivot: the mesh's middle if absent.
    """
    descent = settings.alignment
    pivot = vertices.mean(0) if pivot is None else pivot
    half_turn = 2 * up[:, None] * up[None, :] - torch.eye(3, device=vertices.device)
    cloud = _chamfer(vertices, faces, target, settings, rng)
    diagonal = (target.vertices.amax(0) - target.vertices.amin(0)).norm()
    ends: list[Aligning] = []
    for attempt, turn in enumerate((torch.eye(3, device=vertices.device), half_turn)):
        turned = (vertices - pivot) @ turn.T
        rot6d = torch.tensor([1.0, 0, 0, 0, 1, 0], device=vertices.device, requires_grad=True)
        translation = torch.zeros(3, device=vertices.device, requires_grad=True)
        scale = torch.ones(3, device=vertices.device, requires_grad=True)
        optimiser = torch.optim.Adam([rot6d, translation, scale], lr=descent.lr)
        stop = _EarlyStop(settings.early_stop, settings.early_stop_window)
        losses: list[float] = []
        for i in range(descent.iterations):
            moved = turned @ rotation_from_6d(rot6d).T * scale + pivot + translation
            leaf = moved.detach().requires_grad_()
            loss = descent.chamfer_weight * cloud(leaf)
            loss.backward()
            value = loss.item()
            if descent.image_weight > 0:
                for part in views.differences(leaf, faces, descent.views, rng):
                    value += descent.image_weight * part.item()
                    (descent.image_weight * part).backward()
                    yield Aligning((i / descent.iterations + attempt) / 2, vertices, value)
            optimiser.zero_grad()
            moved.backward(leaf.grad)
            optimiser.step()
            losses.append(value)
            state = Aligning((i / descent.iterations + attempt) / 2, moved.detach(), value)
            yield replace(state, vertices=state.vertices if attempt == 0 else ends[0].vertices)
            if stop(value):
                break
        # The views differ between iterations, so several are compared.
        ends.append(replace(state, loss=sum(losses[-10:]) / len(losses[-10:])))
        if float(cloud(state.vertices)) < (descent.restart_above * float(diagonal)) ** 2:
            break
    yield replace(min(ends, key=lambda end: end.loss), fraction=1.0)


def align_limbs(
    vertices: Tensor, faces: Tensor, target: Mesh, settings: MeshToMeshSettings, rng: torch.Generator
) -> Iterator[Aligning]:
    """A few hundred rotations and translations, not in the paper: limbs that swung further than they are wide.

    Several guesses of how far to trust the shape of the limbs over their place, and one of a stiffer body, each give
    an alignment; the one that ends nearest to the target, strained least, stays.
    """
    square = float((target.vertices.amax(0) - target.vertices.amin(0)).square().sum())
    rest = RestShape.of(vertices, faces)
    cloud = _chamfer(vertices, faces, target, settings, rng)
    low, high = settings.limbs.importance_low, settings.limbs.importance_high
    guesses: list[tuple[float | None, float, float]] = [(None, 1.0, 0.0), (low, 1.0, 0.0), (high, 1.0, 0.0)]
    guesses.append((high, settings.limbs.stiff_attempt, settings.limbs.stiff_bending))
    best = Aligning(0.0, vertices, math.inf)
    for guess, (importance, stiffer, bending) in enumerate(guesses):
        moved = vertices
        rounds = coarse_alignment(
            vertices,
            faces,
            target,
            settings.limbs,
            rng,
            normal_match=settings.normal_match,
            importance=importance,
            stiffer=stiffer,
            bending=bending,
        )
        for i, state in enumerate(rounds):
            moved = state
            done = (guess + (i + 1) / settings.limbs.rounds) / len(guesses)
            yield Aligning(done, best.vertices, best.loss)
        strain = edge_change(moved, rest) / rest.face_edge_length.square().mean()
        loss = float(cloud(moved) / square + settings.limbs.strain_weight * strain)
        if loss < best.loss:
            best = Aligning(1.0, moved, loss)
    yield replace(best, fraction=1.0)


def align_locally(
    vertices: Tensor,
    faces: Tensor,
    target: Mesh,
    settings: MeshToMeshSettings,
    views: NormalViews,
    rng: torch.Generator,
    *,
    tracks: Sequence[PointTracks] = (),
) -> Iterator[Aligning]:
    """Every vertex for itself, smoothly. The mesh given, (V,3), is the rest shape."""
    descent = settings.large_steps
    rest = RestShape.of(vertices, faces)
    cloud = _chamfer(vertices, faces, target, settings, rng)
    space = LargeSteps(len(vertices), faces, descent.smoothness)
    u = space.to_differential(vertices.detach()).requires_grad_()
    optimiser = AdamUniform([u], lr=descent.step)
    stop = _EarlyStop(settings.early_stop, settings.early_stop_window)
    moved, value = vertices, math.inf
    for i in range(descent.iterations):
        solved = space.from_differential(u)
        moved = solved.detach()
        leaf = moved.clone().requires_grad_()
        loss = (
            descent.chamfer_weight * cloud(leaf)
            + descent.arap_weight * arap_energy(leaf, rest)
            + descent.area_weight * area_change(leaf, rest)
            + descent.edge_weight * edge_change(leaf, rest)
        )
        if tracks:
            loss = loss + descent.track_weight * tracking_loss(leaf, faces, tracks)
        loss.backward()
        value = loss.item()
        if descent.image_weight > 0:
            for part in views.differences(leaf, faces, descent.views, rng):
                value += descent.image_weight * part.item()
                (descent.image_weight * part).backward()
                yield Aligning(i / descent.iterations, moved, value)
        optimiser.zero_grad()
        solved.backward(leaf.grad)
        optimiser.step()
        yield Aligning(i / descent.iterations, moved, value)
        if stop(value):
            break
    yield Aligning(1.0, moved, value)


def _chamfer(
    vertices: Tensor, faces: Tensor, target: Mesh, settings: MeshToMeshSettings, rng: torch.Generator
) -> SurfaceChamfer:
    return SurfaceChamfer(
        vertices, faces, target, samples=settings.surface_samples, normal_match=settings.normal_match, rng=rng
    )


class NormalViews:
    """A pool of cameras around the target, and the target's normal maps in them (drawn when first needed)."""

    def __init__(self, target: Mesh, cameras: Camera, size: int) -> None:
        self._target, self._cameras, self._size = target, cameras, size
        keeps = len(cameras.world_to_camera) * size * size <= _CACHED_PIXELS
        self._maps: dict[int, Tensor] | None = {} if keeps else None

    @staticmethod
    def around(target: Mesh, settings: MeshToMeshSettings, frame: Tensor | None) -> NormalViews:
        """Evenly spread views on a sphere of ``view_radius``, in units of the target's largest extent."""
        low, high = target.vertices.amin(0).cpu(), target.vertices.amax(0).cpu()
        extent = float((high - low).max())
        if frame is None:
            frame = torch.eye(4)
            frame[:3, :3] = torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # z up becomes -y up
            frame[:3, 3] = (low + high) / 2
        cameras = surrounding_cameras(settings.view_pool, settings.view_radius * extent, frame)
        moved = replace(cameras, world_to_camera=cameras.world_to_camera.to(target.vertices.device))
        return NormalViews(target, moved, settings.view_size)

    def differences(self, vertices: Tensor, faces: Tensor, count: int, rng: torch.Generator) -> Iterator[Tensor]:
        """Terms that add up to the mean absolute difference of the normal maps over ``count`` drawn views.

        One term for each handful of views, so that memory stays bounded and a caller can pause between them.
        """
        picks = torch.randperm(len(self._cameras.world_to_camera), generator=rng)[:count]
        for part in picks.split(max(1, _PIXELS_AT_ONCE // self._size**2)):
            ours = normal_map(Mesh(vertices, faces), self._camera(part), self._size)
            yield (ours - self._target_maps(part)).abs().mean() * (len(part) / len(picks))

    def _camera(self, picks: Tensor) -> Camera:
        return replace(
            self._cameras, world_to_camera=self._cameras.world_to_camera[picks.to(self._cameras.world_to_camera.device)]
        )

    @torch.no_grad()
    def _target_maps(self, picks: Tensor) -> Tensor:
        if self._maps is None:
            return normal_map(self._target, self._camera(picks), self._size)
        missing = [int(i) for i in picks if int(i) not in self._maps]
        if missing:
            drawn = normal_map(self._target, self._camera(torch.tensor(missing)), self._size)
            self._maps.update(zip(missing, drawn, strict=True))
        return torch.stack([self._maps[int(i)] for i in picks])


def normal_map(mesh: Mesh, camera: Camera, size: int) -> Tensor:
    """(B,H,W,3) world-space normals as colours, (n + 1) / 2, on black; antialiased."""
    images = render(mesh, camera, size, ("mask", "normal"))
    assert images.normal is not None and images.mask is not None
    return 0.5 * (images.normal + images.mask[..., None])


def tracking_loss(vertices: Tensor, faces: Tensor, tracks: Sequence[PointTracks]) -> Tensor:
    """Mean absolute distance, in pixels per coordinate and averaged over views, of tracked points from where they
    were seen; points outside the image count as on its border."""
    total = vertices.new_zeros(())
    for track in tracks:
        u, v = track.barycentrics.unbind(1)
        points = surface_points(vertices, faces, track.triangle, torch.stack([u, v, 1 - u - v], dim=1))
        clip = torch.cat([points, torch.ones_like(points[:, :1])], dim=1) @ track.projection.T
        pixels = ((clip[:, :2] / clip[:, 3:] + 1) * (track.size / 2)).clamp(0, track.size)
        total = total + (pixels - track.pixels).abs().mean()
    return total / max(1, len(tracks))


class _EarlyStop:
    """Says when a loss has improved by less than a share of itself from one window of iterations to the next."""

    def __init__(self, share: float, window: int) -> None:
        self._share, self._window, self._values = share, window, list[float]()

    def __call__(self, value: float) -> bool:
        self._values.append(value)
        window = self._window
        if self._share <= 0 or len(self._values) < 2 * window or len(self._values) % 10:
            return False
        before, now = sum(self._values[-2 * window : -window]), sum(self._values[-window:])
        return now > (1 - self._share) * before


def _up(frame: Tensor | None, device: torch.device | str) -> Tensor:
    up = torch.tensor([0.0, -1.0, 0.0]) if frame is None else torch.nn.functional.normalize(frame[:3, 2].cpu(), dim=0)
    return up.to(device)
