"""The sizes of a TripoSR network, read from the configuration that the checkpoint brings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from v2m4.errors import V2M4Error
from v2m4.nn.configs import sound, understood

PLUG = "triposr"
REPOSITORY = "stabilityai/TripoSR"
REVISION = "5b521936b01fbe1890f6f9baed0254ab6351c04a"
WEIGHTS = ((REPOSITORY, "config.yaml", REVISION), (REPOSITORY, "model.ckpt", REVISION))
"""Every file that is read, as (repository, file, revision)."""
SHA256 = (("model.ckpt", "429e2c6b22a0923967459de24d67f05962b235f79cde6b032aa7ed2ffcd970ee"),)

_SUPPORTED = {
    "image_tokenizer_cls": "tsr.models.tokenizers.image.DINOSingleImageTokenizer",
    "tokenizer_cls": "tsr.models.tokenizers.triplane.Triplane1DTokenizer",
    "backbone_cls": "tsr.models.transformer.transformer_1d.Transformer1D",
    "post_processor_cls": "tsr.models.network_utils.TriplaneUpsampleNetwork",
    "decoder_cls": "tsr.models.network_utils.NeRFMLP",
    "renderer_cls": "tsr.models.nerf_renderer.TriplaneNeRFRenderer",
    "image_tokenizer.pretrained_model_name_or_path": "facebook/dino-vitb16",
    "decoder.activation": "silu",
    "renderer.feature_reduction": "concat",
    "renderer.density_activation": "exp",
}
"""Options of the configuration that are accepted at these values alone; left out, they have these values."""


@dataclass(frozen=True)
class ViTConfig:
    """The image tokenizer: a plain ViT. The defaults are DINO's ViT-B/16, whose numbers config.yaml leaves out."""

    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    layer_norm_eps: float = 1e-12
    image_size: int = 224
    patch_size: int = 16


@dataclass(frozen=True)
class FieldConfig:
    """How a point's features become density and colour. radius: half the side of the cube that holds the object."""

    in_channels: int = 120
    neurons: int = 64
    hidden_layers: int = 9
    radius: float = 0.87
    density_bias: float = -1.0

    @classmethod
    def from_official(cls, config: Mapping[str, Any]) -> FieldConfig:
        """Read the entries `decoder` and `renderer`. Raises V2M4Error for an option that is not supported."""
        check_supported(config)
        decoder, renderer = config["decoder"], config["renderer"]
        return cls(
            decoder["in_channels"],
            decoder["n_neurons"],
            decoder["n_hidden_layers"],
            renderer["radius"],
            renderer["density_bias"],
        )


@dataclass(frozen=True)
class TripoSRConfig:
    """Sizes of the whole network; the defaults are those of the released one."""

    vit: ViTConfig = field(default_factory=ViTConfig)
    field: FieldConfig = field(default_factory=FieldConfig)
    image_size: int = 512
    plane_size: int = 32
    channels: int = 1024
    heads: int = 16
    head_dim: int = 64
    layers: int = 16
    norm_groups: int = 32
    plane_channels: int = 40

    @classmethod
    def from_official(cls, config: Mapping[str, Any], vit: ViTConfig = ViTConfig()) -> TripoSRConfig:
        """Read a parsed config.yaml, which leaves the sizes of the image tokenizer out: ``vit``.

        Raises V2M4Error for options that are not supported and for entries that are missing or do not fit together.
        """
        with understood("TripoSR"):
            return cls._read(config, vit)

    @classmethod
    def _read(cls, config: Mapping[str, Any], vit: ViTConfig) -> TripoSRConfig:
        check_supported(config)
        try:
            tokenizer, backbone, upsampler = config["tokenizer"], config["backbone"], config["post_processor"]
            found = cls(
                vit,
                FieldConfig.from_official(config),
                config["cond_image_size"],
                tokenizer["plane_size"],
                tokenizer["num_channels"],
                backbone["num_attention_heads"],
                backbone["attention_head_dim"],
                backbone["num_layers"],
                backbone.get("norm_num_groups", cls.norm_groups),
                upsampler["out_channels"],
            )
            widths = (backbone["in_channels"], upsampler["in_channels"], backbone["cross_attention_dim"])
        except KeyError as error:
            raise V2M4Error(
                f"TripoSR: its configuration lacks {error}. Download {REPOSITORY} again, or give its official files."
            ) from error
        sound(found, "TripoSR")
        if widths != (found.channels, found.channels, vit.hidden_size):
            raise V2M4Error(
                f"TripoSR: the widths {widths} in its configuration do not fit the tokens' ({found.channels}, "
                f"{found.channels}, {vit.hidden_size}). Use the official files of {REPOSITORY}."
            )
        if found.field.in_channels != 3 * found.plane_channels:
            raise V2M4Error(
                f"TripoSR: {found.field.in_channels} channels enter the decoder, but three planes bring "
                f"{3 * found.plane_channels}. Use the official files of {REPOSITORY}."
            )
        return found


def check_supported(config: Mapping[str, Any]) -> None:
    """Raise V2M4Error where the configuration asks for something that is not implemented here."""
    for path, value in _SUPPORTED.items():
        at: Any = config
        for name in path.split("."):
            at = at.get(name, None) if isinstance(at, Mapping) else None
        if at is not None and at != value:
            raise V2M4Error(f"TripoSR: {path} = {at!r} is unknown here, only {value!r} is. Use {REPOSITORY}.")
