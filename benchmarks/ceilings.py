"""How close `A^H A` and the U-Net come to what this machine reaches on plain work.

    python -m benchmarks.ceilings [--rounds 7] [--device cuda]

Ceilings: a 3 x 3 convolution 64 -> 64 at 160 x 160 in channels-last layout, a matrix product of 2048, a batch of 4800
Fourier transforms of length 320 (they fit no cache), and a copy of 256 MB; the best of the rounds, by processor
seconds on a CPU. Floating-point operations by formula: 2 a multiplication and addition, 5 n log2 n a transform, 6 a
complex product. Bytes: what must move if nothing is read or written twice.
"""

from __future__ import annotations

import argparse
import math
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from benchmarks.operators import Task, take_turns
from benchmarks.record import write_record
from benchmarks.varnet import COILS, SIZE, scan
from laminar.data.preparation import prepare
from laminar.models import load
from laminar.operators import Encoding
from laminar.runtime import keep_freed_memory

COPY_BYTES = 256 * 2**20


def ceilings(device: str) -> dict[str, tuple[Task, float, float]]:
    """Task, floating-point operations, bytes."""
    convolution = nn.Conv2d(64, 64, 3, padding=1, bias=False, device=device)
    convolution.weight.data = convolution.weight.data.contiguous(memory_format=torch.channels_last)
    features = torch.randn(1, 64, 160, 160, device=device).contiguous(memory_format=torch.channels_last)
    matrix = torch.randn(2048, 2048, device=device)
    lines = torch.randn(COILS * SIZE, SIZE, dtype=torch.complex64, device=device)
    block = torch.empty(COPY_BYTES, dtype=torch.uint8, device=device)
    target = torch.empty_like(block)
    return {
        "convolution": (lambda: convolution(features), 2 * 9 * 64 * 64 * 160 * 160, 2 * features.nbytes),
        "matrix product": (lambda: matrix @ matrix, 2 * 2048**3, 3 * matrix.nbytes),
        "FFT": (lambda: torch.fft.fft(lines), len(lines) * transform(SIZE), 2 * lines.nbytes),
        "copy": (lambda: target.copy_(block), 0, 2 * COPY_BYTES),
    }


def transform(n: int) -> float:
    return 5 * n * math.log2(n)


def parts(device: str) -> dict[str, tuple[Task, float, float]]:
    problem, network = prepare(scan()).to(device), load().to(device)
    operator, unet = Encoding(problem.encoding.mask, problem.encoding.sensitivities), network.regularizers[0]
    image, time = operator.adjoint(problem.y), torch.ones(1, device=device)
    pixels = COILS * SIZE * SIZE
    gram = 2 * COILS * SIZE * transform(SIZE) + pixels * (6 + 2 + 6 + 2)
    weights = sum(p.nbytes for p in unet.parameters())
    return {
        "A^H A": (lambda: operator.gram(image), gram, problem.encoding.sensitivities.nbytes + 2 * image.nbytes),
        "U-Net": (lambda: unet(image, time), convolutions(unet, image, time), weights + 2 * image.nbytes),
    }


def convolutions(network: nn.Module, image: Tensor, time: Tensor) -> float:
    """Floating-point operations of all convolutions in one evaluation."""
    total = 0.0

    def count(layer: nn.Module, _: Any, out: Tensor) -> None:
        nonlocal total
        assert isinstance(layer, nn.Conv2d)
        total += 2 * out.numel() * layer.weight[0].numel()

    hooks = [m.register_forward_hook(count) for m in network.modules() if isinstance(m, nn.Conv2d)]
    network(image, time)
    for hook in hooks:
        hook.remove()
    return total


def rates(works: dict[str, tuple[Task, float, float]], rounds: int, device: str) -> dict[str, dict[str, float]]:
    key = "processor_seconds" if device == "cpu" else "seconds"
    found = take_turns({name: work[0] for name, work in works.items()}, rounds, device)
    best = {name: min(turn[key] for turn in turns) for name, turns in found.items()}
    return {
        name: {
            "seconds": best[name],
            "gflop": flop / 1e9,
            "gflop_per_second": flop / best[name] / 1e9,
            "gb_per_second": nbytes / best[name] / 1e9,
        }
        for name, (_, flop, nbytes) in works.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    args = parser.parse_args()
    keep_freed_memory()
    with torch.inference_mode():
        found = rates(ceilings(args.device) | parts(args.device), args.rounds, args.device)
    for name, ceiling in (("A^H A", "FFT"), ("U-Net", "convolution")):
        found[name]["of_ceiling"] = found[name]["gflop_per_second"] / found[ceiling]["gflop_per_second"]
        found[name]["of_copy"] = found[name]["gb_per_second"] / found["copy"]["gb_per_second"]
    view = Table("work", "ms", "GFLOP/s", "GB/s", "of its ceiling", "of the copy")
    for name, row in found.items():
        shares = [f"{row[k]:.2f}" if k in row else "" for k in ("of_ceiling", "of_copy")]
        rate, moved = row["gflop_per_second"], row["gb_per_second"]
        view.add_row(name, f"{row['seconds'] * 1e3:.2f}", f"{rate:.1f}", f"{moved:.1f}", *shares)
    Console(width=100).print(view)
    where = torch.cuda.get_device_name() if args.device == "cuda" else "processor seconds"
    print(write_record("ceilings" if args.device == "cpu" else "ceilings_cuda", {"device": where, "rates": found}))


if __name__ == "__main__":
    main()
