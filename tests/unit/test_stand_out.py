"""What a candlestick needs beside its shape: a range in ticks and in ATR, and a move before it."""

import numpy as np
import pytest
from tickstockpl.workers.detect.patterns.candlesticks import DOJI, HAMMER, KINDS
from tickstockpl.workers.windows import WINDOW, Windows

KIND = {kind.name: kind for kind in KINDS}
OFF = {"min_ticks": 0.0, "min_atr": 0.0, "min_move": 0.0}


def is_found(kind, bars, **parameters):
    """Tell whether a candlestick is on the last of these bars (open, high, low, close), oldest first."""
    columns = np.full((5, 1, WINDOW), np.nan)
    columns[:4, 0, WINDOW - len(bars) :] = np.array(bars, float).T
    columns[4, 0, WINDOW - len(bars) :] = 100.0
    found = kind.find(Windows(*columns, np.array([len(bars)])), {**kind.parameters, **parameters})
    return bool(found.confidence[0] > 0)


def only(**parameters):
    return {**OFF, **parameters}


def quiet(cents, price=13.8):
    """Make 14 bars of one cent and a Doji whose range is so many."""
    return [*[(price, price + 0.01, price, price + 0.01)] * 14, (price, price + cents / 100, price, price)]


def moving(step, count=10, *, end=100.0):
    """Make bars of 1.00 dollar that move by `step` a bar and end at a close: true ranges of 1.00."""
    closes = [end - step * back for back in range(count - 1, -1, -1)]
    return [(close - step, close - step / 2 + 0.5, close - step / 2 - 0.5, close) for close in closes]


def test_open_equal_to_close_on_a_grid_of_cents_is_no_doji():
    assert is_found(DOJI, quiet(2), **OFF)
    assert not is_found(DOJI, quiet(2), **only(min_ticks=5.0))
    assert not is_found(DOJI, quiet(2))


@pytest.mark.parametrize("cents", [1, 2, 3, 4])
def test_a_range_of_fewer_ticks_is_no_candlestick(cents):
    assert not is_found(DOJI, quiet(cents), **only(min_ticks=5.0))


@pytest.mark.parametrize("price", [1.0, 13.8, 100.05, 2350.15, 99_999.95])
def test_a_range_of_just_so_many_ticks_is_enough_whatever_binary_makes_of_it(price):
    assert is_found(DOJI, quiet(5, price), **only(min_ticks=5.0))


@pytest.mark.parametrize(("ten_thousandths", "found"), [(4, False), (5, True)])
def test_below_one_dollar_a_tick_is_a_hundredth_of_a_cent(ten_thousandths, found):
    bar = (0.5, 0.5 + ten_thousandths / 10_000, 0.5, 0.5)
    assert is_found(DOJI, [bar], **only(min_ticks=5.0), min_range=0.0) is found


@pytest.mark.parametrize(("wide", "found"), [(0.74, False), (0.75, True)])
def test_a_range_is_measured_against_the_true_ranges_before(wide, found):
    # 14 bars of $1: three quarters of it are asked. What stands before those 14 does not count.
    bars = [(100.0, 150.0, 50.0, 100.0), *[(100.0, 100.5, 99.5, 100.0)] * 14, (100.0, 100.0 + wide, 100.0, 100.0)]
    assert is_found(DOJI, bars, **only(min_atr=0.75)) is found


def test_a_gap_counts_in_the_ranges_before():
    # The second bar opens $3 higher: its true range is $3.50, and the mean of both (1.00 + 3.50) / 2 = $2.25.
    bars = [(100.0, 100.5, 99.5, 100.0), (103.0, 103.5, 102.5, 103.0)]
    assert not is_found(DOJI, [*bars, (103.0, 104.1, 102.0, 103.0)], **only(min_atr=1.0))
    assert is_found(DOJI, [*bars, (103.0, 104.3, 102.0, 103.0)], **only(min_atr=1.0))


def test_the_first_bar_of_all_has_nothing_to_be_measured_against():
    assert is_found(DOJI, [(100.0, 100.5, 99.5, 100.0)], **only(min_ticks=5.0, min_atr=0.75))


@pytest.mark.parametrize("name", ["HaramiPattern", "EngulfingPattern", "SpinningTop", "MorningStar", "BeltHold"])
def test_every_candlestick_of_talib_asks_for_a_range(name):
    assert KIND[name].parameters["min_ticks"] == 5.0
    assert KIND[name].parameters["min_atr"] == 0.75


def test_an_engulfing_of_four_cents_is_none():
    bars = [*[(50.0, 50.02, 49.98, 50.01)] * 14, (50.02, 50.02, 50.0, 50.0), (49.99, 50.03, 49.99, 50.03)]
    assert is_found(KIND["EngulfingPattern"], bars, **only())
    assert not is_found(KIND["EngulfingPattern"], bars)


# -- the move before -----------------------------------------------------------------------------------------------


HAMMER_AT_98_60 = (99.55, 99.6, 98.6, 99.6)
FALLING = [*moving(-0.3, 5, end=103.0), *moving(-0.3, 11, end=100.0)]
STILL = [(100.1, 100.5, 99.5, 99.9)] * 16


def test_a_hammer_stands_at_the_end_of_a_fall():
    assert is_found(HAMMER, [*FALLING, HAMMER_AT_98_60])


@pytest.mark.parametrize(
    "bars", [STILL, moving(0.3, 16), moving(-0.1, 16)], ids=["no move", "a rise", "a fall of $0.90 at an ATR of $1"]
)
def test_a_hammer_anywhere_else_is_none_but_for_talib(bars):
    assert not is_found(HAMMER, [*bars, HAMMER_AT_98_60])
    assert is_found(HAMMER, [*bars, HAMMER_AT_98_60], min_move=0.0)


def test_a_hammer_above_the_low_of_the_fall_is_none():
    open_, high, _, close = FALLING[-3]
    deeper = [*FALLING[:-3], (open_, high, 98.59, close), *FALLING[-2:]]  # by a cent
    assert not is_found(HAMMER, [*deeper, HAMMER_AT_98_60])
    assert is_found(HAMMER, [*deeper, HAMMER_AT_98_60], min_move=0.0)


def test_a_doji_stands_at_either_end_of_a_move():
    assert is_found(DOJI, [*moving(0.3, 15), (100.0, 100.9, 99.9, 100.0)])
    assert is_found(DOJI, [*moving(-0.3, 15), (100.0, 100.1, 99.1, 100.0)])
    assert not is_found(DOJI, [*moving(0.0, 15), (100.0, 100.9, 99.9, 100.0)])
    assert not is_found(DOJI, [*moving(0.3, 15), (98.0, 98.9, 97.9, 98.0)])  # after a rise, but not at its high


@pytest.mark.parametrize(
    ("name", "step", "candle"),
    [
        ("HangingMan", 0.3, (100.95, 101.0, 99.9, 101.0)),
        ("ShootingStar", 0.3, (101.0, 102.0, 101.0, 101.05)),
        ("InvertedHammer", -0.3, (98.55, 99.5, 98.5, 98.5)),
    ],
)
def test_each_of_the_other_turning_candles_has_the_move_that_its_name_means(name, step, candle):
    kind = KIND[name]
    assert is_found(kind, [*moving(step, 16), candle])
    sideways = [*moving(step, 16)[-1:]] * 16
    assert not is_found(kind, [*sideways, candle])
    assert is_found(kind, [*sideways, candle], min_move=0.0)
