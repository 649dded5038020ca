"""The centered unitary discrete Fourier transform."""

from __future__ import annotations

import torch
from torch import Tensor

IMAGE_AXES = (-2, -1)


def fft2c(image: Tensor, axes: tuple[int, ...] = IMAGE_AXES) -> Tensor:
    """Image to k-space: `y_k = N^(-1/2) sum_n x_n exp(-2 pi i k n / N)`, both centered at n // 2.

    `axes` selects the axes that are transformed (default: the last two). Unitary: `||fft2c(x)|| = ||x||`.
    """
    shifted = torch.fft.ifftshift(image, dim=axes)
    kspace: Tensor = torch.fft.fftshift(torch.fft.fftn(shifted, dim=axes, norm="ortho"), dim=axes)
    return kspace


def ifft2c(kspace: Tensor, axes: tuple[int, ...] = IMAGE_AXES) -> Tensor:
    """K-space to image: the inverse and the adjoint of `fft2c`."""
    shifted = torch.fft.ifftshift(kspace, dim=axes)
    image: Tensor = torch.fft.fftshift(torch.fft.ifftn(shifted, dim=axes, norm="ortho"), dim=axes)
    return image


def circulant(coils: Tensor, spectrum: Tensor, axes: tuple[int, ...]) -> Tensor:
    """`F^H diag(spectrum) F coils` along `axes`, both uncentered: the shifts of a centered transform cancel here.

    `spectrum` as `real_spectrum` makes it.
    """
    if not axes:
        return torch.view_as_complex(torch.view_as_real(coils) * spectrum)
    transformed = torch.fft.fftn(coils, dim=axes)
    torch.view_as_real(transformed).mul_(spectrum)
    product: Tensor = torch.fft.ifftn(transformed, dim=axes)
    return product


def real_spectrum(mask: Tensor, like: Tensor) -> Tensor:
    """`mask` with one value for the real and one for the imaginary part: a complex product with reals is slow."""
    return mask.to(like.real.dtype).unsqueeze(-1).repeat(*[1] * mask.ndim, 2)
