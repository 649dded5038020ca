"""Messages of the MRD protocol, version 1, on any pair of byte streams; each is checked before memory is asked for it.

Little endian: a 2-byte identifier, then 1 CONFIG_FILE (1024 bytes), 2 CONFIG_TEXT, 3 HEADER, 5 TEXT (4-byte length,
text, NUL), 4 CLOSE, 1008 ACQUISITION (340-byte header, trajectory, samples), 1022 IMAGE, 1026 WAVEFORM. The types are
those of the package `ismrmrd`, whose readers take any length for true, and whose texts have no NUL.
"""

from __future__ import annotations

import ctypes
import struct
import threading
from functools import cache
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from laminar.data.formats.readouts import Readout
from laminar.errors import MissingExtraError, WireError
from laminar.server.limits import TEXT, XML, Limits

CONFIG_FILE, CONFIG_TEXT, HEADER, CLOSE, TEXT_MESSAGE = 1, 2, 3, 4, 5
ACQUISITION, IMAGE, WAVEFORM = 1008, 1022, 1026
_TLS = (0x0315, 0x0316)  # an alert, a greeting: the two bytes that TLS begins with
_CONFIG_NAME, _WAVEFORM_HEAD, _WAVEFORM_COUNTS, _MOST_TRAJECTORY, _LARGEST_IMAGE = 1024, 40, 28, 8, 2**29


def mrd() -> Any:
    """The package `ismrmrd`. Raises MissingExtraError."""
    try:
        import ismrmrd
    except ImportError as error:
        raise MissingExtraError("ismrmrd", "server") from error
    return ismrmrd


@cache
def head_type() -> np.dtype[Any]:
    """The 340 bytes before a readout, with the names of the standard."""
    head: np.dtype[Any] = np.dtype(mrd().AcquisitionHeader)
    return head


class Message(NamedTuple):
    """An identifier, and what came with it: text, a `Readout`, an `ismrmrd.Image`, or None."""

    kind: int
    value: Any


class Reader:
    """Messages from a binary stream. Raises WireError for what is no message, and EOFError where one breaks off."""

    def __init__(self, stream: BinaryIO, limits: Limits) -> None:
        self._stream, self._limits = stream, limits
        self.bytes = 0

    def read(self) -> Message | None:
        """The next message; None at the end of the stream between two of them."""
        start = self._stream.read(2)
        if not start:
            return None
        (kind,) = struct.unpack("<H", start + self._exactly(2 - len(start)))
        if kind == CONFIG_FILE:
            return Message(kind, _decoded(self._exactly(_CONFIG_NAME)))
        if kind in (CONFIG_TEXT, HEADER, TEXT_MESSAGE):
            return Message(kind, self._text(XML if kind == HEADER else TEXT))
        if kind == ACQUISITION:
            return Message(kind, self._readout())
        if kind == IMAGE:
            return Message(kind, self._image())
        if kind == WAVEFORM:
            self._waveform()
            return Message(kind, None)
        if kind in _TLS and self.bytes == 0:
            raise WireError("the other end speaks TLS, and this end does not")
        if kind != CLOSE:
            raise WireError(f"unknown message {kind}: expected one of MRD version 1")
        return Message(kind, None)

    def _exactly(self, count: int) -> bytes:
        self.bytes += count
        self._limits.check("bytes of a connection", self.bytes, self._limits.bytes)
        data = self._stream.read(count) if count else b""
        if len(data) < count:
            raise EOFError(f"the stream ended after {len(data)} of {count} bytes of a message")
        return data

    def _text(self, most: int) -> str:
        (length,) = struct.unpack("<I", self._exactly(4))
        self._limits.check("bytes of a text", length, most)
        return _decoded(self._exactly(length))

    def _readout(self) -> Readout:
        head = np.frombuffer(self._exactly(head_type().itemsize), head_type())[0]
        samples, coils, dimensions = (
            int(head[name]) for name in ("number_of_samples", "active_channels", "trajectory_dimensions")
        )
        self._limits.check("samples of a readout", samples, self._limits.matrix)
        self._limits.check("coils of a readout", coils, self._limits.coils)
        self._limits.check("dimensions of a trajectory", dimensions, _MOST_TRAJECTORY)
        self._exactly(4 * samples * dimensions)
        return head, np.frombuffer(self._exactly(8 * samples * coils), np.float32)

    def _waveform(self) -> None:
        head = self._exactly(_WAVEFORM_HEAD)
        samples, channels = struct.unpack_from("<HH", head, _WAVEFORM_COUNTS)
        self._limits.check("samples of a waveform", channels * samples, TEXT)
        self._exactly(4 * channels * samples)

    def _image(self) -> Any:
        ismrmrd = mrd()
        data = self._exactly(ctypes.sizeof(ismrmrd.ImageHeader))
        head = ismrmrd.ImageHeader.from_buffer_copy(data)
        x, y, z = head.matrix_size
        self._limits.check("bytes of an image", 16 * x * y * z * head.channels, _LARGEST_IMAGE)
        try:
            return ismrmrd.Image.deserialize_from_with_header(data, self._exactly)
        except (ValueError, TypeError, AssertionError, SyntaxError, AttributeError) as error:
            raise WireError(f"an image cannot be understood: {error}") from error


def _decoded(data: bytes) -> str:
    return data.split(b"\0", 1)[0].decode("utf-8", "replace")


class Writer:
    """Messages to a binary stream, whole, from any thread."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._lock = stream, threading.Lock()

    def text(self, text: str, kind: int = TEXT_MESSAGE) -> None:
        data = text.encode() + b"\0"
        self._send(struct.pack("<HI", kind, len(data)), data)

    def config(self, name: str) -> None:
        self._send(struct.pack("<H1024s", CONFIG_FILE, name.encode()))

    def readout(self, head: Any, data: Any) -> None:
        self._send(struct.pack("<H", ACQUISITION), head.tobytes(), np.ascontiguousarray(data, "<f4").tobytes())

    def image(self, image: Any) -> None:
        self._send(struct.pack("<H", IMAGE), image.to_bytes())

    def close(self) -> None:
        self._send(struct.pack("<H", CLOSE))

    def _send(self, *parts: bytes) -> None:
        with self._lock:
            self._stream.write(b"".join(parts))
            self._stream.flush()
