"""The layouts of public sets: the image that their own tools would make of the same file."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
import torch
from scan_files import random_kspace

from laminar.data.formats import describe, read, stream
from laminar.data.masks import make_mask
from laminar.errors import DataFormatError
from laminar.operators import fft2c, ifft2c


def phantom(coils: int, height: int, width: int) -> np.ndarray:
    """An ellipse off center seen by coils (coil, y, x)."""
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    inside = ((y - 0.1) / 0.6) ** 2 + ((x + 0.1) / 0.5) ** 2 < 1
    return np.stack([inside * np.exp(-((x - np.cos(c)) ** 2) + 1j * (y + c)) for c in range(coils)])


def h5(path: Path, **arrays: object) -> Path:
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array
    return path


def kspace_of(images: np.ndarray) -> np.ndarray:
    return fft2c(torch.from_numpy(images)).numpy().astype(np.complex64)


def test_calgary_campinas_has_the_image_of_its_own_code(tmp_path: Path) -> None:
    """That code takes `ifft2` of centered samples without a shift; kz beyond 85 % is zero. Sizes are odd and even."""
    images = np.stack([phantom(6, 45, 40) * (1 + s) for s in range(3)])
    kspace = np.fft.fftshift(np.fft.fft2(images), axes=(-2, -1)) / np.sqrt(45 * 40)
    kspace[..., 34:] = 0
    pairs = np.stack([kspace.real, kspace.imag], 2).reshape(3, 12, 45, 40).transpose(0, 2, 3, 1)
    path = h5(tmp_path / "e14089s3_P53248.7.h5", kspace=pairs.astype(np.float32))
    scan = read(path)
    assert describe(path)["format"] == "Calgary-Campinas"
    own = torch.from_numpy(np.abs(np.fft.ifft2(kspace, norm="ortho")))
    torch.testing.assert_close(ifft2c(scan.kspace).abs().double(), own, atol=1e-4, rtol=1e-4)
    phase = (ifft2c(scan.kspace) * torch.from_numpy(images).conj()).sum((2, 3))
    assert bool((phase.angle().abs() < 0.05).all()), "no ramp is left"
    assert scan.mask.any(0).tolist() == [True] * 34 + [False] * 6
    assert scan.header["notes"]


@pytest.mark.parametrize("version", ["5", "7.3"])
def test_a_cine_of_cmrxrecon_is_a_series_with_a_mask_per_frame(tmp_path: Path, version: str) -> None:
    frames, slices = 3, 2
    masks = torch.stack([make_mask("random", (20, 40), 2, 8, seed) for seed in range(frames)]).mT
    kspace = random_kspace(frames, slices, 4, 40, 20) * masks[:, None, None].numpy()
    path = tmp_path / "cine_sax.mat"
    if version == "5":
        scipy.io.savemat(path, {"kspace_sub04": kspace.transpose()})
    else:
        pairs = np.empty(kspace.shape, [("real", "f4"), ("imag", "f4")])
        pairs["real"], pairs["imag"] = kspace.real, kspace.imag
        h5(path, kspace_sub04=pairs)
        with h5py.File(path, "r+") as file:
            file["kspace_sub04"].attrs["MATLAB_class"] = np.bytes_("single")
    lazy = stream(path)
    assert lazy.series == {"time": frames, "slice": slices}
    scan = lazy.whole()
    assert torch.equal(scan.kspace, torch.from_numpy(kspace).flatten(0, 1))
    assert torch.equal(scan.mask, masks.repeat_interleave(slices, 0))
    assert torch.equal(lazy.slice(4).mask, masks[2])
    assert scan.grid.readout_axis == -1


def test_averages_of_a_prostate_scan_interleave(tmp_path: Path) -> None:
    full = random_kspace(2, 3, 24, 16)
    averages = np.zeros((3, *full.shape), np.complex64)
    for average, lines in enumerate((slice(1, None, 2), slice(0, None, 2), slice(1, None, 2))):
        averages[average, ..., lines] = full[..., lines]
    path = h5(tmp_path / "file_prostate_AXT2_001.h5", kspace=averages, calibration_data=full[..., 4:12])
    scan = read(path)
    torch.testing.assert_close(scan.kspace, torch.from_numpy(full))
    assert bool(scan.mask.all())
    assert "averaged" in scan.header["notes"][0]


def test_coils_last(tmp_path: Path) -> None:
    full = random_kspace(4, 2, 6, 40, 20)  # slice, echo, coil, y, x
    skm_tea = h5(tmp_path / "skm.h5", kspace=full.transpose(0, 3, 4, 1, 2))
    assert stream(skm_tea).series == {"echo": 2, "slice": 4}
    assert torch.equal(read(skm_tea).kspace, torch.from_numpy(full).transpose(0, 1).flatten(0, 1))
    last = full[:, 0].transpose(0, 2, 3, 1)
    meddlr = h5(tmp_path / "meddlr.h5", kspace=last, maps=last[..., None])
    assert torch.equal(read(meddlr).kspace, torch.from_numpy(full[:, 0]))
    with pytest.raises(DataFormatError, match=r"40 coils of \(20, 6\).*--axes slice,ky,kx,coil"):
        read(h5(tmp_path / "bare.h5", kspace=last))
    assert read(tmp_path / "bare.h5", axes="slice,ky,kx,coil").n_coils == 6


def test_what_a_repetition_of_m4raw_leaves_out_and_a_radial_scan(tmp_path: Path) -> None:
    for repetition in (1, 2):
        h5(tmp_path / f"2022061003_T10{repetition}.h5", kspace=random_kspace(2, 4, 32, 32))
    assert "2022061003_T102.h5" in stream(tmp_path / "2022061003_T101.h5").notes[0]
    with pytest.raises(DataFormatError, match="radial"):
        read(h5(tmp_path / "breast.h5", kspace=np.ones((2, 5, 4, 8, 16), np.float32)))


def records(kspace: np.ndarray, real: str, imaginary: str, kind: str) -> np.ndarray:
    pairs = np.empty(kspace.shape, [(real, kind), (imaginary, kind)])
    pairs[real], pairs[imaginary] = kspace.real, kspace.imag
    return pairs


@pytest.mark.parametrize("kind", ["<i2", "<i4", ">i2", "<i8", ">f4", "<f2"])
@pytest.mark.parametrize("names", [("real", "imag"), ("Real", "Imag")])
def test_complex_numbers_of_any_type(tmp_path: Path, kind: str, names: tuple[str, str]) -> None:
    values = np.round(100 * random_kspace(3, 20, 18))
    stored = records(values, *names, kind)
    np.save(tmp_path / "a.npy", stored)
    for path in (h5(tmp_path / "a.h5", data=stored), tmp_path / "a.npy"):
        assert torch.equal(read(path, axes="coil,ky,kx").kspace[0], torch.from_numpy(values)), path


def test_interleaved_channels_and_half_precision_pairs(tmp_path: Path) -> None:
    values = np.round(100 * random_kspace(3, 20, 18))
    pairs = np.stack([values.real, values.imag], 1)
    np.save(tmp_path / "a.npy", pairs.reshape(6, 20, 18).astype(np.float16))
    assert torch.equal(read(tmp_path / "a.npy", axes="coil_ri,ky,kx").kspace[0], torch.from_numpy(values))
    np.save(tmp_path / "b.npy", pairs.astype(">i2"))
    assert torch.equal(read(tmp_path / "b.npy", axes="coil,ri,ky,kx").kspace[0], torch.from_numpy(values))


def test_what_cannot_be_read_has_its_true_reason(tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("scan.h5", b"1234")
    scipy.io.savemat(tmp_path / "v4.mat", {"k": np.ones((4, 5))}, format="4")
    with h5py.File(tmp_path / "view.h5", "w") as file:
        file["raw"] = random_kspace(3, 6, 5)
        layout = h5py.VirtualLayout((3, 6, 5), "c8")
        layout[:] = h5py.VirtualSource(".", "raw", (3, 6, 5))
        file.create_virtual_dataset("view", layout)
    with h5py.File(tmp_path / "sparse.h5", "w") as file:
        file.create_dataset("k", (900, 8, 640, 320), "c8", chunks=(1, 1, 64, 64))[0, 0, :64, :64] = 1
    for path, options, said in (
        ("a.zip", {}, "without NumPy arrays: it holds scan.h5"),
        ("v4.mat", {}, "level 4"),
        ("view.h5", {"variable": "view", "axes": "coil,ky,kx"}, "a view, which is not followed; its values are in raw"),
        ("sparse.h5", {"axes": "slice,coil,ky,kx"}, "sparse or a trap"),
        ("five.npy", {}, r"name|axes of 'five' \(2, 3, 4, 5, 6\) complex64 are not stated.*by --axes$"),
    ):
        np.save(tmp_path / "five.npy", random_kspace(2, 3, 4, 5, 6))
        with pytest.raises(DataFormatError, match=said):
            read(tmp_path / path, **options)


def test_one_chunk_is_unpacked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from laminar.data.formats import hdf5

    asked = []
    original = hdf5.SANDBOX.ask
    monkeypatch.setattr(hdf5.SANDBOX, "ask", lambda *request: asked.append(request[0]) or original(*request))
    full = random_kspace(6, 3, 20, 18)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("kspace", data=full, chunks=full.shape, compression="gzip")
    assert torch.equal(read(tmp_path / "a.h5").kspace, torch.from_numpy(full))
    assert asked.count("numbers") == 1
