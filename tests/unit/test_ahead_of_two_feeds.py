"""Bars in the histories before their close, where another feed has bars of the same symbols."""

import numpy as np
import pytest
from tickstockpl.workers.commit.find.absorb import absorb, absorb_bars, take_unchanged
from tickstockpl.workers.commit.find.ahead import Ahead, bars_so_far
from tickstockpl.workers.commit.plan import Findings, plan_partition, stage_rows
from tickstockpl.workers.detect.definition import Definitions
from tickstockpl.workers.detect.detector import COMPLETE, Detector
from tickstockpl.workers.marks import NO_MARKS, higher_marks
from tickstockpl.workers.partition.feed_bars import ClosedBars
from tickstockpl.workers.sessions import ALL_MINUTES

from .test_partition_state import Feed, M, apply, new_state

LIVE, WHOLE = b"live", b"live.AM"


class Looked:
    """A partition that looked ahead at the bars of A and B of minute 1, and then got a whole minute of A."""

    def __init__(self, *, whole_minute):
        self.state, self.feed = new_state(), Feed()
        early = self.feed.body(("A", -59, 9, 1), born=1, whole=True)  # so the whole minutes come first among the feeds
        apply(self.state, early, self.feed.body(("A", 61, 10, 1), ("B", 61, 20, 1), born=61), at=61)
        self.state.feeds[WHOLE.decode()].bars = self.state.feeds[WHOLE.decode()].bars[:0]
        self.detector = Detector(self.state.symbols)
        for code in range(2):
            self.detector.set_reach(code, COMPLETE)
        book = self.state.feeds[LIVE.decode()]
        closed = ClosedBars(LIVE.decode(), book, np.ones(2, bool))
        bars = bars_so_far(closed, np.ones(2, bool))
        marks = absorb_bars(self.detector, bars, np.zeros(2, bool), publish=True)
        waiting = (NO_MARKS, higher_marks(marks))
        self.ahead = Ahead(self.state, closed.feed, closed.rows, bars, marks, Findings(), Definitions(), waiting)
        whole = self.feed.body(("A", 60 * whole_minute, 12, 5), born=121, whole=True)
        apply(self.state, whole, at=121)

    def close(self, written):
        """Close all bars; `written` tells which of them are written. Return the symbols that need no detector."""
        plan = plan_partition(self.state, 1)
        plan.detector = self.detector
        rows = stage_rows([plan])
        rows = rows.compress([written(row) for row in rows])
        taken = take_unchanged(self.ahead, plan, rows, np.ones(len(rows), bool))
        absorb(plan, rows, taken)
        return [self.state.symbols[code] for code in taken.unchanged.tolist()]

    def held(self, symbol):
        """Return (minutes after M, close) of a symbol's bars in its history."""
        bars = self.detector.histories[ALL_MINUTES].bars(self.state.symbols.index(symbol))
        return [(int(bar["minute"]) - M, float(bar["close"])) for bar in bars]


def test_a_bar_of_the_minute_before_changes_what_was_found():
    looked = Looked(whole_minute=0)
    assert looked.close(lambda _: True) == ["B"]
    assert looked.held("A") == [(0, 12.0), (1, 10.0)]
    assert looked.held("B") == [(1, 20.0)]


def test_a_bar_of_the_same_minute_that_wins_stays_in_the_history():
    looked = Looked(whole_minute=1)
    assert looked.close(lambda row: row["feed"] == WHOLE or row["symbol"] == b"B") == ["B"]
    assert looked.held("A") == [(1, 12.0)]


def test_a_bar_that_took_the_place_in_a_commit_before_stays_in_the_history():
    looked = Looked(whole_minute=1)
    code = looked.state.symbols.index("A")
    looked.ahead.take_back(np.array([code]), looked.detector)
    won = looked.ahead.bars[looked.ahead.bars["symbol"] == code].copy()
    won["close"] = 12.0
    absorb_bars(looked.detector, won, np.zeros(1, bool), publish=True)
    assert looked.close(lambda row: row["symbol"] == b"B") == ["B"]
    assert looked.held("A") == [(1, 12.0)]


@pytest.mark.parametrize("minute", [0, 1])
def test_a_bar_is_later_only_after_the_last_one_in_the_history(minute):
    looked = Looked(whole_minute=1)
    bars = looked.ahead.bars.copy()
    bars["minute"] = M + 1 + minute
    assert looked.detector.are_later(bars).tolist() == [minute == 1] * 2
