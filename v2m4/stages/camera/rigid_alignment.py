"""A mesh's pose from a picture of it, by direct alignment: few renderings per pose, several poses at once.

The rendering of a pose is compared with the picture in four channels (colour premultiplied on black, and mask), both
blurred. To first order a rigid motion of the object moves every rendered pixel by the projection of its surface
point's motion, silhouettes included (the rim point's motion normal to the outline is the outline's), so all six
unknowns have one linear least-squares step: Gauss-Newton with the mean of both pictures' gradients (Lucas and Kanade
1981; Malis 2004, "efficient second-order minimisation").
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from v2m4.arrays import Float32, Float64
from v2m4.geometry.camera import Camera
from v2m4.geometry.mesh import Mesh
from v2m4.geometry.rotations import rotation_from_axis_angle
from v2m4.render import render_fast
from v2m4.render.threads import parallel_for
from v2m4.settings import RigidAlignmentSettings
from v2m4.stages.camera.rigid_alignment_numba import accumulate


@dataclass(frozen=True)
class Poses:
    """N object poses before one camera: rotation (N,3,3), and centre (N,3), where the mesh's centre is. Float64."""

    rotation: Float64
    centre: Float64

    def __len__(self) -> int:
        return len(self.rotation)

    def __getitem__(self, index: NDArray[np.intp] | slice) -> Poses:
        return Poses(self.rotation[index], self.centre[index])

    @staticmethod
    def joined(parts: list[Poses]) -> Poses:
        """All poses of the parts, in order."""
        return Poses(np.concatenate([p.rotation for p in parts]), np.concatenate([p.centre for p in parts]))

    def extrinsics(self, middle: Float64) -> Float64:
        """(N,4,4) world-to-camera matrices, for a mesh whose centre is at ``middle`` (3,) in its own coordinates."""
        out = np.tile(np.eye(4), (len(self), 1, 1))
        out[:, :3, :3] = self.rotation
        out[:, :3, 3] = self.centre - self.rotation @ middle
        return out

    @staticmethod
    def of(extrinsics: Float64, middle: Float64) -> Poses:
        """The poses of world-to-camera matrices (N,4,4)."""
        rotation = extrinsics[:, :3, :3]
        return Poses(rotation, rotation @ middle + extrinsics[:, :3, 3])


@dataclass(frozen=True)
class Picture:
    """What is aligned to. image: (S,S,4) float32, colour premultiplied on black, and mask. known: (S,S) 1 where the
    frame shows it, 0 beyond the frame's border. fov_deg: field of view across it."""

    image: Float32
    known: Float32
    fov_deg: float

    @property
    def size(self) -> int:
        return self.image.shape[0]


@dataclass(frozen=True)
class Renderings:
    """N renderings: image (N,S,S,4) as in `Picture`, depth (N,S,S), 0 outside the object."""

    image: Float32
    depth: Float32


def render_poses(
    mesh: Mesh, middle: Float64, poses: Poses, size: int, fov_deg: float, *, supersample: int = 1
) -> Renderings:
    """Render the mesh (on its own device) in several poses."""
    w2c = torch.from_numpy(poses.extrinsics(middle)).float().to(mesh.vertices.device)
    images = render_fast(mesh, Camera(w2c, fov_deg), size, ("mask", "color", "depth"), supersample=supersample)
    assert images.mask is not None and images.color is not None and images.depth is not None
    picture = torch.cat([images.color, images.mask[..., None]], dim=-1)
    return Renderings(picture.cpu().numpy(), images.depth.cpu().numpy())


def align(
    mesh: Mesh,
    middle: Float64,
    poses: Poses,
    picture: Picture,
    settings: RigidAlignmentSettings,
    *,
    blur_px: float,
    iterations: int,
    supersample: int = 1,
) -> tuple[Poses, Float64]:
    """Move every pose towards the picture; returns for each the best pose seen and its energy (N,), lower is better.

    Damped per pose (Levenberg 1944): a step that made things worse is taken back and tried shorter.
    """
    target = _blurred(picture.image, blur_px)
    scale = max(float((picture.image[..., 3] * picture.known).sum()), 1.0)
    best, best_energy = poses, np.full(len(poses), np.inf)
    normal, right = np.zeros((len(poses), 6, 6)), np.zeros((len(poses), 6))
    damping = np.full(len(poses), settings.damping)
    trial = poses
    for step in range(iterations + 1):
        views = render_poses(mesh, middle, trial, picture.size, picture.fov_deg, supersample=supersample)
        energy, a, b = normal_equations(views, trial, target, picture, blur_px, settings)
        energy = energy / scale
        better = energy < best_energy
        best_energy = np.where(better, energy, best_energy)
        pick = better[:, None, None]
        best = Poses(
            np.where(pick, trial.rotation, best.rotation), np.where(better[:, None], trial.centre, best.centre)
        )
        normal, right = np.where(pick, a, normal), np.where(better[:, None], b, right)
        factor = np.where(better, settings.damping_better, settings.damping_worse)
        damping = np.clip(damping * factor, 1e-4, 1e3)
        if step < iterations:
            trial = _moved(best, _solve(normal, right, damping), settings)
    return best, best_energy


def _solve(normal: Float64, right: Float64, damping: Float64) -> Float64:
    diagonal = np.einsum("nii->ni", normal)
    floor = 1e-3 * diagonal.mean(1, keepdims=True) + 1e-9
    system = normal + (damping[:, None] * diagonal + floor)[:, :, None] * np.eye(6)
    return np.linalg.solve(system, right[..., None])[..., 0]


def _moved(poses: Poses, step: Float64, settings: RigidAlignmentSettings) -> Poses:
    """Turn by step[:, :3] (radians, about the object's centre) and shift by step[:, 3:] times the distance."""
    turn, shift = step[:, :3], step[:, 3:]
    turn, shift = _shortened(turn, settings.longest_turn), _shortened(shift, settings.longest_shift)
    rotation = rotation_from_axis_angle(torch.from_numpy(turn)).numpy() @ poses.rotation
    return Poses(rotation, poses.centre + shift * poses.centre[:, 2:])


def _shortened(vectors: Float64, longest: float) -> Float64:
    """Vectors (N,3), those longer than ``longest`` made as long as that."""
    return vectors * np.minimum(1, longest / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12))


def _blurred(image: Float32, blur_px: float) -> Float32:
    if blur_px <= 0:
        return image
    return np.asarray(cv2.GaussianBlur(image, (0, 0), blur_px, borderType=cv2.BORDER_CONSTANT), np.float32)


def normal_equations(
    views: Renderings, poses: Poses, target: Float32, picture: Picture, blur_px: float, settings: RigidAlignmentSettings
) -> tuple[Float64, Float64, Float64]:
    """Energies (N,), and the matrices (N,6,6) and right-hand sides (N,6) of the steps of all poses.

    target: the picture's image, (S,S,4), blurred by ``blur_px``, as the renderings will be here.
    """
    count, size = len(views.image), picture.size
    focal = size * 0.5 / np.tan(np.radians(picture.fov_deg) / 2)
    energy, a, b = np.zeros(count), np.zeros((count, 6, 6)), np.zeros((count, 6))
    centre = np.ascontiguousarray(poses.centre)
    numbers = settings.color_weight, settings.huber, settings.inside_least

    def work(first: int, last: int, _row0: int, _row1: int) -> None:
        for n in range(first, last):
            image = _blurred(views.image[n], blur_px)
            gain = _gains(views.image[n], picture, settings)
            inside = (views.depth[n] > 0).astype(np.float32)
            depth = np.asarray(cv2.GaussianBlur(np.dstack([views.depth[n], inside]), (0, 0), blur_px + 1.0), np.float32)
            mean = float(views.depth[n].sum() / max(float(inside.sum()), 1.0)) or float(centre[n, 2])
            image[..., :3] *= gain
            energy[n] = accumulate(image, depth, mean, target, picture.known, centre[n], focal, *numbers, a[n], b[n])

    parallel_for(work, count, 1)
    return energy, a, b


def _gains(image: Float32, picture: Picture, settings: RigidAlignmentSettings) -> Float32:
    """How much brighter each colour is in the picture than in the rendering, where both show the object: (3,)."""
    both = (picture.known * np.minimum(picture.image[..., 3], image[..., 3]))[..., None]
    seen, drawn = picture.image[..., :3], image[..., :3]
    gain = (both * seen * drawn).sum((0, 1)) / np.maximum((both * drawn * drawn).sum((0, 1)), 1e-6)
    return np.clip(gain, settings.gain_least, settings.gain_most).astype(np.float32)
