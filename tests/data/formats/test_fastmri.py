"""The fastMRI layout: written, read back, and read by fastMRI's own code."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from scan_files import random_kspace

from laminar.data.formats import describe, read, read_target, write_fastmri
from laminar.errors import ConfigError, DataFormatError, LaminarError
from laminar.scan import Scan, cartesian

HEADER = """<?xml version="1.0"?><ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><encoding>
<encodedSpace><matrixSize><x>12</x><y>10</y><z>1</z></matrixSize>
<fieldOfView_mm><x>24</x><y>15</y><z>5</z></fieldOfView_mm></encodedSpace>
<reconSpace><matrixSize><x>6</x><y>8</y><z>1</z></matrixSize>
<fieldOfView_mm><x>12</x><y>12</y><z>5</z></fieldOfView_mm></reconSpace>
<encodingLimits><kspace_encoding_step_1><minimum>0</minimum><maximum>6</maximum><center>3</center>
</kspace_encoding_step_1></encodingLimits></encoding></ismrmrdHeader>"""
MEASURED = slice(2, 9)  # 10 // 2 - 3 to that + 6 + 1


def fastmri_file(path: Path, kspace: np.ndarray, **more: object) -> Path:
    with h5py.File(path, "w") as file:
        file["kspace"] = kspace
        file["ismrmrd_header"] = HEADER
        for name, value in more.items():
            file[name] = value
        file.attrs["acquisition"] = "CORPD_FBK"
    return path


def columns(*indices: int) -> torch.Tensor:
    mask = torch.zeros(12, 10, dtype=torch.bool)
    mask[:, list(indices)] = True
    return mask


@pytest.mark.parametrize("single_coil", [False, True])
def test_a_training_file_is_measured_between_its_padding(tmp_path: Path, single_coil: bool) -> None:
    kspace = random_kspace(2, 3, 12, 10)
    kspace[..., :2] = kspace[..., 9:] = 0
    target = np.abs(random_kspace(2, 6, 8))
    name = "reconstruction_esc" if single_coil else "reconstruction_rss"
    path = fastmri_file(tmp_path / "a.h5", kspace[:, 0] if single_coil else kspace, **{name: target})

    scan = read(path)

    expected = kspace[:, :1] if single_coil else kspace
    assert torch.equal(scan.kspace, torch.from_numpy(expected))
    assert torch.equal(scan.mask, columns(*range(2, 9)))
    assert scan.image_shape == (6, 8)
    assert scan.spacing_mm == (2.0, 1.5)
    assert scan.header["acquisition"] == "CORPD_FBK"
    assert torch.equal(read_target(path), torch.from_numpy(target))
    assert describe(path)["format"] == "fastMRI"


def test_the_mask_of_a_test_file_holds_but_not_in_the_padding(tmp_path: Path) -> None:
    mask = np.zeros(10, dtype=bool)
    mask[[0, 2, 4, 5, 8, 9]] = True
    kspace = random_kspace(2, 3, 12, 10)
    kspace[..., :2] = kspace[..., 9:] = 0
    path = fastmri_file(tmp_path / "a.h5", kspace, mask=mask)
    scan = read(path)
    assert torch.equal(scan.mask, columns(2, 4, 5, 8))
    assert torch.equal((scan.kspace != 0).any(0).any(0), scan.mask)
    assert read_target(path) is None


def test_limits_or_masks_that_contradict_the_data_are_refused(tmp_path: Path) -> None:
    for first, last in ((0, 10), (2, 10), (0, 9), (3, 9), (2, 8)):  # measured are 2 to 8
        kspace = random_kspace(2, 3, 12, 10)
        kspace[..., :first] = kspace[..., last:] = 0
        path = fastmri_file(tmp_path / "a.h5", kspace, mask=np.ones(10))
        with pytest.raises(DataFormatError, match=rf"maximum 6, center 3\).*samples in {first} to {last - 1}"):
            read(path)


def test_nan_in_a_mask_is_refused(tmp_path: Path) -> None:
    path = fastmri_file(tmp_path / "a.h5", random_kspace(2, 3, 12, 10), mask=np.full(10, np.nan))
    with pytest.raises(DataFormatError, match="NaN"):
        read(path)


def test_a_mask_of_another_size_is_refused(tmp_path: Path) -> None:
    path = fastmri_file(tmp_path / "a.h5", random_kspace(2, 3, 12, 10), mask=np.ones(9))
    with pytest.raises(DataFormatError, match=r"a.h5: the mask must have the size \(10,\) or \(12, 10\)"):
        read(path)


def example(mask: torch.Tensor, **more: object) -> Scan:
    kspace = torch.from_numpy(random_kspace(2, 3, 12, 10)) * mask
    return cartesian(kspace, mask, name="a", **{"image_shape": (6, 8), "spacing_mm": (0.7, 1.3), **more})


@pytest.mark.parametrize(
    "mask",
    [
        columns(*range(10)),
        columns(2, 4, 5, 6, 8),
        torch.rand(12, 10, generator=torch.Generator().manual_seed(0)) < 0.5,
        torch.ones(12, 10, dtype=torch.bool) & (torch.arange(12) % 3 == 0)[:, None],
    ],
    ids=["full", "columns", "points", "rows"],
)
def test_what_is_written_is_read_back(tmp_path: Path, mask: torch.Tensor) -> None:
    target = torch.from_numpy(np.abs(random_kspace(2, 6, 8)))
    scan = example(mask, noise_std=0.25, sensitivities=torch.from_numpy(random_kspace(2, 3, 12, 10, seed=1)))
    write_fastmri(tmp_path / "a.h5", scan, target)
    back = read(tmp_path / "a.h5")
    assert torch.equal(back.kspace, scan.kspace)
    assert torch.equal(back.mask, mask)
    assert torch.equal(back.sensitivities, scan.sensitivities)
    assert (back.noise_std, back.image_shape, back.name) == (0.25, (6, 8), "a")
    assert back.grid.readout_axis == -2
    assert back.spacing_mm == pytest.approx((0.7, 1.3))
    assert torch.equal(read_target(tmp_path / "a.h5"), target)
    with h5py.File(tmp_path / "a.h5") as file:
        assert ("mask" in file) == (not bool(mask.all()))
        assert file.attrs["max"] == float(target.max())
        assert file.attrs["norm"] == pytest.approx(float(target.norm()))
    assert [p.name for p in tmp_path.iterdir()] == ["a.h5"]


def test_a_readout_along_x_is_turned_and_masks_of_each_image_are_refused(tmp_path: Path) -> None:
    scan = example(columns(2, 4, 5, 6, 8))
    turned = cartesian(
        scan.kspace.mT.contiguous(),
        scan.mask.T.contiguous(),
        readout_axis=-1,
        spacing_mm=(1.3, 0.7),
        image_shape=(8, 6),
    )
    write_fastmri(tmp_path / "a.h5", turned)
    back = read(tmp_path / "a.h5")
    assert torch.equal(back.kspace, scan.kspace)
    assert torch.equal(back.mask, scan.mask)
    assert (back.grid.readout_axis, back.image_shape) == (-2, (6, 8))
    assert back.spacing_mm == pytest.approx((0.7, 1.3))
    masks = torch.stack([columns(2, 4, 5, 6, 8), columns(1, 4, 5, 6, 9)])
    with pytest.raises(ConfigError, match="one mask for all images"):
        write_fastmri(tmp_path / "b.h5", cartesian(scan.kspace * masks[:, None], masks))
    assert not (tmp_path / "b.h5").exists()


def test_what_others_call_series_or_notes_is_theirs(tmp_path: Path) -> None:
    write_fastmri(tmp_path / "a.h5", example(columns(*range(10))))
    with h5py.File(tmp_path / "a.h5", "a") as file:
        del file.attrs["laminar"]
        file.attrs.update({"series": "AX T2 FLAIR", "notes": 3})
    assert read(tmp_path / "a.h5").series == {}


def test_an_unknown_pixel_size_stays_unknown(tmp_path: Path) -> None:
    write_fastmri(tmp_path / "a.h5", example(columns(*range(10)), spacing_mm=None, image_shape=None))
    scan = read(tmp_path / "a.h5")
    assert (scan.spacing_mm, scan.image_shape) == (None, (12, 10))


def test_the_written_header_is_an_ismrmrd_header() -> None:
    ismrmrd = pytest.importorskip("ismrmrd")
    from laminar.data.formats.fastmri import header_xml

    encoding = ismrmrd.xsd.CreateFromDocument(header_xml(example(columns(3, 4, 5, 6)))).encoding[0]
    assert (encoding.encodedSpace.matrixSize.x, encoding.encodedSpace.matrixSize.y) == (12, 10)
    assert encoding.encodingLimits.kspace_encoding_step_1.center == 2


def test_fastmri_itself_reads_what_is_written(tmp_path: Path) -> None:
    data = pytest.importorskip("fastmri.data", exc_type=ImportError)
    from fastmri.data.transforms import VarNetDataTransform

    scan = example(columns(2, 4, 5, 6, 8))
    target = torch.from_numpy(np.abs(random_kspace(2, 6, 8)))
    write_fastmri(tmp_path / "a.h5", scan, target)
    samples = data.SliceDataset(tmp_path, challenge="multicoil", transform=VarNetDataTransform())
    for index, sample in enumerate(samples):
        assert torch.equal(torch.view_as_complex(sample.masked_kspace), scan.kspace[index])
        assert torch.equal(sample.mask.reshape(-1), scan.mask[0])
        assert torch.equal(sample.target, target[index])
        assert sample.crop_size == (6, 8)
        assert sample.max_value == float(target.max())


def test_an_unwritable_place_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "a.h5", tmp_path):
        with pytest.raises(LaminarError, match="cannot write"):
            write_fastmri(path, example(columns(*range(10))))
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
