"""A reef, painted: rocks, corals, weeds and bubbles, cluttered but out of focus, and perfectly still."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

_SCALE = 2


def reef(width: int, height: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """(height,width,3) sRGB in [0,1]."""
    w, h = width * _SCALE, height * _SCALE
    picture = _water(w, h, rng)
    for depth in range(3):
        layer = Image.new("RGBA", (w, h), (0, 0, 0, 0))
        draw = ImageDraw.Draw(layer)
        _rocks(draw, w, h, depth, rng)
        _weeds(draw, w, h, depth, rng)
        _corals(draw, w, h, depth, rng)
        picture.paste(layer, (0, 0), layer)
        picture = picture.filter(ImageFilter.GaussianBlur(_SCALE * (2.4 - 0.8 * depth)))
    draw = ImageDraw.Draw(picture, "RGBA")
    for _ in range(26):
        x, y, r = rng.uniform(0, w), rng.uniform(0, 0.85 * h), rng.uniform(3, 11) * _SCALE
        draw.ellipse((x - r, y - r, x + r, y + r), fill=(190, 235, 245, 46), outline=(225, 250, 255, 120), width=_SCALE)
        draw.ellipse((x - 0.5 * r, y - 0.6 * r, x - 0.15 * r, y - 0.25 * r), fill=(255, 255, 255, 130))
    picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    return np.asarray(picture, np.float32) / 255


def _water(w: int, h: int, rng: np.random.Generator) -> Image.Image:
    x, y = np.meshgrid(np.linspace(0, 1, w), np.linspace(0, 1, h))
    top, middle, bottom = (np.array(c) / 255 for c in ((126, 214, 220), (43, 140, 178), (20, 74, 122)))
    t = y[..., None]
    image = np.where(t < 0.45, top + (middle - top) * t / 0.45, middle + (bottom - middle) * (t - 0.45) / 0.55)
    for _ in range(7):
        at, lean, wide = rng.uniform(-0.2, 1.2), rng.uniform(0.1, 0.35), rng.uniform(0.02, 0.07)
        shaft = np.exp(-(((x - at - lean * y) / wide) ** 2)) * (1 - y) ** 1.5
        image = image + 0.16 * shaft[..., None] * np.array([1, 1, 0.85])
    return Image.fromarray((image.clip(0, 1) * 255).astype(np.uint8))


def _blob(x: float, y: float, rx: float, ry: float, rng: np.random.Generator) -> list[tuple[float, float]]:
    angle = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    radius = 1 + sum(rng.uniform(0, 0.22) / k * np.sin(k * angle + rng.uniform(0, 6.3)) for k in range(2, 6))
    return [(x + rx * r * np.cos(a), y + ry * r * np.sin(a)) for a, r in zip(angle, radius, strict=True)]


def _dim(colour: tuple[int, int, int], depth: int) -> tuple[int, int, int, int]:
    haze, clear = np.array([48, 130, 165]), 0.45 + 0.25 * depth
    r, g, b = (np.array(colour) * clear + haze * (1 - clear)).astype(int)
    return int(r), int(g), int(b), 255


def _rocks(draw: ImageDraw.ImageDraw, w: int, h: int, depth: int, rng: np.random.Generator) -> None:
    shades = [(92, 88, 116), (70, 78, 104), (112, 100, 108), (84, 70, 96)]
    for _ in range(9):
        edge = rng.choice([rng.uniform(-0.05, 0.25), rng.uniform(0.75, 1.05), rng.uniform(0, 1)], p=[0.35, 0.35, 0.3])
        y = h * rng.uniform(0.8, 1.02) - h * 0.32 * (abs(edge - 0.5) * 2) ** 2 * rng.uniform(0, 1) * (3 - depth) / 2
        rx, ry = w * rng.uniform(0.1, 0.24), h * rng.uniform(0.05, 0.12)
        colour = shades[rng.integers(len(shades))]
        draw.polygon(_blob(w * edge, y, rx, ry, rng), fill=_dim(colour, depth))
        light = tuple(min(255, c + 26) for c in colour)
        draw.polygon(_blob(w * edge - rx * 0.1, y - ry * 0.25, rx * 0.7, ry * 0.55, rng), fill=_dim(light, depth))
    sand = [
        (0.0, float(h)),
        *[(w * t, h * (0.95 + 0.02 * np.sin(7 * t + depth))) for t in np.linspace(0, 1, 30)],
        (w, h),
    ]
    draw.polygon(sand, fill=_dim((226, 204, 150), depth))


def _weeds(draw: ImageDraw.ImageDraw, w: int, h: int, depth: int, rng: np.random.Generator) -> None:
    for _ in range(11):
        x, base = w * rng.uniform(0, 1), h * rng.uniform(0.85, 1.0)
        tall, phase = h * rng.uniform(0.14, 0.42), rng.uniform(0, 6.3)
        colour = [(60, 150, 92), (112, 176, 70), (36, 122, 104), (150, 170, 60)][rng.integers(4)]
        t = np.linspace(0, 1, 40)
        sway = x + w * 0.05 * t * np.sin(5 * t + phase)
        thick = w * 0.014 * rng.uniform(0.7, 1.6) * (1 - t**2)
        left = [(a - b, base - tall * c) for a, b, c in zip(sway, thick, t, strict=True)]
        right = [(a + b, base - tall * c) for a, b, c in zip(sway, thick, t, strict=True)]
        draw.polygon(left + right[::-1], fill=_dim(colour, depth))


def _corals(draw: ImageDraw.ImageDraw, w: int, h: int, depth: int, rng: np.random.Generator) -> None:
    colours = [(242, 190, 62), (150, 96, 200), (240, 150, 60), (96, 190, 190), (206, 206, 92), (120, 120, 220)]
    for _ in range(6):
        x, y = (
            w * rng.choice([rng.uniform(0, 0.3), rng.uniform(0.7, 1), rng.uniform(0, 1)]),
            h * rng.uniform(0.82, 0.97),
        )
        colour, size = _dim(colours[rng.integers(len(colours))], depth), h * rng.uniform(0.035, 0.075)
        if rng.random() < 0.5:
            _branch(draw, x, y, -np.pi / 2, size, size * 0.24, colour, 4, rng)
        else:
            for _ in range(9):
                cx, cy, r = (
                    x + rng.normal(0, size * 0.7),
                    y - abs(rng.normal(0, size * 0.7)),
                    size * rng.uniform(0.22, 0.5),
                )
                draw.ellipse((cx - r, cy - r, cx + r, cy + r), fill=colour)


def _branch(
    draw: ImageDraw.ImageDraw,
    x: float,
    y: float,
    angle: float,
    length: float,
    thick: float,
    colour: tuple[int, int, int, int],
    left: int,
    rng: np.random.Generator,
) -> None:
    ex, ey = x + length * np.cos(angle), y + length * np.sin(angle)
    draw.line((x, y, ex, ey), fill=colour, width=max(2, round(thick)))
    draw.ellipse((ex - thick / 2, ey - thick / 2, ex + thick / 2, ey + thick / 2), fill=colour)
    if left:
        for bend in (-0.5, 0.5):
            _branch(draw, ex, ey, angle + bend + rng.normal(0, 0.12), length * 0.8, thick * 0.78, colour, left - 1, rng)
