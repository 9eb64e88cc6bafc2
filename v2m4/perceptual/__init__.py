"""How different two pictures look: the port, and the plugs that fill it."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from v2m4.registry import Plug, by_name


class Perceptual(Protocol):
    """An image distance. What depends on the reference alone is computed once, by `prepare`."""

    def prepare(self, reference: Tensor) -> object:
        """``reference``: (H,W,3) float32 in [0,1] on black. The result is handed to `__call__`."""
        ...

    def __call__(self, prepared: object, images: Tensor) -> Tensor:
        """``images``: (N,H,W,3) float32 in [0,1] on black. Returns (N,), lower is more alike, differentiable."""
        ...


PERCEPTUALS: dict[str, Plug[Perceptual]] = by_name(
    Plug(
        "perceptual",
        "dreamsim",
        "v2m4.perceptual.dreamsim:DreamSim",
        "DreamSim's ensemble of three vision transformers; what the paper uses.",
        "MIT; DINO's weights Apache-2.0",
        True,
        preference=20,
        torch_files=(
            (
                "dreamsim_ensemble_checkpoint_v0.2.0.zip",
                "https://github.com/ssundaram21/dreamsim/releases/download/v0.2.0-checkpoints/"
                "dreamsim_ensemble_checkpoint.zip",
                "",
            ),
            (
                "dino_vitbase16_pretrain.pth",
                "https://dl.fbaipublicfiles.com/dino/dino_vitbase16_pretrain/dino_vitbase16_pretrain.pth",
                "",
            ),
        ),
        needs_gpu=True,
        memory_gb=4,
        size_gb=1.6,
    ),
    Plug(
        "perceptual",
        "structure",
        "v2m4.perceptual.structure:Structure",
        "Mask, structure and colour compared at several scales; needs no weights.",
        "MIT",
        True,
        preference=0,
    ),
    Plug(
        "perceptual",
        "lpips",
        "v2m4.perceptual.lpips:Lpips",
        "LPIPS on VGG-16, used for refinement and evaluation.",
        "BSD-2-Clause; VGG-16's weights BSD-3-Clause",
        True,
        preference=-1,
        packages=("lpips",),
        torch_files=(("vgg16-397923af.pth", "https://download.pytorch.org/models/vgg16-397923af.pth", "397923af"),),
        memory_gb=3,
        size_gb=0.5,
        bring="pip install lpips",
    ),
)
