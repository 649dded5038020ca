"""`laminar info`: what is in a file, or what a model's card says."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from laminar.cli.scans import ScanOptions, add_scan_options
from laminar.errors import CheckpointError, ConfigError, DataFormatError, printable

if TYPE_CHECKING:
    from laminar.data.formats import LazyScan
    from laminar.scan import Scan


@dataclass(frozen=True)
class Options:
    target: str
    source: ScanOptions


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "info",
        help="what is in a scan file, or a model's card",
        description="Show what is in a scan file (axes, coils, mask, measured acceleration, noise level) or the card "
        "of a model (a checkpoint folder, or one that ships: default).",
    )
    parser.add_argument("target", metavar="FILE|MODEL")
    add_scan_options(parser)
    parser.set_defaults(run=run, options=Options)


def run(options: Options) -> int:
    from laminar.models.checkpoint import find

    path = Path(options.target)
    if path.is_dir() or (not path.exists() and not path.suffix):
        try:
            return _model(find(options.target))
        except CheckpointError:
            if not Path(f"{path}.hdr").exists():  # a BART scan by its base name
                raise
    return _file(path, options)


def _model(folder: Path) -> int:
    from laminar.methods import fingerprint
    from laminar.models import load_any
    from laminar.models.checkpoint import read_settings, read_weights

    settings = read_settings(folder)
    count = sum(tensor.numel() for tensor in read_weights(folder, settings).values())
    kind = settings["format"].removeprefix("laminar-").replace("-", " ")
    print(f"model {folder.name}: {kind}, {count:,} parameters, sha256 {settings['sha256'][:16]}")
    regularizer = settings["config"].get("regularizer")
    if not isinstance(regularizer, dict) or regularizer.get("kind") != "custom":
        model = load_any(folder)
        print(f"fingerprint, as in what it makes: {fingerprint(model)}")
    _print_tree({"configuration": settings["config"], "card": settings["card"]})
    return 0


def _file(path: Path, options: Options) -> int:
    from laminar.data.formats import describe

    _print_tree(describe(path))
    try:
        scan = options.source.stream(path)
    except DataFormatError as error:
        if not options.source.idle:
            raise
        print(f"not read as a scan: {error}")
        return 0
    _print_tree({"read as": _facts(scan)})
    return 0


_LIMIT = 64


def _facts(scan: LazyScan) -> dict[str, Any]:
    from laminar.data.coils import calibration_region
    from laminar.data.formats import padding_note
    from laminar.data.preparation import noise_std_of

    first = scan.slice(0)
    if not scan.is_planar_grid:
        return _other_facts(scan, first)
    facts: dict[str, Any] = {
        **({"series": ", ".join(f"{n} {name}s" for name, n in scan.series.items())} if scan.series else {}),
        "images" if scan.series else "slices": scan.n_slices,
        "coils": scan.n_coils,
        "matrix (y, x)": list(scan.matrix),
        "image shape (y, x)": list(first.image_shape or scan.matrix),
        "measured acceleration": round(scan.measured_acceleration, 3),
        "undersampled axis": _undersampled(scan),
        "sensitivities": "in the file" if first.sensitivities is not None else "to be estimated",
    }
    if scan.notes:
        facts["notes"] = {str(i): note for i, note in enumerate(scan.notes, 1)}
    if (note := padding_note(scan.grid.union)) is not None:
        facts["padding"] = note
    try:
        rows, columns = calibration_region(scan.grid.common_mask, limit=_LIMIT)
        facts[f"calibration region (y, x), up to {_LIMIT}"] = [rows.stop - rows.start, columns.stop - columns.start]
    except (DataFormatError, ConfigError):
        facts[f"calibration region (y, x), up to {_LIMIT}"] = "none"
    given = first.noise_std is not None
    noise = first.noise_std if first.noise_std is not None else noise_std_of(scan)
    facts["noise std per complex sample"] = f"{noise:.4g} ({'from the scan' if given else 'estimated'})"
    if first.spacing_mm is not None:
        facts["pixel (mm)"] = [round(size, 3) for size in first.spacing_mm]
    return facts


def _other_facts(scan: LazyScan, first: Scan) -> dict[str, Any]:
    """What there is to say of a scan that is not planar and Cartesian."""
    from laminar.data.preparation import noise_std_of

    geometry = scan.geometry
    facts: dict[str, Any] = {
        "geometry": geometry.kind,
        "images": scan.n_slices,
        f"data of an image ({', '.join(geometry.axes)})": list(first.data.shape[1:]),
        f"image ({', '.join(geometry.image_axes)})": list(geometry.shape),
        "measured acceleration": round(scan.measured_acceleration, 3),
        "noise std of a sample": f"{noise_std_of(scan):.4g}",
    }
    return facts | ({"notes": {str(i): note for i, note in enumerate(scan.notes, 1)}} if scan.notes else {})


def _undersampled(scan: LazyScan) -> str:
    mask = scan.grid.common_mask
    if bool(mask.all()):
        return "none, fully sampled"
    gaps = {"y": mask.any(1), "x": mask.any(0)}
    axes = [axis for axis, lines in gaps.items() if not bool(lines.all())]
    return " and ".join(axes) if axes else "y and x"


def _print_tree(values: dict[str, Any], indent: int = 0) -> None:
    for key, value in values.items():
        if isinstance(value, dict):
            print(printable(f"{'  ' * indent}{key}:"))
            _print_tree(value, indent + 1)
        elif isinstance(value, str) and "\n" in value:
            print(printable(f"{'  ' * indent}{key}:"))
            for line in value.rstrip().splitlines():
                print(printable(f"{'  ' * (indent + 1)}{line}"))
        else:
            print(printable(f"{'  ' * indent}{key}: {value}"))
