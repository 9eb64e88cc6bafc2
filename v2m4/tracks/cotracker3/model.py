"""CoTracker3 (Karaev et al., arXiv 2410.11831): where points of one frame are in all others.

All tracks start at their query's place and are improved together, a few times: around every present position a patch
of features is compared with the patch around the query, and a transformer over frames and tracks turns what it finds
into steps. Parameter names are those of the official checkpoint.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from v2m4.nn.transformer import Mlp
from v2m4.tracks.cotracker3.config import MOTION_FREQUENCIES, CoTrackerConfig
from v2m4.tracks.cotracker3.encoder import FeatureEncoder, unit_length
from v2m4.tracks.cotracker3.transformer import UpdateTransformer

_FRAMES_AT_ONCE = 16
_SAMPLES_AT_ONCE = 1 << 23  # numbers in one batch of sampled patches


class TrackState(NamedTuple):
    """Tracks under way. coords: (T, N, 2) x, y in cells of the features; visibility, confidence: (T, N) logits."""

    coords: Tensor
    visibility: Tensor
    confidence: Tensor


class Tracked(NamedTuple):
    """Finished tracks. positions: (T, N, 2) x, y in pixels; visibility, confidence: (T, N) in [0, 1]."""

    positions: Tensor
    visibility: Tensor
    confidence: Tensor


class CoTracker3(nn.Module):
    """Tracks of queries (N, 3), each (frame, x, y) in pixels, through frames (T, 3, H, W) in [0, 255]."""

    time_emb: Tensor

    def __init__(self, config: CoTrackerConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or CoTrackerConfig()
        self.fnet = FeatureEncoder(config.latent_dim, config.stride)
        self.updateformer = UpdateTransformer(config)
        self.corr_mlp = Mlp(config.patch**2, config.corr_hidden, config.corr_out)
        self.register_buffer("time_emb", torch.zeros(1, config.window_len, config.token_width))

    def forward(self, frames: Tensor, queries: Tensor, iterations: int) -> Tracked:
        """All frames in one window, whatever their number."""
        pyramid = self.pyramid(frames)
        support = self.support(pyramid, queries)
        state = self.refine(pyramid, support, self.start(queries, len(frames)), iterations)
        return self.finished(state)

    def start(self, queries: Tensor, frames: int) -> TrackState:
        """Every track at its query's place in all frames."""
        coords = (queries[:, 1:] / self.config.stride).expand(frames, -1, -1)
        zeros = torch.zeros_like(coords[..., 0])
        return TrackState(coords, zeros, zeros)

    def finished(self, state: TrackState) -> Tracked:
        """Positions in pixels and probabilities."""
        return Tracked(state.coords * self.config.stride, state.visibility.sigmoid(), state.confidence.sigmoid())

    def pyramid(self, frames: Tensor) -> list[Tensor]:
        """Features (T, C, h, w) of the frames, level by level half as large."""
        parts = [unit_length(self.fnet(2 * (part.float() / 255) - 1)) for part in frames.split(_FRAMES_AT_ONCE)]
        levels = [torch.cat(parts)]
        for _ in range(self.config.corr_levels - 1):
            levels.append(F.avg_pool2d(levels[-1], 2, stride=2))
        return levels

    def support(self, pyramid: list[Tensor], queries: Tensor) -> list[Tensor]:
        """Per level (N, P, C): the patch around each query in its own frame."""
        frames = queries[:, 0].long().clamp(0, len(pyramid[0]) - 1)
        coords = queries[:, 1:] / self.config.stride
        found = []
        for level, features in enumerate(pyramid):
            patches = features.new_zeros(len(queries), self.config.patch, features.shape[1])
            for frame in frames.unique():
                here = frames == frame
                sampled = self._patches(features[frame][None], coords[here][None] / 2**level)
                patches[here] = sampled[0].permute(1, 2, 0)
            found.append(patches)
        return found

    def refine(self, pyramid: list[Tensor], support: list[Tensor], state: TrackState, iterations: int) -> TrackState:
        """So many rounds of comparing and stepping."""
        for _ in range(iterations):
            delta = self.updateformer(self.tokens(pyramid, support, state)).transpose(0, 1)  # (T, N, 4)
            state = TrackState(
                state.coords + delta[..., :2],
                state.visibility + delta[..., 2],
                state.confidence + delta[..., 3],
            )
        return state

    def tokens(self, pyramid: list[Tensor], support: list[Tensor], state: TrackState) -> Tensor:
        """(N, T, D): what the transformer is told of each track in each frame."""
        logits = torch.stack([state.visibility, state.confidence], dim=-1)
        tokens = torch.cat([logits, self.correlations(pyramid, support, state.coords), self.motion(state.coords)], -1)
        time = self.time_emb
        if time.shape[1] != len(tokens):
            time = F.interpolate(time.transpose(1, 2), size=len(tokens), mode="linear").transpose(1, 2)
        return tokens.transpose(0, 1) + time

    def correlations(self, pyramid: list[Tensor], support: list[Tensor], coords: Tensor) -> Tensor:
        """(T, N, levels * E): all pairs of features of the present patch and of the query's, embedded."""
        per_point = len(coords) * self.config.patch * max(self.config.patch, self.config.latent_dim)
        parts = []
        for chosen in torch.arange(coords.shape[1], device=coords.device).split(max(1, _SAMPLES_AT_ONCE // per_point)):
            levels = []
            for level, (features, template) in enumerate(zip(pyramid, support, strict=True)):
                patches = self._patches(features, coords[:, chosen] / 2**level)  # (T, C, n, P)
                pairs = torch.einsum("tcnp,nqc->tnpq", patches, template[chosen])
                levels.append(self.corr_mlp(pairs.flatten(2)))
            parts.append(torch.cat(levels, dim=-1))
        return torch.cat(parts, dim=1)

    def motion(self, coords: Tensor) -> Tensor:
        """(T, N, 84): the steps to the next and from the previous frame, as they are and as sines and cosines."""
        height, width = self.config.model_resolution
        size = coords.new_tensor([width, height]) / self.config.stride
        step = (coords[:-1] - coords[1:]) / size
        still = torch.zeros_like(coords[:1])
        steps = torch.cat([torch.cat([step, still]), torch.cat([still, -step])], dim=-1)  # (T, N, 4)
        octaves = 2.0 ** torch.arange(MOTION_FREQUENCIES, device=coords.device)
        angles = (steps[..., None, :] * octaves[:, None]).flatten(-2)
        return torch.cat([steps, angles.sin(), (angles + math.pi / 2).sin()], dim=-1)

    def _patches(self, features: Tensor, centres: Tensor) -> Tensor:
        """(T, C, N, P) features (T, C, h, w) around centres (T, N, 2), in cells; the border continues outside."""
        r = torch.arange(-self.config.corr_radius, self.config.corr_radius + 1, device=centres.device)
        offsets = torch.cartesian_prod(r, r).to(centres.dtype)  # the first index moves x
        places = centres[:, :, None] + offsets  # (T, N, P, 2)
        last = places.new_tensor([features.shape[3] - 1, features.shape[2] - 1]).clamp_min(1)
        grid = places * (2 / last) - 1
        return F.grid_sample(features, grid, mode="bilinear", padding_mode="border", align_corners=True)
