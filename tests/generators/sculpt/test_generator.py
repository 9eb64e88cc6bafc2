"""`sculpt`: what one gets from one picture, and that it is a mesh the other stages can work with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
import trimesh
from numpy.typing import NDArray

from tests.generators.pictures import animal, picture
from v2m4.errors import V2M4Error
from v2m4.generators import GENERATORS, Generated
from v2m4.generators.sculpt import generator
from v2m4.generators.sculpt.generator import WEIGHTS, Sculpt
from v2m4.geometry.camera import look_at
from v2m4.geometry.mesh import Mesh
from v2m4.render import render_fast
from v2m4.settings import InflateSettings, SculptSettings, Settings

Form = Literal["sheet", "solid"]


def sculpt(image: NDArray[np.uint8], form: Form = "sheet", faces: int = 6000) -> Generated:
    plug = Sculpt(SculptSettings(form=form, faces=faces), InflateSettings(faces=faces))
    return plug(image, torch.Generator().manual_seed(0))


@pytest.fixture(scope="module", params=["sheet", "solid"])
def made(request: pytest.FixtureRequest) -> Generated:
    return sculpt(animal(256), request.param)


def mask_and_color(made: Generated, side: int) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    assert made.camera is not None
    images = render_fast(made.mesh, made.camera, side, ("mask", "color"))
    assert images.mask is not None and images.color is not None
    return images.mask[0].numpy() > 0.5, images.color[0].numpy()


def test_the_weights_are_small_and_come_with_the_package() -> None:
    assert GENERATORS["sculpt"].missing() == []
    assert WEIGHTS.stat().st_size < 25e6
    assert isinstance(GENERATORS["sculpt"].create(Settings(), torch.device("cpu")), Sculpt)


def assert_sound(mesh: Mesh) -> None:
    """Closed, manifold, oriented outwards, without loose vertices."""
    edges = np.sort(mesh.faces.numpy()[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    assert (np.unique(edges, axis=0, return_counts=True)[1] == 2).all()
    solid = trimesh.Trimesh(mesh.vertices.numpy(), mesh.faces.numpy(), process=False)
    assert solid.is_winding_consistent and solid.volume > 0
    assert len(np.unique(mesh.faces.numpy())) == len(mesh.vertices)


def test_the_mesh_is_closed_and_manifold(made: Generated) -> None:
    assert_sound(made.mesh)


@pytest.mark.parametrize("faces", [2000, 6000])
def test_a_sheet_has_about_as_many_faces_as_asked_for_and_a_solid_no_more(faces: int) -> None:
    assert len(sculpt(animal(256), "sheet", faces).mesh.faces) == pytest.approx(faces, rel=0.2)
    assert 0.8 * faces < len(sculpt(animal(256), "solid", faces).mesh.faces) <= faces


def test_it_has_a_texture_in_its_own_atlas(made: Generated) -> None:
    mesh = made.mesh
    assert mesh.uv is not None and mesh.uv_faces is not None and mesh.texture is not None
    assert mesh.uv_faces.shape == mesh.faces.shape
    assert mesh.uv.min() >= 0 and mesh.uv.max() <= 1
    assert mesh.texture.dtype == mesh.vertices.dtype == torch.float32
    assert mesh.texture.min() >= 0 and mesh.texture.max() <= 1


@pytest.mark.parametrize("side", [160, 400])
@pytest.mark.parametrize("form", ["sheet", "solid"])
def test_the_camera_shows_the_picture_again(side: int, form: Form) -> None:
    image = animal(side)
    mask, color = mask_and_color(sculpt(image, form), side)
    truth = image[..., 3] > 127
    both = mask & truth
    assert both.sum() / (mask | truth).sum() > 0.97
    error = ((color - image[..., :3] / 255.0) ** 2)[both].mean()
    assert -10 * np.log10(error) > 24


@pytest.mark.parametrize("form", ["sheet", "solid"])
def test_the_outline_holds_off_the_centre_of_a_wide_view(form: Form) -> None:
    image = picture([(40, 40, 150, 60, 35), (150, 60, 185, 185, 10)])
    mask, _ = mask_and_color(sculpt(image, form), 200)
    truth = image[..., 3] > 127
    assert (mask & truth).sum() / (mask | truth).sum() > 0.96


def test_it_stands_in_the_canonical_pose(made: Generated) -> None:
    """About one unit large around the origin, z up, the front towards +y."""
    low, high = made.mesh.vertices.amin(0), made.mesh.vertices.amax(0)
    assert 0.8 < float((high - low).max()) < 2
    assert ((low + high) / 2).abs().max() < 0.4
    assert made.camera is not None
    eye = torch.linalg.inv(made.camera.world_to_camera)[:3, 3]
    assert eye[1] > 1 and eye[1] > 5 * eye[2].abs()
    # The legs are below.
    assert made.mesh.vertices[made.mesh.vertices[:, 2] < 0.5 * low[2]].shape[0] > 20


def test_it_has_depth_and_a_back_of_the_objects_colours(made: Generated) -> None:
    extent = made.mesh.vertices.amax(0) - made.mesh.vertices.amin(0)
    assert extent[1] > 0.2 * extent[0]
    assert made.camera is not None
    behind = replace(made.camera, world_to_camera=look_at(torch.tensor([0.0, -2.5, 0.0]), torch.zeros(3)))
    images = render_fast(made.mesh, behind, 128, ("mask", "color"))
    assert images.mask is not None and images.color is not None
    seen = images.color[0][images.mask[0] > 0.5]
    orange = (seen[:, 0] > seen[:, 2] + 0.15).float().mean()
    assert orange > 0.25  # the animal is orange above, white below
    assert (seen.amax(1) > 0.25).float().mean() > 0.9  # and nothing of it black but the eyes


@pytest.mark.parametrize("form", ["sheet", "solid"])
def test_the_same_picture_gives_the_same_mesh(form: Form) -> None:
    first, second = sculpt(animal(160), form).mesh, sculpt(animal(160), form).mesh
    assert torch.equal(first.vertices, second.vertices)
    assert first.texture is not None and second.texture is not None
    assert torch.equal(first.texture, second.texture)


def test_a_picture_without_an_object_is_refused_with_advice() -> None:
    with pytest.raises(V2M4Error, match="no foreground.*Choose another keyframe"):
        sculpt(np.zeros((64, 64, 4), np.uint8))


def test_a_damaged_weights_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "weights.safetensors"
    broken.write_bytes(b"nothing")
    monkeypatch.setattr(generator, "WEIGHTS", broken)
    generator.network.cache_clear()
    with pytest.raises(V2M4Error, match="sculpt.*Install v2m4 again"):
        sculpt(animal(64))
    generator.network.cache_clear()


def test_too_few_faces_are_refused() -> None:
    with pytest.raises(V2M4Error, match="generator.sculpt.faces.*generator.inflate.faces"):
        Sculpt(SculptSettings(faces=10), InflateSettings(faces=10))
