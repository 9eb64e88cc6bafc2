"""How long TripoSR takes for one picture, part by part, and how much memory, at full size with random weights.

    python -m benchmarks.bench_triposr [--device cuda]

Seconds of the processor count where other work shares it. Targets on two cores: 100 s and 5 GB, all in all. Random
networks see no object, so the surface is measured twice: of a ball, as a real one is, and of the noise that they do
see, cut at a level above which a tenth of it lies: the worst there is.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from v2m4.generators.triposr.network import TripoSRNetwork
from v2m4.generators.triposr.picture import prepare
from v2m4.generators.triposr.predictor import TripoSR
from v2m4.generators.triposr.surface import GridField, refine
from v2m4.geometry.cleanup import clean
from v2m4.geometry.marching_cubes import marching_cubes
from v2m4.geometry.mesh import Mesh
from v2m4.settings import CleanupSettings, GeneratorSettings

T = TypeVar("T")
TARGET_S, TARGET_GB = 100.0, 5.0
LEVEL = float(np.log(25.0))


def processor_s() -> float:
    """Seconds of all cores so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


class Bench:
    """Times parts and prints them."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds: dict[str, float] = {}

    def time(self, name: str, work: Callable[[], T]) -> T:
        """Do the work; a line says what it cost."""
        self._wait()
        wall, processor = time.perf_counter(), processor_s()
        result = work()
        self._wait()
        self.seconds[name] = time.perf_counter() - wall
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        told = f"{name:44} {self.seconds[name]:7.2f} s  {processor_s() - processor:7.2f} processor s  {memory:5.2f} GB"
        if self.device.type == "cuda":
            told += f"  {torch.cuda.max_memory_allocated() / 1e9:5.2f} GB of the GPU"
        print(told, flush=True)
        return result

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def random_network() -> TripoSRNetwork:
    """The released sizes, weights scaled so that signals neither vanish nor explode."""
    torch.manual_seed(0)
    network = TripoSRNetwork()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.dim() > 1:
                gain = 1.6 if name.startswith("decoder") else 1.0
                parameter.normal_(0, gain / parameter[0].numel() ** 0.5)
    return network


def disc(side: int = 512) -> np.ndarray:
    """A picture of a disc."""
    y, x = np.mgrid[:side, :side] / side - 0.5
    picture = np.zeros((side, side, 4), np.uint8)
    picture[x**2 + y**2 < 0.1] = (200, 80, 40, 255)
    return picture


class BallField:
    """The field of a ball that costs what the network's own costs, of which it keeps a trace."""

    def __init__(self, field: GridField) -> None:
        self.decoder, self.maps, self.side, self._field = field.decoder, field.maps, field.side, field

    def exponents(self, nodes: Tensor) -> Tensor:
        """Of the ball, with a little of the network's."""
        at = torch.stack([nodes // self.side**2, nodes // self.side % self.side, nodes % self.side], dim=1)
        distance = (at / (self.side - 1) - 0.5).norm(dim=1)
        return LEVEL + 40 * (0.3 - distance) + 1e-3 * self._field.exponents(nodes)


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeat", type=int, default=1, help="passes of the network; the last one is told")
    options = parser.parse_args()
    device = torch.device(options.device)
    bench, picture = Bench(device), disc()
    generator = TripoSR(GeneratorSettings(), device, network=random_network())
    network, chosen = generator.network, generator.settings.triposr

    pixels = prepare(picture, network.config.image_size)[None].to(device)
    if device.type == "cpu":
        bench.time("of the network: image tokenizer", lambda: network.image_tokenizer(pixels))
    for _ in range(options.repeat):
        planes = bench.time("network, whole", lambda: generator.triplane(picture))

    field = GridField.of(network.decoder, planes, chosen.grid)
    *_, found = bench.time("density near a ball", lambda: list(refine(BallField(field), LEVEL, chosen.stride)))  # type: ignore[arg-type]
    print(f"{'':44} {found.asked / chosen.grid**3:.1%} of the grid's samples were asked")
    vertices, faces = bench.time(
        "marching cubes", lambda: marching_cubes(found.exponents.exp(), chosen.threshold, found.cells)
    )
    colors = torch.rand_like(vertices)
    bench.time(
        "cleaning, to 10 000 faces", lambda: clean(Mesh(vertices, faces, colors=colors), 10_000, CleanupSettings())
    )
    usual = sum(s for name, s in bench.seconds.items() if not name.startswith("of the"))
    print(f"{'one picture':44} {usual:7.2f} s  (target {TARGET_S:g} s on two cores)")

    level = field.exponents(torch.randint(0, chosen.grid**3, (100_000,), device=device)).quantile(0.9)
    noisy = replace(chosen, threshold=float(level.exp()))
    generator.settings = replace(generator.settings, triposr=noisy)
    raw = bench.time("surface of pure noise, colours included", lambda: generator.extract(planes))
    bench.time("cleaning that, to 10 000 faces", lambda: clean(raw, 10_000, CleanupSettings()))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{'peak memory':44} {memory:7.2f} GB (target {TARGET_GB:g} GB)")


if __name__ == "__main__":
    main()
