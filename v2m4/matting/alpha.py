"""Frames that bring their own transparency."""

from __future__ import annotations

import numpy as np
import torch

from v2m4.arrays import Bytes
from v2m4.clip import Clip
from v2m4.color import OPAQUE
from v2m4.errors import V2M4Error
from v2m4.events import Progress, StageRun
from v2m4.settings import MattingSettings, Settings

_STRAY_SHARE = 1e-3  # of a picture's pixels, whose alpha may be anything


class Alpha:
    """Keeps the file's alpha; an object that is never opaque becomes so, with the clip's highest alpha as 255."""

    def __init__(self) -> None:
        self._gain = 1.0

    @classmethod
    def from_settings(cls, settings: Settings, device: torch.device) -> Alpha:
        """The plug for a run's settings."""
        return cls()

    def prepare(self, clip: Clip, settings: MattingSettings) -> StageRun[None]:
        """Raises V2M4Error if the clip has no transparency."""
        if not clip.has_alpha:
            raise V2M4Error(
                f"{clip.name} has no transparency, so its own alpha cannot be used. Choose --matting.method auto, "
                "or export the clip with alpha (PNG frames, WebM VP9, ProRes 4444)."
            )
        highest = 0
        for index in range(len(clip)):
            alpha = np.sort(clip.frame(index)[..., 3], axis=None)
            highest = max(highest, int(alpha[-1 - int(_STRAY_SHARE * len(alpha))]))
            yield Progress("matting", (index + 1) / len(clip))
        self._gain = 255 / max(1, highest) if highest < OPAQUE else 1.0

    def frame(self, clip: Clip, index: int) -> Bytes:
        """Frame ``index``; colours under full transparency are cleared, since they mean nothing."""
        rgba = clip.frame(index).copy()
        if self._gain > 1:
            rgba[..., 3] = (rgba[..., 3] * self._gain).round().clip(0, 255)
        rgba[rgba[..., 3] == 0] = 0
        return rgba
