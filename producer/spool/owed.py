"""Frames on disk that must be sent although `done` is above them.

A worker that misses frames counts their ticks as lost after some seconds, and `done` moves above their numbers. Each of
them still counts when it comes. So a writer may trust `done` only for what Redis has taken from it.
"""

from dataclasses import dataclass

from ..sending.sender import Flow

_KEPT_S = 3.0  # after they were sent: a Redis that is killed forgets what came within its fsync interval of one second
_ALL = 1 << 63


@dataclass(slots=True)
class _Range:
    """The numbers (above, through] of a partition. until_s: they are kept until then; None: they are not sent yet."""

    above: int
    through: int
    until_s: float | None = None


class Owed:
    """What is owed, by partition. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._ranges: dict[int, _Range] = {}

    def add_all(self, partition: int) -> None:
        """Owe everything on disk of a partition: another process left it, and nobody knows what Redis took."""
        self._ranges[partition] = _Range(0, _ALL)

    def add_skipped(self, partition: int, flow: Flow) -> None:
        """Owe the numbers that `done` passed before Redis took them, as far as we know."""
        if flow.done <= flow.sent_to:
            return
        owed = self._ranges.setdefault(partition, _Range(flow.sent_to, flow.done))
        owed.above, owed.through = min(owed.above, flow.sent_to), max(owed.through, flow.done)

    def settled(self, partition: int, flow: Flow) -> int:
        """Return the number up to which nothing has to be sent, or kept on disk."""
        owed = self._ranges.get(partition)
        return flow.done if owed is None else min(flow.done, owed.above)

    def pay(self, partition: int, flow: Flow, now_s: float, *, is_all_sent: bool) -> None:
        """Owe a partition nothing more once what was owed has been in Redis for 3 s. is_all_sent: the spool is sent."""
        owed = self._ranges.get(partition)
        if owed is None:
            return
        if not is_all_sent and flow.sent_to < owed.through:
            owed.until_s = None
        elif owed.until_s is None:
            owed.until_s = now_s + _KEPT_S
        elif now_s >= owed.until_s:
            del self._ranges[partition]
