"""Mending a mask by clicks on what belongs to the object and on what does not.

A click claims what is connected to it through its own colour: the geodesic distance of GeoS (Criminisi, Sharp and
Blake 2008), where a step costs the more the less the colour there is the click's. Claims are added to the evidence of
the mask that is mended, and the graph cut decides again. Clicks travel to the other frames by optical flow (Lucas and
Kanade, as pyramids; Bouguet 2000), each as long as it can be followed there and back.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from v2m4.arrays import Bytes, Float32, Float64, Mask
from v2m4.clip import Clip
from v2m4.errors import V2M4Error
from v2m4.events import Progress, StageRun, scaled
from v2m4.matting import Click, Doubting, Doubts, Matting, parse_clicks
from v2m4.matting.clicks_numba import relax
from v2m4.matting.frames import padded, picture
from v2m4.matting.graph_cut import contour_weight, cut
from v2m4.matting.mask_cleanup import keep_object
from v2m4.matting.soft_edges import soften
from v2m4.settings import ClickSettings, MattingSettings


@dataclass(frozen=True)
class _Seed:
    """A click as it is found in a frame: where, in pixels of the picture, and the colour it was made on."""

    at: Float64
    color: Float32
    belongs: bool


class Mended:
    """A matting whose masks are mended by the clicks of ``settings.points``."""

    def __init__(self, matting: Matting, settings: MattingSettings) -> None:
        self._matting, self._settings, self._own = matting, settings, settings.clicks
        self._clicks = parse_clicks(settings.points)
        self._seeds: list[list[_Seed]] = []

    @property
    def doubts(self) -> Doubts:
        """Those of the matting that is mended."""
        return self._matting.doubts if isinstance(self._matting, Doubting) else Doubts()

    def prepare(self, clip: Clip, settings: MattingSettings) -> StageRun[None]:
        """Prepare the matting that is mended, and follow the clicks through the clip."""
        yield from scaled(self._matting.prepare(clip, settings), 0.0, 0.7)
        late = next((c for c in self._clicks if c.frame >= len(clip)), None)
        if late is not None:
            raise V2M4Error(
                f"matting.points has a click in frame {late.frame}, but {clip.name} has {len(clip)} frames. Undo it."
            )
        self._seeds = [[] for _ in range(len(clip))]
        for done, click in enumerate(self._clicks):
            self._follow(clip, click)
            yield Progress("matting", 0.7 + 0.3 * (done + 1) / len(self._clicks))

    def frame(self, clip: Clip, index: int) -> Bytes:
        """The object of frame ``index``, mended where clicks reach it."""
        rgba = self._matting.frame(clip, index)
        if not self._seeds[index]:
            return rgba
        rgb = picture(clip, index)
        left, top, right, bottom = clip.content_box()
        before = rgba[top:bottom, left:right, 3] > 127
        mask = self._mend(rgb, before, self._seeds[index])
        if (mask == before).all():
            return rgba
        return padded(clip, soften(rgb, mask, None, self._settings))

    def _follow(self, clip: Clip, click: Click) -> None:
        """Enter a click as a seed of its own frame and of all that it can be followed to."""
        first = picture(clip, click.frame)
        height, width = first.shape[:2]
        at = np.array([click.x * width, click.y * height])
        color = _color_at(first, at, self._own.patch)
        self._seeds[click.frame].append(_Seed(at, color, click.belongs))
        lost = self._own.follow_tolerance * self._own.tolerance
        for step in (1, -1):
            point, grey = at, _grey(first)
            index = click.frame + step
            while 0 <= index < len(clip):
                rgb = picture(clip, index)
                ahead = _grey(rgb)
                moved = _track(grey, ahead, point, self._own)
                if moved is None:
                    break
                if np.abs(_color_at(rgb, moved, self._own.patch) - color).max() > lost:
                    break
                self._seeds[index].append(_Seed(moved, color, click.belongs))
                point, grey, index = moved, ahead, index + step

    def _mend(self, rgb: Bytes, before: Mask, seeds: list[_Seed]) -> Mask:
        # 1. What the mask said: sure inside and outside, undecided at its outline.
        own, longer = self._own, max(before.shape)
        soft = cv2.GaussianBlur(before.astype(np.float32), (0, 0), own.outline_blur_px)
        evidence = (1 - 2 * soft).astype(np.float32)
        sure = np.zeros_like(evidence)
        # 2. What each click claims, fading with its distance through its own colour.
        for seed in seeds:
            spot = np.zeros(before.shape, np.uint8)
            cv2.circle(spot, (round(seed.at[0]), round(seed.at[1])), max(2, round(own.size * longer)), 1, -1)
            apart = np.abs(rgb.astype(np.float32) - seed.color).max(-1)
            # A spot at a border holds foreign pixels, which are no seeds.
            certain = (spot > 0) & (apart < own.spot_tolerance * own.tolerance)
            foreign = np.clip(apart / own.tolerance - 1, 0, own.most_foreign) ** 2
            price = ((1 + own.foreign * foreign) / (own.reach * longer)).astype(np.float32)
            claim = own.claim * np.exp(-geodesic_distance(certain, price, own.sweeps))
            sign = -1 if seed.belongs else 1
            evidence += np.float32(sign) * claim
            sure[certain] = sign
        evidence = np.where(sure != 0, sure * own.certain * own.claim, evidence).astype(np.float32)
        # 3. The graph cut decides, along the picture's edges.
        solver = self._settings.graph_cut
        mask: Mask = cut(evidence, contour_weight(rgb, own.contour, own.contour_contrast, solver), solver) > 0.5
        # 4. What is cut off the object goes with the cut, unless a click holds it.
        _, pieces = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
        held = np.unique(pieces[mask & (sure < 0)])
        kept: Mask = keep_object(mask, self._settings.cleanup) | (mask & np.isin(pieces, held))
        return kept


def _grey(rgb: Bytes) -> Bytes:
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8)


def _color_at(rgb: Bytes, at: Float64, side: int) -> Float32:
    """(3,) median colour of the ``side`` x ``side`` pixels around a point."""
    x, y = (int(n) for n in at)
    reach = side // 2
    patch = rgb[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1].reshape(-1, 3)
    return np.asarray(np.median(patch, axis=0), np.float32) if len(patch) else np.full(3, np.inf, np.float32)


def _track(grey: Bytes, ahead: Bytes, point: Float64, settings: ClickSettings) -> Float64 | None:
    """Where a point goes from one picture to the next; None if the way back leads elsewhere or out of the picture."""
    start = point.astype(np.float32).reshape(1, 1, 2)
    moved, found, _ = cv2.calcOpticalFlowPyrLK(
        grey, ahead, start, start.copy(), winSize=(settings.window, settings.window), maxLevel=settings.levels
    )
    back, returned, _ = cv2.calcOpticalFlowPyrLK(
        ahead, grey, moved, start.copy(), winSize=(settings.window, settings.window), maxLevel=settings.levels
    )
    end = moved.reshape(2).astype(np.float64)
    height, width = grey.shape
    inside = 0 <= end[0] < width and 0 <= end[1] < height
    if not (found.all() and returned.all() and inside) or np.abs(back - start).max() > settings.astray:
        return None
    return end


def geodesic_distance(seed: Mask, price: Float32, sweeps: int) -> Float32:
    """(H,W) least sum of ``price`` per pixel on the way from any pixel of ``seed``; 1e6 where there is no seed."""
    distance = np.where(seed, 0, 1e6).astype(np.float32)
    for _ in range(sweeps):
        relax(distance, price)
    return distance
