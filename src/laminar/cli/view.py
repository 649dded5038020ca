"""`laminar view`: reconstructions beside each other in the browser, or as one file to hand on."""

from __future__ import annotations

import argparse
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from laminar.cli.outputs import add_overwrite, check_outputs
from laminar.errors import ConfigError

if TYPE_CHECKING:
    from laminar.viewer import Beside

_EPILOG = """examples:
  laminar view images/scan.h5
  laminar view images/scan.h5 other/scan.h5 --reference scan.h5 --export page.html
  laminar view images other --reference scans

The page: wheel or arrow keys for slices and cascades, drag for window and level, ? for all keys. Of folders, files of
one name stand beside each other, and the page has a list of the names."""


@dataclass(frozen=True)
class Options:
    files: tuple[Path, ...]
    reference: Path | None
    slices: slice
    port: int
    out: Path | None
    overwrite: bool


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "view",
        help="look at reconstructions: slices, window, errors, cascades, uncertainty",
        description="Show reconstructions beside each other in a page. Without --export the page is served to the "
        "browser of this machine alone, until Ctrl-C.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE.h5|DIR", help="what `laminar reconstruct` wrote")
    parser.add_argument(
        "--reference", type=Path, metavar="FILE|DIR", help="HDF5 with reconstruction_rss or reconstruction"
    )
    parser.add_argument("--slices", type=_slices, default=slice(None), metavar="FIRST:LAST", help="these alone, from 0")
    parser.add_argument("--port", type=int, default=0, metavar="N", help="of the server (default: any that is free)")
    parser.add_argument("--export", dest="out", type=Path, metavar="FILE.html", help="write the page instead")
    add_overwrite(parser)
    parser.set_defaults(run=run, options=Options)


def _slices(text: str) -> slice:
    """`4:7` is the slices 4 to 7, both of them; `4` that slice alone."""
    first, _, last = text.partition(":")
    chosen = range(int(first), int(last or first) + 1)
    if not chosen or chosen.start < 0:
        raise ValueError(text)
    return slice(chosen.start, chosen.stop)


_slices.__name__ = "range of slices, such as 4:7,"


def run(options: Options) -> int:
    from laminar.files import replacing
    from laminar.viewer import gather

    if options.out is not None:
        check_outputs(options, options.out)
    scans = gather(options.files, options.reference)
    if options.out is None:
        return _serve(scans, options)
    if len(scans) > 1:
        raise ConfigError(f"one page holds one scan; got {len(scans)}: name the files of one")
    content = next(iter(scans.values())).page(options.slices)
    with replacing(options.out) as temporary:
        temporary.write_text(content, encoding="utf-8")
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.1f} MB")
    return 0


def _serve(scans: dict[str, Beside], options: Options) -> int:
    from laminar.viewer import Server

    def page_of(scan: str) -> str:
        return scans[scan].page(options.slices, scan, list(scans))

    page_of(next(iter(scans)))  # what is wrong with the first scan is said here
    with Server(page_of, list(scans), options.port) as server:
        print(f"{server.url}\nCtrl-C ends it", flush=True)
        with suppress(KeyboardInterrupt):
            server.serve_forever()
        print()
    return 0
