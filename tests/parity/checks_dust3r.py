"""Parity checks of DUSt3R: network, symmetrised inference, image preparation, global alignment."""

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
from v2m4.geometry.similarity import umeyama
from v2m4.nn.schedule import half_cosine
from v2m4.nn.transformer import grid_positions, rotate, rotation_tables
from v2m4.nn.weights import load_strictly
from v2m4.settings import Dust3rSettings
from v2m4.stereo.dust3r import alignment as ga
from v2m4.stereo.dust3r import registration
from v2m4.stereo.dust3r.head import points_and_confidence
from v2m4.stereo.dust3r.model import AsymmetricCroCo3DStereo, Dust3rConfig, Encoded, second_names
from v2m4.stereo.dust3r.pairs import PairPredictions, complete_graph, predict_pairs
from v2m4.stereo.dust3r.preprocess import network_image
from v2m4.stereo.dust3r.spanning_tree import start_from_tree

Tensors = dict[str, Tensor]
FEATURES = 2e-5
POINTS = 5e-5
"""Point maps and confidences pass an exponential, which enlarges rounding."""
EXACT_FORMULA = 1e-6
ROUNDING = 1e-6
GRADIENTS = 0.01
"""Distances that are nearly zero at the start have directions that depend on rounding."""


def _network(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> AsymmetricCroCo3DStereo:
    source = meta if "head" in meta else load_fixture(path.with_name(Path(meta["weights_from"]).name))[0]
    model = AsymmetricCroCo3DStereo(Dust3rConfig.from_official(config_of(source), json.loads(source["head"])))
    load_strictly(model, weights_of(path, meta, tensors), "dust3r", second_names())
    return model.eval()


@torch.no_grad()
def _pair(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    model = _network(path, meta, tensors)
    want = group(tensors, "out")
    first, second = model.encode(tensors["in.img1"]), model.encode(tensors["in.img2"])
    lists1, lists2 = model.decode(first, second)
    got: Tensors = {
        "enc.feat1": first.tokens,
        "enc.feat2": second.tokens,
        "enc.pos1": _positions(first),
        "enc.pos2": _positions(second),
    }
    for view, lists, grid in ((1, lists1, first.grid), (2, lists2, second.grid)):
        got |= {f"dec{view}.{k}": tokens for k, tokens in enumerate(lists)}
        got |= _head_parts(model, view, lists, grid)
    maps = model.pair(first, second)
    got |= dict(zip(("pts3d_1", "conf_1", "pts3d_2_in_view1", "conf_2"), maps, strict=True))
    # Intermediate results were recorded for the first pair only.
    got = {name: got[name][: len(want[name])] for name in want if name in got}
    return compare(got, want, {name: POINTS if name.startswith(("pts3d", "conf")) else FEATURES for name in want})


def _positions(encoded: Encoded) -> Tensor:
    return grid_positions(*encoded.grid).expand(len(encoded.tokens), -1, -1)


def _head_parts(model: AsymmetricCroCo3DStereo, view: int, lists: list[Tensor], grid: tuple[int, int]) -> Tensors:
    dpt = (model.downstream_head1 if view == 1 else model.downstream_head2).dpt
    levels = [lists[level] for level in model.config.levels_read]
    maps = dpt.level_maps(levels, grid)
    pyramid = dpt.pyramid(levels, grid)
    parts = {f"act_postprocess.{k}": x for k, x in enumerate(maps)}
    parts |= {f"layer_rn.{k}": x for k, x in enumerate(pyramid)}
    parts |= {f"refinenet{4 - k}": x for k, x in enumerate(dpt.fuse(pyramid))}
    parts["raw"] = dpt(levels, grid)
    return {f"head{view}.{name}": x for name, x in parts.items()}


def _symmetrised(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    model = _network(path, meta, tensors)
    count = sum(name.startswith("in.img") for name in tensors)
    images = torch.cat([tensors[f"in.img{k}"] for k in range(count)])
    edges = complete_graph(count)
    got = predict_pairs(model, images, edges, pairs_per_batch=4, images_per_head=3)
    return compare(
        {
            "edges": edges,
            "pred1.pts3d": got.points1,
            "pred1.conf": got.confidence1,
            "pred2.pts3d_in_other_view": got.points2,
            "pred2.conf": got.confidence2,
            "aligner.im_conf_max": got.confidence_per_image(),
        },
        group(tensors, "out"),
        POINTS,
    )


def _rope(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    got = {}
    for name in group(tensors, "out"):
        which, frequency = name.split("_freq")
        tokens, positions = tensors[f"in.tokens_{which}"], tensors[f"in.positions_{which}_yx"]
        got[name] = rotate(tokens, rotation_tables(positions, tokens.shape[-1], float(frequency)))
    return compare(got, group(tensors, "out"), FEATURES)


def _activation(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    config = Dust3rConfig.from_official(config_of(meta))
    points, confidence = points_and_confidence(tensors["in.raw"], config.confidence_range)
    return compare({"pts3d": points, "conf": confidence}, group(tensors, "out"), EXACT_FORMULA)


def _preprocess(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    got = {}
    for k, config in enumerate(config_of(meta)):
        image = network_image(tensors[f"in.tensor{k}"].permute(1, 2, 0), config["size"])
        got[f"img{k}"] = image.unsqueeze(0)
        got[f"true_shape{k}"] = torch.tensor([image.shape[1:]])
    return compare(got, group(tensors, "out"), EXACT_FORMULA)


def _manifest(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    with torch.device("meta"):
        model = AsymmetricCroCo3DStereo(Dust3rConfig.from_official(meta["config"], meta["dpt_head"]))
    own = second_names()
    doubled = {name for name in own if name in meta["tensors"]}
    want = {own.get(name, name): (shape, meta["dtype"]) for name, shape in meta["tensors"].items()}
    measures = manifest_measures(model.state_dict(), want)
    pairs = meta["shared_storage"]["pairs"]
    parameters = sum(p.numel() for p in model.parameters())
    return [
        *measures,
        Measure("doubled names", float(len(doubled ^ set(pairs)) + sum(own[n] != pairs[n] for n in doubled)), 0.0),
        Measure("number of parameters", float(abs(parameters - meta["n_parameters"])), 0.0),
    ]


def _helpers(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    given, want = group(tensors, "in"), group(tensors, "out")
    limits = json.loads(meta["tolerance"])
    fit = umeyama(given["rigid_src"], given["rigid_dst"], given["rigid_weight"])
    located = registration.camera_from_points(
        given["pnp_pts3d"], given["pnp_mask"], float(given["pnp_focal"]), Dust3rSettings()
    )
    searched = registration.camera_from_points(given["pnp_pts3d"], given["pnp_mask"], None, Dust3rSettings())
    assert located is not None
    assert searched is not None
    rates = [half_cosine(t, 0.01, 1e-6) for t in given["cosine_t"].tolist()]
    got = {
        "rigid_scale": torch.tensor(fit.scale),
        "rigid_R": fit.rotation,
        "rigid_T": fit.translation,
        "focal": registration.estimate_focal(given["focal_pts3d"], Dust3rSettings().focal_rounds),
        "signed_log1p": registration.signed_log1p(given["slog_x"]),
        "signed_expm1": registration.signed_expm1(given["slog_x"]),
        "edge_score": registration.pair_scores(given["score_conf_i"], given["score_conf_j"]),
        "cosine_lr": torch.tensor(rates, dtype=torch.float64),
        "pnp_cam2world": located[1],
        "pnp_cam2world_true": located[1],
        "pnp_search_cam2world": searched[1],
        "pnp_search_focal": torch.tensor(searched[0]),
    }
    return compare(got, want, {name: limits["pnp" if name.startswith("pnp") else "default"] for name in want})


def _alignment(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    given, want = group(tensors, "in"), group(tensors, "out")
    config, limits = config_of(meta), json.loads(meta["tolerance"])
    settings = Dust3rSettings(
        iterations=config["niter"],
        lr=config["lr"],
        lr_end=config["lr_min"],
        beta1=config["adam_betas"][0],
        beta2=config["adam_betas"][1],
        pair_scale=config["base_scale"],
        focal_unit=config["focal_break"],
        confident=config["min_conf_thr"],
        pnp_draws=config["niter_PnP"],
    )
    pairs = PairPredictions(
        given["edges"],
        given["pred1_pts3d"],
        given["pred1_conf"],
        given["pred2_pts3d_in_other_view"],
        given["pred2_conf"],
    )
    seen = ga.Observations.of(pairs)
    start = start_from_tree(pairs, settings)
    unknowns = ga.unknowns_from(start, pairs, settings)
    measures = compare(
        {
            "im_conf_max": pairs.confidence_per_image(),
            "mst.pts3d": start.points,
            "mst.cam2world": start.cameras,
            "mst.focals": start.focals,
            "mst.edges_in_visit_order": torch.tensor(start.edges),
        },
        {name: want[name] for name in want if name.startswith("mst.") or name == "im_conf_max"},
        limits["init_params"],
    )
    measures += compare(
        _state(unknowns, pairs, seen, settings),
        {name: want[f"init.{name}"] for name in ("loss", "pts3d", "cam2world", "focal_px", "pw_cam2world_scaled")},
        limits["init_params"],
    )
    return (
        measures
        + _gradient_measures(unknowns, pairs, seen, settings, start.edges[0], want)
        + _descent_measures(unknowns, pairs, seen, settings, start.edges[0], want, limits)
    )


def _state(unknowns: ga.Unknowns, pairs: PairPredictions, seen: ga.Observations, settings: Dust3rSettings) -> Tensors:
    """What the fixture records of a state, in its names."""
    with torch.no_grad():
        last_row = torch.tensor([[[0.0, 0.0, 0.0, 1.0]]])
        poses = ga.pair_transforms(unknowns.pair_poses, settings.pair_scale)
        in_world = ga.cameras(unknowns)
        points = ga.world_points(unknowns, pairs.size, settings)
        return {
            "loss": ga.alignment_loss(unknowns, seen, settings),
            "pts3d": points.transpose(1, 2).unflatten(1, pairs.size),
            "cam2world": torch.cat([in_world, last_row.expand(len(in_world), -1, -1)], dim=1),
            "pw_cam2world_scaled": torch.cat([poses, last_row.expand(len(poses), -1, -1)], dim=1),
            "focal_px": ga.focals(unknowns, settings),
            "depth": unknowns.log_depth.exp().unflatten(1, pairs.size),
        }


def _copy(unknowns: ga.Unknowns, change: Callable[[Tensor], Tensor] = torch.clone) -> ga.Unknowns:
    return ga.Unknowns(*(change(tensor.detach()).clone() for tensor in unknowns.tensors()))


def _well_defined(pairs: PairPredictions, root: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Which pairs and which images a first gradient is defined for.

    The tree copies its first pair into the world, so some of that pair's distances are zero but for rounding; the
    direction in which they pull is then noise, also in the original.
    """
    rooted = torch.tensor([tuple(edge) == root for edge in pairs.edges.tolist()])
    image = torch.ones(pairs.image_count, dtype=torch.bool)
    image[list(root)] = False
    return ~rooted, image


def _gradient_measures(
    unknowns: ga.Unknowns,
    pairs: PairPredictions,
    seen: ga.Observations,
    settings: Dust3rSettings,
    root: tuple[int, int],
    want: Tensors,
) -> list[Measure]:
    moved = _copy(unknowns)
    for tensor in moved.tensors():
        tensor.requires_grad_()
    ga.alignment_loss(moved, seen, settings).backward()
    pair, image = _well_defined(pairs, root)
    gradients = [tensor.grad for tensor in moved.tensors()]
    measures = []
    for name, gradient in zip(("pw_poses", "im_poses", "im_depthmaps", "im_focals"), gradients, strict=True):
        # The scales of the pairs are coupled through their mean, so the noise of one reaches all of them.
        rows, columns = (pair, slice(0, 7)) if name == "pw_poses" else (image, slice(None))
        if bool(rows.any()):
            assert gradient is not None
            recorded = want[f"init.grad.{name}"][rows, columns]
            error = float((gradient[rows, columns] - recorded).abs().mean() / recorded.abs().mean())
            measures.append(Measure(f"init.grad.{name} away from the tree's root (mean)", error, GRADIENTS))
    return measures


def _descent_measures(
    unknowns: ga.Unknowns,
    pairs: PairPredictions,
    seen: ga.Observations,
    settings: Dust3rSettings,
    root: tuple[int, int],
    want: Tensors,
    limits: Mapping[str, float],
) -> list[Measure]:
    names = ("pw_poses", "im_poses", "im_depthmaps", "im_focals")
    recorded = sorted({int(name[4:].split(".")[0]) for name in want if name.startswith("iter")})
    pair, image = _well_defined(pairs, root)
    generator = torch.Generator().manual_seed(0)
    # How far a change of the start by its own rounding carries the parameters: Adam's first steps go by the sign of the
    # gradient, so this is the distance that a correct repetition may have.
    shaken = _copy(
        unknowns, lambda t: t + ROUNDING * torch.randn(t.shape, generator=generator, device="cpu").to(t.device)
    )
    descending = _copy(unknowns)
    measures, losses = [], []
    twin = ga.descend(shaken, seen, settings)
    for step, loss in enumerate(ga.descend(descending, seen, settings), start=1):
        losses.append(float(loss))
        if step > max(recorded):
            continue
        next(twin)
        if step not in recorded:
            continue
        at = ga.Unknowns(*(want[f"iter{step}.{name}"] for name in names))
        states = ([t.detach() for t in state.tensors()] for state in (descending, at, shaken))
        for name, ours, theirs, other in zip(names, *states, strict=True):
            unit = settings.focal_unit if name == "im_focals" else 1.0
            allowed = max(limits["iter_params"], float((other - ours).abs().mean()) / unit)
            measures.append(Measure(f"iter{step}.{name} (mean)", float((ours - theirs).abs().mean()) / unit, allowed))
            if step == 1:
                rows = pair if name == "pw_poses" else image
                columns = slice(0, 7) if name == "pw_poses" else slice(None)
                if bool(rows.any()):
                    error = float((ours[rows, columns] - theirs[rows, columns]).abs().mean())
                    measures.append(Measure(f"iter1.{name} away from the tree's root", error, limits["init_params"]))
        with torch.no_grad():
            loss_there = float(ga.alignment_loss(at, seen, settings))
        measures.append(Measure(f"loss at iter{step}", _off(loss_there, float(want["loss_curve"][step])), 1e-4))
    state = _state(descending, pairs, seen, settings)
    points_off = float((state["pts3d"] - want["final.pts3d"]).abs().mean())
    rates = [half_cosine(n / settings.iterations, settings.lr, settings.lr_end) for n in range(settings.iterations)]
    return [
        *measures,
        Measure("first loss", _off(losses[0], float(want["loss_curve"][0])), limits["init_loss_rel"]),
        Measure("final.loss", _off(float(state["loss"]), float(want["final.loss"])), limits["final_loss_rel"]),
        Measure("final.pts3d (mean)", points_off, limits["final_pts3d_mean_abs"]),
        *compare({"lr_curve": torch.tensor(rates, dtype=torch.float64)}, {"lr_curve": want["lr_curve"]}, 1e-9),
    ]


def _off(got: float, want: float) -> float:
    return abs(got - want) / abs(want)


def _named(prefix: str, *keys: str) -> Callable[[Path, Mapping[str, Any]], bool]:
    """Recognises a fixture by how its name starts and by words in its configuration or notes."""

    def matches(path: Path, meta: Mapping[str, Any]) -> bool:
        text = json.dumps(meta)
        return path.suffix == ".safetensors" and path.stem.startswith(prefix) and all(key in text for key in keys)

    return matches


def _is_manifest(path: Path, meta: Mapping[str, Any]) -> bool:
    return path.suffix == ".json" and meta.get("model") == "AsymmetricCroCo3DStereo"


CHECKS = [
    Check("dust3r", _named("tiny_pair", "enc_embed_dim"), _pair),
    Check("dust3r", _named("symmetrised", "scene_graph"), _symmetrised),
    Check("dust3r", _named("rope2d", "row"), _rope),
    Check("dust3r", _named("head_activation", "depth_mode"), _activation),
    Check("dust3r", _named("preprocess", "square_ok"), _preprocess),
    Check("dust3r", _named("align_helpers", "pnp"), _helpers),
    Check("dust3r", _named("global_align", "niter"), _alignment),
    Check("dust3r", _is_manifest, _manifest),
]
