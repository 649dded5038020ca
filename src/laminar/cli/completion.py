"""`laminar completion`: a script that makes a shell complete verbs, options and their values."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from laminar.errors import MissingExtraError

_EPILOG = """examples:
  laminar completion bash > ~/.local/share/bash-completion/completions/laminar
  laminar completion zsh > ~/.zfunc/_laminar     with ~/.zfunc in fpath"""


@dataclass(frozen=True)
class Options:
    shell: str
    root: argparse.ArgumentParser


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the verb."""
    parser = subparsers.add_parser(
        "completion",
        help="print a script for the shell that completes verbs and options",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("shell", choices=("bash", "zsh", "tcsh"))
    parser.set_defaults(run=run, options=Options)


def run(options: Options) -> int:
    try:
        import shtab
    except ImportError as error:
        raise MissingExtraError("shtab", "completion") from error
    print(shtab.complete(options.root, options.shell))
    return 0
