"""`laminar export`: a trained network as a program that runs without this package."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from laminar.cli.outputs import add_overwrite, check_outputs
from laminar.cli.progress import progress
from laminar.cli.scans import ScanOptions, add_scan_options

if TYPE_CHECKING:
    from laminar.data.preparation import Problem

_KINDS = ("pt2", "onnx", "aoti")


@dataclass(frozen=True)
class Options:
    model: str
    to: str
    out: Path
    scan: Path | None
    overwrite: bool
    source: ScanOptions


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "export",
        help="write a network as torch.export, ONNX or AOTInductor program",
        description="Write the network as a function of k-space, mask, sensitivities and noise level that runs without "
        "this package, for any number of coils and any size. It is written only if its image of a scan is that of the "
        "network. docs/scanner.md",
    )
    parser.add_argument("model", metavar="MODEL", help="a checkpoint folder, or the name of a model that ships")
    parser.add_argument("--to", choices=_KINDS, default="pt2", help=_TO)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    parser.add_argument("--scan", type=Path, metavar="SCAN", help="to compare on (default: a simulated slice)")
    add_overwrite(parser)
    add_scan_options(parser)
    parser.set_defaults(run=run, options=Options)


_TO = (
    "torch.export (default), ONNX (extra onnx), or a library that AOTInductor compiles for this machine; the latter "
    "two take minutes"
)


def run(options: Options) -> int:
    from laminar.errors import ConfigError
    from laminar.export import ROUTES, STAGES, write
    from laminar.methods import open_model
    from laminar.models import UnrolledNetwork

    check_outputs(options, options.out)
    suffix = Path(f"a{ROUTES[options.to].ending}").suffix
    if options.out.suffix != suffix:
        raise ConfigError(f"--to {options.to} writes a file that ends in {suffix}; got {options.out.name}")
    network = open_model(options.model).module
    if not isinstance(network, UnrolledNetwork):
        raise ConfigError(f"{options.model}: only unrolled networks can be exported; got {type(network).__name__}")
    test = _simulated((97, 80), 5) if options.scan is None else _first_slice(options, options.scan)
    print(f"{options.model} as {options.to}: {', '.join(STAGES)} takes minutes", flush=True)
    with progress(f"{options.model} as {options.to}", len(STAGES)) as report:
        difference = write(network, options.to, options.out, _simulated((64, 48), 4), test, report)
    print(f"written to {options.out}; its image differs from the network's by {difference:.1e}")
    return 0


def _simulated(shape: tuple[int, int], coils: int) -> Problem:
    import torch

    from laminar.data.masks import make_mask
    from laminar.data.preparation import prepare
    from laminar.data.simulation import simulate_slice

    scan = simulate_slice("brain", shape, coils, 0.01, torch.Generator().manual_seed(0)).scan
    return prepare(scan.undersample(make_mask("equispaced", shape, 4, 14, 0)))


def _first_slice(options: Options, path: Path) -> Problem:
    from laminar.data.preparation import prepare, without_oversampling

    return prepare(without_oversampling(options.source.stream(path).slice(0)))
