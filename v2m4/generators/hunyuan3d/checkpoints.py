"""Where the weights of Hunyuan3D-2.0 come from."""

from __future__ import annotations

from v2m4.settings import Settings

PLUG = "hunyuan3d"
REPOSITORY = "tencent/Hunyuan3D-2"
REVISION = "9cd649ba6913f7a852e3286bad86bfa9a2d83dcf"
FOLDERS = {
    "base": "hunyuan3d-dit-v2-0",
    "fast": "hunyuan3d-dit-v2-0-fast",
    "turbo": "hunyuan3d-dit-v2-0-turbo",
}
"""The folder of each variant."""
CONFIG = "config.yaml"
WEIGHTS_FILE = "model.fp16.safetensors"


def weights_of(settings: Settings) -> tuple[tuple[str, str, str], ...]:
    """Every file that `from_pretrained` reads for the variant in the settings, as (repository, file, revision)."""
    folder = FOLDERS[settings.generator.hunyuan3d.variant]
    return tuple((REPOSITORY, f"{folder}/{name}", REVISION) for name in (CONFIG, WEIGHTS_FILE))


WEIGHTS = weights_of(Settings())
"""Those of the base variant."""
