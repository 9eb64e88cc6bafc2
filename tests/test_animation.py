"""Between keyframes every vertex moves on a straight line at constant speed."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.toys import ball, bobbing_ball
from v2m4.animation import Animation


def test_keyframes_are_met_exactly_and_the_ends_hold():
    animation = bobbing_ball()
    for pose, time in zip(animation.vertices, animation.times, strict=True):
        assert torch.equal(animation.at(time), pose)
    assert torch.equal(animation.at(-1.0), animation.vertices[0])
    assert torch.equal(animation.at(99.0), animation.vertices[-1])


@settings(deadline=None)
@given(st.integers(0, 3), st.floats(0, 1))
def test_linear_in_between(segment, share):
    animation = bobbing_ball()
    start, end = animation.times[segment : segment + 2]
    pose = animation.at(start + share * (end - start))
    expected = (1 - share) * animation.vertices[segment] + share * animation.vertices[segment + 1]
    torch.testing.assert_close(pose, expected, atol=1e-6, rtol=0)


def test_the_mesh_at_a_time_keeps_its_texture():
    animation = bobbing_ball()
    mesh = animation.mesh_at(0.3)
    assert mesh.texture is animation.mesh.texture
    assert torch.equal(mesh.vertices, animation.at(0.3))


@pytest.mark.parametrize(
    ("count", "times", "sentence"),
    [(2, (0.0,), "as many times"), (2, (0.5, 0.5), "must increase"), (0, (), "as many times")],
)
def test_poses_and_times_must_fit(count, times, sentence):
    mesh = ball()
    with pytest.raises(ValueError, match=sentence):
        Animation(mesh.vertices.expand(count, -1, -1), times, mesh, 1.0, "ball")


def test_poses_must_have_the_meshs_vertices():
    mesh = ball()
    with pytest.raises(ValueError, match="as the mesh's"):
        Animation(mesh.vertices[None, :-1], (0.0,), mesh, 1.0, "ball")
