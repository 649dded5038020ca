"""A simulated data set in the fastMRI layout."""

from __future__ import annotations

from pathlib import Path

import torch

from laminar.data.formats import write_fastmri
from laminar.data.simulation.scan import simulate_slice
from laminar.runtime import seed_of
from laminar.scan import cartesian


def simulate_file(
    path: Path,
    anatomy: str,
    matrix: tuple[int, int],
    n_coils: int,
    n_slices: int,
    noise_std: float,
    *seed: int,
) -> None:
    """Write a fully sampled simulated scan: `kspace` (slice, coil, y, x) with colored noise, and the noiseless
    `reconstruction_rss`.

    Slices are independent draws: each has its own anatomy, coils and noise. The same seed gives the same file.
    """
    generators = [torch.Generator().manual_seed(seed_of(*seed, index)) for index in range(n_slices)]
    slices = [simulate_slice(anatomy, matrix, n_coils, noise_std, generator) for generator in generators]
    header = {"acquisition": f"SIMULATED_{anatomy.upper()}", "patient_id": f"simulated-{'-'.join(map(str, seed))}"}
    everything = torch.ones(matrix, dtype=torch.bool)
    scan = cartesian(torch.stack([s.kspace for s in slices]), everything, name=path.stem, header=header)
    target = torch.cat([s.target for s in slices])
    write_fastmri(path, scan, target)
