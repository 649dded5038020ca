"""encodingLimits that contradict the readouts: no mask is wrong without a word that names both."""

from pathlib import Path

import numpy as np
import pytest
import torch

from laminar.data.formats import read
from laminar.data.formats.arrival import Arrival
from laminar.data.formats.header import parse_header
from laminar.data.simulation import simulate_slice
from laminar.errors import DataFormatError
from tests.data.formats.scan_files import mrd_header, readout, write_mrd, write_mrd2
from tests.data.formats.test_assembly import taken

SIZE, GRID = 32, 48
TRUTH = simulate_slice("brain", (SIZE, SIZE), 3, 0.001, torch.Generator().manual_seed(0)).kspace.numpy()
SAID = "encodingLimits of phase encoding 1 (minimum {}, maximum {}, center {})"
COUNT = f"count 0 to {SIZE - 1}, contradict each other"
CONTRADICTIONS = {
    "fewer": ((0, 15, 16), COUNT),
    "a later first": ((8, 31, 16), COUNT),
    "more": ((0, 63, 16), COUNT),
    "another center": ((0, 31, 8), "whose zero frequency is at 16"),
    "a center beyond": ((0, 15, 20), COUNT),
}


def write(kind: str, path: Path, limits: tuple[int, int, int]) -> None:
    """All lines of `TRUTH` under a header of a larger grid."""
    if kind == "MRD v2":
        pytest.importorskip("mrd", reason="reads MRD version 2")
        write_mrd2(path, TRUTH[None], limits=limits, grid=GRID)
        return
    first, last, center = limits
    header = mrd_header(SIZE, GRID, first=first, last=last, center=center)
    write_mrd(path, header, [readout(TRUTH[:, y], y) for y in range(SIZE)])


@pytest.mark.parametrize("kind", ["ISMRMRD", "MRD v2"])
@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_contradictions_are_said_and_the_mask_is_that_of_the_readouts(kind: str, name: str, tmp_path: Path) -> None:
    limits, said = CONTRADICTIONS[name]
    write(kind, tmp_path / "a.mrd", limits)
    scan = read(tmp_path / "a.mrd")
    notes = "\n".join(scan.header["notes"])
    assert SAID.format(*limits) in notes
    assert said in notes
    lines = scan.mask[:, 0].nonzero()[:, 0].tolist()
    assert lines == list(range((GRID - SIZE) // 2, (GRID + SIZE) // 2))
    np.testing.assert_array_equal(scan.kspace[0, :, lines], TRUTH)


@pytest.mark.parametrize("kind", ["ISMRMRD", "MRD v2"])
def test_what_agrees_is_not_spoken_of_and_what_has_no_place_is_refused(kind: str, tmp_path: Path) -> None:
    write(kind, tmp_path / "a.mrd", (0, SIZE - 1, SIZE // 2))
    assert read(tmp_path / "a.mrd").header["notes"] == ()
    write(kind, tmp_path / "a.mrd", (0, SIZE - 1, SIZE - 1))
    with pytest.raises(DataFormatError, match=r"by counters from 0 to 31: .*\(minimum 0, maximum 31, center 31\)"):
        read(tmp_path / "a.mrd")


def test_undersampled_lines_agree_with_the_limits_of_all() -> None:
    text = mrd_header(SIZE, SIZE)
    for lines in (range(0, SIZE, 4), range(3, SIZE, 4), [*range(0, 12, 3), *range(12, 20), *range(22, SIZE, 3)]):
        arrival = Arrival(parse_header(text))
        for one in taken([readout(TRUTH[:, y], y) for y in lines]):
            arrival.add(one)
        (part,) = arrival.rest()
        assert part.scan().header["notes"] == ()


AVERAGES = "<average><minimum>0</minimum><maximum>0</maximum><center>0</center></average><kspace_encoding_step_1>"


@pytest.mark.parametrize("order", [range(SIZE), [*range(0, SIZE, 2), *range(1, SIZE, 2)]])
def test_an_image_on_the_wire_is_not_cut_short_without_a_word(order: list[int]) -> None:
    """A header that announces half of the lines: those that come in order are late, and it is said why; where one
    beyond the limits comes in time, all are waited for."""
    text = mrd_header(SIZE, GRID, last=15, center=16).replace("<kspace_encoding_step_1>", AVERAGES, 1)
    arrival = Arrival(parse_header(text))
    parts = [arrival.add(one) for one in taken([readout(TRUTH[:, y], y) for y in order])]
    early = next((part for part in parts if part is not None), None)
    part = early or next(arrival.rest())
    late = arrival.late_note()
    if list(order) == sorted(order):
        assert late is not None
        assert late.startswith("left out: 16 readouts that came after the image was complete: encodingLimits (min")
        assert late.endswith("maximum 15, center 16) contradict the readouts, which count up to 31")
    else:
        assert (early, late) == (None, None)
        assert int(part.scan().mask[:, 0].sum()) == SIZE
        assert SAID.format(0, 15, 16) in part.scan().header["notes"][0]
