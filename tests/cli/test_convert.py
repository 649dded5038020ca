"""`laminar convert`: what is written is read back as it was; `--coils` and what is missing are said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from laminar.cli.main import main
from laminar.data.formats import read, scan_name, write_fastmri
from laminar.data.formats.write import write_ismrmrd
from laminar.data.masks import make_mask
from laminar.data.simulation import simulate_slice
from laminar.errors import DataFormatError
from laminar.evaluation import read_volume
from laminar.operators import ifft2c
from laminar.scan import Placement, cartesian


@pytest.fixture(scope="module")
def kspace() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.stack([simulate_slice("brain", (64, 48), 6, 0.01, generator).kspace for _ in range(2)])


@pytest.mark.parametrize("to", ["fastmri", "bart", "numpy", "ismrmrd"])
@pytest.mark.parametrize("kind", ["slice", "time"])
def test_a_scan_survives(tmp_path: Path, kspace: torch.Tensor, to: str, kind: str) -> None:
    mask = make_mask("equispaced", (64, 48), 2, 12, 0)
    np.save(tmp_path / "a.npy", (kspace * mask).numpy())
    axes = f"{kind},coil,kx,ky"
    told = ["convert", str(tmp_path / "a.npy"), "--axes", axes, "--to", to, str(tmp_path / "b")]
    assert main(told) == 0
    assert main(told) == (2 if to == "numpy" else 0)  # it replaces its own; an array does not say whose it is
    (path,) = [p for p in tmp_path.iterdir() if scan_name(p) == "b" and p.suffix != ".hdr"]
    back = read(path, axes=axes if to == "numpy" else None)
    # The readout of ISMRMRD is x; of several phases its reader takes the first.
    expected = (kspace * mask).mT if to == "ismrmrd" else kspace * mask
    torch.testing.assert_close(back.kspace, expected[: back.n_slices])
    assert back.n_slices == 2 or (to, kind) == ("ismrmrd", "time")
    assert torch.equal(back.mask, mask.T if to == "ismrmrd" else mask)
    if to in ("bart", "numpy", "fastmri") and kind == "time":
        assert back.series == {"time": 2}


@pytest.mark.parametrize("readout", [-1, -2])
def test_ismrmrd_keeps_where_the_slices_lie(tmp_path: Path, kspace: torch.Tensor, readout: int) -> None:
    there = tuple(Placement((1.0, -2, 4.0 * k), (0.0, 0.6, -0.8), (1.0, 0, 0)) for k in range(2))
    mask = make_mask("equispaced", (64, 48), 2, 12, 0)
    mask = mask if readout == -2 else mask.new_ones(64, 48)
    sizes: dict[str, Any] = {"spacing_mm": (1.5, 2.0), "thickness_mm": 5.0 if readout == -1 else None}
    scan = cartesian(kspace * mask, mask, readout_axis=readout, placements=there, **sizes)
    for write in (write_fastmri, write_ismrmrd):
        write(tmp_path / "a.h5", scan)
        found = read(tmp_path / "a.h5")
        assert sorted(found.spacing_mm or ()) == [1.5, 2.0]
        assert found.thickness_mm == sizes["thickness_mm"]
    assert found.placements is not None
    for given, one in zip(there, found.placements, strict=True):
        axes = (one.x_axis, one.y_axis) if readout == -1 else (one.y_axis, one.x_axis)
        np.testing.assert_allclose([one.center, *axes], [given.center, given.x_axis, given.y_axis], atol=1e-6)


def test_coils_are_compressed_and_the_file_says_so(
    tmp_path: Path, kspace: torch.Tensor, capsys: pytest.CaptureFixture[str]
) -> None:
    mask = torch.ones(64, 48, dtype=torch.bool)
    mask[:, :12] = False
    np.save(tmp_path / "a.npy", (kspace * mask).numpy())
    images = {}
    for coils in (None, 4):
        out = tmp_path / str(coils)
        more = [] if coils is None else ["--coils", str(coils)]
        line = ["reconstruct", str(tmp_path / "a.npy"), "--axes", "slice,coil,kx,ky", "--method", "cg-sense"]
        assert main([*line, "--out", str(out), *more]) == 0
        with h5py.File(out / "a.h5") as file:
            images[coils] = file["reconstruction"][()]
            assert file.attrs.get("coils") == coils
            assert ("4 virtual coils of 6" in file.attrs.get("notes", "")) == (coils is not None)
    said = capsys.readouterr().out
    assert "36 of 48 along x: partial Fourier" in said
    assert np.linalg.norm(images[4] - images[None]) < 0.1 * np.linalg.norm(images[None])


def test_coils_are_compressed_along_the_readout_and_their_sensitivities_found_by_walsh(
    tmp_path: Path, kspace: torch.Tensor, laminar: Callable[..., tuple[int, str, str]]
) -> None:
    mask = make_mask("equispaced", (64, 48), 2, 16, 0)
    np.save(tmp_path / "a.npy", (kspace * mask).numpy())
    line = ("reconstruct", tmp_path / "a.npy", "--axes", "slice,coil,kx,ky", "--method", "cg-sense", "--no-figures")
    images, requests = {}, set()
    for more in ((), ("--coils", 4, "--compression", "geometric"), ("--sensitivities", "walsh")):
        code, out, error = laminar(*line, "--out", tmp_path / "out", "--overwrite", *more)
        assert (code, error) == (0, "")
        with h5py.File(tmp_path / "out" / "a.h5") as file:
            images[more] = file["reconstruction"][()]
            requests.add(file.attrs["request"])
            assert ("mixed anew at each position of the readout" in file.attrs.get("notes", "")) == (
                "geometric" in more
            )
            assert ("sensitivities by the method of Walsh" in out) == ("walsh" in more)
    assert len(requests) == 3
    for image in images.values():
        assert np.linalg.norm(image - images[()]) < 0.1 * np.linalg.norm(images[()])
    for more, said in (
        (("--compression", "svd"), "--compression does nothing without --coils"),
        (("--sensitivities", "walsh", "--maps", 2), "--maps 2 needs --sensitivities espirit: walsh finds one set"),
        (
            ("--sensitivities", "walsh", "--together", "slice", "--method", "total-variation"),
            "a: Walsh sensitivities are of planar Cartesian scans; got Series",
        ),
    ):
        code, _, error = laminar(*line, "--out", tmp_path / "none", *more)
        assert code == 2
        assert said in error


def test_a_full_scan_becomes_images(tmp_path: Path, kspace: torch.Tensor, capsys: pytest.CaptureFixture[str]) -> None:
    nibabel = pytest.importorskip("nibabel")
    np.save(tmp_path / "a.npy", kspace.numpy())
    line = ["convert", str(tmp_path / "a.npy"), "--axes", "slice,coil,kx,ky", "--to", "nifti"]
    assert main([*line, str(tmp_path / "b")]) == 0
    images = np.asarray(nibabel.load(tmp_path / "b.nii").dataobj)
    expected = ifft2c(kspace).abs().square().sum(1).sqrt()
    np.testing.assert_allclose(images, expected.permute(2, 1, 0), rtol=1e-5, atol=1e-5)
    np.save(tmp_path / "a.npy", (kspace * make_mask("equispaced", (64, 48), 3, 12, 0)).numpy())
    assert main([*line, str(tmp_path / "c")]) == 2
    assert "laminar reconstruct --format nifti" in capsys.readouterr().err
    assert not (tmp_path / "c.nii").exists()


def test_a_full_series_has_its_reference_in_the_file_and_is_scored_as_one(tmp_path: Path, kspace: torch.Tensor) -> None:
    series = torch.stack([kspace, 2 * kspace, 3 * kspace])
    np.save(tmp_path / "a.npy", series.numpy())
    axes = ["--axes", "time,slice,coil,kx,ky"]
    for out in ("refs", "images"):
        (tmp_path / out).mkdir()
    assert main(["convert", str(tmp_path / "a.npy"), *axes, "--to", "fastmri", str(tmp_path / "refs" / "a.h5")]) == 0
    back = read(tmp_path / "refs" / "a.h5")
    assert back.series == {"time": 3, "slice": 2}
    line = ["reconstruct", str(tmp_path / "refs" / "a.h5"), "--method", "cg-sense", "--out", str(tmp_path / "images")]
    assert main(line) == 0
    for folder, names in (("images", ("reconstruction",)), ("refs", ("reconstruction_rss",))):
        volume = read_volume(tmp_path / folder / "a.h5", *names, series=True)
        assert volume.shape == (3, 2, 64, 48)
        np.testing.assert_allclose(volume[2], 3 * volume[0], rtol=1e-2, atol=1e-2 * volume.max())
    with h5py.File(tmp_path / "refs" / "a.h5", "r+") as file:
        file.attrs["series"] = '{"time": 5}'
    with pytest.raises(DataFormatError, match="does not count 6 images"):
        read(tmp_path / "refs" / "a.h5")
