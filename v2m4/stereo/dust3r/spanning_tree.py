"""Start of global alignment: chain the most trusted pairs into one world, then read off every camera.

DUSt3R (arXiv 2312.14132), section 3.4, with the start of the authors' release: a maximum spanning tree over the pairs'
confidence, each new image attached by a similarity.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import minimum_spanning_tree
from torch import Tensor

from v2m4.errors import V2M4Error
from v2m4.geometry.similarity import umeyama
from v2m4.settings import Dust3rSettings
from v2m4.stereo.dust3r.pairs import PairPredictions
from v2m4.stereo.dust3r.registration import camera_from_points, estimate_focal, pair_scores


@dataclass
class TreeStart:
    """World points (N, H, W, 3), camera-to-world (N, 4, 4), focal lengths in pixels (N,), and the tree's edges."""

    points: Tensor
    cameras: Tensor
    focals: Tensor
    edges: list[tuple[int, int]]


def start_from_tree(pairs: PairPredictions, settings: Dust3rSettings) -> TreeStart:
    """Place every image of `pairs` in one world frame. The world is the first image of the most trusted pair.

    Images whose camera the tree does not give are located by PnP on their confident pixels.
    """
    # 1. The tree's edges, the most trusted last.
    images = pairs.image_count
    scores = pair_scores(pairs.confidence1, pairs.confidence2).tolist()
    first, second = pairs.edges.T.tolist()
    edge_of = {(i, j): e for e, (i, j) in enumerate(zip(first, second, strict=True))}
    queue = _tree_edges(scores, first, second, images)

    # 2. Its root: a pair's point maps as they are.
    i, j = queue.pop()
    edge = edge_of[i, j]
    points: list[Tensor | None] = [None] * images
    cameras: list[Tensor | None] = [None] * images
    focals: list[float | None] = [None] * images
    points[i], points[j] = pairs.points1[edge], pairs.points2[edge]
    cameras[i] = torch.eye(4).to(pairs.points1)
    focals[i] = float(estimate_focal(pairs.points1[edge], settings.focal_rounds))
    visited = [(i, j)]
    # 3. Every further pair has one image in the world already; the similarity of that one's maps carries the other in.
    while queue:
        i, j = queue.pop()
        if focals[i] is None:
            # The authors' order: the focal is taken from the pair visited before this one. A start only; the descent
            # corrects it, and keeping the order keeps the start that the published results were made with.
            focals[i] = float(estimate_focal(pairs.points1[edge], settings.focal_rounds))
        known_i, known_j = points[i], points[j]
        if known_i is None and known_j is None:
            queue.insert(0, (i, j))
            continue
        edge = edge_of[i, j]
        if known_i is not None:
            fit = umeyama(_flat(pairs.points1[edge]), _flat(known_i), pairs.confidence1[edge].flatten())
            points[j] = fit.apply(pairs.points2[edge])
        elif known_j is not None:
            fit = umeyama(_flat(pairs.points2[edge]), _flat(known_j), pairs.confidence2[edge].flatten())
            points[i] = fit.apply(pairs.points1[edge])
        if cameras[i] is None:
            pose = torch.eye(4).to(fit.rotation)
            pose[:3, :3], pose[:3, 3] = fit.rotation, fit.translation
            cameras[i] = pose
        visited.append((i, j))

    # 4. Focal lengths that are still missing, from the most trusted pairs.
    for e in np.argsort(-np.asarray(scores), kind="stable").tolist():
        if focals[first[e]] is None:
            focals[first[e]] = float(estimate_focal(pairs.points1[e], settings.focal_rounds))

    # 5. And cameras, by PnP.
    world = torch.stack([p for p in points if p is not None])
    best_confidence = pairs.confidence_per_image()
    for image, known in enumerate(cameras):
        if known is None:
            trusted = best_confidence[image] > settings.confident
            found = camera_from_points(world[image], trusted, focals[image], settings)
            if found is not None:
                focals[image], cameras[image] = found
    # A camera that even PnP does not find starts at the world's origin with a view as wide as the image.
    side = float(max(world.shape[1:3]))
    return TreeStart(
        points=world,
        cameras=torch.stack([torch.eye(4).to(world) if c is None else c for c in cameras]),
        focals=torch.tensor([side if f is None else f for f in focals], device=world.device),
        edges=visited,
    )


def _tree_edges(scores: list[float], first: list[int], second: list[int], images: int) -> list[tuple[int, int]]:
    """Edges of the maximum spanning tree over both directions of each pair, least trusted first."""
    graph = coo_matrix((-np.asarray(scores), (first, second)), shape=(images, images)).tocsr()
    tree = minimum_spanning_tree(graph).tocoo()
    if tree.nnz != images - 1:
        raise V2M4Error(
            f"dust3r: the pairs do not connect all {images} images, so they have no common frame. Pair every image."
        )
    ordered = sorted(zip((-tree.data).tolist(), tree.row.tolist(), tree.col.tolist(), strict=True))
    return [(i, j) for _, i, j in ordered]


def _flat(points: Tensor) -> Tensor:
    return points.reshape(-1, 3)
