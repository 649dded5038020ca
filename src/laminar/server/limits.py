"""What a connection may ask for: whatever is on the other end, memory and time stay bounded."""

from __future__ import annotations

from dataclasses import dataclass, fields

from laminar.errors import ConfigError, WireError

TEXT = 2**20
XML = 2**23


@dataclass(frozen=True)
class Limits:
    """Limits of one connection, and how many there may be.

    Args:
        bytes: that it may send, and that the k-space of one image may take.
        readouts: that it may send.
        matrix: largest encoded size along an axis, and number of samples of a readout.
        coils: of a readout.
        idle: seconds without a byte, in either direction, after which it is closed.
        waiting: images that are complete and not yet reconstructed, before no more is read.
        connections: at a time.
        deadline: seconds in which an image must be reconstructed; then a simpler method takes over.
    """

    bytes: int = 2**32
    readouts: int = 2_000_000
    matrix: int = 2048
    coils: int = 256
    idle: float = 300.0
    waiting: int = 4
    connections: int = 8
    deadline: float = 60.0

    def __post_init__(self) -> None:
        for field in fields(self):
            if not getattr(self, field.name) > 0:
                raise ConfigError(f"the limit {field.name} must be positive; got {getattr(self, field.name)}")

    def check(self, what: str, value: int, most: int) -> None:
        """Raise WireError if `value` is above `most`."""
        if value > most:
            raise WireError(f"{what}: at most {most} are taken; got {value}")

    def check_matrix(self, matrix: tuple[int, int, int], coils: int) -> None:
        """Raise WireError if the k-space of an image would be too large."""
        self.check("the encoded matrix", max(matrix), self.matrix)
        self.check("the bytes of an image's k-space", 8 * coils * matrix[0] * matrix[1] * matrix[2], self.bytes)
