"""How fast the rasteriser is, on this machine.

    python -m benchmarks.bench_render [--faces 5000] [--views 40]

Milliseconds per view of an ellipsoid that fills half of the picture: without gradients (`render_fast`), with them
(`render`, forward and backward), and visibility alone by the PyTorch version, for comparison.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable

import numpy as np
import torch
import trimesh

from v2m4.geometry.camera import surrounding_cameras
from v2m4.geometry.mesh import Mesh
from v2m4.render import render, render_fast
from v2m4.render.visibility import visible_triangles_numba, visible_triangles_torch


def milliseconds(work: Callable[[], object], views: int) -> float:
    """Per view, the best of three runs after one to warm up."""
    work()
    best = math.inf
    for _ in range(3):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best / views * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faces", type=int, default=5000)
    parser.add_argument("--views", type=int, default=40)
    options = parser.parse_args()
    body = trimesh.creation.icosphere(max(1, round(math.log(options.faces / 20, 4))))
    vertices = torch.tensor(np.asarray(body.vertices) * [0.35, 0.5, 0.5]).float()
    faces = torch.tensor(np.asarray(body.faces)).long()
    flat = torch.stack([vertices[:, 0] * 1.2 + 0.5, vertices[:, 1] + 0.5], dim=1)
    texture = torch.rand(1024, 1024, 3, generator=torch.Generator().manual_seed(0))
    mesh = Mesh(vertices, faces, uv=flat, uv_faces=faces, texture=texture)
    camera = surrounding_cameras(options.views, 2.0)
    clip = camera.clip(vertices)
    print(f"{len(faces)} faces, {options.views} views, {torch.get_num_threads()} threads; milliseconds per view")
    print(f"{'':42s}" + "".join(f"{size:>8d}" for size in (112, 224, 512)))

    def line(name: str, work: Callable[[int], object]) -> None:
        print(
            f"{name:42s}" + "".join(f"{milliseconds(lambda s=s: work(s), options.views):8.2f}" for s in (112, 224, 512))
        )

    line("visibility, numba", lambda s: visible_triangles_numba(clip, faces, s, s))
    line("visibility, PyTorch", lambda s: visible_triangles_torch(clip, faces, s, s))
    line("render_fast mask", lambda s: render_fast(mesh, camera, s, ("mask",)))
    line("render_fast mask, depth, normal", lambda s: render_fast(mesh, camera, s, ("mask", "depth", "normal")))
    line("render_fast mask, textured colour", lambda s: render_fast(mesh, camera, s, ("mask", "color")))

    def descent(size: int, want: tuple[str, ...]) -> None:
        leaf = vertices.clone().requires_grad_()
        images = render(mesh.with_vertices(leaf), camera, size, want)
        sum(getattr(images, k).square().sum() for k in want).backward()

    line("render and backward, mask", lambda s: descent(s, ("mask",)))
    line("render and backward, normal", lambda s: descent(s, ("normal",)))
    line("render and backward, textured colour", lambda s: descent(s, ("color",)))


if __name__ == "__main__":
    main()
