"""Little clips with a known object: a striped walker of two legs and a swinging arm, before any background."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from v2m4.clip import Clip
from v2m4.video import write_png

SIDE = 128


def walker(index: int, frames: int, shift: float = 0.0) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Colours (128,128,3) and mask (128,128) of the object in frame ``index``."""
    phase = 2 * np.pi * index / frames
    mask = np.zeros((SIDE, SIDE), np.uint8)
    colours = np.zeros((SIDE, SIDE, 3), np.uint8)
    x = 64 + shift

    def part(draw, colour) -> None:
        piece = np.zeros((SIDE, SIDE), np.uint8)
        draw(piece)
        mask[piece > 0] = 1
        colours[piece > 0] = colour

    def limb(start, length, angle, width):
        end = (round(start[0] + length * np.sin(angle)), round(start[1] + length * np.cos(angle)))
        return lambda m: cv2.line(m, (round(start[0]), round(start[1])), end, 1, width)

    for side in (-1, 1):
        part(limb((x + 8 * side, 76), 34, 0.45 * np.sin(phase) * side + 0.1 * side, 9), (110, 50, 30))
    part(limb((x + 12, 44), 34, 0.9 + 0.5 * np.sin(phase), 8), (230, 160, 60))
    part(lambda m: cv2.ellipse(m, (round(x + np.sin(phase)), 60), (17, 26), 0, 0, 360, 1, -1), (200, 110, 40))
    part(lambda m: cv2.circle(m, (round(x + 2 * np.sin(phase)), 28), 12, 1, -1), (240, 200, 90))
    return colours, mask > 0


def plain(colour: tuple[int, int, int], vignette: float = 0.0) -> NDArray[np.float64]:
    y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE * 2 - 1
    return np.full((SIDE, SIDE, 3), colour, np.float64) * (1 - vignette * (x**2 + y**2) / 2)[..., None]


def clutter(seed: int = 0) -> NDArray[np.float64]:
    """A still life of rectangles in cool colours on a patterned wall."""
    rng = np.random.default_rng(seed)
    picture = np.full((SIDE, SIDE, 3), (120, 150, 140), np.uint8)
    picture[:, (np.arange(SIDE) // 9) % 2 == 0] = (90, 125, 130)
    for _ in range(14):
        x, y = (int(v) for v in rng.integers(0, SIDE - 20, 2))
        w, h = (int(v) for v in rng.integers(8, 34, 2))
        colour = [int(rng.integers(20, 90)), int(rng.integers(40, 230)), int(rng.integers(90, 240))]
        cv2.rectangle(picture, (x, y), (x + w, y + h), colour, -1)
    return picture.astype(np.float64)


def film(
    folder: Path,
    background: NDArray[np.float64],
    frames: int = 12,
    noise: float = 1.5,
    jpeg: int = 90,
    travel: float = 0.0,
    alpha: bool = False,
) -> tuple[Clip, list[NDArray[np.bool_]]]:
    """A clip of the walker before ``background``, and its true masks. ``travel``: pixels it walks per frame."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(1)
    masks = []
    for index in range(frames):
        colours, mask = walker(index, frames, travel * (index - frames / 2))
        coverage = cv2.GaussianBlur(mask.astype(np.float64), (0, 0), 0.6)[..., None]
        picture = coverage * cv2.GaussianBlur(np.where(mask[..., None], colours, 160), (0, 0), 0.4)
        picture = picture + (1 - coverage) * background + rng.normal(0, noise, (SIDE, SIDE, 3))
        rgb = picture.round().clip(0, 255).astype(np.uint8)
        if jpeg < 100:
            rgb = cv2.imdecode(cv2.imencode(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, jpeg])[1], cv2.IMREAD_COLOR)
        opacity = np.where(mask, 255, 0) if alpha else np.full(mask.shape, 255)
        write_png(folder / f"{index:05d}.png", np.dstack([rgb, opacity]).astype(np.uint8))
        masks.append(mask)
    times = tuple(i / 24 for i in range(frames))
    clip = Clip(folder, "walker", times, frames / 24, SIDE, (SIDE, SIDE), 1.0, (0.0, 0.0), alpha)
    clip.save()
    return clip, masks


def panorama(seed: int = 0) -> NDArray[np.float64]:
    """(192,256,3): what a camera that turns sees of the far: the still life, and more of its kind around it."""
    tiles = [clutter(seed + i) for i in range(4)]
    wide = np.concatenate([np.concatenate(tiles[:2], axis=1), np.concatenate(tiles[2:], axis=1)])
    return cv2.GaussianBlur(wide[:192], (0, 0), 0.7)


def turned(yaw: float, pitch: float, roll: float, focal: float = 1.1) -> NDArray[np.float64]:
    """(3,3) from the pixels of a camera so turned (radians) to the world, the picture of the camera not turned."""
    lens = np.array([[focal * SIDE, 0, SIDE / 2], [0, focal * SIDE, SIDE / 2], [0, 0, 1]])
    return lens @ cv2.Rodrigues(np.array([pitch, yaw, roll], np.float64))[0] @ np.linalg.inv(lens)


def shaken(share: float, frames: int, seed: int = 2) -> list[NDArray[np.float64]]:
    """Places of a camera in an unsteady hand: the picture shifts by up to ``share`` of its side."""
    rng = np.random.default_rng(seed)
    yaw, pitch, roll = rng.uniform(-1, 1, (3, frames)) * np.array([share / 1.1, share / 1.1, share / 2])[:, None]
    return [turned(*angles) for angles in zip(yaw, pitch, roll, strict=True)]


def pass_by(
    folder: Path, places: list[NDArray[np.float64]], travel: float = 2.0
) -> tuple[Clip, list[NDArray[np.bool_]]]:
    """A clip of the walker before the `panorama`, filmed from ``places`` (3,3), and its true masks."""
    world = panorama()
    margin = np.array([[1, 0, (SIDE - world.shape[1]) / 2], [0, 1, (SIDE - world.shape[0]) / 2], [0, 0, 1]])
    clip, _ = film(folder, clutter(), frames=len(places))
    rng = np.random.default_rng(1)
    masks = []
    for index, place in enumerate(places):
        colours, mask = walker(index, len(places), travel * (index - len(places) / 2))
        coverage = cv2.GaussianBlur(mask.astype(np.float64), (0, 0), 0.6)[..., None]
        coloured = cv2.GaussianBlur(np.where(mask[..., None], colours, 160).astype(np.float64), (0, 0), 0.4)
        to_picture = np.linalg.inv(place)
        seen = cv2.warpPerspective(np.dstack([coloured * coverage, coverage]), to_picture, (SIDE, SIDE))
        behind = cv2.warpPerspective(world, to_picture @ margin, (SIDE, SIDE), flags=cv2.INTER_CUBIC)
        picture = seen[..., :3] + (1 - seen[..., 3:]) * behind + rng.normal(0, 1.5, (SIDE, SIDE, 3))
        rgb = picture.round().clip(0, 255).astype(np.uint8)
        write_png(folder / f"{index:05d}.png", np.dstack([rgb, np.full(mask.shape, 255, np.uint8)]))
        masks.append(seen[..., 3] > 0.5)
    return clip, masks
