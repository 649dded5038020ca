"""What `laminar reconstruct` says of a batch at its end: a table, or JSON for other programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from laminar.version import __version__

if TYPE_CHECKING:
    from rich.table import Table

    from laminar.methods import Method

_PLACES = {"psnr": 2, "ssim": 4, "nmse": 4}


@dataclass(frozen=True)
class Done:
    """A scan that was reconstructed, its axes and their sizes in `shape`: slice, coil, y, x, of a series frame too.

    `outputs` are the files that hold it, `mask` says how it was undersampled on the way, and there are `metrics` if it
    was or brings its reference, `notes` what the reader of the image should know.
    """

    name: str
    input: Path
    outputs: Sequence[Path]
    shape: Mapping[str, int]
    acceleration: float
    seconds: float
    mask: str | None
    metrics: Mapping[str, float] | None
    notes: Sequence[str]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        from laminar.files import finite

        return {
            "name": self.name,
            "input": str(self.input),
            "outputs": [str(path) for path in self.outputs],
            "shape": dict(self.shape),
            "acceleration": self.acceleration,
            "seconds": self.seconds,
            "mask": self.mask,
            "metrics": finite(self.metrics),
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class Batch:
    """What became of each scan: done, skipped by its name, or failed, with the reason."""

    done: list[Done] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    def text(self, method: Method, outputs: Callable[[str], Sequence[Path]]) -> str:
        """Everything as JSON, of skipped scans the `outputs` that a name has."""
        said = {"name": method.name, "fingerprint": method.fingerprint, "settings": dict(method.settings)}
        found = {"laminar": __version__, "method": said, "scans": [done.as_dict() for done in self.done]}
        skipped = {name: [str(path) for path in outputs(name)] for name in self.skipped}
        return json.dumps(found | {"skipped": skipped, "failed": self.failed}, indent=1)

    def table(self, title: str) -> Table:
        """A row a scan, and of several that have metrics their mean."""
        from rich.box import SIMPLE_HEAD
        from rich.table import Table

        scored = [done.metrics for done in self.done if done.metrics]
        mean = len(scored) > 1
        table = Table(
            title=title,
            caption=self._caption if scored else None,
            box=SIMPLE_HEAD,
            padding=(0, 1),
            pad_edge=False,
            show_footer=mean,
        )
        table.add_column("scan", footer=f"mean of {len(scored)}", overflow="fold", min_width=12)
        axes = {",".join(done.shape) for done in self.done}
        for column in (axes.pop() if len(axes) == 1 else "size", "R", "seconds"):
            table.add_column(column, justify="right", no_wrap=True)
        for metric, places in _PLACES.items() if scored else ():
            average = fmean(row[metric] for row in scored)
            table.add_column(metric.upper(), footer=f"{average:.{places}f}", justify="right", no_wrap=True)
        for done in self.done:
            cells = [
                done.name,
                "x".join(map(str, done.shape.values())),
                f"{done.acceleration:.2f}",
                f"{done.seconds:.2f}",
            ]
            metrics = done.metrics or {}
            table.add_row(*cells, *(f"{metrics[key]:.{n}f}" for key, n in _PLACES.items() if metrics))
        return table

    @property
    def _caption(self) -> str:
        masks = list(dict.fromkeys(done.mask for done in self.done if done.mask))
        mask = f"mask: {masks[0]}; " if len(masks) == 1 else ""
        if not masks:
            return "PSNR in dB; fastMRI's metrics against the reference in the file"
        return (
            f"{mask}PSNR in dB; fastMRI's metrics against the root-sum-of-squares of all samples; "
            "evaluate compares with the reference in the file, which may be another"
        )
