"""The page of an audit: one self-contained HTML file, for who made the network and for who must judge it."""

from __future__ import annotations

from pathlib import Path

from laminar.audit import Audit
from laminar.audit_page.markup import document
from laminar.audit_page.sections import SECTIONS
from laminar.audit_page.style import CSS
from laminar.figures import check_drawable
from laminar.files import replacing

__all__ = ["page", "write_page"]


def page(audit: Audit) -> str:
    """The audit as one HTML document without a script or a link to anything. Equal audits give equal pages."""
    title = f"Audit of {audit.record['subject']['name']}"
    return document(title, CSS, [section(audit) for section in SECTIONS])


def write_page(path: Path, audit: Audit) -> None:
    """Write `page` to `path`, whole or not at all. Raises LaminarError, and MissingExtraError without matplotlib."""
    check_drawable()
    with replacing(path) as temporary:
        temporary.write_text(page(audit), encoding="utf-8")
