"""Backtests: each rule on a series made by hand, and whole accounts against an engine of plain Python."""

from datetime import date

import msgspec
import numpy as np
import pytest
from tickstockpl.contracts.errors import UsageError
from tickstockpl.workers.backtest.backtest import Loaded, find
from tickstockpl.workers.backtest.equity import Curve, buy_and_hold, curve_of
from tickstockpl.workers.backtest.find_signals import Found, Minutes
from tickstockpl.workers.backtest.market import Market, Signals
from tickstockpl.workers.backtest.metrics import account_figures, trade_figures
from tickstockpl.workers.backtest.orders import joined, part_of
from tickstockpl.workers.backtest.report import Request
from tickstockpl.workers.backtest.rules import Rules
from tickstockpl.workers.backtest.trading import trade, trade_orders
from tickstockpl.workers.daily.bars import Bars, Split
from tickstockpl.workers.history import CLOSED_DTYPE

from .slow_backtest import backtest

DAY = 1440
FREE = {"commission_rate": 0.0, "slippage_rate": 0.0, "max_position_size": 1.0}


def market_of(**bars):
    """Return a market of symbols -> [(open, high, low, close)], a bar a day."""
    return timed({symbol: [(day * DAY, *bar) for day, bar in enumerate(series)] for symbol, series in bars.items()})


def timed(bars):
    symbols = sorted(bars)
    rows = np.array([bar for symbol in symbols for bar in bars[symbol]], float).reshape(-1, 5)
    bounds = np.cumsum([0, *(len(bars[symbol]) for symbol in symbols)])
    return Market(symbols, bounds, rows[:, 0].astype(np.int64), *rows[:, 1:].T.copy())


def signals_of(*found):
    """Return signals (bar, direction[, confidence, pattern])."""
    rows = [(*one, *(0.8, "Hammer")[len(one) - 2 :]) for one in found]
    bar, direction, confidence, pattern = zip(*rows, strict=True) if rows else ((), (), (), ())
    return Signals(np.array(bar, np.int64), np.array(direction, np.int64), np.array(confidence, float), pattern)


BOTH = {"stop_loss_pct": 0.05, "take_profit_pct": 0.1}
FLAT = (100, 101, 99, 100)


@pytest.mark.parametrize(
    ("bars", "direction", "rules", "wanted"),
    [
        # entry at the next open, end of data at the last close
        ([FLAT, (102, 103, 101, 102), FLAT], 1, {}, (1, 2, 102, 100, "end_of_data")),
        # the stop inside a bar fills at the stop
        ([FLAT, FLAT, (98, 98, 94, 96)], 1, {"stop_loss_pct": 0.05}, (1, 2, 100, 95, "stop")),
        # the stop can be hit in the bar of the entry
        ([FLAT, (100, 101, 90, 91), FLAT], 1, {"stop_loss_pct": 0.05}, (1, 1, 100, 95, "stop")),
        # a gap through the stop fills at the open
        ([FLAT, FLAT, (90, 92, 89, 91)], 1, {"stop_loss_pct": 0.05}, (1, 2, 100, 90, "stop")),
        # the target inside a bar fills at the target
        ([FLAT, FLAT, (105, 112, 104, 106)], 1, {"take_profit_pct": 0.1}, (1, 2, 100, 110, "target")),
        # a gap beyond the target fills at the open, which is better
        ([FLAT, FLAT, (115, 116, 90, 95)], 1, BOTH, (1, 2, 100, 115, "target")),
        # stop and target in one bar: the stop
        ([FLAT, FLAT, (100, 120, 80, 100)], 1, BOTH, (1, 2, 100, 95, "stop")),
        # a short position: the stop is above, the target below
        ([FLAT, FLAT, (100, 106, 99, 100)], -1, {"stop_loss_pct": 0.05}, (1, 2, 100, 105, "stop")),
        ([FLAT, FLAT, (110, 111, 99, 100)], -1, {"stop_loss_pct": 0.05}, (1, 2, 100, 110, "stop")),
        ([FLAT, FLAT, (95, 96, 88, 89)], -1, {"take_profit_pct": 0.1}, (1, 2, 100, 90, "target")),
        # beyond the short target at the open, which is better; the stop of the same bar comes too late
        ([FLAT, FLAT, (85, 110, 84, 85)], -1, BOTH, (1, 2, 100, 85, "target")),
        # stop and target of a short position in one bar: the stop
        ([FLAT, FLAT, (100, 120, 80, 100)], -1, BOTH, (1, 2, 100, 105, "stop")),
        # a bar that only touches the stop, or the target, has hit it
        ([FLAT, FLAT, (98, 99, 95, 97)], 1, BOTH, (1, 2, 100, 95, "stop")),
        ([FLAT, FLAT, (105, 110, 104, 106)], 1, BOTH, (1, 2, 100, 110, "target")),
        ([FLAT, FLAT, (92, 93, 90, 91)], -1, BOTH, (1, 2, 100, 90, "target")),
        # one cent short of the stop: held to the end
        ([FLAT, FLAT, (98, 99, 95.01, 97)], 1, BOTH, (1, 2, 100, 97, "end_of_data")),
        # the market opens lower than the signal's close: the levels are those of the entry, and it is no gap
        ([FLAT, (90, 91, 86, 90), (88, 89, 85, 86)], 1, BOTH, (1, 2, 90, 85.5, "stop")),
        # the target can be hit in the bar of the entry
        ([FLAT, (100, 111, 99, 110), FLAT], 1, BOTH, (1, 1, 100, 110, "target")),
        # the age: closed at the close of its second bar
        ([FLAT, FLAT, (100, 101, 99, 101), FLAT], 1, {"max_bars": 2}, (1, 2, 100, 101, "max_bars")),
        # of one bar: closed at the close of the bar of the entry
        ([FLAT, (100, 104, 99, 103), FLAT], 1, {"max_bars": 1}, (1, 1, 100, 103, "max_bars")),
        # the age is reached in the last bar, or would be behind it
        ([FLAT, FLAT, (100, 101, 99, 101)], -1, {"max_bars": 2}, (1, 2, 100, 101, "max_bars")),
        ([FLAT, FLAT, (100, 101, 99, 101)], -1, {"max_bars": 3}, (1, 2, 100, 101, "end_of_data")),
        # stop and age in one bar: the stop was inside of it
        ([FLAT, FLAT, (98, 98, 94, 96), FLAT], 1, BOTH | {"max_bars": 2}, (1, 2, 100, 95, "stop")),
    ],
)  # fmt: skip
def test_an_order_is_filled_as_the_rules_say(bars, direction, rules, wanted):
    orders = {"stop_loss_pct": None, "take_profit_pct": None} | rules
    (only,) = trade(market_of(A=bars), signals_of((0, direction)), Rules(**FREE, **orders)).trades
    entry, exit_, price, fill, reason = wanted
    assert (only.entry_bar, only.exit_bar, only.reason) == (entry, exit_, reason)
    assert (only.entry_price, only.exit_price) == (price, pytest.approx(fill))
    assert only.profit == pytest.approx(only.shares * direction * (fill - price))


def test_an_opposite_signal_closes_at_the_next_open_and_opens_the_other_way_there():
    bars = [FLAT, FLAT, FLAT, (103, 104, 102, 103), (101, 102, 100, 101)]
    rules = Rules(**FREE, stop_loss_pct=None, take_profit_pct=None)
    first, second = trade(market_of(A=bars), signals_of((0, 1), (2, -1)), rules).trades
    assert (first.exit_bar, first.exit_price, first.reason) == (3, 103, "opposite_signal")
    assert (second.direction, second.entry_bar, second.entry_price, second.reason) == (-1, 3, 103, "end_of_data")
    # 1000 shares at 100 earn 3000; 103,000 buy 1000 short at 103, closed at 101.
    assert (first.profit, second.shares, second.profit) == (3000, 1000, 2000)


def test_a_gap_through_the_stop_comes_before_an_opposite_signal():
    bars = [FLAT, FLAT, FLAT, (90, 92, 89, 91), FLAT]
    first, second = trade(market_of(A=bars), signals_of((0, 1), (2, -1)), Rules(**FREE, **BOTH)).trades
    assert (first.exit_bar, first.exit_price, first.reason) == (3, 90, "stop")
    # The order of the signal opens at the same open; 90 and 5 % is 94.5, and the next bar opens beyond it.
    assert (second.direction, second.entry_bar, second.entry_price) == (-1, 3, 90)
    assert (second.exit_bar, second.exit_price, second.reason) == (4, 100, "stop")


def test_a_signal_of_the_same_direction_changes_nothing():
    bars = [FLAT, FLAT, (100, 101, 99, 101), (100, 101, 96, 97), (94, 95, 93, 94)]
    traded = trade(market_of(A=bars), signals_of((0, 1), (2, 1)), Rules(**FREE, **BOTH))
    (only,) = traded.trades
    assert (only.entry_price, only.exit_bar, only.exit_price) == (100, 4, 94)  # the stop is that of the first entry, 95
    assert traded.passed_over["in_position"] == 1


@pytest.mark.parametrize(("direction", "entry", "fill"), [(1, 101, 94.9905), (-1, 99, 104.9895)])
def test_slippage_makes_entry_and_stop_worse(direction, entry, fill):
    # The stop is 5 % from the slipped entry: 95.95, or 103.95; then 1 % more.
    bars = [FLAT, FLAT, (100, 106, 94, 100)]
    rules = Rules(commission_rate=0, slippage_rate=0.01, stop_loss_pct=0.05, take_profit_pct=None)
    (only,) = trade(market_of(A=bars), signals_of((0, direction)), rules).trades
    assert (only.entry_price, only.exit_price, only.reason) == (entry, pytest.approx(fill), "stop")


def test_a_position_is_a_share_of_the_equity_before_it():
    bars = market_of(
        A=[FLAT, FLAT, (110, 111, 109, 110), FLAT], B=[FLAT] * 2 + [(110, 111, 109, 110), (100, 101, 99, 100)]
    )
    rules = Rules(**FREE | {"max_position_size": 0.1}, initial_capital=10_000, **BOTH | {"stop_loss_pct": None})
    first, second = trade(bars, signals_of((0, 1), (6, 1)), rules).trades
    # 10 % of 10,000 at 100; it earns 100 at its target, and 10 % of 10,100 is 1,010.
    assert (first.symbol, first.shares, first.profit) == (0, 10, pytest.approx(100))
    assert (second.symbol, second.shares, second.entry_price) == (1, 10, 100)
    third = trade(bars, signals_of((0, 1), (6, 1)), msgspec.structs.replace(rules, max_position_size=1.0)).trades[1]
    assert third.shares == 110  # 10,000 at 100 earn 1,000: 11,000 at 100


def test_money_is_free_at_an_open_that_closes_and_only_behind_a_bar_that_closes_inside():
    rules = Rules(**FREE, initial_capital=1000, stop_loss_pct=0.05, take_profit_pct=None)
    other = [FLAT, FLAT, (100, 101, 99, 100), FLAT]
    at_open = market_of(A=[FLAT, FLAT, (90, 91, 89, 90), FLAT], B=other)
    assert [one.shares for one in trade(at_open, signals_of((0, 1), (5, 1)), rules).trades] == [10, 9]  # 900 are left
    inside = market_of(A=[FLAT, FLAT, (98, 98, 94, 96), FLAT], B=other)
    traded = trade(inside, signals_of((0, 1), (5, 1)), rules)
    assert ([one.shares for one in traded.trades], traded.passed_over["no_capital"]) == ([10], 1)


def test_an_order_waits_for_the_next_bar_of_its_own_symbol():
    bars = timed({
        "A": [(0, *FLAT), (5 * DAY, 104, 105, 103, 104), (6 * DAY, 105, 106, 104, 105)],
        "B": [(day * DAY, *FLAT) for day in range(9)],
    })  # fmt: skip
    rules = Rules(**FREE, initial_capital=10_400, stop_loss_pct=None, take_profit_pct=None)
    traded = trade(bars, signals_of((0, 1)), rules)
    (only,) = traded.trades
    assert (int(bars.time[only.entry_bar]), only.entry_price, only.exit_price) == (5 * DAY, 104, 105)
    # 100 shares; behind A's last bar the account keeps what they were worth there.
    assert curve_of(bars.closes, traded.trades, rules).equity.tolist() == [10_400] * 6 + [10_500] * 3


@pytest.mark.parametrize("timeframe", ["daily", "1min"])
def test_a_split_is_no_loss(timeframe):
    """Two for one: 100 dollars become 50, which no stop takes for a fall."""
    first_day = (date(2025, 6, 2) - date(1970, 1, 1)).days
    days, prices = first_day + np.arange(4), np.array([100.0, 100, 51, 52])
    if timeframe == "daily":
        bars = Bars(["A"], np.array([0, 4]), days, prices, prices, prices, prices, np.ones(4))
    else:
        bars = np.zeros(4, CLOSED_DTYPE)
        bars["minute"] = days * DAY + 15 * 60  # 11:00 in New York
        for name in ("open", "high", "low", "close"):
            bars[name] = prices
        bars = Minutes(["A"], bars, {}, frozenset())
    request = Request(symbols=("A",), patterns=(), start="2025-06-02", end="2025-06-05", timeframe=timeframe)
    market, _ = find(Loaded(bars, [Split("A", first_day + 2, 2.0)]), request, [])
    (only,) = trade(market, signals_of((0, 1)), Rules(**FREE, **BOTH)).trades
    # Bought at 50 in the unit of the newest day, 2,000 shares for 100,000; sold at 52, the last close.
    assert (only.entry_price, only.exit_price, only.shares, only.profit) == (50, 52, 2000, 4000)
    assert only.reason == "end_of_data"


def test_costs_are_paid_at_both_ends_and_a_target_has_no_slippage():
    bars = [FLAT, FLAT, (105, 112, 104, 106)]
    rules = Rules(initial_capital=10_000, max_position_size=0.5, commission_rate=0.01, slippage_rate=0.01,
                  take_profit_pct=0.1)  # fmt: skip
    (only,) = trade(market_of(A=bars), signals_of((0, 1)), rules).trades
    # bought at 101; 5000 / (101 * 1.01) = 49.01 shares; sold at 111.1
    assert (only.shares, only.entry_price, only.exit_price) == (49, pytest.approx(101), pytest.approx(111.1))
    assert only.commission == pytest.approx(49 * 101 * 0.01 + 49 * 111.1 * 0.01)
    assert only.profit == pytest.approx(49 * 10.1 - only.commission)


def test_a_position_is_capped_by_the_money_that_is_not_bound():
    two = market_of(A=[FLAT] * 3, B=[FLAT] * 3, C=[FLAT] * 3)
    rules = Rules(**FREE | {"max_position_size": 0.6}, initial_capital=1000, stop_loss_pct=None, take_profit_pct=None)
    traded = trade(two, signals_of((0, 1, 0.5), (3, 1, 0.9), (6, -1, 0.4)), rules)
    # B is the most confident: 6 shares; then A: 4 shares of what is left; nothing for C, short as it is.
    assert [(one.symbol, one.shares) for one in traded.trades] == [(0, 4), (1, 6)]
    assert traded.passed_over["no_capital"] == 1


def test_what_opens_no_position_is_counted():
    bars = market_of(A=[FLAT] * 4)
    traded = trade(bars, signals_of((0, 1), (1, 1), (3, 1)), Rules(**FREE, short=False))
    assert traded.passed_over == {"in_position": 1, "no_next_bar": 1, "no_capital": 0, "short_not_allowed": 0}
    assert trade(bars, signals_of((0, -1)), Rules(short=False)).passed_over["short_not_allowed"] == 1


def test_a_bar_has_one_signal_and_a_torn_one_none():
    bars = market_of(A=[FLAT] * 5)
    found = signals_of(
        (0, 1, 0.7, "Hammer"), (0, -1, 0.9, "ShootingStar"), (1, 1, 0.6, "Hammer"), (1, -1, 0.6, "Evening"), (2, 0)
    )
    (only,) = trade(bars, found, Rules(**FREE)).trades
    assert (only.pattern, only.direction, only.exit_bar) == ("ShootingStar", -1, 4)


# Of many bars with few signals: positions last for many blocks of bars.
@pytest.mark.parametrize(("seed", "bars_of_all"), [*((seed, 120) for seed in range(30)), (30, 4_000), (31, 4_000)])
def test_an_account_equals_that_of_an_engine_of_plain_python_to_the_cent(seed, bars_of_all):
    random = np.random.default_rng(seed)
    rules = Rules(
        initial_capital=float(random.choice([500, 20_000, 1e6])),
        commission_rate=float(random.choice([0, 0.002])),
        slippage_rate=float(random.choice([0, 0.003])),
        max_position_size=float(random.choice([0.1, 0.5, 1.0])),
        stop_loss_pct=[None, 0.01, 0.05][random.integers(3)],
        take_profit_pct=[None, 0.01, 0.1][random.integers(3)],
        max_bars=[None, 1, 7][random.integers(3)],
        short=bool(random.integers(2)),
    )
    bars, found, move = {}, [], 0.02 if bars_of_all == 120 else 0.001
    for symbol in "ABCD":
        times = np.sort(random.choice(bars_of_all, size=random.integers(2, bars_of_all), replace=False)) * DAY
        close = 50 * np.exp(np.cumsum(random.normal(0, move, len(times))))
        opened = close * np.exp(random.normal(0, move, len(times)))
        spread = np.abs(random.normal(0, move / 2, (2, len(times))))
        high, low = np.maximum(opened, close) * (1 + spread[0]), np.minimum(opened, close) * (1 - spread[1])
        bars[symbol] = [tuple(map(float, row)) for row in zip(times, opened, high, low, close, strict=True)]
        for bar in random.choice(len(times), size=random.integers(0, min(120, len(times)))):
            direction, confidence = int(random.integers(-1, 2)), float(random.choice([0.5, 0.7, 0.9]))
            found.append((symbol, int(bar), direction, confidence, "P"))
    market = timed(bars)
    first = dict(zip(market.symbols, market.bounds.tolist(), strict=False))
    traded = trade(market, signals_of(*((first[s] + bar, *rest) for s, bar, *rest in found)), rules)
    parts = [
        part_of(Found(timed({s: bars[s]}), signals_of(*(one[1:] for one in found if one[0] == s))), rules) for s in bars
    ]
    assert trade_orders(*joined(parts)[:2], rules) == traded  # some symbols at a time, as a backtest reads them
    slow_trades, slow_curve = backtest(bars, found, rules)
    got = [
        (market.symbols[one.symbol], one.pattern, one.direction, market.time[one.entry_bar], market.time[one.exit_bar],
         one.entry_price, one.exit_price, one.shares, one.profit, one.reason)
        for one in traded.trades
    ]  # fmt: skip
    assert len(got) == len(slow_trades)
    for mine, theirs in zip(got, slow_trades, strict=True):
        assert (*mine[:5], *mine[7:8], mine[9]) == (*theirs[:5], *theirs[7:8], theirs[9])
        assert (mine[5], mine[6], mine[8]) == pytest.approx((theirs[5], theirs[6], theirs[8]), abs=0.005)
    curve = curve_of(market.closes, traded.trades, rules)
    assert curve.equity == pytest.approx([slow_curve[time] for time in curve.time.tolist()], abs=0.005)


# By empyrical-reloaded 0.7.1, from the returns of these closes: annual_return, sharpe_ratio, sortino_ratio.
CLOSES = [100, 102, 101, 99, 103, 104, 98, 97, 101, 106, 105, 110, 108, 111]
BY_EMPYRICAL = {
    "daily": (6.560813260855671, 4.170265248457579, 7.426977886370522),
    "weekly": (0.5180704099999993, 1.894371190862125, 3.3737549304121957),
    "monthly": (0.10112493105849962, 0.9100264842428892, 1.6206994451931451),
}


@pytest.mark.parametrize("timeframe", BY_EMPYRICAL)
def test_figures_equal_those_of_empyrical(timeframe):
    days = np.arange(1, len(CLOSES))
    curve = Curve(days * DAY, np.array(CLOSES[1:], float), np.zeros(len(days)))
    figures = account_figures(curve, CLOSES[0], timeframe)
    assert (figures.annual_return, figures.sharpe, figures.sortino) == pytest.approx(BY_EMPYRICAL[timeframe])
    assert (figures.max_drawdown, figures.total_return) == pytest.approx((-0.0673076923076923, 0.11))


def test_the_benchmark_holds_an_equal_share_of_each_symbol():
    bars = timed({"A": [(DAY, 100, 100, 100, 110)], "B": [(2 * DAY, 50, 50, 50, 50), (3 * DAY, 50, 50, 50, 25)]})
    curve = buy_and_hold(bars.closes, Rules(initial_capital=1000, commission_rate=0, slippage_rate=0))
    assert curve.equity.tolist() == [1050, 1050, 800]  # 5 shares of A; 10 of B from the second day on
    assert curve.exposure.tolist() == [550, 1050, 800]


def test_what_has_no_value_is_none():
    bars = market_of(A=[FLAT] * 3)
    rules = Rules()
    figures = account_figures(curve_of(bars.closes, [], rules), rules.initial_capital, "daily")
    assert (figures.sharpe, figures.sortino, figures.total_return, figures.exposure) == (None, None, 0.0, 0.0)
    nothing = trade_figures([])
    assert (nothing.trades, nothing.win_rate, nothing.profit_factor, nothing.best) == (0, None, None, None)


def test_rules_out_of_bounds_are_refused():
    with pytest.raises(UsageError, match=r"commission_rate: 0.02 is not between 0 and 0.01"):
        Rules(commission_rate=0.02).check()
