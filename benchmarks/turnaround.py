"""Finished runs from all sides, to look at and in numbers.

``python -m benchmarks.turnaround RUN [RUN:TRUTH.npz ...] -o FOLDER`` writes a sheet per run: at three times the frame,
and the animation from 0, 60, 120 and 180 degrees. With a truth, its own views stand below, and a table follows: CD-3D,
CD-4D and CD-M (one scale), and the overlap of the masks from either side. The camera is the true one; only the
distance, which no video tells, is fitted, once per run.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial import cKDTree
from torch import Tensor

from v2m4.animation import Animation
from v2m4.artefacts import finished_run
from v2m4.clip import Clip
from v2m4.evaluation.actionbench import compare_motion
from v2m4.evaluation.surfaces import SurfacePoints
from v2m4.evaluation.truth import Truth, load_truth
from v2m4.export.preview import over_paper
from v2m4.files import replacing
from v2m4.geometry.camera import Camera
from v2m4.geometry.mesh import Mesh
from v2m4.masks import mask_iou
from v2m4.render import render_fast
from v2m4.render.pictures import render_rgba

CELL, TIMES, SHOWN, ASKED = 288, 3, (0, 60, 120, 180), (0, 60, 90, 120, 180)
POINTS, POSES = 4000, 6  # surface points for the distance and the chamfers, and poses that are compared


def about(points: Tensor, degrees: float) -> Camera:
    """The reference camera, travelled about the vertical through the middle of points (…,3) in its space."""
    flat = points.reshape(-1, 3)
    middle = (flat.amin(0) + flat.amax(0)) / 2
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    matrix = torch.eye(4)
    matrix[:3, :3] = torch.tensor([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    matrix[:3, 3] = middle - matrix[:3, :3] @ middle
    return Camera(matrix)


def fitted_distance(ours: Mesh, theirs: Mesh) -> float:
    """The factor about the camera that brings our surface nearest to the true one."""
    rng = np.random.default_rng(0)
    x, y = (
        SurfacePoints.draw(v, f, POINTS, rng).on(v, f)
        for v, f in ((m.vertices.double().numpy(), m.faces.numpy()) for m in (ours, theirs))
    )
    tree = cKDTree(y)

    def gap(factor: float) -> float:
        return float(tree.query(factor * x)[0].mean() + cKDTree(factor * x).query(y)[0].mean())

    return min(y[:, 2].mean() / x[:, 2].mean() * np.linspace(0.85, 1.15, 31), key=gap)


def mask_of(mesh: Mesh, camera: Camera) -> NDArray[np.bool_]:
    """(CELL,CELL) where the mesh is seen."""
    images = render_fast(mesh, camera, CELL, ("mask",))
    assert images.mask is not None
    return images.mask[0].numpy() > 0.5


def shown_at(clip: Clip, truth: Truth) -> NDArray[np.float64]:
    """(T,) when the animation shows each of the truth's poses: a folder of pictures says nothing of their rate."""
    return np.asarray(clip.times if len(clip) == len(truth.times) else truth.times)


def overlaps(animation: Animation, truth: Truth, times: NDArray[np.float64], factor: float) -> list[float]:
    """Mean over poses and both directions of the masks' IoU, per angle asked for. times: (T,) of the truth's poses."""
    seen = truth.in_camera_space()
    rows = []
    for index in np.linspace(0, len(times) - 1, TIMES).round().astype(int):
        ours = animation.mesh_at(float(times[index]))
        ours = ours.with_vertices(ours.vertices * factor)
        theirs = truth.mesh.with_vertices(seen[index])
        cameras = [[about(seen[index], sign * a) for sign in (1, -1)] for a in ASKED]
        rows.append([np.mean([mask_iou(mask_of(ours, c), mask_of(theirs, c)) for c in pair]) for pair in cameras])
    return [float(v) for v in np.mean(rows, axis=0)]


def sheet(animation: Animation, clip: Clip, truth: Truth | None) -> NDArray[np.uint8]:
    """Rows: times, the truth's below ours. Columns: the frame, then the angles shown."""
    rows = []
    for index in np.linspace(0, len(clip) - 1, TIMES).round().astype(int):
        time = float(clip.times[index])
        shown = [(animation.mesh_at(time), animation.vertices)]
        if truth is not None:
            seen = truth.in_camera_space()
            nearest = int(np.abs(shown_at(clip, truth) - time).argmin())
            shown.append((truth.mesh.with_vertices(seen[nearest]), seen))
        with Image.fromarray(over_paper(clip.frame(int(index)))) as picture:
            frame = np.asarray(picture.resize((CELL, CELL), Image.Resampling.LANCZOS))
        for mesh, poses in shown:
            views = [over_paper(render_rgba(mesh, about(poses, a), CELL)) for a in SHOWN]
            rows.append(np.concatenate([frame, *views], axis=1))
    return np.concatenate(rows)


def measured(animation: Animation, clip: Clip, truth: Truth) -> list[float]:
    """CD-3D, CD-4D, CD-M, and the overlaps per angle."""
    seen, times = truth.in_camera_space(), shown_at(clip, truth)
    which = np.linspace(0, len(times) - 1, POSES).round().astype(int)
    ours = torch.stack([animation.mesh_at(float(times[i])).vertices for i in which])
    faces = animation.mesh_at(0.0).faces
    found = compare_motion(ours, faces, seen[which], truth.mesh.faces, per_axis=False, points=3 * POINTS)
    first = animation.mesh_at(float(times[0]))
    factor = fitted_distance(first, truth.mesh.with_vertices(seen[0]))
    return [found.cd_3d, found.cd_4d, found.cd_m, *overlaps(animation, truth, times, factor)]


def main() -> None:
    """Write the sheets and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="RUN[:TRUTH]", help="a finished run's folder, and its truth")
    parser.add_argument("-o", "--output", type=Path, default=Path("output/turnaround"))
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    print("run                        CD-3D  CD-4D  CD-M   " + "  ".join(f"IoU {a:<3d}" for a in ASKED))
    for entry in options.runs:
        folder, _, path = entry.partition(":")
        animation, clip = finished_run(Path(folder))
        truth = load_truth(Path(path)) if path else None
        with replacing(options.output / f"{Path(folder).name}.png") as temporary:
            Image.fromarray(sheet(animation, clip, truth)).save(temporary, format="PNG")
        numbers = measured(animation, clip, truth) if truth is not None else []
        print(f"{Path(folder).name:<26} " + "  ".join(f"{v:.3f}" for v in numbers), flush=True)


if __name__ == "__main__":
    main()
