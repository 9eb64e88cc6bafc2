"""How long appearance refinement takes per keyframe, how much memory, and whether `paper` and `fast` get as far as the
appendix of the paper.

    python -m benchmarks.bench_refinement

On a CUDA GPU: the released TRELLIS configuration and the perceptual networks with random weights (which cost what real
ones cost), about 15 000 voxels in a bumpy shell whose mesh has the size of a real one; targets 7 s and 16 GB at the
paper's settings. The picture to reach is the same object under another negative embedding, so it can be reached.
Without a GPU: the same code at a toy size, and the targets stay "not measured".
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.bench_trellis import VOXELS, build_model, distance, shell
from v2m4.events import drain
from v2m4.generators.trellis.flexicubes import CORNERS, MeshResult, extract
from v2m4.generators.trellis.model import TrellisModel
from v2m4.generators.trellis.sampler import SamplerSettings
from v2m4.generators.trellis.second_pass import SecondPass
from v2m4.geometry.camera import Camera, orbit_extrinsics
from v2m4.perceptual.dreamsim import CLIP_VIT, DINO_VIT, OPEN_CLIP_VIT, DreamSim, DreamSimNetwork
from v2m4.perceptual.lpips import Lpips, LpipsNetwork
from v2m4.render.gaussians import render_gaussians
from v2m4.settings import GeneratorSettings, RefinementSettings, Settings, TrellisSettings
from v2m4.stages.refinement import (
    Comparison,
    ImageDistances,
    Iteration,
    Sampled,
    mesh_picture,
    optimise_negative,
    reference_picture,
    refine_appearance,
    scorer,
    total,
)

PAPER = Settings.of("paper").refinement
TARGET_S = 7.0
TARGET_GB = 16.0
FACES = 10_000


class BumpyObject(SecondPass):
    """An object whose surface is that of `distance`, a little displaced by the untrained decoder."""

    def extract(self, features: Tensor) -> MeshResult:
        fine, side = self.voxels.fine.fine, self.model.mesh_decoder.grid_resolution
        points = (fine.coords[:, None, 1:] + CORNERS.to(fine.coords.device)) / side - 0.5
        sdf = distance(points) + (1 + 0.1 * features[:, :8].tanh()) / side
        features = torch.cat([sdf, 0.1 * features[:, 8:53], features[:, 53:]], dim=1)
        return extract(fine.coords[:, 1:], features, side, self.corners)


@dataclass
class Maker:
    """Takes up always the same object; stands where the predictor stands in the pipeline."""

    model: TrellisModel
    extras: dict[str, Tensor]
    sampling: SamplerSettings
    remember: bool = False
    trellis: TrellisSettings = field(default_factory=lambda: Settings.of("paper").generator.trellis)

    def resume(self, extras: Any, device: Any) -> BumpyObject:
        settings = GeneratorSettings(trellis=self.trellis, max_faces=FACES)
        return BumpyObject(self.model, extras, self.sampling, settings, self.remember)


@dataclass(frozen=True)
class Result:
    """What one variant took and reached."""

    name: str
    seconds: float
    clean_up_seconds: float
    peak_gb: float
    iterations: int
    loss: float
    moments: list[float]
    """When each iteration ended, in seconds from the beginning."""


def build_distances(device: torch.device, toy: bool) -> dict[str, Any]:
    """DreamSim's ensemble and LPIPS with random weights; in a toy, small transformers."""
    torch.manual_seed(0)
    configs = (DINO_VIT, CLIP_VIT, OPEN_CLIP_VIT)
    if toy:
        configs = tuple(replace(c, width=48, depth=2, heads=2, projected=c.projected and 16) for c in configs)
    network = DreamSimNetwork(configs)
    for parameter in network.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.02)
    return {"dreamsim": DreamSim(device, network=network), "lpips": Lpips(device, network=LpipsNetwork())}


def build_maker(device: torch.device, toy: bool) -> Maker:
    """The object before refinement."""
    torch.manual_seed(0)
    model = build_model(device, toy)
    make_responsive(model)
    rng = torch.Generator().manual_seed(0)
    voxels = shell(model.latent_flow.resolution, 120 if toy else VOXELS, device)
    width = model.latent_flow.blocks[0].cross_attn.to_kv.in_features
    extras = {
        "cond": torch.randn(1, 1374 if not toy else 20, width, generator=rng),
        "coords": voxels.coords,
        "noise": torch.randn(len(voxels), model.latent_flow.in_channels, generator=rng),
    }
    return Maker(model, extras, SamplerSettings(steps=10 if toy else 25))


@torch.no_grad()
def make_responsive(model: TrellisModel, gain: float = 20.0) -> None:
    """Untrained networks hardly react to their condition, nor show it: amplify the way from tokens to colours."""
    for block in model.latent_flow.blocks:
        block.cross_attn.to_out.weight.mul_(gain)
    n = int(model.gaussian_decoder.representation["num_gaussians"])
    model.mesh_decoder.out_layer.weight[53:].mul_(gain)
    model.gaussian_decoder.out_layer.weight[3 * n : 6 * n].mul_(gain)


def target_picture(maker: Maker, camera: Camera, size: int, device: torch.device) -> NDArray[np.uint8]:
    """(size,size,4) RGBA: the object sampled under a random negative embedding, the same for all tokens."""
    source = maker.resume(maker.extras, device)
    token = torch.randn(source.negative.shape[-1], generator=torch.Generator().manual_seed(1))
    source.negative = token.to(device).expand_as(source.negative)
    nothing = RefinementSettings(iterations=0, image_size=size, supersampling=1)
    *_, last = optimise_negative(source, lambda slat, index: slat.sum(), nothing)
    assert isinstance(last, Sampled)
    slat = source.denormalise(last.x)
    color = render_gaussians(source.decode_gaussians(slat), camera, size)[0]
    mesh = mesh_picture(source.decode_mesh(slat), camera, nothing)
    color = 0.5 * (color + mesh) * (mesh.sum(-1, keepdim=True) > 0)
    rgba = torch.cat([color.clamp(0, 1), (mesh.sum(-1, keepdim=True) > 0).float()], dim=-1)
    return (rgba * 255).round().byte().cpu().numpy()


def run_variant(
    name: str, maker: Maker, picture: NDArray[np.uint8], camera: Camera, settings: RefinementSettings, distances: Any
) -> Result:
    """Refine once, and judge the outcome by the paper's loss at the paper's size."""
    device = maker.model.device
    source = maker.resume(maker.extras, device)
    comparison = Comparison(reference_picture(picture, settings.image_size, device), distances, settings)
    if device.type == "cuda":
        gc.collect()
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    moments, last = [], source.noise
    with source.at_work():
        for event in optimise_negative(source, scorer(source, camera, comparison, settings), settings):
            if isinstance(event, Iteration):
                moments.append(time.perf_counter() - start)
            last = event.x if isinstance(event, Sampled) else last
        slat = source.denormalise(last)
        with torch.no_grad():
            source.decode_mesh(slat)
    if device.type == "cuda":
        torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    # What is reserved, not what is allocated: the memory of recorded networks is reserved only.
    peak = torch.cuda.max_memory_reserved() / 1e9 if device.type == "cuda" else 0.0
    start = time.perf_counter()
    if importlib.util.find_spec("fast_simplification") is not None:
        source.finish(slat)
    clean_up = time.perf_counter() - start
    loss = judge(source, slat, picture, camera, distances)
    return Result(name, seconds, clean_up, peak, len(moments), loss, moments)


@torch.no_grad()
def judge(source: SecondPass, slat: Tensor, picture: NDArray[np.uint8], camera: Camera, distances: Any) -> float:
    """The paper's loss of a latent, without the pull towards the embedding's start."""
    settings = replace(PAPER, image_size=picture.shape[0])
    comparison = Comparison(reference_picture(picture, settings.image_size, slat.device), distances, settings)
    return total(scorer(source, camera, comparison, settings)(slat, 0))


def parts(
    maker: Maker, picture: NDArray[np.uint8], camera: Camera, distances: Any, tables: list[str] | None = None
) -> list[tuple[str, float, float]]:
    """Milliseconds of the parts of one iteration at the paper's settings, forward and forward with backward.

    ``tables``: where each part's GPU time goes is added to them.
    """
    device = maker.model.device
    source = maker.resume(maker.extras, device)
    settings = replace(PAPER, image_size=picture.shape[0])
    comparison = Comparison(reference_picture(picture, settings.image_size, device), distances, settings)
    negative = source.negative.clone().requires_grad_()
    slat = source.denormalise(source.noise).detach().requires_grad_()
    rows = []
    with source.at_work():
        with torch.no_grad():
            features = source.mesh_features(slat).clone()
            mesh, gaussians = source.extract(features), source.decode_gaussians(slat)
            image = mesh_picture(mesh, camera, settings)
        for tensor in (features, mesh.attributes, mesh.vertices, gaussians.means, gaussians.colors, image):
            tensor.requires_grad_()
        runs: dict[str, Callable[[], Tensor]] = {
            "latent flow, one branch": lambda: source.velocity(source.noise, 300.0, negative).sum(),
            "mesh decoder": lambda: source.mesh_features(slat).sum(),
            "mesh extraction": lambda: sum_of(source.extract(features)[:3:2]),
            "mesh rendering": lambda: mesh_picture(mesh, camera, settings).sum(),
            "Gaussian decoder": lambda: sum_of(vars(source.decode_gaussians(slat)).values()),
            "Gaussian rendering": lambda: render_gaussians(gaussians, camera, settings.image_size)[0].sum(),
            "image distances of one": lambda: comparison.one(image),
        }
        for name, run in runs.items():
            forward = _milliseconds(run, device)
            rows.append((name, forward, _milliseconds(lambda run=run: run().backward(), device)))  # type: ignore[misc]
            if tables is not None and device.type == "cuda":
                tables.append(f"{name}\n{kernels(lambda run=run: run().backward(), 22)}")  # type: ignore[misc]
    return rows


def kernels(run: Callable[[], Any], row_limit: int) -> str:
    """Table of the kernels that take most of the GPU's time."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as record

    with record(activities=[ProfilerActivity.CUDA]) as recorded:
        run()
        torch.cuda.synchronize()
    averages = recorded.key_averages()
    lines = [f"GPU busy {sum(a.self_device_time_total for a in averages) / 1e3:.2f} ms"]
    for a in sorted(averages, key=lambda a: -a.self_device_time_total)[:row_limit]:
        lines.append(f"{a.self_device_time_total / 1e3:9.3f} ms {a.count:5d} x  {a.key[:150]}")
    return "\n".join(lines)


def sum_of(tensors: Iterable[Tensor]) -> Tensor:
    """The sum of all elements of all tensors."""
    return torch.stack([t.sum() for t in tensors]).sum()


def _milliseconds(run: Callable[[], Any], device: torch.device, repeats: int = 3) -> float:
    with _synchronised(device):
        run()
    start = time.perf_counter()
    with _synchronised(device):
        for _ in range(repeats):
            run()
    return (time.perf_counter() - start) / repeats * 1e3


@contextmanager
def _synchronised(device: torch.device) -> Iterator[None]:
    yield
    if device.type == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--only", choices=["parts", "appendix", "paper", "fast"], help="measure this alone")
    parser.add_argument("--remember", action="store_true", help="recompute nothing: faster, but takes more memory")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    parser.add_argument("--profile", type=Path, help="also write where a GPU's time goes to this file")
    options = parser.parse_args()
    device = torch.device(options.device)
    toy = device.type == "cpu"
    size = 48 if toy else 518
    maker = build_maker(device, toy)
    maker.remember = options.remember
    distances = build_distances(device, toy)
    angles = torch.tensor(0.6), torch.tensor(0.3), torch.tensor(2.0)
    camera = Camera(orbit_extrinsics(*angles, torch.zeros(3)).to(device))
    with torch.no_grad():
        picture = target_picture(maker, camera, size, device)
        source = maker.resume(maker.extras, device)
        slat = source.denormalise(source.noise)
        faces = len(source.decode_mesh(slat).faces)
        gaussians = len(source.decode_gaussians(slat).means)
    machine = f"CPU, {torch.get_num_threads()} threads, toy size" if toy else torch.cuda.get_device_name()
    sizes = {"voxels": len(source.voxels), "faces": faces, "gaussians": gaussians, "picture": size}
    steps = maker.sampling.steps
    print(f"Refinement, one keyframe, {steps} steps, on {machine}; torch {torch.__version__}; {sizes}", flush=True)

    tables: list[str] | None = [] if options.profile else None
    rows = parts(maker, picture, camera, distances, tables) if options.only in (None, "parts") else []
    for name, forward, whole in rows:
        print(f"  {name:26s} {forward:8.1f} ms forward  {whole:8.1f} ms with backward", flush=True)
    if options.profile and tables:
        options.profile.write_text("\n\n".join(tables))

    variants = {
        "none": replace(PAPER, start_t=-1.0, image_size=size),
        "appendix": replace(PAPER, image_size=size, iterations=5, iterations_grow_every=5, lr=0.1, restart=False),
        "paper": replace(PAPER, image_size=size),
        "fast": RefinementSettings(image_size=min(size, 392)),
    }
    if options.only:
        variants = {k: v for k, v in variants.items() if k == options.only}
    results = []
    for name, settings in variants.items():
        maker.trellis = Settings.of("fast" if name == "fast" else "paper").generator.trellis
        results.append(run_variant(name, maker, picture, camera, settings, distances))
        r = results[-1]
        print(
            f"  {name:8s} {r.seconds:7.2f} s  (+ {r.clean_up_seconds:.2f} s clean-up)  {r.iterations:3d} iterations"
            f"  peak {r.peak_gb:5.2f} GB  loss {r.loss:.4f}",
            flush=True,
        )
        if name == "paper":
            reached = "not measured" if toy else f"{r.seconds:.2f} s (target {TARGET_S} s), {r.peak_gb:.2f} GB"
            print(f"  paper's settings: {reached} (target {TARGET_GB} GB)")
    if toy and options.only is None:
        drain(
            refine_appearance(
                maker, maker.extras, picture, camera, variants["fast"], distances=ImageDistances(distances)
            )
        )
    if options.json:
        content = {"machine": machine, "toy": toy, "sizes": sizes, "parts": rows, "results": [vars(r) for r in results]}
        options.json.write_text(json.dumps(content, indent=1))


if __name__ == "__main__":
    main()
