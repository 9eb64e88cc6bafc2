"""Parity checks of CoTracker3: the offline network, its predictor, the sliding windows, the checkpoints' layout."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tests.parity.runner import (
    Check,
    Measure,
    compare,
    config_of,
    group,
    load_fixture,
    manifest_measures,
    weights_of,
)
from v2m4.nn.weights import load_strictly
from v2m4.tracks.cotracker3.config import CoTrackerConfig
from v2m4.tracks.cotracker3.model import CoTracker3, Tracked
from v2m4.tracks.cotracker3.online import SlidingTracks, track_in_windows
from v2m4.tracks.cotracker3.predictor import CoTracker, support_points

Tensors = dict[str, Tensor]


def _tolerances(meta: Mapping[str, Any]) -> dict[str, float]:
    return json.loads(meta["tolerance"])


def _model(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> CoTracker3:
    """The network of the configuration, or of that of the file its weights are taken from."""
    config = config_of(meta)
    if "window_len" not in config:
        config = config_of(load_fixture(path.with_name(Path(meta["weights_from"]).name))[0])
    model = CoTracker3(CoTrackerConfig.from_official(config))
    load_strictly(model, weights_of(path, meta, tensors), "cotracker3")
    return model.eval()


def _video(tensors: Tensors) -> Tensor:
    """The clips (B, T, 3, H, W) in [0, 255]; eight-bit tensors come on the CPU."""
    return tensors["in.video"].float().to(torch.get_default_device())


def _batched(tracked: list[Tracked], prefix: str = "") -> Tensors:
    names = ("tracks", "visibility", "confidence")
    return {f"{prefix}{name}": torch.stack(each) for name, each in zip(names, zip(*tracked, strict=True), strict=True)}


@torch.no_grad()
def _offline(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    config, model = config_of(meta), _model(path, meta, tensors)
    videos, queries = _video(tensors), tensors["in.queries"]
    pairs = list(zip(videos, queries, strict=True))
    short = config["short"]
    begun = [(model.pyramid(v), q, model.start(q, len(v))) for v, q in pairs]
    tokens = [model.tokens(p, model.support(p, q), state) for p, q, state in begun]
    first = [model.correlations(p, model.support(p, q), state.coords) for p, q, state in begun]
    got = _batched([model(v, q, config["iterations"]) for v, q in pairs])
    got |= {
        "fnet": torch.cat([model.fnet(2 * (v / 255) - 1) for v, _ in pairs]),
        "tokens.first": torch.stack(tokens),
        "delta.first": torch.stack([model.updateformer(t) for t in tokens]),
        "corr_mlp.first_level": torch.cat([c.flatten(0, 1)[:, : config["corr_out"]] for c in first]),
        "short_tracks": torch.stack(
            [model(v[: short["frames"]], q[: short["queries"]], short["iterations"]).positions for v, q in pairs]
        ),
    }
    return compare(got, group(tensors, "out"), _tolerances(meta)["default"])


@torch.no_grad()
def _predictor(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    config, limits = config_of(meta), _tolerances(meta)
    tracker = CoTracker(
        torch.get_default_device(),
        model=_model(path, meta, tensors),
        iterations=config["iterations"],
        support_grid=config["support_grid"],
        visible_above=config["visibility_threshold"],
    )
    videos, queries = _video(tensors).permute(0, 1, 3, 4, 2) / 255, tensors["in.queries"]
    found = [tracker.track(v, q) for v, q in zip(videos, queries, strict=True)]
    dim = [tracker.track(v / 255, q) for v, q in zip(videos, queries, strict=True)]
    grid = support_points(config["support_grid"], *tracker.model.config.model_resolution)
    got = {
        "tracks": torch.stack([f.positions for f in found]),
        "visibility": torch.stack([f.visible for f in found]),
        "tracks_of_unit_range_video": torch.stack([f.positions for f in dim]),
        "visibility_of_unit_range_video": torch.stack([f.visible for f in dim]),
        "support_grid": grid.expand(len(videos), -1, -1),
    }
    return compare(got, group(tensors, "out"), limits["tracks"])


@torch.no_grad()
def _online(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    config, model = config_of(meta), _model(path, meta, tensors)
    videos, queries, want = _video(tensors), tensors["in.queries"], group(tensors, "out")
    pairs = list(zip(videos, queries, strict=True))
    got = _batched([track_in_windows(model, v, q, config["iterations"]) for v, q in pairs], "offline_use.")
    sliding = [SlidingTracks(model, q, config["iterations"]) for q in queries]
    for k in range(sum(name.startswith("chunk") and name.endswith("tracks") for name in want)):
        pieces = [v[s.start : s.start + s.window] for v, s in zip(videos, sliding, strict=True)]
        got |= _batched([s.feed(piece) for s, piece in zip(sliding, pieces, strict=True)], f"chunk{k}.")
    return compare(got, want, _tolerances(meta)["default"])


def _manifest(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    config = CoTrackerConfig.from_official(meta["config"])
    with torch.device("meta"):
        model = CoTracker3(config)
    want = {name: (shape, meta["dtype"]) for name, shape in meta["tensors"].items()}
    parameters = sum(p.numel() for p in model.parameters())
    buffers = {name for name, _ in model.named_buffers()}
    return [
        *manifest_measures(model.state_dict(), want),
        Measure("number of parameters", float(abs(parameters - meta["n_parameters"])), 0.0),
        Measure("buffers", float(len(buffers ^ set(meta["buffers"]))), 0.0),
        Measure("width of a token", float(abs(config.token_width - meta["config"]["input_dim"])), 0.0),
    ]


def _named(start: str, *keys: str) -> Callable[[Path, Mapping[str, Any]], bool]:
    """Recognises a fixture by how its name starts and by words in its metadata."""

    def matches(path: Path, meta: Mapping[str, Any]) -> bool:
        text = json.dumps(meta)
        return path.suffix == ".safetensors" and path.stem.startswith(start) and all(key in text for key in keys)

    return matches


def _is_manifest(path: Path, meta: Mapping[str, Any]) -> bool:
    return path.suffix == ".json" and str(meta.get("model", "")).startswith("CoTracker3")


CHECKS = [
    Check("cotracker", _named("tiny_offline", "num_virtual_tracks"), _offline),
    Check("cotracker", _named("tiny_online", "num_virtual_tracks"), _online),
    Check("cotracker", _named("predictor", "support_grid", "visibility_threshold"), _predictor),
    Check("cotracker", _is_manifest, _manifest),
]
