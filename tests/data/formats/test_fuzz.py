"""Damaged files: an Scan (which checks itself) or a DataFormatError of one line, and nothing else."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scan_files import ARRAY_WRITERS, SCAN_WRITERS, random_kspace

from laminar.data.formats import describe, read, read_target
from laminar.errors import DataFormatError


def original(suffix: str) -> bytes:
    """The bytes of a small valid file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a{suffix}"
        if suffix in ARRAY_WRITERS:
            ARRAY_WRITERS[suffix](path, random_kspace(3, 4, 5))
        else:
            SCAN_WRITERS[suffix](path)
        return path.read_bytes()


def check(action: Callable[[], object], path: Path) -> None:
    try:
        action()
    except DataFormatError as error:
        line = str(error)
    else:
        line = str(path)
    assert line.startswith(str(path))
    assert "\n" not in line


# The seed is fixed: HDF5 itself is not safe against every corruption, and a crash would end the test run.
@pytest.mark.parametrize("suffix", [*ARRAY_WRITERS, *SCAN_WRITERS])
@settings(max_examples=120, derandomize=True, deadline=None)
@given(data=st.data())
def test_truncation_and_flipped_bytes(suffix: str, data: st.DataObject) -> None:
    content = bytearray(_cached(suffix))
    near_start = st.integers(0, min(len(content), 2500) - 1)
    anywhere = st.integers(0, len(content) - 1)
    for position in data.draw(st.lists(near_start | anywhere, max_size=4)):
        content[position] = data.draw(st.integers(0, 255))
    length = data.draw(st.just(len(content)) | anywhere)
    axes = None if suffix in SCAN_WRITERS else "coil,ky,kx"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a{suffix}"
        if suffix == ".cfl":
            path.with_suffix(".hdr").write_text("# Dimensions\n3 4 5\n")
        path.write_bytes(content[:length])
        check(lambda: read(path, axes=axes), path)
        check(lambda: describe(path), path)
        check(lambda: read_target(path), path)


CACHE: dict[str, bytes] = {}


def _cached(suffix: str) -> bytes:
    return CACHE.setdefault(suffix, original(suffix))


@settings(max_examples=60, derandomize=True, deadline=None)
@given(header=st.binary(max_size=40) | st.text(alphabet="0123456789 -#Dimens\n", max_size=60).map(str.encode))
def test_any_bart_header(header: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.cfl"
        path.write_bytes(bytes(480))
        path.with_suffix(".hdr").write_bytes(b"# Dimensions\n" + header)
        check(lambda: read(path), path)
