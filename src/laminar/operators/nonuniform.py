"""The Fourier transform at any points of k-space, by FINUFFT, and its Gram matrix by plain ones."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from laminar.errors import ConfigError, MissingExtraError
from laminar.operators.linear import LinearOperator, apply_linear

ACCURACY = {torch.complex64: 1e-6, torch.complex128: 1e-12}
DENSITY_ITERATIONS = 3
_EXACT: dict[str, float] = {}
_SPARING = {"eps": 1e-9, "upsampfac": 1.25}
"""A grid of a quarter of the memory, for volumes of twice the size along each axis."""
_ROUGH = {"eps": 1e-4, "upsampfac": 1.25}
"""As exact as weights need to be."""


class NonUniform(LinearOperator):
    """Coils at any points of k-space, `y_cj = (w_j / Y X)^(1/2) sum_n S_c(n) x(n) exp(-2 pi i k_j n / N)`.

    Shapes: image (batch, y, x), measurement (batch, coil, sample), `sensitivities` (batch, coil, y, x); `trajectory`
    (sample, 2) as (y, x), in cycles per field of view, |k| <= N / 2; `weights` w (sample,), one without. The origin of
    the image is n // 2. On the points of a grid this is `Encoding`. Volumes have an axis z before y everywhere.

    `gram` embeds the Toeplitz matrix of differences `n - n'` into a circulant one of twice the size: on any device, and
    without an interpolation. Wajer and Pruessmann 2001; Fessler et al. 2005, doi:10.1109/TSP.2005.853152. `forward` and
    `adjoint` need the package finufft (Barnett et al. 2019, doi:10.1137/18M120885X) and run on the processor.
    """

    def __init__(
        self, trajectory: Tensor, sensitivities: Tensor, spectrum: Tensor | None = None, weights: Tensor | None = None
    ) -> None:
        self.trajectory, self.sensitivities, self.weights = trajectory, sensitivities, weights
        self.matrix = tuple(sensitivities.shape[2:])
        self.spectrum = toeplitz_spectrum(trajectory, self.matrix, weights) if spectrum is None else spectrum

    def forward(self, x: Tensor) -> Tensor:
        coils = self.sensitivities * x.unsqueeze(1)
        return self._weighted(nonuniform(coils, self.trajectory))

    def adjoint(self, y: Tensor) -> Tensor:
        coils = nonuniform_adjoint(self._weighted(y), self.trajectory, self.matrix)
        return _combined(self.sensitivities, coils)

    def _weighted(self, y: Tensor) -> Tensor:
        return y if self.weights is None else y * self.weights.sqrt().to(y.real)

    def gram(self, x: Tensor) -> Tensor:
        spectrum, image = self.spectrum.to(x.real), torch.zeros_like(x)
        # The circulant matrix of a volume is of eight times its size: one coil of it at a time.
        for maps in torch.split(self.sensitivities, 1 if len(self.matrix) == 3 else self.sensitivities.shape[1], dim=1):
            image = image + _combined(maps, _toeplitz(maps * x.unsqueeze(1), spectrum))
        return image

    def along(self, other: NonUniform) -> bool:
        """Whether both have the same points, weighted alike."""
        return self.trajectory is other.trajectory and self.weights is other.weights

    def with_sensitivities(self, sensitivities: Tensor) -> NonUniform:
        """The same points and weights, with other coils."""
        return NonUniform(self.trajectory, sensitivities, self.spectrum, self.weights)

    def to(self, device: torch.device | str) -> NonUniform:
        return NonUniform(self.trajectory, self.sensitivities.to(device), self.spectrum.to(device), self.weights)

    @staticmethod
    def stack(operators: Sequence[LinearOperator]) -> LinearOperator:
        parts = [operator for operator in operators if isinstance(operator, NonUniform)]
        if len(parts) != len(operators) or not all(part.along(parts[0]) for part in parts):
            raise ConfigError("only non-uniform transforms of one trajectory can be put into one batch")
        return parts[0].with_sensitivities(torch.cat([part.sensitivities for part in parts]))


def _combined(sensitivities: Tensor, coils: Tensor) -> Tensor:
    image: Tensor = (sensitivities.conj() * coils).sum(1)
    return image


def _toeplitz(images: Tensor, spectrum: Tensor) -> Tensor:
    """The corner of a circulant matrix, on images of half its size along each of its axes."""
    axes = tuple(range(-spectrum.ndim, 0))
    wide = torch.fft.ifftn(torch.fft.fftn(images, s=spectrum.shape, dim=axes) * spectrum, dim=axes)
    corner: Tensor = wide[(..., *(slice(n) for n in images.shape[-spectrum.ndim :]))]
    return corner


def nonuniform(images: Tensor, trajectory: Tensor) -> Tensor:
    """The transform of images (..., y, x), or (..., z, y, x), at the points of a trajectory, (..., sample)."""
    matrix = tuple(images.shape[-trajectory.shape[1] :])
    return apply_linear(images, lambda x: _evaluate(x, trajectory), lambda y: _spread(y, trajectory, matrix))


def nonuniform_adjoint(samples: Tensor, trajectory: Tensor, matrix: tuple[int, ...]) -> Tensor:
    """The adjoint of `nonuniform`, (..., sample) to (..., y, x)."""
    return apply_linear(samples, lambda y: _spread(y, trajectory, matrix), lambda x: _evaluate(x, trajectory))


def toeplitz_spectrum(trajectory: Tensor, matrix: tuple[int, ...], weights: Tensor | None = None) -> Tensor:
    """The eigenvalues (2 y, 2 x) of the circulant matrix that `A^H A` of one coil is a corner of."""
    wide = tuple(2 * n for n in matrix)
    weights = torch.ones(len(trajectory)) if weights is None else weights
    options = _SPARING if len(matrix) == 3 else _EXACT
    lags = _spread(weights.to(torch.complex128), 2 * trajectory.double(), wide, options)
    lags = lags * math.sqrt(math.prod(wide)) / math.prod(matrix)  # (Y X)^(-1) sum_j w_j exp(2 pi i k_j (n - n') / N)
    for axis in range(len(wide)):
        lags.select(axis, 0).zero_()  # the lag -N, which no two pixels have and which has no opposite
    spectrum: Tensor = torch.fft.fftn(torch.fft.ifftshift(lags)).real.contiguous()
    return spectrum


def density_weights(trajectory: Tensor, matrix: tuple[int, ...], iterations: int = DENSITY_ITERATIONS) -> Tensor:
    """Weights w (sample,) with which `A^H A` is about one where k-space is measured; 1 on the points of a grid.

        w <- w / (K w),   K = F T F^H with the triangle T over twice the field of view, so that no entry is negative

    Pipe and Menon 1999, doi:10.1002/(SICI)1522-2594(199901)41:1<179::AID-MRM25>3.0.CO;2-V.
    """
    wide, twice = tuple(2 * n for n in matrix), 2 * trajectory.double()
    triangle = torch.ones(wide)
    for axis, n in enumerate(matrix):
        along = 1 - (torch.arange(2 * n) / n - 1).abs()
        triangle *= along.reshape([-1 if k == axis else 1 for k in range(len(matrix))])
    weights = torch.ones(len(trajectory), dtype=torch.complex64)
    for _ in range(iterations):
        seen = _evaluate(triangle * _spread(weights, twice, wide, _ROUGH), twice, _ROUGH)
        weights = weights / (2 ** len(matrix) * seen.abs())
    return weights.real.contiguous()


def _evaluate(images: Tensor, trajectory: Tensor, options: Mapping[str, float] = _EXACT) -> Tensor:
    dimensions = trajectory.shape[1]
    matrix = tuple(images.shape[-dimensions:])
    many = images.detach().reshape(-1, *matrix).resolve_conj().cpu()
    points = _points(trajectory, matrix, many.real.dtype)
    transform = getattr(_finufft(), f"nufft{dimensions}d2")
    found = transform(*points, many.numpy(), isign=-1, **{"eps": ACCURACY[many.dtype], **options})
    samples = torch.from_numpy(np.atleast_2d(found)) / math.sqrt(math.prod(matrix))
    return samples.reshape(*images.shape[:-dimensions], len(trajectory)).to(images.device)


def _spread(
    samples: Tensor, trajectory: Tensor, matrix: tuple[int, ...], options: Mapping[str, float] = _EXACT
) -> Tensor:
    many = samples.detach().reshape(-1, len(trajectory)).resolve_conj().cpu().contiguous()
    points = _points(trajectory, matrix, many.real.dtype)
    transform = getattr(_finufft(), f"nufft{len(matrix)}d1")
    found = transform(*points, many.numpy(), matrix, isign=1, **{"eps": ACCURACY[many.dtype], **options})
    images = torch.from_numpy(found) / math.sqrt(math.prod(matrix))
    return images.reshape(*samples.shape[:-1], *matrix).to(samples.device)


def _points(trajectory: Tensor, matrix: tuple[int, ...], dtype: torch.dtype) -> list[Any]:
    """Radians per pixel."""
    radians = 2 * math.pi * trajectory.double().cpu() / torch.tensor(matrix)
    return [part.to(dtype).contiguous().numpy() for part in radians.unbind(1)]


def _finufft() -> Any:
    try:
        import finufft
    except ImportError:
        raise MissingExtraError("finufft", "noncartesian") from None
    return finufft
