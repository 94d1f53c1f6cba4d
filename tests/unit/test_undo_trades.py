"""Trades taken back: which one, what stands in its place, and the bars that are made again."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest
from tickstockpl.contracts.bar import has_prices
from tickstockpl.contracts.frames.frame import decode, encode
from tickstockpl.contracts.frames.maker import Identity, make_frame
from tickstockpl.contracts.lease import Lease
from tickstockpl.contracts.partition import Position
from tickstockpl.contracts.ticks import SETS_ALL, SETS_VOLUME, Ticks
from tickstockpl.workers.partition.bar_book import bars_of, merge
from tickstockpl.workers.partition.partition_state import Held, PartitionState
from tickstockpl.workers.partition.tick_check import Limits
from tickstockpl.workers.partition.uncommitted import Counts
from tickstockpl.workers.partition.undo import Found, Undo, bars_again, read_past, take_back

MINUTE = 23_018_610
NOW_MS = MINUTE * 60_000 + 30_000


def ticks_of(*rows, symbols=("A", "B")):
    """Make ticks of (symbol, second, price, size, key, undoes)."""
    symbol, second, price, size, key, undoes = zip(*rows, strict=True)
    return Ticks(
        symbols,
        np.array([symbols.index(s) for s in symbol], "<u2"),
        np.array([(MINUTE * 60 + s) * 10**9 for s in second], "<i8"),
        np.array(price, "<f8"),
        np.array(size, "<f8"),
        {"trade_key": np.array(key, "<i8"), "undoes": np.array(undoes, "<u1")},
    )


def frame(number, ticks, *, producer="massive-1", previous=None, delay_ms=0):
    previous = number if previous is None else previous
    identity = Identity(producer, "live", "live", delay_ms=delay_ms)
    return make_frame(identity, ticks, "live", previous, previous + len(ticks), NOW_MS)


def entries(*bodies):
    return [(f"{NOW_MS + i}-0".encode(), body) for i, body in enumerate(bodies)]


def test_a_cancel_takes_the_trade_of_its_symbol_and_key_out():
    ticks = ticks_of(("A", 1, 10, 5, 7, 0), ("B", 1, 20, 5, 7, 0), ("A", 2, 11, 1, 8, 0), ("A", 3, 0, 0, 7, 1))
    left, found = take_back(ticks)
    assert [(left.symbols[c], p) for c, p in zip(left.symbol_index, left.price, strict=True)] == [("B", 20), ("A", 11)]
    assert found == [Found(Undo("A", 7, 1, 0.0, 0.0), MINUTE)]


def test_a_correction_stands_at_the_trades_own_time():
    ticks = ticks_of(("A", 1, 10, 5, 7, 0), ("A", 2, 11, 1, 8, 0), ("A", 75, 12, 3, 7, 2))
    left, found = take_back(ticks)
    assert list(zip(left.ts // 10**9 % 60, left.price, left.size, strict=True)) == [(1, 12, 3), (2, 11, 1)]
    assert found == [Found(Undo("A", 7, 2, 12.0, 3.0), MINUTE)]


def test_a_trade_is_taken_back_once_by_a_cancel_that_may_come_first():
    ticks = ticks_of(("A", 1, 0, 0, 7, 1), ("A", 1, 10, 5, 7, 0), ("A", 2, 0, 0, 7, 1), ("A", 3, 0, 0, 7, 1))
    left, found = take_back(ticks)
    assert len(left) == 0
    assert [(f.minute, f.too_late) for f in found] == [(MINUTE, False), (None, True), (None, True)]


def test_what_the_stream_holds_is_read_once_and_in_the_order_of_the_numbers():
    one, two, three = (ticks_of(("A", s, 10 + s, 1, s, 0)) for s in (1, 2, 3))
    stream = entries(frame(0, one), frame(2, three), frame(1, two), frame(1, two), frame(3, one))
    past = read_past(stream, "live", frozenset("A"), {"massive-1": 3}, Limits())
    assert past.ticks.price.tolist() == [11, 12, 13]
    assert past.first_ms == 0


def test_a_trimmed_stream_says_from_when_on_it_is_whole():
    stream = entries(frame(5, ticks_of(("A", 1, 10, 1, 1, 0))))
    past = read_past(stream, "live", frozenset("A"), {"massive-1": 6}, Limits())
    assert past.first_ms == Position.parse(stream[0][0]).ms


def test_a_cancel_ahead_of_its_trade_in_one_frame_stays_ahead_of_it():
    rows = ticks_of(("A", 1, 0, 0, 7, 1), ("A", 1, 10, 5, 7, 0), ("A", 2, 0, 0, 7, 1))
    rows = replace(rows, optional=rows.optional | {"row_id": np.array([1, 2, 3], "<i8")})
    past = read_past(entries(frame(0, rows)), "live", frozenset("A"), {"massive-1": 3}, Limits())
    assert past.ticks.optional["undoes"].tolist() == [1, 0, 1]


def test_a_stream_is_not_whole_where_all_frames_of_a_producer_are_trimmed():
    stream = entries(frame(0, ticks_of(("A", 1, 10, 1, 1, 0))))
    past = read_past(stream, "live", frozenset("A"), {"massive-0": 900, "massive-1": 1}, Limits())
    assert past.first_ms == Position.parse(stream[0][0]).ms


def test_a_trimmed_stream_of_a_delayed_feed_is_whole_from_the_markets_time_on():
    trades = ticks_of(("A", 1, 10, 1, 1, 0))
    trades = replace(trades, optional={"trade_key": trades.optional["trade_key"]})
    stream = entries(frame(5, trades, delay_ms=900_000))
    past = read_past(stream, "live", frozenset("A"), {"massive-1": 6}, Limits())
    assert past.first_ms == Position.parse(stream[0][0]).ms - 900_000


def test_a_frame_whose_block_is_corrupt_is_left_out_as_it_was_from_the_bars():
    good = frame(0, ticks_of(("A", 1, 10, 1, 1, 0)))
    corrupt = encode(msgspec.structs.replace(decode(frame(1, ticks_of(("A", 2, 11, 1, 2, 0)))), block=b"broken"))
    past = read_past(entries(good, corrupt), "live", frozenset("A"), {"massive-1": 2}, Limits())
    assert past.ticks.price.tolist() == [10]


def test_whole_minutes_of_the_feed_are_no_trades_of_a_bar():
    trade, minute = ticks_of(("A", 1, 10, 1, 1, 0)), ticks_of(("A", 0, 12, 500, 0, 0))
    minute = replace(minute, optional=minute.optional | {"whole_minute": np.ones(1, "<u1")})
    past = read_past(entries(frame(0, trade), frame(1, minute)), "live", frozenset("A"), {"massive-1": 2}, Limits())
    assert past.ticks.price.tolist() == [10]


def test_other_feeds_and_symbols_are_left_out():
    other = make_frame(Identity("x", "test", "live"), ticks_of(("A", 1, 99, 1, 1, 0)), "live", 0, 1, NOW_MS)
    stream = entries(frame(0, ticks_of(("B", 1, 20, 1, 1, 0), ("A", 1, 10, 1, 1, 0))), other)
    past = read_past(stream, "live", frozenset("A"), {"massive-1": 2, "x": 1}, Limits())
    assert past.ticks.price.tolist() == [10]


def test_a_bar_without_a_trade_left_is_there_and_has_no_prices():
    (bar,) = bars_again(Ticks.empty(), {"A": 0}, [("A", MINUTE)])
    assert (bar["minute"], bar["trades"], bar["volume_micro"]) == (MINUTE, 0, 0)
    assert not has_prices(bar[None])


# -- flags ---------------------------------------------------------------------------------------------------------


def flagged(*rows):
    """Make ticks of (second, price, size, flags)."""
    second, price, size, flags = zip(*rows, strict=True)
    ts = np.array([(MINUTE * 60 + s) * 10**9 for s in second], "<i8")
    index = np.zeros(len(rows), "<i4")
    columns = {"flags": np.array(flags, "<u1")}
    return Ticks(("A",), index, ts, np.array(price, "<f8"), np.array(size, "<f8"), columns)


def bar_of(*rows):
    ticks = flagged(*rows)
    (bar,) = bars_of(ticks, ticks.symbol_index)
    return bar


def values(bar):
    return tuple(float(bar[name]) for name in ("open", "high", "low", "close", "volume_micro", "notional", "trades"))


def test_a_trade_sets_only_what_its_flags_allow():
    bar = bar_of((1, 50, 1, SETS_VOLUME), (2, 10, 100, SETS_ALL), (3, 12, 100, 6), (4, 11, 100, SETS_ALL), (5, 1, 2, 4))
    assert values(bar) == (10, 12, 10, 11, 303e6, 50 + 1000 + 1200 + 1100 + 2, 5)


def test_a_minute_of_odd_lots_has_volume_and_no_prices():
    bar = bar_of((1, 50, 1, SETS_VOLUME), (2, 51, 2, SETS_VOLUME))
    assert not has_prices(bar[None])
    assert (bar["volume_micro"], bar["trades"]) == (3e6, 2)


def test_parts_of_a_minute_merge_to_the_bar_of_all_its_trades():
    numbers = np.random.default_rng(7)
    rows = [
        (int(numbers.integers(0, 60)), float(numbers.integers(10, 20)), 100.0, int(numbers.choice([1, 2, 4, 6, 7])))
        for _ in range(200)
    ]
    whole = bar_of(*rows)
    for cut in range(1, 200, 7):
        parts = np.array([bar_of(*rows[:cut]), bar_of(*rows[cut:])])
        (merged,) = merge(parts)
        np.testing.assert_equal(values(merged), values(whole))


def test_a_first_frame_that_redis_refused_once_is_read_where_it_stands():
    one, two = (ticks_of(("A", s, 10 + s, 1, s, 0)) for s in (1, 2))
    past = read_past(entries(frame(1, two), frame(0, one)), "live", frozenset("A"), {"massive-1": 2}, Limits())
    assert past.ticks.price.tolist() == [11, 12]
    assert past.first_ms == 0


def test_bars_are_made_again_of_the_wanted_symbols_alone():
    ticks = ticks_of(("A", 1, 10, 5, 1, 0), ("B", 1, 20, 5, 2, 0))
    (bar,) = bars_again(ticks, {"A": 3}, [("A", MINUTE)])
    assert (bar["symbol"], bar["close"], bar["trades"]) == (3, 10, 1)


# -- undos that come first -----------------------------------------------------------------------------------------


def arrival_times(*seconds):
    return np.array([NOW_MS + second * 1000 for second in seconds], "<i8")


@pytest.mark.parametrize(("seconds", "found_there"), [(0, True), (900, True), (901, False)])
def test_an_undo_that_came_first_waits_fifteen_minutes(seconds, found_there):
    ticks = ticks_of(("A", 0, 0, 0, 7, 1), ("A", 1, 10, 5, 7, 0))
    left, found = take_back(ticks, arrival_times(0, seconds))
    assert [(f.minute is not None, f.too_late) for f in found] == [(found_there, False)]
    assert len(left) == (0 if found_there else 1)


def test_an_undo_whose_trade_was_taken_back_waits_for_no_other():
    ticks = ticks_of(("A", 1, 10, 5, 7, 0), ("A", 1, 0, 0, 7, 1), ("A", 1, 0, 0, 7, 1), ("A", 70, 10, 5, 7, 0))
    left, found = take_back(ticks)
    assert [(f.minute, f.too_late) for f in found] == [(MINUTE, False), (None, True)]
    assert left.ts.tolist() == [(MINUTE * 60 + 70) * 10**9]


def recounted(ticks, arrived_ms):
    """Carry undos out by looking at every tick for each of them: what is left as (row, price), and what was found."""
    prices, alive, found = ticks.price.tolist(), ticks.optional["undoes"] == 0, []
    said = list(zip(ticks.symbol_index.tolist(), *(ticks.optional[n].tolist() for n in NAMES), strict=True))
    for row in np.flatnonzero(ticks.optional["undoes"]).tolist():
        symbol, key, facility, undoes = said[row]
        same = [
            i for i, (s, k, f, u) in enumerate(said)
            if (s, k, u) == (symbol, key, 0) and facility in (0, f)
        ]  # fmt: skip
        before = [i for i in same if i < row]
        later = [i for i in same if i > row and arrived_ms[i] <= arrived_ms[row] + 900_000]
        meant = [i for i in before[::-1] or later if alive[i]]
        found.append(meant[0] if meant else None)
        if meant and undoes == 1:
            alive[meant[0]] = False
        elif meant:
            prices[meant[0]] = prices[row]
    return [(i, prices[i]) for i in range(len(said)) if alive[i]], found


NAMES = ("trade_key", "facility", "undoes")


@pytest.mark.parametrize("seed", range(20))
def test_many_undos_of_few_names_do_what_one_after_the_other_does(seed):
    numbers = np.random.default_rng(seed)
    n = 300
    kinds, seconds = numbers.choice([0, 0, 1, 2], n), np.sort(numbers.integers(0, 1800, n))
    columns = {"trade_key": numbers.integers(1, 5, n), "undoes": kinds.astype("u1")}
    columns["facility"] = numbers.choice([0, 0, 1, 2], n).astype("<u4")
    ts = (MINUTE * 60 + np.arange(n)) * 10**9  # tells the row
    ticks = Ticks(("A", "B"), numbers.integers(0, 2, n).astype("<u2"), ts, np.arange(1.0, n + 1), np.ones(n), columns)
    left, found = take_back(ticks, NOW_MS + seconds * 1000)
    expected, meant = recounted(ticks, NOW_MS + seconds * 1000)
    rows = left.ts // 10**9 - MINUTE * 60
    assert list(zip(rows.tolist(), left.price.tolist(), strict=True)) == expected
    assert [f.minute for f in found] == [None if i is None else MINUTE + i // 60 for i in meant]


def state_of(saved=None):
    state = PartitionState(Held(0, Lease("partition:0", 1), 7), position=Position(0, 0), limits=Limits())
    state.load(saved)
    return state


def applied(state, body, at_ms=NOW_MS):
    state.apply([(f"{at_ms}-{state.read_to.seq + 1}".encode(), body)], now_ns=0, finished=lambda _: None)


def kept(state):
    return state.save([], state.marks, {})


def volumes(state):
    bars = state.feeds["live"].bars
    return {(state.symbols[bar["symbol"]], bar["high"].item(), bar["volume_micro"].item() / 1e6) for bar in bars}


@pytest.mark.parametrize("is_restored", [False, True])
def test_an_early_undo_meets_its_trade_also_where_another_worker_has_the_partition_by_then(is_restored):
    state = state_of()
    early = frame(0, ticks_of(("A", 0, 0, 0, 7, 1), ("B", 0, 12, 3, 8, 2)))
    applied(state, early)
    state.take_back(lambda: entries(early))
    assert len(state.early) == 2
    assert state.uncommitted.counts["massive-1"] == Counts(ticks_in=2, applied=2)
    if is_restored:
        state = state_of(kept(state))
    trades = ticks_of(("A", 1, 99, 5, 7, 0), ("A", 1, 10, 5, 9, 0), ("B", 1, 99, 5, 8, 0), ("B", 1, 10, 5, 7, 0))
    applied(state, frame(2, trades))
    assert volumes(state) == {("A", 10.0, 5.0), ("B", 12.0, 8.0)}
    assert state.early == []
    assert state.uncommitted.dead_letters == []
    assert state_of(kept(state)).early == []


def test_an_early_undo_whose_trade_does_not_come_is_a_dead_letter_that_says_all_of_it():
    state = state_of()
    early = frame(0, replace(ticks_of(("A", 0, 12, 3, 7 << 8 | 4, 2)), notes=()))
    applied(state, early)
    state.take_back(lambda: entries(early))
    state.feeds["live"].clock_ns = (NOW_MS + 900_000) * 10**6
    assert not state.has_news()
    state.give_up_undos()
    assert state.uncommitted.dead_letters == []
    state.feeds["live"].clock_ns += 10**6
    assert state.has_news()
    state.give_up_undos()
    ((producer, refused, _),) = state.uncommitted.dead_letters
    assert (producer, refused.reason) == ("massive-1", "cannot_undo")
    assert msgspec.json.decode(refused.original) == {
        "type": "correct", "symbol": "A", "price": 12.0, "volume": 3.0, "timestamp": MINUTE * 60 * 10**9,
        "exchange": 4, "trade_id": "7",
    }  # fmt: skip
    assert state.uncommitted.counts["massive-1"] == Counts(ticks_in=1, refused=1)


def test_too_many_early_undos_cost_the_oldest(monkeypatch):
    monkeypatch.setattr("tickstockpl.workers.partition.partition_state.MOST_EARLY", 2)
    state = state_of()
    bodies = [frame(i, ticks_of(("A", 0, 0, 0, 7 + i, 1))) for i in range(3)]
    for body in bodies:
        applied(state, body)
    state.take_back(lambda: entries(*bodies))
    state.give_up_undos()
    assert sorted(early.undo.trade_key for early in state.early) == [8, 9]
    assert [letter.refused.reason for letter in state.uncommitted.dead_letters] == ["cannot_undo"]
