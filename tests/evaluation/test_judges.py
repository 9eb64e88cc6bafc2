"""Learned measures: their definitions on random weights, what is left out and why, and whose code may run."""

import importlib.util

import numpy as np
import pytest
import torch

from v2m4.errors import V2M4Error
from v2m4.evaluation.clip_similarity import ClipSimilarity
from v2m4.evaluation.frechet import prepare_clip
from v2m4.evaluation.i3d import VideoFeatures, require_checksum
from v2m4.evaluation.judges import JUDGES, Panel, PerceptualJudge
from v2m4.perceptual import PERCEPTUALS

CPU = torch.device("cpu")
RNG = np.random.default_rng(0)
A, B = (RNG.integers(0, 256, (2, 64, 64, 3)).astype(np.uint8) for _ in range(2))


class Projection(torch.nn.Module):
    """An image encoder: a random linear map of the 8 x 8 means."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(5, 192, generator=torch.Generator().manual_seed(0)))

    def encode_image(self, images: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.adaptive_avg_pool2d(images, 8).flatten(1) @ self.weight.T


def as_tensor(image) -> torch.Tensor:
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).float() / 255


def test_the_clip_score_is_the_cosine_of_the_embeddings():
    judge = ClipSimilarity(CPU, network=(Projection(), as_tensor))
    embedded = [judge.embed(pictures).numpy() for pictures in (A, B)]
    cosines = [float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)) for a, b in zip(*embedded, strict=True)]
    assert judge(A, B) == pytest.approx(cosines, abs=1e-5)
    assert judge(A, A) == pytest.approx([1, 1], abs=1e-5)
    assert judge(A, B) == pytest.approx(judge(B, A))


@pytest.mark.skipif(importlib.util.find_spec("open_clip") is None, reason="open_clip is not installed")
def test_the_clip_score_is_open_clips_own():
    import open_clip

    model, _, transform = open_clip.create_model_and_transforms("ViT-B-32", pretrained=None)
    judge = ClipSimilarity(CPU, network=(model, transform))
    from PIL import Image

    with torch.no_grad():
        a, b = (model.encode_image(transform(Image.fromarray(p[0]))[None], normalize=True)[0] for p in (A, B))
    assert judge(A[:1], B[:1])[0] == pytest.approx(float(a @ b), abs=1e-5)


class Squares:
    """An image distance with a map, as LPIPS has one."""

    def prepare(self, reference: torch.Tensor) -> torch.Tensor:
        return reference

    def maps(self, prepared: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        return (images - prepared).square().mean(-1)

    def __call__(self, prepared: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        return self.maps(prepared, images).amax((1, 2))


def test_lpips_is_the_mean_of_its_map_and_dreamsim_the_distance_itself():
    squares = ((A / 255.0 - B / 255.0) ** 2).mean(-1)
    lpips = PerceptualJudge("lpips", PERCEPTUALS["lpips"], CPU, Squares())
    dreamsim = PerceptualJudge("dreamsim", PERCEPTUALS["dreamsim"], CPU, Squares())
    assert lpips(A, B) == pytest.approx(squares.mean((1, 2)), rel=1e-5)
    assert dreamsim(A, B) == pytest.approx(squares.max((1, 2)), rel=1e-5)
    assert "vgg16-397923af.pth" in lpips.weights


def test_what_lacks_its_weights_is_left_out_by_name_with_the_reason(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    panel = Panel.gather(("clip", "lpips", "fvd", "dreamsim"), CPU)
    assert panel.pictures == {} and panel.features is None
    assert set(panel.left_out) == {"clip", "lpips", "fvd", "dreamsim"}
    assert all("missing here" in reason for reason in panel.left_out.values())
    assert "v2m4 download i3d" in panel.left_out["fvd"]


def test_another_clip_must_be_asked_for_by_name_and_bears_it():
    other = ClipSimilarity(CPU, "ViT-B-32/openai", network=(Projection(), as_tensor))
    assert other.weights.startswith("ViT-B-32/openai") and "not the paper's" in other.weights
    assert "not the paper's" not in ClipSimilarity(CPU, network=(Projection(), as_tensor)).weights


def test_clips_are_described_one_by_one_in_double_precision():
    seen = []

    def detector(clips: torch.Tensor) -> torch.Tensor:
        seen.append(clips.shape)
        return clips.mean((2, 3, 4))

    clip = prepare_clip(torch.rand(3, 4, 40, 40), 32)
    features = VideoFeatures(CPU, detector)(clip)
    assert features.dtype == np.float64 and features == pytest.approx(clip.mean((1, 2, 3)).numpy(), abs=1e-6)
    assert seen == [(1, 3, 4, 32, 32)]


def test_a_program_that_is_not_the_pinned_one_is_never_run(tmp_path):
    file = tmp_path / "i3d_torchscript.pt"
    file.write_bytes(b"something else")
    with pytest.raises(V2M4Error, match="another file than the pinned one.*v2m4 download i3d"):
        require_checksum(file, JUDGES["i3d"].checksum("auxiliary/i3d_torchscript.pt"))
    require_checksum(file, "4c1fcad8"[:0])
