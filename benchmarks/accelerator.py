"""The model that ships on an accelerator beside the processor: seconds a slice, and how far the images are apart.

    python -m benchmarks.accelerator [--device cuda] [--slices 8] [--rounds 3]

One simulated slice of 15 coils, 320 x 320, R = 4, many times over: as volumes with their calibration, and the network
alone, a slice and a batch at a time. The processor takes part with all of its threads, and a batch of one.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.record import markdown, write_record
from benchmarks.varnet import scan
from laminar.data.preparation import Problem, prepare
from laminar.models import Network, load
from laminar.reconstruction import reconstruct
from laminar.scan import Scan


def repeated(one: Scan, slices: int) -> Scan:
    return one.with_kspace(one.kspace.expand(slices, -1, -1, -1).contiguous())


def seconds(run: Callable[[], Tensor], rounds: int) -> tuple[float, Tensor]:
    """Least seconds of some runs after one to warm up, and the result; a copy to the processor waits for the device."""
    image = run().cpu()
    taken = []
    for _ in range(rounds):
        started = time.perf_counter()
        image = run().cpu()
        taken.append(time.perf_counter() - started)
    return min(taken), image


def volume(network: Network, one: Scan, slices: int, device: str, rounds: int) -> tuple[float, Tensor]:
    """Seconds a slice from k-space to image, calibration included, and the first image."""
    scans = repeated(one, slices)
    taken, images = seconds(lambda: reconstruct(scans, network, keep_trajectory=False, device=device).image, rounds)
    return taken / slices, images[0]


@torch.inference_mode()
def alone(network: Network, one: Scan, slices: int, device: str, rounds: int) -> float:
    """Seconds a slice of the network, the problem being on the device."""
    problem: Problem = prepare(repeated(one, slices)).to(device)
    network.to(device)
    return seconds(lambda: network(problem.y, problem.operator, problem.noise_level), rounds)[0] / slices


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--slices", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    one, network = scan(), load()
    name = torch.cuda.get_device_name() if args.device == "cuda" else args.device
    rows, images = {}, {}
    for label, device, slices in ((platform.machine(), "cpu", 1), (name, args.device, args.slices)):
        whole, images[label] = volume(network, one, slices, device, args.rounds)
        counts = dict.fromkeys((1, slices))
        alones = {f"network, {count} at once": alone(network, one, count, device, args.rounds) for count in counts}
        rows[label] = {"volume": whole, **alones}
    reference, other = images.values()
    distance = float((reference - other).norm() / reference.norm())
    path = write_record("accelerator", {"slices": args.slices, "rows": rows, "distance": distance}, args.out)
    lines = ([k, *(f"{row[c]:.3f}" if c in row else "" for c in rows[name])] for k, row in rows.items())
    print(markdown(("seconds a slice", *rows[name]), lines), f"images apart by {distance:.1e}: {path}")


if __name__ == "__main__":
    main()
