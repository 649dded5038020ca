"""`laminar convert`: a scan in another format."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from laminar.cli.outputs import add_overwrite, check_outputs
from laminar.cli.scans import ScanOptions, add_scan_options
from laminar.cli.volumes import place_notes
from laminar.errors import ConfigError, printable

if TYPE_CHECKING:
    from laminar.scan import Scan


@dataclass(frozen=True)
class Options:
    input: Path
    to: str
    out: Path
    overwrite: bool
    source: ScanOptions


_TARGETS = ("fastmri", "bart", "numpy", "ismrmrd", "nifti", "dicom", "dicom-enhanced", "mrd")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "convert",
        help="write a scan in another format",
        description="Write the k-space of a scan of any format that can be read as another one, or of a fully sampled "
        "scan the images of all its samples (nifti, dicom, dicom-enhanced, mrd).",
    )
    parser.add_argument("input", type=Path, metavar="SCAN", help="a scan file")
    parser.add_argument("--to", choices=_TARGETS, required=True)
    parser.add_argument(
        "out", type=Path, metavar="OUT", help="the file; its suffix is that of the format if it has none"
    )
    add_overwrite(parser)
    add_scan_options(parser)
    parser.set_defaults(run=run, options=Options)


def _write_with_target(path: Path, scan: Scan) -> None:
    """The fastMRI layout, with the root-sum-of-squares images as `reconstruction_rss` of a fully sampled scan."""
    from laminar.data.cases import MOST_ACCELERATED
    from laminar.data.formats import write_fastmri
    from laminar.reconstruction import reference_image

    write_fastmri(path, scan, reference_image(scan) if scan.measured_acceleration <= MOST_ACCELERATED else None)


def _write_images(to: str, source: Path, path: Path, scan: Scan) -> None:
    """The root-sum-of-squares images of a fully sampled scan. Raises ConfigError for another one."""
    from laminar.data.cases import MOST_ACCELERATED
    from laminar.files import replacing
    from laminar.image_files import IMAGE_FORMATS, Volume, digest_of
    from laminar.reconstruction import reference_image

    if scan.measured_acceleration > MOST_ACCELERATED:
        raise ConfigError(
            f"{scan.name}: {to} holds images, and with R = {scan.measured_acceleration:.2f} these are to be "
            f"reconstructed: laminar reconstruct --format {to}"
        )
    volume = Volume(
        reference_image(scan),
        scan.placements,
        scan.spacing_mm,
        scan.thickness_mm,
        scan.series,
        scan.header,
        scan.name,
        "root-sum-of-squares",
        scan=digest_of(source),
        acceleration=scan.measured_acceleration,
    )
    with replacing(path) as temporary:
        IMAGE_FORMATS[to].write(temporary, volume)
    for note in place_notes(volume, [to]):
        print(printable(f"{scan.name}: {note}"))


def _left_out(scan: Scan, to: str) -> list[str]:
    """What the scan knows and its new layout has no place for."""
    kept = _KEPT.get(to)
    if kept is None:
        return []
    lost = [said for name, said in _KNOWN.items() if name not in kept and getattr(scan, name) is not None]
    return [f"not in this layout: {', '.join(lost)}"] if lost else []


_KNOWN = {
    "noise_covariance": "the noise covariance of the coils",
    "noise_std": "the noise level",
    "sensitivities": "the sensitivities of the coils",
    "spacing_mm": "the spacing of the pixels",
    "placements": "where the slices lie",
}
_KEPT = {
    "fastmri": ("noise_std", "sensitivities", "spacing_mm"),
    "ismrmrd": ("spacing_mm", "placements"),
    "bart": (),
    "numpy": (),
}
_SUFFIXES = (".h5", ".hdf5", ".cfl", ".hdr", ".npy", ".nii", ".gz", ".dcm", ".dicom", ".gif")


def run(options: Options) -> int:
    from laminar.data.formats.write import WRITERS, named
    from laminar.image_files import IMAGE_FORMATS

    own = {"fastmri": (".h5", _write_with_target)}
    own |= {to: (one.ending, partial(_write_images, to, options.input)) for to, one in IMAGE_FORMATS.items()}
    suffix, write = own.get(options.to) or WRITERS[options.to]
    path = options.out
    if path.suffix.lower() not in (*_SUFFIXES, suffix):
        path = path.with_name(path.name + suffix)
    outputs = [path.with_suffix(kind) for kind in (".cfl", ".hdr")] if options.to == "bart" else [path]
    check_outputs(options, *outputs)
    scan = options.source.stream(options.input).whole()
    write(path, scan)
    for note in (*scan.header.get("notes", ()), *_left_out(scan, options.to)):
        print(printable(f"{scan.name}: {note}"))
    axes = f", --axes {named(scan)}" if options.to == "numpy" else ""
    print(printable(f"written to {path}{axes}"))
    return 0
