"""Scans of any geometry in our own layout: what is written is read, and a part that is missing is named."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import pytest
import torch

from laminar.data.acquisition import Acquisition, acquisition_of
from laminar.data.acquisition.file import acquire_file
from laminar.data.formats import describe, read, read_reference, sniff, write_scan
from laminar.data.preparation import prepare
from laminar.errors import ConfigError, DataFormatError, LaminarError
from laminar.geometry import Linear, Volume
from laminar.operators import Convolution, fft2c, gaussian
from laminar.registry import ACQUISITIONS
from laminar.scan import Placement, Scan, cartesian

SETTINGS = {
    "cine": {"frames": 2, "acceleration": 2},
    "volume": {"slices": 2, "acceleration": 2},
    "spiral": {"samples": 400},
    "stack-of-stars": {"slices": 8, "spokes": 16},
    "kooshball": {"slices": 12, "spokes": 300},
}


def acquisition(name: str) -> Acquisition:
    if name in ("radial", "radial-cine", "spiral", "stack-of-stars", "kooshball"):
        pytest.importorskip("finufft")
    return acquisition_of(name, SETTINGS.get(name))


@pytest.mark.parametrize("name", ACQUISITIONS)
def test_every_acquisition_goes_into_a_file_and_back(name: str, tmp_path: Path) -> None:
    """The same data give the same problem, image by image; the same seed the same bytes."""
    paths = [tmp_path / f"{k}.h5" for k in "ab"]
    for path in paths:
        acquire_file(path, acquisition(name), "brain", (32, 32), 3, 2, 0.01, 7)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert sniff(paths[0]) == "Laminar scan"
    assert describe(paths[0])["variables"]["data"]["shape"][0] == 2
    scan, reference = read(paths[0]), read_reference(paths[0])
    assert reference is not None
    assert tuple(reference.shape) == (2, *scan.geometry.shape)
    problem, second = prepare(scan), prepare(scan.slice(1))
    assert bool(torch.isfinite(problem.scale).all())
    torch.testing.assert_close(second.y * second.scale, problem.y[1:] * problem.scale[1:], rtol=1e-3, atol=1e-5)
    write_scan(tmp_path / "c.h5", scan, reference)
    assert torch.equal(read(tmp_path / "c.h5").data, scan.data)


def test_maps_covariance_and_three_axes_are_kept(tmp_path: Path) -> None:
    x = torch.randn(1, 2, 3, 16, 20, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(3, 16, 20, dtype=torch.bool)
    covariance = torch.eye(2, dtype=torch.complex64)
    scan = Scan(fft2c(x), Volume(mask), sensitivities=x, noise_covariance=covariance, image_shape=(12, 20))
    write_scan(tmp_path / "v.h5", scan)
    again = read(tmp_path / "v.h5")
    assert again.sensitivities is not None
    assert torch.equal(again.sensitivities, x)
    assert torch.equal(again.noise_covariance, covariance)  # type: ignore[arg-type]
    assert again.image_shape == (12, 20)
    assert read_reference(tmp_path / "v.h5") is None
    placements = (Placement((1.0, -2.0, 3.5), (1.0, 0.0, 0.0), (0.0, 0.6, 0.8)),)
    flat = cartesian(x[:, :, 0], mask[0], series={"phase": 1}, name="flat", placements=placements, thickness_mm=4.0)
    write_scan(tmp_path / "flat.h5", flat)
    again = read(tmp_path / "flat.h5")
    assert (again.series, again.placements, again.thickness_mm) == ({"phase": 1}, placements, 4.0)

    with h5py.File(tmp_path / "flat.h5", "r+") as file:
        file.attrs["told"] = file.attrs["told"].replace("[1.0, 0.0, 0.0]", "[0.0, 0.0, NaN]")
    with pytest.raises(DataFormatError, match="along two orthogonal axes of length one"):
        read(tmp_path / "flat.h5")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda file: file.__delitem__("data"), "KeyError: 'data'"),
        (lambda file: file.__delitem__("angles"), "KeyError: 'angles'"),
        (lambda file: file.attrs.__setitem__("laminar_scan", 99), "of version 99; this program reads 1"),
        (lambda file: file.attrs.__setitem__("geometry", "spherical"), "the geometry 'spherical'; known are cartesian"),
        (lambda file: file.attrs.__setitem__("told", "{"), "JSONDecodeError"),
        (lambda file: file["data"].__setitem__((0, 0, 0), -1.0), "counts must not be negative"),
        (
            lambda file: file.attrs.__setitem__("told", file.attrs["told"].replace('"bins": ', '"bins": 9')),
            "bins and 90 angles",
        ),
        (
            lambda file: file.attrs.__setitem__("told", file.attrs["told"].replace("[32, 32]", "[9999999, 32]")),
            "a matrix of 9999999 x 32 pixels",
        ),
    ],
)
def test_what_is_broken_is_named(change: object, said: str, tmp_path: Path) -> None:
    path = tmp_path / "pet.h5"
    acquire_file(path, acquisition("pet"), "brain", (32, 32), 1, 1, 0.01, 0)
    with h5py.File(path, "r+") as file:
        assert json.loads(file.attrs["told"])["geometry"]["matrix"] == [32, 32]
        change(file)  # type: ignore[operator]
    with pytest.raises(DataFormatError, match=f"^{path}: .*{said}"):
        read(path)


def test_no_file_holds_an_operator_of_others(tmp_path: Path) -> None:
    blur = Convolution(gaussian(1.0), (16, 16))
    foreign = Linear(2 * blur, (16, 16))
    with pytest.raises(ConfigError, match="no file holds a geometry of type Linear"):
        write_scan(tmp_path / "x.h5", Scan(torch.ones(1, 16, 16), foreign, noise_std=0.1))
    assert not (tmp_path / "x.h5").exists()


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("ct", {"vews": 3}, "no setting 'vews'; did you mean 'views'?"),
        ("ct", {"views": 2.5}, "views of geometry 'ct' must be a whole number; got 2.5"),
        ("ct", {"photons": -5}, "geometry 'ct': photons: expected a positive number; got -5"),
        ("pet", {"background": -1}, "background: expected 0 or more; got -1"),
        ("inpainting", {"missing": 1.0}, "missing: expected a share below 1"),
        ("sonar", {}, "unknown geometry 'sonar'"),
    ],
)
def test_wrong_settings_are_named(name: str, settings: dict[str, float], said: str) -> None:
    with pytest.raises(LaminarError, match=said.replace("?", r"\?")):
        acquisition_of(name, settings)
