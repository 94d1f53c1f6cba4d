"""The signals of a backtest: what the detectors would have published on its bars. Pure.

The detectors, windows, thresholds and cool-downs are those of the live workers and of the daily runs. A detection that
those do not publish (the repeat of an event, or a part of another's) is no signal either.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ...contracts.detection import Detection, Event
from ...contracts.ticks import SHARE_MICRO, Column
from ..daily.bars import Bars, Ends
from ..daily.detecting import find_patterns as find_on_days
from ..detect.definition import Definitions, PatternDefinition
from ..detect.detector import COMPLETE, Detector, find_patterns
from ..marks import NO_MARKS, higher_marks, joined
from ..sessions import ALL_MINUTES, EXTENDED
from ..windows import CLOSED_DTYPE, SLACK
from .market import Market, Signals

_DAY_MINUTES = 1440
_KEY_MINUTES = 1 << 32  # more than the minutes of any time: a symbol and a minute are one number


class Minutes(NamedTuple):
    """1-minute bars of some symbols: CLOSED_DTYPE, by symbol (its index), then minute; what is known of the symbols."""

    symbols: list[str]
    bars: Column
    splits: dict[str, tuple[int, ...]]  # symbol -> the minutes in which a new unit begins
    always_open: frozenset[str]


class Found(NamedTuple):
    """The bars that are traded on, and the signals on them."""

    market: Market
    signals: Signals


def market_of_days(bars: Bars, first_day: int) -> Market:
    """Return the bars of a day (counted since 1970) and of those behind it as a Market."""
    keep = bars.day >= first_day
    owner = np.repeat(np.arange(len(bars.symbols)), np.diff(bars.bounds))
    counts = np.bincount(owner[keep], minlength=len(bars.symbols))
    columns = (column[keep] for column in (bars.day * _DAY_MINUTES, bars.open, bars.high, bars.low, bars.close))
    return Market(bars.symbols, np.concatenate([[0], np.cumsum(counts)]), *columns)


def find_on_bars_of_days(bars: Bars, first_day: int, timeframe: str, patterns: Sequence[PatternDefinition]) -> Found:
    """Find signals on bars of days, weeks or months that begin on a day or later; those before are for the windows."""
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

    go_on: called before each part of the bars, as many as a history holds.

    Bars of the regular hours are traded on; all bars where a pattern is looked for in the extended hours.
    """
    looker = _Looker(minutes, first, timeframe, patterns)
    parts = [*looker.look(go_on)]
    bars = np.concatenate([np.empty(0, CLOSED_DTYPE), *(bars for bars, _ in parts)])
    if not any(pattern.session == EXTENDED for pattern in patterns):
        bars = bars[looker.detector.sessions.are_regular(bars["symbol"], bars["minute"], timeframe)]
    bars = bars[np.lexsort((bars["minute"], bars["symbol"]))]
    counts = np.bincount(bars["symbol"], minlength=len(minutes.symbols))
    prices = (bars[name].copy() for name in ("open", "high", "low", "close"))
    market = Market(minutes.symbols, np.concatenate([[0], np.cumsum(counts)]), bars["minute"].copy(), *prices)
    return Found(market, _signals(market, [one for _, some in parts for one in some]))


class _Looker:
    """Takes minutes in as a worker does that reads a backlog: all symbols at once, as many bars as a history holds."""

    def __init__(self, minutes: Minutes, first: int, timeframe: int, patterns: Sequence[PatternDefinition]) -> None:
        timeframes = frozenset({timeframe})
        self._definitions = Definitions([one._replace(timeframes=timeframes) for one in patterns])
        self._minutes, self._first, self._timeframe = minutes, first, timeframe
        self._volumes = _Volumes(minutes)
        self.detector = Detector(minutes.symbols, loads=False)
        self.detector.take_wanted(self._definitions.tracks())
        self.detector.take_splits(minutes.splits)
        self.detector.take_always_open(minutes.always_open)
        for symbol in range(len(minutes.symbols)):
            self.detector.set_reach(symbol, COMPLETE)

    def look(self, go_on: Callable[[], object]) -> Iterator[tuple[Column, list[Detection]]]:
        """Return, part by part, the bars of the timeframe that were closed, and what was found on them."""
        waiting = NO_MARKS
        for bars in self._parts():
            go_on()
            marks = self.detector.absorb(bars, np.zeros(len(bars), bool), publish=False)
            if self._timeframe == 1:
                yield bars[bars["minute"] >= self._first], self._found(marks)
                continue
            waiting = joined([waiting, self._of_timeframe(higher_marks(marks))])
            newest = self.detector.histories[ALL_MINUTES].last_minutes(waiting["symbol"])
            due = waiting["minute"] + self._timeframe <= newest
            yield self._closed(waiting[due])
            waiting = waiting[~due]
        if len(waiting):
            yield self._closed(waiting)

    def _parts(self) -> Iterator[Column]:
        bars = self._minutes.bars
        bounds = np.searchsorted(bars["symbol"], np.arange(len(self._minutes.symbols) + 1))
        most = int(np.diff(bounds).max(initial=0))
        step = SLACK - 2 * max(self._timeframe, 1)
        rank = np.arange(len(bars)) - np.repeat(bounds[:-1], np.diff(bounds))
        order = np.argsort(rank // step, kind="stable")
        cuts = np.searchsorted((rank // step)[order], np.arange(most // step + 2))
        for first, last in zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True):
            if last > first:
                yield bars[order[first:last]]

    def _of_timeframe(self, marks: Column) -> Column:
        mine: Column = marks[marks["timeframe"] == self._timeframe]
        return mine

    def _closed(self, marks: Column) -> tuple[Column, list[Detection]]:
        rows, changed = self.detector.absorb_higher(marks)
        bars = np.empty(len(rows), CLOSED_DTYPE)
        for name in CLOSED_DTYPE.names or ():
            bars[name] = rows[name]
        return bars[bars["minute"] >= self._first], self._found(changed)

    def _found(self, marks: Column) -> list[Detection]:
        wanted = marks[(marks["minute"] >= self._first) & (marks["timeframe"] == self._timeframe)]
        (found,) = find_patterns([(self.detector, wanted)], self._definitions, 0.0, self._volumes.of)
        return found.detections


class _Volumes:
    """The volumes of bars of days before, as the live worker reads them from the table."""

    def __init__(self, minutes: Minutes) -> None:
        bars = minutes.bars
        self._index = {symbol: i for i, symbol in enumerate(minutes.symbols)}
        self._keys = bars["symbol"].astype(np.int64) * _KEY_MINUTES + bars["minute"]
        self._sums = np.concatenate([[0], np.cumsum(bars["volume_micro"].astype(np.int64))])

    def of(self, timeframe: int, names: Sequence[str], minutes: Column) -> Column:
        """Return the shares of bars: (n, k), NaN where there is none. names: n symbols; minutes: (n, k) starts."""
        owner = np.array([self._index[name] for name in names], np.int64).reshape(-1, 1)
        first = np.searchsorted(self._keys, owner * _KEY_MINUTES + minutes)
        last = np.searchsorted(self._keys, owner * _KEY_MINUTES + minutes + timeframe)
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
