"""Any object before any background, by BiRefNet (Zheng et al. 2024) through the `rembg` package, an optional extra."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import torch

from v2m4.arrays import Bytes
from v2m4.clip import Clip
from v2m4.errors import V2M4Error
from v2m4.events import Progress, StageRun
from v2m4.matting import Doubts
from v2m4.matting.doubts import doubts_of
from v2m4.matting.frames import padded, picture
from v2m4.matting.mask_cleanup import fill_speckles, keep_object, largest_piece
from v2m4.matting.soft_edges import soften
from v2m4.settings import MattingSettings, Settings

MODEL = "birefnet-general"


def is_ready() -> bool:
    """Whether the package is installed and BiRefNet's weights lie where it looks for them."""
    if importlib.util.find_spec("rembg") is None or importlib.util.find_spec("onnxruntime") is None:
        return False
    from rembg.sessions import sessions_class

    session = next((kind for kind in sessions_class if kind.name() == MODEL), None)
    if session is None:
        return False
    name = f"{MODEL}.onnx"
    if hasattr(session, "resolve_existing"):
        return session.resolve_existing(name) is not None
    return (Path(session.u2net_home()) / name).is_file()


def fetch_weights() -> None:
    """Let the package download BiRefNet's weights. Raises V2M4Error if they cannot be had."""
    _load()


class Rembg:
    """Matting by a network, frame by frame. Downloads its weights (1 GB) on first use."""

    doubts = Doubts()

    @classmethod
    def from_settings(cls, settings: Settings, device: torch.device) -> Rembg:
        """The plug for a run's settings."""
        return cls()

    def prepare(self, clip: Clip, settings: MattingSettings) -> StageRun[None]:
        """Load the network. Raises V2M4Error if the package or its weights cannot be had."""
        self._settings = settings
        yield Progress("matting", 0.0, note=f"loading {MODEL}")
        self._session = _load()
        yield Progress("matting", 1.0)

    def frame(self, clip: Clip, index: int) -> Bytes:
        """The object of frame ``index``."""
        import rembg

        rgb = picture(clip, index)
        mask = np.asarray(rembg.remove(rgb, session=self._session, only_mask=True))
        if mask.ndim == 3:
            mask = mask[..., 0]
        cleanup = self._settings.cleanup
        pieces = mask > 127
        inside = keep_object(pieces, cleanup)
        self.doubts = doubts_of(inside, largest_piece(pieces & ~inside))
        inside = fill_speckles(inside, cleanup)
        return padded(clip, soften(rgb, inside, None, self._settings))


def _load() -> Any:
    try:
        import rembg
    except ImportError as error:
        raise V2M4Error(
            "The matting “rembg” needs the rembg package. Install it with: pip install 'v2m4[rembg]', "
            "or choose --matting.method auto."
        ) from error
    try:
        # The package's own default model may not be used commercially; BiRefNet is under the MIT licence.
        return rembg.new_session(MODEL)
    except Exception as error:
        reason = str(error).split("\n")[0][:160] or type(error).__name__
        raise V2M4Error(
            f"The weights of {MODEL} could not be loaded ({reason}). Connect to the network for the download, "
            "or choose --matting.method auto."
        ) from error
