"""The Space, and the same page on a laptop: `python app.py`, then http://127.0.0.1:7860."""

from __future__ import annotations

import os
from contextlib import suppress

os.environ.setdefault("NUMBA_DISABLE_CUDA", "1")
with suppress(ImportError):
    import spaces  # noqa: F401  (must come before anything that may touch CUDA)

import gradio as gr

from v2m4.settings import Settings
from v2m4.ui.limits import Limits
from v2m4.ui.page import WARMED_BY, build_page, launch_options
from v2m4.ui.runner import prepare, warm_up

limits = Limits.from_environment()
demo: gr.Blocks = build_page(limits)

if __name__ == "__main__":
    settings = Settings.of("fast")
    prepare(settings)
    demo.launch(**launch_options(limits), prevent_thread_lock=True)
    warm_up(settings, WARMED_BY)
    demo.block_thread()
