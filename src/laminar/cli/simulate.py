"""`laminar simulate`: write a simulated data set in the fastMRI layout."""

from __future__ import annotations

import argparse
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from laminar.cli.geometry import GeometryOptions, add_geometry_options
from laminar.cli.outputs import add_overwrite, check_outputs
from laminar.cli.progress import progress
from laminar.cli.scans import parse_matrix
from laminar.errors import ConfigError
from laminar.version import __version__
from laminar.words import counted

if TYPE_CHECKING:
    from laminar.training.config import DataConfig

ANATOMIES = ("brain", "knee", "cardiac", "abstract", "mixed")


@dataclass(frozen=True)
class Options:
    out: Path
    overwrite: bool
    volumes: int
    slices: int
    anatomy: str
    matrix: str
    coils: int
    noise_std: float
    seed: int
    problems: int | None
    config: Path | None
    workers: int
    acquired: GeometryOptions


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "simulate",
        help="write simulated scans in the fastMRI layout",
        description="Write fully sampled multi-coil scans of random procedural phantoms: rasterized twice as fine as "
        "they are sampled, coils by Biot-Savart, colored complex noise.",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the files")
    add_overwrite(parser)
    parser.add_argument("--volumes", type=int, metavar="N", help="number of files (default: 10)")
    parser.add_argument("--slices", type=int, metavar="N", help="slices a file (default: 4)")
    parser.add_argument("--anatomy", choices=ANATOMIES, help="default: mixed")
    parser.add_argument("--matrix", metavar="Y,X", help="size in pixels (default: 256,256)")
    parser.add_argument("--coils", type=int, metavar="N", help="default: 8")
    parser.add_argument("--noise-std", type=float, metavar="S", help=_NOISE)
    parser.set_defaults(**_SCANS)
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    parser.add_argument("--problems", type=int, metavar="N", help=_PROBLEMS)
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings of the training that --problems are for")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes for --problems (default: 1)")
    add_geometry_options(parser)
    parser.set_defaults(run=run, options=Options)


_SCANS = {"volumes": 10, "slices": 4, "anatomy": "mixed", "matrix": "256,256", "coils": 8, "noise_std": 0.01}
_NOISE = "standard deviation per complex sample, relative to a magnetization of about one (default: 0.01)"


_PROBLEMS = (
    "write N batches of training problems instead, as the data settings of --config ask for; "
    "`laminar train --data.kind problems --data.train DIR` reads them, each time with other masks; "
    "what is there already is kept, so that an interrupted run goes on"
)


def run(options: Options) -> int:
    from laminar.data.acquisition.file import acquire_file
    from laminar.data.simulation.volume import simulate_file

    acquisition = options.acquired.acquisition()
    if options.problems is None and (options.config, options.workers) != (None, 1):
        raise ConfigError("--config and --workers are those of --problems")
    if options.problems is not None:
        if acquisition is not None:
            raise ConfigError("--problems are of Cartesian scans: leave --geometry out")
        if idle := [name for name, value in _SCANS.items() if getattr(options, name) != value]:
            raise ConfigError(
                f"the scans of --problems are those of --config: --{idle[0].replace('_', '-')} does nothing"
            )
        return _pack_problems(options, options.problems)
    matrix = parse_matrix(options.matrix)
    for option, value, least in (
        ("volumes", options.volumes, 1),
        ("slices", options.slices, 1),
        ("coils", options.coils, 1),
    ):
        if value < least:
            raise ConfigError(f"--{option} must be at least {least}; got {value}")
    if not 0 <= options.seed < 2**62:
        raise ConfigError(f"--seed must be from 0 to 2^62 - 1; got {options.seed}")
    if not 0 <= options.noise_std < float("inf"):
        raise ConfigError(f"--noise-std must be zero or positive; got {options.noise_std}")
    kind = options.anatomy if acquisition is None else f"{options.acquired.geometry}_{options.anatomy}"
    paths = [options.out / f"{kind}_{options.seed:04d}_{index:04d}.h5" for index in range(options.volumes)]
    check_outputs(options, *paths)
    with progress("simulating", len(paths)) as report:
        for index, path in enumerate(paths):
            sizes = (matrix, options.coils, options.slices)
            if acquisition is None:
                simulate_file(path, options.anatomy, *sizes, options.noise_std, options.seed, index)
            else:
                acquire_file(path, acquisition, options.anatomy, *sizes, options.noise_std, options.seed, index)
            report(index + 1)
    coils = f"{counted(options.coils, 'coil')}, " if acquisition is None or acquisition.has_coils else ""
    said = f"{counted(options.slices, 'image')}, {coils}{options.matrix}, {options.acquired.geometry}"
    print(f"{counted(options.volumes, 'simulated scan')} of {said}: {options.out}/")
    return 0


def _request_of(data: DataConfig, seed: int) -> str:
    """A hash of what decides the problems of a simulation; each record carries it."""
    told = (
        data.kind,
        data.train,
        data.mixture,
        data.simulation,
        data.sampling,
        data.batch_size,
        data.n_maps,
        seed,
        __version__,
    )
    return hashlib.sha256(repr(told).encode()).hexdigest()


def _pack_problems(options: Options, count: int) -> int:
    from laminar.data.loading import loader_of, said_plainly
    from laminar.data.packed import Packing
    from laminar.runtime import MOST_WORKERS
    from laminar.training.data import training_stream
    from laminar.training.settings import Settings

    if count < 1 or not 0 <= options.workers <= MOST_WORKERS:
        raise ConfigError(
            f"--problems must be at least 1 and --workers from 0 to {MOST_WORKERS}; got {count} and {options.workers}"
        )
    settings = ["--config", str(options.config)] if options.config else []
    settings += ["--seed", str(options.seed)]
    config = Settings.of_preset(None, settings).parse(settings)
    packing = Packing(training_stream(config), options.out, count, _request_of(config.data, config.seed))
    options.out.mkdir(parents=True, exist_ok=True)
    with progress("simulating", count) as report:
        for done, _ in enumerate(said_plainly(loader_of(packing, options.workers)), 1):
            report(done)
    size = counted(config.data.batch_size, "simulated problem")
    print(f"{counted(count, 'batch', 'batches')} of {size}: {options.out}/")
    return 0
