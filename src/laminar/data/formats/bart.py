"""BART `.cfl` and `.hdr`: complex64 in column-major order, axes READ PHS1 PHS2 COIL MAPS ... SLICE AVG
BATCH.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from laminar.data.formats.arrays import Variable, Variables, scan_name
from laminar.data.formats.axes import Array, arrange, example_axes
from laminar.data.formats.domain import Domain
from laminar.errors import DataFormatError
from laminar.scan import Scan, cartesian

READ, PHASE1, PHASE2, COIL, SLICE, N_DIMS = 0, 1, 2, 3, 13, 16

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
    """The array of a pair of files, all 16 axes."""
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
    return np.fromfile(data, dtype="<c8").reshape(sizes, order="F")


def bart_axes(shape: tuple[int, ...]) -> str:
    """The axis names that BART's order implies, axes of length one dropped."""
    names = ["_"] * len(shape)
    names[COIL] = "coil"
    if shape[SLICE] > 1:
        names[SLICE] = "slice"
    spatial = [i for i in (READ, PHASE1, PHASE2) if shape[i] > 1]
    for index in spatial if len(spatial) >= 2 else (READ, PHASE1):
        names[index] = ("kx", "ky", "kz")[index]
    for index, (name, length) in enumerate(zip(names, shape, strict=True)):
        if name == "_" and length > 1:
            raise DataFormatError(
                f"BART dimension {index} has length {length}; name all axes to use it, "
                f"for example --axes {example_axes(trimmed(shape))}"
            )
    return ",".join(names)


def trimmed(shape: tuple[int, ...], at_least: int = 0) -> tuple[int, ...]:
    """The shape without the ones at its end."""
    length = max([i + 1 for i, n in enumerate(shape) if n > 1] + [at_least])
    return shape[:length]


def read(path: Path, axes: str | None, domain: Domain | None = None) -> Scan:
    """A scan from BART k-space. `axes` overrides the meaning of the axes; ones at the end need no
    name.
    """
    array = load(path)
    if axes is None:
        axes = bart_axes(array.shape)
    else:
        array = array.reshape(trimmed(array.shape, at_least=axes.count(",") + 1))
    kspace, mask, readout = arrange(array, axes, domain)
    return cartesian(kspace, mask, readout_axis=readout, name=scan_name(path), header={"axes": axes})


def variables(path: Path) -> Variables:
    array = load(path)
    return {scan_name(path): Variable.of(array.reshape(trimmed(array.shape, at_least=COIL + 1)))}
