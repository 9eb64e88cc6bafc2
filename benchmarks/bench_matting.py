"""Masks of a moving object before a background that stands still, shakes or pans: overlap with the truth, and time.

    python -m benchmarks.bench_matting [--set tuning|held-out] [--only PART] [--pictures FOLDER] [CLIP RGBA_FOLDER ...]

The example creatures, with their true geometry, are filmed by a camera that turns about its centre, before painted
panoramas that are infinitely far away, and compressed as H.264. `tuning` clips may be looked at while the method is
changed; the `held-out` ones differ in creature, panorama and path, and are only measured. A clip with a folder of its
true RGBA frames may be given instead. Seconds are those of the processor.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from scripts.creatures.backdrop import reef
from v2m4.clip import Clip
from v2m4.errors import V2M4Error
from v2m4.evaluation.truth import load_truth
from v2m4.events import drain
from v2m4.export.video import VideoWriter
from v2m4.masks import mask_iou
from v2m4.matting import MATTINGS
from v2m4.render import render_fast
from v2m4.settings import MattingSettings, Settings, VideoSettings
from v2m4.video import load_video

ROOT = Path(__file__).parent.parent
SIDE, FRAMES, NOISE, FOCAL = 448, 28, 2.0, 1.3
DEPTH = 3.0  # of the object's middle, in its own sizes; the camera turns but does not move
TARGET = 0.95


@dataclass(frozen=True)
class Scene:
    """One clip. pan, shake: shares of the picture's side. follow: the object keeps its place in the picture."""

    creature: str
    panorama: str
    seed: int
    shake: float = 0.0
    pan: float = 0.0
    follow: bool = False

    @property
    def name(self) -> str:
        """Its line in the table."""
        moves = [f"pan {self.pan:.3g}"] * (self.pan > 0) + [f"shake {self.shake:.3g}"] * (self.shake > 0)
        return f"{self.creature}, {self.panorama} {self.seed}, {' '.join(moves) or 'still'}{', followed' * self.follow}"


SETS = {
    "tuning": (
        Scene("octopus", "reef", 3),
        Scene("octopus", "reef", 3, shake=0.02),
        Scene("dinosaur", "hills", 5, shake=0.04),
        Scene("octopus", "boards", 6, shake=0.03),
        Scene("bird", "hills", 7, pan=0.3, shake=0.005),
        Scene("dinosaur", "boards", 8, pan=0.3, follow=True),
    ),
    "held-out": (
        Scene("octopus", "hills", 21),
        Scene("octopus", "hills", 21, shake=0.02),
        Scene("bird", "boards", 22, shake=0.04),
        Scene("dinosaur", "reef", 23, shake=0.03),
        Scene("octopus", "reef", 24, pan=0.3, shake=0.005),
        Scene("bird", "boards", 25, pan=0.3, follow=True),
        Scene("dinosaur", "hills", 26, pan=0.3),
    ),
}


def fractal(height: int, width: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """(height,width) in [0,1]: noise of all sizes, each half as strong as the next larger one."""
    total = np.zeros((height, width), np.float32)
    for octave in range(2, 8):
        grid = rng.random((2**octave, 2 ** (octave + 1))).astype(np.float32)
        total += np.float32(0.55**octave) * cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray((total - total.min()) / np.ptp(total), np.float32)


def hills(width: int, height: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """(height,width,3) in [0,1]: a cloudy sky and wooded ridges, one before the other."""
    sky = fractal(height, width, rng)[..., None]
    picture = np.array([0.5, 0.66, 0.86]) * (1 - sky) + np.array([0.95, 0.93, 0.9]) * sky
    x, y = np.arange(width) / height, np.arange(height)[:, None] / height
    for ridge in range(4):
        line = 0.42 + 0.13 * ridge + sum(0.05 / k * np.sin(k * 3 * x + rng.uniform(0, 6.3)) for k in range(1, 7))
        wood = fractal(height, width, rng)[..., None]
        near = np.array([[0.45, 0.55, 0.6], [0.3, 0.45, 0.42], [0.2, 0.38, 0.22], [0.32, 0.3, 0.14]][ridge])
        picture = np.where((y > line)[..., None], near * (0.5 + wood), picture)
    return picture.astype(np.float32)


def boards(width: int, height: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """(height,width,3) in [0,1]: a weathered wall with painted boards, posts and wires on it."""
    wall = fractal(height, width, rng)[..., None]
    picture = np.ascontiguousarray((np.array([110, 116, 122]) * (0.6 + 0.8 * wall)).clip(0, 255).astype(np.uint8))
    for _ in range(70):
        x, y, w, h = (int(rng.integers(low, high)) for low, high in ((0, width), (0, height), (12, 110), (12, 110)))
        colour = [int(v) for v in rng.integers(30, 225, 3)]
        corners = np.array([[0, 0], [w, rng.integers(-9, 9)], [w + rng.integers(-9, 9), h], [rng.integers(-9, 9), h]])
        cv2.fillConvexPoly(picture, (corners + np.array([x, y])).astype(np.int32), colour, cv2.LINE_AA)
        end = (x + int(rng.integers(-160, 160)), y + int(rng.integers(-160, 160)))
        cv2.line(picture, (x, y), end, colour[::-1], int(rng.integers(1, 5)), cv2.LINE_AA)
    return picture.astype(np.float32) / np.float32(255)


PANORAMAS: dict[str, Callable[[int, int, np.random.Generator], NDArray[np.float32]]] = {
    "reef": reef,
    "hills": hills,
    "boards": boards,
}


def turns(scene: Scene, rng: np.random.Generator) -> list[NDArray[np.float64]]:
    """(3,3) per frame: the camera's rotation, from the world's directions to the picture's."""
    times = np.linspace(0, 1, FRAMES)
    to_angle = 1 / FOCAL  # of one side of the picture near its middle
    drift = np.stack(
        [
            sum(np.sin(f * 6.3 * times + p) for f, p in zip((1, 2.3, 4.1), rng.uniform(0, 6.3, 3), strict=True))
            for _ in range(3)
        ]
    )
    drift = drift / np.abs(drift).max(1, keepdims=True) * 0.75 + rng.uniform(-0.25, 0.25, (3, FRAMES))
    yaw, pitch = (scene.shake * to_angle * drift[:2]) + (
        np.array([1, 0.1])[:, None] * scene.pan * to_angle * (times - 0.5)
    )
    roll = 0.5 * scene.shake * drift[2]
    return [
        cv2.Rodrigues(np.array([0, 0, r]))[0]
        @ cv2.Rodrigues(np.array([p, 0, 0]))[0]
        @ cv2.Rodrigues(np.array([0, y, 0]))[0]
        for y, p, r in zip(yaw, pitch, roll, strict=True)
    ]


def film(scene: Scene, path: Path) -> list[NDArray[np.bool_]]:
    """Write the clip of ``scene`` and return its true masks (SIDE,SIDE)."""
    rng = np.random.default_rng(scene.seed)
    truth = load_truth(ROOT / "assets" / "examples" / "truth" / f"{scene.creature}.npz")
    poses = truth.in_camera_space()  # (T,V,3)
    size = float((poses.amax((0, 1)) - poses.amin((0, 1)))[:2].max())
    poses = (poses - (poses.amax((0, 1)) + poses.amin((0, 1))) / 2) / size
    poses[..., 2] += DEPTH * 0.9
    wide = round(1.9 * SIDE)
    panorama = PANORAMAS[scene.panorama](wide, round(1.5 * SIDE), rng)
    intrinsics = np.array([[FOCAL * SIDE, 0, SIDE / 2], [0, FOCAL * SIDE, SIDE / 2], [0, 0, 1]])
    middle = np.array([[1, 0, (SIDE - wide) / 2], [0, 1, (SIDE - round(1.5 * SIDE)) / 2], [0, 0, 1]])
    camera = replace(truth.camera, world_to_camera=torch.eye(4), fov_deg=float(np.degrees(2 * np.arctan(0.5 / FOCAL))))
    masks = []
    with VideoWriter(path, [i / 20 for i in range(FRAMES)], FRAMES / 20, crf=18) as video:
        for index, turn in enumerate(turns(scene, rng)):
            pixels = intrinsics @ turn @ np.linalg.inv(intrinsics)
            behind = cv2.warpPerspective(panorama, pixels @ middle, (SIDE, SIDE), flags=cv2.INTER_CUBIC)
            seen = poses[index % len(poses)] @ torch.from_numpy(np.eye(3) if scene.follow else turn).float().T
            images = render_fast(
                truth.mesh.with_vertices(seen), camera, 3 * SIDE, ("mask", "color", "normal"), smooth_normals=True
            )
            assert images.mask is not None and images.color is not None and images.normal is not None
            light = 0.75 + 0.3 * (images.normal[0] @ torch.tensor([-0.4, -0.7, -0.6])).clamp(-0.6, 1)
            front = (images.color[0] * (light * images.mask[0])[..., None]).numpy()
            alpha = cv2.resize(images.mask[0].numpy(), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
            picture = cv2.resize(front, (SIDE, SIDE), interpolation=cv2.INTER_AREA) + behind * (1 - alpha[..., None])
            picture = picture * 255 + rng.normal(0, NOISE, picture.shape)
            video.add(picture.round().clip(0, 255).astype(np.uint8))
            masks.append(alpha > 0.5)
    return masks


def measure(name: str, path: Path, truth: list[NDArray[np.bool_]], folder: Path, pictures: Path | None) -> float | None:
    """Print a line of the table; the mean overlap, None if the clip was refused."""
    clip = drain(load_video(path, folder, VideoSettings()))
    matting = MATTINGS["motion"].create(Settings(), torch.device("cpu"))
    started = time.process_time()
    try:
        drain(matting.prepare(clip, MattingSettings()))
    except V2M4Error as error:
        print(f"{name:44s} refused: {error}", flush=True)
        return None
    prepared = time.process_time()
    left, top, right, bottom = clip.content_box()
    found = [matting.frame(clip, i)[top:bottom, left:right, 3] > 127 for i in range(len(clip))]
    ended = time.process_time()
    overlaps = [mask_iou(a, b) for a, b in zip(found, truth, strict=True)]
    mean = float(np.mean(overlaps))
    print(
        f"{name:44s} {mean:.3f} / {min(overlaps):.3f}   {prepared - started:5.1f} s {ended - prepared:5.1f} s"
        f"{'' if mean >= TARGET else '   missed'}",
        flush=True,
    )
    if pictures:
        pictures.mkdir(parents=True, exist_ok=True)
        worst = int(np.argmin(overlaps))
        _show(clip, worst, found[worst], truth[worst]).save(pictures / f"{name.replace(' ', '_')}.png")
    return mean


def _show(clip: Clip, index: int, found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> Image.Image:
    """The frame, and beside it what was missed in red and what was added in blue."""
    left, top, right, bottom = clip.content_box()
    rgb = clip.frame(index)[top:bottom, left:right, :3]
    marked = np.where(found[..., None], rgb, rgb // 3)
    marked[truth & ~found], marked[found & ~truth] = (255, 0, 0), (0, 0, 255)
    return Image.fromarray(np.hstack([rgb, marked]))


def _given(paths: list[Path]) -> Iterator[tuple[str, Path, list[NDArray[np.bool_]]]]:
    for path, folder in zip(paths[::2], paths[1::2], strict=True):
        masks = [np.asarray(Image.open(f).convert("RGBA"))[..., 3] > 127 for f in sorted(folder.glob("*.png"))]
        yield path.parent.name, path, masks


def main() -> None:
    """Film, cut out, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*", type=Path, help="clips, each followed by the folder of its true frames")
    parser.add_argument("--set", choices=list(SETS), default="tuning")
    parser.add_argument("--only", default="")
    parser.add_argument("--pictures", type=Path)
    arguments = parser.parse_args()
    print(f"{'clip':44s} IoU mean / worst   prepare  frames   (target {TARGET})")
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        for number, (name, path, masks) in enumerate(_given(arguments.paths)):
            measure(name, path, masks, place / f"given{number}", arguments.pictures)
        for number, scene in enumerate(() if arguments.paths else SETS[arguments.set]):
            if arguments.only in scene.name:
                path = place / f"{number}.mp4"
                measure(scene.name, path, film(scene, path), place / str(number), arguments.pictures)


if __name__ == "__main__":
    main()
