"""`laminar reconstruct`: scans in, images out."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from laminar.cli.bulk import Scan, in_bulk, is_finished, kept_method, request_of
from laminar.cli.executors import add_executor_options, place_of
from laminar.cli.methods import SAMPLERS, add_method_options, chosen_method
from laminar.cli.outputs import add_overwrite, check_outputs
from laminar.cli.pictures import draw, reference_of
from laminar.cli.undersampling import add_undersampling, describe_mask, settle_undersampling, undersample
from laminar.errors import ConfigError, LaminarError, explaining

if TYPE_CHECKING:
    from torch import Tensor

    from laminar.data.formats import LazyScan
    from laminar.methods import Method
    from laminar.uncertainty import Calibration, Spread

_EPILOG = """examples:
  laminar reconstruct scan.h5 --out images
  laminar reconstruct kspace.npy --axes coil,ky,kx --out images
  laminar reconstruct full.mat --variable kData --axes ky,kx,coil --acceleration 6 --out images
  laminar reconstruct scan.h5 --method dds --nfe 19 --set weight=0.05 --out images
  laminar reconstruct scan.h5 --model sampler --samples 8 --out images

axes: any order of slice, coil, kz, ky, kx; ri for (real, imaginary); _ for a dimension of length 1 to drop"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "reconstruct",
        help="reconstruct scans: fastMRI HDF5, ISMRMRD, BART, NumPy, MATLAB",
        description="Reconstruct multi-coil Cartesian k-space. Finds the sampling mask and the calibration lines, "
        "estimates coil sensitivities (ESPIRiT), and writes <out>/<name>.h5 and <out>/<name>.png.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("inputs", nargs="+", type=Path, metavar="INPUT", help="scan files")
    add_method_options(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the images")
    add_overwrite(parser)
    parser.add_argument("--variable", metavar="NAME", help="the array that holds k-space, where a file has several")
    parser.add_argument("--axes", metavar="A,B,..", help="its axes, where the file does not say them")
    parser.add_argument("--trajectory", action="store_true", help="also write the image after every cascade")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    group = parser.add_argument_group("draw samples of the posterior, and say how far they differ")
    group.add_argument("--samples", type=int, default=0, metavar="N", help=_SAMPLES)
    group.add_argument("--sample-seed", type=int, metavar="S", help="seed of what is drawn (default: 0)")
    group.add_argument("--calibration", type=Path, metavar="FILE", help="made by `laminar calibrate`")
    group.add_argument("--level", type=float, metavar="P", help="of the intervals; default: 0.9, or the calibrated one")
    add_undersampling(parser)
    add_executor_options(parser, default=None)
    parser.set_defaults(run=run)


_SAMPLES = "the image is the mean of N samples; also writes their standard deviation and an interval of every pixel"


@dataclass(frozen=True)
class _Done:
    """A scan that was reconstructed into `shape` (slice, coil, y, x); `metrics` if there was a reference."""

    name: str
    shape: tuple[int, ...]
    acceleration: float
    seconds: float
    metrics: dict[str, float] | None


def run(args: argparse.Namespace) -> int:
    from laminar.data.formats import scan_name
    from laminar.figures import check_drawable
    from laminar.runtime import keep_freed_memory

    settle_undersampling(args)
    check_drawable()
    keep_freed_memory()
    names = [scan_name(path) for path in args.inputs]
    outputs = Counter(path for name in names for path in _outputs(name, args))
    if twice := [path for path, count in outputs.items() if count > 1]:
        raise ConfigError(f"two inputs would both be written to {twice[0]}: reconstruct them apart")
    device = check_device(args.device)
    method = chosen_method(args)
    args.calibrated = _settle_samples(method, args)
    if args.executor is not None:
        return _many(list(zip(args.inputs, names, strict=True)), method, args)
    done: list[_Done] = []
    failed: list[str] = []
    for path, name in zip(args.inputs, names, strict=True):
        try:
            with explaining(str(path)):
                done.append(_one(path, name, method, device, args))
        except LaminarError as error:
            if args.verbose:
                raise
            failed.append(name)
            print(f"laminar: error: {error}", file=sys.stderr)
    if done:
        _summarize(done, args, method)
    return _ended(failed, args)


def _ended(failed: Collection[str], args: argparse.Namespace) -> int:
    if failed and len(args.inputs) > 1:
        print(f"laminar: {len(failed)} of {len(args.inputs)} scans failed: {', '.join(failed)}", file=sys.stderr)
    return 2 if failed else 0


def _many(scans: list[Scan], method: Method, args: argparse.Namespace) -> int:
    """All scans by an executor."""
    from functools import partial

    for _, name in scans:
        check_outputs(args, *_outputs(name, args))
    request = request_of(method, args)
    found = in_bulk(
        place_of(args, args.out / "logs"),
        partial(_part, args),
        scans,
        lambda scan: is_finished(scan[0], _outputs(scan[1], args), request),
        args.out,
    )
    return _ended(found.failed, args)


def _part(args: argparse.Namespace, scans: tuple[Scan, ...]) -> list[tuple[str, str | None]]:
    """What a worker does: the name of each scan and, if it failed, why."""
    method = kept_method(args)
    return [(name, _why_not(path, name, method, args)) for path, name in scans]


def _why_not(path: Path, name: str, method: Method, args: argparse.Namespace) -> str | None:
    try:
        with explaining(str(path)):
            _one(path, name, method, args.device, args)
    except LaminarError as error:
        return str(error)
    return None


def _settle_samples(method: Method, args: argparse.Namespace) -> Calibration | None:
    """The calibration of the intervals, if one is named; fills in the defaults. Raises ConfigError for what is idle."""
    from laminar.reconstruction import check_samples_of
    from laminar.statistics import check_level
    from laminar.uncertainty import check_fits, read_calibration

    if args.sample_seed is not None and (method.draw is None or args.sample_seed < 0):
        raise ConfigError(f"--sample-seed is a whole number for a method that draws; got {args.sample_seed}")
    args.sample_seed = args.sample_seed or 0
    if not args.samples:
        for name in ("calibration", "level"):
            if getattr(args, name) is not None:
                raise ConfigError(f"--{name} does nothing without --samples")
        return None
    check_samples_of(method, args.samples)
    if args.trajectory:
        raise ConfigError("--trajectory shows one way to the image; with --samples there are many")
    if args.calibration is None:
        args.level = 0.9 if args.level is None else args.level
        check_level(args.level)
        return None
    calibration = read_calibration(args.calibration)
    check_fits(calibration, method.fingerprint, args.samples, method=method.kind, settings=dict(method.settings))
    if args.level not in (None, calibration.level):
        raise ConfigError(f"{args.calibration} calibrates intervals of level {calibration.level}; got {args.level}")
    args.level = calibration.level
    return calibration


def check_device(name: str) -> str:
    """`name` if torch can use it; else ConfigError."""
    import torch

    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"device {name!r} cannot be used on this machine: expected cpu or cuda") from error
    return name


def _one(path: Path, name: str, method: Method, device: str, args: argparse.Namespace) -> _Done:
    """Reconstruct a scan slice by slice, with no more than two of its slices in memory."""
    from laminar.data.formats import stream
    from laminar.figures import uncertainty_figure
    from laminar.files import replacing

    check_outputs(args, *_outputs(name, args))
    full = stream(path, variable=args.variable, axes=args.axes)
    scan = full if args.acceleration is None else undersample(full, args)
    title = f"{name}, R = {scan.measured_acceleration:.1f}"
    with ExitStack() as written:
        file, picture, *others = (written.enter_context(replacing(path)) for path in _outputs(name, args))
        started = time.perf_counter()
        magnitude, spread = _write_slices(file, name, scan, method, device, args)
        seconds = time.perf_counter() - started
        reference = None if args.acceleration is None else reference_of(full)
        metrics = draw(picture, method.name, magnitude, reference, title)
        for uncertainty in others:
            assert spread is not None  # it is drawn where there are samples
            kind = "not calibrated" if args.calibrated is None else f"{args.calibrated.kind} factor"
            said = f"{method.name}, {args.samples} samples, {100 * args.level:g} % intervals, {kind}"
            interval = None if reference is None else spread.interval(args.level, args.calibrated)
            uncertainty_figure(spread, uncertainty, reference, interval, f"{title}: {said}")
    shape = (scan.n_slices, scan.n_coils, *magnitude.shape[-2:])
    return _Done(name, shape, scan.measured_acceleration, seconds, metrics)


def _outputs(name: str, args: argparse.Namespace) -> list[Path]:
    """The files that a scan becomes."""
    return [args.out / f"{name}{kind}" for kind in (".h5", ".png", *(("-uncertainty.png",) * bool(args.samples)))]


def _write_slices(
    file: Path, name: str, scan: LazyScan, method: Method, device: str, args: argparse.Namespace
) -> tuple[Tensor, Spread | None]:
    """Write slice by slice; what the pictures show (slice, y, x) stays in memory."""
    import torch

    from laminar.reconstruction import reconstruct_slices
    from laminar.store import writing_reconstruction
    from laminar.uncertainty import Spread

    samples = {"samples": args.samples, "seed": args.sample_seed}
    slices = reconstruct_slices(scan, method, keep_trajectory=args.trajectory, device=device, **samples)
    intervals = {"level": 0.9 if args.level is None else args.level, "calibration": args.calibrated}
    attributes = _attributes(scan, method, args)
    log: list[str] = []
    magnitudes, spreads = [], []
    with (
        writing_reconstruction(file, scan.n_slices, attributes, **intervals) as write,
        _progress(name, scan.n_slices) as report,
    ):
        for done, result in enumerate(slices, start=1):
            write(result)
            magnitudes.append(result.magnitude)
            spreads += [] if result.spread is None else [result.spread]
            log += result.log
            report(done)
    for line in log:
        print(f"{name}: {line}")
    return torch.stack(magnitudes), Spread.stack(spreads) if spreads else None


def _attributes(scan: LazyScan, method: Method, args: argparse.Namespace) -> dict[str, Any]:
    attributes = {
        "request": request_of(method, args),
        "model" if args.method == "network" else "method": method.name,
        "acceleration": scan.measured_acceleration,
    }
    if (fingerprint := method.fingerprint) is not None:
        attributes["weights_sha256"] = fingerprint
    if method.settings:
        attributes["settings"] = json.dumps(dict(method.settings))
    if method.draw is not None:
        attributes |= {"samples": args.samples, "sample_seed": args.sample_seed}
    if args.acceleration is not None:
        attributes["mask"] = describe_mask(scan, args)
    return attributes


@contextmanager
def _progress(name: str, n_slices: int) -> Iterator[Callable[[int], None]]:
    """A bar over slices, for scans of more than one."""
    from rich.progress import Progress

    with Progress(transient=True, disable=n_slices == 1) as progress:
        task = progress.add_task(name, total=n_slices)
        yield lambda done: progress.update(task, completed=done)


def _summarize(done: list[_Done], args: argparse.Namespace, method: Method) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    scored = any(d.metrics for d in done)
    caption = "PSNR in dB; against the root-sum-of-squares of all samples, fastMRI protocol" if scored else None
    title = f"Reconstructions by {method.name}"
    table = Table(title=title, caption=caption, box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    table.add_column("scan", overflow="fold", min_width=12)
    for column in ("slice,coil,y,x", "R", "seconds", *(("PSNR", "SSIM", "NMSE") * scored)):
        table.add_column(column, justify="right", no_wrap=True)
    for d in done:
        cells = [d.name, "x".join(map(str, d.shape)), f"{d.acceleration:.2f}", f"{d.seconds:.2f}"]
        if d.metrics:
            cells += [f"{d.metrics['psnr']:.2f}", f"{d.metrics['ssim']:.4f}", f"{d.metrics['nmse']:.4f}"]
        table.add_row(*cells)
    Console().print(table)
    print(f"written to {args.out}/: NAME.h5 (reconstruction, reconstruction_complex) and NAME.png")
    if args.samples:
        print("with uncertainty_std, interval_lower and interval_upper in NAME.h5, and NAME-uncertainty.png")
        if args.calibrated is None:
            said = f"the {100 * args.level:g} % intervals are not calibrated"
            print(f"{said}: laminar calibrate measures how far to trust them")
    elif args.method in SAMPLERS:
        print("this is one sample, noisier than the posterior mean: --samples 8 gives the mean of eight")
