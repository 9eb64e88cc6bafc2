"""One still mesh per frame of the clip, for programs that do not play morph targets."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import torch

from v2m4.animation import Animation
from v2m4.export.glb import encode_texture, still_glb
from v2m4.export.placement import Placement
from v2m4.files import write_atomically
from v2m4.geometry.mesh import Mesh, vertex_normals
from v2m4.settings import ExportSettings

_MATERIAL, _TEXTURE = "material.mtl", "texture"


def write_frames(
    folder: Path,
    animation: Animation,
    times: Iterable[float],
    kind: Literal["glb", "obj"],
    settings: ExportSettings | None = None,
) -> list[Path]:
    """Write ``mesh_00000.glb`` (or .obj) … for every time in seconds; returns their paths.

    All lie in the world of the animated GLB, so its camera fits them too. OBJ files share one material and texture.
    """
    settings = dataclasses.replace(settings or ExportSettings(), morph_normals=False)
    placement = Placement.of(animation.vertices)
    paths: list[Path] = []
    for index, time in enumerate(times):
        mesh, path = animation.mesh_at(time), folder / f"mesh_{index:05d}.{kind}"
        if kind == "glb":
            data = still_glb(mesh, f"{animation.name} {index:05d}", settings, placement=placement)
        else:
            if index == 0:
                _write_material(folder, mesh, settings)
            data = _obj(mesh, placement).encode()
        write_atomically(path, data)
        paths.append(path)
    return paths


def _write_material(folder: Path, mesh: Mesh, settings: ExportSettings) -> None:
    lines = ["newmtl surface", "Ka 0 0 0", "Kd 1 1 1", "Ks 0 0 0", "illum 1"]
    if mesh.texture is not None:
        data, mime = encode_texture(mesh.texture, settings.texture_format)
        name = f"{_TEXTURE}.{'jpg' if mime == 'image/jpeg' else 'png'}"
        write_atomically(folder / name, data)
        lines.append(f"map_Kd {name}")
    write_atomically(folder / _MATERIAL, ("\n".join(lines) + "\n").encode())


def _obj(mesh: Mesh, placement: Placement) -> str:
    """Wavefront OBJ text: v measured upwards, unlike glTF's; vertex colours (if any) after the coordinates."""
    world = placement.to_world(mesh.vertices.detach().cpu())
    columns = world if mesh.colors is None else torch.cat([world, mesh.colors.detach().cpu()], dim=1)
    lines = [f"mtllib {_MATERIAL}", "usemtl surface"]
    lines += ["v " + " ".join(f"{x:.6f}" for x in row) for row in columns.tolist()]
    lines += [f"vn {x:.4f} {y:.4f} {z:.4f}" for x, y, z in vertex_normals(world, mesh.faces.cpu()).tolist()]
    faces = (mesh.faces.cpu() + 1).tolist()
    if mesh.uv is not None and mesh.uv_faces is not None:
        lines += [f"vt {u:.6f} {1 - v:.6f}" for u, v in mesh.uv.detach().cpu().tolist()]
        corners = (mesh.uv_faces.cpu() + 1).tolist()
        for face, corner in zip(faces, corners, strict=True):
            lines.append("f " + " ".join(f"{v}/{t}/{v}" for v, t in zip(face, corner, strict=True)))
    else:
        lines += ["f " + " ".join(f"{v}//{v}" for v in face) for face in faces]
    return "\n".join(lines) + "\n"
