"""Make the finished results that the page shows before anybody clicks: assets/results/<clip>/ for every example clip.

    python -m scripts.make_results [CLIP ...]

Runs the pipeline at the fast preset with the built-in plugs and keeps the quantised GLB, the preview, the report, the
settings, and small pictures of every keyframe. Needs the `ui` extra.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from v2m4.settings import ExportSettings, Settings, changed
from v2m4.ui.run_view import RunView, replay
from v2m4.ui.runner import do_run
from v2m4.ui.store import Store

ROOT = Path(__file__).parents[1]
LARGEST_GLB = 1_000_000


def make(clip: Path, target: Path) -> None:
    """Run the pipeline on ``clip`` and leave what the page shows in ``target``."""
    settings = replace(
        Settings.of("fast", device="cpu", perceptual="structure", stereo="features"),
        export=ExportSettings(quantise=True, texture_format="jpeg"),
    )
    settings = changed(settings, {"generator.name": "sculpt"})
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        record = store.create(clip, settings)
        view = replay(record, do_run(store, record))
        if view.state != "finished":
            raise SystemExit(f"{clip.name}: {view.message}")
        size = (record.folder / "animation.glb").stat().st_size
        if size > LARGEST_GLB:
            raise SystemExit(f"{clip.name}: the GLB has {size} bytes, more than the {LARGEST_GLB} that are shipped.")
        shutil.rmtree(target, ignore_errors=True)
        (target / "pictures").mkdir(parents=True)
        for name in ("animation.glb", "preview.mp4", "report.json", "settings.json"):
            shutil.copyfile(record.folder / name, target / name)
        (target / "view.json").write_text(json.dumps(_kept(view, target / "pictures"), indent=1) + "\n")


def _kept(view: RunView, pictures: Path) -> dict[str, object]:
    """The view as plain data, its pictures copied to ``pictures``."""

    def keep(path: str, name: str) -> str:
        shutil.copyfile(path, pictures / f"{name}.webp")
        return f"{name}.webp"

    return {
        "keyframes": view.keyframes,
        "anchor": view.anchor,
        "times": view.times,
        "duration": view.duration,
        "content": view.content,
        "method": view.method,
        "frames": {i: keep(path, f"frame-{i:05d}") for i, path in view.frames.items()},
        "views": {
            i: {phase: [keep(path, f"{phase}-{i:05d}"), overlap] for phase, (path, overlap) in views.items()}
            for i, views in view.views.items()
        },
        "fits": {i: [keep(path, f"fit-{i:05d}"), overlap] for i, (path, overlap) in view.fits.items()},
    }


def main(names: list[str]) -> None:
    """All example clips, or those named."""
    for clip in sorted((ROOT / "assets" / "examples").glob("*.mp4")):
        if not names or clip.stem in names:
            make(clip, ROOT / "assets" / "results" / clip.stem)
            print(f"{clip.stem}: {ROOT / 'assets' / 'results' / clip.stem}")


if __name__ == "__main__":
    main(sys.argv[1:])
