"""`laminar demo`: simulate a scan that the shipped model has never seen, undersample it, and reconstruct it."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from laminar.cli.outputs import add_overwrite, check_outputs
from laminar.errors import ConfigError

if TYPE_CHECKING:
    from rich.table import Table
    from torch import Tensor

    from laminar.reconstruction import Reconstruction

MATRIX, N_COILS, ACCELERATION, CALIBRATION_LINES, NOISE_STD = (224, 192), 8, 6.0, 14, 0.01
_CAPTION = "seconds with coil calibration; NFE: network evaluations; CG-SENSE: weight 0.01"


@dataclass(frozen=True)
class Options:
    out: Path
    overwrite: bool
    seed: int
    model: str
    figures: bool = True


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "demo",
        help="simulate a scan, reconstruct it with the shipped model, and draw what happened",
        description="Simulate a held-out 8-coil brain-like scan, undersample it six times, and compare zero-filled, "
        "CG-SENSE and the shipped FLAT network: a table and two figures.",
    )
    parser.add_argument("--out", type=Path, default=Path("laminar-demo"), metavar="DIR", help="default: laminar-demo")
    add_overwrite(parser)
    parser.add_argument("--seed", type=int, default=14, help="seed of the anatomy, the coils and the noise")
    parser.add_argument("--model", default="default", help="a checkpoint folder, or the one that ships: default")
    parser.add_argument("--no-figures", dest="figures", action="store_false", help="print the table alone")
    parser.set_defaults(run=run, options=Options)


def run(options: Options) -> int:
    import torch
    from rich.console import Console

    from laminar.classical import cg_sense_method, zero_filled_method
    from laminar.data.masks import make_mask
    from laminar.data.simulation import simulate_slice
    from laminar.figures import check_drawable
    from laminar.metrics import fastmri_metrics
    from laminar.models import load
    from laminar.reconstruction import reconstruct
    from laminar.runtime import keep_freed_memory

    if not 0 <= options.seed < 2**62:
        raise ConfigError(f"--seed must be from 0 to 2^62 - 1; got {options.seed}")
    if options.figures:
        check_outputs(options, *_figures(options.out))
        check_drawable("--no-figures")
    keep_freed_memory()
    methods: dict[str, Any] = {
        "zero-filled": zero_filled_method,
        "CG-SENSE": cg_sense_method,
        "FLAT": load(options.model),
    }
    generator = torch.Generator().manual_seed(options.seed)
    sample = simulate_slice("brain", MATRIX, N_COILS, NOISE_STD, generator)
    mask = make_mask("equispaced-fraction", MATRIX, ACCELERATION, CALIBRATION_LINES, options.seed)
    scan = sample.scan.undersample(mask)
    results = {name: reconstruct(scan, method) for name, method in methods.items()}
    metrics = {name: fastmri_metrics(result.magnitude, sample.target) for name, result in results.items()}
    title = f"Simulated brain, {MATRIX[0]} x {MATRIX[1]}, {N_COILS} coils, R = {scan.measured_acceleration:.1f}"
    Console().print(_table(title, results, metrics))
    if options.figures:
        _draw(options.out, title, results, sample.target, metrics)
    return 0


def _figures(out: Path) -> tuple[Path, Path]:
    return out / "comparison.png", out / "trajectory.png"


def _draw(
    out: Path,
    title: str,
    results: dict[str, Reconstruction],
    target: Tensor,
    metrics: dict[str, dict[str, float]],
) -> None:
    from laminar.figures import comparison_figure, trajectory_strip
    from laminar.metrics import fastmri_metrics

    comparison, strip = _figures(out)
    images = {name: result.image[0] for name, result in results.items()}
    comparison_figure(images, target[0], metrics, comparison, title=title)
    states, times = results["FLAT"].trajectory, results["FLAT"].times
    assert states is not None
    psnrs = [fastmri_metrics(state.abs(), target)["psnr"] for state in states]
    trajectory_strip(list(states[:, 0]), psnrs, strip, None if times is None else times.tolist())
    print(f"reference and methods with their errors: {comparison}\nthe image after each cascade: {strip}")


def _table(title: str, results: dict[str, Reconstruction], metrics: dict[str, dict[str, float]]) -> Table:
    from rich.table import Table

    table = Table(title=title, caption=_CAPTION)
    table.add_column("method")
    for heading in ("PSNR (dB)", "SSIM", "NMSE", "seconds", "NFE"):
        table.add_column(heading, justify="right")
    for name, result in results.items():
        score = metrics[name]
        scores = f"{score['psnr']:.2f}", f"{score['ssim']:.4f}", f"{score['nmse']:.5f}"
        table.add_row(name, *scores, f"{result.seconds:.2f}", str(result.nfe))
    return table
