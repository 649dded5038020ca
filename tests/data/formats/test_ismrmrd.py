"""ISMRMRD: files written by the `ismrmrd` package, sorted onto the grid and prewhitened."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import h5py
import ismrmrd
import numpy as np
import pytest
import torch
from scan_files import mrd_header, random_kspace, readout, write_mrd

from laminar.data.coils import estimate_sensitivities, whitened
from laminar.data.formats import describe, read, stream
from laminar.data.simulation import simulate_slice
from laminar.errors import DataFormatError
from laminar.methods import open_method
from laminar.operators import fft2c
from laminar.reconstruction import reconstruct
from laminar.scan import cartesian

COILS, HEIGHT, WIDTH = 3, 10, 16
TRUTH = random_kspace(2, COILS, HEIGHT, WIDTH)  # (slice, coil, y, x)


def lines(kspace: np.ndarray, rows: list[int], offset: int = 0, **idx: int) -> list[ismrmrd.Acquisition]:
    places = [(s, y) for s in range(len(kspace)) for y in rows]
    return [readout(kspace[s][:, y], y - offset, **{"slice": s, **idx}) for s, y in places]


def test_readouts_find_their_place_and_others_are_left_out(tmp_path: Path) -> None:
    rows = [2, 4, 5, 6, 8]
    junk = [
        readout(random_kspace(COILS, WIDTH, seed=9) * 100, 0, flag)
        for flag in (
            ismrmrd.ACQ_IS_PHASECORR_DATA,
            ismrmrd.ACQ_IS_NAVIGATION_DATA,
            ismrmrd.ACQ_IS_DUMMYSCAN_DATA,
        )
    ]
    header = mrd_header(WIDTH, HEIGHT, center=3, last=6)  # line 0 of the file is line 2 of the grid
    write_mrd(tmp_path / "a.mrd.h5", header, [*junk, *lines(TRUTH, rows, offset=2)])

    scan = read(tmp_path / "a.mrd.h5")

    mask = torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)
    mask[rows] = True
    assert torch.equal(scan.mask, mask)
    assert torch.equal(scan.kspace, torch.from_numpy(TRUTH) * mask)
    assert scan.image_shape == (HEIGHT, WIDTH // 2)  # the readout is oversampled twice
    assert scan.spacing_mm == (20.0, 25.0)
    assert scan.noise_std is None
    assert scan.grid.readout_axis == -1
    assert scan.name == "a"
    summary = describe(tmp_path / "a.mrd.h5")
    assert (summary["format"], summary["readouts"]) == ("ISMRMRD", 13)


def test_partial_echo_reversed_readouts_and_discarded_samples(tmp_path: Path) -> None:
    first = 5
    short = [readout(TRUTH[0, :, y, first:], y, center=WIDTH // 2 - first) for y in range(0, HEIGHT, 2)]
    backwards = [
        readout(TRUTH[0, :, y, first:][:, ::-1], y, ismrmrd.ACQ_IS_REVERSE, center=WIDTH // 2 - 1)
        for y in range(1, HEIGHT, 2)
    ]
    padded = readout(np.pad(TRUTH[0, :, 0, first:], ((0, 0), (2, 1))), 0, center=WIDTH // 2 - first + 2)
    padded.discard_pre, padded.discard_post = 2, 1
    write_mrd(tmp_path / "a.h5", mrd_header(WIDTH, HEIGHT), [padded, *short[1:], *backwards])
    scan = read(tmp_path / "a.h5")
    assert torch.equal(scan.kspace[0, ..., first:], torch.from_numpy(TRUTH[0, ..., first:]))
    assert not scan.mask[:, :first].any()
    assert scan.mask[:, first:].all()


def test_averages_are_averaged(tmp_path: Path) -> None:
    other = random_kspace(*TRUTH.shape, seed=5)
    readouts = [
        *lines(TRUTH + other, list(range(HEIGHT)), average=0),
        *lines(TRUTH - other, list(range(HEIGHT)), average=1),
    ]
    write_mrd(tmp_path / "a.h5", mrd_header(WIDTH, HEIGHT), readouts)
    torch.testing.assert_close(read(tmp_path / "a.h5").kspace, torch.from_numpy(TRUTH))


@pytest.mark.parametrize(("mode", "used"), [("embedded", True), ("separate", False)])
def test_calibration_lines_count_if_they_are_embedded(tmp_path: Path, mode: str, used: bool) -> None:
    image = [readout(TRUTH[0, :, y], y) for y in (0, 2, 6, 8)]
    both = [readout(TRUTH[0, :, 4], 4, ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING)]
    only = [readout(TRUTH[0, :, y], y, ismrmrd.ACQ_IS_PARALLEL_CALIBRATION) for y in (3, 5)]
    write_mrd(tmp_path / "a.h5", mrd_header(WIDTH, HEIGHT, calibration=mode), [*image, *both, *only])
    scan = read(tmp_path / "a.h5")
    assert scan.mask[:, 0].nonzero().flatten().tolist() == ([0, 2, 3, 4, 5, 6, 8] if used else [0, 2, 4, 6, 8])
    assert scan.header["calibration_readouts_left_out"] == (0 if used else 2)


@pytest.mark.parametrize("averages", [1, 4])
def test_noise_is_white_and_of_the_stated_level(tmp_path: Path, averages: int) -> None:
    """Correlated noise through a receiver of bandwidth 1/dwell, of which the noise scan saw the part 0.8."""
    rng = np.random.default_rng(3)
    mixing = np.linalg.cholesky(np.array([[2, 0.5, 0.3j], [0.5, 1, 0], [-0.3j, 0, 3]]))
    dwell_image, dwell_noise, width, height, bandwidth = 2.0, 5.0, 64, 48, 0.8

    def noise(n: int, power: float) -> np.ndarray:
        white = rng.normal(size=(COILS, n)) + 1j * rng.normal(size=(COILS, n))
        return np.sqrt(power / 2) * (mixing @ white)

    scan = readout(noise(50_000, bandwidth / dwell_noise), 0, ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
    scan.sample_time_us = dwell_noise
    image = [readout(noise(width, 1 / dwell_image), y, average=a) for y in range(height) for a in range(averages)]
    write_mrd(tmp_path / "a.h5", mrd_header(width, height, bandwidth=bandwidth), [scan, *image])

    found = read(tmp_path / "a.h5")

    white = whitened(found).kspace[0].flatten(1)
    assert whitened(found).noise_std == 1
    covariance = white @ white.conj().T / white.shape[1]
    # The standard error of a covariance of 64 * 48 samples is 0.018.
    torch.testing.assert_close(covariance, torch.eye(COILS, dtype=torch.complex64), atol=0.08, rtol=0)


def test_a_noise_scan_that_cannot_whiten_is_said_to_have_not(tmp_path: Path) -> None:
    scan = readout(random_kspace(COILS, 2), 0, ismrmrd.ACQ_IS_NOISE_MEASUREMENT)  # 2 samples, 3 coils
    write_mrd(tmp_path / "a.h5", mrd_header(WIDTH, HEIGHT), [scan, *lines(TRUTH, list(range(HEIGHT)))])
    found = read(tmp_path / "a.h5")
    assert found.noise_covariance is None
    assert found.header["noise_scan"] is False
    assert torch.equal(found.kspace, torch.from_numpy(TRUTH))


def test_a_volume_becomes_slices_without_the_oversampling(tmp_path: Path) -> None:
    image = torch.from_numpy(random_kspace(COILS, 6, HEIGHT, WIDTH))
    kspace = fft2c(image, axes=(-3, -2, -1)).numpy()
    readouts = [readout(kspace[:, z, y], y, kspace_encode_step_2=z) for z in range(6) for y in range(HEIGHT)]
    write_mrd(tmp_path / "a.h5", mrd_header(WIDTH, HEIGHT, 6), readouts)
    scan = read(tmp_path / "a.h5")
    slices = image[..., WIDTH // 4 : WIDTH // 4 + WIDTH // 2].movedim(-1, 0)
    torch.testing.assert_close(scan.kspace, fft2c(slices))
    assert scan.image_shape == (6, HEIGHT)
    assert scan.mask.all()
    assert scan.grid.readout_axis is None  # it was transformed away


def test_slices_with_different_lines_have_masks_of_their_own(tmp_path: Path) -> None:
    rows = [[0, 3, 4, 5, 6, 8], [1, 3, 4, 5, 6, 8]]
    readouts = [one for s in (0, 1) for one in lines(TRUTH[s : s + 1], rows[s], slice=s)]
    write_mrd(tmp_path / "a.h5", mrd_header(WIDTH, HEIGHT), readouts)
    scan = read(tmp_path / "a.h5")
    assert [mask[:, 0].nonzero().flatten().tolist() for mask in scan.mask] == rows


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trajectory": "epi"}, "trajectory is 'epi', and no readout brings its points: if all lie on a grid"),
        ({"center": 9}, "reaches from -4 to 5 on a grid of 10"),
        ({"x": 8}, "a readout has 16 samples, the encoded matrix only 8"),
    ],
)
def test_what_does_not_fit_the_header_is_refused(tmp_path: Path, options: dict[str, object], message: str) -> None:
    header = mrd_header(**({"x": WIDTH, "y": HEIGHT} | options))  # type: ignore[arg-type]
    write_mrd(tmp_path / "a.h5", header, lines(TRUTH, list(range(HEIGHT))))
    with pytest.raises(DataFormatError, match=message):
        read(tmp_path / "a.h5")


def test_a_file_of_noise_alone_is_no_scan(tmp_path: Path) -> None:
    noise = readout(random_kspace(COILS, 64), 0, ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
    write_mrd(tmp_path / "a.h5", mrd_header(WIDTH, HEIGHT), [noise])
    with pytest.raises(DataFormatError, match="no acquired line: none of the 1 readouts is imaging data"):
        read(tmp_path / "a.h5")


def test_a_header_that_other_writers_would_not_refuse_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.mrd.h5"
    write_mrd(path, mrd_header(WIDTH, HEIGHT), lines(TRUTH, list(range(HEIGHT))))
    with h5py.File(path, "r+") as file:
        file["dataset/xml"][0] = "\n  " + file["dataset/xml"][0].decode().replace(">cartesian<", ">Cartesian<")
        assert b"Cartesian" in file["dataset/xml"][0]
    assert torch.equal(read(path).kspace, torch.from_numpy(TRUTH))
    with h5py.File(path, "r+") as file:
        text = file["dataset/xml"][0].decode().replace("<encoding>", "<user>J\xfcrgen</user><encoding>")
        del file["dataset/xml"]
        file["dataset/xml"] = np.bytes_(text.encode("latin-1"))
    assert torch.equal(read(path).kspace, torch.from_numpy(TRUTH))


@pytest.mark.parametrize("said", ["9.9996", "10.0", " 10 "])
def test_matrix_sizes_that_are_no_whole_numbers_are_rounded_and_said(tmp_path: Path, said: str) -> None:
    path = tmp_path / "a.mrd.h5"
    write_mrd(path, mrd_header(WIDTH, HEIGHT), lines(TRUTH, list(range(HEIGHT))))
    with h5py.File(path, "r+") as file:
        text = file["dataset/xml"][0].decode()
        file["dataset/xml"][0] = text.replace(f"<y>{HEIGHT}</y>", f"<y>{said}</y>")
    scan = read(path)
    assert torch.equal(scan.kspace, torch.from_numpy(TRUTH))
    noted = "encodedSpace/matrixSize of 16, 9.9996, 1: taken as 16, 10, 1" in " ".join(scan.header["notes"])
    assert noted == (said == "9.9996")
    with h5py.File(path, "r+") as file:
        file["dataset/xml"][0] = text.replace(f"<y>{HEIGHT}</y>", "<y>ten</y>")
    with pytest.raises(DataFormatError, match="whole encodedSpace/matrixSize; got 16, ten, 1"):
        read(path)


def test_sensitivities_of_separate_calibration_lines_serve_an_oversampled_readout(tmp_path: Path) -> None:
    """Images without a calibration region of their own, of which half the readout is cropped before they are solved."""
    full = simulate_slice("brain", (32, 64), 4, 0.001, torch.Generator().manual_seed(0)).kspace.numpy()[None]
    calibration = [
        readout(full[0][:, y], y, ismrmrd.ACQ_IS_PARALLEL_CALIBRATION) for y in range(8, 24) if y not in range(0, 32, 2)
    ]
    path = tmp_path / "a.mrd.h5"
    write_mrd(path, mrd_header(64, 32, calibration="interleaved"), [*lines(full, list(range(0, 32, 2))), *calibration])
    with h5py.File(path, "r") as file:
        assert len(file["dataset/data"]) == 24
    scan = read(path)
    assert scan.sensitivities is not None
    assert scan.image_shape == (32, 32)
    assert "8 calibration readouts are no part of the images" in scan.header["notes"][0]
    everything = cartesian(torch.from_numpy(full), torch.ones(32, 64, dtype=torch.bool), image_shape=(32, 32))
    known = replace(everything.undersample(scan.mask), sensitivities=estimate_sensitivities(everything))
    found, expected = (reconstruct(one, open_method("cg-sense")).magnitude for one in (scan, known))
    assert (found - expected).norm() < 0.1 * expected.norm()  # 16 lines see less of the faint edge


def test_a_repetition_is_chosen_and_slices_keep_their_place_when_kspace_is_recentered(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    full = np.stack([simulate_slice("brain", (32, 32), 4, 0.001, generator).kspace.numpy() for _ in range(2)])
    readouts = [one for r in range(2) for one in lines((1 + r) * full, list(range(8, 32)), offset=8, repetition=r)]
    for one in readouts:
        one.position[:] = (0.0, 0.0, 5.0 * one.idx.slice)
        one.read_dir[:], one.phase_dir[:], one.slice_dir[:] = (1, 0, 0), (0, 1, 0), (0, 0, 1)
    path = tmp_path / "a.mrd.h5"
    write_mrd(path, mrd_header(32, 32, center=16, last=23), readouts)  # the line through zero frequency is 8
    lazy = stream(path)
    assert "was at (y, x) = (8, 16)" in lazy.notes[-1]
    placements = lazy.whole().placements
    assert placements is not None
    assert [one.center[2] for one in placements] == [0, 5, 0, 5]
    second = lazy.select("repetition", 1)
    assert (second.n_slices, second.series) == (2, {})
    assert "repetition 1 of 2, by choice" in second.notes
    torch.testing.assert_close(second.whole().kspace[:, :, 8:], torch.from_numpy(2 * full[:, :, 8:]))
    assert torch.equal(second.select("slice", 1).whole().kspace[0], second.whole().kspace[1])
    with pytest.raises(DataFormatError, match="no repetition 2; the scan has repetition 0 to 1, slice 0 to 1"):
        lazy.select("repetition", 2)
