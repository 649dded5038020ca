"""Damage streams of the MRD protocol at random, and serve them: each ends with an answer, none crashes or hangs.

    python -m benchmarks.streams --count 100000 [--minutes 15]

Stream number n is the same on every machine: another run goes on where one ended, and results/streams.json keeps what
all found. A session counts as broken if it raises, says nothing, does not end with CLOSE, takes more than `LONGEST`
seconds, or leaves a thread; a range of `BATCH` sessions if the process holds more than `MOST_MEMORY` afterwards.
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import os
import random
import sys
import threading
import time
from collections import Counter
from pathlib import Path

from benchmarks.mrd_streams import closing, opening, slices
from benchmarks.mutants import damage, peak
from benchmarks.record import RESULTS, header
from laminar.files import write_json
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


def run(first: int, count: int, until: float) -> tuple[Counter[str], list[str], int]:
    """How the streams of a range ended, what broke, and the number of the first that was not tried."""
    whole, counts, broken, number = original(), Counter[str](), list[str](), first
    while number < first + count and time.monotonic() < until:
        for at in range(number, min(number + BATCH, first + count)):
            end = end_of(damaged(at, whole))
            counts[end.split(":")[0]] += 1
            broken += [f"stream {at}: {end}"] if end.startswith("broken") else []
            number = at + 1
        if (held := peak(os.getpid())) > MOST_MEMORY:
            broken.append(f"streams before {number}: {held} bytes")
    return counts, broken, number


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--first", type=int, help="number of the first stream; default: where the last run ended")
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--out", type=Path, default=RESULTS / "streams.json")
    args = parser.parse_args(arguments)
    logging.disable(logging.CRITICAL)
    before = json.loads(args.out.read_text()) if args.first is None and args.out.exists() else {}
    first = args.first or before.get("next", 0)
    counts, broken, following = run(first, args.count, time.monotonic() + 60 * args.minutes)
    counts.update(before.get("counts", {}))
    broken = before.get("broken", []) + broken
    found = {"next": following, "streams": counts.total(), "broken": broken, "counts": dict(sorted(counts.items()))}
    write_json(args.out, header() | found)
    print(f"{counts.total()} streams, {len(broken)} broke something: {args.out}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
