"""The one door: the same scan from every container, and one clear line for whatever cannot be read."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
import torch
from scan_files import ARRAY_WRITERS, random_kspace, write_cfl, write_mat5, write_npy, write_small_mrd

from laminar.data.formats import describe, find_scans, read, read_target
from laminar.data.formats.mat5 import mat5_variables
from laminar.errors import DataFormatError
from laminar.operators import ifft2c

TRUTH = random_kspace(3, 6, 5)  # (coil, y, x)


def refusal(path: Path, **options: str) -> str:
    """The one line with which `read` refuses a file."""
    with pytest.raises(DataFormatError) as caught:
        read(path, **options)
    line = str(caught.value)
    assert line.startswith(str(path))
    assert "\n" not in line
    return line.removeprefix(str(path))


@pytest.mark.parametrize("suffix", ARRAY_WRITERS)
@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_every_container_gives_the_same_scan(tmp_path: Path, suffix: str, dtype: type) -> None:
    path = tmp_path / f"scan{suffix}"
    ARRAY_WRITERS[suffix](path, TRUTH.transpose(1, 2, 0).astype(dtype))
    scan = read(path, axes="ky,kx,coil")
    assert torch.equal(scan.kspace, torch.from_numpy(TRUTH)[None])
    assert scan.kspace.dtype == torch.complex64
    assert scan.name == f"scan{suffix}".removesuffix(path.suffix)
    arrays = describe(path)["variables"]
    assert [6, 5, 3] in [entry["shape"][:3] for entry in arrays.values()]


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".v5.mat", ".v73.mat", ".h5"])
def test_content_decides_not_the_name(tmp_path: Path, suffix: str) -> None:
    ARRAY_WRITERS[suffix](tmp_path / f"scan{suffix}", TRUTH)
    disguised = tmp_path / "scan.dat"
    shutil.copy(tmp_path / f"scan{suffix}", disguised)
    assert torch.equal(read(disguised, axes="coil,ky,kx").kspace[0], torch.from_numpy(TRUTH))


def test_a_matrix_is_one_slice_of_one_coil(tmp_path: Path) -> None:
    write_npy(tmp_path / "a.npy", TRUTH[0])
    assert read(tmp_path / "a.npy").kspace.shape == (1, 1, 6, 5)


def test_missing_choices_are_named_with_what_is_there(tmp_path: Path) -> None:
    write_npy(tmp_path / "a.npy", TRUTH)
    assert "(3, 6, 5)" in (line := refusal(tmp_path / "a.npy"))
    assert "--axes coil,ky,kx" in line

    np.savez(tmp_path / "b.npz", first=TRUTH, maps=TRUTH, note=np.arange(2))
    line = refusal(tmp_path / "b.npz", axes="coil,ky,kx")
    assert "--variable first" in line
    assert "first (3, 6, 5) complex64, maps (3, 6, 5) complex64, note (2,) int64" in line
    assert read(tmp_path / "b.npz", variable="maps", axes="coil,ky,kx").n_coils == 3
    assert "no variable 'x'; the file holds first" in refusal(tmp_path / "b.npz", variable="x")

    np.savez(tmp_path / "d.npz", k=TRUTH[0], w=np.abs(TRUTH[0]), data=TRUTH.transpose(1, 2, 0))
    for options in ({}, {"variable": "data"}):
        line = refusal(tmp_path / "d.npz", **options)
        assert "--variable data" in line or options
        assert "off the grid --points FILE:k --matrix Y,X" in line

    np.save(tmp_path / "c.npy", np.abs(TRUTH))
    line = refusal(tmp_path / "c.npy", axes="coil,ky,kx")
    assert "no variable is a complex array of two or more axes, as k-space is; the file holds c (3, 6, 5)" in line
    assert "--variable" not in line
    assert "k-space must be complex; got float32" in refusal(tmp_path / "c.npy", variable="c", axes="coil,ky,kx")


def test_what_is_no_scan_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.h5") == ": no such file"
    assert "directory" in refusal(tmp_path)
    for suffix in (".h5", ".npy", ".npz", ".mat", ""):
        (tmp_path / f"empty{suffix}").touch()
        assert "empty" in refusal(tmp_path / f"empty{suffix}")
    (tmp_path / "text.h5").write_text("not HDF5 at all")
    assert "of no known format" in refusal(tmp_path / "text.h5")


def test_what_is_near_a_scan_says_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.h5.gz").write_bytes(gzip.compress(b"a scan"))
    assert refusal(tmp_path / "a.h5.gz") == ": compressed by gzip: unpack it"
    with h5py.File(tmp_path / "image.h5", "w") as file:
        file["reconstruction"], file["reconstruction_complex"] = np.abs(TRUTH), TRUTH
    assert refusal(tmp_path / "image.h5").startswith(": holds reconstructed images, no k-space")
    told = read(tmp_path / "image.h5", variable="reconstruction_complex", axes="coil,ky,kx", domain="image")
    torch.testing.assert_close(ifft2c(told.kspace[0]), torch.from_numpy(TRUTH))


def test_values_that_are_no_kspace_are_refused(tmp_path: Path) -> None:
    for bad in (np.nan, np.inf, 1e300):  # the last one overflows to Inf in complex64
        spoiled = TRUTH.astype(np.complex128)
        spoiled[0, 2, 2] = bad
        write_npy(tmp_path / "a.npy", spoiled)
        assert refusal(tmp_path / "a.npy", axes="coil,ky,kx") == ": k-space holds NaN or Inf"
    write_npy(tmp_path / "a.npy", TRUTH * 0)
    assert "no acquired line" in refusal(tmp_path / "a.npy", axes="coil,ky,kx")
    write_npy(tmp_path / "a.npy", TRUTH[:0])
    assert "empty" in refusal(tmp_path / "a.npy", axes="coil,ky,kx")
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    refusal(tmp_path / "a.npy", axes="coil,ky,kx")


def test_fields_of_matlab_structs_have_names(tmp_path: Path) -> None:
    scan = {
        "kspace": TRUTH,
        "inner": {"maps": TRUTH * 2},
        "text": "hello",
        "cell": np.array([1, "a"], object),
    }
    scipy.io.savemat(tmp_path / "a.mat", {"scan": scan})
    assert set(describe(tmp_path / "a.mat")["variables"]) == {"scan.kspace", "scan.inner.maps"}
    found = read(tmp_path / "a.mat", variable="scan.inner.maps", axes="coil,ky,kx")
    assert torch.equal(found.kspace[0], torch.from_numpy(TRUTH * 2))


@pytest.mark.parametrize("compressed", [False, True])
def test_matlab_files_are_read_as_scipy_reads_them(tmp_path: Path, compressed: bool) -> None:
    rng = np.random.default_rng(0)
    arrays = {f"a_{t}": rng.integers(0, 100, (2, 3, 4)).astype(t) for t in ("f8", "f4", "i1", "u2", "i4", "u8")}
    arrays |= {"logical": rng.random((3, 2)) > 0.5, "c": TRUTH, "number": np.array([[7.0]])}
    scipy.io.savemat(tmp_path / "a.mat", arrays, do_compression=compressed)
    oracle = scipy.io.loadmat(tmp_path / "a.mat")
    found = mat5_variables(tmp_path / "a.mat")
    assert set(found) == set(arrays)
    for name, variable in found.items():
        assert (variable.shape, variable.dtype) == (oracle[name].shape, str(oracle[name].dtype))
        np.testing.assert_array_equal(variable.load(), oracle[name], strict=True)


def test_a_bart_pair_is_found_by_any_of_its_names(tmp_path: Path) -> None:
    write_cfl(tmp_path / "my.scan.cfl", TRUTH.transpose(1, 2, 0)[:, :, None])  # READ, PHS1, PHS2, COIL
    for name in ("my.scan.cfl", "my.scan.hdr", "my.scan"):
        scan = read(tmp_path / name)
        assert torch.equal(scan.kspace[0], torch.from_numpy(TRUTH))
        assert scan.name == "my.scan"


def test_bart_slices_and_unknown_dimensions(tmp_path: Path) -> None:
    stack = random_kspace(2, 3, 6, 5)  # (slice, coil, y, x)
    sixteen = stack.transpose(2, 3, 1, 0)[:, :, None, :, *[None] * 9, :]
    write_cfl(tmp_path / "a.cfl", sixteen)
    assert torch.equal(read(tmp_path / "a").kspace, torch.from_numpy(stack))
    write_cfl(tmp_path / "b.cfl", np.moveaxis(sixteen, 13, 10))  # the same as time frames
    frames = read(tmp_path / "b.cfl")
    assert torch.equal(frames.kspace, torch.from_numpy(stack))
    assert frames.series == {"time": 2}
    write_cfl(tmp_path / "c.cfl", np.moveaxis(sixteen, 13, 4))
    assert "sets of sensitivities" in refusal(tmp_path / "c.cfl")
    axes = "ky,kx,_,coil,_,_,_,_,_,_,slice"
    assert torch.equal(read(tmp_path / "b.cfl", axes=axes).kspace, torch.from_numpy(stack))


def test_the_readout_is_kx_where_somebody_says_so(tmp_path: Path) -> None:
    coil_last = TRUTH.transpose(1, 2, 0)
    write_cfl(tmp_path / "a.cfl", coil_last[:, :, None])  # READ, PHS1, PHS2, COIL
    write_cfl(tmp_path / "b.cfl", coil_last[None])  # no READ
    assert read(tmp_path / "a.cfl").grid.readout_axis == -2
    assert read(tmp_path / "b.cfl").grid.readout_axis is None
    write_npy(tmp_path / "a.npy", TRUTH)
    for axes, readout in (("coil,ky,kx", -1), ("coil,kx,kz", -2), ("coil,kz,ky", None), ("kz,ky,kx", None)):
        assert read(tmp_path / "a.npy", axes=axes).grid.readout_axis == readout
    assert read(tmp_path / "a.cfl", axes="ky,kx,_,coil").grid.readout_axis == -1
    write_npy(tmp_path / "b.npy", TRUTH[0])  # two axes are taken for ky and kx, but nobody said so
    assert read(tmp_path / "b.npy").grid.readout_axis is None


def test_a_broken_bart_pair(tmp_path: Path) -> None:
    write_cfl(tmp_path / "a.cfl", TRUTH)
    (tmp_path / "a.cfl").write_bytes(b"123")
    assert "asks for 720 bytes, a.cfl has 3" in refusal(tmp_path / "a.cfl")
    (tmp_path / "a.hdr").write_text("# Dimensions\n3 -6 5\n")
    assert "positive sizes" in refusal(tmp_path / "a.cfl")
    (tmp_path / "a.hdr").unlink()
    assert "a.hdr is missing" in refusal(tmp_path / "a.cfl")


def test_only_fastmri_files_have_targets(tmp_path: Path) -> None:
    write_mat5(tmp_path / "a.mat", TRUTH)
    write_small_mrd(tmp_path / "a.h5")
    assert read_target(tmp_path / "a.mat") is None
    assert read_target(tmp_path / "a.h5") is None


def test_a_folder_gives_its_scans_and_leaves_what_is_none(tmp_path: Path) -> None:
    """A BART pair counts once; notes, pictures and hidden files are no scans."""
    write_cfl(tmp_path / "b.cfl", random_kspace(1, 2, 8, 8))
    write_npy(tmp_path / "a.npy", random_kspace(2, 8, 8))
    (tmp_path / "notes.txt").write_text("patient moved")
    (tmp_path / ".hidden.npy").write_bytes((tmp_path / "a.npy").read_bytes())
    assert [path.name for path in find_scans([tmp_path])] == ["a.npy", "b.cfl"]
    assert find_scans([tmp_path / "notes.txt"]) == [tmp_path / "notes.txt"], "what is named is taken"
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataFormatError, match="no scan in this folder"):
        find_scans([tmp_path / "empty"])
