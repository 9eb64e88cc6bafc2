"""Where the weights of TripoSG come from."""

from __future__ import annotations

PLUG = "triposg"
REPOSITORY = "VAST-AI/TripoSG"
REVISION = "2c1c516d22d58db486a058d98d31bb6177344e06"
FOLDERS = {
    "encoder": ("image_encoder_dinov2", "model.safetensors"),
    "transformer": ("transformer", "diffusion_pytorch_model.safetensors"),
    "vae": ("vae", "diffusion_pytorch_model.safetensors"),
}
"""Each network's folder, which also holds its `config.json`, and its weights in there."""

WEIGHTS = tuple(
    (REPOSITORY, f"{folder}/{name}", REVISION) for folder, file in FOLDERS.values() for name in ("config.json", file)
)
"""Every file that `from_pretrained` reads, as (repository, file, revision)."""
