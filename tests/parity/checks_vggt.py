"""Parity checks of VGGT: backbone, point head, camera head, cameras of pose vectors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tests.parity.runner import Check, Measure, compare, config_of, group, manifest_measures, weights_of
from v2m4.nn.dinov2 import IMAGE_MEAN, IMAGE_STD
from v2m4.nn.transformer import rotate, rotation_tables
from v2m4.nn.weights import load_strictly
from v2m4.stereo.vggt.heads import points_and_confidence
from v2m4.stereo.vggt.model import Vggt, VggtConfig, world_point_part
from v2m4.stereo.vggt.poses import decode_poses, encode_poses, unproject

Tensors = dict[str, Tensor]
FEATURES = 2e-5
POINTS = 5e-5
"""Point maps and confidences pass an exponential, which enlarges rounding."""
EXACT_FORMULA = 2e-6


@torch.no_grad()
def _network(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    model = Vggt(VggtConfig.from_parts(config_of(meta)))
    load_strictly(model, weights_of(path, meta, tensors), "vggt")
    model.eval()
    want = group(tensors, "out")
    images = tensors["in.images"]
    images = images.unsqueeze(0) if images.dim() == 4 else images
    size = (images.shape[3], images.shape[4])
    output = model(images)
    depth = model.config.aggregator.depth
    tokens = model.aggregator(images, range(depth))
    frames = (images.flatten(0, 1) - images.new_tensor(IMAGE_MEAN).view(3, 1, 1)) / images.new_tensor(IMAGE_STD).view(
        3, 1, 1
    )
    dino_tokens = model.aggregator.patch_embed(frames)
    extrinsics, intrinsics = decode_poses(output.poses, size)
    first_patch = model.aggregator.first_patch
    projected = model.point_head.projected(tokens, first_patch, size)
    fused = model.point_head.fuse(model.point_head.pyramid(tokens, first_patch, size))
    got: Tensors = {
        "world_points": output.points,
        "world_points_conf": output.confidence,
        "pose_enc": output.poses,
        "extrinsic_3x4": extrinsics,
        "intrinsic": intrinsics,
        "dino.x_norm_clstoken": dino_tokens[:, 0],
        "dino.x_norm_patchtokens": dino_tokens[:, first_patch:],
        "point.raw": model.point_head(tokens, first_patch, size),
    }
    got |= {f"aggregator.{k}": x for k, x in tokens.items()}
    got |= {f"pose_enc.{k}": x for k, x in enumerate(model.camera_head(tokens[depth - 1][:, :, 0]))}
    got |= {f"point.project.{k}": x for k, x in enumerate(projected)}
    got |= {f"point.refinenet{4 - k}": x for k, x in enumerate(fused)}
    return compare(got, want, {name: POINTS if name.startswith("world_points") else FEATURES for name in want})


def _components(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    config = config_of(meta)
    size = (config["image_size_hw"][0], config["image_size_hw"][1])
    given, want = group(tensors, "in"), group(tensors, "out")
    rotation = rotation_tables(given["rope_positions_yx"], given["rope_tokens"].shape[-1], config["rope_freq"])
    points, confidence = points_and_confidence(given["head_raw"])
    extrinsics, intrinsics = decode_poses(given["pose_enc"], size)
    depth = given["unproject_depth"].squeeze(-1).double()
    # The cameras of the depth maps are the first ones of the first scene.
    cameras = want["extrinsic"][0, : len(depth)].double()
    got = {
        "rope": rotate(given["rope_tokens"], rotation),
        "head_points": points,
        "head_conf": confidence,
        "extrinsic": extrinsics,
        "intrinsic": intrinsics,
        "pose_enc_roundtrip": encode_poses(extrinsics, intrinsics, size),
        "unproject_world": unproject(depth, cameras, given["unproject_intrinsic"].double()),
    }
    return compare(got, want, EXACT_FORMULA)


def _manifest(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    parts = dict(meta["components"])
    parts["aggregator"] = {**meta["config"], **parts["aggregator"]}
    with torch.device("meta"):
        model = Vggt(VggtConfig.from_parts(parts))
    want = {name: (shape, meta["dtype"]) for part in meta["tensors"].values() for name, shape in part.items()}
    counts = [
        Measure(
            f"number of parameters of {part}",
            float(abs(sum(p.numel() for p in getattr(model, part).parameters()) - meta["n_parameters"][part])),
            0.0,
        )
        for part in meta["tensors"]
    ]
    return manifest_measures(model.state_dict(), want) + counts


def _unused_heads(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    names = [name for part in meta["tensors"].values() for name in part]
    kept = world_point_part({name: torch.empty(0) for name in [*names, "aggregator.camera_token"]})
    return [Measure("keys that should not be loaded", float(len(kept.keys() - {"aggregator.camera_token"})), 0.0)]


def _is_network(path: Path, meta: Mapping[str, Any]) -> bool:
    return path.suffix == ".safetensors" and path.stem.startswith("tiny_vggt") and "config" in meta


def _is_components(path: Path, meta: Mapping[str, Any]) -> bool:
    return (
        path.suffix == ".safetensors" and path.stem.startswith("components") and "rope_freq" in meta.get("config", "")
    )


def _is_manifest(path: Path, meta: Mapping[str, Any]) -> bool:
    return path.suffix == ".json" and path.stem.startswith("manifest_VGGT") and "aggregator" in meta["tensors"]


def _is_unused_heads(path: Path, meta: Mapping[str, Any]) -> bool:
    return path.suffix == ".json" and path.stem.startswith("manifest_VGGT") and "aggregator" not in meta["tensors"]


CHECKS = [
    Check("vggt", _is_network, _network),
    Check("vggt", _is_components, _components),
    Check("vggt", _is_manifest, _manifest),
    Check("vggt", _is_unused_heads, _unused_heads),
]
