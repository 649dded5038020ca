"""`laminar VERB`: parse, load, call, store. Every error of ours is one line on stderr and exit code 2."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from laminar import __version__
from laminar.cli import audit, calibrate, demo, evaluate, info, reconstruct, simulate, train
from laminar.errors import LaminarError

VERBS = (demo, reconstruct, train, evaluate, calibrate, audit, simulate, info)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="laminar",
        description="Flow-aligned unrolled reconstruction: from undersampled k-space to an image.",
    )
    parser.add_argument("--version", action="version", version=f"laminar {__version__}")
    subparsers = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for verb in VERBS:
        verb.add_parser(subparsers)
    for subparser in set(subparsers.choices.values()):
        subparser.add_argument("--verbose", action="store_true", help="show the trace of an error")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    parser = build_parser()
    args, rest = parser.parse_known_args(argv)
    if hasattr(args, "settings"):
        args.settings = rest
    elif rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        run: int = args.run(args)
    except LaminarError as error:
        if args.verbose:
            raise
        if os.environ.get("LOCAL_RANK", "0") == "0":  # of several processes, one speaks
            print(f"laminar: error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of a pipe, `| head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("laminar: interrupted", file=sys.stderr)
        return 130
    return run


if __name__ == "__main__":
    sys.exit(main())
