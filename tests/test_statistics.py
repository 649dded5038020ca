"""Statistics against SciPy, and against what their names promise on worlds whose answer is known."""

import math

import numpy as np
import pytest
import scipy.stats
import torch

from laminar.statistics import (
    chi2_quantile,
    crossed_interval,
    deviation_interval,
    mean_interval,
    quantile,
    rank_correlation,
    share_interval,
    student_quantile,
)

R = torch.float64


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 7, 8, 31, 200])
def test_quantiles_of_student_are_those_of_scipy(degrees: int) -> None:
    levels = [0.01, 0.5, 0.8, 0.9, 0.95, 0.999, 0.99999]
    expected = scipy.stats.t.ppf([(1 + level) / 2 for level in levels], degrees)
    ours = torch.tensor([student_quantile(level, degrees) for level in levels], dtype=R)
    torch.testing.assert_close(ours, torch.from_numpy(expected), rtol=1e-10, atol=0)


def test_the_rank_correlation_is_that_of_scipy_with_ties() -> None:
    a, b = torch.randint(9, (2, 200), generator=torch.Generator().manual_seed(0)).double()
    b += a / 2
    assert rank_correlation(a, b) == pytest.approx(scipy.stats.spearmanr(a, b).statistic, abs=1e-12)
    assert math.isnan(rank_correlation(torch.ones(5), a[:5]))


def test_the_quantile_is_that_of_torch() -> None:
    values = torch.randn(3, 101, dtype=R, generator=torch.Generator().manual_seed(0))
    for level in (0.0, 0.3, 0.995, 1.0):
        torch.testing.assert_close(quantile(values, level), values.quantile(level, -1))
    assert quantile(values[:, :1], 0.99).equal(values[:, 0])


def test_the_interval_of_a_mean_is_the_percentile_bootstrap_of_scipy() -> None:
    values = np.random.default_rng(1).exponential(size=40)
    found = mean_interval(values, draws=20_000)
    oracle = scipy.stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=1)
    assert found[1:] == pytest.approx(tuple(oracle.confidence_interval), rel=0.02)
    assert all(map(math.isnan, mean_interval([1.0])[1:]))
    assert all(map(math.isnan, mean_interval([1.0, math.inf])[1:]))


def test_the_interval_of_a_deviation_is_that_of_chi_squared() -> None:
    for degrees in (1, 2, 9, 200):
        oracle = scipy.stats.chi2.ppf([0.001, 0.025, 0.5, 0.975], degrees)
        ours = [chi2_quantile(level, degrees) for level in (0.001, 0.025, 0.5, 0.975)]
        assert ours == pytest.approx(oracle, rel=1e-9)
    random = np.random.default_rng(0)
    held = [low < 1 < high for _, low, high in (deviation_interval(random.normal(size=5)) for _ in range(400))]
    assert np.mean(held) == pytest.approx(0.95, abs=0.03)
    assert math.isnan(deviation_interval([1.0]).value)


def test_the_share_is_wilson_s() -> None:
    oracle = scipy.stats.binomtest(3, 10).proportion_ci(method="wilson")
    assert share_interval(3, 10)[1:] == pytest.approx(tuple(oracle), rel=1e-6)
    assert share_interval(0, 10)[:2] == (0, 0)


def test_slices_of_one_person_are_not_independent_and_seeds_are_crossed_with_them() -> None:
    """Twelve persons of ten equal slices and five seeds: the interval of the mean of all covers the truth."""
    random, held = np.random.default_rng(0), []
    persons = [i // 10 for i in range(120)]
    for trial in range(100):
        seeds, of_person = random.normal(size=(5, 1)) * 0.3, np.repeat(random.normal(size=12), 10)
        table = seeds + of_person + 0.01 * random.normal(size=(5, 120))
        _, low, high = crossed_interval(table, persons, draws=200, seed=trial)
        naive = mean_interval(table.ravel(), draws=200)
        assert naive.high - naive.low < 0.5 * (high - low)
        held.append(low < 0 < high)
    assert np.mean(held) > 0.82  # the bootstrap of a dozen is somewhat narrow


def test_one_seed_of_single_slices_is_the_plain_bootstrap() -> None:
    values = np.random.default_rng(0).normal(size=30)
    found, plain = crossed_interval([values], range(30)), mean_interval(values)
    assert found == pytest.approx(plain, abs=0.05)
