"""A mesh's pose from a picture of it, by direct alignment: few renderings per pose, several poses at once.

The rendering of a pose is compared with the picture in four channels (colour premultiplied on black, and mask), both
blurred. To first order a rigid motion of the object moves every rendered pixel by the projection of its surface
point's motion, silhouettes included (the rim point's motion normal to the outline is the outline's), so all six
unknowns have one linear least-squares step: Gauss-Newton with the mean of both pictures' gradients (Lucas and Kanade
1981; Malis 2004, "efficient second-order minimisation").
"""

from __future__ import annotations

import os
from dataclasses import dataclass

os.environ.setdefault("NUMBA_DISABLE_CUDA", "1")  # probing for a GPU here would break hosts that fork GPU workers

import cv2
import numba
import numpy as np
import torch
from numpy.typing import NDArray

from v2m4.geometry.camera import Camera
from v2m4.geometry.mesh import Mesh
from v2m4.geometry.rotations import rotation_from_axis_angle
from v2m4.render import render_fast
from v2m4.render.threads import parallel_for

Floats = NDArray[np.float32]
COLOR_WEIGHT = 0.6  # of a squared colour difference, against 1 for the mask's
HUBER = 0.35  # differences beyond this count linearly: highlights, cast shadows, parts the mesh does not have


@dataclass(frozen=True)
class Poses:
    """N object poses before one camera: rotation (N,3,3), and centre (N,3), where the mesh's centre is. Float64."""

    rotation: NDArray[np.float64]
    centre: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.rotation)

    def __getitem__(self, index: NDArray[np.intp] | slice) -> Poses:
        return Poses(self.rotation[index], self.centre[index])

    @staticmethod
    def joined(parts: list[Poses]) -> Poses:
        """All poses of the parts, in order."""
        return Poses(np.concatenate([p.rotation for p in parts]), np.concatenate([p.centre for p in parts]))

    def extrinsics(self, middle: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N,4,4) world-to-camera matrices, for a mesh whose centre is at ``middle`` (3,) in its own coordinates."""
        out = np.tile(np.eye(4), (len(self), 1, 1))
        out[:, :3, :3] = self.rotation
        out[:, :3, 3] = self.centre - self.rotation @ middle
        return out

    @staticmethod
    def of(extrinsics: NDArray[np.float64], middle: NDArray[np.float64]) -> Poses:
        """The poses of world-to-camera matrices (N,4,4)."""
        rotation = extrinsics[:, :3, :3]
        return Poses(rotation, rotation @ middle + extrinsics[:, :3, 3])


@dataclass(frozen=True)
class Picture:
    """What is aligned to. image: (S,S,4) float32, colour premultiplied on black, and mask. known: (S,S) 1 where the
    frame shows it, 0 beyond the frame's border. fov_deg: field of view across it."""

    image: Floats
    known: Floats
    fov_deg: float

    @property
    def size(self) -> int:
        return self.image.shape[0]


@dataclass(frozen=True)
class Renderings:
    """N renderings: image (N,S,S,4) as in `Picture`, depth (N,S,S), 0 outside the object."""

    image: Floats
    depth: Floats


def render_poses(
    mesh: Mesh, middle: NDArray[np.float64], poses: Poses, size: int, fov_deg: float, *, supersample: int = 1
) -> Renderings:
    """Render the mesh (on its own device) in several poses."""
    w2c = torch.from_numpy(poses.extrinsics(middle)).float().to(mesh.vertices.device)
    images = render_fast(mesh, Camera(w2c, fov_deg), size, ("mask", "color", "depth"), supersample=supersample)
    assert images.mask is not None and images.color is not None and images.depth is not None
    picture = torch.cat([images.color, images.mask[..., None]], dim=-1)
    return Renderings(picture.cpu().numpy(), images.depth.cpu().numpy())


def align(
    mesh: Mesh,
    middle: NDArray[np.float64],
    poses: Poses,
    picture: Picture,
    *,
    blur_px: float,
    iterations: int,
    supersample: int = 1,
) -> tuple[Poses, NDArray[np.float64]]:
    """Move every pose towards the picture; returns for each the best pose seen and its energy (N,), lower is better.

    Damped per pose (Levenberg 1944): a step that made things worse is taken back and tried shorter.
    """
    target = _blurred(picture.image, blur_px)
    scale = max(float((picture.image[..., 3] * picture.known).sum()), 1.0)
    best, best_energy = poses, np.full(len(poses), np.inf)
    normal, right = np.zeros((len(poses), 6, 6)), np.zeros((len(poses), 6))
    damping = np.full(len(poses), 1e-2)
    trial = poses
    for step in range(iterations + 1):
        views = render_poses(mesh, middle, trial, picture.size, picture.fov_deg, supersample=supersample)
        energy, a, b = normal_equations(views, trial, target, picture, blur_px)
        energy = energy / scale
        better = energy < best_energy
        best_energy = np.where(better, energy, best_energy)
        pick = better[:, None, None]
        best = Poses(
            np.where(pick, trial.rotation, best.rotation), np.where(better[:, None], trial.centre, best.centre)
        )
        normal, right = np.where(pick, a, normal), np.where(better[:, None], b, right)
        damping = np.clip(np.where(better, damping * 0.3, damping * 10), 1e-4, 1e3)
        if step < iterations:
            trial = _moved(best, _solve(normal, right, damping))
    return best, best_energy


def _solve(
    normal: NDArray[np.float64], right: NDArray[np.float64], damping: NDArray[np.float64]
) -> NDArray[np.float64]:
    diagonal = np.einsum("nii->ni", normal)
    floor = 1e-3 * diagonal.mean(1, keepdims=True) + 1e-9
    system = normal + (damping[:, None] * diagonal + floor)[:, :, None] * np.eye(6)
    return np.linalg.solve(system, right[..., None])[..., 0]


def _moved(poses: Poses, step: NDArray[np.float64]) -> Poses:
    """Turn by step[:, :3] (radians, about the object's centre) and shift by step[:, 3:] times the distance."""
    turn, shift = step[:, :3], step[:, 3:]
    turn = turn * np.minimum(1, 0.35 / np.maximum(np.linalg.norm(turn, axis=1, keepdims=True), 1e-12))
    shift = shift * np.minimum(1, 0.25 / np.maximum(np.linalg.norm(shift, axis=1, keepdims=True), 1e-12))
    rotation = rotation_from_axis_angle(torch.from_numpy(turn)).numpy() @ poses.rotation
    return Poses(rotation, poses.centre + shift * poses.centre[:, 2:])


def _blurred(image: Floats, blur_px: float) -> Floats:
    if blur_px <= 0:
        return image
    return np.asarray(cv2.GaussianBlur(image, (0, 0), blur_px, borderType=cv2.BORDER_CONSTANT), np.float32)


def normal_equations(
    views: Renderings, poses: Poses, target: Floats, picture: Picture, blur_px: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Energies (N,), and the matrices (N,6,6) and right-hand sides (N,6) of the steps of all poses.

    target: the picture's image, (S,S,4), blurred by ``blur_px``, as the renderings will be here.
    """
    count, size = len(views.image), picture.size
    focal = size * 0.5 / np.tan(np.radians(picture.fov_deg) / 2)
    energy, a, b = np.zeros(count), np.zeros((count, 6, 6)), np.zeros((count, 6))
    centre = np.ascontiguousarray(poses.centre)

    def work(first: int, last: int, _row0: int, _row1: int) -> None:
        for n in range(first, last):
            image = _blurred(views.image[n], blur_px)
            gain = _gains(views.image[n], picture)
            inside = (views.depth[n] > 0).astype(np.float32)
            depth = np.asarray(cv2.GaussianBlur(np.dstack([views.depth[n], inside]), (0, 0), blur_px + 1.0), np.float32)
            mean = float(views.depth[n].sum() / max(float(inside.sum()), 1.0)) or float(centre[n, 2])
            image[..., :3] *= gain
            energy[n] = _accumulate(image, depth, mean, target, picture.known, centre[n], focal, a[n], b[n])

    parallel_for(work, count, 1)
    return energy, a, b


def _gains(image: Floats, picture: Picture) -> Floats:
    """How much brighter each colour is in the picture than in the rendering, where both show the object: (3,)."""
    both = (picture.known * np.minimum(picture.image[..., 3], image[..., 3]))[..., None]
    seen, drawn = picture.image[..., :3], image[..., :3]
    gain = (both * seen * drawn).sum((0, 1)) / np.maximum((both * drawn * drawn).sum((0, 1)), 1e-6)
    return np.clip(gain, 0.5, 2.0).astype(np.float32)


@numba.njit("f8(f4[:,:,::1],f4[:,:,::1],f8,f4[:,:,::1],f4[:,::1],f8[::1],f8,f8[:,::1],f8[::1])", nogil=True, cache=True)
def _accumulate(
    image: Floats,
    depth: Floats,
    mean_depth: float,
    target: Floats,
    known: Floats,
    centre: NDArray[np.float64],
    focal: float,
    a: NDArray[np.float64],
    b: NDArray[np.float64],
) -> float:
    """Add one view's normal equations to a (6,6) and b (6,), and return its energy.

    image and target (S,S,4), depth (S,S,2): the blurred depth and inside-ness, whose ratio is the depth of the
    nearest surface also a little beyond the silhouette, where the mask's residuals are.
    """
    size = image.shape[0]
    energy = 0.0
    g = np.zeros(6)
    for y in range(size):
        up, down = max(y - 1, 0), min(y + 1, size - 1)
        for x in range(size):
            k = known[y, x]
            if k == 0.0 or (image[y, x, 3] < 1e-4 and target[y, x, 3] < 1e-4):
                continue
            left, right = max(x - 1, 0), min(x + 1, size - 1)
            z = depth[y, x, 0] / depth[y, x, 1] if depth[y, x, 1] > 0.02 else mean_depth
            px = (x + 0.5 - 0.5 * size) / focal
            py = (y + 0.5 - 0.5 * size) / focal
            s = focal / z
            # The surface point relative to the centre, about which the object turns.
            dx, dy, dz = px * z - centre[0], py * z - centre[1], z - centre[2]
            for c in range(4):
                r = np.float64(target[y, x, c]) - image[y, x, c]
                w = k if c == 3 else k * COLOR_WEIGHT
                size_r = abs(r)
                if size_r > HUBER:
                    energy += w * HUBER * (2 * size_r - HUBER)
                    w *= HUBER / size_r
                else:
                    energy += w * r * r
                ix = 0.25 * (image[y, right, c] - image[y, left, c] + target[y, right, c] - target[y, left, c])
                iy = 0.25 * (image[down, x, c] - image[up, x, c] + target[down, x, c] - target[up, x, c])
                # Change of brightness with the point's motion along each axis.
                mx, my = ix * s, iy * s
                mz = -(mx * px + my * py)
                g[0] = mz * dy - my * dz
                g[1] = mx * dz - mz * dx
                g[2] = my * dx - mx * dy
                g[3], g[4], g[5] = mx * centre[2], my * centre[2], mz * centre[2]
                for i in range(6):
                    b[i] -= w * g[i] * r
                    for j in range(i, 6):
                        a[i, j] += w * g[i] * g[j]
    for i in range(6):
        for j in range(i):
            a[i, j] = a[j, i]
    return energy
