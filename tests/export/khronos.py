"""The Khronos glTF validator, from tests/package.json."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

_HERE = Path(__file__).parent.parent
_SCRIPT = """
const validator = require('gltf-validator');
const data = new Uint8Array(require('fs').readFileSync(process.argv[1]));
validator.validateBytes(data, {maxIssues: 100}).then(report => console.log(JSON.stringify(report)));
"""


def validate(path: Path) -> dict[str, Any]:
    """The validator's report. Skips the test where there is no Node.js; installs the validator where it is missing."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("Node.js is not installed, which the Khronos validator needs")
    if not (_HERE / "node_modules" / "gltf-validator").is_dir():
        subprocess.run([npm, "ci", "--no-audit", "--no-fund"], cwd=_HERE, check=True, capture_output=True)
    done = subprocess.run([node, "-e", _SCRIPT, str(path)], cwd=_HERE, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def assert_valid(path: Path) -> dict[str, Any]:
    """No errors and no warnings; returns what the validator saw in the file."""
    report = validate(path)
    issues = report["issues"]
    assert (issues["numErrors"], issues["numWarnings"]) == (0, 0), issues["messages"]
    return report["info"]
