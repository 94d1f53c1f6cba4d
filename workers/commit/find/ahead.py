"""Find results before the close: while a bar waits for late ticks, the detectors run on its present values.

If the bar has not changed at the close, these results are used; otherwise the detectors run again. Both ways give equal
results, because results depend only on the values of the bars. Pure.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace

from ....contracts.bar import Bars, has_prices
from ....contracts.detection import Detection
from ....contracts.ticks import Codes, Mask
from ...detect.definition import Definitions
from ...detect.detector import Detector
from ...history import CLOSED_DTYPE, ClosedRows
from ...marks import INDICATORS, NO_MARKS, Marks, joined, waiting_for
from ...partition.bar_book import closed_by_clock
from ...partition.feed_bars import ClosedBars
from ...partition.numbering import are_among
from ...partition.partition_state import PartitionState
from ...sessions import ALL_MINUTES, REGULAR_MINUTES
from ..plan import Findings, PartitionPlan
from ..staged_bars import bound_extremes

LEAD_NS = 300_000_000  # before the close. A bar waits at least as long for late ticks


@dataclass(slots=True)
class Ahead:
    """Bars of one minute that are in a partition's histories before their close, and the results found on them.

    state: whose open bars these are; a restored state has others. rows: all bars that were to close; bars: those that
    are in the histories, sorted by symbol. marks: of the bars on which the patterns ran, with these definitions.
    waiting: how the marks of higher bars were, and how they are with all of these bars. held: which of `bars` nobody
    took back.
    """

    state: PartitionState
    feed: str
    rows: Bars
    bars: ClosedRows
    marks: Marks
    found: Findings
    definitions: Definitions
    waiting: tuple[Marks, Marks]
    held: Mask = field(init=False)

    def __post_init__(self) -> None:
        self.held = np.ones(len(self.bars), bool)

    @property
    def minute(self) -> int:
        """The start of these bars in minutes since 1970."""
        return int(self.bars["minute"][0])

    def closes_with(self, closed: list[ClosedBars]) -> bool:
        """Tell whether a commit closes these bars."""
        return any(one.feed == self.feed and (one.rows["minute"] == self.minute).any() for one in closed)

    def is_all_of(self, plan: PartitionPlan) -> bool:
        """Tell whether a plan closes exactly these bars, with unchanged values, and has nothing else to detect.

        Call it only if the commit writes all bars of the plan unchanged.
        """
        if len(plan.closed) != 1 or len(plan.marks) or len(self.marks) < len(self.rows):
            return False
        (closed,) = plan.closed
        is_same = closed.feed == self.feed and closed.rows.tobytes() == self.rows.tobytes()
        is_same = is_same and closed.book.waiting.tobytes() == self.waiting[0].tobytes()
        return is_same and bool(self.held.all() and self._are_last(self.bars, plan.detector).all())

    def close(self, plan: PartitionPlan, now_s: float) -> None:
        """Put the found results into a plan, and set its remaining marks. now_s: Unix seconds by Redis's clock."""
        (closed,) = plan.closed
        rest = waiting_for(self.marks, INDICATORS) if self.definitions.indicators else NO_MARKS
        due = closed.book.due_higher(self.waiting[1], plan.state.limits.lateness_ns)
        plan.marks = joined([rest, self.waiting[1].compress(due)])
        plan.waiting[self.feed] = self.waiting[1].compress(~due)
        plan.found = found_now(self.found, now_s)

    def are_kept(self, bars: ClosedRows, detector: Detector) -> Mask:
        """Tell which closed bars are in the histories already with the same values. bars: by symbol, then minute."""
        at = np.minimum(np.searchsorted(self.bars["symbol"], bars["symbol"]), len(self.bars) - 1)
        kept: Mask = (self.bars[at] == bars) & self.held[at] & self._are_last(bars, detector)
        return kept

    def _are_last(self, bars: ClosedRows, detector: Detector) -> Mask:
        """Tell which bars are the last ones of their histories."""
        symbols, minutes = bars["symbol"], bars["minute"]
        everywhere, regular = (
            detector.has(symbols, track) & (detector.histories[track].last_minutes(symbols) == minutes)
            for track in (ALL_MINUTES, REGULAR_MINUTES)
        )
        if not regular.all():
            regular |= ~detector.sessions.are_regular(symbols, minutes, 1)
        return np.asarray(everywhere & regular)

    def take_back(self, symbols: Codes, detector: Detector) -> None:
        """Take the bars of some symbols out of the histories: these are as if nobody had looked ahead.

        Each only once: after that, a bar of this minute is what another feed wrote.
        """
        taken = self.held & are_among(self.bars["symbol"], symbols)
        self.held &= ~taken
        mine = self.bars["symbol"].compress(taken)
        for track in (ALL_MINUTES, REGULAR_MINUTES):
            history = detector.histories[track]
            history.drop_last(mine[detector.has(mine, track) & (history.last_minutes(mine) == self.minute)])


class Taken(NamedTuple):
    """Bars that were ahead and close now. unchanged: the symbols whose results are still right."""

    ahead: Ahead
    unchanged: Codes


def closing_soon(state: PartitionState) -> ClosedBars | None:
    """Return the open bars of a partition that close within LEAD_NS, if they have one minute and one feed; else None.

    Also return None if the next commit does more than close them, or if other bars wait for their detectors.
    """
    waits = state.uncommitted
    if len(state.marks) or waits.undos or waits.ended_replays or waits.rebuilt or state.limits.lateness_ns <= LEAD_NS:
        return None
    soon = [
        ClosedBars(feed, book, closed_by_clock(book.bars, book.clock_ns + LEAD_NS, state.limits.lateness_ns))
        for feed, book in state.feeds.items()
        if not book.replay
    ]
    soon = [one for one in soon if one.mask.any()]
    if len(soon) != 1 or soon[0].replaces:
        return None
    minutes = soon[0].rows["minute"]
    return soon[0] if minutes.min() == minutes.max() else None


def bars_so_far(closed: ClosedBars, fresh: Mask) -> ClosedRows:
    """Return the fresh bars that have prices, as a commit would put them into the histories. fresh: of each bar."""
    rows = closed.rows.compress(fresh)
    bound_extremes(rows)
    rows = rows.compress(has_prices(rows))
    bars = np.empty(len(rows), CLOSED_DTYPE)
    for name in CLOSED_DTYPE.names or ():
        bars[name] = rows[name]
    return bars


def found_now(found: Findings, now_s: float) -> Findings:
    """Return results with the time now_s, Unix seconds by Redis's clock, as the time of detection."""
    dated: dict[int, Detection] = {id(one): replace(one, detected_at=now_s) for one in (*found.new, *found.again)}
    return Findings(
        new=[dated[id(one)] for one in found.new],
        again=[dated[id(one)] for one in found.again],
        superseded=found.superseded,
        to_publish=[dated[id(one)] for one in found.to_publish],
    )
