"""`laminar simulate`: write a simulated data set in the fastMRI layout."""

from __future__ import annotations

import argparse
from pathlib import Path

from laminar.cli.outputs import add_overwrite, check_outputs
from laminar.errors import ConfigError

ANATOMIES = ("brain", "knee", "cardiac", "abstract", "mixed")
SEED_STRIDE = 1_000_003


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "simulate",
        help="write simulated scans in the fastMRI layout",
        description="Write fully sampled multi-coil scans of random procedural phantoms: rasterized twice as fine as "
        "they are sampled, coils by Biot-Savart, colored complex noise whose covariance is in the file.",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the files")
    add_overwrite(parser)
    parser.add_argument("--volumes", type=int, default=10, metavar="N", help="number of files (default: 10)")
    parser.add_argument("--slices", type=int, default=4, metavar="N", help="slices a file (default: 4)")
    parser.add_argument("--anatomy", choices=ANATOMIES, default="mixed", help="default: mixed")
    parser.add_argument("--matrix", default="256,256", metavar="Y,X", help="size in pixels (default: 256,256)")
    parser.add_argument("--coils", type=int, default=8, metavar="N", help="default: 8")
    parser.add_argument("--noise-std", type=float, default=0.01, metavar="S", help=_NOISE)
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    parser.add_argument("--problems", type=int, metavar="N", help=_PROBLEMS)
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings of the training that --problems are for")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes for --problems (default: 1)")
    parser.set_defaults(run=run)


_NOISE = "standard deviation per complex sample, relative to a magnetization of about one (default: 0.01)"


_PROBLEMS = (
    "write N batches of training problems instead, as the data settings of --config ask for; "
    "`laminar train --data.kind problems --data.train DIR` reads them, each time with other masks; "
    "what is there already is kept, so that an interrupted run goes on"
)


def run(args: argparse.Namespace) -> int:
    from rich.progress import track

    from laminar.data.simulation.volume import simulate_file

    if args.problems is not None:
        return _pack_problems(args)
    matrix = parse_matrix(args.matrix)
    for option, value, least in (
        ("volumes", args.volumes, 1),
        ("slices", args.slices, 1),
        ("coils", args.coils, 1),
    ):
        if value < least:
            raise ConfigError(f"--{option} must be at least {least}; got {value}")
    # Seeds of neighboring runs must not share volumes.
    first_seed = args.seed * SEED_STRIDE
    if not 0 <= first_seed < 2**62:
        raise ConfigError(f"--seed must be from 0 to {(2**62 - 1) // SEED_STRIDE}; got {args.seed}")
    if not 0 <= args.noise_std < float("inf"):
        raise ConfigError(f"--noise-std must be zero or positive; got {args.noise_std}")
    paths = [args.out / f"{args.anatomy}_{args.seed:04d}_{index:04d}.h5" for index in range(args.volumes)]
    check_outputs(args, *paths)
    for index, path in enumerate(track(paths, description="simulating", transient=True)):
        simulate_file(path, args.anatomy, matrix, args.coils, args.slices, args.noise_std, first_seed + index)
    print(f"{args.volumes} simulated scans of {args.slices} slices, {args.coils} coils, {args.matrix}: {args.out}/")
    return 0


def _pack_problems(args: argparse.Namespace) -> int:
    from rich.progress import track
    from torch.utils.data import DataLoader

    from laminar.data.packed import Packing
    from laminar.models import preset
    from laminar.runtime import MOST_WORKERS, follow_parent
    from laminar.training.data import training_stream
    from laminar.training.settings import Settings

    if args.problems < 1 or not 0 <= args.workers <= MOST_WORKERS:
        raise ConfigError(
            f"--problems must be at least 1 and --workers from 0 to {MOST_WORKERS}; "
            f"got {args.problems} and {args.workers}"
        )
    options = ["--config", str(args.config)] if args.config else []
    config = Settings(preset("flat")).parse([*options, "--seed", str(args.seed)])
    args.out.mkdir(parents=True, exist_ok=True)
    packing = Packing(training_stream(config), args.out, args.problems)
    loader = DataLoader(packing, batch_size=None, num_workers=args.workers, worker_init_fn=follow_parent)
    for _ in track(loader, description="simulating", total=args.problems, transient=True):
        pass
    print(f"{args.problems} batches of {config.data.batch_size} simulated problems: {args.out}/")
    return 0


def parse_matrix(text: str) -> tuple[int, int]:
    """`"256,192"` as (y, x); ConfigError for anything else."""
    parts = text.split(",")
    if len(parts) != 2 or not all(_is_side(part.strip()) for part in parts):
        raise ConfigError(f"--matrix must be two sizes of at least 16, such as 256,192; got {text!r}")
    return int(parts[0]), int(parts[1])


def _is_side(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5 and int(text) >= 16
