"""The MRD server over real sockets, with tiny models: the same images as of a file, and faults that stop nobody."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import shutil
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import h5py
import ismrmrd
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from laminar.data.preparation import Problem
from laminar.errors import ConfigError, LaminarError, WireError
from laminar.methods import Method, as_method, open_model
from laminar.server import wire
from laminar.server.client import exchange
from laminar.server.images import Pixels
from laminar.server.limits import Limits
from laminar.server.logs import JsonLines
from laminar.server.metrics import Metrics, Page
from laminar.server.session import Service, Session
from laminar.server.tcp import Server, networks
from laminar.server.tls import client_context, server_context, streams
from laminar.server.warm import warm

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


@pytest.fixture(scope="module")
def scan_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scans") / "two.mrd.h5"
    with ismrmrd.File(str(path), "w") as file:
        file["dataset"].header = ismrmrd.xsd.CreateFromDocument(HEADER)
        file["dataset"].acquisitions = scan_readouts()
    return path


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


@pytest.fixture
def service(tiny_model: Path) -> Service:
    return Service({"tiny": open_model(str(tiny_model))})


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


def test_the_images_are_those_of_reconstruct(
    service: Service, scan_file: Path, tiny_model: Path, tmp_path: Path, laminar: Callable[..., tuple[int, str, str]]
) -> None:
    warm(service)
    with running(service) as server:
        where = f"127.0.0.1:{server.address[1]}"
        code, out, _ = laminar("send", scan_file, "--to", where, "--out", tmp_path / "remote")
        assert code == 0
        assert "INFO slice 1: tiny" in out
    assert laminar("reconstruct", scan_file, "--model", tiny_model, "--out", tmp_path / "local")[0] == 0
    with h5py.File(tmp_path / "local" / "two.h5") as file:
        expected = file["reconstruction"][:]
    with h5py.File(tmp_path / "remote" / "two.h5") as file:
        np.testing.assert_allclose(file["reconstruction"][:], expected, atol=1e-5 * expected.max())
        meta = ismrmrd.Meta.deserialize(file["reconstruction_attributes"][0].decode())
    assert meta["SeriesDescription"] == "Laminar tiny"
    assert meta["LaminarWeights"] == service.models["tiny"].fingerprint
    assert [float(value) for value in meta["ImageColumnDir"]] == [0, 1, 0]


def test_an_image_carries_its_place_and_counters(service: Service) -> None:
    images, _, _ = answered(service, messages())
    assert [(image.slice, image.image_index) for image in images] == [(0, 1), (1, 2)]
    assert tuple(images[1].position) == (1, 2, -5)
    assert tuple(images[1].field_of_view) == (200, 200, 5)
    assert tuple(images[1].slice_dir) == (0, 0, 1)


def test_limits_that_contradict_the_readouts_are_said_once(service: Service) -> None:
    header = HEADER.replace(f"<maximum>{SIZE - 1}", f"<maximum>{SIZE // 2}")
    images, lines, _ = answered(service, messages(header=header))
    assert len(images) == 2
    said = [line for line in lines if "contradict" in line]
    limits = f"(minimum 0, maximum {SIZE // 2}, center {SIZE // 2})"
    assert len(said) == 1
    assert said[0].startswith(
        f"WARNING slice 0: encodingLimits of phase encoding 1 {limits} and the readouts, which count"
    )


def test_an_image_leaves_before_the_next_slice_has_come(service: Service) -> None:
    first = messages(close=False, slices=1)
    with running(service) as server, socket.create_connection(server.address, 30) as client:
        client.sendall(first)
        reader = wire.Reader(client.makefile("rb"), Limits())
        while (message := reader.read()) is not None and message.kind != wire.IMAGE:
            pass
        assert message is not None  # the connection is still open, and nothing more was sent


def test_two_connections_at_once_and_one_that_is_killed(service: Service, scan_file: Path) -> None:
    with running(service) as server:
        killed = socket.create_connection(server.address, 30)
        killed.sendall(messages(close=False)[:-1000])
        found: list[list[Any]] = []
        threads = [threading.Thread(target=lambda: found.append(exchange(scan_file, server.address))) for _ in range(2)]
        for thread in threads:
            thread.start()
        killed.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, not an end
        killed.close()
        for thread in threads:
            thread.join(60)
    assert [len(images) for images in found] == [2, 2]
    assert all(np.array_equal(one.data, other.data) for one, other in zip(*found, strict=True))


def test_more_connections_than_allowed_are_told_so(service: Service, scan_file: Path) -> None:
    limited = replace(service, limits=Limits(connections=1))
    with running(limited) as server, socket.create_connection(server.address, 30) as first:
        first.sendall(struct.pack("<H", wire.CONFIG_FILE))
        lines: list[str] = []
        try:
            assert exchange(scan_file, server.address, told=lines.append) == []
            assert lines[0] == "ERROR all connections are in use: try again later"
        except LaminarError:
            pass  # the refusal was lost in the reset: the client says that the server broke off


def test_a_stop_finishes_the_image_in_hand(tiny_model: Path) -> None:
    started, go = threading.Event(), threading.Event()

    def slow(problem: Problem) -> list[Tensor]:
        started.set()
        assert go.wait(30)
        return [problem.operator.adjoint(problem.y)]

    with running(Service({"slow": as_method(slow, "slow")})) as server:
        client = socket.create_connection(server.address, 30)
        client.sendall(messages(close=False))
        assert started.wait(30)
        server.stop()
        threading.Timer(0.5, go.set).start()
        reader = wire.Reader(client.makefile("rb"), Limits())
        kinds, lines = [], []
        while (message := reader.read()) is not None:
            kinds.append(message.kind)
            lines += [message.value] if message.kind == wire.TEXT_MESSAGE else []
        client.close()
    assert kinds.count(wire.IMAGE) == 1
    assert kinds[-1] == wire.CLOSE
    assert "ERROR slice 1: not reconstructed, the server stops" in lines


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


HANGING = threading.Event()


@pytest.mark.parametrize(
    ("function", "deadline", "reason"),
    [
        (raising(ValueError("of mine")), 60.0, "faulty failed: ValueError: of mine"),
        (raising(MemoryError()), 60.0, "faulty failed: out of memory"),
        (
            lambda problem: problem.operator.adjoint(problem.y) * torch.nan,
            60.0,
            "faulty failed: scan: the image is not",
        ),
        (lambda problem: HANGING.wait(6) and problem.y, 3.0, "faulty failed: more than 3 s"),
    ],
)
def test_a_method_that_fails_is_replaced_and_said(
    function: Callable[[Problem], Tensor], deadline: float, reason: str
) -> None:
    service = Service({"faulty": Faulty(function)}, Limits(deadline=deadline))
    images, lines, _ = answered(service, messages(slices=1))
    assert len(images) == 1
    assert images[0].meta["LaminarFallback"].startswith(reason)
    assert images[0].meta["LaminarMethod"] != "faulty"
    assert "LaminarWeights" not in images[0].meta
    assert any(line.startswith(f"WARNING slice 0: {reason}") for line in lines)
    assert np.isfinite(images[0].data).all()
    assert images[0].data.any()


def test_without_calibration_lines_the_last_resort_is_an_image_too(service: Service) -> None:
    data = io.BytesIO()
    writer = wire.Writer(data)
    writer.text(HEADER, wire.HEADER)
    for one in scan_readouts(1)[1:]:
        if one.idx.kspace_encode_step_1 % 2 == 0:
            data.write(struct.pack("<H", wire.ACQUISITION) + one.to_bytes())
    writer.close()
    images, lines, _ = answered(service, data.getvalue())
    assert images[0].meta["LaminarMethod"] == "zero-filled"
    assert "no calibration lines" in images[0].meta["LaminarFallback"]
    assert "made by zero-filled" in " ".join(lines)


def test_an_image_that_departs_from_the_data_is_flagged() -> None:
    def invented(problem: Problem) -> Tensor:
        return problem.operator.adjoint(problem.y).roll(5, -2)

    images, lines, _ = answered(Service({"faulty": Faulty(invented)}), messages(slices=1))
    assert "the image departs from the data" in images[0].meta["ImageComment"]
    assert "WARNING slice 0: the image departs from the measured data" in lines
    images, lines, _ = answered(Service({"faulty": Faulty(invented)}), messages(parameters='{"method": "cg-sense"}'))
    assert not any("departs" in line for line in lines)


def test_what_is_asked_for_is_done_or_refused_in_a_line(service: Service) -> None:
    asked = {"version": "1", "parameters": {"config": "openrecon", "method": "cg-sense", "samples": "1", "modle": 2}}
    images, lines, _ = answered(service, messages(parameters=json.dumps(asked)))
    assert images[0].meta["LaminarMethod"] == "cg-sense"
    assert lines[:2] == [
        "WARNING parameter not used: samples must be 0 or from 2 to 64; got '1'",
        "WARNING parameter not used: unknown parameter 'modle'; did you mean 'model'?",
    ]
    _, lines, _ = answered(service, messages(parameters='{"model": "/etc/passwd", "method": "os:system"}'))
    assert [line.partition(" is not offered")[0] for line in lines[:2]] == [
        "WARNING parameter not used: model '/etc/passwd'",
        "WARNING parameter not used: method 'os:system'",
    ]


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        *[(text, True) for text in ("method=cg-sense", "samples: 8", '"method": "cg-sense"', "{'method': 1}", "[1]")],
        *[(text, True) for text in ('{"parameters": "none"}', "[" * 20_000, "modle = tiny")],
        *[(text, False) for text in ("openrecon", "", "<x model='a'/>", "Method of Dixon", "17", "Note: table moved")],
    ],
)
def test_text_that_is_meant_as_parameters_is_answered_and_other_text_is_not(text: str, meant: bool) -> None:
    images, lines, _ = answered(Service({"zero": ZERO}), messages(parameters=text, slices=1))
    assert images[0].meta["LaminarMethod"] == "zero"
    said = [line for line in lines if line.startswith("WARNING parameter not used: parameters are a JSON object")]
    assert len(said) == meant


def test_send_ends_with_what_the_server_did_not_use(
    scan_file: Path, tmp_path: Path, laminar: Callable[..., tuple[int, str, str]]
) -> None:
    nowhere = ("send", scan_file, "--out", tmp_path, "--to", "127.0.0.1:1")
    code, _, err = laminar(*nowhere, "--parameters", "method=cg-sense")
    assert (code, err.count("\n")) == (2, 1)
    assert "parameters are a JSON object such as" in err
    with running(Service({"zero": ZERO})) as server:
        ask = (*nowhere[:-1], f"127.0.0.1:{server.address[1]}", "--parameters")
        code, out, err = laminar(*ask, '{"method": "nonsense", "samples": 4}')
        assert (code, "written to" in out, err.count("\n")) == (1, True, 2)
        assert "laminar: the server says: parameter not used: method 'nonsense' is not offered" in err
        assert laminar(*ask, '{"method": "cg-sense"}')[::2] == (0, "")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "ERROR the stream ended without CLOSE"),
        (struct.pack("<H", 77), "ERROR unknown message 77"),
        (
            struct.pack("<HI", wire.TEXT_MESSAGE, 2**31),
            "ERROR bytes of a text: at most 1048576 are taken; got 2147483648",
        ),
        (messages(slices=1)[:5000], "ERROR the stream ended after"),
        (messages(header="<!DOCTYPE x []>" + HEADER), "ERROR the header declares a document type or entities"),
        (messages(header=HEADER.replace("<y>32</y>", "<y>99999</y>")), "ERROR the encoded matrix: at most 2048"),
        (messages(header=HEADER.replace("<y>32</y>", "<y>many</y>")), "ERROR "),
        (messages(header=""), "ERROR the ISMRMRD header is not valid XML"),
        (messages()[1026 + 6 + len(HEADER) + 1 :], "ERROR a readout before the header"),
        (struct.pack("<H1024sH", wire.CONFIG_FILE, b"x", wire.CLOSE), "INFO no image"),
    ],
)
def test_what_is_no_scan_is_answered_in_a_line(service: Service, data: bytes, said: str) -> None:
    images, lines, _ = answered(service, data)
    assert images == []
    assert any(line.startswith(said) for line in lines)


def test_a_broken_stream_gives_what_was_complete_and_names_the_rest(service: Service) -> None:
    images, lines, _ = answered(service, messages(close=False)[:-200])
    assert len(images) == 1
    assert "ERROR 1 image was not complete" in lines


def test_integers_have_one_scale_for_a_series(service: Service) -> None:
    floats, _, _ = answered(service, messages())
    images, _, _ = answered(replace(service, pixels="uint16"), messages())
    assert [image.data.dtype for image in images] == [np.uint16] * 2
    assert images[0].data.max() == 4096
    assert images[0].meta["LaminarScale"] == images[1].meta["LaminarScale"]
    scale = float(images[0].meta["LaminarScale"])
    for image, expected in zip(images, floats, strict=True):
        np.testing.assert_allclose(image.data * scale, expected.data, atol=scale)
    _, lines, _ = answered(service, messages(parameters='{"pixels": "float64"}'))
    assert lines[0] == "WARNING parameter not used: pixels 'float64' is not offered; did you mean 'float32'?"


def test_what_is_brighter_than_the_scale_is_clipped_and_said() -> None:
    pixels = Pixels()
    empty, _, _ = pixels.of(torch.zeros(2, 2), "uint16", 1)
    assert not empty.any()
    first, _, clipped = pixels.of(torch.full((2, 2), 3.0), "uint16", 1)
    assert (int(first[0, 0]), clipped) == (4096, 0)
    bright, _, clipped = pixels.of(torch.tensor([[3.0, 60.0]]), "uint16", 1)
    assert (bright.tolist(), clipped) == ([[4096, 65535]], 1)


def test_acceleration_undersamples_a_full_scan_alone(service: Service) -> None:
    _, lines, _ = answered(service, messages(parameters='{"acceleration": "99"}'))
    assert lines[0] == "WARNING parameter not used: acceleration must be 0 or from 1 to 32; got '99'"
    _, lines, _ = answered(service, messages(slices=1, parameters='{"acceleration": 4}'))
    assert lines[0] == "INFO slice 0: undersampled 4 times"
    header = HEADER.replace(f"<y>{SIZE}</y><z>1</z></matrixSize>", f"<y>{2 * SIZE}</y><z>1</z></matrixSize>", 1)
    _, lines, _ = answered(service, messages(header=header, slices=1, parameters='{"acceleration": 4}'))
    assert lines[0].startswith("WARNING parameter not used: acceleration: slice 0 is undersampled already")


def test_metrics_and_health(tiny_model: Path) -> None:
    metrics = Metrics()
    service = Service({"tiny": open_model(str(tiny_model))}, events=metrics)
    images, _, _ = answered(service, messages(parameters='{"method": "cg-sense"}'))
    page = Page(metrics, lambda: service.is_well, "127.0.0.1", 0)
    where = f"http://127.0.0.1:{page.address[1]}"
    try:
        with urlopen(f"{where}/metrics") as answer:
            told = answer.read().decode()
        with urlopen(f"{where}/healthz") as answer:
            assert answer.read() == b"ok\n"
        service.device._since = -1e9
        with pytest.raises(HTTPError, match="503"):
            urlopen(f"{where}/healthz").close()
    finally:
        page.close()
    assert 'laminar_images_total{method="cg-sense"} 2.0' in told
    assert f"laminar_readouts_total {float(len(scan_readouts()))}" in told
    assert "laminar_waiting_images 0.0" in told
    assert "laminar_latency_seconds_count 2.0" in told
    assert len(images) == 2


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for 127.0.0.1, with its key, that is its own authority."""
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    line = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=laminar -addext subjectAltName=IP:127.0.0.1"
    subprocess.run(["openssl", *line.split(), "-keyout", path, "-out", path.with_name("cert.pem")], check=True)
    with path.open("a") as file:
        file.write(path.with_name("cert.pem").read_text())
    return path


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate")
def test_an_encrypted_connection_gives_the_same_images(service: Service, scan_file: Path, certificate: Path) -> None:
    with running(service) as server:
        expected = exchange(scan_file, server.address)
    with running(service, context=server_context(certificate, None, certificate)) as server:
        trusting = client_context(certificate, certificate, None)
        images = exchange(scan_file, server.address, context=trusting)
        for context, said in (
            (
                client_context(certificate, None, None),
                "the server refused TLS: certificate required|reset|Broken pipe|broke off",
            ),
            (client_context(None, None, None), "the certificate of the server is not trusted: self-signed certificate"),
        ):
            with pytest.raises(LaminarError, match=said):
                exchange(scan_file, server.address, context=context, timeout=20)
    assert [image.data.tobytes() for image in images] == [image.data.tobytes() for image in expected]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate")
def test_ends_of_which_one_alone_speaks_tls_say_so(
    service: Service, scan_file: Path, certificate: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lines: list[str] = []
    with running(service, context=server_context(certificate, None, None)) as server:
        assert exchange(scan_file, server.address, told=lines.append) == []
    assert lines[0] == "ERROR this server speaks TLS alone"
    assert "no connection: the client does not speak TLS" in caplog.text
    trusting = client_context(certificate, None, None)
    with (
        running(service) as server,
        pytest.raises(LaminarError, match=r"127.0.0.1:\d+: the server does not speak TLS$"),
    ):
        exchange(scan_file, server.address, context=trusting)
    assert "the other end speaks TLS, and this end does not" in caplog.text
    alert = io.BytesIO(b"\x15\x03\x01\x00\x02\x02\x46")  # of a server that is none of ours
    with pytest.raises(WireError, match="the other end speaks TLS"):
        wire.Reader(alert, Limits()).read()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate")
def test_a_reader_is_not_held_up_by_a_writer_that_nobody_reads(certificate: Path) -> None:
    one, other = socket.socketpair()
    read = threading.Event()

    def serve() -> None:
        with one, streams(one, server_context(certificate, None, None)) as (_, back):
            back.write(b"hello")
            back.flush()
            assert read.wait(30)  # and it never reads

    serving = threading.Thread(target=serve)
    serving.start()
    with other, streams(other, client_context(certificate, None, None), "127.0.0.1") as (source, sink):

        def write() -> None:
            with contextlib.suppress(OSError):
                sink.write(bytes(2**24))  # more than the buffers of the kernel hold

        writing = threading.Thread(target=write)
        writing.start()
        assert source.read(5) == b"hello"
        assert writing.is_alive()
        read.set()
        writing.join(30)
    serving.join(30)


def test_who_is_not_allowed_is_not_answered(service: Service, scan_file: Path) -> None:
    with running(service, allowed=networks(["10.0.0.0/8"])) as server, pytest.raises(LaminarError):
        exchange(scan_file, server.address)
    with running(service, allowed=networks(["10.0.0.0/8", "127.0.0.0/30"])) as server:
        assert len(exchange(scan_file, server.address)) == 2
    with pytest.raises(ConfigError, match="an address or a network"):
        networks(["somewhere"])


def test_many_connections_at_once_with_one_that_reads_nothing() -> None:
    data = messages(slices=1)
    service = Service({"zero": ZERO}, Limits(connections=65))
    with running(service) as server, socket.create_connection(server.address, 60) as silent:
        silent.sendall(messages())
        found: list[int] = []

        def ask() -> None:
            with socket.create_connection(server.address, 120) as client, client.makefile("rb") as source:
                client.sendall(data)
                kinds = [message.kind for message in iter(wire.Reader(source, Limits()).read, None)]
                found.append(kinds.count(wire.IMAGE))

        threads = [threading.Thread(target=ask) for _ in range(64)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
    assert found == [1] * 64


def test_the_log_as_json_lines() -> None:
    try:
        raise ValueError("of mine")
    except ValueError:
        record = logging.LogRecord("a", logging.ERROR, "", 0, "%s: failed", ("peer",), sys.exc_info())
    told = json.loads(JsonLines().format(record))
    assert (told["level"], told["message"]) == ("ERROR", "peer: failed")
    assert "ValueError: of mine" in told["trace"]


WHOLE = messages(slices=1)


@settings(max_examples=300)
@given(
    st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.binary(min_size=1, max_size=4)), max_size=6), st.booleans()
)
def test_no_mutated_stream_ends_without_an_answer(edits: list[tuple[int, bytes]], cut: bool) -> None:
    data = bytearray(WHOLE)
    for at, change in edits:
        at = at % 3000 if at % 2 else at  # as many in the headers as in all the rest
        data[at : at + len(change)] = change
    images, lines, _ = answered(Service({"zero": ZERO}), bytes(data[: edits[0][0]] if cut and edits else data))
    assert images or lines
