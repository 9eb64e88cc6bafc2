"""Build v2m4/ui/static/three.min.js anew: the parts of three.js that the viewer uses, as one file.

    python -m scripts.build_three

Needs npm, which fetches three and esbuild into a temporary folder.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path

STATIC = Path(__file__).parents[1] / "v2m4" / "ui" / "static"
PINNED = {"three": "0.187.0", "esbuild": "0.28.2"}
ENTRY = """
export { AnimationMixer, Box3, BufferAttribute, Color, DirectionalLight, DoubleSide, HemisphereLight, MeshBasicMaterial,
  MeshNormalMaterial, MeshStandardMaterial, PerspectiveCamera, Scene, Sphere, Vector3, WebGLRenderer } from "three";
export { GLTFLoader } from "three/addons/loaders/GLTFLoader.js";
export { OrbitControls } from "three/addons/controls/OrbitControls.js";
"""


def main() -> None:
    """Fetch, bundle, and put the file and its licence in their place."""
    with tempfile.TemporaryDirectory() as folder:
        room = Path(folder)
        (room / "package.json").write_text(json.dumps({"private": True, "dependencies": PINNED}))
        (room / "entry.js").write_text(ENTRY)
        subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--silent"], cwd=room, check=True)
        subprocess.run(["node", "node_modules/esbuild/install.js"], cwd=room, check=True)
        options = ["--bundle", "--minify", "--format=esm", "--legal-comments=eof"]
        subprocess.run(
            ["npx", "esbuild", "entry.js", *options, f"--outfile={STATIC / 'three.min.js'}"], cwd=room, check=True
        )
        shutil.copyfile(room / "node_modules" / "three" / "LICENSE", STATIC / "three.LICENSE")
    print(f"{STATIC / 'three.min.js'}: {(STATIC / 'three.min.js').stat().st_size} bytes")


if __name__ == "__main__":
    main()
