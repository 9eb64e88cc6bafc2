"""three.js as the reader's oracle, from tests/package.json."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from v2m4.arrays import Float64
from v2m4.formats.gltf.scene import Part

_HERE = Path(__file__).parent
_PACKAGES = _HERE.parents[1]


def seen_by_three(*paths: Path) -> list[list[Float64] | str]:
    """Per file the parts as (F,3,8): places, texture coordinates and linear colours of the corners; or why it failed.

    Skips the test where there is no Node.js; installs three.js where it is missing.
    """
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("Node.js is not installed, which three.js needs")
    if not (_PACKAGES / "node_modules" / "three").is_dir():
        subprocess.run([npm, "ci", "--no-audit", "--no-fund"], cwd=_PACKAGES, check=True, capture_output=True)
    command = [node, str(_HERE / "three.mjs"), *map(str, paths)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return [
        entry["error"] if "error" in entry else [np.asarray(p, np.float64).reshape(-1, 3, 8) for p in entry["parts"]]
        for entry in json.loads(done.stdout)
    ]


def corners_of(part: Part) -> Float64:
    """(F,3,8) of a part, in the same terms. Mirrored parts keep the file's order of corners there."""
    mirrored = np.median(np.linalg.det(part.placement[..., :3, :3])) < 0
    faces = part.faces[:, ::-1] if mirrored else part.faces
    surface = part.surface
    color = np.ones((len(part.positions), 3)) if surface.colors is None else surface.colors
    color = color * (1 if surface.factor is None else surface.factor)
    uv = np.zeros((len(part.positions), 2)) if surface.uv is None else surface.uv
    return np.concatenate([part.at_rest(), uv, color], axis=1)[faces]
