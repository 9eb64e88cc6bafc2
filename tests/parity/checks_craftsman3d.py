"""Parity checks of CraftsMan3D: flow transformer, sampler, decoder, encoder, picture, surface; and the picture side of
TripoSG after a matting network, whose fixture lies in the same folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.parity.runner import Check, Measure, config_of, group, weights_of
from tests.parity.vecset import (
    Recorder,
    Tensors,
    by_pixels,
    field_of,
    loaded,
    manifest_measures_of,
    manifest_state,
    numbered,
    only,
    same_side,
    surface_distance,
    surface_measures,
    tolerances,
    unpacked,
)
from v2m4.generators.craftsman3d import picture
from v2m4.generators.craftsman3d.builder import (
    ENCODER_PREFIX,
    FLOW_PREFIX,
    SHAPE_NAMES,
    SHAPE_PREFIX,
    SHAPE_UNUSED,
    denoiser_config,
    encoder_config,
    shape_config,
)
from v2m4.generators.craftsman3d.generator import extraction
from v2m4.generators.craftsman3d.network import CraftsManDiT
from v2m4.generators.craftsman3d.sampling import flow_grid, sigmas
from v2m4.generators.triposg.picture import object_on_white
from v2m4.generators.vecset.attention import CrossBlock, SelfBlock
from v2m4.generators.vecset.decoder import VecsetDecoder
from v2m4.generators.vecset.embedding import fourier_embedding
from v2m4.generators.vecset.flow import euler
from v2m4.generators.vecset.loading import part_of, without
from v2m4.generators.vecset.pictures import as_values, normalised
from v2m4.generators.vecset.surface import placed
from v2m4.generators.vecset.volume import coarse_to_fine
from v2m4.geometry.marching_cubes import marching_cubes
from v2m4.nn.dinov2 import Dinov2, Dinov2Config, from_transformers

Run = Callable[[Path, Mapping[str, Any], Tensors], list[Measure]]
EARLY = {"denoiser": 5e-5, "shape": 2e-5, "flow50": 1e-5}
"""Relative tolerances of the early fixture's three parts, which states none: those of the later fixtures."""
NOT_ASKED = -1e4
EPS = 1e-5
CHUNK = 10000
SMALL_BLOB = 200


def _denoiser(model: CraftsManDiT, latents: Tensor, timestep: Tensor, context: Tensor) -> Tensors:
    names = {"time_embed.mlp": "time_embed", "t_block": "time_modulation", "x_embed": "latent_embed"}
    names |= {"dino_embed": "context_embed"} | numbered("blocks.{}", "block.{}", len(model.blocks))
    recorder = Recorder(model, names)
    velocity = model(latents, timestep, model.prepare(context))
    got = {"velocity": velocity, **recorder.seen}
    # The call without a picture is recorded too, but not kept.
    got["velocity_zero_context"] = model(latents, timestep, model.prepare(torch.zeros_like(context)))
    return got


def _tiny_denoiser(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    given = group(tensors, "in")
    model = loaded(CraftsManDiT(denoiser_config(config_of(meta))), weights_of(path, meta, tensors))
    got = _denoiser(model, given["latents"], given["timestep"], given["context"])
    return only(got, tensors, tolerances(meta)["default"])


def _times(name: str, steps: int, config: Mapping[str, Any]) -> Tensors:
    levels = sigmas(steps, config["shift"], config["num_train_timesteps"])
    grid = flow_grid(steps, config["shift"], config["num_train_timesteps"])
    times = torch.tensor(config["num_train_timesteps"] * levels)
    return {f"{name}timesteps": times, f"{name}step_sizes": torch.tensor(-grid.steps)}


def _denoise_loop(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    config, given, allowed = config_of(meta), group(tensors, "in"), tolerances(meta)
    model = loaded(CraftsManDiT(denoiser_config(config["denoiser"])), weights_of(path, meta, tensors))
    context = given["context"]
    both = model.prepare(torch.cat([torch.zeros_like(context), context]))
    grid = flow_grid(config["steps"], config["shift"], config["num_train_timesteps"])
    states = euler(model, given["noise"], grid, both, config["guidance_scale"], torch.float32)
    measures = only(
        {f"latents.{k}": x for k, x in enumerate(states)},
        {name: tensor for name, tensor in tensors.items() if name.startswith("out.latents.")},
        allowed["default"],
    )
    got: Tensors = {}
    rest = {k: v for k, v in tensors.items() if k.startswith("out.") and not k.startswith("out.latents.")}
    for name in {k.removeprefix("out.").rpartition(".")[0] for k in rest}:
        steps = int(name.removeprefix("flow")) if name else config["steps"]
        got |= _times(f"{name}." if name else "", steps, config)
    return measures + only(got, rest, allowed["timesteps"])


def _shape(model: VecsetDecoder, latents: Tensor, queries: Tensor) -> Tensors:
    names = {
        "post_kl": "post_kl",
        "geo_decoder.query_proj": "query_proj",
        "geo_decoder.cross_attn_decoder": "cross_attention_block",
        **numbered("transformer.resblocks.{}", "block.{}", model.config.layers),
    }
    recorder = Recorder(model, names)
    decoded = model(latents)
    logits = model.geo_decoder(queries, model.geo_decoder.keys_values(decoded))
    embedding = fourier_embedding(queries, model.config.frequencies)
    return {"decoded_latents": decoded, "logits": logits, "query_embedding": embedding, **recorder.seen}


def _tiny_dora_vae(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    given = group(tensors, "in")
    model = loaded(VecsetDecoder(shape_config(config_of(meta))), weights_of(path, meta, tensors), SHAPE_NAMES)
    return only(_shape(model, given["latents"], given["queries"]), tensors, tolerances(meta)["default"])


def _tiny_dinov2_registers(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    state = from_transformers(weights_of(path, meta, tensors))
    model = loaded(Dinov2(Dinov2Config.of_transformers(config_of(meta))), state)
    tokens = model(tensors["in.pixels"])
    got = {"last_hidden_state": tokens, "context": model.without_registers(tokens)}
    return only(got, tensors, tolerances(meta)["default"])


def _image_prepare(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    config, allowed = config_of(meta), tolerances(meta)
    rgba = tensors["in.rgba"].cpu().numpy()
    prepared = picture.object_on_white(rgba, config["foreground_ratio"])
    want = tensors["out.prepared_rgba"]
    pixels = normalised(as_values(tensors["in.prepared_518_rows"][..., :3].cpu().numpy()))[None]
    # The alpha that the original puts back is ignored by its encoder.
    return [
        by_pixels("prepared, without alpha", prepared, want[..., :3], allowed["uint8_levels"]),
        *only({"pixel_values_of_518": pixels}, _named(tensors, "out.pixel_values_of_518"), allowed["pixels"]),
    ]


def _named(tensors: Tensors, *names: str) -> Tensors:
    return {name: tensors[name] for name in names}


def _hierarchical_extract(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    """The original leaves -10000 where nothing was asked, which makes inner shells; the extraction is compared with
    these, and our own surface, which has none, with the outer shells."""
    config, want, allowed = config_of(meta), group(tensors, "out"), tolerances(meta)
    bounds = tensors["in.bounds"]
    grid = extraction(config["octree_resolution"], config["min_resolution"], float(bounds[3]))
    volume = coarse_to_fine(field_of(config["field"]), grid.levels, grid.bound, grid.rule, bounds.device, CHUNK)
    asked = unpacked(want["queried_bits"], want["grid_size"])
    got = {
        "grid_size": torch.tensor(volume.logits.shape),
        "queried_bits": torch.from_numpy(np.packbits(volume.asked.cpu().numpy())),
        "logits_at_queried": volume.logits[asked],
    }
    measures = only(got, {f"out.{name}": want[name] for name in got}, allowed["logits"])
    # The fixture counts the nodes of the finest grid alone.
    measures.append(Measure("total_queries", float(abs(int(asked.sum()) - int(want["total_queries"]))), 0.0))

    wanted, tolerance = (want["vertices"], want["faces"]), allowed["surface_distance"]
    vertices, faces = marching_cubes(torch.where(volume.asked, volume.logits, NOT_ASKED))
    with_shells = placed(vertices, grid.bound, grid.divisions), faces
    vertices, faces = marching_cubes(volume.logits)
    ours = placed(vertices, grid.bound, grid.divisions), faces
    return [
        *measures,
        *surface_measures("surface with inner shells", with_shells, wanted, grid, tolerance),
        Measure("our surface from the original's", surface_distance(*ours, *wanted), tolerance),
        same_side(*ours, float(want["volume_after_fix_normals"])),
    ]


def _triposg_matte_prepare(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    """What the original does between a matting network and TripoSG's picture, with our crop at its end.

    The frames of a clip come with an alpha of their own, so that only the crop is part of the generator.
    """
    config, want, allowed = config_of(meta), group(tensors, "out"), tolerances(meta)
    rgb, size = tensors["in.rgb"].cpu(), config["network_size"]
    channels = rgb.permute(2, 0, 1)[None].float()
    network_input = F.interpolate(channels, size=(size, size), mode="bilinear")[0] / 255 - 0.5
    stride = int("".join(c for c in config["columns"] if c.isdigit()))
    rows = network_input[:, config["rows"], ::stride]

    # Map -> 8 bit -> Otsu's threshold -> without small blobs -> box of the largest outline.
    matte = F.interpolate(tensors["in.matte64"].cpu()[None, None], size=(size, size), mode="bilinear")
    small = F.interpolate(matte, size=rgb.shape[:2], mode="bilinear", antialias=True)[0, 0]
    levels = ((small - small.min()) / (small.max() - small.min()) * 255).numpy().astype(np.uint8)
    mask = cv2.threshold(levels, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)[1]
    _, label, facts, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
    mask[facts[label, cv2.CC_STAT_AREA] < SMALL_BLOB] = 0
    outlines = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]
    left, upper, width, height = cv2.boundingRect(max(outlines, key=cv2.contourArea))
    box = (left, upper, left + width, upper + height)
    prepared = object_on_white(rgb.numpy(), (mask > 0).astype(np.float32), box, config["padding_ratio"])
    values = torch.from_numpy(prepared).permute(2, 0, 1)
    picture_8_bit = (prepared * 255).astype(np.uint8)
    return [
        by_pixels("network_input_rows", rows, want["network_input_rows"], allowed["network_input"]),
        by_pixels("prepared_float", values, want["prepared_float"], allowed["prepared_float"]),
        by_pixels("prepared_rgb", picture_8_bit, want["prepared_rgb"], allowed["uint8_levels"]),
    ]


class ShapeEncoder(nn.Module):
    """The shape model's other half, of the shared blocks; image to shape does not need it. Names and shapes only."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        width, heads = config["width"], config["heads"]
        inputs = 3 * (2 * config["num_freqs"] + 1) + config["point_feats"]
        self.encoder = nn.ModuleDict(
            {
                "input_proj": nn.Linear(inputs, width),
                "cross_attn": CrossBlock(width, heads, EPS),
                "self_attn": nn.ModuleDict(
                    {
                        "resblocks": nn.ModuleList(
                            SelfBlock(width, heads, EPS) for _ in range(config["num_encoder_layers"])
                        )
                    }
                ),
                "ln_post": nn.LayerNorm(width, eps=EPS),
            }
        )
        if config["with_sharp_data"]:
            self.encoder["input_proj_sharp"] = nn.Linear(inputs, width)
            self.encoder["cross_attn_sharp"] = CrossBlock(width, heads, EPS)
        self.pre_kl = nn.Linear(width, 2 * config["embed_dim"])


def _craftsman_tiny(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    given, config = group(tensors, "in"), config_of(meta)
    weights = weights_of(path, meta, tensors)
    denoiser = loaded(CraftsManDiT(denoiser_config(config["denoiser"])), part_of(weights, FLOW_PREFIX))
    of_shape = part_of(weights, SHAPE_PREFIX)
    shape = loaded(VecsetDecoder(shape_config(config["shape_model"])), without(of_shape, SHAPE_UNUSED), SHAPE_NAMES)
    loaded(ShapeEncoder(config["shape_model"]), {k: v for k, v in of_shape.items() if k.startswith(SHAPE_UNUSED)})
    seen = _denoiser(denoiser, given["noisy"], given["timestep"], given["context"])
    got = {"denoiser.out": seen["velocity"], "denoiser.time_embed": seen["time_embed"]}
    decoded = _shape(shape, given["latents"], given["queries"])
    got |= {f"shape.{name}": tensor for name, tensor in decoded.items()}
    released = {"shift": 3.0, "num_train_timesteps": 1000}
    for name in {k.split(".")[0] for k in group(tensors, "out") if k.startswith("flow")}:
        got |= _times(f"{name}.", int(name.removeprefix("flow")), released)
    measures = []
    for name in group(tensors, "out"):
        part = name.split(".")[0]
        tolerance = EARLY["flow50"] if part.startswith("flow") else EARLY[part]
        measures += only(got, _named(tensors, f"out.{name}"), tolerance)
    return measures


def _manifest_models(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    shape_state, flow_state = (manifest_state(meta["tensors"][name]) for name in ("shape_model", "denoiser_model"))
    with torch.device("meta"):
        flow = CraftsManDiT(denoiser_config(meta["denoiser_config"]))
        decoder = VecsetDecoder(shape_config(meta["shape_model_config"]))
        encoder = ShapeEncoder(meta["shape_model_config"])
    used = without(shape_state, SHAPE_UNUSED)
    unused = {name: tensor for name, tensor in shape_state.items() if name not in used}
    counts = meta["n_parameters"]
    both = sum(p.numel() for model in (decoder, encoder) for p in model.parameters())
    return [
        *manifest_measures_of(flow, flow_state, counts["denoiser_model"]),
        *manifest_measures_of(decoder, used, rules=SHAPE_NAMES),
        *manifest_measures_of(encoder, unused),
        Measure("number of the shape model's parameters", float(abs(both - counts["shape_model"])), 0.0),
    ]


def _manifest_encoder(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    every = manifest_state(meta["tensors"])
    state = from_transformers(part_of(every, ENCODER_PREFIX))
    config = Dinov2Config.of_transformers(meta["config"])
    with torch.device("meta"):
        encoder = Dinov2(config)
    return [
        *manifest_measures_of(encoder, state, meta["n_parameters"]),
        Measure("keys outside the encoder", float(len(every) - len(part_of(every, ENCODER_PREFIX))), 0.0),
        Measure("sizes read from the weights differ", float(encoder_config(state) != config), 0.0),
    ]


_RUNS: dict[str, tuple[Run, str]] = {
    "tiny_denoiser": (_tiny_denoiser, '"context_dim"'),
    "denoise_loop": (_denoise_loop, '"denoiser"'),
    "tiny_dora_vae": (_tiny_dora_vae, '"with_sharp_data"'),
    "tiny_dinov2_registers": (_tiny_dinov2_registers, '"num_register_tokens"'),
    "image_prepare": (_image_prepare, '"image_size"'),
    "hierarchical_extract": (_hierarchical_extract, '"octree_resolution"'),
    "triposg_matte_prepare": (_triposg_matte_prepare, '"network_size"'),
    "craftsman_tiny": (_craftsman_tiny, '"shape_model"'),
}
"""Each fixture's check, and a word of its configuration: other models have fixtures of the same names."""


def _matcher(kind: str, mark: str) -> Callable[[Path, Mapping[str, Any]], bool]:
    def matches(path: Path, meta: Mapping[str, Any]) -> bool:
        return path.suffix == ".safetensors" and path.stem == kind and mark in meta.get("config", "")

    return matches


def _is_manifest(entry: str) -> Callable[[Path, Mapping[str, Any]], bool]:
    def matches(path: Path, meta: Mapping[str, Any]) -> bool:
        here = str(meta.get("checkpoint", "")).startswith("craftsman3d/") and entry in meta
        return path.name.startswith("manifest_") and here

    return matches


CHECKS = [
    *(Check("craftsman3d", _matcher(kind, mark), torch.no_grad()(run)) for kind, (run, mark) in _RUNS.items()),
    Check("craftsman3d", _is_manifest("denoiser_config"), _manifest_models),
    Check("craftsman3d", _is_manifest("config"), _manifest_encoder),
]
