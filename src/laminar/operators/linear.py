"""Linear operators, their algebra, and the solution of `(A^H A + w I) x = b` with an exact implicit gradient."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from laminar.errors import ConfigError

LinearMap = Callable[[Tensor], Tensor]


class LinearOperator(ABC):
    """A linear map of batched tensors; a subclass writes `forward` and `adjoint`, and `gram` if it knows better.

    `adjoint` must satisfy `<A x, y> = <x, A^H y>` in the inner product `sum conj(a) b`.
    """

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor: ...

    @abstractmethod
    def adjoint(self, y: Tensor) -> Tensor: ...

    def gram(self, x: Tensor) -> Tensor:
        """`A^H A x`."""
        return self.adjoint(self.forward(x))

    def solve_regularized(
        self,
        rhs: Tensor,
        weight: Tensor | float,
        start: Tensor | None = None,
        *,
        iterations: int,
        tolerance: float = 0.0,
    ) -> Tensor:
        """`(A^H A + w I)^(-1) b` by at most so many iterations, with the exact implicit gradient (`implicit`).

        Shapes: `rhs` and `start` (batch, ...); `weight` one number, or one an image: batch of them in any shape.
        Stops when `||b - (A^H A + w I) x|| <= tolerance * ||b||` for every image; a subclass may take the tolerance
        as one of backward error, `tolerance * (||b|| + ||x||)`. The gradient reaches `rhs`, `weight` and the
        operator. Raises ConfigError for another number of weights.
        """
        weight = torch.as_tensor(weight, dtype=rhs.real.dtype, device=rhs.device)
        if weight.numel() not in (1, len(rhs)):
            raise ConfigError(f"expected one weight or one an image, {len(rhs)}; got {weight.numel()}")
        weight = weight.reshape(-1, *[1] * (rhs.ndim - 1))

        def invert(b: Tensor, x: Tensor | None = None) -> Tensor:
            return self.invert_regularized(b, weight.detach(), x, iterations, tolerance)

        return implicit(lambda x: self.gram(x) + weight * x, invert, rhs, start)

    def invert_regularized(
        self, rhs: Tensor, weight: Tensor, start: Tensor | None, iterations: int, tolerance: float
    ) -> Tensor:
        """What `solve_regularized` computes, without a gradient; a subclass may know a faster way."""
        normal: LinearMap = lambda x: self.gram(x) + weight * x  # noqa: E731
        return conjugate_gradient(normal, rhs, start, iterations=iterations, tolerance=tolerance)

    norm: float | None = None
    """`||A||_2`, where it is known."""
    n_maps: int = 1
    """Sets of sensitivities, with an image of a pixel each: of several, x is (batch, map, ...)."""

    def image_shape(self, x: Tensor) -> tuple[int, ...]:
        """The size of an image of x (batch, ...): (y, x), of a series (frame, y, x)."""
        return tuple(x.shape[2 if self.n_maps > 1 else 1 :])

    @property
    def sampled(self) -> Tensor | None:
        """Which entries of y are measured, bool and broadcastable to y (the others are zero); None: all of them."""
        return None

    def to(self, device: torch.device | str) -> LinearOperator:
        """The same operator on another device; one that knows no better stays where it is."""
        return self

    @staticmethod
    def stack(operators: Sequence[LinearOperator]) -> LinearOperator:
        """One operator of the batches of several of the same kind and size. Raises ConfigError if they have no such.

        One that does not depend on the batch is the same for all of them.
        """
        if all(operator is operators[0] for operator in operators):
            return operators[0]
        raise ConfigError(f"operators of type {type(operators[0]).__name__} cannot be put into one batch")

    def __call__(self, x: Tensor) -> Tensor:
        return self.forward(x)

    @property
    def H(self) -> LinearOperator:
        return Wrapped(self.adjoint, self.forward)

    def __matmul__(self, other: LinearOperator) -> LinearOperator:
        """`A B`, with the `gram` of A in its own; identities and factors cost neither `gram` nor solve their speed."""
        if isinstance(other, Scaled):
            return other.factor * (self @ other.operator)
        if isinstance(other, Identity):
            return self
        return Wrapped(
            lambda x: self.forward(other.forward(x)),
            lambda y: other.adjoint(self.adjoint(y)),
            lambda x: other.adjoint(self.gram(other.forward(x))),
        )

    def __rmul__(self, factor: complex) -> LinearOperator:
        """`c A` for a number c that is not 0."""
        return Scaled(self, factor)


class Wrapped(LinearOperator):
    """An operator made of callables."""

    def __init__(self, forward: LinearMap, adjoint: LinearMap, gram: LinearMap | None = None) -> None:
        self._forward, self._adjoint, self._gram = forward, adjoint, gram

    def forward(self, x: Tensor) -> Tensor:
        return self._forward(x)

    def adjoint(self, y: Tensor) -> Tensor:
        return self._adjoint(y)

    def gram(self, x: Tensor) -> Tensor:
        return self._gram(x) if self._gram else super().gram(x)


class Identity(LinearOperator):
    """`x`, of any shape."""

    def forward(self, x: Tensor) -> Tensor:
        return x

    def adjoint(self, y: Tensor) -> Tensor:
        return y

    def invert_regularized(
        self, rhs: Tensor, weight: Tensor, start: Tensor | None, iterations: int, tolerance: float
    ) -> Tensor:
        return rhs / (1 + weight)

    def __matmul__(self, other: LinearOperator) -> LinearOperator:
        return other


class Scaled(LinearOperator):
    """`c A`, made as `c * A`: `(|c|^2 G + w)^(-1) b` is `(G + w / |c|^2)^(-1) b / |c|^2`. ConfigError for c = 0."""

    def __init__(self, operator: LinearOperator, factor: complex) -> None:
        if not 0 < abs(factor) < float("inf"):
            raise ConfigError(f"an operator is scaled by a finite number that is not 0; got {factor}")
        self.operator, self.factor, self._power = operator, factor, abs(factor) ** 2
        self.norm = None if operator.norm is None else abs(factor) * operator.norm
        self.n_maps = operator.n_maps

    @property
    def sampled(self) -> Tensor | None:
        return self.operator.sampled

    def to(self, device: torch.device | str) -> LinearOperator:
        return Scaled(self.operator.to(device), self.factor)

    @staticmethod
    def stack(operators: Sequence[LinearOperator]) -> LinearOperator:
        parts = [operator for operator in operators if isinstance(operator, Scaled)]
        factors = {part.factor for part in parts}
        if len(parts) != len(operators) or len(factors) != 1:
            raise ConfigError(f"only operators of one scale can be put into one batch; got {sorted(map(str, factors))}")
        inner = [part.operator for part in parts]
        return Scaled(inner[0].stack(inner), parts[0].factor)

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * self.operator.forward(x)

    def adjoint(self, y: Tensor) -> Tensor:
        return self.factor.conjugate() * self.operator.adjoint(y)

    def gram(self, x: Tensor) -> Tensor:
        return self._power * self.operator.gram(x)

    def invert_regularized(
        self, rhs: Tensor, weight: Tensor, start: Tensor | None, iterations: int, tolerance: float
    ) -> Tensor:
        rhs, weight = rhs / self._power, weight / self._power
        return self.operator.invert_regularized(rhs, weight, start, iterations, tolerance)

    def __matmul__(self, other: LinearOperator) -> LinearOperator:
        return self.factor * (self.operator @ other)


LARGEST_NORM, SMALLEST_NORM = 1.05, 0.5
"""The fixed steps of networks and classical methods expect `||A|| = 1`: above they diverge, below they hardly move."""


def check_norm(operator: LinearOperator) -> None:
    """Raise ConfigError if the norm is known, and far from one."""
    if operator.norm is not None and not SMALLEST_NORM <= operator.norm <= LARGEST_NORM:
        raise ConfigError(
            f"networks and methods take an operator of norm one; got {operator.norm:.3g}: divide operator, y and noise "
            "level by it, as prepare(Scan(y, Linear(operator, (y, x)), noise_std=...)) does"
        )


def squared_norm(x: Tensor) -> Tensor:
    """`||x||^2` of each batch entry, (batch,)."""
    return _inner(x, x).flatten()


def _inner(a: Tensor, b: Tensor) -> Tensor:
    """`Re <a, b>` of each batch entry, kept broadcastable."""
    axes = tuple(range(1, a.ndim))
    product = (a.conj() * b).real if a.is_complex() else a * b
    return product.sum(axes, keepdim=True)


def conjugate_gradient(
    normal: LinearMap, rhs: Tensor, start: Tensor | None = None, *, iterations: int, tolerance: float = 0.0
) -> Tensor:
    """Solve `normal(x) = rhs` for a Hermitian positive definite map, each batch entry by itself.

    Shapes: `rhs` and `start` (batch, ...). Stops after `iterations`, or when every residual norm is below
    `tolerance * ||rhs||`, at the latest at the rounding unit. Hestenes and Stiefel 1952, doi:10.6028/jres.049.044.
    """
    x = torch.zeros_like(rhs) if start is None else start
    residual = rhs - normal(x) if start is not None else rhs
    direction, energy = residual, _inner(residual, residual)
    goal = squared_goal(_inner(rhs, rhs), tolerance)
    for _ in range(iterations):
        if bool((energy <= goal).all()):
            break
        mapped = normal(direction)
        step = _safe_ratio(energy, _inner(direction, mapped))
        x = x + step * direction
        residual = residual - step * mapped
        energy, previous = _inner(residual, residual), energy
        direction = residual + _safe_ratio(energy, previous) * direction
    return x


def squared_goal(size: Tensor, tolerance: float) -> Tensor:
    """`(tolerance * ||b||)^2` for `size = ||b||^2`, with a tolerance of one rounding unit at least."""
    return max(tolerance, torch.finfo(size.dtype).eps) ** 2 * size


def _safe_ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """`numerator / denominator`, and 0 where an entry has already converged to a zero denominator.

    An entry that waits for others goes on to ever smaller numbers; the bound keeps the ratio of underflows small.
    """
    return torch.where(denominator > 0, numerator / denominator.clamp_min(torch.finfo(denominator.dtype).tiny), 0)


class _Opaque(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, forward: LinearMap, adjoint: LinearMap) -> Tensor:
        ctx.maps, ctx.real = (forward, adjoint), not x.is_complex()
        return forward(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        gradient = apply_linear(grads[0], *reversed(ctx.maps))
        return gradient.real if ctx.real else gradient, None, None


def apply_linear(x: Tensor, forward: LinearMap, adjoint: LinearMap) -> Tensor:
    """`forward(x)` with the gradient `adjoint(g)`: for maps that autograd cannot see into, or would walk slowly."""
    image: Tensor = _Opaque.apply(x, forward, adjoint)  # type: ignore[no-untyped-call]
    return image


class _ImplicitGradient(torch.autograd.Function):
    """Forward: zero. Backward: `M^(-1) g`, so that `x + apply(b - M x)` has the gradient of `M^(-1) b`."""

    @staticmethod
    def forward(ctx: Any, residual: Tensor, solver: LinearMap) -> Tensor:
        ctx.solver = solver
        return torch.zeros_like(residual)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return ctx.solver(grads[0]), None


def solve(
    normal: LinearMap, rhs: Tensor, start: Tensor | None = None, *, iterations: int, tolerance: float = 0.0
) -> Tensor:
    """`conjugate_gradient` with the exact implicit gradient (`implicit`)."""

    def invert(b: Tensor, x: Tensor | None = None) -> Tensor:
        return conjugate_gradient(normal, b, x, iterations=iterations, tolerance=tolerance)

    return implicit(normal, invert, rhs, start)


def implicit(normal: LinearMap, invert: Callable[..., Tensor], rhs: Tensor, start: Tensor | None = None) -> Tensor:
    """`x = invert(rhs, start)` that solves `normal(x) = rhs`, in memory that does not grow with the iterations.

    With `M x = b` the differential is `dx = M^(-1)(db - dM x)`: one more solve in the backward pass gives the
    gradient of everything that `normal` and `rhs` depend on. It is exact as far as both solves have converged.
    """
    with torch.no_grad():
        x = invert(rhs, start)
    if not torch.is_grad_enabled():
        return x
    residual = rhs - normal(x)
    if not residual.requires_grad:
        return x
    correction: Tensor = _ImplicitGradient.apply(residual, invert)  # type: ignore[no-untyped-call]
    return x + correction


def spectral_norm(operator: LinearOperator, start: Tensor, iterations: int = 50) -> Tensor:
    """`||A||_2` of each batch entry by power iteration on `A^H A`, from the image `start` (batch, ...)."""
    x = start
    for _ in range(iterations):
        x = operator.gram(x / _inner(x, x).sqrt())
    return _inner(x, x).sqrt().flatten().sqrt()
