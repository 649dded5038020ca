"""From slices whose image is known to the factor that makes the intervals of a sampler honest.

Everything rests on one number a pixel, `ratio = |mean - truth| / half width`: with the factor f the interval holds
the truth where ratio <= f. So the coverage as a function of f is known exactly from the sorted ratios, without a grid.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from laminar.data.preparation import Problem
from laminar.errors import ConfigError
from laminar.runtime import seed_of
from laminar.statistics import check_level
from laminar.uncertainty import KINDS, OBJECT_FRACTION, Calibration, Spread

Draw = Callable[[Problem, torch.Generator], Tensor]
"""A sample of the image, complex or magnitude (1, y, x), with two maps (1, map, y, x), of a problem of batch size 1;
another generator, another."""


SAMPLES = 1
"""Sets the noise of the samples apart from that of slices which were simulated with the same seed."""


class Ratios:
    """The ratios of the object pixels of several slices, sorted once.

    `slices` holds a float tensor (pixels,) for each slice; infinite where an interval of no width misses. Raises
    ConfigError if a slice has no object pixel.
    """

    def __init__(self, slices: Sequence[Tensor]) -> None:
        if not all(len(ratios) for ratios in slices):
            raise ConfigError("a slice without any object pixel cannot be calibrated on")
        self.counts = torch.tensor([len(ratios) for ratios in slices])
        self.values, order = torch.cat([ratios.double() for ratios in slices]).sort()
        self.slice_of = torch.arange(len(slices)).repeat_interleave(self.counts)[order]

    def coverage(self, factor: float) -> Tensor:
        """The fraction of the pixels of each slice (slice,) inside their interval times `factor`."""
        inside = torch.bincount(self.slice_of[self.values <= factor], minlength=len(self.counts))
        return inside.double() / self.counts

    def factor(self, level: float, kind: str, without: int | None = None) -> float:
        """The smallest factor of a kind from all slices, or from all but one.

        `scale`: the pooled coverage of all pixels is at least `level`.

        `conformal`: conformal risk control of the fraction of a slice's pixels outside its interval,

            inf {f : n / (n + 1) mean_i loss_i(f) + 1 / (n + 1) <= 1 - level},

        after which E[loss of a new slice] <= 1 - level if it is exchangeable with the n slices; no more is said of a
        single slice or pixel. Source: Angelopoulos et al., arXiv:2208.02814, theorem 1.

        Raises ConfigError for too few slices, and if no factor does it because samples do not differ where they err.
        """
        chosen = torch.ones(len(self.counts), dtype=torch.float64)
        if without is not None:
            chosen[without] = 0
        n = int(chosen.sum())
        check_enough(n, level, kind)
        weights = chosen if kind == "scale" else chosen / self.counts
        risen = weights[self.slice_of].cumsum(0)
        wanted = level if kind == "scale" else level + level / n  # 1 - loss, with ((n + 1)(1 - level) - 1) / n of loss
        # Rounding of the sum must not ask for a pixel more than the exact sum does.
        first = int(torch.searchsorted(risen, wanted * risen[-1] * (1 - 1e-12)))
        found = float(self.values[min(first, len(self.values) - 1)])
        if math.isinf(found):
            raise ConfigError(
                f"no factor brings the coverage to {level}: in {float(self.values.isinf().double().mean()):.1%} of the "
                "object pixels all samples are equal and wrong"
            )
        return found


def check_enough(n: int, level: float, kind: str, *, spare: int = 0) -> None:
    """Raise ConfigError if n slices, `spare` of them left out, give no factor; conformal: 1/(n+1) <= 1 - level."""
    check_level(level)
    if kind not in KINDS:
        raise ConfigError(f"unknown kind {kind!r}: choose one of {', '.join(KINDS)}")
    least = spare + (1 if kind == "scale" else math.ceil(round(1 / (1 - level), 9)) - 1)
    if n < least:
        more = "; kind scale does with fewer" if kind == "conformal" else ""
        raise ConfigError(f"a {kind} factor for the level {level} needs at least {least} slices; there are {n}{more}")


def ratios_of(spread: Spread, truth: Tensor, where: Tensor, level: float) -> Tensor:
    """|mean - truth| / half width of the pixels `where`, float64: 0 / 0 is 0, for such an interval holds the truth."""
    error = (spread.mean - truth)[where].double().abs()
    return torch.where(error > 0, error / spread.half_width(level)[where].double(), 0.0)


@dataclass(frozen=True)
class SliceCoverage:
    """Coverage of one slice: with factor 1, with the factor of all slices, and with that of all the other slices.

    `half_width` is the mean over its object pixels with the factor of all slices, relative to their mean magnitude.
    """

    pixels: int
    before: float
    after: float
    held_out: float
    half_width: float


@torch.no_grad()
def calibrate(
    draw: Draw,
    cases: Sequence[tuple[Problem, Tensor]],
    *,
    method: str,
    fingerprint: str | None,
    settings: Mapping[str, Any],
    data: Mapping[str, Any],
    samples: int = 16,
    level: float = 0.9,
    kind: str = "conformal",
    seed: int = 0,
    device: str | torch.device = "cpu",
    report: Callable[[int], None] = lambda slices_done: None,
) -> tuple[Calibration, list[SliceCoverage]]:
    """The calibration of a sampler on slices whose image is known, and what it does to each of them.

    A case is a problem of batch size 1 and its image, of the shape of a sample, in the same units. `method`,
    `fingerprint`, `settings` and `data` are kept as they are given. All randomness comes from `seed`. Raises
    ConfigError for too few slices (one more than the factor needs, since each is left out once) before anything is
    drawn.
    """
    check_enough(len(cases), level, kind, spare=1)
    found: list[tuple[Tensor, float]] = []
    for index, (problem, image) in enumerate(cases):
        generator = torch.Generator(device).manual_seed(seed_of(seed, index, SAMPLES))
        found.append(_measured(draw, problem.to(device), image, samples, level, generator))
        report(index + 1)
    ratios = Ratios([one for one, _ in found])
    factor = ratios.factor(level, kind)
    before, after = ratios.coverage(1.0), ratios.coverage(factor)
    held_out = torch.stack([ratios.coverage(ratios.factor(level, kind, without=i))[i] for i in range(len(cases))])
    calibration = Calibration(
        method=method,
        fingerprint=fingerprint,
        settings=dict(settings),
        samples=samples,
        level=level,
        kind=kind,
        factor=factor,
        data=dict(data),
        object_fraction=OBJECT_FRACTION,
        slices=len(cases),
        pixels=int(ratios.counts.sum()),
        coverage_before=float(before.mean()),
        coverage_after=float(after.mean()),
        coverage_held_out=float(held_out.mean()),
        coverage_held_out_std=float(held_out.std()),
    )
    widths = [factor * width for _, width in found]
    columns = (ratios.counts.tolist(), before.tolist(), after.tolist(), held_out.tolist(), widths)
    return calibration, [SliceCoverage(*row) for row in zip(*columns, strict=True)]


def _measured(
    draw: Draw, problem: Problem, image: Tensor, samples: int, level: float, generator: torch.Generator
) -> tuple[Tensor, float]:
    """The ratios of the object pixels of a slice, and the mean half width relative to their mean."""
    spread = Spread.of(torch.stack([problem.magnitude(draw(problem, generator)).cpu() for _ in range(samples)]))
    if not bool(torch.isfinite(spread.std).all()):
        raise ConfigError("the samples are not finite: is the model made for data like these?")
    where = spread.object_pixels
    width = spread.half_width(level)[where].double().sum() / spread.mean[where].double().sum()
    return ratios_of(spread, problem.magnitude(image).cpu(), where, level), float(width)
