"""The signals of a backtest: what the detectors would have published on its bars. Pure.

The detectors, windows, thresholds and cool-downs are those of the live workers and of the daily runs. A detection that
they do not publish (a repeat of an event, or a part of another pattern) is not a signal.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from ...contracts.detection import Detection, Event
from ...contracts.ticks import SHARE_MICRO, Column
from ..bar_runs import Splits
from ..daily.bars import Bars, Ends
from ..daily.detecting import find_patterns as find_on_days
from ..detect.definition import PatternDefinition
from ..detect.one_event import ONE_EVENT
from ..sessions import EXTENDED, REGULAR, Sessions
from .long_bars import FoundBars, Knowledge, LongBars, higher_bars
from .market import Market, Signals

_DAY_MINUTES = 1440
_KEY_MINUTES = 1 << 32  # larger than any minute since 1970: symbol * this + minute is one sortable number


class Minutes(NamedTuple):
    """1-minute bars of some symbols (CLOSED_DTYPE), ordered by the symbol's index, then minute."""

    symbols: list[str]
    bars: Column
    splits: dict[str, tuple[int, ...]]  # symbol -> the minutes from which on prices are in a new unit
    always_open: frozenset[str]


class Found(NamedTuple):
    """The bars to trade on, and the signals found on them."""

    market: Market
    signals: Signals


def market_of_days(bars: Bars, first_day: int) -> Market:
    """Return the bars of a day (counted since 1970) and of all later days as a Market."""
    keep = bars.day >= first_day
    owner = np.repeat(np.arange(len(bars.symbols)), np.diff(bars.bounds))
    counts = np.bincount(owner[keep], minlength=len(bars.symbols))
    columns = (column[keep] for column in (bars.day * _DAY_MINUTES, bars.open, bars.high, bars.low, bars.close))
    return Market(bars.symbols, np.concatenate([[0], np.cumsum(counts)]), *columns)


def find_on_bars_of_days(bars: Bars, first_day: int, timeframe: str, patterns: Sequence[PatternDefinition]) -> Found:
    """Find signals on daily, weekly or monthly bars from a first day on; earlier bars only fill the windows."""
    owner = np.repeat(np.arange(len(bars.symbols)), np.diff(bars.bounds))
    places = np.flatnonzero(bars.day >= first_day)
    found = find_on_days(bars, Ends(owner[places], places + 1), timeframe, patterns, 0.0)
    market = market_of_days(bars, first_day)
    return Found(market, _signals(market, found))


def find_on_minutes(
    minutes: Minutes,
    first: int,
    timeframe: int,
    patterns: Sequence[PatternDefinition],
    go_on: Callable[[], object] = lambda: None,
) -> Found:
    """Find signals on intraday bars that begin in the minute `first` or later. timeframe: minutes.

    go_on: called before each pattern; an exception from it ends the search.

    Only bars of the regular hours are traded on, or all bars if a pattern's session is `extended`.
    """
    splits, sessions = Splits(minutes.symbols), Sessions(minutes.symbols)
    splits.minutes, sessions.always_open = minutes.splits, minutes.always_open
    known = Knowledge(splits, sessions, _Volumes(minutes.bars, timeframe).at)
    every = minutes.bars if timeframe == 1 else higher_bars(minutes.bars, timeframe)
    regular = every[sessions.are_regular(every["symbol"], every["minute"], timeframe)]
    found: list[tuple[Column, PatternDefinition, FoundBars]] = []
    for session, bars in ((REGULAR, regular), (EXTENDED, every)):
        mine = [pattern for pattern in patterns if pattern.session == session]
        if mine:
            of_session = LongBars(bars, timeframe, known, is_regular=session == REGULAR)
            for pattern in mine:
                go_on()
                found.append((bars, pattern, of_session.find(pattern, first)))
    bars = every if any(pattern.session == EXTENDED for pattern in patterns) else regular
    market = _market_of(minutes.symbols, bars[bars["minute"] >= first])
    return Found(market, _told(market, found))


def _market_of(symbols: list[str], bars: Column) -> Market:
    counts = np.bincount(bars["symbol"], minlength=len(symbols))
    prices = (bars[name].copy() for name in ("open", "high", "low", "close"))
    return Market(symbols, np.concatenate([[0], np.cumsum(counts)]), bars["minute"].copy(), *prices)


def _told(market: Market, found: Sequence[tuple[Column, PatternDefinition, FoundBars]]) -> Signals:
    """Return the first detection of each event: no repeats, and only the first of the patterns that show one event."""
    keys, numbers, strengths, ways = (
        np.concatenate([np.zeros(0, kind), *columns]).astype(kind)
        for kind, columns in zip(
            (np.int64, np.int64, np.float64, np.int64),
            zip(*(_new_ones(number, *one) for number, one in enumerate(found)), strict=True) if found else [[]] * 4,
            strict=True,
        )
    )
    names = np.array([pattern.kind.name for _, pattern, _ in found], object)
    rank = np.array([ONE_EVENT.index(name) if name in ONE_EVENT else len(ONE_EVENT) for name in names], np.int64)
    of_one = np.flatnonzero(rank[numbers] < len(ONE_EVENT))
    order = of_one[np.lexsort((rank[numbers[of_one]], keys[of_one]))]
    is_part = np.zeros(len(keys), bool)
    is_part[order[1:][keys[order[1:]] == keys[order[:-1]]]] = True
    bar = np.searchsorted(market.owner * _KEY_MINUTES + market.time, keys[~is_part])
    return Signals(bar, ways[~is_part], strengths[~is_part], names[numbers[~is_part]].tolist())


def _new_ones(
    number: int, bars: Column, _: PatternDefinition, found: FoundBars
) -> tuple[Column, Column, Column, Column]:
    """Return four columns of the new events: key of symbol and minute, number of the pattern, strength, direction."""
    is_new = found.since == 0
    on = bars[found.bars[is_new]]
    keys = on["symbol"].astype(np.int64) * _KEY_MINUTES + on["minute"]
    return keys, np.full(len(on), number), found.confidence[is_new], found.direction[is_new]


class _Volumes:
    """The volumes of bars of earlier days, as the live worker reads them from the table. bars: 1-minute bars."""

    def __init__(self, bars: Column, timeframe: int) -> None:
        self._timeframe = timeframe
        self._keys = bars["symbol"].astype(np.int64) * _KEY_MINUTES + bars["minute"]
        self._sums = np.concatenate([[0], np.cumsum(bars["volume_micro"].astype(np.int64))])

    def at(self, symbols: Column, minutes: Column) -> Column:
        """Return the volumes of bars in shares, (n, k), NaN for no bar. symbols: (n,); minutes: (n, k) starts."""
        starts = symbols[:, None] * _KEY_MINUTES + minutes
        first = np.searchsorted(self._keys, starts)
        last = np.searchsorted(self._keys, starts + self._timeframe)
        shares: Column = np.where(last > first, (self._sums[last] - self._sums[first]) / SHARE_MICRO, np.nan)
        return np.where(minutes < 0, np.nan, shares)


def _signals(market: Market, found: Sequence[Detection]) -> Signals:
    told = [one for one in found if one.event is Event.FIRST]
    index = {symbol: i for i, symbol in enumerate(market.symbols)}
    owner = np.array([index[one.symbol] for one in told], np.int64)
    minute = np.array([one.minute for one in told], np.int64)
    keys = market.owner * _KEY_MINUTES + market.time
    bar = np.searchsorted(keys, owner * _KEY_MINUTES + minute)
    return Signals(
        bar,
        np.array([one.direction for one in told], np.int64),
        np.array([one.confidence for one in told]),
        [one.pattern for one in told],
    )
