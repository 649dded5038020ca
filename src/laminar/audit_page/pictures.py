"""Images as data inside the page: honest pixels, one window, errors on one stated scale."""

from __future__ import annotations

import base64

import numpy as np
from numpy.typing import NDArray

from laminar.audit import Measured
from laminar.audit_page.markup import Markup, tag
from laminar.figures.pixels import Pixels, gray, heat, png, white_level
from laminar.figures.sheet import caption, state_label

ERROR_FACTOR = 5


def strip(measured: Measured) -> Markup:
    """Every state of one slice beside the reference, each with its error below."""
    target, states, notes = _shown(measured)
    white = white_level(target)
    cells = [tag("div", picture(gray(target, white), "reference", "of all samples"))]
    for k, state in enumerate(states):
        error = picture(heat(np.abs(state - target), white / ERROR_FACTOR))
        cells.append(tag("div", picture(gray(state, white), state_label(k), notes[k]), error))
    return tag("div", cells, class_="strip")


def outcome(measured: Measured) -> Markup:
    """Reference, source, result and the error of the result of one slice."""
    target, states, notes = _shown(measured)
    white = white_level(target)
    error = heat(np.abs(states[-1] - target), white / ERROR_FACTOR)
    pictures = [
        picture(gray(target, white), "reference", "of all samples"),
        picture(gray(states[0], white), "source", notes[0]),
        picture(gray(states[-1], white), "result", notes[-1]),
        picture(error, "error", f"enlarged {ERROR_FACTOR} times"),
    ]
    return tag("div", tag("h4", measured.name), tag("div", pictures, class_="row"), class_="outcome")


def _shown(measured: Measured) -> tuple[NDArray[np.float32], NDArray[np.float32], list[str]]:
    """Target (y, x), states (state, y, x), and what to say of each state."""
    notes = [caption({"psnr": psnr}) for psnr in measured.curves["psnr"].tolist()]
    return measured.target.numpy(), measured.states.numpy(), notes


def picture(pixels: Pixels, label: str = "", note: str = "") -> Markup:
    source = f"data:image/png;base64,{base64.b64encode(png(pixels)).decode()}"
    above = tag("figcaption", tag("div", label), tag("div", note)) if label else None
    return tag("figure", above, tag("img", src=source, alt=label or "error"), class_="picture")
