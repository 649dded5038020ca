"""Readouts assembled into scans: series, positions, calibration lines, and one image after the other as they arrive."""

from __future__ import annotations

from collections.abc import Sequence

import ismrmrd
import numpy as np
import pytest
import torch
from scan_files import mrd_header, random_kspace, readout

from laminar.data.coils import estimate_sensitivities, whitened
from laminar.data.formats.arrival import Arrival, Part
from laminar.data.formats.assembly import assemble
from laminar.data.formats.header import MrdHeader, parse_header
from laminar.data.formats.readouts import Readout, records_of
from laminar.errors import DataFormatError
from laminar.operators import fft2c
from laminar.scan import Placement, Scan, cartesian

HEAD = np.dtype(ismrmrd.AcquisitionHeader)
COILS, HEIGHT, WIDTH = 2, 12, 16
EVERY = range(HEIGHT)


def header(**more: object) -> MrdHeader:
    return parse_header(mrd_header(WIDTH, HEIGHT, **more))  # type: ignore[arg-type]


def taken(readouts: Sequence[ismrmrd.Acquisition]) -> list[Readout]:
    heads = np.array([np.frombuffer(bytes(one.getHead()), HEAD)[0] for one in readouts])
    return [
        (head, np.ascontiguousarray(one.data).view(np.float32).ravel())
        for head, one in zip(heads, readouts, strict=True)
    ]


def assembled(readouts: Sequence[ismrmrd.Acquisition], header: MrdHeader) -> Scan:
    heads, floats = zip(*taken(readouts), strict=True)
    return assemble(records_of(np.array(heads), floats), header)


def volume(kspace: np.ndarray, rows: Sequence[int] = EVERY, *flags: int, **idx: int) -> list[ismrmrd.Acquisition]:
    return [readout(kspace[:, y], y, *flags, **idx) for y in rows]


def test_phases_and_contrasts_are_a_series_and_what_is_missing_is_named() -> None:
    truth = random_kspace(2, 3, 2, COILS, HEIGHT, WIDTH)  # (contrast, phase, slice, ...)
    places = [place for place in np.ndindex(2, 3, 2) if place != (1, 2, 0)]
    readouts = [
        one for c, p, s in reversed(places) for one in volume(truth[c, p, s], contrast=c * 2, phase=p + 1, slice=s)
    ]
    scan = assembled(readouts, header())
    assert dict(scan.series) == {"contrast": 2, "phase": 3, "slice": 2}
    assert scan.header["without_readouts"] == ["contrast 2, phase 3, slice 0"]
    truth[1, 2, 0] = 0
    assert torch.equal(scan.kspace, torch.from_numpy(truth).flatten(0, 2))
    assert bool(scan.mask.all())
    assert scan.mask.ndim == 2


def test_counters_that_readouts_cannot_explain_are_refused() -> None:
    kspace = random_kspace(COILS, HEIGHT, WIDTH)
    wild = [readout(kspace[:, 0], 0, slice=n, phase=n, contrast=n, repetition=n) for n in range(100)]
    with pytest.raises(DataFormatError, match="100 readouts count 1 x 100 x 100 x 100 x 100 set, contrast"):
        assembled(wild, header())


def test_slices_are_sorted_by_their_position_in_an_oblique_frame() -> None:
    axes = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))[0]
    read, phase, normal = axes * np.sign(np.linalg.det(axes))
    truth, readouts = random_kspace(4, COILS, HEIGHT, WIDTH), []
    for s, place in enumerate((3, 1, 0, 2)):
        for one in volume(truth[s], slice=s):
            one.read_dir[:], one.phase_dir[:], one.slice_dir[:] = read, phase, normal
            one.position[:] = np.array([5.0, -3, 8]) + 4 * place * normal
            readouts.append(one)
    scan = assembled(readouts, header())
    assert torch.equal(scan.kspace, torch.from_numpy(truth)[[2, 1, 3, 0]])
    assert scan.placements is not None
    for place, placement in enumerate(scan.placements):
        np.testing.assert_allclose(placement.center, np.array([5.0, -3, 8]) + 4 * place * normal, atol=1e-5)
        np.testing.assert_allclose((placement.x_axis, placement.y_axis), (read, phase), atol=1e-6)
    assert scan.thickness_mm == 100.0


def test_the_planes_of_a_volume_lie_along_its_readout() -> None:
    kspace = random_kspace(COILS, 4, HEIGHT, WIDTH)
    readouts = [one for z in range(4) for one in volume(kspace[:, z], kspace_encode_step_2=z)]
    for one in readouts:
        one.read_dir[:], one.phase_dir[:], one.slice_dir[:] = np.eye(3)
    scan = assembled(readouts, parse_header(mrd_header(WIDTH, HEIGHT, 4)))
    assert scan.placements is not None
    assert [one.center[0] for one in scan.placements] == [25.0 * (n - 4) for n in range(8)]
    assert scan.placements[0] == Placement((-100.0, 0, 0), (0, 1, 0), (0, 0, 1))
    assert scan.thickness_mm == 25.0


def test_one_partition_is_a_plane_whatever_the_header_says() -> None:
    kspace = random_kspace(COILS, HEIGHT, WIDTH)
    scan = assembled(volume(kspace), parse_header(mrd_header(WIDTH, HEIGHT, 2)))
    assert torch.equal(scan.kspace[0], torch.from_numpy(kspace))


def coil_kspace() -> np.ndarray:
    y, x = np.mgrid[-1 : 1 : HEIGHT * 1j, -1 : 1 : WIDTH * 1j]
    coils = np.stack([1 + 0.4 * y, 1 + 0.5j * x])
    kspace = fft2c(torch.from_numpy((coils * ((y**2 + x**2) < 0.5)).astype(np.complex64))).numpy()
    return kspace + 1e-3 * random_kspace(*kspace.shape)


@pytest.mark.parametrize("noise", [False, True])
def test_calibration_lines_apart_give_the_sensitivities(noise: bool) -> None:
    kspace, center = coil_kspace(), range(3, 9)
    readouts = [
        *volume(kspace, center, ismrmrd.ACQ_IS_PARALLEL_CALIBRATION),
        *(one for r in range(2) for one in volume(kspace, range(0, HEIGHT, 2), repetition=r)),
    ]
    if noise:
        mixed = np.array([[2, 0], [1, 1]]) @ random_kspace(COILS, 500)
        readouts.insert(0, readout(mixed, 0, ismrmrd.ACQ_IS_NOISE_MEASUREMENT))
    scan = assembled(readouts, header(calibration="separate"))
    assert scan.mask[:, 0].nonzero().flatten().tolist() == list(range(0, HEIGHT, 2))
    mask = torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)
    mask[3:9] = True
    apart = cartesian(torch.from_numpy(kspace)[None] * mask, mask, noise_covariance=scan.noise_covariance)
    expected = estimate_sensitivities(whitened(apart))
    found = whitened(scan).sensitivities
    assert found is not None
    torch.testing.assert_close(found, expected.repeat(2, 1, 1, 1), atol=1e-5, rtol=1e-4)


def test_lines_that_take_turns_are_calibrated_together() -> None:
    kspace = coil_kspace()
    readouts = [one for r in range(4) for one in volume(kspace, range(r % 4, HEIGHT, 4), repetition=r)]
    scan = assembled(readouts, header())
    full = cartesian(torch.from_numpy(kspace)[None], torch.ones(HEIGHT, WIDTH, dtype=torch.bool))
    assert scan.sensitivities is not None
    torch.testing.assert_close(scan.sensitivities, estimate_sensitivities(full).repeat(4, 1, 1, 1))


def arrived(readouts: Sequence[ismrmrd.Acquisition], header: MrdHeader) -> tuple[list[tuple[int, Part]], Arrival]:
    """Every image with the number of readouts after which it was complete."""
    arrival, parts = Arrival(header), []
    for n, one in enumerate(taken(readouts), 1):
        part = arrival.add(one)
        parts += [] if part is None else [(n, part)]
    return parts + [(len(readouts), part) for part in arrival.rest()], arrival


@pytest.mark.parametrize("flags", [True, False])
def test_an_image_is_complete_with_its_last_readout(flags: bool) -> None:
    truth = random_kspace(2, 2, COILS, HEIGHT, WIDTH)  # (repetition, slice, ...)
    readouts = [readout(random_kspace(COILS, 100), 0, ismrmrd.ACQ_IS_NOISE_MEASUREMENT)]
    for r, y, s in np.ndindex(2, HEIGHT, 2):
        last = [ismrmrd.ACQ_LAST_IN_SLICE] if flags and y == HEIGHT - 1 else []
        readouts.append(readout(truth[r, s][:, y], y, *last, slice=s, repetition=r))
    text = mrd_header(WIDTH, HEIGHT)
    if not flags:  # then all lines are counted
        limits = "<average><minimum>0</minimum><maximum>0</maximum><center>0</center></average><kspace_encoding_step_1>"
        text = text.replace("<kspace_encoding_step_1><minimum>", f"{limits}<minimum>")
    parts, arrival = arrived(readouts, parse_header(text))
    assert [n for n, _ in parts] == [24, 25, 48, 49]
    whole = assembled(readouts, header())
    for index, (_, part) in enumerate(parts):
        scan = part.scan()
        assert torch.equal(scan.kspace, whole.kspace[index : index + 1])
        assert scan.noise_covariance is not None
        assert torch.equal(scan.noise_covariance, whole.noise_covariance)
    assert str(parts[3][1]) == "slice 1, repetition 1"
    assert arrival.add(taken(readouts[1:2])[0]) is None
    assert arrival.late == 1


def test_calibration_lines_of_one_repetition_serve_those_that_come_later() -> None:
    kspace = coil_kspace()
    readouts = [
        *volume(kspace, range(3, 9), ismrmrd.ACQ_IS_PARALLEL_CALIBRATION, repetition=0),
        *(one for r in (1, 2) for one in volume(kspace, range(0, HEIGHT, 2), repetition=r)),
    ]
    parts, _ = arrived(readouts, header())
    whole = assembled(readouts, header())
    assert dict(whole.series) == {"repetition": 2, "slice": 1}
    assert [part.counters["repetition"] for _, part in parts] == [1, 2]
    for index, (_, part) in enumerate(parts):
        scan = part.scan()
        assert torch.equal(scan.kspace, whole.kspace[index : index + 1])
        assert scan.sensitivities is not None
        assert whole.sensitivities is not None
        assert torch.equal(scan.sensitivities, whole.sensitivities[index : index + 1])


def test_calibration_lines_that_were_lent_are_no_readouts_of_the_image_that_borrows_them() -> None:
    """Repetitions take turns with the lines; each measures in the center the lines of the other, for calibration."""
    kspace, readouts = coil_kspace(), []
    for r in range(2):
        for y in range(HEIGHT):
            flags = [ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING] if 3 <= y < 9 else []
            if y % 2 == r:
                readouts += [readout(kspace[:, y], y, *flags, repetition=r)]
            elif flags:
                readouts += [readout(kspace[:, y], y, ismrmrd.ACQ_IS_PARALLEL_CALIBRATION, repetition=r)]
    parts, _ = arrived(readouts, header(calibration="interleaved"))
    scans = [part.scan() for _, part in parts]
    assert [len(part.lent) for _, part in parts] == [6, 6]  # neither was complete before the end: both came
    assert [scan.header["calibration_readouts_left_out"] for scan in scans] == [3, 3]
    whole = assembled(readouts, header(calibration="interleaved"))
    assert whole.header["calibration_readouts_left_out"] == 6
    for index, scan in enumerate(scans):
        assert torch.equal(scan.kspace, whole.kspace[index : index + 1])
        assert scan.sensitivities is not None
        assert whole.sensitivities is not None
        assert torch.equal(scan.sensitivities, whole.sensitivities[index : index + 1])
