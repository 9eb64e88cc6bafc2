"""The fast camera search: only the viewing direction is searched, the rest follows from the mask.

A pinhole camera may be turned about its own centre without seeing anything new. So the frame is first resampled as a
camera would see it that looks straight at the mask's centroid and is zoomed on the object. Before that camera, a
viewing direction leaves a distance and a sideways shift, which the mask's area and centroid give in closed form, and
a turn about the optical axis, which is a shift in polar coordinates: all angles are scored at once by correlation.
The best directions are then aligned directly (`rigid_alignment`), coarse to fine, fewer and fewer of them.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from v2m4.arrays import Float32, Float64, Mask
from v2m4.geometry.camera import Camera
from v2m4.geometry.cleanup import simplify
from v2m4.geometry.mesh import Mesh
from v2m4.geometry.neighbours import Neighbours
from v2m4.geometry.sampling import fibonacci_directions
from v2m4.render import render_fast
from v2m4.render.vertex_colors import vertex_colored
from v2m4.settings import LowPolySettings, RigidSearchSettings
from v2m4.stages.camera.rigid_alignment import Picture, Poses, align, render_poses


@dataclass(frozen=True)
class CropCamera:
    """A camera that looks straight at the object. turn: (3,3), from the video camera's axes to its own."""

    frame: Float32
    turn: Float64
    fov_deg: float
    frame_fov_deg: float

    @property
    def native_size(self) -> int:
        """How many of the frame's pixels its picture is across."""
        focal, frame_focal = (math.tan(math.radians(f) / 2) for f in (self.frame_fov_deg, self.fov_deg))
        return round(self.frame.shape[0] * frame_focal / focal)

    def picture(self, size: int) -> Picture:
        """What it sees, resampled with area weights from the frame (S,S,4; colour premultiplied)."""
        side = self.frame.shape[0]
        focal, frame_focal = (0.5 / math.tan(math.radians(f) / 2) for f in (self.fov_deg, self.frame_fov_deg))
        # As many samples per pixel as frame pixels fall into one, else thin parts would be missed.
        fine = size * min(8, max(1, round(side * frame_focal / (size * focal))))
        inner = np.array([[focal * fine, 0, fine / 2 - 0.5], [0, focal * fine, fine / 2 - 0.5], [0, 0, 1]])
        outer = np.array([[frame_focal * side, 0, side / 2 - 0.5], [0, frame_focal * side, side / 2 - 0.5], [0, 0, 1]])
        back = outer @ self.turn.T @ np.linalg.inv(inner)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        seen = cv2.warpPerspective(self.frame, back, (fine, fine), flags=flags)
        known = cv2.warpPerspective(np.ones((side, side), np.float32), back, (fine, fine), flags=flags)
        if fine != size:
            seen, known = (cv2.resize(i, (size, size), interpolation=cv2.INTER_AREA) for i in (seen, known))
        return Picture(np.ascontiguousarray(seen), (known > 0.99).astype(np.float32), self.fov_deg)

    def camera(self, extrinsics: Float64) -> Camera:
        """The video camera(s) that correspond to extrinsics (…,4,4) before this one."""
        turn = np.eye(4)
        turn[:3, :3] = self.turn.T
        return Camera(torch.from_numpy(turn @ extrinsics).float(), self.frame_fov_deg)

    def poses(self, cameras: Camera, middle: Float64) -> Poses:
        """The poses before this camera that are those before the video camera(s) (…,4,4); see `Poses` for middle."""
        turn = np.eye(4)
        turn[:3, :3] = self.turn
        w2c = cameras.world_to_camera.detach().cpu().numpy().astype(np.float64).reshape(-1, 4, 4)
        return Poses.of(turn @ w2c, middle)


def crop_around(frame: Float32, fov_deg: float, settings: RigidSearchSettings) -> CropCamera:
    """The camera that looks straight at the object in a frame (S,S,4) float32, colour premultiplied on black."""
    side = frame.shape[0]
    focal = 0.5 / math.tan(math.radians(fov_deg) / 2)
    rows, columns = np.nonzero(frame[..., 3] > 0.5)
    rays = np.stack([(columns + 0.5) / side - 0.5, (rows + 0.5) / side - 0.5, np.full(len(rows), focal)], axis=1)
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    axis = rays.mean(0) / np.linalg.norm(rays.mean(0))
    turn = looking_at_ray(axis)
    local = rays @ turn.T
    reach = float(np.max(np.linalg.norm(local[:, :2], axis=1) / np.maximum(local[:, 2], 1e-3)))
    if cut_sides(frame, settings.cut_share):
        reach *= settings.cut_room
    return CropCamera(frame, turn, math.degrees(2 * math.atan(0.5 * max(reach, 1e-3) / settings.margin)), fov_deg)


def looking_along(directions: Float64) -> Float64:
    """Rotations (N,3,3), world to camera, that look along (N,3), x as horizontal as it goes (world's up is +z)."""
    x = np.stack([directions[:, 1], -directions[:, 0], np.zeros(len(directions))], axis=1)
    flat = np.linalg.norm(x, axis=1, keepdims=True)
    x = np.where(flat > 1e-9, x / np.maximum(flat, 1e-12), [1.0, 0.0, 0.0])
    return np.stack([x, np.cross(directions, x), directions], axis=1)


def bounding_sphere(mesh: Mesh) -> tuple[Float64, float]:
    """Centre (3,) of the mesh's box, and the radius of the sphere around it that holds all vertices."""
    vertices = mesh.vertices.detach().cpu().numpy().astype(np.float64)
    middle = (vertices.min(0) + vertices.max(0)) / 2
    return middle, float(np.linalg.norm(vertices - middle, axis=1).max())


def low_poly(mesh: Mesh, settings: LowPolySettings) -> Mesh:
    """The mesh for renderings too small to show more: texture averaged to vertex colours, few faces.

    A mesh of few, large faces keeps its texture.
    """
    if len(mesh.faces) >= settings.vertex_colors_from:
        mesh = vertex_colored(mesh)
    return _simplified(mesh, settings) if len(mesh.faces) > 2 * settings.faces else mesh


def _simplified(mesh: Mesh, settings: LowPolySettings) -> Mesh:
    device, vertices = mesh.vertices.device, mesh.vertices.detach().cpu()
    points, faces = simplify(
        vertices.numpy(), mesh.faces.cpu().numpy(), settings.faces, aggressiveness=settings.aggressiveness
    )
    kept = torch.from_numpy(np.ascontiguousarray(points, np.float32))
    colors = None if mesh.colors is None else mesh.colors.cpu()[Neighbours(vertices).nearest(kept)]
    return Mesh(kept, torch.from_numpy(faces), colors=colors).to(device)


def _moments(mask: Float32) -> tuple[Float64, Float64]:
    """Areas (N,) as shares of the picture, and centroids (N,2), x and y from the middle in picture sides."""
    size = mask.shape[-1]
    place = (np.arange(size) + 0.5) / size - 0.5
    area = np.maximum(mask.sum((1, 2)), 1e-6)
    x, y = (mask.sum(1) @ place) / area, (mask.sum(2) @ place) / area
    return area / size**2, np.stack([x, y], axis=1)


def _masks(mesh: Mesh, middle: Float64, poses: Poses, size: int, fov_deg: float) -> Float32:
    w2c = torch.from_numpy(poses.extrinsics(middle)).float().to(mesh.vertices.device)
    parts = [render_fast(mesh, Camera(w, fov_deg), size, ("mask",)).mask for w in w2c.split(256)]
    return torch.cat([p for p in parts if p is not None]).cpu().numpy()


def fit_distance(poses: Poses, mask: Float32, picture: Picture, settings: RigidSearchSettings) -> Poses:
    """Move poses sideways and along the axis so that their masks (N,S,S) get the picture's area and centroid."""
    focal = 0.5 / math.tan(math.radians(picture.fov_deg) / 2)
    area, centroid = _moments(mask)
    (wanted,), (goal,) = _moments(picture.image[None, ..., 3] * picture.known)
    shrink = np.sqrt(area / wanted)
    centre = poses.centre.copy()
    centre[:, 2] *= np.clip(shrink, settings.shrink_least, settings.shrink_most)
    # The centroid keeps its offset from the centre's projection, but for the change of size.
    drawn = focal * poses.centre[:, :2] / poses.centre[:, 2:]
    offset = (centroid - drawn) / shrink[:, None]
    centre[:, :2] = (goal - offset) * centre[:, 2:] / focal
    return Poses(poses.rotation, centre)


def polar(images: Float32, centres: Float64, zooms: Float64, settings: RigidSearchSettings) -> Float32:
    """Images (N,S,S,C) about their centres (N,2) (in picture sides from the middle), magnified: (N,radii,angles,C)."""
    angles, radii = settings.angles, settings.radii
    size = images.shape[1]
    turn = np.arange(angles) * (2 * np.pi / angles)
    radius = (np.arange(radii) + 0.5) / radii * (settings.margin + settings.rings_beyond)
    grid = radius[:, None, None] * np.stack([np.cos(turn), np.sin(turn)], axis=-1)
    out = np.empty((len(images), radii, angles, images.shape[-1]), np.float32)
    for n, image in enumerate(images):
        place = ((grid * zooms[n] + centres[n] + 0.5) * size - 0.5).astype(np.float32)
        out[n] = cv2.remap(image, place[..., 0], place[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    return out


def angle_scores(target: Float32, views: Float32, settings: RigidSearchSettings) -> Float64:
    """How alike target (R,A,5) and views (N,R,A,4), turned by each of A angles, are: (N,A), higher is better.

    Mask overlap (intersection over union) plus the weighted correlation of the colours' variation inside the mask, both
    where the target's fifth channel, what the frame shows at all, is 1.
    """
    angles = target.shape[1]
    weight = (np.arange(target.shape[0]) + 0.5)[:, None, None]  # (R,1,1), a ring's share of the area
    known = target[..., 4:].astype(np.float64)  # (R,A,1)
    target = target[..., :4] * target[..., 4:]

    def varying(x: Float32) -> Float64:
        """Colours (…,R,A,3) less their mean inside the mask."""
        mask = x[..., 3:]
        mean = (weight * x[..., :3]).sum((-3, -2), keepdims=True) / np.maximum(
            (weight * mask).sum((-3, -2), keepdims=True), 1e-6
        )
        return x[..., :3] - mask * mean

    def spectrum(x: Float64) -> NDArray[np.complex128]:
        return np.fft.rfft(x, axis=-2)

    def against(a: Float64, turned: NDArray[np.complex128]) -> Float64:
        """(N,A) sums over rings and channels of (R,A,C) times each view, turned by every angle: a circular correlation,
        which is a product of spectra."""
        product = (spectrum(weight * a)[None] * turned.conj()).sum((-3, -1))
        return np.fft.irfft(product, n=angles, axis=-1)

    # 1. Intersection over union of the masks.
    mask = spectrum(views[..., 3:].astype(np.float64))
    both = against(target[..., 3:].astype(np.float64), mask)
    area = float((weight * target[..., 3:]).sum())
    overlap = both / np.maximum(area + against(known, mask) - both, 1e-6)
    # 2. Normalised correlation of the colours' variation, each view's energy taken where the frame is known.
    a, b = varying(target), varying(views)
    plain = settings.plain * area
    energy = float((weight * a * a).sum()) + plain
    own_energy = np.maximum(against(known, spectrum((b * b).sum(-1, keepdims=True))), 0) + plain
    return overlap + settings.color_weight * against(a, spectrum(b)) / np.sqrt(energy * own_energy)


@dataclass(frozen=True)
class Hypothesis:
    """Where the whole object is, if the frame's border cuts it: larger by ``scale``, and its centroid shifted by
    ``shift`` (x, y), in sides of the crop."""

    scale: float
    shift: tuple[float, float]


def hypotheses(crop: CropCamera, settings: RigidSearchSettings) -> list[Hypothesis]:
    """The object is as it is seen; where the frame's border cuts it, it may also reach beyond by various amounts."""
    sides = cut_sides(crop.frame, settings.cut_share)
    found = [Hypothesis(1.0, (0.0, 0.0))]
    ways = [*sides, (sum(s[0] for s in sides), sum(s[1] for s in sides))] if len(sides) > 1 else sides
    for x, y in ways:
        found += [Hypothesis(g.scale, (x * g.shift, y * g.shift)) for g in settings.occlusion.guesses]
    return found


def cut_sides(frame: Float32, cut_share: float) -> list[tuple[int, int]]:
    """Outward directions (x, y) of the sides where the frame's border cuts the object: it is on more than
    ``cut_share`` of the side."""
    alpha = frame[..., 3] > 0.5
    edges = {(-1, 0): alpha[:, 0], (1, 0): alpha[:, -1], (0, -1): alpha[0], (0, 1): alpha[-1]}
    return [side for side, line in edges.items() if line.mean() > cut_share]


def _placed(poses: Poses, hypothesis: Hypothesis, picture: Picture) -> Poses:
    """Nearer by the scale, and seen where the shift says: the camera turns, so the object looks the same."""
    focal = 0.5 / math.tan(math.radians(picture.fov_deg) / 2)
    axis = np.array([hypothesis.shift[0] / focal, hypothesis.shift[1] / focal, 1.0])
    turn = looking_at_ray(axis / np.linalg.norm(axis)).T
    return Poses(turn @ poses.rotation, poses.centre @ turn.T / hypothesis.scale)


def looking_at_ray(axis: Float64) -> Float64:
    """The rotation (3,3) to a camera that looks along the unit vector (3,), its picture's vertical kept upright."""
    across = np.cross([0.0, 1.0, 0.0], axis)
    across /= np.linalg.norm(across)
    return np.stack([across, np.cross(axis, across), axis])


def _turned(poses: Poses, angle: Float64) -> Poses:
    """Turned clockwise as seen in the picture, by angles (N,) about the optical axis."""
    c, s, zero, one = np.cos(angle), np.sin(angle), np.zeros_like(angle), np.ones_like(angle)
    about = np.stack([c, -s, zero, s, c, zero, zero, zero, one], axis=-1).reshape(-1, 3, 3)
    return Poses(about @ poses.rotation, (about @ poses.centre[..., None])[..., 0])


def upright(rotation: Float64, limit_deg: float) -> Mask:
    """Which cameras, (…,3,3) world to camera, are rolled by at most so much. Looking along z no roll is too much."""
    limit = math.sin(math.radians(min(limit_deg, 90)))
    level = np.abs(rotation[..., 0, 2]) <= limit + 1e-9
    return level & (rotation[..., 1, 2] <= limit) if limit_deg < 180 else np.ones_like(level)


def coarse_poses(
    mesh: Mesh, crop: CropCamera, settings: RigidSearchSettings, *, keep: int
) -> Generator[float, None, tuple[Poses, Float64]]:
    """The most promising poses before the crop's camera, best first, and their scores; yields the share done.

    keep: how many, twice as many where the frame's border cuts the object. D directions, A angles, R radii, H
    hypotheses about what the border hides.
    """
    # 1. All viewing directions, so far away that the whole mesh is in the picture: (D,3,3), (D,3).
    middle, radius = bounding_sphere(mesh)
    picture = crop.picture(settings.coarse_size)
    focal = 0.5 / math.tan(math.radians(picture.fov_deg) / 2)
    directions, angles = settings.directions, settings.angles
    poses = Poses(
        looking_along(fibonacci_directions(directions)),
        np.tile([0.0, 0.0, radius * focal / settings.margin], (directions, 1)),
    )
    # 2. Distance and shift from the masks' areas and centroids.
    masks = _masks(mesh, middle, poses, settings.coarse_size // 2, picture.fov_deg)  # (D,S/2,S/2)
    poses = fit_distance(poses, masks, picture, settings)
    yield 0.2
    # 3. The frame in polar coordinates about the object's centroid, once per hypothesis: (R,A,5) each.
    shown = np.dstack([picture.image, picture.known])[None]  # (1,S,S,5)
    (wanted,), goal = _moments(picture.image[None, ..., 3] * picture.known)
    cases = hypotheses(crop, settings)
    targets = [polar(shown, goal + np.array(h.shift), np.array([h.scale]), settings)[0] for h in cases]
    # 4. Every direction's rendering, unrolled likewise and scored at all angles at once: (H,D,A).
    scores = []
    parts = np.array_split(np.arange(directions), max(1, directions // 128))
    for done, part in enumerate(parts):
        views = render_poses(mesh, middle, poses[part], settings.coarse_size, picture.fov_deg).image
        area, centroid = _moments(views[..., 3])
        unrolled = polar(views, centroid, np.sqrt(area / wanted), settings)
        scores.append(np.stack([angle_scores(target, unrolled, settings) for target in targets]))
        yield 0.2 + 0.8 * (done + 1) / len(parts)
    # 5. All H x D x A poses; of those rolled little enough, the best that differ from each other.
    turn = np.arange(angles) * (2 * np.pi / angles)
    every = _turned(Poses(poses.rotation.repeat(angles, 0), poses.centre.repeat(angles, 0)), np.tile(turn, directions))
    all_poses = Poses.joined([_placed(every, h, picture) for h in cases])
    score = np.concatenate(scores, axis=1).reshape(-1)
    score = np.where(upright(crop.turn.T @ all_poses.rotation, settings.roll_limit_deg), score, -np.inf)
    keep = keep if len(cases) == 1 else 2 * keep  # more is unknown
    order = _distinct(all_poses.rotation, score, keep, math.radians(settings.apart_deg))
    return all_poses[order], score[order]


def _distinct(rotation: Float64, score: Float64, keep: int, apart: float) -> NDArray[np.intp]:
    """Indices of the best scores whose rotations (N,3,3) differ by at least ``apart`` radians, best first."""
    chosen: list[int] = []
    score = score.copy()
    for _ in range(keep):
        best = int(np.argmax(score))
        if not np.isfinite(score[best]):
            break
        chosen.append(best)
        trace = np.einsum("nij,ij->n", rotation, rotation[best])
        score[trace > 1 + 2 * math.cos(apart)] = -np.inf
    return np.array(chosen, dtype=np.intp)


def refine_poses(
    mesh: Mesh, crop: CropCamera, poses: Poses, settings: RigidSearchSettings
) -> Generator[float, None, tuple[Poses, Float64]]:
    """Align the poses coarse to fine, dropping the worse ones; returns the rest, best first, and their energies."""
    middle, _ = bounding_sphere(mesh)
    simple = low_poly(mesh, settings.low_poly)
    alignment = settings.alignment
    energy = np.zeros(len(poses))
    levels = alignment.first, alignment.second, alignment.third, alignment.last
    for done, level in enumerate(levels):
        # A blown-up frame is softer than a rendering.
        picture = crop.picture(min(level.size, max(alignment.least_size, crop.native_size)))
        poses, energy = align(
            simple if level.size < alignment.low_poly_below else mesh,
            middle,
            poses[: level.keep],
            picture,
            alignment,
            blur_px=level.blur_px,
            iterations=level.iterations,
        )
        order = _distinct(poses.rotation, -energy, len(poses), math.radians(alignment.apart_deg))
        poses, energy = poses[order], energy[order]
        yield (done + 1) / len(levels)
    return poses, energy
