"""`inflate`: what one gets from one picture, and that it is a mesh the other stages can work with."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import trimesh
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.generators.pictures import Capsule, animal, distance_to, picture
from v2m4.errors import V2M4Error
from v2m4.generators import GENERATORS, Generated
from v2m4.generators.inflate.generator import Inflate
from v2m4.generators.inflate.texture import is_sideways
from v2m4.geometry.camera import Camera
from v2m4.geometry.mesh import face_normals
from v2m4.render import render_fast
from v2m4.settings import BackSettings, InflateSettings, Settings


def inflate(image: NDArray[np.uint8], faces: int = 2000, thickness: float = 1.0) -> Generated:
    return Inflate(InflateSettings(faces=faces, thickness=thickness))(image, torch.Generator().manual_seed(0))


def extent(vertices: torch.Tensor, axis: int) -> float:
    return float(vertices[:, axis].max() - vertices[:, axis].min())


def solid(generated: Generated) -> trimesh.Trimesh:
    mesh = generated.mesh
    return trimesh.Trimesh(mesh.vertices.numpy(), mesh.faces.numpy(), process=False)


def assert_sound(generated: Generated) -> None:
    """Closed, manifold, oriented outwards, finite, with texture coordinates inside the texture."""
    mesh = generated.mesh
    edges = np.sort(mesh.faces.numpy()[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    assert (np.unique(edges, axis=0, return_counts=True)[1] == 2).all()
    shape = solid(generated)
    assert shape.is_winding_consistent and shape.volume > 0
    for piece in shape.split(only_watertight=False):
        assert piece.volume > 0 and piece.euler_number % 2 == 0
    assert len(np.unique(mesh.faces.numpy())) == len(mesh.vertices)
    assert mesh.uv is not None and mesh.uv_faces is not None and mesh.texture is not None
    assert mesh.uv.isfinite().all() and mesh.uv.min() >= 0 and mesh.uv.max() <= 1
    assert mesh.uv_faces.shape == mesh.faces.shape and int(mesh.uv_faces.max()) < len(mesh.uv)
    assert mesh.texture.dtype == mesh.vertices.dtype == torch.float32
    assert float(mesh.texture.min()) >= 0 and float(mesh.texture.max()) <= 1


def overlap_and_psnr(generated: Generated, image: NDArray[np.uint8]) -> tuple[float, float]:
    assert generated.camera is not None
    images = render_fast(generated.mesh, generated.camera, image.shape[0], ("mask", "color"))
    assert images.mask is not None and images.color is not None
    found, truth = images.mask[0].numpy() > 0.5, image[..., 3] > 127
    both = found & truth
    error = ((images.color[0].numpy() - image[..., :3] / 255.0) ** 2)[both].mean()
    return float(both.sum() / (found | truth).sum()), float(-10 * np.log10(error))


def test_the_plug_is_declared_and_ready() -> None:
    assert GENERATORS["inflate"].missing() == []
    assert isinstance(GENERATORS["inflate"].create(Settings(), torch.device("cpu")), Inflate)


@pytest.mark.parametrize("side", [120, 400])
def test_the_camera_shows_the_picture_again(side: int) -> None:
    image = animal(side)
    generated = inflate(image, 4000)
    assert_sound(generated)
    overlap, psnr = overlap_and_psnr(generated, image)
    assert overlap > 0.98
    assert psnr > 25


def test_the_silhouette_is_right_off_the_centre_of_a_wide_view() -> None:
    """Perspective: the mesh is close to the camera, large, and far from the axis."""
    image = picture([(40, 40, 150, 60, 35), (150, 60, 185, 185, 10)])
    overlap, _ = overlap_and_psnr(inflate(image, 4000), image)
    assert overlap > 0.98


def test_the_pose_is_canonical() -> None:
    generated = inflate(picture([(50, 100, 150, 100, 10), (60, 100, 60, 40, 10)]))
    vertices = generated.mesh.vertices
    extent = vertices.amax(0) - vertices.amin(0)
    assert float(extent.max()) == pytest.approx(1, abs=0.05)
    # The bar that points up in the picture points to +z, and what is left in the picture is at +x: seen from +y.
    upper = vertices[vertices[:, 2] > vertices[:, 2].mean() + 0.2]
    assert float(upper[:, 0].mean()) > 0.2
    assert generated.camera is not None
    eye = -generated.camera.world_to_camera[:3, :3].T @ generated.camera.world_to_camera[:3, 3]
    assert float(eye[1]) > 1 and float(vertices.mean(0).norm()) < 0.3


def test_limbs_and_trunk_are_as_deep_as_wide() -> None:
    limb = inflate(picture([(30, 100, 170, 100, 12)])).mesh.vertices
    assert extent(limb, 1) == pytest.approx(extent(limb, 2), rel=0.12)
    trunk = inflate(picture([(100, 100, 100, 100, 60)])).mesh.vertices
    assert 0.7 < extent(trunk, 1) / extent(trunk, 2) < 1.05


def test_thin_parts_are_thinner_than_thick_ones() -> None:
    vertices = inflate(animal(), 4000).mesh.vertices
    low, high = vertices[:, 2].quantile(0.12), vertices[:, 2].quantile(0.6)
    legs, body = vertices[vertices[:, 2] < low], vertices[vertices[:, 2] > high]
    assert extent(legs, 1) < 0.5 * extent(body, 1)


def test_thickness_scales_the_depth() -> None:
    image = picture([(30, 100, 170, 100, 12)])
    depths = [extent(inflate(image, thickness=t).mesh.vertices, 1) for t in (0.5, 1.0, 1.5)]
    assert depths[0] == pytest.approx(depths[1] / 2, rel=0.05)
    assert depths[2] == pytest.approx(depths[1] * 1.5, rel=0.05)


@pytest.mark.parametrize("faces", [2000, 6000, 10000])
def test_the_number_of_faces_is_about_what_was_asked_for(faces: int) -> None:
    assert len(inflate(animal(), faces).mesh.faces) == pytest.approx(faces, rel=0.2)


def test_triangles_are_well_shaped_on_the_surface() -> None:
    mesh = inflate(animal(), 4000).mesh
    angles = np.degrees(trimesh.triangles.angles(mesh.vertices.numpy()[mesh.faces.numpy()])).min(1)
    assert np.percentile(angles, 1) > 12 and np.median(angles) > 42
    corners = mesh.vertices[mesh.faces]
    lengths = (corners - corners.roll(1, 1)).norm(dim=-1).numpy()
    assert lengths.max() < 3 * np.median(lengths)


def test_the_rim_is_round() -> None:
    """Across a limb the normals turn evenly from the front to the back; a knife edge would turn by 180 degrees."""
    shape = solid(inflate(picture([(30, 100, 170, 100, 14)]), 3000))
    assert np.degrees(np.percentile(shape.face_adjacency_angles, 99.5)) < 60


def test_a_hole_becomes_a_tunnel() -> None:
    generated = inflate(picture([(100, 100, 100, 100, 70)], holes=((100, 100, 100, 100, 30),)))
    assert_sound(generated)
    assert solid(generated).euler_number == 0


def test_separate_pieces_become_separate_closed_meshes() -> None:
    generated = inflate(picture([(60, 60, 80, 60, 25), (150, 150, 160, 150, 12)]))
    assert_sound(generated)
    assert len(solid(generated).split(only_watertight=True)) == 2


def test_specks_and_pinholes_are_ignored() -> None:
    image = picture([(60, 100, 140, 100, 40)])
    image[20:22, 20:22, 3] = 255
    image[100, 100, 3] = 0
    generated = inflate(image)
    assert_sound(generated)
    assert solid(generated).euler_number == 2


def looks(generated: Generated) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """From the front and from behind: the picture (200,200,3) and where the object is in it."""
    assert generated.camera is not None
    behind = torch.diag(torch.tensor([-1.0, 1.0, -1.0, 1.0]))
    behind[2, 3] = 2 * generated.camera.world_to_camera[2, 3]
    out = {}
    for name, matrix in (
        ("front", generated.camera.world_to_camera),
        ("back", behind @ generated.camera.world_to_camera),
    ):
        view = render_fast(generated.mesh, Camera(matrix), 200, ("mask", "color"))
        assert view.mask is not None and view.color is not None
        out[name] = view.color[0], view.mask[0] > 0.5
    return out


def dark_pixels(view: tuple[torch.Tensor, torch.Tensor]) -> int:
    color, inside = view
    assert int(inside.sum()) > 5000
    return int((color[inside].amax(-1) < 0.35).sum())


def test_the_back_has_the_bodys_colours_without_the_eyes() -> None:
    generator = Inflate(InflateSettings(faces=4000, back=BackSettings(own_mirror=0)))
    views = looks(generator(animal(400), torch.Generator().manual_seed(0)))
    assert dark_pixels(views["front"]) > 50 and dark_pixels(views["back"]) == 0
    # The upper part stays orange and the legs white.
    color, inside = views["back"]
    colors = color[inside]
    assert float((colors[:, 0] - colors[:, 2] > 0.4).float().mean()) > 0.4
    assert float((colors.amin(-1) > 0.8).float().mean()) > 0.1


def test_what_is_seen_from_its_side_looks_alike_from_behind() -> None:
    """Both flanks of an animal that walks past have its eyes and markings; the back of who faces us has not."""
    views = looks(inflate(animal(400), 4000))
    assert 0.7 < dark_pixels(views["back"]) / dark_pixels(views["front"]) < 1.4
    facing = picture([(100, 60, 100, 150, 40), (70, 150, 70, 180, 12), (130, 150, 130, 180, 12)])
    for x in (85, 115):
        facing[distance_to((x, 70, x, 70, 8), 200) < 0, :3] = 0
    views = looks(inflate(facing, 4000))
    assert dark_pixels(views["front"]) > 50 and dark_pixels(views["back"]) == 0


@pytest.mark.parametrize(
    ("capsules", "sideways"),
    [
        ([(60, 90, 140, 90, 25), (150, 60, 152, 60, 18), (70, 110, 60, 150, 8), (40, 80, 15, 50, 6)], True),
        ([(100, 60, 100, 140, 30), (70, 70, 30, 50, 8), (130, 70, 170, 50, 8)], False),  # arms raised
        ([(100, 100, 100, 102, 20), (85, 100, 20, 80, 10), (115, 100, 180, 80, 10)], False),  # wings spread
        ([(100, 50, 100, 150, 20), (110, 150, 140, 170, 8)], False),  # upright
    ],
)
def test_being_seen_from_the_side(capsules: list[Capsule], sideways: bool) -> None:
    mask = picture(capsules)[..., 3] > 127
    assert is_sideways(mask, BackSettings()) is sideways
    assert is_sideways(mask[:, ::-1], BackSettings()) is sideways
    assert not is_sideways(np.zeros_like(mask), BackSettings())


def test_steep_places_show_no_streaks() -> None:
    """A mark at the rim is not drawn out along the depth: half-way round, the body's own colour is seen."""
    image = picture([(100, 100, 100, 101, 80)])
    image[:, 172:, :3] = 0  # the outermost eighth of the ball's radius
    front, _ = looks(inflate(image, 4000))["front"]
    mesh = inflate(image, 4000).mesh
    assert mesh.texture is not None and mesh.uv is not None
    texels = (mesh.uv * torch.tensor(mesh.texture.shape[1::-1])).long()
    used = mesh.texture[texels[:, 1].clamp_max(mesh.texture.shape[0] - 1), texels[:, 0]]
    assert float((front.amax(-1) < 0.35).float().mean()) > 0
    assert float((used.amax(-1) < 0.35).float().mean()) < 0.1


def test_background_colour_does_not_bleed_into_the_rim() -> None:
    image = picture([(60, 100, 140, 100, 40)])
    image[image[..., 3] < 255] = np.array([0, 255, 0, 0]) + image[image[..., 3] < 255] * np.array([0, 0, 0, 1])
    mesh = inflate(image).mesh
    assert mesh.texture is not None and mesh.uv is not None
    texels = (mesh.uv * torch.tensor(mesh.texture.shape[1::-1])).long()
    used = mesh.texture[texels[:, 1], texels[:, 0]]
    assert float(used[:, 1].max()) < 0.6


def test_an_object_cut_off_by_the_pictures_border_is_closed() -> None:
    image = picture([(0, 100, 200, 100, 30)])
    generated = inflate(image)
    assert_sound(generated)
    assert overlap_and_psnr(generated, image)[0] > 0.97


def test_a_tiny_object_works() -> None:
    image = picture([(95, 100, 105, 100, 4)])
    generated = inflate(image, 600)
    assert_sound(generated)
    assert overlap_and_psnr(generated, image)[0] > 0.9


def test_the_same_picture_gives_the_same_mesh() -> None:
    first, second = inflate(animal()), inflate(animal())
    assert torch.equal(first.mesh.vertices, second.mesh.vertices)
    assert first.mesh.texture is not None and second.mesh.texture is not None
    assert torch.equal(first.mesh.texture, second.mesh.texture)


def test_front_faces_look_at_the_camera() -> None:
    mesh = inflate(animal()).mesh
    normals = face_normals(mesh.vertices, mesh.faces)
    centres = mesh.vertices[mesh.faces].mean(1)
    assert float(normals[centres[:, 1] > centres[:, 1].quantile(0.9), 1].mean()) > 0.8


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 10**6), st.integers(1, 9), st.integers(0, 2))
def test_any_union_of_blobs_gives_sound_meshes(seed: int, blobs: int, holes: int) -> None:
    random = np.random.default_rng(seed)
    capsules = [(*random.uniform(0, 160, 4), random.uniform(1.5, 40)) for _ in range(blobs)]
    gaps = tuple((*random.uniform(0, 160, 4), random.uniform(1, 12)) for _ in range(holes))
    image = picture(capsules, 160, gaps)
    if (image[..., 3] > 127).sum() < 200:
        return
    generated = inflate(image, 1500)
    assert_sound(generated)
    assert overlap_and_psnr(generated, image)[0] > 0.9


@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 10**6), st.floats(0.2, 0.8))
def test_a_ragged_mask_gives_a_sound_mesh(seed: int, share: float) -> None:
    image = picture([(50, 50, 110, 110, 35)], 160)
    noise = np.random.default_rng(seed).random((160, 160)) < share * (np.hypot(*np.mgrid[-80:80, -80:80]) > 45)
    image[noise, 3] = 0
    assert_sound(inflate(image, 1500))


def test_an_empty_picture_is_refused_with_advice() -> None:
    with pytest.raises(V2M4Error, match="no foreground"):
        inflate(np.zeros((50, 50, 4), np.uint8))


@pytest.mark.parametrize("options", [{"faces": 10}, {"faces": 10**7}, {"thickness": 0.0}, {"thickness": float("nan")}])
def test_senseless_options_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(V2M4Error):
        Inflate(InflateSettings(**options))  # type: ignore[arg-type]
