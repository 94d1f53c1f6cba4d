"""Rates of the whole fleet, from the counts in each worker's row of `worker`. Pure."""

from collections import deque
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

BUSY_S = 5.0  # a worker commits each second while ticks flow

# Bars close together, once a minute: two minutes include at least one close, even a late one.
_BARS_OVER_S = 120.0


class WorkerRow(NamedTuple):
    """A row of `worker`.

    living: its lease is valid. idle_s: since its last commit; age_s: from its start to that commit.
    """

    consumer: str
    started_at: datetime
    living: bool
    idle_s: float
    age_s: float
    ticks: int
    bars: int
    cpu_s: float
    memory_mb: float
    lag_ms: float
    undetected: int


class Growth(NamedTuple):
    """Ticks, bars and processor seconds that were added, or their rates per second."""

    ticks: float
    bars: float
    cpu_s: float


def growth(before: Sequence[WorkerRow], now: Sequence[WorkerRow]) -> Growth:
    """Return the increase between two readings. A restarted worker counts from 0: its whole count is new."""
    known = {(row.consumer, row.started_at): row for row in before}
    total = Growth(0.0, 0.0, 0.0)
    for row in now:
        old = known.get((row.consumer, row.started_at))
        # Lower counts mean a restart, even if the row does not show it: in containers every worker may have the same
        # pid.
        if old is None or row.ticks < old.ticks or row.cpu_s < old.cpu_s:
            added = Growth(row.ticks, row.bars, row.cpu_s)
        else:
            added = Growth(row.ticks - old.ticks, row.bars - old.bars, row.cpu_s - old.cpu_s)
        total = Growth(*(a + b for a, b in zip(total, added, strict=True)))
    return total


def mean_since_start(rows: Sequence[WorkerRow]) -> Growth:
    """Return the mean rates of the busy workers since their start, for the first reading."""
    busy = [row for row in rows if row.living and row.idle_s < BUSY_S and row.age_s > 0]
    return Growth(
        sum(row.ticks / row.age_s for row in busy),
        sum(row.bars / row.age_s for row in busy),
        sum(row.cpu_s / row.age_s for row in busy),
    )


class Rates:
    """Computes rates: of ticks and processor time since the last reading, of bars over the last two minutes."""

    def __init__(self) -> None:
        self._rows: Sequence[WorkerRow] = ()
        self._first = Growth(0.0, 0.0, 0.0)
        self._bars: deque[tuple[float, float]] = deque()  # (time, bars until then)

    def add(self, rows: Sequence[WorkerRow], now_s: float) -> Growth:
        """Add a reading's rows; return the rates per second. now_s: monotonic, later than at the last call."""
        before, self._rows = self._rows, rows
        if not self._bars:
            self._bars.append((now_s, 0.0))
            self._first = mean_since_start(rows)
            return self._first
        last_s, bars = self._bars[-1]
        added = growth(before, rows)
        self._bars.append((now_s, bars + added.bars))
        elapsed_s = now_s - last_s
        return Growth(added.ticks / elapsed_s, self._bars_a_second(now_s), added.cpu_s / elapsed_s)

    def _bars_a_second(self, now_s: float) -> float:
        """Return the bars per second; for the time before the first reading, use the mean since the workers' start."""
        while len(self._bars) > 2 and self._bars[1][0] <= now_s - _BARS_OVER_S:
            self._bars.popleft()
        (first_s, first), (_, last) = self._bars[0], self._bars[-1]
        span_s = now_s - first_s
        unseen_s = max(0.0, _BARS_OVER_S - span_s)
        return (last - first + self._first.bars * unseen_s) / (span_s + unseen_s)
