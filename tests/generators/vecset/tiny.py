"""Vector-set generators small enough for tests, with seeded random weights and a bumpy ball for a shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from v2m4.generators.craftsman3d.builder import shape_config
from v2m4.generators.craftsman3d.generator import CraftsMan3D
from v2m4.generators.craftsman3d.model import CraftsManModel
from v2m4.generators.craftsman3d.network import CraftsManConfig, CraftsManDiT
from v2m4.generators.hunyuan3d.builder import decoder_config
from v2m4.generators.hunyuan3d.generator import Hunyuan3D
from v2m4.generators.hunyuan3d.model import HunyuanModel
from v2m4.generators.hunyuan3d.network import HunyuanConfig, HunyuanDiT
from v2m4.generators.triposg.generator import TripoSg
from v2m4.generators.triposg.network import TripoSgConfig, TripoSgDiT, TripoSgVaeConfig
from v2m4.generators.vecset.decoder import DecoderConfig, VecsetDecoder
from v2m4.generators.vecset.generator import VecsetGenerator
from v2m4.generators.vecset.model import VecsetModel
from v2m4.nn.dinov2 import Dinov2, Dinov2Config
from v2m4.settings import CraftsMan3DSettings, GeneratorSettings, Hunyuan3DSettings, TripoSgSettings

CONTEXT, CHANNELS, TOKENS = 16, 4, 6
HEADS = 2
WIDTH = 16
SETTINGS = GeneratorSettings(
    max_faces=800,
    triposg=TripoSgSettings(steps=2, resolution=24, coarsest=12),
    hunyuan3d=Hunyuan3DSettings(steps=3, resolution=24, coarsest=12),
    craftsman3d=CraftsMan3DSettings(steps=2, resolution=24, coarsest=12),
)
_EDGE, _STEEPNESS = 2.75, 8.0
"""cos x + cos y + cos z of the ball's surface (a radius of about 0.7), and how fast the logits grow across it."""


def encoder(image_size: int = 518, registers: int = 0) -> Dinov2:
    """A tiny DINOv2 with large patches."""
    return Dinov2(Dinov2Config(CONTEXT, 1, 1, image_size, image_size // 7, 2.0, registers))


def shape_like_a_ball(decoder: VecsetDecoder) -> None:
    """Change the random weights so that the field is a ball, with bumps of what the latents and the weights say."""
    point = decoder.geo_decoder
    frequencies = point.frequencies
    cosines = [3 + 3 * frequencies + axis * frequencies for axis in range(3)]
    with torch.no_grad():
        for layer in (point.cross_attn_decoder.attn.c_proj, point.cross_attn_decoder.mlp.c_proj):
            layer.weight.mul_(0.02)
            layer.bias.zero_()
        point.query_proj.weight.zero_()
        point.query_proj.bias.zero_()
        # Two channels carry the ball with opposite signs, so that the last norm does not undo them.
        for channel, sign in ((0, 1.0), (1, -1.0)):
            point.query_proj.weight[channel, cosines] = sign
            point.query_proj.bias[channel] = -sign * _EDGE
            point.query_proj.bias[channel + 2] = sign
        point.output_proj.weight.zero_()
        point.output_proj.weight[0, 0] = point.sign * _STEEPNESS
        point.output_proj.bias.zero_()


def _seeded(make: Callable[[], nn.Module], seed: int) -> Any:
    torch.manual_seed(seed)
    network = make()
    with torch.no_grad():
        for parameter in network.parameters():
            # Tokens, tables and gates start at zero; the flow shall depend on all of them.
            if parameter.abs().max() == 0 and parameter.ndim > 1:
                parameter.normal_(std=0.1)
    return network.eval()


def _decoder(config: DecoderConfig, seed: int) -> VecsetDecoder:
    decoder: VecsetDecoder = _seeded(lambda: VecsetDecoder(config), seed)
    shape_like_a_ball(decoder)
    return decoder


def triposg(seed: int = 0, **options: Any) -> VecsetModel:
    """A tiny TripoSG."""
    flow = TripoSgConfig(HEADS, WIDTH, CHANNELS, 3, CONTEXT)
    vae = TripoSgVaeConfig(CHANNELS, HEADS, WIDTH, 1, 8)
    networks = _seeded(encoder, seed), _seeded(lambda: TripoSgDiT(flow), seed), _decoder(vae.decoder(), seed)
    return VecsetModel("triposg", *networks, TOKENS, CHANNELS, **options)


def hunyuan3d(seed: int = 0, guidance_embed: bool = False, **options: Any) -> HunyuanModel:
    """A tiny Hunyuan3D-2."""
    flow = HunyuanConfig(CHANNELS, CONTEXT, WIDTH, 2.0, HEADS, 1, 1, guidance_embed=guidance_embed)
    vae = {"embed_dim": CHANNELS, "width": WIDTH, "heads": HEADS, "num_decoder_layers": 1, "qk_norm": True}
    decoder = _decoder(decoder_config(vae), seed)
    networks = _seeded(encoder, seed), _seeded(lambda: HunyuanDiT(flow), seed), decoder
    return HunyuanModel("hunyuan3d", *networks, TOKENS, CHANNELS, **options)


def craftsman3d(seed: int = 0, **options: Any) -> CraftsManModel:
    """A tiny CraftsMan3D."""
    flow = CraftsManConfig(CHANNELS, CHANNELS, TOKENS, WIDTH, 1, HEADS, CONTEXT)
    shape = {"embed_dim": CHANNELS, "width": WIDTH, "heads": HEADS, "num_decoder_layers": 1, "num_freqs": 8}
    networks = (
        _seeded(lambda: encoder(registers=2), seed),
        _seeded(lambda: CraftsManDiT(flow), seed),
        _decoder(shape_config(shape), seed),
    )
    return CraftsManModel("craftsman3d", *networks, TOKENS, CHANNELS, **options)


MODELS: dict[str, tuple[type[VecsetGenerator[Any]], Callable[..., Any]]] = {
    "triposg": (TripoSg, triposg),
    "hunyuan3d": (Hunyuan3D, hunyuan3d),
    "craftsman3d": (CraftsMan3D, craftsman3d),
}
