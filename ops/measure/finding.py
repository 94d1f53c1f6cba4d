"""Run the workers' own detectors on bars: their histories, windows, definitions and `find_patterns`.

The results are those of a worker; each bar is treated as just closed. Nothing is stored.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ...contracts.detection import Detection
from ...contracts.ticks import Column
from ...contracts.timeframe import INTRADAY
from ...workers.detect.definition import Definitions, PatternDefinition
from ...workers.detect.detector import COMPLETE, NO_HIGHER_BARS, Detector
from ...workers.detect.find_patterns import find_patterns
from ...workers.history import CLOSED_DTYPE, History
from ...workers.marks import higher_marks, joined
from ...workers.sessions import in_regular_hours
from .bar_files import Market
from .volumes import Volumes

DAILY = "daily"
TIMEFRAMES = (*INTRADAY, DAILY)

_STEP_MINUTES = 240  # complete bars of every timeframe, and not more than a history accepts at once
_STEP_BARS = 200  # of daily bars
_SYMBOLS_AT_ONCE = 256  # 50 MB of histories
_MARKS_AT_ONCE = 2048

# One detection. bar: index in the bars of its timeframe. pattern: index in `Finds.patterns`.
FOUND_DTYPE = np.dtype([("pattern", "<i2"), ("direction", "i1"), ("told", "?"), ("bar", "<i8"), ("confidence", "<f8")])


class Finds(NamedTuple):
    """The bars of one timeframe (CLOSED_DTYPE, by symbol, then minute), of regular hours, and their detections."""

    timeframe: str
    symbols: list[str]
    bars: Column
    patterns: list[str]
    found: Column
    levels: list[list[float]]  # for each row of `found`: its levels


def find(
    market: Market,
    definitions: Definitions,
    timeframes: Sequence[str] = TIMEFRAMES,
    on_step: Callable[[], None] = lambda: None,
) -> list[Finds]:
    """Find the patterns of a market in each timeframe that it has bars of.

    Patterns are looked for on every bar that is given, and counted on those of regular hours. on_step: is called now
    and then.
    """
    wanted = [name for name in timeframes if (name == DAILY) == market.is_daily]
    parts: dict[str, list[tuple[Column, list[Detection], list[bool]]]] = {name: [] for name in wanted}
    spans = frozenset([1] if market.is_daily else [INTRADAY[name] for name in wanted])
    narrowed = Definitions([_as_measured(p, spans, is_daily=market.is_daily) for p in definitions.patterns])
    for first in range(0, len(market.symbols) if wanted else 0, _SYMBOLS_AT_ONCE):
        among = market.bars["symbol"] - first
        bars = market.bars[(among >= 0) & (among < _SYMBOLS_AT_ONCE)]
        detector = Detector(market.symbols, loads=False)
        for symbol in np.unique(bars["symbol"]).tolist():
            detector.set_reach(symbol, COMPLETE)
        volumes = Volumes(market.symbols)
        for step in _steps(bars, is_daily=market.is_daily):
            on_step()
            _find_step(detector, volumes, step, narrowed, parts, is_daily=market.is_daily)
    return [_finds(name, market.symbols, definitions, some) for name, some in parts.items()]


def begin_runs(bars: Column) -> Column:
    """Return a mask of the bars (CLOSED_DTYPE, by symbol, then minute) that begin a run of their symbol.

    These are its first bar, and bars after a split or a long gap: no window crosses runs.
    """
    runs = History().begin_runs(bars) if len(bars) else np.zeros(0, bool)
    return np.asarray(runs | (np.diff(bars["symbol"], prepend=-1) != 0))


def _as_measured(pattern: PatternDefinition, timeframes: frozenset[int], *, is_daily: bool) -> PatternDefinition:
    """Return a definition for some timeframes. Daily bars are treated as minutes that no other day has."""
    kind = pattern.kind._replace(confirm=None) if is_daily else pattern.kind
    return pattern._replace(kind=kind, timeframes=timeframes)


def _steps(bars: Column, *, is_daily: bool) -> Iterator[Column]:
    """Cut the bars into steps, each small enough for a symbol's history, and after the last step's bars."""
    if is_daily:
        runs = begin_runs(bars)
        place = np.arange(len(bars))
        in_run = place - np.maximum.accumulate(np.where(runs, place, 0))
        cuts = runs | (in_run % _STEP_BARS == 0)
    else:
        part = bars["minute"] // _STEP_MINUTES
        cuts = np.concatenate([[True], part[1:] != part[:-1]])
    first = np.flatnonzero(np.diff(bars["symbol"], prepend=-1))
    count = np.cumsum(cuts)
    number = count - np.repeat(count[first], np.diff(first, append=len(bars)))
    order = np.argsort(number, kind="stable")
    for some in np.split(order, np.flatnonzero(np.diff(number[order])) + 1):
        if len(some):
            yield bars[some]


def _find_step(
    detector: Detector,
    volumes: Volumes,
    bars: Column,
    definitions: Definitions,
    parts: dict[str, list[tuple[Column, list[Detection], list[bool]]]],
    *,
    is_daily: bool,
) -> None:
    marks = detector.absorb(bars, np.zeros(len(bars), bool), publish=True)
    rows = NO_HIGHER_BARS
    if not is_daily:
        rows, higher = detector.absorb_higher(higher_marks(marks))
        marks = joined([marks, higher])
    for name, some in parts.items():
        minutes = 1 if is_daily else INTRADAY[name]
        its_bars = bars if minutes == 1 else rows[rows["timeframe"] == minutes][list(CLOSED_DTYPE.names or ())]
        its_marks = marks[marks["timeframe"] == minutes]
        volumes.add(minutes, its_bars)
        detections: list[Detection] = []
        told: list[bool] = []
        for begin in range(0, len(its_marks), _MARKS_AT_ONCE):
            some_marks = its_marks[begin : begin + _MARKS_AT_ONCE]
            (found,) = find_patterns([(detector, some_marks)], definitions, 0.0, volumes.of)
            detections += found.detections
            told += found.publish
        some.append((its_bars.astype(CLOSED_DTYPE), detections, told))


def _finds(
    name: str,
    symbols: list[str],
    definitions: Definitions,
    parts: Sequence[tuple[Column, list[Detection], list[bool]]],
) -> Finds:
    bars = np.concatenate([np.empty(0, CLOSED_DTYPE), *(bars for bars, _, _ in parts)])
    bars = bars[np.lexsort((bars["minute"], bars["symbol"]))]
    if name != DAILY:
        bars = bars[in_regular_hours(bars["minute"], INTRADAY[name])]
    detections = [one for _, some, _ in parts for one in some]
    patterns = [definition.kind.name for definition in definitions.patterns]
    code_of = {symbol: code for code, symbol in enumerate(symbols)}
    number_of = {pattern: number for number, pattern in enumerate(patterns)}
    found = np.empty(len(detections), FOUND_DTYPE)
    found["pattern"] = [number_of[one.pattern] for one in detections]
    found["direction"] = [one.direction for one in detections]
    found["confidence"] = [one.confidence for one in detections]
    found["told"] = [told for _, _, some in parts for told in some]
    wanted = _keys(np.array([code_of[one.symbol] for one in detections], np.int64), [one.minute for one in detections])
    keys = _keys(bars["symbol"], bars["minute"])
    place = np.searchsorted(keys, wanted)
    counted = np.flatnonzero(
        (place < len(keys)) & (keys[np.minimum(place, len(keys) - 1)] == wanted) if len(keys) else []
    )
    found["bar"] = place
    levels = [detections[i].levels for i in counted.tolist()]
    return Finds(name, symbols, bars, patterns, found[counted], levels)


def _keys(symbols: Column, minutes: Column | list[int]) -> Column:
    return np.asarray(symbols.astype(np.int64) << 32 | np.asarray(minutes, np.int64))
