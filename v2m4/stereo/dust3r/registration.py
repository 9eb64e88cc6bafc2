"""Closed-form pieces of global alignment: similarity between point clouds, focal length, camera from points, and the
parametrisations that the optimiser works in."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

from v2m4.nn.transformer import grid_positions
from v2m4.settings import Dust3rSettings

_FEWEST_FOR_PNP = 4


def signed_log1p(x: Tensor) -> Tensor:
    """sign(x) log(1 + |x|): translations are stored so, which makes far cameras move as readily as near ones."""
    return x.sign() * torch.log1p(x.abs())


def signed_expm1(x: Tensor) -> Tensor:
    """sign(x) (e^|x| - 1), the inverse of `signed_log1p`."""
    return x.sign() * torch.expm1(x.abs())


def pair_scores(confidence1: Tensor, confidence2: Tensor) -> Tensor:
    """(E,) how much each of E pairs is to be trusted: product of the mean confidences (E, H, W) of its two views."""
    return confidence1.flatten(1).mean(1) * confidence2.flatten(1).mean(1)


def pixel_grid(height: int, width: int, device: torch.device) -> Tensor:
    """(height * width, 2) float (column, row) of every pixel, whole numbers, row by row."""
    return grid_positions(height, width, device).flip(-1).float()


def estimate_focal(points: Tensor, rounds: int) -> Tensor:
    """Focal length in pixels of the camera that sees point map (H, W, 3), principal point in the middle; a number.

    Weiszfeld's algorithm: a least-squares start, then rounds re-weighted by the inverse distance of each pixel from
    its projection, which minimise the sum of those distances.
    """
    height, width = points.shape[:2]
    pixels = centred_pixels(height, width, points.device)
    directions = (points[..., :2] / points[..., 2:]).flatten(0, 1).nan_to_num(posinf=0, neginf=0)
    along, square = (directions * pixels).sum(-1), directions.square().sum(-1)
    focal = along.mean() / square.mean()
    for _ in range(rounds):
        weights = 1 / (pixels - focal * directions).norm(dim=-1).clamp(min=1e-8)
        focal = (weights * along).mean() / (weights * square).mean()
    return focal


def centred_pixels(height: int, width: int, device: torch.device) -> Tensor:
    """`pixel_grid` measured from the middle of the image."""
    columns, rows = pixel_grid(height, width, device).unbind(-1)
    return torch.stack([columns - width / 2, rows - height / 2], dim=-1)


def camera_from_points(
    points: Tensor, mask: Tensor, focal: float | None, settings: Dust3rSettings
) -> tuple[float, Tensor] | None:
    """Focal length and camera-to-world (4, 4) of the camera that sees world points (H, W, 3) at their pixels.

    Only pixels of `mask` (H, W) count, every so-manieth of them where they are very many; PnP with RANSAC. Without a
    `focal`, a range of them is tried and the one with most inliers kept. None if no camera is found.
    """
    if int(mask.sum()) < _FEWEST_FOR_PNP:
        return None
    height, width = mask.shape
    chosen = mask.flatten().nonzero()[:, 0]
    chosen = chosen[:: -(-len(chosen) // settings.pnp_points)]
    world = points.reshape(-1, 3)[chosen].cpu().numpy()
    pixels = pixel_grid(height, width, points.device)[chosen].cpu().numpy()
    side = max(height, width)
    shortest, longest = side * settings.focal_least, side * settings.focal_most
    focals: Sequence[float] = (
        [focal] if focal is not None else np.geomspace(shortest, longest, settings.focals).tolist()
    )
    most, best = 0, None
    for candidate in focals:
        camera = np.array([[candidate, 0, width / 2], [0, candidate, height / 2], [0, 0, 1]], dtype=np.float32)
        found, rotation, translation, inliers = cv2.solvePnPRansac(
            world,
            pixels,
            camera,
            None,
            iterationsCount=settings.pnp_draws,
            reprojectionError=settings.pnp_error_px,
            flags=cv2.SOLVEPNP_SQPNP,
        )
        if found and len(inliers) > most:
            most, best = len(inliers), (candidate, rotation, translation)
    if best is None:
        return None
    candidate, rotation, translation = best
    turn = torch.from_numpy(cv2.Rodrigues(rotation)[0]).to(points)
    pose = torch.eye(4).to(points)
    pose[:3, :3] = turn.T
    pose[:3, 3] = -turn.T @ torch.from_numpy(translation[:, 0]).to(points)
    return candidate, pose
