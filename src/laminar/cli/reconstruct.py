"""`laminar reconstruct`: scans in, images out."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from laminar.errors import ConfigError, LaminarError

if TYPE_CHECKING:
    from torch import Tensor

    from laminar.data.formats import LazyScan
    from laminar.reconstruction import Method

METHODS = ("network", "zero-filled", "cg-sense", "l1-wavelet", "total-variation", "grappa")
MASKS = ("random", "equispaced", "equispaced-fraction", "magic", "magic-fraction", "poisson")

_EPILOG = """examples:
  laminar reconstruct scan.h5 --out images
  laminar reconstruct kspace.npy --axes coil,ky,kx --out images
  laminar reconstruct full.mat --variable kData --axes ky,kx,coil --acceleration 6 --out images

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
    parser.add_argument("--method", choices=METHODS, default="network", help="default: network, the one of --model")
    parser.add_argument("--model", help="a checkpoint folder, or the one that ships: default")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the images")
    parser.add_argument("--variable", metavar="NAME", help="the array that holds k-space, where a file has several")
    parser.add_argument("--axes", metavar="A,B,..", help="its axes, where the file does not say them")
    parser.add_argument("--trajectory", action="store_true", help="also write the image after every cascade")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    group = parser.add_argument_group("undersample a fully sampled scan, and report the metrics against it")
    group.add_argument("--acceleration", type=float, metavar="R", help="nominal acceleration")
    group.add_argument("--mask", choices=MASKS, help="default: equispaced-fraction")
    group.add_argument("--calibration-lines", type=int, metavar="N", help="default: 14")
    group.add_argument("--seed", type=int, metavar="S", help="seed of the mask (default: 0)")
    group.add_argument("--mask-axis", choices=("auto", "x", "y"), help=_AXIS)
    parser.set_defaults(run=run)


_AXIS = "the axis to undersample; auto is the one that is not the readout, and x where the file does not say"


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
    from laminar.runtime import keep_freed_memory

    _settle_undersampling(args)
    keep_freed_memory()
    names = [scan_name(path) for path in args.inputs]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ConfigError(f"two inputs would both be written to {args.out / twice[0]}.h5: reconstruct them apart")
    device = check_device(args.device)
    method = _method(args)
    done: list[_Done] = []
    failed: list[str] = []
    for path, name in zip(args.inputs, names, strict=True):
        try:
            done.append(_one(path, name, method, device, args))
        except LaminarError as error:
            if args.verbose:
                raise
            failed.append(name)
            print(f"laminar: error: {error}", file=sys.stderr)
    if done:
        _summarize(done, args.out)
    if failed and len(args.inputs) > 1:
        print(f"laminar: {len(failed)} of {len(args.inputs)} scans failed: {', '.join(failed)}", file=sys.stderr)
    return 2 if failed else 0


def _method(args: argparse.Namespace) -> Method:
    """The network or the classical method; `args.label` names it in files and figures."""
    from laminar.classical import METHODS as classical
    from laminar.models import load

    if args.method != "network":
        if args.model is not None:
            raise ConfigError(f"--model does nothing with --method {args.method}")
        args.label = args.method
        return classical[args.method]
    args.label = args.model or "default"
    return load(args.label)


_UNDERSAMPLING = {"mask": "equispaced-fraction", "calibration_lines": 14, "seed": 0, "mask_axis": "auto"}


def _settle_undersampling(args: argparse.Namespace) -> None:
    """Fill in the defaults of a mask; without --acceleration, an option of it is a mistake."""
    for name, default in _UNDERSAMPLING.items():
        if args.acceleration is None and getattr(args, name) is not None:
            raise ConfigError(f"--{name.replace('_', '-')} does nothing without --acceleration")
        if getattr(args, name) is None:
            setattr(args, name, default)


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
    from laminar.files import replacing

    full = stream(path, variable=args.variable, axes=args.axes)
    scan = full if args.acceleration is None else _undersample(full, args)
    with replacing(args.out / f"{name}.h5") as file, replacing(args.out / f"{name}.png") as picture:
        started = time.perf_counter()
        _write_slices(file, name, scan, method, device, args)
        seconds = time.perf_counter() - started
        magnitude = _magnitude(file)
        metrics = _draw(picture, name, magnitude, None if args.acceleration is None else full, scan, args)
    shape = (scan.n_slices, scan.n_coils, *magnitude.shape[-2:])
    return _Done(name, shape, scan.measured_acceleration, seconds, metrics)


def _write_slices(file: Path, name: str, scan: LazyScan, method: Method, device: str, args: argparse.Namespace) -> None:
    from laminar.reconstruction import reconstruct_slices
    from laminar.store import writing_reconstruction

    slices = reconstruct_slices(scan, method, keep_trajectory=args.trajectory, device=device)
    attributes = _attributes(scan, args)
    log: list[str] = []
    with (
        writing_reconstruction(file, scan.n_slices, attributes, trajectory=args.trajectory) as write,
        _progress(name, scan.n_slices) as report,
    ):
        for done, result in enumerate(slices, start=1):
            write(result)
            log += result.log
            report(done)
    for line in log:
        print(f"{name}: {line}")


def _magnitude(file: Path) -> Tensor:
    import h5py
    import torch

    with h5py.File(file, "r") as written:
        return torch.from_numpy(written["reconstruction"][()])


def _draw(
    picture: Path, name: str, magnitude: Tensor, full: LazyScan | None, scan: LazyScan, args: argparse.Namespace
) -> dict[str, float] | None:
    """Draw the picture of a scan; where all samples are known, with the errors, and return the metrics."""
    import torch

    from laminar.metrics import fastmri_metrics
    from laminar.reconstruction import reference_image
    from laminar.report import comparison_figure, reconstruction_png

    if full is None:
        reconstruction_png(magnitude, picture)
        return None
    reference = torch.cat([reference_image(full.slice(index)) for index in range(full.n_slices)])
    metrics = fastmri_metrics(magnitude, reference)
    title = f"{name}, R = {scan.measured_acceleration:.1f}"
    comparison_figure({args.label: magnitude}, reference, {args.label: metrics}, picture, title)
    return metrics


def _undersample(full: LazyScan, args: argparse.Namespace) -> LazyScan:
    from laminar.data.masks import make_mask
    from laminar.data.stream import MOST_ACCELERATED

    if full.measured_acceleration > MOST_ACCELERATED:
        raise ConfigError(
            f"{full.name}: --acceleration needs a fully sampled scan; this one has R = "
            f"{full.measured_acceleration:.2f} already"
        )
    axis = _mask_axis(full, args)
    return full.undersample(
        make_mask(args.mask, full.matrix, args.acceleration, args.calibration_lines, args.seed, axis)
    )


def _mask_axis(scan: LazyScan, args: argparse.Namespace) -> int:
    return {"x": -1, "y": -2, "auto": scan.phase_axis}[args.mask_axis]


def _attributes(scan: LazyScan, args: argparse.Namespace) -> dict[str, Any]:
    from laminar import __version__

    attributes = {
        "laminar": __version__,
        "model" if args.method == "network" else "method": args.label,
        "acceleration": scan.measured_acceleration,
    }
    if args.acceleration is not None:
        axis = "x" if _mask_axis(scan, args) == -1 else "y"
        drawn = f"{args.mask} R={args.acceleration:g} n={args.calibration_lines} seed={args.seed} axis={axis}"
        attributes["mask"] = drawn
    return attributes


@contextmanager
def _progress(name: str, n_slices: int) -> Iterator[Callable[[int], None]]:
    """A bar over slices, for scans of more than one."""
    from rich.progress import Progress

    with Progress(transient=True, disable=n_slices == 1) as progress:
        task = progress.add_task(name, total=n_slices)
        yield lambda done: progress.update(task, completed=done)


def _summarize(done: list[_Done], out: Path) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    scored = any(d.metrics for d in done)
    caption = "PSNR in dB; against the root-sum-of-squares of all samples, fastMRI protocol" if scored else None
    table = Table(title="Reconstructions", caption=caption, box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    table.add_column("scan", overflow="fold", min_width=12)
    for column in ("slice,coil,y,x", "R", "seconds", *(("PSNR", "SSIM", "NMSE") * scored)):
        table.add_column(column, justify="right", no_wrap=True)
    for d in done:
        cells = [d.name, "x".join(map(str, d.shape)), f"{d.acceleration:.2f}", f"{d.seconds:.2f}"]
        if d.metrics:
            cells += [f"{d.metrics['psnr']:.2f}", f"{d.metrics['ssim']:.4f}", f"{d.metrics['nmse']:.4f}"]
        table.add_row(*cells)
    Console().print(table)
    print(f"written to {out}/: NAME.h5 (reconstruction, reconstruction_complex) and NAME.png")
