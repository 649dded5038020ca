"""MRD version 2 and Siemens raw data, written by the packages of these formats, read as the same ISMRMRD scan."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from scan_files import random_kspace, write_mrd2, write_siemens

from laminar.data.formats import describe, read
from laminar.data.formats.door import sniff
from laminar.errors import DataFormatError, MissingExtraError

TRUTH = random_kspace(2, 3, 10, 16)  # (slice, coil, y, x)
NOISE = random_kspace(3, 64, seed=5)


def test_a_stream_of_mrd_version_2(tmp_path: Path) -> None:
    path = tmp_path / "a.mrd2"
    write_mrd2(path, TRUTH, skip=(1, 7), noise=NOISE)
    scan = read(path)
    mask = torch.ones(10, 16, dtype=torch.bool)
    mask[[1, 7]] = False
    assert torch.equal(scan.mask, mask)
    assert torch.equal(scan.kspace, torch.from_numpy(TRUTH) * mask)
    assert (scan.image_shape, scan.spacing_mm, scan.name) == ((10, 8), (20.0, 25.0), "a")
    assert scan.noise_covariance is not None
    expected = NOISE @ NOISE.conj().T / 64
    np.testing.assert_allclose(scan.noise_covariance.numpy(), expected, rtol=1e-5, atol=1e-6)
    summary = describe(path)
    assert (summary["format"], summary["readouts"]) == ("MRD v2", 17)
    with pytest.raises(DataFormatError, match="leave out --axes"):
        read(path, axes="ky,kx")


def test_siemens_raw_data_with_partial_fourier_and_an_adjustment_before(tmp_path: Path) -> None:
    path = tmp_path / "meas.dat"
    write_siemens(path, TRUTH, noise=NOISE, missing=2)
    assert sniff(path) == "Siemens raw"
    scan = read(path)
    mask = torch.ones(10, 16, dtype=torch.bool)
    mask[:2] = False
    assert torch.equal(scan.mask, mask)
    assert torch.equal(scan.kspace, torch.from_numpy(TRUTH) * mask)
    assert (scan.image_shape, scan.spacing_mm, scan.name) == ((10, 8), (20.0, 25.0), "meas")
    assert scan.header["noise_scan"] is True
    assert scan.header["notes"] == ("measurement 1 of 0 to 1: --variable names another",)
    with pytest.raises(DataFormatError, match="no protocol or no imaging readouts"):
        read(path, variable="0")
    with pytest.raises(DataFormatError, match="2 measurements, numbered from 0; got 7"):
        read(path, variable="7")
    write_siemens(path, TRUTH, trajectory=2)
    with pytest.raises(DataFormatError, match=r"is 'radial', and no readout .*Siemens raw data hold no points"):
        read(path)


@pytest.mark.parametrize(
    ("write", "name", "extra"), [(write_mrd2, "mrd-python", "mrd"), (write_siemens, "twixtools", "siemens")]
)
def test_what_is_missing_or_cut_off_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: object, name: str, extra: str
) -> None:
    path = tmp_path / "a.dat"
    write(path, TRUTH)  # type: ignore[operator]
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataFormatError, match=str(path)):
        read(path)
    path.write_bytes(content)
    monkeypatch.setattr("laminar.data.formats.containers.find_spec", lambda module: None)
    with pytest.raises(MissingExtraError, match=rf"'{name}'.*laminar-mri\[{extra}\]"):
        read(path)


def test_a_block_of_no_length_does_not_hang(tmp_path: Path) -> None:
    path = tmp_path / "a.dat"
    write_siemens(path, TRUTH)
    content = bytearray(path.read_bytes())
    (start,) = struct.unpack_from("<Q", content, 16)  # of the measurement, whose header says its own length
    block = start + struct.unpack_from("<I", content, start)[0]
    struct.pack_into("<I", content, block, 0)
    struct.pack_into("<I", content, block + 40, 1 << 5)  # synchronization data
    path.write_bytes(content)
    with pytest.raises(DataFormatError, match=f"the block at byte {block} of {len(content)} claims 0 bytes"):
        read(path)
