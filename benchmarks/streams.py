"""Damage streams of the MRD protocol at random, and serve them: each ends with an answer, none crashes or hangs.

    python -m benchmarks.streams --count 100000 [--minutes 15]

Stream number n is the same on every machine (benchmarks/numbered.py). A session counts as broken if it raises, says
nothing, does not end with CLOSE, takes more than `LONGEST` seconds, or leaves a thread; the last of `BATCH` sessions
if the process holds more than `MOST_MEMORY` after it.
"""

from __future__ import annotations

import io
import logging
import os
import random
import sys
import threading
import time
from collections.abc import Iterator

from benchmarks.mrd_streams import closing, opening, slices
from benchmarks.mutants import damage, peak
from benchmarks.numbered import End, run
from laminar.methods import as_method
from laminar.server import wire
from laminar.server.limits import Limits
from laminar.server.session import Service, Session

LONGEST, PATIENCE, MOST_MEMORY, BATCH = 60.0, 10.0, 2**31, 200
SERVICE = Service({"zero": as_method(lambda problem: [problem.operator.adjoint(problem.y)], "zero")}, Limits(idle=5))
PARAMETERS = '{"version": "1", "parameters": {"method": "network", "samples": "0"}}'


def original() -> bytes:
    return opening(16, PARAMETERS) + b"".join(slices(16, 2, 2, acceleration=2, calibration=8)) + closing()


def end_of(stream: bytes) -> str:
    """How the session of a stream ended: "images", "some images", "refused", or "broken" and why."""
    sink, threads = io.BytesIO(), threading.active_count()
    session = Session(SERVICE, io.BytesIO(stream), sink)
    failed: list[BaseException] = []

    def serve() -> None:
        try:
            session.run()
        except BaseException as error:
            failed.append(error)

    worker = threading.Thread(target=serve, daemon=True)
    worker.start()
    worker.join(LONGEST)
    if worker.is_alive():
        return f"broken: no end after {LONGEST:g} s"
    if failed:
        return f"broken: {type(failed[0]).__name__}: {str(failed[0])[:200]}"
    until = time.monotonic() + PATIENCE  # a thread that has told its result may still be on its way out
    while threading.active_count() > threads and time.monotonic() < until:
        time.sleep(0.01)
    if threading.active_count() > threads:
        return f"broken: {threading.active_count() - threads} threads are left"
    return _answer(sink.getvalue())


def _answer(data: bytes) -> str:
    reader, kinds, lines = wire.Reader(io.BytesIO(data), Limits()), [], []
    while (message := reader.read()) is not None:
        kinds.append(message.kind)
        lines += [message.value] if message.kind == wire.TEXT_MESSAGE else []
    if not kinds or kinds[-1] != wire.CLOSE:
        return "broken: no CLOSE"
    if wire.IMAGE not in kinds:
        return "refused" if lines else "broken: no word"
    return "images" if kinds.count(wire.IMAGE) >= 2 else "some images"


def damaged(number: int, whole: bytes) -> bytes:
    """Stream number n: half of them cut, or with bytes inserted, or from a random place of the protocol on."""
    chance = random.Random(number)
    stream = damage(whole, chance)
    match chance.randrange(8):
        case 0:
            return stream[: chance.randrange(len(stream) + 1)]
        case 1:
            at = chance.randrange(len(stream) + 1)
            return stream[:at] + chance.randbytes(chance.choice((1, 2, 8, 400))) + stream[at:]
        case 2:
            return stream + whole[chance.randrange(len(whole)) :]
        case _:
            return stream


def attack(numbers: range) -> Iterator[End]:
    """The ends of the streams of a range; the memory that they left behind is charged to the last of a batch."""
    whole = original()
    for number in numbers:
        end = end_of(damaged(number, whole))
        held = peak(os.getpid()) if number % BATCH == BATCH - 1 or number == numbers[-1] else 0
        yield End(number, "MRD", f"broken: {held} bytes" if held > MOST_MEMORY else end)


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    sys.exit(run("streams", __doc__, attack, {}))
