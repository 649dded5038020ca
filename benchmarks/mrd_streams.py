"""Small scans as streams of the MRD protocol, for what is measured of the server."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator

import ismrmrd
import numpy as np
import torch

from laminar.data.simulation import simulate_slice
from laminar.server import wire

_HEADER = """<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><experimentalConditions>
<H1resonanceFrequency_Hz>1</H1resonanceFrequency_Hz></experimentalConditions><encoding>
<encodedSpace><matrixSize><x>{n}</x><y>{n}</y><z>1</z></matrixSize>
<fieldOfView_mm><x>200</x><y>200</y><z>5</z></fieldOfView_mm></encodedSpace>
<reconSpace><matrixSize><x>{n}</x><y>{n}</y><z>1</z></matrixSize>
<fieldOfView_mm><x>200</x><y>200</y><z>5</z></fieldOfView_mm></reconSpace><encodingLimits>
<kspace_encoding_step_1><minimum>0</minimum><maximum>{last}</maximum><center>{center}</center>
</kspace_encoding_step_1></encodingLimits><trajectory>cartesian</trajectory></encoding></ismrmrdHeader>"""


def header(n: int) -> str:
    return _HEADER.format(n=n, last=n - 1, center=n // 2)


def slices(n: int, coils: int, count: int, acceleration: int = 4, calibration: int = 14) -> Iterator[bytes]:
    """The readouts of each slice of a simulated scan, as messages; the last one of each is flagged."""
    lines = [k for k in range(n) if k % acceleration == 0 or abs(k - n // 2) < calibration // 2]
    generator = torch.Generator().manual_seed(0)
    for at in range(count):
        kspace = simulate_slice("brain", (n, n), coils, 0.01, generator).kspace.numpy()
        stream = io.BytesIO()
        for line in lines:
            one = ismrmrd.Acquisition.from_array(np.ascontiguousarray(kspace[:, line]))
            one.idx.slice, one.idx.kspace_encode_step_1, one.center_sample = at, line, n // 2
            one.read_dir[:], one.phase_dir[:], one.slice_dir[:] = np.eye(3)
            one.position[:] = (0.0, 0.0, 5.0 * at)
            if line == lines[-1]:
                one.setFlag(ismrmrd.ACQ_LAST_IN_SLICE)
            stream.write(struct.pack("<H", wire.ACQUISITION) + one.to_bytes())
        yield stream.getvalue()


def opening(n: int, parameters: str = "") -> bytes:
    """All messages before the readouts."""
    stream = io.BytesIO()
    writer = wire.Writer(stream)
    writer.config("openrecon")
    writer.text(header(n), wire.HEADER)
    if parameters:
        writer.text(parameters)
    return stream.getvalue()


def closing() -> bytes:
    return struct.pack("<H", wire.CLOSE)
