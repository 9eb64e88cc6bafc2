"""Matches between renderings of the mesh and the frame, without a learned model.

A rendering knows the surface point of each of its pixels, so a pixel matched to the frame is a 2D-3D correspondence,
and all renderings' matches together determine the camera (PnP). Two kinds complement one another: SIFT keypoints
(Lowe 2004), which survive large changes of place and size, and dense inverse-search flow (Kroeger et al. 2016) from
each rendering, first laid over the frame by its mask's centroid and area, which also matches plain surfaces.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from v2m4.arrays import Bytes, Float32, Float64, Mask
from v2m4.masks import mask_iou
from v2m4.settings import FeatureSettings, Settings
from v2m4.stereo import Matches


class Features:
    """The `Locator` of keypoints and flow."""

    def __init__(self, settings: FeatureSettings | None = None) -> None:
        self.settings = settings or FeatureSettings()

    @classmethod
    def from_settings(cls, settings: Settings, device: torch.device) -> Features:
        """The plug for a run's settings."""
        return cls(settings.camera.stereo.features)

    def locate(self, reference: Tensor, renderings: Tensor, positions: Tensor, inside: Tensor) -> Matches:
        """See `v2m4.stereo.Locator`."""
        frame, settings = _bytes(reference), self.settings
        seen: Mask = frame.max(2) > settings.black
        places, pixels = [np.zeros((0, 3), np.float32)], [np.zeros((0, 2), np.float32)]
        keypoints = _keypoints(frame, seen, settings)
        for picture, surface, mask in zip(renderings, positions, inside, strict=True):
            drawn, points = _bytes(picture), surface.detach().float().cpu().numpy()
            covered = mask.cpu().numpy()
            by_keypoints = _sift_matches(drawn, covered, keypoints, settings)
            for here, there in (by_keypoints, _flow_matches(drawn, covered, frame, seen, settings)):
                column, row = np.floor(here).astype(int).T
                valid = covered[row, column]
                places.append(points[row, column][valid])
                pixels.append((there[valid] / frame.shape[0]).astype(np.float32))
        found = torch.from_numpy(np.concatenate(places)), torch.from_numpy(np.concatenate(pixels))
        return Matches(*(t.to(reference.device) for t in found))


def _bytes(image: Tensor) -> Bytes:
    return (image.detach().clamp(0, 1) * 255).round().byte().cpu().numpy()


def _keypoints(image: Bytes, mask: Mask, settings: FeatureSettings) -> tuple[Float32, Float32 | None]:
    """Places (K,2), in pixels with centres at halves, and descriptors (K,128) of the SIFT keypoints on the object."""
    detector = cv2.SIFT.create(nfeatures=settings.keypoints, contrastThreshold=settings.contrast)
    grown = cv2.dilate(mask.astype(np.uint8), np.ones((settings.mask_growth,) * 2, np.uint8))
    found, descriptors = detector.detectAndCompute(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), grown)
    places = np.array([k.pt for k in found], np.float32).reshape(-1, 2) + 0.5
    return places, None if descriptors is None else np.asarray(descriptors, np.float32)


def _sift_matches(
    drawn: Bytes, covered: Mask, reference: tuple[Float32, Float32 | None], settings: FeatureSettings
) -> tuple[Float32, Float32]:
    """Matched places (M,2) in the rendering and in the frame: each other's nearest, clearly before the second."""
    places, descriptors = _keypoints(drawn, covered, settings)
    none = np.zeros((0, 2), np.float32)
    if descriptors is None or reference[1] is None or len(places) < 2 or len(reference[0]) < 2:
        return none, none
    similarity = _unit(descriptors) @ _unit(reference[1]).T
    ahead, back = similarity.argmax(1), similarity.argmax(0)
    ranked = np.sqrt(np.maximum(2 - 2 * np.sort(similarity, axis=1)[:, -2:], 0))
    clear = ranked[:, 1] < settings.ratio * ranked[:, 0]
    chosen = np.flatnonzero((back[ahead] == np.arange(len(places))) & clear)
    edge = drawn.shape[0] - 1e-3
    return places[chosen].clip(0, edge), reference[0][ahead[chosen]]


def _unit(descriptors: Float32) -> Float32:
    rooted = np.sqrt(np.maximum(descriptors, 0))  # RootSIFT (Arandjelovic and Zisserman 2012)
    return rooted / np.maximum(np.linalg.norm(rooted, axis=1, keepdims=True), 1e-9)


def _flow_matches(
    drawn: Bytes, covered: Mask, frame: Bytes, seen: Mask, settings: FeatureSettings
) -> tuple[Float32, Float32]:
    """Places (M,2) of the rendering followed into the frame by flow, checked by following them back."""
    none = np.zeros((0, 2), np.float32)
    if not covered.any() or not seen.any():
        return none, none
    scale, shift = _laid_over(covered, seen)
    side = drawn.shape[0]
    warp = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]], np.float64)
    overlay = warp + np.array([0, 0, 0.5 * scale - 0.5])  # OpenCV counts from pixel centres
    laid = cv2.warpAffine(drawn, overlay, (side, side), flags=cv2.INTER_LINEAR)
    mask = cv2.warpAffine(covered.astype(np.uint8), overlay, (side, side), flags=cv2.INTER_NEAREST) > 0
    if mask_iou(mask, seen) < settings.overlap:
        return none, none
    before, after = (np.asarray(cv2.cvtColor(i, cv2.COLOR_RGB2GRAY), np.uint8) for i in (laid, frame))
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    still = np.zeros((2, side, side, 2), np.float32)
    ahead, back = flow.calc(before, after, still[0]), flow.calc(after, before, still[1])
    row, column = np.nonzero(mask)
    kept = (row % settings.dense_step == 0) & (column % settings.dense_step == 0)
    start = np.stack([column[kept], row[kept]], axis=1).astype(np.float32)
    end = start + ahead[row[kept], column[kept]]
    nearest = np.round(end).astype(int).clip(0, side - 1)
    returned = end + back[nearest[:, 1], nearest[:, 0]]
    closed = np.linalg.norm(returned - start, axis=1) < settings.round_trip_px
    right = closed & seen[nearest[:, 1], nearest[:, 0]]
    original = ((start[right] + 0.5 - shift) / scale).astype(np.float32)
    return original.clip(0, side - 1e-3), end[right] + 0.5


def _laid_over(mask: Mask, goal: Mask) -> tuple[float, Float64]:
    """The scale and shift (2,), in pixels, that give the mask the goal's area and centroid."""
    centres = [np.argwhere(m).mean(0)[::-1] + 0.5 for m in (mask, goal)]
    scale = float(np.sqrt(goal.sum() / mask.sum()))
    return scale, centres[1] - scale * centres[0]
