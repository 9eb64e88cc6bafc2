"""The six numbers of algorithm 1: how they are drawn, and what camera they are."""

from __future__ import annotations

from pathlib import Path

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from v2m4.settings import Algorithm1Settings
from v2m4.stages.camera.six_numbers import camera_of, numbers_of, sample_cameras

DATA = Path(__file__).parents[2] / "parity" / "fixtures" / "v2m4"


def test_samples_are_distributed_as_the_release_s() -> None:
    data = load_file(DATA / "camera_sampling_stats.safetensors")
    samples = sample_cameras(200_000, Algorithm1Settings(), torch.Generator().manual_seed(0)).double()
    levels = data["out.quantile_levels"]
    inner = (levels >= 0.01) & (levels <= 0.99)
    width = data["out.maximum"] - data["out.minimum"]
    for column in range(6):
        quantiles = torch.quantile(samples[:, column], levels[inner])
        error = (quantiles - data["out.quantiles"][column, inner]).abs().max()
        assert float(error) < 5e-3 * float(width[column])
    assert float((torch.corrcoef(samples.T) - torch.eye(6)).abs().max()) < 0.01


def test_the_inverse_orbit_agrees_with_the_release() -> None:
    data = load_file(DATA / "cameras.safetensors")
    numbers = torch.cat(
        [torch.stack([data["in.yaw"], data["in.pitch"], data["in.radius"]], dim=1), data["in.lookat"]], dim=1
    )
    camera = camera_of(numbers)
    assert torch.allclose(camera.world_to_camera, data["out.batch.extrinsics"], atol=1e-5)
    found = numbers_of(camera)
    for column, name in enumerate(("yaw", "pitch", "radius")):
        assert torch.allclose(found[:, column], data[f"out.inverse.{name}"], atol=1e-4)
    assert torch.allclose(found[:, 3:], data["out.inverse.lookat"], atol=1e-4)


@given(yaw=st.floats(-3.1, 3.1), pitch=st.floats(-1.4, 1.4), radius=st.floats(1.5, 5), offset=st.floats(-0.5, 0.5))
@settings(max_examples=30, deadline=None)
def test_cameras_and_numbers_are_two_names_of_the_same(yaw: float, pitch: float, radius: float, offset: float) -> None:
    camera = camera_of(torch.tensor([yaw, pitch, radius, offset, -offset, offset / 2]))
    again = camera_of(numbers_of(camera))
    assert torch.allclose(camera.world_to_camera, again.world_to_camera, atol=2e-4)
