"""How long the whole camera search takes for one keyframe with the paper's models, and how much memory.

    python -m benchmarks.bench_camera_learned

On a CUDA GPU: DreamSim and DUSt3R of the released sizes with random weights (which cost what real ones cost), the
`paper` preset (2000 samples, stereo, swarm of 25 x 200, descent) and the `fast` one, on the project's examples. Random
weights make no point maps that could be fitted, so the stereo step goes on with random ones of the same size; where
the camera ends up means nothing here (`bench_camera.py` measures that). Targets: 8 s, 1.5 s, and 8 GB. Without a GPU:
the same code with toy models and few samples, and the targets stay "not measured".
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.bench_camera import ROOT, framed_camera, picture, sequences
from v2m4.events import CameraView
from v2m4.geometry.mesh import Mesh
from v2m4.perceptual.dreamsim import DINO_VIT, DreamSim, DreamSimNetwork, VitConfig
from v2m4.settings import CameraSettings, Dust3rSettings, Settings, changed
from v2m4.stages.camera.search import search_camera
from v2m4.stereo import PointMaps
from v2m4.stereo.dust3r import Dust3r
from v2m4.stereo.dust3r.model import AsymmetricCroCo3DStereo, Dust3rConfig

TARGETS_S = {"paper": 8.0, "fast": 1.5}
TARGET_GB = 8.0
TOY_VIT = VitConfig(DINO_VIT.mean_std, DINO_VIT.eps, None, width=48, depth=2, heads=2)
TOY_DUST3R = Dust3rConfig(
    enc_embed_dim=96,
    enc_depth=2,
    enc_num_heads=6,
    dec_embed_dim=96,
    dec_depth=4,
    dec_num_heads=6,
    feature_dim=16,
    last_dim=16,
    layer_dims=(8, 16, 24, 32),
)


@dataclass
class Untrained:
    """The stereo model, whose point maps are thrown away; counts its seconds."""

    model: Dust3r
    seconds: float = 0.0

    def __call__(self, images: Tensor) -> PointMaps:
        start = time.perf_counter()
        found = self.model(images)
        _wait(found.points.device)
        self.seconds += time.perf_counter() - start
        points = torch.rand(found.points.shape, generator=torch.Generator().manual_seed(0))
        return PointMaps(points.to(found.points), torch.ones_like(found.confidence))


@dataclass
class Result:
    """Seconds of one search, of its phases up to the view that ends each, and of the stereo model; peak in GB."""

    preset: str
    faces: int
    seconds: float
    peak_gb: float
    stereo_model: float
    phases: dict[str, float] = field(default_factory=dict)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def search(
    preset: str,
    settings: CameraSettings,
    mesh: Mesh,
    dreamsim: DreamSim,
    dust3r: Dust3r,
    device: torch.device,
    seed: int,
) -> Result:
    """One keyframe's search, the models already loaded."""
    rng = torch.Generator().manual_seed(seed)
    reference = picture(mesh, framed_camera(mesh, rng), lit=True)
    stereo = Untrained(dust3r)
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    _wait(device)
    phases: dict[str, float] = {}
    begin = last = time.perf_counter()
    for event in search_camera(mesh, reference, settings, dreamsim, stereo, rng, 0, None, device):
        if isinstance(event, CameraView):
            _wait(device)
            now = time.perf_counter()
            phases[event.phase] = phases.get(event.phase, 0.0) + now - last
            last = now
    _wait(device)
    peak = torch.cuda.max_memory_allocated() / 1e9 if device.type == "cuda" else 0.0
    return Result(preset, len(mesh.faces), time.perf_counter() - begin, peak, stereo.seconds, phases)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--repeats", type=int, default=3, help="searches per preset, the first of which warms up")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    parser.add_argument("--profile", type=Path, help="also write where the time of a `paper` search goes to this file")
    options = parser.parse_args()
    device = torch.device(options.device)
    toy = device.type == "cpu"
    torch.manual_seed(0)
    with torch.device(device):
        dreamsim = DreamSim(device, DreamSimNetwork((TOY_VIT,) * 3) if toy else DreamSimNetwork())
        network = AsymmetricCroCo3DStereo(TOY_DUST3R if toy else Dust3rConfig())
    alignment = Dust3rSettings(iterations=5 if toy else 300)
    dust3r = Dust3r(device, network, size=64 if toy else 512, alignment=alignment)
    machine = f"CPU, {torch.get_num_threads()} threads, toy models" if toy else torch.cuda.get_device_name()
    print(f"Camera search, one keyframe, on {machine}; torch {torch.__version__}", flush=True)
    meshes = [sequence.meshes[0] for sequence in sequences([ROOT / "assets" / "examples" / "truth"])]
    results = []
    always = changed(Settings.of("fast").camera, {"rigid.stereo_below": 2.0})
    cases = {"paper": Settings.of("paper").camera, "fast": Settings.of("fast").camera, "fast, stereo taken": always}
    for name, settings in cases.items():
        if toy:
            small = {
                "algorithm1.samples": 8,
                "algorithm1.swarm.size": 8,
                "algorithm1.swarm.iterations": 2,
                "stereo.fit_iterations": 4,
                "stereo.size": 64,
            }
            settings = changed(
                settings,
                {
                    **small,
                    "stereo.pose_iterations": 4,
                    "algorithm1.descent.iterations": 3,
                    "algorithm1.descent.size": 64,
                },
            )
        for n in range(options.repeats):
            result = search(name, settings, meshes[n % len(meshes)], dreamsim, dust3r, device, n)
            results.append(result)
            shares = ", ".join(f"{phase} {seconds:.2f}" for phase, seconds in result.phases.items())
            print(
                f"  {name:18s} {result.seconds:6.2f} s  peak {result.peak_gb:5.2f} GB  {result.faces} faces"
                f"  (to the view of: {shares}; stereo model {result.stereo_model:.2f})",
                flush=True,
            )
        warm = [r for r in results if r.preset == name][-max(1, options.repeats - 1) :]
        worst = max(r.seconds for r in warm)
        target = TARGETS_S[name.split(",")[0]]
        reached = "not measured" if toy else f"{worst:.2f} s (target {target} s), peak {warm[-1].peak_gb:.2f} GB"
        print(f"  {name}: worst warm search {reached} (target {TARGET_GB} GB)", flush=True)
    if options.profile and not toy:
        from torch.profiler import ProfilerActivity
        from torch.profiler import profile as record

        with record(activities=[ProfilerActivity.CUDA]) as recorded:
            search("paper", cases["paper"], meshes[0], dreamsim, dust3r, device, 0)
        table = recorded.key_averages().table(sort_by="self_cuda_time_total", row_limit=40, max_name_column_width=90)
        options.profile.write_text(table)
    if options.json:
        content = {"machine": machine, "toy": toy, "results": [vars(r) for r in results]}
        options.json.write_text(json.dumps(content, indent=1))


if __name__ == "__main__":
    main()
