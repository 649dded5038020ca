"""Operators of others, checked at the door: NumPy functions, SciPy, deepinv, mrpro and sigpy."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from laminar.errors import ConfigError
from laminar.operators.linear import LinearMap, LinearOperator, apply_linear, spectral_norm

PROBES = 4
MISMATCH = 0.01
"""The greatest error of `<A x, y> = <x, A^H y>`, relative to what it comes to for random y."""
NORM_ITERATIONS = 30
_REAL = "; if it knows real images alone: wrap(..., dtype=torch.float32)"


def wrap(
    operator: Any,
    shape: tuple[int, ...] | None = None,
    *,
    adjoint: Callable[[Any], Any] | None = None,
    seen: tuple[int, ...] | None = None,
    dtype: torch.dtype | None = None,
) -> LinearOperator:
    """The operator of another library, or two functions, as a `LinearOperator` whose adjoint and norm are checked.

    | `operator` | is called with |
    |---|---|
    | a function and its `adjoint` | one NumPy image |
    | SciPy: `matvec`, `rmatvec` | one flat NumPy image; measurements are (batch, m) |
    | sigpy: `ishape`, `oshape`, `H` | one NumPy image |
    | deepinv: `A`, `A_adjoint` | a batch of real tensors; `forward`, which adds noise, is not called |
    | `forward`, `adjoint`: mrpro, user code | a batch of tensors; one-element tuples are unpacked |

    Args:
        shape: of one image, (y, x); that of sigpy's `ishape` if it is None.
        seen: shape of one image as the operator takes it, with its channel axes: (1, y, x). With twice the entries,
            (2, y, x), it takes real and imaginary part as channels, and returns them as first axis of a measurement.
        dtype: of the images it takes. One of real numbers acts on real and imaginary part of a complex image.

    NumPy functions, `forward` and `adjoint` are tried on complex images: `dtype=torch.float32` for code of real
    ones. Raises ConfigError for what is no operator, fails on an image, or has no true adjoint. `norm` of the result is
    its `||A||`, estimated by power iteration. The gradient of a NumPy operator is its adjoint.
    """
    if isinstance(operator, LinearOperator):
        return operator
    name = getattr(operator, "__name__", type(operator).__name__)
    forward, back, kind, natural = _maps(operator, adjoint, name)
    shape = natural if shape is None else shape
    if not isinstance(shape, (tuple, list)):
        got = "none" if shape is None else repr(shape)
        raise ConfigError(f"{name}: wrap needs the shape of one image, wrap(operator, (y, x)); got {got}")
    shape = tuple(shape)
    if dtype is not None and not isinstance(dtype, torch.dtype):
        raise ConfigError(f"{name}: `dtype` of wrap is one of torch, such as torch.float32; got {dtype!r}")
    if seen is None:
        seen = (math.prod(shape),) if hasattr(operator, "matvec") else natural or shape
    if math.prod(seen) not in (math.prod(shape), 2 * math.prod(shape)):
        raise ConfigError(f"{name}: it takes images {seen}, which are not the {shape} of one image; see `seen` of wrap")
    wrapped = Foreign(forward, back, shape, seen, dtype or kind)
    wrapped.norm = check_operator(wrapped, shape, name, dtype or kind)
    return wrapped


class Foreign(LinearOperator):
    """Two maps of batches (batch, *seen) as an operator on images (batch, *shape); see `wrap`."""

    def __init__(
        self,
        forward: LinearMap,
        adjoint: LinearMap,
        shape: tuple[int, ...],
        seen: tuple[int, ...],
        dtype: torch.dtype,
    ) -> None:
        self._forward, self._adjoint, self.shape, self.seen = forward, adjoint, shape, seen
        self._pairs = math.prod(seen) == 2 * math.prod(shape)
        self._real = not dtype.is_complex

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1:] != self.shape:
            expected = ", ".join(map(str, self.shape))
            raise ConfigError(f"the operator takes images (batch, {expected}); got {tuple(x.shape)}")
        if self._pairs:
            pairs = torch.view_as_real(torch.complex(x, torch.zeros_like(x)) if not x.is_complex() else x)
            return _paired(self._forward(pairs.movedim(-1, 1).reshape(len(x), *self.seen)))
        return self._by_parts(self._forward, x.reshape(len(x), *self.seen))

    def adjoint(self, y: Tensor) -> Tensor:
        if self._pairs:
            x = self._adjoint(torch.view_as_real(y).movedim(-1, 1))
            return _paired(x.reshape(len(y), 2, *self.shape))
        x = self._by_parts(self._adjoint, y)
        if x.numel() != len(y) * math.prod(self.shape):
            raise ConfigError(f"the adjoint must return images {(len(y), *self.seen)}; got {tuple(x.shape)}")
        return x.reshape(len(y), *self.shape)

    def _by_parts(self, linear: LinearMap, z: Tensor) -> Tensor:
        if self._real and z.is_complex():
            return torch.complex(linear(z.real), linear(z.imag))
        return linear(z)


def check_operator(operator: LinearOperator, shape: tuple[int, ...], name: str, dtype: torch.dtype) -> float:
    """The norm of an operator on images of a shape. Raises ConfigError if it has none, or another adjoint than its own.

    The adjoint is tried on random images x and measurements y: `<A x, y> = <x, A^H y>`.
    """
    random = torch.Generator().manual_seed(0)
    x = torch.randn(PROBES, *shape, dtype=dtype, generator=random)
    said = f"{name} on images {tuple(x.shape)} {str(dtype).removeprefix('torch.')}"
    try:
        image = operator.forward(x)
        y = torch.randn(image.shape, dtype=image.dtype, generator=random)
        back = operator.adjoint(y)
        norm = float(spectral_norm(operator, x[:1], NORM_ITERATIONS))
    except ConfigError as error:
        raise ConfigError(f"{said}: {error}") from error
    except Exception as error:  # code of others may raise anything
        line = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise ConfigError(f"{said}: expected a linear operator on a batch of them; got {line}") from error
    if back.shape != x.shape or len(image) != PROBES:
        raise ConfigError(
            f"{said}: expected measurements ({PROBES}, ...) and an adjoint that returns {tuple(x.shape)}; "
            f"got {tuple(image.shape)} and {tuple(back.shape)}"
        )
    if not 0 < norm < math.inf:
        raise ConfigError(f"{said}: expected a finite operator that is not zero; got the norm {norm}")
    one, other = _products(y, image), _products(back, x)
    expected = image.flatten(1).norm(dim=1) * y.flatten(1).norm(dim=1) / math.sqrt(y[0].numel())
    if not float((one - other).norm()) <= MISMATCH * float(expected.norm()):
        raise ConfigError(
            f"{said}: the adjoint is none: expected <A x, y> = <x, A^H y>; got {complex(one[0]):.4g} and "
            f"{complex(other[0]):.4g} for random x and y{_REAL if dtype.is_complex else ''}"
        )
    return norm


def _missing(operator: Any) -> str:
    if hasattr(operator, "shape"):
        return "; a matrix becomes one by scipy.sparse.linalg.aslinearoperator"
    return ": wrap(operator, (y, x), adjoint=...)" if callable(operator) else ""


def _products(a: Tensor, b: Tensor) -> Tensor:
    dtype = torch.promote_types(a.dtype, b.dtype)
    products: Tensor = torch.linalg.vecdot(a.flatten(1).to(dtype), b.flatten(1).to(dtype))
    return products


def _maps(
    operator: Any, adjoint: Callable[[Any], Any] | None, name: str
) -> tuple[LinearMap, LinearMap, torch.dtype, tuple[int, ...] | None]:
    """Both maps of a batch of tensors, the kind of numbers they take, and the shape of an image where it is told."""
    if adjoint is not None:
        return *_of_numpy(operator, adjoint), torch.complex64, None
    if hasattr(operator, "matvec") and hasattr(operator, "rmatvec"):
        real = np.dtype(operator.dtype or "c8").kind != "c"
        return *_of_numpy(operator.matvec, operator.rmatvec), torch.float32 if real else torch.complex64, None
    if hasattr(operator, "ishape") and hasattr(operator, "oshape"):
        return *_of_numpy(operator, operator.H), torch.complex64, tuple(operator.ishape)
    back, kind = getattr(operator, "A_adjoint", None), torch.float32
    forward = getattr(operator, "A", None)
    if back is None or forward is None:
        forward, back, kind = getattr(operator, "forward", None), getattr(operator, "adjoint", None), torch.complex64
    if not callable(forward) or not callable(back):
        raise ConfigError(f"an operator needs forward(x) and adjoint(y); {name} has not{_missing(operator)}")
    return _unpacking(forward), _unpacking(back), kind, None


def _unpacking(function: Callable[[Tensor], Any]) -> LinearMap:
    def unpacked(x: Tensor) -> Tensor:
        result: Tensor | tuple[Tensor] = function(x)
        return result[0] if isinstance(result, tuple) else result

    return unpacked


def _of_numpy(forward: Callable[[Any], Any], adjoint: Callable[[Any], Any]) -> tuple[LinearMap, LinearMap]:
    """Functions of one NumPy image as maps of batches, in the precision that comes."""

    def batched(function: Callable[[Any], Any], x: Tensor) -> Tensor:
        images = [np.asarray(function(image)) for image in x.detach().cpu().resolve_conj().numpy()]
        result = torch.from_numpy(np.stack(images))
        return result.to(x.device, x.dtype.to_complex() if result.is_complex() else x.real.dtype)

    def there(x: Tensor) -> Tensor:
        return batched(forward, x)

    def back(y: Tensor) -> Tensor:
        return batched(adjoint, y)

    return lambda x: apply_linear(x, there, back), lambda y: apply_linear(y, back, there)


def _paired(channels: Tensor) -> Tensor:
    """Real (batch, 2, ...) as complex (batch, ...)."""
    return torch.complex(channels[:, 0], channels[:, 1])
