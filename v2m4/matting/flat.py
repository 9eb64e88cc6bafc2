"""An object before a plain background: any colour, a slight gradient or vignette, compression noise.

The background is a quadratic colour surface over the picture, fitted robustly to the picture's rim and then to all that
is connected to the rim and fits. A pixel's evidence is its distance from that surface in units of the noise; a graph
cut turns evidence into a mask.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch

from v2m4.arrays import Bytes, Float32, Float64, Mask, Real, max_last
from v2m4.clip import Clip
from v2m4.errors import V2M4Error
from v2m4.events import Progress, StageRun
from v2m4.matting import Doubts
from v2m4.matting.doubts import darkened, doubts_of, even_piece, luma_chroma
from v2m4.matting.frames import around, padded, picture, sample_indices
from v2m4.matting.graph_cut import contour_weight, cut
from v2m4.matting.mask_cleanup import fill_speckles, keep_object, largest_piece
from v2m4.matting.soft_edges import soften
from v2m4.settings import FlatSettings, MattingSettings, Settings

_MAD_TO_DEVIATION = 1.48  # of normally distributed errors, as a factor to their median absolute value
_QUANTISATION = 0.5  # of a level: smaller residuals are the rounding's


@dataclass(frozen=True)
class Surface:
    """A background colour for every pixel: (6,3) coefficients of a quadratic in x, y in [-1,1], in levels.

    noise: standard deviation of the background around it, in levels. plain_rim: share of the rim that it explains.
    size: side of the small picture that it was fitted to.
    """

    coefficients: Real
    noise: float
    plain_rim: float
    size: int

    def colours(self, height: int, width: int) -> Float32:
        """(H,W,3) levels."""
        small = (_basis(self.size, self.size) @ self.coefficients).reshape(self.size, self.size, 3)
        return np.asarray(cv2.resize(small.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR))


def is_flat(clip: Clip, settings: FlatSettings) -> bool:
    """Whether the rims of most frames are one plain surface."""
    surfaces = [fit_surface(picture(clip, i), settings) for i in sample_indices(clip, settings.auto_samples)]
    good = [s.plain_rim >= settings.auto_plain_rim and s.noise <= settings.auto_most_noise for s in surfaces]
    return 2 * sum(good) > len(good)


def fit_surface(rgb: Bytes, settings: FlatSettings) -> Surface:
    """The plain background of (H,W,3) ``rgb``, whether or not there is one: `Surface.plain_rim` tells."""
    size = (settings.model_size, settings.model_size)
    # 1. A first surface through the rim, robust against what of the object reaches it. N = size^2 pixels.
    small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA).astype(np.float64).reshape(-1, 3)  # (N,3)
    basis = _basis(*size)  # (N,6)
    rim = _rim(size, settings.rim).ravel()
    coefficients: Real = _robust_fit(basis[rim], small[rim], settings.rim_rounds)
    residual = max_last(np.abs(small - basis @ coefficients))
    plain_rim = float((residual[rim] < settings.rim_tolerance).mean())
    # 2. Refined through all that fits it and is connected to the rim.
    for _ in range(settings.fit_rounds):
        within = settings.fit_deviations * _MAD_TO_DEVIATION * float(np.median(residual[rim])) + settings.fit_slack
        tolerance = min(max(within, settings.fit_least), settings.rim_tolerance)
        fits = _connected_to_rim((residual < tolerance).reshape(size), settings.rim).ravel()
        if fits.sum() < settings.fit_share * fits.size:
            break
        coefficients = np.linalg.lstsq(basis[fits], small[fits], rcond=None)[0]
        residual = max_last(np.abs(small - basis @ coefficients))
    noise = _MAD_TO_DEVIATION * float(np.median(residual[rim]))
    return Surface(coefficients, noise, plain_rim, settings.model_size)


class Flat:
    """Matting before a plain background."""

    doubts = Doubts()
    in_any_order = True

    @classmethod
    def from_settings(cls, settings: Settings, device: torch.device) -> Flat:
        """The plug for a run's settings."""
        return cls()

    def prepare(self, clip: Clip, settings: MattingSettings) -> StageRun[None]:
        """Measure the noise of the background at full resolution. Raises V2M4Error if no frame has a plain rim."""
        self._settings, flat = settings, settings.flat
        deviations, plain_rims = [], []
        indices = sample_indices(clip, flat.samples)
        for done, index in enumerate(indices):
            rgb = picture(clip, index)
            surface = fit_surface(rgb, flat)
            difference = _difference(rgb, surface.colours(*rgb.shape[:2]))
            quiet = max_last(np.abs(difference)) < max(flat.rim_tolerance, flat.noise_deviations * surface.noise)
            quiet &= _rim(quiet.shape, flat.rim)
            if quiet.any():
                deviations.append(_MAD_TO_DEVIATION * np.median(np.abs(difference[quiet]), axis=0))
            plain_rims.append(surface.plain_rim)
            yield Progress("matting", (done + 1) / len(indices))
        if not deviations or max(plain_rims) < flat.least_plain_rim:
            raise V2M4Error(
                f"The background of {clip.name} is not plain, so the method “flat” cannot tell the object from it. "
                "Choose --matting.method auto or motion, or film before a plain background."
            )
        # (3,) luma and chroma
        self._deviation = np.maximum(np.median(deviations, axis=0), flat.least_noise).astype(np.float32)

    def frame(self, clip: Clip, index: int) -> Bytes:
        """The object of frame ``index``."""
        rgb = picture(clip, index)
        surface = fit_surface(rgb, self._settings.flat)
        background = surface.colours(*rgb.shape[:2])
        mask = self._mask(rgb, background)
        return padded(clip, soften(rgb, mask, background, self._settings, float(self._deviation[0])))

    def _mask(self, rgb: Bytes, background: Float32) -> Mask:
        flat, cleanup, speaks = self._settings.flat, self._settings.cleanup, self._settings.evidence
        # 1. Evidence: the squared distance from the surface in units of what noise and compression explain.
        difference = np.asarray(cv2.GaussianBlur(_difference(rgb, background), (0, 0), speaks.blur_px), np.float32)
        tolerance = flat.tolerance + flat.noise_tolerance * self._deviation
        scaled = np.square(difference / np.maximum(tolerance, _ringing(difference, flat)))
        distance = scaled[..., 0] + scaled[..., 1] + scaled[..., 2]
        evidence = np.clip(1.0 - distance, -speaks.most_for_object, 1.0).astype(np.float32)
        kept, shaded = darkened(luma_chroma(background), difference, tolerance[1:], flat.darkest_shadow)
        shadow = _shadow(rgb, difference, distance < 1, shaded, flat)
        evidence[shadow] = flat.shadow_evidence
        # 2. A graph cut around the candidates, and the pieces and holes of what it leaves.
        self.doubts = Doubts()
        mask = np.zeros(evidence.shape, bool)
        view = around(evidence < 0)
        if view is None:
            return mask
        contrast = max(flat.contour_contrast, flat.contour_deviations * float(self._deviation[0]))
        weight = contour_weight(rgb[view], flat.contour, contrast, self._settings.graph_cut)
        pieces = cut(evidence[view], weight, self._settings.graph_cut) > 0.5
        inside = keep_object(pieces, cleanup)
        mask[view] = fill_speckles(inside, cleanup, ((distance < 1) | shadow)[view].astype(np.float32))
        # 3. What may be wrong: a thing of its own that was dropped, and a shadow whose edge looked like an outline.
        shadow_area = even_piece(mask & shaded, kept, flat.even_shadow)
        self.doubts = doubts_of(mask, largest_piece(pieces & ~inside), shadow_area)
        return mask


def _ringing(difference: Float32, settings: FlatSettings) -> Float32:
    """(H,W,3) levels of noise that compression leaves around strong differences, in the blocks that they lie in.

    It grows with the difference and is worst in the chroma channels, which are stored at half the resolution.
    """
    strongest = cv2.dilate(np.abs(difference), np.ones((settings.ringing_reach, settings.ringing_reach), np.uint8))
    parts = (settings.ringing_luma, settings.ringing_chroma, settings.ringing_chroma)
    return (strongest * np.array(parts, np.float32)).astype(np.float32)


def _shadow(
    rgb: Bytes,
    difference: Float32,
    plain: Mask,
    shaded: Mask,
    settings: FlatSettings,
) -> Mask:
    """(H,W) where a shadow of the object falls on the background.

    plain: like the background. shaded: darkened, the hue unchanged, as a shadow does it. A shadow fades out softly:
    from plain background it is reached through darkened pixels without crossing an edge, whereas an object of the same
    grey lies behind its outline. Edges rise by a third of their height per pixel, the rims of shadows more slowly.
    """
    # 1. Without an edge: its slope is small, or small beside the depth of the shadow around.
    grey = cv2.GaussianBlur(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), 1.0)
    # Sobel's kernel adds up to eight times the slope.
    slope = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0, scale=0.125), cv2.Sobel(grey, cv2.CV_32F, 0, 1, scale=0.125))
    depth = cv2.dilate(
        np.maximum(-difference[..., 0], 0), np.ones((settings.shadow_reach, settings.shadow_reach), np.uint8)
    )
    soft = (plain | shaded) & (slope < np.maximum(settings.shadow_slope, settings.shadow_steepness * depth))
    # 2. Reached from plain background. Leaks through gaps of a pixel or two in a faint outline are no way in.
    leak = np.ones((settings.shadow_leak, settings.shadow_leak), np.uint8)
    soft = cv2.morphologyEx(soft.astype(np.uint8), cv2.MORPH_OPEN, leak) > 0
    return _connected_to_rim(soft, settings.rim) & ~plain


def _difference(rgb: Bytes, background: Float32) -> Float32:
    """(H,W,3) luma and chroma differences from the background (H,W,3), in levels."""
    return luma_chroma(rgb.astype(np.float32) - background)


def _basis(height: int, width: int) -> Float64:
    """(H W, 6) monomials 1, x, y, x², xy, y² at pixel centres, x and y in [-1,1]."""
    y, x = np.mgrid[0:height, 0:width]
    x = ((x + 0.5) / width * 2 - 1).ravel()
    y = ((y + 0.5) / height * 2 - 1).ravel()
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1)


def _rim(shape: tuple[int, ...], breadth: float) -> Mask:
    border = max(2, round(breadth * min(shape)))
    rim = np.ones(shape, bool)
    rim[border:-border, border:-border] = False
    return rim


def _robust_fit(basis: Float64, colours: Float64, rounds: int) -> Float64:
    """Least absolute deviations by iteratively reweighted least squares, started from the median colour."""
    residual = max_last(np.abs(colours - np.median(colours, axis=0)))
    coefficients = np.zeros((basis.shape[1], 3))
    for _ in range(rounds):
        root = 1 / np.sqrt(np.maximum(residual, _QUANTISATION))
        coefficients = np.linalg.lstsq(basis * root[:, None], colours * root[:, None], rcond=None)[0]
        residual = max_last(np.abs(colours - basis @ coefficients))
    return coefficients


def _connected_to_rim(mask: Mask, breadth: float) -> Mask:
    _, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
    reached = np.unique(labels[_rim(mask.shape, breadth) & mask])
    return np.isin(labels, reached[reached > 0])
