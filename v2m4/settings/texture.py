"""Section 4.4: one texture for all keyframes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from v2m4.settings.schema import Range


@dataclass(frozen=True)
class TextureSettings:
    """Section 4.4: one texture for all keyframes."""

    method: Literal["optimise", "project"] = "project"
    """optimise: gradient descent over views, as the paper does; project: blend the frames into the atlas directly."""
    size: Annotated[int, Range(16, 8192)] = 1024
    """Side of the texture, in texels."""
    keep_template: bool = True
    """Your own mesh keeps the texture or colours it came with; False paints it anew from the video."""
    views: Annotated[int, Range(1, 10000)] = 100
    """optimise: renderings of the first mesh's own look that are fitted beside the frames."""
    iterations: Annotated[int, Range(1, 1000000)] = 2500
    """optimise: steps of Adam, one view each."""
    lr: Annotated[float, Range(1e-8, 10)] = 1e-2
    """optimise: Adam's rate at the start; it falls to lr_end along half a cosine."""
    lr_end: Annotated[float, Range(0, 10)] = 1e-5
    """optimise: Adam's rate at the end."""
    tv_weight: Annotated[float, Range(0, 1000)] = 0.01
    """optimise: weight of the texture's total variation."""
    reference_weight: Annotated[float, Range(0, 1000)] = 2.0
    """optimise: weight of the frames against the renderings."""
