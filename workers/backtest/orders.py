"""Orders: the signals that may be traded, with their exits.

To trade them, only the closes of the bars are needed. Pure.

Symbols are looked through a few at a time and then joined, so that the memory of a backtest does not grow with all
columns of all bars.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ...contracts.ticks import Column
from .exits import END, Exits, find_exits
from .find_signals import Found
from .market import Closes, Market, Signals, one_a_bar, owners_of
from .rules import Rules

NEVER = 2**62  # later than any bar


class Orders(NamedTuple):
    """n signals, one a bar, with their exits. owner: (n,) their symbols. entry_time, exit_time: starts of these bars.

    entry_time is NEVER for a signal without a next bar, exit_time for a position that is open after all bars.
    """

    signals: Signals
    exits: Exits
    owner: Column
    entry_time: Column
    exit_time: Column


class Part(NamedTuple):
    """Some symbols of a backtest. signals: how many were found; the orders are those of them that may be traded."""

    closes: Closes
    orders: Orders
    signals: int


def find_orders(market: Market, signals: Signals, rules: Rules) -> Orders:
    """Choose one signal a bar, and find the entry and exit of each."""
    chosen = one_a_bar(signals)
    exits = find_exits(market, chosen, rules)
    entry_time = np.full(len(chosen), NEVER)
    exit_time, has_next, ends = entry_time.copy(), exits.entry >= 0, (exits.entry >= 0) & (exits.reason != END)
    entry_time[has_next], exit_time[ends] = market.time[exits.entry[has_next]], market.time[exits.bar[ends]]
    return Orders(chosen, exits, owners_of(chosen.bar, market.bounds), entry_time, exit_time)


def part_of(found: Found, rules: Rules) -> Part:
    """Find the orders of some symbols, and leave out all that is not needed to trade them."""
    return Part(found.market.closes, find_orders(found.market, found.signals, rules), len(found.signals))


def joined(parts: Sequence[Part]) -> Part:
    """Join parts to one: symbols and bars of one part follow those of the part before."""
    closes, orders = [part.closes for part in parts], [part.orders for part in parts]
    bars = np.cumsum([0, *(len(one.time) for one in closes)]).tolist()
    symbols = np.cumsum([0, *(len(one.symbols) for one in closes)]).tolist()
    return Part(
        _joined_closes(closes, bars),
        _joined_orders([_moved(one, *by) for one, *by in zip(orders, bars, symbols, strict=False)]),
        sum(part.signals for part in parts),
    )


def _joined_closes(parts: Sequence[Closes], bars: Sequence[int]) -> Closes:
    bounds = [part.bounds[1:] + shift for part, shift in zip(parts, bars, strict=False)]
    columns = (np.concatenate(columns) for columns in zip(*(part[2:] for part in parts), strict=True))
    return Closes([name for part in parts for name in part.symbols], np.concatenate([[0], *bounds]), *columns)


def _moved(orders: Orders, bars: int, symbols: int) -> Orders:
    """Return orders with larger numbers of bars and symbols."""
    signals, exits = orders.signals, orders.exits
    entry, bar = (np.where(column < 0, column, column + bars) for column in (exits.entry, exits.bar))
    return orders._replace(
        signals=Signals(signals.bar + bars, *signals[1:]),
        exits=exits._replace(entry=entry, bar=bar),
        owner=orders.owner + symbols,
    )


def _joined_orders(parts: Sequence[Orders]) -> Orders:
    signals = Signals(
        np.concatenate([part.signals.bar for part in parts]),
        np.concatenate([part.signals.direction for part in parts]),
        np.concatenate([part.signals.confidence for part in parts]),
        [name for part in parts for name in part.signals.pattern],
    )
    exits = Exits(*map(np.concatenate, zip(*(part.exits for part in parts), strict=True)))
    others = map(np.concatenate, zip(*(part[2:] for part in parts), strict=True))
    return Orders(signals, exits, *others)
