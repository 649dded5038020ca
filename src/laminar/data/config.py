"""The settings of the streams of training problems."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from torch import Tensor

from laminar.data.masks import make_mask
from laminar.data.simulation.phantoms import ANATOMIES
from laminar.errors import ConfigError

MaskKind = Literal["random", "equispaced", "equispaced-fraction", "magic-fraction", "poisson"]

# A mask has at least this many calibration lines, and this many times as many lines in all.
FEWEST_LINES, SURPLUS = 8, 1.3
SMALLEST_MATRIX = 16


@dataclass(frozen=True)
class SamplingConfig:
    """How training problems are undersampled; every pair is a range from which is drawn.

    Args:
        kinds: mask kinds, each entry as likely as the others.
        acceleration: nominal R; less where a small matrix would not leave enough lines.
        calibration_lines: fully sampled lines in the center; fewer where R would not allow as many, but at least 8.
        both_axes: undersample y as often as x, else always x; where a file says which axis is the readout, always
            the other one.
    """

    kinds: list[MaskKind] = field(
        default_factory=lambda: ["equispaced-fraction", "equispaced-fraction", "random", "poisson"]
    )
    acceleration: tuple[float, float] = (2.0, 9.0)
    calibration_lines: tuple[int, int] = (12, 26)
    both_axes: bool = True

    def __post_init__(self) -> None:
        known = get_args(MaskKind)
        _check("kinds", self.kinds, len(self.kinds) > 0, f"at least one of {', '.join(known)}")
        for kind in self.kinds:
            _check("kinds", kind, kind in known, f"one of {', '.join(known)}")
        _check_range("acceleration", self.acceleration, 1)
        _check_range("calibration_lines", self.calibration_lines, 1)

    def draw_kind(self, random: np.random.Generator) -> tuple[str, int]:
        """A kind of mask, and the axis that it undersamples."""
        kind = self.kinds[int(random.integers(len(self.kinds)))]
        return kind, -2 if self.both_axes and random.random() < 0.5 else -1

    def draw(self, matrix: tuple[int, int], axis: int, kind: str, random: np.random.Generator) -> Tensor:
        """One mask (y, x)."""
        acceleration, lines = self.draw_acceleration(kind, matrix, axis, random)
        return self.mask(kind, matrix, axis, acceleration, lines, random)

    def draw_acceleration(
        self, kind: str, matrix: tuple[int, int], axis: int, random: np.random.Generator
    ) -> tuple[float, int]:
        """R and calibration lines that such a matrix has room for."""
        acceleration = log_uniform(random, *self.acceleration)
        lines = int(random.integers(self.calibration_lines[0], self.calibration_lines[1] + 1))
        size, fewest = (matrix[axis], FEWEST_LINES) if kind != "poisson" else (matrix[0] * matrix[1], FEWEST_LINES**2)
        acceleration = max(1.0, min(acceleration, size / (SURPLUS * fewest)))
        room = (
            int(0.7 * size / acceleration) if kind != "poisson" else min(int((size / acceleration) ** 0.5 / 2), *matrix)
        )
        return acceleration, max(FEWEST_LINES, min(lines, room))

    def mask(
        self,
        kind: str,
        matrix: tuple[int, int],
        axis: int,
        acceleration: float,
        lines: int,
        random: np.random.Generator,
    ) -> Tensor:
        """A mask (y, x) of about this R with so many calibration lines; R is less where these leave no room."""
        size, center = (matrix[axis], lines) if kind != "poisson" else (matrix[0] * matrix[1], lines**2)
        acceleration = max(1.0, min(acceleration, size / (SURPLUS * center)))
        if kind == "equispaced":
            acceleration = round(acceleration)
        return make_mask(kind, matrix, acceleration, lines, int(random.integers(2**31)), axis)


@dataclass(frozen=True)
class SimulationConfig:
    """Endless simulated scans.

    Args:
        anatomy: brain | knee | cardiac | abstract | mixed.
        matrices: sizes (y, x), each as likely as the others.
        readout: largest part of the readout that is kept, at a random place; it is cheaper and nothing is lost,
            because a fully sampled axis decouples. Poisson masks have no readout and take at most 3/2 of
            this size along both axes.
        coils: fewest and most coils.
        noise_std: range of the noise level relative to the magnetization, drawn log-uniformly.
        folded: share of the scans whose field of view is too small for the object, along the undersampled axis.
    """

    anatomy: str = "mixed"
    matrices: list[tuple[int, int]] = field(default_factory=lambda: [(128, 128), (160, 160), (192, 192), (224, 192)])
    readout: int = 64
    coils: tuple[int, int] = (4, 8)
    noise_std: tuple[float, float] = (0.003, 0.06)
    folded: float = 0.05

    def __post_init__(self) -> None:
        anatomies = (*ANATOMIES, "mixed")
        _check("anatomy", self.anatomy, self.anatomy in anatomies, f"one of {', '.join(anatomies)}")
        _check("matrices", self.matrices, len(self.matrices) > 0, "at least one size (y, x)")
        for matrix in self.matrices:
            fits = len(matrix) == 2 and min(matrix) >= SMALLEST_MATRIX
            _check("matrices", matrix, fits, f"two sides (y, x) of at least {SMALLEST_MATRIX}")
        _check("readout", self.readout, self.readout >= SMALLEST_MATRIX, f"at least {SMALLEST_MATRIX}")
        _check_range("coils", self.coils, 1)
        _check_range("noise_std", self.noise_std, 0)
        _check("noise_std", self.noise_std, self.noise_std[0] > 0, "two positive numbers")
        _check("folded", self.folded, 0 <= self.folded <= 1, "a share from 0 to 1")


def log_uniform(random: np.random.Generator, low: float, high: float) -> float:
    """A number in [low, high) whose logarithm is uniform."""
    return float(np.exp(random.uniform(np.log(low), np.log(high))))


def _check(name: str, value: Any, fits: bool, expected: str) -> None:
    if not fits:
        raise ConfigError(f"{name}: expected {expected}; got {value!r}")


def _check_range(name: str, pair: tuple[float, float], least: float) -> None:
    fits = len(pair) == 2 and least <= pair[0] <= pair[1] < math.inf
    _check(name, pair, fits, f"two numbers of at least {least}, the smaller one first")
