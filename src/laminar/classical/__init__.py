"""Reconstructions without a network: linear, sparse, and by kernels in k-space."""

from laminar.classical.backprojection import filtered_back_projection
from laminar.classical.emission import emission_total_variation, expectation_maximization
from laminar.classical.grappa import grappa
from laminar.classical.linear import cg_sense, zero_filled
from laminar.classical.low_rank import locally_low_rank
from laminar.classical.methods import (
    cg_sense_method,
    expectation_maximization_method,
    filtered_back_projection_method,
    grappa_method,
    l1_wavelet_method,
    low_rank_method,
    pocs_method,
    total_variation_method,
    zero_filled_method,
)
from laminar.classical.partial_fourier import pocs
from laminar.classical.sparsity import l1_wavelet, total_variation

__all__ = [
    "cg_sense",
    "cg_sense_method",
    "emission_total_variation",
    "expectation_maximization",
    "expectation_maximization_method",
    "filtered_back_projection",
    "filtered_back_projection_method",
    "grappa",
    "grappa_method",
    "l1_wavelet",
    "l1_wavelet_method",
    "locally_low_rank",
    "low_rank_method",
    "pocs",
    "pocs_method",
    "total_variation",
    "total_variation_method",
    "zero_filled",
    "zero_filled_method",
]
