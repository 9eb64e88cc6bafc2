"""A picture of a result to judge by eye: six frames; input, re-render, two other views, normals.

``python -m benchmarks.contact_sheet RESULT [RESULT ...]`` writes ``RESULT/contact_sheet.png``.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from v2m4.clip import Clip
from v2m4.evaluation.glb import read_glb
from v2m4.evaluation.report import read_camera
from v2m4.export.preview import PAPER, over_paper
from v2m4.files import replacing
from v2m4.geometry.camera import Camera
from v2m4.geometry.mesh import Mesh
from v2m4.render import render_fast
from v2m4.render.pictures import render_rgba

COLUMNS, CELL = 6, 288
SIDE_VIEWS = (75.0, 180.0)


def turned(camera: Camera, degrees: float) -> Camera:
    """The camera after an orbit about the vertical axis (y up) through the origin, where exported objects are."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    turn = torch.tensor([[c, 0, s, 0], [0, 1, 0, 0], [-s, 0, c, 0], [0, 0, 0, 1]])
    return dataclasses.replace(camera, world_to_camera=camera.world_to_camera @ turn)


def normal_picture(mesh: Mesh, camera: Camera, size: int) -> NDArray[np.uint8]:
    """(size,size,3) camera-space normals as colours: right is red, up is green, towards the viewer is blue."""
    images = render_fast(mesh, camera, size, ("mask", "normal"), supersample=2, smooth_normals=False)
    assert images.mask is not None and images.normal is not None
    mask = images.mask[0, ..., None]
    seen = images.normal[0] / mask.clamp_min(1e-6) @ camera.world_to_camera[:3, :3].T
    colour = (seen * torch.tensor([0.5, -0.5, -0.5]) + 0.5) * 255
    return (colour * mask + torch.tensor(PAPER) * (1 - mask)).clamp(0, 255).round().byte().numpy()


def contact_sheet(result: Path) -> NDArray[np.uint8]:
    """The sheet of a result's folder, which must still hold the frames in ``work``."""
    clip = Clip.load(result / "work" / "frames")
    model = read_glb(result / "animation.glb")
    camera = read_camera(result / "animation.camera.json", clip)
    rows: list[list[NDArray[np.uint8]]] = []
    for index in np.linspace(0, len(clip) - 1, COLUMNS).round().astype(int):
        mesh = model.mesh.with_vertices(model.at(clip.times[index]))
        with Image.fromarray(over_paper(clip.frame(index))) as shown:
            cells = [np.asarray(shown.resize((CELL, CELL), Image.Resampling.LANCZOS))]
        for degrees in (0.0, *SIDE_VIEWS):
            cells.append(over_paper(render_rgba(mesh, turned(camera, degrees), CELL, 3)))
        cells.append(normal_picture(mesh, camera, CELL))
        rows.append(cells)
    sheet = Image.fromarray(np.concatenate([np.concatenate(cells, axis=0) for cells in rows], axis=1))
    draw = ImageDraw.Draw(sheet)
    names = ("input", "re-render", *(f"from {d:.0f}°" for d in SIDE_VIEWS), "normals")
    for row, name in enumerate(names):
        draw.text((6, row * CELL + 4), name, fill=(90, 90, 90))
    return np.asarray(sheet)


def main() -> None:
    """Write a sheet into each result's folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "results", nargs="+", type=Path, metavar="RESULT", help="a folder that `v2m4 reconstruct` wrote"
    )
    for result in parser.parse_args().results:
        with replacing(result / "contact_sheet.png") as temporary:
            Image.fromarray(contact_sheet(result)).save(temporary)
        print(result / "contact_sheet.png")


if __name__ == "__main__":
    main()
