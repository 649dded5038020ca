"""Images as data inside the page: honest pixels, one window, errors on one stated scale."""

from __future__ import annotations

import base64
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from laminar.audit import Measured
from laminar.audit_page.markup import Markup, number, tag
from laminar.errors import MissingExtraError

PERCENTILE, ERROR_FACTOR = 99.5, 5
_PLAIN: Any = {"Software": None}  # no version in the file: equal pictures are equal bytes


def check_pictures() -> None:
    """Raise MissingExtraError now, not after the measurements, if no picture can be drawn."""
    try:
        import matplotlib.image  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("matplotlib", "figures") from error


def strip(measured: Measured) -> Markup:
    """Every state of one slice beside the reference, each with its error below."""
    target, white = _window(measured.target)
    psnrs = measured.curves["psnr"].tolist()
    cells = [tag("div", _picture(target, white, "reference", note="of all samples"))]
    for k, state in enumerate(measured.states):
        label = f"cascade {k}" if k else "source"
        cells.append(_cell(state.numpy(), white, label, target, _db(psnrs[k])))
    return tag("div", cells, class_="strip")


def outcome(measured: Measured) -> Markup:
    """Reference, source, result and the error of the result of one slice."""
    target, white = _window(measured.target)
    psnrs = measured.curves["psnr"].tolist()
    source, result = measured.states[0].numpy(), measured.states[-1].numpy()
    pictures = [
        _picture(target, white, "reference", note="of all samples"),
        _picture(source, white, "source", note=_db(psnrs[0])),
        _picture(result, white, "result", note=_db(psnrs[-1])),
        _picture(np.abs(result - target), white / ERROR_FACTOR, "error", "inferno", f"enlarged {ERROR_FACTOR} times"),
    ]
    return tag("div", tag("h4", measured.name), tag("div", pictures, class_="row"), class_="outcome")


def _db(value: float) -> str:
    return f"{number(value)} dB"


def _window(target: Tensor) -> tuple[NDArray[np.float32], float]:
    image = target.numpy()
    return image, float(np.percentile(image, PERCENTILE)) or 1.0


def _cell(image: NDArray[np.float32], white: float, label: str, target: NDArray[np.float32], note: str) -> Markup:
    """A state with its label above and its error below."""
    error = _picture(np.abs(image - target), white / ERROR_FACTOR, "", "inferno")
    return tag("div", _picture(image, white, label, note=note), error)


def _picture(image: NDArray[np.float32], white: float, label: str, colors: str = "gray", note: str = "") -> Markup:
    source = f"data:image/png;base64,{base64.b64encode(_png(image, white, colors)).decode()}"
    caption = tag("figcaption", tag("div", label), tag("div", note)) if label else None
    return tag("figure", caption, tag("img", src=source, alt=label or "error"), class_="picture")


def _png(image: NDArray[np.float32], white: float, colors: str) -> bytes:
    """A PNG from 0 to `white`; what is not finite is drawn as 0. Equal images, equal bytes."""
    from matplotlib.image import imsave

    file = BytesIO()
    shown = np.nan_to_num(image, nan=0.0, posinf=white, neginf=0.0)
    imsave(file, shown, cmap=colors, vmin=0, vmax=white, format="png", metadata=_PLAIN)
    return file.getvalue()
