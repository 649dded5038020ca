"""A scan in a file, and a service with a tiny model."""

from __future__ import annotations

from pathlib import Path

import ismrmrd
import pytest

from laminar.methods import open_model
from laminar.server.session import Service
from tests.server.conversation import (
    HEADER,
    scan_readouts,
)


@pytest.fixture(scope="module")
def scan_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scans") / "two.mrd.h5"
    with ismrmrd.File(str(path), "w") as file:
        file["dataset"].header = ismrmrd.xsd.CreateFromDocument(HEADER)
        file["dataset"].acquisitions = scan_readouts()
    return path


@pytest.fixture
def service(tiny_model: Path) -> Service:
    return Service({"tiny": open_model(str(tiny_model))})
