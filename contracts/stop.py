"""What a loop asks to know whether to end: the process's stop event, which `ops/process/shutdown.py` has."""

from typing import Protocol


class Stop(Protocol):
    """The process's stop event."""

    def is_set(self) -> bool:
        """Tell whether to stop."""

    def wait(self, seconds: float) -> bool:
        """Sleep, but no longer than until the stop; return whether to stop."""
