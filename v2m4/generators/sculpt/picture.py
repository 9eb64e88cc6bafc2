"""The square of the picture that the network looks at."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from v2m4.arrays import Bytes, Float64, Real
from v2m4.errors import V2M4Error
from v2m4.generators.sculpt.network import PICTURE, network_input
from v2m4.geometry.camera import Camera

_ANTIALIAS = 0.4  # standard deviation of the blur before a picture is shrunk, in pixels of the result, as in training
MARGIN = 1.2  # side of the square over the longer side of the object's box, as in training


@dataclass(frozen=True)
class Square:
    """A square part of an (S,S) picture. middle: (2,) and width: its centre and side in picture sides, the picture's
    corner being (0, 0)."""

    middle: Float64
    width: float

    @property
    def ray_width(self) -> float:
        """Its side in the camera's plane at depth 1; one over it is ``away`` of `network`."""
        return self.width / Camera.identity().focal

    def slopes(self, at: Real) -> Float64:
        """x and y (…,2) of the rays (x, y, 1) through points (…,2) of the square in [0,1]."""
        slopes: Float64 = (self.middle - 0.5 + (at - 0.5) * self.width) / Camera.identity().focal
        return slopes

    def place(self, slopes: Real) -> Real:
        """The inverse of `slopes`."""
        at: Real = (slopes * Camera.identity().focal - (self.middle - 0.5)) / self.width + 0.5
        return at

    def cut(self, picture: Real, side: int) -> Real:
        """(side,side,C) float32 of the picture (S,S,C), empty where the square leaves it."""
        whole = picture.shape[0]
        scale = side / (self.width * whole)
        corner = (self.middle - self.width / 2) * whole
        # cv2's pixel centres are at integers, ours at halves.
        shift = -corner * scale + 0.5 * scale - 0.5
        matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
        source: Real = picture.astype(np.float32)
        if scale < 1:  # several pixels fall on one: blurred first, or they would alias
            source = np.asarray(cv2.GaussianBlur(source, (0, 0), _ANTIALIAS / scale), np.float32)
        return np.asarray(cv2.warpAffine(source, matrix, (side, side), flags=cv2.INTER_LINEAR), np.float32)


def square_around(alpha: Bytes) -> Square:
    """The square around the object of an (S,S) uint8 opacity. Raises `V2M4Error` when there is none."""
    inside = alpha > 127
    if not inside.any():
        raise V2M4Error(
            "The picture has no foreground (no pixel is more than half opaque). "
            "Choose another keyframe, or another matting method that keeps the object."
        )
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    low = np.array([columns[0], rows[0]], np.float64)
    high = np.array([columns[-1], rows[-1]], np.float64) + 1
    return Square((low + high) / 2 / len(alpha), MARGIN * float((high - low).max()) / len(alpha))


def input_of(picture: Bytes, square: Square) -> Tensor:
    """(1,CHANNELS,PICTURE,PICTURE) network input from an (S,S,4) picture."""
    rgba = picture.astype(np.float32) / 255
    # Premultiplied, so that the colours under transparent pixels do not bleed into the object.
    cut = square.cut(np.concatenate([rgba[..., :3] * rgba[..., 3:], rgba[..., 3:]], axis=-1), PICTURE)
    alpha = cut[..., 3:]
    color = cut[..., :3] / np.maximum(alpha, 1e-3)
    at = (np.arange(PICTURE) + 0.5) / PICTURE
    slopes = square.slopes(np.stack(np.meshgrid(at, at), axis=-1))
    tensors = (
        torch.from_numpy(np.ascontiguousarray(a, np.float32)).permute(2, 0, 1)[None] for a in (color, alpha, slopes)
    )
    return network_input(*tensors).clamp(-3, 3)
