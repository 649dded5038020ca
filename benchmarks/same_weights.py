"""The `fastmri` package's VarNet and ours with the same weights: seconds and peak memory of a slice and of a step.

    python -m benchmarks.same_weights [--rounds 5] [--device cuda] [--only inference]

One simulated slice, 15 coils, 320 x 320; 12 cascades of 18 channels, 4 pools, sensitivity network of 8 channels.
Each measurement is a process of its own, and they take turns; a ratio compares two of the same round. A step is
forward, backward and Adam. Memory is the peak over what the process held with network and data in place (resident
set, or what torch allocated on a CUDA device). Beside the seconds of the clock stand those of the processor, summed
over threads: on a machine with other work, run with OMP_NUM_THREADS=1 and believe those. "kept" is
`laminar.runtime.keep_freed_memory`, which either package may ask for; the ratios are to fastmri with it.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.record import write_record
from benchmarks.varnet import CALIBRATION_LINES, COILS, SIZE, resident, scan
from laminar.models.varnet import VarNet
from laminar.runtime import keep_freed_memory

VARIANTS = {
    "inference": ["fastmri", "fastmri, kept", "Laminar", "Laminar, kept"],
    "training": ["fastmri", "fastmri, kept", "Laminar, kept", "Laminar, kept, checkpoint"],
}
BASE = "fastmri, kept"
REPEATS = {"inference": 3, "training": 2}


def network_and_data(variant: str, device: str) -> tuple[torch.nn.Module, tuple[Any, ...], Tensor]:
    """The network, its arguments, and the image that it is trained towards."""
    from fastmri.models import VarNet as Published

    torch.manual_seed(0)
    network = Published(num_cascades=12, sens_chans=8, sens_pools=4, chans=18, pools=4)
    acquisition = scan()
    kspace, lines = acquisition.kspace.to(device), acquisition.mask[:1].to(device)
    kspace = kspace / kspace.abs().max()
    target = torch.zeros(1, SIZE, SIZE, device=device)
    if variant.startswith("Laminar"):
        network = VarNet.from_fastmri(network.state_dict())
        arguments = (kspace, lines.expand(1, SIZE, -1), CALIBRATION_LINES, "checkpoint" in variant)
        return network.to(device), arguments, target
    channels = torch.view_as_real(kspace).contiguous()
    return network.to(device), (channels, lines.view(1, 1, 1, SIZE, 1), CALIBRATION_LINES), target


def task(name: str, network: torch.nn.Module, arguments: tuple[Any, ...], target: Tensor) -> Callable[[], Any]:
    if name == "inference":
        return torch.inference_mode()(lambda: network(*arguments))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)

    def step() -> None:
        optimizer.zero_grad()
        (network(*arguments) - target).square().sum().backward()
        optimizer.step()

    return step


def measure(name: str, variant: str, device: str) -> dict[str, float]:
    """Least seconds of a few runs after one to warm up, and the peak memory of all."""
    if "kept" in variant:
        keep_freed_memory()
    run = task(name, *network_and_data(variant, device))
    peak = start_peak(device)
    run()
    clock, processor = [], []
    for _ in range(REPEATS[name]):
        wait(device)
        start, start_processor = time.perf_counter(), time.process_time()
        run()
        wait(device)
        clock.append(time.perf_counter() - start)
        processor.append(time.process_time() - start_processor)
    return {"seconds": min(clock), "processor_seconds": min(processor), "memory_mb": peak()}


def wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def start_peak(device: str) -> Callable[[], float]:
    """Begin to watch the peak; the function returned reads it, in MB over what is held now."""
    gc.collect()
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
        return lambda: (torch.cuda.max_memory_allocated() - held) / 2**20
    ctypes.CDLL(None).malloc_trim(0)  # what building the network has freed is not to be had for nothing
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    return lambda: resident("VmHWM") - before


def compare(device: str) -> dict[str, float]:
    """How far the images and the gradients of the two are apart, relative to theirs."""
    images, gradients = [], []
    for variant in ("fastmri", "Laminar"):
        network, arguments, target = network_and_data(variant, device)
        image = network(*arguments)
        (image - target).square().sum().backward()
        images.append(image.detach())
        found = {name: parameter.grad for name, parameter in network.named_parameters()}
        if variant == "fastmri":
            found = dict(VarNet.from_fastmri(found).to(device).named_parameters())
        gradients.append(torch.cat([found[name].detach().flatten() for name in sorted(found)]))
    return {
        "image_max": furthest(images), "image_l2": distance(images),
        "gradient_max": furthest(gradients), "gradient_l2": distance(gradients),
    }  # fmt: skip


def furthest(pair: list[Tensor]) -> float:
    return float((pair[1] - pair[0]).abs().max() / pair[0].abs().max())


def distance(pair: list[Tensor]) -> float:
    return float((pair[1] - pair[0]).norm() / pair[0].norm())


def child(device: str, *arguments: str) -> dict[str, float]:
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.same_weights", "--device", device, "--one", *arguments]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found: dict[str, float] = json.loads(output.splitlines()[-1])
    return found


def summary(rounds: dict[str, list[dict[str, float]]], name: str, key: str) -> dict[str, list[float]]:
    """Median, least and greatest of a quantity and of its ratio to the base in the same round."""
    values = [found[key] for found in rounds[name]]
    ratios = [value / base[key] for value, base in zip(values, rounds[BASE], strict=True)]
    return {k: [statistics.median(v), min(v), max(v)] for k, v in ((key, values), (f"{key}_ratio", ratios))}


QUANTITIES = {"seconds": 2, "processor_seconds": 2, "memory_mb": 0}


def show(name: str, table: dict[str, dict[str, list[float]]], device: str) -> None:
    where = f"{torch.get_num_threads()} threads" if device == "cpu" else torch.cuda.get_device_name()
    columns = [column for quantity in QUANTITIES for column in (quantity.replace("_", " "), "ratio")]
    view = Table(
        "network", *columns, title=f"{name}, {COILS} coils, {SIZE} x {SIZE}, {where}: median (least to greatest)"
    )
    for variant, row in table.items():
        cells = [(row[q], d) for q, digits in QUANTITIES.items() for q, d in ((q, digits), (f"{q}_ratio", 2))]
        view.add_row(variant, *(f"{m:.{d}f} ({a:.{d}f} to {b:.{d}f})" for (m, a, b), d in cells))
    Console(width=160).print(view)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--only", choices=VARIANTS)
    parser.add_argument("--one", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(compare(args.device) if args.one == ["compare"] else measure(*args.one, args.device)))
        return
    results: dict[str, Any] = {"device": args.device, "difference": child(args.device, "compare")}
    print(results["difference"])
    for name in [args.only] if args.only else VARIANTS:
        rounds: dict[str, list[dict[str, float]]] = {variant: [] for variant in VARIANTS[name]}
        for _ in range(args.rounds):
            for variant, found in rounds.items():
                found.append(child(args.device, name, variant))
        table = {v: {k: x for q in QUANTITIES for k, x in summary(rounds, v, q).items()} for v in rounds}
        show(name, table, args.device)
        results[name] = {"summary": table, "rounds": rounds}
    print(write_record("same_weights" if args.device == "cpu" else "same_weights_cuda", results))


if __name__ == "__main__":
    main()
