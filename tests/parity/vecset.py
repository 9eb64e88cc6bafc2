"""What the parity checks of vector-set generators share."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor, nn

from tests.parity.runner import Measure, compare, group, manifest_measures
from v2m4.generators.vecset.surface import Extraction
from v2m4.nn.weights import Renaming, load_strictly, renamed

Tensors = dict[str, Tensor]


def loaded(model: nn.Module, weights: Mapping[str, Tensor], rules: tuple[Renaming, ...] = ()) -> Any:
    """`model` with `weights` under the official names, every one of which must be used."""
    load_strictly(model, renamed(weights, rules), "parity")
    return model.to(next(iter(weights.values())).device).eval()


class Recorder:
    """Keeps what named submodules return: `names` maps a module's name to the fixture's."""

    def __init__(self, model: nn.Module, names: Mapping[str, str]) -> None:
        self.seen: Tensors = {}
        for name, module in model.named_modules():
            if name in names:
                module.register_forward_hook(self._keep(names[name]))

    def _keep(self, key: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def hook(module: nn.Module, arguments: Any, output: Tensor) -> None:
            self.seen[key] = output

        return hook


def numbered(pattern: str, target: str, count: int) -> dict[str, str]:
    """Names of numbered submodules: "blocks.{}" -> "block.{}"."""
    return {pattern.format(k): target.format(k) for k in range(count)}


def only(got: Mapping[str, Tensor], tensors: Tensors, tolerance: float) -> list[Measure]:
    """Every `out.*` of the fixture against `got`."""
    return compare(got, group(tensors, "out"), tolerance)


def field_of(description: str) -> Callable[[Tensor], Tensor]:
    """The analytic field that a fixture names at the start of its description: points (N, 3) -> logits (N,)."""
    name = description.split(".")[0].split(":")[0].strip()

    def torus_ball(p: Tensor) -> Tensor:
        ring = torch.stack([p[:, :2].norm(dim=1) - 0.6, p[:, 2]], dim=1).norm(dim=1)
        ball = (p - p.new_tensor([0.1, -0.05, 0.15])).norm(dim=1)
        return 12 * torch.maximum(0.22 - ring, 0.25 - ball)

    def ellipsoid(p: Tensor) -> Tensor:
        x, y, z = p.unbind(1)
        return 9 * (1 - torch.stack([x / 0.7, (y - 0.1) / 0.5, (z + 0.1) / 0.8], dim=1).norm(dim=1))

    return {"torus_ball": torus_ball, "ellipsoid": ellipsoid}[name]


def unpacked(bits: Tensor, size: Tensor) -> Tensor:
    """The row-major boolean grid that `numpy.packbits` wrote."""
    shape = tuple(size.tolist())
    flat = np.unpackbits(bits.cpu().numpy())[: math.prod(shape)]
    return torch.from_numpy(flat.astype(bool)).view(shape).to(bits.device)


def by_pixels(name: str, got: Any, want: Tensor, tolerance: float) -> Measure:
    """Largest difference of two pictures, in their own unit; infinite if the sizes differ."""
    got = got if isinstance(got, Tensor) else torch.from_numpy(np.array(got))
    if got.shape != want.shape:
        return Measure(name, math.inf, tolerance)
    return Measure(name, float((got.cpu().double() - want.cpu().double()).abs().max()), tolerance)


def tolerances(meta: Mapping[str, Any]) -> dict[str, float]:
    """The tolerances that a fixture states, by name."""
    found: dict[str, float] = json.loads(meta.get("tolerance", "{}"))
    return found


def manifest_state(shapes: Mapping[str, Any]) -> Tensors:
    """Tensors without storage, of the manifest's names and shapes."""
    return {name: torch.empty(tuple(shape), device="meta") for name, shape in shapes.items()}


def manifest_measures_of(
    model: nn.Module, state: Mapping[str, Tensor], parameters: int | None = None, rules: tuple[Renaming, ...] = ()
) -> list[Measure]:
    """Keys and shapes of an official checkpoint against the model's, strict loading, and the number of parameters."""
    state = renamed(state, rules)
    want: dict[str, tuple[Any, str | None]] = {name: (tuple(tensor.shape), None) for name, tensor in state.items()}
    measures = manifest_measures(model.state_dict(), want)
    load_strictly(model, state, "parity")
    if parameters is not None:
        count = sum(p.numel() for p in model.parameters())
        measures.append(Measure("number of parameters", float(abs(count - parameters)), 0.0))
    return measures


def surface_distance(vertices: Tensor, faces: Tensor, others: Tensor, other_faces: Tensor) -> float:
    """Largest distance of a vertex of the first mesh from the second's surface; infinite where one is empty."""
    if not len(faces) or not len(other_faces):
        return math.inf
    return _farthest(vertices, others, other_faces)


def surface_measures(
    name: str, mesh: tuple[Tensor, Tensor], wanted: tuple[Tensor, Tensor], grid: Extraction, tolerance: float
) -> list[Measure]:
    """Distances of two meshes made from one grid, both ways, in units of its cube."""
    edges = on_edges(wanted[0], grid.bound, grid.divisions)
    missed = _farthest(edges, *mesh) if len(mesh[1]) and len(edges) else math.inf
    return [
        Measure(f"{name} from the original's", surface_distance(*mesh, *wanted), tolerance),
        Measure(f"the original's from {name}", missed, tolerance),
    ]


def _farthest(points: Tensor, vertices: Tensor, faces: Tensor) -> float:
    import trimesh

    points, vertices = (t.detach().cpu().double().numpy() for t in (points, vertices))
    far = cKDTree(vertices).query(points)[0]  # most vertices have a twin there; only the others need the faces
    apart = points[far > 1e-7]
    if not len(apart):
        return float(far.max())
    mesh = trimesh.Trimesh(vertices, faces.cpu().numpy(), process=False)
    distance = _to_triangles(apart, mesh.triangles)
    return float(max(distance.max(), far[far <= 1e-7].max(initial=0.0)))


def _to_triangles(points: Any, triangles: Any, nearby: int = 64) -> Any:
    """(N,) distance of points to the nearest of their `nearby` triangles by centre."""
    from trimesh.triangles import closest_point

    count = min(nearby, len(triangles))
    index = cKDTree(triangles.mean(1)).query(points, k=count)[1].reshape(len(points), count)
    best = np.full(len(points), np.inf)
    for column in index.T:
        best = np.minimum(best, np.linalg.norm(closest_point(triangles[column], points) - points, axis=1))
    return best


def on_edges(vertices: Tensor, bound: float, divisions: int) -> Tensor:
    """The vertices that lie on edges of the grid.

    Lewiner's tables, with which the fixtures were made, put one more vertex inside a few ambiguous cells. Every other
    vertex is determined by the grid, this one is not: ours leave it out, and it is not compared.
    """
    index = (vertices.double() + bound) * (divisions / (2 * bound))
    off = (index - index.round()).abs() > 1e-3
    return vertices[off.sum(1) < 2]


def volume_of(vertices: Tensor, faces: Tensor) -> float:
    """Signed volume, positive where faces are counter-clockwise from outside; of an open mesh, as seen from 0."""
    a, b, c = vertices.double()[faces.long()].unbind(1)
    return float((a * torch.linalg.cross(b, c)).sum() / 6)


def same_side(vertices: Tensor, faces: Tensor, wanted: float) -> Measure:
    """Whether the faces look to the same side as those of a mesh of the volume `wanted`."""
    return Measure("volume has the other sign", float(volume_of(vertices, faces) * wanted <= 0), 0.0)
