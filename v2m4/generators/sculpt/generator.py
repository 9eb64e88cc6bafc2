"""One picture to a closed mesh by a small network that the package brings along.

The front lies on the rays of the picture's pixels and ends at the picture's outline; the depths are the network's. As a
sheet, the mesh is one even surface over the outline; as a solid, it also has what hides behind other parts.
`training/` makes the network, docs/network.md says how good it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from v2m4.arrays import Bytes, Float64, Mask
from v2m4.clip import Clip
from v2m4.errors import V2M4Error
from v2m4.events import drain
from v2m4.generators import Generated
from v2m4.generators.inflate.heights import round_heights
from v2m4.generators.inflate.outline import crop_object, trace
from v2m4.generators.inflate.sheet import sheet
from v2m4.generators.sculpt.answers import agreed_lean, answered, layered, lean, looked, neighbours, undecided
from v2m4.generators.sculpt.colors import textured
from v2m4.generators.sculpt.leaning import sheared, slopes_of
from v2m4.generators.sculpt.network import GRID, ColumnNetwork, Glance, Prediction
from v2m4.generators.sculpt.picture import MARGIN, Square, input_of, square_around
from v2m4.generators.sculpt.readout import extended, from_both
from v2m4.generators.sculpt.sheet import sheet_heights
from v2m4.generators.sculpt.slivers import without_slivers
from v2m4.generators.sculpt.surface import surface
from v2m4.geometry.camera import Camera
from v2m4.geometry.mesh import Mesh
from v2m4.nn.weights import load_strictly, memory_guard, read_state_dict
from v2m4.render.threads import in_order
from v2m4.settings import InflateSettings, SculptSettings, Settings
from v2m4.settings.schema import problems

DIGEST = "a704ef9dd89ef4029a65afc03fdb730de887f76fffdeae97a7cdc47d605145fa"
"""SHA-256 of the weights. It stands in the code so that other weights are other code to a run that is resumed."""
WEIGHTS = Path(__file__).with_name("weights.safetensors")
_AT_ONCE = 4  # pictures that the network looks at


@dataclass(frozen=True)
class Sculpt:
    """The generator `sculpt`. ``outline``: how a sheet's outline is traced and meshed, as for `inflate`.

    Raises `V2M4Error` for settings outside their ranges."""

    settings: SculptSettings = field(default_factory=SculptSettings)
    outline: InflateSettings = field(default_factory=InflateSettings)

    def __post_init__(self) -> None:
        wrong = [f"generator.sculpt.{sentence}" for sentence in problems(self.settings)]
        wrong += [f"generator.inflate.{sentence}" for sentence in problems(self.outline)]
        if wrong:
            raise V2M4Error(" ".join(wrong))

    @classmethod
    def from_settings(cls, settings: Settings, device: torch.device) -> Sculpt:
        """The plug for a run's settings."""
        return cls(settings.generator.sculpt, settings.generator.inflate)

    @torch.no_grad()
    def __call__(self, reference: Bytes, rng: torch.Generator, device: torch.device | str = "cpu") -> Generated:
        """A closed, textured mesh and its camera from an (S,S,4) uint8 picture. Raises `V2M4Error` if it is empty."""
        return drain(self._made(reference, [], device))

    @torch.no_grad()
    def beside(
        self, clip: Clip, index: int, keyframes: Sequence[int], rng: torch.Generator, device: torch.device | str = "cpu"
    ) -> Generator[Generated, None, Generated]:
        """The same of a clip's frame ``index``; some of the ``keyframes`` around tell how far the object is turned.
        Before they are asked, the picture's own answer is yielded."""
        others = neighbours(clip.times, index, keyframes, self.settings.lean)
        return (yield from self._made(clip.frame(index), [clip.frame(other) for other in others], device))

    def _made(
        self, reference: Bytes, others: Sequence[Bytes], device: torch.device | str
    ) -> Generator[Generated, None, Generated]:
        # 1. What the picture tells alone: how far the object is turned, and the surface if it is turned so.
        model, leans = network(torch.device(device)), self.settings.lean
        square, glances, seen = self._looked(reference, device, mirrored=self.settings.mirrored)
        inside = torch.from_numpy(seen)[None].to(device)
        with memory_guard("sculpt"):
            # How it leans up or down hardly ever has two readings: that of the answer to no lean.
            turned = slopes_of(layered(model, glances)[:, 0], inside)

        def turned_by(slope: float) -> Generated:
            told = torch.stack([torch.full_like(turned[:, 0], slope), turned[:, 1]], dim=1)

            def leaning(layers: Tensor) -> Tensor:
                """Layers that lean exactly so, as the network answers about so."""
                return sheared(layers.float(), told - slopes_of(layers[:, 0].float(), inside), inside)

            if self.settings.form == "sheet":
                with memory_guard("sculpt"):
                    layers = leaning(layered(model, glances, told))
                made = self._sheet(reference, extended(layers, seen), square)
            else:
                with memory_guard("sculpt"):
                    found = answered(model, glances, told)
                found = found._replace(layers=leaning(found.layers))
                made = self._solid(reference, Prediction(*(extended(maps, seen) for maps in found)), square)
            assert made.camera is not None
            return Generated(made.mesh.to(device), made.camera.to(device))

        votes = [lean(model, glances, seen, leans)]
        made = turned_by(votes[0])
        if others:
            yield made
        # 2. What the others tell.

        @torch.no_grad()
        def vote(place: int) -> float:
            _, glance, there = self._looked(others[place], device, mirrored=False)
            return lean(model, glance, there, leans)

        with closing(in_order(vote, len(others), _AT_ONCE if torch.device(device).type == "cpu" else 1)) as more:
            while not undecided(votes, 1 + len(others), leans) and (told := next(more, None)) is not None:
                votes.append(told)
        agreed = agreed_lean(votes[0], votes[1:], leans)
        return made if agreed == votes[0] else turned_by(agreed)

    def _looked(
        self, picture: Bytes, device: torch.device | str, *, mirrored: bool
    ) -> tuple[Square, list[Glance], Mask]:
        """The object's square, what the network sees in it, and the rays (GRID,GRID) that count."""
        square = square_around(picture[..., 3])
        with memory_guard("sculpt"):
            input_ = input_of(picture, square).to(device)
            glances = looked(network(torch.device(device)), input_, mirrored=mirrored)
        opacity = square.cut(picture[..., 3:].astype(np.float32) / 255, GRID)
        return square, glances, opacity > self.settings.opaque

    def _sheet(self, reference: Bytes, layers: Tensor, square: Square) -> Generated:
        crop = crop_object(reference, self.outline.working_size)
        outline = trace(crop.rgba[..., 3], self.outline)
        inside = square.cut(reference[..., 3:].astype(np.float32) / 255, GRID) > 0.5
        round_ = round_heights(outline.distance, self.outline)
        layers = extended(layers, without_slivers(layers[0, 0].numpy(), inside, self.settings.slivers))
        heights = sheet_heights(layers, inside, square, crop, len(reference), round_, self.settings)
        return sheet(reference, crop, outline, heights, self.outline)

    def _solid(self, reference: Bytes, found: Prediction, square: Square) -> Generated:
        alpha = square.cut(reference[..., 3:].astype(np.float32) / 255, self.settings.resolution)
        points, faces = surface(from_both(found, self.settings.solid)[0], alpha, square, self.settings)
        mesh = Mesh(torch.from_numpy(points).float(), torch.from_numpy(faces))
        mesh = textured(mesh, reference, square, found, self.settings)
        camera = _canonical(square.slopes(np.array([0.5, 0.5])), 1 / square.ray_width)
        world = (mesh.vertices * MARGIN - camera.world_to_camera[:3, 3]) @ camera.world_to_camera[:3, :3]
        return Generated(mesh.with_vertices(world), camera)


@lru_cache(maxsize=2)
def network(device: torch.device) -> ColumnNetwork:
    """The trained network, in single precision."""
    if not WEIGHTS.is_file() or hashlib.sha256(WEIGHTS.read_bytes()).hexdigest() != DIGEST:
        raise V2M4Error(
            f"sculpt: its weights {WEIGHTS} are missing or not those of this version. Install v2m4 again, "
            f"or choose the generator inflate."
        )
    model = ColumnNetwork()
    load_strictly(model, {k: v.float() for k, v in read_state_dict(WEIGHTS, "sculpt").items()}, "sculpt")
    # With the channels side by side, convolutions take a seventh less time on a CPU.
    model.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model.to(device)


def _canonical(axis: Float64, away: float) -> Camera:
    """The camera of the canonical pose: z up, the front towards +y, the object's box about 1 wide around the origin."""
    distance = away * MARGIN
    world_to_camera = torch.tensor(
        [
            [-1, 0, 0, axis[0] * distance],
            [0, 0, -1, axis[1] * distance],
            [0, -1, 0, distance],
            [0, 0, 0, 1],
        ],
        dtype=torch.float32,
    )
    return Camera(world_to_camera)
