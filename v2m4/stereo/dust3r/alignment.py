"""Global alignment: the point maps of all pairs into one world, by descent on 3D distances.

DUSt3R (arXiv 2312.14132), section 3.4. Unknown are, per image, depth per pixel, pose and focal length; per pair, a
similarity that carries its two maps into the world. The loss is the confidence-weighted mean distance between an
image's world points and those that each of its pairs gives it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from v2m4.geometry.similarity import umeyama
from v2m4.nn.cuda_graphs import Repeated
from v2m4.nn.schedule import half_cosine
from v2m4.settings import Dust3rSettings
from v2m4.stereo.dust3r.distances import WeightedDistance
from v2m4.stereo.dust3r.pairs import PairPredictions
from v2m4.stereo.dust3r.registration import (
    centred_pixels,
    signed_expm1,
    signed_log1p,
)
from v2m4.stereo.dust3r.spanning_tree import TreeStart, start_from_tree
from v2m4.stereo.rotations import quaternion_from_rotation, rotation_from_quaternion

MOST_BLOCKS = 64


@dataclass
class Unknowns:
    """What the descent changes. Poses are camera-to-world.

    pair_poses: (E, 8) quaternion x, y, z, w, translation / scale as signed logarithm, log scale.
    image_poses: (N, 7) quaternion, translation as signed logarithm. log_depth: (N, H*W). log_focal: (N, 1), in pixels,
    times the settings' `focal_unit`.
    """

    pair_poses: Tensor
    image_poses: Tensor
    log_depth: Tensor
    log_focal: Tensor

    def tensors(self) -> list[Tensor]:
        return [self.pair_poses, self.image_poses, self.log_depth, self.log_focal]


@dataclass
class Observations:
    """What the pairs say of each image, grouped by image: S slots per image, those not filled having no weight.

    points: (N, S, B, 3, Q) in their pair's frame, the H*W pixels cut into B blocks, so that a GPU finds enough small
    products to work on. weights: (N, S, B, Q), log confidence over the number of pixels of all pairs. pair: (N, S),
    which pair a slot belongs to.
    """

    points: Tensor
    weights: Tensor
    pair: Tensor
    size: tuple[int, int]

    @classmethod
    def of(cls, pairs: PairPredictions) -> Observations:
        views = [(e, 0) for e in range(len(pairs.edges))] + [(e, 1) for e in range(len(pairs.edges))]
        per_image: list[list[tuple[int, int]]] = [[] for _ in range(pairs.image_count)]
        for e, view in views:
            per_image[int(pairs.edges[e, view])].append((e, view))
        slots, pixels = max(map(len, per_image)), pairs.size[0] * pairs.size[1]
        blocks = math.gcd(pixels, MOST_BLOCKS)
        points = pairs.points1.new_zeros(len(per_image), slots, blocks, 3, pixels // blocks)
        weights = pairs.points1.new_zeros(len(per_image), slots, blocks, pixels // blocks)
        pair = torch.zeros(len(per_image), slots, dtype=torch.long)
        for image, seen in enumerate(per_image):
            for slot, (e, view) in enumerate(seen):
                own_points, confidence = (
                    (pairs.points1[e], pairs.confidence1[e]) if view == 0 else (pairs.points2[e], pairs.confidence2[e])
                )
                points[image, slot] = own_points.reshape(blocks, -1, 3).transpose(1, 2)
                weights[image, slot] = confidence.reshape(blocks, -1).log() / (len(pairs.edges) * pixels)
                pair[image, slot] = e
        return cls(points, weights, pair.to(points.device), pairs.size)


def pair_transforms(pair_poses: Tensor, pair_scale: float) -> Tensor:
    """(E, 3, 4) from pair to world; scales are normalised to the geometric mean `pair_scale`."""
    log_scale = pair_poses[:, 7]
    scale = (log_scale - log_scale.mean() + math.log(pair_scale)).exp()
    rotation = rotation_from_quaternion(pair_poses[:, :4])
    shift = signed_expm1(pair_poses[:, 4:7])
    return torch.cat([rotation, shift.unsqueeze(-1)], dim=-1) * scale[:, None, None]


def cameras(unknowns: Unknowns) -> Tensor:
    """(N, 3, 4) camera-to-world of the images."""
    shift = signed_expm1(unknowns.image_poses[:, 4:7])
    return torch.cat([rotation_from_quaternion(unknowns.image_poses[:, :4]), shift.unsqueeze(-1)], dim=-1)


def focals(unknowns: Unknowns, settings: Dust3rSettings) -> Tensor:
    """(N, 1) focal lengths in pixels."""
    return (unknowns.log_focal / settings.focal_unit).exp()


def world_points(unknowns: Unknowns, size: tuple[int, int], settings: Dust3rSettings) -> Tensor:
    """(N, 3, H*W) the images' pixels in the world."""
    return _world_blocks(unknowns, size, 1, settings)[:, 0]


def _world_blocks(unknowns: Unknowns, size: tuple[int, int], blocks: int, settings: Dust3rSettings) -> Tensor:
    """`world_points` cut into blocks of pixels, (N, B, 3, Q)."""
    rays = centred_pixels(*size, unknowns.log_depth.device).unflatten(0, (blocks, -1)).transpose(1, 2)
    depth = unknowns.log_depth.exp().unflatten(1, (blocks, 1, -1))
    in_camera = torch.cat([depth * rays / focals(unknowns, settings)[:, :, None, None], depth], dim=2)
    poses = cameras(unknowns).unsqueeze(1)
    return poses[..., :3] @ in_camera + poses[..., 3:]


def alignment_loss(unknowns: Unknowns, seen: Observations, settings: Dust3rSettings) -> Tensor:
    """Confidence-weighted mean distance between the images' points and what their pairs say; a number."""
    transforms = pair_transforms(unknowns.pair_poses, settings.pair_scale)[seen.pair]
    world = _world_blocks(unknowns, seen.size, seen.points.shape[2], settings)
    loss: Tensor = WeightedDistance.apply(world, transforms, seen.points, seen.weights)
    return loss


def unknowns_from(start: TreeStart, pairs: PairPredictions, settings: Dust3rSettings) -> Unknowns:
    """The parameters at which `start` stands, each pair fitted to the world by its first point map."""
    first = pairs.edges[:, 0].to(start.points.device)
    source, target = pairs.points1.flatten(1, 2), start.points.flatten(1, 2)
    fits = [umeyama(source[e], target[i], pairs.confidence1[e].flatten()) for e, i in enumerate(first.tolist())]
    scale = source.new_tensor([fit.scale for fit in fits])
    rotation, shift = (torch.stack(parts) for parts in zip(*((f.rotation, f.translation) for f in fits), strict=True))
    log_scale = scale.log()
    pair_poses = torch.cat(
        [quaternion_from_rotation(rotation), signed_log1p(shift / scale[:, None]), log_scale[:, None]], dim=1
    )
    shrink = (math.log(settings.pair_scale) - log_scale.mean()).exp()
    positions = start.cameras[:, :3, 3] * shrink
    turned = start.cameras[:, :3, :3]
    # Depth is the coordinate along the third axis of the camera.
    depth = ((target * shrink - positions[:, None]) * turned[:, None, :, 2]).sum(-1)
    return Unknowns(
        pair_poses=pair_poses,
        image_poses=torch.cat([quaternion_from_rotation(turned), signed_log1p(positions)], dim=1),
        log_depth=depth.log().nan_to_num(nan=0.0, neginf=0.0),
        log_focal=settings.focal_unit * start.focals.log()[:, None],
    )


def descend(unknowns: Unknowns, seen: Observations, settings: Dust3rSettings) -> Iterator[Tensor]:
    """Change `unknowns` in place, one Adam step per item; yields the loss before the step.

    On a GPU the step is recorded once and replayed, since its kernels take less time than their launch. The tensor
    yielded is overwritten by the next step.
    """
    parameters = [tensor.requires_grad_() for tensor in unknowns.tensors()]
    on_gpu = seen.points.is_cuda
    rate = torch.tensor(settings.lr, device=seen.points.device)
    optimiser = torch.optim.Adam(
        parameters, lr=rate, betas=(settings.beta1, settings.beta2), fused=True, capturable=on_gpu
    )

    loss = torch.zeros((), device=seen.points.device)

    def step() -> None:
        optimiser.zero_grad(set_to_none=False)
        with torch.enable_grad():
            value = alignment_loss(unknowns, seen, settings)
            value.backward()
        optimiser.step()
        loss.copy_(value.detach())

    step_on = Repeated(step, seen.points.device)
    for n in range(settings.iterations):
        rate.fill_(half_cosine(n / settings.iterations, settings.lr, settings.lr_end))
        step_on()
        yield loss


def align(pairs: PairPredictions, settings: Dust3rSettings) -> Tensor:
    """World points (N, H, W, 3) of the images of `pairs`, all in one frame of arbitrary scale."""
    start = start_from_tree(pairs, settings)
    unknowns = unknowns_from(start, pairs, settings)
    for _ in descend(unknowns, Observations.of(pairs), settings):
        pass
    with torch.no_grad():
        points = world_points(unknowns, pairs.size, settings)
    return points.transpose(1, 2).unflatten(1, pairs.size).contiguous()
