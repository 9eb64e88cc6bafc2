"""Where there is something: the flow transformer over the occupancy latent, and the decoder to occupied voxels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from v2m4.errors import NoSurfaceError, V2M4Error
from v2m4.generators.trellis.layers import (
    FINAL_NORM_EPS,
    FlowBlock,
    LayerNorm,
    TimeEmbedder,
    maybe_checkpoint,
    position_embedding,
    set_torso_dtype,
)
from v2m4.nn.layer_norm import layer_norm


class SparseStructureFlowModel(nn.Module):
    """Velocity of the occupancy latent (B, in_channels, R, R, R) given a time and image tokens."""

    def __init__(
        self,
        resolution: int,
        in_channels: int,
        out_channels: int,
        model_channels: int,
        cond_channels: int,
        num_blocks: int,
        num_heads: int,
        mlp_ratio: float = 4,
        patch_size: int = 1,
        pe_mode: str = "ape",
        qk_rms_norm: bool = False,
        use_fp16: bool = False,
    ) -> None:
        super().__init__()
        require_position_mode(pe_mode)
        if resolution % patch_size:
            raise V2M4Error(f"TRELLIS: a structure of {resolution} cells cannot be cut into patches of {patch_size}.")
        self.resolution = resolution
        self.in_channels = in_channels
        self.patch_size = patch_size
        self.checkpointing = False
        self.t_embedder = TimeEmbedder(model_channels)
        axis = torch.arange(resolution // patch_size)
        self.register_buffer("pos_emb", position_embedding(torch.cartesian_prod(axis, axis, axis), model_channels))
        self.input_layer = nn.Linear(in_channels * patch_size**3, model_channels)
        self.blocks = nn.ModuleList(
            FlowBlock(model_channels, cond_channels, num_heads, mlp_ratio, qk_rms_norm) for _ in range(num_blocks)
        )
        self.out_layer = nn.Linear(model_channels, out_channels * patch_size**3)
        self.to_torso_dtype(torch.float16 if use_fp16 else torch.float32)

    def to_torso_dtype(self, dtype: torch.dtype) -> None:
        """Run the blocks in `dtype`; the layers at both ends stay in float32."""
        self.torso_dtype = dtype
        set_torso_dtype(self.blocks, dtype)

    def forward(self, x: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        """`x` (B, C, R, R, R), `t` (B,) in thousandths, `cond` (B, T, cond_channels) -> velocity like `x`."""
        h = self.input_layer(self._to_tokens(x)) + self.pos_emb
        h = h.to(self.torso_dtype)
        time = self.t_embedder(t).to(self.torso_dtype)
        cond = cond.to(self.torso_dtype)
        for block in self.blocks:
            h = maybe_checkpoint(self.checkpointing, block, h, time, cond)
        return self._to_grid(self.out_layer(layer_norm(h.float(), FINAL_NORM_EPS)))

    def _to_tokens(self, x: Tensor) -> Tensor:
        """(B, C, R, R, R) -> (B, tokens, C p^3): tokens row by row, positions inside a patch fastest."""
        cells = (self.resolution // self.patch_size, self.patch_size)
        x = x.unflatten(4, cells).unflatten(3, cells).unflatten(2, cells)
        return x.permute(0, 2, 4, 6, 1, 3, 5, 7).flatten(4).flatten(1, 3)

    def _to_grid(self, tokens: Tensor) -> Tensor:
        """The inverse of `_to_tokens`."""
        side, p = self.resolution // self.patch_size, self.patch_size
        x = tokens.unflatten(2, (-1, p, p, p)).unflatten(1, (side, side, side))
        return x.permute(0, 4, 1, 5, 2, 6, 3, 7).flatten(6, 7).flatten(4, 5).flatten(2, 3)


class SparseStructureDecoder(nn.Module):
    """Occupancy latent (B, latent_channels, R, R, R) -> logits at `2 ** (len(channels) - 1)` times the resolution."""

    def __init__(
        self,
        out_channels: int,
        latent_channels: int,
        num_res_blocks: int,
        channels: Sequence[int],
        num_res_blocks_middle: int = 2,
        use_fp16: bool = False,
    ) -> None:
        super().__init__()
        self.input_layer = nn.Conv3d(latent_channels, channels[0], 3, padding=1)
        self.middle_block = nn.Sequential(*(_ResBlock3d(channels[0]) for _ in range(num_res_blocks_middle)))
        blocks: list[nn.Module] = []
        for level, width in enumerate(channels):
            blocks += [_ResBlock3d(width) for _ in range(num_res_blocks)]
            if level + 1 < len(channels):
                blocks.append(_Upsample3d(width, channels[level + 1]))
        self.blocks = nn.ModuleList(blocks)
        self.out_layer = nn.Sequential(
            _ChannelNorm(channels[-1]), nn.SiLU(), nn.Conv3d(channels[-1], out_channels, 3, padding=1)
        )
        self.to_torso_dtype(torch.float16 if use_fp16 else torch.float32)

    def to_torso_dtype(self, dtype: torch.dtype) -> None:
        """Run the blocks in `dtype`; the layers at both ends stay in float32."""
        self.torso_dtype = dtype
        set_torso_dtype(self.middle_block, dtype)
        set_torso_dtype(self.blocks, dtype)

    def forward(self, z: Tensor) -> Tensor:
        h = self.middle_block(self.input_layer(z).to(self.torso_dtype))
        for block in self.blocks:
            h = block(h)
        logits: Tensor = self.out_layer(h.float())
        return logits


class _ChannelNorm(LayerNorm):
    """Layer norm over the channels of each position of (B, C, X, Y, Z)."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, FINAL_NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class _ResBlock3d(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = _ChannelNorm(channels)
        self.conv1 = nn.Conv3d(channels, channels, 3, padding=1)
        self.norm2 = _ChannelNorm(channels)
        self.conv2 = nn.Conv3d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        out: Tensor = x + self.conv2(F.silu(self.norm2(h)))
        return out


class _Upsample3d(nn.Module):
    """Convolution to 8 times the channels, which then become the 2x2x2 positions of each cell."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(in_channels, out_channels * 8, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv(x).unflatten(1, (-1, 2, 2, 2))
        h = h.permute(0, 1, 5, 2, 6, 3, 7, 4)
        return h.flatten(6, 7).flatten(4, 5).flatten(2, 3)


def occupied_voxels(logits: Tensor) -> Tensor:
    """Coordinates (N, 4) int32 (item, x, y, z), in row-major order, of the positive logits (B, 1, X, Y, Z).

    Raises V2M4Error if some item has none.
    """
    coords = (logits[:, 0] > 0).nonzero().int()
    if len(coords[:, 0].unique()) < logits.shape[0]:
        raise NoSurfaceError(
            "TRELLIS found no solid part in the picture. Check that the object was cut out of its background, "
            "or try another seed or generator."
        )
    return coords


def require_position_mode(pe_mode: str) -> None:
    """Raise V2M4Error for a position embedding other than the sinusoidal one of the released checkpoints."""
    if pe_mode != "ape":
        raise V2M4Error(
            f"TRELLIS: this checkpoint wants the position embedding “{pe_mode}”, which is unknown here; "
            f"use microsoft/TRELLIS-image-large."
        )
