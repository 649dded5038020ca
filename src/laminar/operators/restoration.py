"""Exact operators of image restoration: blur, missing pixels, lower resolution. Real images stay real."""

from __future__ import annotations

import torch
from torch import Tensor

from laminar.errors import ConfigError
from laminar.operators.linear import LinearOperator


class Convolution(LinearOperator):
    """Circular convolution with a kernel, sampled at every `factor`-th pixel: blur (factor 1) and super-resolution.

        y = D F^H diag(h) F x,   h_k = sum_n kernel_n exp(-2 pi i k n / N)

    Shapes: image (batch, y, x) of `matrix`; measurement (batch, y / factor, x / factor); `kernel` real or complex
    (ky, kx), its center at n // 2, no longer than the image. Each frequency of y sees `factor^2` frequencies of x, the
    aliases, so that `A^H A + w I` is `diag(w)` plus rank one for each and has a closed inverse, as of Zhao et al. 2016,
    doi:10.1109/TIP.2016.2567075. Raises ConfigError for a kernel or factor that does not fit.
    """

    def __init__(self, kernel: Tensor, matrix: tuple[int, int], factor: int = 1) -> None:
        if kernel.ndim != 2 or kernel.shape[0] > matrix[0] or kernel.shape[1] > matrix[1]:
            raise ConfigError(f"a kernel must be (y, x) and fit into the image {matrix}; got {tuple(kernel.shape)}")
        if not bool(torch.isfinite(kernel).all()) or not bool(kernel.any()):
            raise ConfigError("a kernel must be finite and not zero everywhere")
        if factor < 1 or matrix[0] % factor or matrix[1] % factor:
            raise ConfigError(f"the factor must divide both sides of the image {matrix}; got {factor}")
        self.kernel, self.matrix, self.factor = kernel, matrix, factor
        padded = kernel.new_zeros(matrix)
        padded[: kernel.shape[0], : kernel.shape[1]] = kernel
        origin = (-(kernel.shape[0] // 2), -(kernel.shape[1] // 2))
        self._transfer = torch.fft.fft2(padded.roll(origin, (0, 1)).to(torch.complex128))
        self._power = self._aliases(self._transfer.abs().square())
        self.norm = float(self._power.max().sqrt())

    def forward(self, x: Tensor) -> Tensor:
        return self._filtered(x, self._transfer)[..., :: self.factor, :: self.factor]

    def adjoint(self, y: Tensor) -> Tensor:
        x = y.new_zeros(*y.shape[:-2], *self.matrix)
        x[..., :: self.factor, :: self.factor] = y
        return self._filtered(x, self._transfer.conj())

    def invert_regularized(
        self, rhs: Tensor, weight: Tensor, start: Tensor | None, iterations: int, tolerance: float
    ) -> Tensor:
        """In closed form: `b / (mean |h|^2 + w)` along the transfer function of a set of aliases, `b / w` across it."""
        transfer = self._transfer.to(rhs.device, rhs.dtype.to_complex())
        power = self._power.to(rhs.device, rhs.real.dtype)
        spectrum = torch.fft.fft2(rhs)
        if self.factor == 1:
            return _like(torch.fft.ifft2(spectrum / (power + weight)), rhs)
        seen = self._aliases(transfer * spectrum) / power.clamp_min(torch.finfo(power.dtype).tiny)
        along = transfer.conj() * self._tiled(seen)
        return _like(torch.fft.ifft2(along / (self._tiled(power) + weight) + (spectrum - along) / weight), rhs)

    def to(self, device: torch.device | str) -> Convolution:
        return Convolution(self.kernel.to(device), self.matrix, self.factor)

    def _filtered(self, x: Tensor, transfer: Tensor) -> Tensor:
        if self.kernel.is_complex() and not x.is_complex():
            raise ConfigError("a complex kernel blurs complex images; this one is real")
        return _like(torch.fft.ifft2(transfer.to(x.device, x.dtype.to_complex()) * torch.fft.fft2(x)), x)

    def _aliases(self, spectrum: Tensor) -> Tensor:
        """The mean over `factor^2` of the frequencies (..., y, x) that fall on one of the measurement."""
        rows, columns = (n // self.factor for n in self.matrix)
        folded = spectrum.reshape(*spectrum.shape[:-2], self.factor, rows, self.factor, columns)
        return folded.sum((-4, -2)) / self.factor**2

    def _tiled(self, spectrum: Tensor) -> Tensor:
        return spectrum.repeat(*[1] * (spectrum.ndim - 2), self.factor, self.factor)


class Inpainting(LinearOperator):
    """`y = M x`: the pixels of bool `mask` (y, x), true = known; the others of the measurement (batch, y, x) are zero.

    Raises ConfigError for another mask, or one that is false everywhere.
    """

    norm = 1.0

    def __init__(self, mask: Tensor) -> None:
        if mask.ndim != 2 or mask.dtype != torch.bool or not bool(mask.any()):
            raise ConfigError(f"a mask must be bool (y, x) and true somewhere; got {mask.dtype} {tuple(mask.shape)}")
        self.mask = mask

    def forward(self, x: Tensor) -> Tensor:
        return x * self.mask

    def adjoint(self, y: Tensor) -> Tensor:
        return y * self.mask

    gram = forward

    def invert_regularized(
        self, rhs: Tensor, weight: Tensor, start: Tensor | None, iterations: int, tolerance: float
    ) -> Tensor:
        return rhs / (self.mask + weight)

    @property
    def sampled(self) -> Tensor:
        return self.mask

    def to(self, device: torch.device | str) -> Inpainting:
        return Inpainting(self.mask.to(device))


def gaussian(width: float) -> Tensor:
    """A Gaussian kernel of unit sum and a standard deviation in pixels. Raises ConfigError unless it is positive."""
    if not 0 < width < float("inf"):
        raise ConfigError(f"the width of a Gaussian is a positive number of pixels; got {width}")
    reach = int(4 * width + 0.5)
    line = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, dtype=torch.float64) / width).square())
    return torch.outer(line, line) / line.sum() ** 2


def box(factor: int) -> Tensor:
    """The mean over blocks of `factor` pixels: what a coarser detector sees."""
    if factor < 1:
        raise ConfigError(f"a box is 1 pixel wide or more; got {factor}")
    return torch.full((factor, factor), factor**-2.0, dtype=torch.float64)


def _like(image: Tensor, given: Tensor) -> Tensor:
    return image if given.is_complex() else image.real
