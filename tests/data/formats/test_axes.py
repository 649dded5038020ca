"""Axes: whatever their order in the file, k-space comes out as (slice, coil, y, x) with the right mask."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scan_files import random_kspace

from laminar.data.formats.axes import arrange, example_axes, parse_axes
from laminar.data.formats.sampling import detect_mask
from laminar.data.masks import make_mask
from laminar.errors import DataFormatError
from laminar.operators import fft2c

SIZES = {"slice": 2, "coil": 3, "ky": 4, "kx": 5, "_": 1, "ri": 2}


@given(order=st.permutations(["slice", "coil", "ky", "kx", "_", "ri"]), split=st.booleans())
def test_any_order_of_axes_is_undone(order: list[str], split: bool) -> None:
    names = [name for name in order if split or name != "ri"]
    truth = random_kspace(2, 3, 4, 5)
    if names.index("kx") < names.index("ky"):  # the file's order of the spatial axes is kept
        truth = truth.swapaxes(-1, -2)
    home = ["slice", "coil", *sorted({"ky", "kx"}, key=names.index), "_", *(["ri"] if split else [])]
    array = truth[..., None]
    if split:
        array = np.stack([array.real, array.imag], axis=-1)
    shuffled = array.transpose([home.index(name) for name in names])
    assert shuffled.shape == tuple(SIZES[name] for name in names)

    kspace, mask, readout, _ = arrange(shuffled, ",".join(names))

    assert torch.equal(kspace, torch.from_numpy(np.ascontiguousarray(truth)))
    assert bool(mask.all())
    assert kspace.is_contiguous()
    assert kspace.shape[readout] == SIZES["kx"]


@pytest.mark.parametrize("readout", ["kz", "ky", "kx"])
@pytest.mark.parametrize("asymmetric", [False, True])
def test_a_volume_is_split_along_its_fully_sampled_axis(readout: str, asymmetric: bool) -> None:
    generator = torch.Generator().manual_seed(1)
    sampled = torch.rand(6, 7, generator=generator) < 0.5
    volume = torch.from_numpy(random_kspace(2, 3, 8, 6, 7)) * sampled  # (volume, coil, readout, y, x) of k-space
    if asymmetric:
        volume[:, :, :3] = 0
    expected = _inverse(volume, 2).movedim(2, 1).flatten(0, 1)
    names = ["kz", "ky", "kx"]
    array = volume.movedim(2, 2 + names.index(readout))

    kspace, mask, axis, _ = arrange(array.numpy(), f"slice,coil,{','.join(names)}")

    assert kspace.shape == (16, 3, 6, 7)
    torch.testing.assert_close(kspace, expected)
    assert torch.equal(mask, sampled)
    assert axis == (None if readout == "kx" else -1)


def _inverse(kspace: torch.Tensor, axis: int) -> torch.Tensor:
    """Unitary centered inverse transform by an explicit matrix, y = W^H x."""
    n = kspace.shape[axis]
    basis = fft2c(torch.eye(n, dtype=torch.complex64), axes=(0,))
    return torch.tensordot(kspace.movedim(axis, -1), basis.conj(), dims=1).movedim(-1, axis)


def test_a_volume_without_readout_is_refused() -> None:
    volume = random_kspace(6, 6, 6) * (np.random.default_rng(0).random((6, 6, 6)) < 0.4)
    with pytest.raises(DataFormatError, match="no fully sampled axis"):
        arrange(volume, "kz,ky,kx")


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ("ky,kx", "names 2 axes, the array has 3"),
        ("ky,kx,coils", "unknown axis 'coils'"),
        ("ky,ky,kx", "named twice"),
        ("ky,kx,_", "axis of length 1"),
        ("ky,kx,ri", "pair of real and imaginary"),
        ("slice,coil,kx", "at least two of kz, ky, kx"),
        ("", "unknown axis ''"),
    ],
)
def test_axes_that_do_not_fit_are_refused(axes: str, message: str) -> None:
    with pytest.raises(DataFormatError, match=message):
        parse_axes(axes, (4, 5, 3))


@given(st.lists(st.integers(1, 9), min_size=2, max_size=5))
def test_the_example_in_an_error_message_fits_the_array(shape: list[int]) -> None:
    example = example_axes(shape)
    assert (example is not None) == (sum(n > 1 for n in shape) in (2, 3))
    if example is not None:
        parse_axes(example, shape)


def line_mask(height: int, lines: list[int]) -> torch.Tensor:
    mask = torch.zeros(height, 40, dtype=torch.bool)
    mask[:, lines] = True
    return mask


@pytest.mark.parametrize("transpose", [False, True])
def test_single_zeros_in_whole_lines_are_filled_but_gaps_are_not(transpose: bool) -> None:
    truth = line_mask(60, [3, 10, 19, 20, 21])
    truth[:9] = False  # an asymmetric echo: not acquired, in every line
    holey = truth.clone()
    holey[30, 10] = holey[59, 19] = False
    if transpose:
        truth, holey = truth.T, holey.T
    kspace = torch.from_numpy(random_kspace(2, 3, *holey.shape)) * holey
    kspace[1] = 0  # a slice without signal is no reason to lose the mask
    assert torch.equal(detect_mask(kspace), truth)


@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("difference", ["lines", "complementary lines", "points", "one full slice"])
def test_slices_that_were_sampled_differently_are_refused(difference: str, transpose: bool) -> None:
    """Each pair has a union that could pass for a mask of its own."""
    first, second = {
        "lines": (line_mask(60, [3, 10, 19, 20, 21]), line_mask(60, [3, 12, 19, 20, 21])),
        "complementary lines": (line_mask(60, list(range(0, 40, 2))), line_mask(60, list(range(1, 40, 2)))),
        "points": tuple(torch.rand(2, 60, 40, generator=torch.Generator().manual_seed(0)) < 0.7),
        "one full slice": (torch.ones(60, 40, dtype=torch.bool), make_mask("poisson", (60, 40), 4, 8, 0)),
    }[difference]
    masks = torch.stack([first, second, torch.zeros_like(first)])
    masks = masks.mT if transpose else masks
    kspace = torch.from_numpy(random_kspace(3, 2, *masks.shape[1:]))
    with pytest.raises(DataFormatError, match=r"slices were sampled differently.*slice [01] has"):
        detect_mask(kspace * masks[:, None])
    assert torch.equal(detect_mask(kspace * masks[1]), masks[1])


def test_points_are_not_joined_to_lines() -> None:
    rows, columns = torch.meshgrid(torch.linspace(-1, 1, 64), torch.linspace(-1, 1, 48), indexing="ij")
    ellipse = rows**2 + columns**2 <= 1
    scattered = torch.rand(64, 48, generator=torch.Generator().manual_seed(0)) < 0.9
    for mask in (ellipse, scattered, ellipse & scattered):
        assert torch.equal(detect_mask(mask.expand(1, 2, 64, 48) * (1 + 1j)), mask)


def test_nothing_acquired() -> None:
    with pytest.raises(DataFormatError, match="no acquired line"):
        arrange(np.zeros((2, 4, 4), np.complex64), "coil,ky,kx")
    with pytest.raises(DataFormatError, match="no acquired line"):
        arrange(np.zeros((4, 4, 4), np.complex64), "kz,ky,kx")


def test_an_image_axis_called_coil_is_noticed() -> None:
    array = np.ones((8, 230, 180), dtype=np.complex64)
    with pytest.raises(DataFormatError, match=r"180 coils.*are the axes 'kx,ky,coil' right"):
        arrange(array, "kx,ky,coil")
