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
from v2m4.stereo.rotations import rotation_from_quaternion
from v2m4.stereo.vggt.aggregator import AggregatorConfig
from v2m4.stereo.vggt.heads import points_and_confidence
from v2m4.stereo.vggt.model import Vggt, VggtConfig, world_point_part

Tensors = dict[str, Tensor]
FEATURES = 2e-5
POINTS = 5e-5
"""Point maps and confidences pass an exponential, which enlarges rounding."""
EXACT_FORMULA = 2e-6


def _config(parts: Mapping[str, Mapping[str, Any]]) -> VggtConfig:
    """Read constructor values given per part: `aggregator`, `dino`, `camera_head`, `point_head`."""
    dino = {f"dino_{name}": value for name, value in parts.get("dino", {}).items()}
    known = AggregatorConfig.__dataclass_fields__
    own = {name: value for name, value in {**parts.get("aggregator", {}), **dino}.items() if name in known}
    camera, point = parts.get("camera_head", {}), parts.get("point_head", {})
    return VggtConfig(
        aggregator=AggregatorConfig(**own),
        camera_trunk_depth=camera.get("trunk_depth", VggtConfig.camera_trunk_depth),
        camera_num_heads=camera.get("num_heads", VggtConfig.camera_num_heads),
        point_features=point.get("features", VggtConfig.point_features),
        point_channels=tuple(point.get("out_channels", VggtConfig.point_channels)),
        point_levels=tuple(point.get("intermediate_layer_idx", VggtConfig.point_levels)),
    )


def _decode_poses(vectors: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """World-to-camera (..., 3, 4) and intrinsics (..., 3, 3) in pixels of pose vectors (..., 9); `size` is (H, W).

    A vector holds the translation (3), a quaternion x, y, z, w (4), and the vertical and horizontal field of view in
    radians (2).
    """
    extrinsics = torch.cat([rotation_from_quaternion(vectors[..., 3:7]), vectors[..., :3, None]], dim=-1)
    height, width = size
    intrinsics = vectors.new_zeros(*vectors.shape[:-1], 3, 3)
    intrinsics[..., 0, 0] = width / 2 / torch.tan(vectors[..., 8] / 2)
    intrinsics[..., 1, 1] = height / 2 / torch.tan(vectors[..., 7] / 2)
    intrinsics[..., 0, 2] = width / 2
    intrinsics[..., 1, 2] = height / 2
    intrinsics[..., 2, 2] = 1
    return extrinsics, intrinsics


@torch.no_grad()
def _network(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    model = Vggt(_config(config_of(meta)))
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
    extrinsics, intrinsics = _decode_poses(output.poses, size)
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
    given, want = group(tensors, "in"), group(tensors, "out")
    rotation = rotation_tables(given["rope_positions_yx"], given["rope_tokens"].shape[-1], config["rope_freq"])
    points, confidence = points_and_confidence(given["head_raw"])
    extrinsics, intrinsics = _decode_poses(given["pose_enc"], (config["image_size_hw"][0], config["image_size_hw"][1]))
    got = {
        "rope": rotate(given["rope_tokens"], rotation),
        "head_points": points,
        "head_conf": confidence,
        "extrinsic": extrinsics,
        "intrinsic": intrinsics,
    }
    return compare(got, {name: want[name] for name in got}, EXACT_FORMULA)


def _manifest(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    parts = dict(meta["components"])
    parts["aggregator"] = {**meta["config"], **parts["aggregator"]}
    with torch.device("meta"):
        model = Vggt(_config(parts))
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
