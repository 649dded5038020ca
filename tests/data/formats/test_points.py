"""Trajectories of others: BART, MATLAB, NumPy and ISMRMRD, in whatever unit, against BART's own transform."""

from __future__ import annotations

import math
import re
import shutil
import subprocess
from pathlib import Path

import ismrmrd
import numpy as np
import pytest
import scipy.io
import torch
from scan_files import mrd_header, write_radial_mrd2

from laminar.classical import cg_sense_method
from laminar.data.formats import read, stream_off_grid
from laminar.data.formats.points import in_cycles
from laminar.data.noncartesian import kooshball, radial, stack_of_stars
from laminar.data.series import together
from laminar.data.simulation import simulate_slice
from laminar.errors import DataFormatError
from laminar.geometry import NonCartesian, NonCartesianSeries
from laminar.operators import NonUniform
from laminar.reconstruction import reconstruct
from laminar.scan import Scan

pytest.importorskip("finufft")
SIZE = (64, 64)


@pytest.fixture(scope="module")
def spokes() -> Scan:
    """A brain of three coils along 24 spokes of 128 samples."""
    coils = simulate_slice("brain", SIZE, 3, 0.01, torch.Generator().manual_seed(0)).coil_images
    points = radial(24, 128, SIZE)
    y = NonUniform(points, torch.ones(3, 1, *SIZE, dtype=torch.complex64)).forward(coils)[None, :, 0]
    return Scan(y, NonCartesian(points, SIZE), noise_std=0.01)


def check(found: Scan, expected: Scan) -> None:
    """The same samples at the same points, in whatever order: the same back-projection."""
    images = []
    for scan in (found, expected):
        assert isinstance(scan.geometry, NonCartesian)
        one = torch.ones(scan.n_coils, 1, *SIZE, dtype=torch.complex64)
        images.append(NonUniform(scan.geometry.trajectory, one).adjoint(scan.data[0][:, None]))
    torch.testing.assert_close(*images, rtol=0, atol=1e-3)


@pytest.mark.parametrize(("unit", "said"), [(1, "cycles"), (1 / 64, "parts of"), (2 * math.pi / 64, "radians")])
def test_units_are_told_by_the_reach(unit: float, said: str, spokes: Scan) -> None:
    assert isinstance(spokes.geometry, NonCartesian)
    points = spokes.geometry.trajectory.numpy()
    found, note = in_cycles(points * unit, SIZE)
    torch.testing.assert_close(found, spokes.geometry.trajectory, rtol=1e-5, atol=1e-4)
    assert said in note


def test_matlab_numpy_and_bart_say_the_same(spokes: Scan, tmp_path: Path) -> None:
    assert isinstance(spokes.geometry, NonCartesian)
    points, data = spokes.geometry.trajectory.numpy(), spokes.data[0].numpy()
    k = (points[:, 1] + 1j * points[:, 0]).reshape(24, 128)
    scipy.io.savemat(tmp_path / "m.mat", {"k": k.T / 64, "data": data.reshape(3, 24, 128).T})
    check(stream_off_grid(tmp_path / "m.mat", f"{tmp_path / 'm.mat'}:k", SIZE, "data").whole(), spokes)
    np.save(tmp_path / "k.npy", data.reshape(3, 24, 128))
    np.save(tmp_path / "p.npy", np.stack([k.real, k.imag, 0 * k.real]))
    check(stream_off_grid(tmp_path / "k.npy", str(tmp_path / "p.npy"), SIZE, None).whole(), spokes)
    places = np.stack([k.real, k.imag, 0 * k.real])
    for name, array in {"ksp": data.reshape(3, 24, 128).T[None], "traj": places.swapaxes(1, 2)}.items():
        (tmp_path / f"{name}.cfl").write_bytes(array.astype("<c8").tobytes(order="F"))
        (tmp_path / f"{name}.hdr").write_text(f"# Dimensions\n{' '.join(map(str, array.shape))}\n")
    check(stream_off_grid(tmp_path / "ksp.cfl", str(tmp_path / "traj.cfl"), SIZE, None).whole(), spokes)


def test_readouts_of_ismrmrd_and_mrd_version_2_bring_their_trajectory(spokes: Scan, tmp_path: Path) -> None:
    assert isinstance(spokes.geometry, NonCartesian)
    points = spokes.geometry.trajectory.numpy().reshape(24, 128, 2)[..., ::-1] / 64
    data = spokes.data[0].numpy().reshape(3, 24, 128)
    with ismrmrd.Dataset(str(tmp_path / "a.mrd.h5"), "dataset", create_if_needed=True) as file:
        file.write_xml_header(mrd_header(64, 64, trajectory="radial", recon_x=64, fov_x=200).encode())
        for spoke in range(24):
            parts = (np.ascontiguousarray(part) for part in (data[:, spoke], points[spoke]))
            readout = ismrmrd.Acquisition.from_array(*parts)
            readout.idx.kspace_encode_step_1 = spoke
            file.append_acquisition(readout)
    found = read(tmp_path / "a.mrd.h5")
    check(found, spokes)
    write_radial_mrd2(tmp_path / "a.mrd2", data.swapaxes(0, 1), points, 64)
    second = read(tmp_path / "a.mrd2")
    assert isinstance(found.geometry, NonCartesian)
    assert isinstance(second.geometry, NonCartesian)
    assert torch.equal(second.data, found.data)
    assert torch.equal(second.geometry.trajectory, found.geometry.trajectory)
    for said in ("matrix", "image_shape", "spacing_mm", "placements"):
        assert getattr(second, said) == getattr(found, said)
    assert second.header["notes"] == found.header["notes"]


def test_volumes_of_numpy_bart_and_ismrmrd_have_points_of_three_dimensions(tmp_path: Path) -> None:
    """Spokes in all directions, the same from each file; an image is refused where a volume was measured."""
    size = (16, 64, 64)
    geometry = NonCartesian(kooshball(40, 128, size), size)
    generator = torch.Generator().manual_seed(0)
    data = torch.randn(1, 3, 40 * 128, dtype=torch.complex64, generator=generator)
    points = geometry.trajectory.numpy().reshape(40, 128, 3)[..., ::-1]
    np.save(tmp_path / "k.npy", data[0].numpy().reshape(3, 40, 128))
    np.save(tmp_path / "p.npy", np.moveaxis(points, -1, 0))
    files = {"ksp": data[0].numpy().reshape(3, 40, 128).T[None], "traj": points.transpose(2, 1, 0)}
    for name, array in files.items():
        (tmp_path / f"{name}.cfl").write_bytes(array.astype("<c8").tobytes(order="F"))
        (tmp_path / f"{name}.hdr").write_text(f"# Dimensions\n{' '.join(map(str, array.shape))}\n")
    with ismrmrd.Dataset(str(tmp_path / "a.mrd.h5"), "dataset", create_if_needed=True) as file:
        header = mrd_header(64, 64, trajectory="radial", recon_x=64, fov_x=200)
        file.write_xml_header(re.sub("<z>1</z>", "<z>16</z>", header, count=1).encode())
        for spoke in range(40):
            parts = data[0].numpy().reshape(3, 40, 128)[:, spoke], points[spoke] / np.array([64, 64, 16])
            readout = ismrmrd.Acquisition.from_array(*(np.ascontiguousarray(part, part.dtype) for part in parts))
            readout.idx.kspace_encode_step_1 = spoke
            file.append_acquisition(readout)
    found = [
        stream_off_grid(tmp_path / "k.npy", str(tmp_path / "p.npy"), size, None).whole(),
        stream_off_grid(tmp_path / "ksp.cfl", str(tmp_path / "traj.cfl"), size, None).whole(),
        read(tmp_path / "a.mrd.h5"),
    ]
    one = torch.ones(3, 1, *size, dtype=torch.complex64)
    expected = NonUniform(geometry.trajectory, one).adjoint(data[0][:, None])
    for scan in found:
        assert isinstance(scan.geometry, NonCartesian)
        assert scan.geometry.size == size
        image = NonUniform(scan.geometry.trajectory, one).adjoint(scan.data[0][:, None])
        torch.testing.assert_close(image, expected, rtol=0, atol=1e-3)
    with pytest.raises(DataFormatError, match=r"and an image of two: expected the size \(z, y, x\)"):
        stream_off_grid(tmp_path / "k.npy", str(tmp_path / "p.npy"), SIZE, None)


def test_a_stack_of_stars_of_ismrmrd_counts_its_partitions(tmp_path: Path) -> None:
    """Points of kx and ky, kz by the counter less that of the center: the volume that points of three numbers make."""
    spokes, planes = 24, 8
    size = (planes, *SIZE)
    geometry = NonCartesian(stack_of_stars(spokes, 128, size), size)
    data = torch.randn(1, 3, planes * spokes * 128, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    points = geometry.trajectory.numpy().reshape(planes, spokes, 128, 3)[..., :0:-1] / 64
    readouts = data[0].numpy().reshape(3, planes, spokes, 128)
    with ismrmrd.Dataset(str(tmp_path / "a.mrd.h5"), "dataset", create_if_needed=True) as file:
        header = mrd_header(64, 64, trajectory="radial", recon_x=64, fov_x=200)
        file.write_xml_header(re.sub("<z>1</z>", f"<z>{planes}</z>", header, count=1).encode())
        for plane, spoke in np.ndindex(planes, spokes):
            parts = readouts[:, plane, spoke], points[plane, spoke]
            readout = ismrmrd.Acquisition.from_array(*(np.ascontiguousarray(part) for part in parts))
            readout.idx.kspace_encode_step_1, readout.idx.kspace_encode_step_2 = spoke, plane
            file.append_acquisition(readout)
    scan = read(tmp_path / "a.mrd.h5")
    assert isinstance(scan.geometry, NonCartesian)
    assert scan.geometry.size == size
    assert torch.equal(scan.data, data)
    torch.testing.assert_close(scan.geometry.trajectory, geometry.trajectory, rtol=1e-5, atol=1e-4)
    assert scan.header["notes"][0].endswith("kz is the partition")


def write_frames(
    path: Path,
    trajectories: np.ndarray,
    data: np.ndarray,
    counter: str = "phase",
    missing: tuple[int, int] | None = None,
) -> None:
    """Readouts (frame, slice, spoke, coil, sample) along trajectories (frame, spoke, sample, 2) as (y, x)."""
    with ismrmrd.Dataset(str(path), "dataset", create_if_needed=True) as file:
        file.write_xml_header(mrd_header(64, 64, trajectory="radial", recon_x=64, fov_x=200).encode())
        for frame, place, spoke in np.ndindex(*data.shape[:3]):
            if (frame, place) == missing:
                continue
            points = trajectories[frame, spoke, :, ::-1] / 64
            parts = data[frame, place, spoke], points.astype(np.float32)
            readout = ismrmrd.Acquisition.from_array(*(np.ascontiguousarray(part) for part in parts))
            readout.idx.slice, readout.idx.kspace_encode_step_1 = place, spoke
            setattr(readout.idx, counter, frame)
            readout.position[2] = 5.0 * place
            readout.read_dir[0] = readout.phase_dir[1] = readout.slice_dir[2] = 1.0
            file.append_acquisition(readout)


def test_frames_with_spokes_of_their_own_are_a_series(tmp_path: Path) -> None:
    """Golden angles go on from frame to frame, the same in all slices; slices of their own are refused."""
    rng = np.random.default_rng(0)
    points = radial(3 * 8, 128, SIZE).numpy().reshape(3, 8, 128, 2)
    data = (rng.normal(size=(3, 2, 8, 3, 128)) + 1j * rng.normal(size=(3, 2, 8, 3, 128))).astype(np.complex64)
    write_frames(tmp_path / "a.mrd.h5", points, data)
    scan = read(tmp_path / "a.mrd.h5")
    assert isinstance(scan.geometry, NonCartesianSeries)
    torch.testing.assert_close(
        scan.geometry.trajectories, torch.from_numpy(points.reshape(3, -1, 2)), rtol=1e-5, atol=1e-4
    )
    expected = torch.from_numpy(data.transpose(1, 0, 3, 2, 4).reshape(2, 3, 3, -1))
    assert torch.equal(scan.data, expected)
    assert scan.placements is not None
    assert [place.center[2] for place in scan.placements] == [0.0, 5.0]
    assert scan.header["notes"][0].endswith("its 3 frames have points of their own and are solved together")
    one = data[:, 0].transpose(0, 2, 1, 3)  # (frame, coil, spoke, sample)
    np.save(tmp_path / "k.npy", one)
    np.save(tmp_path / "p.npy", points[..., ::-1])
    files = {"ksp": one.transpose(3, 2, 1, 0)[None], "traj": points[..., ::-1].transpose(3, 2, 1, 0)}
    for name, array in files.items():
        dims = [*array.shape[:-1], *[1] * (10 - array.ndim + 1), array.shape[-1]]
        (tmp_path / f"{name}.cfl").write_bytes(array.astype("<c8").tobytes(order="F"))
        (tmp_path / f"{name}.hdr").write_text(f"# Dimensions\n{' '.join(map(str, dims))}\n")
    with pytest.raises(DataFormatError, match=r"\(3, 3, 8, 128\) has as many coils as frames"):
        stream_off_grid(tmp_path / "k.npy", str(tmp_path / "p.npy"), SIZE, None)
    np.save(tmp_path / "k.npy", one[:, :2])
    np.save(tmp_path / "k8.npy", one[:, [0, 1, 2, 0, 1, 2, 0, 1]])
    with pytest.raises(DataFormatError, match=r"\(3, 8, 8, 128\) has as many coils as frames, spokes or samples"):
        stream_off_grid(tmp_path / "k8.npy", str(tmp_path / "p.npy"), SIZE, None)
    np.save(tmp_path / "k1.npy", one[:, :1])
    # MATLAB, of two frames: both ends of the points look like kx and ky.
    matlab = {"data": one[:2].transpose(3, 2, 1, 0), "k": points[:2, ..., ::-1].transpose(3, 2, 1, 0)}
    scipy.io.savemat(tmp_path / "m.mat", matlab)
    two = stream_off_grid(tmp_path / "m.mat", f"{tmp_path / 'm.mat'}:k", SIZE, "data").whole()
    assert two.geometry.shape == (2, *SIZE)
    for kspace, trajectory, coils in (("k.npy", "p.npy", 2), ("k1.npy", "p.npy", 1), ("ksp.cfl", "traj.cfl", 3)):
        found = stream_off_grid(tmp_path / kspace, str(tmp_path / trajectory), SIZE, None).whole()
        assert isinstance(found.geometry, NonCartesianSeries)
        ones = torch.ones(1, coils, *SIZE)
        image = found.geometry.operator(1, ones).adjoint(found.data)
        expected_image = scan.geometry.operator(1, ones).adjoint(scan.data[:1, :, :coils])
        torch.testing.assert_close(image, expected_image, rtol=0, atol=1e-3)
    write_frames(tmp_path / "same.mrd.h5", points[:1].repeat(3, 0), data)
    same = read(tmp_path / "same.mrd.h5")
    assert isinstance(same.geometry, NonCartesian)
    with pytest.raises(DataFormatError, match="its frames are solved together as they are"):
        together(scan, "phase")
    moving = together(same, "phase")
    assert isinstance(moving.geometry, NonCartesianSeries)
    assert torch.equal(moving.data, expected)
    assert moving.placements == scan.placements
    write_frames(tmp_path / "b.mrd.h5", points, data[:, :1], "contrast")
    with pytest.raises(DataFormatError, match="trajectories of their own: only frames of a slice may"):
        read(tmp_path / "b.mrd.h5")
    write_frames(tmp_path / "c.mrd.h5", points, data, missing=(2, 1))
    with pytest.raises(DataFormatError, match="no readout of phase 2, slice 1: off the grid"):
        read(tmp_path / "c.mrd.h5")


@pytest.mark.skipif(shutil.which("bart") is None, reason="BART is not installed")
def test_a_scan_that_bart_simulates_is_reconstructed(tmp_path: Path) -> None:
    """Its phantom and trajectory, its k-space: our image is that of its own inverse transform."""

    def bart(*arguments: object) -> None:
        subprocess.run(["bart", *map(str, arguments)], cwd=tmp_path, check=True, capture_output=True)

    bart("traj", "-r", "-x", 128, "-y", 64, "t")
    bart("scale", 0.5, "t", "traj")
    bart("phantom", "-k", "-s", 4, "-t", "traj", "ksp")
    bart("nufft", "-i", "-d", "64:64:1", "traj", "ksp", "inverse")
    bart("rss", 8, "inverse", "image")
    theirs = np.fromfile(tmp_path / "image.cfl", "<c8").reshape(64, 64, order="F").real
    scan = stream_off_grid(tmp_path / "ksp.cfl", str(tmp_path / "traj.cfl"), SIZE, None).whole()
    image = reconstruct(scan, cg_sense_method).image[0].abs().numpy()
    as_it_is, turned = (np.corrcoef(image.ravel(), each.ravel())[0, 1] for each in (theirs, theirs.T))
    assert turned > 0.95
    assert turned > as_it_is, "x is BART's first axis"


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    np.save(tmp_path / "k.npy", np.ones((3, 5, 7), np.complex64))
    np.save(tmp_path / "p.npy", np.ones((2, 5, 8)))
    np.save(tmp_path / "deep.npy", np.ones((3, 5, 7)))
    for name, said in (
        ("p.npy", r"k-space \(3, 5, 7\) has not the axes \(5, 8\) of its trajectory"),
        ("deep.npy", "a trajectory in three dimensions, and an image of two"),
        ("none.npy", "no such file"),
    ):
        with pytest.raises(DataFormatError, match=said):
            stream_off_grid(tmp_path / "k.npy", str(tmp_path / name), SIZE, None)


SPIRAL = Path(__file__).parents[3].parent / "shared" / "data" / "raw" / "phantom_spiral_8coil.mat"


@pytest.mark.shared
def test_the_measured_spiral_is_read() -> None:
    if not SPIRAL.exists():
        pytest.skip("the measured spiral is not beside the checkout")
    scan = stream_off_grid(SPIRAL, f"{SPIRAL}:k", (128, 128), "data").whole()
    assert tuple(scan.data.shape) == (1, 8, 60 * 1182)
    assert "parts of the sampling frequency" in scan.header["notes"][0]
