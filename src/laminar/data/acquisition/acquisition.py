"""What an acquisition is: settings, and the measurement that they make of an object."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import ClassVar

import torch
from torch import Tensor

from laminar.data.cases import Case
from laminar.data.preparation import Problem, prepare
from laminar.errors import ConfigError
from laminar.operators import Encoding, LinearOperator, NonUniform, NonUniformFrames, Stacked, fft2c, ifft2c
from laminar.operators.linear import Scaled
from laminar.registry import ACQUISITIONS, nearest, resolve
from laminar.scan import Scan

Number = int | float


@dataclass(frozen=True, eq=False)
class Measured:
    """A scan of one image and what it was made of, without noise: coil images (..., coil, y, x), or a real image."""

    scan: Scan
    images: Tensor
    is_coils: bool

    @property
    def reference(self) -> Tensor:
        """The image as a magnitude, (1, ...): of coils the root of their sum of squares."""
        return (self.images.abs().square().sum(-3).sqrt() if self.is_coils else self.images)[None]

    def case(self, name: str = "") -> Case:
        """The problem, and the image in its units: of coils as its sensitivities combine them."""
        problem = prepare(self.scan)
        image = (sensitivities_of(problem).conj() * self.images).sum(-3) if self.is_coils else self.images
        image = image.reshape(1, *self.scan.geometry.shape)
        return Case(problem, image / problem.scale.reshape(-1, *[1] * (image.ndim - 1)), name)


def sensitivities_of(problem: Problem) -> Tensor:
    """The maps of the operator of a problem, (image, ..., coil, y, x). Raises ConfigError if it has none."""
    operator: LinearOperator = problem.operator
    while isinstance(operator, Scaled | Stacked):
        operator = operator.operator
    if not isinstance(operator, Encoding | NonUniform | NonUniformFrames):
        raise ConfigError(f"an operator with coils is needed; got a {type(operator).__name__}")
    maps: Tensor = operator.sensitivities
    return maps.movedim(1, -3) if maps.ndim == 5 else maps


@dataclass(frozen=True)
class Acquisition(ABC):
    """One kind of acquisition; its fields, all numbers, are its settings. Raises ConfigError for one out of range."""

    kind: ClassVar[str]
    """That of its geometry, `laminar.geometry.Geometry.kind`."""
    has_coils: ClassVar[bool] = False
    least: ClassVar[Mapping[str, float]] = {}
    """The least value of a setting, where that is not above zero."""
    switches: ClassVar[Sequence[str]] = ()
    """Settings that are 0 or 1."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if field.name in self.switches and getattr(self, field.name) > 1:
                raise ConfigError(f"{field.name}: expected 0 or 1; got {getattr(self, field.name)}")
            value, least = getattr(self, field.name), self.least.get(field.name)
            fits = value > 0 if least is None else value >= least
            if not fits or not math.isfinite(value):
                expected = "a positive number" if least is None else f"{least:g} or more"
                raise ConfigError(f"{field.name}: expected {expected}; got {value}")

    @abstractmethod
    def measure(self, thing: Tensor, matrix: tuple[int, int], conditions: Conditions) -> Measured:
        """The scan of an object, complex (y, x) on a grid at least as fine as the matrix, magnitude about in [0, 1]."""


@dataclass(frozen=True)
class Conditions:
    """What is drawn for every scan: coils, the noise relative to an object of about one, and all other chance."""

    coils: int
    noise_std: float
    generator: torch.Generator


def acquisition_of(name: str, settings: Mapping[str, Number] | None = None) -> Acquisition:
    """One of `registry.ACQUISITIONS` with some of its settings. Raises ConfigError."""
    kind: type[Acquisition] = resolve(ACQUISITIONS, name, "geometry")
    known = {field.name: field for field in fields(kind)}
    for key, value in (settings or {}).items():
        if key not in known:
            hint = nearest(key, known) if known else "; it has none"
            raise ConfigError(f"geometry {name!r} has no setting {key!r}{hint}")
        if isinstance(known[key].default, int) and value % 1 != 0:
            raise ConfigError(f"{key} of geometry {name!r} must be a whole number; got {value}")
    given = {key: int(v) if isinstance(known[key].default, int) else float(v) for key, v in (settings or {}).items()}
    try:
        return kind(**given)
    except ConfigError as error:
        raise ConfigError(f"geometry {name!r}: {error}") from None


def resampled(images: Tensor, matrix: tuple[int, int]) -> Tensor:
    """Images (..., y, x) on another grid of the same field of view, by their Fourier coefficients."""
    kspace = fft2c(images if images.is_complex() else torch.complex(images, torch.zeros_like(images)))
    for axis, size in zip((-2, -1), matrix, strict=True):
        old = kspace.shape[axis]
        if size <= old:
            kspace = kspace.narrow(axis, old // 2 - size // 2, size)
            continue
        first = size // 2 - old // 2
        shape = list(kspace.shape)
        shape[axis] = size
        wide = kspace.new_zeros(shape)
        wide.narrow(axis, first, old).copy_(kspace)
        kspace = wide
    grown = math.sqrt(math.prod(matrix) / math.prod(images.shape[-2:]))
    result = ifft2c(kspace) * grown
    return result if images.is_complex() else result.real


def noise(shape: tuple[int, ...], std: float, generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    """White noise of a standard deviation a sample."""
    return std * torch.randn(shape, dtype=dtype, generator=generator)
