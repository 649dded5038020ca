"""Acquired samples in two parts: what a network gets, and what is held out of it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor

from laminar.data.coils import calibration_region, whole_lines
from laminar.data.preparation import Problem
from laminar.errors import ConfigError, DataFormatError

Law = Literal["uniform", "gaussian"]
Unit = Literal["line", "sample"]
_WIDTH = 0.25  # standard deviation of the Gaussian law over the size of k-space, as in Yaman et al.
_CENTER = 4  # side of the block around the zero frequency, or lines there, that are kept in any case, as there


@dataclass(frozen=True)
class SplittingConfig:
    """How the acquired samples outside the calibration region are split.

    An undersampled scan that has none there, its acceleration being used up by calibration lines, is split outside its
    center: 4 x 4 samples, or four lines.

    Args:
        law: uniform | gaussian, the density that the samples held out are drawn from, without replacement: alike
            everywhere, or falling from the center with a standard deviation of a quarter of k-space along each axis.
        unit: sample | line, what is drawn: samples in the plane, or whole lines of the undersampled axis, whose gaps
            are then wider than any that the network will see; where a mask has no whole lines, samples in any case.
        share: how much of them is held out.
        masks: splits of every problem in each step.
    """

    law: Law = "uniform"
    unit: Unit = "sample"
    share: float = 0.4
    masks: int = 2

    def __post_init__(self) -> None:
        for name, known in (("law", get_args(Law)), ("unit", get_args(Unit))):
            if getattr(self, name) not in known:
                raise ConfigError(f"splitting.{name} must be {' or '.join(known)}; got {getattr(self, name)!r}")
        if not 0 < self.share < 1:
            raise ConfigError(f"splitting.share must be above 0 and below 1; got {self.share}")
        if self.masks < 1:
            raise ConfigError(f"splitting.masks must be at least 1; got {self.masks}")


def split(problem: Problem, config: SplittingConfig, generator: torch.Generator) -> tuple[Problem, Tensor]:
    """The problem of the samples that are left, and those held out, bool (batch, y, x).

    Maps, noise level and scale stay: they come from the calibration region, which is split only where nothing else
    is sampled. Raises ConfigError where there is nothing to split.
    """
    masks = problem.sensed.mask.expand(len(problem.y), -1, -1)
    held = torch.stack([held_out(mask, config, generator) for mask in masks.cpu()]).to(masks.device)
    return without(problem, held), held


def without(problem: Problem, held: Tensor) -> Problem:
    """The problem of all samples but `held` (batch, y, x)."""
    mask = problem.sensed.mask & ~held
    return replace(problem, y=problem.y * mask[:, None], operator=problem.sensed.masked(mask))


def held_out(mask: Tensor, config: SplittingConfig, generator: torch.Generator) -> Tensor:
    """A random part, bool (y, x), of the samples of a `mask` (y, x) outside its calibration region, or its center.

    It has `share` of them, rounded, but at least one and not all: the largest of `log p + g`, with the density p of the
    law and Gumbel noise g, which draws without replacement. Raises ConfigError if there are fewer than two.
    """
    around = mask & ~_center(mask, config.unit)
    outside = around & ~_calibration(mask)
    if _choice(outside, mask, config.unit).sum() < 2 and not bool(mask.all()):
        outside = around
    choice = _choice(outside, mask, config.unit)
    count = int(choice.sum())
    if count < 2:
        raise ConfigError(
            "an undersampled scan with samples outside its calibration region or its center is needed to hold some of "
            f"them out; got {count}"
        )
    uniform = torch.rand(choice.shape, generator=generator, dtype=torch.float64)
    keys = _log_density(choice.shape, config.law) - (-uniform.log()).log()
    keys[~choice] = -torch.inf
    drawn = torch.zeros(choice.numel(), dtype=torch.bool)
    drawn[keys.flatten().topk(min(max(1, round(config.share * count)), count - 1)).indices] = True
    return outside & drawn.view(choice.shape)


def _center(mask: Tensor, unit: Unit) -> Tensor:
    """The block around the zero frequency, bool (y, x); for lines those that go through it."""
    rows, columns = (slice(max(0, (n - _CENTER) // 2), (n + _CENTER) // 2) for n in mask.shape)
    if unit == "line" and bool((mask == mask[:1]).all()):
        rows = slice(None)
    elif unit == "line" and bool((mask == mask[:, :1]).all()):
        columns = slice(None)
    kept = torch.zeros_like(mask)
    kept[rows, columns] = True
    return kept


def _calibration(mask: Tensor) -> Tensor:
    """The whole lines, or the block, around the zero frequency; nothing for a scan that brings its maps without any."""
    kept = torch.zeros_like(mask)
    with suppress(DataFormatError):
        kept[whole_lines(mask, calibration_region(mask))] = True
    return kept


def _choice(outside: Tensor, mask: Tensor, unit: Unit) -> Tensor:
    """What is drawn from: for lines those (1, x) or (y, 1) that the samples `outside` are made of, else themselves."""
    if unit == "sample":
        return outside
    columns, rows = outside.any(-2, keepdim=True), outside.any(-1, keepdim=True)
    if not torch.equal(columns & rows, outside):
        return outside
    along_y = mask.any(-2).float().mean() <= mask.any(-1).float().mean()
    return columns if along_y else rows


def _log_density(shape: torch.Size, law: Law) -> Tensor:
    """The logarithm of the law's density on a grid (y, x), up to a constant."""
    density = torch.zeros(shape, dtype=torch.float64)
    if law == "uniform":
        return density
    for axis, size in enumerate(shape):
        place = (torch.arange(size) - size // 2) / (_WIDTH * size)
        density = density - (place.square() / 2).view(-1, 1) if axis == 0 else density - place.square() / 2
    return density
