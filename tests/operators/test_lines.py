"""Blocks, lines and virtual coils change nothing but the time: against everything at once and dense matrices."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from laminar.errors import ConfigError
from laminar.operators import Encoding, SoftSense, solve
from laminar.operators.lines import virtual_coils
from tests.operators.test_operators import draw, encoding

KINDS = ("points", "columns", "rows", "all")
SMALLEST, LARGEST = 1, 2**30


def smooth_maps(batch: int, coils: int, y: int, x: int) -> Tensor:
    """Coils on a circle around the image, each a smooth bump with a smooth phase, of unit power together."""
    rows, columns = torch.linspace(-1, 1, y)[:, None].double(), torch.linspace(-1, 1, x).double()
    angle = torch.arange(coils) * 2 * torch.pi / coils
    u, v = angle.cos()[:, None, None] * 1.2, angle.sin()[:, None, None] * 1.2
    bump = torch.exp(-((rows - u) ** 2 + (columns - v) ** 2)) * torch.exp(1j * (u * columns - v * rows))
    return (bump / bump.abs().square().sum(0).sqrt()).expand(batch, -1, -1, -1)


def with_workspace(operator: Encoding, workspace: int) -> Encoding:
    return Encoding(operator.mask, operator.sensitivities, workspace)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("y", "x"), [(8, 6), (7, 9), (1, 5)])
def test_the_workspace_changes_neither_results_nor_gradients(kind: str, y: int, x: int) -> None:
    found = []
    for workspace in (SMALLEST, LARGEST):
        base = encoding(kind, y, x)
        maps = base.sensitivities.clone().requires_grad_()
        operator, image = Encoding(base.mask, maps, workspace), draw(2, y, x).requires_grad_()
        kspace = operator.forward(image)
        results = (kspace, operator.adjoint(draw(2, 3, y, x, seed=3)), operator.gram(image))
        loss = sum((out.abs() ** 3).sum() for out in results)
        found.append((*results, *torch.autograd.grad(loss, (image, maps))))
    for blocked, whole in zip(*found, strict=True):
        torch.testing.assert_close(blocked, whole, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("started", [False, True])
def test_solution_is_that_of_the_dense_matrices(kind: str, started: bool) -> None:
    operator, rhs = with_workspace(encoding(kind, 5, 4), 400), draw(2, 5, 4, seed=5)
    weight = torch.tensor([0.05, 2.0], dtype=torch.float64)
    start = draw(2, 5, 4, seed=6) if started else None
    found = operator.solve_regularized(rhs, weight, start, iterations=60, tolerance=1e-14)
    basis = torch.eye(20, dtype=torch.complex128).reshape(20, 1, 5, 4).expand(20, 2, 5, 4)
    columns = torch.stack([operator.adjoint(operator.forward(e)) for e in basis]).permute(1, 2, 3, 0).reshape(2, 20, 20)
    matrices = columns + weight[:, None, None] * torch.eye(20)
    torch.testing.assert_close(found.flatten(1), torch.linalg.solve(matrices, rhs.flatten(1)), rtol=0, atol=1e-11)


@pytest.mark.parametrize("kind", ["points", "columns", "rows"])
def test_gradients_are_exact_and_those_of_the_plain_solve(kind: str) -> None:
    base = encoding(kind, 3, 4, coils=2)
    rhs, start = draw(2, 3, 4).requires_grad_(), draw(2, 3, 4, seed=8)
    weight = torch.tensor([0.3, 0.7], dtype=torch.float64, requires_grad=True)
    maps = base.sensitivities.clone().requires_grad_()
    inputs = (rhs, weight, maps)

    def lines(rhs: Tensor, weight: Tensor, maps: Tensor) -> Tensor:
        return Encoding(base.mask, maps, 200).solve_regularized(rhs, weight, start, iterations=40, tolerance=1e-14)

    def plain(rhs: Tensor, weight: Tensor, maps: Tensor) -> Tensor:
        gram = Encoding(base.mask, maps).gram
        return solve(lambda x: gram(x) + weight[:, None, None] * x, rhs, start, iterations=40, tolerance=1e-14)

    assert torch.autograd.gradcheck(lines, inputs, atol=1e-7, rtol=1e-6, fast_mode=True)
    goal = draw(2, 3, 4, seed=7)
    gradients = [torch.autograd.grad((way(*inputs) - goal).abs().sum(), inputs) for way in (lines, plain)]
    for mine, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-11)


@pytest.mark.parametrize("kind", ["columns", "rows"])
def test_two_sets_are_solved_line_by_line_too(kind: str) -> None:
    mask, maps = encoding(kind, 3, 4).mask, (draw(2, 2, 2, 3, 4) / 4).requires_grad_()
    rhs, start = draw(2, 2, 3, 4, seed=1).requires_grad_(), draw(2, 2, 3, 4, seed=2)
    weight = torch.tensor([0.3, 0.7], dtype=torch.float64, requires_grad=True)

    def lines(rhs: Tensor, weight: Tensor, maps: Tensor) -> Tensor:
        operator = SoftSense(mask, maps)
        assert operator.has_lines
        return operator.solve_regularized(rhs, weight, start, iterations=60, tolerance=1e-14)

    x = lines(rhs, weight, maps)
    expected = SoftSense(mask, maps).gram(x) + weight[:, None, None, None] * x
    torch.testing.assert_close(expected, rhs, rtol=0, atol=1e-10)
    assert torch.autograd.gradcheck(lines, (rhs, weight, maps), atol=1e-7, rtol=1e-6, fast_mode=True)


def test_a_second_derivative_is_refused() -> None:
    rhs = draw(2, 3, 4).requires_grad_()
    x = encoding("columns", 3, 4).solve_regularized(rhs, 0.1, iterations=20, tolerance=1e-12)
    (gradient,) = torch.autograd.grad(x.abs().square().sum(), rhs, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiate twice"):
        gradient.abs().sum().backward()


@given(dropped=st.floats(0, 0.5), seed=st.integers(0, 2**20), fade=st.floats(0.1, 1))
@settings(max_examples=25, deadline=None)
def test_virtual_coils_keep_the_power_they_promise(dropped: float, seed: int, fade: float) -> None:
    """`S^H S` stays as it is, less something whose greatest diagonal entry is `dropped`; so does the Gram matrix."""
    maps = draw(3, 4, 7, seed=seed) * fade ** torch.arange(4, dtype=torch.float64)[:, None]
    maps = maps / maps.abs().square().sum(1, keepdim=True).sqrt()
    kept = virtual_coils(maps, dropped)
    less = maps.mH @ maps - kept.mH @ kept
    circulant = torch.fft.ifft(
        torch.fft.fft(torch.eye(7, dtype=torch.complex128)) * torch.tensor([1, 1, 0, 0, 1, 0, 0])
    )
    for matrices, bound in ((less, 7 * dropped), (circulant * less, dropped)):
        eigenvalues = torch.linalg.eigvalsh(matrices)
        assert eigenvalues.min() > -1e-12
        assert eigenvalues.max() <= bound + 1e-12
    assert float(less.diagonal(dim1=-2, dim2=-1).real.max()) <= dropped + 1e-12


def test_smooth_coils_need_few() -> None:
    maps = smooth_maps(1, 12, 16, 24).transpose(1, 2)
    counts = [virtual_coils(maps, dropped).shape[-2] for dropped in (1e-1, 1e-3, 1e-6, 0)]
    assert counts == sorted(counts)
    assert counts[0] < counts[1] <= 6 < counts[3]


@pytest.mark.parametrize("tolerance", [1e-2, 1e-3, 1e-5, 1e-8])
@pytest.mark.parametrize("workspace", [2_000, LARGEST])
def test_backward_error_is_below_the_tolerance(tolerance: float, workspace: int) -> None:
    """`||b - (A^H A + w) x|| <= tolerance (||b|| + ||x||)` for every image, with smooth maps, at any scale."""
    mask = (torch.arange(24) % 3 == 0).expand(2, 20, 24)
    operator = Encoding(mask, smooth_maps(2, 12, 20, 24), workspace)
    rhs = operator.gram(draw(2, 20, 24)) * torch.tensor([1.0, 1e3])[:, None, None]
    found = operator.solve_regularized(rhs, 1e-3, iterations=200, tolerance=tolerance)
    left = rhs - operator.gram(found) - 1e-3 * found
    sizes = [x.flatten(1).norm(dim=1) for x in (left, rhs, found)]
    assert torch.all(sizes[0] <= tolerance * (sizes[1] + sizes[2]))
    assert torch.all(sizes[0] > 1e-4 * tolerance * sizes[1])  # it did stop there


def test_a_stricter_solve_after_a_loose_one_is_strict() -> None:
    mask = (torch.arange(24) % 3 == 0).expand(1, 20, 24)
    operator, rhs = Encoding(mask, smooth_maps(1, 12, 20, 24)), draw(1, 20, 24)
    operator.solve_regularized(rhs, 0.1, iterations=100, tolerance=1e-2)
    found = operator.solve_regularized(rhs, 0.1, iterations=100, tolerance=1e-12)
    torch.testing.assert_close(operator.gram(found) + 0.1 * found, rhs, rtol=0, atol=1e-9)


@pytest.mark.parametrize("tolerance", [1e-2, 1e-5])
def test_a_solution_does_not_depend_on_the_solves_before(tolerance: float) -> None:
    mask, rhs = (torch.arange(24) % 3 == 0).expand(1, 20, 24), draw(1, 20, 24)
    fresh, used = (Encoding(mask, smooth_maps(1, 12, 20, 24)) for _ in range(2))
    for other in (1e-12, 1e-1):
        used.solve_regularized(rhs, 0.1, iterations=100, tolerance=other)
    found, expected = (
        operator.solve_regularized(rhs, 0.1, iterations=100, tolerance=tolerance) for operator in (used, fresh)
    )
    assert torch.equal(found, expected)


@pytest.mark.parametrize("kind", ["columns", "points"])
@pytest.mark.parametrize("tolerance", [0.0, 1e-5])
def test_any_number_of_iterations_stays_at_the_solution(kind: str, tolerance: float) -> None:
    """In single precision; the first image is solved long before the second."""
    mask = encoding(kind, 20, 24).mask
    exact = Encoding(mask, smooth_maps(2, 12, 20, 24))
    operator = Encoding(mask, exact.sensitivities.to(torch.complex64))
    rhs, weight = exact.gram(draw(2, 20, 24)), torch.tensor([0.5, 0.003], dtype=torch.float64)
    expected = exact.solve_regularized(rhs, weight, iterations=1000, tolerance=1e-12)
    single = rhs.to(torch.complex64)
    for iterations in (200, 300, 1000, 3000):
        found = operator.solve_regularized(single, weight, iterations=iterations, tolerance=tolerance)
        error = (found - expected).flatten(1).norm(dim=1) / expected.flatten(1).norm(dim=1)
        assert torch.all(error < 2e-3)


def test_a_wrong_number_of_weights_is_refused() -> None:
    with pytest.raises(ConfigError, match="one an image, 2; got 3"):
        encoding("columns", 3, 4).solve_regularized(draw(2, 3, 4), torch.ones(3), iterations=1)
