"""Small scans as messages, and servers to send them to."""

from __future__ import annotations

import io
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import ismrmrd
import numpy as np
import torch
from torch import Tensor

from laminar.data.preparation import Problem
from laminar.methods import Method, as_method
from laminar.server import wire
from laminar.server.limits import Limits
from laminar.server.session import Service, Session
from laminar.server.tcp import Server

SIZE, COILS = 32, 3


HEADER = f"""<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
<experimentalConditions><H1resonanceFrequency_Hz>1</H1resonanceFrequency_Hz></experimentalConditions><encoding>
<encodedSpace><matrixSize><x>{2 * SIZE}</x><y>{SIZE}</y><z>1</z></matrixSize>
<fieldOfView_mm><x>400</x><y>200</y><z>5</z></fieldOfView_mm></encodedSpace>
<reconSpace><matrixSize><x>{SIZE}</x><y>{SIZE}</y><z>1</z></matrixSize>
<fieldOfView_mm><x>200</x><y>200</y><z>5</z></fieldOfView_mm></reconSpace><encodingLimits>
<kspace_encoding_step_1><minimum>0</minimum><maximum>{SIZE - 1}</maximum><center>{SIZE // 2}</center>
</kspace_encoding_step_1></encodingLimits><trajectory>cartesian</trajectory></encoding></ismrmrdHeader>"""


ZERO = as_method(lambda problem: [problem.operator.adjoint(problem.y)], "zero")


def scan_readouts(slices: int = 2) -> list[ismrmrd.Acquisition]:
    """A noise scan and undersampled slices, the later ones lower in the patient, the last line of each flagged."""
    rng = np.random.default_rng(0)

    def noise(*shape: int) -> np.ndarray:
        return (rng.normal(size=shape) + 1j * rng.normal(size=shape)) * 0.005

    y, x = np.mgrid[-1 : 1 : SIZE * 1j, -2 : 2 : 2 * SIZE * 1j]
    maps = [1 + 0.6 * (np.cos(a) * y + 1j * np.sin(a) * x) for a in 2 * np.pi * np.arange(COILS) / COILS]
    made = [ismrmrd.Acquisition.from_array(noise(COILS, 256).astype(np.complex64))]
    made[0].setFlag(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
    lines = [n for n in range(SIZE) if n % 2 == 0 or abs(n - SIZE // 2) < 6]
    for s in range(slices):
        image = np.array(maps) * ((y**2 + x**2 < 0.5) * (1 + s + (x > 0.1)))
        kspace = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(image, axes=(1, 2)), norm="ortho"), axes=(1, 2))
        for line in lines:
            one = ismrmrd.Acquisition.from_array((kspace[:, line] + noise(COILS, 2 * SIZE)).astype(np.complex64))
            one.idx.slice, one.idx.kspace_encode_step_1, one.center_sample = s, line, SIZE
            one.read_dir[:], one.phase_dir[:], one.slice_dir[:] = np.eye(3)
            one.position[:] = (1.0, 2.0, -5.0 * s)
            if line == lines[-1]:
                one.setFlag(ismrmrd.ACQ_LAST_IN_SLICE)
            made.append(one)
    return made


def messages(*, close: bool = True, header: str = HEADER, parameters: str = "", slices: int = 2) -> bytes:
    stream = io.BytesIO()
    writer = wire.Writer(stream)
    writer.config("openrecon")
    writer.text(header, wire.HEADER)
    if parameters:
        writer.text(parameters)
    for one in scan_readouts(slices):
        stream.write(struct.pack("<H", wire.ACQUISITION) + one.to_bytes())
    if close:
        writer.close()
    return stream.getvalue()


def answered(service: Service, data: bytes) -> tuple[list[Any], list[str], Session]:
    """The images and lines of a session, which must end with CLOSE, over streams in memory."""
    sink = io.BytesIO()
    session = Session(service, io.BytesIO(data), sink)
    session.run()
    reader = wire.Reader(io.BytesIO(sink.getvalue()), Limits())
    images, lines = [], []
    while (message := reader.read()) is not None and message.kind != wire.CLOSE:
        (images if message.kind == wire.IMAGE else lines).append(message.value)
    assert message is not None
    return images, lines, session


@contextmanager
def running(service: Service, **options: Any) -> Iterator[Server]:
    server = Server(service, port=0, **options)
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join(60)
        assert not thread.is_alive()
        assert server.connections == 0


@dataclass(frozen=True, eq=False)
class Faulty(Method):
    """A method that does what its function does."""

    function: Callable[[Problem], Tensor]
    name: str = "faulty"
    calls: list[int] = field(default_factory=list)

    def estimate(self, problem: Problem, generator: torch.Generator, **offered: Any) -> Any:
        self.calls.append(1)
        return as_method(lambda given: [self.function(given)])(problem)


def raising(error: BaseException) -> Callable[[Problem], Tensor]:
    def function(problem: Problem) -> Tensor:
        raise error

    return function
