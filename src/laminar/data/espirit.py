"""Coil sensitivities from fully sampled central k-space by an eigenvalue problem in every pixel (ESPIRiT)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from laminar.data.nodes import (
    check_block,
    images_at,
    interpolate,
    interpolation,
    nodes,
    pixels,
    reference_of,
    referred,
    waves,
)
from laminar.data.patches import lag_kernel, patches, signal_projector
from laminar.errors import ConfigError, DataFormatError

_CHUNK = 2**18  # entries of the pixel matrices that are held at once: small enough for the cache
_POWER = 24  # n of the filter p
_AMBIGUOUS = 0.8  # above it a second eigenvalue may be that of a second map
_FOLDED = 0.045  # of the pixels; below it a second set gave simulated scans -1.0 to 0.5 dB, above it up to 19
_EVERY = 4  # row is enough to tell it


@torch.no_grad()
def espirit(
    calibration: Tensor,
    matrix: tuple[int, int],
    *,
    lines: Tensor | None = None,
    kernel_size: int = 6,
    threshold: float | None = None,
    crop: float = 0.8,
    n_maps: int | None = 1,
) -> Tensor:
    """Sensitivities S of all coils, up to the phase of the object, from calibration data around DC.

    All patches of `kernel_size`^2 samples and all coils lie in a subspace with projector W. In the image
    domain W is a Hermitian matrix in every pixel, of eigenvalues from 0 to 1, and S is its eigenvector:

        G(r) = kernel_size^-2 sum_{k,k'} W[k, k'] exp(-2 pi i (k' - k) r),   G(r) S(r) = S(r)

    Where the object reaches over the edge of the field of view, the maps of both its ends have the eigenvalue
    one near that edge, and so has any mixture; the largest eigenvalue picks one that leaves holes in the image. So S
    is the part of the coil images c of `lines` that a filter of the eigenvalues near one leaves:

        S = p(G) c / |p(G) c|,   p(g) = g^n (n + 1 - n g): flat at p(1) = 1, and next to nothing below

    That is right for an image as coarse as `lines`. With two maps, the second is the eigenvector of the largest
    eigenvalue of `(1 - S S^H) G (1 - S S^H)`: what the coil images hold besides, finer than that, is in its image.

    Maps that are not ambiguous are smooth: they are computed on a coarse grid and interpolated.

    Args:
        calibration: complex (batch, coil, cy, cx), fully sampled, DC at n // 2.
        matrix: size (y, x) of the maps.
        lines: complex (batch, coil, ly, lx), all that is sampled without gaps around DC; None: `calibration`.
        kernel_size: side of a patch; less along an axis of fewer than twice as many calibration lines.
        threshold: eigenvalues of the patch covariance above this fraction of the largest are signal. None, as far as
            they stand out of the noise: above 200 times about what noise alone has at most, from 3e-5 to 1e-3. A
            surface coil's faint far side is part of the object where the scan is good enough to show it.
        crop: maps are zero in pixels where S^H G S is smaller.
        n_maps: 1 or 2; None makes two where in any slice a second one is in more than 4.5 % of the pixels of the first,
            counted in every fourth row.

    Returns:
        complex (batch, coil, y, x), sum over coils |S|^2 = 1 or 0; of two maps (batch, map, coil, y, x), orthogonal,
        the second one zero where there is no second image. The phase is relative to a combination of
        the coils, chosen slice by slice, that no pixel is blind to: it is smooth, and leaves the phase of the
        object in the image. A single coil has S = 1 everywhere. Without any signal S = 0.

    Raises:
        DataFormatError: calibration is not complex (batch, coil, cy, cx) or larger than the matrix; so for lines.
        ConfigError: a parameter is out of range.

    Source: Uecker et al. 2014, doi:10.1002/mrm.24751.
    """
    lines = calibration if lines is None else lines
    _check(calibration, lines, matrix, kernel_size, threshold, crop)
    if n_maps not in (None, 1, 2):
        raise ConfigError(f"ESPIRiT makes 1 or 2 maps; got {n_maps}")
    blocks = zip(calibration, lines, strict=True)
    slices = [_calibrated(*both, matrix, kernel_size, threshold, crop) for both in blocks]
    first = torch.stack([each.maps for each in slices])
    if n_maps == 1 or (n_maps is None and not any(each.is_folded() for each in slices)):
        return first
    return torch.stack([first, torch.stack([each.second() for each in slices])], 1)


def _check(
    calibration: Tensor, lines: Tensor, matrix: tuple[int, int], kernel_size: int, threshold: float | None, crop: float
) -> None:
    check_block("calibration", calibration, matrix)
    check_block("lines", lines, matrix)
    if lines.shape[:2] != calibration.shape[:2]:
        raise DataFormatError(
            f"lines must be of the images and coils {tuple(calibration.shape[:2])}; got {tuple(lines.shape)}"
        )
    if kernel_size < 1 or not (threshold is None or 0 < threshold < 1) or not 0 <= crop <= 1:
        raise ConfigError(
            "ESPIRiT needs kernel_size >= 1, 0 < threshold < 1 and 0 <= crop <= 1; "
            f"got {kernel_size}, {threshold} and {crop}"
        )


@dataclass(frozen=True, eq=False)
class _Slice:
    """The first maps (coil, y, x) of a slice, where they are not zero, and where and of what second ones are made."""

    maps: Tensor
    inside: Tensor
    ambiguous: Tensor
    lags: Tensor
    reference: Tensor
    crop: float

    def rows(self, every: int) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Of every so many-th row: its place, its ambiguous columns, if any, and their second maps (column, coil)."""
        ly, lx, coils, _ = self.lags.shape
        y, x = (pixels(n) for n in self.inside.shape)
        for row in (every * self.ambiguous[::every].any(1).nonzero()[:, 0]).tolist():
            columns = self.ambiguous[row].nonzero()[:, 0]
            along_y = (waves(y[row : row + 1], ly, self.lags) @ self.lags.reshape(ly, -1)).reshape(lx, -1)
            g = (waves(x[columns], lx, self.lags) @ along_y).reshape(-1, coils, coils)
            first = self.maps[:, row, columns].T
            others = torch.eye(coils).to(g) - first[:, :, None] * first[:, None].conj()
            values, vectors = torch.linalg.eigh(others @ g @ others)
            yield row, columns, referred(vectors[..., -1], self.reference) * (values[:, -1:] >= self.crop)

    def is_folded(self) -> bool:
        """Whether there are second maps in a telling part of the pixels."""
        if not self.ambiguous.sum() > _FOLDED * self.inside.sum():
            return False
        found = sum(int((vectors != 0).any(1).sum()) for *_, vectors in self.rows(_EVERY))
        return found > _FOLDED * int(self.inside[::_EVERY].sum())

    def second(self) -> Tensor:
        """The second maps, zero where there are none."""
        found = torch.zeros_like(self.maps)
        for row, columns, vectors in self.rows(1):
            found[:, row, columns] = vectors.T
        return found


def _plain(maps: Tensor, crop: float) -> _Slice:
    """Maps beside which there are no second ones."""
    nowhere = torch.zeros(maps.shape[1:], dtype=torch.bool, device=maps.device)
    return _Slice(maps, maps.any(0), nowhere, maps.new_zeros(1, 1, 1, 1), maps.new_zeros(1), crop)


def _calibrated(
    calibration: Tensor, lines: Tensor, matrix: tuple[int, int], kernel_size: int, threshold: float | None, crop: float
) -> _Slice:
    """Maps of one slice; calibration (coil, cy, cx)."""
    coils = calibration.shape[0]
    scale = calibration.abs().amax()
    if scale == 0:
        return _plain(calibration.new_zeros(coils, *matrix), crop)
    if coils == 1:
        return _plain(calibration.new_ones(1, *matrix), crop)
    columns, kernel = patches(calibration / scale, kernel_size)
    lags = lag_kernel(signal_projector(columns, threshold), kernel)
    lines = lines / scale
    y, x = (nodes(n) for n in matrix)
    vectors, values, others = _eigenvectors(lags, lines, y, x)
    if not bool((values >= crop).any()):
        return _plain(calibration.new_zeros(coils, *matrix), crop)
    reference = reference_of(vectors, images_at(lines, y, x), values >= crop)
    fine_y, fine_x = (interpolation(at, n).to(values) for at, n in zip((y, x), matrix, strict=True))
    values, others = (fine_y @ part @ fine_x.mT for part in (values, others))
    inside = values >= crop
    maps = interpolate(referred(vectors, reference), fine_y, fine_x, inside)
    ambiguous = (others >= _AMBIGUOUS) & inside
    _settle(maps, ambiguous, lags, lines, reference)
    return _Slice(maps, inside, ambiguous, lags, reference, crop)


def _eigenvectors(lags: Tensor, lines: Tensor, y: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """At the positions: v = p(G) c of unit length (y, x, coil), v^H G v, and a bound of the other eigenvalues.

    The bound is the Frobenius norm of G - v v^H G v v^H.
    """
    ly, lx, coils, _ = lags.shape
    along_y = waves(y, ly, lags) @ lags.reshape(ly, -1)
    along_x = waves(x, lx, lags)
    images = images_at(lines, y, x)
    parts = []
    # G has coils^2 entries in every pixel, too many to hold at once: a few rows at a time.
    size = max(1, _CHUNK // (len(x) * coils**2))
    for rows, image in zip(torch.split(along_y, size), torch.split(images, size), strict=True):
        g = (along_x @ rows.reshape(len(rows), lx, -1)).reshape(-1, coils, coils)
        vector = _filtered(g, image.reshape(-1, coils))
        value = (vector * _product(g, vector).conj()).sum(-1).real
        rest = torch.view_as_real(g).flatten(1).square().sum(1) - value.square()
        shape = image.shape[:2]
        parts.append((vector.reshape(image.shape), value.reshape(shape), rest.clamp_min(0).sqrt().reshape(shape)))
    vectors, values, others = (torch.cat(part) for part in zip(*parts, strict=True))
    return vectors, values, others


def _filtered(g: Tensor, vector: Tensor) -> Tensor:
    """p(G) v of unit length, for Hermitian matrices (pixel, coil, coil) and vectors (pixel, coil).

    Brought to unit length on the way too: where all eigenvalues are small, g^n has no place in single precision.
    """
    vector = _unit((_POWER + 1) * vector - _POWER * _product(g, vector))
    for power in range(1, _POWER + 1):
        vector = _product(g, vector)
        if power % 4 == 0:
            vector = _unit(vector)
    return vector


def _unit(vector: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(vector, dim=-1, keepdim=True)
    return vector / norm.clamp_min(1e-30)


def _product(g: Tensor, vector: Tensor) -> Tensor:
    """G v as (v^H G)^H, because a library multiplies a row faster than a column."""
    return (vector[:, None].conj() @ g)[:, 0].conj()


def _settle(maps: Tensor, where: Tensor, lags: Tensor, lines: Tensor, reference: Tensor) -> None:
    """Compute the maps (coil, y, x) of ambiguous pixels one by one, in place."""
    if not bool(where.any()):
        return
    y, x = (pixels(n) for n in where.shape)
    for rows in torch.split(where.any(1).nonzero()[:, 0], 16):
        columns = where[rows].any(0).nonzero()[:, 0]
        place = (rows[:, None], columns)
        vectors = referred(_eigenvectors(lags, lines, y[rows], x[columns])[0], reference)
        maps[:, *place] = torch.where(where[place], vectors.permute(2, 0, 1), maps[:, *place])
