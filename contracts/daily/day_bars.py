"""A vendor's daily bars of many symbols as columns, and the check that refuses impossible rows. Pure."""

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from datetime import date, timedelta
from typing import NamedTuple

import numpy as np

from ..ticks import MAX_PRICE, MAX_SIZE, Column

_FIRST_DAY = date(1970, 1, 1)
VALUES = ("open", "high", "low", "close", "volume")


class RefusedDay(NamedTuple):
    """A row that is not used, and why."""

    symbol: str
    day: date
    why: str


class DayBars(NamedTuple):
    """n daily bars as columns, with prices as they were traded (not adjusted for splits).

    day: int64, the day in New York as days since 1970. The others: float64, prices in dollars, volume in shares.
    refused: the rows that are not among the n bars.
    """

    symbols: Sequence[str]
    day: Column
    open: Column
    high: Column
    low: Column
    close: Column
    volume: Column
    refused: Sequence[RefusedDay] = ()

    def at(self, places: Column) -> "DayBars":
        """Return some of the bars; `refused` stays."""
        day, opened, high, low, close, volume = (column[places] for column in self[1:7])
        symbols = [self.symbols[place] for place in places.tolist()]
        return DayBars(symbols, day, opened, high, low, close, volume, self.refused)


# A function (days, symbols) -> their bars. Some bars may be missing; each symbol and day comes at most once.
DaySource = Callable[[Sequence[date], Sequence[str]], DayBars]


def day_number(day: date) -> int:
    """Return a day as days since 1970."""
    return (day - _FIRST_DAY).days


def day_of_number(number: int) -> date:
    """Return the day with this number of days since 1970."""
    return _FIRST_DAY + timedelta(days=number)


def bars_of_rows(rows: Sequence[Sequence[float]], symbols: Sequence[str]) -> DayBars:
    """Make columns of rows (day, open, high, low, close, volume). NaN: the vendor gives no value."""
    table = np.array(rows, np.float64).reshape(len(symbols), 6)
    opened, high, low, close, volume = (table[:, i] for i in range(1, 6))
    return DayBars(symbols, table[:, 0].astype(np.int64), opened, high, low, close, volume)


def joined(parts: Sequence[DayBars]) -> DayBars:
    """Return the bars of several answers as one."""
    parts = parts or [bars_of_rows([], [])]
    day, opened, high, low, close, volume = (np.concatenate([part[i] for part in parts]) for i in range(1, 7))
    refused = [one for part in parts for one in part.refused]
    symbols = [symbol for part in parts for symbol in part.symbols]
    return DayBars(symbols, day, opened, high, low, close, volume, refused)


def wanted_of(bars: DayBars, days: Sequence[date], symbols: Sequence[str]) -> DayBars:
    """Return the valid bars of these symbols and days; the symbols' other rows are refused, with the reason.

    A row that comes twice is used once. If the second one has other values, it is refused.
    """
    wanted = frozenset(symbols)
    mine = np.flatnonzero(np.fromiter((symbol in wanted for symbol in bars.symbols), bool, len(bars.symbols)))
    mine_bars = bars.at(mine)
    good, why = _judge(mine_bars, frozenset(map(day_number, days)))
    used = mine_bars.at(np.flatnonzero(good))
    refused = [
        RefusedDay(mine_bars.symbols[place], day_of_number(int(mine_bars.day[place])), reason)
        for place, reason in sorted(why.items())
    ]
    return used._replace(refused=[*bars.refused, *refused])


def _judge(bars: DayBars, days: AbstractSet[int]) -> tuple[Column, dict[int, str]]:
    """Return a mask of the valid bars, and for the wrong ones: index -> reason."""
    prices = np.stack(bars[2:6]) if bars.symbols else np.ones((4, 0))
    rules = (
        ("of another day", ~np.isin(bars.day, np.fromiter(days, np.int64, len(days)))),
        ("a value is missing or no number", ~(np.isfinite(prices).all(axis=0) & np.isfinite(bars.volume))),
        ("a price out of range", (prices <= 0).any(axis=0) | (prices >= MAX_PRICE).any(axis=0)),
        ("a volume out of range", (bars.volume < 0) | (bars.volume >= MAX_SIZE)),
        ("its high is not its highest price, or its low its lowest", _is_crossed(bars)),
    )
    good = np.ones(len(bars.symbols), bool)
    why: dict[int, str] = {}
    for reason, is_wrong in rules:
        for place in np.flatnonzero(good & is_wrong).tolist():
            why[place] = reason
        good &= ~is_wrong
    return _without_repeats(bars, good, why), why


def _is_crossed(bars: DayBars) -> Column:
    lower, upper = np.minimum(bars.open, bars.close), np.maximum(bars.open, bars.close)
    return np.asarray((bars.low > lower) | (bars.high < upper))


def _without_repeats(bars: DayBars, good: Column, why: dict[int, str]) -> Column:
    """Return the mask `good` with only the first row of each symbol and day; add repeats with other values to `why`."""
    places = np.flatnonzero(good)
    keys = np.array([f"{bars.symbols[place]}|{bars.day[place]}" for place in places.tolist()], "U40")
    _, first, owner = np.unique(keys, return_index=True, return_inverse=True)
    for place in np.setdiff1d(np.arange(len(places)), first).tolist():
        again, stands = places[place], places[first[owner[place]]]
        good[again] = False
        if any(column[again] != column[stands] for column in bars[2:7]):
            why[int(again)] = "it comes twice, with other values"
    return good
