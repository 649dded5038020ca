"""Fewer coils for large arrays: a scan whose coils are mixed to the few that hold the most signal."""

from __future__ import annotations

from dataclasses import replace

import torch

from laminar.data.coils import combine, compression, whitened
from laminar.data.formats import LazyScan
from laminar.data.noise import telling_slices
from laminar.scan import Scan


def compressed(scan: LazyScan, n: int) -> LazyScan:
    """The scan with at most `n` virtual coils, by the weights of `coils.compression` from a few of its slices.

    Coils are whitened first where their covariance is known. Raises ConfigError if n < 1.
    """
    some = [whitened(scan.slice(index)).kspace for index in telling_slices(scan.n_slices)]
    weights = compression(torch.cat(some), n)

    def load(index: int) -> Scan:
        part = whitened(scan.slice(index))
        maps = None if part.sensitivities is None else combine(weights, part.sensitivities)
        return replace(part, data=combine(weights, part.data), sensitivities=maps)

    said = f"{len(weights)} virtual coils of {scan.n_coils}"
    return replace(scan, n_coils=len(weights), load=load, held=None).noting(said)
