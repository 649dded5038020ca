"""What a file does not say of its scan is told every verb alike, and what an error suggests can be done there."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from laminar.data.cases import FullScans
from laminar.data.formats import Request, read
from laminar.data.simulation import simulate_slice
from laminar.errors import DataFormatError
from laminar.operators import ifft2c
from tests.data.formats.scan_files import write_npy, write_small_mrd

Run = Callable[..., tuple[int, str, str]]
AXES = "repetition,slice,coil,ky,kx"
R2 = ("--calibration-lines", 10, "--acceleration", 2)
CASES = ("--slices", 2, *R2, "--data")
TRAINING = (
    *("--steps", 1, "--preset", "varnet", "--model.n_cascades", 1, "--model.regularizer.channels", "[4,6]"),
    *("--data.kind", "files", "--data.workers", 0, "--data.validation_batches", 1, "--data.batch_size", 1),
    *("--data.sampling.acceleration", "[2,3]", "--data.sampling.kinds", "[random]", "--accelerator", "cpu"),
)
VERBS = {
    "reconstruct": lambda scan, out, _: (scan, "--method", "zero-filled", "--no-figures", "--out", out),
    "info": lambda scan, *_: (scan,),
    "convert": lambda scan, out, _: (scan, out / "scan.h5", "--to", "fastmri"),
    "adapt": lambda scan, out, model: (scan, "--model", model, "--steps", 1, *R2, "--out", out),
    "audit": lambda scan, out, model: (model, "--json-only", "--out", out, *CASES, scan),
    "calibrate": lambda scan, out, model: (
        *("--model", model, "--samples", 2, "--level", 0.5, "--kind", "scale", "--out", out / "u.json", *CASES, scan),
    ),
    "dataset": lambda scan, *_: ("check", scan.parent),
    "train": lambda scan, out, _: (
        *("--out", out / "run", "--data.train", f"[{scan}]", "--data.validation", f"[{scan}]", *TRAINING),
    ),
}


def coil_images() -> torch.Tensor:
    """Of two repetitions of two slices, (repetition, slice, coil, y, x)."""
    kspace = [simulate_slice("brain", (48, 40), 3, 0.01, torch.Generator().manual_seed(i)).kspace for i in range(4)]
    return ifft2c(torch.stack(kspace)).unflatten(0, (2, 2))


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_that_reads_scans_takes_what_its_errors_suggest(
    verb: str, tmp_path: Path, tiny_model: Path, sampling_model: Path, laminar: Run
) -> None:
    (tmp_path / "scans").mkdir()
    write_npy(scan := tmp_path / "scans" / "images.npy", coil_images().numpy())
    command = (verb, *VERBS[verb](scan, tmp_path / "out", sampling_model if verb == "calibrate" else tiny_model))
    (tmp_path / "out").mkdir()
    for said, suggestion in (((), "--axes"), (("--axes", AXES), "--domain image")):
        code, out, error = laminar(*command, *said)
        assert code != 0 or verb == "info"
        assert suggestion in out + error
    told = ("--axes", AXES, "--domain", "image", "--select")
    assert "no repetition 2; the scan has repetition 0 to 1" in "".join(laminar(*command, *told, "repetition=2")[1:])
    code, out, error = laminar(*command, *told, "repetition=1")
    assert (code, error) == (0, "") or (verb, code) == ("dataset", 1)
    assert "unread" not in out


def test_full_scans_are_those_that_read_gives(tmp_path: Path) -> None:
    write_npy(tmp_path / "images.npy", coil_images().numpy())
    told = {"axes": AXES, "domain": "image", "select": ("repetition=1",)}
    scans = FullScans([tmp_path / "images.npy"], Request(**told))  # type: ignore[arg-type]
    whole = read(tmp_path / "images.npy", **told)  # type: ignore[arg-type]
    assert scans.open(scans.paths[0]).n_slices == whole.n_slices == 2
    np.testing.assert_array_equal(scans.slice(scans.paths[0], 1).kspace, whole.kspace[1:])  # type: ignore[union-attr]
    torch.testing.assert_close(ifft2c(whole.kspace), coil_images()[1])


def test_readouts_are_no_images(tmp_path: Path) -> None:
    write_small_mrd(tmp_path / "scan.h5")
    with pytest.raises(DataFormatError, match=r"scan.h5: ISMRMRD readouts are k-space, .* leave out --domain image"):
        read(tmp_path / "scan.h5", domain="image")


def test_send_sends_the_group_that_is_named(tmp_path: Path, laminar: Run) -> None:
    write_small_mrd(tmp_path / "scan.h5")
    command = ("send", tmp_path / "scan.h5", "--to", "127.0.0.1:1", "--out", tmp_path / "out")
    assert "scan.h5: no ISMRMRD group 'other'" in laminar(*command, "--variable", "other")[2]
    assert "127.0.0.1:1: " in laminar(*command, "--variable", "dataset")[2]
