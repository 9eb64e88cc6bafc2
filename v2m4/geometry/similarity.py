"""Similarities (rotation, scale, translation) fitted to matched points: Procrustes alignment, and RANSAC over it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from v2m4.errors import V2M4Error
from v2m4.geometry.rotations import closest_rotation


@dataclass(frozen=True)
class Similarity:
    """x -> scale * rotation x + translation; rotation (3,3), translation (3,)."""

    rotation: Tensor
    translation: Tensor
    scale: float

    def apply(self, points: Tensor) -> Tensor:
        """Transform points (…,3)."""
        return self.scale * points @ self.rotation.T + self.translation

    def matrix(self) -> Tensor:
        """(4,4) affine matrix."""
        out = torch.eye(4, dtype=self.rotation.dtype, device=self.rotation.device)
        out[:3, :3], out[:3, 3] = self.scale * self.rotation, self.translation
        return out


def umeyama(source: Tensor, target: Tensor, weights: Tensor | None = None, with_scale: bool = True) -> Similarity:
    """The similarity that takes source (N,3) to target (N,3) with least weighted squared error (Umeyama 1991).

    weights: (N,) not negative. At least three matches that are not on one line are needed; V2M4Error otherwise.
    """
    if len(source) < 3:
        raise V2M4Error(f"Aligning point clouds needs at least 3 matched points, but there are {len(source)}.")
    if not bool(torch.isfinite(source).all() and torch.isfinite(target).all()):
        raise V2M4Error("The matched points hold numbers that are not finite, so they cannot be aligned.")
    w = torch.ones_like(source[:, 0]) if weights is None else weights
    w = w / w.sum().clamp_min(1e-30)
    mean_source, mean_target = (w[:, None] * source).sum(0), (w[:, None] * target).sum(0)
    a, b = source - mean_source, target - mean_target
    covariance = (w[:, None] * b).T @ a
    variance = (w[:, None] * a * a).sum()
    extent = torch.linalg.svdvals((w[:, None] * a).T @ a)
    if float(extent[1]) <= 1e-10 * max(float(extent[0]), 1e-30):
        raise V2M4Error("The matched points lie on one line, so no single rotation fits them.")
    # A 3x3 matrix is decomposed sooner on the CPU than a GPU is asked.
    rotation = closest_rotation(covariance.cpu().double()).to(source)
    scale = float((rotation * covariance).sum() / variance) if with_scale else 1.0
    return Similarity(rotation, mean_target - scale * rotation @ mean_source, scale)


def umeyama_ransac(
    source: Tensor,
    target: Tensor,
    rng: torch.Generator,
    *,
    threshold: float,
    trials: int,
    sample: int,
    weights: Tensor | None = None,
) -> tuple[Similarity, Tensor]:
    """`umeyama` that is not misled by wrong matches (RANSAC, Fischler and Bolles 1981).

    threshold: largest distance, in units of ``target``, at which a match still counts as right. rng: on the CPU.
    Returns the similarity fitted to all right matches, and which they are, (N,) bool.
    """
    count = len(source)
    if count < 3:
        raise V2M4Error(f"Aligning point clouds needs at least 3 matched points, but there are {count}.")
    sample = min(sample, count)
    picks = torch.stack([torch.randperm(count, generator=rng)[:sample] for _ in range(trials)]).to(source.device)
    a, b = source[picks], target[picks]  # (trials, sample, 3)
    mean_a, mean_b = a.mean(1, keepdim=True), b.mean(1, keepdim=True)
    covariance = (b - mean_b).transpose(1, 2) @ (a - mean_a)
    rotation = closest_rotation(covariance)
    variance = (a - mean_a).square().sum((1, 2)).clamp_min(1e-30)
    scale = (rotation * covariance).sum((1, 2)) / variance
    linear = scale[:, None, None] * rotation
    translation = mean_b[:, 0] - (linear @ mean_a.transpose(1, 2))[..., 0]
    w = torch.ones_like(source[:, 0]) if weights is None else weights
    support = torch.stack(
        [
            (w * ((source @ m.T + t - target).norm(dim=1) < threshold)).sum()
            for m, t in zip(linear, translation, strict=True)
        ]
    )
    best = int(support.argmax())
    right = (source @ linear[best].T + translation[best] - target).norm(dim=1) < threshold
    for _ in range(5):
        if int(right.sum()) < 3:
            raise V2M4Error("Too few matched points agree with one another to align the point clouds.")
        fit = umeyama(source[right], target[right], w[right])
        now = (fit.apply(source) - target).norm(dim=1) < threshold
        if torch.equal(now, right):
            break
        right = now
    return fit, right
