"""What a few numbers say of all: intervals of means and of deviations, quantiles, ranks.

All of the house's statistics stand here, on NumPy and torch alone. SciPy stays an oracle of the tests: it weighs more
than everything else in the core but torch, it has no bootstrap of crossed levels, and what is left of it that we need
are two quantiles and a rank correlation, twenty lines. Intervals by bootstrap are seeded: equal values give equal ends.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from laminar.errors import ConfigError

DRAWS = 2000
LEVEL = 0.95
Array = NDArray[np.float64]


class Estimate(NamedTuple):
    """A number and the ends of its interval; the ends are NaN where the values cannot tell."""

    value: float
    low: float
    high: float


def mean_interval(values: ArrayLike, *, draws: int = DRAWS, seed: int = 0, level: float = LEVEL) -> Estimate:
    """The mean of independent values (n,) and its percentile bootstrap interval.

    The ends are NaN for fewer than two values, and where one is not finite. Source: Efron 1979,
    doi:10.1214/aos/1176344552.
    """
    sample = np.asarray(values, dtype=np.float64)
    if len(sample) < 2 or not np.isfinite(sample).all():
        return Estimate(float(sample.mean()) if len(sample) else math.nan, math.nan, math.nan)
    means = np.random.default_rng(seed).choice(sample, (draws, len(sample))).mean(1)
    return Estimate(float(sample.mean()), *_ends(means, level))


def crossed_interval(
    table: ArrayLike, persons: Sequence[Hashable], *, draws: int = DRAWS, seed: int = 0, level: float = LEVEL
) -> Estimate:
    """The mean of `table` (training seed, slice) and its interval over seeds, persons and slices at once.

    Every draw takes seeds, persons, and of each person slices, all with replacement; every seed saw the same slices,
    so that these are crossed and not nested. `persons` (slice,) says whose a slice is. A level with one member is not
    drawn from: of one seed the interval is over slices alone. NaN ends as in `mean_interval`. Source: Owen 2007, the
    pigeonhole bootstrap, arXiv:0712.1111.
    """
    values = np.atleast_2d(np.asarray(table, dtype=np.float64))
    if values.size < 2 or not np.isfinite(values).all():
        return Estimate(float(values.mean()) if values.size else math.nan, math.nan, math.nan)
    random = np.random.default_rng(seed)
    seeds, slices = _counts(len(values), draws, random), _slice_counts(persons, draws, random)
    means = np.einsum("ds,sn,dn->d", seeds, values, slices) / (seeds.sum(1) * slices.sum(1))
    return Estimate(float(values.mean()), *_ends(means, level))


def _slice_counts(persons: Sequence[Hashable], draws: int, random: np.random.Generator) -> Array:
    """How often each draw (draw, slice) takes a slice, when persons are drawn first and slices of each of them then."""
    groups = [np.flatnonzero([who == one for who in persons]) for one in dict.fromkeys(persons)]
    counts = np.zeros((draws, len(persons)))
    for group, times in zip(groups, _counts(len(groups), draws, random).T, strict=True):
        counts[:, group] = random.multinomial(times * len(group), np.full(len(group), 1 / len(group)))
    return counts


def _counts(n: int, draws: int, random: np.random.Generator) -> NDArray[np.int64]:
    """How often each of n is drawn in n draws with replacement, `draws` times: (draws, n)."""
    return random.multinomial(n, np.full(n, 1 / n), size=draws)


def deviation_interval(values: ArrayLike, *, level: float = LEVEL) -> Estimate:
    """The standard deviation of normal values (n,), unbiased in its square, with its interval.

        s sqrt((n - 1) / q((1 + level) / 2)),  s sqrt((n - 1) / q((1 - level) / 2)),  q the quantile of chi^2_{n-1}

    A bootstrap of a handful of values would be too narrow: no draw can deviate more than they do. NaN for one value.
    """
    sample = np.asarray(values, dtype=np.float64)
    n = len(sample)
    if n < 2 or not np.isfinite(sample).all():
        return Estimate(math.nan, math.nan, math.nan)
    found = float(sample.std(ddof=1))
    low, high = (found * math.sqrt((n - 1) / chi2_quantile((1 + s * level) / 2, n - 1)) for s in (1, -1))
    return Estimate(found, low, high)


def share_interval(hits: int, n: int, *, level: float = LEVEL) -> Estimate:
    """A share of n trials with Wilson's score interval, doi:10.1080/01621459.1927.10502953."""
    if n < 1:
        return Estimate(math.nan, math.nan, math.nan)
    z, share = math.sqrt(2) * float(torch.erfinv(torch.tensor(level, dtype=torch.float64))), hits / n
    middle, spread = share + z**2 / (2 * n), z * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    low, high = ((middle + sign * spread) / (1 + z**2 / n) for sign in (-1, 1))
    return Estimate(share, max(0.0, low), min(1.0, high))


def chi2_quantile(level: float, degrees: int) -> float:
    """The x with `P(X < x) = level` for a chi-squared X with `degrees` >= 1 degrees of freedom, by bisection."""
    check_level(level)

    def probability(x: float) -> float:
        half = torch.tensor([degrees / 2, x / 2], dtype=torch.float64)
        return float(torch.special.gammainc(half[0], half[1]))

    high = 1.0
    while probability(high) < level:
        high *= 2
    return _bisected(probability, level, 0.0, high)


def student_quantile(level: float, degrees: int) -> float:
    """The t with `P(|T| < t) = level` for Student's T with `degrees` >= 1 degrees of freedom.

    Bisection of the finite series in `theta = atan(t / sqrt(degrees))`, Abramowitz and Stegun 26.7.3 and 26.7.4.
    """
    check_level(level)
    theta = _bisected(lambda angle: _central_probability(angle, degrees), level, 0.0, math.pi / 2)
    return math.sqrt(degrees) * math.tan(theta)


def _central_probability(theta: float, degrees: int) -> float:
    sine, cosine = math.sin(theta), math.cos(theta)
    odd = degrees % 2
    term, total = (cosine if odd else 1.0), 0.0
    for power in range(odd, degrees - 1, 2):
        total += term
        term *= cosine**2 * (power + 1) / (power + 2)
    return 2 / math.pi * (theta + sine * total) if odd else sine * total


def _bisected(rising: Callable[[float], float], wanted: float, low: float, high: float) -> float:
    """The largest number in [low, high) at which the function is below `wanted`."""
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if rising(middle) < wanted else (low, middle)
    return low


def check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ConfigError(f"the level of an interval must lie between 0 and 1; got {level}")


def rank_correlation(a: Tensor, b: Tensor) -> float:
    """Spearman's rank correlation of two real tensors (n,): Pearson's of the ranks, where equal values share their mean
    rank; NaN for a constant.
    """
    return float(torch.corrcoef(torch.stack([_ranks(a), _ranks(b)]))[0, 1])


def _ranks(values: Tensor) -> Tensor:
    _, place, counts = torch.unique(values, return_inverse=True, return_counts=True)
    ranks: Tensor = counts.cumsum(0) - (counts.double() - 1) / 2
    return ranks[place]


def quantile(values: Tensor, level: float) -> Tensor:
    """The quantile along the last axis, between two values in proportion: `torch.quantile`, of any number of values."""
    ordered = (values if values.is_floating_point() else values.double()).sort(-1).values
    place = level * (values.shape[-1] - 1)
    low = int(place)
    lower = ordered[..., low]
    return lower if place == low else torch.lerp(lower, ordered[..., low + 1], place - low)


def _ends(statistics: Array, level: float) -> tuple[float, float]:
    low, high = np.percentile(statistics, (50 * (1 - level), 50 * (1 + level)))
    return float(low), float(high)
