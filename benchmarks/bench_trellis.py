"""How long TRELLIS takes for one picture, and how much memory.

    python -m benchmarks.bench_trellis

On a CUDA GPU: the released configuration with random weights (which cost what real ones cost), 12 + 12 guided steps,
about 15 000 voxels in a bumpy shell; targets 1.5 s and 8 GB. Without one: the same code at a toy size, and the
targets stay "not measured".
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from v2m4.generators.trellis.builder import build_network
from v2m4.generators.trellis.conditioning import IMAGE_SIZE, ImageEncoder
from v2m4.generators.trellis.flexicubes import extract
from v2m4.generators.trellis.model import TrellisModel
from v2m4.generators.trellis.sampler import SamplerSettings
from v2m4.generators.trellis.voxels import Voxels
from v2m4.nn.dinov2 import Dinov2, Dinov2Config

MANIFESTS = Path(__file__).parents[1] / "tests" / "parity" / "fixtures" / "trellis"
TARGET_S = 1.5
TARGET_GB = 8.0
VOXELS = 15_000
STRUCTURE = SamplerSettings(steps=12, guidance=7.5)
LATENT = SamplerSettings(steps=12, guidance=3.0)
TOY = {"num_blocks": 2, "model_channels": 96, "num_heads": 6, "cond_channels": 96}


@dataclass(frozen=True)
class Timing:
    """Median seconds of one part, and the GPU's peak in GB while it ran (0 on a CPU)."""

    name: str
    seconds: float
    peak_gb: float


def build_model(device: torch.device, toy: bool) -> TrellisModel:
    """All networks with random weights: the released sizes, or a toy."""
    networks: dict[str, Any] = {}
    for path in sorted(MANIFESTS.glob("manifest_*.json")):
        manifest = json.loads(path.read_text())
        config = dict(manifest["config"])
        if toy:
            config |= {k: v for k, v in TOY.items() if k in config} | {"use_fp16": False}
            config |= {"resolution": max(4, config["resolution"] // 4)} if "resolution" in config else {}
            config |= {"channels": [32, 16, 16]} if "channels" in config else {}
            config |= {"model_channels": 256} if "mesh" in manifest["pipeline_role"] else {}
            config |= {"num_heads": 4} if "mesh" in manifest["pipeline_role"] else {}
        with torch.device(device):
            networks[manifest["pipeline_role"]] = build_network(manifest["class"], config)
    return TrellisModel(
        networks["sparse_structure_flow_model"],
        networks["sparse_structure_decoder"],
        networks["slat_flow_model"],
        networks["slat_decoder_mesh"],
        networks["slat_decoder_gs"],
        image_encoder=build_encoder(device, toy),
        structure_sampling=STRUCTURE,
        latent_sampling=LATENT,
        device=device,
    )


def build_encoder(device: torch.device, toy: bool) -> ImageEncoder:
    """DINOv2 ViT-L/14 with registers, or a toy of the same shape, with random weights."""
    config = Dinov2Config(width=96, depth=2, heads=6, registers=4) if toy else Dinov2Config(registers=4)
    with torch.device(device):
        return ImageEncoder(Dinov2(config))


def distance(points: Tensor) -> Tensor:
    """Signed distance, roughly, of points (..., 3) in [-0.5, 0.5]^3 to a bumpy sphere."""
    bumps = 0.03 * torch.sin(12 * points).prod(-1) + 0.02 * torch.cos(9 * points).sum(-1)
    return points.norm(dim=-1) - 0.33 - bumps


def shell(resolution: int, count: int, device: torch.device) -> Voxels:
    """The `count` voxels nearest to the surface of `distance`, sorted."""
    axis = torch.arange(resolution, device=device)
    grid = torch.cartesian_prod(axis, axis, axis)
    nearest = distance((grid + 0.5) / resolution - 0.5).abs().argsort()[:count].sort().values
    return Voxels(torch.nn.functional.pad(grid[nearest], (1, 0)).int(), [count])


def surface_features(features: Tensor, fine: Voxels, resolution: int) -> Tensor:
    """Decoder output with the distances of a real surface, so that extraction meets a mesh of natural size."""
    corner = torch.tensor([[c & 1, c >> 1 & 1, c >> 2 & 1] for c in range(8)], device=features.device)
    points = (fine.coords[:, None, 1:] + corner) / resolution - 0.5
    return torch.cat([distance(points), 0.1 * features[:, 8:]], dim=1)


def timed(name: str, run: Callable[[], Any], device: torch.device, repeats: int) -> tuple[Timing, Any]:
    """Run once to warm up, then `repeats` times."""
    result = run()
    cuda = device.type == "cuda"
    if cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = run()
        if cuda:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    peak = torch.cuda.max_memory_allocated() / 1e9 if cuda else 0.0
    return Timing(name, statistics.median(seconds), peak), result


def gradient_step(model: TrellisModel, slat: Tensor, voxels: Voxels, cond: Tensor) -> Tensor:
    """The networks' share of one iteration of refinement: gradient of both decoders' output in the negative embedding.

    Plain sums stand in for the renderings.
    """
    model.set_checkpointing(True)
    negative = torch.zeros_like(cond).requires_grad_()
    v = model.latent_velocity(voxels)(slat, 500.0, negative)
    latent = model.denormalise(slat - 0.5 * v)
    features, _ = model.mesh_decoder(latent, voxels)
    gaussians = model.decode_gaussians(latent, voxels)[0]
    loss = features.square().mean() + gaussians.colors.square().mean() + gaussians.means.square().mean()
    (gradient,) = torch.autograd.grad(loss, negative)
    model.set_checkpointing(False)
    return gradient


@torch.no_grad()
def measure(model: TrellisModel, voxels: int, repeats: int) -> tuple[list[Timing], dict[str, int]]:
    """Timings of every part in order, and the sizes they worked on."""
    device, rng = model.device, torch.Generator().manual_seed(0)
    pixels = torch.randn(1, 3, IMAGE_SIZE, IMAGE_SIZE, generator=rng).to(device)
    assert model.image_encoder is not None
    parts = []

    def part(name: str, run: Callable[[], Any]) -> Any:
        timing, result = timed(name, run, device, repeats)
        parts.append(timing)
        return result

    cond = part("image encoder", lambda: model.image_encoder(pixels))
    negative = torch.zeros_like(cond)
    noise = torch.randn(model.structure_noise_shape(), generator=rng).to(device)
    z = part("structure flow", lambda: model.sample_structure(noise, cond, negative))
    part("structure decoder", lambda: model.structure_decoder(z).cpu())

    coords = shell(model.latent_flow.resolution, voxels, device).coords
    noise = torch.randn(voxels, model.latent_flow.in_channels, generator=rng).to(device)
    slat = part("latent flow", lambda: model.sample_latent(Voxels(coords), noise, cond, negative)[0])
    decoded, fine = part("mesh decoder", lambda: model.mesh_decoder(slat, Voxels(coords)))
    grid = model.mesh_decoder.grid_resolution
    surface = surface_features(decoded, fine, grid)
    mesh = part("mesh extraction", lambda: extract(fine.coords[:, 1:], surface, grid))
    gaussians = part("gaussian decoder", lambda: model.decode_gaussians(slat, Voxels(coords)))[0]
    batch = Voxels(coords)
    with torch.enable_grad():
        gradient = part("(gradient step)", lambda: gradient_step(model, noise, batch, cond))
    finite = all(bool(torch.isfinite(x).all()) for x in (z, slat, mesh.vertices, gaussians.means, gradient))
    sizes = {
        "voxels": voxels,
        "coarse voxels": len(Voxels(coords).coarse),
        "faces": len(mesh.faces),
        "gaussians": len(gaussians.means),
        "finite": int(finite),
    }
    return parts, sizes


def profile(model: TrellisModel, voxels: int) -> str:
    """Where the GPU's time goes in one guided step of each flow and in both decoders."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as record

    device, rng = model.device, torch.Generator().manual_seed(0)
    cond = torch.randn(1, 1374, 1024, generator=rng).to(device)
    set_ = shell(model.latent_flow.resolution, voxels, device)
    slat = torch.randn(voxels, 8, generator=rng).to(device)
    noise = torch.randn(model.structure_noise_shape(), generator=rng).to(device)
    one = SamplerSettings(steps=1, guidance=3.0)
    runs: dict[str, Callable[[], Any]] = {
        "structure flow": lambda: model.sample_structure(noise, cond, cond, one),
        "latent flow": lambda: model.sample_latent(set_, slat, cond, cond, one),
        "mesh decoder": lambda: model.mesh_decoder(slat, set_),
        "gaussian decoder": lambda: model.gaussian_decoder(slat, set_),
        "gradient step": lambda: gradient_step(model, slat, set_, cond),
    }
    lines = []
    for name, run in runs.items():
        with (
            torch.set_grad_enabled(name == "gradient step"),
            record(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as recorded,
        ):
            run()
            torch.cuda.synchronize()
        lines += [
            name,
            recorded.key_averages().table(sort_by="self_cuda_time_total", row_limit=14, max_name_column_width=70),
        ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    parser.add_argument("--profile", action="store_true", help="also print where a GPU's time goes")
    options = parser.parse_args()
    device = torch.device(options.device)
    toy = device.type == "cpu"
    model = build_model(device, toy)
    parts, sizes = measure(model, 300 if toy else VOXELS, options.repeats)

    machine = torch.cuda.get_device_name() if not toy else f"CPU, {torch.get_num_threads()} threads, toy size"
    print(f"TRELLIS, one picture, 12 + 12 steps, on {machine}; torch {torch.__version__}; {sizes}")
    for p in parts:
        print(f"  {p.name:18s} {p.seconds * 1e3:9.1f} ms   peak {p.peak_gb:5.2f} GB")
    generation = [p for p in parts if p.name not in ("image encoder", "(gradient step)")]
    total = sum(p.seconds for p in generation)
    peak = max(p.peak_gb for p in generation)
    reached = (
        "not measured" if toy else f"{total:.2f} s (target {TARGET_S} s), peak {peak:.2f} GB (target {TARGET_GB} GB)"
    )
    print(f"  structure + latent + both decoders: {reached}")
    if options.json:
        numbers = {p.name: {"seconds": p.seconds, "peak_gb": p.peak_gb} for p in parts}
        content = {"machine": machine, "toy": toy, "sizes": sizes, "parts": numbers, "total_s": total, "peak_gb": peak}
        options.json.write_text(json.dumps(content, indent=1))
    if options.profile and not toy:
        print(profile(model, VOXELS))


if __name__ == "__main__":
    main()
