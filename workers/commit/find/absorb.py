"""Puts the bars that a commit changes into the histories, and marks them and the bars that depend on them."""

import numpy as np
import structlog

from ....contracts.bar import has_prices
from ....contracts.detection import iso_minute
from ....contracts.ticks import Mask
from ....db.staged_rows import StagedRows
from ...detect.detector import NOT_LOADED, Detector
from ...marks import AFFECTED, NEW, NO_MARKS, REVISED, Marks, higher_marks, joined, marks_of
from ...partition.numbering import are_among
from ...partition.partition_state import PartitionState
from ...windows import CLOSED_DTYPE, ClosedRows
from ..plan import PartitionPlan
from .ahead import Ahead, Taken

log = structlog.get_logger()


def absorb(plan: PartitionPlan, rows: StagedRows, ahead: Ahead | None) -> Taken | None:
    """Put changed bars into the histories; mark them, and the higher bars that close with them.

    ahead: the bars that are in the histories already; those that are as they were then are only marked. Returns it with
    the symbols on which nothing has changed since.
    """
    state, taken = plan.state, None
    marks = [plan.marks]
    for feed, book in state.feeds.items():
        mine = rows.compress(rows["feed"] == feed.encode())
        priced = has_prices(mine)
        gone = _take_gone(plan, mine.compress(~priced), publish=book.publish)
        mine = mine.compress(priced)
        bars, revised = _staged_bars(state, mine), mine["revision"] > 0
        if ahead is not None and feed == ahead.feed:
            # A late trade of an earlier minute in this commit changes what is found on the bar, too.
            earlier = bars["symbol"].compress(bars["minute"] != ahead.minute)
            kept = ahead.are_kept(bars, plan.detector) & ~are_among(bars["symbol"], earlier)
            taken = Taken(ahead, bars["symbol"].compress(kept))
            ahead.take_back(np.setdiff1d(ahead.bars["symbol"], taken.unchanged), plan.detector)
            there = marks_of(bars["symbol"][kept], bars["minute"][kept], NEW, publish=book.publish)
            new = absorb_bars(plan.detector, bars.compress(~kept), revised[~kept], publish=book.publish)
            new = joined([there, new])
        else:
            new = absorb_bars(plan.detector, bars, revised, publish=book.publish)
        waiting = joined([book.waiting, higher_marks(joined([gone, new.compress(new["kind"] != AFFECTED)]))])
        due = book.due_higher(waiting, state.limits.lateness_ns)
        marks += [gone, new, waiting.compress(due)]
        plan.waiting[feed] = waiting.compress(~due)
    plan.marks = joined(marks)
    return taken


def absorb_bars(detector: Detector, bars: ClosedRows, revised: Mask, *, publish: bool) -> Marks:
    """Put bars into the histories; return the marks of them and of the bars that depend on them."""
    if not len(bars):
        return NO_MARKS
    marks = detector.absorb(bars, revised, publish=publish)
    if jumped := detector.jumped:
        first, minute = jumped[0]
        log.info("histories restarted: a split, or a long gap", symbols=len(jumped), first=first, at=iso_minute(minute))
    return marks


def marks_again(state: PartitionState, rows: StagedRows) -> Marks:
    """Mark bars whose values did not change, and the higher bars that they belong to."""
    codes = state.codes_of(symbol.decode() for symbol in rows["symbol"].tolist())
    minutes = marks_of(codes, rows["minute"], AFFECTED, publish=False)
    higher = higher_marks(minutes)
    higher["kind"] = AFFECTED
    return joined([minutes, higher])


def _take_gone(plan: PartitionPlan, rows: StagedRows, *, publish: bool) -> Marks:
    """Drop the histories of symbols with a bar that lost its last trade (a cancel), and mark its minute.

    So later bars, which depend on it, are detected again.
    """
    if not len(rows):
        return NO_MARKS
    codes = plan.state.codes_of(symbol.decode() for symbol in rows["symbol"].tolist())
    for code in codes.tolist():
        plan.detector.set_reach(code, NOT_LOADED)
    return marks_of(codes, rows["minute"], REVISED, publish=publish)


def _staged_bars(state: PartitionState, rows: StagedRows) -> ClosedRows:
    bars = np.empty(len(rows), CLOSED_DTYPE)
    for name in CLOSED_DTYPE.names or ():
        if name != "symbol":
            bars[name] = rows[name]
    bars["symbol"] = state.codes_of(symbol.decode() for symbol in rows["symbol"].tolist())
    return bars
