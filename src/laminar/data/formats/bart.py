"""BART `.cfl` and `.hdr`: complex64 in column-major order, axes READ PHS1 PHS2 COIL MAPS ... SLICE AVG
BATCH.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from laminar.data.formats.arrays import Variable, Variables, scan_name
from laminar.data.formats.axes import Array
from laminar.data.formats.format import Format, Request
from laminar.data.formats.layout import stream_variable
from laminar.data.formats.lazy import LazyScan
from laminar.errors import DataFormatError

READ, PHASE1, PHASE2, COIL, MAPS, AVERAGE, N_DIMS = 0, 1, 2, 3, 4, 14, 16
# READ PHS1 PHS2 COIL MAPS TE COEFF COEFF2 ITER CSHIFT TIME TIME2 LEVEL SLICE AVG BATCH
DIMENSIONS = (
    *("kx", "ky", "kz", "coil", "maps", "echo", "coeff", "coeff2"),
    *("iteration", "shift", "time", "time2", "level", "slice", "average", "batch"),
)

LONGEST_HEADER = 2**20


def pair(path: Path) -> tuple[Path, Path] | None:
    """The data and header file that `path` (`x.cfl`, `x.hdr` or `x`) names; None if it names no such pair."""
    base = path.with_suffix("") if path.suffix.lower() in (".cfl", ".hdr") else path
    data, header = Path(f"{base}.cfl"), Path(f"{base}.hdr")
    named = path.suffix.lower() in (".cfl", ".hdr")
    return (data, header) if named or (data.is_file() and not path.is_file()) else None


def dimensions(header: Path) -> list[int]:
    """The sizes below `# Dimensions`, as many as BART would write: 16."""
    if header.stat().st_size > LONGEST_HEADER:
        raise DataFormatError(f"{header}: a header of more than {LONGEST_HEADER} bytes")
    lines = iter(header.read_text(encoding="ascii").splitlines())
    if not any(line.strip() == "# Dimensions" for line in lines):
        raise DataFormatError(f"{header}: has no line '# Dimensions'")
    sizes = [int(word) for word in next(lines, "").split()]
    if not sizes or min(sizes) < 1 or len(sizes) > N_DIMS:
        raise DataFormatError(f"{header}: 1 to {N_DIMS} positive sizes expected; got {sizes}")
    return sizes + [1] * (N_DIMS - len(sizes))


def load(path: Path) -> Array:
    """The array of a pair of files, all 16 axes, mapped into memory."""
    files = pair(path)
    if files is None:
        raise DataFormatError("not the name of a .cfl and .hdr pair")
    data, header = files
    for file in files:
        if not file.is_file():
            reason = "is no regular file" if file.exists() else "is missing"
            raise DataFormatError(f"BART data are two files; {file} {reason}")
    sizes = dimensions(header)
    expected, actual = 8 * int(np.prod(sizes, dtype=object)), data.stat().st_size
    if expected != actual:
        raise DataFormatError(f"the header {sizes} asks for {expected} bytes, {data.name} has {actual}")
    return np.memmap(data, "<c8", "r", shape=tuple(sizes), order="F")


def bart_axes(shape: tuple[int, ...]) -> str:
    """The axis names that BART's order implies, axes of length one dropped."""
    names = [name if length > 1 else "_" for name, length in zip(DIMENSIONS, shape, strict=False)]
    names[COIL] = "coil"
    spatial = [i for i in (READ, PHASE1, PHASE2) if shape[i] > 1]
    for index in spatial if len(spatial) >= 2 else (READ, PHASE1):
        names[index] = DIMENSIONS[index]
    if "maps" in names:
        raise DataFormatError(
            f"BART dimension {MAPS}, of sets of sensitivities, has length {shape[MAPS]}: this is no k-space"
        )
    return ",".join(names)


def trimmed(shape: tuple[int, ...], at_least: int = 0) -> tuple[int, ...]:
    """The shape without the ones at its end."""
    length = max([i + 1 for i, n in enumerate(shape) if n > 1] + [at_least])
    return shape[:length]


def variables(path: Path) -> Variables:
    array = load(path)
    return {scan_name(path): Variable.of(array.reshape(trimmed(array.shape, at_least=COIL + 1), order="F"))}


def stream(path: Path, request: Request) -> LazyScan | None:
    """K-space, the axes of which are BART's unless others are named; ones at the end need no name.

    Dimensions beyond the coils are series of images; averages are averaged.
    """
    if request.variable is not None:
        return None
    array, axes = load(path), request.axes
    if axes is None:
        axes = bart_axes(array.shape)
    else:
        array = array.reshape(trimmed(array.shape, at_least=axes.count(",") + 1), order="F")
    scan = stream_variable(path, Variable.of(array), axes, request.domain)
    averages = array.shape[AVERAGE] if "average" in axes and request.axes is None else 1
    return scan.noting(f"{averages} averages were averaged") if averages > 1 else scan


FORMAT = Format(lambda file: pair(file.path) is not None, variables, stream)
