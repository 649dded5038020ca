"""What can be named: every name with the object that it stands for, which is imported when it is first asked for."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any

from laminar.errors import ConfigError

CLASSICAL = {
    "zero-filled": "laminar.classical:zero_filled_method",
    "cg-sense": "laminar.classical:cg_sense_method",
    "l1-wavelet": "laminar.classical:l1_wavelet_method",
    "total-variation": "laminar.classical:total_variation_method",
    "grappa": "laminar.classical:grappa_method",
    "pocs": "laminar.classical:pocs_method",
    "low-rank": "laminar.classical:low_rank_method",
    "filtered-back-projection": "laminar.classical:filtered_back_projection_method",
    "expectation-maximization": "laminar.classical:expectation_maximization_method",
}
"""Functions from a Problem to a Trajectory; their keywords that are numbers are settings."""

SAMPLERS = {
    "score-mri": "laminar.samplers:ScoreMRI",
    "dds": "laminar.samplers:DDS",
    "dps": "laminar.samplers:DPS",
    "pigdm": "laminar.samplers:PiGDM",
    "mc-ddpm": "laminar.samplers:MCDDPM",
    "ot-ode": "laminar.samplers:OTODE",
    "pnp-flow": "laminar.samplers:PnPFlow",
    "flower": "laminar.samplers:Flower",
}
"""Posterior samplers of a trained prior: frozen dataclasses of their settings."""

METHODS = ("network", *CLASSICAL, *SAMPLERS)
"""What `open_method` and `--method` know."""

PRESETS = {
    "flat": "laminar.models.presets:FLAT",
    "default": "laminar.models.presets:DEFAULT",
    "sampler": "laminar.models.presets:SAMPLER",
    "varnet": "laminar.models.presets:VARNET",
    "e2e-varnet": "laminar.models.presets:E2E_VARNET",
    "modl": "laminar.models.presets:MODL",
    "dc-cnn": "laminar.models.presets:DC_CNN",
    "dc-cnn-soft": "laminar.models.presets:DC_CNN_SOFT",
    "ista-net-plus": "laminar.models.presets:ISTA_NET_PLUS",
    "unet": "laminar.models.presets:UNET",
    "prior": "laminar.models.presets:PRIOR",
}
"""The published networks, and those that ship, as settings of ours."""

ACQUISITIONS = {
    "cine": "laminar.data.acquisition.resonance:Cine",
    "volume": "laminar.data.acquisition.resonance:Volume",
    "radial": "laminar.data.acquisition.resonance:Radial",
    "radial-cine": "laminar.data.acquisition.resonance:RadialCine",
    "spiral": "laminar.data.acquisition.resonance:Spiral",
    "stack-of-stars": "laminar.data.acquisition.resonance:StackOfStars",
    "kooshball": "laminar.data.acquisition.resonance:Kooshball",
    "ct": "laminar.data.acquisition.tomography:CT",
    "pet": "laminar.data.acquisition.tomography:PET",
    "deblurring": "laminar.data.acquisition.restoration:Deblurring",
    "super-resolution": "laminar.data.acquisition.restoration:SuperResolution",
    "inpainting": "laminar.data.acquisition.restoration:Filling",
}
"""Kinds of acquisitions beside the planar Cartesian one: frozen dataclasses of their settings."""

CARTESIAN = "cartesian"
GEOMETRIES = (CARTESIAN, *ACQUISITIONS)
"""What `--geometry` knows."""

FORMATS = {
    "BART": "laminar.data.formats.bart:FORMAT",
    "Laminar scan": "laminar.data.formats.scan_file:FORMAT",
    "NumPy npy": "laminar.data.formats.numpy_:NPY",
    "NumPy npz": "laminar.data.formats.numpy_:NPZ",
    "ISMRMRD": "laminar.data.formats.mrd:FORMAT",
    "CMRxRecon": "laminar.data.formats.published:CMRXRECON_73",
    "MATLAB v7.3": "laminar.data.formats.mat73:FORMAT",
    "Calgary-Campinas": "laminar.data.formats.published:CALGARY",
    "fastMRI prostate": "laminar.data.formats.published:PROSTATE",
    "fastMRI breast": "laminar.data.formats.published:BREAST",
    "SKM-TEA": "laminar.data.formats.published:SKM_TEA",
    "meddlr": "laminar.data.formats.published:MEDDLR",
    "M4Raw": "laminar.data.formats.published:M4RAW_FORMAT",
    "fastMRI": "laminar.data.formats.fastmri:FORMAT",
    "HDF5": "laminar.data.formats.plain_hdf5:FORMAT",
    "CMRxRecon v5": "laminar.data.formats.published:CMRXRECON_5",
    "MATLAB v5": "laminar.data.formats.mat5:FORMAT",
    "MRD v2": "laminar.data.formats.containers:MRD2",
    "Siemens raw": "laminar.data.formats.containers:SIEMENS",
    "MATLAB v4": "laminar.data.formats.mat5:LEVEL4",
}
"""Kinds of files that hold scans; the first one that fits a file's content counts."""


def resolve(table: Mapping[str, str], name: str, what: str) -> Any:
    """The object behind a name of a table. Raises ConfigError, with the nearest name, if there is none."""
    if name not in table:
        raise ConfigError(f"unknown {what} {name!r}{nearest(name, table)}")
    module, _, attribute = table[name].partition(":")
    return getattr(import_module(module), attribute)


def nearest(name: str, valid: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or if no valid name is near, all of them."""
    valid = list(valid)
    close = difflib.get_close_matches(name, valid, 1, 0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; valid are {', '.join(valid)}"
