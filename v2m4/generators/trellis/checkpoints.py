"""Where the weights of TRELLIS come from."""

from __future__ import annotations

PLUG = "trellis"
REPOSITORY = "microsoft/TRELLIS-image-large"
REVISION = "25e0d31ffbebe4b5a97464dd851910efc3002d96"
ENCODER_REPOSITORY = "facebook/dinov2-with-registers-large"
ENCODER_REVISION = "e4c89a4e05589de9b3e188688a303d0f3c04d0f3"

CHECKPOINTS = {
    "sparse_structure_flow_model": "ckpts/ss_flow_img_dit_L_16l8_fp16",
    "sparse_structure_decoder": "ckpts/ss_dec_conv3d_16l8_fp16",
    "slat_flow_model": "ckpts/slat_flow_img_dit_L_64l8p2_fp16",
    "slat_decoder_mesh": "ckpts/slat_dec_mesh_swin8_B_64l8m256c_fp16",
    "slat_decoder_gs": "ckpts/slat_dec_gs_swin8_B_64l8gs32_fp16",
}
"""Where the released repository keeps each network: this name with `.json` and with `.safetensors`."""

WEIGHTS = (
    (REPOSITORY, "pipeline.json", REVISION),
    *((REPOSITORY, f"{stem}.{kind}", REVISION) for stem in CHECKPOINTS.values() for kind in ("json", "safetensors")),
    *((ENCODER_REPOSITORY, name, ENCODER_REVISION) for name in ("config.json", "model.safetensors")),
)
"""Every file that `from_pretrained` reads, as (repository, file, revision)."""
