"""The open bars of one feed in a partition, and when they close. Pure."""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from ...contracts.bar import MINUTE_NS, Bars
from ...contracts.names import REPAIR_FEED, minute_feed
from ...contracts.ticks import MAX_TS_NS, Mask
from ..marks import NO_MARKS, Marks
from .bar_book import NO_BARS, closed_by_clock, closed_by_next

_NO_MINUTE = MAX_TS_NS // MINUTE_NS


@dataclass(slots=True)
class FeedBars:
    """The open bars of one feed, and its live clock.

    clock_ns: Unix ns by Redis's clock; a replay has no clock. base_ns, seen_at_ns: the arrival that set it last, and
    the worker's monotonic time then, or later. producer: the last one with a tick here; a superseded bar counts in its
    ledger row.
    delay_ms: how far the feed runs behind the market. whole: bars come as whole minutes. publish: bars are published.
    """

    replay: bool
    whole: bool
    producer: str
    publish: bool
    bars: Bars = field(default_factory=NO_BARS.copy)
    waiting: Marks = field(default_factory=NO_MARKS.copy)  # bars of higher timeframes that are still open
    clock_ns: int = 0
    base_ns: int = 0
    seen_at_ns: int | None = None
    ended: bool = False
    delay_ms: int = 0

    def due(self, lateness_ns: int) -> Mask:
        """Mark the bars that are closed."""
        if not self.replay:
            return closed_by_clock(self.bars, self.clock_ns, lateness_ns)
        return np.ones(len(self.bars), bool) if self.ended else closed_by_next(self.bars)

    def note_arrival(self, arrived_ns: int, *, seen_at_ns: int, most_ns: int) -> None:
        """Move the clock on to an arrival. seen_at_ns: our monotonic time then, or later."""
        if arrived_ns >= self.base_ns:  # a frame that was counted as lost and came after all is older
            self.base_ns, self.seen_at_ns = arrived_ns, seen_at_ns
        self.clock_ns = max(self.clock_ns, min(arrived_ns, most_ns))

    def tick(self, now_ns: int, *, most_ns: int) -> None:
        """Move the clock on by the time since the last arrival. now_ns: monotonic. most_ns: the clock stops there."""
        if self.seen_at_ns is None:
            self.base_ns, self.seen_at_ns = self.clock_ns, now_ns
        clock_ns = self.base_ns + max(0, now_ns - self.seen_at_ns)
        self.clock_ns = max(self.clock_ns, min(clock_ns, most_ns))

    def until_close_ns(self, now_ns: int, *, lateness_ns: int, most_ns: int) -> int:
        """Return in how many ns `tick` closes the next bar; negative: it is due. The arguments are as above."""
        close_ns = self.next_close_ns(lateness_ns)
        if self.seen_at_ns is None or close_ns > most_ns:
            return MAX_TS_NS
        return close_ns - self.base_ns - (now_ns - self.seen_at_ns)

    def next_close_ns(self, lateness_ns: int) -> int:
        """Return when the first of these bars, or of the higher ones that wait, closes: Unix ns by the feed's clock."""
        minutes = self.bars["minute"].min(initial=_NO_MINUTE) + 1
        higher = (self.waiting["minute"] + self.waiting["timeframe"]).min(initial=_NO_MINUTE)
        return int(min(minutes, higher)) * MINUTE_NS + lateness_ns

    def due_higher(self, waiting: Marks, lateness_ns: int) -> Mask:
        """Mark the bars of higher timeframes that are closed, by the rule of 1-minute bars."""
        ends = waiting["minute"] + waiting["timeframe"]
        if not self.replay:
            due: Mask = ends * MINUTE_NS + lateness_ns <= self.clock_ns
            return due
        if self.ended or not len(waiting):
            return np.ones(len(waiting), bool)
        latest = np.full(int(max(waiting["symbol"].max(), self.bars["symbol"].max(initial=0))) + 1, -1, np.int64)
        np.maximum.at(latest, self.bars["symbol"], self.bars["minute"])
        return np.asarray(latest[waiting["symbol"]] >= ends)


class ClosedBars(NamedTuple):
    """Bars of one feed that the next commit writes."""

    feed: str
    book: FeedBars
    mask: Mask

    @property
    def rows(self) -> Bars:
        """The closed bars, sorted by symbol, then minute."""
        return self.book.bars.compress(self.mask)

    @property
    def replaces(self) -> bool:
        """Whether these bars replace bars of a live feed: true for a replay or a repair."""
        return self.book.replay or self.feed == minute_feed(REPAIR_FEED)
