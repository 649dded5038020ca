"""What goes wrong around a server costs what it touches, says so, and disturbs nobody else."""

from __future__ import annotations

import contextlib
import errno
import io
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from laminar.errors import LaminarError
from laminar.server import wire
from laminar.server.client import exchange
from laminar.server.events import Events
from laminar.server.limits import Limits
from laminar.server.session import Service, Session
from tests.server.conversation import (
    COILS,
    HEADER,
    SIZE,
    ZERO,
    Faulty,
    answered,
    messages,
    running,
    scan_readouts,
)


def reader_of(client: socket.socket) -> wire.Reader:
    return wire.Reader(client.makefile("rb"), Limits())


def kinds_and_lines(reader: wire.Reader) -> tuple[list[int], list[str]]:
    """What a server sends until it closes or is gone."""
    kinds, lines = [], []
    with contextlib.suppress(EOFError, ConnectionError):
        while (message := reader.read()) is not None:
            kinds.append(message.kind)
            lines += [message.value] if message.kind == wire.TEXT_MESSAGE else []
    return kinds, lines


def altered(change: Callable[[Any], None], at: int = 3) -> bytes:
    """A scan of two slices in which one readout of the first is another; the noise scan is readout 0."""
    stream = io.BytesIO()
    writer = wire.Writer(stream)
    writer.text(HEADER, wire.HEADER)
    for n, one in enumerate(scan_readouts()):
        if n == at:
            change(one)
        stream.write(struct.pack("<H", wire.ACQUISITION) + one.to_bytes())
    writer.close()
    return stream.getvalue()


def line_beyond(one: Any) -> None:
    one.idx.kspace_encode_step_1 = 60000


def other_coils(one: Any) -> None:
    one.resize(2 * SIZE, COILS + 1)


def not_finite(one: Any) -> None:
    one.data[:] = np.nan


@pytest.mark.parametrize("change", [line_beyond, other_coils, not_finite])
def test_a_readout_that_is_wrong_costs_its_slice_alone(change: Callable[[Any], None]) -> None:
    images, lines, _ = answered(Service({"zero": ZERO}), altered(change))
    assert [image.slice for image in images] == [1]
    assert any(line.startswith("ERROR slice 0: no image: ") for line in lines)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("number_of_samples", 65535, "ERROR samples of a readout: at most 2048 are taken; got 65535"),
        ("active_channels", 65535, "ERROR coils of a readout: at most 256 are taken; got 65535"),
        ("trajectory_dimensions", 65535, "ERROR dimensions of a trajectory: at most 8 are taken; got 65535"),
        ("active_channels", COILS + 1, "ERROR unknown message"),
    ],
)
def test_a_length_that_is_wrong_ends_the_connection_in_a_line(field: str, value: int, said: str) -> None:
    data = bytearray(altered(lambda one: None))
    second = len(data) - 2 - 2 * len(scan_readouts(1)[1].to_bytes()) - 2  # the last but one: slice 0 is complete
    head = wire.head_type()
    struct.pack_into("<H", data, second + head.fields[field][1], value)
    images, lines, _ = answered(Service({"zero": ZERO}), bytes(data))
    assert [image.slice for image in images] == [0]
    assert any(line.startswith(said) for line in lines)
    assert "ERROR 1 image was not complete" in lines


def test_memory_that_is_not_there_and_a_thread_that_does_not_start_cost_one_attempt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def greedy(problem: Any) -> torch.Tensor:
        return torch.empty(2**58)

    images, lines, _ = answered(Service({"faulty": Faulty(greedy)}), messages(slices=1))
    assert images[0].meta["LaminarFallback"].startswith("faulty failed: out of memory")
    start, failing = threading.Thread.start, ["device"]

    def refused(thread: threading.Thread) -> None:
        if thread.name in failing:
            failing.remove(thread.name)
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refused)
    images, lines, _ = answered(Service({"zero": ZERO}), messages())
    assert ["LaminarFallback" in image.meta for image in images] == [True, False]
    assert any("can't start new thread; made by l1-wavelet" in line for line in lines)


def test_who_is_silent_is_told_and_closed(scan_file: Path) -> None:
    with running(Service({"zero": ZERO}, Limits(idle=0.3))) as server:
        with socket.create_connection(server.address, 30) as silent:
            silent.sendall(messages(close=False)[:-100])
            kinds, lines = kinds_and_lines(reader_of(silent))
        assert kinds.count(wire.IMAGE) == 1
        assert kinds[-1] == wire.CLOSE
        assert "ERROR the connection broke: timed out" in lines  # while the image is made, or after it
        assert lines[-1] == "ERROR 1 image was not complete"


class Lost(Events):
    def __init__(self) -> None:
        self.n = 0

    def lost(self) -> None:
        self.n += 1


def test_images_that_nobody_takes_are_counted_and_named(caplog: pytest.LogCaptureFixture) -> None:
    class Gone(io.BytesIO):
        def write(self, data: Any) -> int:
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    lost = Lost()
    with caplog.at_level("INFO", "laminar.server"):
        Session(Service({"zero": ZERO}, events=lost), io.BytesIO(messages()), Gone()).run()
    named = [record.getMessage() for record in caplog.records if "the other end is gone" in record.getMessage()]
    assert [line.split(":")[1] for line in named] == [" slice 0", " slice 1"]
    assert lost.n == 2


def test_a_reader_that_is_slow_gets_everything_and_holds_up_nobody(scan_file: Path) -> None:
    slices = 12
    with running(Service({"zero": ZERO}, Limits(waiting=1))) as server, socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # an image does not fit
        slow.settimeout(60)
        slow.connect(server.address)
        sending = threading.Thread(target=slow.sendall, args=(messages(slices=slices),))
        sending.start()
        assert len(exchange(scan_file, server.address)) == 2
        kinds, _ = kinds_and_lines(reader_of(slow))
        sending.join(60)
    assert (kinds.count(wire.IMAGE), kinds[-1]) == (slices, wire.CLOSE)


def test_a_server_without_descriptors_or_threads_goes_on(
    scan_file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    start, failing = threading.Thread.start, ["read"]

    def refused(thread: threading.Thread) -> None:
        if failing and thread.name.startswith("read "):
            failing.pop()
            raise RuntimeError("can't start new thread")
        start(thread)

    class Scarce:
        def __init__(self, listening: socket.socket) -> None:
            self._listening, self._left = listening, 2

        def accept(self) -> Any:
            if self._left:
                self._left -= 1
                raise OSError(errno.EMFILE, "Too many open files")
            return self._listening.accept()

        def __getattr__(self, name: str) -> Any:
            return getattr(self._listening, name)

    monkeypatch.setattr(threading.Thread, "start", refused)
    with running(Service({"zero": ZERO})) as server:
        monkeypatch.setattr(server, "_socket", Scarce(server._socket))
        with pytest.raises(LaminarError):
            exchange(scan_file, server.address)
        assert len(exchange(scan_file, server.address)) == 2
    assert "a connection was not taken: Too many open files" in caplog.text
    assert "can't start new thread" in caplog.text


@contextmanager
def served(model: Path, port: int, **streams: Any) -> Iterator[subprocess.Popen[bytes]]:
    """`laminar serve` in a process of its own that listens."""
    command = [sys.executable, "-m", "laminar", "serve", "--model", str(model), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, **streams) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith(b"laminar serves")
            yield process
        finally:
            process.kill()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a disk that has no space")
def test_a_process_outlives_a_full_disk_and_its_port_outlives_the_process(tiny_model: Path, scan_file: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    address = ("127.0.0.1", port)
    with Path("/dev/full").open("wb") as full, served(tiny_model, port, stderr=full) as process:
        expected = exchange(scan_file, address)  # the log has no place, the images have
        assert len(expected) == 2
        with socket.create_connection(address, 60) as client:
            client.sendall(messages(close=False)[:-100])
            reader = reader_of(client)
            assert reader.read() is not None
            process.kill()
            kinds, _ = kinds_and_lines(reader)
            assert wire.CLOSE not in kinds  # who reads can tell that this was no end
    with served(tiny_model, port, stderr=subprocess.PIPE) as process:
        images = exchange(scan_file, address)
        assert [image.data.tobytes() for image in images] == [image.data.tobytes() for image in expected]
        with socket.create_connection(address, 60) as client:
            client.sendall(messages(close=False)[:-100])
            reader = reader_of(client)
            assert reader.read() is not None
            process.send_signal(signal.SIGTERM)
            kinds, lines = kinds_and_lines(reader)
        assert kinds[-1] == wire.CLOSE
        assert "ERROR 1 image was not complete" in lines
        assert any("slice 0" in line for line in lines)  # made, or named as not made
        assert process.wait(60) == 143
