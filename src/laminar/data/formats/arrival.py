"""Readouts of ISMRMRD as they arrive: every image is handed out as soon as its last readout is there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from laminar.data.formats.assembly import SERIES, assemble
from laminar.data.formats.header import MrdHeader
from laminar.data.formats.readouts import (
    CALIBRATION,
    CALIBRATION_AND_IMAGING,
    LAST_IN_SLICE,
    NOISE,
    NOT_IMAGING,
    Readout,
    Records,
    flagged,
    records_of,
)
from laminar.scan import Scan
from laminar.words import counted

Key = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Part:
    """All readouts of one image, after the noise scan; its counters by name.

    `lent` are the calibration lines of other images of its slice, as far as they have come.
    """

    counters: dict[str, int]
    readouts: list[Readout]
    lent: list[Readout]
    header: MrdHeader

    def scan(self, name: str = "scan") -> Scan:
        """`assemble` of this image alone. Raises DataFormatError."""
        return assemble(_records(self.readouts), self.header, name, _records(self.lent) if self.lent else None)

    @property
    def head(self) -> Any:
        """That of the last readout."""
        return self.readouts[-1][0]

    def __str__(self) -> str:
        told = {"slice": self.counters["slice"], **{name: at for name, at in self.counters.items() if at}}
        return ", ".join(f"{name} {at}" for name, at in told.items())


@dataclass(eq=False)
class Arrival:
    """Sorts readouts one after the other. Each is a head, a structured scalar, and its floats.

    The last readout of an image has the flag LAST_IN_SLICE, in the last average that the header announces, or fills the
    last line of all that it announces, unless lines come that it does not. What comes for an image that is complete is
    counted as `late` and left out.
    """

    header: MrdHeader
    late: int = 0
    _beyond: int = -1
    _noise: list[Readout] = field(default_factory=list)
    _calibration: dict[int, list[tuple[Key, Readout]]] = field(default_factory=dict)
    _open: dict[Key, list[Readout]] = field(default_factory=dict)
    _lines: dict[Key, set[Key]] = field(default_factory=dict)
    _unannounced: set[Key] = field(default_factory=set)
    _pictured: set[Key] = field(default_factory=set)
    _done: set[Key] = field(default_factory=set)

    def add(self, readout: Readout) -> Part | None:
        """Take a readout: the image that it completes, if it does."""
        head, _ = readout
        if flagged(head, NOISE):
            self._noise.append(readout)
        if flagged(head, *NOT_IMAGING) or int(head["encoding_space_ref"]) != 0:
            return None
        key = tuple(int(head["idx"][counter]) for counter in (*SERIES, "slice"))
        if key in self._done:
            self.late += 1
            self._beyond = max(self._beyond, int(head["idx"]["kspace_encode_step_1"]))
            return None
        apart = bool(flagged(head, CALIBRATION)) and not bool(flagged(head, CALIBRATION_AND_IMAGING))
        if flagged(head, CALIBRATION, CALIBRATION_AND_IMAGING):
            self._calibration.setdefault(key[-1], []).append((key, readout))
        self._open.setdefault(key, []).append(readout)
        if not apart:
            self._pictured.add(key)
        elif self.header.calibration_mode != "embedded":
            return None
        return self._complete(key) if self._is_complete(key, head) and key in self._pictured else None

    def rest(self) -> Iterator[Part]:
        """The images that are not complete, in the order in which they began; calibration alone only if it is all."""
        for key in [key for key in self._open if key in self._pictured]:
            yield self._complete(key)
        if not self._done:
            yield from map(self._complete, list(self._open))

    def late_note(self) -> str | None:
        """What came too late, if anything, and whether that is because the header announces too few lines."""
        if not self.late:
            return None
        said = f"left out: {counted(self.late, 'readout')} that came after the image was complete"
        limits = self.header.limits_of(1)
        if limits is None or self._beyond <= limits.maximum:
            return said
        return f"{said}: encodingLimits ({limits}) contradict the readouts, which count up to {self._beyond}"

    def _is_complete(self, key: Key, head: Any) -> bool:
        limits = self.header.limits
        average, line, partition = limits.get("average"), self.header.limits_of(1), self.header.limits_of(2)
        if flagged(head, LAST_IN_SLICE):
            return int(head["idx"]["average"]) >= (average.maximum if average else 0)
        if line is None or average is None:
            return False
        lines = self._lines.setdefault(key, set())
        at = tuple(int(head["idx"][name]) for name in ("kspace_encode_step_1", "kspace_encode_step_2", "average"))
        lines.add(at)
        if not line.minimum <= at[0] <= line.maximum:
            self._unannounced.add(key)
        planes = partition.maximum - partition.minimum + 1 if partition else self.header.encoded_matrix[2]
        count = (line.maximum - line.minimum + 1) * planes * (average.maximum + 1)
        return key not in self._unannounced and len(lines) >= count

    def _complete(self, key: Key) -> Part:
        self._lines.pop(key, None)
        self._done.add(key)
        lent = [readout for own, readout in self._calibration.get(key[-1], []) if own != key]
        counters = dict(zip((*SERIES, "slice"), key, strict=True))
        return Part(counters, [*self._noise, *self._open.pop(key)], lent, self.header)


def _records(readouts: Sequence[Readout]) -> Records:
    heads, floats = zip(*readouts, strict=True)
    return records_of(np.array(heads), floats)
