"""`laminar reconstruct`: scans in, images out."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
import traceback
from collections import Counter
from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from laminar.cli.bulk import Scan, in_bulk, is_finished, kept_method
from laminar.cli.executors import ExecutorOptions, add_executor_options
from laminar.cli.methods import MethodOptions, add_method_options
from laminar.cli.outputs import add_overwrite, check_outputs
from laminar.cli.pictures import draw, reference_of, stored_reference, write_volume
from laminar.cli.progress import progress
from laminar.cli.samples import Intervals, SampleOptions, add_samples
from laminar.cli.scans import ScanOptions, add_device, add_scan_options, check_device
from laminar.cli.undersampling import Undersampling, add_undersampling
from laminar.errors import ALL_FAILED, SOME_FAILED, ConfigError, LaminarError, explaining, printable
from laminar.registry import SAMPLERS

if TYPE_CHECKING:
    from torch import Tensor

    from laminar.data.formats import LazyScan
    from laminar.methods import Method
    from laminar.reconstruction import SliceReconstruction
    from laminar.uncertainty import Spread

_EPILOG = """examples:
  laminar reconstruct scan.h5 --out images
  laminar reconstruct kspace.npy --axes coil,ky,kx --out images
  laminar reconstruct full.mat --variable kData --axes ky,kx,coil --acceleration 6 --out images
  laminar reconstruct scan.h5 --method dds --nfe 19 --set weight=0.05 --out images
  laminar reconstruct scan.h5 --model sampler --samples 8 --out images
  laminar reconstruct cine.h5 --together phase --method low-rank --format gif --out images
  laminar reconstruct ksp.cfl --points traj.cfl --matrix 256,256 --method total-variation --out images

axes: any order of slice, coil, kz, ky, kx; ri for (real, imaginary); _ for a dimension of length 1 to drop"""


@dataclass(frozen=True)
class Options:
    inputs: tuple[Path, ...]
    out: Path
    overwrite: bool
    source: ScanOptions
    coils: int | None
    trajectory: bool
    device: str
    verbose: bool
    choice: MethodOptions
    drawn: SampleOptions
    undersampling: Undersampling
    where: ExecutorOptions
    format: tuple[str, ...]
    together: str | None

    def outputs(self, name: str) -> list[Path]:
        """The files that a scan becomes."""
        kinds = (
            *(".h5", ".png"),
            *(("-uncertainty.png",) * bool(self.drawn.samples)),
            *((".gif",) * self.movie),
            *((".nii",) * self.nifti),
        )
        return [self.out / f"{name}{kind}" for kind in kinds]

    @property
    def movie(self) -> bool:
        return "gif" in self.format

    @property
    def nifti(self) -> bool:
        return "nifti" in self.format


@dataclass(frozen=True)
class Work:
    """What is done to every scan."""

    options: Options
    method: Method
    intervals: Intervals

    @property
    def request(self) -> str:
        """A hash of all that decides what becomes of a scan; its result carries it."""
        options, method = self.options, self.method
        told = (
            options.source.variable,
            options.source.axes,
            options.source.domain,
            options.source.points,
            options.source.matrix,
            options.together,
            options.coils,
            options.trajectory,
            options.drawn,
            options.undersampling,
        )
        all_of_it = [method.kind, method.fingerprint, dict(method.settings), told]
        return hashlib.sha256(repr(all_of_it).encode()).hexdigest()


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "reconstruct",
        help="reconstruct scans: fastMRI HDF5, ISMRMRD, BART, NumPy, MATLAB",
        description="Reconstruct multi-coil k-space, Cartesian or with a trajectory, and scans of other geometries in "
        "our own layout. Finds the sampling mask and the calibration lines, estimates coil sensitivities (ESPIRiT), "
        "and writes <out>/<name>.h5 and <out>/<name>.png.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("inputs", nargs="+", type=Path, metavar="INPUT", help="scan files, or folders of them")
    add_method_options(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the images")
    add_overwrite(parser)
    add_scan_options(parser)
    parser.add_argument("--coils", type=int, metavar="N", help="compress to N virtual coils first, for large arrays")
    parser.add_argument("--trajectory", action="store_true", help="also write the image after every cascade")
    add_device(parser)
    parser.add_argument("--format", nargs="+", choices=("h5", "nifti", "gif"), default=["h5"], help=_FORMAT)
    parser.add_argument("--together", metavar="AXIS", help=_TOGETHER)
    add_samples(parser)
    add_undersampling(parser)
    add_executor_options(parser, default=None)
    parser.set_defaults(run=run, options=Options)


_FORMAT = (
    "what else to write beside <name>.h5: nifti, <name>.nii in its place in the patient (extra nifti); gif, a movie of "
    "its images in turn (extra figures)"
)
_TOGETHER = (
    "solve the images along an axis of the scan's series, such as phase, as one: a cine; slice: a volume; needs a "
    "method that takes such, as total-variation, low-rank or a network that was trained for it"
)


@dataclass(frozen=True)
class _Done:
    """A scan that was reconstructed into `shape` (slice, coil, y, x); `metrics` if there was a reference."""

    name: str
    shape: tuple[int, ...]
    acceleration: float
    seconds: float
    metrics: dict[str, float] | None


def run(options: Options) -> int:
    from laminar.data.formats import find_scans, scan_name
    from laminar.figures import check_drawable
    from laminar.runtime import keep_freed_memory

    check_drawable()
    keep_freed_memory()
    options = replace(options, inputs=tuple(find_scans(options.inputs)))
    names = [scan_name(path) for path in options.inputs]
    outputs = Counter(path for name in names for path in options.outputs(name))
    if twice := [path for path, count in outputs.items() if count > 1]:
        raise ConfigError(f"two inputs would both be written to {twice[0]}: reconstruct them apart")
    if options.nifti:
        from laminar.nifti import nibabel

        nibabel()  # a missing extra is told before any work is done
    if options.drawn.samples and options.trajectory:
        raise ConfigError("--trajectory shows one way to the image; with --samples there are many")
    check_device(options.device)
    work = work_of(options)
    if options.where.executor is not None:
        return _many(list(zip(options.inputs, names, strict=True)), work)
    done: list[_Done] = []
    failed: list[str] = []
    for path, name in zip(options.inputs, names, strict=True):
        try:
            with explaining(str(path)):
                done.append(_one(path, name, work))
        except LaminarError as error:
            if options.verbose:
                traceback.print_exc()
            failed.append(name)
            print(f"laminar: error: {error}", file=sys.stderr)
    if done:
        _summarize(done, work)
    return _ended(failed, options)


def _ended(failed: Collection[str], options: Options) -> int:
    if failed and len(options.inputs) > 1:
        print(f"laminar: {len(failed)} of {len(options.inputs)} scans failed: {', '.join(failed)}", file=sys.stderr)
    return 0 if not failed else ALL_FAILED if len(failed) == len(options.inputs) else SOME_FAILED


def _many(scans: list[Scan], work: Work) -> int:
    """All scans by an executor."""
    options = work.options
    for _, name in scans:
        check_outputs(options, *options.outputs(name))
    found = in_bulk(
        options.where.place(options.out / "logs"),
        partial(_part, options),
        scans,
        lambda scan: is_finished(scan[0], options.outputs(scan[1]), work.request),
        options.out,
    )
    return _ended(found.failed, options)


def _part(options: Options, scans: tuple[Scan, ...]) -> list[tuple[str, str | None]]:
    """What a worker does: the name of each scan and, if it failed, why."""
    work = work_of(options)
    return [(name, _why_not(path, name, work)) for path, name in scans]


def _why_not(path: Path, name: str, work: Work) -> str | None:
    try:
        with explaining(str(path)):
            _one(path, name, work)
    except LaminarError as error:
        return str(error)
    return None


def work_of(options: Options) -> Work:
    """What the options ask for, with its model. Raises LaminarError."""
    method = kept_method(options.choice)
    return Work(options, method, options.drawn.intervals(method))


def _one(path: Path, name: str, work: Work) -> _Done:
    """Reconstruct a scan slice by slice, with no more than two of its slices in memory."""
    from laminar.data.compression import compressed
    from laminar.data.formats import LazyScan
    from laminar.data.series import together
    from laminar.figures import movie, uncertainty_figure
    from laminar.files import replacing

    options, method, intervals = work.options, work.method, work.intervals
    check_outputs(options, *options.outputs(name))
    full = options.source.stream(path)
    scan = options.undersampling.apply(full, path.name)
    scan = scan if options.coils is None else compressed(scan, options.coils)
    scan = scan if options.together is None else LazyScan.of(together(scan.whole(), options.together))
    title = f"{name}, R = {scan.measured_acceleration:.1f}"
    with ExitStack() as written:
        file, picture, *others = (written.enter_context(replacing(path)) for path in options.outputs(name))
        volume = others.pop() if options.nifti else None
        moving = others.pop() if options.movie else None
        started = time.perf_counter()
        magnitude, spread, places = _write_slices(file, name, scan, work)
        seconds = time.perf_counter() - started
        reference = reference_of(full) if options.undersampling.wanted else stored_reference(path, magnitude)
        metrics = draw(picture, method.name, magnitude, reference, title)
        if volume is not None:
            write_volume(volume, magnitude, places, scan)
        if moving is not None:
            movie(magnitude, moving)
        for uncertainty in others:
            assert spread is not None  # it is drawn where there are samples
            kind = "not calibrated" if intervals.calibration is None else f"{intervals.calibration.kind} factor"
            said = f"{method.name}, {options.drawn.samples} samples, {100 * intervals.level:g} % intervals, {kind}"
            interval = None if reference is None else spread.interval(intervals.level, intervals.calibration)
            uncertainty_figure(spread, uncertainty, reference, interval, f"{title}: {said}")
    shape = (scan.n_slices, scan.n_coils, *magnitude.shape[-2:])
    return _Done(name, shape, scan.measured_acceleration, seconds, metrics)


def _write_slices(
    file: Path, name: str, scan: LazyScan, work: Work
) -> tuple[Tensor, Spread | None, list[SliceReconstruction]]:
    """Write image by image; what the pictures show, (slice, y, x) of all images, stays in memory."""
    import torch

    from laminar.data.check import padding
    from laminar.data.formats import padding_note
    from laminar.reconstruction import reconstruct_slices
    from laminar.store import writing_reconstruction
    from laminar.uncertainty import Spread

    drawn, intervals = work.options.drawn, work.intervals
    slices = reconstruct_slices(
        scan,
        work.method,
        keep_trajectory=work.options.trajectory,
        samples=drawn.samples,
        seed=drawn.sample_seed or 0,
        device=work.options.device,
    )
    attributes = _attributes(scan, work)
    log = list(scan.notes)
    if scan.is_planar_grid:
        missing = padding(scan.grid.union)["partial"]
        partial = f"{missing}; the other side is zero, unless --method pocs" if missing else None
        log += filter(None, [padding_note(scan.grid.union), partial])
    magnitudes, spreads, places = [], [], []
    with (
        writing_reconstruction(
            file, scan.n_slices, attributes, level=intervals.level, calibration=intervals.calibration
        ) as write,
        progress(name, scan.n_slices, quiet=scan.n_slices == 1) as report,
    ):
        for done, result in enumerate(slices, start=1):
            write(result)
            magnitudes.append(result.magnitude)
            places.append(replace(result, trajectory=None))
            spreads += [] if result.spread is None else [result.spread]
            log += result.log
            report(done)
    for line in log:
        print(printable(f"{name}: {line}"))
    images = torch.stack(magnitudes)
    return images.flatten(0, -3), Spread.stack(spreads) if spreads else None, places


def _attributes(scan: LazyScan, work: Work) -> dict[str, Any]:
    options, method = work.options, work.method
    attributes: dict[str, Any] = {
        "request": work.request,
        "model" if options.choice.method == "network" else "method": method.name,
        "acceleration": scan.measured_acceleration,
        "geometry": scan.geometry.kind,
        "image_axes": ", ".join(("slice" if scan.geometry.kind != "volume" else "image", *scan.geometry.image_axes)),
    }
    if options.coils is not None:
        attributes["coils"] = scan.n_coils
    if scan.series:
        attributes["series"] = json.dumps(dict(scan.series))
    if scan.notes:
        attributes["notes"] = "\n".join(scan.notes)
    if (fingerprint := method.fingerprint) is not None:
        attributes["weights_sha256"] = fingerprint
    if method.settings:
        attributes["settings"] = json.dumps(dict(method.settings))
    if method.draws:
        attributes |= {"samples": options.drawn.samples, "sample_seed": options.drawn.sample_seed or 0}
    if options.drawn.samples:
        attributes["interval_level"] = work.intervals.level
    if options.undersampling.wanted:
        attributes["mask"] = options.undersampling.describe(scan)
    return attributes


def _summarize(done: list[_Done], work: Work) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    scored = any(d.metrics for d in done)
    caption = "PSNR in dB; against the root-sum-of-squares of all samples, fastMRI protocol" if scored else None
    title = f"Reconstructions by {work.method.name}"
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
    print(f"written to {work.options.out}/: NAME.h5 (reconstruction, reconstruction_complex) and NAME.png")
    if work.options.drawn.samples:
        print("with uncertainty_std, interval_lower and interval_upper in NAME.h5, and NAME-uncertainty.png")
        if work.intervals.calibration is None:
            said = f"the {100 * work.intervals.level:g} % intervals are not calibrated"
            print(f"{said}: laminar calibrate measures how far to trust them")
    elif work.options.choice.method in SAMPLERS:
        print("this is one sample, noisier than the posterior mean: --samples 8 gives the mean of eight")
