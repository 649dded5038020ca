"""The multi-coil Cartesian encoding operator `A = M F S`."""

from __future__ import annotations

import torch
from torch import Tensor

from laminar.operators.fourier import IMAGE_AXES, fft2c, ifft2c
from laminar.operators.linear import LinearOperator


class Encoding(LinearOperator):
    """`y = M F S x`: sensitivities, centered unitary Fourier transform, sampling.

    Shapes: image (batch, y, x); k-space (batch, coil, y, x); `sensitivities` (batch, coil, y, x) with
    `sum_coil |S|^2 <= 1`, hence `||A|| <= 1`; `mask` bool (batch or 1, y, x), true = acquired.

    `gram` uses that `F^H M F` is a circulant product: the shifts cancel, and an axis along which the mask is
    constant needs no transform at all, which halves the work for line masks.
    """

    def __init__(self, mask: Tensor, sensitivities: Tensor) -> None:
        if mask.ndim != 3 or mask.shape[-2:] != sensitivities.shape[-2:] or sensitivities.ndim != 4:
            raise ValueError(
                "Encoding needs a mask (batch or 1, y, x) and sensitivities (batch, coil, y, x); "
                f"got {tuple(mask.shape)} and {tuple(sensitivities.shape)}"
            )
        self.mask, self.sensitivities = mask, sensitivities
        self._conjugate = sensitivities.conj().resolve_conj()
        self._axes = tuple(axis for axis in IMAGE_AXES if not _constant_along(mask, axis))
        spectrum = torch.fft.ifftshift(mask, dim=self._axes) if self._axes else mask
        self._spectrum = spectrum.unsqueeze(1).to(sensitivities.real.dtype)

    def forward(self, x: Tensor) -> Tensor:
        return fft2c(self.sensitivities * x.unsqueeze(1)) * self.mask.unsqueeze(1)

    def adjoint(self, y: Tensor) -> Tensor:
        return (self._conjugate * ifft2c(y * self.mask.unsqueeze(1))).sum(1)

    def gram(self, x: Tensor) -> Tensor:
        coils = self.sensitivities * x.unsqueeze(1)
        if self._axes:
            coils = torch.fft.ifftn(torch.fft.fftn(coils, dim=self._axes) * self._spectrum, dim=self._axes)
        else:
            coils = coils * self._spectrum
        return (self._conjugate * coils).sum(1)


def _constant_along(mask: Tensor, axis: int) -> bool:
    return bool((mask == mask.narrow(axis, 0, 1)).all())
