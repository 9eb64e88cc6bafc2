"""Parity checks of the method's own mathematics: cameras, rotations, losses, large steps, registration, light.

Every check takes the cases, sizes and counts that its file holds. The release's rigidity loss turns neighbourhoods by
the transpose of their best rotation, which may be a reflection; ours does not. What was recorded with it is reproduced
from *our* rotations, turned as the release turns them; what ours must give instead is known in closed form.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from tests.parity import camera_search
from tests.parity.runner import Check, Measure, compare, group, relative_error
from v2m4.geometry.arap import arap_energy, best_rotations
from v2m4.geometry.camera import (
    Camera,
    look_at,
    orbit_extrinsics,
    orbit_parameters,
    orbit_position,
    surrounding_cameras,
)
from v2m4.geometry.laplacian import AdamUniform, LargeSteps
from v2m4.geometry.losses import RestShape, area_change, edge_change
from v2m4.geometry.mesh import Mesh, face_normals, unique_edges, vertex_normals
from v2m4.geometry.rotations import rotation_from_6d
from v2m4.geometry.sampling import hammersley_directions
from v2m4.geometry.similarity import umeyama
from v2m4.nn.schedule import half_cosine
from v2m4.render.environment import irradiance, irradiance_matrices, panorama_coordinates
from v2m4.settings import OptimiseSettings, Settings, changed
from v2m4.stages.registration import meshes
from v2m4.stages.registration.meshes import NormalViews, PointTracks, align_globally, align_locally
from v2m4.stages.texture.optimise import Observation, total_variation, view_loss

Tensors = dict[str, Tensor]
PAPER = Settings.of("paper").registration.meshes


def release_rotations(edge: Tensor, rest: RestShape, vertices: int) -> Tensor:
    """(V,3,3) how the release turns neighbourhoods, from our `best_rotations`: transposed, and where mirroring the rest
    shape fits better, mirrored."""
    ours = best_rotations(edge, rest, vertices)
    outer = (rest.weight[:, None] * edge)[:, :, None] * rest.edge[:, None, :]
    covariance = torch.zeros(vertices, 3, 3, dtype=edge.dtype).index_add(0, rest.start, outer)
    reflected = (torch.linalg.det(covariance.detach()) < 0)[:, None, None]
    if bool(reflected.any()):
        mirror = torch.diag(torch.tensor([1.0, 1.0, -1.0], dtype=edge.dtype))
        mirrored = best_rotations(edge, replace(rest, edge=rest.edge @ mirror), vertices) @ mirror
        ours = torch.where(reflected, mirrored, ours)
    return ours.transpose(1, 2)


def release_arap(vertices: Tensor, rest: RestShape) -> Tensor:
    """The release's sum with those rotations: mean over edges i < j of w |e' - R_i e|^2."""
    edge = vertices[rest.end] - vertices[rest.start]
    turned = release_rotations(edge, rest, len(vertices))[rest.start]
    terms = rest.weight * (edge - (turned @ rest.edge[..., None])[..., 0]).square().sum(1)
    return terms[: len(terms) // 2].mean()


def arap_in_closed_form(vertices: Tensor, rest: RestShape) -> Tensor:
    """As-rigid-as-possible without any rotation (Kabsch 1976): the best one leaves sum w (|e'|^2 + |e|^2) - 2 (s1 + s2
    +- s3), with the singular values of sum w e' e^T and the sign of its determinant; mean over directed edges."""
    now = vertices[rest.end] - vertices[rest.start]
    outer = rest.weight[:, None, None] * now[:, :, None] * rest.edge[:, None, :]
    covariance = torch.zeros(len(vertices), 3, 3, dtype=vertices.dtype).index_add(0, rest.start, outer)
    s1, s2, s3 = torch.linalg.svdvals(covariance).unbind(1)
    gain = s1 + s2 + torch.linalg.det(covariance.detach()).sign() * s3
    squares = rest.weight * (now.square().sum(1) + rest.edge.square().sum(1))
    return (squares.sum() - 2 * gain.sum()) / len(now)


def _cases(tensors: Tensors) -> list[str]:
    """The names of the cases of a file whose inputs are called `in.<case>.<what>`."""
    return sorted({name.split(".")[1] for name in tensors if name.startswith("in.")})


def is_rigid(vertices: Tensor, deformed: Tensor) -> bool:
    """Whether a mesh was only turned and moved (Kabsch), to the last digits of float64."""
    fit = umeyama(vertices, deformed, with_scale=False)
    return float((fit.apply(vertices) - deformed).abs().max()) < 1e-12


def check_rigidity(case: str, given: Tensors, rest: RestShape) -> list[Measure]:
    """Our own energy: the closed form's value and gradient, and nothing for a rigid motion, whatever the release's
    formula gives there."""
    deformed = given["deformed"]
    values, slopes = [], []
    for energy in (arap_energy, arap_in_closed_form):
        leaf = deformed.clone().requires_grad_()
        value = energy(leaf, rest)
        value.backward()
        assert leaf.grad is not None
        values.append(value.detach())
        slopes.append(leaf.grad)
    ours = best_rotations(deformed[rest.end] - deformed[rest.start], rest, len(deformed))
    measures = [Measure(f"{case}.rotations' determinants", float((torch.linalg.det(ours) - 1).abs().max()), 1e-9)]
    if is_rigid(given["vertices"], deformed):
        measures.append(Measure(f"{case}.own arap (absolute)", float(values[0]), 1e-20))
    else:
        measures.append(Measure(f"{case}.own arap", relative_error(values[0], values[1]), 1e-9))
        measures.append(Measure(f"{case}.own arap gradient", relative_error(slopes[0], slopes[1]), 1e-7))
    return measures


def check_mesh_losses(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    """Values to 1e-9 relative in float64; gradients to 1e-7 of the largest entry; each loss that a case holds."""
    measures = []
    losses: dict[str, Callable[[Tensor, RestShape], Tensor]] = {
        "arap": release_arap,
        "face_area": area_change,
        "edge_length": edge_change,
    }
    for case in _cases(tensors):
        given, want = group(tensors, f"in.{case}"), group(tensors, f"out.{case}")
        rest = RestShape.of(given["vertices"], given["faces"])
        measures += compare({f"{case}.edges": unique_edges(given["faces"])}, {f"{case}.edges": want["edges"]}, 0.0)
        half = rest.weight[: len(rest.weight) // 2]
        measures.append(Measure(f"{case}.weights", relative_error(half, want["edge_weights.f64"]), 1e-9))
        measures += check_rigidity(case, given, rest)
        for name in sorted({k.split(".")[0] for k in want if k.endswith(".grad.f64")}):
            loss = losses[name]
            deformed = given["deformed"].clone().requires_grad_()
            value = loss(deformed, rest)
            value.backward()
            assert deformed.grad is not None
            expected, slope = want[f"{name}.f64"], want[f"{name}.grad.f64"]
            if float(expected) < 1e-20:  # a rigid motion: rounding noise on both sides
                measures.append(Measure(f"{case}.{name} (absolute)", float(value.detach()), 1e-20))
                continue
            measures.append(Measure(f"{case}.{name}", relative_error(value.detach(), expected), 1e-9))
            if bool(torch.isfinite(slope).all()):
                measures.append(Measure(f"{case}.{name} gradient", relative_error(deformed.grad, slope), 1e-7))
    return measures


def check_large_steps(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    """The matrix exactly; AdamUniform steps through the solve, as many as the file's curve of losses is long."""
    config = json.loads(meta["config"])
    vertices, faces, target = (tensors[f"in.{k}"] for k in ("vertices", "faces", "target"))
    space = LargeSteps(len(vertices), faces, float(tensors["in.lam"]))
    dense = torch.zeros(len(vertices), len(vertices))
    dense[tensors["out.M.rows"], tensors["out.M.cols"]] = tensors["out.M.values"]
    measures = [Measure("matrix", relative_error(space.matrix.to_dense(), dense), 0.0)]
    u = space.to_differential(vertices).requires_grad_()
    got: Tensors = {"u0": u.detach().clone(), "roundtrip": space.from_differential(u).detach()}
    got["solve_of_target_f64"] = space.from_differential(target).double()
    optimiser = AdamUniform([u], lr=float(tensors["in.lr"]), betas=tuple(config["betas"]))
    curve = []
    for step in range(len(tensors["out.loss_curve"])):
        v = space.from_differential(u)
        loss = (v - target).square().sum(1).mean()
        optimiser.zero_grad()
        loss.backward()
        assert u.grad is not None
        got[f"step{step}.grad_u"], got[f"step{step}.v"] = u.grad.clone(), v.detach()
        optimiser.step()
        curve.append(loss.item())
        got[f"after{step + 1}.u"], got[f"after{step + 1}.v"] = u.detach().clone(), space.from_differential(u).detach()
    got["loss_curve"] = torch.tensor(curve, dtype=torch.float64)
    want = {k: v for k, v in group(tensors, "out").items() if not k.startswith("M.")}
    return measures + compare(got, want, 2e-4)


def check_rotation6d(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    """Matrices and the gradient of a weighted sum of them."""
    d6 = tensors["in.d6"].clone().requires_grad_()
    matrix = rotation_from_6d(d6)
    (matrix * tensors["in.weight"]).sum().backward()
    assert d6.grad is not None
    return compare({"matrix": matrix.detach(), "grad": d6.grad}, group(tensors, "out"), 1e-5)


def check_normals(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    """Area-weighted vertex normals, and face normals repeated for the three corners."""
    got = {}
    for case in _cases(tensors):
        vertices, faces = tensors[f"in.{case}.vertices"], tensors[f"in.{case}.faces"]
        got[f"{case}.face_normals"] = face_normals(vertices, faces)[:, None].expand(-1, 3, -1)
        got[f"{case}.vertex_normals"] = vertex_normals(vertices, faces)
    return compare(got, group(tensors, "out"), 2e-6)


def check_hammersley(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    """Every set of directions in the file: as many as it has rows, remapped or shifted where its name says so."""
    want, got = group(tensors, "out"), {}
    for name, rows in want.items():
        remap = "remap" in name
        offset = _first_offset(rows, remap) if "offset" in name else (0.0, 0.0)
        got[name] = torch.stack(hammersley_directions(len(rows), offset=offset, remap=remap), dim=1)
    return compare(got, want, 1e-12)


def _first_offset(rows: Tensor, remap: bool) -> tuple[float, float]:
    """The shift of both sequences that the first of N directions (N,2) reveals."""
    yaw, pitch = rows[0].double()
    u = float(1 - torch.cos(pitch + torch.pi / 2)) / 2
    if remap:
        u = u / 2 if u < 0.5 else (u - 1 / 3) * 3 / 2
    return u * len(rows), float(yaw) / (2 * torch.pi)


def check_cameras(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    """Extrinsics, projection, pixels, the way back to six numbers, and views about a re-posed mesh.

    Left out, since nothing in the project makes them: OpenGL's pair of matrices, and off-centre projections.
    """
    want = {k: v for k, v in group(tensors, "out").items() if not k.startswith("gl.") and "offcentre" not in k}
    yaw, pitch, radius, lookat = (tensors[f"in.{k}"] for k in ("yaw", "pitch", "radius", "lookat"))
    points, fov = tensors["in.points"], float(tensors["in.fov_deg"])
    extrinsics = orbit_extrinsics(yaw, pitch, radius, lookat)
    about_origin = orbit_extrinsics(yaw, pitch, torch.full_like(radius, 2.0), torch.zeros_like(lookat))
    camera = Camera(extrinsics, fov)
    clip = camera.clip(points, near=1.0, far=100.0)
    ahead = clip[..., 3] > 0
    image, _ = camera.project(points)
    eye = orbit_position(*(tensors[f"in.init_{k}"] for k in ("yaw", "pitch", "r")))
    first = look_at(eye, tensors["in.init_lookat"].expand_as(eye))
    got = {
        "batch.extrinsics": extrinsics,
        "origin_r2.extrinsics": about_origin,
        "single.extrinsics": extrinsics[0],
        "clip": clip,
        "ndc_xy": clip[..., :2] / clip[..., 3:],
        "full_projection": _projection(camera),
        "projection_near1_far100": _projection(Camera.identity(fov)),
        "reposed.init_extrinsics": first,
        "reposed.points_in_camera": Camera(first[0]).to_camera(points),
    }
    names = ("yaw", "pitch", "radius", "lookat")
    got |= {f"inverse.{k}": v for k, v in zip(names, orbit_parameters(extrinsics), strict=True)}
    got |= {f"inverse_origin.{k}": v for k, v in zip(names, orbit_parameters(about_origin), strict=True)}
    for name, expected in want.items():
        stem, _, what = name.rpartition(".")
        if what == "intrinsics":
            f = camera.focal
            got[name] = torch.tensor([[f, 0, 0.5], [0, f, 0.5], [0, 0, 1]]).expand_as(expected)
        elif "multiview" in stem:
            radius_r2 = float(stem.rpartition("_r")[2]) if "_r" in stem else 2.0
            got[name] = surrounding_cameras(len(expected), radius_r2, first[0]).world_to_camera
        elif name.startswith("pixels_"):
            # Behind the camera there is no picture; the release's numbers there are mirrored.
            got[name] = image * float(name.removeprefix("pixels_")) * ahead[..., None]
            want[name] = expected * ahead[..., None]
    # Points that are the origin: their own size is rounding noise.
    noise = [
        k for k, v in want.items() if k in got and v.is_floating_point() and float(v.abs().nan_to_num().max()) < 1e-5
    ]
    absolute = [Measure(f"{k} (absolute)", float((got.pop(k) - want.pop(k)).abs().max()), 2e-5) for k in noise]
    # Straight from below the release divides by zero, so its first view holds no numbers.
    for name in [k for k in want if k in got and got[k].shape == want[k].shape and got[k].dim() == 3]:
        finite = torch.isfinite(want[name].flatten(1)).all(1)
        got[name], want[name] = got[name][finite], want[name][finite]
    return [*absolute, *compare(got, want, 2e-5)]


def _projection(camera: Camera) -> Tensor:
    """(…,4,4) the matrix from homogeneous world points to clip space, from where origin and unit points go."""
    corners = torch.cat([torch.zeros(1, 3), torch.eye(3)])
    origin, *axes = camera.clip(corners, near=1.0, far=100.0).unbind(-2)
    return torch.stack([*(axis - origin for axis in axes), origin], dim=-1)


def check_spherical_harmonics(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    """A panorama's irradiance, and where the rays of pixels meet it.

    The release looks along rays through the pixels' corners, mirrored in both axes; the directions of ours are.
    """
    matrices = irradiance_matrices(tensors["in.envmap"][..., :3])
    got = {"M": matrices, "irradiance": irradiance(matrices, tensors["in.normals"])}
    want = group(tensors, "out")
    yaw, pitch = tensors["in.yaws"], tensors["in.pitchs"]
    w2c = orbit_extrinsics(yaw, pitch, torch.full_like(yaw, 2.0), torch.zeros(len(yaw), 3))
    for name in [k for k in want if k.startswith("background_uv_")]:
        height, width = want[name].shape[1:3]
        y, x = torch.meshgrid(torch.arange(height) / height, torch.arange(width) / width, indexing="ij")
        plane = torch.stack([0.5 - x, 0.5 - y], dim=-1) / Camera(w2c).focal
        rays = torch.cat([plane, torch.ones(height, width, 1)], dim=-1)  # (H, W, 3) camera space
        got[name] = panorama_coordinates(torch.einsum("vji,hwj->vhwi", w2c[:, :3, :3], rays))
    return compare(got, want, 2e-5)


def check_coarse_registration(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    """The global descent without pictures: every loss of the 500, and where it ends."""
    config = json.loads(meta["config"])
    settings = changed(
        PAPER,
        {
            "alignment.iterations": config["iters"],
            "alignment.lr": config["lr"],
            "alignment.chamfer_weight": config["chamfer_weight"],
            "alignment.image_weight": 0.0,
            "alignment.restart_above": 1e9,
            "early_stop": 0.0,
        },
    )
    vertices, faces = tensors["in.vertices"], tensors["in.faces"]
    target = Mesh(tensors["in.ref_vertices"], tensors["in.ref_faces"])
    rng = torch.Generator().manual_seed(0)
    views = NormalViews(target, Camera.identity(), 8)
    states = list(
        align_globally(
            vertices, faces, target, settings, views, rng, up=torch.tensor([0.0, 0, 1]), pivot=torch.zeros(3)
        )
    )
    losses = torch.tensor([s.loss for s in states[:-1]], dtype=torch.float64)
    difference = (states[-1].vertices - tensors["out.vertices"]).abs().max()
    return [
        Measure("first loss", relative_error(losses[:1], tensors["out.loss"][:1]), 1e-4),
        Measure("every loss", relative_error(losses, tensors["out.loss"]), 2e-3),
        Measure("vertices (absolute)", float(difference), 2e-3),
    ]


def check_fine_registration(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    """The large-steps descent without pictures: 1000 steps, with and without tracked points.

    Where nearest points change, one rounding more or less moves some steps; so the losses, printed to four digits, are
    compared by the mean of their differences.
    """
    config = json.loads(meta["config"])
    settings = changed(
        PAPER,
        {
            "large_steps.iterations": config["steps"],
            "large_steps.step": config["step_size"],
            "large_steps.step_end": 1.0,
            "early_stop": 0.0,
            "large_steps.smoothness": config["lam"],
            "large_steps.image_weight": 0.0,
            "large_steps.chamfer_weight": 10.0,
        },
    )
    tracks = []
    for i, projection in enumerate(tensors.get("in.track.full_proj", ())):
        uvf = tensors[f"in.track.uvf.{i}"]
        pixels = tensors[f"in.track.target.{i}"]
        tracks.append(PointTracks(projection, uvf[:, 2].long() - 1, uvf[:, :2], pixels, config["image_size_px"]))
    start, faces = tensors["in.vertices"], tensors["in.faces"]
    target = Mesh(tensors["in.ref_vertices"], tensors["in.ref_faces"])
    rest = RestShape.of(start, faces)
    rng = torch.Generator().manual_seed(0)
    views = NormalViews(target, Camera.identity(), 8)
    weights, losses, parts = settings.large_steps, [], []
    with mock.patch.object(meshes, "arap_energy", release_arap):  # the fixture was recorded with it
        for state in align_locally(start, faces, target, settings, views, rng, tracks=tracks):
            losses.append(float(state.loss))
            energies = (release_arap(state.vertices, rest), area_change(state.vertices, rest))
            energies = (*energies, edge_change(state.vertices, rest))
            parts.append([float(energy) for energy in energies])
    found = torch.tensor(losses[:-1], dtype=torch.float64)
    shape = torch.tensor(parts[:-1]).double() * torch.tensor(
        [weights.arap_weight, weights.area_weight, weights.edge_weight]
    )
    columns = tensors["out.printed_losses"].double()  # their sum, pictures, rigidity, distance, areas, edges, tracks
    printed, kept = columns[:, 0], columns[:, [2, 4, 5]]
    names, gaps = ("rigidity", "areas", "edges"), (shape - kept)[-100:].mean(0).abs()
    difference = (state.vertices - tensors["out.vertices"]).abs().max()
    return [
        Measure("first losses", relative_error(found[:10], printed[:10]), 2e-3),
        Measure("every loss (mean)", float((found - printed).abs().mean() / printed.mean()), 1e-2),
        *(Measure(f"{name} (absolute)", float(gap), 2e-4) for name, gap in zip(names, gaps, strict=True)),
        Measure("vertices (absolute)", float(difference), 5e-3),
    ]


def check_texture_stage(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    """Learning rates, total variation with its gradient, and a short descent with some views weighing double."""
    config = json.loads(meta["config"])
    (first, last), toy = config["lr"], config["toy"]
    settings = OptimiseSettings(
        iterations=config["total_steps_lr_table"], lr=first, lr_end=last, tv_weight=config["lambda_tv"]
    )
    rates = torch.tensor(
        [half_cosine(k / settings.iterations, first, last) for k in tensors["in.steps"].tolist()], dtype=torch.float64
    )
    texture = tensors["in.texture"].clone().requires_grad_()
    variation = total_variation(texture)
    variation.backward()
    assert texture.grad is not None
    got = {"lr_after_step": rates, "tv": variation.detach(), "tv_grad": texture.grad}
    measures = compare(got, {k: tensors[f"out.{k}"] for k in got}, 1e-6)

    target = tensors["in.adam_target"][0]  # (H, W, 3)
    height, width = target.shape[:2]
    y, x = torch.meshgrid((torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width, indexing="ij")
    uv = torch.stack([x, y], -1).reshape(-1, 2)  # (H W, 2): every texel's centre once
    painted = torch.zeros_like(target, requires_grad=True)
    adam = torch.optim.Adam([painted], lr=first, betas=tuple(config["adam_betas"]))
    losses, used, snapshots = [], [], {}
    for step in range(toy["steps"]):
        used.append(adam.param_groups[0]["lr"])
        adam.zero_grad()
        weight = settings.reference_weight if step % toy["weight2_every"] == 0 else 1.0
        loss = view_loss(painted, Observation(uv, target.reshape(-1, 3), weight), settings.tv_weight)
        loss.backward()
        losses.append(loss.item())
        adam.step()
        adam.param_groups[0]["lr"] = half_cosine(step / toy["steps"], first, last)
        snapshots[f"adam.texture_after{step + 1}"] = painted.detach()[None].clone()
    want = {k: v for k, v in group(tensors, "out").items() if k.startswith("adam.texture_after")}
    measures += compare({k: snapshots[k] for k in want}, want, 1e-4)
    rows = {"adam.loss": torch.tensor(losses).double(), "adam.lr_used": torch.tensor(used).double()}
    return measures + compare(rows, {k: tensors[f"out.{k}"] for k in rows}, 1e-4)


def _named(name: str) -> Callable[[Path, Mapping[str, Any]], bool]:
    return lambda path, meta: path.name.startswith(name) and path.suffix == ".safetensors"


CHECKS = [
    Check("v2m4", _named("mesh_losses"), check_mesh_losses),
    Check("v2m4", _named("large_steps"), check_large_steps),
    Check("v2m4", _named("rotation6d"), check_rotation6d),
    Check("v2m4", _named("normals."), check_normals),
    Check("v2m4", _named("hammersley"), check_hammersley),
    Check("v2m4", _named("cameras"), check_cameras),
    Check("v2m4", _named("spherical_harmonics"), check_spherical_harmonics),
    Check("v2m4", _named("registration_coarse_no_image"), check_coarse_registration),
    Check("v2m4", _named("registration_fine"), check_fine_registration),
    Check("v2m4", _named("texture_stage"), check_texture_stage),
    *camera_search.CHECKS,
]
