"""Where a signal's position is opened and closed. It depends on the bars and the signals only, not on the money. Pure.

A signal of bar t is an order for the open of the symbol's next bar. From that bar on, in this order:
- At the open: a gap beyond the stop closes there, then a gap beyond the target, then the order of an opposite signal
  of the bar before. All fill at the open.
- Inside the bar: the stop, then the target. A bar does not show which of the two came first: the worse one is assumed.
- At the close: the position has reached max_bars.
- A position that is still open after all bars is closed at its symbol's last close, with the reason end_of_data.
"""

from typing import NamedTuple

import numpy as np

from ...contracts.ticks import Column
from .market import Market, Signals, owners_of
from .rules import Rules

STOP, TARGET, OPPOSITE, AGE, END = range(5)
END_OF_DATA = "end_of_data"
REASONS = ("stop", "target", "opposite_signal", "max_bars", END_OF_DATA)
_FIRST_BLOCK, _LARGEST_BLOCK = 16, 1024  # bars of each position in one search
_CELLS = 1 << 20  # positions x bars in one search: 8 MB a column
_LEVEL_DECIMALS = 9  # of a price level; prices have 6


class Exits(NamedTuple):
    """For each of n signals: the bars of its entry and its exit, and why it is closed.

    entry, bar: numbers of the bars of entry and exit, -1 if the signal has no next bar. price, fill: prices of entry
    and exit, slippage included. at_open: the exit is at the open of its bar. reason: index in REASONS.
    """

    entry: Column
    price: Column
    bar: Column
    fill: Column
    at_open: Column
    reason: Column


class _Orders(NamedTuple):
    """The positions whose exits are searched. stop, target: prices; infinite if the rules have no such order."""

    direction: Column
    entry: Column
    stop: Column
    target: Column
    last: Column  # the last possible bar of the position: by max_bars, or the symbol's last bar
    opposite: Column  # the bar at whose open an opposite signal closes it; the number of all bars: none


def find_exits(market: Market, signals: Signals, rules: Rules) -> Exits:
    """Return the entry and exit of each signal as if it were traded alone. signals: ordered by bar, one a bar."""
    owner = owners_of(signals.bar, market.bounds)
    ends = market.bounds[1:][owner]
    has_next = signals.bar + 1 < ends
    entry = np.where(has_next, signals.bar + 1, -1)
    slipped = 1 + signals.direction * rules.slippage_rate
    price = np.where(has_next, market.open[entry] * slipped, np.nan)
    last = ends - 1 if rules.max_bars is None else np.minimum(ends - 1, entry + rules.max_bars - 1)
    orders = _Orders(
        signals.direction,
        entry,
        _level(price, -signals.direction, rules.stop_loss_pct),
        _level(price, signals.direction, rules.take_profit_pct),
        last,
        _opposite_opens(signals, owner, len(market.time)),
    )
    bar, fill, at_open, reason = _look_through(market, orders, np.flatnonzero(has_next))
    reason[(reason == AGE) & (bar == ends - 1) & (bar - entry + 1 < (rules.max_bars or np.inf))] = END
    worse = np.where(reason == TARGET, 1.0, 1 - signals.direction * rules.slippage_rate)
    return Exits(entry, price, bar, fill * worse, at_open, reason)


def _level(price: Column, direction: Column, share: float | None) -> Column:
    """Return the price at this distance (a share of the price) from the entry; infinite if the share is None.

    10 % above 100 is 110, not 110.00000000000001: a bar whose high is 110 has reached it.
    """
    return direction * np.inf if share is None else np.round(price * (1 + direction * share), _LEVEL_DECIMALS)


def _opposite_opens(signals: Signals, owner: Column, none: int) -> Column:
    """Return for each signal the bar after the symbol's next signal of the other direction; `none` if there is none."""
    following = np.full(len(signals), none)
    for direction in (1, -1):
        mine, others = np.flatnonzero(signals.direction == direction), np.flatnonzero(signals.direction == -direction)
        upcoming = np.append(others, -1)[np.searchsorted(others, mine)]
        has_one = (upcoming >= 0) & (owner[upcoming] == owner[mine])
        following[mine[has_one]] = signals.bar[upcoming[has_one]] + 1
    return following


def _look_through(market: Market, orders: _Orders, rows: Column) -> tuple[Column, Column, Column, Column]:
    """Return bar, fill (without slippage), at_open and reason of each exit. rows: the positions that have an entry."""
    n = len(orders.entry)
    bar, fill = np.full(n, -1), np.full(n, np.nan)
    at_open, reason = np.zeros(n, bool), np.full(n, END)
    start, block = orders.entry.copy(), _FIRST_BLOCK
    while len(rows):
        left = []
        step = max(1, _CELLS // block)
        for some in (rows[i : i + step] for i in range(0, len(rows), step)):
            found = _look(market, orders, some, start[some], block)
            bar[some], fill[some], at_open[some], reason[some] = found
            left.append(some[found[0] < 0])
        rows = np.concatenate(left)
        start[rows] += block
        block = min(block * 4, _LARGEST_BLOCK)
    return bar, fill, at_open, reason


def _look(
    market: Market, orders: _Orders, rows: Column, start: Column, block: int
) -> tuple[Column, Column, Column, Column]:
    """Search `block` bars of each position, from `start` on; bar is -1 if none of them closes it."""
    at = start[:, None] + np.arange(block)
    last, side = orders.last[rows, None], orders.direction[rows, None]
    is_there, at = at <= last, np.minimum(at, last)
    opened = market.open[at]
    low, high = (
        np.where(side > 0, market.low[at], -market.high[at]),
        np.where(side > 0, market.high[at], -market.low[at]),
    )
    stop, target = side * orders.stop[rows, None], side * orders.target[rows, None]
    is_later = at > orders.entry[rows, None]  # the entry is at the first bar's open: no gap can hit it
    gap_stop, gap_target = is_later & (side * opened <= stop), is_later & (side * opened >= target)
    opposite = at >= orders.opposite[rows, None]
    hit_stop, hit_target = low <= stop, high >= target
    is_last = at == last
    closes = is_there & (gap_stop | gap_target | opposite | hit_stop | hit_target | is_last)
    first = closes.argmax(axis=1)
    pick = (np.arange(len(rows)), first)
    which = [gap_stop[pick], gap_target[pick], opposite[pick], hit_stop[pick], hit_target[pick]]
    price, bar = opened[pick], at[pick]
    fill = np.select(which, [price, price, price, orders.stop[rows], orders.target[rows]], default=market.close[bar])
    reason = np.select(which, [STOP, TARGET, OPPOSITE, STOP, TARGET], default=AGE)
    return np.where(closes[pick], bar, -1), fill, which[0] | which[1] | which[2], reason
