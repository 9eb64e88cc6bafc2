"""The animated GLB plays back what went in, and passes the Khronos validator."""

import dataclasses
import json

import numpy as np
import pytest
import torch
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.export.khronos import assert_valid
from tests.toys import ball, bobbing_ball
from v2m4.animation import Animation
from v2m4.errors import V2M4Error
from v2m4.evaluation.glb import read_glb
from v2m4.export.glb import animated_glb, is_closed, write_glb, write_still
from v2m4.export.placement import Placement
from v2m4.formats.gltf.binary import split_glb
from v2m4.geometry.mesh import Mesh
from v2m4.settings import ExportSettings

VARIANTS = {
    "plain": ExportSettings(),
    "quantised": ExportSettings(quantise=True),
    "normals": ExportSettings(morph_normals=True),
    "everything": ExportSettings(quantise=True, morph_normals=True, texture_format="jpeg"),
}


def in_world(animation: Animation, time: float) -> torch.Tensor:
    return Placement.of(animation.vertices).to_world(animation.at(time))


def nearest_distance(a: torch.Tensor, b: torch.Tensor) -> float:
    """Largest distance from a point of either set to the other: files order vertices in their own way."""
    d = torch.cdist(a.double(), b.double())
    return float(torch.maximum(d.amin(0).max(), d.amin(1).max()))


@pytest.fixture(params=VARIANTS.values(), ids=VARIANTS.keys())
def variant(request):
    return request.param


def test_valid_for_khronos(tmp_path, variant):
    write_glb(tmp_path / "a.glb", bobbing_ball(), variant, {"seed": 42})
    info = assert_valid(tmp_path / "a.glb")
    assert info["hasMorphTargets"] and info["animationCount"] == 1 and info["drawCallCount"] == 1
    quantised = {"KHR_mesh_quantization"} if variant.quantise else set()
    assert set(info["extensionsUsed"]) == quantised | {"KHR_materials_unlit"}


@pytest.mark.parametrize("time", [0.0, 0.05, 0.25, 0.3, 0.61, 0.8])
def test_plays_the_interpolated_poses(tmp_path, variant, time):
    animation = bobbing_ball()
    write_glb(tmp_path / "a.glb", animation, variant, {})
    played = read_glb(tmp_path / "a.glb").at(time)
    assert nearest_distance(played, in_world(animation, time)) < (1e-4 if variant.quantise else 1e-6)


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 6), st.floats(0.01, 50), st.floats(0, 20), st.integers(0, 2**31))
def test_quantised_positions_stay_within_a_step(tmp_path_factory, count, size, travel, seed):
    """Also when the object travels many times its own size, so that differences exceed the positions."""
    rng = torch.Generator().manual_seed(seed)
    mesh = ball()
    paths = torch.randn(count, 1, 3, generator=rng) * travel * size
    vertices = mesh.vertices * size + paths + torch.randn(count, *mesh.vertices.shape, generator=rng) * 0.1 * size
    animation = Animation(vertices, tuple(range(count)), mesh.with_vertices(vertices[0]), count, "moves")
    path = tmp_path_factory.mktemp("q") / "a.glb"
    write_glb(path, animation, ExportSettings(quantise=True), {})
    model = read_glb(path)
    worlds = [in_world(animation, k) for k in range(count)]
    # One grid serves all poses, so its step follows from whichever reaches farthest.
    reach = max(float((worlds[0] - world).abs().max() + world.abs().max()) for world in worlds)
    for k, world in enumerate(worlds):
        assert nearest_distance(model.at(k), world) <= 2 * reach / 32767 + 1e-5


def test_a_target_per_keyframe_and_linear_weights_at_the_real_times(variant):
    animation = bobbing_ball()
    document, _ = split_glb(animated_glb(animation, variant, {}))
    primitive = document["meshes"][0]["primitives"][0]
    assert len(primitive["targets"]) == len(document["meshes"][0]["weights"]) == len(animation)
    assert all(("NORMAL" in target) == variant.morph_normals for target in primitive["targets"])
    (player,) = document["animations"]
    assert player["samplers"][0]["interpolation"] == "LINEAR"
    keys = document["accessors"][player["samplers"][0]["input"]]
    assert keys["count"] == len(animation)
    assert (keys["min"], keys["max"]) == ([0.0], [float(np.float32(0.8))])


def test_normals_follow_when_asked(tmp_path):
    animation = bobbing_ball()
    write_glb(tmp_path / "a.glb", animation, ExportSettings(morph_normals=True, quantise=True), {})
    document, _ = split_glb((tmp_path / "a.glb").read_bytes())
    kinds = {
        document["accessors"][t["NORMAL"]]["componentType"]
        for t in document["meshes"][0]["primitives"][0]["targets"][1:]
    }
    assert kinds == {5120}  # bytes


def test_texture_and_seam_survive(tmp_path):
    """Every corner of every face keeps its place on the texture, though the seam needs some vertices twice."""
    mesh = ball()
    write_still(tmp_path / "still.glb", mesh)
    assert_valid(tmp_path / "still.glb")
    read = read_glb(tmp_path / "still.glb").mesh
    assert len(read.vertices) > len(mesh.vertices)
    world = Placement.of(mesh.vertices[None]).to_world(mesh.vertices)
    before = torch.cat([world[mesh.faces], mesh.uv[mesh.uv_faces]], dim=-1)
    after = torch.cat([read.vertices[read.faces], read.uv[read.uv_faces]], dim=-1)
    torch.testing.assert_close(after, before, atol=1e-5, rtol=0)
    torch.testing.assert_close(read.texture, mesh.texture, atol=1 / 255, rtol=0)


def test_other_programs_read_it(tmp_path):
    write_glb(tmp_path / "a.glb", bobbing_ball(), ExportSettings(), {})
    scene = trimesh.load(tmp_path / "a.glb", force="mesh")
    assert len(scene.faces) == len(ball().faces)
    assert scene.visual.material.baseColorTexture.size == (32, 32)
    assert scene.volume > 0  # faces point outwards


def test_y_is_up_and_the_object_is_about_one_unit_large_at_the_origin(tmp_path):
    """In camera space y points down: what was below must come out below."""
    mesh = ball()
    stick = mesh.vertices * torch.tensor([0.1, 1.0, 0.1]) * 7 + torch.tensor([1.0, 2.0, 30.0])
    write_still(tmp_path / "stick.glb", mesh.with_vertices(stick))
    out = read_glb(tmp_path / "stick.glb").mesh.vertices
    assert out.amax(0).tolist() == pytest.approx([0.05, 0.5, 0.05], abs=5e-3)
    assert out.amin(0).tolist() == pytest.approx([-0.05, -0.5, -0.05], abs=5e-3)
    drop = mesh.vertices.clone()
    drop[int(mesh.vertices[:, 1].argmax())] *= 3  # the lowest vertex in the picture hangs down
    write_still(tmp_path / "drop.glb", mesh.with_vertices(drop))
    assert read_glb(tmp_path / "drop.glb").mesh.vertices[:, 1].median() > 0.2  # the bulk is above it


def test_canonical_meshes_keep_their_up(tmp_path):
    mesh = ball()
    tall = mesh.vertices * torch.tensor([0.1, 0.2, 1.0])  # z up
    write_still(tmp_path / "tall.glb", mesh.with_vertices(tall), axes="z_up")
    size = read_glb(tmp_path / "tall.glb").mesh.vertices
    extent = (size.amax(0) - size.amin(0)).tolist()
    assert extent[1] == max(extent) == pytest.approx(1, abs=1e-4)
    assert trimesh.load(tmp_path / "tall.glb", force="mesh").volume > 0


def test_vertex_colours_are_stored_linear(tmp_path):
    mesh = ball()
    colours = torch.rand(len(mesh.vertices), 3, generator=torch.Generator().manual_seed(1))
    write_still(tmp_path / "c.glb", Mesh(mesh.vertices, mesh.faces, colors=colours))
    assert_valid(tmp_path / "c.glb")
    torch.testing.assert_close(read_glb(tmp_path / "c.glb").mesh.colors, colours, atol=2e-4, rtol=0)
    document, binary = split_glb((tmp_path / "c.glb").read_bytes())
    view = document["bufferViews"][
        document["accessors"][document["meshes"][0]["primitives"][0]["attributes"]["COLOR_0"]]["bufferView"]
    ]
    first = np.frombuffer(binary, np.uint16, 3, view["byteOffset"]) / 65535
    assert first == pytest.approx(((colours[0].numpy() + 0.055) / 1.055) ** 2.4, abs=0.02)


def test_a_mesh_without_any_colour_is_valid_too(tmp_path):
    mesh = ball()
    write_still(tmp_path / "grey.glb", Mesh(mesh.vertices, mesh.faces))
    assert_valid(tmp_path / "grey.glb")


def test_the_back_of_open_surfaces_shows():
    mesh = ball()
    assert is_closed(mesh.faces)
    assert not is_closed(mesh.faces[1:])
    assert not is_closed(torch.cat([mesh.faces, mesh.faces[:1]]))


def test_one_keyframe_makes_a_still(tmp_path):
    mesh = ball()
    animation = Animation(mesh.vertices[None], (0.0,), mesh, 1.0, "still")
    write_glb(tmp_path / "a.glb", animation, ExportSettings(), {})
    info = assert_valid(tmp_path / "a.glb")
    assert info["animationCount"] == 0 and not info["hasMorphTargets"]


def test_large_meshes_get_wide_indices(tmp_path):
    """65536 vertices no longer fit 16-bit indices."""
    n = 257
    y, x = np.meshgrid(np.linspace(0, 1, n), np.linspace(0, 1, n), indexing="ij")
    vertices = torch.from_numpy(np.stack([x, y, 0 * x], -1).reshape(-1, 3)).float()
    corner = torch.arange(n * n).view(n, n)
    faces = torch.stack([corner[:-1, :-1], corner[1:, :-1], corner[1:, 1:]], dim=-1).reshape(-1, 3)
    write_still(tmp_path / "big.glb", Mesh(vertices, faces))
    assert_valid(tmp_path / "big.glb")
    assert len(read_glb(tmp_path / "big.glb").mesh.faces) == len(faces)


def test_provenance_and_names(tmp_path):
    facts = {"preset": "fast", "seed": 7, "camera": {"fov_deg": 40.0}}
    write_glb(tmp_path / "a.glb", bobbing_ball(name="Fröhlicher Ball"), ExportSettings(), facts)
    document, _ = split_glb((tmp_path / "a.glb").read_bytes())
    assert document["asset"]["extras"] == json.loads(json.dumps(facts))
    assert document["asset"]["generator"].startswith("v2m4 ")
    assert document["nodes"][0]["name"] == "Fröhlicher Ball"
    assert_valid(tmp_path / "a.glb")


def test_same_input_same_bytes(variant):
    assert animated_glb(bobbing_ball(), variant, {}) == animated_glb(bobbing_ball(), variant, {})


def test_quantising_saves_a_third(tmp_path):
    animation = dataclasses.replace(bobbing_ball(tuple(i / 10 for i in range(12))))
    plain, small = (len(animated_glb(animation, ExportSettings(quantise=q), {})) for q in (False, True))
    assert small < 0.72 * plain


@pytest.mark.parametrize("what", ["nan", "no faces"])
def test_nothing_is_written_when_the_mesh_is_broken(tmp_path, what):
    animation = bobbing_ball()
    if what == "nan":
        animation.vertices[2, 5, 1] = float("nan")
    else:
        animation = dataclasses.replace(
            animation, mesh=dataclasses.replace(animation.mesh, faces=torch.zeros(0, 3, dtype=torch.int64))
        )
    with pytest.raises(V2M4Error, match="cannot be written"):
        write_glb(tmp_path / "a.glb", animation, ExportSettings(), {})
    assert not list(tmp_path.iterdir())


def test_faces_without_area_do_not_break_the_normals(tmp_path):
    mesh = ball()
    flat = mesh.vertices.clone()
    flat[:40] = flat[0]
    write_still(tmp_path / "flat.glb", mesh.with_vertices(flat))
    assert_valid(tmp_path / "flat.glb")


@pytest.mark.parametrize(("material", "unlit"), [("auto", True), ("unlit", True), ("lit", False)])
def test_colours_of_the_video_are_not_lit_again(material, unlit):
    document, _ = split_glb(animated_glb(bobbing_ball(), ExportSettings(material=material), {}))
    assert ("KHR_materials_unlit" in document["materials"][0].get("extensions", {})) == unlit
    assert ("KHR_materials_unlit" in document.get("extensionsUsed", [])) == unlit


def test_a_mesh_without_colour_takes_the_viewers_light():
    moving = bobbing_ball()
    plain = dataclasses.replace(moving.mesh, texture=None, uv=None, uv_faces=None)
    document, _ = split_glb(animated_glb(dataclasses.replace(moving, mesh=plain), ExportSettings(), {}))
    assert "extensions" not in document["materials"][0]
