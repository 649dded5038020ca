"""A simulated scan: phantom, coils, k-space of a finer grid, colored noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from laminar.data.simulation.phantoms import phantom
from laminar.data.simulation.receive import colored_noise, noise_covariance, sensitivities
from laminar.errors import ConfigError
from laminar.operators import fft2c, ifft2c
from laminar.scan import Scan, cartesian

OVERSAMPLING = 2


@dataclass(frozen=True, eq=False)
class SimulatedSlice:
    """A fully sampled simulated slice.

    `kspace` and `clean` complex64 (coil, y, x), with and without noise; `covariance` (coil, coil) of the noise per
    complex sample.
    """

    kspace: Tensor
    clean: Tensor
    covariance: Tensor

    @property
    def matrix(self) -> tuple[int, int]:
        return int(self.kspace.shape[-2]), int(self.kspace.shape[-1])

    @property
    def coil_images(self) -> Tensor:
        """Noiseless coil images (coil, y, x) at the sampled resolution."""
        return ifft2c(self.clean)

    def crop(self, axis: int, start: int, size: int) -> SimulatedSlice:
        """The slice with a part of its field of view along a fully sampled axis, -1 or -2: the readout.

        A readout without gaps can be transformed by itself, so the part is a complete problem of less work.
        """

        def part(y: Tensor) -> Tensor:
            return fft2c(ifft2c(y, (axis,)).narrow(axis, start, size), (axis,))

        return SimulatedSlice(part(self.kspace), part(self.clean), self.covariance)

    def fold(self, axis: int, size: int) -> SimulatedSlice:
        """The slice with a field of view of `size` pixels along -1 or -2, at the same resolution: what lies outside of
        it folds in, `x_j <- sum_k x_(j + k size)`. The noise stays what it was per sample.
        """
        coils = self.coil_images.movedim(axis, -1)
        length = coils.shape[-1]
        positions = (torch.arange(length) - length // 2 + size // 2) % size
        folded = torch.zeros(*coils.shape[:-1], size, dtype=coils.dtype).index_add_(-1, positions, coils)
        clean = fft2c(folded.movedim(-1, axis))
        noise = (self.kspace - self.clean).narrow(axis, 0, size)
        return SimulatedSlice(clean + noise, clean, self.covariance)

    @property
    def scan(self) -> Scan:
        """The scan of one slice, with noise, as a file would hold it."""
        everything = torch.ones(self.kspace.shape[-2:], dtype=torch.bool)
        return cartesian(self.kspace[None], everything, name="simulated", header={"simulated": True})

    @property
    def target(self) -> Tensor:
        """The root-sum-of-squares image (1, y, x) without noise."""
        return self.coil_images.abs().square().sum(0).sqrt()[None]


def simulate_slice(
    anatomy: str, matrix: tuple[int, int], n_coils: int, noise_std: float, generator: torch.Generator
) -> SimulatedSlice:
    """Scan a random phantom on a grid `OVERSAMPLING` times finer, as `scan_object` does."""
    fine = (OVERSAMPLING * matrix[0], OVERSAMPLING * matrix[1])
    return scan_object(phantom(anatomy, fine, generator), matrix, n_coils, noise_std, generator)


def scan_object(
    magnetization: Tensor, matrix: tuple[int, int], n_coils: int, noise_std: float, generator: torch.Generator
) -> SimulatedSlice:
    """Scan an object on a finer grid: `y = crop(F S x) + n`, complex64 (y, x), with random coils S.

    The finer grid avoids the inverse crime: k-space is a crop of a larger one, so that the coil images have Gibbs
    ringing and partial volume. `noise_std` is relative to a magnetization of about one, `E|n_c|^2 = noise_std^2` on
    average over the coils, with correlation between them. Raises ConfigError for a grid that is coarser than `matrix`.
    """
    fine = (magnetization.shape[0], magnetization.shape[1])
    if fine[0] < matrix[0] or fine[1] < matrix[1]:
        raise ConfigError(f"a scan of {matrix} needs an object on a grid at least as fine; got {fine}")
    maps = sensitivities(n_coils, fine, generator)
    shrink = math.sqrt(matrix[0] * matrix[1] / (fine[0] * fine[1]))
    clean = _central(fft2c(maps * magnetization), matrix) * shrink
    covariance = noise_std**2 * noise_covariance(n_coils, generator)
    noise = colored_noise((n_coils, *matrix), covariance, generator)
    return SimulatedSlice(clean + noise.to(clean.dtype), clean, covariance)


def _central(kspace: Tensor, matrix: tuple[int, int]) -> Tensor:
    """The block of `matrix` around the zero frequency at n // 2."""
    for axis, size in zip((-2, -1), matrix, strict=True):
        kspace = kspace.narrow(axis, kspace.shape[axis] // 2 - size // 2, size)
    return kspace
