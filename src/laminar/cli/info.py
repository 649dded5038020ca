"""`laminar info`: what is in a file, or what a model's card says."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from laminar.cli.scans import ScanOptions, add_scan_options
from laminar.errors import (
    ALL_FAILED,
    SOME_FAILED,
    CheckpointError,
    ConfigError,
    DataFormatError,
    LaminarError,
    explaining,
    printable,
)

if TYPE_CHECKING:
    from laminar.data.formats import LazyScan
    from laminar.scan import Scan


@dataclass(frozen=True)
class Options:
    targets: tuple[str, ...]
    json: bool
    source: ScanOptions


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "info",
        help="what is in scan files, or a model's card",
        description="Show what is in scan files (axes, coils, mask, measured acceleration, noise level), of a folder "
        "in each of them, or the card of a model (a checkpoint folder, or one that ships: default).",
    )
    parser.add_argument("targets", nargs="+", metavar="FILE|DIR|MODEL")
    parser.add_argument("--json", action="store_true", help="print everything as JSON, by target")
    add_scan_options(parser)
    parser.set_defaults(run=run, options=Options)


def run(options: Options) -> int:
    told: dict[str, Any] = {}
    failed = []
    for target in _targets(options.targets):
        try:
            with explaining(target):
                told[target] = _about(target, options)
        except LaminarError as error:
            failed.append(target)
            print(f"laminar: error: {error}", file=sys.stderr)
            continue
        if not options.json:
            print("\n" * (len(told) > 1), end="")
            _print_tree(told[target])
    if options.json:
        print(json.dumps(told, indent=1, default=str))
    return 0 if not failed else SOME_FAILED if told else ALL_FAILED


def _targets(given: Sequence[str]) -> Iterator[str]:
    """The targets, and instead of a folder of scans what lies in it."""
    from laminar.data.formats import find_scans

    for target in given:
        yield from map(str, find_scans([Path(target)])) if _holds_scans(target) else [target]


def _holds_scans(target: str) -> bool:
    """Whether this is a folder that stands for no model."""
    from laminar.models.checkpoint import SETTINGS, find

    try:
        return Path(target).is_dir() and not (find(target) / SETTINGS).exists()
    except CheckpointError:  # a training run, say: opening it as a model tells what to name instead
        return False


def _about(target: str, options: Options) -> dict[str, Any]:
    from laminar.models.checkpoint import find

    path = Path(target)
    if path.is_dir() or (not path.exists() and not path.suffix):
        try:
            return _model(find(target))
        except CheckpointError:
            if not Path(f"{path}.hdr").exists():  # a BART scan by its base name
                raise
    return _file(path, options)


def _model(folder: Path) -> dict[str, Any]:
    from laminar.methods import fingerprint
    from laminar.models import load_any
    from laminar.models.checkpoint import read_settings, read_weights

    settings = read_settings(folder)
    facts: dict[str, Any] = {
        "model": folder.name,
        "kind": settings["format"].removeprefix("laminar-").replace("-", " "),
        "parameters": sum(tensor.numel() for tensor in read_weights(folder, settings).values()),
        "sha256": settings["sha256"],
    }
    regularizer = settings["config"].get("regularizer")
    if not isinstance(regularizer, dict) or regularizer.get("kind") != "custom":
        model = load_any(folder)
        facts["fingerprint"] = fingerprint(model)
        facts |= _schedule(model)
    return facts | {"configuration": settings["config"], "card": settings["card"]}


def _schedule(model: Any) -> dict[str, Any]:
    """What became of the schedule that the configuration starts from, and of the widths that go with it."""
    from laminar.models.coefficients import FlowCoefficients

    coefficients = getattr(model, "coefficients", None)
    if not isinstance(coefficients, FlowCoefficients):
        return {}
    values = {"times": coefficients.times()}
    if coefficients.data_step.knows_width:
        values["widths nu of an ordinary scan"] = coefficients.log_width()[:, 0].exp()
    return {"after training": {name: [float(f"{v:.3g}") for v in found.tolist()] for name, found in values.items()}}


def _file(path: Path, options: Options) -> dict[str, Any]:
    from laminar.data.formats import describe

    found = describe(path)
    try:
        scan = options.source.stream(path)
    except DataFormatError as error:
        if not options.source.idle:
            raise
        return found | {"not read as a scan": str(error)}
    return found | {"read as": _facts(scan)}


_LIMIT = 64


def _facts(scan: LazyScan) -> dict[str, Any]:
    from laminar.data.coils import calibration_region
    from laminar.data.formats import padding_note, partial_note
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
    if (note := partial_note(scan.grid.union)) is not None:
        facts["partial"] = note
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
    if first.thickness_mm is not None:
        facts["slice thickness (mm)"] = round(first.thickness_mm, 3)
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
    mask = scan.grid.of_image(0).mask
    if bool(mask.all()):
        return "none, fully sampled"
    gaps = {"y": mask.any(1), "x": mask.any(0)}
    axes = [axis for axis, lines in gaps.items() if not bool(lines.all())]
    return " and ".join(axes) if axes else "y and x"


def _print_tree(values: dict[str, Any], indent: int = 0) -> None:
    for key, value in values.items():
        if value == {}:
            continue
        if isinstance(value, dict):
            print(printable(f"{'  ' * indent}{key}:"))
            _print_tree(value, indent + 1)
        elif isinstance(value, str) and "\n" in value:
            print(printable(f"{'  ' * indent}{key}:"))
            for line in value.rstrip().splitlines():
                print(printable(f"{'  ' * (indent + 1)}{line}"))
        else:
            print(printable(f"{'  ' * indent}{key}: {value}"))
