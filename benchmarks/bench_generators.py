"""How long each learned generator takes for one picture, and how much memory.

    python -m benchmarks.bench_generators [--only NAME ...]

On a CUDA GPU: the released configurations with random weights (which cost what real ones cost) in half precision, with
the default settings; targets 6 s and 10 GB for TripoSG, Hunyuan3D-2.0 and CraftsMan3D, TRELLIS beside them. Random
weights make noise and no surface, so the field is asked wherever and as often as for a bumpy ball, whose values then
take the place of the network's. Without a GPU: the same code at a toy size, and the targets stay "not measured".
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks import bench_trellis
from v2m4.generators.craftsman3d.builder import shape_config
from v2m4.generators.craftsman3d.generator import CraftsMan3D
from v2m4.generators.craftsman3d.model import CraftsManModel
from v2m4.generators.craftsman3d.network import CraftsManConfig, CraftsManDiT
from v2m4.generators.hunyuan3d.generator import Hunyuan3D
from v2m4.generators.hunyuan3d.model import HunyuanModel
from v2m4.generators.hunyuan3d.network import HunyuanConfig, HunyuanDiT
from v2m4.generators.triposg.builder import TOKENS
from v2m4.generators.triposg.generator import TripoSg
from v2m4.generators.triposg.network import TripoSgConfig, TripoSgDiT, TripoSgVaeConfig
from v2m4.generators.vecset.decoder import DecoderConfig, VecsetDecoder
from v2m4.generators.vecset.model import CHUNK_CPU, CHUNK_GPU, VecsetModel
from v2m4.generators.vecset.surface import extract, finish
from v2m4.nn.dinov2 import Dinov2, Dinov2Config
from v2m4.nn.precision import choose_precision
from v2m4.settings import CraftsMan3DSettings, GeneratorSettings, Hunyuan3DSettings, TripoSgSettings

TARGET_S = 6.0
TARGET_GB = 10.0
STEEPNESS = 12.0
"""Growth of the ball's logits per unit of distance: the more, the thinner the layer in which nodes are asked."""
TOY = GeneratorSettings(
    max_faces=2000,
    triposg=TripoSgSettings(steps=2, resolution=32, coarsest=16),
    hunyuan3d=Hunyuan3DSettings(steps=2, resolution=32, coarsest=16),
    craftsman3d=CraftsMan3DSettings(steps=2, resolution=32, coarsest=16),
)


@dataclass(frozen=True)
class Result:
    """Seconds of a generator's parts, and the GPU's peak in GB (0 on a CPU)."""

    name: str
    parts: dict[str, float]
    peak_gb: float
    faces: int

    @property
    def seconds(self) -> float:
        """For one picture."""
        return sum(self.parts.values())


def triposg(device: torch.device, toy: bool, settings: GeneratorSettings) -> TripoSg:
    """TripoSG with random weights."""
    half = torch.float16 if device.type == "cuda" else torch.float32
    flow = TripoSgConfig(width=64, num_layers=3, num_attention_heads=2, cross_attention_dim=64) if toy else None
    vae = TripoSgVaeConfig(width_decoder=64, num_layers_decoder=2) if toy else TripoSgVaeConfig()
    with torch.device(device):
        encoder = Dinov2(_encoder(toy)).to(half)
        network = TripoSgDiT(flow or TripoSgConfig()).to(half)
        decoder = VecsetDecoder(vae.decoder()).to(half)
    model = VecsetModel("triposg", encoder, network, decoder, 64 if toy else TOKENS, 64, device)
    return TripoSg(settings, device, model=model)


def hunyuan3d(device: torch.device, toy: bool, settings: GeneratorSettings) -> Hunyuan3D:
    """Hunyuan3D-2.0 with random weights."""
    half = torch.float16 if device.type == "cuda" else torch.float32
    flow = HunyuanConfig()
    of_decoder = DecoderConfig()
    of_encoder = Dinov2Config(width=1536, depth=40, heads=24, swiglu=True)
    if toy:
        flow = replace(flow, context_in_dim=64, hidden_size=64, num_heads=2, depth=1, depth_single_blocks=2)
        of_decoder = replace(of_decoder, width=64, heads=2, layers=2)
        of_encoder = replace(_encoder(toy), swiglu=True)
    with torch.device(device):
        networks = Dinov2(of_encoder).to(half), HunyuanDiT(flow).to(half), VecsetDecoder(of_decoder).to(half)
    return Hunyuan3D(settings, device, model=HunyuanModel("hunyuan3d", *networks, 64 if toy else 3072, 64, device))


def craftsman3d(device: torch.device, toy: bool, settings: GeneratorSettings) -> CraftsMan3D:
    """CraftsMan3D with random weights."""
    half = getattr(torch, choose_precision("auto", device))
    of_decoder = replace(shape_config({}), width=768, heads=12)
    flow = CraftsManConfig()
    if toy:
        flow = replace(flow, n_ctx=64, width=64, layers=2, heads=2, context_dim=64)
        of_decoder = replace(of_decoder, width=64, heads=2, layers=2)
    with torch.device(device):
        encoder = Dinov2(replace(_encoder(toy), registers=4)).to(half)
        network = CraftsManDiT(flow).to(half)
        decoder = VecsetDecoder(of_decoder).to(torch.float16 if device.type == "cuda" else torch.float32)
    model = CraftsManModel("craftsman3d", encoder, network, decoder, flow.n_ctx, 64, device)
    return CraftsMan3D(settings, device, model=model)


def _encoder(toy: bool) -> Dinov2Config:
    return Dinov2Config(width=64, depth=2, heads=1) if toy else Dinov2Config()


MAKERS: dict[str, Callable[[torch.device, bool, GeneratorSettings], Any]] = {
    "triposg": triposg,
    "hunyuan3d": hunyuan3d,
    "craftsman3d": craftsman3d,
}


def picture(side: int = 512) -> np.ndarray:
    """A disc with a soft edge, (side, side, 4) uint8 with straight alpha."""
    y, x = np.mgrid[:side, :side] / side
    alpha = np.clip((0.3 - np.hypot(x - 0.5, y - 0.5)) * side, 0, 1)
    return (np.dstack([x, y, 0 * x + 0.5, alpha]) * 255).astype(np.uint8)


def ball(points: Tensor) -> Tensor:
    """Logits of a bumpy ball that fills the cube from -1 to 1."""
    return -2 * STEEPNESS * bench_trellis.distance(points / 2)


@torch.no_grad()
def measure(name: str, device: torch.device, toy: bool, repeats: int) -> Result:
    """The best of `repeats` pictures after one that is not counted."""
    settings = TOY if toy else GeneratorSettings()
    generator = MAKERS[name](device, toy, settings)
    model = generator.model()
    chunk = CHUNK_GPU if device.type == "cuda" else CHUNK_CPU
    rng = torch.Generator().manual_seed(0)
    best: dict[str, float] = {}
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    for repeat in range(repeats + 1):
        times = {}
        start = time.perf_counter()

        def lap(part: str) -> None:
            nonlocal start
            if device.type == "cuda":
                torch.cuda.synchronize()
            now = time.perf_counter()
            times[part], start = now - start, now  # noqa: B023

        tokens = model.encode(generator.pixels(picture(), model))
        lap("picture and encoder")
        latents = model.sample(tokens, model.noise(rng), generator.flow_grid(model), generator.guidance())
        lap("flow")
        keys_values = model.decoder.keys_values(latents)

        def field(points: Tensor, keys_values: Any = keys_values) -> Tensor:
            model.decoder.query(points, keys_values)
            return ball(points)

        mesh = extract(field, generator.extraction(model), device, chunk, name)
        lap("decoder and surface")
        cleaned = finish(mesh, settings.max_faces, settings.vecset_cleanup)
        lap("clean-up")
        if repeat == 1 or (repeat > 1 and sum(times.values()) < sum(best.values())):
            best = times
    peak = torch.cuda.max_memory_allocated() / 1e9 if device.type == "cuda" else 0.0
    return Result(name, best, peak, len(cleaned.faces))


def measure_trellis(device: torch.device, toy: bool, repeats: int) -> Result:
    """TRELLIS, by the parts of its own benchmark."""
    model = bench_trellis.build_model(device, toy)
    timings, sizes = bench_trellis.measure(model, 300 if toy else bench_trellis.VOXELS, repeats)
    forward = [t for t in timings if not t.name.startswith("(")]
    return Result("trellis", {t.name: t.seconds for t in forward}, max(t.peak_gb for t in forward), sizes["faces"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=[*MAKERS, "trellis"], help="measure these only")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--json", type=Path, help="also write the results here")
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    toy = device.type == "cpu"
    where = torch.cuda.get_device_name() if device.type == "cuda" else "CPU, toy size"
    print(f"{where}; torch {torch.__version__}")
    results = []
    for name in options.only or [*MAKERS, "trellis"]:
        if name == "trellis":
            result = measure_trellis(device, toy, options.repeats)
        else:
            result = measure(name, device, toy, options.repeats)
        results.append(result)
        parts = ", ".join(f"{part} {seconds:.2f}" for part, seconds in result.parts.items())
        met = "not measured"
        if not toy:
            met = "met" if result.seconds <= TARGET_S and result.peak_gb <= TARGET_GB else "MISSED"
        print(f"{name:12s} {result.seconds:6.2f} s  {result.peak_gb:5.2f} GB  {result.faces} faces  target {met}")
        print(f"             {parts}", flush=True)
        if device.type == "cuda":
            torch.cuda.empty_cache()
    if options.json:
        content = [vars(r) | {"seconds": r.seconds} for r in results]
        options.json.write_text(json.dumps({"device": where, "results": content}, indent=1))


if __name__ == "__main__":
    main()
