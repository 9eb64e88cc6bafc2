"""Parity checks of TripoSG: encoder, flow transformer, sampler, VAE, grid and surface, picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tests.parity.runner import Check, Measure, config_of, group, load_fixture, weights_of
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
    surface_measures,
    tolerances,
    unpacked,
)
from v2m4.generators.triposg import picture
from v2m4.generators.triposg.builder import VAE_UNUSED, transformer_config, vae_config
from v2m4.generators.triposg.generator import RULE
from v2m4.generators.triposg.network import TRANSFORMER_NAMES, TripoSgDiT, block_names, decoder_names
from v2m4.generators.triposg.sampling import flow_grid, sigmas
from v2m4.generators.vecset.attention import CrossBlock, SelfBlock
from v2m4.generators.vecset.decoder import VecsetDecoder
from v2m4.generators.vecset.embedding import fourier_embedding
from v2m4.generators.vecset.flow import FlowGrid, euler
from v2m4.generators.vecset.loading import without
from v2m4.generators.vecset.pictures import as_values, normalised
from v2m4.generators.vecset.surface import Extraction, placed
from v2m4.generators.vecset.volume import coarse_to_fine, halvings
from v2m4.geometry.marching_cubes import marching_cubes
from v2m4.nn.dinov2 import Dinov2, Dinov2Config, from_transformers
from v2m4.nn.weights import Renaming

Run = Callable[[Path, Mapping[str, Any], Tensors], list[Measure]]
FEATURES = 2e-5
DENOISER = 5e-5
LOOP = 2e-4
GRID = 1e-5
NUMBERS = 1e-6
LEVELS = 1.0
"""Allowed difference of 8-bit pictures, in levels."""
EPS = 1e-5
CHUNK = 10000


def _tiny_dit(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    given = group(tensors, "in")
    model = loaded(TripoSgDiT(transformer_config(config_of(meta))), weights_of(path, meta, tensors), TRANSFORMER_NAMES)
    names = {"proj_in": "proj_in", "time_proj": "time_proj"} | numbered("blocks.{}", "block.{}", len(model.blocks))
    recorder = Recorder(model, names)
    waves: list[Tensor] = []
    hook = model.time_proj.register_forward_pre_hook(lambda module, arguments: waves.append(arguments[0]))
    velocity = model(given["latents"], given["timestep"], model.prepare(given["context"]))
    got = {"velocity": velocity, "time_embed": waves[0], **recorder.seen}
    hook.remove()
    nothing = model.prepare(torch.zeros_like(given["context"]))
    got["velocity_zero_context"] = model(given["latents"], given["timestep"], nothing)
    return only(got, tensors, DENOISER)


def _denoise_loop(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    config, given = config_of(meta), group(tensors, "in")
    source = load_fixture(path.with_name(Path(meta["weights_from"]).name))[0]
    weights = weights_of(path, meta, tensors)
    model = loaded(TripoSgDiT(transformer_config(config_of(source))), weights, TRANSFORMER_NAMES)
    context = given["context"]
    both = model.prepare(torch.cat([torch.zeros_like(context), context]))
    got: Tensors = {}
    grid = flow_grid(config["steps"])
    for k, x in enumerate(euler(model, given["latents"], grid, both, config["guidance_scale"], torch.float32)):
        got[f"cfg.latents.{k}"] = x
    # The names of the loops without guidance end in their number of steps.
    for name in {n.split(".")[0] for n in group(tensors, "out")} - {"cfg"}:
        plain = flow_grid(int(name.removeprefix("nocfg")))
        for k, x in enumerate(euler(model, given["latents"], plain, model.prepare(context), None, torch.float32)):
            got[f"{name}.latents.{k}"] = x
    return only(got, tensors, LOOP)


def _scheduler(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    given, config = group(tensors, "in"), config_of(meta)["released"]
    got: Tensors = {}
    for name in group(tensors, "out"):
        kind, _, rest = name.partition("_n")
        if kind in ("sigmas", "timesteps"):
            steps, shift = rest.split("_shift")
            levels = sigmas(int(steps), float(shift))
            got[name] = torch.tensor(levels if kind == "sigmas" else flow_grid(int(steps), float(shift)).times)
    grid = flow_grid(sum(name.startswith("step_velocity.") for name in given), config["shift"])
    x = given["step_sample"]
    for k in range(len(grid.steps)):
        velocity = given[f"step_velocity.{k}"]
        one = FlowGrid(grid.times[k : k + 1], grid.steps[k : k + 1])
        (x,) = euler(lambda state, time, context, v=velocity: v, x, one, None, None, torch.float32)
        got[f"step_result.{k}"] = x
    # Which end of the flow is noise: level 1 is noise alone.
    level = (given["scale_noise_t"] / config["num_train_timesteps"])[:, None, None]
    got["scale_noise"] = level * given["scale_noise_noise"] + (1 - level) * given["scale_noise_x0"]
    return only(got, tensors, NUMBERS)


def _tiny_dinov2(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    weights = from_transformers(weights_of(path, meta, tensors))
    model = loaded(Dinov2(Dinov2Config.of_transformers(config_of(meta))), weights)
    got = {
        name.replace("pixels", "last_hidden_state"): model(pixels)
        for name, pixels in group(tensors, "in").items()
        if name.startswith("pixels")
    }
    return only(got, tensors, FEATURES)


class VaeEncoder(nn.Module):
    """The VAE's other half, of the shared blocks: points with normals -> moments. Image to shape does not need it."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        width, heads = config["width_encoder"], config["num_attention_heads"]
        self.frequencies = config["embed_frequency"]
        self.proj_in = nn.Linear(3 * (2 * self.frequencies + 1) + config["in_channels"], width)
        inner = [SelfBlock(width, heads, EPS) for _ in range(config["num_layers_encoder"])]
        self.blocks = nn.ModuleList([CrossBlock(width, heads, EPS), *inner])
        self.norm_out = nn.LayerNorm(width, eps=EPS)
        self.quant = nn.Linear(width, 2 * config["latent_channels"])

    def forward(self, points: Tensor, normals: Tensor, queries: Tensor) -> Tensor:
        """Points and normals (B, N, 3), queries (M,) indices into the points."""
        tokens = self.proj_in(torch.cat([fourier_embedding(points, self.frequencies), normals], dim=-1))
        ask, *inner = self.blocks
        x = ask(tokens[:, queries], ask.keys_values(tokens))
        for block in inner:
            x = block(x)
        return self.quant(self.norm_out(x))


ENCODER_NAMES = (
    Renaming(r"encoder\.(proj_in|norm_out)\.(\w+)", r"\1.\2"),
    *block_names(r"encoder\.blocks\.(0)\.", r"blocks.\1.", crossing=True),
    *block_names(r"encoder\.blocks\.(\d+)\.", r"blocks.\1.", crossing=False),
)
"""From the official names of the VAE's encoder to those of `VaeEncoder`."""


def _tiny_vae(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    given, config = group(tensors, "in"), config_of(meta)
    weights = weights_of(path, meta, tensors)
    settings = vae_config(config)
    layers = settings.num_layers_decoder
    model = loaded(VecsetDecoder(settings.decoder()), without(weights, VAE_UNUSED), decoder_names(layers))
    names = {
        "post_kl": "post_quant",
        "geo_decoder.query_proj": "decoder.proj_query",
        "geo_decoder.cross_attn_decoder": f"decoder.block.{layers}",
        **numbered("transformer.resblocks.{}", "decoder.block.{}", layers),
    }
    recorder = Recorder(model, names)
    keys_values = model.keys_values(given["latents"])
    logits = model.geo_decoder(given["queries"], keys_values)
    got = {
        "logits": logits,
        "logits_flash_topk_off": logits,
        "query_embedding": fourier_embedding(given["queries"], settings.embed_frequency),
        **recorder.seen,
    }
    encoder_weights = {k: v for k, v in weights.items() if k.startswith(VAE_UNUSED)}
    encoder = loaded(VaeEncoder(config), encoder_weights, ENCODER_NAMES)
    every_fifth = torch.arange(0, given["enc_points"].shape[1], 5, device=given["enc_points"].device)
    got["encoder_moments"] = encoder(given["enc_points"], given["enc_normals"], every_fifth)
    # The approximation with the best keys alone is information; nothing uses it.
    wanted = {name: tensor for name, tensor in tensors.items() if name != "out.logits_flash_topk_on"}
    return only(got, wanted, FEATURES)


def _flash_extract_grid(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    config, want = config_of(meta), group(tensors, "out")
    bounds = tensors["in.bounds"]
    resolution = 2 ** config["octree_depth"]
    levels = halvings(resolution, config["min_resolution"], config["mini_grid_num"])
    bound = float(bounds[3])
    volume = coarse_to_fine(field_of(config["field"]), levels, bound, RULE, bounds.device, CHUNK)
    halved = resolution
    while halved >= config["min_resolution"]:
        halved //= 2
    asked = unpacked(want["queried_bits"], want["grid_size"])
    sdf = -volume.logits / halved
    got = {
        "grid_size": torch.tensor(volume.logits.shape),
        "total_queries": torch.tensor(volume.queries),
        "queried_bits": torch.from_numpy(np.packbits(volume.asked.cpu().numpy())),
        "sdf_at_queried": sdf[asked.to(sdf.device)],
    }
    # Our surfaces are closed by construction, whatever the fields that the original's library is handed.
    return only(got, {k: v for k, v in tensors.items() if k != "out.dmc_normalize"}, GRID)


def _hierarchical_extract_mesh(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    """The original's fallback without CUDA looks at nearly every node (`queries_per_level`); ours has no such path, but
    its surface on the same nodes is the same."""
    config, want = config_of(meta), group(tensors, "out")
    bounds = tensors["in.bounds"]
    cells = 2 ** config["hierarchical_octree_depth"]
    bound = float(bounds[3])
    grid = Extraction((cells,), bound, cells, RULE)
    volume = coarse_to_fine(field_of(config["field"]), grid.levels, bound, grid.rule, bounds.device, CHUNK)
    vertices, faces = marching_cubes(volume.logits)
    mesh, wanted = (placed(vertices, bound, cells), faces), (want["vertices"], want["faces"])
    return surface_measures("surface", mesh, wanted, grid, tolerances(meta)["surface_distance"])


def _image_prepare(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    want, config = group(tensors, "out"), config_of(meta)
    processor = config["image_processor"]
    prepared = picture.object_picture(tensors["in.rgba"].cpu().numpy(), config["padding_ratio"])
    crop = picture.centre_crop(prepared, processor["size"]["shortest_edge"], processor["crop_size"]["width"])
    pixels = normalised(as_values(crop))[None]
    rows = want["pixel_values_first_rows"].shape[2]
    return [
        by_pixels("prepared_rgb_uint8", prepared, want["prepared_rgb_uint8"], LEVELS),
        by_pixels("center_crop_uint8", crop, want["center_crop_uint8"], LEVELS),
        # A level of 8 bits is worth 0.018 after the division by ImageNet's deviation.
        by_pixels("pixel_values_first_rows", pixels[:, :, :rows], want["pixel_values_first_rows"], 0.018),
    ]


def _manifest_transformer(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    with torch.device("meta"):
        model = TripoSgDiT(transformer_config(meta["config"]))
    return manifest_measures_of(model, manifest_state(meta["tensors"]), meta["n_parameters"], TRANSFORMER_NAMES)


def _manifest_vae(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    settings = vae_config(meta["config"])
    with torch.device("meta"):
        decoder, encoder = VecsetDecoder(settings.decoder()), VaeEncoder(meta["config"])
    state = manifest_state(meta["tensors"])
    rest = without(state, VAE_UNUSED)
    unused = {name: tensor for name, tensor in state.items() if name not in rest}
    names = decoder_names(settings.num_layers_decoder)
    measures = manifest_measures_of(decoder, rest, rules=names)
    measures += manifest_measures_of(encoder, unused, rules=ENCODER_NAMES)
    count = sum(p.numel() for model in (decoder, encoder) for p in model.parameters())
    return [*measures, Measure("number of parameters", float(abs(count - meta["n_parameters"])), 0.0)]


_RUNS: dict[str, Run] = {
    "tiny_dit": _tiny_dit,
    "denoise_loop": _denoise_loop,
    "scheduler": _scheduler,
    "tiny_dinov2": _tiny_dinov2,
    "tiny_vae": _tiny_vae,
    "flash_extract_grid": _flash_extract_grid,
    "hierarchical_extract_mesh": _hierarchical_extract_mesh,
    "image_prepare": _image_prepare,
}


def _matcher(kind: str) -> Callable[[Path, Mapping[str, Any]], bool]:
    """By name and by what only TripoSG's fixture of that name holds: other models have fixtures of the same names."""

    def matches(path: Path, meta: Mapping[str, Any]) -> bool:
        return path.suffix == ".safetensors" and path.stem == kind and _MARKS[kind](meta)

    return matches


def _has(*words: str) -> Callable[[Mapping[str, Any]], bool]:
    return lambda meta: all(word in meta.get("config", "") for word in words)


_MARKS: dict[str, Callable[[Mapping[str, Any]], bool]] = {
    "tiny_dit": _has('"num_attention_heads"'),
    "denoise_loop": lambda meta: "weights_from" in meta and not _has('"denoiser"')(meta),
    "scheduler": _has('"released"'),
    "tiny_dinov2": _has('"num_hidden_layers"'),
    "tiny_vae": _has('"width_decoder"'),
    "flash_extract_grid": _has('"mini_grid_num"'),
    "hierarchical_extract_mesh": _has('"hierarchical_octree_depth"'),
    "image_prepare": _has('"padding_ratio"', '"image_processor"'),
}


def _is_manifest(model: str) -> Callable[[Path, Mapping[str, Any]], bool]:
    return lambda path, meta: path.name.startswith("manifest_") and meta.get("model") == model


CHECKS = [
    *(Check("triposg", _matcher(kind), torch.no_grad()(run)) for kind, run in _RUNS.items()),
    Check("triposg", _is_manifest("TripoSGDiTModel"), _manifest_transformer),
    Check("triposg", _is_manifest("TripoSGVAEModel"), _manifest_vae),
]
