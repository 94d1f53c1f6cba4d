"""The same bars in another order: patterns found in them come from chance alone.

A bar is stored as steps: from the close before to its open, and from there to its high, low and close; and its volume.
The bars of a stretch are put into another order, and the prices are computed again from the steps. So a stretch keeps
its bars and its first and last prices, but not their order. Steps of minute bars are in dollars, which keeps prices in
whole cents; those of daily bars are ratios, because a share's price changes much more in a year.
"""

import numpy as np

from ...contracts.ticks import Column
from ...workers.sessions import session_of
from .bar_files import EPOCH_DAY, Market, day_of

_DECIMALS = 9  # smaller differences of sums of steps are rounding
_NARROW_MINUTES = 30
_QUARTER_MONTHS = 3


def stretches(market: Market, *, narrow: bool) -> Column:
    """Return for each bar the number of the stretch in which it is shuffled, in their order.

    Wide: the regular hours of a symbol's day, and the time before and after them; for daily bars a year. Narrow: half
    an hour, for daily bars a quarter.
    """
    symbols, minutes = market.bars["symbol"], market.bars["minute"]
    if not market.is_daily:
        part = minutes // _NARROW_MINUTES if narrow else day_of(minutes)
        return _numbered(symbols, part, session_of(minutes) >= 0)
    months = (np.datetime64(EPOCH_DAY) + day_of(minutes).astype("timedelta64[D]")).astype("datetime64[M]")
    return _numbered(symbols, months.astype(np.int64) // (_QUARTER_MONTHS if narrow else 12))


def shuffled(market: Market, stretch: Column, runs: Column, rng: np.random.Generator) -> Market:
    """Return the bars with those of each stretch in another order; minutes stay.

    stretch: from `stretches`. runs: a mask of the bars that begin a run of a symbol (its first one, and one after a
    split). The first bar of a run, and of a day's hours, keeps its place, because its step includes a night and
    its volume the opening.
    """
    bars = market.bars
    to, back = (np.log, np.exp) if market.is_daily else (_as_it_is, _rounded)
    opened, high, low, close = (to(bars[name]) for name in ("open", "high", "low", "close"))
    before = np.where(runs, opened, np.roll(close, 1))
    fixed = runs if market.is_daily else runs | _begin(stretches(market, narrow=False))
    order = _order(stretch, fixed, rng)
    # Each run begins at its own first close, which stays; after it, add the steps from close to close.
    total = np.cumsum(np.where(runs, 0.0, (close - before)[order]))
    first = np.flatnonzero(runs)[np.cumsum(runs) - 1]
    closes = close[first] + total - total[first]
    opens = np.where(runs, opened, np.roll(closes, 1)) + (opened - before)[order]
    out = bars.copy()
    for name, price in (("open", opened), ("high", high), ("low", low), ("close", close)):
        out[name] = back(opens + (price - opened)[order])
    out["volume_micro"], out["notional"] = bars["volume_micro"][order], bars["notional"][order]
    return market._replace(bars=out)


def _order(stretch: Column, fixed: Column, rng: np.random.Generator) -> Column:
    """Return a random order of the bars of each stretch; fixed bars keep their places."""
    order = np.arange(len(stretch))
    loose = np.flatnonzero(~fixed)
    order[loose] = loose[np.lexsort((rng.random(len(loose)), stretch[loose]))]
    return order


def _numbered(*parts: Column) -> Column:
    begins = np.logical_or.reduce([_begin(part) for part in parts])
    return np.cumsum(begins) - 1


def _begin(part: Column) -> Column:
    return np.concatenate([[True], part[1:] != part[:-1]])


def _as_it_is(prices: Column) -> Column:
    return np.asarray(prices, np.float64)


def _rounded(prices: Column) -> Column:
    return np.round(prices, _DECIMALS)
