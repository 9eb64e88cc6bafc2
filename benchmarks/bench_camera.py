"""Camera search on known geometry: how often, how exactly and how fast the true camera is found.

    python -m benchmarks.bench_camera [FOLDER_OR_NPZ ...] [--preset fast] [--draws 200] [--cameras framed] [--lit]

Each sequence is an .npz: `vertices` (T,V,3), `faces` and `colors` (V,3) uint8, glTF axes; or a truth file of this
project's examples (the default). A draw takes a random frame of a sequence and a random roll-free camera, renders the
reference at 512 px and searches for the camera with the same mesh. `framed`: any direction, the bounding sphere
filling 40 to 95 % of the frame, anywhere inside it. `method`: the distribution that the method itself samples from, as
long as at least 60 % of the object is in the frame and covers 1 % of it. `--lit` shades the reference (the search does
not know the light). Printed: share of draws with the rotation within 5 degrees and mask overlap (IoU at 512 px) above
0.95, both also apart, the median errors, and seconds per search: by the clock, and of the processor (which tells more
on a busy machine).
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from v2m4.evaluation.truth import load_truth
from v2m4.events import drain
from v2m4.geometry.camera import Camera, look_at, orbit_extrinsics
from v2m4.geometry.mesh import Mesh
from v2m4.perceptual import PERCEPTUALS
from v2m4.registry import choose
from v2m4.render import render, render_fast
from v2m4.settings import Settings, changed
from v2m4.stages.camera.search import search_camera
from v2m4.stereo import STEREOS

ROOT = Path(__file__).parent.parent
SIZE = 512
Y_UP_TO_Z_UP = torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])


@dataclass(frozen=True)
class Sequence:
    """name, and the meshes of its frames (z up)."""

    name: str
    meshes: list[Mesh]


def sequences(paths: list[Path]) -> Iterator[Sequence]:
    """Every sequence in the files and folders."""
    for path in paths:
        for file in sorted(path.rglob("*.npz")) if path.is_dir() else [path]:
            data = np.load(file)
            if "steps" in data:
                truth = load_truth(file)
                yield Sequence(file.stem, [truth.mesh.with_vertices(v) for v in truth.vertices])
                continue
            vertices = torch.from_numpy(data["vertices"]).float() @ Y_UP_TO_Z_UP.T
            faces = torch.from_numpy(data["faces"]).long()
            colors = torch.from_numpy(data["colors"]).float() / 255
            yield Sequence(file.parent.name, [Mesh(v, faces, colors=colors) for v in vertices])


def framed_camera(mesh: Mesh, rng: torch.Generator) -> Camera:
    """A roll-free camera from any direction, whose picture contains the mesh's bounding sphere, off-centre."""
    middle = (mesh.vertices.amin(0) + mesh.vertices.amax(0)) / 2
    reach = float((mesh.vertices - middle).norm(dim=1).max())
    u = torch.rand(5, generator=rng).double()
    yaw, pitch = 2 * math.pi * u[0], torch.asin(2 * u[1] - 1)
    fill = 0.4 + 0.55 * float(u[2])
    half = math.radians(20)
    angle = math.atan(fill * math.tan(half))
    distance = reach / math.sin(angle)
    room = (half - angle) * 0.9
    direction = torch.stack([yaw.sin() * pitch.cos(), yaw.cos() * pitch.cos(), pitch.sin()]).float()
    eye = middle + distance * direction
    straight = look_at(eye, middle)
    # Look somewhere beside the object, such that the sphere stays inside.
    a, b = ((2 * u[3:] - 1) * room).tolist()
    aim = torch.tensor([math.tan(a), math.tan(b), 1.0]) @ straight[:3, :3]
    return Camera(look_at(eye, eye + aim))


def method_camera(mesh: Mesh, rng: torch.Generator) -> Camera:
    """A camera as the method samples them, drawn again until the object is in the frame."""
    while True:
        u = torch.rand(6, generator=rng)
        yaw, pitch, radius = 2 * math.pi * u[0], torch.asin(2 * u[1] - 1), (24 * u[2] + 1).sqrt()
        camera = Camera(orbit_extrinsics(yaw, pitch, radius, 2 * u[3:] - 1))
        place, depth = camera.project(mesh.vertices)
        inside = ((place > 0) & (place < 1)).all(-1) & (depth > 0.1)
        mask = render_fast(mesh, camera, 64).mask
        if bool((depth > 0.1).all()) and float(inside.float().mean()) > 0.6 and float(mask.mean()) > 0.01:
            return camera


def picture(mesh: Mesh, camera: Camera, lit: bool) -> NDArray[np.uint8]:
    """The reference, (S,S,4) uint8 with straight alpha."""
    images = render(mesh, camera, SIZE, ("mask", "color", "normal") if lit else ("mask", "color"))
    alpha = images.mask[0, ..., None]
    color = images.color[0] / alpha.clamp_min(1e-3)
    if lit:
        light = torch.nn.functional.normalize(torch.tensor([-0.5, -0.7, -0.6]), dim=0) @ camera.world_to_camera[:3, :3]
        color = color * (0.45 + 0.6 * (images.normal[0] @ light).clamp_min(0)[..., None])
    return (torch.cat([color.clamp(0, 1), alpha.clamp(0, 1)], dim=-1) * 255).round().byte().numpy()


def angle_between_deg(a: Camera, b: Camera) -> float:
    """How far apart two cameras' rotations are."""
    r = a.world_to_camera[:3, :3].double() @ b.world_to_camera[:3, :3].double().T
    return math.degrees(math.acos(max(-1.0, min(1.0, (float(r.trace()) - 1) / 2))))


def overlap(mesh: Mesh, a: Camera, b: Camera) -> float:
    """Intersection over union of the masks at 512 px."""
    masks = [render_fast(mesh, c, SIZE).mask[0] > 0.5 for c in (a, b)]
    return float((masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum().clamp_min(1))


def main() -> None:
    """Draw, search, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*", type=Path, default=[ROOT / "assets" / "examples" / "truth"])
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--cameras", choices=("framed", "method"), default="framed")
    parser.add_argument("--lit", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="a camera setting to change")
    parser.add_argument("--verbose", action="store_true", help="a line per draw")
    arguments = parser.parse_args()
    settings = Settings.of(arguments.preset)
    changes = {name: json.loads(value) for name, value in (s.split("=") for s in arguments.set)}
    camera_settings = changed(settings.camera, changes)
    device = torch.device("cpu")
    perceptual = choose(PERCEPTUALS, "auto").create(settings, device)
    stereo = choose(STEREOS, "auto").create(settings, device) if camera_settings.stereo.enabled else None
    known = list(sequences(arguments.paths))
    rows = []
    for draw in range(arguments.draws):
        rng = torch.Generator().manual_seed(arguments.seed * 100003 + draw)
        sequence = known[draw % len(known)]
        mesh = sequence.meshes[int(torch.randint(len(sequence.meshes), (1,), generator=rng))]
        truth = (framed_camera if arguments.cameras == "framed" else method_camera)(mesh, rng)
        reference = picture(mesh, truth, arguments.lit)
        start, busy = time.perf_counter(), time.process_time()
        found = drain(
            search_camera(
                mesh, reference, camera_settings, perceptual, stereo, rng, keyframe=0, start=None, device=device
            )
        )
        seconds, busy = time.perf_counter() - start, time.process_time() - busy
        error, share = angle_between_deg(found.camera, truth), overlap(mesh, found.camera, truth)
        rows.append((error, share, seconds, busy))
        if arguments.verbose:
            print(f"{draw:4d} {sequence.name:12s} {error:7.2f} deg  IoU {share:.3f}  {seconds:.2f} s", flush=True)
    errors, shares, times, work = np.array(rows).T
    print(
        f"preset {arguments.preset}, {len(rows)} draws, cameras {arguments.cameras}{', lit' if arguments.lit else ''}"
    )
    print(f"within 5 deg and IoU > 0.95: {100 * np.mean((errors < 5) & (shares > 0.95)):.1f} %")
    print(f"within 5 deg: {100 * np.mean(errors < 5):.1f} %   IoU > 0.95: {100 * np.mean(shares > 0.95):.1f} %")
    print(f"median error {np.median(errors):.2f} deg, median IoU {np.median(shares):.4f}")
    first, rest = times[0], times[1:] if len(times) > 1 else times
    print(f"seconds per search: first {first:.2f}, median {np.median(rest):.2f}, worst {rest.max():.2f}")
    print(f"processor seconds per search, all cores together: median {np.median(work):.2f}, worst {work.max():.2f}")


if __name__ == "__main__":
    main()
