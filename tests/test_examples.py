"""The shipped examples: small, playable, and truly what their geometry says."""

import av
import numpy as np
import pytest
import torch
from PIL import Image

from scripts.creatures.sculpt import rgb
from scripts.make_examples import CREATURES, EXAMPLES, make
from v2m4.evaluation.measures import flipped_share
from v2m4.evaluation.truth import load_truth
from v2m4.export.glb import is_closed
from v2m4.masks import mask_iou
from v2m4.render import render_fast

FLAT = {"bird": "bcaae6", "dinosaur": "b5d8ef"}


def frames(path):
    with av.open(str(path)) as container:
        return [f.to_ndarray(format="rgb24") for f in container.decode(video=0)], container.duration / 1e6


@pytest.fixture(scope="module", params=CREATURES)
def example(request):
    pictures, duration = frames(EXAMPLES / f"{request.param}.mp4")
    return request.param, pictures, duration, load_truth(EXAMPLES / "truth" / f"{request.param}.npz")


def silhouette(truth, index):
    width, height = truth.size
    side = max(truth.size)
    images = render_fast(truth.mesh.with_vertices(truth.vertices[index]), truth.camera, side, ("mask",), supersample=2)
    left, top = (side - width) // 2, (side - height) // 2
    return images.mask[0, top : top + height, left : left + width].numpy() > 0.5


def test_small_and_complete(example):
    name, pictures, duration, truth = example
    assert (EXAMPLES / f"{name}.mp4").stat().st_size < 400_000
    assert (EXAMPLES / "truth" / f"{name}.npz").stat().st_size < 600_000
    assert len(pictures) == len(truth.vertices) == len(truth.times) == 32
    assert duration == pytest.approx(truth.times[-1] + truth.times[1], abs=0.02)
    assert pictures[0].shape == (truth.size[1], truth.size[0], 3)
    with Image.open(EXAMPLES / f"{name}.jpg") as thumbnail:
        assert thumbnail.size == truth.size


def test_the_three_have_different_shapes():
    sizes = {load_truth(EXAMPLES / "truth" / f"{name}.npz").size for name in CREATURES}
    assert {(w > h) - (w < h) for w, h in sizes} == {-1, 0, 1}


def test_the_camera_has_the_methods_field_of_view(example):
    assert example[3].camera.fov_deg == pytest.approx(40, abs=1e-3)


def test_the_truth_covers_what_the_clip_shows(example):
    """The object is what differs from the backdrop, which shows wherever the truth says that nothing hides it."""
    name, pictures, _, truth = example
    indices = (0, 6, 12, 18, 24, 31)
    seen = {i: silhouette(truth, i) for i in indices}
    if name in FLAT:
        backdrop = np.broadcast_to(rgb(FLAT[name]) * 255, pictures[0].shape)
    else:
        visible = np.where(
            np.stack([seen[i] for i in indices])[..., None], np.nan, np.stack([pictures[i] for i in indices])
        )
        backdrop = np.nanmedian(visible, axis=0)
    known = np.isfinite(backdrop).all(-1)
    assert known.mean() > 0.97  # so much does it move
    for index in indices:
        differs = np.abs(pictures[index] - backdrop).max(-1) > 36
        assert mask_iou(differs & known, seen[index] & known) > (0.97 if name in FLAT else 0.93)


def test_the_object_stays_inside_the_picture(example):
    truth = example[3]
    for index in range(0, 32, 4):
        seen = silhouette(truth, index)
        assert not (seen[0].any() or seen[-1].any() or seen[:, 0].any() or seen[:, -1].any())
        assert 0.04 < seen.mean() < 0.4


def test_the_backdrop_stands_still():
    pictures, _ = frames(EXAMPLES / "octopus.mp4")
    truth = load_truth(EXAMPLES / "truth" / "octopus.npz")
    empty = ~np.any([silhouette(truth, i) for i in range(0, 32, 3)], axis=0)
    corner = np.zeros_like(empty)
    corner[:, :24] = corner[:, -24:] = True
    still = empty & corner
    changes = np.abs(pictures[0].astype(float) - pictures[-1])[still]
    assert changes.mean() < 3
    assert pictures[0][still].std() > 25  # cluttered


def test_the_true_mesh_is_sound(example):
    _, _, _, truth = example
    assert is_closed(truth.mesh.faces)
    assert 4000 < len(truth.mesh.faces) <= 6000
    assert flipped_share(truth.vertices[0], truth.vertices, truth.mesh.faces) < 0.002
    assert torch.isfinite(truth.vertices).all()


@pytest.mark.slow
def test_the_script_makes_what_is_shipped(tmp_path):
    make("bird", tmp_path)
    made, shipped = (load_truth(folder / "truth" / "bird.npz") for folder in (tmp_path, EXAMPLES))
    assert torch.equal(made.mesh.faces, shipped.mesh.faces)
    torch.testing.assert_close(made.vertices, shipped.vertices, atol=1e-4, rtol=0)
    ours, theirs = (frames(folder / "bird.mp4")[0] for folder in (tmp_path, EXAMPLES))
    assert np.abs(np.stack(ours).astype(int) - np.stack(theirs)).mean() < 0.5
