"""`laminar VERB`: parse, load, call, store. Every error of ours is one line on stderr and exit code 2."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from laminar.cli import (
    adapt,
    audit,
    calibrate,
    completion,
    convert,
    dataset,
    demo,
    evaluate,
    export,
    info,
    openrecon_package,
    reconstruct,
    runs,
    send,
    serve,
    simulate,
    stream,
    study,
    train,
    view,
)
from laminar.cli.options import frozen
from laminar.cli.speech import speaking
from laminar.errors import ALL_FAILED, SOME_FAILED, LaminarError, explaining
from laminar.registry import nearest
from laminar.version import __version__

VERBS = (
    *(demo, reconstruct, train, adapt, evaluate, calibrate, audit, study, runs, view),
    *(simulate, info, convert, dataset, export, serve, stream, send, openrecon_package, completion),
)


class Terminated(BaseException):
    """SIGTERM, as an exception: what is half written is removed on the way out."""


@contextmanager
def _terminated() -> Iterator[None]:
    """SIGTERM raises in the block, once: `timeout` sends it twice."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: Any) -> None:
        signal.signal(number, signal.SIG_IGN)
        raise Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class Parser(argparse.ArgumentParser):
    """One whose errors are a line: the usage of a verb with forty options would bury it."""

    def error(self, message: str) -> NoReturn:
        self.exit(ALL_FAILED, f"{self.prog}: error: {message} ({self.prog} --help)\n")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if isinstance(action, argparse._SubParsersAction) and value not in action.choices:
            named = str(action.metavar).lower()
            raise argparse.ArgumentError(action, f"no {named} {value!r}{nearest(value, action.choices)}")
        if action.choices is not None and value not in action.choices and isinstance(value, str):
            raise argparse.ArgumentError(action, f"no {value!r}{nearest(value, action.choices)}")
        super()._check_value(action, value)


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="laminar",
        description="Flow-aligned unrolled reconstruction: from undersampled k-space to an image.",
        epilog=f"Exit code: 0 all is done, {SOME_FAILED} some inputs failed, {ALL_FAILED} all failed or bad input, "
        "130 interrupted, 141 the reader of a pipe is gone, 143 terminated.",
    )
    parser.set_defaults(root=parser)
    parser.add_argument("--version", action="version", version=f"laminar {__version__}")
    subparsers = parser.add_subparsers(dest="verb", metavar="VERB")
    for verb in VERBS:
        verb.add_parser(subparsers)
    _add_speech(parser)
    parser.set_defaults(quiet=False, verbose=False, log=None)
    return parser


def _add_speech(parser: argparse.ArgumentParser) -> None:
    """What stands before a verb, behind it, or behind its action; without a default, for the last one's would win."""
    group = parser.add_argument_group("what is said")
    unsaid: dict[str, Any] = {"default": argparse.SUPPRESS}
    group.add_argument("--quiet", action="store_true", help="errors alone", **unsaid)
    group.add_argument("--verbose", action="store_true", help="show the trace of an error", **unsaid)
    group.add_argument("--log", type=Path, metavar="FILE", help="keep there what is said, with the time", **unsaid)
    parser.set_defaults(parser=parser)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for part in set(action.choices.values()):
                _add_speech(part)


def main(argv: Sequence[str] | None = None) -> int:
    command = list(sys.argv[1:] if argv is None else argv)
    args = _parsed(command)
    if args.verb is None:
        args.root.print_help()
        return 0
    data = bool(getattr(args, "json", False))
    try:
        with speaking(command, args.log, quiet=args.quiet, data=data) as tell:
            code = _answer(args, tell)
            tell(f"exit code {code}")
            return code
    except LaminarError as error:
        return _failed(error, args)


def _parsed(command: list[str]) -> argparse.Namespace:
    """What a command line says. A word that nothing is called is answered with the nearest one that there is."""
    parser = build_parser()
    args, rest = parser.parse_known_args(command)
    if hasattr(args, "settings"):
        args.settings = rest
    elif rest:
        known = [word for action in args.parser._actions for word in action.option_strings]
        said = nearest(rest[0].partition("=")[0], known) if rest[0].startswith("--") else ""
        args.parser.error(f"unrecognized arguments: {' '.join(rest)}{said}")
    return args


def _answer(args: argparse.Namespace, tell: Callable[[str], None]) -> int:
    """The exit code of the verb, whatever becomes of it."""
    try:
        with _terminated():
            return _run(args)
    except LaminarError as error:
        for line in traceback.format_exc().splitlines():
            tell(line)
        return _failed(error, args)
    except BrokenPipeError:  # the reader of a pipe, `| head`, has seen enough; the work may not be done
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        print("laminar: interrupted", file=sys.stderr)
        return 130
    except Terminated:
        print("laminar: terminated", file=sys.stderr)
        return 143


def _failed(error: LaminarError, args: argparse.Namespace) -> int:
    """Say what is wrong; of several processes, one speaks."""
    from laminar.runtime import leads

    if args.verbose:
        traceback.print_exception(error)
    elif leads():
        print(f"laminar: error: {error}", file=sys.stderr)
    return ALL_FAILED


def _run(args: argparse.Namespace) -> int:
    """The exit code of the verb. No verb leaves by SystemExit, only code of others that it runs."""
    try:
        with explaining(args.verb):
            code: int = args.run(frozen(args.options, args))
            return code
    except SystemExit as error:
        raise LaminarError(f"{args.verb}: code that it ran ended the program: exit({error.code!r})") from error


if __name__ == "__main__":
    sys.exit(main())
