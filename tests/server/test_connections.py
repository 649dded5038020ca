"""Connections to the MRD server: several at once, limits, TLS, a stop, what it tells of itself."""

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
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import numpy as np
import pytest
from torch import Tensor

from laminar.data.preparation import Problem
from laminar.errors import ConfigError, LaminarError, WireError
from laminar.methods import as_method, open_model
from laminar.server import wire
from laminar.server.client import exchange
from laminar.server.limits import Limits
from laminar.server.logs import JsonLines
from laminar.server.metrics import Metrics, Page
from laminar.server.session import Service
from laminar.server.tcp import networks
from laminar.server.tls import client_context, server_context, streams
from tests.server.conversation import (
    ZERO,
    answered,
    messages,
    running,
    scan_readouts,
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
    closed = Page(metrics, lambda: True, "127.0.0.1", 0, lambda host: host != "127.0.0.1")
    try:
        with pytest.raises(ConnectionError):
            urlopen(f"http://127.0.0.1:{closed.address[1]}/metrics").close()
    finally:
        closed.close()
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
