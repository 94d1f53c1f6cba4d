"""The stop event of a process, as loops use it. `ops/process/shutdown.py` makes it."""

from typing import Protocol


class Stop(Protocol):
    """The process's stop event."""

    def is_set(self) -> bool:
        """Tell whether to stop."""

    def wait(self, seconds: float) -> bool:
        """Sleep, at most until the stop; return whether to stop."""
