"""Puts the bars that a commit changes into the histories, and marks them and the bars that depend on them."""

import numpy as np
import structlog

from ....contracts.bar import has_prices
from ....contracts.detection import iso_minute
from ....contracts.ticks import Mask
from ....db.staged_rows import StagedRows
from ...detect.detector import NOT_LOADED, Detector
from ...history import CLOSED_DTYPE, ClosedRows
from ...marks import AFFECTED, NEW, NO_MARKS, REVISED, Marks, higher_marks, joined, marks_of
from ...partition.numbering import are_among
from ...partition.partition_state import PartitionState
from ..plan import PartitionPlan
from .ahead import Ahead, Taken

log = structlog.get_logger()


def take_unchanged(ahead: Ahead, plan: PartitionPlan, rows: StagedRows, changed: Mask) -> Taken:
    """Choose the symbols of which a plan writes nothing but the bar that is in the histories already, as it was then.

    Takes the bars of all others back. rows: all staged bars of the plan. Any other bar of a symbol, of whatever feed,
    changes what is found on this one.
    """
    here = changed & (rows["feed"] == ahead.feed.encode()) & (rows["minute"] == ahead.minute)
    here &= has_prices(rows) & (rows["revision"] == 0)
    bars = _staged_bars(plan.state, rows)
    mine, others = bars.compress(here), bars["symbol"].compress(~here)
    is_kept = ahead.are_kept(mine, plan.detector) & ~are_among(mine["symbol"], others)
    taken = Taken(ahead, mine["symbol"].compress(is_kept))
    ahead.take_back(np.setdiff1d(ahead.bars["symbol"], taken.unchanged), plan.detector)
    return taken


def absorb(plan: PartitionPlan, rows: StagedRows, taken: Taken | None) -> None:
    """Put changed bars into the histories; mark them, and the higher bars that close with them.

    taken: bars that are in the histories already; they are only marked.
    """
    state = plan.state
    marks = [plan.marks]
    for feed, book in state.feeds.items():
        mine = rows.compress(rows["feed"] == feed.encode())
        priced = has_prices(mine)
        gone = _take_gone(plan, mine.compress(~priced), publish=book.publish)
        mine = mine.compress(priced)
        bars, revised = _staged_bars(state, mine), mine["revision"] > 0
        if taken is not None and feed == taken.ahead.feed:
            kept = are_among(bars["symbol"], taken.unchanged)
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
