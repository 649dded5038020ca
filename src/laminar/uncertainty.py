"""What n samples of the posterior say of a pixel: mean, standard deviation, and an interval with a stated level.

All is about real images (magnitudes). The factor that makes the intervals of a sampler honest comes from
`laminar.calibration` and travels in a `Calibration`. See docs/uncertainty.md.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from laminar.errors import CheckpointError, ConfigError
from laminar.files import write_json
from laminar.statistics import check_level, student_quantile

FORMAT, VERSION = "laminar-uncertainty", 2
KINDS = ("conformal", "scale")
OBJECT_FRACTION, OBJECT_QUANTILE = 0.1, 0.99
"""An object pixel is brighter than this fraction of this quantile of its slice: the air would be covered for free."""


@dataclass(frozen=True, eq=False)
class Spread:
    """Pixel-wise mean and standard deviation (divisor n - 1) of n real samples; both of one shape."""

    mean: Tensor
    std: Tensor
    n: int

    @staticmethod
    def of(samples: Tensor) -> Spread:
        """The spread of real samples (n, ...). Raises ConfigError for fewer than two or complex ones."""
        check_samples(len(samples))
        if samples.is_complex():
            raise ConfigError(f"a spread is that of real samples, such as magnitudes; got {samples.dtype}")
        std, mean = torch.std_mean(samples, 0)
        return Spread(mean, std, len(samples))

    @staticmethod
    def stack(spreads: Sequence[Spread]) -> Spread:
        """Spreads of as many samples each, one behind the other along a new first axis."""
        counts = {spread.n for spread in spreads}
        if len(counts) != 1:
            raise ConfigError(f"only spreads of equally many samples go together; got {sorted(counts) or 'none'}")
        return Spread(torch.stack([s.mean for s in spreads]), torch.stack([s.std for s in spreads]), counts.pop())

    def flat(self) -> Spread:
        """That of images (image, y, x), whatever axes they had."""
        return Spread(self.mean.flatten(0, -3), self.std.flatten(0, -3), self.n)

    @property
    def object_pixels(self) -> Tensor:
        """Bool (..., y, x): where the mean magnitude is above a tenth of the 99 % quantile of its slice.

        The samples decide, never the truth: else the intervals would be judged where the truth is bright. Calibration
        and figures count these pixels alone.
        """
        values = self.mean.flatten(-2)
        bright = values.kthvalue(math.ceil(OBJECT_QUANTILE * values.shape[-1])).values
        return self.mean > OBJECT_FRACTION * bright[..., None, None]

    def half_width(self, level: float) -> Tensor:
        """Half the width of the interval: `t_(n-1)((1 + level) / 2) std sqrt(1 + 1/n)`."""
        return student_quantile(level, self.n - 1) * math.sqrt(1 + 1 / self.n) * self.std

    def interval(self, level: float, calibration: Calibration | None = None) -> tuple[Tensor, Tensor]:
        """Lower and upper end of the interval that holds the image with probability `level`.

        Without a calibration the prediction interval of a Gaussian from n draws: if samples and image come from one
        Gaussian, the probability is exactly `level` for every n. With one, its half width times the factor. Raises
        ConfigError for a calibration of another level or number of samples.
        """
        if calibration is not None:
            check_fits(calibration, calibration.fingerprint, self.n, level=level)
        half = self.half_width(level) * (1.0 if calibration is None else calibration.factor)
        return self.mean - half, self.mean + half


def check_samples(n: int) -> None:
    if n < 2:
        raise ConfigError(f"a spread needs at least 2 samples; got {n}")


def coverage(lower: Tensor, upper: Tensor, truth: Tensor, where: Tensor) -> float:
    """The fraction of the pixels `where` (bool) whose truth lies in [lower, upper]; NaN if there is none."""
    return float(((lower <= truth) & (truth <= upper))[where].double().mean())


_LARGEST = 1e300
_RANGES: dict[str, tuple[Any, float, float]] = {
    "samples": (int, 2, _LARGEST),
    "level": (float, 0, 1),
    "factor": (float | int, 0, _LARGEST),
    "object_fraction": (float | int, 0, 1),
    "slices": (int, 1, _LARGEST),
    "pixels": (int, 1, _LARGEST),
    "coverage_before": (float | int, 0, 1),
    "coverage_after": (float | int, 0, 1),
    "coverage_held_out": (float | int, 0, 1),
    "coverage_held_out_std": (float | int, 0, 1),
}


@dataclass(frozen=True)
class Calibration:
    """The factor that widens (or narrows) the intervals of one sampler, and how it was found.

    Attributes:
        method: name of the method, as on the command line.
        fingerprint: SHA-256 of its weights; None if it has none.
        settings: what else decides its samples, such as `nfe`.
        samples: number n of samples that a spread is taken of.
        level: what the intervals shall cover.
        kind: `conformal` or `scale`, see `laminar.calibration`.
        factor: by which the half width is multiplied.
        data: what the slices were, as plain values.
        object_fraction: the threshold of `Spread.object_pixels`.
        slices, pixels: numbers of slices and of object pixels in them.
        coverage_before: with factor 1; mean over slices of the fraction of their object pixels inside the interval.
        coverage_after: the same with the factor, on the very slices that it was fitted to.
        coverage_held_out: the same, each slice with the factor of all the others: the one to quote.
        coverage_held_out_std: standard deviation over slices of the last.

    Raises ConfigError for a value that cannot be.
    """

    method: str
    fingerprint: str | None
    settings: Mapping[str, Any]
    samples: int
    level: float
    kind: str
    factor: float
    data: Mapping[str, Any]
    object_fraction: float
    slices: int
    pixels: int
    coverage_before: float
    coverage_after: float
    coverage_held_out: float
    coverage_held_out_std: float

    def __post_init__(self) -> None:
        for name, (kind, least, most) in _RANGES.items():
            value = getattr(self, name)
            if not isinstance(value, kind) or isinstance(value, bool) or not least <= value <= most:
                raise ConfigError(f"{name} must be a number from {least} to {most}; got {value!r}")
        for name, types in {"method": str, "fingerprint": str | None, "settings": Mapping, "data": Mapping}.items():
            if not isinstance(getattr(self, name), types):
                raise ConfigError(f"{name} must be {types}; got {getattr(self, name)!r}")
        check_level(self.level)
        if self.kind not in KINDS:
            raise ConfigError(f"unknown kind {self.kind!r}: choose one of {', '.join(KINDS)}")

    def write(self, path: str | Path) -> None:
        """Write JSON, whole or not at all. Raises LaminarError."""
        write_json(Path(path), {"format": FORMAT, "version": VERSION} | asdict(self))


def read_calibration(path: str | Path) -> Calibration:
    """The calibration in a file of `Calibration.write`. Raises CheckpointError for anything else."""
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror or error}") from error
    except ValueError as error:
        raise CheckpointError(f"{path}: no calibration, which laminar calibrate writes as JSON") from error
    if not isinstance(values, dict) or values.pop("format", None) != FORMAT:
        raise CheckpointError(f"{path}: expected a file of format {FORMAT!r}")
    if (version := values.pop("version", None)) != VERSION:
        raise CheckpointError(f"{path}: expected version {VERSION}; got {version!r}: laminar calibrate makes it anew")
    if wrong := sorted(values.keys() ^ {field.name for field in fields(Calibration)}):
        raise CheckpointError(f"{path}: missing or unknown keys: {', '.join(wrong)}")
    try:
        return Calibration(**values)
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error}") from error


def check_fits(calibration: Calibration, fingerprint: str | None, n: int, **used: Any) -> None:
    """Raise ConfigError unless a calibration was made for these weights and this number n of samples.

    `used` may name more of its attributes: two samplers share a prior, so give `method` and `settings` as well.
    """
    for name, value in {**used, "samples": n, "fingerprint": fingerprint}.items():
        made = getattr(calibration, name)
        if isinstance(made, Mapping) and isinstance(value, Mapping):  # only what differs
            made, value = ({k: v for k, v in a.items() if b.get(k) != v} for a, b in ((made, value), (value, made)))
        if made != value:
            raise ConfigError(
                f"the calibration does not fit: it was made for {name} {made!r}, this is {value!r}; "
                "laminar calibrate makes another"
            )
