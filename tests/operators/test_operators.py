"""Laws of every operator, checked once for all of them."""

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from laminar.errors import ConfigError
from laminar.operators import (
    Encoding,
    Identity,
    LinearOperator,
    conjugate_gradient,
    fft2c,
    ifft2c,
    solve,
    spectral_norm,
    wrap,
)

TOLERANCE = 1e-12


def draw(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.complex128, generator=generator)


def maps(batch: int, coils: int, y: int, x: int) -> Tensor:
    sensitivities = draw(batch, coils, y, x, seed=1)
    return sensitivities / sensitivities.abs().square().sum(1, keepdim=True).sqrt()


def encoding(kind: str, y: int, x: int, coils: int = 3, batch: int = 2) -> Encoding:
    random = torch.Generator().manual_seed(2)
    points = torch.rand(batch, y, x, generator=random) < 0.4
    mask = {
        "points": points,
        "columns": points[:, :1].expand(batch, y, x),
        "rows": points[:, :, :1].expand(batch, y, x),
        "all": torch.ones(1, y, x, dtype=torch.bool),
    }[kind]
    return Encoding(mask, maps(batch, coils, y, x))


def tuple_operator(operator: LinearOperator) -> LinearOperator:
    """As mrpro hands out operators: results in one-element tuples."""
    return wrap(
        SimpleNamespace(forward=lambda x: (operator.forward(x),), adjoint=lambda y: (operator.adjoint(y),)), (5, 6)
    )


OPERATORS: dict[str, Callable[[], LinearOperator]] = {
    **{
        f"{kind} {y}x{x}": lambda kind=kind, y=y, x=x: encoding(kind, y, x)
        for kind in ("points", "columns", "rows", "all")
        for y, x in ((8, 6), (7, 9), (3, 5))
    },
    "adjoint": lambda: encoding("points", 7, 6).H,
    "product": lambda: encoding("columns", 7, 6) @ encoding("points", 7, 6).H,
    "wrapped": lambda: tuple_operator(encoding("rows", 5, 6, batch=1)),
    "identity": lambda: Identity() @ Identity(),
    "scaled": lambda: (2 - 1j) * encoding("rows", 5, 6) @ (0.5j * Identity()),
    "scaled product": lambda: 2 * (3j * encoding("columns", 7, 6)) @ encoding("points", 7, 6).H,
}


def domain(name: str, operator: LinearOperator) -> Tensor:
    if name in ("adjoint", "product", "scaled product"):
        return draw(2, 3, 7, 6)
    if name in ("wrapped", "identity", "scaled"):
        return draw(2, 5, 6)
    assert isinstance(operator, Encoding)
    return draw(2, *operator.mask.shape[-2:])


@pytest.mark.parametrize("name", OPERATORS)
def test_adjoint_gram_and_linearity(name: str) -> None:
    operator = OPERATORS[name]()
    x = domain(name, operator)
    y = draw(*operator.forward(x).shape, seed=3)
    left, right = (
        torch.vdot(y.flatten(), operator.forward(x).flatten()),
        torch.vdot(operator.adjoint(y).flatten(), x.flatten()),
    )
    assert abs(left - right) <= TOLERANCE * (1 + abs(left))
    torch.testing.assert_close(operator.gram(x), operator.adjoint(operator.forward(x)), rtol=0, atol=TOLERANCE)
    other = draw(*x.shape, seed=4)
    torch.testing.assert_close(operator(x + 2j * other), operator(x) + 2j * operator(other), rtol=0, atol=1e-11)


@pytest.mark.parametrize("shape", [(8, 6), (7, 9), (1, 5)])
@pytest.mark.parametrize("axes", [(-2, -1), (-1,), (-2,)])
def test_fourier_is_unitary_and_centered(shape: tuple[int, int], axes: tuple[int, ...]) -> None:
    x = draw(*shape)
    torch.testing.assert_close(ifft2c(fft2c(x, axes), axes), x, rtol=0, atol=TOLERANCE)
    assert abs(fft2c(x, axes).norm() - x.norm()) < TOLERANCE
    center = torch.zeros(shape, dtype=torch.complex128)
    center[shape[0] // 2, shape[1] // 2] = 1
    expected = (shape[0] * shape[1]) ** -0.5
    torch.testing.assert_close(fft2c(center), torch.full(shape, expected, dtype=torch.complex128))


def test_fourier_matches_the_sum_by_definition() -> None:
    n = 7
    grid = torch.arange(n) - n // 2
    matrix = torch.exp(-2j * torch.pi * torch.outer(grid, grid).to(torch.float64) / n) / n**0.5
    x = draw(n, n)
    torch.testing.assert_close(fft2c(x), matrix @ x @ matrix.T, rtol=0, atol=TOLERANCE)


def test_norm_of_the_encoding() -> None:
    """||A|| <= 1, with equality when everything is sampled; A A^H = I for one coil of unit magnitude."""
    start = draw(2, 7, 6)
    assert torch.all(spectral_norm(encoding("points", 7, 6), start) <= 1 + 1e-9)
    torch.testing.assert_close(spectral_norm(encoding("all", 7, 6), start), torch.ones(2, dtype=torch.float64))
    single = encoding("points", 7, 6, coils=1)
    y = single.forward(start)
    torch.testing.assert_close(single.forward(single.adjoint(y)), y, rtol=0, atol=TOLERANCE)


def test_conjugate_gradient_finds_the_solution_of_each_entry() -> None:
    operator, rhs = encoding("points", 4, 5), draw(2, 4, 5, seed=5)
    weight = torch.tensor([0.05, 2.0], dtype=torch.float64)[:, None, None]
    found = conjugate_gradient(lambda x: operator.gram(x) + weight * x, rhs, iterations=60, tolerance=1e-13)
    basis = torch.eye(20, dtype=torch.complex128).reshape(20, 1, 4, 5).expand(20, 2, 4, 5)
    columns = torch.stack([operator.gram(e) for e in basis]).permute(1, 2, 3, 0).reshape(2, 20, 20)
    matrices = columns + weight * torch.eye(20)
    torch.testing.assert_close(found.flatten(1), torch.linalg.solve(matrices, rhs.flatten(1)), rtol=0, atol=1e-10)


def test_conjugate_gradient_of_zero_is_zero_and_a_solution_is_kept() -> None:
    operator = encoding("columns", 4, 5)
    zero = conjugate_gradient(
        lambda x: operator.gram(x) + x, torch.zeros(2, 4, 5, dtype=torch.complex128), iterations=5
    )
    assert not zero.any()
    x = draw(2, 4, 5)
    kept = conjugate_gradient(lambda z: operator.gram(z) + z, operator.gram(x) + x, x, iterations=5)
    torch.testing.assert_close(kept, x)


def test_composition_keeps_what_an_operator_knows() -> None:
    """Identities vanish, factors leave the solve to the operator, and a product has the Gram matrix of its left."""
    operator, rhs = encoding("columns", 7, 6), draw(2, 7, 6)
    assert operator @ Identity() is operator
    assert Identity() @ operator is operator
    scaled = 2j * (operator @ (0.5 * Identity()))
    found = scaled.solve_regularized(rhs, 0.3, iterations=100, tolerance=1e-12)
    torch.testing.assert_close(scaled.gram(found) + 0.3 * found, rhs, rtol=0, atol=1e-10)
    assert operator._systems, "solved line by line"
    white = Identity().solve_regularized(rhs, 0.25, iterations=1)
    torch.testing.assert_close(white, rhs / 1.25)

    class Known(Encoding):
        def forward(self, x: Tensor) -> Tensor:
            raise AssertionError("its Gram matrix needs no forward")

    known = Known(operator.mask, operator.sensitivities)
    right = encoding("points", 7, 6).H
    coils = draw(2, 3, 7, 6)
    torch.testing.assert_close((known @ right).gram(coils), (operator @ right).H((operator @ right)(coils)))
    with pytest.raises(ConfigError, match="not 0; got 0"):
        0 * operator


def test_encodings_are_stacked_and_moved() -> None:
    parts = [encoding("all", 7, 6), encoding("columns", 7, 6)]
    images = draw(4, 7, 6)
    whole = Encoding.stack(parts)
    expected = torch.cat([part(image) for part, image in zip(parts, images.split(2), strict=True)])
    torch.testing.assert_close(whole(images), expected)
    torch.testing.assert_close(whole.to("cpu")(images), expected)
    with pytest.raises(ConfigError, match="the same coils and image size"):
        Encoding.stack([encoding("all", 7, 6), encoding("all", 6, 7)])


def test_implicit_gradient_is_exact_in_everything() -> None:
    """Right-hand side, weight and sensitivities, against finite differences and against unrolled iterations."""
    base = encoding("points", 3, 4, coils=2, batch=1)
    rhs = draw(1, 3, 4).requires_grad_()
    weight = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    sensitivities = base.sensitivities.clone().requires_grad_()

    def solution(rhs: Tensor, weight: Tensor, sensitivities: Tensor) -> Tensor:
        operator = Encoding(base.mask, sensitivities)
        return solve(lambda x: operator.gram(x) + weight * x, rhs, iterations=40, tolerance=1e-14)

    assert torch.autograd.gradcheck(solution, (rhs, weight, sensitivities), atol=1e-7, rtol=1e-6)
    operator = Encoding(base.mask, sensitivities)
    unrolled = conjugate_gradient(lambda x: operator.gram(x) + weight * x, rhs, iterations=12)
    goal = draw(1, 3, 4, seed=7)
    for mine, theirs in zip(
        torch.autograd.grad((solution(rhs, weight, sensitivities) - goal).abs().sum(), (rhs, weight, sensitivities)),
        torch.autograd.grad((unrolled - goal).abs().sum(), (rhs, weight, sensitivities)),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-10)


def test_memory_of_solve_does_not_grow_with_the_iterations() -> None:
    def saved(iterations: int) -> int:
        operator, rhs = encoding("points", 8, 8), draw(2, 8, 8).requires_grad_()
        weight = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
        count = 0

        def pack(tensor: Tensor) -> Tensor:
            nonlocal count
            count += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            solve(lambda x: operator.gram(x) + weight * x, rhs, iterations=iterations)
        return count

    assert saved(2) == saved(20) > 0


def test_wrong_shapes_and_operators_are_refused() -> None:
    with pytest.raises(ValueError, match="mask"):
        Encoding(torch.ones(4, 5, dtype=torch.bool), maps(1, 2, 4, 5))
