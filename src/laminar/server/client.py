"""The other end of the protocol: send the readouts of a file, and take the images that come back."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from laminar.data.formats.guard import reading
from laminar.data.formats.ismrmrd_ import load_text
from laminar.errors import LaminarError, explaining
from laminar.server import wire
from laminar.server.limits import Limits
from laminar.server.tls import streams
from laminar.words import counted


def exchange(
    path: Path,
    address: tuple[str, int],
    *,
    group: str | None = None,
    config: str = "laminar",
    parameters: str = "",
    timeout: float = 300.0,
    context: ssl.SSLContext | None = None,
    told: Callable[[str], None] = lambda line: None,
) -> list[Any]:
    """Send an ISMRMRD file to a server: the images (`ismrmrd.Image`) that it answers, in the order in which they come.

    `group` names that of the readouts, where the file has several; `config` is the name that is sent first,
    `parameters` a text, such as JSON, that follows the header; `told` gets each line that the server says. With a
    `context` the connection is encrypted. Raises LaminarError if the server cannot be reached, or breaks off.
    """
    wire.mrd()
    with reading(path):
        xml, records = load_text(path, group)
        heads = _packed(records["head"])
    where = f"{address[0]}:{address[1]}"
    with (
        explaining(where, OSError),
        socket.create_connection(address, timeout) as connection,
        streams(connection, context, address[0]) as (source, sink),
    ):
        failed: list[Exception] = []

        def send() -> None:
            try:
                writer = wire.Writer(sink)
                writer.config(config)
                _send(writer, xml.decode("utf-8", "replace"), parameters, heads, records["data"])
            except (OSError, ValueError) as error:  # the server says why, if it can; a closed stream is a ValueError
                failed.append(error)

        thread = threading.Thread(target=send, daemon=True, name="send")
        thread.start()
        images = _received(source, where, told)
        thread.join(timeout)
        if failed:
            told(f"the server took no more: {failed[0]}")
        return images


def _send(writer: wire.Writer, xml: str, parameters: str, heads: Any, data: Any) -> None:
    writer.text(xml, wire.HEADER)
    if parameters:
        writer.text(parameters)
    for head, floats in zip(heads, data, strict=True):
        writer.readout(head, floats)
    writer.close()


def _received(source: BinaryIO, where: str, told: Callable[[str], None]) -> list[Any]:
    images = []
    reader = wire.Reader(source, Limits(bytes=2**40))
    try:
        while (message := reader.read()) is not None and message.kind != wire.CLOSE:
            if message.kind == wire.IMAGE:
                images.append(message.value)
            elif message.kind == wire.TEXT_MESSAGE:
                told(message.value)
    except EOFError as error:
        raise LaminarError(f"{where}: {error}") from error
    if message is None:
        raise LaminarError(f"{where}: the server broke off after {counted(len(images), 'image')}")
    return images


def _packed(heads: Any) -> Any:
    """Heads as they go over the wire, whatever the order and padding of their fields in the file."""
    packed = np.zeros(len(heads), wire.head_type())
    _copy(heads, packed)
    return packed


def _copy(source: Any, target: Any) -> None:
    for name in target.dtype.names:
        if target.dtype[name].names:
            _copy(source[name], target[name])
        else:
            target[name] = source[name]
