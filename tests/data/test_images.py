"""Images as objects of a simulation: every format read alike, endless seeded streams, records that give new masks."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from laminar.data.config import SamplingConfig, SimulationConfig
from laminar.data.images import find_images
from laminar.data.packed import SUFFIX, PackedStream, pack
from laminar.data.simulated import Images, Phantoms, SimulationStream
from laminar.data.simulation.pictured import pictured
from laminar.data.stream import Mixture
from laminar.errors import ConfigError, DataFormatError
from laminar.operators import ifft2c

PIXELS = (np.arange(48 * 40).reshape(48, 40) % 251).astype(np.uint8)
SIMULATION = SimulationConfig(coils=(2, 3), readout=32)
SAMPLING = SamplingConfig(acceleration=(2.0, 4.0), calibration_lines=(8, 10))


def write_hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_group("volume").create_dataset("images", data=np.stack([PIXELS, PIXELS]))


def write_nifti(path: Path) -> None:
    nibabel: Any = pytest.importorskip("nibabel")
    nibabel.save(nibabel.Nifti1Image(np.stack([PIXELS.T, PIXELS.T], -1).astype(np.float32), np.eye(4)), path)


def write_dicom(path: Path) -> None:
    pydicom: Any = pytest.importorskip("pydicom")
    header = pydicom.dataset.FileMetaDataset()
    header.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    header.MediaStorageSOPClassUID = pydicom.uid.MRImageStorage
    header.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid(entropy_srcs=["a"])
    data = pydicom.Dataset()
    data.file_meta = header
    data.SOPClassUID, data.SOPInstanceUID = header.MediaStorageSOPClassUID, header.MediaStorageSOPInstanceUID
    data.Rows, data.Columns = PIXELS.shape
    data.SamplesPerPixel, data.PhotometricInterpretation, data.PixelRepresentation = 1, "MONOCHROME2", 0
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 12, 11
    data.PixelData = PIXELS.astype(np.uint16).tobytes()
    data.save_as(path, enforce_file_format=True)


FORMATS = {
    "a.h5": write_hdf5,
    "a.png": lambda path: Image.fromarray(PIXELS).save(path),
    "deep.png": lambda path: Image.fromarray(PIXELS.astype(np.uint16) * 16).save(path),
    "deep.tif": lambda path: Image.fromarray(PIXELS.astype(np.float32) / 250).save(path),
    "a.nii.gz": write_nifti,
    "a.dcm": write_dicom,
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_image(name: str, tmp_path: Path) -> None:
    FORMATS[name](tmp_path / name)
    (tmp_path / "notes.txt").write_text("not an image")
    (stack,) = find_images([tmp_path])
    image = stack.image(stack.count - 1)
    assert stack.matrix == PIXELS.shape
    shape = torch.from_numpy(PIXELS.astype(np.float32))
    torch.testing.assert_close(image / image.max(), shape / shape.max())
    assert 0.9 < float(image.max()) <= 1.01


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not an image")
    with pytest.raises(ConfigError, match="no images of at least 32 x 32"):
        find_images([tmp_path])
    with pytest.raises(DataFormatError, match=r"notes.txt: expected images as HDF5, DICOM, NIfTI or a picture"):
        find_images([tmp_path / "notes.txt"])
    with pytest.raises(ConfigError, match="no such file or folder"):
        find_images([tmp_path / "nowhere"])
    write_dicom(tmp_path / "short.dcm")
    (tmp_path / "short.dcm").write_bytes((tmp_path / "short.dcm").read_bytes()[:-100])
    (stack,) = find_images([tmp_path / "short.dcm"])
    with pytest.raises(DataFormatError, match=r"short.dcm: slice 0 cannot be read"):
        stack.image(0)


def test_an_object_keeps_what_the_image_shows() -> None:
    """Seeded, complex, of magnitude about in [0, 1] but for bright spots, and dark where the image is."""
    disc = torch.zeros(64, 64)
    disc[16:48, 16:48] = 1
    for seed in range(20):
        made = pictured(disc, (70, 90), torch.Generator().manual_seed(seed))
        again = pictured(disc, (70, 90), torch.Generator().manual_seed(seed))
        assert torch.equal(made, again)
        assert made.dtype == torch.complex64
        assert 0.3 < float(made.abs().max()) < 4.5
        assert float((made.abs() < 0.02).float().mean()) > 0.3


def stream(folder: Path, seed: int = 0) -> SimulationStream:
    write_hdf5(folder / "a.h5")
    return SimulationStream(Images(find_images([folder / "a.h5"])), SIMULATION, SAMPLING, 2, seed)


def test_images_give_problems_that_depend_on_seed_and_index_alone(tmp_path: Path) -> None:
    images = stream(tmp_path)
    phantoms = SimulationStream(Phantoms("brain", [(40, 48)]), SIMULATION, SAMPLING, 2, 0)
    mixture = Mixture([images, phantoms], [1.0, 1.0], 0)
    assert {id(mixture.choose(index)) for index in range(20)} == {id(images), id(phantoms)}
    for each in (images, mixture):
        for index in (3, 0):
            first, again = each.batch(index), each.batch(index)
            assert torch.equal(first.problem.y, again.problem.y)
            assert torch.equal(first.image, again.image)
            assert first.image.shape == first.problem.encoding.mask.shape


def test_packed_problems_are_those_of_the_stream_with_other_masks(tmp_path: Path) -> None:
    """A record that is read back: its maps and k-space give its image, and its masks fit its k-space."""
    images = stream(tmp_path)
    for index in range(4):
        pack(images, index, tmp_path / f"{index:06d}{SUFFIX}")
    packed = PackedStream.open([tmp_path], SAMPLING, seed=3)
    whole = SamplingConfig(acceleration=(1.0, 1.0))
    for index in range(4):
        batch, later = packed.batch(index), packed.batch(index + 4 * 7)
        assert torch.equal(batch.problem.y, packed.batch(index).problem.y)
        assert batch.problem.y.shape[0] == later.problem.y.shape[0] == 2
        full = PackedStream(packed.paths, whole, 3).batch(index)
        image = (full.problem.encoding.sensitivities.conj() * ifft2c(full.problem.y)).sum(1)
        error = (image - full.image).norm() / full.image.norm()
        assert float(error) < 0.5  # noise, and what the masks of Poisson records leave out
        assert bool((batch.problem.y[~batch.problem.encoding.mask[:, None].expand_as(batch.problem.y)] == 0).all())


def test_only_simulated_problems_can_be_packed(tmp_path: Path) -> None:
    images = stream(tmp_path)
    pack(images, 0, tmp_path / f"a{SUFFIX}")
    packed = PackedStream.open([tmp_path], SAMPLING, 0)
    with pytest.raises(ConfigError, match="only simulated problems"):
        pack(packed, 0, tmp_path / f"b{SUFFIX}")
    (tmp_path / f"a{SUFFIX}").write_bytes(b"nothing")
    with pytest.raises(DataFormatError, match="not packed problems"):
        packed.batch(0)
    with pytest.raises(ConfigError, match="no packed problems"):
        PackedStream.open([tmp_path / "elsewhere"], SAMPLING, 0)
