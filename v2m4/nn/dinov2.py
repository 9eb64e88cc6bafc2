"""DINOv2 (Oquab et al., arXiv 2304.07193), with or without registers (Darcet et al., arXiv 2309.16588).

Parameter names are those of the authors' checkpoints; `from_transformers` translates the names that the library
`transformers` writes, which changed between its versions 4 and 5.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from v2m4.nn.transformer import Block, PatchProjection, through
from v2m4.nn.weights import Renaming, renamed

IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)

_LAYER = r"encoder\.layer\.(\d+)\."
_QKV = {"query": 0, "key": 1, "value": 2, "q_proj": 0, "k_proj": 1, "v_proj": 2}
_NAMES = (
    Renaming(r"embeddings\.(cls_token|mask_token|register_tokens)", r"\1"),
    Renaming(r"embeddings\.position_embeddings", "pos_embed"),
    Renaming(r"embeddings\.patch_embeddings\.projection\.(\w+)", r"patch_embed.proj.\1"),
    *(
        Renaming(rf"{_LAYER}attention\.(?:attention\.)?{name}\.(\w+)", r"blocks.\1.attn.qkv.\2", part, 3)
        for name, part in _QKV.items()
    ),
    Renaming(rf"{_LAYER}attention\.(?:output\.dense|o_proj)\.(\w+)", r"blocks.\1.attn.proj.\2"),
    Renaming(rf"{_LAYER}layer_scale([12])\.lambda1", r"blocks.\1.ls\2.gamma"),
    Renaming(rf"{_LAYER}(norm[12]|mlp\.fc[12])\.(\w+)", r"blocks.\1.\2.\3"),
    Renaming(rf"{_LAYER}mlp\.weights_in\.(\w+)", r"blocks.\1.mlp.w12.\2"),
    Renaming(rf"{_LAYER}mlp\.gate_proj\.(\w+)", r"blocks.\1.mlp.w12.\2", 0, 2),
    Renaming(rf"{_LAYER}mlp\.up_proj\.(\w+)", r"blocks.\1.mlp.w12.\2", 1, 2),
    Renaming(rf"{_LAYER}mlp\.(?:weights_out|down_proj)\.(\w+)", r"blocks.\1.mlp.w3.\2"),
    Renaming(r"layernorm\.(\w+)", r"norm.\1"),
)


@dataclass(frozen=True)
class Dinov2Config:
    """Sizes of the encoder; the defaults are those of ViT-L/14. ``image_size`` is the side of the position table."""

    width: int = 1024
    depth: int = 24
    heads: int = 16
    image_size: int = 518
    patch_size: int = 14
    mlp_ratio: float = 4.0
    registers: int = 0
    swiglu: bool = False
    eps: float = 1e-6
    """Of every norm."""
    antialias: bool = False
    """Smooth the position table where it is resampled to a smaller grid."""

    @staticmethod
    def of_transformers(config: Mapping[str, object]) -> Dinov2Config:
        """From the configuration that `transformers` writes; what it leaves out is as in its own classes."""
        values = {
            ours: config[theirs]
            for theirs, ours in (
                ("hidden_size", "width"),
                ("num_hidden_layers", "depth"),
                ("num_attention_heads", "heads"),
                ("image_size", "image_size"),
                ("patch_size", "patch_size"),
                ("mlp_ratio", "mlp_ratio"),
                ("num_register_tokens", "registers"),
                ("use_swiglu_ffn", "swiglu"),
                ("layer_norm_eps", "eps"),
            )
            if theirs in config
        }
        # The library smooths the table of the models with registers only, as their authors' two codes do.
        return Dinov2Config(**values, antialias=bool(values.get("registers")))  # type: ignore[arg-type]

    @property
    def grid(self) -> int:
        """Cells per side of the position table."""
        return self.image_size // self.patch_size


class SwiGlu(nn.Module):
    """Gated feed-forward part of ViT-g: silu(first half) * second half (Shazeer, arXiv 2002.05202)."""

    def __init__(self, width: int, mlp_ratio: float) -> None:
        super().__init__()
        hidden = (int(int(width * mlp_ratio) * 2 / 3) + 7) // 8 * 8
        self.w12 = nn.Linear(width, 2 * hidden)
        self.w3 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.w12(x).chunk(2, dim=-1)
        out: Tensor = self.w3(F.silu(gate) * value)
        return out


class Dinov2(nn.Module):
    """Normalised pictures (B, 3, H, W), sides multiples of the patch, to tokens (B, 1 + registers + rows*cols, width):
    the class token, the registers, then the patches row by row, all after the final norm."""

    def __init__(self, config: Dinov2Config = Dinov2Config()) -> None:
        super().__init__()
        self.config = c = config
        self.cls_token = nn.Parameter(torch.zeros(1, 1, c.width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + c.grid**2, c.width))
        if c.registers:
            self.register_tokens = nn.Parameter(torch.zeros(1, c.registers, c.width))
        # Part of the checkpoint (it served the masked pre-training); unused when images are encoded.
        self.mask_token = nn.Parameter(torch.zeros(1, c.width))
        self.patch_embed = PatchProjection(c.patch_size, c.width)
        self.blocks = nn.ModuleList(
            Block(c.width, c.heads, c.mlp_ratio, c.eps, layer_scale=1.0) for _ in range(c.depth)
        )
        if c.swiglu:
            for block in self.blocks:
                block.mlp = SwiGlu(c.width, c.mlp_ratio)
        self.norm: nn.Module = nn.LayerNorm(c.width, eps=c.eps)

    def embed(self, images: Tensor) -> Tensor:
        """The tokens that go into the first block."""
        patches = self.patch_embed.proj(images)  # (B, width, rows, cols)
        positions = self._positions((patches.shape[2], patches.shape[3]))
        x = torch.cat([self.cls_token.expand(len(images), -1, -1), patches.flatten(2).transpose(1, 2)], dim=1)
        x = x + positions
        if self.config.registers:
            x = torch.cat([x[:, :1], self.register_tokens.expand(len(images), -1, -1), x[:, 1:]], dim=1)
        return x

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.norm(through(self.blocks, self.embed(images)))
        return out

    def without_registers(self, tokens: Tensor) -> Tensor:
        """`tokens` as `forward` returns them, the registers taken out."""
        return torch.cat([tokens[:, :1], tokens[:, 1 + self.config.registers :]], dim=1)

    def _positions(self, grid: tuple[int, int]) -> Tensor:
        """The position table (1, 1 + rows*cols, width), resampled when the grid is not the trained one."""
        side = self.config.grid
        if grid == (side, side):
            return self.pos_embed
        table = self.pos_embed[:, 1:].float().transpose(1, 2).unflatten(2, (side, side))
        table = F.interpolate(
            table, size=grid, mode="bicubic", antialias=self.config.antialias, align_corners=False
        ).to(self.pos_embed.dtype)
        return torch.cat([self.pos_embed[:, :1], table.flatten(2).transpose(1, 2)], dim=1)


def from_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict of `transformers` (4 or 5), with or without registers, under the names of `Dinov2`.

    What is unknown or incomplete keeps its name, so that strict loading reports it.
    """
    return renamed(state, _NAMES)
