"""DICOM files to an archive (PACS) over the network: C-STORE, by `pynetdicom`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from laminar.addresses import Archive
from laminar.errors import LaminarError, package
from laminar.image_files.dicom.attributes import pydicom

OUR_TITLE, PATIENCE = "LAMINAR", 30.0
_DONE, _WARNINGS = 0x0000, range(0xB000, 0xC000)


def pynetdicom() -> Any:
    """The package. Raises MissingExtraError."""
    return package("pynetdicom", "dicom")


def send(folder: Path, archive: Archive) -> int:
    """Store every file of a folder in an archive, in one association: how many they were.

    Raises LaminarError, which names the archive and the file, at the first that it does not take, and
    MissingExtraError.
    """
    paths = sorted(folder.glob("*.dcm"))
    association = _associated(paths, archive)
    try:
        for path in paths:
            _store(association, path, archive)
    finally:
        association.release()
    return len(paths)


def _associated(paths: list[Path], archive: Archive) -> Any:
    """An association that offers each kind of the files in the transfer syntax that they have."""
    entity = pynetdicom().AE(ae_title=OUR_TITLE)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = entity.connection_timeout = PATIENCE
    for path in paths:
        head = pydicom().dcmread(path, stop_before_pixels=True)
        kind, syntax = head.SOPClassUID, head.file_meta.TransferSyntaxUID
        if not any(context.abstract_syntax == kind for context in entity.requested_contexts):
            entity.add_requested_context(kind, syntax)
    association = entity.associate(archive.host, archive.port, ae_title=archive.title)
    if not association.is_established:
        said = "refuses the association" if association.is_rejected else "does not answer"
        raise LaminarError(f"the archive {archive} {said}: the images stay in {paths[0].parent}")
    return association


def _store(association: Any, path: Path, archive: Archive) -> None:
    try:
        status = association.send_c_store(path)
    except (RuntimeError, ValueError) as error:  # no longer associated, or a kind that the archive did not accept
        raise LaminarError(f"the archive {archive} does not take {path}: {error}") from error
    code = status.get("Status")
    if code != _DONE and code not in _WARNINGS:
        said = "no answer" if code is None else f"status 0x{code:04X} {status.get('ErrorComment', '')}".rstrip()
        raise LaminarError(f"the archive {archive} does not take {path}: {said}")
