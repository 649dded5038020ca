"""Files that an earlier version wrote are read, as CONTRIBUTING promises."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from laminar.audit import ScenarioConfig, audit, make_cases, scenario
from laminar.models import UnrolledNetwork, load
from laminar.operators import Encoding
from laminar.uncertainty import read_calibration

KEPT = Path(__file__).parent / "kept"


def test_a_checkpoint_of_version_1_makes_the_same_image() -> None:
    network = load(KEPT / "model")
    assert isinstance(network, UnrolledNetwork)
    generator = torch.Generator().manual_seed(0)
    mask = torch.arange(24).remainder(2).bool()[None, None].expand(1, 20, 24)
    maps = torch.randn(1, 2, 20, 24, dtype=torch.complex64, generator=generator) / 2
    y = torch.randn(1, 2, 20, 24, dtype=torch.complex64, generator=generator) * mask[:, None]
    with torch.no_grad():
        image = network(y, Encoding(mask, maps), torch.full((1,), 0.1))
    norms = [float(image.norm()), float(image.real.sum()), float(image[0, 3, 5].abs())]
    torch.testing.assert_close(torch.tensor(norms), torch.tensor(json.loads((KEPT / "image.json").read_text())))


def test_a_calibration_of_version_2_is_read() -> None:
    assert read_calibration(KEPT / "uncertainty.json").factor == 1.5


def test_an_audit_has_every_key_that_its_version_promises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenario, "MATRIX", (64, 60))
    kept = json.loads((KEPT / "audit.json").read_text())
    made = audit(load(KEPT / "model"), *make_cases(ScenarioConfig(slices=2, calibration_lines=8))).record
    assert made["version"] == kept["version"]
    assert keys(kept) <= keys(json.loads(json.dumps(made)))


def keys(value: Any, path: str = "") -> set[str]:
    """The dotted names of everything in nested values; the entries of a list count as one."""
    if isinstance(value, dict):
        return {path}.union(*(keys(inner, f"{path}.{key}") for key, inner in value.items()))
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return {path}.union(*(keys(inner, f"{path}[]") for inner in value))
    return {path}
