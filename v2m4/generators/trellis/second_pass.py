"""TRELLIS's object taken up again: from the tensors that the first pass left to what refinement works with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from v2m4.errors import V2M4Error
from v2m4.generators.trellis.conditioning import negative_condition
from v2m4.generators.trellis.flexicubes import MeshResult
from v2m4.generators.trellis.model import TrellisModel
from v2m4.generators.trellis.sampler import SamplerSettings
from v2m4.generators.trellis.voxels import Voxels
from v2m4.geometry.cleanup import clean
from v2m4.geometry.mesh import Mesh
from v2m4.render.gaussians import Gaussians

if TYPE_CHECKING:
    from v2m4.generators.trellis.predictor import TrellisSample

_NEEDED = ("cond", "coords", "noise")


def pack(sample: TrellisSample) -> dict[str, Tensor]:
    """What a second pass needs of the first one, as tensors that can be stored: cond (K,T,C), coords (N,4) int32,
    noise (N,8) and the first pass's latent, slat (N,8)."""
    return {
        "cond": sample.cond.float(),
        "coords": sample.voxels.coords.int(),
        "noise": sample.noise.float(),
        "slat": sample.slat.float(),
    }


class SecondPass:
    """Fulfils `stages.refinement.LatentObject`: the latent flow on known voxels from known noise, and the decoders."""

    def __init__(self, model: TrellisModel, extras: Mapping[str, Tensor], sampling: SamplerSettings, max_faces: int):
        """``extras``: from `pack`. ``sampling``: that of the first pass. The mesh has ``max_faces`` at most."""
        missing = [name for name in _NEEDED if name not in extras]
        if missing:
            raise V2M4Error(f"The keyframe's TRELLIS data lack {', '.join(missing)}. Generate its mesh again.")
        self.model = model
        self.sampling = sampling
        self.max_faces = max_faces
        self.cond = extras["cond"].to(model.device)
        self.negative = negative_condition(self.cond)
        self.noise = extras["noise"].to(model.device)
        self.first = extras["slat"].to(model.device) if "slat" in extras else None
        self.voxels = Voxels(extras["coords"].to(model.device))
        self._velocity = model.latent_velocity(self.voxels)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Networks on the device, and blocks recomputed in the backward pass instead of remembered."""
        networks = (self.model.latent_flow, self.model.mesh_decoder, self.model.gaussian_decoder)
        with self.model.resident(*networks):
            self.model.set_checkpointing(True)
            try:
                yield
            finally:
                self.model.set_checkpointing(False)

    def velocity(self, x: Tensor, t: float, cond: Tensor) -> Tensor:
        """See `sampler.VelocityModel`."""
        return self._velocity(x, t, cond)

    def denormalise(self, x: Tensor) -> Tensor:
        """What the flow makes -> what the decoders take."""
        return self.model.denormalise(x)

    def decode_mesh(self, slat: Tensor) -> MeshResult:
        """Latent (N,8) -> mesh with colours, differentiable."""
        return self.model.decode_mesh(slat, self.voxels)[0]

    def decode_gaussians(self, slat: Tensor) -> Gaussians:
        """Latent (N,8) -> Gaussians, differentiable."""
        return self.model.decode_gaussians(slat, self.voxels)[0]

    @torch.no_grad()
    def finish(self, slat: Tensor) -> Mesh:
        """The final mesh of a latent, cleaned up. Raises V2M4Error if it has no surface."""
        result = self.decode_mesh(slat)
        if not result.success:
            raise V2M4Error("TRELLIS made an object without a surface. Try another seed or another generator.")
        return clean(Mesh(result.vertices, result.faces, colors=result.attributes[:, :3]), self.max_faces)
