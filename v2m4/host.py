"""Where the program runs: on somebody's own machine, or for strangers."""

from __future__ import annotations

import os


def on_public_host() -> bool:
    """Whether strangers use this program here: on a Hugging Face Space, or where V2M4_PUBLIC is 1."""
    told = os.environ.get("V2M4_PUBLIC")
    return bool(os.environ.get("SPACE_ID")) if told is None else told not in ("", "0")
