"""Coil sensitivities from the local covariance of low-resolution coil images (Walsh)."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from laminar.data.coils import calibration_region, whitened
from laminar.data.cropping import center_pad, crop_readout
from laminar.data.formats import LazyScan
from laminar.data.nodes import check_block, images_at, interpolate, interpolation, nodes, reference_of, referred
from laminar.errors import ConfigError
from laminar.scan import Scan

_ITERATIONS = 10  # the covariance is nearly of rank one
_BOX = 3  # nodes a side: about what 24 calibration lines resolve


def with_walsh(scan: LazyScan) -> LazyScan:
    """The scan with Walsh sensitivities of its calibration region, image by image, if it brings none; a note says so.

    Coils are whitened first where their covariance is known. Raises ConfigError for a scan that is not planar and
    Cartesian; reading an image without a calibration region raises DataFormatError.
    """
    if not scan.is_planar_grid:
        kind = type(scan.geometry).__name__
        raise ConfigError(f"{scan.name}: Walsh sensitivities are of planar Cartesian scans; got {kind}")
    if scan.slice(0).sensitivities is not None:
        return scan.noting("sensitivities are those that the scan brings, not Walsh's")

    def load(index: int) -> Scan:
        part = whitened(scan.slice(index))
        return replace(part, sensitivities=_of_image(part))

    return replace(scan, load=load, held=None).noting("sensitivities by the method of Walsh")


def _of_image(scan: Scan) -> Tensor:
    """Sensitivities of the image without readout oversampling, and zero beside it."""
    inner = crop_readout(scan)
    region = calibration_region(inner.grid.common_mask)
    return center_pad(walsh(inner.kspace[..., *region], inner.matrix), scan.matrix)


@torch.no_grad()
def walsh(calibration: Tensor, matrix: tuple[int, int], *, crop: float = 0.03) -> Tensor:
    """Sensitivities S of all coils, up to the phase of the object, from calibration data around DC.

    The coil images c of the calibration data, tapered by a cosine against ringing, are the sensitivities times one
    low-resolution image, so S is the dominant eigenvector of their covariance over the box around a pixel:

        R(r) = sum_{r' around r} c(r') c(r')^H,   R(r) S(r) = lambda(r) S(r)

    Maps are as smooth as c: they are computed by power iterations on a coarse grid and interpolated.

    Args:
        calibration: complex (batch, coil, cy, cx), fully sampled, DC at n // 2.
        matrix: size (y, x) of the maps.
        crop: maps are zero where sqrt(lambda), the size of the image there, is below this fraction of the largest.

    Returns:
        complex (batch, coil, y, x), sum over coils |S|^2 = 1 or 0, with the phase that `espirit` gives its maps.
        Without any signal S = 0.

    Raises:
        DataFormatError: calibration is not complex (batch, coil, cy, cx) or larger than the matrix.
        ConfigError: crop is not between 0 and 1.

    Source: Walsh et al. 2000, doi:10.1002/(SICI)1522-2594(200005)43:5<682::AID-MRM10>3.0.CO;2-G.
    """
    check_block("calibration", calibration, matrix)
    if not 0 <= crop <= 1:
        raise ConfigError(f"Walsh sensitivities need 0 <= crop <= 1; got {crop}")
    return torch.stack([_maps(block, matrix, crop) for block in calibration])


def _maps(calibration: Tensor, matrix: tuple[int, int], crop: float) -> Tensor:
    """Maps (coil, y, x) of one image; calibration (coil, cy, cx)."""
    scale = calibration.abs().amax()
    if scale == 0:
        return calibration.new_zeros(len(calibration), *matrix)
    y, x = (nodes(n) for n in matrix)
    taper_y, taper_x = (_taper(n).to(calibration) for n in calibration.shape[1:])
    images = images_at(calibration / scale * taper_y[:, None] * taper_x, y, x)
    vectors, values = _dominant(images)
    sizes = values.sqrt()
    least = crop * sizes.max()
    reference = reference_of(vectors, images, sizes >= least)
    fine_y, fine_x = (interpolation(at, n).to(sizes) for at, n in zip((y, x), matrix, strict=True))
    return interpolate(referred(vectors, reference), fine_y, fine_x, fine_y @ sizes @ fine_x.mT >= least)


def _taper(n: int) -> Tensor:
    """The half cosine (n,) whose peak is DC."""
    return torch.cos(torch.pi * (torch.arange(n) - n // 2) / (n + 1))


def _dominant(images: Tensor) -> tuple[Tensor, Tensor]:
    """The dominant eigenvector (y, x, coil) of R = D D^H and its eigenvalue; D are images (y, x, coil) in the box."""
    halo = _BOX // 2
    padded = pad(images.permute(2, 0, 1), (halo, halo, halo, halo))
    boxes = padded.unfold(1, _BOX, 1).unfold(2, _BOX, 1).permute(1, 2, 0, 3, 4).flatten(3)
    vectors = images[..., None]
    for _ in range(_ITERATIONS):
        vectors = boxes @ (boxes.mH @ vectors)
        vectors = vectors / torch.linalg.vector_norm(vectors, dim=-2, keepdim=True).clamp_min(1e-30)
    values = (boxes.mH @ vectors).abs().square().sum((-2, -1))
    return vectors[..., 0], values
