"""l1-wavelet and total variation against BART, their optimality, and the laws of scale."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from bart_oracle import WEIGHT, golden, pics, problem
from torch import Tensor

from laminar.classical import l1_wavelet, l1_wavelet_method, total_variation, total_variation_method
from laminar.classical.proximal import Solution
from laminar.classical.sparsity import Differences
from laminar.classical.wavelet import Wavelet
from laminar.data.preparation import Problem
from laminar.errors import ConfigError
from laminar.operators import Encoding


def solve(name: str, problem: Problem, iterations: int, seed: int = 0) -> Tensor:
    if name == "total variation":
        found = total_variation(
            problem.y, problem.operator, WEIGHT, scale=1.0, norm=1.0, iterations=iterations, tolerance=0
        )
    else:
        shifts = torch.Generator().manual_seed(seed) if name == "shifted" else None
        found = l1_wavelet(
            problem.y,
            problem.operator,
            WEIGHT,
            scale=1.0,
            norm=1.0,
            filter="haar" if name == "haar" else "db2",
            shifts=shifts,
            iterations=iterations,
            tolerance=0,
        )
    return found.x


def objective(name: str, problem: Problem, x: Tensor) -> float:
    fit = (problem.operator.forward(x) - problem.y).abs().square().sum() / 2
    if name == "total variation":
        penalty = Differences().forward(x).norm(dim=1).sum()
    else:
        penalty = Wavelet((x.shape[1], x.shape[2]), "haar").forward(x).abs().sum()
    return float(fit + WEIGHT * penalty)


def distance(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize("name", ["total variation", "haar"])
def test_the_minimum_that_bart_finds(name: str) -> None:
    case, images = golden()
    ours = solve(name, case, 500)
    assert objective(name, case, ours) == pytest.approx(objective(name, case, images[name]), rel=1e-4)
    assert distance(ours, images[name]) < 5e-3


@pytest.mark.skipif(shutil.which("bart") is None, reason="bart is not installed")
@pytest.mark.parametrize("name", ["total variation", "haar"])
def test_bart_itself_on_another_problem(name: str, tmp_path: Path) -> None:
    case = problem((48, 40), 6, 1)
    theirs, ours = pics(name, case, tmp_path), solve(name, case, 500)
    assert distance(ours, theirs) < 5e-3
    assert objective(name, case, ours) <= objective(name, case, theirs) * (1 + 1e-3)


@pytest.mark.skipif(shutil.which("bart") is None, reason="bart is not installed")
def test_random_shifts_are_as_near_to_those_of_bart_as_to_our_own_others(tmp_path: Path) -> None:
    case = problem((48, 40), 6, 1)
    theirs, ours = pics("shifted", case, tmp_path), [solve("shifted", case, 100, seed) for seed in range(2)]
    assert distance(ours[0], theirs) < 1.5 * distance(ours[0], ours[1]) < 0.15


def small() -> Problem:
    """Two entries in double precision, of sides that no power of two divides."""
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(2, 3, 18, 15, dtype=torch.complex128, generator=generator)
    maps = maps / maps.abs().square().sum(1, keepdim=True).sqrt()
    mask = torch.rand(1, 18, 15, generator=generator) < 0.6
    x = torch.zeros(2, 18, 15, dtype=torch.complex128)
    x[:, 4:12, 5:11] = torch.tensor([1.0, 3.0j])[:, None, None]
    operator = Encoding(mask.expand(2, 18, 15), maps)
    noise = 0.05 * torch.randn(2, 3, 18, 15, dtype=torch.complex128, generator=generator)
    one = torch.ones(2, dtype=torch.float64)
    return Problem(operator.forward(x) + operator.mask.unsqueeze(1) * noise, operator, 0.05 * one, one)


def test_l1_wavelet_closes_the_duality_gap() -> None:
    """At the minimum of `1/2 ||A x - y||^2 + w ||W x||_1` the dual `Re <u, y> - ||u||^2 / 2` with u the scaled residual
    is as large: nothing else can be smaller. The padding is part of x, so its dual must vanish."""
    case, weight = small(), 0.1
    wavelet = Wavelet((18, 15), "db4")
    found = l1_wavelet(case.y, case.operator, weight, scale=1.0, iterations=4000, tolerance=1e-13).x
    residual = case.y - case.operator.forward(found)
    slope = wavelet.analyze(wavelet.pad(case.operator.adjoint(residual)))
    assert float(slope.abs().max()) <= weight * (1 + 1e-7)
    # ||W x||_1 over the best padding equals Re <W^H slope, x> / w at the optimum: complementary slackness.
    primal = residual.abs().square().sum() / 2 + (case.operator.adjoint(residual).conj() * found).real.sum()
    dual = (residual.conj() * case.y).real.sum() - residual.abs().square().sum() / 2
    assert float(primal) == pytest.approx(float(dual), rel=1e-10)
    padded = wavelet.forward(found).abs().sum() * weight
    assert float((slope.conj() * wavelet.forward(found)).real.sum()) <= float(padded) * (1 + 1e-9)


@pytest.mark.parametrize("method", [l1_wavelet, total_variation])
def test_scale_of_the_data_scales_the_image(method: object) -> None:
    case = small()

    def run(y: Tensor, scale: Tensor | float | None) -> Solution:
        return method(y, case.operator, 0.05, scale=scale, norm=1.0, iterations=50)  # type: ignore[operator, no-any-return]

    for factor in (1e-4, 1e5):
        for scale in (None, torch.tensor([1.0, 3.0], dtype=torch.float64)):
            scaled = run(factor * case.y, None if scale is None else factor * scale)
            expected = factor * run(case.y, scale).x
            torch.testing.assert_close(scaled.x, expected, rtol=1e-9, atol=1e-10 * factor)


@pytest.mark.parametrize("method", [l1_wavelet_method, total_variation_method])
def test_methods_follow_the_units_and_report_their_iterates(method: object) -> None:
    case = problem((32, 32), 4, 3)
    trajectory = method(case)  # type: ignore[operator]
    assert torch.equal(trajectory.source, case.operator.adjoint(case.y))
    assert len(trajectory.endpoints) == len(trajectory.states) - 1 == len(method(case).endpoints)  # type: ignore[operator]
    assert len(trajectory.states) > 3
    noisier = replace(case, noise_level=100 * case.noise_level)
    assert Differences().forward(method(noisier).image).norm() < Differences().forward(trajectory.image).norm()  # type: ignore[operator]


def test_each_entry_has_its_weight_and_a_large_one_leaves_nothing() -> None:
    case = small()
    weight = torch.tensor([0.05, 1e3], dtype=torch.float64)
    for method in (l1_wavelet, total_variation):
        x = method(case.y, case.operator, weight, scale=1.0, iterations=300, tolerance=0).x
        alone = method(case.y, case.operator, 0.05, scale=1.0, iterations=300, tolerance=0).x
        torch.testing.assert_close(x[0], alone[0], rtol=0, atol=1e-9)
        assert float(Differences().forward(x[1:]).abs().max()) < 1e-2 * float(alone.abs().max())
    with pytest.raises(ConfigError, match="weight"):
        l1_wavelet(case.y, case.operator, -0.1)
