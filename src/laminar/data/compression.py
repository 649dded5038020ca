"""Fewer coils for large arrays: a scan whose coils are mixed to the few that hold the most signal."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from laminar.data.coils import compression, gram, leading, whitened
from laminar.data.formats import LazyScan
from laminar.data.noise import telling_slices
from laminar.errors import ConfigError
from laminar.operators import fft2c, ifft2c
from laminar.scan import Scan

Compression = Literal["svd", "geometric"]
_SHARED = 0.01  # what all positions say together counts so much at each: it decides where there is no signal


def compressed(scan: LazyScan, n: int, kind: Compression | None = None) -> LazyScan:
    """The scan with at most `n` virtual coils, by weights from a few of its slices: those of `coils.compression` (svd),
    or of `geometric_compression` along its readout; None is the latter if there is a readout without gaps.

    Coils are whitened first where their covariance is known. Raises ConfigError if n < 1, or for a geometric one if the
    readout has gaps.
    """
    axis = None if kind == "svd" else readout_of(scan)
    if kind == "geometric" and axis is None:
        raise ConfigError(
            f"{scan.name}: geometric compression needs a readout without gaps; the mask has gaps along it"
        )
    some = torch.cat([whitened(scan.slice(index)).kspace for index in telling_slices(scan.n_slices)])
    mixing = _Mixing(compression(some, n) if axis is None else geometric_compression(some, n, axis), axis)
    kept = mixing.weights.shape[-2]

    def load(index: int) -> Scan:
        part = whitened(scan.slice(index))
        maps = None if part.sensitivities is None else mixing.images(part.sensitivities)
        return replace(part, data=mixing.kspace(part.data), sensitivities=maps)

    said = (
        f"{kept} virtual coils of {scan.n_coils}{', mixed anew at each position of the readout' * (axis is not None)}"
    )
    return replace(scan, n_coils=kept, load=load, held=None).noting(said)


@dataclass(frozen=True, eq=False)
class _Mixing:
    """Combinations of coils: `weights` (new, coil), or (position, new, coil) along an axis, -2 or -1, of the image."""

    weights: Tensor
    axis: int | None

    def images(self, images: Tensor) -> Tensor:
        """Of images (..., coil, y, x)."""
        place = {None: "", -2: "y", -1: "x"}[self.axis]
        return torch.einsum(f"{place}nc,...cyx->...nyx", self.weights, images)

    def kspace(self, kspace: Tensor) -> Tensor:
        """Of k-space (..., coil, y, x): an axis of positions is transformed, and back."""
        if self.axis is None:
            return self.images(kspace)
        return fft2c(self.images(ifft2c(kspace, (self.axis,))), (self.axis,))


def readout_of(scan: LazyScan) -> int | None:
    """The axis, -2 or -1, that all lines of a Cartesian scan sample without gaps, its readout, or None."""
    grid = scan.grid
    candidates = (-2, -1) if grid.readout_axis is None else (grid.readout_axis,)
    return next((axis for axis in candidates if bool((grid.mask.all(axis) == grid.mask.any(axis)).all())), None)


def geometric_compression(kspace: Tensor, n: int, axis: int) -> Tensor:
    """The weights A (position, min(n, coil), coil) with orthonormal rows for every position along the readout.

        A_x = P_x U_x^H,   U_x: leading eigenvectors of R_x = sum y y^H over slices and samples at x
        P_x = V W^H,   W S V^H = U_x^H A_(x-1)^H: the unitary matrix that brings A_x next to A_(x-1)

    where y are the lines of `kspace` (slice, coil, y, x), transformed along the readout, which is axis -2 or -1. It
    starts where the most signal is and goes to both sides, so that virtual coils vary smoothly. R_x has a little of the
    mean over all x in it, which decides where there is no signal. At each x no less energy is kept than by n
    combinations for all x. White noise stays white. Raises ConfigError if n < 1.

    Source: Zhang et al. 2013, doi:10.1002/mrm.24267.
    """
    hybrid = ifft2c(kspace, (axis,)).movedim(axis, 0)
    power = gram(hybrid.movedim(2, 1).flatten(2))
    weights = leading(power + _SHARED * power.mean(0), n)
    start = int(power.diagonal(dim1=-2, dim2=-1).real.sum(-1).argmax())
    for positions in (range(start + 1, len(weights)), range(start - 1, -1, -1)):
        before = start
        for x in positions:
            w, _, vh = torch.linalg.svd(weights[x] @ weights[before].mH)
            weights[x] = (w @ vh).mH @ weights[x]
            before = x
    return weights
