"""The Space's build, as far as a machine without a GPU goes: requirements.txt alone, and the page starts in it."""

import os
import shutil
import subprocess
import sys
import time
import urllib.request
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

from tests.ui.conftest import free_port

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """The interpreter of a new environment built the way the Space's builder does, in one resolve.

    The builder's torch is a download of several GB with CUDA; where another is installed already, that one is used.
    """
    folder = tmp_path_factory.mktemp("space")
    torch = version("torch").split("+")[0]
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    wanted = folder / "requirements.txt"
    wanted.write_text("\n".join(f"torch=={torch}" if line.startswith("torch==") else line for line in lines))
    subprocess.run([sys.executable, "-m", "venv", str(folder / "env")], check=True)
    made = folder / "env" / "bin" / "python"
    front_matter = yaml.safe_load((ROOT / "README.md").read_text().split("---")[1])
    gradio = f"gradio[oauth,mcp]=={front_matter['sdk_version']}"
    subprocess.run([made, "-m", "pip", "install", "-q", "-r", wanted, gradio, "spaces"], check=True)
    return made


def test_the_page_starts_and_answers(python, tmp_path):
    for name in ("app.py", "v2m4", "assets"):
        target = tmp_path / name
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, target)
    port = free_port()
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"GRADIO_SERVER_PORT": str(port)}
    log = (tmp_path / "log").open("w+")
    server = subprocess.Popen([python, "app.py"], cwd=tmp_path, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        page = b""
        for _ in range(120):
            assert server.poll() is None, (tmp_path / "log").read_text()
            try:
                page = urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=2).read()
                break
            except OSError:
                time.sleep(1)
        assert b"gradio" in page.lower()
    finally:
        server.terminate()
        server.wait(timeout=20)
        log.close()
