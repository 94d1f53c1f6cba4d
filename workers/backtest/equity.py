"""The value of an account at each close: with the trades, and with the same symbols bought and held. Pure."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ...contracts.ticks import Column
from .exits import END_OF_DATA
from .market import Closes
from .rules import Rules
from .trading import Trade


class Curve(NamedTuple):
    """An account at n times. time: (n,) the start of the bars, minutes since 1970. equity, exposure: (n,) dollars.

    exposure: the value of the open positions; short ones count as positive numbers.
    """

    time: Column
    equity: Column
    exposure: Column


def curve_of(closes: Closes, trades: Sequence[Trade], rules: Rules) -> Curve:
    """Return the account at the close of every bar: cash, plus the positions at their symbols' last closes."""
    times = _times_of(closes)
    cash = np.zeros(len(times))
    value, exposure = np.zeros(len(times)), np.zeros(len(times))
    for symbol, some in _by_symbol(trades):
        at, money, shares = _moves(closes, times, some, rules)
        np.add.at(cash, at, money)
        held = np.zeros(len(times))
        np.add.at(held, at, shares)
        worth = np.cumsum(held) * closes_at(closes, symbol, times)
        value += worth
        exposure += np.abs(worth)
    return Curve(times, rules.initial_capital + np.cumsum(cash) + value, exposure)


def _times_of(closes: Closes) -> Column:
    """Return the times of all bars, ascending."""
    times = closes.time[:0]
    for first, last in pairwise(closes.bounds.tolist()):
        mine = closes.time[first:last]
        if not np.array_equal(times, mine):
            times = np.union1d(times, mine) if len(times) else mine
    return times


def _by_symbol(trades: Sequence[Trade]) -> list[tuple[int, list[Trade]]]:
    groups: dict[int, list[Trade]] = {}
    for one in trades:
        groups.setdefault(one.symbol, []).append(one)
    return sorted(groups.items())


def _moves(closes: Closes, times: Column, trades: list[Trade], rules: Rules) -> tuple[Column, Column, Column]:
    """Return of each entry and exit its index in times, and the cash and the shares that it adds: (2 n,) each.

    The exit of a trade follows its entry.
    """
    bars = np.array([(one.entry_bar, one.exit_bar) for one in trades]).T
    entry, left = np.searchsorted(times, closes.time[bars])
    left[[one.reason == END_OF_DATA for one in trades]] = len(times) - 1
    held, bought, sold, paid = np.array([(t.shares, t.entry_price, t.exit_price, t.commission) for t in trades]).T
    shares = held * [one.direction for one in trades]
    entry_commission = held * bought * rules.commission_rate
    money = -(shares * bought + entry_commission), shares * sold - (paid - entry_commission)
    at, cash, moved = (np.column_stack(two).ravel() for two in ((entry, left), money, (shares, -shares)))
    return at, cash, moved


def closes_at(closes: Closes, symbol: int, times: Column) -> Column:
    """Return a symbol's last close at each time; before its first bar, the open of that bar."""
    first, last = closes.bounds[symbol : symbol + 2]
    mine, close = closes.time[first:last], closes.close[first:last]
    if np.array_equal(mine, times):
        return close
    at = np.searchsorted(mine, times, side="right") - 1
    found: Column = np.where(at < 0, closes.first_open[symbol], close[np.maximum(at, 0)])
    return found


def buy_and_hold(closes: Closes, rules: Rules) -> Curve:
    """Return an account that puts an equal share into each symbol at its first open, and sells nothing.

    It buys fractions of shares, and pays slippage and commission at the entry.
    """
    times = _times_of(closes)
    there = np.flatnonzero(np.diff(closes.bounds)).tolist()
    part = rules.initial_capital / max(len(there), 1)
    equity, exposure = np.zeros(len(times)), np.zeros(len(times))
    for symbol in there:
        price = closes.first_open[symbol] * (1 + rules.slippage_rate) * (1 + rules.commission_rate)
        is_in = times >= closes.time[closes.bounds[symbol]]
        worth = part / price * closes_at(closes, symbol, times)
        equity += np.where(is_in, worth, part)
        exposure += np.where(is_in, worth, 0.0)
    return Curve(times, equity, exposure)
