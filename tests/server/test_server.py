"""The MRD server with tiny models: the same images as of a file, and faults that stop nobody."""

from __future__ import annotations

import io
import json
import struct
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import ismrmrd
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from laminar.data.preparation import Problem
from laminar.server import wire
from laminar.server.images import Pixels
from laminar.server.limits import Limits
from laminar.server.session import Service
from laminar.server.warm import warm
from tests.server.conversation import (
    HEADER,
    SIZE,
    ZERO,
    Faulty,
    answered,
    messages,
    raising,
    running,
    scan_readouts,
)


def test_the_images_are_those_of_reconstruct(
    service: Service, scan_file: Path, tiny_model: Path, tmp_path: Path, laminar: Callable[..., tuple[int, str, str]]
) -> None:
    warm(service)
    with running(service) as server:
        where = f"127.0.0.1:{server.address[1]}"
        code, out, _ = laminar("send", scan_file, "--to", where, "--out", tmp_path / "remote")
        assert code == 0
        assert "INFO slice 1: tiny" in out
    assert laminar("reconstruct", scan_file, "--model", tiny_model, "--out", tmp_path / "local")[0] == 0
    with h5py.File(tmp_path / "local" / "two.h5") as file:
        expected = file["reconstruction"][:]
    with h5py.File(tmp_path / "remote" / "two.h5") as file:
        np.testing.assert_allclose(file["reconstruction"][:], expected, atol=1e-5 * expected.max())
        meta = ismrmrd.Meta.deserialize(file["reconstruction_attributes"][0].decode())
    assert meta["SeriesDescription"] == "Laminar tiny"
    assert meta["LaminarWeights"] == service.models["tiny"].fingerprint
    assert [float(value) for value in meta["ImageColumnDir"]] == [0, 1, 0]


def test_an_image_carries_its_place_and_counters(service: Service) -> None:
    images, _, _ = answered(service, messages())
    assert [(image.slice, image.image_index) for image in images] == [(0, 1), (1, 2)]
    assert tuple(images[1].position) == (1, 2, -5)
    assert tuple(images[1].field_of_view) == (200, 200, 5)
    assert tuple(images[1].slice_dir) == (0, 0, 1)


def test_limits_that_contradict_the_readouts_are_said_once(service: Service) -> None:
    header = HEADER.replace(f"<maximum>{SIZE - 1}", f"<maximum>{SIZE // 2}")
    images, lines, _ = answered(service, messages(header=header))
    assert len(images) == 2
    said = [line for line in lines if "contradict" in line]
    limits = f"(minimum 0, maximum {SIZE // 2}, center {SIZE // 2})"
    assert len(said) == 1
    assert said[0].startswith(
        f"WARNING slice 0: encodingLimits of phase encoding 1 {limits} and the readouts, which count"
    )


HANGING = threading.Event()


@pytest.mark.parametrize(
    ("function", "deadline", "reason"),
    [
        (raising(ValueError("of mine")), 60.0, "faulty failed: ValueError: of mine"),
        (raising(MemoryError()), 60.0, "faulty failed: out of memory"),
        (
            lambda problem: problem.operator.adjoint(problem.y) * torch.nan,
            60.0,
            "faulty failed: scan: the image is not",
        ),
        (lambda problem: HANGING.wait(6) and problem.y, 3.0, "faulty failed: more than 3 s"),
    ],
)
def test_a_method_that_fails_is_replaced_and_said(
    function: Callable[[Problem], Tensor], deadline: float, reason: str
) -> None:
    service = Service({"faulty": Faulty(function)}, Limits(deadline=deadline))
    images, lines, _ = answered(service, messages(slices=1))
    assert len(images) == 1
    assert images[0].meta["LaminarFallback"].startswith(reason)
    assert images[0].meta["LaminarMethod"] != "faulty"
    assert "LaminarWeights" not in images[0].meta
    assert any(line.startswith(f"WARNING slice 0: {reason}") for line in lines)
    assert np.isfinite(images[0].data).all()
    assert images[0].data.any()


def test_without_calibration_lines_the_last_resort_is_an_image_too(service: Service) -> None:
    data = io.BytesIO()
    writer = wire.Writer(data)
    writer.text(HEADER, wire.HEADER)
    for one in scan_readouts(1)[1:]:
        if one.idx.kspace_encode_step_1 % 2 == 0:
            data.write(struct.pack("<H", wire.ACQUISITION) + one.to_bytes())
    writer.close()
    images, lines, _ = answered(service, data.getvalue())
    assert images[0].meta["LaminarMethod"] == "zero-filled"
    assert "no calibration lines" in images[0].meta["LaminarFallback"]
    assert "made by zero-filled" in " ".join(lines)


def test_an_image_that_departs_from_the_data_is_flagged() -> None:
    def invented(problem: Problem) -> Tensor:
        return problem.operator.adjoint(problem.y).roll(5, -2)

    images, lines, _ = answered(Service({"faulty": Faulty(invented)}), messages(slices=1))
    assert "the image departs from the data" in images[0].meta["ImageComment"]
    assert "WARNING slice 0: the image departs from the measured data" in lines
    images, lines, _ = answered(Service({"faulty": Faulty(invented)}), messages(parameters='{"method": "cg-sense"}'))
    assert not any("departs" in line for line in lines)


def test_what_is_asked_for_is_done_or_refused_in_a_line(service: Service) -> None:
    asked = {"version": "1", "parameters": {"config": "openrecon", "method": "cg-sense", "samples": "1", "modle": 2}}
    images, lines, _ = answered(service, messages(parameters=json.dumps(asked)))
    assert images[0].meta["LaminarMethod"] == "cg-sense"
    assert lines[:2] == [
        "WARNING parameter not used: samples must be 0 or from 2 to 64; got '1'",
        "WARNING parameter not used: unknown parameter 'modle'; did you mean 'model'?",
    ]
    _, lines, _ = answered(service, messages(parameters='{"model": "/etc/passwd", "method": "os:system"}'))
    assert [line.partition(" is not offered")[0] for line in lines[:2]] == [
        "WARNING parameter not used: model '/etc/passwd'",
        "WARNING parameter not used: method 'os:system'",
    ]


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        *[(text, True) for text in ("method=cg-sense", "samples: 8", '"method": "cg-sense"', "{'method': 1}", "[1]")],
        *[(text, True) for text in ('{"parameters": "none"}', "[" * 20_000, "modle = tiny")],
        *[(text, False) for text in ("openrecon", "", "<x model='a'/>", "Method of Dixon", "17", "Note: table moved")],
    ],
)
def test_text_that_is_meant_as_parameters_is_answered_and_other_text_is_not(text: str, meant: bool) -> None:
    images, lines, _ = answered(Service({"zero": ZERO}), messages(parameters=text, slices=1))
    assert images[0].meta["LaminarMethod"] == "zero"
    said = [line for line in lines if line.startswith("WARNING parameter not used: parameters are a JSON object")]
    assert len(said) == meant


def test_send_ends_with_what_the_server_did_not_use(
    scan_file: Path, tmp_path: Path, laminar: Callable[..., tuple[int, str, str]]
) -> None:
    nowhere = ("send", scan_file, "--out", tmp_path, "--to", "127.0.0.1:1")
    code, _, err = laminar(*nowhere, "--parameters", "method=cg-sense")
    assert (code, err.count("\n")) == (2, 1)
    assert "parameters are a JSON object such as" in err
    with running(Service({"zero": ZERO})) as server:
        ask = (*nowhere[:-1], f"127.0.0.1:{server.address[1]}", "--parameters")
        code, out, err = laminar(*ask, '{"method": "nonsense", "samples": 4}')
        assert (code, "written to" in out, err.count("\n")) == (1, True, 2)
        assert "laminar: the server says: parameter not used: method 'nonsense' is not offered" in err
        assert laminar(*ask, '{"method": "cg-sense"}')[::2] == (0, "")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "ERROR the stream ended without CLOSE"),
        (struct.pack("<H", 77), "ERROR unknown message 77"),
        (
            struct.pack("<HI", wire.TEXT_MESSAGE, 2**31),
            "ERROR bytes of a text: at most 1048576 are taken; got 2147483648",
        ),
        (messages(slices=1)[:5000], "ERROR the stream ended after"),
        (messages(header="<!DOCTYPE x []>" + HEADER), "ERROR the header declares a document type or entities"),
        (messages(header=HEADER.replace("<y>32</y>", "<y>99999</y>")), "ERROR the encoded matrix: at most 2048"),
        (messages(header=HEADER.replace("<y>32</y>", "<y>many</y>")), "ERROR "),
        (messages(header=""), "ERROR the ISMRMRD header is not valid XML"),
        (messages()[1026 + 6 + len(HEADER) + 1 :], "ERROR a readout before the header"),
        (struct.pack("<H1024sH", wire.CONFIG_FILE, b"x", wire.CLOSE), "INFO no image"),
    ],
)
def test_what_is_no_scan_is_answered_in_a_line(service: Service, data: bytes, said: str) -> None:
    images, lines, _ = answered(service, data)
    assert images == []
    assert any(line.startswith(said) for line in lines)


def test_a_broken_stream_gives_what_was_complete_and_names_the_rest(service: Service) -> None:
    images, lines, _ = answered(service, messages(close=False)[:-200])
    assert len(images) == 1
    assert "ERROR 1 image was not complete" in lines


def test_integers_have_one_scale_for_a_series(service: Service) -> None:
    floats, _, _ = answered(service, messages())
    images, _, _ = answered(replace(service, pixels="uint16"), messages())
    assert [image.data.dtype for image in images] == [np.uint16] * 2
    assert images[0].data.max() == 4096
    assert images[0].meta["LaminarScale"] == images[1].meta["LaminarScale"]
    scale = float(images[0].meta["LaminarScale"])
    for image, expected in zip(images, floats, strict=True):
        np.testing.assert_allclose(image.data * scale, expected.data, atol=scale)
    _, lines, _ = answered(service, messages(parameters='{"pixels": "float64"}'))
    assert lines[0] == "WARNING parameter not used: pixels 'float64' is not offered; did you mean 'float32'?"


def test_what_is_brighter_than_the_scale_is_clipped_and_said() -> None:
    pixels = Pixels()
    empty, _, _ = pixels.of(torch.zeros(2, 2), "uint16", 1)
    assert not empty.any()
    first, _, clipped = pixels.of(torch.full((2, 2), 3.0), "uint16", 1)
    assert (int(first[0, 0]), clipped) == (4096, 0)
    bright, _, clipped = pixels.of(torch.tensor([[3.0, 60.0]]), "uint16", 1)
    assert (bright.tolist(), clipped) == ([[4096, 65535]], 1)


def test_acceleration_undersamples_a_full_scan_alone(service: Service) -> None:
    _, lines, _ = answered(service, messages(parameters='{"acceleration": "99"}'))
    assert lines[0] == "WARNING parameter not used: acceleration must be 0 or from 1 to 32; got '99'"
    _, lines, _ = answered(service, messages(slices=1, parameters='{"acceleration": 4}'))
    assert lines[0] == "INFO slice 0: undersampled 4 times"
    header = HEADER.replace(f"<y>{SIZE}</y><z>1</z></matrixSize>", f"<y>{2 * SIZE}</y><z>1</z></matrixSize>", 1)
    _, lines, _ = answered(service, messages(header=header, slices=1, parameters='{"acceleration": 4}'))
    assert lines[0].startswith("WARNING parameter not used: acceleration: slice 0 is undersampled already")


WHOLE = messages(slices=1)


@settings(max_examples=300)
@given(
    st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.binary(min_size=1, max_size=4)), max_size=6), st.booleans()
)
def test_no_mutated_stream_ends_without_an_answer(edits: list[tuple[int, bytes]], cut: bool) -> None:
    data = bytearray(WHOLE)
    for at, change in edits:
        at = at % 3000 if at % 2 else at  # as many in the headers as in all the rest
        data[at : at + len(change)] = change
    images, lines, _ = answered(Service({"zero": ZERO}), bytes(data[: edits[0][0]] if cut and edits else data))
    assert images or lines
