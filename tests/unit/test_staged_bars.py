import numpy as np
import pytest
from tickstockpl.contracts.bar import NO_CLOSE_TS, NO_OPEN_TS
from tickstockpl.db.staged_rows import STAGED_DTYPE, TableShape
from tickstockpl.workers.commit.staged_bars import losers_within_commit, resolve

OURS = TableShape(6, 6, 1e12, 1e14, has_detail=False)
THEIRS = TableShape(4, 0, 1e6, 2.0**63, has_detail=True)  # numeric(10,4) and bigint
VALUES = ("open", "high", "low", "close", "volume_micro", "notional", "trades", "open_ts", "close_ts")


def bar(
    number=0, *, feed="live", replay=False, whole=False, revision=0, times=(10, 20), values=(5, 8, 4, 6, 3e6, 18, 3)
):
    """values: open, high, low, close, volume in millionths, notional, trades; times: of the first and last trade."""
    row = np.zeros(1, STAGED_DTYPE)
    row["row_number"], row["partition"], row["symbol"], row["minute"] = number, 0, b"A", 100 + number
    row["feed"], row["replay"], row["whole"], row["revision"] = feed.encode(), replay, whole, revision
    for name, value in zip(VALUES, (*values, *times), strict=True):
        row[name] = value
    return row


def resolved(mine, *standing, shape=OURS):
    """Return what is written, whether it is superseded, and whether it is told."""
    outcome = resolve(mine, np.concatenate(standing) if standing else mine[:0], shape)
    written = [tuple(row[name].item() for name in VALUES) for row in outcome.rows]
    return written, outcome.rows["revision"].tolist(), outcome.superseded.tolist(), outcome.changed.tolist()


def test_where_nothing_stands_a_bar_is_written_as_it_is_and_told():
    assert resolved(bar()) == ([(5, 8, 4, 6, 3e6, 18, 3, 10, 20)], [0], [False], [True])
    assert not resolve(bar(), bar()[:0], OURS).compared


def test_later_ticks_of_the_same_feed_move_the_close_and_add_up():
    late = bar(times=(30, 40), values=(7, 9, 7, 9, 1e6, 8, 1))
    assert resolved(late, bar()) == ([(5, 9, 4, 9, 4e6, 26, 4, 10, 40)], [1], [False], [True])


def test_earlier_ticks_of_the_same_feed_move_the_open():
    late = bar(times=(1, 2), values=(7, 7, 3, 3, 1e6, 5, 2))
    assert resolved(late, bar(revision=4)) == ([(7, 8, 3, 6, 4e6, 23, 5, 1, 20)], [5], [False], [True])


def test_at_one_instant_what_stands_arrived_first():
    late = bar(times=(10, 20), values=(7, 7, 7, 7, 1e6, 7, 1))
    ((opened, _, _, closed, *_),), *_ = resolved(late, bar())
    assert (opened, closed) == (5, 7)


def test_whole_minutes_of_one_feed_replace_each_other():
    again = bar(feed="live.AM", whole=True, values=(1, 2, 1, 2, 5e6, 9, 1), times=(10, 10))
    standing = bar(feed="live.AM", whole=True, revision=2)
    assert resolved(again, standing) == ([(1, 2, 1, 2, 5e6, 9, 1, 10, 10)], [3], [False], [True])


@pytest.mark.parametrize(
    "standing", [bar(feed="replay-1", replay=True), bar(feed="another"), bar(feed="live.AM", whole=True)]
)
def test_a_live_bar_where_another_feed_wrote_is_superseded(standing):
    _, _, superseded, _ = resolved(bar(), standing)
    assert superseded == [True]


@pytest.mark.parametrize("feed", ["live", "replay-1", "live.AM"])
def test_a_replay_replaces_what_another_feed_wrote(feed):
    mine = bar(feed="replay-2", replay=True, values=(1, 2, 1, 2, 1e6, 9, 1), times=(50, 60))
    standing = bar(feed=feed, replay=feed == "replay-1", revision=1)
    assert resolved(mine, standing) == ([(1, 2, 1, 2, 1e6, 9, 1, 50, 60)], [2], [False], [True])


def test_a_replay_that_says_the_same_changes_nothing_and_is_not_told():
    mine = bar(feed="replay-2", replay=True)
    assert resolved(mine, bar(feed="replay-1", replay=True, revision=1)) == (
        [(5, 8, 4, 6, 3e6, 18, 3, 10, 20)], [1], [False], [False],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("shape", "values", "differs"),
    [
        (OURS, (5.0000004, 8, 4, 6, 3e6, 18, 3), False),
        (OURS, (5.000001, 8, 4, 6, 3e6, 18, 3), True),
        (THEIRS, (5.00004, 8, 4, 6, 3e6, 18, 3), False),
        (THEIRS, (5.0001, 8, 4, 6, 3e6, 18, 3), True),
        (THEIRS, (5, 8, 4, 6, 3.4e6, 18, 3), False),
        (OURS, (5, 8, 4, 6, 3.4e6, 18, 3), True),
        (OURS, (5, 8, 4, 6, 3e6, 18.5, 3), False),  # the sum behind vwap depends on the order
        (OURS, (5, 8, 4, 6, 3e6, 18, 4), True),
    ],
)
def test_values_are_compared_as_the_table_stores_them(shape, values, differs):
    mine = bar(feed="replay-2", replay=True, values=values)
    _, (revision,), _, (changed,) = resolved(mine, bar(feed="replay-1", replay=True), shape=shape)
    assert (revision, changed) == (int(differs), differs)


def test_the_revision_stays_within_its_column():
    late = bar(times=(30, 40), values=(7, 9, 7, 9, 1e6, 8, 1))
    _, revision, _, _ = resolved(late, bar(revision=32_767))
    assert revision == [32_767]


def test_each_bar_is_compared_with_the_one_at_its_own_place():
    mine = np.concatenate([bar(0), bar(1), bar(2)])
    written, revisions, superseded, changed = resolved(mine, bar(2, feed="another"), bar(1, revision=7, times=(1, 2)))
    assert [row[-4:] for row in written[:2]] == [(18, 3, 10, 20), (36, 6, 1, 20)]
    assert (revisions[:2], superseded, changed[:2]) == ([0, 8], [False, False, True], [True, True])


def test_of_two_live_feeds_with_one_bar_in_a_commit_the_first_is_written():
    rows = np.concatenate([bar(feed="live"), bar(feed="other"), bar(1, feed="live")])
    assert losers_within_commit(rows, np.zeros(3, bool)).tolist() == [False, True, False]


def test_a_replays_bar_outruns_a_live_one_of_the_same_commit():
    rows = np.concatenate([bar(feed="live"), bar(feed="day", replay=True)])
    assert losers_within_commit(rows, np.zeros(2, bool)).tolist() == [True, False]


@pytest.mark.parametrize("replay_first", [True, False])
def test_a_replays_bar_outruns_a_repair_of_the_same_commit(replay_first):
    rows = [bar(feed="repair.AM", replay=True, whole=True), bar(feed="replay-1", replay=True)]
    rows = np.concatenate(rows[::-1] if replay_first else rows)
    assert losers_within_commit(rows, np.zeros(2, bool)).tolist() == [not replay_first, replay_first]


def test_a_bar_that_is_superseded_by_what_stands_outruns_no_other():
    rows = np.concatenate([bar(feed="live"), bar(feed="other")])
    assert losers_within_commit(rows, np.array([True, False])).tolist() == [True, False]


NAN = float("nan")
NO_PRICES = (NAN, -float("inf"), float("inf"), NAN, 2e6, 10, 2)
NO_TIMES = (NO_OPEN_TS, NO_CLOSE_TS)


def test_a_first_price_makes_a_bar_of_a_volume_only_minute_with_all_its_volume():
    odd_lots = bar(values=NO_PRICES, times=NO_TIMES)
    assert resolved(bar(), odd_lots) == ([(5, 8, 4, 6, 5e6, 28, 5, 10, 20)], [0], [False], [True])


def test_odd_lots_of_a_minute_that_has_a_bar_add_their_volume():
    odd_lots = bar(values=NO_PRICES, times=NO_TIMES)
    assert resolved(odd_lots, bar()) == ([(5, 8, 4, 6, 5e6, 28, 5, 10, 20)], [1], [False], [True])


def test_more_odd_lots_of_a_minute_without_a_bar_are_told_of_nowhere():
    odd_lots = bar(values=NO_PRICES, times=NO_TIMES)
    outcome = resolve(odd_lots, odd_lots, OURS)
    assert (outcome.rows["revision"].tolist(), outcome.changed.tolist()) == ([0], [False])


def test_the_revision_of_a_bar_that_lost_all_its_trades_is_counted_on():
    gone = bar(values=NO_PRICES, times=NO_TIMES, revision=1)
    assert resolve(bar(), gone, OURS).rows["revision"].tolist() == [2]
