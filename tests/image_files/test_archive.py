"""DICOM to an archive: a storage provider of `pynetdicom` gets what was written, whatever is wrong is one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pynetdicom import AE, evt
from pynetdicom.sop_class import EnhancedMRImageStorage, MRImageStorage  # type: ignore[attr-defined]

from laminar.errors import ConfigError, LaminarError
from laminar.image_files import Archive, send, write_dicom, write_enhanced_dicom
from tests.image_files.test_enhanced_dicom import cine


@contextmanager
def archive(*kinds: str, status: int = 0) -> Iterator[tuple[Archive, dict[str, pydicom.Dataset]]]:
    """A storage provider for some kinds of images that answers with a status, and what it was sent by UID."""
    taken: dict[str, pydicom.Dataset] = {}

    def store(event: Any) -> int:
        dataset = event.dataset
        dataset.file_meta = event.file_meta
        taken[dataset.SOPInstanceUID] = dataset
        return status

    entity = AE(ae_title="STORE")
    for kind in kinds:
        entity.add_supported_context(kind)
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
    try:
        yield Archive("127.0.0.1", server.server_address[1], "STORE"), taken
    finally:
        server.shutdown()


def written(folder: Path) -> dict[str, pydicom.Dataset]:
    return {found.SOPInstanceUID: found for found in map(pydicom.dcmread, folder.glob("*.dcm"))}


@pytest.mark.parametrize(
    ("write", "kind"), [(write_dicom, MRImageStorage), (write_enhanced_dicom, EnhancedMRImageStorage)]
)
def test_what_is_written_is_what_an_archive_gets(tmp_path: Path, write: Any, kind: str) -> None:
    write(tmp_path / "a", cine())
    with archive(kind) as (place, taken):
        assert send(tmp_path / "a", place) == len(taken) > 0
    assert taken == written(tmp_path / "a")


# The package leaves the socket of a connection that was refused to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_an_archive_does_not_take_is_named(tmp_path: Path) -> None:
    write_enhanced_dicom(tmp_path / "a", cine())
    with (
        archive(EnhancedMRImageStorage, status=0xA700) as (full, _),
        pytest.raises(LaminarError, match=rf"the archive {full} does not take .*1-0001.dcm: status 0xA700"),
    ):
        send(tmp_path / "a", full)
    with pytest.raises(LaminarError, match=f"the archive {full} does not answer: the images stay in {tmp_path}/a"):
        send(tmp_path / "a", full)  # it is closed now
    with archive(MRImageStorage) as (other, _), pytest.raises(LaminarError, match=f"the archive {other} does not "):
        send(tmp_path / "a", other)


@pytest.mark.parametrize(
    "text", ["host", "host:104", "host:port:AET", "host:0:AET", ":104:AET", "h:104:SEVENTEEN LETTERS"]
)
def test_an_archive_has_a_host_a_port_and_a_title(text: str) -> None:
    with pytest.raises(ConfigError, match="an archive is HOST:PORT:TITLE"):
        Archive.parse(text)
