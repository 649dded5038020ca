"""The page: one HTML document with its style, its script and all numbers inside, and no link to anything."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from html import escape
from importlib.resources import files as resources
from typing import Any

import torch

from laminar.figures.pixels import white_level
from laminar.files import finite
from laminar.metrics import fastmri_metrics, psnr
from laminar.viewer.arrays import Arrays
from laminar.viewer.volumes import Images, Shown, alike

SCRIPTS = ("arrays.js", "colors.js", "panes.js", "input.js")
STYLE = "view.css"


def page(
    shown: Sequence[Shown],
    reference: Shown | None = None,
    *,
    first_slice: int = 0,
    scan: str = "",
    scans: Sequence[str] = (),
) -> str:
    """The viewer of some files, beside a reference if there is one, as one HTML document.

    It holds the values to 1/65535 of their range. Nothing is loaded and nothing is sent: its policy forbids both, and
    allows the script that is in it alone. `first_slice` is the number that the first slice bears; `scan` is one of the
    `scans` whose pages lie beside this one, to be chosen from. Equal files give equal pages.

    Raises DataFormatError for files that do not fit beside each other, ConfigError for more than a page can hold.
    """
    shown, reference = alike(shown, reference)
    arrays = Arrays()
    told = {
        "slices": len(shown[0].image),
        "shape": list(shown[0].image.shape[1:]),
        "pixel": shown[0].pixel,
        "first": first_slice,
        "names": list(shown[0].names),
        "scan": scan,
        "scans": list(scans),
        "white": [white_level(image) for image in (reference or shown[0]).image],
        "reference": None if reference is None else {"image": arrays.add("reference", reference.image)},
        "files": [_told(f"f{i}", each, reference, arrays) for i, each in enumerate(shown)],
    }
    return _document(" · ".join(each.name for each in shown), told, arrays)


def _told(key: str, shown: Shown, reference: Shown | None, arrays: Arrays) -> dict[str, Any]:
    """A file as plain values; PSNR in dB by state (the image alone, without a trajectory) and slice."""
    images = {"image": shown.image, "phase": shown.phase, "states": shown.states} | dict(shown.spread)
    kept = {kind: arrays.add(f"{key}-{kind}", each) for kind, each in images.items() if each is not None}
    told: dict[str, Any] = {"name": shown.name, "times": list(shown.times), "level": shown.level, **kept}
    told["n"] = 1 if shown.states is None else len(shown.states)
    if reference is not None:
        states = [shown.image] if shown.states is None else [*shown.states]
        told["psnr"] = [_psnrs(state, reference.image) for state in states]
        told["metrics"] = finite(fastmri_metrics(shown.image, reference.image))
    return told


def _psnrs(image: Images, truth: Images) -> list[float | None]:
    """By slice, with the maximum of the volume as data range, as fastMRI has it; None where it is not finite."""
    pair = torch.from_numpy(image).double(), torch.from_numpy(truth).double()
    found: list[float | None] = finite(psnr(*pair, float(truth.max()), per_slice=True).tolist())
    return found


def _document(title: str, told: dict[str, Any], arrays: Arrays) -> str:
    style, script = _text(STYLE), "".join(map(_text, SCRIPTS))
    policy = f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; base-uri 'none'"
    data = json.dumps(told, allow_nan=False).replace("<", "\\u003c")
    kept = "\n".join(f'<script type="text/plain" id="{name}">{text}</script>' for name, text in arrays.texts.items())
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="generator" content="Laminar">
<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>{escape(title)}</title>
<style>{style}</style></head><body>
{_text("body.html")}<script type="application/json" id="told">{data}</script>
{kept}
<script>{script}</script></body></html>
"""


def _text(name: str) -> str:
    return resources("laminar.viewer").joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """How a content security policy names one script or style: by what is in it."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
