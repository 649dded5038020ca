"""How a simulated object is measured in a geometry: one small dataclass of settings for each kind of acquisition."""

from laminar.data.acquisition.acquisition import Acquisition, Measured, acquisition_of
from laminar.data.acquisition.stream import AcquisitionStream

__all__ = ["Acquisition", "AcquisitionStream", "Measured", "acquisition_of"]
