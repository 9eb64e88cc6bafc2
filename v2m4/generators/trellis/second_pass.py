"""TRELLIS's object taken up again: from the tensors that the first pass left to what refinement works with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property

import torch
from torch import Tensor

from v2m4.errors import NoSurfaceError, V2M4Error
from v2m4.generators.trellis.conditioning import negative_condition
from v2m4.generators.trellis.flexicubes import MeshResult, TouchedCorners, extract, touched_corners
from v2m4.generators.trellis.model import TrellisModel, TrellisSample
from v2m4.generators.trellis.sampler import SamplerSettings, clean_estimate, time_points
from v2m4.generators.trellis.voxels import Voxels
from v2m4.geometry.cleanup import clean
from v2m4.geometry.mesh import Mesh
from v2m4.nn.cuda_graphs import GraphPool, Recorded, branches, warm_up
from v2m4.render.splats import Gaussians
from v2m4.settings import GeneratorSettings

TensorFunction = Callable[..., Tensor]
_NEEDED = ("cond", "coords", "noise")


def pack(sample: TrellisSample) -> dict[str, Tensor]:
    """What a second pass needs of the first one, as tensors that can be stored: cond (K,T,C), coords (N,4) int32,
    noise (N,8), and of the first pass the latent, slat (N,8), and the guided steps' states (S,N,8)."""
    return {
        "cond": sample.cond.float(),
        "coords": sample.voxels.coords.int(),
        "noise": sample.noise.float(),
        "slat": sample.slat.float(),
        "states": sample.states.float(),
    }


class SecondPass:
    """Fulfils `stages.refinement.LatentObject`: the latent flow on known voxels from known noise, and the decoders.

    Inside `at_work` on a CUDA device, what a decoder returns is overwritten by its next call.
    """

    def __init__(
        self,
        model: TrellisModel,
        extras: Mapping[str, Tensor],
        sampling: SamplerSettings,
        settings: GeneratorSettings,
        remember: bool = False,
    ) -> None:
        """``extras``: from `pack`. ``sampling``: that of the first pass. ``settings``: how its mesh is cleaned up.

        ``remember``: keep on a GPU what the decoders' backward passes need instead of computing it again; an eighth
        faster, but takes 2.6 GB more. The flow's are kept if the settings say so.
        """
        missing = [name for name in _NEEDED if name not in extras]
        if missing:
            raise V2M4Error(f"The keyframe's TRELLIS data lack {', '.join(missing)}. Generate its mesh again.")
        self.model = model
        self.sampling = sampling
        self.guidance = sampling.guidance
        self.times = time_points(sampling.steps, sampling.rescale_t).tolist()
        self.settings = settings
        self.remember = remember
        self.cond = extras["cond"].to(model.device)
        self.negative = negative_condition(self.cond)
        self.noise = extras["noise"].to(model.device)
        self.first = extras["slat"].to(model.device) if "slat" in extras else None
        self.states = extras.get("states", extras["noise"][None]).to(model.device)
        self.voxels = Voxels(extras["coords"].to(model.device))
        # Recorded networks, while at work. (A method of its own kept here would keep the object alive for ever.)
        self._flow: TensorFunction | None = None
        self._mesh_decoder: TensorFunction | None = None
        self._gaussian_decoder: TensorFunction | None = None

    @property
    def at_once(self) -> bool:
        """Whether both decoders may work at the same time."""
        return not self.model.low_vram

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Networks on the device and, unless they are to be remembered, blocks recomputed in the backward pass.

        On a CUDA device the networks are recorded as graphs, for launching their kernels would take longer than the
        kernels themselves. Each has memory of its own, and the decoders work at the same time; where memory is short
        they share it, so that only one of them at a time keeps what its backward pass needs.
        """
        model = self.model
        on_gpu = model.device.type == "cuda"
        with model.resident(model.latent_flow, model.mesh_decoder, model.gaussian_decoder):
            model.set_checkpointing(True)
            try:
                if on_gpu:
                    self._record()
                yield
            finally:
                model.set_checkpointing(False)
                self._flow = self._mesh_decoder = self._gaussian_decoder = None

    def _record(self) -> None:
        time = torch.zeros(1, device=self.model.device)
        calls: list[tuple[TensorFunction, int, tuple[Tensor, ...]]] = [
            (self._latent_flow, 2, (self.noise, time, self.negative.float())),
            (self._decode_features, 0, (self.noise,)),
            (self._decode_raw, 0, (self.noise,)),
        ]
        # The mesh decoder works while the other two, or the comparison of pictures, do: see `Recorded`.
        streams = (None, branches(torch.cuda.current_stream().cuda_stream, 2)[1], None)
        for (function, wanted, examples), stream in zip(calls, streams, strict=True):
            # Recomputing: what this takes would add to the peak.
            warm_up(function, wanted, *examples, stream=stream, slopes=not self.model.rehearsed)
        # What the up-sampling keeps is small; what the decoders' transformers keep is not.
        self.model.set_checkpointing(not self.remember)
        self.model.latent_flow.checkpointing = self.model.low_vram or not self.settings.trellis.remember
        own, shared = GraphPool(), GraphPool()
        pools = (own, shared, GraphPool() if self.at_once else shared)
        try:
            self._flow, self._mesh_decoder, self._gaussian_decoder = (
                Recorded(function, wanted, *examples, pool=pool, warm=True, stream=stream)
                for (function, wanted, examples), pool, stream in zip(calls, pools, streams, strict=True)
            )
        except RuntimeError:
            if not self.model.rehearsed:
                raise
            # For this many voxels a library wants something that cannot be recorded.
            self.model.rehearsed = False
            self.model.set_checkpointing(True)
            self._record()
        self.model.rehearsed = True

    def _latent_flow(self, x: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        velocity: Tensor = self.model.latent_flow(x, self.voxels, t, cond)
        return velocity

    def _decode_features(self, slat: Tensor) -> Tensor:
        features: Tensor = self.model.mesh_decoder(slat, self.voxels)[0]
        return features

    def _decode_raw(self, slat: Tensor) -> Tensor:
        raw: Tensor = self.model.gaussian_decoder(slat, self.voxels)
        return raw

    def velocity(self, x: Tensor, t: float, cond: Tensor) -> Tensor:
        """See `sampler.VelocityModel`. The result is a tensor of its own."""
        flow = self._flow or self._latent_flow
        return flow(x, torch.full((1,), t, device=x.device), cond.float()).clone()

    def clean_estimate(self, x: Tensor, v: Tensor, t: float) -> Tensor:
        """The data that velocity ``v`` at state ``x`` and time ``t`` in [0,1] points to."""
        return clean_estimate(x, v, t, self.sampling.sigma_min)

    def denormalise(self, x: Tensor) -> Tensor:
        """What the flow makes -> what the decoders take."""
        return self.model.denormalise(x)

    def decode_mesh(self, slat: Tensor) -> MeshResult:
        """Latent (N,8) -> mesh with colours, differentiable."""
        return self.extract(self.mesh_features(slat))

    def mesh_features(self, slat: Tensor) -> Tensor:
        """Latent (N,8) -> the mesh decoder's channels (64 N,101), differentiable."""
        return (self._mesh_decoder or self._decode_features)(slat)

    def extract(self, features: Tensor) -> MeshResult:
        """The mesh decoder's channels (64 N,101) -> mesh."""
        fine = self.voxels.fine.fine
        return extract(
            fine.coords[:, 1:], features, self.model.mesh_decoder.grid_resolution, self.corners, normals=False
        )

    @cached_property
    def corners(self) -> TouchedCorners:
        """Corners of the voxels that the mesh decoder fills."""
        return touched_corners(self.voxels.fine.fine.coords[:, 1:], self.model.mesh_decoder.grid_resolution)

    def decode_gaussians(self, slat: Tensor) -> Gaussians:
        """Latent (N,8) -> Gaussians, differentiable."""
        raw = (self._gaussian_decoder or self._decode_raw)(slat)
        return self.model.gaussian_decoder.gaussians(raw, self.voxels.coords[:, 1:])

    @torch.no_grad()
    def finish(self, slat: Tensor) -> Mesh:
        """The final mesh of a latent, cleaned up. Raises V2M4Error if it has no surface."""
        result = self.decode_mesh(slat)
        if not result.success:
            raise NoSurfaceError("TRELLIS made an object without a surface. Try another seed or another generator.")
        mesh = Mesh(result.vertices, result.faces, colors=result.attributes[:, :3])
        return clean(mesh, self.settings.max_faces, self.settings.cleanup)
