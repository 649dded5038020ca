"""Conventions against golden values of each one's own code; protocols: their masks, their selection, their file."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from benchmarks.metric_parity import volumes
from benchmarks.record import result
from laminar.cli.main import main
from laminar.data.simulation.volume import simulate_file
from laminar.errors import ConfigError, DataFormatError
from laminar.evaluation import CONVENTIONS, evaluate_files, load_protocol, mask_checksum, protocol_names


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_a_convention_gives_what_its_own_code_gives(convention: str) -> None:
    golden = result("metric_parity")["conventions"][convention]
    for name, (image, truth) in volumes().items():
        score = CONVENTIONS[convention].score(torch.from_numpy(image), torch.from_numpy(truth))
        for metric, value in golden[name].items():
            assert score.volume[metric] == pytest.approx(value["theirs"], rel=1e-6), (name, metric)
            assert len(score.slices[metric]) == len(truth)


def test_a_slice_that_cannot_be_normalized_is_named() -> None:
    truth = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0))
    truth[1] = 0
    for name in ("calgary-campinas", "cmrxrecon-2023", "cmrxrecon-2025"):
        with pytest.raises(DataFormatError, match="slice 1 of"):
            CONVENTIONS[name].score(truth + 0.1, truth)


def test_the_protocols_are_there_and_their_masks_are_the_frozen_ones() -> None:
    expected = {f"fastmri-{part}-{rate}x" for part in ("knee", "brain") for rate in (4, 8)}
    expected |= {"calgary-5x", "calgary-10x", *(f"cmrxrecon-cine-{rate}x" for rate in (4, 8, 10))}
    assert expected < set(protocol_names())
    for name in protocol_names():
        protocol = load_protocol(name)
        assert protocol.name == name
        assert protocol.sources
        for check in protocol.mask.checks:
            if protocol.mask.kind == "stored":
                assert protocol.mask.index(check["name"], 100) == check["index"]
                continue
            mask = protocol.mask.draw(check["name"], tuple(check["matrix"]))
            assert mask_checksum(mask) == check["sha256"], (name, check["name"])
            low, high = protocol.mask.measured
            assert low <= mask.numel() / mask.sum() <= high
        assert protocol.mask.checks


def test_stored_masks_must_be_the_published_ones(tmp_path: Path) -> None:
    rule = load_protocol("calgary-5x").mask
    masks = np.random.default_rng(0).random((100, 218, 170)) < 0.2
    with pytest.raises(ConfigError, match="published masks are needed there"):
        rule.draw("a.h5", (218, 170), tmp_path)
    np.save(tmp_path / "R5_218x170.npy", masks)
    with pytest.raises(ConfigError, match="not the published masks"):
        rule.draw("a.h5", (218, 170), tmp_path)
    with pytest.raises(ConfigError, match="masks of this protocol are for 218x170"):
        rule.draw("a.h5", (218, 171), tmp_path)
    md5 = hashlib.md5((tmp_path / "R5_218x170.npy").read_bytes(), usedforsecurity=False).hexdigest()
    mine = replace(rule, stored={"218x170": {"file": "R5_218x170.npy", "md5": md5}})
    assert torch.equal(mine.draw("a.h5", (218, 170), tmp_path), torch.from_numpy(masks[mine.index("a.h5", 100)]))


def test_frames_slices_and_crop_of_cine_are_those_of_the_ranking() -> None:
    """`run4Ranking.m`: frames 1:3, slices round(sz/2)-1:round(sz/2), the middle round(sx/3) x round(sy/2)."""
    cine = np.arange(5 * 7 * 9 * 12, dtype=float).reshape(5, 7, 9, 12)
    image, truth = load_protocol("cmrxrecon-cine-4x").select(cine, cine)
    assert np.array_equal(image, cine[:3, 2:4, 2:7, 4:8].reshape(6, 5, 4))
    assert np.array_equal(image, truth)
    one, _ = load_protocol("cmrxrecon-cine-4x").select(cine[:, :1], cine[:, :1])
    assert one.shape == (3, 5, 4)


def test_outer_slices_are_left_out_of_calgary() -> None:
    volume = np.ones((104, 8, 9))
    volume[:50] = volume[54:] = np.nan
    image, _ = load_protocol("calgary-10x").select(volume, volume)
    assert image.shape == (4, 8, 9)
    assert np.isfinite(image).all()
    with pytest.raises(DataFormatError, match="leaves out 100 slices; it has 90"):
        load_protocol("calgary-10x").select(volume[:90], volume[:90])


def _folders(tmp_path: Path, acceleration: float) -> tuple[Path, Path]:
    random = np.random.default_rng(0)
    for index in range(2):
        truth = random.random((2, 24, 20)).astype(np.float32)
        for folder, name, image in (("p", "reconstruction", 1.01 * truth), ("t", "reconstruction_rss", truth)):
            (tmp_path / folder).mkdir(exist_ok=True)
            with h5py.File(tmp_path / folder / f"{index}.h5", "w") as file:
                file[name] = image
                file.attrs["acceleration"] = acceleration
    return tmp_path / "p", tmp_path / "t"


def test_the_command_scores_by_a_protocol_and_says_what_is_not_as_it_has_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    p, t = map(str, _folders(tmp_path, acceleration=2.0))
    out = tmp_path / "scores.json"
    assert main(["evaluate", p, t, "--protocol", "fastmri-knee-4x", "--out", str(out)]) == 0
    found = json.loads(out.read_text())
    plain = evaluate_files(p, t, center_crop=True)
    assert found["summary"]["psnr"]["mean"] == pytest.approx(plain.summary()["psnr"]["mean"])
    assert found["name"] == "fastmri-knee-4x"
    assert any("0.h5: made from R = 2.00" in note for note in found["notes"])
    assert any("2 volumes scored, fastmri-knee-4x has 199" in note for note in found["notes"])
    printed = capsys.readouterr()
    assert "Protocol fastmri-knee-4x" in printed.out
    assert "not a number of it" in printed.err
    assert main(["evaluate", "--protocol", "list"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in protocol_names())


def test_a_protocol_from_the_scan_to_its_number(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is reconstructed by a protocol is undersampled by the mask of its file name, and scored without a note."""
    scan, out = tmp_path / "scans/brain_2026_0000.h5", tmp_path / "out"
    simulate_file(scan, "brain", (64, 96), 4, 1, 0.01, 0)
    command = ["reconstruct", str(scan), "--method", "zero-filled", "--out", str(out)]
    assert main([*command, "--protocol", "simulated-brain-4x"]) == 0
    with h5py.File(out / "brain_2026_0000.h5") as file:
        assert file.attrs["mask"] == "protocol simulated-brain-4x"
        expected = load_protocol("simulated-brain-4x").mask.draw(scan.name, (64, 96))
        assert file.attrs["acceleration"] == pytest.approx(float(expected.numel() / expected.sum()))
    assert main(["evaluate", str(out), str(scan.parent), "--protocol", "simulated-brain-4x"]) == 0
    assert "made from" not in capsys.readouterr().err
    for options, said in (
        (["--protocol", "simulated-brain-4x", "--acceleration", "4"], "leave out --acceleration"),
        (["--masks", str(tmp_path)], "--masks does nothing without --protocol"),
        (["--protocol", "calgary-5x"], "masks of this protocol are for 218x170"),
    ):
        assert main([*command, *options]) == 2
        assert said in capsys.readouterr().err


def test_a_reference_that_is_not_of_a_full_scan_is_called_that(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Metrics against a scan with partial Fourier or zero padding look better than they are."""
    simulate_file(tmp_path / "scan.h5", "brain", (64, 96), 4, 1, 0.01, 0)
    for part, said in (
        ((slice(None), slice(24, None)), "samples are 72 of 96 along x"),
        ((slice(8, 56), slice(None)), "k-space is zero-padded by 8 + 8 lines along y"),
    ):
        with h5py.File(tmp_path / "scan.h5") as file:
            full = file["kspace"][()]
        kept = np.zeros_like(full)
        kept[..., *part] = full[..., *part]
        np.save(tmp_path / "part.npy", kept[0])
        command = ["reconstruct", str(tmp_path / "part.npy"), "--axes", "coil,kx,ky", "--method", "zero-filled"]
        assert main([*command, "--out", str(tmp_path / "out"), "--acceleration", "2"]) == 0
        assert f"part: the reference is not of a full scan: {said}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--protocol", "nonsense"], "unknown protocol 'nonsense': choose one of calgary-10x"),
        (["--protocol", "fastmri-knee-4x", "--center-crop"], "has its own reference and crop"),
    ],
)
def test_what_does_not_go_together_is_refused(
    options: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", *map(str, _folders(tmp_path, 4.0)), *options]) == 2
    assert said in capsys.readouterr().err


def test_a_file_that_is_no_protocol_says_why(tmp_path: Path) -> None:
    for text, said in (("{}", "mask"), ("a: b", "YAML written as JSON"), ('{"mask": {}, "nam": 1}', "unknown nam")):
        (tmp_path / "mine.yaml").write_text(text)
        with pytest.raises(ConfigError, match=said):
            load_protocol(tmp_path / "mine.yaml")
