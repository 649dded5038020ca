"""Figures: exact pixels, one scale, equal files for equal input, and nothing half-written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from laminar.errors import DataFormatError, LaminarError
from laminar.figures import comparison_figure, reconstruction_png, trajectory_strip, uncertainty_figure
from laminar.figures.uncertainty import ABOVE, BELOW
from laminar.uncertainty import Spread

matplotlib_image = pytest.importorskip("matplotlib.image")


def picture(shape: tuple[int, ...] = (40, 32)) -> np.ndarray:
    return np.random.default_rng(5).random(shape)


def pixels(path: Path) -> np.ndarray:
    """Red, green, blue as integers 0 to 255."""
    return np.round(255 * matplotlib_image.imread(path)[..., :3]).astype(int)


def find(page: np.ndarray, block: np.ndarray) -> list[tuple[int, int]]:
    """Where the top left corner of `block` (y, x) lies in the red channel of the page."""
    windows = np.lib.stride_tricks.sliding_window_view(page[..., 0], block.shape)
    near = np.abs(windows - block).max((2, 3)) <= 1
    return [(int(row), int(column)) for row, column in np.argwhere(near)]


def test_every_matrix_point_is_a_block_of_equal_pixels_of_the_right_gray(tmp_path: Path) -> None:
    image = picture()
    reconstruction_png(image, tmp_path / "a.png")
    white = np.percentile(image, 99.5)
    gray = np.minimum(np.floor(256 * image / white), 255)
    page = pixels(tmp_path / "a.png")
    found = find(page, gray[:3, :3].repeat(4, 0).repeat(4, 1))
    assert len(found) == 1
    top, left = found[0]
    shown = page[top : top + 160, left : left + 128, 0]
    np.testing.assert_allclose(shown, gray.repeat(4, 0).repeat(4, 1), atol=1)


def test_error_maps_share_one_scale_that_does_not_depend_on_the_other_methods_peak(tmp_path: Path) -> None:
    """The same error in two columns is drawn in the same colors, and half of it in darker ones."""
    truth = picture()
    error = 0.05 * picture()[::-1]
    panels = {"a": truth + error, "b": truth + error, "c": truth + error / 2}
    comparison_figure(panels, truth, {}, tmp_path / "a.png")
    page = pixels(tmp_path / "a.png").sum(-1)
    height, width = page.shape
    cell, gap = 4 * 32, 8
    a, b, c = (page[-gap - 160 : -gap, gap + k * (cell + gap) :][:, :cell] for k in (1, 2, 3))
    assert (height, width) >= (2 * 160, 4 * cell)
    np.testing.assert_array_equal(a, b)
    assert a.max() > 300
    assert 0 < c.sum() < a.sum()


def draw_all(folder: Path) -> None:
    image = picture((5, 24, 20))
    metrics = {"FLAT": {"psnr": 30.0, "ssim": 0.9, "nmse": 0.01}}
    comparison_figure({"FLAT": torch.tensor(image) + 0.1j}, image, metrics, folder / "a.png", title="A scan")
    trajectory_strip(list(image), [1.0, 2, 3, 4, 5], folder / "b.png", times=[1, 0.75, 0.5, 0.25, 0])
    trajectory_strip(torch.tensor(image), None, folder / "c.png")
    reconstruction_png(picture((30, 24, 20)), folder / "d.png")


def test_equal_input_gives_equal_files_whatever_the_users_settings(tmp_path: Path) -> None:
    import matplotlib

    draw_all(tmp_path / "first")
    with matplotlib.rc_context({"font.size": 30, "savefig.dpi": 33, "image.cmap": "jet", "text.color": "red"}):
        draw_all(tmp_path / "second")
    for name in ("a.png", "b.png", "c.png", "d.png"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
        assert b"Matplotlib" not in (tmp_path / "first" / name).read_bytes()
    assert len(list((tmp_path / "first").iterdir())) == 4


def test_black_images_are_drawn_black(tmp_path: Path) -> None:
    reconstruction_png(np.zeros((2, 8, 8)), tmp_path / "a.png")
    comparison_figure({"a": np.zeros((8, 8))}, np.zeros((8, 8)), {}, tmp_path / "b.png")
    assert find(pixels(tmp_path / "a.png"), np.zeros((12, 12)))


def test_images_that_do_not_fit_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    image = picture()
    with pytest.raises(DataFormatError, match=r"'b': \(39, 32\)"):
        comparison_figure({"b": image[1:]}, image, {}, path)
    with pytest.raises(DataFormatError, match="b holds NaN"):
        comparison_figure({"b": np.nan * image}, image, {}, path)
    with pytest.raises(DataFormatError, match="3 states"):
        trajectory_strip([image] * 3, [1.0], path)
    with pytest.raises(DataFormatError, match="no image"):
        trajectory_strip([], None, path)
    with pytest.raises(DataFormatError, match=r"\(slice, y, x\)"):
        reconstruction_png(image[None, None], path)
    assert not list(tmp_path.iterdir())


def test_a_path_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    with pytest.raises(LaminarError, match=r"cannot write .*a\.png"):
        reconstruction_png(picture(), tmp_path / "file" / "a.png")
    assert (tmp_path / "file").read_text() == "kept"


def draw_uncertainty(folder: Path) -> None:
    """Two pixels of 1200 outside of their intervals, one above and one below, none of them in the air."""
    mean = torch.full((40, 30), 1.0)
    mean[:10] = 0.0
    truth, spread = mean.clone(), Spread(mean, torch.full_like(mean, 0.04), 4)
    truth[20, 7], truth[30, 9] = 1.2, 0.8
    truth[0, 0] = 0.5
    uncertainty_figure(spread, folder / "a.png", truth, (mean - 0.1, mean + 0.1), title="A slice")
    uncertainty_figure(spread, folder / "b.png", truth)
    uncertainty_figure(spread, folder / "c.png")


def misses(path: Path, color: str) -> np.ndarray:
    """The screen pixels (n, 2) of a color in the last cell, above the footer, of a figure of images of 30 columns."""
    last = pixels(path)[:-20, -8 - 4 * 30 : -8]
    return np.argwhere((last == list(bytes.fromhex(color[1:]))).all(-1))


def test_the_uncertainty_figure_colors_the_pixels_whose_truth_is_outside(tmp_path: Path) -> None:
    draw_uncertainty(tmp_path / "first")
    draw_uncertainty(tmp_path / "second")
    for name in ("a.png", "b.png", "c.png"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    above, below = (misses(tmp_path / "first" / "a.png", color) for color in (ABOVE, BELOW))
    assert (len(above), len(below)) == (16, 16)
    assert (below[0] - above[0]).tolist() == [4 * 10, 4 * 2]
    widths = [pixels(tmp_path / "first" / name).shape[1] for name in ("a.png", "b.png", "c.png")]
    assert widths == [columns * (4 * 30 + 8) + 8 for columns in (4, 3, 2)]


def test_the_uncertainty_figure_counts_the_pixels_that_the_calibration_counts(tmp_path: Path) -> None:
    """One pixel is as bright as the threshold in float32 and brighter in float64: it is no object pixel in both."""
    mean = torch.ones(40, 30)
    mean[20, 7] = 0.1
    spread = Spread(mean, torch.full_like(mean, 0.04), 4)
    assert not spread.object_pixels[20, 7]
    assert spread.object_pixels.sum() == mean.numel() - 1
    uncertainty_figure(spread, tmp_path / "a.png", mean + 0.5 * (mean < 1), (mean - 0.1, mean + 0.1))
    assert len(misses(tmp_path / "a.png", ABOVE)) == 0


def test_uncertainty_without_its_reference_is_refused(tmp_path: Path) -> None:
    image = torch.tensor(picture())
    with pytest.raises(DataFormatError, match="against a reference"):
        uncertainty_figure(Spread(image, image, 2), tmp_path / "a.png", interval=(image, image))
    with pytest.raises(DataFormatError, match="one shape"):
        uncertainty_figure(Spread(image, image[1:], 2), tmp_path / "a.png")
    assert not list(tmp_path.iterdir())
