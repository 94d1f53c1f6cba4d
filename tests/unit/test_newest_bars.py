"""Which bars need no look whether they are stored."""

import pytest
from tickstockpl.workers.commit.newest_bars import NewestBars
from tickstockpl.workers.commit.plan import plan_partition

from .test_partition_state import Feed, apply, commit, new_state

NOW_S = 100.0


@pytest.fixture
def newest():
    return NewestBars()


def close(state, newest, feed, *ticks, at, note=True):
    """Close the bars of these ticks; return which of them are fresh."""
    apply(state, feed.body(*ticks, born=at), at=at)
    plan = plan_partition(state, 1)
    fresh = newest.are_fresh([plan], NOW_S).tolist()
    if note:
        newest.note([plan])
    commit(state)
    return fresh


def test_a_bar_is_fresh_after_an_earlier_one_of_its_symbol_and_a_late_trade_is_not(newest):
    state, feed = new_state(), Feed()
    assert close(state, newest, feed, ("A", 1, 10, 1), at=61) == [False]
    assert close(state, newest, feed, ("A", 61, 10, 1), ("B", 61, 10, 1), at=121) == [True, False]
    assert close(state, newest, feed, ("A", 62, 10, 1), ("B", 121, 10, 1), at=181) == [False, True]


def test_a_commit_that_is_not_durable_makes_nothing_fresh(newest):
    state, feed = new_state(), Feed()
    assert close(state, newest, feed, ("A", 1, 10, 1), at=61, note=False) == [False]
    assert close(state, newest, feed, ("A", 61, 10, 1), at=121) == [False]


def test_after_bars_of_another_writer_all_are_looked_up_for_an_hour(newest):
    state, feed = new_state(), Feed()
    close(state, newest, feed, ("A", 1, 10, 1), at=61)
    newest.doubt([0], NOW_S - 3599)
    assert close(state, newest, feed, ("A", 61, 10, 1), at=121) == [False]
    newest.doubt([0], NOW_S - 3600)
    assert close(state, newest, feed, ("A", 121, 10, 1), at=181) == [True]


def test_a_replay_is_always_compared(newest):
    state, live, replay = new_state(), Feed(), Feed("r", "r")
    close(state, newest, live, ("A", 1, 10, 1), at=61)
    assert close(state, newest, replay, ("A", 61, 10, 1), ("A", 121, 10, 1), at=200) == [False]


def test_a_partition_that_comes_back_begins_without(newest):
    state, feed = new_state(), Feed()
    close(state, newest, feed, ("A", 1, 10, 1), at=61)
    newest.leave(0)
    assert close(state, newest, feed, ("A", 61, 10, 1), at=121) == [False]
