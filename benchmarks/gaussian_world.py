"""A world in which the answer is known: simulate, train by FLAT, reconstruct, compare with the exact posterior mean.

    python -m benchmarks.gaussian_world [--steps 4000]

Images of 8 x 8 complex Gaussian pixels with a smooth covariance, one coil, every second line, noise. The network has
three unshared cascades with the proximal data step and linear regularizers, trained with the L2 loss by the training
loop of the library on a growing number of samples. With L2 its optimum is the posterior mean; what remains is the
error of a finite sample, which falls with its square root.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.record import write_record
from laminar.runtime import keep_freed_memory
from laminar.theory.learned import distance_from_the_mean, fit_network
from laminar.theory.world import GaussianWorld


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 16, 64, 256, 1024])
    args = parser.parse_args()
    keep_freed_memory()
    world, rows = GaussianWorld(), []
    view = Table(title="Deviation from the exact posterior mean, relative")
    for column in ("samples", "alignment", "image", "times sqrt(samples)", "states from the line, source first"):
        view.add_column(column)
    for batches in args.batches:
        for alignment in (0.0, 1.0):
            network = fit_network(world, batches, args.steps, alignment, Path("runs/gaussian"))
            image, states = distance_from_the_mean(network, replace(world, seed=2))
            samples = batches * world.batch_size
            rows.append({"samples": samples, "alignment": alignment, "deviation": image, "states": states})
            view.add_row(
                f"{samples:,}", f"{alignment:g}", f"{image:.5f}", f"{image * math.sqrt(samples):.2f}",
                " ".join(f"{value:.4f}" for value in states),
            )  # fmt: skip
            print(f"{samples:,} samples, alignment {alignment:g}: {image:.5f}", flush=True)
    Console(width=130).print(view)
    print(write_record("gaussian_world", {"steps": args.steps, "batch": world.batch_size, "results": rows}))


if __name__ == "__main__":
    main()
