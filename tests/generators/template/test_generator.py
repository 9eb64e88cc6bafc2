"""`template`: the user's own mesh arrives whole: shape, pose, textures and colours; bad files are refused in words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from numpy.typing import NDArray
from PIL import Image
from trimesh.visual.material import PBRMaterial

from tests.formats.gltf.features import FEATURES
from tests.generators.pictures import picture
from v2m4.errors import V2M4Error
from v2m4.generators import GENERATORS
from v2m4.generators.template.generator import Template, load_template
from v2m4.geometry.mesh import Mesh, face_normals
from v2m4.render import sample_texture
from v2m4.settings import Settings, changed


def checker(side: int = 32, low: int = 40, high: int = 220) -> NDArray[np.uint8]:
    y, x = np.mgrid[:side, :side]
    image = np.full((side, side, 3), low, np.uint8)
    image[(x // 8 + y // 8) % 2 == 1] = high
    image[..., 2] = 255 * y // side
    return image


def textured_box(material: PBRMaterial, extents: tuple[float, float, float] = (2, 4, 1)) -> trimesh.Trimesh:
    """A box whose six sides each show the whole texture, with seams along all edges."""
    box = trimesh.creation.box(extents)
    vertices = box.vertices[box.faces].reshape(-1, 3)
    faces = np.arange(36).reshape(-1, 3)
    axis = np.abs(box.face_normals).argmax(1)
    others = np.array([[1, 2], [0, 2], [0, 1]])[axis]
    flat = (vertices / np.array(extents) + 0.5).reshape(12, 3, 3)
    uv = np.stack([np.take_along_axis(flat, others[:, None, [i]].repeat(3, 1), 2)[..., 0] for i in (0, 1)], -1)
    visual = trimesh.visual.TextureVisuals(uv=uv.reshape(-1, 2), material=material)
    return trimesh.Trimesh(vertices, faces, visual=visual, process=False)


def save(thing: trimesh.Trimesh | trimesh.Scene, path: Path) -> Path:
    thing.export(path)
    return path


def surface_color(mesh: Mesh, face: int, weights: tuple[float, float, float]) -> torch.Tensor:
    at = torch.tensor(weights)
    if mesh.texture is not None:
        assert mesh.uv is not None and mesh.uv_faces is not None
        return sample_texture(mesh.texture, (mesh.uv[mesh.uv_faces[face]] * at[:, None]).sum(0))
    assert mesh.colors is not None
    return (mesh.colors[mesh.faces[face]] * at[:, None]).sum(0)


def test_the_plug_is_declared_and_gives_the_same_mesh_for_every_picture(tmp_path: Path) -> None:
    path = save(trimesh.creation.icosphere(2), tmp_path / "ball.ply")
    template = GENERATORS["template"].create(changed(Settings(), {"generator.template": path}), torch.device("cpu"))
    rng = torch.Generator()
    first = template(picture([(100, 100, 100, 100, 50)]), rng)
    second = template(picture([(20, 20, 80, 100, 5)]), rng)
    assert torch.equal(first.mesh.vertices, second.mesh.vertices) and first.camera is None


def test_a_glb_is_turned_upright_centred_and_scaled_and_the_way_back_is_known(tmp_path: Path) -> None:
    box = trimesh.creation.box((2, 4, 1))
    box.apply_translation((10, 20, 30))
    mesh, matrix = load_template(save(box, tmp_path / "box.glb"))
    extent = mesh.vertices.amax(0) - mesh.vertices.amin(0)
    torch.testing.assert_close(extent, torch.tensor([0.5, 0.25, 1.0]))
    back = np.linalg.inv(matrix)
    restored = mesh.vertices.double().numpy() @ back[:3, :3].T + back[:3, 3]
    np.testing.assert_allclose(np.sort(restored, axis=0), np.sort(box.vertices, axis=0), atol=1e-5)
    # What pointed to +y in the file points to +z now, and the shape is not mirrored.
    assert np.linalg.det(matrix[:3, :3]) > 0
    assert matrix[2, 1] > 0


def test_ply_files_are_taken_as_z_up(tmp_path: Path) -> None:
    mesh, _ = load_template(save(trimesh.creation.box((1, 2, 4)), tmp_path / "box.ply"))
    torch.testing.assert_close(mesh.vertices.amax(0), torch.tensor([0.125, 0.25, 0.5]))


@pytest.mark.parametrize("suffix", ["glb", "obj"])
def test_a_texture_is_kept_and_seams_are_welded_in_the_shape_only(tmp_path: Path, suffix: str) -> None:
    image = checker()
    box = textured_box(PBRMaterial(baseColorTexture=Image.fromarray(image)))
    if suffix == "obj":
        box.visual.material = box.visual.material.to_simple()
    mesh, _ = load_template(save(box, tmp_path / f"box.{suffix}"))
    assert len(mesh.vertices) == 8 and len(mesh.faces) == 12
    assert trimesh.Trimesh(mesh.vertices.numpy(), mesh.faces.numpy(), process=False).is_watertight
    assert mesh.texture is not None and mesh.uv is not None and mesh.uv_faces is not None
    np.testing.assert_allclose(mesh.texture.numpy(), image / 255, atol=1 / 255)
    # glTF and this project count v downwards; trimesh's arrays, like OBJ files, upwards.
    expected = {tuple(np.round((u, 1 - v), 4)) for u, v in box.visual.uv}
    assert {tuple(np.round(t, 4)) for t in mesh.uv.numpy()} == expected


def test_faces_keep_pointing_outwards_also_under_mirroring_nodes(tmp_path: Path) -> None:
    scene = trimesh.Scene()
    scene.add_geometry(trimesh.creation.icosphere(1), transform=np.diag([-1.0, 2, 1, 1]))
    mesh, _ = load_template(save(scene, tmp_path / "mirrored.glb"))
    outward = (face_normals(mesh.vertices, mesh.faces) * mesh.vertices[mesh.faces].mean(1)).sum(-1)
    assert (outward > 0).all()


def test_a_scene_becomes_one_mesh_with_every_material_in_one_texture(tmp_path: Path) -> None:
    image = checker()
    scene = trimesh.Scene()
    scene.add_geometry(textured_box(PBRMaterial(baseColorTexture=Image.fromarray(image))), node_name="textured")
    ball = trimesh.creation.icosphere(1)
    ball.visual = trimesh.visual.TextureVisuals(material=PBRMaterial(baseColorFactor=[1.0, 0.0, 0.0, 1.0]))
    scene.add_geometry(ball, transform=trimesh.transformations.translation_matrix((5, 0, 0)))
    tetra = trimesh.creation.icosahedron()
    tetra.visual.vertex_colors = np.tile([0, 0, 255, 255], (12, 1))
    scene.add_geometry(tetra, transform=trimesh.transformations.translation_matrix((-5, 0, 0)))
    mesh, _ = load_template(save(scene, tmp_path / "scene.glb"))
    assert len(mesh.faces) == 12 + 80 + 20
    middle = mesh.vertices[mesh.faces].mean(1)
    for face in range(len(mesh.faces)):
        color = surface_color(mesh, face, (0.4, 0.35, 0.25))
        x = float(middle[face, 0])
        if x > 0.2:
            torch.testing.assert_close(color, torch.tensor([1.0, 0, 0]), atol=0.01, rtol=0)
        elif x < -0.2:
            torch.testing.assert_close(color, torch.tensor([0.0, 0, 1]), atol=0.01, rtol=0)
        else:
            assert abs(float(color[0]) - float(color[1])) < 0.01


def test_repeating_textures_are_laid_out_as_often_as_needed(tmp_path: Path) -> None:
    image = checker()
    box = textured_box(PBRMaterial(baseColorTexture=Image.fromarray(image)))
    box.visual.uv = box.visual.uv * 2 + 3
    mesh, _ = load_template(save(box, tmp_path / "box.glb"))
    assert mesh.uv is not None and mesh.texture is not None and mesh.uv_faces is not None
    assert float(mesh.uv.min()) >= 0 and float(mesh.uv.max()) <= 1
    corners = torch.from_numpy(box.visual.uv).float()[torch.from_numpy(np.array(box.faces))]
    own = torch.from_numpy(image / 255.0).float()
    for face in range(0, 12, 3):
        weights = (0.31, 0.45, 0.24)
        at = (corners[face] * torch.tensor(weights)[:, None]).sum(0)
        expected = sample_texture(own, torch.stack([at[0], 1 - at[1]]))
        # Welding keeps the faces' order.
        torch.testing.assert_close(surface_color(mesh, face, weights), expected, atol=0.05, rtol=0)


def test_vertex_colours_are_kept(tmp_path: Path) -> None:
    ball = trimesh.creation.icosphere(2)
    colors = np.round((ball.vertices * 0.5 + 0.5) * 255).astype(np.uint8)
    ball.visual.vertex_colors = np.column_stack([colors, np.full(len(colors), 255, np.uint8)])
    mesh, _ = load_template(save(ball, tmp_path / "ball.ply"))
    assert mesh.colors is not None and mesh.texture is None
    expected = mesh.vertices + 0.5
    torch.testing.assert_close(mesh.colors, expected, atol=0.01, rtol=0)


def test_colours_of_single_faces_keep_their_hard_borders(tmp_path: Path) -> None:
    box = trimesh.creation.box((1, 1, 1))
    box.visual.face_colors = np.column_stack([20 * np.arange(12), np.full((12, 2), 60), np.full(12, 255)]).astype(
        np.uint8
    )
    mesh, _ = load_template(save(box, tmp_path / "box.ply"))
    assert len(mesh.vertices) == 8
    reds = sorted(float(surface_color(mesh, f, (0.9, 0.05, 0.05))[0]) * 255 for f in range(12))
    np.testing.assert_allclose(reds, 20 * np.arange(12), atol=1)


def test_a_gltf_colour_factor_is_linear_light(tmp_path: Path) -> None:
    ball = trimesh.creation.icosphere(1)
    material = PBRMaterial(baseColorFactor=[0.214, 0.214, 0.214, 1.0])
    ball.visual = trimesh.visual.TextureVisuals(material=material)
    mesh, _ = load_template(save(ball, tmp_path / "grey.glb"))
    torch.testing.assert_close(surface_color(mesh, 0, (1.0, 0.0, 0.0)), torch.full((3,), 0.5), atol=0.02, rtol=0)


def test_a_mesh_without_colours_leaves_them_to_the_video(tmp_path: Path) -> None:
    mesh, _ = load_template(save(trimesh.creation.box((1, 1, 1)), tmp_path / "box.stl"))
    assert mesh.colors is None and mesh.texture is None
    assert len(mesh.vertices) == 8


def test_large_meshes_are_simplified_and_keep_their_look(tmp_path: Path) -> None:
    ball = trimesh.creation.icosphere(5)
    ball.visual.vertex_colors = np.where(ball.vertices[:, 2:] > 0, [[255, 0, 0, 255]], [[0, 0, 255, 255]])
    mesh, _ = load_template(save(ball, tmp_path / "ball.ply"), 3000)
    assert len(mesh.faces) <= 3000 and mesh.colors is not None
    upper = mesh.vertices[:, 2] > 0.05
    assert float(mesh.colors[upper, 0].min()) > 0.9 and float(mesh.colors[mesh.vertices[:, 2] < -0.05, 2].min()) > 0.9


def test_a_texture_is_baked_anew_for_the_simplified_mesh(tmp_path: Path) -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    image[:32], image[32:] = (200, 30, 30), (30, 30, 200)
    fine = textured_box(PBRMaterial(baseColorTexture=Image.fromarray(image)), (1, 1, 1))
    for _ in range(3):
        fine = fine.subdivide()
    path = save(fine, tmp_path / "box.glb")
    whole, simple = load_template(path)[0], load_template(path, 300)[0]
    assert len(whole.faces) == 768 and len(simple.faces) <= 300
    third = (1 / 3, 1 / 3, 1 / 3)
    centres = whole.vertices[whole.faces].mean(1)
    agree = []
    for face in range(len(simple.faces)):
        near = int((centres - simple.vertices[simple.faces[face]].mean(0)).norm(dim=1).argmin())
        difference = surface_color(simple, face, third) - surface_color(whole, near, third)
        agree.append(float(difference.abs().max()) < 0.3)
    assert np.mean(agree) > 0.9


def test_duplicate_and_degenerate_faces_do_no_harm(tmp_path: Path) -> None:
    ball = trimesh.creation.icosphere(1)
    faces = np.concatenate([ball.faces, [[0, 0, 1], [2, 2, 2]]])
    mesh, _ = load_template(save(trimesh.Trimesh(ball.vertices, faces, process=False), tmp_path / "ball.ply"))
    assert len(mesh.faces) == 80


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def _with_nan(path: Path) -> Path:
    ball = trimesh.creation.icosphere(1)
    ball.vertices[3] = np.nan
    return save(ball, path)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda d: d / "absent.glb", "does not exist"),
        (lambda d: _written(d / "video.mp4", b"abc"), "not a mesh file"),
        (lambda d: _written(d / "empty.glb", b""), "is empty"),
        (lambda d: _written(d / "broken.glb", b"glTF nonsense" * 20), "cannot be read"),
        (
            lambda d: _written(d / "broken.ply", b"ply\nformat ascii 1.0\nelement vert"),
            "cannot be read|no mesh|only points",
        ),
        (lambda d: _written(d / "text.obj", b"hello\n"), "cannot be read|no mesh"),
        (lambda d: save(trimesh.PointCloud(np.random.default_rng(0).random((20, 3))), d / "points.ply"), "only points"),
        (lambda d: _with_nan(d / "nan.ply"), "NaN"),
        (lambda d: save(trimesh.Trimesh([[0, 0, 0]] * 3, [[0, 1, 2]], process=False), d / "dot.ply"), "one point"),
        (lambda d: save(trimesh.Trimesh([[0, 0, 0], [1, 0, 0]], [[0, 1, 1]], process=False), d / "l.ply"), "no area"),
        (
            lambda d: save(trimesh.Trimesh(np.outer([0, 1, 3], [1, 2, 3]), [[0, 1, 2]], process=False), d / "l.ply"),
            "one line",
        ),
    ],
)
def test_what_is_not_a_mesh_is_refused_in_a_sentence(tmp_path: Path, make, words: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(V2M4Error, match=words) as caught:
        Template(make(tmp_path))
    assert str(caught.value).endswith(".") and "Traceback" not in str(caught.value)


def test_a_skinned_file_brings_its_rig_in_the_pose_of_its_mesh(tmp_path: Path) -> None:
    template = Template(FEATURES["skin"]().glb(tmp_path / "m.glb"))
    assert template.rig is not None and len(template.rig.joints) == 2
    vertices = template.mesh.vertices.numpy()
    gaps = np.linalg.norm(template.rig.points[:, None] - vertices, axis=-1).min(axis=1)
    np.testing.assert_allclose(gaps, 0.0, atol=1e-5)
    assert Template(FEATURES["plain"]().glb(tmp_path / "n.glb")).rig is None
