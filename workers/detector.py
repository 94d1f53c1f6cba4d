"""⑥ ⑦ Closed bars to higher timeframes, patterns and indicator values, over the histories of one partition. Pure.

What a commit closes is absorbed into the histories of the symbols that have them; everything else is only marked, and
absorbed when its history was loaded (`workers/detection.py`).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import talib

from ..contracts.detection import Detection, IndicatorAlert, IndicatorValue
from ..contracts.ticks import Column
from ..contracts.timeframe import HIGHER, INTRADAY, TIMEFRAME_OF
from .alerts import alerts_of
from .definition import Definitions, IndicatorDefinition, PatternDefinition
from .marks import HANGING, NEW, NEW_AGAIN, NO_MARKS, REVISED, joined, marks_of
from .patterns.kind import Found
from .windows import CLOSED_DTYPE, SLACK, WINDOW, History, Splits, Windows, windows_of

WHOLE, NOWHERE = 2**62, -1  # how far a symbol's histories reach
TIMEFRAMES = (1, *HIGHER)
NO_HIGHER_BARS = np.empty(0, [("timeframe", "<i2"), *CLOSED_DTYPE.descr])

_ROWS_OF_A_BATCH = 1024  # 10 MB of windows
_LEAST_DEPTH = 21  # the bar and the 20 before it, for its relative volume
_RSI_BARS = 15
_SLACK = 50  # bars that a history which can be loaded again holds beyond a window: memory, or a load for a late bar
_MAX_STRENGTH = 99.0  # Wilder's RS has no bound where nothing ever fell


_PLACE = {timeframe: place for place, timeframe in enumerate(TIMEFRAMES)}


class FoundPatterns(NamedTuple):
    """Detections on marked bars, and whether each is told."""

    detections: list[Detection]
    publish: list[bool]


@dataclass(slots=True)
class FoundIndicators:
    """Indicator values on marked bars; again: a row may stand already. told: those that are published."""

    values: list[IndicatorValue] = field(default_factory=list)
    again: list[bool] = field(default_factory=list)
    told: list[IndicatorValue] = field(default_factory=list)
    alerts: list[IndicatorAlert] = field(default_factory=list)


class Detector:
    """The histories of one partition. A symbol is its index in `symbols`, the partition's own list, which grows.

    loads: what a history has dropped can be loaded again; else a late bar makes do with the bars that are here.
    """

    def __init__(self, symbols: list[str], *, loads: bool = True) -> None:
        self.symbols = symbols
        self._loads = loads
        self.splits = Splits(symbols)
        self.histories = {minutes: History(_SLACK if loads else SLACK, self.splits) for minutes in TIMEFRAMES}
        self.jumped: list[tuple[str, int]] = []  # symbols whose history the last bars began anew, and when
        self._reach = np.zeros((len(TIMEFRAMES), 0), np.int64)
        self._used = np.zeros((len(TIMEFRAMES), 0), np.int64)
        self.turn = 0  # counted on by who wants to know what was used last
        # By timeframe and symbol: of each indicator the minute and values that were told last.
        self._told: dict[tuple[int, int], dict[str, tuple[int, list[float]]]] = {}

    # -- histories -------------------------------------------------------------------------------------------------

    def has(self, symbols: Column, timeframe: int = 1) -> Column:
        """Tell which symbols have their history of a timeframe up to the newest committed bar."""
        return np.asarray(self._reach_of(symbols)[_PLACE[timeframe]] == WHOLE)

    def covers(self, marks: Column) -> Column:
        """Tell which marked bars the histories can answer for: that of their timeframe, and the 1-minute bars."""
        reach = self._reach_of(marks["symbol"])
        mine = reach[_places_of(marks["timeframe"]), np.arange(len(marks))]
        return np.asarray(_ends_of(marks) <= np.minimum(mine, reach[0]))

    def short_of(self, timeframe: int, marks: Column) -> Column:
        """Tell which marked bars a timeframe's history does not reach."""
        return np.asarray(_ends_of(marks) > self._reach_of(marks["symbol"])[_PLACE[timeframe]])

    def set_reach(self, symbol: int, minute: int, timeframe: int | None = None) -> None:
        """Note up to which minute a symbol's history of a timeframe, or each of them, is there: WHOLE, or NOWHERE."""
        if symbol >= self._reach.shape[1]:
            more = ((0, 0), (0, symbol + 1))
            self._reach = np.pad(self._reach, more, constant_values=NOWHERE)
            self._used = np.pad(self._used, more)
        self._reach[slice(None) if timeframe is None else _PLACE[timeframe], symbol] = minute

    def level_reach(self, symbols: Column) -> None:
        """Let all histories of a symbol reach as far as its shortest one, so that they are dropped together."""
        reach = self._reach[:, symbols]
        held = reach != NOWHERE
        self._reach[:, symbols] = np.where(held, np.where(held, reach, WHOLE).min(axis=0), NOWHERE)

    def expect_fit(self, marks: Column) -> None:
        """Take the histories away of symbols where later bars pushed a marked bar's window out."""
        for timeframe in TIMEFRAMES:
            history, mine = self.histories[timeframe], marks[marks["timeframe"] == timeframe]
            for mark in mine[mine["minute"] < history.last_minutes(mine["symbol"])]:
                if not history.fits(int(mark["symbol"]), int(mark["minute"])):
                    self.set_reach(int(mark["symbol"]), NOWHERE)

    def take_splits(self, minutes: Mapping[str, tuple[int, ...]]) -> None:
        """Know where splits lie from now on; the histories of symbols with others than before are loaded again."""
        if minutes is self.splits.minutes:
            return
        before, self.splits.minutes = self.splits.minutes, minutes
        for code, symbol in enumerate(self.symbols[: self._reach.shape[1]]):
            if before.get(symbol) != minutes.get(symbol):
                self.set_reach(code, NOWHERE)

    def drop_parts(self) -> None:
        """Forget the histories that do not reach up to the newest bar."""
        self._reach[self._reach < WHOLE] = NOWHERE

    def _reach_of(self, symbols: Column) -> Column:
        known = symbols < self._reach.shape[1]
        reach = np.full((len(TIMEFRAMES), len(symbols)), NOWHERE, np.int64)
        reach[:, known] = self._reach[:, symbols[known]]
        return reach

    def note_used(self, timeframe: int, symbols: Column) -> None:
        """Note that some histories are used now."""
        self._used[_PLACE[timeframe], symbols[symbols < self._used.shape[1]]] = self.turn

    @property
    def allocated(self) -> int:
        """Return the memory of all histories, in bytes."""
        return sum(history.allocated for history in self.histories.values())

    def held(self) -> Column:
        """Return the histories that are held: place of the timeframe, symbol, turn of its last use, bytes: (4, n)."""
        parts = []
        for place, timeframe in enumerate(TIMEFRAMES):
            history = self.histories[timeframe]
            symbols = history.holds()
            known = symbols < self._used.shape[1]
            used = np.where(known, self._used[place, np.where(known, symbols, 0)] if known.any() else 0, 0)
            parts.append([np.full(len(symbols), place), symbols, used, np.full(len(symbols), history.row_bytes)])
        return np.concatenate([np.array(part, np.int64) for part in parts], axis=1)

    def let_go(self, place: int, symbols: Column) -> None:
        """Forget some symbols' histories of a timeframe: they are loaded again when they are needed."""
        timeframe = TIMEFRAMES[place]
        known = symbols[symbols < self._reach.shape[1]]
        self._reach[place, known] = NOWHERE
        self.histories[timeframe].clear(symbols)
        for symbol in symbols.tolist():
            self._told.pop((timeframe, symbol), None)

    def absorb(self, bars: Column, revised: Column, *, publish: bool) -> Column:
        """Put new and revised 1-minute bars (CLOSED_DTYPE, by symbol, then minute) into their symbols' histories.

        Returns the marks of these bars, and of those that hang on them. A bar that does not fit into its history (from
        long ago, or too many at once) takes it away: it must be loaded again.
        """
        marks = [marks_of(bars["symbol"], bars["minute"], np.where(revised, REVISED, NEW), publish=publish)]
        here = self.has(bars["symbol"])
        self.note_used(1, bars["symbol"])
        history = self.histories[1]
        in_order = here & (bars["minute"] > history.last_minutes(bars["symbol"]))
        marks.extend([self._put(1, bar, publish=publish) for bar in bars[here & ~in_order]])
        symbols, counts = np.unique(bars["symbol"][in_order], return_counts=True)
        jumps = in_order & history.begin_runs(bars) & self._loads
        jumping = bars["symbol"][jumps]
        self.jumped = [(self.symbols[bar["symbol"]], int(bar["minute"])) for bar in bars[jumps]]
        for symbol in {*symbols[counts > SLACK].tolist(), *jumping.tolist()}:
            self.set_reach(symbol, NOWHERE)
        history.append(bars.compress(in_order & self.has(bars["symbol"])))
        return joined(marks)

    def _put(self, timeframe: int, bar: Column, *, publish: bool) -> Column:
        """Put a bar between others; return the marks of the bars behind it, which hang on it."""
        symbol, minute = int(bar["symbol"]), int(bar["minute"])
        history = self.histories[timeframe]
        minutes = history.minutes(symbol)
        if not len(minutes):
            history.append(np.array([bar], CLOSED_DTYPE))
            return NO_MARKS
        if self._loads and not history.fits(symbol, minute):
            self.set_reach(symbol, NOWHERE)
            return NO_MARKS
        behind = minutes[minutes > minute].copy()
        history.put(bar)
        is_first = minute == history.begins(symbol)  # it may belong to the run before it now
        if self._loads and timeframe == 1 and (is_first or not history.is_one_run(symbol)):
            self.set_reach(symbol, NOWHERE)
            return NO_MARKS
        return marks_of(np.full(len(behind), symbol), behind, HANGING, publish=publish, timeframe=timeframe)

    def absorb_higher(self, marks: Column) -> tuple[Column, Column]:
        """Make the marked bars of higher timeframes from the 1-minute bars.

        Returns what changed by that: the bars (timeframe, CLOSED_DTYPE), and the marks with those that hang on them; a
        bar that stands as it is gives none.
        """
        rows: list[Column] = []
        changed = []
        for timeframe in HIGHER:
            mine = marks.compress(marks["timeframe"] == timeframe)
            if not len(mine):
                continue
            bars, there = self._higher_bars(mine, timeframe)
            changed.append(mine.compress(there & (mine["kind"] == HANGING)))
            changed.append(self._emptied(timeframe, mine.compress(~there)))
            for publish in (True, False):
                part = bars.compress(there & (mine["publish"] == publish))
                changed.append(self._absorb_higher(timeframe, part, rows, publish=publish))
        return np.concatenate([NO_HIGHER_BARS, *rows]), joined(changed)

    def _emptied(self, timeframe: int, marks: Column) -> Column:
        """Mark the bars of a higher timeframe that have no 1-minute bar any more, and those that hang on them."""
        gone = marks.copy()
        gone["kind"] = REVISED
        behind = []
        for mark in gone:
            minutes = self.histories[timeframe].minutes(int(mark["symbol"]))
            later = minutes[minutes > mark["minute"]]
            symbols = np.full(len(later), mark["symbol"])
            behind.append(marks_of(symbols, later, HANGING, publish=bool(mark["publish"]), timeframe=timeframe))
        return joined([gone, *behind])

    def _absorb_higher(self, timeframe: int, bars: Column, rows: list[Column], *, publish: bool) -> Column:
        history = self.histories[timeframe]
        in_order = bars["minute"] > history.last_minutes(bars["symbol"])
        revised, written, marks = np.zeros(len(bars), bool), in_order.copy(), []
        for i in np.flatnonzero(~in_order):
            stands = history.bar(int(bars["symbol"][i]), int(bars["minute"][i]))
            revised[i] = stands is not None
            written[i] = stands is None or stands != bars[i]
            if written[i]:
                marks.append(self._put(timeframe, bars[i], publish=publish))
        history.append(bars.compress(in_order))
        kinds = np.where(revised, REVISED, NEW)[written]
        bars = bars.compress(written)
        marks.append(marks_of(bars["symbol"], bars["minute"], kinds, publish=publish, timeframe=timeframe))
        row = np.empty(len(bars), NO_HIGHER_BARS.dtype)
        row["timeframe"] = timeframe
        for name in CLOSED_DTYPE.names or ():
            row[name] = bars[name]
        rows.append(row)
        return joined(marks)

    def _higher_bars(self, marks: Column, timeframe: int) -> tuple[Column, Column]:
        """Merge the 1-minute bars of each marked bar; return the bars, and which of them have any."""
        symbols = marks["symbol"].astype(np.int64)
        bars, inside = self.histories[1].span(symbols, marks["minute"], timeframe)
        there = np.asarray(inside.any(axis=1))
        first = inside.argmax(axis=1)[:, None]
        merged = np.zeros(len(marks), CLOSED_DTYPE)
        merged["symbol"], merged["minute"] = marks["symbol"], marks["minute"]
        merged["open"] = np.take_along_axis(bars["open"], first, axis=1)[:, 0]
        merged["high"] = np.where(inside, bars["high"], -np.inf).max(axis=1)
        merged["low"] = np.where(inside, bars["low"], np.inf).min(axis=1)
        merged["close"] = bars["close"][:, -1]
        for total in ("volume_micro", "notional"):
            merged[total] = np.where(inside, bars[total], 0.0).sum(axis=1)
        return merged, there

    # -- patterns --------------------------------------------------------------------------------------------------

    def find_patterns(self, marks: Column, definitions: Definitions, now_s: float) -> FoundPatterns:
        """Run the patterns on marked bars; now_s: Unix seconds by Redis's clock."""
        (found,) = find_patterns([(self, marks)], definitions, now_s)
        return found

    # -- indicators ------------------------------------------------------------------------------------------------

    def find_indicators(self, marks: Column, definitions: Definitions, now_s: float) -> FoundIndicators:
        """Compute the indicators of marked bars; now_s: Unix seconds by Redis's clock."""
        found = FoundIndicators()
        for timeframe, mine, ends in self.by_timeframe(marks):
            wanted = [
                (definition, definition.indicator.keys(definition.period))
                for definition in definitions.indicators
                if timeframe in definition.timeframes
            ]
            newest = self.histories[timeframe].last_minutes(mine["symbol"]) == mine["minute"]
            for mark, end, is_newest in zip(mine.tolist(), ends.tolist(), newest.tolist(), strict=True):
                self._compute(mark, end, wanted, now_s, found, is_newest=is_newest)
        return found

    def _compute(
        self,
        mark: tuple[int, int, int, int, int, bool],
        end: int,
        wanted: Sequence[tuple[IndicatorDefinition, tuple[str, ...]]],
        now_s: float,
        found: FoundIndicators,
        *,
        is_newest: bool,
    ) -> None:
        code, minutes, minute, kind, _, publish = mark
        symbol, timeframe = self.symbols[code], TIMEFRAME_OF[minutes]
        series = self.histories[minutes].series(code, end)
        if minutes > 1:  # a bar may reach over the session's beginning: its 1-minute bars tell what belongs to it
            notional, volume = self.histories[1].session_sums(code, minute, minute + minutes)
            series = series._replace(session_notional=notional, session_volume=volume)
        heard = self._told.setdefault((minutes, code), {})
        is_first = kind in (NEW, NEW_AGAIN)
        for definition, keys in wanted:
            indicator = definition.indicator
            if definition.period == indicator.period and len(series.close) < indicator.least_bars:
                continue
            outputs = indicator.compute(series, definition.period)
            last = [float(output[-1]) for output in outputs]
            if not all(map(math.isfinite, last)):
                continue
            value = IndicatorValue(
                symbol=symbol,
                indicator=indicator.name,
                timeframe=timeframe,
                minute=minute,
                value=last[0],
                values=dict(zip(keys, last, strict=True)),
                period=definition.period,
                calculated_at=now_s,
            )
            found.values.append(value)
            found.again.append(not is_first)
            # A value that was computed again is told only where it is the symbol's newest, and another than was told.
            told = (minute, last)
            if publish and (is_first or (is_newest and heard.get(indicator.name) != told)):
                found.told.append(value)
                heard[indicator.name] = told
            if publish and is_first:
                found.alerts.extend(_alerts(value, outputs, series.close, definition))

    def by_timeframe(self, marks: Column) -> Iterator[tuple[int, Column, Column]]:
        """Group marks by timeframe, with the place of each bar; a bar that no history holds any more is left out."""
        for timeframe in TIMEFRAMES:
            mine = marks.compress(marks["timeframe"] == timeframe)
            if len(mine):
                self.note_used(timeframe, mine["symbol"])
                self.note_used(1, mine["symbol"])
                ends = self.histories[timeframe].find(mine["symbol"].astype(np.int64), mine["minute"])
                yield timeframe, mine.compress(ends > 0), ends[ends > 0]


def _ends_of(marks: Column) -> Column:
    """Return the last minute of each marked bar."""
    return np.asarray(marks["minute"] + marks["timeframe"] - 1)


def _places_of(timeframes: Column) -> Column:
    return np.searchsorted(np.array(TIMEFRAMES), timeframes)


class _Sought(NamedTuple):
    """The marked bars of one partition in one timeframe, and their places in its history."""

    number: int
    detector: Detector
    marks: Column
    ends: Column

    @property
    def symbols(self) -> Column:
        return self.marks["symbol"].astype(np.int64)


class _Bar(NamedTuple):
    """The bar that a pattern was found on; minute: its start."""

    symbol: str
    timeframe: str
    minute: int


def find_patterns(
    sought: Sequence[tuple[Detector, Column]], definitions: Definitions, now_s: float
) -> list[FoundPatterns]:
    """Run the patterns on the marked bars of several partitions at once: a call costs more than its rows.

    now_s: Unix seconds by Redis's clock. Returns what was found for each (detector, marks).
    """
    found = [FoundPatterns([], []) for _ in sought]
    for timeframe in INTRADAY.values():
        wanted = [pattern for pattern in definitions.patterns if timeframe in pattern.timeframes]
        parts = [
            _Sought(number, detector, mine, ends)
            for number, (detector, marks) in enumerate(sought)
            for its_timeframe, mine, ends in detector.by_timeframe(marks)
            if its_timeframe == timeframe
        ]
        if not wanted or not parts:
            continue
        for some in _in_batches(parts):
            _find_in(found, some, timeframe, wanted, now_s)
    return found


def _in_batches(parts: Sequence[_Sought]) -> Iterator[list[_Sought]]:
    """Join partitions to batches whose windows stay in memory that is used again, not taken anew for each."""
    batch: list[_Sought] = []
    for part in parts:
        batch.append(part)
        if sum(len(one.marks) for one in batch) >= _ROWS_OF_A_BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _find_in(
    found: Sequence[FoundPatterns],
    parts: Sequence[_Sought],
    timeframe: int,
    wanted: Sequence[PatternDefinition],
    now_s: float,
) -> None:
    depth = max(_LEAST_DEPTH, *(pattern.kind.depth for pattern in wanted))
    windows = windows_of([(p.detector.histories[timeframe], p.symbols, p.ends) for p in parts], depth)
    for pattern in wanted:
        there = pattern.kind.find(windows.last(pattern.kind.depth), pattern.parameters)
        rows = np.flatnonzero(there.confidence >= max(pattern.threshold, np.nextafter(0, 1)))
        _note(found, parts, rows, pattern, there, windows, now_s)


def _note(
    found: Sequence[FoundPatterns],
    parts: Sequence[_Sought],
    rows: Column,
    pattern: PatternDefinition,
    there: Found,
    windows: Windows,
    now_s: float,
) -> None:
    """Note the rows (of all parts) in which a pattern was found, each with its own part."""
    first = 0
    for part in parts:
        mine = rows[(rows >= first) & (rows < first + len(part.marks))]
        for row, mark in zip(mine.tolist(), part.marks.take(mine - first).tolist(), strict=True):
            code, timeframe, minute, _, _, publish = mark
            bar = _Bar(part.detector.symbols[code], TIMEFRAME_OF[timeframe], minute)
            found[part.number].detections.append(_detection(bar, pattern, there, windows, row, now_s))
            found[part.number].publish.append(publish)
        first += len(part.marks)


def _detection(
    bar: _Bar, pattern: PatternDefinition, found: Found, windows: Windows, row: int, now_s: float
) -> Detection:
    close, volume, length = windows.close[row], windows.volume[row], int(windows.length[row])
    levels = found.levels[row]
    return Detection(
        symbol=bar.symbol,
        pattern=pattern.kind.name,
        timeframe=bar.timeframe,
        minute=bar.minute,
        confidence=float(found.confidence[row]),
        direction=int(found.direction[row]),
        open=float(windows.open[row, -1]),
        high=float(windows.high[row, -1]),
        low=float(windows.low[row, -1]),
        close=float(close[-1]),
        volume=float(volume[-1]),
        detected_at=now_s,
        levels=levels[~np.isnan(levels)].tolist(),
        parameters=dict(pattern.parameters),
        price_change=float((close[-1] / close[-2] - 1) * 100) if length > 1 else 0.0,
        relative_volume=_relative_volume(volume, length),
        relative_strength=_relative_strength(close, length),
    )


def waiting_for(marks: Column, stage: int) -> Column:
    """Return marks as they wait for the next stage."""
    marks = marks.copy()
    marks["stage"] = stage
    return marks


def _alerts(
    value: IndicatorValue, outputs: Sequence[Column], close: Column, definition: IndicatorDefinition
) -> Iterator[IndicatorAlert]:
    for crossing in alerts_of(value.indicator, tuple(outputs), close, definition.parameters):
        yield IndicatorAlert(
            symbol=value.symbol,
            alert_type=crossing.alert_type,
            indicator=value.indicator,
            timeframe=value.timeframe,
            minute=value.minute,
            value=crossing.value,
            threshold=crossing.threshold,
            severity=crossing.severity,
            raised_at=value.calculated_at,
            rsi=value.value if value.indicator == "RSI" else None,
        )


def _relative_volume(volume: Column, length: int) -> float:
    mean = volume[-_LEAST_DEPTH:-1].mean() if length >= _LEAST_DEPTH else 0.0
    return float(volume[-1] / mean) if mean > 0 else 1.0


def _relative_strength(close: Column, length: int) -> float:
    if length < _RSI_BARS:
        return 1.0
    rsi = float(talib.RSI(np.ascontiguousarray(close[-min(length, WINDOW) :]), timeperiod=14)[-1])
    flat = bool((close[-_RSI_BARS:] == close[-1]).all())
    return 1.0 if flat else min(_MAX_STRENGTH, rsi / (100.0 - rsi)) if rsi < 100.0 else _MAX_STRENGTH
