"""`laminar adapt`: a network made to fit one scan, and the image of the scan by it."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from laminar.cli import one_scan, reconstruct
from laminar.cli.coils import CoilOptions
from laminar.cli.executors import ExecutorOptions
from laminar.cli.methods import MapOptions, MethodOptions, SolverOptions, add_regularizer
from laminar.cli.outputs import add_overwrite, check_outputs, is_part
from laminar.cli.progress import progress
from laminar.cli.samples import SampleOptions
from laminar.cli.scans import ScanOptions, add_device, add_scan_options, check_device
from laminar.cli.undersampling import Undersampling, add_undersampling
from laminar.errors import CheckpointError, ConfigError
from laminar.words import counted

if TYPE_CHECKING:
    from laminar.data.formats import LazyScan
    from laminar.training.adaptation import Adaptation, AdaptationConfig

_DESCRIPTION = """Train a network for a few minutes on the samples of one scan alone, without ground truth: from a part
of them it reconstructs an image that must fit the others. A further part, which no step sees, judges: it stops the
training where nothing is gained any more, and where nothing was, the network stays as it is. Writes the checkpoint
<out>/<name>-adapted, which says for which scan it is, and the image by it as `laminar reconstruct` does."""


@dataclass(frozen=True)
class Options:
    input: Path
    model: str
    regularizer: str | None
    out: Path
    overwrite: bool
    source: ScanOptions
    device: str
    verbose: bool
    minutes: float
    steps: int
    learning_rate: float
    parts: Literal["all", "last", "coefficients"]
    training_seed: int
    undersampling: Undersampling


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "adapt", help="adapt a network to one scan without ground truth, in minutes", description=_DESCRIPTION
    )
    parser.add_argument("input", type=Path, metavar="SCAN", help="a scan file")
    parser.add_argument("--model", default="default", metavar="DIR", help="the network to start from; default: default")
    add_regularizer(parser)
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder for the checkpoint and the image"
    )
    add_overwrite(parser)
    add_scan_options(parser)
    add_device(parser)
    group = parser.add_argument_group("how it is trained")
    group.add_argument("--minutes", type=float, default=5.0, metavar="M", help="time limit (default: 5)")
    group.add_argument("--steps", type=int, default=200, metavar="N", help="most steps, a slice each (default: 200)")
    group.add_argument("--learning-rate", type=float, default=3e-4, metavar="L", help="default: 3e-4")
    group.add_argument("--parts", choices=("all", "last", "coefficients"), default="all", help=_PARTS)
    group.add_argument("--training-seed", type=int, default=0, metavar="S", help="of what is held out (default: 0)")
    add_undersampling(parser)
    parser.set_defaults(run=run, options=Options)


_PARTS = "what is trained: all, or the coefficients of the cascades with or without the last layers (default: all)"


def run(options: Options) -> int:
    from laminar.data.formats import scan_name
    from laminar.figures import check_drawable
    from laminar.methods import load_with
    from laminar.models import save
    from laminar.runtime import keep_freed_memory
    from laminar.training.adaptation import AdaptationConfig, adapt, slices_of

    check_drawable()
    keep_freed_memory()
    config = AdaptationConfig(
        options.minutes, options.steps, options.learning_rate, parts=options.parts, seed=options.training_seed
    )
    name = scan_name(options.input)
    checkpoint = options.out / f"{name}-adapted"
    check_outputs(options, options.out / f"{name}.h5", options.out / f"{name}.png")
    _check_checkpoint(checkpoint, options)
    network = load_with(options.model, options.regularizer).to(check_device(options.device))
    scan = options.source.stream(options.input)
    scan = options.undersampling.apply(scan, options.input.name)
    with _progress(config) as report:
        found = adapt(network, *slices_of(scan), config, report)
    print(_said(found))
    save(found.network, checkpoint, _card(found, config, scan, options))
    print(f"checkpoint: {checkpoint}")
    code = _reconstruct(checkpoint, options)
    return 130 if found.interrupted and not code else code


def _check_checkpoint(path: Path, options: Options) -> None:
    """Raise ConfigError if writing the checkpoint would destroy an input, or what others wrote."""
    from laminar.models.checkpoint import read_settings

    if not path.exists():
        return
    if is_part(path, [options.input, Path(options.model)]):
        raise ConfigError(f"{path} is an input of this command: choose another --out")
    try:
        read_settings(path)
    except CheckpointError:
        raise ConfigError(f"{path} is there already and no checkpoint: choose another --out") from None


def _card(found: Adaptation, config: AdaptationConfig, scan: LazyScan, options: Options) -> dict[str, Any]:
    """For which scan, by the checksum of its file, from which network, and what the samples held out said."""
    from laminar.data.formats import scan_sha256
    from laminar.models.checkpoint import find, read_settings

    card = {
        "adapted to the scan of sha256": scan_sha256(options.input),
        "from": Path(options.model).name,
        "from sha256": read_settings(find(options.model))["sha256"],
        "use": "the image of that scan alone",
        "not for": "diagnostic use",
        "parts": config.parts,
        "learning_rate": config.learning_rate,
        "seed": config.seed,
        "step": found.step,
        "steps_done": found.steps,
        "seconds": round(found.seconds, 1),
        "stopped": found.stopped,
        "loss of samples held out (dB)": {"before": found.before, "after": found.after},
    }
    asked = options.undersampling
    return card | {"mask": asked.describe(scan)} if asked.wanted else card


@contextmanager
def _progress(config: AdaptationConfig) -> Iterator[Callable[[int, float, float], None]]:
    """A bar over the steps, with what the samples held out say."""
    with progress("adapting", config.steps) as report:
        yield lambda step, loss, best: report(step, f"samples held out: {loss:.3f} dB, best {best:.3f}")


def _said(found: Adaptation) -> str:
    ended = f"{found.stopped}: {counted(found.steps, 'step')} in {found.seconds / 60:.1f} minutes"
    if not found.step:
        return f"{ended}; no step was better than the start ({found.before:.3f} dB): the network stays as it is"
    gain = f"from {found.before:.3f} to {found.after:.3f} dB"
    return f"{ended}; error at samples held out, which no step saw: {gain}, at step {found.step}"


def _reconstruct(checkpoint: Path, options: Options) -> int:
    """`laminar reconstruct` of the scan by the checkpoint, with the options that both verbs have."""
    choice = MethodOptions("network", str(checkpoint), False, SolverOptions(None, None, ()), options.regularizer)
    return reconstruct.run(
        one_scan.Options(
            inputs=(options.input,),
            out=options.out,
            overwrite=options.overwrite,
            source=options.source,
            array=CoilOptions(),
            sets=MapOptions("auto"),
            trajectory=False,
            device=options.device,
            verbose=options.verbose,
            choice=choice,
            drawn=SampleOptions(0, None, None, None),
            undersampling=options.undersampling,
            where=ExecutorOptions(None, 1, None, None, 240),
            format=("h5",),
        )
    )
