"""Registration between true frames that share no vertices: how far, how tangled, how long.

    python -m benchmarks.bench_registration [FOLDER_OR_NPZ ...] [--preset fast] [--step 5] [--pairs 3] [--seeds 1]

Each sequence is an .npz of known geometry, as the examples and the evaluation have them. The first frame
of a pair, its faces cut finer, is registered to the second, which has been remeshed. `error` is the mean distance, over
points spread evenly on the surface, from where they truly are, in percent of the bounding box's diagonal; `still` is
what leaving the mesh alone would give; `flipped` the share of faces turned over against the truth.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import trimesh
from torch import Tensor

from v2m4.errors import V2M4Error
from v2m4.evaluation.truth import load_truth
from v2m4.events import drain
from v2m4.geometry.mesh import Mesh, face_normals
from v2m4.geometry.sampling import sample_surface, surface_points
from v2m4.settings import MeshToMeshSettings, Settings, changed
from v2m4.stages.registration.meshes import register_meshes

ROOT = Path(__file__).parent.parent
FACES = 4000
UPRIGHT = torch.tensor([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])  # z up to the truth's y up


def sequences(paths: list[Path]) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Name, (T,V,3) welded vertices in a unit box and (F,3) faces of every sequence in the files and folders."""
    for path in paths:
        for file in sorted(path.rglob("*.npz")) if path.is_dir() else [path]:
            try:
                truth = load_truth(file)
            except V2M4Error:
                continue
            vertices, faces = truth.vertices.double().numpy(), truth.mesh.faces.numpy()
            # Vertices that coincide in every frame are one.
            motion = np.round(vertices.transpose(1, 0, 2).reshape(vertices.shape[1], -1), 5)
            _, first, inverse = np.unique(motion, axis=0, return_index=True, return_inverse=True)
            faces = inverse.reshape(-1)[faces]
            faces = faces[(faces != np.roll(faces, 1, 1)).all(1)]
            vertices = vertices[:, first]
            low, high = vertices.min((0, 1)), vertices.max((0, 1))
            vertices = (vertices - (low + high) / 2) / (high - low).max()
            name = file.parent.name if file.stem == "gt" else file.stem
            yield name, torch.from_numpy(vertices).float(), torch.from_numpy(faces)


def subdivide(vertices: Tensor, faces: Tensor, at_least: int) -> tuple[Tensor, Tensor]:
    """Cut the faces of all frames (T,V,3) in four until there are enough."""
    while len(faces) < at_least:
        together = vertices.permute(1, 0, 2).reshape(vertices.shape[1], -1).numpy()
        cut, finer = trimesh.remesh.subdivide(together, faces.numpy())
        vertices = torch.from_numpy(np.asarray(cut)).view(len(cut), -1, 3).permute(1, 0, 2).float()
        faces = torch.from_numpy(np.asarray(finer)).long()
    return vertices, faces


def remesh(vertices: Tensor, faces: Tensor, count: int) -> Mesh:
    """The same surface with other vertices: cut finer, shaken along the surface, simplified."""
    import fast_simplification

    fine, finer = subdivide(vertices[None], faces, 4 * count)
    points, corners = fast_simplification.simplify(
        fine[0].numpy(), finer.numpy().astype(np.int32), target_count=count, agg=5.0
    )
    return Mesh(torch.from_numpy(np.asarray(points)).float(), torch.from_numpy(np.asarray(corners)).long())


def measure(
    start: Tensor,
    truth: Tensor,
    faces: Tensor,
    target: Mesh,
    settings: MeshToMeshSettings,
    seed: int,
    device: torch.device,
) -> str:
    """The rest of a pair's row: one registration from ``start`` (V,3), which should end at ``truth`` (V,3)."""
    rng = torch.Generator().manual_seed(seed)
    began = time.perf_counter()
    found = drain(
        register_meshes(start, Mesh(start, faces), target, settings, rng=rng, frame=UPRIGHT, device=device)
    ).cpu()
    seconds = time.perf_counter() - began
    samples = sample_surface(truth, faces, 20000, rng)
    at = [surface_points(v, faces, *samples) for v in (start, found, truth)]
    diagonal = (truth.amax(0) - truth.amin(0)).norm()
    still, error = (float((p - at[2]).norm(dim=1).mean() / diagonal) * 100 for p in at[:2])
    flipped = ((face_normals(found, faces) * face_normals(truth, faces)).sum(1) < 0).float().mean() * 100
    return f"{len(target.faces):5d} {still:8.3f} {error:8.3f} {float(flipped):9.3f} {seconds:6.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paths", nargs="*", type=Path, default=[ROOT / "assets" / "examples" / "truth"])
    parser.add_argument("--preset", choices=["paper", "fast", "draft"], default="fast")
    parser.add_argument("--step", type=int, default=5, help="frames between the two meshes")
    parser.add_argument("--pairs", type=int, default=3, help="pairs per sequence")
    parser.add_argument("--faces", type=int, default=FACES, help="faces of the second mesh")
    parser.add_argument("--seeds", type=int, default=1, help="runs of each pair, which differ by what is drawn")
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--full-views", action="store_true", help="draw views at their full size, and both attempts whole"
    )
    options = parser.parse_args()
    settings, device = Settings.of(options.preset).registration.meshes, torch.device(options.device)
    if options.full_views:
        settings = changed(settings, {"view_detail": 1.0, "alignment.restart_after": 0})
    where = torch.cuda.get_device_name() if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    print(f"preset {options.preset}, {where}")
    print(f"{'sequence':16s} {'frames':>9s} {'faces':>11s} {'still %':>8s} {'error %':>8s} {'flipped %':>9s} {'s':>6s}")
    for name, vertices, faces in sequences(options.paths):
        vertices, faces = subdivide(vertices, faces, options.faces // 2)
        last = len(vertices) - 1 - options.step
        starts = np.unique(np.linspace(0, max(last, 0), options.pairs).astype(int))
        for start in starts:
            truth = vertices[start + options.step]
            target = remesh(truth, faces, options.faces)
            for seed in range(options.seeds):
                measured = measure(vertices[start], truth, faces, target, settings, seed, device)
                print(f"{name:16s} {start:3d} → {start + options.step:3d} {len(faces):5d} {measured}", flush=True)


if __name__ == "__main__":
    main()
