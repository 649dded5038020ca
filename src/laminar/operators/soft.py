"""Soft SENSE: several images, each with sensitivities of its own, in one measurement."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from laminar.errors import ConfigError
from laminar.operators.encoding import Encoding
from laminar.operators.fourier import fft2c, ifft2c
from laminar.operators.linear import LinearOperator
from laminar.operators.lines import LineSystems, LineWise


class SoftSense(LineWise):
    """`y = M F sum_m S_m x_m`: where the object reaches over the edge of its field of view, a pixel holds two images.

    Shapes: images (batch, set, y, x); k-space (batch, coil, y, x); `sensitivities` (batch, set, coil, y, x), those of
    the sets of a pixel orthonormal or zero, hence `||A|| <= 1`; `mask` bool (batch or 1, y, x), true = acquired.
    Source: Uecker et al. 2014, doi:10.1002/mrm.24751.
    """

    def __init__(self, mask: Tensor, sensitivities: Tensor) -> None:
        if mask.ndim != 3 or sensitivities.ndim != 5 or mask.shape[-2:] != sensitivities.shape[-2:]:
            raise ValueError(
                "SoftSense needs a mask (batch or 1, y, x) and sensitivities (batch, set, coil, y, x); "
                f"got {tuple(mask.shape)} and {tuple(sensitivities.shape)}"
            )
        self.mask, self.sensitivities, self.n_maps = mask, sensitivities, sensitivities.shape[1]
        # F^H M F of coil images is that of images of a single coil of sensitivity one.
        self._coil = Encoding(mask, torch.ones_like(sensitivities[:, 0, :1]))
        self._systems = {}

    def __reduce__(self) -> tuple[type, tuple[Tensor, Tensor]]:
        return SoftSense, (self.mask, self.sensitivities)

    @property
    def sampled(self) -> Tensor:
        return self.mask.unsqueeze(1)

    def to(self, device: torch.device | str) -> SoftSense:
        return SoftSense(self.mask.to(device), self.sensitivities.to(device))

    @staticmethod
    def stack(operators: Sequence[LinearOperator]) -> SoftSense:
        """One operator for the images of all, one after the other. ConfigError unless sets, coils and size agree."""
        parts = [operator for operator in operators if isinstance(operator, SoftSense)]
        shapes = [tuple(part.sensitivities.shape) for part in parts]
        if len(parts) != len(operators) or len({shape[1:] for shape in shapes}) != 1:
            raise ConfigError(f"only encodings of the same sets, coils and size can be stacked; got {shapes}")
        masks = [part.mask.expand(len(part.sensitivities), -1, -1) for part in parts]
        return SoftSense(torch.cat(masks), torch.cat([part.sensitivities for part in parts]))

    @staticmethod
    def padded(one: Encoding, n_maps: int) -> SoftSense:
        """An encoding as one of several sets, the further ones zero: nothing is seen of their images."""
        zero = torch.zeros_like(one.sensitivities)
        return SoftSense(one.mask, torch.stack([one.sensitivities, *[zero] * (n_maps - 1)], 1))

    def masked(self, mask: Tensor) -> SoftSense:
        """The same coils with other samples (batch or 1, y, x)."""
        return SoftSense(mask, self.sensitivities)

    def coil_images(self, x: Tensor) -> Tensor:
        """`sum_m S_m x_m`, (batch, coil, y, x)."""
        return (self.sensitivities * x.unsqueeze(2)).sum(1)

    def forward(self, x: Tensor) -> Tensor:
        return fft2c(self.coil_images(x)) * self.sampled

    def adjoint(self, y: Tensor) -> Tensor:
        return self.joined(ifft2c(y * self.sampled))

    def gram(self, x: Tensor) -> Tensor:
        return self.joined(self._coil.convolved(self.coil_images(x)))

    def joined(self, coils: Tensor) -> Tensor:
        """`S_m^H c` (batch, set, y, x) of coil images c (batch, coil, y, x)."""
        return (self.sensitivities.conj() * coils.unsqueeze(1)).sum(2)

    @property
    def has_lines(self) -> bool:
        return self._coil.has_lines

    def _line_systems(self, dropped: float) -> LineSystems:
        by_coil = self.sensitivities.detach().transpose(1, 2).flatten(0, 1)
        lines = self.to_lines(by_coil)
        maps = lines.reshape(len(self.sensitivities), -1, *lines.shape[1:])
        return self._coil.line_systems(maps, dropped)

    def to_lines(self, images: Tensor) -> Tensor:
        """Lines (batch, line, set * n) of images (batch, set, y, x)."""
        return self._coil.to_lines(images).transpose(1, 2).flatten(2)

    def from_lines(self, lines: Tensor) -> Tensor:
        by_set = lines.reshape(*lines.shape[:2], self.n_maps, -1).transpose(1, 2)
        return self._coil.from_lines(by_set)


def pixel_magnitude(images: Tensor, n_maps: int) -> Tensor:
    """The size of each pixel: `|x|`, or of several images of it (.., set, y, x) `sqrt(sum_m |x_m|^2)`.

    It is the length of the vector of coils that the images stand for, so that a set that is zero counts for nothing.
    """
    size: Tensor = images.abs() if n_maps == 1 else torch.linalg.vector_norm(images, dim=-3)
    return size


def combined(images: Tensor) -> Tensor:
    """One image of those of a pixel: `sqrt(sum_m |x_m|^2)` with the phase of the first, (.., set, y, x) to (.., y, x).

    Its magnitude is that of all coil images together.
    """
    size = pixel_magnitude(images, images.shape[-3])
    return size * torch.sgn(images[..., 0, :, :]) if images.is_complex() else size
