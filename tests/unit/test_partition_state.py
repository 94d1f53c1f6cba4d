import msgspec
import numpy as np
import pytest
import zstandard
from tickstockpl.contracts.frames.frame import decode, encode
from tickstockpl.contracts.frames.maker import Identity, make_frame
from tickstockpl.contracts.gap import Hole
from tickstockpl.contracts.lease import Lease
from tickstockpl.contracts.partition import START, Position
from tickstockpl.contracts.ticks import Refused, Ticks
from tickstockpl.workers.marks import AFFECTED, NEW, NO_MARKS, PATTERNS, marks_of
from tickstockpl.workers.partition.partition_state import Held, PartitionState
from tickstockpl.workers.partition.tick_check import Limits
from tickstockpl.workers.partition.uncommitted import Counts
from tickstockpl.workers.steady_clock import Reading

M = 29_000_000  # a minute of 2025
START_S = M * 60
SECOND = 1_000_000_000
LATENESS_S = 0.5


def new_state(saved=None, position=START):
    state = PartitionState(Held(0, Lease("partition:0", 1), 7), position=position, limits=Limits())
    state.load(saved)
    return state


class Feed:
    """A producer of frames, numbered, for one state. Times are seconds after minute M."""

    def __init__(self, producer="p", feed="live", *, delay_ms=0):
        self.identity = Identity(producer, feed, "replay" if producer == feed else "live", delay_ms=delay_ms)
        self.number = 0

    def body(self, *ticks, born, kind=None, whole=False, refused=()):
        """ticks: (symbol, seconds, price, size)."""
        symbols = sorted({tick[0] for tick in ticks})
        columns = [np.array([tick[i] for tick in ticks], "<f8") for i in (1, 2, 3)]
        ts = START_S * SECOND + (columns[0] * SECOND).astype("<i8")
        codes = np.array([symbols.index(tick[0]) for tick in ticks], "<u2")
        optional = {"whole_minute": np.ones(len(ts), "<u1")} if whole else {}
        previous = self.number
        self.number += len(ticks) + len(refused) + (kind == "end")
        made = Ticks(symbols, codes, ts, columns[1], columns[2], optional, refused)
        born_ms = int((START_S + born) * 1000)
        return make_frame(self.identity, made, kind or self.identity.kind, previous, self.number, born_ms)


def apply(state, *bodies, at, now=0.0, finished=None, read_at=None):
    """Apply frames that came at a time by Redis's clock; now: the worker's monotonic time, in seconds.

    read_at: when they were read by Redis's clock; None: at once.
    """
    entries = [(f"{int((START_S + at) * 1000)}-{i}".encode(), body) for i, body in enumerate(bodies)]
    read = Reading(int((START_S + (at if read_at is None else read_at)) * 1000))
    state.apply(entries, read=read, now_ns=int(now * SECOND), finished=(finished or {}).get)


def closed(state):
    """Return (feed, symbol, minutes after M, open, close, trades) of each closed bar."""
    names = ("open", "close", "trades")
    return [
        (bars.feed, state.symbols[bar["symbol"]], int(bar["minute"]) - M, *(bar[name].item() for name in names))
        for bars in state.closed()
        for bar in bars.rows
    ]  # fmt: skip


def numbers(state):
    return {producer: flow.number for producer, flow in state.flows.items()}


def commit(state):
    return state.committed(state.safe_position, state.closed(), NO_MARKS, {}, held=state.held)


def saved_after_commit(state, marks=NO_MARKS, waiting=None):
    return state.save(state.closed(), marks, waiting or {})


def test_a_live_bar_closes_when_the_clock_has_passed_its_end_and_the_lateness():
    state, feed = new_state(), Feed()
    apply(state, feed.body(("A", 1, 10, 1), born=1), at=1)
    apply(state, feed.body(("A", 60, 11, 1), born=60.499), at=60.499)
    assert closed(state) == []
    apply(state, feed.body(("A", 60.2, 12, 1), born=60.5), at=60.5)
    assert closed(state) == [("live", "A", 0, 10, 10, 1)]


def test_a_bar_closes_by_the_clock_though_its_symbol_is_silent():
    state, feed = new_state(), Feed()
    apply(state, feed.body(("A", 1, 10, 1), born=1), at=1, now=100)
    state.tick_clocks(int((100 + 59.4) * SECOND))
    assert closed(state) == []
    state.tick_clocks(int((100 + 59.5) * SECOND))
    assert closed(state) == [("live", "A", 0, 10, 10, 1)]


def test_a_frame_that_waited_for_its_read_counts_from_when_it_was_added():
    state, feed = new_state(), Feed()
    state.tick_clocks(100 * SECOND)
    apply(state, feed.body(("A", 1, 10, 1), born=1), at=1, read_at=1.021, now=101)
    state.tick_clocks(160_479 * SECOND // 1000)  # ids and TIME are whole milliseconds: it waited 20 ms at least
    assert closed(state) == []
    state.tick_clocks(160_480 * SECOND // 1000)
    assert closed(state) == [("live", "A", 0, 10, 10, 1)]


def test_a_frame_was_not_added_before_the_last_read_that_ended_the_stream_whatever_its_id_says():
    state, feed = new_state(), Feed()
    state.tick_clocks(100 * SECOND)
    apply(state, feed.body(("A", 1, 10, 1), born=1), at=1, read_at=50, now=101)
    state.tick_clocks(159_499 * SECOND // 1000)
    assert closed(state) == []
    state.tick_clocks(159_500 * SECOND // 1000)
    assert closed(state) == [("live", "A", 0, 10, 10, 1)]


def test_the_time_until_the_next_close_is_that_of_the_earliest_bar_and_none_that_a_clock_does_not_close():
    state, feed, replay = new_state(), Feed(), Feed("r", "r")
    apply(state, replay.body(("A", 1, 10, 1), born=1), at=1, now=100)
    assert state.until_close_ns(int(100 * SECOND)) > 10**9 * SECOND
    apply(state, feed.body(("A", 1, 10, 1), ("B", 61, 10, 1), born=2), at=2, now=101)
    assert state.until_close_ns(int(102 * SECOND)) == int(57.5 * SECOND)
    assert state.until_close_ns(int(160 * SECOND)) == int(-0.5 * SECOND)
    held_behind_a_hole(state, at=30)
    assert state.until_close_ns(int(160 * SECOND)) > 10**9 * SECOND


def test_the_time_until_the_next_close_is_also_that_of_a_longer_bar_whose_minutes_are_closed():
    state, feed = new_state(), Feed()
    apply(state, feed.body(("A", 1, 10, 1), born=1), at=1, now=100)
    waiting = marks_of(np.array([0]), np.array([M]), NEW, publish=True)
    waiting["timeframe"] = 5
    state.committed(state.safe_position, state.closed(), NO_MARKS, {"live": waiting}, held=state.held)
    state.feeds["live"].bars = state.feeds["live"].bars[:0]
    assert state.until_close_ns(int(100 * SECOND)) == int((300 - 1 + LATENESS_S) * SECOND)


def test_a_bar_closes_by_the_clock_of_another_symbols_frames():
    state, feed = new_state(), Feed()
    apply(state, feed.body(("A", 1, 10, 1), born=1), feed.body(("B", 70, 20, 1), born=70), at=70)
    assert closed(state) == [("live", "A", 0, 10, 10, 1)]


def test_the_clock_stands_still_without_empty_reads():
    state, feed = new_state(), Feed()
    apply(state, feed.body(("A", 1, 10, 1), born=1), at=1, now=100)
    apply(state, feed.body(("A", 2, 11, 1), born=2), at=2, now=900)
    assert closed(state) == []


@pytest.mark.parametrize(("born", "at"), [(1, 90), (90, 1)])
def test_the_clock_is_the_smaller_of_birth_and_entry_id(born, at):
    state, feed = new_state(), Feed()
    apply(state, feed.body(("A", 1, 10, 1), born=born), at=at)
    assert closed(state) == []


@pytest.mark.parametrize("off_s", [-3600, 3600])
def test_a_workers_own_clock_an_hour_off_changes_nothing(off_s):
    state, feed = new_state(), Feed()
    apply(state, feed.body(("A", 1, 10, 1), born=1), at=1, now=10_000 + off_s)
    state.tick_clocks(int((10_000 + off_s + 59) * SECOND))
    assert closed(state) == []
    state.tick_clocks(int((10_000 + off_s + 60) * SECOND))
    assert closed(state) == [("live", "A", 0, 10, 10, 1)]


def test_a_producers_birth_an_hour_ahead_closes_nothing_early():
    state, feed = new_state(), Feed()
    apply(state, feed.body(("A", 1, 10, 1), born=3601), at=1)
    assert closed(state) == []


def test_a_tick_from_the_future_within_its_bound_closes_nothing():
    state, feed = new_state(), Feed()
    apply(state, feed.body(("A", 1, 10, 1), ("A", 600, 11, 1), born=1), at=1)
    assert closed(state) == []


def test_the_clock_never_goes_back():
    state, feed = new_state(), Feed()
    apply(state, feed.body(("A", 1, 10, 1), born=61), at=61)
    commit(state)
    apply(state, feed.body(("A", 59, 11, 1), born=2), at=62)
    assert closed(state) == [("live", "A", 0, 11, 11, 1)]


def test_a_delayed_feed_has_a_clock_that_runs_behind():
    state, feed = new_state(), Feed(delay_ms=900_000)
    apply(state, feed.body(("A", 1, 10, 1), born=950), at=950)
    assert closed(state) == []
    apply(state, feed.body(("A", 61, 10, 1), born=961), at=961)
    assert closed(state) == [("live", "A", 0, 10, 10, 1)]


@pytest.mark.parametrize(("born", "at"), [(3600, 3600), (3600, 2), (2, 3600), (250 * 86_400, 250 * 86_400)])
def test_no_birth_and_no_id_carries_the_clock_beyond_the_time_of_the_read(born, at):
    state, feed = new_state(), Feed()
    apply(state, feed.body(("A", 1, 10, 1), born=born), at=at, read_at=2)
    state.tick_clocks(int(58.4 * SECOND))  # 60.4 s, as far as anybody knows
    assert closed(state) == []
    state.tick_clocks(int(58.5 * SECOND))
    assert closed(state) == [("live", "A", 0, 10.0, 10.0, 1)]


def test_a_tick_of_the_future_is_held_against_the_read_whatever_its_frame_says():
    state, feed = new_state(), Feed()
    apply(state, feed.body(("A", 901, 10, 1), ("A", 903, 11, 1), born=3600), at=3600, read_at=2)
    assert state.uncommitted.counts["p"] == Counts(ticks_in=2, applied=1, future=1)


def test_a_tick_of_now_is_not_too_late_because_its_frame_says_that_it_is_born_later():
    state, feed = new_state(), Feed()
    apply(state, feed.body(("A", 1, 10, 1), born=3600), at=3600, read_at=2)
    assert state.uncommitted.counts["p"] == Counts(ticks_in=1, applied=1)


def test_a_hole_behind_an_id_of_the_future_is_given_up_in_time():
    state, feed = new_state(), Feed()
    feed.body(("A", 1, 10, 1), born=1)  # lost
    apply(state, feed.body(("A", 2, 11, 1), born=2), at=10**9, read_at=2)
    ms = (START_S + 2) * 1000
    assert state.give_up_holes(ms + 10_000, hole_wait_ms=10_000, now_ns=0) == []
    assert state.give_up_holes(ms + 10_001, hole_wait_ms=10_000, now_ns=0) == [("p", (0, 1))]


@pytest.mark.parametrize("together", [True, False])
def test_the_front_door_does_not_carry_a_delayed_feeds_clock_ahead(together):
    state, feed, door = new_state(), Feed(delay_ms=900_000), Feed("front-door")
    bodies = [feed.body(("A", 1, 10, 1), born=901), door.body(("B", 900, 20, 1), born=902)]
    if together:
        apply(state, *bodies, at=902)
    else:
        apply(state, bodies[0], at=901)
        state = new_state(saved_after_commit(state))
        apply(state, bodies[1], at=902)
    assert closed(state) == []
    apply(state, door.body(("B", 901, 20, 1), born=961), at=961)
    assert closed(state) == [("live", "A", 0, 10, 10, 1)]


def held_behind_a_hole(state, at):
    """Let a producer's frame arrive whose predecessor is missing; return the missing one."""
    other = Feed("other")
    missing = other.body(("A", 2, 11, 1), born=at)
    apply(state, other.body(("A", 3, 12, 1), born=at), at=at)
    return missing


def test_the_clock_does_not_advance_past_a_held_frame():
    state, feed = new_state(), Feed()
    apply(state, feed.body(("A", 1, 10, 1), born=1), at=1, now=100)
    missing = held_behind_a_hole(state, at=30)
    state.tick_clocks(int((100 + 600) * SECOND))
    assert closed(state) == []
    apply(state, missing, at=31, now=701)
    state.tick_clocks(int((701 + 30.5) * SECOND))
    assert closed(state) == [("live", "A", 0, 10, 12, 3)]


def test_another_producers_frames_do_not_move_the_clock_past_a_held_frame():
    state, feed = new_state(), Feed()
    apply(state, feed.body(("A", 1, 10, 1), born=1), at=1)
    missing = held_behind_a_hole(state, at=30)
    apply(state, feed.body(("A", 90, 13, 1), born=90), at=90)
    assert closed(state) == []
    apply(state, missing, feed.body(("A", 91, 14, 1), born=91), at=91)
    assert closed(state) == [("live", "A", 0, 10, 12, 3)]


def test_a_replays_held_frame_does_not_stop_the_live_clock():
    state, live, replay = new_state(), Feed(), Feed("r", "r")
    replay.body(("A", 2, 11, 1), born=5)
    apply(state, live.body(("A", 1, 10, 1), born=1), replay.body(("A", 3, 12, 1), born=5), at=5, now=100)
    state.tick_clocks(int((100 + 60) * SECOND))
    assert closed(state) == [("live", "A", 0, 10, 10, 1)]


def test_the_position_stays_below_a_held_frame_and_only_what_is_below_it_is_acked():
    state, feed = new_state(), Feed()
    apply(state, feed.body(("A", 1, 10, 1), born=1), at=1)
    held_behind_a_hole(state, at=30)
    ms = (START_S + 30) * 1000
    assert state.safe_position == Position(ms - 1, 2**64 - 1)
    assert commit(state) == [f"{(START_S + 1) * 1000}-0".encode()]
    assert state.uncommitted.unacked == [f"{ms}-0".encode()]


def test_a_hole_is_lost_after_the_wait_and_counted():
    state = new_state()
    held_behind_a_hole(state, at=30)
    ms = (START_S + 30) * 1000
    assert state.give_up_holes(ms + 10_000, hole_wait_ms=10_000, now_ns=0) == []
    assert state.give_up_holes(ms + 10_001, hole_wait_ms=10_000, now_ns=0) == [("other", (0, 1))]
    assert state.uncommitted.counts["other"] == Counts(ticks_in=2, applied=1, lost=1)


def test_a_lost_frame_that_comes_after_all_is_applied_once_and_no_longer_lost():
    state = new_state()
    missing = held_behind_a_hole(state, at=30)
    state.give_up_holes((START_S + 60) * 1000, hole_wait_ms=10_000, now_ns=0)
    apply(state, missing, missing, at=50)
    assert state.uncommitted.counts["other"] == Counts(ticks_in=2, applied=2, lost=0)


def test_a_replays_hole_is_never_lost():
    state, replay = new_state(), Feed("r", "r")
    replay.body(("A", 2, 11, 1), born=5)
    apply(state, replay.body(("A", 3, 12, 1), born=5), at=5)
    assert state.give_up_holes((START_S + 9_999) * 1000, hole_wait_ms=10_000, now_ns=0) == []


def test_a_late_tick_makes_the_bar_of_its_minute_again():
    state, feed = new_state(), Feed()
    apply(state, feed.body(("A", 1, 10, 1), born=61), at=61)
    commit(state)
    apply(state, feed.body(("A", 30, 11, 1), ("C", 30, 5, 1), born=70), at=70)
    assert closed(state) == [("live", "A", 0, 11, 11, 1), ("live", "C", 0, 5, 5, 1)]


def test_ticks_that_touch_no_bar_are_counted_by_their_outcome():
    state, feed = new_state(), Feed()
    refused = [Refused("not_json", "", b"{")]
    ticks = [("A", 1, 10, 1), ("A", 1, 10, 0), ("A", 1, -1, 1), ("A", 2000, 10, 1), ("A", -900.5, 10, 1)]
    apply(state, feed.body(*ticks, born=1, refused=refused), at=1)
    assert state.uncommitted.counts["p"] == Counts(
        ticks_in=6, applied=1, quote_or_zero=1, refused=2, future=1, too_late=1
    )
    assert sorted(letter.refused.reason for letter in state.uncommitted.dead_letters) == [
        "future",
        "not_json",
        "price",
        "too_late",
    ]


def test_a_repeated_frame_changes_nothing_and_is_no_tick_in():
    state, feed = new_state(), Feed()
    body = feed.body(("A", 1, 10, 1), ("A", 2, 10, 1), born=1)
    apply(state, body, body, at=1)
    assert state.uncommitted.counts["p"] == Counts(ticks_in=2, applied=2)
    assert state.uncommitted.repeats == 2


def test_two_producers_of_one_feed_fill_one_bar():
    state, one, two = new_state(), Feed("one"), Feed("two")
    apply(state, one.body(("A", 2, 10, 1), born=2), two.body(("A", 1, 9, 1), born=2), at=61)
    state.tick_clocks(0)
    state.tick_clocks(59 * SECOND)
    assert closed(state) == [("live", "A", 0, 9, 10, 2)]


def test_whole_minutes_are_a_feed_beside_and_the_last_one_is_the_minute():
    state, feed = new_state(), Feed()
    apply(
        state, feed.body(("A", 0, 10, 5), born=61, whole=True), feed.body(("A", 0, 11, 7), born=61, whole=True), at=61
    )
    assert closed(state) == [("live.AM", "A", 0, 11, 11, 1)]


# -- replays -------------------------------------------------------------------------------------------------------


def test_a_replayed_bar_closes_by_its_own_symbols_next_minute_and_never_by_the_clock():
    state, replay = new_state(), Feed("r", "r")
    apply(state, replay.body(("A", 1, 10, 1), ("B", 1, 20, 1), ("A", 61, 11, 1), born=9999), at=9999)
    state.tick_clocks(999_999 * SECOND)
    assert closed(state) == [("r", "A", 0, 10, 10, 1)]


def test_the_end_frame_closes_every_bar_of_a_replay():
    state, replay = new_state(), Feed("r", "r")
    apply(state, replay.body(("A", 1, 10, 1), ("B", 61, 20, 1), born=1), replay.body(born=1, kind="end"), at=1)
    assert closed(state) == [("r", "A", 0, 10, 10, 1), ("r", "B", 1, 20, 20, 1)]
    assert [tuple(ended) for ended in state.uncommitted.ended_replays] == [("r", 3, False)]
    commit(state)
    assert (state.flows, state.feeds, state.uncommitted.ended_replays) == ({}, {}, [])


def test_a_replay_by_time_and_one_grouped_by_symbol_close_the_same_bars():
    ticks = [("A", 1, 10, 1), ("B", 2, 20, 1), ("A", 61, 11, 1), ("B", 62, 21, 1)]
    found = []
    for order in (ticks, sorted(ticks, key=lambda tick: tick[0])):
        state, replay = new_state(), Feed("r", "r")
        apply(state, *(replay.body(tick, born=1) for tick in order), replay.body(born=1, kind="end"), at=1)
        found.append(closed(state))
    assert found[0] == found[1]
    assert len(found[0]) == 4


def test_a_finished_replay_sent_again_is_dropped():
    state, replay = new_state(), Feed("r", "r")
    bodies = [replay.body(("A", 1, 10, 1), born=1), replay.body(born=1, kind="end")]
    apply(state, *bodies, at=1, finished={"r": 2})
    assert (closed(state), state.uncommitted.counts, state.uncommitted.ended_replays) == ([], {}, [])


def abandon(feed):
    return Feed(feed, feed).body(born=9, kind="abandon")


@pytest.mark.parametrize("in_one_read", [True, False])
def test_an_abandoned_replay_drops_its_open_bars_and_counts_their_ticks_as_lost(in_one_read):
    state, replay, live = new_state(), Feed("r", "r"), Feed()
    bodies = [live.body(("A", 1, 10, 1), born=1), replay.body(("A", 1, 10, 1), ("A", 2, 10, 1), born=1), abandon("r")]
    if in_one_read:
        apply(state, *bodies, at=5)
    else:
        for i, body in enumerate(bodies):
            apply(state, body, at=5 + i)
    assert state.uncommitted.counts["r"] == Counts(ticks_in=2, applied=0, lost=2)
    assert [tuple(ended) for ended in state.uncommitted.ended_replays] == [("r", 2, True)]
    commit(state)
    assert list(state.feeds) == ["live"]


def test_what_an_abandoned_replay_still_sends_is_dropped():
    state, replay = new_state(), Feed("r", "r")
    first, second = (replay.body(("A", seconds, 10, 1), born=1) for seconds in (1, 2))
    apply(state, first, abandon("r"), second, at=1)
    assert state.uncommitted.counts["r"] == Counts(ticks_in=1, applied=0, lost=1)


def test_a_replay_abandoned_twice_or_after_its_end_is_not_abandoned_again():
    state, replay = new_state(), Feed("r", "r")
    apply(
        state, replay.body(("A", 1, 10, 1), born=1), replay.body(born=1, kind="end"), abandon("r"), abandon("r"), at=1
    )
    assert [tuple(ended) for ended in state.uncommitted.ended_replays] == [("r", 2, False)]
    assert closed(state) == [("r", "A", 0, 10, 10, 1)]


# -- kept and restored ---------------------------------------------------------------------------------------------


def filled_state():
    """Return a state with two feeds, a lost range, closed and open bars; and the feeds."""
    state, live, replay, holes = new_state(), Feed(), Feed("r", "r"), Feed("other")
    holes.body(("Z", 1, 1, 1), born=1)
    apply(state, live.body(("A", 1, 10, 1), ("B", 61, 20, 2), born=61), holes.body(("A", 62, 9, 1), born=61), at=61)
    apply(state, replay.body(("C", 1, 5, 1), ("D", 1, 6, 1), ("C", 61, 7, 1), born=62), at=62)
    state.give_up_holes((START_S + 99) * 1000, hole_wait_ms=0, now_ns=0)
    return state, live, replay


def test_a_loaded_state_goes_on_where_the_saved_one_will_be_after_its_commit():
    state, live, replay = filled_state()
    saved = saved_after_commit(state)
    commit(state)
    loaded = new_state(saved, state.position)
    assert saved_after_commit(loaded) == saved_after_commit(new_state(saved_after_commit(state)))
    assert numbers(loaded) == numbers(state) == {"p": 2, "other": 2, "r": 3}
    assert loaded.flows["other"].lost == [(0, 1)]
    rest = [live.body(("B", 130, 21, 1), born=130), replay.body(born=130, kind="end")]
    for each in (state, loaded):
        apply(each, *rest, at=130)
    expected = {
        ("live", "A", 1, 9, 9, 1), ("live", "B", 1, 20, 20, 1), ("r", "C", 1, 7, 7, 1), ("r", "D", 0, 6, 6, 1),
    }  # fmt: skip
    assert set(closed(state)) == set(closed(loaded)) == expected


def test_closed_bars_are_not_saved():
    state, _, _ = filled_state()
    loaded = new_state(saved_after_commit(state))
    bars = {(feed, loaded.symbols[bar["symbol"]]) for feed, book in loaded.feeds.items() for bar in book.bars}
    assert bars == {("live", "A"), ("live", "B"), ("r", "C"), ("r", "D")}
    assert sum(len(book.bars) for book in loaded.feeds.values()) == 4


def test_a_loaded_clock_goes_on_from_where_it_stood():
    state, feed = new_state(), Feed()
    apply(state, feed.body(("A", 61, 10, 1), born=100), at=100, now=7)
    loaded = new_state(saved_after_commit(state))
    loaded.tick_clocks(5_000 * SECOND)
    assert closed(loaded) == []
    loaded.tick_clocks(int((5_000 + 20.5) * SECOND))
    assert closed(loaded) == [("live", "A", 1, 10, 10, 1)]


def test_nothing_saved_is_an_empty_state():
    assert numbers(new_state(None)) == {}
    assert numbers(new_state(saved_after_commit(new_state()))) == {}


def marked(state, marks):
    """Return (symbol, timeframe, minutes after M, kind, stage, publish) of each mark."""
    return [(state.symbols[mark["symbol"]], mark["timeframe"], mark["minute"] - M, *mark.item()[3:]) for mark in marks]


def test_marks_and_open_higher_bars_are_saved_under_their_symbols_names():
    state, feed = new_state(), Feed()
    apply(state, feed.body(*((symbol, 1, 10, 1) for symbol in "ABCD"), born=1), at=1)
    # "A" has a closed bar and nothing else: it is not kept, so the others are numbered anew.
    state.feeds["live"].clock_ns = (START_S + 61) * SECOND
    marks = marks_of(np.array([2]), np.array([M - 1]), AFFECTED, publish=True)
    waiting = marks_of(np.array([3]), np.array([M]), NEW, publish=False, timeframe=5)
    loaded = new_state(saved_after_commit(state, marks, {"live": waiting}))
    assert loaded.symbols == ["C", "D"]
    assert marked(loaded, loaded.marks) == [("C", 1, -1, AFFECTED, PATTERNS, True)]
    assert marked(loaded, loaded.feeds["live"].waiting) == [("D", 5, 0, NEW, PATTERNS, False)]


def test_a_commit_moves_marks_and_open_higher_bars_on():
    state, feed = new_state(), Feed()
    apply(state, feed.body(("A", 1, 10, 1), born=61), at=61)
    marks = marks_of(np.array([0]), np.array([M]), NEW, publish=True)
    waiting = marks_of(np.array([0]), np.array([M]), NEW, publish=True, timeframe=5)
    state.committed(state.safe_position, state.closed(), marks, {"live": waiting}, held=state.held)
    assert marked(state, state.marks) == [("A", 1, 0, NEW, PATTERNS, True)]
    assert marked(state, state.feeds["live"].waiting) == [("A", 5, 0, NEW, PATTERNS, True)]


def test_a_state_of_a_program_without_marks_is_loaded():
    saved = msgspec.msgpack.encode([1, ["A"], [], [["live", False, False, "p", True, 5, b""]]])
    state = new_state(zstandard.compress(saved))
    assert (len(state.marks), len(state.feeds["live"].waiting)) == (0, 0)


def due_higher(state, feed, minutes, timeframe=5):
    waiting = marks_of(np.zeros(len(minutes), int), np.array(minutes) + M, NEW, publish=True, timeframe=timeframe)
    return state.feeds[feed].due_higher(waiting, int(LATENESS_S * SECOND)).tolist()


def test_a_live_higher_bar_closes_when_the_clock_has_passed_its_end_and_the_lateness():
    state, feed = new_state(), Feed()
    apply(state, feed.body(("A", 1, 10, 1), born=300.499), at=300.499)
    assert due_higher(state, "live", [-5, 0]) == [True, False]
    apply(state, feed.body(("A", 300, 10, 1), born=300.5), at=300.5)
    assert due_higher(state, "live", [-5, 0]) == [True, True]


def test_a_replayed_higher_bar_closes_by_its_own_symbols_later_minute_or_the_end():
    state, replay = new_state(), Feed("r", "r")
    apply(state, replay.body(("A", 1, 10, 1), ("B", 900, 20, 1), ("A", 240, 10, 1), born=1), at=1)
    assert due_higher(state, "r", [-5, 0]) == [True, False]
    apply(state, replay.body(("A", 301, 10, 1), born=1), at=2)
    assert due_higher(state, "r", [-5, 0]) == [True, True]
    assert due_higher(state, "r", [5]) == [False]
    apply(state, replay.body(born=1, kind="end"), at=3)
    assert due_higher(state, "r", [5]) == [True]


# -- bad input -----------------------------------------------------------------------------------------------------


def test_an_entry_that_is_no_frame_is_a_dead_letter_that_names_the_entry():
    state = new_state()
    apply(state, b"no frame", at=5)
    ((producer, refused, entry),) = state.uncommitted.dead_letters
    assert (producer, refused.reason, refused.original) == ("", "bad_frame", b"no frame")
    assert entry == f"{(START_S + 5) * 1000}-0"


def test_no_damage_to_a_frame_stops_the_partition():
    good = Feed().body(("A", 1, 10, 1), ("B", 2, 20, 1), born=1)
    survived = 0
    for place in range(len(good)):
        for damaged in (good[:place], good[:place] + bytes([good[place] ^ 0xFF]) + good[place + 1 :]):
            state = new_state()
            apply(state, damaged, good, at=1)
            assert len(state.uncommitted.dead_letters) == 1
            assert state.uncommitted.counts["p"] == Counts(ticks_in=2, applied=2)
            survived += 1
    assert survived == 2 * len(good)


@pytest.mark.parametrize(
    "change",
    [
        {"symbols": ["A" * 21]}, {"symbols": ["A\x00B"]}, {"symbols": [""]}, {"symbols": []},
        {"columns": ["nothing"]}, {"block": b""}, {"codec": "none"},
    ],
)  # fmt: skip
def test_a_header_that_does_not_fit_its_block_refuses_the_frames_ticks(change):
    state = new_state()
    apply(state, changed(Feed().body(("A", 1, 10, 1), born=1), **change), at=1)
    assert [letter.refused.reason for letter in state.uncommitted.dead_letters] == ["bad_frame"]
    assert state.uncommitted.counts["p"] == Counts(ticks_in=1, refused=1)


def changed(body, **change):
    """Return a frame with some fields of its header changed, sealed again."""
    frame = decode(body)
    return encode(type(frame)(**{name: change.get(name, getattr(frame, name)) for name in frame.__struct_fields__}))


@pytest.mark.parametrize(
    "change",
    [
        {"last": 10_000_001}, {"last": 1}, {"previous": 1}, {"count": 3}, {"count": 0}, {"kind": "end"},
        {"refused": [Refused("price", "", b"")]},
    ],
)  # fmt: skip
@pytest.mark.parametrize("ahead", [False, True])
def test_numbers_that_do_not_fit_the_rows_drop_nothing_of_what_the_producer_sends(change, ahead):
    state, feed = new_state(), Feed()
    first, second, third = (feed.body(("A", s, 10, 1), ("A", s, 10, 1), born=s) for s in (1, 2, 3))
    foreign = changed(third if ahead else second, **change)
    apply(state, first, foreign, second, third, at=4)
    assert [(letter.producer, letter.refused.reason) for letter in state.uncommitted.dead_letters] == [
        ("", "bad_frame")
    ]
    assert state.uncommitted.counts["p"] == Counts(ticks_in=6, applied=6)


def test_a_producer_that_speaks_for_the_feed_of_another_is_refused():
    state, live, replay = new_state(), Feed(), Feed("r", "r")
    bodies = [live.body(("A", 1, 10, 1), born=1), replay.body(("A", 1, 10, 1), born=1)]
    foreign = [
        Feed("x", "r").body(("A", 1, 99, 1), born=1),  # a live producer to a replay's feed
        Feed("live", "live").body(born=1, kind="end"),  # a replay named as the live feed: its end would close all bars
        Feed("p", "p").body(born=1, kind="end"),  # a replay named as a live producer
        Feed("y", "live.AM").body(("A", 1, 99, 1), born=1),  # whole minutes are kept beside their feed
        Feed("front-door", "front-door").body(born=1, kind="end"),
    ]
    apply(state, *bodies, *foreign, at=5)
    assert [letter.refused.reason for letter in state.uncommitted.dead_letters] == ["bad_frame"] * 5
    assert not state.uncommitted.ended_replays
    assert {name: book.bars["high"].tolist() for name, book in state.feeds.items()} == {"live": [10.0], "r": [10.0]}


def test_a_symbol_of_another_partition_is_refused_with_its_frame():
    # crc32("A") mod 4 is 3, that of "E" is 2: two partitions that write one bar would overwrite each other.
    state = PartitionState(Held(3, Lease("partition:3", 1), 7), position=START, limits=Limits(partitions=4))
    feed = Feed()
    apply(state, *(feed.body((symbol, 1, 10, 1), born=1) for symbol in ("A", "E", "A")), at=2)
    assert [letter.refused.detail for letter in state.uncommitted.dead_letters] == [
        "'E' is a symbol of another partition"
    ]
    assert state.uncommitted.counts["p"] == Counts(ticks_in=3, applied=2, refused=1)


def test_holes_that_waited_together_are_given_up_together():
    state, feed = new_state(), Feed()
    frames = [feed.body(("A", s, 10, 1), born=s) for s in range(1, 6)]
    apply(state, frames[0], frames[2], frames[4], at=9)  # 2 and 4 are missing
    assert state.give_up_holes((START_S + 30) * 1000, hole_wait_ms=10_000, now_ns=0) == [("p", (1, 2)), ("p", (3, 4))]
    assert state.uncommitted.counts["p"] == Counts(ticks_in=5, applied=3, lost=2)


def test_a_frame_without_rows_behind_a_hole_is_given_up_with_it():
    state, feed = new_state(), Feed()
    feed.number = 5
    apply(state, feed.body(born=1), at=1)
    assert state.give_up_holes((START_S + 99) * 1000, hole_wait_ms=0, now_ns=0) == [("p", (0, 5))]


def test_what_waits_behind_holes_has_a_bound_in_bytes():
    state = PartitionState(Held(0, Lease("partition:0", 1), 7), position=START, limits=Limits(held_bytes=3_000))
    feeds = [Feed(f"p{i}") for i in range(3)]
    for feed in feeds:
        feed.number = 5
    apply(state, *(feed.body(("A", 1, 10, 1), born=1) for feed in feeds), at=1)
    assert [len(flow.held) for flow in state.flows.values()] == [1, 1, 0]
    assert state.intake.overflow == Position((START_S + 1) * 1000, 2)


def test_a_read_takes_so_many_rows_and_leaves_the_rest():
    state, feed = new_state(), Feed()
    bodies = [feed.body(("A", s, 10, 1), ("A", s, 11, 1), born=s) for s in range(1, 6)]
    entries = [(f"{i}-0".encode(), body) for i, body in enumerate(bodies, 1)]
    pieces = []
    taken = state.apply(entries, now_ns=0, finished={}.get, most_rows=3, between=lambda: pieces.append(1))
    assert (taken, len(pieces), state.read_to, state.uncommitted.counts["p"].applied) == (2, 1, Position(2, 0), 4)


def test_the_rest_of_a_producer_that_is_gone_is_lost_until_it_comes_after_all():
    state, feed = new_state(), Feed("channel-1")
    first, second = (feed.body(("A", at, 10, 1), ("A", at, 11, 1), born=at) for at in (1, 2))
    third = feed.body(("A", 3, 12, 1), born=3)
    apply(state, first, at=1)
    assert state.give_up_rest("channel-1", "live", (0, 5), (1_000, 9_000)) == 3
    assert state.uncommitted.counts["channel-1"] == Counts(ticks_in=5, applied=2, lost=3)
    assert state.uncommitted.given_up == [
        Hole("live", 0, 1_000, 9_000, "channel-1", 3)
    ]  # which the vendor may still have
    commit(state)
    assert numbers(state) == {"channel-1": 5}
    apply(state, second, third, second, at=4)  # out of a spool that somebody found
    assert state.uncommitted.counts["channel-1"] == Counts(applied=3, lost=-3)
    assert state.uncommitted.repeats == 2


def test_the_rest_of_a_producer_that_nothing_came_of_is_lost_too():
    state = new_state()
    assert state.give_up_rest("synthetic-1", "live", (0, 7), (1_000, 9_000)) == 7
    assert state.uncommitted.counts == {"synthetic-1": Counts(ticks_in=7, lost=7)}
    assert state.uncommitted.given_up == []
    assert state.uncommitted.dirty
    assert numbers(new_state(saved_after_commit(state))) == {"synthetic-1": 7}


def test_what_was_forgotten_with_the_numbers_of_a_producer_is_counted_from_the_ledger_on():
    state = new_state()
    assert state.give_up_rest("synthetic-1", "live", (4, 7), (1_000, 9_000)) == 3
