"""From point maps to a camera: the similarity that lays them onto the mesh, and the camera that sees them so.

Both steps come in two forms. The paper's are descents: the similarity by Chamfer distance between subsets of the
points, the camera by the mean squared distance from where the points are seen. The direct forms use that a point map
and the rendering's true points index the same pixels: matched points have a closed-form similarity (Umeyama 1991,
with RANSAC against wrong ones), and points matched to pixels a camera (PnP).
"""

from __future__ import annotations

import math
from collections.abc import Generator

import cv2
import numpy as np
import torch
from torch import Tensor

from v2m4.geometry.camera import Camera, look_at
from v2m4.geometry.chamfer import chamfer
from v2m4.geometry.gather import gather_rows
from v2m4.geometry.neighbours import Neighbours
from v2m4.geometry.rotations import rotation_from_6d
from v2m4.geometry.similarity import Similarity, umeyama_ransac
from v2m4.nn.cuda_graphs import Repeated
from v2m4.settings import StereoStepSettings

# Point maps come in the axes of a camera (y down, z forward); this is that camera on the orbit at yaw 0.
_START_6D = (-1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
_EVENTS_PER_FIT = 40  # so that a page can show it
_MANY_POINTS = 100_000  # torch.quantile takes no more than 16 million numbers, and sorts them
_MAD_TO_DEVIATION = 1.4826  # of normally distributed errors
_FEWEST_FOR_PNP = 6  # points that fix a camera without knowing which of several it is


def subset(count: int, share: float, least: int, most: int, rng: torch.Generator) -> Tensor:
    """(M,) random indices: a share of ``count``, but at least ``least`` where there are so many, at most ``most``."""
    size = min(count, most, max(least, round(share * count)))
    return torch.randperm(count, generator=rng)[:size]


def similarity_by_chamfer(
    predicted: Tensor, true: Tensor, settings: StereoStepSettings, rng: torch.Generator
) -> Generator[float, None, Similarity]:
    """Lay points (N,3) onto points (M,3) of which none is matched, by descent on the Chamfer distance.

    Halfway the solution is turned by 180 degrees about the vertical axis through the true points' centre; whichever of
    the two ends is lower is kept (section 4.1). Yields the share done.
    """
    device = predicted.device
    # 1. The start: one box laid onto the other. predicted (N,3), true (M,3).
    own_box, box = (_inner_box(p, settings, rng) for p in (predicted, true))
    d6 = torch.tensor(_START_6D, device=device)
    # The start only swaps and mirrors axes, so the turned box is the box of the turned points.
    first, last = (corner @ rotation_from_6d(d6).T for corner in own_box)
    scale = ((box[1] - box[0]) / (last - first).abs().clamp_min(1e-9)).mean().reshape(1)
    translation = (box[0] + box[1]) / 2 - scale * (first + last) / 2
    # 2. A descent from there, and one from where the first ended, turned by half about the line of sight.
    source_tree, target_tree = Neighbours(predicted), Neighbours(true)
    middle = true.mean(0)
    iterations = settings.fit_iterations
    half = iterations // 2
    ends: list[tuple[float, Similarity]] = []
    for part in range(2):
        if part == 1:
            about = torch.tensor([-1.0, -1.0, 1.0], device=device)
            rotation = torch.diag(about) @ ends[0][1].rotation
            d6, scale = rotation[:2].flatten(), torch.tensor([ends[0][1].scale], device=device)
            translation = about * (ends[0][1].translation - middle) + middle
        unknowns = [t.clone().requires_grad_() for t in (d6, translation, scale)]
        optimiser = _adam(unknowns, settings.lr)
        best = torch.full((), math.inf, device=device)
        kept = [t.detach().clone() for t in unknowns]

        def advance(
            unknowns: list[Tensor] = unknowns,
            optimiser: torch.optim.Optimizer = optimiser,
            best: Tensor = best,
            kept: list[Tensor] = kept,
        ) -> None:
            # 3. One step: the squared distances of all points, both ways, to the nearest now.
            rotation = rotation_from_6d(unknowns[0])
            moved = unknowns[2] * predicted @ rotation.T + unknowns[1]
            with torch.no_grad():
                # The similarity keeps the order of distances, so both trees serve all iterations.
                back = (true - unknowns[1]) @ rotation / unknowns[2]
                to_true, to_moved = target_tree.nearest(moved), source_tree.nearest(back)
            loss = chamfer(moved - true[to_true], true - gather_rows(moved, to_moved))
            _keep_better(loss, unknowns, best, kept)
            optimiser.zero_grad(set_to_none=False)
            loss.backward()
            optimiser.step()

        step_on = Repeated(advance, device)
        for step in range(max(1, half)):
            step_on()
            if step % max(1, iterations // _EVENTS_PER_FIT) == 0:
                yield (part * half + step) / iterations
        fit = Similarity(rotation_from_6d(kept[0]), kept[1], float(kept[2]))
        ends.append((float(best), fit))
    # 4. The better of the two ends.
    return min(ends, key=lambda end: end[0])[1]


def _inner_box(points: Tensor, settings: StereoStepSettings, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """The lower and upper corner (3,) of the box around the middle ``box_share`` of the points, along each axis."""
    share = settings.box_share
    some = points[subset(len(points), share, settings.least_points, settings.box_points, rng).to(points.device)]
    ends = torch.tensor([(1 - share) / 2, (1 + share) / 2], device=points.device)
    low, high = torch.quantile(some, ends, dim=0)
    return low, high


def similarity_by_matches(
    predicted: Tensor, true: Tensor, weights: Tensor, settings: StereoStepSettings, rng: torch.Generator
) -> Similarity:
    """Lay points (N,3) onto their matches (N,3) in closed form, whatever share of them is wrong (up to about half).

    weights: (N,) confidences. Raises V2M4Error where no similarity fits.
    """
    picks = subset(len(predicted), 1.0, settings.least_points, settings.points, rng).to(predicted.device)
    source, target, w = predicted[picks], true[picks], weights[picks]  # (M,3), (M,3), (M,)
    # 1. The true points' extent: of very many by their standard deviation, which needs no sorting.
    away = (true - true.median(0).values).norm(dim=1)  # (N,)
    extent = float(away.quantile(settings.extent_share) if len(true) < _MANY_POINTS else true.std(0).norm())

    def fitted(threshold: float) -> Similarity:
        return umeyama_ransac(
            source,
            target,
            rng,
            threshold=threshold,
            weights=w,
            trials=settings.fit_draws,
            sample=settings.fit_sample,
        )[0]

    # 2. A first fit with a generous tolerance, and a second with what its errors show to be the noise.
    widest = settings.fit_tolerance * extent
    error = (fitted(widest).apply(source) - target).norm(dim=1)  # (M,)
    noise = settings.fit_deviations * _MAD_TO_DEVIATION * error.median()
    return fitted(float(noise.clamp(min=1e-4 * extent, max=widest)))


def camera_by_descent(
    points: Tensor, pixels: Tensor, start: Camera, settings: StereoStepSettings
) -> Generator[float, None, Camera]:
    """The roll-free camera that sees points (N,3) at pixels (N,2) in [0,1], by descent from ``start``.

    Unknowns: the viewing direction and the translation, as in the release. Yields the share done.
    """
    w2c = start.world_to_camera.reshape(4, 4).to(points.device)
    unknowns = [w2c[2, :3].clone().requires_grad_(), w2c[:3, 3].clone().requires_grad_()]
    optimiser = _adam(unknowns, settings.lr)
    iterations = settings.pose_iterations
    best = torch.full((), math.inf, device=points.device)
    kept = [t.detach().clone() for t in unknowns]

    def camera_at(forward: Tensor, translation: Tensor) -> Camera:
        last = torch.eye(4, device=points.device)[3:]
        rotation = look_at(torch.zeros_like(forward), forward)[:3, :3]
        return Camera(torch.cat([torch.cat([rotation, translation[:, None]], dim=1), last]), start.fov_deg)

    def advance() -> None:
        seen, _ = camera_at(*unknowns).project(points)
        loss = (2 * (seen - pixels)).square().mean()
        _keep_better(loss, unknowns, best, kept)
        optimiser.zero_grad(set_to_none=False)
        loss.backward()
        optimiser.step()

    step_on = Repeated(advance, points.device)
    for step in range(iterations):
        step_on()
        if step % max(1, iterations // _EVENTS_PER_FIT) == 0:
            yield step / iterations
    return camera_at(*kept) if math.isfinite(float(best)) else start


def _adam(unknowns: list[Tensor], lr: float) -> torch.optim.Optimizer:
    on_gpu = unknowns[0].is_cuda
    return torch.optim.Adam(unknowns, lr=lr, fused=on_gpu, capturable=on_gpu)


@torch.no_grad()
def _keep_better(loss: Tensor, unknowns: list[Tensor], best: Tensor, kept: list[Tensor]) -> None:
    """Copy the unknowns to ``kept`` where ``loss`` () is lower than ``best`` (), without waiting for the device."""
    better = loss < best
    best.copy_(torch.where(better, loss, best))
    for own, now in zip(kept, unknowns, strict=True):
        own.copy_(torch.where(better, now, own))


def camera_by_pnp(
    points: Tensor, pixels: Tensor, fov_deg: float, settings: StereoStepSettings, *, tolerance: float
) -> Camera | None:
    """The camera, with roll, that sees most points (N,3) at their pixels (N,2) in [0,1], or None if none is found.

    tolerance: how far off, as a share of the picture's side, a right match may be seen. RANSAC over EPnP (Lepetit et
    al. 2009), then least squares over all right matches; OpenCV's draws are the same in every run.
    """
    if len(points) < _FEWEST_FOR_PNP:
        return None
    world = points.detach().cpu().double().numpy()
    seen = pixels.detach().cpu().double().numpy()
    focal = 0.5 / math.tan(math.radians(fov_deg) / 2)
    intrinsics = np.array([[focal, 0, 0.5], [0, focal, 0.5], [0, 0, 1]])
    found, turn, shift, right = cv2.solvePnPRansac(
        world,
        seen,
        intrinsics,
        None,
        iterationsCount=settings.pnp_draws,
        reprojectionError=tolerance,
        confidence=settings.pnp_confidence,
        flags=cv2.SOLVEPNP_EPNP,
    )
    if not found or right is None or len(right) < _FEWEST_FOR_PNP:
        return None
    right = right[:, 0]
    turn, shift = cv2.solvePnPRefineLM(world[right], seen[right], intrinsics, None, turn, shift)
    w2c = np.eye(4)
    w2c[:3, :3], w2c[:3, 3] = cv2.Rodrigues(turn)[0], shift[:, 0]
    depth = world[right] @ w2c[2, :3] + w2c[2, 3]
    if not np.isfinite(w2c).all() or float(np.median(depth)) <= 0:
        return None
    return Camera(torch.from_numpy(w2c).float(), fov_deg)
