"""The texture stage on objects whose true colours are known at every point."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image
from torch import Tensor

from v2m4.clip import Clip
from v2m4.errors import V2M4Error
from v2m4.events import Progress, drain
from v2m4.geometry.camera import Camera
from v2m4.geometry.mesh import Mesh
from v2m4.render import render, sample_texture
from v2m4.settings import OptimiseSettings, TextureSettings, changed
from v2m4.stages.texture.optimise import optimise_texture
from v2m4.stages.texture.stage import texture_mesh

SIDE = 160
Paint = Callable[[Tensor], Tensor]


def stripes(points: Tensor) -> Tensor:
    """Smooth colours that are bright everywhere and differ on all sides."""
    return 0.55 + 0.3 * torch.sin(4 * points + torch.tensor([0.0, 1.0, 2.0]))


def ball(subdivisions: int = 4, radius: float = 0.5) -> Mesh:
    sphere = trimesh.creation.icosphere(subdivisions, radius)
    vertices, faces = sphere.vertices.astype(np.float32), sphere.faces.astype(np.int64)
    return Mesh(torch.from_numpy(vertices), torch.from_numpy(faces))


def turned(vertices: Tensor, degrees: float, away: float = 2.0) -> Tensor:
    """Turned about the vertical axis and put before the camera."""
    a = np.radians(degrees)
    rotation = torch.tensor([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]], dtype=torch.float32)
    return vertices @ rotation.T + torch.tensor([0.0, 0.0, away])


def film(
    folder: Path, mesh: Mesh, angles: list[float], paint: Paint = stripes, tints: list[float] | None = None
) -> tuple[Clip, Tensor]:
    """Frames of the painted mesh at the given turns, over a green but transparent background, and its true poses."""
    colored = replace(mesh, colors=paint(mesh.vertices))
    poses = torch.stack([turned(mesh.vertices, a) for a in angles])
    for i, pose in enumerate(poses):
        images = render(
            colored.with_vertices(pose), Camera.identity(), SIDE, ("mask", "color"), supersample=2, antialias=False
        )
        assert images.mask is not None and images.color is not None
        alpha = images.mask[0, ..., None]
        straight = torch.where(alpha > 0, images.color[0] / alpha.clamp_min(1e-6), torch.tensor([0.0, 1.0, 0.0]))
        straight = torch.where(alpha < 0.999, torch.tensor([0.0, 1.0, 0.0]), straight)
        if tints is not None:
            straight = straight * tints[i]
        pixels = (torch.cat([straight, alpha], -1) * 255).round().byte().numpy()
        Image.fromarray(pixels).save(folder / f"{i:05d}.png")
    times = tuple(i / 10 for i in range(len(angles)))
    return Clip(folder, "ball", times, len(angles) / 10, SIDE, (SIDE, SIDE), 1.0, (0.0, 0.0), True), poses


def error_of(mesh: Mesh, paint: Paint, where: Callable[[Tensor], Tensor] | None = None) -> Tensor:
    """(F,3) absolute colour error at the faces' middles, in object space; of those faces only that ``where`` picks."""
    assert mesh.texture is not None and mesh.uv is not None and mesh.uv_faces is not None
    middle = mesh.vertices[mesh.faces].mean(1)
    found = sample_texture(mesh.texture, mesh.uv[mesh.uv_faces].mean(1))
    difference = (found - paint(middle)).abs()
    return difference if where is None else difference[where(middle)]


@pytest.fixture(scope="module")
def all_round(tmp_path_factory: pytest.TempPathFactory) -> tuple[Clip, Tensor, Mesh]:
    mesh = ball()
    clip, poses = film(tmp_path_factory.mktemp("round"), mesh, [0.0, 72.0, 144.0, 216.0, 288.0])
    return clip, poses, mesh


SETTINGS = TextureSettings(size=256)


def test_the_frames_colours_arrive_on_the_surface(all_round: tuple[Clip, Tensor, Mesh]) -> None:
    clip, poses, mesh = all_round
    result = drain(texture_mesh(poses, mesh, clip, range(5), SETTINGS, anchor=0))
    assert result.texture is not None and result.texture.shape == (256, 256, 3)
    assert torch.equal(result.vertices, mesh.vertices) and torch.equal(result.faces, mesh.faces)
    # From the side everything but the poles is seen well.
    error = error_of(result, stripes, lambda p: p[:, 1].abs() < 0.35)
    assert float(error.mean()) < 0.015 and float(error.max()) < 0.12
    assert float(error_of(result, stripes).mean()) < 0.05


def test_the_video_is_shown_again(all_round: tuple[Clip, Tensor, Mesh]) -> None:
    clip, poses, mesh = all_round
    result = drain(texture_mesh(poses, mesh, clip, range(5), SETTINGS, anchor=0))
    for i in range(5):
        images = render(result.with_vertices(poses[i]), Camera.identity(), SIDE, ("mask", "color"))
        assert images.color is not None
        frame = torch.from_numpy(np.array(clip.frame(i))).float() / 255
        inside = frame[..., 3] > 0.999
        assert float(((images.color[0] - frame[..., :3]) ** 2)[inside].mean()) < 10 ** (-30 / 10)


def test_it_reports_progress_in_order(all_round: tuple[Clip, Tensor, Mesh]) -> None:
    clip, poses, mesh = all_round
    events = list(texture_mesh(poses, mesh, clip, range(5), SETTINGS))
    fractions = [e.fraction for e in events if isinstance(e, Progress)]
    assert len(fractions) == len(events) > 5 and fractions == sorted(fractions) and fractions[-1] == 1


def test_there_are_no_seams_between_charts(all_round: tuple[Clip, Tensor, Mesh]) -> None:
    """Both sides of every edge at which the atlas is cut show the same colour."""
    clip, poses, mesh = all_round
    result = drain(texture_mesh(poses[:2], mesh, clip, [0, 1], SETTINGS, anchor=0))
    assert result.uv is not None and result.uv_faces is not None and result.texture is not None
    looks: dict[tuple[int, int], list[Tensor]] = {}
    for face, corner in zip(result.faces.tolist(), result.uv_faces.tolist(), strict=True):
        for k in range(3):
            edge = sorted([(face[k], corner[k]), (face[(k + 1) % 3], corner[(k + 1) % 3])])
            middle = result.uv[[edge[0][1], edge[1][1]]].mean(0)
            looks.setdefault((edge[0][0], edge[1][0]), []).append(middle)
    pairs = [uv for uv in looks.values() if len(uv) == 2 and float((uv[0] - uv[1]).norm()) > 1e-4]
    assert len(pairs) > 20
    one, other = (sample_texture(result.texture, torch.stack([p[i] for p in pairs])) for i in (0, 1))
    assert float((one - other).abs().max()) < 0.1 and float((one - other).abs().mean()) < 0.005


def test_unseen_parts_are_filled_without_black_and_without_background(tmp_path: Path) -> None:
    mesh = ball()
    clip, poses = film(tmp_path, mesh, [0.0])
    result = drain(texture_mesh(poses, mesh, clip, [0], SETTINGS))
    assert result.texture is not None
    low, high = float(stripes(mesh.vertices).min()), float(stripes(mesh.vertices).max())
    assert float(result.texture.min()) > low - 0.05 and float(result.texture.max()) < high + 0.05


def test_low_poly_meshes_are_filled_as_smoothly(tmp_path: Path) -> None:
    """Of a box seen from the front the six sides have twelve faces only; the fill is as fine all the same."""
    box = trimesh.creation.box((1, 1, 1)).subdivide()
    mesh = Mesh(torch.from_numpy(box.vertices.astype(np.float32)) * 0.6, torch.from_numpy(box.faces.astype(np.int64)))
    clip, poses = film(tmp_path, mesh, [30.0])
    result = drain(texture_mesh(poses, mesh, clip, [0], SETTINGS))
    assert result.texture is not None and float(result.texture.min()) > 0.15


def test_where_no_frame_looks_the_meshs_own_look_stays(tmp_path: Path) -> None:
    mesh = ball()
    clip, poses = film(tmp_path, mesh, [0.0])
    mine = replace(mesh, colors=torch.where(mesh.vertices[:, 2:] > 0, 0.9, 0.5) * torch.tensor([[1.0, 0.2, 0.2]]))
    result = drain(texture_mesh(poses, mine, clip, [0], SETTINGS, anchor=0))
    assert result.colors is None
    # The camera sees what is at negative z; of the far side the pattern of the own colours must remain: flat here.
    front = error_of(result, stripes, lambda p: p[:, 2] < -0.3)
    assert float(front.mean()) < 0.03
    assert result.texture is not None and result.uv is not None and result.uv_faces is not None
    middle = mesh.vertices[mesh.faces].mean(1)
    far = sample_texture(result.texture, result.uv[result.uv_faces].mean(1))[middle[:, 2] > 0.25]
    # It is shifted to meet the seen colours, so neighbouring faces differ little and nothing is dark.
    assert float(far.min()) > 0.05 and float(far.std(0).max()) < 0.25


def test_the_own_texture_of_a_template_is_kept_if_wanted(all_round: tuple[Clip, Tensor, Mesh]) -> None:
    clip, poses, mesh = all_round
    mine = replace(mesh, colors=torch.rand(mesh.vertices.shape, generator=torch.Generator().manual_seed(1)))
    assert drain(texture_mesh(poses, mine, clip, range(5), SETTINGS, keep=True)) is mine
    # A mesh without any look has nothing to keep.
    assert drain(texture_mesh(poses, mesh, clip, range(5), SETTINGS, keep=True)).texture is not None


def test_the_anchor_is_preferred_where_it_sees_well(tmp_path: Path) -> None:
    mesh = ball()
    clip, poses = film(tmp_path, mesh, [0.0, 40.0], tints=[1.0, 0.5])
    for anchor, tint in ((0, 1.0), (1, 0.5)):
        result = drain(texture_mesh(poses, mesh, clip, [0, 1], SETTINGS, anchor=anchor))
        seen = turned(mesh.vertices, [0.0, 40.0][anchor])[mesh.faces].mean(1)[:, 2] < 1.75
        error = error_of(result, lambda p, t=tint: t * stripes(p))[seen]  # type: ignore[misc]
        assert float(error.mean()) < 0.03


def test_what_is_hidden_takes_no_colour_from_what_hides_it(tmp_path: Path) -> None:
    small, large = ball(3, 0.15), ball(4, 0.4)
    vertices = torch.cat([small.vertices + torch.tensor([0.0, 0.0, -0.7]), large.vertices])
    mesh = Mesh(vertices, torch.cat([small.faces, large.faces + len(small.vertices)]))

    def paint(points: Tensor) -> Tensor:
        return torch.where(points[:, 2:] < -0.45, torch.tensor([[0.9, 0.2, 0.2]]), torch.tensor([[0.2, 0.3, 0.9]]))

    clip, poses = film(tmp_path, mesh, [0.0], paint)
    result = drain(texture_mesh(poses, mesh, clip, [0], SETTINGS))
    error = error_of(result, paint, lambda p: p[:, 2] > -0.45)
    assert float(error.max()) < 0.15


def test_a_wrong_number_of_poses_is_refused(all_round: tuple[Clip, Tensor, Mesh]) -> None:
    clip, poses, mesh = all_round
    with pytest.raises(V2M4Error, match="poses"):
        drain(texture_mesh(poses[:3], mesh, clip, range(5), SETTINGS))


DESCENT = TextureSettings(method="optimise", size=64, optimise=OptimiseSettings(iterations=200, views=4, lr=3e-2))


def test_descent_reproduces_the_frames_and_fills_the_rest(all_round: tuple[Clip, Tensor, Mesh]) -> None:
    clip, poses, mesh = all_round
    rng = torch.Generator().manual_seed(3)
    result = drain(texture_mesh(poses[:2], mesh, clip, [0, 1], DESCENT, anchor=0, rng=rng))
    seen = error_of(result, stripes, lambda p: (p[:, 2] < -0.3) & (p[:, 1].abs() < 0.3))
    assert float(seen.mean()) < 0.06
    assert result.texture is not None and float(result.texture.min()) > 0.1


def test_descent_takes_unseen_sides_from_the_meshs_own_look(all_round: tuple[Clip, Tensor, Mesh]) -> None:
    clip, poses, mesh = all_round
    mine = replace(mesh, colors=torch.tensor([[0.2, 0.8, 0.3]]).expand(len(mesh.vertices), 3).contiguous())
    rng = torch.Generator().manual_seed(3)
    result = drain(optimise_texture(poses[:1], mine, clip, [0], DESCENT, rng=rng))
    error = error_of(result, lambda p: torch.tensor([0.2, 0.8, 0.3]).expand_as(p), lambda p: p[:, 2] > 0.3)
    assert float(error.mean()) < 0.08


def test_descent_is_repeatable(all_round: tuple[Clip, Tensor, Mesh]) -> None:
    clip, poses, mesh = all_round
    short = changed(DESCENT, {"optimise.iterations": 20, "size": 32})
    one, two = (
        drain(optimise_texture(poses[:2], mesh, clip, [0, 1], short, rng=torch.Generator().manual_seed(5)))
        for _ in range(2)
    )
    assert one.texture is not None and two.texture is not None
    assert torch.equal(one.texture, two.texture)
