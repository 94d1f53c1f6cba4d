"""Redis's clock, checked: a step is accepted only if a second clock confirms it. Pure.

A step forward would close every open bar at once, and refuse new ticks as too late; a step back would refuse them as
ahead of time. So each TIME is compared with this worker's monotonic clock. If they differ, PostgreSQL's clock decides:
if it has stepped too (the host slept, or its clock was corrected), the step is accepted, else it is ignored.
"""

from collections.abc import Callable
from typing import NamedTuple

_STEP_MS = 2_000  # more than a pause of this process during a reply; slower drift is accepted
_ASK_EVERY_MS = 1_000  # interval for the second clock, while the two disagree


class Reading(NamedTuple):
    """A moment, in Unix ms. behind: Redis's own clock is far behind, and so are its new ids and births."""

    ms: int
    behind: bool = False


class SteadyClock:
    """Continues Redis's clock by the monotonic one when it steps."""

    def __init__(self, *, monotonic_ms: Callable[[], int], witness_ms: Callable[[], int]) -> None:
        """witness_ms: reads the second clock, Unix ms."""
        self._monotonic_ms = monotonic_ms
        self._witness_ms = witness_ms
        self._base_ms: int | None = None  # the accepted time at `_since_ms`
        self._since_ms = 0
        self._ask_at_ms = 0

    def read(self, redis_ms: int) -> Reading:
        """Return the time for a new TIME of Redis."""
        now_ms = self._monotonic_ms()
        expected = redis_ms if self._base_ms is None else self._base_ms + now_ms - self._since_ms
        if abs(redis_ms - expected) <= _STEP_MS or self._is_confirmed(redis_ms, expected, now_ms):
            self._base_ms, self._since_ms = redis_ms, now_ms
            return Reading(redis_ms)
        return Reading(expected, behind=redis_ms < expected)

    def _is_confirmed(self, redis_ms: int, expected: int, now_ms: int) -> bool:
        if now_ms < self._ask_at_ms:
            return False
        self._ask_at_ms = now_ms + _ASK_EVERY_MS
        witness = self._witness_ms()
        return abs(witness - redis_ms) <= abs(witness - expected)
