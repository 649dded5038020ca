"""Geometries: how the measurements of a scan follow from its images, and hence which operator to solve with."""

from laminar.geometry.base import Geometry, check_tensor
from laminar.geometry.cartesian import Cartesian
from laminar.geometry.emission import Emission
from laminar.geometry.linear import Linear
from laminar.geometry.moving import NonCartesianSeries
from laminar.geometry.noncartesian import NonCartesian
from laminar.geometry.series import Series
from laminar.geometry.tomography import Tomography
from laminar.geometry.volume import Volume

SERIES_KINDS = ("cine", "volume", "noncartesian-cine", "noncartesian-volume")
"""The kinds whose images have a third axis."""
MOVING_KINDS = ("cine", "noncartesian-cine")
"""Those whose third axis is time."""

__all__ = [
    "MOVING_KINDS",
    "SERIES_KINDS",
    "Cartesian",
    "Emission",
    "Geometry",
    "Linear",
    "NonCartesian",
    "NonCartesianSeries",
    "Series",
    "Tomography",
    "Volume",
    "check_tensor",
]
