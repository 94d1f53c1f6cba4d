"""The value of an account at each close: with the trades, and with the same symbols bought and held. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ...contracts.ticks import Column
from .exits import END_OF_DATA
from .market import Market
from .rules import Rules
from .trading import Trade


class Curve(NamedTuple):
    """An account at n times. time: (n,) the start of the bars, minutes since 1970. equity, exposure: (n,) dollars.

    exposure: the value of the open positions; short ones count as positive numbers.
    """

    time: Column
    equity: Column
    exposure: Column


def curve_of(market: Market, trades: Sequence[Trade], rules: Rules) -> Curve:
    """Return the account at the close of every bar: cash, plus the positions at their symbols' last closes."""
    times = np.unique(market.time)
    cash = np.zeros(len(times))
    value, exposure = np.zeros(len(times)), np.zeros(len(times))
    for symbol in sorted({one.symbol for one in trades}):
        held = np.zeros(len(times))
        for one in (one for one in trades if one.symbol == symbol):
            first, last = np.searchsorted(times, market.time[[one.entry_bar, one.exit_bar]])
            last = len(times) - 1 if one.reason == END_OF_DATA else last
            shares = one.direction * one.shares
            entry_commission = one.shares * one.entry_price * rules.commission_rate
            cash[first] -= shares * one.entry_price + entry_commission
            cash[last] += shares * one.exit_price - (one.commission - entry_commission)
            held[first] += shares
            held[last] -= shares
        worth = np.cumsum(held) * closes_at(market, symbol, times)
        value += worth
        exposure += np.abs(worth)
    return Curve(times, rules.initial_capital + np.cumsum(cash) + value, exposure)


def closes_at(market: Market, symbol: int, times: Column) -> Column:
    """Return a symbol's last close at each time; before its first bar, the open of that bar."""
    first, last = market.bounds[symbol : symbol + 2]
    at = np.searchsorted(market.time[first:last], times, side="right") - 1
    closes: Column = np.where(at < 0, market.open[first], market.close[first + np.maximum(at, 0)])
    return closes


def buy_and_hold(market: Market, rules: Rules) -> Curve:
    """Return an account that puts an equal share into each symbol at its first open, and sells nothing.

    It buys fractions of shares, and pays slippage and commission at the entry.
    """
    times = np.unique(market.time)
    there = [symbol for symbol in range(len(market.symbols)) if market.bounds[symbol] < market.bounds[symbol + 1]]
    part = rules.initial_capital / max(len(there), 1)
    equity, exposure = np.zeros(len(times)), np.zeros(len(times))
    for symbol in there:
        first = market.bounds[symbol]
        price = market.open[first] * (1 + rules.slippage_rate) * (1 + rules.commission_rate)
        is_in = times >= market.time[first]
        worth = part / price * closes_at(market, symbol, times)
        equity += np.where(is_in, worth, part)
        exposure += np.where(is_in, worth, 0.0)
    return Curve(times, equity, exposure)
