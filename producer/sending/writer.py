"""The protocol of a writer, as a producer's loop uses it: for the stream writer and the spooled writer."""

from collections.abc import Iterable
from typing import Protocol

from ..framer import Numbered
from .sender import Sender


class Writer(Protocol):
    """Takes frames over, sends them, and sends them again if necessary, until they are committed."""

    sender: Sender

    @property
    def lag(self) -> int:
        """Ticks that were handed over and are not known to be committed."""

    @property
    def spool_bytes(self) -> int:
        """Return the bytes that wait on disk."""

    @property
    def is_drained(self) -> bool:
        """Everything that was handed over is committed."""

    def now_ms(self) -> int:
        """Return Redis TIME in Unix ms."""

    def write(self, frames: Iterable[Numbered]) -> None:
        """Take frames over, in the order of their numbers."""

    def poll_if_due(self, every_s: float = 1.0) -> None:
        """Read the workers' progress, and send frames again if necessary."""

    def forget(self) -> None:
        """Delete this producer's numbers in Redis: everything is committed, and it will not come back."""
