"""`laminar reconstruct`: scans in, images out."""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

from laminar.addresses import Archive
from laminar.cli.bulk import Scan, Told, in_bulk, is_finished, kept_method
from laminar.cli.coils import add_coils
from laminar.cli.executors import add_executor_options
from laminar.cli.formats import DICOM, add_formats, check_packages
from laminar.cli.methods import add_maps, add_method_options
from laminar.cli.one_scan import Options, Work, reconstruct_scan
from laminar.cli.outputs import add_overwrite, check_outputs, named
from laminar.cli.progress import progress
from laminar.cli.samples import add_samples
from laminar.cli.scans import add_device, add_scan_options, check_device
from laminar.cli.summary import Batch, Done
from laminar.cli.undersampling import add_undersampling
from laminar.errors import ALL_FAILED, SOME_FAILED, ConfigError, DataFormatError, LaminarError, explaining, printable
from laminar.registry import SAMPLERS
from laminar.words import counted, naming

_EPILOG = """examples:
  laminar reconstruct scan.h5 --out images
  laminar reconstruct kspace.npy --axes coil,ky,kx --out images
  laminar reconstruct full.mat --variable kData --axes ky,kx,coil --acceleration 6 --out images
  laminar reconstruct scan.h5 --method dds --nfe 19 --set weight=0.05 --out images
  laminar reconstruct scan.h5 --model sampler --samples 8 --out images
  laminar reconstruct cine.h5 --together phase --method low-rank --format gif --out images
  laminar reconstruct ksp.cfl --points traj.cfl --matrix 256,256 --method total-variation --out images

axes: any order of slice, coil, kz, ky, kx; ri for (real, imaginary); _ for a dimension of length 1 to drop"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "reconstruct",
        help="reconstruct scans: fastMRI HDF5, ISMRMRD, BART, NumPy, MATLAB",
        description="Reconstruct multi-coil k-space, Cartesian or with a trajectory, and scans of other geometries in "
        "our own layout. Finds the sampling mask and the calibration lines, estimates coil sensitivities, "
        "and writes <out>/<name>.h5 and <out>/<name>.png.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("inputs", nargs="+", type=Path, metavar="INPUT", help="scan files, or folders of them")
    add_method_options(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the images")
    add_overwrite(parser)
    add_scan_options(parser)
    add_coils(parser)
    add_maps(parser)
    parser.add_argument("--trajectory", action="store_true", help="also write the image after every cascade")
    add_device(parser)
    parser.add_argument("--skip-existing", action="store_true", help=_SKIP)
    parser.add_argument("--no-figures", dest="figures", action="store_false", help="write no pictures")
    parser.add_argument("--json", action="store_true", help="print what was done as JSON")
    add_formats(parser)
    parser.add_argument("--together", metavar="AXIS", help=_TOGETHER)
    add_samples(parser)
    add_undersampling(parser)
    add_executor_options(parser, default=None)
    parser.set_defaults(run=run, options=Options)


_SKIP = "leave out scans whose results are there, by the same settings and no older than they; an executor always does"
_TOGETHER = (
    "solve the images along an axis of the scan's series, such as phase, as one: a cine; slice: a volume; needs a "
    "method that takes such, as total-variation, low-rank or a network that was trained for it"
)


def run(options: Options) -> int:
    _check(options)  # before what takes seconds to import

    from rich.console import Console

    from laminar.data.formats import find_scans, scan_name
    from laminar.figures import check_drawable
    from laminar.image_files import pynetdicom
    from laminar.runtime import keep_freed_memory

    if options.figures:
        check_drawable("--no-figures")
    keep_freed_memory()
    options = replace(options, inputs=tuple(find_scans(options.inputs)))
    names = [scan_name(path) for path in options.inputs]
    outputs = Counter(path for name in names for path in options.outputs(name))
    if twice := [path for path, count in outputs.items() if count > 1]:
        raise ConfigError(f"two inputs would both be written to {twice[0]}: reconstruct them apart")
    check_packages(options.others)
    if options.pacs is not None:
        pynetdicom()
    options.array.check(options.sets)
    check_device(options.device)
    work = work_of(options)
    scans = list(zip(options.inputs, names, strict=True))
    batch = _one_by_one(scans, work) if options.where.executor is None else _many(scans, work)
    if options.json:
        print(batch.text(work.method, options.outputs))
    elif batch.done:
        Console().print(batch.table(f"Reconstructions by {work.method.name}"))
        _explain(work)
    failed = len(batch.failed)
    if failed and len(scans) > 1:
        print(f"laminar: {failed} of {len(scans)} scans failed: {', '.join(batch.failed)}", file=sys.stderr)
    return 0 if not failed else ALL_FAILED if failed == len(scans) else SOME_FAILED


def _check(options: Options) -> None:
    """Raise LaminarError for what can be seen to be wrong without a look into a file."""
    if options.pacs is not None:
        Archive.parse(options.pacs)
        if not set(DICOM) & set(options.others):
            raise ConfigError("--pacs sends DICOM files: --format dicom or dicom-enhanced writes them")
    if options.drawn.samples and options.trajectory:
        raise ConfigError("--trajectory shows one way to the image; with --samples there are many")
    if not any(path.exists() for given in options.inputs for path in named(given)):
        raise DataFormatError(f"{', '.join(map(str, options.inputs))}: no such file or folder")
    if options.out.is_file():
        raise ConfigError(f"--out is a folder, where each scan becomes files of its name; {options.out} is a file")


def _one_by_one(scans: list[Scan], work: Work) -> Batch:
    batch, options = Batch(), work.options
    with progress("scans", len(scans), quiet=len(scans) == 1) as report:
        for count, (path, name) in enumerate(scans):
            report(count, name)
            if options.skip_existing and is_finished(path, options.outputs(name), work.request):
                batch.skipped.append(name)
                continue
            try:
                with explaining(str(path)):
                    batch.done.append(done := reconstruct_scan(path, name, work))
            except LaminarError as error:
                if options.verbose:
                    traceback.print_exc()
                batch.failed[name] = naming(str(path), str(error))
                print(f"laminar: error: {batch.failed[name]}", file=sys.stderr)
            else:
                _tell(done, options)
    if batch.skipped and not options.json:
        print(f"{len(batch.skipped)} of {counted(len(scans), 'scan was', 'scans were')} finished")
    return batch


def _tell(done: Done, options: Options) -> None:
    for note in done.notes if not options.json else ():
        print(printable(f"{done.name}: {note}"))


def _many(scans: list[Scan], work: Work) -> Batch:
    """All scans by an executor."""
    options = work.options
    for _, name in scans:
        check_outputs(options, *options.outputs(name))
    started = time.perf_counter()
    batch = in_bulk(
        options.where.place(options.out / "logs"),
        partial(_part, options),
        scans,
        lambda scan: is_finished(scan[0], options.outputs(scan[1]), work.request),
    )
    if not options.json:
        seconds = time.perf_counter() - started
        done, skipped = counted(len(batch.done), "scan"), counted(len(batch.skipped), "was", "were")
        print(f"{done} reconstructed in {seconds:.1f} s, {skipped} finished")
    return batch


def _part(options: Options, scans: tuple[Scan, ...]) -> list[Told]:
    """What a worker does: the name of each scan and what became of it, or if it failed, why."""
    work = work_of(options)
    return [(name, _attempt(path, name, work)) for path, name in scans]


def _attempt(path: Path, name: str, work: Work) -> Done | str:
    try:
        with explaining(str(path)):
            done = reconstruct_scan(path, name, work)
    except LaminarError as error:
        return naming(str(path), str(error))
    _tell(done, work.options)
    return done


def work_of(options: Options) -> Work:
    """What the options ask for, with its model. Raises LaminarError."""
    method = kept_method(options.choice)
    return Work(options, method, options.drawn.intervals(method))


def _explain(work: Work) -> None:
    """What the files hold, and how far to trust it."""
    options, level = work.options, 100 * work.intervals.level
    others = ", ".join(f"NAME{kind}" for kind in options.kinds[1:] if kind != "-uncertainty.png")
    print(f"written to {options.out}/: NAME.h5 (reconstruction, reconstruction_complex){', ' * bool(others)}{others}")
    if options.drawn.samples:
        pictures = ", and NAME-uncertainty.png" if options.figures else ""
        print(f"with uncertainty_std, interval_lower and interval_upper in NAME.h5{pictures}")
        if work.intervals.calibration is None:
            print(f"the {level:g} % intervals are not calibrated: laminar calibrate measures how far to trust them")
    elif options.choice.method in SAMPLERS:
        print("this is one sample, noisier than the posterior mean: --samples 8 gives the mean of eight")
