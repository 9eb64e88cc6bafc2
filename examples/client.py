"""Call the page from Python: one clip with progress, or a folder of clips, one after the other.

python examples/client.py clip.mp4
python examples/client.py folder/ --url https://OWNER-NAME.hf.space --preset fast
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import httpx
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

ENDINGS = {".mp4", ".mov", ".webm", ".gif"}


def reconstruct(client: Client, clip: Path, output: Path, preset: str) -> Path:
    """Send ``clip``, print how it goes, and leave ``<clip>.glb`` in ``output``."""
    job = client.submit(video=handle_file(clip), preset=preset, api_name="/reconstruct")
    before = ""
    for status, *_ in job:
        line = f"{clip.name}: {status['stage'] or 'starting'} {100 * status['fraction']:.0f} %"
        if line != before:
            print(line, flush=True)
        before = line
    status, glb, _preview, _bundle, report = job.result()
    if status["state"] != "finished":
        raise SystemExit(f"{clip.name}: {status['message']}")
    output.mkdir(parents=True, exist_ok=True)
    target = output / f"{clip.stem}.glb"
    shutil.copyfile(glb, target)
    print(f"{target}: mask overlap {report['iou']['mean']:.3f}, PSNR {report['psnr']['mean']:.1f} dB")
    return target


def main(arguments: list[str] | None = None) -> None:
    """One clip, or every clip of a folder."""
    parser = argparse.ArgumentParser(description="Turn clips into animated meshes through a running page.")
    parser.add_argument("source", type=Path, help="a clip, or a folder of clips")
    parser.add_argument("--url", default="http://127.0.0.1:7860", help="the page's address")
    parser.add_argument("--preset", default="fast", choices=["draft", "fast", "paper"])
    parser.add_argument("--output", type=Path, default=Path("output"))
    options = parser.parse_args(arguments)
    clips = [options.source]
    if options.source.is_dir():
        clips = sorted(p for p in options.source.iterdir() if p.suffix.lower() in ENDINGS)
    try:
        client = Client(options.url, httpx_kwargs={"timeout": 60})
    except (httpx.HTTPError, ValueError) as error:
        raise SystemExit(
            f"No page answers at {options.url} ({error}). Start it with `make app`, or give its --url."
        ) from error
    for clip in clips:
        try:
            reconstruct(client, clip, options.output, options.preset)
        except AppError as error:  # what the page says of the clip
            raise SystemExit(f"{clip.name}: {error}") from error


if __name__ == "__main__":
    main()
