"""HDF5 of any other layout: its datasets are arrays whose axes the reader names."""

from laminar.data.formats.format import Format
from laminar.data.formats.hdf5 import hdf5_variables

FORMAT = Format(lambda file: file.hdf5 is not None, hdf5_variables)
