"""How long the learned models of the camera search take for one keyframe, and how much memory.

    python -m benchmarks.bench_stereo

On a CUDA GPU: the released sizes with random weights (which cost what real ones cost), 8 pictures of 518 pixels, for
DUSt3R all 56 pairs and 300 steps of alignment; 2000 + 25 x 200 DreamSim scores; one LPIPS slope. The whole search may
take 8 s (`paper`) or 1.5 s (`fast`) and 8 GB. Without a GPU: the same code at a toy size, and the targets stay "not
measured".
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from tests.stereo.dust3r.scenes import wavy_scene
from v2m4.nn.precision import Precision, computing
from v2m4.perceptual.dreamsim import DINO_VIT, DreamSim, DreamSimNetwork, VitConfig
from v2m4.perceptual.lpips import Lpips, LpipsNetwork
from v2m4.settings import Dust3rSettings
from v2m4.stereo.dust3r import Dust3r
from v2m4.stereo.dust3r.alignment import Observations, align, descend, unknowns_from
from v2m4.stereo.dust3r.model import AsymmetricCroCo3DStereo, Dust3rConfig
from v2m4.stereo.dust3r.pairs import PairPredictions, complete_graph, predict_pairs
from v2m4.stereo.dust3r.spanning_tree import start_from_tree
from v2m4.stereo.vggt import VggtStereo
from v2m4.stereo.vggt.aggregator import AggregatorConfig
from v2m4.stereo.vggt.model import Vggt, VggtConfig

IMAGES = 8
SIDE = 518
SAMPLES = 2000
SWARM_SCORES = 25 * 200
TARGET_PAPER_S = 8.0
TARGET_GB = 8.0
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
TOY_VGGT = VggtConfig(
    AggregatorConfig(embed_dim=48, depth=2, num_heads=2, dino_depth=2, dino_num_heads=2),
    camera_trunk_depth=1,
    camera_num_heads=2,
    point_features=16,
    point_channels=(8, 16, 24, 32),
    point_levels=(0, 0, 1, 1),
)
TOY_VIT = VitConfig(DINO_VIT.mean_std, DINO_VIT.eps, None, width=48, depth=2, heads=2)


@dataclass(frozen=True)
class Timing:
    """Median seconds of one part, and the GPU's peak in GB while it ran, weights included (0 on a CPU)."""

    name: str
    seconds: float
    peak_gb: float


class Clock:
    """Times parts on one device: a first run to warm up, then the median of `repeats`."""

    def __init__(self, device: torch.device, repeats: int) -> None:
        self.device, self.repeats = device, repeats
        self.timings: list[Timing] = []

    def part(self, name: str, run: Callable[[], Any]) -> Any:
        result = run()
        cuda = self.device.type == "cuda"
        if cuda:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        seconds = []
        for _ in range(self.repeats):
            start = time.perf_counter()
            result = run()
            if cuda:
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - start)
        peak = torch.cuda.max_memory_allocated() / 1e9 if cuda else 0.0
        self.timings.append(Timing(name, statistics.median(seconds), peak))
        print(f"{name:58s} {self.timings[-1].seconds * 1e3:9.1f} ms  {peak:5.2f} GB", flush=True)
        return result


def bench_dust3r(clock: Clock, toy: bool, precision: Precision, side: int, settings: Dust3rSettings) -> None:
    """The network's parts and the plug as a whole, computing in `precision`."""
    with torch.device(clock.device):
        model = AsymmetricCroCo3DStereo(TOY_DUST3R if toy else Dust3rConfig())
    plug = Dust3r(clock.device, model, precision, size=side, alignment=settings)
    images = torch.rand(IMAGES, side, side, 3)
    inputs = torch.rand(IMAGES, 3, plug.size, plug.size, device=clock.device) * 2 - 1
    edges = complete_graph(IMAGES)

    def encode() -> Any:
        with torch.no_grad(), computing(plug.precision, clock.device):
            return plug.model.encode(inputs)

    def pairs() -> PairPredictions:
        with computing(plug.precision, clock.device):
            return predict_pairs(plug.model, inputs, edges, *plug.batches)

    clock.part(f"dust3r: encoder ({plug.precision})", encode)
    clock.part(f"dust3r: {len(edges)} pairs ({plug.precision})", pairs)
    clock.part(f"dust3r: whole plug ({plug.precision})", lambda: plug(images))


def bench_alignment(clock: Clock, side: int, settings: Dust3rSettings) -> None:
    """Global alignment of a scene whose pairs are like a trained network's."""
    side = side // 16 * 16
    predicted = wavy_scene(IMAGES, seed=0, noise=0.01, size=(side, side), focal=side * 1.2).pairs
    pairs = PairPredictions(predicted.edges, *(t.to(clock.device) for t in list(vars(predicted).values())[1:]))
    tree = clock.part("alignment: spanning tree", lambda: start_from_tree(pairs, settings))
    seen = clock.part("alignment: observations grouped", lambda: Observations.of(pairs))

    def descent() -> None:
        for _ in descend(unknowns_from(tree, pairs, settings), seen, settings):
            pass

    clock.part(f"alignment: {settings.iterations} steps", descent)
    clock.part("alignment: whole", lambda: align(pairs, settings))


def bench_vggt(clock: Clock, toy: bool, side: int) -> None:
    """One pass over all pictures."""
    with torch.device(clock.device):
        model = Vggt(TOY_VGGT if toy else VggtConfig())
    plug = VggtStereo(clock.device, model, size=side)
    images = torch.rand(IMAGES, side, side, 3, device=clock.device)
    clock.part(f"vggt: whole plug ({plug.precision})", lambda: plug(images))


def bench_perceptual(clock: Clock, toy: bool, samples: int, side: int) -> None:
    """DreamSim scores of the sampling and the swarm, and slopes of both distances at the refinement's size."""
    with torch.device(clock.device):
        ensemble = DreamSimNetwork((TOY_VIT,) * 3) if toy else DreamSimNetwork()
        lpips = Lpips(clock.device, LpipsNetwork())
    dreamsim = DreamSim(clock.device, ensemble)
    images = torch.rand(samples, 224, 224, 3, device=clock.device)
    prepared = dreamsim.prepare(images[0])

    def scores() -> Any:
        with torch.no_grad():
            return dreamsim(prepared, images)

    clock.part(f"dreamsim: {samples} scores ({dreamsim.precision})", scores)
    picture = torch.rand(1, side, side, 3, device=clock.device, requires_grad=True)
    for name, plug in (("dreamsim", dreamsim), ("lpips", lpips)):
        reference = plug.prepare(torch.rand(side, side, 3, device=clock.device))
        clock.part(
            f"{name}: slope of one picture of {side}",
            lambda plug=plug, reference=reference: torch.autograd.grad(plug(reference, picture).sum(), picture),
        )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_stereo", description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args(arguments)
    toy = not torch.cuda.is_available()
    device = torch.device("cpu" if toy else "cuda")
    print(f"{torch.cuda.get_device_name() if not toy else 'CPU, toy sizes'}, torch {torch.__version__}")
    torch.manual_seed(0)
    clock = Clock(device, options.repeats)
    samples = 4 if toy else SAMPLES
    settings = Dust3rSettings(iterations=10 if toy else 300)
    precisions: tuple[Precision, ...] = ("auto",) if toy else ("tf32", "auto")
    for precision in precisions:
        bench_dust3r(clock, toy, precision, 64 if toy else SIDE, settings)
    bench_alignment(clock, 64 if toy else SIDE, settings)
    bench_vggt(clock, toy, 56 if toy else SIDE)
    bench_perceptual(clock, toy, samples, 64 if toy else 512)
    if toy:
        print("targets (8 s paper, 1.5 s fast, 8 GB): not measured")
        return
    stereo = max(t.seconds for t in clock.timings if "whole plug" in t.name and t.name.startswith("dust3r"))
    score = next(t.seconds for t in clock.timings if t.name.startswith("dreamsim:")) / samples
    models = stereo + score * (SAMPLES + SWARM_SCORES)
    peak = max(t.peak_gb for t in clock.timings)
    print(f"models' share of a `paper` search: {models:.2f} s of {TARGET_PAPER_S} s")
    print(f"highest peak of a part: {peak:.2f} GB of {TARGET_GB} GB")


if __name__ == "__main__":
    main()
