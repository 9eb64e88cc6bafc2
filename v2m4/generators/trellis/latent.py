"""What it looks like: the flow transformer over structured latents on the occupied voxels."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from v2m4.errors import V2M4Error
from v2m4.generators.trellis.convolution import SparseConv3d
from v2m4.generators.trellis.layers import (
    BLOCK_NORM_EPS,
    FINAL_NORM_EPS,
    FlowBlock,
    LayerNorm,
    TimeEmbedder,
    maybe_checkpoint,
    position_embedding,
    set_torso_dtype,
)
from v2m4.generators.trellis.sparse import downsample, from_items, to_items, upsample
from v2m4.generators.trellis.structure import require_position_mode
from v2m4.generators.trellis.voxels import Voxels
from v2m4.nn.layer_norm import add_norm, layer_norm


class SLatFlowModel(nn.Module):
    """Velocity of the structured latent (N, in_channels) on a voxel set, given a time and image tokens.

    Convolutional residual blocks halve the resolution once per entry of `io_block_channels`, transformer blocks with
    full attention work on the coarse voxels, and residual blocks with skip connections go back up.
    """

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
        patch_size: int = 2,
        num_io_res_blocks: int = 2,
        io_block_channels: Sequence[int] | None = None,
        pe_mode: str = "ape",
        qk_rms_norm: bool = False,
        use_fp16: bool = False,
    ) -> None:
        super().__init__()
        require_position_mode(pe_mode)
        io_block_channels = io_block_channels or ()
        if patch_size != 2 ** len(io_block_channels):
            raise V2M4Error(
                f"TRELLIS: a latent flow with patch size {patch_size} needs {patch_size.bit_length() - 1} widths in "
                f"io_block_channels, but its configuration has {len(io_block_channels)}."
            )
        self.resolution = resolution
        self.in_channels = in_channels
        self.model_channels = model_channels
        self.checkpointing = False
        widths = [*io_block_channels, model_channels]
        self.t_embedder = TimeEmbedder(model_channels)
        self.input_layer = nn.Linear(in_channels, widths[0])
        self.input_blocks = nn.ModuleList()
        for width, coarser in pairwise(widths):
            for _ in range(num_io_res_blocks - 1):
                self.input_blocks.append(_ResBlock(width, width, model_channels))
            self.input_blocks.append(_ResBlock(width, coarser, model_channels, "down"))
        self.blocks = nn.ModuleList(
            FlowBlock(model_channels, cond_channels, num_heads, mlp_ratio, qk_rms_norm) for _ in range(num_blocks)
        )
        self.out_blocks = nn.ModuleList()
        for width, coarser in reversed(list(pairwise(widths))):
            self.out_blocks.append(_ResBlock(2 * coarser, width, model_channels, "up"))
            for _ in range(num_io_res_blocks - 1):
                self.out_blocks.append(_ResBlock(2 * width, width, model_channels))
        self.out_layer = nn.Linear(widths[0], out_channels)
        self.to_torso_dtype(torch.float16 if use_fp16 else torch.float32)

    def to_torso_dtype(self, dtype: torch.dtype) -> None:
        """Run the blocks in `dtype`; time embedding, input and output layer stay in float32."""
        self.torso_dtype = dtype
        for part in (self.input_blocks, self.blocks, self.out_blocks):
            set_torso_dtype(part, dtype)

    def forward(self, x: Tensor, voxels: Voxels, t: Tensor, cond: Tensor) -> Tensor:
        """`x` (N, in_channels) on `voxels`, `t` (B,) in thousandths, `cond` (B, T, cond_channels) -> (N, out)."""
        h = self.input_layer(x).to(self.torso_dtype)
        time = self.t_embedder(t).to(self.torso_dtype)
        cond = cond.to(self.torso_dtype)

        skips = []
        levels = [voxels]
        for block in self.input_blocks:
            h = maybe_checkpoint(self.checkpointing, block, h, levels[-1], time)
            if block.resample == "down":
                levels.append(levels[-1].coarse)
            skips.append(h)

        h = h + position_embedding(levels[-1].coords[:, 1:], self.model_channels).to(h.dtype)
        tokens, mask = to_items(h, levels[-1])
        for block in self.blocks:
            tokens = maybe_checkpoint(self.checkpointing, block, tokens, time, cond, mask)
        h = from_items(tokens, levels[-1])

        for block in self.out_blocks:
            if block.resample == "up":
                levels.pop()
            h = torch.cat([h, skips.pop()], dim=1)
            h = maybe_checkpoint(self.checkpointing, block, h, levels[-1], time)
        velocity: Tensor = self.out_layer(layer_norm(h, FINAL_NORM_EPS).float())
        return velocity


class _ResBlock(nn.Module):
    """Time-modulated residual block of two sparse convolutions.

    With `resample` "down" its input lies on the given voxels and its output on their `coarse`; with "up" the other
    way round.
    """

    def __init__(self, in_channels: int, out_channels: int, time_channels: int, resample: str = "") -> None:
        super().__init__()
        self.resample = resample
        self.norm1 = LayerNorm(in_channels, BLOCK_NORM_EPS)
        self.conv1 = SparseConv3d(in_channels, out_channels)
        self.conv2 = SparseConv3d(out_channels, out_channels)
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(time_channels, 2 * out_channels))
        if in_channels != out_channels:
            self.skip_connection: nn.Module = nn.Linear(in_channels, out_channels)
        else:
            self.skip_connection = nn.Identity()

    def forward(self, x: Tensor, voxels: Voxels, time: Tensor) -> Tensor:
        inside = voxels
        if self.resample == "down":
            x, inside = downsample(x, voxels), voxels.coarse
        _, h = add_norm(x, None, None, self.norm1.weight, self.norm1.bias, self.norm1.eps, silu=True)
        skip = self.skip_connection(x)
        if self.resample == "up":
            # Row-wise operations commute with copying parents to children, and there are fewer parents.
            h, skip = upsample(h, voxels), upsample(skip, voxels)
        h = self.conv1(h, inside)
        modulation = self.emb_layers(time)  # (B, 2 C)
        if len(modulation) > 1:
            modulation = modulation.index_select(0, inside.item)
        scale, shift = modulation.chunk(2, dim=1)
        if len(modulation) > 1:
            h = F.silu(torch.addcmul(shift, layer_norm(h, BLOCK_NORM_EPS), 1 + scale))
        else:
            _, h = add_norm(h, None, None, scale, shift, BLOCK_NORM_EPS, plus=1.0, silu=True)
        out: Tensor = self.conv2(h, inside) + skip
        return out
