"""Pairs of point maps of a known scene, as a perfect or a noisy network would predict them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from v2m4.stereo.dust3r.pairs import PairPredictions, complete_graph
from v2m4.stereo.dust3r.registration import centred_pixels


@dataclass
class Scene:
    """World points (N, H, W, 3) seen by cameras (N, 4, 4) with one focal length in pixels, and all pairs of them."""

    points: Tensor
    cameras: Tensor
    focal: float
    pairs: PairPredictions


def wavy_scene(
    images: int, seed: int, noise: float = 0.0, size: tuple[int, int] = (20, 24), focal: float = 26.0
) -> Scene:
    """Cameras along an arc before a wavy wall; each pair has a scale of its own."""
    generator = torch.Generator().manual_seed(seed)
    height, width = size
    rays = centred_pixels(height, width, torch.device("cpu")) / focal
    rays = torch.cat([rays, torch.ones(len(rays), 1)], dim=1)
    points, cameras = [], []
    for k in range(images):
        turn = torch.tensor(0.25 * (k - (images - 1) / 2))
        camera = torch.eye(4)
        camera[:3, :3] = torch.tensor([[turn.cos(), 0, turn.sin()], [0, 1, 0], [-turn.sin(), 0, turn.cos()]])
        camera[:3, 3] = torch.tensor([-2.0, 0, 0]) * turn + torch.tensor([0.0, 0.15 * k, 0])
        depth = 2 + 0.3 * torch.sin(3 * rays[:, 0] + k) * torch.cos(4 * rays[:, 1])
        points.append((rays * depth[:, None]) @ camera[:3, :3].T + camera[:3, 3])
        cameras.append(camera)
    world, poses = torch.stack(points), torch.stack(cameras)
    edges = complete_graph(images)
    first, second, scales = [], [], torch.rand(len(edges), generator=generator) + 0.5
    for (i, j), scale in zip(edges.tolist(), scales, strict=True):
        for target, image in ((first, i), (second, j)):
            seen = (world[image] - poses[i][:3, 3]) @ poses[i][:3, :3] * scale
            target.append(seen + noise * torch.randn(seen.shape, generator=generator))
    confidence = 2 + 3 * torch.rand(2, len(edges), height, width, generator=generator)
    maps = (torch.stack(part).unflatten(1, size) for part in (first, second))
    points1, points2 = maps
    return Scene(
        world.unflatten(1, size),
        poses,
        focal,
        PairPredictions(edges, points1, confidence[0], points2, confidence[1]),
    )
