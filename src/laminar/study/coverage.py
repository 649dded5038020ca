"""Do the intervals of a sampler hold the image? Of each test slice, before and after calibration on others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from laminar.calibration import Ratios, ratios_of
from laminar.data.cases import Case
from laminar.methods import Method
from laminar.runtime import seed_of
from laminar.statistics import rank_correlation
from laminar.study.disturbed import as_told
from laminar.uncertainty import Spread

LEVEL = 0.9
CALIBRATING = 2**31 + 4


def coverages(method: Method, test: dict[str, Any], seed: int) -> Iterator[dict[str, float]]:
    """Of every slice of a test set the fraction of its object pixels inside their 90 % interval.

    `coverage` as the `test["samples"]` samples say, `coverage_conformal` and `coverage_scale` with the factors that
    `test["calibration"]` other slices of the same kind give; `rank_correlation` of standard deviation and error.
    """
    samples = int(test["samples"])
    others = [case for case, _ in as_told(test, CALIBRATING, int(test["calibration"]))]
    seen = Ratios([_ratios(spread_of(method, c, samples, seed_of(seed, i, 1)), c) for i, c in enumerate(others)])
    factors = {"coverage": 1.0} | {f"coverage_{kind}": seen.factor(LEVEL, kind) for kind in ("conformal", "scale")}
    for index, (case, _) in enumerate(as_told(test)):
        spread = spread_of(method, case, samples, seed_of(seed, index, 2))
        ratios, where = _ratios(spread, case), spread.object_pixels
        row = {name: float((ratios <= factor).double().mean()) for name, factor in factors.items()}
        error = (spread.mean - _truth(case)).abs()[where]
        yield {name: round(v, 6) for name, v in row.items()} | {
            "rank_correlation": round(rank_correlation(spread.std[where], error), 6)
        }


@torch.no_grad()
def spread_of(method: Method, case: Case, samples: int, seed: int) -> Spread:
    """The spread of the magnitudes of samples (y, x)."""
    generator = torch.Generator().manual_seed(seed)
    draws = [method.draw(case.problem, generator).image for _ in range(samples)]
    return Spread.of(torch.cat([case.problem.magnitude(draw) for draw in draws]))


def _truth(case: Case) -> torch.Tensor:
    return case.problem.magnitude(case.image)[0]


def _ratios(spread: Spread, case: Case) -> torch.Tensor:
    return ratios_of(spread, _truth(case), spread.object_pixels, LEVEL)
