"""The multi-coil Cartesian encoding operator `A = M F S`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from laminar.errors import ConfigError
from laminar.operators.fourier import circulant, fft2c, ifft2c, real_spectrum
from laminar.operators.linear import LinearOperator
from laminar.operators.lines import LineSystems, LineWise

# Bytes of coil images in work at a time: what stays in a core's cache, or fills a GPU.
_WORKSPACE = {"cpu": 2**20}
_WORKSPACE_ELSEWHERE = 2**28


class Encoding(LineWise):
    """`y = M F S x`: sensitivities, centered unitary Fourier transform, sampling.

    Shapes: image (batch, y, x), or (batch, z, y, x) with a transform of all three axes, and z in all that follows;
    k-space (batch, coil, y, x); `sensitivities` (batch, coil, y, x) with
    `sum_coil |S|^2 <= 1`, hence `||A|| <= 1`; `mask` bool (batch or 1, y, x), true = acquired. `workspace` bounds the
    bytes of coil images in work at a time (at least one coil, or one image line); results do not depend on it.

    `gram` uses that `F^H M F` is a circulant product: the shifts cancel, and an axis along which the mask is
    constant needs no transform at all. Then image lines along the other axis do not mix either: `gram` takes them
    block by block, and `solve_regularized` solves them as small systems of their own (`laminar.operators.lines`).
    """

    def __init__(self, mask: Tensor, sensitivities: Tensor, workspace: int | None = None) -> None:
        if mask.ndim not in (3, 4) or mask.shape[1:] != sensitivities.shape[2:]:
            raise ValueError(
                "Encoding needs a mask (batch or 1, y, x) and sensitivities (batch, coil, y, x), or both with z; "
                f"got {tuple(mask.shape)} and {tuple(sensitivities.shape)}"
            )
        self.mask, self.sensitivities = mask, sensitivities
        self.workspace = workspace or _WORKSPACE.get(sensitivities.device.type, _WORKSPACE_ELSEWHERE)
        self._conjugate = sensitivities.conj().resolve_conj()
        self._all_axes = tuple(range(1 - mask.ndim, 0))
        self._axes = tuple(axis for axis in self._all_axes if not _constant_along(mask, axis))
        self._spectrum = real_spectrum(self._sampled().unsqueeze(1), sensitivities)
        self._systems: dict[float, LineSystems] = {}

    def __reduce__(self) -> tuple[type, tuple[Any, ...]]:
        return Encoding, (self.mask, self.sensitivities, self.workspace)

    @property
    def sampled(self) -> Tensor:
        return self.mask.unsqueeze(1)

    def to(self, device: torch.device | str) -> Encoding:
        """The same operator on another device, with the workspace of that device."""
        return Encoding(self.mask.to(device), self.sensitivities.to(device))

    @staticmethod
    def stack(operators: Sequence[LinearOperator]) -> Encoding:
        """One operator for the images of all, one after the other. ConfigError unless coils and size are the same."""
        parts = [operator for operator in operators if isinstance(operator, Encoding)]
        shapes = [tuple(part.sensitivities.shape) for part in parts]
        if len(parts) != len(operators) or len({shape[1:] for shape in shapes}) != 1:
            raise ConfigError(f"only encodings of the same coils and image size can be stacked; got {shapes}")
        masks = [part.mask.expand(len(part.sensitivities), *part.mask.shape[1:]) for part in parts]
        return Encoding(torch.cat(masks), torch.cat([part.sensitivities for part in parts]))

    def masked(self, mask: Tensor) -> Encoding:
        """The same coils with other samples (batch or 1, y, x)."""
        return Encoding(mask, self.sensitivities)

    def joined(self, coils: Tensor) -> Tensor:
        """`S^H c` (batch, y, x) of coil images c (batch, coil, y, x)."""
        return (self._conjugate * coils).sum(1)

    @property
    def _line_axis(self) -> int | None:
        """The first image axis along which the mask is constant."""
        return next((axis for axis in self._all_axes if axis not in self._axes), None)

    def _sampled(self) -> Tensor:
        """The mask, not centered, with one entry along an axis on which it is constant."""
        mask = torch.fft.ifftshift(self.mask, dim=self._axes) if self._axes else self.mask
        for axis in set(self._all_axes) - set(self._axes):
            mask = mask.narrow(axis, 0, 1)
        return mask

    def forward(self, x: Tensor) -> Tensor:
        image, mask = x.unsqueeze(1), self.mask.unsqueeze(1)
        return torch.cat([fft2c(maps * image, self._all_axes) * mask for maps in self._split(self.sensitivities, 1)], 1)

    def adjoint(self, y: Tensor) -> Tensor:
        mask = self.mask.unsqueeze(1)
        parts = zip(self._split(self._conjugate, 1), self._split(y, 1), strict=True)
        return _total([(conjugate * ifft2c(kspace * mask, self._all_axes)).sum(1) for conjugate, kspace in parts])

    def gram(self, x: Tensor) -> Tensor:
        axis = self._line_axis or 1
        maps, conjugates = self._split(self.sensitivities, axis), self._split(self._conjugate, axis)
        if axis == 1:
            return _total([self._gram(*part, x) for part in zip(maps, conjugates, strict=True)])
        lines = self._split(x, axis)
        return torch.cat([self._gram(*part) for part in zip(maps, conjugates, lines, strict=True)], axis)

    def _gram(self, maps: Tensor, conjugate: Tensor, x: Tensor) -> Tensor:
        return (conjugate * self.convolved(maps * x.unsqueeze(1))).sum(1)

    def convolved(self, coils: Tensor) -> Tensor:
        """`F^H M F` of coil images (batch, coil, y, x): what sampling makes of them."""
        return circulant(coils, self._spectrum, self._axes)

    def _split(self, tensor: Tensor, axis: int) -> tuple[Tensor, ...]:
        """Blocks along `axis` whose coil images fit the workspace."""
        each = self.sensitivities.nbytes // self.sensitivities.shape[axis]
        blocks: tuple[Tensor, ...] = torch.split(tensor, max(1, self.workspace // each), axis)
        return blocks

    @property
    def has_lines(self) -> bool:
        return len(self._axes) == 1 and len(self._all_axes) == 2

    def _line_systems(self, dropped: float) -> LineSystems:
        return self.line_systems(self.to_lines(self.sensitivities.detach()), dropped)

    def line_systems(self, maps: Tensor, dropped: float) -> LineSystems:
        """Those of the coils `maps` (batch, coil, line, n) and this mask."""
        return LineSystems(maps, self.to_lines(self._sampled())[:, 0], dropped, self.workspace)

    def to_lines(self, images: Tensor) -> Tensor:
        """The lines along the last axis."""
        return images if self._line_axis == -2 else images.mT.contiguous()

    def from_lines(self, lines: Tensor) -> Tensor:
        return self.to_lines(lines)


def _total(parts: list[Tensor]) -> Tensor:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def _constant_along(mask: Tensor, axis: int) -> bool:
    return bool((mask == mask.narrow(axis, 0, 1)).all())
