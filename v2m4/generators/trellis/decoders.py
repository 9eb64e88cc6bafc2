"""Structured latents to shapes: the shared trunk, the mesh decoder (to 101 channels) and the Gaussian decoder."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from v2m4.device import triton_works
from v2m4.errors import V2M4Error
from v2m4.generators.trellis.convolution import SparseConv3d
from v2m4.generators.trellis.layers import (
    BLOCK_NORM_EPS,
    FINAL_NORM_EPS,
    Mlp,
    SelfAttention,
    maybe_checkpoint,
    position_embedding,
    set_torso_dtype,
)
from v2m4.generators.trellis.sparse import SparseGroupNorm, window_self_attention
from v2m4.generators.trellis.structure import require_position_mode
from v2m4.generators.trellis.voxels import Voxels, Windows
from v2m4.nn.layer_norm import add_norm, layer_norm
from v2m4.render.splats import Gaussians

MESH_CHANNELS = 8 + 8 * 3 + 21 + 8 * 6
"""Per fine voxel: 8 signed distances, 8 deformations, 21 FlexiCubes weights, 8 corner colours of 6 channels."""
_ROWS_AT_ONCE = 2**18
SH_BAND_0 = 0.28209479177387814
"""The constant spherical harmonic, 1 / (2 sqrt(pi))."""


class DecoderBlock(nn.Module):
    """Pre-norm transformer block on the rows (N, channels) of a voxel set: attention inside windows, MLP."""

    def __init__(self, channels: int, heads: int, mlp_ratio: float, qk_rms_norm: bool = False) -> None:
        super().__init__()
        self.attn = SelfAttention(channels, heads, qk_rms_norm)
        self.mlp = Mlp(channels, mlp_ratio)

    def forward(self, x: Tensor, windows: Windows) -> Tensor:
        attended = window_self_attention(layer_norm(x, BLOCK_NORM_EPS), self.attn, windows)
        x, h = add_norm(x, attended, None, None, None, BLOCK_NORM_EPS)
        out: Tensor = x + self.mlp(h)
        return out


class SparseTransformerBase(nn.Module):
    """The trunk of both decoders: a linear layer, position embedding and window-attention blocks.

    Every second block shifts its windows by half their size (Liu et al., "Swin Transformer", arXiv 2103.14030,
    without the cyclic part).
    """

    def __init__(
        self,
        in_channels: int,
        model_channels: int,
        num_blocks: int,
        num_heads: int,
        mlp_ratio: float = 4,
        attn_mode: str = "swin",
        window_size: int = 8,
        pe_mode: str = "ape",
        use_fp16: bool = False,
        qk_rms_norm: bool = False,
    ) -> None:
        super().__init__()
        require_position_mode(pe_mode)
        if attn_mode != "swin":
            raise V2M4Error(f"TRELLIS: decoders with “{attn_mode}” attention are unknown; the released ones use swin.")
        self.model_channels = model_channels
        self.window_size = window_size
        self.checkpointing = False
        self.torso_dtype = torch.float32
        self.input_layer = nn.Linear(in_channels, model_channels)
        self.blocks = nn.ModuleList(
            DecoderBlock(model_channels, num_heads, mlp_ratio, qk_rms_norm) for _ in range(num_blocks)
        )
        if use_fp16:
            self.to_torso_dtype(torch.float16)

    def to_torso_dtype(self, dtype: torch.dtype) -> None:
        """Run the blocks in `dtype`; the input layer stays in float32."""
        self.torso_dtype = dtype
        set_torso_dtype(self.blocks, dtype)

    def trunk(self, x: Tensor, voxels: Voxels) -> Tensor:
        """(N, in_channels) -> (N, model_channels) in the dtype of the blocks."""
        h = self.input_layer(x) + position_embedding(voxels.coords[:, 1:], self.model_channels)
        h = h.to(self.torso_dtype)
        for i, block in enumerate(self.blocks):
            windows = voxels.windows(self.window_size, self.window_size // 2 * (i % 2))
            h = maybe_checkpoint(self.checkpointing, block, h, windows)
        return h


class SLatMeshDecoder(SparseTransformerBase):
    """Structured latent -> 101 channels on voxels of 4 times the resolution, which FlexiCubes turns into a mesh."""

    def __init__(
        self,
        resolution: int,
        model_channels: int,
        latent_channels: int,
        num_blocks: int,
        num_heads: int,
        mlp_ratio: float = 4,
        attn_mode: str = "swin",
        window_size: int = 8,
        pe_mode: str = "ape",
        use_fp16: bool = False,
        qk_rms_norm: bool = False,
        representation_config: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(
            latent_channels,
            model_channels,
            num_blocks,
            num_heads,
            mlp_ratio,
            attn_mode,
            window_size,
            pe_mode,
            qk_rms_norm=qk_rms_norm,
        )
        if representation_config is not None and not representation_config.get("use_color", True):
            raise V2M4Error("TRELLIS: mesh decoders without colour are unknown; use microsoft/TRELLIS-image-large.")
        self.resolution = resolution
        self.grid_resolution = 4 * resolution
        self.upsample = nn.ModuleList(
            [
                SubdivideBlock(model_channels, model_channels // 4),
                SubdivideBlock(model_channels // 4, model_channels // 8),
            ]
        )
        self.out_layer = nn.Linear(model_channels // 8, MESH_CHANNELS)
        if use_fp16:
            self.to_torso_dtype(torch.float16)

    def to_torso_dtype(self, dtype: torch.dtype) -> None:
        """Run blocks and up-sampling in `dtype`; the layers at both ends stay in float32."""
        super().to_torso_dtype(dtype)
        if hasattr(self, "upsample"):
            set_torso_dtype(self.upsample, dtype)

    def forward(self, x: Tensor, voxels: Voxels) -> tuple[Tensor, Voxels]:
        """(N, latent_channels) on `voxels` -> ((64 N, 101) float32, the voxels two levels finer)."""
        h = self.trunk(x, voxels)
        keeps_little = h.is_cuda and triton_works(h.device)
        for block in self.upsample:
            h = maybe_checkpoint(self.checkpointing and not keeps_little, block, h, voxels)
            voxels = voxels.fine
        weight, bias = self.out_layer.weight, self.out_layer.bias
        if h.is_cuda and h.dtype != torch.float32 and not weight.requires_grad:
            return _LastLayer.apply(h, weight, bias), voxels
        return self.out_layer(h.float()), voxels


class _LastLayer(torch.autograd.Function):
    """The linear layer (N, C) -> (N, out) in float32 on rows in half precision, a part of them at a time: all of them
    in float32 would be the decoder's largest tensor but for its output."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.dtype = h.dtype
        out = torch.empty(len(h), len(weight), dtype=torch.float32, device=h.device)
        for rows, part in zip(out.split(_ROWS_AT_ONCE), h.split(_ROWS_AT_ONCE), strict=True):
            torch.addmm(bias, part.float(), weight.T, out=rows)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (weight,) = ctx.saved_tensors
        parts = [(part @ weight).to(ctx.dtype) for part in grads[0].split(_ROWS_AT_ONCE)]
        return torch.cat(parts), None, None


class SubdivideBlock(nn.Module):
    """Residual block that splits every voxel into 8: (N, channels) on `voxels` -> (8 N, out) on `voxels.fine`."""

    def __init__(self, channels: int, out_channels: int, groups: int = 32) -> None:
        super().__init__()
        self.act_layers = nn.ModuleList([SparseGroupNorm(groups, channels)])
        self.out_layers = nn.ModuleDict(
            {
                "0": SparseConv3d(channels, out_channels),
                "1": SparseGroupNorm(groups, out_channels),
                "3": SparseConv3d(out_channels, out_channels),
            }
        )
        self.skip_connection = SparseConv3d(channels, out_channels, size=1) if channels != out_channels else None

    def forward(self, x: Tensor, voxels: Voxels) -> Tensor:
        fine = voxels.fine
        h = cast(SparseGroupNorm, self.act_layers[0]).activated(x, voxels)
        h = cast(SparseConv3d, self.out_layers["0"]).on_children(h, voxels)
        h = cast(SparseGroupNorm, self.out_layers["1"]).activated(h, fine)
        skip = x if self.skip_connection is None else self.skip_connection(x, voxels)
        out: Tensor = self.out_layers["3"](h, fine, skip)
        return out


class SLatGaussianDecoder(SparseTransformerBase):
    """Structured latent -> `num_gaussians` Gaussians per voxel."""

    offset_perturbation: Tensor

    def __init__(
        self,
        resolution: int,
        model_channels: int,
        latent_channels: int,
        num_blocks: int,
        num_heads: int,
        mlp_ratio: float = 4,
        attn_mode: str = "swin",
        window_size: int = 8,
        pe_mode: str = "ape",
        use_fp16: bool = False,
        qk_rms_norm: bool = False,
        representation_config: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(
            latent_channels,
            model_channels,
            num_blocks,
            num_heads,
            mlp_ratio,
            attn_mode,
            window_size,
            pe_mode,
            use_fp16,
            qk_rms_norm,
        )
        self.resolution = resolution
        self.representation = _representation(representation_config or {})
        n = int(self.representation["num_gaussians"])
        self.out_layer = nn.Linear(model_channels, 14 * n)
        self.register_buffer("offset_perturbation", self._initial_offsets(n))

    def _initial_offsets(self, n: int) -> Tensor:
        """Hammersley points (n, 3), stretched over the voxel, as arguments of the tanh that bounds the offsets."""
        points = torch.tensor([[i / n, radical_inverse(i, 2), radical_inverse(i, 3)] for i in range(n)])
        return torch.atanh((2 * points - 1) / self.representation["voxel_size"])

    def forward(self, x: Tensor, voxels: Voxels) -> Tensor:
        """(N, latent_channels) on `voxels` -> raw channels (N, 14 * num_gaussians) float32; see `gaussians`."""
        h = self.trunk(x, voxels).float()
        out: Tensor = self.out_layer(layer_norm(h, FINAL_NORM_EPS))
        return out

    def gaussians(self, raw: Tensor, coords: Tensor) -> Gaussians:
        """Activate the raw channels (N, 14 * num_gaussians) of one item's voxels `coords` (N, 3).

        The order of the Gaussians is voxel by voxel.
        """
        rep, lr = self.representation, self.representation["lr"]
        n = int(rep["num_gaussians"])
        parts = raw.split([3 * n, 3 * n, 3 * n, 4 * n, n], dim=1)
        names = ("_xyz", "_features_dc", "_scaling", "_rotation", "_opacity")
        xyz, dc, scaling, rotation, opacity = (
            part.unflatten(1, (n, -1)) * lr[name] for part, name in zip(parts, names, strict=True)
        )
        centre = (coords.float() + 0.5) / self.resolution - 0.5
        perturbed = xyz + self.offset_perturbation if rep["perturb_offset"] else xyz
        offset = torch.tanh(perturbed) * (0.5 * rep["voxel_size"] / self.resolution)
        std = F.softplus(scaling + _inverse_softplus(rep["scaling_bias"]))
        bias = math.log(rep["opacity_bias"] / (1 - rep["opacity_bias"]))
        rotation = torch.cat([rotation[..., :1] + 1, rotation[..., 1:]], dim=-1)
        return Gaussians(
            means=(centre[:, None] + offset).flatten(0, 1),
            scales=(std**2 + rep["3d_filter_kernel_size"] ** 2).sqrt().flatten(0, 1),
            rotations=F.normalize(rotation, dim=-1).flatten(0, 1),
            opacities=torch.sigmoid(opacity + bias).flatten(),
            colors=(0.5 + SH_BAND_0 * dc).flatten(0, 1),
        )


def radical_inverse(index: int, base: int) -> float:
    """The digits of `index` in `base`, mirrored behind the point."""
    value, weight = 0.0, 1.0 / base
    while index:
        index, digit = divmod(index, base)
        value += digit * weight
        weight /= base
    return value


def _inverse_softplus(y: float) -> float:
    return y + math.log(-math.expm1(-y))


def _representation(given: Mapping[str, Any]) -> dict[str, Any]:
    """The released configuration of the Gaussians, with what `given` says otherwise."""
    released: dict[str, Any] = {
        "lr": {"_xyz": 1.0, "_features_dc": 1.0, "_opacity": 1.0, "_scaling": 1.0, "_rotation": 0.1},
        "perturb_offset": True,
        "voxel_size": 1.5,
        "num_gaussians": 32,
        "2d_filter_kernel_size": 0.1,
        "3d_filter_kernel_size": 9e-4,
        "scaling_bias": 4e-3,
        "opacity_bias": 0.1,
        "scaling_activation": "softplus",
    }
    unknown = sorted(set(given) - set(released))
    if unknown or given.get("scaling_activation", "softplus") != "softplus":
        raise V2M4Error(
            f"TRELLIS: this Gaussian decoder's configuration holds something unknown here "
            f"({', '.join(unknown) or 'scaling_activation'}); use microsoft/TRELLIS-image-large."
        )
    return {**released, **given, "lr": {**released["lr"], **given.get("lr", {})}}
