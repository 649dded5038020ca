"""`laminar dataset check` on a folder with planted faults, and its time on many files: simulated scans.

    python -m benchmarks.dataset_check [--files 200]

writes results/dataset_check.json: found and planted by kind, false alarms, seconds without and with the index.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import torch
from torch import Tensor

from benchmarks.record import write_record
from laminar.data.check import check_folder
from laminar.data.simulation.volume import simulate_file
from laminar.operators import fft2c, ifft2c

MATRIX, COILS, SLICES, NOISE = (96, 80), 4, 2, 0.01
CLEAN = 12


def _magnitudes(k: Tensor) -> Tensor:
    return fft2c(ifft2c(k).abs().to(k.dtype))


def _interpolated(k: Tensor) -> Tensor:
    """Images of half the size, enlarged again."""
    image = torch.view_as_real(ifft2c(k)[..., ::2, ::2]).permute(0, 1, 4, 2, 3).flatten(0, 1)
    large = torch.nn.functional.interpolate(image, size=k.shape[-2:], mode="bilinear")
    pairs = large.unflatten(0, k.shape[:2]).permute(0, 1, 3, 4, 2).contiguous()
    return fft2c(torch.view_as_complex(pairs))


def _filtered(k: Tensor) -> Tensor:
    y, x = (torch.hamming_window(n, periodic=False) for n in k.shape[-2:])
    return k * y[:, None] * x


def _kept(k: Tensor, rows: slice, columns: slice) -> Tensor:
    kept = torch.zeros_like(k)
    kept[..., rows, columns] = k[..., rows, columns]
    return kept


def _part(k: Tensor, coil: int, value: complex) -> Tensor:
    changed = k.clone()
    changed[:, coil] = value
    return changed


FAULTS: dict[str, tuple[str, Callable[[Tensor], Tensor]]] = {
    "nan": ("not-finite", lambda k: _part(k, 1, complex("nan"))),
    "zero": ("empty", torch.zeros_like),
    "dead": ("dead-coil", lambda k: _part(k, 2, 0)),
    "magnitude": ("hermitian", _magnitudes),
    "padded": ("zero-padded", lambda k: _kept(k, slice(16, 80), slice(12, 68))),
    "partial": ("partial", lambda k: _kept(k, slice(None), slice(24, None))),
    "enlarged": ("low-pass", _interpolated),
    "filtered": ("low-pass", _filtered),
    "corner": ("off-center", lambda k: torch.fft.ifftshift(k, (-2, -1))),
}
"""By name of a file the kind of finding, and what was done to its k-space."""


def plant(root: Path) -> dict[str, set[str]]:
    """Clean and faulty files in `root`, split in three; the kinds of findings that each faulty one must give."""
    names = [f"train/clean{i}.h5" for i in range(CLEAN - 4)] + [
        f"{s}/clean{i}.h5" for s in ("val", "test") for i in (0, 1)
    ]
    for seed, name in enumerate(names):
        simulate_file(root / name, "mixed", MATRIX, COILS, SLICES, NOISE, seed)
    for seed, (name, (_, change)) in enumerate(FAULTS.items(), start=100):
        _rewritten(root / f"train/{name}.h5", seed, change)
    simulate_file(root / "train/quiet.h5", "brain", MATRIX, COILS, SLICES, 0.0, 200)
    simulate_file(root / "train/coils.h5", "brain", MATRIX, COILS + 1, SLICES, NOISE, 201)
    for name, factor in (("copy", 1.0), ("scaled", 0.37)):  # of other scans, in another split, under other names
        _copied(root / f"train/clean{int(factor == 1)}.h5", root / f"val/{name}.h5", factor)
    _rewritten(root / "test/leaked.h5", 202, lambda k: k, subject="simulated-3")
    whole = (root / "train/clean2.h5").read_bytes()
    (root / "train/cut.h5").write_bytes(whole[: len(whole) // 2])
    (root / "train/nothing.h5").write_bytes(b"")
    (root / "README.md").write_text("notes")
    (root / "train/.hidden.h5").write_bytes(b"no scan")
    planted = {f"train/{name}.h5": {kind} for name, (kind, _) in FAULTS.items()}
    planted |= {"train/quiet.h5": {"noise-free"}, "train/coils.h5": {"unusual"}, "test/leaked.h5": {"leak"}}
    planted |= {f"train/{name}.h5": {"corrupt"} for name in ("cut", "nothing")}
    return planted | {"val/copy.h5": {"duplicate"}, "val/scaled.h5": {"duplicate"}}


def _rewritten(path: Path, seed: int, change: Callable[[Tensor], Tensor], subject: str | None = None) -> None:
    simulate_file(path, "brain", MATRIX, COILS, SLICES, NOISE, seed)
    with h5py.File(path, "r+") as file:
        file["kspace"][...] = change(torch.from_numpy(file["kspace"][()])).numpy().astype(np.complex64)
        file.attrs["patient_id"] = subject or file.attrs["patient_id"]


def _copied(source: Path, path: Path, factor: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(source, "r") as old, h5py.File(path, "w") as new:
        new.create_dataset("kspace", data=np.complex64(factor) * old["kspace"][()], compression="gzip")
        new["ismrmrd_header"] = old["ismrmrd_header"][()]


def score(root: Path, planted: dict[str, set[str]]) -> tuple[dict[str, list[int]], list[str]]:
    """Found and planted by kind, and what was found where nothing was planted."""
    reported = [(finding.kind, set(finding.files)) for finding in check_folder(root).findings]
    kinds: dict[str, list[int]] = {}
    for name, expected in planted.items():
        for kind in expected:
            count = kinds.setdefault(kind, [0, 0])
            count[0] += any(kind == k and name in files for k, files in reported)
            count[1] += 1
    false = [f"{kind}: {', '.join(sorted(files))}" for kind, files in reported if not files & set(planted)]
    return kinds, false


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=200)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        kinds, false = score(Path(folder), plant(Path(folder)))
    print(kinds, false)
    with tempfile.TemporaryDirectory() as folder:
        seconds = _seconds(Path(folder), args.files)
    values = {"kinds": kinds, "false_alarms": false, "files": args.files, "seconds": seconds}
    found, planted = (sum(count[i] for count in kinds.values()) for i in (0, 1))
    write_record("dataset_check", {"data": "simulated", "found": found, "planted": planted, **values})


def _seconds(root: Path, files: int) -> dict[str, float]:
    """Of `files` files of 320 x 320, 8 coils, one slice, without and with the index; and of the processor."""
    random = np.random.default_rng(0)
    for index in range(files):
        with h5py.File(root / f"{index:05}.h5", "w") as file:
            noise = random.standard_normal((2, 1, 8, 320, 320), dtype=np.float32)
            file["kspace"] = noise[0] + 1j * noise[1]
    seconds = {}
    for name in ("first", "indexed"):
        started, busy = time.perf_counter(), time.process_time()
        check_folder(root)
        seconds[name] = round(time.perf_counter() - started, 2)
        seconds[f"{name}_cpu"] = round(time.process_time() - busy, 2)
    return seconds


if __name__ == "__main__":
    main()
