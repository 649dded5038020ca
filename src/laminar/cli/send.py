"""`laminar send`: an ISMRMRD file to a reconstruction server, and its images back."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from laminar.cli.outputs import add_overwrite, check_outputs


@dataclass(frozen=True)
class Options:
    scan: Path
    to: str
    out: Path
    parameters: str
    timeout: float
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
    parser.add_argument("--parameters", default="", metavar="JSON", help=_PARAMETERS)
    parser.add_argument("--timeout", type=float, default=300.0, metavar="S", help="seconds to wait (default: 300)")
    add_overwrite(parser)
    parser.set_defaults(run=run, options=Options)


_PARAMETERS = """what the server is asked for, such as '{"method": "cg-sense"}'"""


def run(options: Options) -> int:
    from laminar.data.formats import scan_name
    from laminar.errors import LaminarError, printable
    from laminar.server.client import address_of, exchange
    from laminar.server.received import write_images

    out = options.out / f"{scan_name(options.scan)}.h5"
    check_outputs(options, out)
    images = exchange(
        options.scan,
        address_of(options.to),
        parameters=options.parameters,
        timeout=options.timeout,
        told=lambda line: print(printable(line)),
    )
    if not images:
        raise LaminarError(f"{options.scan}: the server sent no image")
    write_images(out, images)
    print(f"{len(images)} images written to {out}")
    return 0
