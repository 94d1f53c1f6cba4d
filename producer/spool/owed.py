"""Frames on disk that must be sent although `done` is above them.

A worker that misses frames counts their ticks as lost after some seconds, and `done` moves above their numbers. If such
a frame comes later, it still counts. So a writer may trust `done` only for frames that Redis has accepted from it.
"""

from dataclasses import dataclass

from ..sending.sender import Flow

_KEPT_S = 3.0  # after they were sent: a killed Redis loses the frames of its last fsync interval (one second)
_ALL = 1 << 63


@dataclass(slots=True)
class _Range:
    """The numbers (above, through] of a partition. until_s: they are kept until then; None: they are not sent yet."""

    above: int
    through: int
    until_s: float | None = None


class Owed:
    """The numbers that must still be sent, by partition. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._ranges: dict[int, _Range] = {}

    def add_all(self, partition: int) -> None:
        """Add all numbers on disk of a partition: another process left them, and it is unknown which Redis accepted."""
        self._ranges[partition] = _Range(0, _ALL)

    def add_skipped(self, partition: int, flow: Flow) -> None:
        """Add the numbers that `done` has passed although Redis, as far as we know, has not accepted them."""
        if flow.done <= flow.sent_to:
            return
        owed = self._ranges.setdefault(partition, _Range(flow.sent_to, flow.done))
        owed.above, owed.through = min(owed.above, flow.sent_to), max(owed.through, flow.done)

    def settled(self, partition: int, flow: Flow) -> int:
        """Return the number up to which no frame must be sent or stay on disk."""
        owed = self._ranges.get(partition)
        return flow.done if owed is None else min(flow.done, owed.above)

    def pay(self, partition: int, flow: Flow, now_s: float, *, is_all_sent: bool) -> None:
        """Remove a partition's numbers when Redis has had them for 3 s. is_all_sent: the whole spool is sent."""
        owed = self._ranges.get(partition)
        if owed is None:
            return
        if not is_all_sent and flow.sent_to < owed.through:
            owed.until_s = None
        elif owed.until_s is None:
            owed.until_s = now_s + _KEPT_S
        elif now_s >= owed.until_s:
            del self._ranges[partition]
