"""CoTracker3 beyond the fixtures: chunks, late queries, loading, and what the transformer must not depend on."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor

from v2m4.errors import V2M4Error
from v2m4.tracks import TRACKERS, Tracks
from v2m4.tracks.cotracker3 import predictor
from v2m4.tracks.cotracker3.config import ONLINE, CoTrackerConfig
from v2m4.tracks.cotracker3.model import CoTracker3
from v2m4.tracks.cotracker3.predictor import CoTracker, CoTrackerOnline, support_points

TINY = CoTrackerConfig(
    window_len=6,
    corr_radius=1,
    corr_levels=2,
    latent_dim=8,
    num_virtual_tracks=2,
    model_resolution=(32, 48),
    space_depth=1,
    time_depth=1,
    hidden_size=16,
    num_heads=2,
    corr_hidden=8,
    corr_out=4,
)


def tiny_model(config: CoTrackerConfig = TINY) -> CoTracker3:
    torch.manual_seed(5)
    model = CoTracker3(config)
    with torch.no_grad():
        model.updateformer.virual_tracks.normal_()
        model.time_emb.normal_()
    return model.eval()


def clip(frames: int, height: int = 20, width: int = 30) -> Tensor:
    """A bright blob that walks to the right."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    at = 6 + 0.4 * torch.arange(frames)
    blob = torch.exp(-((x - at[:, None, None]) ** 2 + (y - 10) ** 2) / 12)
    return blob[..., None].expand(-1, -1, -1, 3) * torch.tensor([1.0, 0.7, 0.3])


QUERIES = torch.tensor([[0.0, 6, 10], [0, 20, 4], [0, 12.5, 8]])


@pytest.fixture(scope="module")
def tracker() -> CoTracker:
    return CoTracker(model=tiny_model(), iterations=2)


def test_a_point_is_where_it_was_asked_for(tracker: CoTracker) -> None:
    tracks = tracker(clip(5), QUERIES)
    assert tracks.positions.shape == (5, 3, 2)
    assert torch.allclose(tracks.positions[0], QUERIES[:, 1:])
    assert bool(tracks.visible[0].all())


def test_the_order_of_the_points_does_not_matter(tracker: CoTracker) -> None:
    turned = tracker(clip(5), QUERIES.flip(0)).positions.flip(1)
    assert torch.allclose(turned, tracker(clip(5), QUERIES).positions, atol=1e-3)


def test_points_in_chunks_are_the_same_as_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model()
    frames, state = clip(4).permute(0, 3, 1, 2) * 255, model.start(QUERIES, 4)
    pyramid = model.pyramid(frames)
    support = model.support(pyramid, QUERIES)
    whole = model.correlations(pyramid, support, state.coords)
    monkeypatch.setattr("v2m4.tracks.cotracker3.model._SAMPLES_AT_ONCE", 1)
    assert torch.allclose(model.correlations(pyramid, support, state.coords), whole, atol=1e-6)


def test_a_long_clip_goes_on_from_chunk_to_chunk(tracker: CoTracker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictor, "CHUNK", 3)
    frames = clip(8)
    tracks = tracker(frames, QUERIES)
    first = tracker.track(frames[:4], QUERIES)
    again = torch.cat([torch.zeros(3, 1), first.positions[-1]], dim=1)
    second = tracker.track(frames[3:7], again)
    assert tracks.positions.shape == (8, 3, 2)
    assert torch.equal(tracks.positions[:4], first.positions)
    assert torch.equal(tracks.positions[4:7], second.positions[1:])


def test_a_single_frame_is_a_clip(tracker: CoTracker) -> None:
    assert torch.allclose(tracker(clip(1), QUERIES).positions[0], QUERIES[:, 1:])


@pytest.mark.parametrize("frames", [3, 6, 7, 12, 13])
def test_windows_cover_clips_of_any_length(frames: int) -> None:
    late = torch.tensor([[0.0, 6, 10], [float(frames - 1), 20, 4]])
    tracks = CoTrackerOnline(model=tiny_model(), iterations=2)(clip(frames), late)
    assert tracks.positions.shape == (frames, 2, 2)
    assert bool(tracks.positions.isfinite().all())
    assert torch.allclose(tracks.positions[frames - 1, 1], late[1, 1:])


def test_one_window_is_the_offline_way() -> None:
    model = tiny_model()
    frames, queries = clip(6), QUERIES
    offline, online = CoTracker(model=model, iterations=2), CoTrackerOnline(model=model, iterations=2)
    assert torch.allclose(offline(frames, queries).positions, online(frames, queries).positions, atol=1e-4)


def test_queries_outside_the_clip_are_told_in_a_sentence(tracker: CoTracker) -> None:
    with pytest.raises(V2M4Error, match="frames that the clip of 2 lacks"):
        tracker(clip(2), torch.tensor([[2.0, 1, 1]]))


def test_support_points_keep_their_margin_and_run_along_rows() -> None:
    points = support_points(3, 32, 64)
    assert points.tolist()[:4] == [[1, 1], [32, 1], [63, 1], [1, 16]]
    assert points[-1].tolist() == [63, 31]


@pytest.mark.parametrize("kind", [CoTracker, CoTrackerOnline])
def test_a_checkpoint_is_read_strictly(tmp_path: Path, kind: type[CoTracker], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kind, "released", TINY)
    state = tiny_model().state_dict()
    torch.save({"model": state}, tmp_path / kind.file)
    loaded = kind(repository=str(tmp_path))
    assert all(torch.equal(tensor, state[name]) for name, tensor in loaded.model.state_dict().items())
    torch.save(dataclasses.asdict(TINY) | {"x": torch.ones(1)}, tmp_path / kind.file)
    with pytest.raises(V2M4Error):
        kind(repository=str(tmp_path))


def test_the_plugs_are_declared_with_their_licence_and_files() -> None:
    for plug in TRACKERS.values():
        assert not plug.commercial
        assert "BY-NC" in plug.licence
        assert plug.weights[0][1].startswith("scaled_")
    assert ONLINE.window_len == 16
    assert CoTrackerConfig().token_width == 1110
    assert isinstance(Tracks(torch.zeros(1, 1, 2), torch.ones(1, 1, dtype=torch.bool)), Tracks)
