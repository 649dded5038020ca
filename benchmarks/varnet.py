"""One 15-coil 320 x 320 slice: the FLAT preset beside the `fastmri` package's VarNet, seconds and peak memory.

    python -m benchmarks.varnet [--rounds 5]

Each measurement is a process of its own; the two take turns. Both get the same k-space (random weights do not change
the time of VarNet). VarNet: 12 cascades, 18 channels, 4 pools, with its sensitivity network. FLAT: the shipped
model, with its coil calibration (ESPIRiT) and noise estimate. Memory: peak resident set over what it was with all
imports and inputs in place.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.record import write_record

COILS, SIZE, CALIBRATION_LINES, ACCELERATION, REPEATS = 15, 320, 26, 4.0, 3


def resident(key: str) -> float:
    """`VmRSS` (now) or `VmHWM` (peak) of this process, in MB."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return float(line.split()[1]) / 1024


def timed(run: Any) -> dict[str, float]:
    """Least seconds of `REPEATS` runs after one to warm up, and the peak memory of that first one."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = resident("VmRSS")
    run()
    memory = resident("VmHWM") - before
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return {"seconds": min(seconds), "memory_mb": memory}


def scan() -> Any:
    from laminar.data.masks import make_mask
    from laminar.data.simulation import simulate_slice

    simulated = simulate_slice("brain", (SIZE, SIZE), COILS, 0.01, torch.Generator().manual_seed(0))
    mask = make_mask("equispaced-fraction", (SIZE, SIZE), ACCELERATION, CALIBRATION_LINES, 0)
    return simulated.scan.undersample(mask)


@torch.inference_mode()
def measure_fastmri() -> dict[str, float]:
    from fastmri.models import VarNet

    acquisition = scan()
    network = VarNet(num_cascades=12, pools=4, chans=18).eval()
    kspace = torch.view_as_real(acquisition.kspace).contiguous()
    mask = acquisition.mask[:1, :].reshape(1, 1, 1, SIZE, 1)
    return timed(lambda: network(kspace, mask, CALIBRATION_LINES)) | parameters(network)


def measure_flat() -> dict[str, float]:
    from laminar.models import load
    from laminar.reconstruction import reconstruct
    from laminar.runtime import keep_freed_memory

    keep_freed_memory()
    acquisition, network = scan(), load()
    return timed(lambda: reconstruct(acquisition, network, keep_trajectory=False)) | parameters(network)


def measure_flat_network() -> dict[str, float]:
    from laminar.data.preparation import prepare
    from laminar.models import load
    from laminar.runtime import keep_freed_memory

    keep_freed_memory()
    problem, network = prepare(scan()), load()
    with torch.inference_mode():
        return timed(lambda: network(problem.y, problem.operator, problem.noise_level)) | parameters(network)


def parameters(network: torch.nn.Module) -> dict[str, float]:
    return {"parameters": sum(p.numel() for p in network.parameters())}


MEASURES = {
    "fastmri VarNet": measure_fastmri,
    "FLAT with calibration": measure_flat,
    "FLAT, network alone": measure_flat_network,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--one", choices=MEASURES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(MEASURES[args.one]()))
        return
    found: dict[str, list[dict[str, float]]] = {name: [] for name in MEASURES}
    for _ in range(args.rounds):
        for name, rounds in found.items():
            command = [sys.executable, "-W", "ignore", "-m", "benchmarks.varnet", "--one", name]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            rounds.append(json.loads(output.splitlines()[-1]))
    view = Table(title=f"One slice, {COILS} coils, {SIZE} x {SIZE}, {torch.get_num_threads()} threads")
    for column in (
        "network",
        "parameters",
        "seconds: median (min to max)",
        "memory (MB)",
        "time ratio",
        "memory ratio",
    ):
        view.add_column(column)
    medians = {n: {k: statistics.median(r[k] for r in rs) for k in rs[0]} for n, rs in found.items()}
    base = medians["fastmri VarNet"]
    for name, rounds in found.items():
        seconds, row = [r["seconds"] for r in rounds], medians[name]
        view.add_row(
            name, f"{row['parameters']:,.0f}", f"{row['seconds']:.2f} ({min(seconds):.2f} to {max(seconds):.2f})",
            f"{row['memory_mb']:.0f}", f"{row['seconds'] / base['seconds']:.2f}",
            f"{row['memory_mb'] / base['memory_mb']:.2f}",
        )  # fmt: skip
    Console(width=130).print(view)
    print(write_record("varnet", {"rounds": found, "medians": medians}))


if __name__ == "__main__":
    main()
