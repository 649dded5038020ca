"""The server as a scanner sees it: time from the last readout of a slice to its image, readouts a second, memory.

    python -m benchmarks.latency [--model default] [--size 256] [--coils 8] [--slices 40] [--scans 1000]

A server of its own is started for each part. `latency`: slices of one simulated scan, each sent when the image of the
one before has come. `readouts`: one connection, zero-filled images. `memory`: that many small scans one after another,
each a connection of its own, and what the server's process holds (resident) on the way.
"""

from __future__ import annotations

import argparse
import os
import re
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.mrd_streams import closing, opening, slices
from benchmarks.record import write_record
from laminar.server import wire
from laminar.server.limits import Limits

WARM = 20  # scans before memory is looked at


@contextmanager
def serving(model: str) -> Iterator[tuple[tuple[str, int], int]]:
    """The address of a server, and its process."""
    line = [sys.executable, "-m", "laminar", "serve", "--port", "0", "--model", model, "--deadline", "300"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        found = re.search(r"at ([\d.]+):(\d+)", process.stdout.readline())
        assert found is not None, "the server did not start"
        try:
            yield (found[1], int(found[2])), process.pid
        finally:
            process.terminate()


def images(reader: wire.Reader, count: int | None = None) -> list[Any]:
    """The next so many images, or all until CLOSE."""
    found: list[Any] = []
    while count is None or len(found) < count:
        message = reader.read()
        if message is None or message.kind == wire.CLOSE:
            break
        found += [message.value] if message.kind == wire.IMAGE else []
    return found


def exchange(address: tuple[str, int], stream: bytes) -> list[Any]:
    with socket.create_connection(address, 600) as connection:
        connection.sendall(stream)
        return images(wire.Reader(connection.makefile("rb"), Limits()))


def latency(args: argparse.Namespace) -> dict[str, Any]:
    waits, works = [], []
    with serving(args.model) as (address, _), socket.create_connection(address, 600) as connection:
        reader = wire.Reader(connection.makefile("rb"), Limits())
        connection.sendall(opening(args.size))
        for readouts in slices(args.size, args.coils, args.slices):
            connection.sendall(readouts)
            sent = time.perf_counter()
            (image,) = images(reader, 1)
            waits.append(time.perf_counter() - sent)
            works.append(float(image.meta["LaminarSeconds"]))
        connection.sendall(closing())
    extra = [wait - work for wait, work in zip(waits, works, strict=True)]
    return {
        "slices": args.slices,
        "seconds_median": statistics.median(waits),
        "seconds_p99": sorted(waits)[int(0.99 * (len(waits) - 1))],
        "reconstruction_seconds_median": statistics.median(works),
        "beside_the_reconstruction_median": statistics.median(extra),
    }


def throughput(args: argparse.Namespace) -> dict[str, Any]:
    readouts = list(slices(args.size, args.coils, 4))
    repeated = opening(args.size, '{"method": "zero-filled"}') + b"".join(readouts) + closing()
    with serving(args.model) as (address, _):
        exchange(address, repeated)
        started = time.perf_counter()
        found = exchange(address, repeated)
        seconds = time.perf_counter() - started
    lines = len({k for k in range(args.size) if k % 4 == 0 or abs(k - args.size // 2) < 7})
    return {
        "images": len(found),
        "readouts_per_second": 4 * lines / seconds,
        "bytes_per_second": len(repeated) / seconds,
    }


def memory(args: argparse.Namespace) -> dict[str, Any]:
    stream = opening(64, '{"method": "cg-sense"}') + next(iter(slices(64, 4, 1))) + closing()
    held: list[int] = []
    with serving(args.model) as (address, process):
        for scan in range(WARM + args.scans):
            assert len(exchange(address, stream)) == 1
            if scan >= WARM and (scan - WARM) % max(1, args.scans // 10) == 0:
                held.append(resident(process))
        held.append(resident(process))
    return {"scans": args.scans, "resident_bytes": held, "growth_bytes": held[-1] - held[0]}


def resident(process: int) -> int:
    status = Path(f"/proc/{process}/status").read_text()
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="default")
    for name, default in {"size": 256, "coils": 8, "slices": 40, "scans": 1000}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args(arguments)
    found = {"size": args.size, "coils": args.coils, "load_average": os.getloadavg()[0], "latency": latency(args)}
    found |= {"readouts": throughput(args), "memory": memory(args)}
    path = write_record("latency", found, args.out)
    print(f"{found['latency']}\n{found['readouts']}\n{found['memory']}\n{path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
