"""What happens in a server, for whoever counts it."""

from __future__ import annotations

from laminar.server.solving import Solved


class Events:
    """Told by sessions from any thread; this one counts nothing."""

    def connection(self, change: int) -> None:
        """One more, or one less, is open."""

    def refused(self) -> None:
        """A connection was not taken."""

    def readout(self) -> None:
        """A readout came."""

    def waiting(self, change: int) -> None:
        """One image more, or one less, is complete and not yet in hand."""

    def image(self, found: Solved, seconds: float) -> None:
        """An image was sent, so long after its last readout."""

    def lost(self) -> None:
        """An image could not be made."""
