"""Mesh to mesh: deform one mesh onto another that shares no vertices with it (section 4.3 of the paper).

First one rotation, translation and scale per axis for all, then every vertex through the large-steps parametrisation.
Both descend on the distance between the surfaces and on the difference of their normal maps in views from all around;
the second also asks the mesh to keep its shape: rigid neighbourhoods, face areas, edge lengths.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from v2m4.errors import V2M4Error
from v2m4.events import Progress, StageRun
from v2m4.geometry.arap import arap_energy
from v2m4.geometry.chamfer import SurfaceChamfer
from v2m4.geometry.laplacian import AdamUniform, LargeSteps
from v2m4.geometry.losses import RestShape, area_change, edge_change
from v2m4.geometry.mesh import Mesh
from v2m4.geometry.rotations import rotation_from_6d
from v2m4.geometry.sampling import surface_points
from v2m4.nn.cuda_graphs import Repeated, recorded
from v2m4.nn.schedule import half_cosine
from v2m4.settings import MeshToMeshSettings
from v2m4.stages.registration.limb_alignment import coarse_alignment
from v2m4.stages.registration.normal_views import NormalViews, Pictures

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
    """A descent under way: the share done in [0,1], the vertices (V,3) as they are, and the loss (), which stays on
    its device, for reading it waits for all that the device has still to do."""

    fraction: float
    vertices: Tensor
    loss: Tensor


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
    the pose turned by 180 degrees about ``up``, and the better of the two stays. With ``restart_after`` the two are
    compared after so many iterations, and the better one alone goes on. pivot: the mesh's middle if absent.
    """
    descent = settings.alignment
    pivot = vertices.mean(0) if pivot is None else pivot
    cloud = _chamfer(vertices, faces, target, settings, rng)
    diagonal = (target.vertices.amax(0) - target.vertices.amin(0)).norm()
    trial = min(descent.restart_after or descent.iterations, descent.iterations)
    turns = torch.eye(3, device=vertices.device), 2 * up[:, None] * up[None, :] - torch.eye(3, device=vertices.device)
    pictures = [Pictures(views, faces, descent.views, descent.iterations, descent.image_weight, rng) for _ in turns]
    distance = cloud if pictures[0].recordable else recorded(cloud, vertices)
    attempts = [
        _RigidDescent(vertices, turn, pivot, distance, mine, settings)
        for turn, mine in zip(turns, pictures, strict=True)
    ]
    kept = attempts[0]
    planned, done = descent.iterations + trial, 0
    for _ in kept.advance(trial):
        done += 1
        yield Aligning(done / planned, kept.moved, kept.loss.clone())
    above = (descent.restart_above * diagonal) ** 2
    if descent.restart_above == 0 or bool(cloud(kept.moved) >= above):
        for _ in attempts[1].advance(trial):
            done += 1
            yield Aligning(done / planned, kept.moved, kept.loss.clone())
        kept = min(attempts, key=lambda attempt: float(attempt.recent_loss()))
    for _ in kept.advance(descent.iterations - trial):
        done += 1
        yield Aligning(done / planned, kept.moved, kept.loss.clone())
    yield Aligning(1.0, kept.moved, kept.recent_loss())


class _RigidDescent:
    """One attempt of the global registration: Adam on rotation, translation and scale, from the pose turned first.

    moved: (V,3) the vertices as they are, loss: () that of the last iteration; both are overwritten by the next one.
    """

    def __init__(
        self,
        vertices: Tensor,
        turn: Tensor,
        pivot: Tensor,
        distance: Callable[[Tensor], Tensor],
        pictures: Pictures,
        settings: MeshToMeshSettings,
    ) -> None:
        self._pivot, self._distance, self._pictures = pivot, distance, pictures
        self._settings = descent = settings.alignment
        self._turned = (vertices - pivot) @ turn.T
        device = vertices.device
        self._rot6d = torch.tensor([1.0, 0, 0, 0, 1, 0], device=device, requires_grad=True)
        self._translation = torch.zeros(3, device=device, requires_grad=True)
        self._scale = torch.ones(3, device=device, requires_grad=True)
        self._optimiser = torch.optim.Adam(
            [self._rot6d, self._translation, self._scale], lr=descent.lr, capturable=device.type == "cuda"
        )
        self._stop = _EarlyStop(settings.early_stop, settings.early_stop_window)
        self._losses: list[Tensor] = []
        self._stopped = False
        self._iterate = _repeated(self._iteration, pictures.recordable, device)
        self.moved, self.loss = vertices.detach().clone(), torch.full((), math.inf, device=device)

    def advance(self, iterations: int) -> Iterator[None]:
        """So many iterations, fewer if it stops early; pauses after each."""
        for _ in range(iterations):
            if self._stopped:
                return
            for _ in self._iterate():
                pass
            self._losses = [*self._losses[-9:], self.loss.clone()]
            self._stopped = self._stop(self._losses[-1])
            yield

    def _iteration(self) -> Iterator[None]:
        moved = self._turned @ rotation_from_6d(self._rot6d).T * self._scale + self._pivot + self._translation
        leaf = moved.detach().requires_grad_()
        term = self._settings.chamfer_weight * self._distance(leaf)
        term.backward()
        loss = term.detach()
        for part in self._pictures.terms(leaf):
            part.backward()
            loss = loss + part.detach()
            yield
        self._optimiser.zero_grad()
        moved.backward(_told(leaf))
        self._optimiser.step()
        self.moved.copy_(moved.detach())
        self.loss.copy_(loss)

    def recent_loss(self) -> Tensor:
        """() the mean over the last iterations: the views differ between them."""
        return torch.stack(self._losses).mean()


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
    best = Aligning(0.0, vertices, torch.full((), math.inf))
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
        loss = cloud(moved) / square + settings.limbs.strain_weight * strain
        if float(loss) < float(best.loss):
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
    # 1. What is asked of the mesh: to reach the target, and to keep its shape.
    rest = RestShape.of(vertices, faces)
    cloud = _chamfer(vertices, faces, target, settings, rng)

    def shape_loss(posed: Tensor) -> Tensor:
        loss = (
            descent.chamfer_weight * cloud(posed)
            + descent.arap_weight * arap_energy(posed, rest)
            + descent.area_weight * area_change(posed, rest)
            + descent.edge_weight * edge_change(posed, rest)
        )
        return loss + descent.track_weight * tracking_loss(posed, faces, tracks) if tracks else loss

    pictures = Pictures(views, faces, descent.views, descent.iterations, descent.image_weight, rng)
    shape = shape_loss if pictures.recordable else recorded(shape_loss, vertices)

    # 2. A step: all slopes are summed at the vertices first, and taken on to u (V,3) once.
    space = LargeSteps(len(vertices), faces, descent.smoothness)
    u = space.to_differential(vertices.detach()).requires_grad_()
    step = torch.tensor(descent.step, device=vertices.device)  # there, for iterations may be recorded
    optimiser = AdamUniform([u], lr=step)
    moved, value = vertices.detach().clone(), torch.full((), math.inf, device=vertices.device)

    def iteration() -> Iterator[None]:
        solved = space.from_differential(u)
        leaf = solved.detach().clone().requires_grad_()
        loss = shape(leaf)
        loss.backward()
        total = loss.detach().clone()
        for part in pictures.terms(leaf):
            part.backward()
            total = total + part.detach()
            yield
        optimiser.zero_grad()
        solved.backward(_told(leaf))
        optimiser.step()
        moved.copy_(leaf.detach())
        value.copy_(total)

    # 3. So many of them, or, with even steps, until they no longer pay: a falling step pays at its end.
    iterate = _repeated(iteration, pictures.recordable, vertices.device)
    stop = _EarlyStop(settings.early_stop if descent.step_end == 1 else 0.0, settings.early_stop_window)
    for i in range(descent.iterations):
        step.fill_(half_cosine(i / descent.iterations, descent.step, descent.step_end * descent.step))
        for _ in iterate():
            yield Aligning(i / descent.iterations, moved, value)
        yield Aligning(i / descent.iterations, moved, value.clone())
        if stop(value):
            break
    yield Aligning(1.0, moved, value)


def _repeated(
    iteration: Callable[[], Iterator[None]], recordable: bool, device: torch.device
) -> Callable[[], Iterator[None]]:
    """``iteration``, which pauses between its parts; where it is recordable, without pauses as one recorded step."""
    if not recordable:
        return iteration
    step = Repeated(lambda: deque(iteration(), maxlen=0), device)

    def once() -> Iterator[None]:
        step()
        yield from ()

    return once


def _chamfer(
    vertices: Tensor, faces: Tensor, target: Mesh, settings: MeshToMeshSettings, rng: torch.Generator
) -> SurfaceChamfer:
    return SurfaceChamfer(
        vertices, faces, target, samples=settings.surface_samples, normal_match=settings.normal_match, rng=rng
    )


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


def _told(leaf: Tensor) -> Tensor:
    """The gradient of the vertices (V,3), zero where it is no number: one such entry, kept by the optimiser's momentum,
    would make the whole mesh none in all later iterations."""
    assert leaf.grad is not None
    return leaf.grad.nan_to_num(0.0, 0.0, 0.0)


class _EarlyStop:
    """Says when a loss has improved by less than a share of itself from one window of iterations to the next."""

    def __init__(self, share: float, window: int) -> None:
        self._share, self._window, self._values = share, window, list[Tensor]()

    def __call__(self, value: Tensor) -> bool:
        if self._share <= 0:
            return False
        self._values.append(value.clone())
        if len(self._values) < 2 * self._window or len(self._values) % 10:
            return False
        before, now = torch.stack(self._values[-2 * self._window :]).view(2, -1).sum(1).tolist()
        return now > (1 - self._share) * before


def _up(frame: Tensor | None, device: torch.device | str) -> Tensor:
    up = torch.tensor([0.0, -1.0, 0.0]) if frame is None else torch.nn.functional.normalize(frame[:3, 2].cpu(), dim=0)
    return up.to(device)
