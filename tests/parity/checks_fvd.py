"""Parity checks of the Frechet video distance: clips, their preparation, and the distance."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tests.parity.runner import Check, Measure, compare, group
from v2m4.evaluation.frechet import frechet_distance, prepare_clip, resize_frame, windows

Tensors = dict[str, Tensor]


def check_clips(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    """Where windows begin, and a frame resized to a square: to the level."""
    config = json.loads(meta["config"])
    begun = torch.tensor(list(windows(tensors["in.video_lengths"].tolist(), config["window"])))
    frame = torch.from_numpy(resize_frame(tensors["in.frame"].numpy(), config["frame_size"]).copy())
    name = next(k for k in tensors if k.startswith("out.frame"))
    difference = (frame[config["rows"]].int() - tensors[name].int()).abs().max()
    levels = json.loads(meta["tolerance"])["uint8_levels"]
    return [
        *compare({"clips": begun}, {"clips": tensors["out.clips_video_and_start"]}, 0.0),
        Measure("frame (levels)", float(difference), levels),
    ]


def check_preprocess(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    """Every video of the file, and a large one that is given as a formula."""
    config, tolerance = json.loads(meta["config"]), json.loads(meta["tolerance"])["default"]
    want, given = group(tensors, "out"), group(tensors, "in")
    got = {
        name: prepare_clip(video, case["resolution"])
        for (name, video), case in zip(
            sorted(given.items(), key=lambda item: (len(item[0]), item[0])), config["cases"], strict=True
        )
    }
    formula = config["formula512"]
    y, x = torch.meshgrid(torch.linspace(0, 1, 512), torch.linspace(0, 1, 512), indexing="ij")
    frames = [
        torch.stack([0.5 + 0.5 * torch.sin(40 * x + 7 * t), 0.5 + 0.5 * torch.cos(33 * y - 5 * t * x), x * y])
        for t in range(formula["frames"])
    ]
    got["formula512_rows"] = prepare_clip(torch.stack(frames, dim=1), formula["resolution"])[..., formula["rows"], :]
    return compare(got, want, tolerance)


def check_frechet(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    """Every case against the exact distance, and as far as its square root is good, against the original's."""
    limits = json.loads(meta["tolerance"])
    want, measures = group(tensors, "out"), []
    for case in sorted({name.partition(".")[0] for name in want}):
        # A case without sets of its own compares one of the others' with itself.
        given = group(tensors, f"in.{case}") or {
            "generated": next(v for k, v in tensors.items() if k.endswith(".real"))
        }
        generated, real = given["generated"], given.get("real", given["generated"])
        distance = frechet_distance(generated.numpy(), real.numpy())
        for source, value in group(want, case).items():
            expected = float(value)
            if bool(torch.equal(generated, real)):
                measures.append(Measure(f"{case}.{source} (absolute)", abs(distance), limits["identical_absolute"]))
                continue
            error = abs(distance - expected) / abs(expected) if math.isfinite(expected) else math.inf
            measures.append(Measure(f"{case}.{source}", error, limits[f"{source}_relative"]))
    return measures


def _named(name: str, tensor: str) -> Callable[[Path, Mapping[str, Any]], bool]:
    return lambda path, meta: path.name == f"{name}.safetensors" and tensor in str(meta.get("config", ""))


CHECKS = [
    Check("fvd", _named("clips", "frame_size"), check_clips),
    Check("fvd", _named("preprocess", "formula512"), check_preprocess),
    Check("fvd", _named("frechet", "ddof"), check_frechet),
]
