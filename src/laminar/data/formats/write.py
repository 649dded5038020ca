"""Scans written for other programs: BART, NumPy, ISMRMRD; `fastmri.write_fastmri` writes the fourth layout."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from laminar.data.formats.bart import DIMENSIONS, N_DIMS
from laminar.data.formats.fastmri import HEADER, space, write_fastmri
from laminar.data.formats.sampling import has_whole_lines
from laminar.errors import ConfigError, MissingExtraError
from laminar.files import mark, replacing
from laminar.scan import Placement, Scan

COUNTERS = {"time": "phase", "phase": "phase", "echo": "contrast", "contrast": "contrast"}
COUNTERS |= {"repetition": "repetition", "set": "set", "slice": "slice"}


def counted(scan: Scan) -> dict[str, int]:
    """The axes that count the images, the last one fastest."""
    return dict(scan.series) or {"slice": scan.n_slices}


def write_numpy(path: Path, scan: Scan) -> None:
    """`.npy` complex64 (series.., slice, coil, ky, kx); `named` says its axes."""
    shape = (*counted(scan).values(), *scan.kspace.shape[1:])
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, scan.kspace.numpy(force=True).reshape(shape))


def named(scan: Scan) -> str:
    """The axes of `write_numpy`, as `--axes` takes them."""
    spatial = ("kx", "ky") if scan.grid.readout_axis == -2 else ("ky", "kx")
    return ",".join((*counted(scan), "coil", *spatial))


def write_bart(path: Path, scan: Scan) -> None:
    """A pair `.cfl`, `.hdr`: y and x in READ and PHS1 where y is the readout, else in PHS1 and PHS2."""
    axes = counted(scan)
    if unknown := [name for name in axes if name not in DIMENSIONS]:
        raise ConfigError(f"BART has no dimension for '{unknown[0]}'")
    first = 0 if scan.grid.readout_axis == -2 else 1
    places = [*(DIMENSIONS.index(name) for name in axes), DIMENSIONS.index("coil"), first, first + 1]
    array = scan.kspace.numpy(force=True).reshape(*axes.values(), *scan.kspace.shape[1:])
    sizes = [1] * N_DIMS
    for place, length in zip(places, array.shape, strict=True):
        sizes[place] = length
    ordered = array.transpose([places.index(place) for place in sorted(places)])
    with replacing(path.with_suffix(".cfl")) as data, replacing(path.with_suffix(".hdr")) as header:
        data.write_bytes(ordered.astype("<c8").tobytes(order="F"))
        header.write_text(f"# Dimensions\n{' '.join(map(str, sizes))}\n# Creator\nlaminar\n", encoding="ascii")


def write_ismrmrd(path: Path, scan: Scan) -> None:
    """MRD `.h5`, a readout for every acquired line, with its place if known. Raises ConfigError for no whole lines."""
    try:
        import ismrmrd
    except ModuleNotFoundError as error:
        raise MissingExtraError("ismrmrd", "mrd") from error
    axes = counted(scan)
    if unknown := [name for name in axes if name not in COUNTERS]:
        raise ConfigError(f"ISMRMRD has no counter for '{unknown[0]}'")
    along = _readout(scan)
    turn = -1 if along == -1 else -2
    kspace = scan.kspace.movedim(turn, -1).numpy(force=True)
    masks = scan.mask.movedim(turn, -1).expand(scan.n_slices, *kspace.shape[-2:]).any(-1).numpy(force=True)
    readouts = []
    for image, lines in enumerate(masks):
        at = dict(zip(axes, map(int, np.unravel_index(image, list(axes.values()))), strict=True))
        for line in lines.nonzero()[0]:
            one = ismrmrd.Acquisition.from_array(np.ascontiguousarray(kspace[image, :, line]))
            one.center_sample = kspace.shape[-1] // 2
            one.idx.kspace_encode_step_1 = int(line)
            if scan.placements is not None:
                _place(one, scan.placements, image, along)
            for name, index in at.items():
                setattr(one.idx, COUNTERS[name], index)
            readouts.append(one)
    with replacing(path) as temporary:
        with ismrmrd.File(str(temporary), "w") as file:
            file["dataset"].header = ismrmrd.xsd.CreateFromDocument(_header(scan, along))
            file["dataset"].acquisitions = readouts
        with h5py.File(temporary, "a") as file:
            mark(file)


def _place(readout: Any, placements: Sequence[Placement], image: int, along: int) -> None:
    """The directions of a readout along the axis `along` of its image, and the center of its field of view.

    That of the slices is the one along which they lie in their order, for that is how they are read.
    """
    placement = placements[image]
    axes = [placement.x_axis, placement.y_axis]
    readout.read_dir[:], readout.phase_dir[:] = axes if along == -1 else axes[::-1]
    normal = np.cross(np.array(axes[0]), np.array(axes[1]))
    falling = (np.array(placements[-1].center) - np.array(placements[0].center)) @ normal < 0
    readout.slice_dir[:] = (-normal if falling else normal).tolist()
    readout.position[:] = placement.center


def _readout(scan: Scan) -> int:
    known = scan.grid.readout_axis
    masks = scan.mask.expand(scan.n_slices, *scan.matrix)
    for axis in (known,) if known is not None else (-1, -2):
        if all(has_whole_lines(mask, axis) for mask in masks):
            return axis
    raise ConfigError("ISMRMRD stores whole readouts; the samples of this scan are no whole lines")


def _header(scan: Scan, along: int) -> str:
    (y, x), (height, width) = scan.matrix, scan.image_shape or scan.matrix
    (dy, dx), dz = scan.spacing_mm or (0.0, 0.0), scan.thickness_mm or 0.0
    lines = y if along == -1 else x
    if along == -1:
        encoded, recon = space((x, y), (dx, dy), dz), space((width, height), (dx, dy), dz)
    else:
        encoded, recon = space((y, x), (dy, dx), dz), space((height, width), (dy, dx), dz)
    return HEADER.format(encoded=encoded, recon=recon, maximum=lines - 1, center=lines // 2)


WRITERS: dict[str, tuple[str, Callable[[Path, Scan], None]]] = {
    "fastmri": (".h5", write_fastmri),
    "bart": (".cfl", write_bart),
    "numpy": (".npy", write_numpy),
    "ismrmrd": (".h5", write_ismrmrd),
}
"""The suffix and the writer of every layout."""
