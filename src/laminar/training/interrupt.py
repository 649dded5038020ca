"""Stopping between two steps."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

PATIENCE = 1.0
"""Seconds within which a second signal is the same request: `timeout` signals a process and then its group."""


@contextmanager
def stop_on_interrupt() -> Iterator[threading.Event]:
    """Ctrl-C (and SIGTERM) sets the event instead of breaking into a step; a later one breaks."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    asked = 0.0

    def request(number: int, frame: Any) -> None:
        nonlocal asked
        if not event.is_set():
            asked = time.monotonic()
            event.set()
        elif time.monotonic() > asked + PATIENCE:
            signal.signal(number, handlers[signal.Signals(number)])
            signal.raise_signal(number)

    for number in handlers:
        signal.signal(number, request)
    try:
        yield event
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
