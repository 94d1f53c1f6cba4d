"""The newest bar of each symbol that this worker wrote. A later bar need not be compared with the stored bars. Pure."""

from collections.abc import Iterable

import numpy as np

from ...contracts.ticks import Mask, Minutes
from ..partition.feed_bars import ClosedBars
from ..partition.partition_state import PartitionState
from .plan import PartitionPlan

_UNKNOWN = -1
_DOUBT_S = 3600.0  # so long each bar is compared, after another writer has stored bars of its partition


class NewestBars:
    """Knows which bars are fresh: later than every bar that this worker wrote of their symbol.

    It is a guess that saves a query: another feed, another owner of the partition or a program with the library may
    have written such a bar. Then the INSERT of the fresh bar fails, and `doubt` stops the guesses for a while.
    """

    def __init__(self) -> None:
        self._minutes: dict[int, tuple[list[str], Minutes]] = {}  # by partition: its symbols, and a minute for each
        self._doubt_until_s: dict[int, float] = {}

    def are_fresh(self, plans: Iterable[PartitionPlan], now_s: float) -> Mask:
        """Tell which bars that these plans close are fresh, in the order of `stage_rows`. now_s: monotonic."""
        fresh = [self.fresh_of(plan.state, closed, now_s) for plan in plans for closed in plan.closed]
        return np.concatenate([np.empty(0, bool), *fresh])

    def fresh_of(self, state: PartitionState, closed: ClosedBars, now_s: float) -> Mask:
        """Tell which of these bars are fresh. now_s: monotonic."""
        rows = closed.rows
        if closed.replaces or now_s < self._doubt_until_s.get(state.partition, 0.0):
            return np.zeros(len(rows), bool)
        newest = self._of(state)[rows["symbol"]]
        return np.asarray((newest != _UNKNOWN) & (rows["minute"] > newest))

    def note(self, plans: Iterable[PartitionPlan]) -> None:
        """Note the bars of durable plans, before their states move on."""
        for plan in plans:
            newest = self._of(plan.state)
            for closed in plan.closed:
                np.maximum.at(newest, closed.rows["symbol"], closed.rows["minute"])

    def doubt(self, partitions: Iterable[int], now_s: float) -> None:
        """Take no bar of these partitions for fresh for _DOUBT_S seconds. now_s: monotonic."""
        for partition in partitions:
            self._doubt_until_s[partition] = now_s + _DOUBT_S

    def leave(self, partition: int) -> None:
        """Forget a partition that this worker no longer owns."""
        self._minutes.pop(partition, None)

    def _of(self, state: PartitionState) -> Minutes:
        symbols, minutes = self._minutes.get(state.partition, (state.symbols, np.empty(0, np.int64)))
        if symbols is not state.symbols:
            minutes = np.empty(0, np.int64)
        if (more := len(state.symbols) - len(minutes)) > 0:
            minutes = np.pad(minutes, (0, more), constant_values=_UNKNOWN)
        self._minutes[state.partition] = (state.symbols, minutes)
        return minutes
