"""What stands in for trained weights where random ones would make rubbish that later stages cannot work on.

The networks run at full cost and through the real loading code. What they make is replaced only where it decides about
sizes or about success: the occupied voxels (a shell of natural number), the distances that the mesh decoder gives (a
bumpy ball's, so that extraction meets a surface of natural size), the mesh that is handed on (the known one of that
keyframe, remeshed so that no two share vertices), and the score of a rendering (to DreamSim's the weight-free
distance is added, so that the search finds the camera).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from benchmarks.bench_pipeline import EXAMPLES, z_up
from benchmarks.bench_registration import remesh
from benchmarks.bench_trellis import VOXELS, distance, shell
from v2m4.evaluation.truth import Truth, load_truth
from v2m4.generators import GENERATORS, Generated, GeneratorPlug
from v2m4.generators.trellis.flexicubes import CORNERS
from v2m4.generators.trellis.model import TrellisModel
from v2m4.generators.trellis.predictor import Trellis
from v2m4.generators.trellis.second_pass import SecondPass
from v2m4.generators.trellis.voxels import Voxels
from v2m4.geometry.mesh import Mesh
from v2m4.perceptual import PERCEPTUALS
from v2m4.perceptual.dreamsim import DreamSim
from v2m4.perceptual.structure import Level, Prepared, Structure
from v2m4.registry import Plug
from v2m4.render.texture import sample_texture
from v2m4.settings import Settings

STRIDE = 5
"""Frames between keyframes, the first of which is frame 0."""


@cache
def known() -> Truth:
    """The sequence that the clip shows."""
    return load_truth(EXAMPLES / "truth" / "bird.npz")


@cache
def known_mesh(frame: int, faces: int) -> Mesh:
    """The object in a frame, in its canonical pose (z up, in a unit box), with vertices of its own, coloured."""
    truth = known()
    low, high = truth.vertices.amin((0, 1)), truth.vertices.amax((0, 1))
    posed = (truth.vertices[frame] - (low + high) / 2) / (high - low).max()
    mesh = remesh(z_up(posed), truth.mesh.faces, faces)
    _, nearest = cKDTree(z_up(posed).numpy()).query(mesh.vertices.numpy())
    return Mesh(mesh.vertices, mesh.faces, colors=vertex_colors(truth.mesh)[nearest])


def vertex_colors(mesh: Mesh) -> Tensor:
    """(V,3) the texture at each vertex, averaged over its faces' corners."""
    assert mesh.texture is not None and mesh.uv is not None and mesh.uv_faces is not None
    corner = mesh.faces.reshape(-1)
    colors = sample_texture(mesh.texture, mesh.uv[mesh.uv_faces.reshape(-1)])
    total = torch.zeros(len(mesh.vertices), 3).index_add(0, corner, colors)
    return total / torch.bincount(corner, minlength=len(mesh.vertices)).clamp_min(1)[:, None]


class KnownTrellis(Trellis):
    """TRELLIS, its weights from the checkpoint; see the module's text for what is replaced."""

    voxels = VOXELS
    made = 0
    """Objects so far, those that processes before this one made included."""

    def model(self, device: torch.device | str | None = None) -> TrellisModel:
        """The model, whose decoders' output is replaced from its first use on."""
        fresh = not self._models
        model = super().model(device)
        if fresh:
            decode = model.decode_structure

            def decode_structure(z: Tensor) -> Voxels:
                decode(z)
                return shell(model.latent_flow.resolution, self.voxels, model.device)

            model.decode_structure = decode_structure  # type: ignore[method-assign]
            model.mesh_decoder.register_forward_hook(BumpyBall(model.mesh_decoder.grid_resolution))
        return model

    def __call__(
        self, reference: NDArray[np.uint8], rng: torch.Generator, device: torch.device | str | None = None
    ) -> Generated:
        made = super().__call__(reference, rng, device)
        frame = STRIDE * self.made  # keyframes are made in order, for the first is the anchor
        self.made += 1
        return Generated(self._known(frame), None, {**made.extras, "frame": torch.tensor([frame])})

    def resume(self, extras: Mapping[str, Tensor], device: torch.device | str | None = None) -> SecondPass:
        model = self.model(device)
        sampling = self._sampling(model.latent_sampling)
        again = KnownSecondPass(model, extras, sampling, self.settings)
        again.known = self._known(int(extras["frame"]))
        return again

    def _known(self, frame: int) -> Mesh:
        return known_mesh(min(frame, len(known().vertices) - 1), self.settings.max_faces)


class KnownSecondPass(SecondPass):
    """The object taken up again; the mesh that it ends with is ``known``."""

    known: Mesh

    def finish(self, slat: Tensor) -> Mesh:
        super().finish(slat)
        return self.known


class BumpyBall:
    """Gives the mesh decoder's channels the distances of a bumpy ball, displaced a little by what it made itself."""

    def __init__(self, side: int) -> None:
        self.side = side
        self._known: dict[int, Tensor] = {}

    def __call__(self, decoder: Any, inputs: Any, output: tuple[Tensor, Voxels]) -> tuple[Tensor, Voxels]:
        features, fine = output
        if len(features) not in self._known:
            points = (fine.coords[:, None, 1:] + CORNERS.to(features.device)) / self.side - 0.5
            self._known[len(features)] = distance(points).to(features.dtype)
        return _OnBall.apply(features, self._known[len(features)], self.side), fine


class _OnBall(torch.autograd.Function):
    """Distances from ``known``, displaced a little, and small deformations and weights; in place, since a copy of all
    channels would be the largest tensor of the refinement."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, known: Tensor, side: int) -> Tensor:
        ctx.mark_dirty(features)
        ctx.side = side
        bent = features[:, :8].tanh()
        ctx.save_for_backward(bent)
        features[:, :8] = known + (1 + 0.1 * bent) / side
        features[:, 8:53] *= 0.1
        return features

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (bent,) = ctx.saved_tensors
        grad = grads[0].clone()
        grad[:, :8] *= 0.1 * (1 - bent * bent) / ctx.side
        grad[:, 8:53] *= 0.1
        return grad, None, None


class SightedDreamSim(DreamSim):
    """DreamSim, whose network runs, plus the weight-free distance, which decides."""

    def prepare(self, reference: Tensor) -> Any:
        levels = [tuple(vars(level).values()) for level in Structure(self.device).prepare(reference).levels]
        return super().prepare(reference), levels

    def __call__(self, prepared: Any, images: Tensor) -> Tensor:
        known, levels = prepared
        structure = Structure(self.device)(Prepared([Level(*tensors) for tensors in levels]), images)
        return 0.01 * super().__call__(known, images) + structure


def install(toy: bool) -> None:
    """Enter the stand-ins under the names of what they stand for; makes the known meshes, before any clock runs."""
    real, score = GENERATORS["trellis"], PERCEPTUALS["dreamsim"]
    GENERATORS["trellis"] = GeneratorPlug(
        **{**vars(real), "target": "benchmarks.stand_in:KnownTrellis"},
    )
    PERCEPTUALS["dreamsim"] = Plug(**{**vars(score), "target": "benchmarks.stand_in:SightedDreamSim"})
    for frame in range(0, len(known().vertices), STRIDE):
        known_mesh(frame, 500 if toy else Settings().generator.max_faces)
    if toy:
        KnownTrellis.voxels = 120
