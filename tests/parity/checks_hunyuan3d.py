"""Parity checks of Hunyuan3D-2.0: its networks, times, volume, pictures and mesh, and all of it in a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from tests.parity.runner import Check, Measure, config_of, group, load_fixture, mismatch, weights_of
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
    surface_measures,
    tolerances,
    unpacked,
    volume_of,
)
from v2m4.generators.hunyuan3d import picture
from v2m4.generators.hunyuan3d.builder import ENCODER_PREFIX, decoder_config, dit_config, encoder_config
from v2m4.generators.hunyuan3d.generator import extraction
from v2m4.generators.hunyuan3d.model import HunyuanModel
from v2m4.generators.hunyuan3d.network import HunyuanDiT, waves
from v2m4.generators.hunyuan3d.sampling import consistency_sigmas, flow_grid, model_time, sigmas
from v2m4.generators.vecset.decoder import VecsetDecoder
from v2m4.generators.vecset.embedding import fourier_embedding
from v2m4.generators.vecset.flow import euler
from v2m4.generators.vecset.loading import part_of
from v2m4.generators.vecset.surface import canonical, placed
from v2m4.generators.vecset.volume import VolumeRule, coarse_to_fine, halvings
from v2m4.geometry.cleanup import remove_small_pieces, simplify
from v2m4.geometry.marching_cubes import marching_cubes
from v2m4.nn.dinov2 import Dinov2, from_transformers

Run = Callable[[Path, Mapping[str, Any], Tensors], list[Measure]]
CHUNK = 8000


def _tiny_dit(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    given = group(tensors, "in")
    model = loaded(HunyuanDiT(dit_config(config_of(meta))), weights_of(path, meta, tensors))
    names = {"cond_in": "cond_in", "latent_in": "latent_in", "time_in": "time_in", "guidance_in": "guidance_in"}
    names |= numbered("double_blocks.{}", "double.{}", len(model.double_blocks))
    names |= numbered("single_blocks.{}", "single.{}", len(model.single_blocks))
    recorder = Recorder(model, names)
    velocity = model(given["latents"], given["timestep"], model.prepare(given["context"]), given.get("guidance"))
    got: Tensors = {"velocity": velocity, "time_sinusoid": waves(given["timestep"])}
    for name, value in recorder.seen.items():
        pair = zip(("latent", "context"), value, strict=True) if name.startswith("double") else (("", value),)
        got |= {f"{name}.{stream}".rstrip("."): tensor for stream, tensor in pair}
    nothing = model.prepare(torch.zeros_like(given["context"]))
    got["velocity_zero_context"] = model(given["latents"], given["timestep"], nothing, given.get("guidance"))
    return only(got, tensors, tolerances(meta)["default"])


def _tiny_vae(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    given, config = group(tensors, "in"), decoder_config(config_of(meta))
    model = loaded(VecsetDecoder(config), weights_of(path, meta, tensors))
    names = {
        "post_kl": "post_kl",
        "geo_decoder.query_proj": "query_proj",
        "geo_decoder.cross_attn_decoder": "cross_attention_block",
        "geo_decoder.latents_proj": "latents_proj",
        **numbered("transformer.resblocks.{}", "block.{}", config.layers),
    }
    recorder = Recorder(model, names)
    latents = model(given["latents"])
    logits = model.geo_decoder(given["queries"], model.geo_decoder.keys_values(latents))
    embedding = fourier_embedding(given["queries"], config.frequencies)
    got = {"latents": latents, "logits": logits, "query_embedding": embedding, **recorder.seen}
    return only(got, tensors, tolerances(meta)["default"])


def _scheduler(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    config = config_of(meta)
    got: Tensors = {}
    for name in group(tensors, "out"):
        kind, _, what = name.partition(".")
        if kind.startswith("consistency"):
            steps = int(kind.removeprefix("consistency"))
            times = consistency_sigmas(steps, config["pcm_timesteps"], config["num_train_timesteps"])
        else:
            steps, _, shift = kind.removeprefix("euler").partition("_shift")
            times = sigmas(int(steps), float(shift or 1))
        values = torch.tensor(times, dtype=torch.float32)
        got[name] = {
            "sigmas": values,
            "timesteps": config["num_train_timesteps"] * values[:-1],
            "model_time_float16": model_time(values[:-1], torch.float16).float(),
        }[what]
    return only(got, tensors, tolerances(meta)["default"])


def _conditioner(meta: Mapping[str, Any], weights: Tensors) -> Dinov2:
    state = from_transformers(part_of(weights, ENCODER_PREFIX))
    config = {"main_image_encoder": config_of(meta)["main_image_encoder"]}
    model: Dinov2 = loaded(Dinov2(encoder_config(config)), state)
    return model


def _tiny_conditioner(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    model = _conditioner(meta, weights_of(path, meta, tensors))
    pixels = picture.encoder_input(tensors["in.image"], model.config.image_size)
    tokens, tower = model(pixels), model.embed(pixels)
    got = {"pixels": pixels, "embeddings": tower, "main": tokens, "unconditional": torch.zeros_like(tokens)}
    for k, block in enumerate(model.blocks):
        tower = block(tower)
        got[f"layer.{k}"] = tower
    return only(got, tensors, tolerances(meta)["default"])


def _image_prepare(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    allowed, measures = tolerances(meta), []
    for k, config in enumerate(config_of(meta)):
        given = tensors[f"in.image{k}"].cpu().numpy()
        square, mask = picture.recentred(given, config["border_ratio"])
        image, _ = picture.processed(given, config["size"], config["border_ratio"])
        # The mask goes along in the original; nothing reads it.
        small = cv2.resize(mask, (config["size"], config["size"]), interpolation=cv2.INTER_NEAREST)
        measures += [
            by_pixels(f"recentred{k}", square, tensors[f"out.recentred{k}"], allowed["uint8_levels"]),
            by_pixels(f"recentred_mask{k}", mask, tensors[f"out.recentred_mask{k}"], allowed["uint8_levels"]),
            by_pixels(f"image{k}", image, tensors[f"out.image{k}"], allowed["image"]),
            by_pixels(f"mask{k}", small[None, None] / 127.5 - 1, tensors[f"out.mask{k}"], allowed["image"]),
        ]
    return measures


def _v2m4_image_prepare(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    config, allowed = config_of(meta), tolerances(meta)
    crop = picture.cropped(tensors["in.rgba"].cpu().numpy(), config["crop_size"])
    image, _ = picture.processed(crop, config["size"], config["border_ratio"])
    levels, values = allowed["uint8_levels"], allowed["image"]
    return [
        by_pixels("cropped_rows", crop[config["cropped_rows"]], tensors["out.cropped_rows"], levels),
        by_pixels("cropped_mean", crop.reshape(-1, 4).mean(0), tensors["out.cropped_mean"], levels),
        by_pixels("image_rows", image[:, :, config["image_rows"]], tensors["out.image_rows"], values),
        by_pixels("image_mean", image[0].mean((1, 2)), tensors["out.image_mean"], values),
    ]


def _volume_vanilla(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    config, want, allowed = config_of(meta), group(tensors, "out"), tolerances(meta)
    grid = extraction(config["octree_resolution"], config["octree_resolution"], config["bounds"])
    device = want["grid_logits"].device
    volume = coarse_to_fine(field_of(config["field"]), grid.levels, grid.bound, grid.rule, device, CHUNK)
    vertices, faces = marching_cubes(volume.logits, config["mc_level"])
    mesh = placed(vertices, grid.bound, grid.divisions), faces
    wanted = want["vertices"], want["faces"]
    measures = only({"grid_logits": volume.logits}, {"out.grid_logits": want["grid_logits"]}, allowed["grid_logits"])
    vertex_count = abs(len(vertices) - int(want["trimesh_counts"][0]))
    return [
        *measures,
        *surface_measures("surface", mesh, wanted, grid, allowed["surface_distance"]),
        same_side(*mesh, float(want["volume"])),
        Measure("vertices after merging", float(vertex_count), 0.0),
    ]


def _volume_hierarchical(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    """The original's finer grids are asked with coordinates cut to whole numbers (those of the indices' type), so that
    all their nodes hold the value of one place; the fixture is information only. Which nodes are asked is compared as
    it is, and the values with our field asked at the same wrong place."""
    config, want, allowed = config_of(meta), group(tensors, "out"), tolerances(meta)
    levels = halvings(config["octree_resolution"], config["min_resolution"])
    device = want["queried_bits"].device
    field, bound = field_of(config["field"]), config["bounds"]
    left = (levels[0] + 1) ** 3

    def cut(points: Tensor) -> Tensor:
        nonlocal left
        left -= len(points)
        return field(points if left >= 0 else torch.full_like(points, int(-bound)))

    volume = coarse_to_fine(cut, levels, bound, VolumeRule(), device, (levels[0] + 1) ** 3)
    asked = unpacked(want["queried_bits"], want["grid_size"])
    got = {
        "grid_size": torch.tensor(volume.logits.shape),
        "queried_bits": torch.from_numpy(np.packbits(volume.asked.cpu().numpy())),
        "logits_at_queried": volume.logits[asked],
        "total_queries": want["total_queries"],
    }
    # The fixture counts the nodes of the finest grid alone.
    queries = Measure("total_queries", float(abs(int(volume.asked.sum()) - int(want["total_queries"]))), 0.0)
    return [*only(got, tensors, allowed["default"]), queries]


def _mesh_finish(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    config, given, want, allowed = config_of(meta), group(tensors, "in"), group(tensors, "out"), tolerances(meta)
    vertices, faces = given["vertices"].cpu().double().numpy(), given["faces"].cpu().numpy()
    kept = remove_small_pieces(faces, config["nbfaceratio"])
    counts = torch.tensor(sorted(_component_faces(kept)))
    reduced, reduced_faces = simplify(vertices, kept, config["max_facenum"], 5.0)
    volume = volume_of(torch.from_numpy(reduced), torch.from_numpy(reduced_faces))
    face_count, wanted_volume = int(want["reduced_face_count"]), float(want["reduced_volume"])
    turned = canonical(given["reduced_vertices"])
    return [
        Measure("kept components", mismatch(counts, want["kept_component_faces"].cpu()), allowed["components"]),
        Measure("faces, of them", abs(len(reduced_faces) / face_count - 1), allowed["face_count_relative"]),
        Measure("volume, of it", abs(volume / wanted_volume - 1), allowed["volume_relative"]),
        *only(
            {"vertices_z_up": turned, "vertex_mean_y_up": given["reduced_vertices"].mean(0)},
            {f"out.{n}": want[n] for n in ("vertices_z_up", "vertex_mean_y_up")},
            allowed["vertices_z_up"],
        ),
    ]


def _component_faces(faces: Any) -> list[int]:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    a, b = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]]]).T
    size = int(faces.max()) + 1
    label = connected_components(coo_array((np.ones(len(a)), (a, b)), shape=(size, size)), directed=False)[1]
    return [int(n) for n in np.unique(label[faces[:, 0]], return_counts=True)[1]]


def _e2e(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    config, want, allowed = config_of(meta), group(tensors, "out"), tolerances(meta)
    beside = path.with_name(Path(meta["weights_from_conditioner"]).name)
    encoder_meta, encoder_tensors = load_fixture(beside)
    device = tensors["in.noise"].device
    encoder_weights = weights_of(beside, encoder_meta, encoder_tensors)
    encoder = _conditioner(encoder_meta, encoder_weights)
    weights = weights_of(path, meta, tensors)
    flow = loaded(HunyuanDiT(dit_config(config["model"])), part_of(weights, "model."))
    decoder = loaded(VecsetDecoder(decoder_config(config["vae"])), part_of(weights, "vae."))
    noise = tensors["in.noise"]
    model = HunyuanModel("hunyuan3d", encoder, flow, decoder, noise.shape[1], noise.shape[2], device)

    rgba = tensors["in.rgba"].cpu().numpy()
    image, _ = picture.processed(rgba, config["processor_size"], config["border_ratio"])
    # From here on the recorded picture, as 8-bit resizing may differ by a level.
    tokens = model.encode(picture.encoder_input(tensors["mid.image"], encoder.config.image_size))
    measures = [by_pixels("image", image, tensors["mid.image"], allowed["image"])]
    measures += only({"context": tokens}, {"out.context": tensors["mid.context"]}, allowed["context"])

    # Our grid leaves out the step without length, which repeats the state before it.
    grid = flow_grid(sigmas(config["steps"]))
    context = flow.prepare(torch.cat([torch.zeros_like(tokens), tokens]))
    states = list(euler(model.velocity, noise, grid, context, config["guidance_scale"], torch.float32))
    got = {f"latents.{k}": states[min(k, len(states) - 1)] for k in range(config["steps"])}
    measures += only(got, {f"out.{k}": want[k] for k in got}, allowed["latents"])
    sampled = model.sample(tokens, noise, grid, config["guidance_scale"])
    measures += only({"sampled": sampled}, {"out.sampled": states[-1]}, allowed["latents"])

    decoded = decoder(sampled / decoder.config.scale_factor)
    measures += only({"decoded_latents": decoded}, {"out.decoded_latents": want["decoded_latents"]}, allowed["latents"])
    box = extraction(config["octree_resolution"], config["octree_resolution"], config["box_v"])
    keys_values = decoder.keys_values(sampled)
    volume = coarse_to_fine(lambda p: decoder.query(p, keys_values), box.levels, box.bound, box.rule, device, CHUNK)
    logits = {"out.grid_logits": want["grid_logits"]}
    measures += only({"grid_logits": volume.logits}, logits, allowed["grid_logits"])
    vertices, faces = marching_cubes(volume.logits, config["mc_level"])
    mesh = placed(vertices, box.bound, box.divisions), faces
    wanted = want["vertices"], want["faces"]
    return [
        *measures,
        *surface_measures("surface", mesh, wanted, box, allowed["surface_distance"]),
        same_side(*mesh, float(want["mesh_volume"])),
    ]


def _manifest_dit(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    params = {name: meta["config"][name]["params"] for name in ("model", "vae", "conditioner")}
    every = manifest_state({k: shape for shapes in meta["tensors"].values() for k, shape in shapes.items()})
    state = {name: part_of(every, f"{name}.") for name in params}
    count = meta["n_parameters"]
    with torch.device("meta"):
        flow = HunyuanDiT(dit_config(params["model"]))
        decoder = VecsetDecoder(decoder_config(params["vae"]))
        encoder = Dinov2(encoder_config(params["conditioner"]))
    encoder_state = from_transformers(part_of(state["conditioner"], ENCODER_PREFIX))
    parts = (("model", flow, state["model"]), ("vae", decoder, state["vae"]), ("conditioner", encoder, encoder_state))
    used = sum(map(len, (state["model"], state["vae"], part_of(state["conditioner"], ENCODER_PREFIX))))
    measures = [Measure("keys outside the three networks", float(len(every) - used), 0.0)]
    for name, network, tensors_of in parts:
        measures += manifest_measures_of(network, tensors_of, count[name])
    return measures


def _manifest_vae(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    with torch.device("meta"):
        decoder = VecsetDecoder(decoder_config(meta["config"]))
    return manifest_measures_of(decoder, manifest_state(meta["tensors"]), meta["n_parameters"])


_RUNS: dict[str, tuple[Run, str]] = {
    "tiny_dit": (_tiny_dit, '"hidden_size"'),
    "tiny_dit_guidance": (_tiny_dit, '"hidden_size"'),
    "tiny_vae": (_tiny_vae, '"qk_norm"'),
    "tiny_vae_turbo": (_tiny_vae, '"qk_norm"'),
    "scheduler": (_scheduler, '"pcm_timesteps"'),
    "tiny_conditioner": (_tiny_conditioner, '"main_image_encoder"'),
    "image_prepare": (_image_prepare, '"border_ratio"'),
    "v2m4_image_prepare": (_v2m4_image_prepare, '"border_ratio"'),
    "volume_vanilla": (_volume_vanilla, '"octree_resolution"'),
    "volume_hierarchical": (_volume_hierarchical, '"octree_resolution"'),
    "mesh_finish": (_mesh_finish, '"nbfaceratio"'),
    "e2e_tiny": (_e2e, '"conditioner_from"'),
}
"""Each fixture's check, and a word of its configuration: other models have fixtures of the same names."""


def _matcher(kind: str, mark: str) -> Callable[[Path, Mapping[str, Any]], bool]:
    def matches(path: Path, meta: Mapping[str, Any]) -> bool:
        return path.suffix == ".safetensors" and path.stem == kind and mark in meta.get("config", "")

    return matches


def _is_manifest(subfolder: str) -> Callable[[Path, Mapping[str, Any]], bool]:
    def matches(path: Path, meta: Mapping[str, Any]) -> bool:
        here = meta.get("checkpoint") == "tencent/Hunyuan3D-2" and str(meta.get("subfolder")).startswith(subfolder)
        return path.name.startswith("manifest_") and here

    return matches


CHECKS = [
    *(Check("hunyuan3d", _matcher(kind, mark), torch.no_grad()(run)) for kind, (run, mark) in _RUNS.items()),
    Check("hunyuan3d", _is_manifest("hunyuan3d-dit"), _manifest_dit),
    Check("hunyuan3d", _is_manifest("hunyuan3d-vae"), _manifest_vae),
]
