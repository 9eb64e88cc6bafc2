"""Rotations in the forms that are optimised, and similarities fitted to matched points."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from v2m4.errors import V2M4Error


def rotation_from_6d(d6: Tensor) -> Tensor:
    """Rotation matrices (…,3,3) of six numbers (…,6): two vectors, made orthonormal, are the first two rows.

    Continuous everywhere but for parallel vectors (Zhou et al. 2019).
    """
    a, b = d6[..., :3], d6[..., 3:]
    x = functional.normalize(a, dim=-1)
    y = functional.normalize(b - (x * b).sum(-1, keepdim=True) * x, dim=-1)
    return torch.stack([x, y, torch.linalg.cross(x, y)], dim=-2)


def rotation_from_quaternion(q: Tensor) -> Tensor:
    """Rotation matrices (…,3,3) of quaternions (…,4), real part first, of any length but zero."""
    w, x, y, z = functional.normalize(q, dim=-1).unbind(-1)
    rows = [
        torch.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)], dim=-1),
        torch.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)], dim=-1),
        torch.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], dim=-1),
    ]
    return torch.stack(rows, dim=-2)


def quaternion_from_rotation(rotation: Tensor) -> Tensor:
    """Unit quaternions (…,4), real part first and not negative, of rotation matrices (…,3,3) (Shepperd 1978)."""
    diagonal = rotation.diagonal(dim1=-2, dim2=-1)
    trace = diagonal.sum(-1, keepdim=True)
    # Four times the squares; the largest of them is the safe one to divide by.
    squares = torch.cat([1 + trace, 1 - trace + 2 * diagonal], dim=-1).clamp_min(0)
    r = rotation
    w = [r[..., 2, 1] - r[..., 1, 2], r[..., 0, 2] - r[..., 2, 0], r[..., 1, 0] - r[..., 0, 1]]
    s = [r[..., 1, 0] + r[..., 0, 1], r[..., 2, 0] + r[..., 0, 2], r[..., 2, 1] + r[..., 1, 2]]
    candidates = torch.stack(
        [
            torch.stack([squares[..., 0], w[0], w[1], w[2]], dim=-1),
            torch.stack([w[0], squares[..., 1], s[0], s[1]], dim=-1),
            torch.stack([w[1], s[0], squares[..., 2], s[2]], dim=-1),
            torch.stack([w[2], s[1], s[2], squares[..., 3]], dim=-1),
        ],
        dim=-2,
    )
    best = squares.argmax(-1)[..., None, None].expand(*squares.shape[:-1], 1, 4)
    q = functional.normalize(candidates.gather(-2, best)[..., 0, :], dim=-1)
    return torch.where(q[..., :1] < 0, -q, q)


def rotation_from_axis_angle(vector: Tensor) -> Tensor:
    """Rotation matrices (…,3,3) of vectors (…,3) along the axis, as long as the angle in radians (Rodrigues)."""
    square = (vector * vector).sum(-1)[..., None, None]
    small = square < 1e-8
    angle = torch.where(small, 1.0, square).sqrt()
    sine = torch.where(small, 1 - square / 6, angle.sin() / angle)
    cosine = torch.where(small, 0.5 - square / 24, (1 - angle.cos()) / angle**2)
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).view(*vector.shape[:-1], 3, 3)
    return torch.eye(3, dtype=vector.dtype, device=vector.device) + sine * cross + cosine * (cross @ cross)


def closest_rotation(matrix: Tensor) -> Tensor:
    """The rotation (…,3,3) R that maximises trace(R^T M); never a reflection (Kabsch 1976, Umeyama 1991)."""
    u, _, vt = torch.linalg.svd(matrix)
    sign = torch.ones(*matrix.shape[:-1], dtype=matrix.dtype, device=matrix.device)
    sign[..., 2] = torch.linalg.det(u @ vt).sign()
    return (u * sign[..., None, :]) @ vt


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
    weights: Tensor | None = None,
    trials: int = 256,
    sample: int = 4,
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
