"""Parity checks of TRELLIS: networks, sparse operations, sampler, FlexiCubes, image side, and all of it in a row."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from tests.parity.runner import (
    Check,
    Measure,
    compare,
    config_of,
    group,
    load_fixture,
    manifest_measures,
    relative_error,
    weights_of,
)
from v2m4.generators.trellis import conditioning, sampler
from v2m4.generators.trellis.builder import build_network
from v2m4.generators.trellis.convolution import SparseConv3d
from v2m4.generators.trellis.decoders import (
    SH_BAND_0,
    SLatGaussianDecoder,
    SLatMeshDecoder,
    SparseTransformerBase,
    SubdivideBlock,
)
from v2m4.generators.trellis.latent import SLatFlowModel
from v2m4.generators.trellis.layers import position_embedding, time_embedding
from v2m4.generators.trellis.model import TrellisModel, denormalise
from v2m4.generators.trellis.sparse import (
    SparseGroupNorm,
    downsample,
    upsample,
)
from v2m4.generators.trellis.structure import SparseStructureDecoder, SparseStructureFlowModel, occupied_voxels
from v2m4.generators.trellis.voxels import Voxels
from v2m4.render.splats import Gaussians

Tensors = dict[str, Tensor]
Run = Callable[[Path, Mapping[str, Any], Tensors], list[Measure]]
FORMAT = "trellis-parity-fixture-1"
FEATURES = 1e-5
VERTICES = 2e-6
ATTRIBUTES = 2e-5
TIME = 2e-4
NORMALS = 1e-2
AMPLIFIED = 4.0
"""Where an edge hardly crosses zero, a mesh amplifies the rounding of the features it is extracted from. From recorded
features the tolerances above hold; from features computed here, positions and attributes get this factor."""
END_TO_END = 1e-5
TINY_AREA = 1e-3
"""Triangles smaller than this share of the largest one have ill-conditioned normals and are not compared."""


def _loaded(model: nn.Module, weights: Mapping[str, Tensor]) -> Any:
    model.load_state_dict(dict(weights), strict=True)
    return model.eval()


class _Recorder:
    """Keeps what named submodules return, under the names the fixtures give to intermediate values."""

    def __init__(self, model: nn.Module, wanted: Mapping[str, Tensor]) -> None:
        self.seen: Tensors = {}
        for name, module in model.named_modules():
            if name in wanted or f"{name}.feats" in wanted:
                key = name if name in wanted else f"{name}.feats"
                module.register_forward_hook(self._keep(key))

    def _keep(self, key: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def hook(module: nn.Module, arguments: Any, output: Tensor) -> None:
            self.seen[key] = output

        return hook


def _embeddings(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    config, given = config_of(meta), group(tensors, "in")
    got = {f"ape_{w}": position_embedding(given["coords"][:, -3:], w) for w in config["widths"]}
    width = config["time_width"]
    got[f"time_{width}"] = time_embedding(given["t"], width)
    want = group(tensors, "out")
    return compare(got, want, {k: TIME if k.startswith("time") else FEATURES for k in want})


def _ss_flow(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    given = group(tensors, "in")
    model = _loaded(SparseStructureFlowModel(**config_of(meta)), weights_of(path, meta, tensors))
    recorder = _Recorder(model, group(tensors, "mid"))
    got = {"v": model(given["x"], given["t"], given["cond"])}
    return _with_mid(tensors, got, recorder.seen)


def _ss_dec(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    model = _loaded(SparseStructureDecoder(**config_of(meta)), weights_of(path, meta, tensors))
    recorder = _Recorder(model, group(tensors, "mid"))
    logits = model(group(tensors, "in")["z"])
    return _with_mid(tensors, {"logits": logits, "coords": occupied_voxels(logits)}, recorder.seen)


def _slat_flow(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    given = group(tensors, "in")
    model = _loaded(SLatFlowModel(**config_of(meta)), weights_of(path, meta, tensors))
    voxels = Voxels(given["coords"])
    recorder = _Recorder(model, group(tensors, "mid"))
    v = model(given["feats"], voxels, given["t"], given["cond"])
    seen = recorder.seen
    levels = [voxels]
    for i, block in enumerate(model.input_blocks):
        if block.resample == "down":
            levels.append(levels[-1].coarse)
        seen[f"input_blocks.{i}.coords"] = levels[-1].coords
    for name, value in seen.items():
        if value.ndim == 3:  # the transformer blocks see one padded row set per item
            seen[name] = torch.cat([item[:n] for item, n in zip(value, levels[-1].counts, strict=True)])
    return _with_mid(tensors, {"v": v}, seen)


def _swin_trunk(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    given = group(tensors, "in")
    model = _loaded(SparseTransformerBase(**config_of(meta)), weights_of(path, meta, tensors))
    recorder = _Recorder(model, group(tensors, "mid"))
    got = {"h": model.trunk(given["feats"], Voxels(given["coords"]))}
    return _with_mid(tensors, got, recorder.seen)


def _swin_window_attn(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    given, want, size = group(tensors, "in"), group(tensors, "out"), config_of(meta)["window_size"]
    voxels = Voxels(given["coords"])
    measures = []
    for name, shift in (("shift0", 0), ("shift_half", size // 2)):
        windows = voxels.windows(size, shift)
        from tests.generators.trellis.windows import window_attention

        got = window_attention(*given["qkv"].unbind(1), windows)
        measures += compare({f"attn_{name}": got}, {f"attn_{name}": want[f"attn_{name}"]}, FEATURES)
        # Labels are arbitrary: two partitions agree if one relabelled gives the other and back.
        pairs = torch.unique(torch.stack([windows.label, want[f"window_id_{name}"].long()]), dim=1).shape[1]
        classes = (len(windows.label.unique()), len(want[f"window_id_{name}"].unique()))
        measures.append(Measure(f"window_id_{name}", float(sum(abs(pairs - c) for c in classes)), 0.0))
    return measures


def _sparse_ops(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    config, given, want = config_of(meta), group(tensors, "in"), group(tensors, "out")
    weights = weights_of(path, meta, tensors)
    cin, cout = config["in_channels"], config["out_channels"]
    voxels, x = Voxels(given["coords"]), given["feats"]
    conv3 = _loaded(SparseConv3d(cin, cout), group(weights, "conv3"))
    conv1 = _loaded(SparseConv3d(cin, cout, size=1), group(weights, "conv1"))
    children = x.repeat_interleave(8, dim=0)
    got = {
        "conv1": conv1(x, voxels),
        "conv3": conv3(x, voxels),
        "groupnorm": _group_norm(group(weights, "gn"), config, want, voxels),
        "down_coords": voxels.coarse.coords,
        "down_feats": downsample(x, voxels),
        "up_feats": upsample(want["down_feats"] * 2 + 1, voxels),
        "subdivide_coords": voxels.fine.coords,
        "subdivide_feats": children,
        "conv3 on children": conv3.on_children(x, voxels),
    }
    want["conv3 on children"] = conv3(children, Voxels(voxels.fine.coords))
    return compare(got, want, FEATURES)


def _group_norm(weights: Mapping[str, Tensor], config: Mapping[str, Any], want: Tensors, voxels: Voxels) -> Tensor:
    """Group norm of the fixture's `conv3`. The fixture does not name the number of groups, so unless the
    configuration has it, every divisor of the channels is tried and the best one counts."""
    channels = want["conv3"].shape[1]
    candidates = [g for g in range(1, channels + 1) if channels % g == 0]
    if "num_groups" in config:
        candidates = [config["num_groups"]]
    results = [_loaded(SparseGroupNorm(g, channels), weights)(want["conv3"], voxels) for g in candidates]
    return min(results, key=lambda r: relative_error(r, want["groupnorm"]))


def _mesh_subdivide(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    config, given = config_of(meta), group(tensors, "in")
    block = _loaded(SubdivideBlock(config["channels"], config["out_channels"]), weights_of(path, meta, tensors))
    voxels = Voxels(given["coords"])
    seen = _Recorder(block, group(tensors, "mid")).seen
    feats = block(given["feats"], voxels)
    h = F.silu(block.act_layers[0](given["feats"], voxels))
    seen["act_layers.feats"] = h
    seen["out_layers.0.feats"] = block.out_layers["0"].on_children(h, voxels)
    if "skip_connection.feats" in seen:  # applied before the voxels are split, recorded after
        seen["skip_connection.feats"] = seen["skip_connection.feats"].repeat_interleave(8, dim=0)
    return _with_mid(tensors, {"feats": feats, "coords": voxels.fine.coords}, seen)


def _mesh_dec(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    config, given = config_of(meta), group(tensors, "in")
    model = _loaded(SLatMeshDecoder(**config), weights_of(path, meta, tensors))
    voxels = Voxels(given["coords"])
    seen = _Recorder(model, group(tensors, "mid")).seen
    feats, fine = model(given["feats"], voxels)
    seen["trunk"] = model.trunk(given["feats"], voxels)
    seen["upsample.0.coords"] = voxels.fine.coords
    want = group(tensors, "out")
    measures = _with_mid(tensors, {"feats": feats, "coords": fine.coords}, seen, only=("feats", "coords"))
    for source, tensor, amplified in (("computed", feats, AMPLIFIED), ("recorded", want["feats"], 1.0)):
        pieces = zip(tensor.split(fine.counts), fine.coords.split(fine.counts), strict=True)
        for i, (item, coords) in enumerate(pieces):
            mesh = _extract(coords[:, 1:], item.clone(), model.grid_resolution)
            compared = _mesh_measures(mesh, group(want, f"mesh{i}"), amplified=amplified)
            measures += [_prefixed(f"mesh{i} from {source} features", m) for m in compared]
    return measures


def _gs_dec(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    given, want = group(tensors, "in"), group(tensors, "out")
    model = _loaded(SLatGaussianDecoder(**config_of(meta)), weights_of(path, meta, tensors))
    voxels = Voxels(given["coords"])
    raw = model(given["feats"], voxels)
    seen = {"trunk": model.trunk(given["feats"], voxels)}
    measures = _with_mid(tensors, {"feats": raw}, seen, only=("feats",))
    for i, (item, coords) in enumerate(zip(raw.split(voxels.counts), voxels.coords.split(voxels.counts), strict=True)):
        gaussians = model.gaussians(item, coords[:, 1:])
        measures += [_prefixed(f"gs{i}", m) for m in _gaussian_measures(gaussians, group(want, f"gs{i}"))]
    computed = SLatGaussianDecoder(**config_of(meta)).offset_perturbation
    measures += compare({"offsets": computed}, {"offsets": tensors["w.offset_perturbation"]}, FEATURES)
    return measures


def _flexicubes(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    given = group(tensors, "in")
    mesh = _extract(given["coords"][:, 1:], given["feats"], config_of(meta)["res"])
    return _mesh_measures(mesh, group(tensors, "out"))


def _flexicubes_cases(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    from tests.generators.trellis.dense_grid import extract_grid

    given, want = group(tensors, "in"), group(tensors, "out")
    mesh = extract_grid(
        given["grid_sdf"], given["grid_alpha"], given["grid_beta"], given["grid_gamma"], given["grid_attr"]
    )
    wanted = {name: want[f"grid_{name}"] for name in ("vertices", "faces")}
    wanted["vertex_attrs"] = want["grid_attrs"]
    measures = _mesh_measures(mesh, wanted, side=config_of(meta)["res"])
    offset = want["case_offset"].tolist()
    corner = torch.tensor([[c & 1, c >> 1 & 1, c >> 2 & 1] for c in range(8)])
    order = (corner * torch.tensor([4, 2, 1])).sum(1).argsort()
    for case in range(256):
        signs = torch.tensor([-1.0 if case >> c & 1 else 1.0 for c in range(8)])[order]
        got = extract_grid(signs, torch.zeros(1, 8), torch.zeros(1, 12), torch.zeros(1)).vertices
        expected = want["case_vertices"][offset[case] : offset[case + 1]]
        measures += compare({f"case {case}": got}, {f"case {case}": expected}, VERTICES)
    return measures


def _extract(coords: Tensor, feats: Tensor, resolution: int) -> Any:
    from v2m4.generators.trellis.flexicubes import extract

    return extract(coords, feats, resolution)


def _mesh_measures(mesh: Any, want: Mapping[str, Tensor], side: float = 1.0, amplified: float = 1.0) -> list[Measure]:
    """Topology exactly, positions (in units of the box's `side`) and attributes closely, sound normals roughly."""
    got = {"faces": mesh.faces, "vertex_attrs": mesh.attributes}
    measures = compare(got, _only(want, *got), {"vertex_attrs": amplified * ATTRIBUTES, "faces": 0.0})
    measures.append(_vertex_measure(mesh.vertices, want["vertices"], side, amplified * VERTICES))
    if "face_normal" not in want or mesh.faces.shape != want["faces"].shape:
        return measures
    a, b, c = want["vertices"][want["faces"].long()].unbind(1)
    cross = torch.linalg.cross(b - a, c - a)
    sound = cross.norm(dim=1) > TINY_AREA * cross.norm(dim=1).max()
    normals = {"face_normal": mesh.face_normals[sound]}
    measures += compare(normals, {"face_normal": want["face_normal"][sound]}, NORMALS)
    if "vertex_normals" in want:
        from v2m4.geometry.mesh import vertex_normals

        total = torch.zeros_like(want["vertices"])
        for i in range(3):
            total.index_add_(0, want["faces"][:, i].long(), cross)
        steady = total.norm(dim=1) > TINY_AREA * total.norm(dim=1).max()
        got_normals = {"vertex_normals": vertex_normals(mesh.vertices, mesh.faces)[steady]}
        measures += compare(got_normals, {"vertex_normals": want["vertex_normals"][steady]}, NORMALS)
    return measures


def _vertex_measure(got: Tensor, want: Tensor, side: float, tolerance: float) -> Measure:
    error = float((got - want).abs().max()) / side if got.shape == want.shape and len(want) else math.inf
    return Measure("vertices / box", error, tolerance)


def _gaussian_measures(gaussians: Gaussians, want: Mapping[str, Tensor]) -> list[Measure]:
    got = {
        "xyz": gaussians.means,
        "scaling": gaussians.scales,
        "rotation": gaussians.rotations,
        "opacity": gaussians.opacities[:, None],
        "rgb": gaussians.colors,
        "features_dc": ((gaussians.colors - 0.5) / SH_BAND_0)[:, None],
    }
    return compare(got, want, FEATURES)


def _toy_velocity(x: Tensor, t: float, cond: Tensor) -> Tensor:
    """The velocity field of the sampler fixture, for a state (B, C, ...) and a condition (B, T, C)."""
    t1000 = torch.tensor(t, dtype=torch.float32)
    drift = torch.tanh(cond.mean(1)).unflatten(1, (-1, *[1] * (x.ndim - 2)))
    return 0.8 * x * (0.5 + t1000 / 1000) + drift * torch.cos(t1000 / 300)


def _sampler(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    config, given, want = config_of(meta), group(tensors, "in"), group(tensors, "out")
    measures = []
    for name, case in config["cases"].items():
        settings = sampler.SamplerSettings(
            steps=case["steps"],
            guidance=case.get("cfg_strength", 0.0),
            interval=tuple(case.get("cfg_interval", (0.0, 1.0))),
            rescale_t=case["rescale_t"],
            sigma_min=config["sigma_min"],
        )
        for paired in (True, False):
            called: list[float] = []

            def velocity(x: Tensor, t: float, cond: Tensor, called: list[float] = called) -> Tensor:
                called.append(t)
                return _toy_velocity(x, t, cond)

            steps = list(
                sampler.sample(velocity, given["noise"], given["cond"], given["neg_cond"], settings, paired=paired)
            )
            got = {
                "x_t": torch.stack([s.x for s in steps]),
                "x_0": torch.stack([s.x0 for s in steps]),
                "guided": torch.tensor([int(s.guided) for s in steps]),
                "model_t": torch.tensor(sorted(set(called), reverse=True), dtype=torch.float32),
                "t": torch.from_numpy(sampler.time_points(settings.steps, settings.rescale_t)),
            }
            label = f"{name} {'paired' if paired else 'in turn'}"
            measures += [_prefixed(label, m) for m in compare(got, group(want, name), FEATURES)]
    return measures


def _slat_norm(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    numbers = config_of(meta)["normalization"]
    mean, std = torch.tensor(numbers["mean"]), torch.tensor(numbers["std"])
    got = {"slat": denormalise(tensors["in.sampled"], mean, std), "mean": mean, "std": std}
    return compare(got, group(tensors, "out"), FEATURES)


def _preprocess(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    rgba = tensors["in.rgba"].numpy()
    got = {
        "crop_box": torch.tensor(conditioning.crop_box(rgba[..., 3])),
        "image": torch.from_numpy(conditioning.object_image(rgba)),
        "v2m4_uncropped": torch.from_numpy(conditioning.on_black(Image.fromarray(rgba, "RGBA"))),
    }
    return compare(got, group(tensors, "out"), 0.0)


def _image_cond(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    given, want = group(tensors, "in"), group(tensors, "out")
    cond = conditioning.condition_from_tokens(given["x_prenorm"])
    got = {"cond": cond, "neg_cond": conditioning.negative_condition(cond)}
    pixels = conditioning.encoder_input(given["rgb"].numpy())
    for name in want:
        if name.startswith("encoder_input_stride"):
            stride = int(name.removeprefix("encoder_input_stride"))
            got[name] = pixels[:, ::stride, ::stride]
    return compare(got, want, FEATURES)


def _e2e(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    config, given, want = config_of(meta), group(tensors, "in"), group(tensors, "out")
    weights = weights_of(path, meta, tensors)
    mesh_path = path.with_name("mesh_dec.safetensors")
    mesh_weights = weights_of(mesh_path, *load_fixture(mesh_path))
    roles = {
        "sparse_structure_flow_model": SparseStructureFlowModel,
        "sparse_structure_decoder": SparseStructureDecoder,
        "slat_flow_model": SLatFlowModel,
        "slat_decoder_mesh": SLatMeshDecoder,
        "slat_decoder_gs": SLatGaussianDecoder,
    }
    networks = [_loaded(cls(**config[role]), group(weights, role) or mesh_weights) for role, cls in roles.items()]
    samplers = [_settings_of(config, key) for key in ("ss_sampler", "slat_sampler")]
    mean, std = (tuple(config["normalization"][k]) for k in ("mean", "std"))
    model = TrellisModel(*networks, None, mean, std, *samplers, device=torch.get_default_device())

    rng = torch.Generator().manual_seed(config["seed"])
    cond, negative = given["cond"], conditioning.negative_condition(given["cond"])
    noise_ss = torch.randn(model.structure_noise_shape(), generator=rng, device="cpu").to(model.device)
    z = model.sample_structure(noise_ss, cond, negative)
    logits = model.structure_decoder(z)
    voxels = model.decode_structure(z)
    noise_slat = torch.randn(len(voxels), model.latent_flow.in_channels, generator=rng, device="cpu").to(model.device)
    slat, _ = model.sample_latent(voxels, noise_slat, cond, negative)
    std_row, mean_row = slat.new_tensor(std), slat.new_tensor(mean)
    got = {
        "z_s": z,
        "logits": logits,
        "coords": voxels.coords,
        "slat": slat,
        "slat_raw": (slat - mean_row) / std_row,
    }
    measures = compare({"noise_ss": noise_ss, "noise_slat": noise_slat}, _only(given, "noise_ss", "noise_slat"), 0.0)
    measures += compare(got, _only(want, *got), END_TO_END)
    mesh, gaussians = model.decode_mesh(slat, voxels)[0], model.decode_gaussians(slat, voxels)[0]
    measures += [_prefixed("mesh", m) for m in _mesh_measures(mesh, group(want, "mesh"), amplified=AMPLIFIED)]
    return measures + [_prefixed("gs", m) for m in _gaussian_measures(gaussians, group(want, "gs"))]


def _settings_of(config: Mapping[str, Any], key: str) -> sampler.SamplerSettings:
    params = config[key]
    return sampler.SamplerSettings(
        steps=params["steps"],
        guidance=params["cfg_strength"],
        interval=tuple(params["cfg_interval"]),
        rescale_t=params["rescale_t"],
        sigma_min=config["sigma_min"],
    )


def _manifest(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    with torch.device("meta"):
        network = build_network(meta["class"], meta["config"])
    want = {k: (entry["shape"], entry["dtype"]) for k, entry in meta["tensors"].items()}
    got = network.state_dict()
    buffers = {name for name, _ in network.named_buffers()}
    kinds = [k for k, e in meta["tensors"].items() if k in got and (e["kind"] == "buffer") != (k in buffers)]
    parameters = sum(p.numel() for p in network.parameters())
    expected = sum(math.prod(e["shape"]) for e in meta["tensors"].values() if e["kind"] == "parameter")
    return [
        *manifest_measures(got, want),
        Measure("buffers and parameters", float(len(kinds)), 0.0),
        Measure("number of parameters", float(abs(parameters - expected)), 0.0),
        *_buffer_measures(meta),
    ]


def _buffer_measures(meta: Mapping[str, Any]) -> list[Measure]:
    """Buffers whose values the manifest spells out, against those computed here."""
    values = {k: torch.tensor(v["values"]) for k, v in meta.get("buffer_values", {}).items() if "values" in v}
    if not values:
        return []
    small = {**meta["config"], "num_blocks": 1}
    buffers = dict(build_network(meta["class"], small).named_buffers())
    return compare(buffers, values, FEATURES)


def _with_mid(
    tensors: Tensors, got: Mapping[str, Tensor], seen: Mapping[str, Tensor], only: tuple[str, ...] = ()
) -> list[Measure]:
    """Outputs, and the intermediate values of the fixture that can be seen from outside, as `mid.*`."""
    want = group(tensors, "out")
    measures = compare(got, _only(want, *only) if only else want, FEATURES)
    mid = group(tensors, "mid")
    return measures + [_prefixed("mid", m) for m in compare(seen, mid, FEATURES)]


def _only(tensors: Mapping[str, Tensor], *names: str) -> Tensors:
    return {k: v for k, v in tensors.items() if k in names}


def _prefixed(prefix: str, measure: Measure) -> Measure:
    return Measure(f"{prefix}.{measure.name}", measure.error, measure.tolerance)


def _negative_optimisation(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    from tests.parity.negative_optimisation import run

    with torch.enable_grad():
        got = run(group(tensors, "in"), config_of(meta))
    return compare(got, group(tensors, "out"), FEATURES)


_RUNS: dict[str, Run] = {
    "embeddings": _embeddings,
    "ss_flow": _ss_flow,
    "ss_dec": _ss_dec,
    "sparse_ops": _sparse_ops,
    "slat_flow": _slat_flow,
    "swin_trunk": _swin_trunk,
    "swin_window_attn": _swin_window_attn,
    "mesh_subdivide": _mesh_subdivide,
    "mesh_dec": _mesh_dec,
    "gs_dec": _gs_dec,
    "flexicubes_smooth": _flexicubes,
    "flexicubes_random": _flexicubes,
    "flexicubes_cases": _flexicubes_cases,
    "sampler": _sampler,
    "slat_norm": _slat_norm,
    "preprocess": _preprocess,
    "image_cond": _image_cond,
    "e2e_tiny": _e2e,
    "v2m4_negopt": _negative_optimisation,
}


def _matcher(kind: str) -> Callable[[Path, Mapping[str, Any]], bool]:
    def matches(path: Path, meta: Mapping[str, Any]) -> bool:
        same = path.suffix == ".safetensors" and meta.get("format") == FORMAT
        return same and (path.stem == kind or path.stem.startswith(f"{kind}_b")) and meta.get("module") == path.stem

    return matches


def _is_manifest(path: Path, meta: Mapping[str, Any]) -> bool:
    return path.name.startswith("manifest_") and "pipeline_role" in meta


CHECKS = [
    *(Check("trellis", _matcher(kind), torch.no_grad()(run)) for kind, run in _RUNS.items()),
    Check("trellis", _is_manifest, _manifest),
]
