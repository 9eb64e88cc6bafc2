"""The Frechet video distance as the paper measures it: clips of 32 frames, prepared for I3D, compared as two Gaussians.

Unterthiner et al. 2019, with StyleGAN-V's detector (Skorokhodov et al. 2022). All windows of all videos form one set,
and there is one distance between two sets. A handful of clips biases it upwards: say their number with the value.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

# The measure's protocol: frames of a window, side of a frame in pixels, and of what the detector sees.
WINDOW, FRAME_SIZE, DETECTOR_SIZE = 32, 512, 224


def windows(lengths: Sequence[int], window: int = WINDOW) -> Iterator[tuple[int, int]]:
    """(video, first frame) of every window without overlap; what is left at the end of a video is dropped."""
    for video, length in enumerate(lengths):
        for start in range(0, length - window + 1, window):
            yield video, start


def resize_frame(picture: NDArray[np.uint8], size: int = FRAME_SIZE) -> NDArray[np.uint8]:
    """(size,size,3) of an (H,W,3) uint8 picture, whatever its aspect; bilinear, filtered where it shrinks (Pillow)."""
    with Image.fromarray(picture) as image:
        return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR))


def prepare_clip(frames: Tensor, size: int = DETECTOR_SIZE) -> Tensor:
    """(3,T,size,size) in [-1,1] of a clip (3,T,H,W) in [0,1]: the shorter side to ``size``, then the middle.

    Bilinear without a filter, as the detector was fed when its published distances were measured.
    """
    height, width = frames.shape[-2:]
    scale = size / min(height, width)
    target = (size, math.ceil(width * scale)) if height < width else (math.ceil(height * scale), size)
    images = functional.interpolate(frames.transpose(0, 1), size=target, mode="bilinear", align_corners=False)
    top, left = ((n - size) // 2 for n in target)
    return (images[..., top : top + size, left : left + size].transpose(0, 1) - 0.5) * 2


def frechet_distance(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Frechet distance of the Gaussians with the means and covariances (divisor n - 1) of two sets (N,D), (M,D).

    With A, B = centred features / sqrt(n - 1), tr (Ca Cb)^(1/2) is the sum of the singular values of A B^T: exact
    also where there are fewer clips than features. A set of one clip has no spread: then only the means count.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    means = float(((a.mean(axis=0) - b.mean(axis=0)) ** 2).sum())
    if len(a) < 2 or len(b) < 2:
        return means
    spread_a, spread_b = ((x - x.mean(axis=0)) / math.sqrt(len(x) - 1) for x in (a, b))
    # Any root of the covariances will do: triangular ones (min(N,D), D) spare the N x M of many clips.
    root_a, root_b = (np.asarray(np.linalg.qr(spread, mode="r")) for spread in (spread_a, spread_b))
    shared = np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum()
    return max(0.0, means + float((spread_a**2).sum() + (spread_b**2).sum() - 2 * shared))


def clip_tensor(pictures: Sequence[NDArray[np.uint8]]) -> Tensor:
    """(3,T,S,S) in [0,1] of T pictures (H,W,3), each resized to the square that the protocol asks for."""
    stack = np.stack([resize_frame(picture) for picture in pictures])  # (T, S, S, 3)
    return torch.from_numpy(stack).permute(3, 0, 1, 2).float() / 255
