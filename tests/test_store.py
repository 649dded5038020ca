"""What is written beside the images: axes, units, the size of a pixel, the place in the patient; and no more."""

from pathlib import Path

import h5py
import numpy as np
import torch

from laminar.reconstruction import SliceReconstruction
from laminar.scan import Placement
from laminar.store import writing_reconstruction
from laminar.viewer import load


def test_images_say_what_they_are_and_where(tmp_path: Path) -> None:
    image = torch.randn(12, 10, dtype=torch.complex64)
    placements = [Placement((1.0, 2.0, 3.0 + z), (0.0, 1.0, 0.0), (0.0, 0.0, -1.0)) for z in range(2)]
    slices = [
        SliceReconstruction(
            image, image[None], torch.zeros(1), 1, placement=placement, spacing_mm=(1.5, 0.5), thickness_mm=4.0
        )
        for placement in placements
    ]
    with writing_reconstruction(tmp_path / "a.h5", 2, {"acceleration": 4.0}) as write:
        for part in slices:
            write(part)
    with h5py.File(tmp_path / "a.h5") as file:
        axes = {name: file[name].attrs["axes"] for name in ("reconstruction", "reconstruction_complex", "trajectory")}
        assert axes == dict.fromkeys(axes, "slice,y,x") | {"trajectory": "state,slice,y,x"}
        assert "data of the scan" in file["reconstruction"].attrs["units"]
        np.testing.assert_array_equal(file["spacing_mm"], [1.5, 0.5])
        np.testing.assert_array_equal(file["placement"][1], [(1, 2, 4), (0, 1, 0), (0, 0, -1)])
        assert file["spacing_mm"].attrs["thickness_mm"] == 4
        assert set(file.attrs) == {"laminar", "acceleration"}
    assert load(tmp_path / "a.h5").pixel == 3


def test_what_the_scan_does_not_know_is_not_written(tmp_path: Path) -> None:
    with writing_reconstruction(tmp_path / "a.h5", 1, {}) as write:
        write(SliceReconstruction(torch.ones(4, 4, dtype=torch.complex64), None, None, 1))
    with h5py.File(tmp_path / "a.h5") as file:
        assert set(file) == {"reconstruction", "reconstruction_complex"}
    assert load(tmp_path / "a.h5").pixel == 1
