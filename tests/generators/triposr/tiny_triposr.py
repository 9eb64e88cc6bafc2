"""A TripoSR network small enough for tests, whose field holds a body for any picture."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from numpy.typing import NDArray

from v2m4.generators.triposr.config import FieldConfig, TripoSRConfig, ViTConfig
from v2m4.generators.triposr.network import TripoSRNetwork

TINY = TripoSRConfig(
    vit=ViTConfig(
        hidden_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=48,
        image_size=32,
        patch_size=8,
    ),
    field=FieldConfig(in_channels=12, neurons=16, hidden_layers=2),
    image_size=32,
    plane_size=8,
    channels=32,
    heads=2,
    head_dim=16,
    layers=1,
    norm_groups=8,
    plane_channels=4,
)
OFFICIAL = {
    "cond_image_size": 32,
    "image_tokenizer_cls": "tsr.models.tokenizers.image.DINOSingleImageTokenizer",
    "image_tokenizer": {"pretrained_model_name_or_path": "facebook/dino-vitb16"},
    "tokenizer": {"plane_size": 8, "num_channels": 32},
    "backbone": {
        "in_channels": 32,
        "num_attention_heads": 2,
        "attention_head_dim": 16,
        "num_layers": 1,
        "cross_attention_dim": 24,
        "norm_num_groups": 8,
    },
    "post_processor": {"in_channels": 32, "out_channels": 4},
    "decoder": {"in_channels": 12, "n_neurons": 16, "n_hidden_layers": 2, "activation": "silu"},
    "renderer": {
        "radius": 0.87,
        "feature_reduction": "concat",
        "density_activation": "exp",
        "density_bias": -1.0,
        "num_samples_per_ray": 128,
    },
}
"""The same sizes as a config.yaml has them."""


def tiny_network(config: TripoSRConfig = TINY) -> TripoSRNetwork:
    """Seeded random weights, except that the planes fall off from their middles: the density is that of a body.

    The first channel of every plane is made large at its middle; the decoder's first neuron sums these, and the density
    hangs on that neuron.
    """
    torch.manual_seed(3)
    network = TripoSRNetwork(dataclasses.replace(config))
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.5 / parameter[0].numel() ** 0.5)
        side, c = config.plane_size, config.plane_channels
        axis = torch.linspace(-1, 1, side)
        hill = 1 - (axis[:, None] ** 2 + axis[None] ** 2)
        network.tokenizer.embeddings[:, 0] = 10 * hill
        network.post_processor.upsample.weight[0, 0] = 0.4
        layers = network.decoder.layers
        for plane in range(3):
            layers[0].weight[:, plane * c] = 0
            layers[0].weight[0, plane * c] = 1.0
        for layer in layers[2:-1:2]:
            layer.weight[0] = 0
            layer.weight[:, 0] = 0
            layer.weight[0, 0] = 1.0
        layers[-1].weight[0] *= 0.2
        layers[-1].weight[0, 0] = 0.8
    return network.eval().requires_grad_(False)


def disc_picture(side: int = 48) -> NDArray[np.uint8]:
    """(side, side, 4) uint8: an orange disc with a blue eye on transparent ground."""
    y, x = np.mgrid[:side, :side] / side - 0.5
    picture = np.zeros((side, side, 4), np.uint8)
    picture[x**2 + y**2 < 0.13] = (220, 130, 40, 255)
    picture[(x - 0.1) ** 2 + (y + 0.1) ** 2 < 0.005] = (30, 40, 160, 255)
    return picture
