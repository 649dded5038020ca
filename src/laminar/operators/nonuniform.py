"""The Fourier transform at any points of k-space, by FINUFFT, and its Gram matrix by plain ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from laminar.errors import ConfigError, MissingExtraError
from laminar.operators.linear import LinearOperator, apply_linear

ACCURACY = {torch.complex64: 1e-6, torch.complex128: 1e-12}
DENSITY_ITERATIONS = 30


class NonUniform(LinearOperator):
    """Coils at any points of k-space, `y_cj = (Y X)^(-1/2) sum_n S_c(n) x(n) exp(-2 pi i k_j n / N)`.

    Shapes: image (batch, y, x), measurement (batch, coil, sample), `sensitivities` (batch, coil, y, x); `trajectory`
    (sample, 2) as (y, x), in cycles per field of view, |k| <= N / 2. The origin of the image is n // 2. On the points
    of a grid this is `Encoding`.

    `gram` embeds the Toeplitz matrix of differences `n - n'` into a circulant one of twice the size: on any device, and
    without an interpolation. Wajer and Pruessmann 2001; Fessler et al. 2005, doi:10.1109/TSP.2005.853152. `forward` and
    `adjoint` need the package finufft (Barnett et al. 2019, doi:10.1137/18M120885X) and run on the processor.
    """

    def __init__(self, trajectory: Tensor, sensitivities: Tensor, spectrum: Tensor | None = None) -> None:
        self.trajectory, self.sensitivities = trajectory, sensitivities
        self.matrix = (int(sensitivities.shape[-2]), int(sensitivities.shape[-1]))
        self.spectrum = toeplitz_spectrum(trajectory, self.matrix) if spectrum is None else spectrum

    def forward(self, x: Tensor) -> Tensor:
        coils = self.sensitivities * x.unsqueeze(1)
        return nonuniform(coils, self.trajectory)

    def adjoint(self, y: Tensor) -> Tensor:
        coils = nonuniform_adjoint(y, self.trajectory, self.matrix)
        return self._combined(coils)

    def gram(self, x: Tensor) -> Tensor:
        wide, (rows, columns) = [2 * n for n in self.matrix], self.matrix
        spectrum = torch.fft.fft2(self.sensitivities * x.unsqueeze(1), s=wide)
        coils = torch.fft.ifft2(spectrum * self.spectrum.to(x.real))[..., :rows, :columns]
        return self._combined(coils)

    def _combined(self, coils: Tensor) -> Tensor:
        image: Tensor = (self.sensitivities.conj() * coils).sum(1)
        return image

    def to(self, device: torch.device | str) -> NonUniform:
        return NonUniform(self.trajectory, self.sensitivities.to(device), self.spectrum.to(device))

    @staticmethod
    def stack(operators: Sequence[LinearOperator]) -> LinearOperator:
        parts = [operator for operator in operators if isinstance(operator, NonUniform)]
        if len(parts) != len(operators) or any(part.trajectory is not parts[0].trajectory for part in parts):
            raise ConfigError("only non-uniform transforms of one trajectory can be put into one batch")
        return NonUniform(parts[0].trajectory, torch.cat([part.sensitivities for part in parts]), parts[0].spectrum)


def nonuniform(images: Tensor, trajectory: Tensor) -> Tensor:
    """The transform of images (..., y, x) at the points of a trajectory, (..., sample)."""
    matrix = (int(images.shape[-2]), int(images.shape[-1]))
    return apply_linear(images, lambda x: _evaluate(x, trajectory), lambda y: _spread(y, trajectory, matrix))


def nonuniform_adjoint(samples: Tensor, trajectory: Tensor, matrix: tuple[int, int]) -> Tensor:
    """The adjoint of `nonuniform`, (..., sample) to (..., y, x)."""
    return apply_linear(samples, lambda y: _spread(y, trajectory, matrix), lambda x: _evaluate(x, trajectory))


def toeplitz_spectrum(trajectory: Tensor, matrix: tuple[int, int]) -> Tensor:
    """The eigenvalues (2 y, 2 x) of the circulant matrix that `A^H A` of one coil is a corner of."""
    wide = (2 * matrix[0], 2 * matrix[1])
    ones = torch.ones(len(trajectory), dtype=torch.complex128)
    lags = 2 * _spread(ones, 2 * trajectory.double(), wide)  # (Y X)^(-1) sum_j exp(2 pi i k_j (n - n') / N)
    lags = lags / math.sqrt(math.prod(matrix))
    lags[0] = 0  # the lag -N, which no two pixels have and which has no opposite
    lags[:, 0] = 0
    spectrum: Tensor = torch.fft.fft2(torch.fft.ifftshift(lags)).real.contiguous()
    return spectrum


def density(trajectory: Tensor, matrix: tuple[int, int], iterations: int = DENSITY_ITERATIONS) -> Tensor:
    """Weights w (sample,) that make `A^H diag(w) y` a first image; 1 on the points of a grid.

        w <- w / (K w),   K = F T F^H with the triangle T over twice the field of view, so that no entry is negative

    Pipe and Menon 1999, doi:10.1002/(SICI)1522-2594(199901)41:1<179::AID-MRM25>3.0.CO;2-V.
    """
    wide = (2 * matrix[0], 2 * matrix[1])
    rows, columns = (1 - (torch.arange(2 * n, dtype=torch.float64) / n - 1).abs() for n in matrix)
    triangle, twice = rows[:, None] * columns, 2 * trajectory.double()
    weights = torch.ones(len(trajectory), dtype=torch.complex128)
    for _ in range(iterations):
        seen = _evaluate(triangle * _spread(weights, twice, wide), twice)
        weights = weights / (4 * seen.abs())
    return weights.real.float()


def _evaluate(images: Tensor, trajectory: Tensor) -> Tensor:
    matrix = (int(images.shape[-2]), int(images.shape[-1]))
    many = images.detach().reshape(-1, *matrix).resolve_conj().cpu()
    points = _points(trajectory, matrix, many.real.dtype)
    found = _finufft().nufft2d2(*points, many.numpy(), isign=-1, eps=ACCURACY[many.dtype])
    samples = torch.from_numpy(np.atleast_2d(found)) / math.sqrt(math.prod(matrix))
    return samples.reshape(*images.shape[:-2], len(trajectory)).to(images.device)


def _spread(samples: Tensor, trajectory: Tensor, matrix: tuple[int, int]) -> Tensor:
    many = samples.detach().reshape(-1, len(trajectory)).resolve_conj().cpu().contiguous()
    points = _points(trajectory, matrix, many.real.dtype)
    found = _finufft().nufft2d1(*points, many.numpy(), matrix, isign=1, eps=ACCURACY[many.dtype])
    images = torch.from_numpy(found) / math.sqrt(math.prod(matrix))
    return images.reshape(*samples.shape[:-1], *matrix).to(samples.device)


def _points(trajectory: Tensor, matrix: tuple[int, int], dtype: torch.dtype) -> list[Any]:
    """Radians per pixel."""
    radians = 2 * math.pi * trajectory.double().cpu() / torch.tensor(matrix)
    return [part.to(dtype).contiguous().numpy() for part in radians.unbind(1)]


def _finufft() -> Any:
    try:
        import finufft
    except ImportError:
        raise MissingExtraError("finufft", "noncartesian") from None
    return finufft
