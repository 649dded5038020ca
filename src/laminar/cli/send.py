"""`laminar send`: an ISMRMRD file to a reconstruction server, and its images back."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

from laminar.addresses import address_of
from laminar.cli.outputs import add_overwrite, check_outputs
from laminar.errors import SOME_FAILED, ConfigError, DataFormatError, LaminarError, printable
from laminar.server.parameters import NOT_USED, content_of
from laminar.words import counted


@dataclass(frozen=True)
class Options:
    scan: Path
    to: str
    out: Path
    variable: str | None
    config: str
    parameters: str
    timeout: float
    tls: bool
    authorities: Path | None
    certificate: Path | None
    key: Path | None
    overwrite: bool


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "send",
        help="send an ISMRMRD file to an MRD server, and keep its images",
        description="Send the readouts of an ISMRMRD file to a server of the MRD protocol and write its images to "
        "<out>/<name>.h5, in the order of reconstruct: series, then slices by position.",
    )
    parser.add_argument("scan", type=Path, metavar="SCAN")
    parser.add_argument("--to", required=True, metavar="HOST:PORT", help="the server")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the images")
    parser.add_argument("--variable", metavar="GROUP", help="the group of the readouts, where the file has several")
    parser.add_argument("--config", default="laminar", metavar="NAME", help=_CONFIG)
    parser.add_argument("--parameters", default="", metavar="JSON", help=_PARAMETERS)
    parser.add_argument("--timeout", type=float, default=300.0, metavar="S", help="seconds to wait (default: 300)")
    parser.add_argument("--tls", action="store_true", help="encrypt the connection")
    parser.add_argument("--authorities", type=Path, metavar="PEM", help=_AUTHORITIES)
    parser.add_argument("--certificate", type=Path, metavar="PEM", help="to show to the server, with --tls")
    parser.add_argument("--key", type=Path, metavar="PEM", help="its key (default: in the same file)")
    add_overwrite(parser)
    parser.set_defaults(run=run, options=Options)


_CONFIG = "the name of a configuration, which other servers choose their program by (default: laminar)"
_AUTHORITIES = "whose certificates are trusted, with --tls (default: those of the system)"
_PARAMETERS = """what the server is asked for, such as '{"method": "cg-sense"}'"""


def run(options: Options) -> int:
    address = _checked(options)  # before what takes seconds to import

    from laminar.data.formats import scan_name
    from laminar.server.client import exchange
    from laminar.server.received import write_images
    from laminar.server.tls import client_context

    out = options.out / f"{scan_name(options.scan)}.h5"
    check_outputs(options, out)
    tls = client_context(options.authorities, options.certificate, options.key) if options.tls else None
    lines = Lines()
    images = exchange(
        options.scan,
        address,
        group=options.variable,
        config=options.config,
        parameters=options.parameters,
        context=tls,
        timeout=options.timeout,
        told=lines.tell,
    )
    if not images:
        raise LaminarError(f"{options.scan}: the server sent no image")
    write_images(out, images)
    print(f"{counted(len(images), 'image')} written to {out}")
    return SOME_FAILED if lines.faults() else 0


def _checked(options: Options) -> tuple[str, int]:
    """The address of the server. Raises LaminarError for what can be seen to be wrong before it is asked."""
    address = address_of(options.to)
    if options.parameters:
        content_of(options.parameters)
    if not options.tls and (options.authorities or options.certificate or options.key):
        raise ConfigError("--authorities, --certificate and --key do nothing without --tls")
    if not options.scan.exists():
        raise DataFormatError(f"{options.scan}: no such file")
    return address


class Lines:
    """What the server says: shown, and kept if it is a fault."""

    def __init__(self) -> None:
        self._faults: dict[str, None] = {}

    def tell(self, line: str) -> None:
        print(printable(line))
        level, _, said = line.partition(" ")
        if level == "ERROR" or said.startswith(NOT_USED):
            self._faults[printable(said)] = None

    def faults(self) -> int:
        """Say each once more, among the errors: how many they are."""
        for fault in self._faults:
            print(f"laminar: the server says: {fault}", file=sys.stderr)
        return len(self._faults)
