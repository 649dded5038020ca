"""A warm process with limits of time and memory, in which files are opened whose library may crash or hang."""

from __future__ import annotations

import ast
import atexit
import json
import os
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from io import BufferedIOBase, BufferedReader, RawIOBase
from pathlib import Path
from typing import Any, cast

import numpy as np

from laminar.data.formats.axes import Array
from laminar.errors import DataFormatError

LONGEST_LINE = 2**26
PARSING = threading.Lock()
"""Held while Python text is parsed, as types of arrays are: two threads that do so can fail (CPython 106905)."""


class EndedError(DataFormatError):
    """The script did not survive a request."""


def fill(array: Array, file: RawIOBase | BufferedIOBase) -> None:
    """Read the bytes of an array. Raises EOFError if there are fewer."""
    waiting = array.reshape(-1).view(np.uint8).data
    while waiting:
        count = file.readinto(waiting)
        if not count:
            raise EOFError(f"{len(waiting)} bytes are missing")
        waiting = waiting[count:]


@dataclass
class Sandbox:
    """A script that answers requests, started with the first one and again after one that it did not survive."""

    script: Path
    _process: subprocess.Popen[bytes] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        atexit.register(self.stop)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget)

    def ask(self, *request: Any) -> tuple[Any, list[Array]]:
        """The plain value and the arrays of an answer.

        Raises DataFormatError for what the script refuses or fails at, and EndedError if it ends: crashed, or stopped
        because it took too long or too much memory.
        """
        with self._lock:
            try:
                kind, *answer = self._exchange(request)
                if kind == "found":
                    return answer[0], [self._array(*array) for array in answer[1]]
                if kind == "spent":
                    self.stop()
            except (EOFError, BrokenPipeError):
                self.stop()
                raise EndedError("truncated or corrupt (the library that reads it crashed or hung)") from None
            except BaseException:  # the rest of an answer must not be taken for the next
                self.stop()
                raise
        raise DataFormatError(answer[0] if kind == "refused" else f"truncated or corrupt ({answer[0]})")

    def _exchange(self, request: tuple[Any, ...]) -> Any:
        process = self._process = self._process or self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(request).encode() + b"\n")
        process.stdin.flush()
        line = process.stdout.readline(LONGEST_LINE)
        if not line.endswith(b"\n"):
            raise EOFError
        return json.loads(line)

    def _array(self, descr: str, shape: list[int]) -> Array:
        assert self._process is not None
        stream = cast(BufferedReader, self._process.stdout)
        with PARSING:
            dtype = np.lib.format.descr_to_dtype(ast.literal_eval(descr))
        if dtype.hasobject:
            raise EOFError
        array = np.empty(shape, dtype)
        fill(array, stream)
        return array

    def _started(self) -> subprocess.Popen[bytes]:
        """In a session of its own, away from the terminal's Ctrl-C; it ends when its input does."""
        return subprocess.Popen(
            [sys.executable, "-P", "-W", "ignore", str(self.script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OPENBLAS_NUM_THREADS": "1"},
            start_new_session=True,
        )

    @property
    def process_id(self) -> int:
        """Of the script, or of this process where it does not run."""
        return os.getpid() if self._process is None else self._process.pid

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            with process:
                pass

    def _forget(self) -> None:
        """In a forked child: the process belongs to the parent."""
        process, self._process = self._process, None
        if process is not None:
            process.returncode = 0  # not ours to wait for
            if self._lock.acquire(blocking=False):  # else a thread that is not here was using its streams
                with process:
                    pass
        self._lock = threading.Lock()
