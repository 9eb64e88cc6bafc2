"""The README's moving picture: input, re-render, the same while the camera goes once around it, and normals from there,
of finished runs.

python -m scripts.make_readme_picture output/dinosaur output/octopus -o assets/readme/turning.webp
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from v2m4.artefacts import finished_run, read_clip
from v2m4.clip import Clip
from v2m4.export.orbit import turned
from v2m4.export.preview import over_paper
from v2m4.files import replacing
from v2m4.geometry.camera import Camera
from v2m4.render import render_fast
from v2m4.render.pictures import render_rgba
from v2m4.run import Run

SIDE, RENDERED = 220, 480


def strip(folder: Path) -> list[NDArray[np.uint8]]:
    """One row of pictures per frame of the run's clip."""
    animation, masked = finished_run(folder)
    raw = read_clip(Run.read(folder))
    box = _object_box(masked)
    rows = []
    for index, time in enumerate(masked.times):
        mesh = animation.mesh_at(time)
        around = turned(animation, 2 * math.pi * time / masked.duration)
        normals = render_fast(mesh, around, RENDERED, ("mask", "normal"), supersample=2, smooth_normals=True)
        assert normals.mask is not None and normals.normal is not None
        seen = normals.normal[0] @ around.world_to_camera[:3, :3].T
        facing = (seen.numpy() * [0.5, -0.5, -0.5] + 0.5).clip(0, 1)
        shaded = np.dstack([facing, normals.mask[0].numpy()])
        views = (
            raw.frame(index),
            render_rgba(mesh, Camera.identity(), RENDERED),
            render_rgba(mesh, around, RENDERED),
            (shaded * 255).astype(np.uint8),
        )
        rows.append(np.concatenate([_cut(over_paper(v), box) for v in views], axis=1))
    return rows


def _object_box(clip: Clip) -> tuple[float, float, float, float]:
    """The square around the object in all frames, as shares of the picture."""
    alpha = np.max([clip.frame(i)[..., 3] > 127 for i in range(len(clip))], axis=0)
    rows, columns = np.flatnonzero(alpha.any(1)), np.flatnonzero(alpha.any(0))
    x, y = (columns[0] + columns[-1]) / 2, (rows[0] + rows[-1]) / 2
    half = 0.57 * max(np.ptp(columns), np.ptp(rows))
    return tuple(float(v / clip.side) for v in (x - half, y - half, x + half, y + half))  # type: ignore[return-value]


def _cut(picture: NDArray[np.uint8], box: tuple[float, float, float, float]) -> NDArray[np.uint8]:
    side = picture.shape[1]
    image = Image.fromarray(picture)
    paper = Image.new("RGB", (SIDE, SIDE), tuple(int(v) for v in over_paper(np.zeros((1, 1, 4), np.uint8))[0, 0]))
    scale = SIDE / ((box[2] - box[0]) * side)
    shrunk = image.resize((round(side * scale), round(side * scale)), Image.Resampling.LANCZOS)
    paper.paste(shrunk, (-round(box[0] * side * scale), -round(box[1] * side * scale)))
    return np.asarray(paper)


def main() -> None:
    """Parse the arguments and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, help="folders of finished runs")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the WebP to write")
    parser.add_argument("--fps", type=float, default=16.0)
    options = parser.parse_args()
    strips = [strip(folder) for folder in options.folders]
    length = max(map(len, strips))
    frames = [Image.fromarray(np.concatenate([s[i % len(s)] for s in strips], axis=0)) for i in range(length)]
    with replacing(options.output) as temporary:
        frames[0].save(
            temporary,
            format="WEBP",
            save_all=True,
            append_images=frames[1:],
            duration=round(1000 / options.fps),
            loop=0,
            quality=70,
            method=4,
        )
    print(options.output)


if __name__ == "__main__":
    main()
