"""Section 4.2: the look of a keyframe's mesh, refined through the generator's negative embedding.

While the latent is sampled a second time, from the same noise on the same voxels, the embedding that guidance steers
away from (zeros at first) is optimised so that the object, rendered from the camera that was found, looks as the video
frame does. Gradients run from both renderings, of the mesh and of the Gaussians, through the decoders, the clean
estimate and the guided step.

``paper`` does this as the appendix says, but for the optimiser, which starts afresh in every sampling step: so it gets
further in 24 iterations than in the appendix' 69 (those are: 5, one more every 5 sampling steps, lr 0.1, no restart;
docs/benchmarks.md compares them). ``fast`` decodes one of the two representations per iteration, renders smaller
pictures, and returns the first pass if that looked better.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torch.utils._pytree import tree_flatten

from v2m4.errors import V2M4Error
from v2m4.events import Progress, StageRun
from v2m4.geometry.camera import Camera
from v2m4.geometry.mesh import Mesh
from v2m4.nn.cuda_graphs import GraphPool, Recorded, branches, side_by_side
from v2m4.nn.weights import memory_guard
from v2m4.perceptual import PERCEPTUALS, Perceptual
from v2m4.render.gaussians import render_gaussians
from v2m4.render.images import render
from v2m4.render.splats import Gaussians
from v2m4.settings import RefinementSettings


class Surface(Protocol):
    """A decoded mesh: vertices (V,3), faces (F,3) int64, attributes (V,3 or more), the first three its colours in
    [0,1]. success: False where there is no surface, and all are empty."""

    @property
    def vertices(self) -> Tensor: ...
    @property
    def faces(self) -> Tensor: ...
    @property
    def attributes(self) -> Tensor: ...
    @property
    def success(self) -> bool: ...


class LatentObject(Protocol):
    """An object whose latent can be sampled again, from noise at time 1 to data at time 0.

    cond (K,T,C): tokens of its pictures. negative (1,T,C): where the embedding starts. noise (N,L): where the latent
    starts. states (S,N,L): where the first S steps of the sampler begin, if they are guided; the first is the noise.
    first (N,L): the first pass's de-normalised latent, if it is known. times: where the sampler's steps begin, and 0.
    guidance: weight of the difference between the two velocities, counted from the conditional one.
    """

    cond: Tensor
    negative: Tensor
    noise: Tensor
    states: Tensor
    first: Tensor | None
    times: Sequence[float]
    guidance: float

    def at_work(self) -> AbstractContextManager[None]:
        """Inside, the networks are on their device and ready for gradients."""
        ...

    def velocity(self, x: Tensor, t: float, cond: Tensor) -> Tensor:
        """Velocity (N,L) of the state ``x`` (N,L) at ``t`` in thousandths under tokens ``cond`` (1,T,C)."""
        ...

    def clean_estimate(self, x: Tensor, v: Tensor, t: float) -> Tensor:
        """The data (N,L) that velocity ``v`` (N,L) at state ``x`` (N,L) and time ``t`` in [0,1] points to."""
        ...

    def denormalise(self, x: Tensor) -> Tensor:
        """State -> latent that the decoders take."""
        ...

    def decode_mesh(self, slat: Tensor) -> Surface:
        """Latent -> mesh in the generator's pose, differentiable."""
        ...

    def decode_gaussians(self, slat: Tensor) -> Gaussians:
        """Latent -> Gaussians in the same pose, differentiable."""
        ...

    def finish(self, slat: Tensor) -> Mesh:
        """Latent -> the mesh that the pipeline goes on with."""
        ...


@runtime_checkable
class TwoDecoders(Protocol):
    """A `LatentObject` whose `decode_mesh` consists of two steps. at_once: whether its decoders do not share memory, so
    that both may work at the same time."""

    @property
    def at_once(self) -> bool: ...

    def mesh_features(self, slat: Tensor) -> Tensor:
        """What the network makes of a latent."""
        ...

    def extract(self, features: Tensor) -> Surface:
        """The mesh that lies in it."""
        ...


@runtime_checkable
class Resumable(Protocol):
    """A generator whose objects can be refined."""

    def resume(self, extras: Mapping[str, Tensor], device: torch.device | str) -> LatentObject:
        """Take up an object again; ``extras`` is what came with it in `Generated.extras`."""
        ...


def iterations_at(step: int, settings: RefinementSettings) -> int:
    """Iterations of the optimiser in sampling step ``step``, counted from 0."""
    grown = step // settings.iterations_grow_every if settings.iterations_grow_every else 0
    return settings.iterations + grown


@dataclass(frozen=True)
class Iteration:
    """One step of the optimiser. ``loss`` is that before the step."""

    step: int
    index: int
    loss: float


@dataclass(frozen=True)
class Sampled:
    """One step of the sampler: state after it, clean estimate (both (N,L)) and embedding (1,T,C)."""

    step: int
    iterations: int
    x: Tensor
    x0: Tensor
    negative: Tensor


class ScoreLatent(Protocol):
    """How far the object of a de-normalised latent (N,L) is from the picture, as a sum of terms.

    A term is computed when it is asked for, so that only one of them at a time occupies memory. Who wants slopes takes
    those of a term before asking for the next; they may reach the latent's `grad` then only.
    """

    def __call__(self, slat: Tensor, index: int) -> Generator[Tensor, None, None]:
        """Differentiable numbers (). ``index``: number of the iteration within its sampling step."""
        ...


def refine_appearance(
    generator: Resumable,
    extras: Mapping[str, Tensor],
    picture: NDArray[np.uint8],
    camera: Camera,
    settings: RefinementSettings,
    *,
    keyframe: int | None = None,
    device: torch.device | str = "cpu",
    distances: ImageDistances | None = None,
) -> StageRun[Mesh]:
    """The keyframe's mesh, in the generator's pose, looking more like ``picture`` (S,S,4) uint8 RGBA.

    ``camera``: the one that shows the generator's mesh as the picture does. ``distances``: kept from one keyframe to
    the next; loaded if absent. Nothing is drawn: the noise is that of the first pass. Raises V2M4Error for an empty
    picture, too little memory, or an object that lost its surface.
    """
    if distances is None:
        distances = ImageDistances(load_perceptuals(settings, device))
    with memory_guard("refinement"):
        source = generator.resume(extras, device)
        reference = reference_picture(picture, settings.image_size, device)
        comparison = distances.comparison(reference, settings)
        with source.at_work():
            score = scorer(source, camera, comparison, settings)
            steps = optimise_negative(source, score, settings)
            count = len(source.times) - 1
            slat = source.noise
            for event in steps:
                done = event.step + (1 if isinstance(event, Sampled) else 1 - 0.7 ** (event.index + 1))
                note = f"loss {event.loss:.3f}" if isinstance(event, Iteration) else ""
                yield Progress("refinement", 0.95 * done / count, keyframe, note)
                if isinstance(event, Sampled):
                    slat = event.x
            slat = source.denormalise(slat)
            if settings.keep_better and source.first is not None:
                slat = closer(source, camera, comparison, settings, source.first, slat)
            mesh = source.finish(slat)
    yield Progress("refinement", 1.0, keyframe)
    return mesh


def load_perceptuals(
    settings: RefinementSettings, device: torch.device | str, loaded: Mapping[str, Perceptual] = {}
) -> dict[str, Perceptual]:
    """The image distances that the settings give a weight to, with their published weights; those that are ``loaded``
    already are taken as they are."""
    weights = {"dreamsim": settings.dreamsim_weight, "lpips": settings.lpips_weight}
    wanted = [name for name, weight in weights.items() if weight]
    return {name: loaded[name] if name in loaded else PERCEPTUALS[name].load()(device) for name in wanted}


def reference_picture(picture: NDArray[np.uint8], size: int, device: torch.device | str) -> Tensor:
    """(S,S,4) uint8 RGBA with straight alpha -> (size,size,3) float32 in [0,1] on black."""
    rgba = torch.tensor(picture, device=device).float() / 255
    premultiplied = (rgba[..., :3] * rgba[..., 3:]).permute(2, 0, 1)[None]
    shrinks = size < picture.shape[0]
    resized = functional.interpolate(premultiplied, (size, size), mode="bicubic", antialias=shrinks)
    reference = resized[0].permute(1, 2, 0).clamp(0, 1)
    # Bicubic ringing around the object would widen the mask by a rim of nearly black pixels.
    reference = torch.where(reference.sum(-1, keepdim=True) > 1 / 255, reference, 0)
    if not bool((reference > 0).any()):
        raise V2M4Error("Refinement needs a picture of the object, but this keyframe is empty.")
    return reference


class Comparison:
    """Distance of pictures to the reference inside its mask: weighted image distances plus mean squared error."""

    def __init__(self, reference: Tensor, perceptuals: Mapping[str, Perceptual], settings: RefinementSettings) -> None:
        """``reference``: (H,W,3) in [0,1] on black; wherever it is not black is the object."""
        self.reference = reference
        self.mask = (reference.sum(-1, keepdim=True) > 0).to(reference.dtype)
        self.mse_weight = settings.mse_weight
        weights = {"dreamsim": settings.dreamsim_weight, "lpips": settings.lpips_weight}
        self.distances: list[tuple[float, Perceptual, Any]] = [
            (weights[name], distance, distance.prepare(reference))
            for name, distance in perceptuals.items()
            if weights[name]
        ]
        self._recorded = Recorded(self._one, 0, reference, pool=GraphPool()) if reference.is_cuda else None

    def turn_to(self, reference: Tensor) -> bool:
        """Compare with another picture from now on, in the same memory, so that what was recorded stays right.

        Returns False, and changes nothing, where that cannot be: for another size, or distances whose prepared
        references are no plain tensors.
        """
        fresh = (reference, [distance.prepare(reference) for _, distance, _ in self.distances])
        own = (self.reference, [prepared for *_, prepared in self.distances])
        (old, old_shape), (new, new_shape) = tree_flatten(own), tree_flatten(fresh)
        if old_shape != new_shape or not all(_interchangeable(a, b) for a, b in zip(old, new, strict=True)):
            return False
        for mine, other in zip(old, new, strict=True):
            if isinstance(mine, Tensor):
                mine.copy_(other)
        self.mask.copy_(self.reference.sum(-1, keepdim=True) > 0)
        return True

    def __call__(self, images: Tensor) -> Tensor:
        """(N,H,W,3) -> (N,)."""
        masked = images * self.mask
        total = self.mse_weight * ((masked - self.reference) ** 2).mean((1, 2, 3))
        values = side_by_side([partial(distance, prepared, masked) for _, distance, prepared in self.distances])
        for (weight, _, _), value in zip(self.distances, values, strict=True):
            total = total + weight * value
        return total

    def one(self, image: Tensor) -> Tensor:
        """The distance () of a single picture (H,W,3); on a CUDA device a recorded graph."""
        return self._recorded(image) if self._recorded else self._one(image)

    def _one(self, image: Tensor) -> Tensor:
        return self(image[None])[0]


def _interchangeable(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.shape == b.shape and a.dtype == b.dtype and a.device == b.device
    return isinstance(a, (int, float)) and a == b


class ImageDistances:
    """The image distances by name, "dreamsim" and "lpips", and the comparison made of them last, for the next one to
    use again: networks are loaded, and graphs recorded, once for all keyframes."""

    def __init__(self, perceptuals: Mapping[str, Perceptual]) -> None:
        self.perceptuals = perceptuals
        self._last: tuple[RefinementSettings, Comparison] | None = None

    def comparison(self, reference: Tensor, settings: RefinementSettings) -> Comparison:
        """With ``reference`` (H,W,3). The one before is not valid any more."""
        if self._last is None or self._last[0] != settings or not self._last[1].turn_to(reference):
            self._last = None  # frees its memory before as much is taken again
            self._last = (settings, Comparison(reference, self.perceptuals, settings))
        return self._last[1]


def scorer(source: LatentObject, camera: Camera, comparison: Comparison, settings: RefinementSettings) -> ScoreLatent:
    """The weighted distance of the object's renderings to the reference: the mesh's, and the Gaussians'."""
    weight = 2.0 if settings.alternate else 1.0  # in turn, each stands for both

    def of_gaussians(slat: Tensor) -> Tensor:
        return comparison.one(render_gaussians(source.decode_gaussians(slat), camera, settings.image_size)[0])

    def score(slat: Tensor, index: int) -> Generator[Tensor, None, None]:
        slopes = slat.is_cuda and slat.requires_grad and torch.is_grad_enabled()
        if not settings.alternate and slopes and isinstance(source, TwoDecoders) and source.at_once:
            yield from side_by_side_scores(source, slat)
            return
        if not settings.alternate or index % 2 == 0:
            yield weight * comparison.one(mesh_picture(source.decode_mesh(slat), camera, settings))
        if not settings.alternate or index % 2 == 1:
            yield weight * of_gaussians(slat)

    def side_by_side_scores(source: TwoDecoders, slat: Tensor) -> Iterator[Tensor]:
        """The same two terms. To extract and render a mesh takes the processor longer than the GPU, which meanwhile
        works on the Gaussians in a stream of its own."""
        main = torch.cuda.current_stream()
        (side,) = branches(main.cuda_stream, 1)
        side.wait_stream(main)
        features = source.mesh_features(slat)
        with torch.cuda.stream(side):
            # A leaf of its own: that of the mesh is tied to the main stream. Who asks for the terms takes their slopes
            # before the next one, hence within this block.
            aside = slat.detach().requires_grad_()
            yield of_gaussians(aside)
        picture = mesh_picture(source.extract(features), camera, settings)
        main.wait_stream(side)  # the comparison's memory is used by one at a time
        slat.grad = aside.grad
        yield comparison.one(picture)

    return score


def mesh_picture(mesh: Surface, camera: Camera, settings: RefinementSettings) -> Tensor:
    """(size,size,3) the decoded colours on black; all black where there is no surface."""
    if not mesh.success:
        return mesh.vertices.new_zeros(settings.image_size, settings.image_size, 3)
    textured = Mesh(mesh.vertices, mesh.faces, colors=mesh.attributes[:, :3])
    images = render(textured, camera, settings.image_size, ("color",), supersample=settings.supersampling)
    assert images.color is not None
    return images.color[0]


@torch.no_grad()
def closer(
    source: LatentObject,
    camera: Camera,
    comparison: Comparison,
    settings: RefinementSettings,
    first: Tensor,
    refined: Tensor,
) -> Tensor:
    """Whichever latent's renderings are closer to the reference."""
    score = scorer(source, camera, comparison, replace(settings, alternate=False))
    return first if total(score(first, 0)) < total(score(refined, 0)) else refined


def optimise_negative(
    source: LatentObject, score: ScoreLatent, settings: RefinementSettings
) -> Generator[Iteration | Sampled, None, None]:
    """Sample the latent with guidance throughout, optimising the embedding in the steps that start at or below
    ``settings.start_t``.

    It begins where the first pass, whose states are the same until then, has met the first of these steps.

    The optimiser is Adam (Kingma and Ba 2015): one for all steps, or with ``restart`` one for each. The conditional
    branch does not depend on the embedding, so each sampling step evaluates it once. Losses are scaled by a power of
    two, which changes nothing but keeps gradients through half-precision networks from vanishing.
    """
    negative = source.negative.detach().float().clone().requires_grad_()
    start = negative.detach().clone()
    optimiser = torch.optim.Adam([negative], lr=settings.lr)
    scale = 1024.0
    known = sum(t > settings.start_t for t in source.times[: len(source.states) - 1])
    x = source.states[known]
    for step, (t, t_next) in list(enumerate(pairwise(source.times)))[known:]:
        chosen = step % len(source.cond)
        with torch.no_grad():
            towards = source.velocity(x, 1000 * t, source.cond[chosen : chosen + 1])
        planned = iterations_at(step, settings) if t <= settings.start_t and source.guidance else 0
        if settings.restart:
            optimiser = torch.optim.Adam([negative], lr=settings.lr)
        for index in range(planned):
            v = _guided(source, x, t, towards, negative)
            slat = source.denormalise(source.clean_estimate(x, v, t))
            anchor = settings.anchor_weight * functional.mse_loss(negative, start)
            loss, scale = descend(optimiser, negative, slat, anchor, partial(score, index=index), scale)
            yield Iteration(step, index, loss)
        with torch.no_grad():
            v = _guided(source, x, t, towards, negative)
            x0 = source.clean_estimate(x, v, t)
            x = x - (t - t_next) * v
        yield Sampled(step, planned, x, x0, negative.detach().clone())


def _guided(source: LatentObject, x: Tensor, t: float, towards: Tensor, negative: Tensor) -> Tensor:
    if not source.guidance:
        return towards
    away = source.velocity(x, 1000 * t, negative)
    return (1 + source.guidance) * towards - source.guidance * away


def descend(
    optimiser: torch.optim.Optimizer,
    negative: Tensor,
    slat: Tensor,
    anchor: Tensor,
    terms: Callable[[Tensor], Generator[Tensor, None, None]],
    scale: float,
) -> tuple[float, float]:
    """One step of the optimiser; returns the loss before it and the next loss scale.

    The terms' slopes are summed at the latent first, one term after the other, and taken on to the embedding once. A
    gradient that overflowed makes no step.
    """
    optimiser.zero_grad()
    leaf = slat.detach().requires_grad_()
    loss = anchor.detach()
    with closing(terms(leaf)) as each:
        for term in each:
            (term * scale).backward()
            loss = loss + term.detach()
    if leaf.grad is not None and slat.requires_grad:
        torch.autograd.backward([slat, anchor], [leaf.grad, torch.full_like(anchor, scale)])
    else:
        (anchor * scale).backward()
    assert negative.grad is not None
    if not bool(negative.grad.isfinite().all()):
        return float(loss), scale / 16
    negative.grad /= scale
    optimiser.step()
    return float(loss), scale


def total(terms: Iterator[Tensor]) -> float:
    """The sum of terms that need no gradient."""
    return float(sum(float(term) for term in terms))
