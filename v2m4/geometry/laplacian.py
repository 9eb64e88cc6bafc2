"""Mesh Laplacians, the large-steps parametrisation and its optimiser (Nicolet, Jacobson and Jakob 2021)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from v2m4.geometry.mesh import unique_edges

_INVERTED = 16_000  # vertices up to which a GPU keeps a matrix's inverse: 1 GB


def uniform_laplacian(vertices: int, faces: Tensor) -> Tensor:
    """(V,V) sparse combinatorial Laplacian: the vertices' degrees minus the adjacency matrix."""
    edges = unique_edges(faces)
    return _from_edges(vertices, edges, torch.ones(len(edges), device=faces.device))


def _from_edges(vertices: int, edges: Tensor, weights: Tensor) -> Tensor:
    i, j = edges[:, 0], edges[:, 1]
    index = torch.stack([torch.cat([i, j, i, j]), torch.cat([j, i, i, j])])
    values = torch.cat([-weights, -weights, weights, weights])
    everyone = torch.arange(vertices, device=edges.device)
    index = torch.cat([index, torch.stack([everyone, everyone])], dim=1)  # vertices without edges keep their row
    values = torch.cat([values, torch.zeros(vertices, dtype=values.dtype, device=values.device)])
    return torch.sparse_coo_tensor(index, values, (vertices, vertices), check_invariants=False).coalesce()


class CholeskySolver(Protocol):
    """What cholespy's factorisation offers, and `Inverse`."""

    def solve(self, right: Tensor, out: Tensor, /) -> None:
        """Write x of A x = right, (N,K) float32, into ``out``."""


def compute_matrix(vertices: int, faces: Tensor, lambda_: float) -> Tensor:
    """(V,V) sparse I + lambda_ L for faces (F,3); L is the uniform Laplacian."""
    laplacian = uniform_laplacian(vertices, faces)
    rows, columns = laplacian.indices()
    values = lambda_ * laplacian.values() + (rows == columns)
    return torch.sparse_coo_tensor(laplacian.indices(), values, laplacian.shape, check_invariants=False).coalesce()


def dense_matrix(vertices: int, faces: Tensor, lambda_: float) -> Tensor:
    """(V,V) float32, what `compute_matrix` makes, in full."""
    i, j = unique_edges(faces).unbind(1)
    matrix = torch.zeros(vertices, vertices, device=faces.device)
    matrix[i, j] = matrix[j, i] = -lambda_
    degree = torch.zeros(vertices, device=faces.device).index_add(
        0, torch.cat([i, j]), torch.ones_like(i.repeat(2)).float()
    )
    return matrix + torch.diag(1 + lambda_ * degree)


class LargeSteps:
    """Vertices through u = (I + lambda_ L) v: steps in u are smooth in v, so large ones do not tangle the mesh."""

    def __init__(self, vertices: int, faces: Tensor, lambda_: float) -> None:
        self._solver: CholeskySolver
        if faces.is_cuda and vertices <= _INVERTED:
            self.matrix = dense_matrix(vertices, faces, lambda_)
            self._solver = Inverse(self.matrix)
        else:
            self.matrix = compute_matrix(vertices, faces, lambda_)
            self._solver = cholesky(self.matrix)

    def to_differential(self, vertices: Tensor) -> Tensor:
        """u (V,3) of v (V,3)."""
        return self.matrix @ vertices

    def from_differential(self, u: Tensor) -> Tensor:
        """v (V,3) of u (V,3), differentiable."""
        result: Tensor = _Solve.apply(self._solver, u)
        return result


class Inverse:
    """The inverse of a dense matrix (N,N): on a GPU, reading it takes a fraction of the time of the many short steps of
    two triangular solves, and it neither waits for the host nor copies anything."""

    def __init__(self, matrix: Tensor) -> None:
        self.inverse = torch.linalg.inv(matrix.double()).to(matrix.dtype)

    def solve(self, right: Tensor, out: Tensor, /) -> None:
        """Write x of A x = right, (N,K), into ``out``."""
        torch.matmul(self.inverse, right, out=out)


def cholesky(matrix: Tensor) -> CholeskySolver:
    """cholespy's factorisation of a symmetric positive definite sparse float32 matrix (N,N)."""
    from cholespy import CholeskySolverF, MatrixType

    index = matrix.indices()
    solver: CholeskySolver = CholeskySolverF(
        len(matrix), index[0].contiguous(), index[1].contiguous(), matrix.values(), MatrixType.COO
    )
    return solver


def solve(solver: CholeskySolver, right: Tensor) -> Tensor:
    """x of A x = right (N,K) float32, for the factorised A; no gradients."""
    right = right.detach().contiguous()
    out = torch.zeros_like(right)
    solver.solve(right, out)
    return out


class _Context(FunctionCtx):
    solver: CholeskySolver


class _Solve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: _Context, solver: CholeskySolver, right: Tensor) -> Tensor:
        ctx.solver = solver
        return solve(solver, right)

    @staticmethod
    def backward(ctx: _Context, *grads: Tensor) -> tuple[None, Tensor]:
        return None, solve(ctx.solver, grads[0])  # the matrix is its own transpose


class AdamUniform(torch.optim.Optimizer):
    """Adam with one step length for all entries of a tensor: its largest second moment, not each entry's own.

    So the directions of large-steps gradients stay as smooth as they are.
    """

    def __init__(
        self, params: Iterable[Tensor], lr: float | Tensor = 0.1, betas: tuple[float, float] = (0.9, 0.999)
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    count = torch.zeros((), dtype=torch.float64, device=p.device)  # there: steps may be recorded
                    state.update(count=count, first=torch.zeros_like(p), second=torch.zeros_like(p))
                state["count"] += 1
                first = state["first"].lerp_(p.grad, 1 - beta1)
                second = state["second"].mul_(beta2).addcmul_(p.grad, p.grad, value=1 - beta2)
                first = first / (1 - beta1 ** state["count"])
                largest = (second.max() / (1 - beta2 ** state["count"])).sqrt()
                p.sub_(group["lr"] * first / (largest + 1e-8))
