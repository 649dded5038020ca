"""Emission tomography: the Poisson likelihood in the flow's data steps, MLEM and OSEM, counts end to end."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from laminar.audit import audit
from laminar.classical import emission_total_variation, expectation_maximization_method, total_variation_method
from laminar.classical.emission import expectation_maximization
from laminar.data.cases import Case
from laminar.data.preparation import Problem, prepare
from laminar.data.simulation.phantoms import phantom
from laminar.errors import ConfigError, DataFormatError
from laminar.flow import PoissonTerm
from laminar.geometry import Emission
from laminar.models import UnrolledNetwork
from laminar.operators import Beam, Counting, Projector, spectral_norm
from laminar.operators.linear import Wrapped
from laminar.reconstruction import reconstruct
from laminar.scan import Scan

N, VIEWS, BINS = 32, 24, 46
PROJECTOR = Projector(Beam(math.pi / VIEWS * torch.arange(VIEWS), BINS), (N, N))


def counted(total: float, seed: int = 0) -> tuple[Scan, Tensor]:
    """So many true counts of a brain, attenuated, with a fifth of background, and the activity in counts."""
    generator = torch.Generator().manual_seed(seed)
    activity = phantom("brain", (N, N), generator).abs()[None]
    factors = torch.exp(-0.03 * PROJECTOR((activity > 0.05).float()))
    activity = activity * total / (factors * PROJECTOR(activity)).sum()
    background = torch.full((1, VIEWS, BINS), 0.2 * total / (VIEWS * BINS))
    counts = torch.poisson(factors * PROJECTOR(activity) + background, generator=generator)
    return Scan(counts, Emission(PROJECTOR, factors, background)), activity


def term(problem: Problem) -> PoissonTerm:
    assert isinstance(problem.operator, Counting)
    background = problem.operator.background
    return PoissonTerm(problem.y + background, problem.operator, background)


def likelihood(data: PoissonTerm, x: Tensor) -> Tensor:
    expected = data.operator(x) + data.background
    return data.mean * (expected - data.counts * expected.log()).flatten(1).sum(1)


def test_the_problem_is_in_the_units_of_the_noise() -> None:
    """The residual of the truth has the level that is told, on average over the bins, and so the surrogate's scale."""
    scan, activity = counted(1e6)
    problem = prepare(scan)
    assert isinstance(problem.operator, Counting)
    assert 0.3 < float(spectral_norm(problem.operator, torch.ones(1, N, N))) < 1
    residual = problem.operator(activity / problem.scale) - problem.y
    assert float(residual.std()) == pytest.approx(float(problem.noise_level), rel=0.1)
    data = term(problem)
    counts_a_unit = scan.data.mean() / data.mean
    assert float(problem.noise_level**2) == pytest.approx(float(data.mean / counts_a_unit), rel=1e-4)


def test_gradient_and_proximal_step_are_those_of_the_likelihood() -> None:
    problem = prepare(counted(1e5)[0])
    data, x = term(problem), torch.rand(1, N, N, generator=torch.Generator().manual_seed(1)) + 0.1
    probe = x.clone().double().requires_grad_()
    exact = PoissonTerm(data.counts.double(), data.operator, data.background.double())
    likelihood(exact, probe).sum().backward()  # type: ignore[no-untyped-call]
    assert probe.grad is not None
    torch.testing.assert_close(data.gradient(x), probe.grad.float(), rtol=1e-3, atol=1e-4)

    center, weight = 0.8 * x, torch.tensor([0.05])
    values = []
    for iterations in (1, 2, 5, 400):
        found = data.proximal(center, weight, center, iterations)
        penalty = 0.5 * weight * (found - center).square().flatten(1).sum(1)
        values.append(float(likelihood(data, found.double()) + penalty))
    assert values == sorted(values, reverse=True), "it never rises"
    slope = data.gradient(found) + weight * (found - center)
    assert bool((found >= 0).all())
    assert float(slope[found > 0.01].abs().max()) < 2e-3, "stationary where it is positive"
    assert float(slope[found <= 0.01].min()) > -2e-3


def test_many_counts_are_gaussian() -> None:
    """Where all bins expect the same, the Poisson term is half the squares of the problem."""
    background = torch.full((1, VIEWS, BINS), 50.0)
    generator = torch.Generator().manual_seed(0)
    x = 0.01 * torch.rand(1, N, N, generator=generator)
    counts = PROJECTOR(x) + background
    data = PoissonTerm(counts, PROJECTOR, background)
    step = 0.01 * torch.rand(1, N, N, generator=generator)
    torch.testing.assert_close(data.gradient(x + step), PROJECTOR.gram(step), rtol=0.02, atol=1e-2)


def test_expectation_maximization_is_the_published_one() -> None:
    """MLEM against its formula, in counts; OSEM is ahead of it at the same number of passes; every method works."""
    scan, activity = counted(2e5)
    geometry = scan.geometry
    assert isinstance(geometry, Emission)
    assert geometry.factors is not None
    factors, background = geometry.factors, geometry.background
    seen = PROJECTOR.adjoint(factors)
    x = torch.ones(1, N, N) * (scan.data - background).sum() / seen.sum()
    for _ in range(3):
        x = x / seen * PROJECTOR.adjoint(factors * scan.data / (factors * PROJECTOR(x) + background))
    found = reconstruct(scan, lambda problem: expectation_maximization_method(problem, 3)).image
    torch.testing.assert_close(found, x, rtol=1e-3, atol=1e-3 * float(x.max()))

    def error(method: object) -> float:
        image = reconstruct(scan, method).image  # type: ignore[arg-type]
        assert image.dtype == torch.float32
        return float((image - activity).norm() / activity.norm())

    few = error(lambda problem: expectation_maximization_method(problem, 2))
    assert error(lambda problem: expectation_maximization_method(problem, 2, 6)) < few
    network = UnrolledNetwork(n_cascades=2, data_step="proximal")
    assert max(error(network), error(total_variation_method)) < 0.2


def test_expectation_maximization_keeps_the_entries_apart() -> None:
    """Of scans of very different sensitivity, too; what a subset does not expect stays finite."""
    seen, counts = torch.tensor([1.0, 1e-7]).reshape(2, 1, 1), torch.full((2, 2, 2), 5.0)
    operator = Wrapped(lambda x: x * seen, lambda y: y * seen)
    [found] = expectation_maximization([(counts, operator, torch.zeros(2, 2, 2))], 1)
    torch.testing.assert_close(found * seen, counts)
    nothing, same = torch.zeros(2, 2, 2), Wrapped(lambda x: x, lambda y: y)
    *_, last = expectation_maximization([(nothing, same, nothing), (counts, same, nothing)], 3)
    assert bool(torch.isfinite(last).all())


def test_total_variation_of_counts_is_the_least() -> None:
    """Against a quasi-Newton method with bounds, of a penalty that is rounded a little."""
    optimize = pytest.importorskip("scipy.optimize", reason="scipy is not installed")
    data = term(prepare(counted(2e4)[0]))
    data = PoissonTerm(data.counts.double(), data.operator, data.background.double())
    weight = 3e-4

    def objective(x: Tensor) -> Tensor:
        edges = torch.stack([x - x.roll(1, axis) for axis in (-2, -1)]).square().sum(0)
        return likelihood(data, x).sum() + weight * (edges + 1e-8).sqrt().sum()

    def of_array(flat: np.ndarray) -> tuple[float, np.ndarray]:
        x = torch.from_numpy(flat).reshape(1, N, N).requires_grad_()
        value = objective(x)
        value.backward()  # type: ignore[no-untyped-call]
        assert x.grad is not None
        return value.item(), x.grad.flatten().numpy()

    found = emission_total_variation(
        data.counts, data.operator, data.background, weight, scale=1.0, iterations=2000, tolerance=0
    ).x
    start = np.full(N * N, 0.3)
    least = optimize.minimize(of_array, start, jac=True, method="L-BFGS-B", bounds=[(0, None)] * N * N, tol=1e-12)
    assert bool((found >= 0).all())
    assert float(objective(found)) == pytest.approx(least.fun, abs=1e-4)


def test_total_variation_of_counts_keeps_the_entries_apart_and_knows_no_unit() -> None:
    data = term(prepare(counted(2e4)[0]))
    counts, background = (torch.cat([part, 3 * part]) for part in (data.counts, data.background))
    weights, scales = torch.tensor([0.1, 0.1]), torch.tensor([0.01, 0.03])
    both = emission_total_variation(counts, data.operator, background, weights, scale=scales, iterations=40).x
    one = emission_total_variation(data.counts, data.operator, data.background, 0.1, scale=0.01, iterations=40).x
    torch.testing.assert_close(both[:1], one)
    torch.testing.assert_close(both[1:] / 3, one, rtol=0, atol=1e-4)


def test_counts_are_stacked_differentiated_and_audited() -> None:
    problems, truths = [], []
    for seed in range(2):
        scan, activity = counted(3e4 * (1 + seed), seed)
        problems.append(prepare(scan))
        truths.append(activity / problems[-1].scale)
    network = UnrolledNetwork(n_cascades=2)
    both = Problem.stack(problems)
    images = network(both.y, both.operator, both.noise_level)
    torch.testing.assert_close(
        images[1:], network(problems[1].y, problems[1].operator, problems[1].noise_level), rtol=0, atol=1e-4
    )
    images.square().sum().backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in network.parameters() if p.grad is not None)
    cases = [Case(problem, truth) for problem, truth in zip(problems, truths, strict=True)]
    assert len(audit(network, cases).record["cascades"]) == 2


SHAPE = (1, VIEWS, BINS)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Scan(torch.full(SHAPE, -1.0), Emission(PROJECTOR)), "counts must not be negative; got -1"),
        (lambda: Scan(torch.ones(1, VIEWS, 9), Emission(PROJECTOR)), r"counts must be real \(image, 24, 46\)"),
        (lambda: Scan(torch.ones(SHAPE), Emission(PROJECTOR, torch.zeros(SHAPE))), "factors must be .* not all zero"),
        (lambda: Scan(torch.ones(SHAPE), Emission(PROJECTOR, None, -torch.ones(SHAPE))), "background must be finite"),
        (lambda: expectation_maximization_method(prepare(counted(1e4)[0]), 3, 99), "from 1 to 24 subsets .*; got 99"),
    ],
)
def test_bad_counts_are_named(make: object, said: str) -> None:
    with pytest.raises((ConfigError, DataFormatError), match=said):
        make()  # type: ignore[operator]
