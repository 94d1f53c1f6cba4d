import json

import numpy as np
import pytest
from tickstockpl.contracts.frames.frame import Frame
from tickstockpl.contracts.partition import Position
from tickstockpl.contracts.ticks import Ticks
from tickstockpl.workers.partition.frame_order import Arrival
from tickstockpl.workers.partition.tick_check import Limits, RowArrivals, check, row_arrivals

NOW = 1_700_000_000_000_000_000
MINUTE = 60_000_000_000
LIMITS = Limits()
THEIRS = Limits(min_price=0.00005, max_price=1e6, max_size=2.0**63)


def tick(price=10.0, size=1.0, ts=NOW, **optional):
    return ticks([price], [size], [ts], **{name: [value] for name, value in optional.items()})


def ticks(price, size, ts, **optional):
    extra = {name: np.array(column, "<f8") for name, column in optional.items()}
    codes = np.zeros(len(ts), "<u2")
    return Ticks(["A"], codes, np.array(ts, "<i8"), np.array(price, "<f8"), np.array(size, "<f8"), extra)


def arrived(born=NOW, arrival=None):
    return RowArrivals(np.array([born]), np.array([born if arrival is None else arrival]))


def reasons(batch, arrivals=None, limits=LIMITS):
    return [refused.reason for refused in check(batch, arrivals, limits).refused]


def test_a_good_tick_passes():
    checked = check(tick(), arrived(), LIMITS)
    assert (len(checked.ticks), checked.quote_or_zero, checked.refused) == (1, 0, [])


@pytest.mark.parametrize("price", [float("nan"), float("inf"), float("-inf"), 0.0, -1.0, 1e12, 0.0000004])
def test_a_price_that_the_column_does_not_hold_is_refused(price):
    assert reasons(tick(price)) == ["price"]


@pytest.mark.parametrize("price", [0.0000005, 0.01, 999_999_999_999.0])
def test_a_price_that_the_column_holds_passes(price):
    assert reasons(tick(price)) == []


@pytest.mark.parametrize(("price", "expected"), [(5_000_000.0, ["price"]), (0.00004, ["price"]), (999_999.0, [])])
def test_a_narrower_table_has_narrower_bounds(price, expected):
    assert reasons(tick(price), limits=THEIRS) == expected


@pytest.mark.parametrize("size", [float("nan"), float("inf"), -1.0, -0.001, 1e14, 1.7e308, -1.7e308, 4e-7])
def test_a_size_that_the_column_does_not_hold_is_refused(size):
    assert reasons(tick(size=size)) == ["size"]


@pytest.mark.parametrize("name", ["open", "high", "low", "vwap"])
def test_every_price_of_an_aggregate_is_looked_at(name):
    checked = check(tick(**{name: 0.0}), None, LIMITS)
    ((reason, detail, _, _),) = checked.refused
    assert (reason, detail.split()[0], len(checked.ticks)) == ("price", name, 0)


@pytest.mark.parametrize("ts", [631_151_999_999_999_999, 4_102_444_800_000_000_000, -1])
def test_a_time_outside_1990_to_2100_is_refused(ts):
    assert reasons(tick(ts=ts)) == ["timestamp"]


def test_a_size_of_zero_is_counted_and_not_refused_whatever_else_it_says():
    checked = check(tick(price=-5.0, size=0.0, ts=0), arrived(), LIMITS)
    assert (len(checked.ticks), checked.quote_or_zero, checked.refused) == (0, 1, [])


@pytest.mark.parametrize(("ahead", "expected"), [(15 * MINUTE, []), (15 * MINUTE + 1, ["future"])])
def test_a_live_tick_may_be_so_far_ahead_of_its_arrival(ahead, expected):
    assert reasons(tick(ts=NOW + ahead), arrived()) == expected


def test_the_later_of_birth_and_arrival_decides_what_is_the_future():
    assert reasons(tick(ts=NOW + 20 * MINUTE), arrived(born=NOW, arrival=NOW + 10 * MINUTE)) == []


@pytest.mark.parametrize(("age", "expected"), [(15 * MINUTE, []), (15 * MINUTE + 1, ["too_late"])])
def test_a_live_tick_may_be_so_old_at_its_birth(age, expected):
    assert reasons(tick(ts=NOW - age), arrived()) == expected


def test_a_backlog_does_not_make_a_tick_too_late():
    assert reasons(tick(ts=NOW), arrived(born=NOW, arrival=NOW + 600 * MINUTE)) == []


def test_a_replay_may_be_of_any_time():
    assert reasons(ticks([1, 1], [1, 1], [700_000_000_000_000_000, NOW * 2])) == []


def test_a_tick_is_refused_for_one_reason_only():
    assert reasons(tick(price=-1.0, size=-1.0, ts=0)) == ["price"]


def test_the_others_pass_in_their_order_and_the_original_can_be_sent_again():
    checked = check(ticks([1, -2, 3, 4], [1, 2, 0, 4], [NOW, NOW + 1, NOW + 2, NOW + 3]), None, LIMITS)
    assert checked.ticks.price.tolist() == [1, 4]
    assert checked.quote_or_zero == 1
    assert [json.loads(refused.original) for refused in checked.refused] == [
        {"symbol": "A", "price": -2.0, "volume": 2.0, "timestamp": NOW + 1}
    ]


def arrival(born_ms, entry_ms, *, count=1, delay_ms=0, feed="live"):
    frame = Frame(1, "p", feed, "live", 0, count, born_ms, delay_ms, True, count, ["A"], [], "none", b"", [])
    return Arrival(frame, Position(entry_ms, 0))


def test_rows_arrive_with_their_frame():
    frames = [arrival(1_000, 1_005, count=2), arrival(2_000, 1_990)]
    found = row_arrivals(frames, [ticks([1, 1], [1, 1], [0, 0]), tick()])
    assert found.born_ns.tolist() == [1_000_000_000, 1_000_000_000, 2_000_000_000]
    assert found.arrived_ns.tolist() == [1_005_000_000, 1_005_000_000, 2_000_000_000]


def test_a_delayed_feed_may_be_older_by_its_delay():
    found = row_arrivals([arrival(1_000_000, 1_000_000, delay_ms=900_000)], [tick()])
    assert (found.born_ns.tolist(), found.arrived_ns.tolist()) == ([100_000_000_000], [1_000_000_000_000])


def test_rows_of_the_front_door_were_born_with_their_entry():
    batch = Ticks(
        ["A"], np.zeros(1, "<u2"), np.zeros(1, "<i8"), np.ones(1), np.ones(1), {"row_id": np.array([700 << 20])}
    )
    assert row_arrivals([arrival(9_999, 1_000)], [batch]).born_ns.tolist() == [700_000_000]


def test_a_replay_has_no_arrivals():
    assert row_arrivals([arrival(1, 1, feed="p")], [tick()]) is None
