"""Proximal operators against their definition, and both methods against closed forms, scipy and each other."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from torch import Tensor

from laminar.classical.proximal import fista, pdhg, project_onto_balls, settle, soft_threshold
from laminar.classical.sparsity import Differences
from laminar.classical.wavelet import Wavelet
from laminar.errors import ConfigError
from laminar.operators import wrap


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.complex128, generator=torch.Generator().manual_seed(seed))


def number(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


IDENTITY = wrap(Wavelet((4, 4), "haar", 1) @ Wavelet((4, 4), "haar", 1).H)


@settings(max_examples=20, deadline=None)
@given(st.floats(0, 3), st.floats(-3, 3), st.floats(-3, 3))
def test_soft_threshold_is_the_prox_of_the_magnitude(threshold: float, real: float, imaginary: float) -> None:
    z = complex(real, imaginary)

    def cost(parts: np.ndarray) -> float:
        return threshold * np.hypot(*parts) + (np.square(parts - [real, imaginary])).sum() / 2

    found = complex(soft_threshold(torch.tensor([z], dtype=torch.complex128), threshold)[0])
    # On the ray through z the problem is one-dimensional; around the minimum nothing is lower.
    best = minimize(cost, [real, imaginary], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-14})
    assert cost(np.array([found.real, found.imag])) <= best.fun + 1e-10
    assert abs(found - complex(*best.x)) < 1e-4


@settings(max_examples=20, deadline=None)
@given(st.floats(0, 3), st.integers(0, 1000))
def test_projection_onto_balls_is_the_nearest_point_and_the_moreau_partner(radius: float, seed: int) -> None:
    z = draw(2, 2, 3, 4, seed=seed)
    inside = project_onto_balls(z, radius, 1)
    assert float(inside.norm(dim=1).max()) <= radius * (1 + 1e-12) + 1e-100  # squares of the smallest numbers are none
    torch.testing.assert_close(project_onto_balls(inside, radius, 1), inside, rtol=0, atol=1e-12)
    # The variational inequality of a projection: no point of the ball lies on the far side, here the extreme one.
    outward = z - inside
    extreme = radius * outward.norm(dim=1).sum()
    assert float((outward.conj() * inside).real.sum()) == pytest.approx(float(extreme), abs=1e-10)
    single = z[:, :1]
    torch.testing.assert_close(
        single - project_onto_balls(single, radius, 1), soft_threshold(single, radius), rtol=0, atol=1e-12
    )


def test_both_methods_end_in_the_closed_form_of_a_diagonal_problem() -> None:
    """`min 1/2 ||d x - y||^2 + w ||x||_1` has the solution `soft(d y, w) / d^2`."""
    y, d, weight = draw(3, 4, 4), draw(3, 4, 4, seed=1).abs() + 0.3, 0.4
    expected = soft_threshold(d * y, weight) / d.square()
    curvature = d.square().amax((1, 2), keepdim=True)
    start = torch.zeros_like(y)
    gradient = lambda x: d * (d * x - y)  # noqa: E731
    by_fista = settle(
        fista(gradient, lambda z, step: soft_threshold(z, step * weight), start, 1 / curvature), start, 3000, 1e-15
    )
    by_pdhg = settle(
        pdhg(
            gradient,
            IDENTITY,
            lambda u, _: project_onto_balls(u.unsqueeze(1), weight, 1).squeeze(1),
            start,
            1 / curvature,
            curvature / 2,
        ),
        start,
        6000,
        1e-15,
    )
    assert by_fista.iterations < 3000
    torch.testing.assert_close(by_fista.x, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(by_pdhg.x, expected, rtol=0, atol=1e-12)


def test_both_methods_agree_with_each_other_and_with_scipy_on_a_wavelet_problem() -> None:
    """Complex and underdetermined; scipy minimizes the same function, smoothed by 1e-9."""
    matrix = draw(10, 16, seed=2) / 5
    y, weight, wavelet = draw(10, seed=3), 0.15, Wavelet((4, 4), "db2", 1)

    def gradient(x: Tensor) -> Tensor:
        return (matrix.mH @ (matrix @ x.flatten() - y)).reshape(1, 4, 4)

    def cost(x: Tensor, smooth: float = 0.0) -> Tensor:
        sparse = (wavelet.forward(x).abs().square() + smooth**2).sqrt().sum()
        return (matrix @ x.flatten() - y).abs().square().sum() / 2 + weight * sparse

    curvature = torch.linalg.matrix_norm(matrix, 2).square().reshape(1, 1, 1)
    start = torch.zeros(1, 4, 4, dtype=torch.complex128)
    prox = lambda z, step: wavelet.adjoint(soft_threshold(wavelet.forward(z), step * weight))  # noqa: E731
    project = lambda u, _: u - soft_threshold(u, weight)  # noqa: E731
    first = settle(fista(gradient, prox, start, 1 / curvature), start, 1500, 1e-12).x
    second = settle(pdhg(gradient, wavelet, project, start, 1 / curvature, curvature / 2), start, 1500, 1e-12).x
    torch.testing.assert_close(first, second, rtol=0, atol=1e-9)

    def smoothed(parts: np.ndarray) -> tuple[float, np.ndarray]:
        x = torch.view_as_complex(torch.from_numpy(parts.copy()).reshape(1, 4, 4, 2)).requires_grad_()
        value = cost(x, 1e-5)
        (slope,) = torch.autograd.grad(value, x)
        return float(value.detach()), torch.view_as_real(slope).flatten().numpy()

    best = minimize(smoothed, np.zeros(32), jac=True, method="L-BFGS-B", options={"maxiter": 1000, "ftol": 1e-15})
    assert float(cost(first)) == pytest.approx(best.fun, rel=1e-3)
    assert float(cost(first)) <= best.fun


def test_denoising_a_step_by_total_variation_has_its_closed_form() -> None:
    """A periodic step of heights 0 and 1 over n + n pixels: each side moves inwards by `2 w / n`, w < n / 4."""
    n, weight = 8, 0.5
    y = torch.zeros(1, 1, 2 * n, dtype=torch.complex128)
    y[..., n:] = 1
    start = torch.zeros_like(y)
    iterates = pdhg(
        lambda x: x - y, Differences(), lambda u, _: project_onto_balls(u, weight, 1), start, number(0.5), number(0.15)
    )
    shift = 2 * weight / n
    torch.testing.assert_close(settle(iterates, start, 5000, 1e-14).x, shift + (1 - 2 * shift) * y, rtol=0, atol=1e-10)


def test_settle_stops_checks_and_keeps_as_many_checkpoints_however_long_it_took() -> None:
    def halving() -> list[Tensor]:
        return [torch.full((1, 1), 2.0**-k, dtype=torch.complex128) + 1 for k in range(1, 100)]

    start = torch.zeros(1, 1, dtype=torch.complex128)
    short, full = settle(iter(halving()), start, 99, 1e-3), settle(iter(halving()), start, 99, 0.0)
    assert short.iterations == 10  # 2^-10 <= 1e-3 (1 + 2^-10)
    assert len(short.checkpoints) == len(full.checkpoints) == 7
    assert torch.equal(short.checkpoints[3], halving()[7])
    assert torch.equal(short.checkpoints[-1], short.x)
    for wrong in ((0, 0.1), (5, -1.0), (5, float("nan"))):
        with pytest.raises(ConfigError, match="iterations"):
            settle(iter(halving()), start, *wrong)
