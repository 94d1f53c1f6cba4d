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
_NEAR = 16  # bars, or blocks, in the first search: most exits are near
_BLOCK, _WIDEST = 64, 1024  # bars of a block; blocks in one search
_CELLS = 1 << 17  # positions x places in one search: 1 MB a column stays in the processor's cache
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
    """Return for each signal the bar after the symbol's next opposite signal; `none` if no such signal follows."""
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
    for side in (1, -1):
        left = rows[orders.direction[rows] == side]
        extremes, start = _extremes_of(market, side) if len(left) else None, orders.entry.copy()
        while extremes and len(left):
            at = _first_touch(extremes, _Touch(*(column[left] for column in _touches(orders, side))), start[left])
            closes, *found = _look(market, orders, left, at)
            some = left[closes]
            bar[some] = at[closes]
            fill[some], at_open[some], reason[some] = (column[closes] for column in found)
            left = left[~closes]
            start[left] = at[~closes] + 1
    return bar, fill, at_open, reason


class _Extremes(NamedTuple):
    """The worst and best price of each bar, and of each block of bars, for one side; negated for short positions."""

    worst: Column
    best: Column
    worst_of_block: Column
    best_of_block: Column


class _Touch(NamedTuple):
    """What ends the search of each position: a price down to `stop` or up to `target`, or the bar `end`."""

    stop: Column
    target: Column
    end: Column


def _extremes_of(market: Market, side: int) -> _Extremes:
    low, high = np.minimum(market.low, market.open), np.maximum(market.high, market.open)
    worst, best = (low, high) if side > 0 else (-high, -low)
    blocks = np.arange(0, len(worst), _BLOCK)
    return _Extremes(worst, best, np.minimum.reduceat(worst, blocks), np.maximum.reduceat(best, blocks))


def _touches(orders: _Orders, side: int) -> _Touch:
    return _Touch(side * orders.stop, side * orders.target, np.minimum(orders.last, orders.opposite))


def _first_touch(extremes: _Extremes, touch: _Touch, start: Column) -> Column:
    """Return the first bar from `start` on that may close each position: first the next bars, then block by block."""
    found = _first(extremes.worst, extremes.best, touch, start, _NEAR)
    left, start = np.flatnonzero(found < 0), start + _NEAR
    while len(left):
        rest = _Touch(*(column[left] for column in touch))
        block = _first_block(extremes, rest, start[left] // _BLOCK)
        start[left] = np.maximum(start[left], block * _BLOCK)
        found[left] = _first(extremes.worst, extremes.best, rest, start[left], _BLOCK)
        left, before = left[found[left] < 0], left
        start[before] += _BLOCK
    return found


def _first_block(extremes: _Extremes, touch: _Touch, start: Column) -> Column:
    """Return the first block from `start` on with a bar that may close each position."""
    touch, found, left, width = touch._replace(end=touch.end // _BLOCK), start.copy(), np.arange(len(start)), _NEAR
    while len(left):
        some = _Touch(*(column[left] for column in touch))
        found[left] = _first(extremes.worst_of_block, extremes.best_of_block, some, start[left], width)
        left = left[found[left] < 0]
        start[left] += width
        width = min(width * 4, _WIDEST)
    return found


def _first(worst: Column, best: Column, touch: _Touch, start: Column, width: int) -> Column:
    """Return the first of `width` places from `start` on that ends each search, -1 if none does."""
    found = np.full(len(start), -1)
    step = max(1, _CELLS // width)
    for begin in range(0, len(start), step):
        some = slice(begin, begin + step)
        stop, target, end = (column[some, None] for column in touch)
        at = np.minimum(start[some, None] + np.arange(width), end)
        ends = (worst[at] <= stop) | (best[at] >= target) | (at == end)
        first = ends.argmax(axis=1)[:, None]
        found[some] = np.where(np.take_along_axis(ends, first, 1), np.take_along_axis(at, first, 1), -1)[:, 0]
    return found


def _look(market: Market, orders: _Orders, rows: Column, bar: Column) -> tuple[Column, Column, Column, Column]:
    """Tell which positions are closed in these bars; return also fill, at_open and reason of each."""
    side, opened = orders.direction[rows], market.open[bar]
    worst, best = (
        np.where(side > 0, market.low[bar], -market.high[bar]),
        np.where(side > 0, market.high[bar], -market.low[bar]),
    )
    stop, target = orders.stop[rows], orders.target[rows]
    is_later = bar > orders.entry[rows]  # the entry is at the first bar's open: no gap can hit it
    gap_stop, gap_target = (is_later & (side * opened <= side * stop), is_later & (side * opened >= side * target))
    opposite = bar >= orders.opposite[rows]
    which = [gap_stop, gap_target, opposite, worst <= side * stop, best >= side * target]
    fill = np.select(which, [opened, opened, opened, stop, target], default=market.close[bar])
    reason = np.select(which, [STOP, TARGET, OPPOSITE, STOP, TARGET], default=AGE)
    return np.any(which, axis=0) | (bar == orders.last[rows]), fill, gap_stop | gap_target | opposite, reason
