"""Make the example clips, their true geometry and their thumbnails, the same bytes every time.

Run from the repository's root: ``python -m scripts.make_examples [NAME ...]``.
"""

from __future__ import annotations

import argparse
import importlib
import math
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from scripts.creatures.backdrop import reef
from scripts.creatures.sculpt import Sculpture, paint_texture, pose, rgb, sculpt
from v2m4.color import linear_to_srgb, srgb_to_linear
from v2m4.evaluation.truth import Truth, save_truth
from v2m4.export.video import VideoWriter
from v2m4.geometry.camera import FOV_DEG, Camera, orbit_extrinsics
from v2m4.geometry.mesh import Mesh
from v2m4.render import render_fast

EXAMPLES = Path(__file__).parent.parent / "assets" / "examples"
CREATURES = ("bird", "dinosaur", "octopus")
TEXTURE_SIZE, TRUTH_TEXTURE_SIZE = 1024, 512
SUPERSAMPLE = 3
# Light falls from the upper left, in front; the sky is cool, the ground warm.
KEY = np.array([-0.5, 0.62, 0.72]) / np.linalg.norm([-0.5, 0.62, 0.72])
SKY, GROUND, SUN = np.array([0.62, 0.66, 0.74]), np.array([0.46, 0.4, 0.36]), np.array([0.6, 0.56, 0.5])


def camera_of(creature: ModuleType) -> Camera:
    """The clip's fixed camera; its field of view spans the longer side of the picture."""
    view = creature.VIEW
    yaw, pitch, radius = (
        torch.tensor(float(x)) for x in (math.radians(view["yaw"]), math.radians(view["pitch"]), view["distance"])
    )
    target = torch.tensor(view["target"])
    about_origin = orbit_extrinsics(yaw, pitch, radius, torch.zeros(3))
    about_origin[:3, 3] -= about_origin[:3, :3] @ target
    return Camera(about_origin, FOV_DEG)


def shade(albedo: NDArray[np.float32], normal: NDArray[np.float32], eye: NDArray[np.float32]) -> NDArray[np.float32]:
    """sRGB albedo (…,3) and world normals (…,3) to lit sRGB: sky and ground, wrapped sun, a broad gloss, a thin rim."""
    linear = srgb_to_linear(albedo)
    up = normal[..., 2:] * 0.5 + 0.5
    sun = np.clip((normal @ KEY + 0.35) / 1.35, 0, None)[..., None]
    half = (KEY + eye) / np.linalg.norm(KEY + eye)
    gloss = np.clip(normal @ half, 0, 1)[..., None] ** 24
    rim = (1 - np.clip(normal @ eye, 0, 1))[..., None] ** 4 * np.clip(normal[..., 2:], 0, 1)
    light = linear * (SKY * up + GROUND * (1 - up) + SUN * sun) + 0.05 * gloss + 0.1 * rim * SKY
    return linear_to_srgb(np.clip(light, 0, 1)).astype(np.float32)


def frames_of(
    mesh: Mesh, poses: Tensor, camera: Camera, size: tuple[int, int], backdrop: NDArray[np.float32]
) -> Iterator[NDArray[np.uint8]]:
    """(H,W,3) uint8 pictures of the poses (T,V,3) before the backdrop (H,W,3)."""
    width, height = size
    side = max(size)
    left, top = (side - width) // 2, (side - height) // 2
    eye = -camera.world_to_camera[2, :3].numpy()
    for vertices in poses:
        images = render_fast(
            mesh.with_vertices(vertices), camera, side * SUPERSAMPLE, ("mask", "color", "normal"), smooth_normals=True
        )
        assert images.mask is not None and images.color is not None and images.normal is not None
        crop = np.s_[
            0, top * SUPERSAMPLE : (top + height) * SUPERSAMPLE, left * SUPERSAMPLE : (left + width) * SUPERSAMPLE
        ]
        mask, color, normal = (x.numpy()[crop] for x in (images.mask, images.color, images.normal))
        lit = shade(color, normal, eye) * mask[..., None]
        cells = (height, SUPERSAMPLE, width, SUPERSAMPLE)
        alpha = mask.reshape(cells).mean((1, 3))[..., None]
        picture = lit.reshape(*cells, 3).mean((1, 3)) + backdrop * (1 - alpha)
        yield (picture.clip(0, 1) * 255).round().astype(np.uint8)


def to_y_up(points: Tensor) -> Tensor:
    """The toys' z-up world to glTF's."""
    return torch.stack([points[..., 0], points[..., 2], -points[..., 1]], dim=-1)


def make(name: str, folder: Path) -> None:
    """Write ``name.mp4``, ``name.jpg`` and ``truth/name.npz``."""
    creature = importlib.import_module(f"scripts.creatures.{name}")
    sculpture: Sculpture = sculpt(creature.parts(), creature.BONES, creature.FACES)
    times = np.arange(creature.FRAMES) / creature.FPS
    poses = torch.from_numpy(
        np.stack([pose(sculpture, creature.BONES, creature.moves(i / creature.FRAMES)) for i in range(creature.FRAMES)])
    ).float()
    texture = torch.from_numpy(paint_texture(sculpture, creature.paint, TEXTURE_SIZE))
    mesh = Mesh(
        poses[0],
        torch.from_numpy(sculpture.faces),
        torch.from_numpy(sculpture.uv),
        torch.from_numpy(sculpture.uv_faces),
        texture,
    )
    width, height = creature.SIZE
    if creature.BACKDROP == "reef":
        backdrop = reef(width, height, np.random.default_rng(3))
    else:
        backdrop = np.broadcast_to(rgb(creature.BACKDROP).astype(np.float32), (height, width, 3))
    camera = camera_of(creature)
    pictures = list(frames_of(mesh, poses, camera, creature.SIZE, backdrop))
    with VideoWriter(folder / f"{name}.mp4", times.tolist(), creature.FRAMES / creature.FPS, crf=16) as video:
        for picture in pictures:
            video.add(picture)
    Image.fromarray(pictures[creature.FRAMES // 4]).save(folder / f"{name}.jpg", quality=88)

    axes = torch.eye(4)
    axes[:3, :3] = to_y_up(torch.eye(3)).T  # z-up to y-up
    focal = camera.focal * max(creature.SIZE)
    small = torch.nn.functional.avg_pool2d(texture.permute(2, 0, 1), TEXTURE_SIZE // TRUTH_TEXTURE_SIZE).permute(
        1, 2, 0
    )
    truth = Truth(
        vertices=to_y_up(poses),
        times=times,
        mesh=Mesh(to_y_up(poses[0]), mesh.faces, mesh.uv, mesh.uv_faces, small),
        world_to_camera=camera.world_to_camera @ axes.T,
        intrinsics=np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]]),
        size=creature.SIZE,
    )
    (folder / "truth").mkdir(exist_ok=True)
    save_truth(folder / "truth" / f"{name}.npz", truth)


def main() -> None:
    """Make the examples named on the command line, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*CREATURES, []], help="which ones; all if none is named")
    parser.add_argument("--folder", type=Path, default=EXAMPLES)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name in arguments.names or CREATURES:
        make(name, arguments.folder)


if __name__ == "__main__":
    main()
