"""Operators of others: every kind that `wrap` knows, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.sparse.linalg
import torch
from torch import Tensor

from laminar.data.preparation import prepare
from laminar.errors import ConfigError
from laminar.geometry import Linear
from laminar.methods import as_method
from laminar.models import UnrolledNetwork
from laminar.operators import LinearOperator, wrap
from laminar.scan import Scan

SIZE = (4, 6)
N, M = 24, 15
MATRIX = np.random.default_rng(0).standard_normal((M, N))


class Sigpy:
    """As sigpy hands out linops."""

    def __init__(self, matrix: Any, ishape: tuple[int, ...], oshape: tuple[int, ...]) -> None:
        self.matrix, self.ishape, self.oshape = matrix, ishape, oshape

    def __call__(self, x: Any) -> Any:
        assert x.shape == self.ishape
        return (self.matrix @ x.reshape(-1)).reshape(self.oshape)

    @property
    def H(self) -> Sigpy:
        return Sigpy(self.matrix.conj().T, self.oshape, self.ishape)


def torch_maps(matrix: Any, seen: tuple[int, ...]) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """As deepinv and mrpro: batches of tensors with channel axes, in single precision."""
    tensor = torch.from_numpy(matrix)
    shape = (len(matrix),)

    def forward(x: Tensor) -> Tensor:
        assert x.shape[1:] == seen
        return (x.flatten(1) @ tensor.to(x).T).reshape(len(x), *shape)

    return forward, lambda y: (y.flatten(1) @ tensor.to(y)).reshape(len(y), *seen)


def noisy_forward(x: Tensor) -> Tensor:
    raise AssertionError("the forward of deepinv adds noise")


def deepinv() -> Any:
    forward, adjoint = torch_maps(MATRIX, (1, *SIZE))
    return SimpleNamespace(A=forward, A_adjoint=adjoint, forward=noisy_forward)


def mrpro() -> Any:
    forward, adjoint = torch_maps(MATRIX, (1, 1, *SIZE))
    return SimpleNamespace(forward=lambda x: (forward(x),), adjoint=lambda y: (adjoint(y),))


KINDS: dict[str, Callable[[], LinearOperator]] = {
    "numpy": lambda: wrap(lambda x: MATRIX @ x.ravel(), SIZE, adjoint=lambda y: (MATRIX.T @ y).reshape(SIZE)),
    "scipy": lambda: wrap(scipy.sparse.linalg.aslinearoperator(MATRIX), SIZE),
    "sigpy": lambda: wrap(Sigpy(MATRIX, SIZE, (M,))),
    "deepinv": lambda: wrap(deepinv(), SIZE, seen=(1, *SIZE)),
    "mrpro": lambda: wrap(mrpro(), SIZE, seen=(1, 1, *SIZE)),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
def test_every_kind_becomes_the_operator_that_it_is(kind: str, dtype: torch.dtype) -> None:
    """Values, adjoint, norm and gradient, of real images and of complex ones."""
    operator, matrix = KINDS[kind](), torch.from_numpy(MATRIX).to(dtype)
    x = torch.randn(3, *SIZE, dtype=dtype, generator=torch.Generator().manual_seed(0), requires_grad=True)
    y = operator(x)
    torch.testing.assert_close(y, x.flatten(1) @ matrix.T)
    torch.testing.assert_close(operator.adjoint(y).flatten(1), y @ matrix)
    assert operator.norm == pytest.approx(np.linalg.norm(MATRIX, 2), rel=0.02)
    (gradient,) = torch.autograd.grad(y.abs().square().sum(), x)
    torch.testing.assert_close(gradient, 2 * operator.adjoint(y.detach()))


def test_complex_numbers_as_two_channels() -> None:
    """As deepinv's MRI: (batch, 2, y, x) on both sides."""
    turn = SimpleNamespace(
        A=lambda x: torch.stack([-x[:, 1], x[:, 0]], 1), A_adjoint=lambda y: torch.stack([y[:, 1], -y[:, 0]], 1)
    )
    x = torch.randn(2, *SIZE, dtype=torch.complex64)
    torch.testing.assert_close(wrap(turn, SIZE, seen=(2, *SIZE))(x), 1j * x)


@pytest.mark.parametrize(
    ("operator", "given", "said"),
    [
        (object(), {}, r"needs forward\(x\) and adjoint\(y\); object has not"),
        (lambda x: x, {}, r"<lambda> has not: wrap\(operator, \(y, x\), adjoint=...\)"),
        (MATRIX, {}, "ndarray has not; a matrix becomes one by scipy.sparse.linalg.aslinearoperator"),
        (lambda x: x, {"adjoint": lambda y: y, "shape": 4}, r"wrap\(operator, \(y, x\)\); got 4"),
        (lambda x: x, {"adjoint": lambda y: y, "dtype": np.float32}, "such as torch.float32; got <class"),
        (lambda x: x.real, {"adjoint": lambda y: y.real}, r"real images alone: wrap\(..., dtype=torch.float32\)"),
        (lambda x: x, {"adjoint": lambda y: 2 * y}, "the adjoint is none: expected <A x, y> = <x, A"),
        (lambda x: np.cumsum(x, -1), {"adjoint": lambda y: np.cumsum(y, -1)}, "the adjoint is none"),
        (lambda x: x, {"adjoint": lambda y: y[1:]}, r"must return images \(4, 4, 6\); got \(4, 3, 6\)"),
        (lambda x: 0 * x, {"adjoint": lambda y: 0 * y}, "not zero; got the norm"),
        (lambda x: x / 0, {"adjoint": lambda y: y}, "got the norm nan"),
        (lambda x: MATRIX @ x, {"adjoint": lambda y: y}, "expected a linear operator .*; got ValueError: matmul"),
        (deepinv(), {"seen": (3, *SIZE)}, r"takes images \(3, 4, 6\), which are not the \(4, 6\)"),
        (deepinv(), {"shape": None}, r"needs the shape of one image, wrap\(operator, \(y, x\)\); got none"),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_what_is_no_operator_is_refused_in_one_line(operator: Any, given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        wrap(operator, **{"shape": SIZE} | given)
    assert "\n" not in str(caught.value)


def test_an_image_of_another_shape_is_named() -> None:
    with pytest.raises(ConfigError, match=r"takes images \(batch, 4, 6\); got \(4, 6\)"):
        KINDS["numpy"]()(torch.zeros(SIZE))


def test_an_operator_of_any_norm_gives_the_same_problem() -> None:
    """Of norm 29 or 1, in the units of the image; the network itself refuses what is not scaled."""
    image = torch.rand(1, *SIZE, generator=torch.Generator().manual_seed(0))
    problems = []
    for factor in (1.0, 29.0):
        operator = scipy.sparse.linalg.aslinearoperator(factor * MATRIX)
        geometry = Linear(operator, SIZE, axes=("sample",))  # type: ignore[arg-type]
        problems.append(prepare(Scan(geometry.forward(image), geometry, noise_std=0.1 * factor)))
    for part in ("y", "noise_level", "scale"):
        torch.testing.assert_close(getattr(problems[1], part), getattr(problems[0], part), rtol=2e-3, atol=0)
    network = UnrolledNetwork(n_cascades=1)
    result = network(problems[1].y, problems[1].operator, float(problems[1].noise_level))
    assert result.dtype == torch.float32
    with pytest.raises(ConfigError, match=r"take an operator of norm one; got 7.*e.03: divide"):
        network(problems[1].y, 29 * geometry.forward)
    unscaled = replace(problems[1], operator=29 * geometry.forward)
    for name in (
        "total-variation",
        "l1-wavelet",
        "cg-sense",
        "zero-filled",
    ):  # steps diverge, weights mean another thing
        with pytest.raises(ConfigError, match="take an operator of norm one"):
            as_method(name)(unscaled)
        with pytest.raises(ConfigError, match=r"norm one; got 0\.01"):  # they would hardly move
            as_method(name)(replace(problems[1], operator=0.01 * problems[1].operator))
    assert repr(unscaled).startswith("Problem(y (1, ")
    assert len(repr(unscaled)) < 100
