"""Reading a scan of every format beside plain reading of the same bytes: MB/s of k-space.

    python -m benchmarks.readers [--slices 8] [--rounds 5]

The same fully sampled k-space, simulated noise of 15 coils at 320 x 320, in files that the system has just written
and so keeps in memory. "plain": h5py, `numpy.fromfile` or `numpy.load`, the bytes as an array and nothing else;
"Laminar": from the path to the `Scan`, with its checks, its mask and the order of its axes. They take turns; a
ratio compares two of the same round, by processor seconds. Then the same of training: see benchmarks/loading.py.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks import loading
from benchmarks.operators import summary, take_turns
from benchmarks.record import write_record
from laminar.data.formats import read, stream, write_fastmri
from laminar.data.formats.fastmri import header_xml
from laminar.runtime import keep_freed_memory
from laminar.scan import Scan, cartesian

sys.path.append(str(Path(__file__).parents[1] / "tests" / "data" / "formats"))
import scan_files

COILS, SIZE = 15, 320
PAIR = np.dtype([("real", "<f4"), ("imag", "<f4")])
Reader = tuple[Callable[[], Any], Callable[[], Any]]


def fastmri_file(path: Path, scan: Scan) -> Reader:
    write_fastmri(path, scan)
    return lambda: read(path), lambda: dataset(path, "kspace")


def in_slices(path: Path, scan: Scan, **how: Any) -> Reader:
    """One slice after the other, as a loader reads them; plain: the same with h5py."""
    with h5py.File(path, "w") as file:
        file.create_dataset("kspace", data=scan.kspace.numpy(), **how)
        file["ismrmrd_header"] = header_xml(scan)

    def ours() -> Scan:
        lazy = stream(path)
        return [lazy.slice(index) for index in range(lazy.n_slices)][-1]

    def plain() -> Any:
        with h5py.File(path) as file:
            return [file["kspace"][index] for index in range(len(file["kspace"]))][-1]

    return ours, plain


def gzip_file(path: Path, scan: Scan) -> Reader:
    """All of a volume compressed as one chunk; plain: all at once, for h5py unpacks a chunk anew for each slice."""
    ours, _ = in_slices(path, scan, chunks=tuple(scan.kspace.shape), compression="gzip", compression_opts=1)
    return ours, lambda: dataset(path, "kspace")


def mrd2_file(path: Path, scan: Scan) -> Reader:
    import mrd

    scan_files.write_mrd2(path, scan.kspace.numpy())

    def plain() -> Any:
        with mrd.BinaryMrdReader(str(path)) as reader:
            reader.read_header()
            return [item.value.data for item in reader.read_data()][-1]

    return lambda: read(path), plain


def siemens_file(path: Path, scan: Scan) -> Reader:
    import twixtools

    scan_files.write_siemens(path, scan.kspace.numpy())

    def plain() -> Any:
        found = twixtools.read_twix(str(path), parse_pmu=False, parse_geometry=False, verbose=False)
        return [block.data for block in found[-1]["mdb"]][-1]

    return lambda: read(path), plain


def bart_file(path: Path, scan: Scan) -> Reader:
    """(kx, ky, 1, coil, ..., slice), the first axis fastest."""
    slices = len(scan.kspace)
    path.with_suffix(".hdr").write_text("# Dimensions\n" + f"{SIZE} {SIZE} 1 {COILS}" + " 1" * 9 + f" {slices}\n")
    scan.kspace.numpy().tofile(path)
    return lambda: read(path), lambda: np.fromfile(path, "<c8")


def numpy_file(path: Path, scan: Scan) -> Reader:
    np.save(path, scan.kspace.numpy())
    return lambda: read(path, axes="slice,coil,ky,kx"), lambda: np.load(path)


def matlab_file(path: Path, scan: Scan) -> Reader:
    """Version 7.3: the axes reversed in the file, complex numbers as pairs."""
    with h5py.File(path, "w", userblock_size=512) as file:
        file["kspace"] = scan.kspace.numpy().view(PAIR)
        file["kspace"].attrs["MATLAB_class"] = np.bytes_("single")
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file".ljust(116) + bytes(8) + b"\x00\x02IM")
    return lambda: read(path, axes="kx,ky,coil,slice"), lambda: dataset(path, "kspace")


def ismrmrd_file(path: Path, scan: Scan) -> Reader:
    import ismrmrd

    with ismrmrd.Dataset(str(path)) as file:
        file.write_xml_header(header_xml(scan).encode())
        for index, lines in enumerate(scan.kspace.numpy().transpose(0, 2, 1, 3)):
            for row, line in enumerate(lines):
                readout = ismrmrd.Acquisition.from_array(np.ascontiguousarray(line), center_sample=SIZE // 2)
                readout.idx.kspace_encode_step_1, readout.idx.slice = row, index
                file.append_acquisition(readout)
    return lambda: read(path), lambda: dataset(path, "dataset/data")


def dataset(path: Path, name: str) -> Any:
    with h5py.File(path, "r") as file:
        return file[name][()]


FILES = {
    "fastMRI": ("scan.h5", fastmri_file),
    "fastMRI, slice by slice": ("slices.h5", in_slices),
    "fastMRI, one gzip chunk": ("chunk.h5", gzip_file),
    "BART": ("scan.cfl", bart_file),
    "NumPy": ("scan.npy", numpy_file),
    "MATLAB v7.3": ("scan.mat", matlab_file),
    "ISMRMRD": ("scan.mrd.h5", ismrmrd_file),
    "MRD version 2": ("scan.mrd2", mrd2_file),
    "Siemens": ("scan.dat", siemens_file),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    keep_freed_memory()
    noise = torch.Generator().manual_seed(0)
    kspace = torch.randn(args.slices, COILS, SIZE, SIZE, dtype=torch.complex64, generator=noise)
    scan = cartesian(kspace, torch.ones(SIZE, SIZE, dtype=torch.bool), readout_axis=-2, name="noise")
    megabytes, results = kspace.nbytes / 1e6, {}
    view = Table("format", "Laminar, MB/s", "plain, MB/s", "times as long (range)", title=f"{megabytes:.0f} MB")
    for name, (file, write) in FILES.items():
        with tempfile.TemporaryDirectory() as folder:
            ours, plain = write(Path(folder) / file, scan)
            assert ours().kspace.shape[1:] == kspace.shape[1:]
            found = summary(take_turns({"Laminar": ours, "plain": plain}, args.rounds), "plain")
        rates = {who: megabytes / row["processor_seconds"][0] for who, row in found.items()}
        middle, low, high = found["Laminar"]["processor_seconds_ratio"]
        view.add_row(name, *(f"{rate:.0f}" for rate in rates.values()), f"{middle:.2f} ({low:.2f} to {high:.2f})")
        results[name] = {"megabytes_per_second": rates, "seconds": found}
    with tempfile.TemporaryDirectory() as folder:
        training = loading.measure(Path(folder), args.rounds)
    batches = Table("what", "ms a batch (processor)", title="training")
    for who, row in training["seconds_a_batch"].items():
        batches.add_row(who, f"{1e3 * row['processor_seconds'][0]:.0f}")
    for table in (view, batches):
        Console(width=100).print(table)
    print(write_record("readers", {"megabytes": megabytes, "formats": results, "training": training}))


if __name__ == "__main__":
    main()
