"""Parity checks of TripoSR: picture, tokenizer, network, field, grid, surface, volume rendering."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor, nn

from tests.parity.runner import (
    Check,
    Measure,
    compare,
    config_of,
    group,
    manifest_measures,
    relative_error,
    weights_of,
)
from tests.parity.volume_rendering import orbit_rays, render_field
from v2m4.generators.triposr.config import FieldConfig, TripoSRConfig, ViTConfig
from v2m4.generators.triposr.network import FieldDecoder, ImageTokenizer, TripoSRNetwork
from v2m4.generators.triposr.picture import network_image, object_square, on_grey
from v2m4.generators.triposr.surface import GridField, plane_features, query, refine
from v2m4.geometry.marching_cubes import marching_cubes
from v2m4.nn.weights import load_strictly

Tensors = dict[str, Tensor]


def _tolerances(meta: Mapping[str, Any]) -> dict[str, float]:
    return json.loads(meta["tolerance"])


def _absolute(name: str, got: Tensor, want: Tensor, tolerance: float) -> Measure:
    """Largest absolute difference."""
    got, want = got.double().cpu(), want.double().cpu()
    error = float((got - want).abs().max()) if got.shape == want.shape else float("inf")
    return Measure(f"{name} (absolute)", error, tolerance)


def _image_prepare(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    config, limits = config_of(meta), _tolerances(meta)
    measures = []
    for k, case in enumerate(config["cases"]):
        want = group(tensors, f"out.{k}")
        square = object_square(tensors[f"in.{k}.rgba"].numpy(), case["foreground_ratio"])
        grey = on_grey(square, config["background"])
        pixels = torch.from_numpy(grey.astype(np.float32) / 255).to(torch.get_default_device())
        for name, expected in want.items():
            if name == "resized_foreground":
                measures.append(_absolute(f"{k}.{name}", torch.from_numpy(square), expected, limits["uint8"]))
            elif name == "composited":
                measures.append(_absolute(f"{k}.{name}", torch.from_numpy(grey), expected, limits["uint8"]))
            elif name == "network_input":
                got = network_image(pixels, case["cond_image_size"]).permute(1, 2, 0)
                measures.append(_absolute(f"{k}.{name}", got, expected, limits["network_input_absolute"]))
            else:  # network_input_SIZE_rows_FIRST_END: a few rows of a larger picture
                _, _, size, _, first, end = name.split("_")
                got = network_image(pixels, int(size)).permute(1, 2, 0)[int(first) : int(end)]
                measures.append(_absolute(f"{k}.{name}", got, expected, limits["network_input_absolute"]))
    return measures


def _vit_config(config: Mapping[str, Any]) -> ViTConfig:
    """The tokenizer's sizes out of a transformers configuration; what is absent is as released."""
    return ViTConfig(**{name: config[name] for name in ViTConfig.__dataclass_fields__ if name in config})


@torch.no_grad()
def _tokenizer(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    model = ImageTokenizer(_vit_config(config_of(meta)["vit"]))
    load_strictly(model, group(weights_of(path, meta, tensors), "image_tokenizer"), "triposr")
    want = group(tensors, "out") | group(tensors, "mid")
    got: Tensors = {}
    for case in config_of(meta)["image_sizes"]:
        images, vit = tensors[f"in.{case}.images"], model.model
        normalised = model.normalised(images)
        x = vit.embeddings(normalised)
        got[f"{case}.patch_embeddings"] = vit.embeddings.patch_embeddings(normalised)
        got[f"{case}.embeddings"] = x
        for k, layer in enumerate(vit.encoder.layer):
            x = layer(x)
            got[f"{case}.layer.{k}"] = x
        got[f"{case}.position_embeddings"] = vit.embeddings.positions(*images.shape[2:])
        got[f"{case}.tokens"] = model(images)
    return compare(got, want, _tolerances(meta)["relative_to_largest"])


@torch.no_grad()
def _network(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    config, limits = config_of(meta), _tolerances(meta)
    model = TripoSRNetwork(TripoSRConfig.from_official(config, _vit_config(config["vit"])))
    load_strictly(model, weights_of(path, meta, tensors), "triposr")
    seen = _branches(model.backbone)
    images = network_image(tensors["in.images"], model.config.image_size)
    planes = model(images)
    values = [query(model.decoder, each, tensors["in.positions"]) for each in planes]
    start = model.tokenizer(len(images))
    got = {
        "images_resized": images.permute(0, 2, 3, 1),
        "image_tokens": model.image_tokenizer(images),
        "triplane_tokens": start,
        "backbone.norm": model.backbone.norm(start),
        "backbone.output": model.backbone(start, model.image_tokenizer(images)),
        **{f"backbone.{name}": value for name, value in seen.items()},
        "scene_codes": planes,
        "density": torch.stack([v.raw_density for v in values])[..., None],
        "features": torch.stack([v.raw_color for v in values]),
        "color": torch.stack([v.color for v in values]),
        "density_act": torch.stack([v.density for v in values])[..., None],
    }
    return _field_measures(got, group(tensors, "out") | group(tensors, "mid"), limits)


def _branches(backbone: nn.Module) -> Tensors:
    """What the backbone's parts return, filled in while it runs."""
    seen: Tensors = {}

    def keep(name: str) -> Callable[..., None]:
        return lambda module, arguments, output: seen.__setitem__(name, output)

    for name, module in backbone.named_modules():
        short = name.replace("transformer_blocks", "block")
        if short in ("proj_in", "proj_out") or (short.startswith("block.") and short.count(".") <= 2):
            module.register_forward_hook(keep(short))
    return seen


def _field_measures(got: Tensors, want: Tensors, limits: Mapping[str, float]) -> list[Measure]:
    measures = []
    for name, expected in want.items():
        if name == "color":
            measures.append(_absolute(name, got[name], expected, limits["color_absolute"]))
        elif name == "density_act":
            limit = limits["density_act_relative_to_largest"]
            measures.append(Measure(name, relative_error(got[name], expected), limit))
        else:
            measures += compare(got, {name: expected}, limits["relative_to_largest"])
    return measures


def _decoder(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> FieldDecoder:
    decoder = FieldDecoder(FieldConfig.from_official(config_of(meta)))
    load_strictly(decoder, group(weights_of(path, meta, tensors), "decoder"), "triposr")
    return decoder


@torch.no_grad()
def _query(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    decoder, planes, positions = _decoder(path, meta, tensors), tensors["in.scene_code"], tensors["in.positions"]
    values = query(decoder, planes, positions)
    got = {
        "sampled_features": plane_features(planes, positions, decoder.config.radius),
        "density": values.raw_density[:, None],
        "features": values.raw_color,
        "color": values.color,
        "density_act": values.density[:, None],
    }
    return _field_measures(got, group(tensors, "out") | group(tensors, "mid"), _tolerances(meta))


def _distance(a: Tensor, b: Tensor) -> float:
    """Largest distance of a point of either set from the nearest of the other."""
    one, other = a.double().cpu().numpy(), b.double().cpu().numpy()
    return float(max(cKDTree(one).query(other)[0].max(), cKDTree(other).query(one)[0].max()))


@torch.no_grad()
def _extract_mesh(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    config, limits, want = config_of(meta), _tolerances(meta), group(tensors, "out")
    decoder, planes, side = _decoder(path, meta, tensors), tensors["in.scene_code"], config["resolution"]
    radius, level = decoder.config.radius, float(np.log(config["threshold"]))
    field = GridField.of(decoder, planes, side)
    nodes = torch.cartesian_prod(*[torch.arange(side)] * 3)
    every = field.exponents(torch.arange(side**3)).view(side, side, side)
    vertices, _ = marching_cubes(every.exp(), config["threshold"])
    # The way the generator goes, which marches through the cells near the surface only.
    *_, refined = refine(field, level, stride=1)
    near, _ = marching_cubes(refined.exponents.exp(), config["threshold"], refined.cells)
    placed, near = (v * (2 * radius / (side - 1)) - radius for v in (vertices, near))
    colors = query(decoder, planes, want["vertices"]).color
    rounded = (colors * 255).round()
    first = nodes[: len(want["grid_first_points"])].float() * (2 * radius / (side - 1)) - radius
    return [
        Measure(
            "grid_density",
            relative_error(every.exp(), want["grid_density"]),
            limits["grid_density_relative_to_largest"],
        ),
        _absolute("grid_first_points", first, want["grid_first_points"], limits["vertex_distance"]),
        Measure("vertices", _distance(placed, want["vertices"]), limits["vertex_distance"]),
        Measure("vertices, near the surface only", _distance(near, want["vertices"]), limits["vertex_distance"]),
        _absolute("vertex_colors", colors, want["vertex_colors"], limits["vertex_color_absolute"]),
        _absolute(
            "vertex_colors_uint8", rounded, want["vertex_colors_uint8"][:, :3].float(), limits["colors_uint8_levels"]
        ),
    ]


def _marching_cubes(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    config, limits, want = config_of(meta), _tolerances(meta), group(tensors, "out")
    vertices, faces = marching_cubes(tensors["in.density"], config["threshold"])
    placed = vertices * (2 * config["radius"] / (config["resolution"] - 1)) - config["radius"]
    a, b, c = (placed[faces[:, i]].double() for i in range(3))
    normals = torch.linalg.cross(b - a, c - a)
    volume, area = float((a * normals).sum() / 6), float(normals.norm(dim=1).sum() / 2)

    def off(got: float, name: str) -> float:
        return abs(got - float(want[name])) / abs(float(want[name]))

    edges = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    shared = torch.unique(edges.sort(dim=1).values, dim=0, return_counts=True)[1]
    return [
        Measure("vertices", _distance(placed, want["vertices"]), limits["vertex_distance"]),
        Measure("signed_volume", off(volume, "signed_volume"), limits["signed_volume_relative"]),
        Measure("area", off(area, "area"), limits["area_relative"]),
        Measure("edges of other than two faces", float((shared != 2).sum()), 0.0),
    ]


@torch.no_grad()
def _render(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    config, limits = config_of(meta), _tolerances(meta)
    decoder, measures = _decoder(path, meta, tensors), []
    for k, camera in enumerate(config["cameras"]):
        want = group(tensors, f"out.{k}")
        origins, directions = orbit_rays(**camera)
        images = render_field(
            decoder, tensors["in.scene_code"], origins, directions, config["renderer"]["num_samples_per_ray"]
        )
        measures += [
            _absolute(f"{k}.rays_origin", origins, want["rays_origin"], limits["rays_absolute"]),
            _absolute(f"{k}.rays_direction", directions, want["rays_direction"], limits["rays_absolute"]),
            _absolute(f"{k}.images", images, want["images"], limits["images_absolute"]),
        ]
    return measures


def _manifest(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    config = TripoSRConfig.from_official(meta["config"], _vit_config(meta["image_tokenizer_config"]))
    with torch.device("meta"):
        model = TripoSRNetwork(config)
    want = {name: (shape, meta["dtype"]) for name, shape in meta["tensors"].items()}
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()}
    counts["total"] = sum(counts.values())
    return [
        *manifest_measures(model.state_dict(), want),
        Measure("number of keys", float(abs(len(model.state_dict()) - meta["n_keys"])), 0.0),
        *(
            Measure(f"number of parameters of {part}", float(abs(counts.get(part, 0) - number)), 0.0)
            for part, number in meta["n_parameters"].items()
        ),
    ]


def _named(start: str, *keys: str) -> Callable[[Path, Mapping[str, Any]], bool]:
    """Recognises a fixture by how its name starts and by words in its metadata."""

    def matches(path: Path, meta: Mapping[str, Any]) -> bool:
        text = json.dumps(meta)
        return path.suffix == ".safetensors" and path.stem.startswith(start) and all(key in text for key in keys)

    return matches


def _is_manifest(path: Path, meta: Mapping[str, Any]) -> bool:
    return path.suffix == ".json" and meta.get("model") == "TSR"


CHECKS = [
    Check("triposr", _named("image_prepare", "TripoSR", "foreground_ratio"), _image_prepare),
    Check("triposr", _named("tiny_image_tokenizer", "TripoSR"), _tokenizer),
    Check("triposr", _named("tiny_triposr", "TripoSR"), _network),
    Check("triposr", _named("triplane_query", "TripoSR"), _query),
    Check("triposr", _named("extract_mesh", "TripoSR"), _extract_mesh),
    Check("triposr", _named("marching_cubes", "TripoSR"), _marching_cubes),
    Check("triposr", _named("render", "TripoSR"), _render),
    Check("triposr", _is_manifest, _manifest),
]
