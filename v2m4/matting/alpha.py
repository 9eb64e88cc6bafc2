"""Frames that bring their own transparency."""

from __future__ import annotations

import torch

from v2m4.arrays import Bytes
from v2m4.clip import Clip
from v2m4.errors import V2M4Error
from v2m4.events import Progress, StageRun
from v2m4.settings import MattingSettings, Settings


class Alpha:
    """Keeps the file's alpha as it is."""

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
        yield Progress("matting", 1.0)

    def frame(self, clip: Clip, index: int) -> Bytes:
        """Frame ``index`` as it is; colours under full transparency are cleared, since they mean nothing."""
        rgba = clip.frame(index).copy()
        rgba[rgba[..., 3] == 0] = 0
        return rgba
