"""How much a verb says and where it is kept: `--quiet` and `--log`, alike for every verb."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, TextIO, cast

from laminar.errors import ConfigError, explaining
from laminar.version import __version__

_HEAD = "# laminar log\n"
_STYLE = re.compile(r"\x1b\[[0-9;]*m")


class Log:
    """A text file with a line for each thing said, and when. A full disk ends the log, which is said, and no work."""

    def __init__(self, path: Path, stream: BinaryIO) -> None:
        self._path, self._stream, self._ended = path, stream, False

    def keep(self, line: str) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self.write(f"{now} {_STYLE.sub('', line).rstrip()}\n")

    def write(self, text: str) -> None:
        if self._ended:
            return
        try:
            self._stream.write(text.encode("utf-8", "replace"))
        except OSError as error:
            self._ended = True
            print(f"laminar: {self._path}: {error.strerror}: the log ends here", file=sys.stderr)


class Copied:
    """A stream whose lines go to a log as well; a muted one goes there alone."""

    def __init__(self, stream: TextIO, log: Log | None, *, muted: bool) -> None:
        self.stream, self.muted = stream, muted
        self._log, self._line = log, ""

    def write(self, text: str) -> int:
        if not self.muted:
            self.stream.write(text)
        *lines, self._line = (self._line + text).split("\n")
        for line in filter(str.strip, lines if self._log is not None else []):
            cast(Log, self._log).keep(line)
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextmanager
def speaking(command: Sequence[str], log: Path | None, *, quiet: bool, data: bool) -> Iterator[Callable[[str], None]]:
    """In the block, what is said is kept in `log`, after what is there already; if `quiet`, errors alone are shown.

    `data` says that the standard output is for a program: it is shown and not kept. Gives a function that tells a line
    to the log alone. Raises ConfigError for a file that is no log.
    """
    with ExitStack() as opened:
        kept = None if log is None else opened.enter_context(_appending(log))
        if kept is not None or quiet:
            opened.enter_context(
                redirect_stdout(cast(TextIO, Copied(sys.stdout, None if data else kept, muted=quiet and not data)))
            )
            opened.enter_context(redirect_stderr(cast(TextIO, Copied(sys.stderr, kept, muted=False))))
        tell = (lambda line: None) if kept is None else kept.keep
        tell(f"laminar {__version__}: laminar {shlex.join(command)}")
        yield tell


@contextmanager
def _appending(path: Path) -> Iterator[Log]:
    with explaining(f"cannot write {path}", OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        old = path.exists() and path.stat().st_size > 0
        if old and not _is_log(path):
            raise ConfigError(f"{path} is there already and no log of laminar: choose another --log")
        stream = path.open("ab", buffering=0)
    with stream:
        log = Log(path, stream)
        log.write("" if old else _HEAD)
        yield log


def _is_log(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(len(_HEAD)) == _HEAD.encode()
