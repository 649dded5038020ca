"""What `laminar reconstruct` does to one scan: from its file to the files that it becomes."""

from __future__ import annotations

import hashlib
import json
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from laminar.addresses import Archive
from laminar.cli.coils import CoilOptions
from laminar.cli.executors import ExecutorOptions
from laminar.cli.formats import DICOM
from laminar.cli.methods import MapOptions, MethodOptions
from laminar.cli.outputs import check_outputs
from laminar.cli.pictures import draw, names_of, reference_of, stored_reference
from laminar.cli.progress import progress
from laminar.cli.samples import Intervals, SampleOptions
from laminar.cli.scans import ScanOptions
from laminar.cli.summary import Done
from laminar.cli.undersampling import Undersampling
from laminar.cli.volumes import place_notes, volume_of

if TYPE_CHECKING:
    from torch import Tensor

    from laminar.data.formats import LazyScan
    from laminar.methods import Method
    from laminar.reconstruction import SliceReconstruction
    from laminar.uncertainty import Spread


@dataclass(frozen=True)
class Options:
    inputs: tuple[Path, ...]
    out: Path
    overwrite: bool
    source: ScanOptions
    array: CoilOptions
    sets: MapOptions
    trajectory: bool
    device: str
    verbose: bool
    choice: MethodOptions
    drawn: SampleOptions
    undersampling: Undersampling
    where: ExecutorOptions
    format: tuple[str, ...]
    skip_existing: bool = False
    figures: bool = True
    json: bool = False
    together: str | None = None
    pacs: str | None = None

    @property
    def kinds(self) -> tuple[str, ...]:
        """How the names of the files end that a scan becomes."""
        from laminar.image_files import IMAGE_FORMATS

        pictures = (".png", *(("-uncertainty.png",) * bool(self.drawn.samples)))
        return (".h5", *(pictures * self.figures), *(IMAGE_FORMATS[format].ending for format in self.others))

    def files(self, name: str) -> list[tuple[str, Path]]:
        """The files that a scan becomes, each with its kind."""
        return [(kind, self.out / f"{name}{kind}") for kind in self.kinds]

    def outputs(self, name: str) -> list[Path]:
        return [path for _, path in self.files(name)]

    @property
    def others(self) -> list[str]:
        """The formats beside HDF5, each once."""
        return [format for format in dict.fromkeys(self.format) if format != "h5"]


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
            options.source,
            options.together,
            options.array,
            options.sets.n_maps,
            options.trajectory,
            options.drawn,
            self.intervals,
            options.undersampling,
        )
        all_of_it = [method.kind, method.name, method.fingerprint, dict(method.settings), told]
        return hashlib.sha256(repr(all_of_it).encode()).hexdigest()


def reconstruct_scan(path: Path, name: str, work: Work) -> Done:
    """Reconstruct a scan slice by slice, with no more than two of its slices in memory."""
    from laminar.figures import uncertainty_figure
    from laminar.files import replacing
    from laminar.image_files import IMAGE_FORMATS
    from laminar.metrics import fastmri_metrics

    options, method, intervals = work.options, work.method, work.intervals
    check_outputs(options, *options.outputs(name))
    before = _before(options.outputs(name)[0], work)
    full = options.source.stream(path)
    scan = options.undersampling.apply(full, path.name)
    scan = _together(options.array.compressed(scan), options)
    options.choice.check(scan.geometry, path)
    scan = options.array.with_maps(scan)
    title = f"{name}, R = {scan.measured_acceleration:.1f}"
    with ExitStack() as written:
        new = {kind: written.enter_context(replacing(path)) for kind, path in options.files(name)}
        started = time.perf_counter()
        magnitude, spread, places, notes = _write_slices(new[".h5"], name, scan, work)
        seconds = time.perf_counter() - started
        reference = stored_reference(path, magnitude)
        if options.undersampling.wanted:
            reference = reference_of(_together(full, options))
        metrics = None if reference is None else fastmri_metrics(magnitude, reference)
        names = names_of(scan, places[0])
        if options.figures:
            title += f", {names[len(names) // 2]}" if names else ""
            draw(new[".png"], method.name, magnitude, reference, metrics, title, names)
        if options.others:
            volume = volume_of(path, scan, magnitude, spread, places, work.method.name, work.request)
            notes += place_notes(volume, options.others)
            for format in options.others:
                IMAGE_FORMATS[format].write(new[IMAGE_FORMATS[format].ending], volume)
        if options.figures and spread is not None:
            kind = "not calibrated" if intervals.calibration is None else f"{intervals.calibration.kind} factor"
            said = f"{method.name}, {options.drawn.samples} samples, {100 * intervals.level:g} % intervals, {kind}"
            interval = None if reference is None else spread.interval(intervals.level, intervals.calibration)
            uncertainty_figure(spread, new["-uncertainty.png"], reference, interval, f"{title}: {said}")
    notes += before + sent(options, name)
    first, *axes = places[0].axes
    shape = {first: scan.n_slices, "coil": scan.n_coils, **dict(zip(axes, places[0].image.shape, strict=True))}
    mask = options.undersampling.describe(scan) if options.undersampling.wanted else None
    outputs = options.outputs(name)
    return Done(name, path, outputs, shape, scan.measured_acceleration, seconds, mask, metrics, notes)


def _before(output: Path, work: Work) -> list[str]:
    """What is to be said of the result that stood there, if it was of another method or other settings."""
    import h5py

    if not output.exists():
        return []
    with suppress(OSError), h5py.File(output, "r") as file:
        told = {key: file.attrs.get(key) for key in ("request", "model", "method")}
        if told["request"] not in (None, work.request):
            return [f"replaces a reconstruction by {told['model'] or told['method']} with other settings"]
    return []


def sent(options: Options, name: str) -> list[str]:
    """Send the DICOM files of a scan to the archive of `--pacs`, if there is one, and say so."""
    from laminar.image_files import IMAGE_FORMATS, send

    if options.pacs is None:
        return []
    archive = Archive.parse(options.pacs)
    folders = [options.out / f"{name}{IMAGE_FORMATS[format].ending}" for format in options.others if format in DICOM]
    return [f"{send(folder, archive)} DICOM files of {folder} are in {archive}" for folder in folders]


def _together(scan: LazyScan, options: Options) -> LazyScan:
    """The scan with the images that are to be solved together as one."""
    from laminar.data.formats import LazyScan
    from laminar.data.series import together

    return scan if options.together is None else LazyScan.of(together(scan.whole(), options.together))


def _write_slices(
    file: Path, name: str, scan: LazyScan, work: Work
) -> tuple[Tensor, Spread | None, list[SliceReconstruction], list[str]]:
    """Write image by image; what the pictures show, (image, y, x) of all images, stays in memory.

    Last, what is to be said of it.
    """
    import torch

    from laminar.data.formats import padding_note, partial_note
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
        n_maps=work.options.sets.n_maps,
        device=work.options.device,
    )
    attributes = _attributes(scan, work)
    log = list(scan.notes)
    if scan.is_planar_grid:
        missing = partial_note(scan.grid.union)
        partial = f"{missing}; the other side is zero, unless --method pocs" if missing else None
        log += filter(None, [padding_note(scan.grid.union), partial])
    log += intervals.doubts(scan.measured_acceleration)
    magnitudes, spreads, places = [], [], []
    with (
        writing_reconstruction(
            file, scan.n_slices, attributes, notes=log, level=intervals.level, calibration=intervals.calibration
        ) as write,
        progress(name, scan.n_slices, quiet=scan.n_slices == 1 or len(work.options.inputs) > 1) as report,
    ):
        for done, result in enumerate(slices, start=1):
            write(result)
            magnitudes.append(result.magnitude)
            places.append(replace(result, trajectory=None))
            spreads += [] if result.spread is None else [result.spread]
            log += result.log
            report(done)
    images = torch.stack(magnitudes).flatten(0, -3)
    return images, Spread.stack(spreads).flat() if spreads else None, places, log


def _attributes(scan: LazyScan, work: Work) -> dict[str, Any]:
    options, method = work.options, work.method
    attributes: dict[str, Any] = {
        "request": work.request,
        "model" if options.choice.method == "network" else "method": method.name,
        "acceleration": scan.measured_acceleration,
        "geometry": scan.geometry.kind,
    }
    if options.array.coils is not None:
        attributes["coils"] = scan.n_coils
    if scan.series:
        attributes["series"] = json.dumps(dict(scan.series))
    if (fingerprint := method.fingerprint) is not None:
        attributes["fingerprint"] = fingerprint
    if method.settings:
        attributes["settings"] = json.dumps(dict(method.settings))
    if method.draws:
        attributes |= {"samples": options.drawn.samples, "sample_seed": options.drawn.sample_seed or 0}
    if options.drawn.samples:
        attributes["interval_level"] = work.intervals.level
    if options.undersampling.wanted:
        attributes["mask"] = options.undersampling.describe(scan)
    return attributes
