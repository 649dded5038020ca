"""Simulated scans of an acquisition in files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from laminar.data.acquisition.acquisition import Acquisition, Conditions, Measured
from laminar.data.formats import write_scan
from laminar.data.simulation.phantoms import phantom
from laminar.data.simulation.scan import OVERSAMPLING
from laminar.errors import ConfigError
from laminar.geometry import Emission, Geometry, Series, Tomography
from laminar.runtime import seed_of
from laminar.scan import Scan


def acquire_file(
    path: Path,
    acquisition: Acquisition,
    anatomy: str,
    matrix: tuple[int, int],
    n_coils: int,
    n_images: int,
    noise_std: float,
    *seed: int,
) -> None:
    """Write a simulated scan of independent images in our own layout, with the noiseless reference magnitudes.

    The same seed gives the same file. `noise_std` and coils count where the acquisition is of magnetic resonance.
    """
    measured = [
        measure_phantom(acquisition, anatomy, matrix, n_coils, noise_std, *seed, index) for index in range(n_images)
    ]
    scan = replace(joined([one.scan for one in measured]), name=path.stem)
    write_scan(path, scan, torch.cat([one.reference for one in measured]))


def measure_phantom(
    acquisition: Acquisition, anatomy: str, matrix: tuple[int, int], n_coils: int, noise_std: float, *seed: int
) -> Measured:
    """The scan of a random phantom, on a grid finer than the image."""
    generator = torch.Generator().manual_seed(seed_of(*seed))
    thing = phantom(anatomy, (OVERSAMPLING * matrix[0], OVERSAMPLING * matrix[1]), generator)
    return acquisition.measure(thing, matrix, Conditions(n_coils, noise_std, generator))


def joined(scans: Sequence[Scan]) -> Scan:
    """One scan of the images of several that an acquisition made."""
    data = torch.cat([scan.data for scan in scans])
    return replace(scans[0], data=data, geometry=_joined([scan.geometry for scan in scans]))


def _joined(geometries: Sequence[Geometry]) -> Geometry:
    first = geometries[0]
    if isinstance(first, Series):
        masks = torch.stack([g.mask for g in geometries if isinstance(g, Series)])
        return replace(first, mask=masks)
    if isinstance(first, Tomography):
        weights = [g.weights for g in geometries if isinstance(g, Tomography) and g.weights is not None]
        return replace(first, weights=torch.cat(weights) if weights else None)
    if isinstance(first, Emission):
        emissions = [g for g in geometries if isinstance(g, Emission)]
        factors = [g.factors for g in emissions if g.factors is not None]
        background = [g.background for g in emissions if g.background is not None]
        return replace(
            first,
            factors=torch.cat(factors) if factors else None,
            background=torch.cat(background) if background else None,
        )
    if any(geometry is not first for geometry in geometries):
        raise ConfigError(f"images of different geometries {type(first).__name__} make no scan")
    return first
