"""What a live feed tells of the time before it was heard: its first minute, and the time since it last ran."""

from datetime import UTC, datetime

import numpy as np
import pytest
from tickstockpl.contracts.gap_reasons import ADDED, NOT_RUNNING, STARTED
from tickstockpl.contracts.market_hours import is_traded
from tickstockpl.contracts.ticks import Ticks
from tickstockpl.ops.wiring.live_start import Start

A_TICK = Ticks(("AAPL",), np.zeros(1, "<u2"), np.array([1]), np.array([1.0]), np.array([1.0]))


def ms(text):
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


class Scripted:
    """A source that is connected from its second turn on, and has a tick in its third."""

    is_connected = False

    def __iter__(self):
        yield None
        self.is_connected = True
        yield None
        yield A_TICK


def gaps_of_start(now, *, since=None, whole_minutes=False):
    told = []
    start = Start(
        since and ms(since), lambda: ms(now), lambda *gap: told.append(gap), is_traded=is_traded
    )  # fmt: skip
    assert len(list(start.passed_on(Scripted(), whole_minutes=whole_minutes))) == 3
    return told


def test_who_starts_within_a_minute_of_the_market_tells_that_minute_once():
    now = "2026-03-02T15:00:20"
    assert gaps_of_start(now) == [(ms(now), ms("2026-03-02T15:00:23"), None, STARTED)]


@pytest.mark.parametrize(
    "now",
    [
        "2026-03-02T08:59:56",  # 03:59:56 in New York: the first trade comes at 04:00
        "2026-03-03T01:00:00",  # 20:00:00: the last one was before
        "2026-03-01T15:00:20",  # a Sunday
        "2026-04-03T15:00:20",  # Good Friday
    ],
)
def test_who_starts_while_nobody_trades_missed_nothing(now):
    assert gaps_of_start(now) == []


def test_a_clock_behind_that_of_the_trades_is_allowed_for_at_the_first_trade():
    assert gaps_of_start("2026-03-02T08:59:58") == [
        (ms("2026-03-02T08:59:58"), ms("2026-03-02T09:00:01"), None, STARTED)
    ]


def test_a_feed_of_whole_minutes_has_no_partial_one():
    assert gaps_of_start("2026-03-02T15:00:20", whole_minutes=True) == []


def test_a_feed_that_ran_before_missed_the_time_between():
    told = gaps_of_start("2026-03-02T15:00:20", since="2026-03-02T14:55:00")
    assert told == [(ms("2026-03-02T14:55:00"), ms("2026-03-02T15:00:23"), None, NOT_RUNNING)]


def test_symbols_that_are_added_within_a_minute_are_told_with_it():
    told = []
    start = Start(None, lambda: ms("2026-03-02T15:00:20"), lambda *gap: told.append(gap), is_traded=is_traded)
    start.note_added(["MSFT"])
    assert told == [(ms("2026-03-02T15:00:20"), ms("2026-03-02T15:00:23"), ["MSFT"], ADDED)]
