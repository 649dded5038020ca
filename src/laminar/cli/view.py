"""`laminar view`: reconstructions beside each other in the browser, or as one file to hand on."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from laminar.cli.outputs import add_overwrite, check_outputs
from laminar.errors import ConfigError, explaining

_EPILOG = """examples:
  laminar view images/scan.h5
  laminar view images/scan.h5 other/scan.h5 --reference scan.h5 --export page.html

The page: wheel or arrow keys for slices and cascades, drag for window and level, ? for all keys."""


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
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE.h5", help="written by `laminar reconstruct`")
    parser.add_argument("--reference", type=Path, metavar="FILE", help="HDF5 with reconstruction_rss or reconstruction")
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
    from laminar.viewer import load, load_reference, page, write_page

    if options.out is not None:
        check_outputs(options, options.out)
    named = zip(options.files, _names(options.files), strict=True)
    shown = [load(path, name).cut(options.slices) for path, name in named]
    reference = None if options.reference is None else load_reference(options.reference).cut(options.slices)
    first = options.slices.start or 0
    if options.out is None:
        return _serve(page(shown, reference, first_slice=first), options.port)
    write_page(options.out, shown, reference, first_slice=first)
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.1f} MB")
    return 0


def _names(files: tuple[Path, ...]) -> list[str]:
    """The names of the files, with their folders where two are equal."""
    stems = [path.stem for path in files]
    return [str(path.with_suffix("")) if stems.count(path.stem) > 1 else path.stem for path in files]


def _serve(content: str, port: int) -> int:
    from laminar.viewer import Server

    if not 0 <= port < 2**16:
        raise ConfigError(f"--port must be from 0 to 65535; got {port}")
    with explaining(f"port {port}", OSError), Server(content, port) as server:
        print(f"{server.url}\nCtrl-C ends it", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()
    return 0
