"""The options of a service, alike for `laminar serve` and `laminar stream`."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING

from laminar.cli.scans import add_device, check_device
from laminar.server.limits import Limits

if TYPE_CHECKING:
    from laminar.server.events import Events
    from laminar.server.session import Service

_DEFAULT = Limits()


@dataclass(frozen=True)
class ServiceOptions:
    """`--model`, `--device`, and what is taken of a connection."""

    models: tuple[str, ...]
    device: str
    deadline: float
    idle: float
    max_bytes: int
    max_readouts: int
    max_matrix: int
    max_coils: int
    connections: int
    pixels: str
    log_format: str

    def log(self) -> None:
        """Begin to write the log, on standard error."""
        import logging

        from laminar.server.logs import TEXT, JsonLines

        handler = logging.StreamHandler()
        handler.setFormatter(JsonLines() if self.log_format == "json" else logging.Formatter(TEXT))
        logging.basicConfig(level=logging.INFO, handlers=[handler])

    def service(self, events: Events | None = None) -> Service:
        """The service, its models loaded and warm. Raises LaminarError."""
        from laminar.methods import open_model
        from laminar.runtime import keep_freed_memory
        from laminar.server.events import Events
        from laminar.server.session import Service
        from laminar.server.warm import warm
        from laminar.server.wire import head_type

        head_type()  # the extra is missed now, and not by the first connection
        keep_freed_memory()
        limits = Limits(
            bytes=self.max_bytes,
            readouts=self.max_readouts,
            matrix=self.max_matrix,
            coils=self.max_coils,
            idle=self.idle,
            connections=self.connections,
            deadline=self.deadline,
        )
        device = check_device(self.device)
        names = self.models or ("default",)
        models = {name: open_model(name).to(device) for name in names}
        service = Service(models, limits, device, events=events or Events(), pixels=self.pixels)
        warm(service)
        return service


def add_service(parser: argparse.ArgumentParser) -> None:
    """The options of `ServiceOptions`."""
    parser.add_argument("--model", action="append", dest="models", default=[], metavar="DIR", help=_MODEL)
    add_device(parser)
    parser.add_argument("--deadline", type=float, default=_DEFAULT.deadline, metavar="S", help=_DEADLINE)
    parser.add_argument("--pixels", choices=("float32", "uint16"), default="float32", help=_PIXELS)
    parser.add_argument(
        "--log-format", choices=("text", "json"), default="text", help="one line, or one object, a line"
    )
    group = parser.add_argument_group("what is taken of one connection")
    group.add_argument("--idle", type=float, default=_DEFAULT.idle, metavar="S", help=_IDLE)
    group.add_argument("--max-bytes", type=int, default=_DEFAULT.bytes, metavar="N", help="bytes (default: 4 GiB)")
    group.add_argument("--max-readouts", type=int, default=_DEFAULT.readouts, metavar="N", help="default: 2000000")
    group.add_argument("--max-matrix", type=int, default=_DEFAULT.matrix, metavar="N", help="size (default: 2048)")
    group.add_argument("--max-coils", type=int, default=_DEFAULT.coils, metavar="N", help="coils (default: 256)")
    group.add_argument("--connections", type=int, default=_DEFAULT.connections, metavar="N", help=_CONNECTIONS)


_MODEL = "a model to offer, as reconstruct takes it; may be repeated, the first is used unless a client names another"
_PIXELS = "of the images that are sent, unless a client asks for others; many scanners take integers alone"
_DEADLINE = "seconds for an image, after which a simpler method makes it (default: 60)"
_IDLE = "seconds without a byte after which a connection is closed (default: 300)"
_CONNECTIONS = "connections at a time (default: 8)"
