from itertools import pairwise

import numpy as np
import pytest
from tickstockpl.contracts.bar import MINUTE_NS
from tickstockpl.contracts.ticks import Ticks
from tickstockpl.workers.partition.bar_book import bars_of, closed_by_clock, closed_by_next, latest_of, merge

SECOND = 1_000_000_000
M = 29_000_000  # some minute of 2025


def ticks(*rows, **optional):
    """rows: (symbol index, seconds after minute M, price, size)."""
    symbol, ts, price, size = (np.array(column) for column in zip(*rows, strict=True))
    extra = {name: np.array(column, "<f8") for name, column in optional.items()}
    ts_ns = M * MINUTE_NS + (ts * SECOND).astype("<i8")
    return Ticks(("A", "B"), symbol.astype("<u2"), ts_ns, price.astype("<f8"), size.astype("<f8"), extra)


def rows(bars):
    names = ("symbol", "minute", "open", "high", "low", "close", "volume_micro", "trades")
    return [tuple(bar[name].item() - (M if name == "minute" else 0) for name in names) for bar in bars]


def grouped(*args, **optional):
    batch = ticks(*args, **optional)
    return bars_of(batch, batch.symbol_index)


def test_ticks_become_one_bar_for_each_symbol_and_minute():
    bars = grouped((0, 1, 10, 100), (1, 2, 50, 1), (0, 3, 12, 50), (0, 4, 9, 25), (0, 61, 8, 1))
    assert rows(bars) == [
        (0, 0, 10, 12, 9, 9, 175e6, 3),
        (0, 1, 8, 8, 8, 8, 1e6, 1),
        (1, 0, 50, 50, 50, 50, 1e6, 1),
    ]


def test_open_and_close_follow_tick_time_not_arrival():
    assert rows(grouped((0, 5, 11, 1), (0, 1, 10, 1), (0, 9, 12, 1), (0, 3, 13, 1))) == [(0, 0, 10, 13, 10, 12, 4e6, 4)]


def test_ticks_of_one_instant_keep_their_arrival_order():
    assert rows(grouped((0, 1, 10, 1), (0, 1, 11, 1), (0, 1, 12, 1))) == [(0, 0, 10, 12, 10, 12, 3e6, 3)]


def test_a_tick_on_the_minute_opens_the_next_bar():
    assert [row[1] for row in rows(grouped((0, 59.999, 10, 1), (0, 60, 11, 1)))] == [0, 1]


def test_fractional_sizes_add_up_exactly():
    assert rows(grouped((0, 1, 10, 0.1), (0, 2, 10, 0.2)))[0][6] == 300_000


def test_an_aggregate_brings_its_own_open_high_and_low():
    bars = grouped((0, 1, 10, 5), (0, 2, 11, 5), open=[9, 10], high=[13, 12], low=[8, 9], vwap=[9.5, 10.5])
    assert rows(bars) == [(0, 0, 9, 13, 8, 11, 10e6, 2)]
    assert bars["notional"].item() == 100


def test_minutes_far_apart_are_grouped_too():
    bars = grouped((0, 1, 10, 1), (1, 90_000_000, 20, 1), (0, 2, 11, 1))
    assert [row[:6] for row in rows(bars)] == [(0, 0, 10, 11, 10, 11), (1, 1_500_000, 20, 20, 20, 20)]


@pytest.mark.parametrize("seed", range(20))
def test_any_split_of_the_ticks_merges_to_the_same_bars(seed):
    rng = np.random.default_rng(seed)
    n = 400
    batch = Ticks(
        ("A", "B", "C"), rng.integers(0, 3, n).astype("<u2"), M * MINUTE_NS + rng.integers(0, 300, n) * SECOND,
        rng.integers(100, 200, n) / 4, rng.integers(1, 50, n) / 8,
    )  # fmt: skip
    cuts = [0, *sorted(rng.integers(0, n, 6)), n]
    parts = [batch.take(slice(a, b)) for a, b in pairwise(cuts)]
    merged = merge(*(bars_of(part, part.symbol_index) for part in parts))
    whole = bars_of(batch, batch.symbol_index)
    for name in whole.dtype.names:
        assert np.array_equal(merged[name], whole[name]), (seed, name)


def test_the_whole_minute_that_came_last_wins():
    batch = ticks((0, 0, 10, 5), (1, 0, 3, 1), (0, 0, 11, 7))
    assert rows(latest_of(batch, batch.symbol_index)) == [(0, 0, 11, 11, 11, 11, 7e6, 1), (1, 0, 3, 3, 3, 3, 1e6, 1)]
    both = np.concatenate([grouped((0, 0, 10, 5)), grouped((0, 0, 9, 2))])
    assert rows(merge(both, whole=True)) == [(0, 0, 9, 9, 9, 9, 2e6, 1)]


def test_the_clock_closes_a_bar_only_after_the_allowed_lateness():
    bars = grouped((0, 1, 10, 1))
    end = (M + 1) * MINUTE_NS
    assert not closed_by_clock(bars, end + 499_999_999, 500_000_000).any()
    assert closed_by_clock(bars, end + 500_000_000, 500_000_000).all()


def test_a_replayed_bar_is_closed_by_its_own_symbols_next_minute_only():
    bars = grouped((0, 1, 10, 1), (1, 200, 10, 1), (0, 61, 10, 1))
    assert closed_by_next(bars).tolist() == [True, False, False]
