"""What an OpenRecon host is told: by the rules of its schema, and of the parameters that the server takes."""

from __future__ import annotations

import base64
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

from laminar.server.openrecon import LABEL, metadata
from laminar.server.parameters import Request

ROOT = Path(__file__).resolve().parents[2]
Laminar = Callable[..., tuple[int, str, str]]


def test_the_metadata_keeps_the_rules() -> None:
    """Schema 1.1.0: at most 14 parameters, ids of letters and digits, defaults among the values."""
    told = metadata(["default", "sampler"])
    assert set(told) == {"general", "reconstruction", "parameters"}
    assert len(told["parameters"]) <= 14
    assert re.fullmatch(r"\d+\.\d+\.\d+([-+].*)?", told["general"]["version"])
    assert all(isinstance(value, str) for value in told["general"]["regulatory_information"].values())
    assert told["reconstruction"]["content_qualification_type"] == "RESEARCH"
    for one in told["parameters"]:
        assert re.fullmatch("[A-Za-z0-9]+", one["id"])
        assert set(one["label"]) == set(one["information"]) == {"en"}
        if one["type"] == "choice":
            assert set(one) == {"id", "label", "type", "values", "default", "information"}
            assert one["default"] in [value["id"] for value in one["values"]]
        else:
            assert set(one) == {"id", "label", "type", "minimum", "maximum", "default", "information"}
            assert one["minimum"] <= one["default"] <= one["maximum"]


def test_the_server_understands_every_value_that_the_host_offers() -> None:
    models = ["default", "sampler"]
    for one in metadata(models)["parameters"]:
        offered = [v["id"] for v in one["values"]] if one["type"] == "choice" else [one["default"], one["maximum"]]
        for value in offered:
            request, lines = Request("default").told(json.dumps({"parameters": {one["id"]: str(value)}}), models)
            assert lines == []
            assert str(getattr(request, one["id"])) in (str(value), f"{value}.0")


def test_the_package_is_written_and_replaced(tmp_path: Path, laminar: Laminar) -> None:
    image, manual, out = tmp_path / "image.tar", tmp_path / "manual.pdf", tmp_path / "out"
    image.write_bytes(b"tar")
    manual.write_bytes(b"pdf")
    for _ in range(2):  # the second time it replaces its own
        code, _, err = laminar("openrecon-package", "--out", out, "--image", image, "--manual", manual)
        assert code == 0, err
    assert laminar("openrecon-package", "--out", out)[0] == 0
    told = json.loads((out / "OpenReconLabel.json").read_text())
    label = re.search(f'LABEL "{re.escape(LABEL)}"="([^"]+)"', (out / "Dockerfile").read_text())
    assert label is not None
    assert json.loads(base64.b64decode(label[1])) == told == metadata(["default"])
    (packed,) = out.glob("*.zip")
    assert re.fullmatch(r"OpenRecon_Laminar_Laminar_V[\d.]+\.zip", packed.name)
    with zipfile.ZipFile(packed) as file:
        assert file.namelist() == [f"{packed.stem}.tar", f"{packed.stem}.pdf"]
    assert laminar("openrecon-package", "--out", tmp_path, "--image", image)[0] == 2


def test_the_container_file_copies_what_is_there_and_runs_without_rights() -> None:
    text = (ROOT / "container" / "Dockerfile").read_text()
    ignored = (ROOT / ".dockerignore").read_text().split()
    for sources in re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE):
        for source in sources.split():
            assert (ROOT / source).exists()
            assert f"!{source}" in ignored
    stages = text.split("\nFROM ")
    assert re.search(r"^USER \d+$", stages[-1], re.MULTILINE)
    assert "pip install" not in stages[-1]  # nothing is fetched when it is started
