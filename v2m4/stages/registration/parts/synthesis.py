"""Small pictures of a posed mesh and of the frames, made alike so that they can be subtracted.

A picture holds colour times coverage and coverage, so both what an object looks like and where it ends tell.
Light is one ambient and one direction, found in the frame whose pose is known: so brightness tells of turns in depth.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass

import cv2
import numpy as np

from v2m4.arrays import Bytes, Float32, Float64, Int64
from v2m4.geometry.camera import Camera
from v2m4.render.threads import parallel_for
from v2m4.stages.registration.parts.synthesis_numba import draw, shrink

_WHOLE = 0.9  # coverage of a pixel that shows nothing but the object


@dataclass(frozen=True)
class Windows:
    """The squares of the frames that are compared. corners: (T,2) left and top, and side: in sides of the picture."""

    corners: Float64
    side: float

    @staticmethod
    def around(boxes: Float64, margin: float) -> Windows:
        """Squares of one size around boxes (T,4) (left, top, right, bottom), with ``margin`` of its side all around;
        a box of zeros, where nothing is seen, gets the square of the nearest that is not."""
        seen = np.flatnonzero((boxes[:, 2:] > boxes[:, :2]).all(axis=1))
        if not len(seen):
            return Windows(np.zeros((len(boxes), 2)), 1.0)
        nearest = seen[np.abs(np.arange(len(boxes))[:, None] - seen[None]).argmin(axis=1)]
        low, high = boxes[nearest, :2], boxes[nearest, 2:]
        side = float((high - low).max() * (1 + 2 * margin))
        return Windows((low + high) / 2 - side / 2, side)


def frame_picture(rgba: Bytes, corner: Float64, width: float, side: int) -> Float32:
    """(side,side,4) what `Synthesis.pictures` would make if the mesh looked exactly like the frame (S,S,4), of the
    square with ``corner`` (2,) and ``width``, in sides of the frame."""
    alpha = rgba[..., 3:].astype(np.float32) / 255
    whole = np.concatenate([rgba[..., :3].astype(np.float32) / 255 * alpha, alpha], axis=-1)
    size, fine = len(rgba), 2 * side
    step = width * size / fine  # of the frame's pixels, per fine pixel
    if step > 1:  # first blurred to that resolution
        whole = cv2.GaussianBlur(
            whole, (0, 0), 0.5 * float(np.sqrt(step**2 - 1)) + 1e-3, borderType=cv2.BORDER_CONSTANT
        )
    x, y = (place * size + (np.arange(fine) + 0.5) * step - 0.5 for place in corner)
    grid = np.meshgrid(x.astype(np.float32), y.astype(np.float32))
    taken = cv2.remap(whole, grid[0], grid[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    out = np.empty((1, side, side, 4), np.float32)
    shrink(np.ascontiguousarray(taken, dtype=np.float32)[None], 0, 1, out)
    return out[0]


class Synthesis:
    """Draws one mesh. faces: (F,3). albedo: (V,3) sRGB. light: (3,4) as in `draw`. width: of what pictures show, in
    sides of the whole picture. side: of pictures, in pixels."""

    def __init__(self, faces: Int64, albedo: Float64, light: Float64, width: float, side: int) -> None:
        self.faces = np.ascontiguousarray(faces, np.int32)
        self.albedo = np.ascontiguousarray(albedo, np.float32)
        self.light = np.ascontiguousarray(light, np.float32)
        self.width, self.side = width, side

    def lit(self, light: Float64) -> Synthesis:
        """The same in another light (3,4)."""
        out = copy(self)
        out.light = np.ascontiguousarray(light, np.float32)
        return out

    def pictures(self, vertices: Float64, corners: Float64) -> Float32:
        """(B,side,side,4) of poses (B,V,3) in camera space, each of the square whose corner (B,2) is given."""
        posed = np.ascontiguousarray(vertices, np.float32)
        places = np.ascontiguousarray(corners, np.float64)
        fine = np.empty((len(posed), 2 * self.side, 2 * self.side, 4), np.float32)
        out = np.empty((len(posed), self.side, self.side, 4), np.float32)
        focal, scale = Camera.identity().focal, 2 * self.side / self.width

        def work(view0: int, view1: int, _row0: int, _row1: int) -> None:
            draw(posed, self.faces, self.albedo, self.light, focal, places, scale, view0, view1, fine)
            shrink(fine, view0, view1, out)

        parallel_for(work, len(posed), 1)
        return out


def middles(coverage: Float32) -> Float64:
    """(B,2) mean column and row of pictures' coverage (B,S,S); of empty ones the picture's own."""
    places = np.arange(coverage.shape[1]) + 0.5
    weight = coverage.sum(axis=(1, 2), dtype=np.float64)[:, None]
    sums = np.stack([coverage.sum(axis=1) @ places, coverage.sum(axis=2) @ places], axis=1)
    return np.where(weight > 0, sums / np.where(weight > 0, weight, 1), coverage.shape[1] / 2)


def fitted_light(
    faces: Int64, albedo: Float64, vertices: Float64, target: Float32, corner: Float64, width: float, hold: float
) -> Float64:
    """(3,4) the light under which the mesh, posed (V,3), looks most like ``target``, a `frame_picture`.

    hold: how strongly it is drawn to a light that changes no colour, in shares of the pixels.
    """
    side = len(target)

    def drawn(light: Float64) -> Float32:
        return Synthesis(faces, albedo, light, width, side).pictures(vertices[None], corner[None])[0]

    # 1. The picture under each of the four lights by itself; negative light is drawn as its opposite.
    unit = [np.tile(np.eye(4)[axis], (3, 1)) for axis in range(4)]
    basis = np.stack([drawn(light)[..., :3] - drawn(-light)[..., :3] for light in unit], axis=-1)  # (S,S,3,4)
    inside = (target[..., 3] > _WHOLE) & (drawn(unit[0])[..., 3] > _WHOLE)
    # 2. Each channel's mixture of them.
    out = np.tile(np.eye(4)[0], (3, 1))
    if not inside.any():
        return out
    for channel in range(3):
        a, b = (x[inside][:, channel].astype(np.float64) for x in (basis, target))
        weight = hold * float((a[:, 0] ** 2).sum()) + 1e-9
        out[channel] = np.linalg.solve(a.T @ a + weight * np.eye(4), a.T @ b + weight * np.eye(4)[0])
    return out
