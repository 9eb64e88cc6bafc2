"""Work recorded once as CUDA graphs and replayed: no time goes into launching kernels.

`Recorded` is for functions of tensors of fixed shapes that are called many times with gradients. Unlike
`torch.cuda.make_graphed_callables`, the functions of one `GraphPool` share their memory, as each is done with it when
its backward pass ends. `Replayed` is for those without gradients, `Repeated` for the steps of an optimiser.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

_log = logging.getLogger(__name__)
_UNRECORDED_CALLS = 3


def side_by_side(functions: list[Callable[[], Tensor]]) -> list[Tensor]:
    """The functions' values. While a graph is recorded each has a stream of its own, so that replays of many small
    kernels overlap, in the backward pass too."""
    if not torch.cuda.is_available() or not torch.cuda.is_current_stream_capturing():
        return [function() for function in functions]
    main = torch.cuda.current_stream()
    streams = branches(main.cuda_stream, len(functions))
    results = []
    for function, stream in zip(functions, streams, strict=True):
        stream.wait_stream(main)
        with torch.cuda.stream(stream):
            results.append(function())
    for stream in streams:
        main.wait_stream(stream)
    return results


@cache
def branches(stream: int, count: int) -> tuple[torch.cuda.Stream, ...]:
    """Streams beside the one with this handle, always the same: each stream that multiplied matrices once keeps a
    workspace of cuBLAS for good, and keeps the memory of the graph in which it did so."""
    return tuple(torch.cuda.Stream() for _ in range(count))


class GraphPool:
    """Memory shared by recorded functions that run one after the other."""

    def __init__(self) -> None:
        self.handle = torch.cuda.graph_pool_handle()
        self.last: object | None = None
        """The call whose intermediate values the memory holds."""


def warm_up(
    function: Callable[..., Tensor],
    wanted: int,
    *examples: Tensor,
    stream: torch.cuda.Stream | None = None,
    slopes: bool = True,
) -> None:
    """Call the function, forward and with ``slopes`` backward, so that libraries choose their kernels, and caches are
    filled, in a call that is not recorded. ``stream``: the one that it will be recorded in, if that is to be a certain
    one."""
    inputs = [e.detach().clone() for e in examples]
    inputs[wanted].requires_grad_()
    side = stream or branches(torch.cuda.current_stream().cuda_stream, 1)[0]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side), torch.set_grad_enabled(slopes):
        value = function(*inputs)
        if slopes:
            torch.autograd.grad(value, inputs[wanted], torch.zeros_like(value))
        del value
    torch.cuda.current_stream().wait_stream(side)
    torch.cuda.synchronize()
    torch.cuda.empty_cache()  # a recording cannot use what the side stream has left


class Recorded:
    """``function`` (tensors -> one tensor) as CUDA graphs. Call it like the function."""

    def __init__(
        self,
        function: Callable[..., Tensor],
        wanted: int,
        *examples: Tensor,
        pool: GraphPool,
        warm: bool = False,
        stream: torch.cuda.Stream | None = None,
    ) -> None:
        """Records the function for inputs like ``examples``; gradients reach only input number ``wanted``.

        ``warm``: `warm_up` was called before. ``stream``: what is recorded in one and the same stream shares cuBLAS's
        workspace; graphs that are replayed at the same time must come from different ones.
        """
        self.pool = pool
        self.wanted = wanted
        self.inputs = [e.detach().clone() for e in examples]
        self.inputs[wanted].requires_grad_()
        if not warm:
            warm_up(function, wanted, *examples)
        self.forward_graph, self.backward_graph = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
        with torch.enable_grad():
            with torch.cuda.graph(self.forward_graph, pool=pool.handle, stream=stream):
                output = function(*self.inputs)
            self.grad_output = torch.zeros_like(output)
            with torch.cuda.graph(self.backward_graph, pool=pool.handle, stream=stream):
                (self.grad_input,) = torch.autograd.grad(output, self.inputs[wanted], self.grad_output)
        self.output = output.detach()
        pool.last = None

    def __call__(self, *inputs: Tensor) -> Tensor:
        """The function's value; it is overwritten by the next call."""
        result: Tensor = _Replay.apply(self, *inputs)
        return result

    def run_forward(self, inputs: tuple[Tensor, ...], call: object) -> None:
        """Replay the forward pass for ``inputs``."""
        with torch.no_grad():
            for own, given in zip(self.inputs, inputs, strict=True):
                own.copy_(given)
        self.forward_graph.replay()
        self.pool.last = call

    def run_backward(self, grad: Tensor) -> Tensor:
        """Replay the backward pass of the forward pass that was replayed last."""
        self.grad_output.copy_(grad)
        self.backward_graph.replay()
        self.pool.last = None
        return self.grad_input.clone()


def recorded(function: Callable[[Tensor], Tensor], example: Tensor) -> Callable[[Tensor], Tensor]:
    """``function`` of tensors like ``example``, with gradients: as a graph on a CUDA device, else as it is.

    It is left as it is, too, where it cannot be recorded, since something in it waits for the device. The graph's value
    is overwritten by its next call.
    """
    if not example.is_cuda:
        return function
    try:
        return Recorded(function, 0, example, pool=GraphPool())
    except RuntimeError as error:
        _log.warning("a step could not be recorded and stays slower: %s", str(error).splitlines()[0])
        return function


class Replayed:
    """``function`` (tensors -> one tensor), without gradients. On a CUDA device its second call with tensors of the
    same shapes is recorded, once the first has made libraries choose their kernels, and replayed from then on.

    The function may neither wait for the device nor bring anything from the host, and what it reads besides its
    arguments must stay where it is in memory. One that cannot be recorded is called as it is.
    """

    def __init__(self, function: Callable[..., Tensor]) -> None:
        self.function = function
        self._known: dict[object, _Recording | None] = {}
        """By the shapes and kinds of the arguments; None for those called once."""
        self._works = True
        self._pool: GraphPool | None = None  # one for all: each value is copied before the next is computed

    @torch.no_grad()
    def __call__(self, *inputs: Tensor) -> Tensor:
        """The function's value, a tensor of its own."""
        if not inputs[0].is_cuda or not self._works:
            return self.function(*inputs)
        key = tuple((tensor.shape, tensor.dtype) for tensor in inputs)
        (stream,) = branches(torch.cuda.current_stream().cuda_stream, 1)
        if key not in self._known:
            self._known[key] = None
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                value = self.function(*inputs)
            torch.cuda.current_stream().wait_stream(stream)
            value.record_stream(torch.cuda.current_stream())
            return value
        recording = self._known[key]
        if recording is None:
            self._pool = self._pool or GraphPool()
            try:
                recording = self._known[key] = _Recording(self.function, inputs, self._pool, stream)
            except RuntimeError as error:
                _log.warning("a network could not be recorded and stays slower: %s", str(error).splitlines()[0])
                self._works = False
                return self.function(*inputs)
        return recording(inputs)


class _Recording:
    """One graph of `Replayed`."""

    def __init__(
        self, function: Callable[..., Tensor], inputs: tuple[Tensor, ...], pool: GraphPool, stream: torch.cuda.Stream
    ) -> None:
        self.inputs = [tensor.detach().clone() for tensor in inputs]
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, pool=pool.handle, stream=stream):
            self.output = function(*self.inputs)

    def __call__(self, inputs: tuple[Tensor, ...]) -> Tensor:
        for own, given in zip(self.inputs, inputs, strict=True):
            own.copy_(given)
        self.graph.replay()
        return self.output.clone()


class Repeated:
    """``step``, which changes tensors in place and is called many times. On a CUDA device it runs as it is a few times,
    so that libraries choose their kernels and gradients get their memory, is recorded then, and replayed from then on.

    It may neither wait for the device nor bring anything from the host; its optimiser must be capturable. A step that
    does so all the same goes on as it is.
    """

    def __init__(self, step: Callable[[], object], device: torch.device) -> None:
        self.step = step
        self.stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            with torch.cuda.device(device):
                (self.stream,) = branches(torch.cuda.current_stream().cuda_stream, 1)
        self.graph: torch.cuda.CUDAGraph | None = None
        self.calls = 0

    def __call__(self) -> None:
        self.calls += 1
        if self.stream is None:
            self.step()
            return
        if self.calls == _UNRECORDED_CALLS + 1:
            self._record()
        if self.graph is not None:
            self.graph.replay()
            return
        self.stream.wait_stream(torch.cuda.current_stream(self.stream.device))
        with torch.cuda.stream(self.stream):
            self.step()
        torch.cuda.current_stream(self.stream.device).wait_stream(self.stream)

    def _record(self) -> None:
        assert self.stream is not None
        torch.cuda.synchronize(self.stream.device)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=self.stream):
                self.step()
        except RuntimeError as error:
            _log.warning("a step could not be recorded and stays slower: %s", str(error).splitlines()[0])
            return
        self.graph = graph


class _Replay(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, recorded: Recorded, *inputs: Tensor) -> Tensor:
        ctx.recorded = recorded
        ctx.call = object()
        ctx.save_for_backward(*inputs)
        recorded.run_forward(inputs, ctx.call)
        return recorded.output.detach()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        recorded = ctx.recorded
        if recorded.pool.last is not ctx.call:  # another function has used the memory since
            recorded.run_forward(ctx.saved_tensors, ctx.call)
        gradients: list[Tensor | None] = [None] * len(ctx.saved_tensors)
        gradients[recorded.wanted] = recorded.run_backward(grad)
        return None, *gradients
