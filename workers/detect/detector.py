"""⑥ ⑦ From closed bars to higher timeframes, patterns and indicator values, over the histories of a partition. Pure.

The bars of a commit go into the histories of symbols that are loaded. Other bars are only marked; they come in with the
history when it is loaded (`workers/commit/find/history_loader.py`).
"""

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import talib
from numpy.typing import NDArray

from ...contracts.detection import TIER, Detection, Event, IndicatorAlert, IndicatorColumn, IndicatorValue
from ...contracts.ticks import Codes, Column, Mask, Minutes
from ...contracts.timeframe import HIGHER, TIMEFRAME_OF
from ...contracts.universe import EVERY_SYMBOL
from ..marks import AFFECTED, NEW, NEW_REDETECT, NO_MARKS, REVISED, Marks, joined, marks_of
from ..sessions import (
    ALL_MINUTES,
    EXTENDED,
    REGULAR,
    REGULAR_MINUTES,
    SESSIONS,
    TRACKS,
    Session,
    Sessions,
    Track,
    end_regular_hours,
    same_minutes_before,
)
from ..windows import (
    CLOSED_DTYPE,
    SLACK,
    WINDOW,
    ClosedRows,
    History,
    Splits,
    Windows,
    no_session_sums,
    windows_of,
)
from .definition import Definitions, IndicatorDefinition, PatternDefinition
from .indicator_values import NamedBars, alerts_on, columns_of, computed_on
from .one_event import join_parts
from .patterns.base_rates import shipped_rates
from .patterns.cool_down import columns_for
from .patterns.kind import OtherDays
from .search import Hits, hits_of

COMPLETE, NOT_LOADED = 2**62, -1  # how far a symbol's history reaches; in between: the last minute that it holds
HigherBars = NDArray[np.void]  # (n,) of the columns of NO_HIGHER_BARS; timeframe: minutes
NO_HIGHER_BARS: HigherBars = np.empty(0, [("timeframe", "<i2"), *CLOSED_DTYPE.descr])

_ROWS_OF_A_BATCH = 1024  # 3 MB of windows
LEAST_DEPTH = 21  # the bar and the 20 bars before it, for its relative volume
_RSI_BARS = 15
# Bars beyond a window in a history that can be loaded again. More of them take memory, fewer make more loads.
_SLACK = 50
_DAY_MINUTES = 1440  # the regular hours lie within one day of UTC
_MAX_STRENGTH = 99.0  # Wilder's RS is infinite if no close ever fell


# A track without a definition keeps only the bars from which higher bars are made: 1-minute bars for the longest
# timeframe and for late trades; of a higher timeframe the bars that a late trade may still change.
_UNUSED_WINDOWS = {timeframe: max(8, 80 // timeframe) for timeframe in (1, *HIGHER)}
_UNUSED_SLACK = 20
_PLACE = {track: place for place, track in enumerate(TRACKS)}


class FoundPatterns(NamedTuple):
    """Detections on marked bars, and whether each is published: if its bar is, and if it is the first of its event."""

    detections: list[Detection]
    publish: list[bool]


@dataclass(slots=True)
class FoundIndicators:
    """Indicator values on marked bars. to_publish: some of the values."""

    columns: list[IndicatorColumn] = field(default_factory=list)
    to_publish: list[IndicatorValue] = field(default_factory=list)
    alerts: list[IndicatorAlert] = field(default_factory=list)


class Detector:
    """The histories of one partition. A symbol is its index in `symbols`, the partition's own list, which grows.

    loads: a dropped history can be loaded again; otherwise a late bar uses the bars in memory.
    """

    def __init__(self, symbols: list[str], *, loads: bool = True) -> None:
        self.symbols = symbols
        self._loads = loads
        shipped_rates()  # read the file now, not when the first pattern needs it
        self.splits, self.sessions = Splits(symbols), Sessions(symbols)
        self.wanted = frozenset(track for track in TRACKS if track.session == REGULAR)  # tracks with definitions
        self.histories = {track: self._new_history(track) for track in TRACKS}
        self.jumped: list[tuple[str, int]] = []  # (symbol, minute) of histories that began anew with the last bars
        self._reach = np.zeros((len(TRACKS), 0), np.int64)
        self._used = np.zeros((len(TRACKS), 0), np.int64)
        self.turn = 0  # set by HistoryMemory: the number of the commit
        # By track and indicator: the minute and values last published of each symbol.
        self._published: dict[tuple[Track, str], dict[int, tuple[int, Sequence[float]]]] = {}

    def _new_history(self, track: Track) -> History:
        if track in self.wanted:
            return History(_SLACK if self._loads else SLACK, self.splits)
        return History(_UNUSED_SLACK, self.splits, _UNUSED_WINDOWS[track.timeframe])

    # -- histories -------------------------------------------------------------------------------------------------

    def have(self, symbols: Codes) -> Mask:
        """Tell for each track (in the order of TRACKS) which symbols have a history up to the newest committed bar."""
        return np.asarray(self._reach_of(symbols) == COMPLETE)

    def has(self, symbols: Codes, track: Track) -> Mask:
        """Tell which symbols have a history of this track up to the newest committed bar."""
        return np.asarray(self.have(symbols)[_PLACE[track]])

    def are_later(self, bars: ClosedRows) -> Mask:
        """Tell which 1-minute bars come after all that the histories of their symbols hold."""
        last = [self.histories[track].last_minutes(bars["symbol"]) for track in (ALL_MINUTES, REGULAR_MINUTES)]
        return np.asarray(bars["minute"] > np.maximum(*last))

    def covers(self, marks: Marks) -> Mask:
        """Tell for which marked bars all histories reach far enough: of their timeframe, and of 1-minute bars."""
        reach, here = self._reach_of(marks["symbol"]), np.arange(len(marks))
        whole = np.minimum(reach[_PLACE[ALL_MINUTES]], reach[_PLACE[REGULAR_MINUTES]])
        for session in SESSIONS:
            whole = np.minimum(whole, reach[_places_of(session, marks["timeframe"]), here])
        return np.asarray(_ends_of(marks) <= whole)

    def short_of(self, track: Track, marks: Marks) -> Mask:
        """Tell which marked bars the history of a track does not reach."""
        return np.asarray(_ends_of(marks) > self._reach_of(marks["symbol"])[_PLACE[track]])

    def set_reach(self, symbols: Codes | int, minutes: Minutes | int, track: Track | None = None) -> None:
        """Note the last minutes of some symbols' histories, of one track or of all: COMPLETE and NOT_LOADED, too."""
        if (last := int(np.max(symbols))) >= self._reach.shape[1]:
            more = ((0, 0), (0, last + 1))
            self._reach = np.pad(self._reach, more, constant_values=NOT_LOADED)
            self._used = np.pad(self._used, more)
        self._reach[slice(None) if track is None else _PLACE[track], symbols] = minutes

    def leave_last(self, symbol: int, track: Track, changed: Minutes) -> None:
        """Shorten the reach of a history to before the last of these changed bars (starts) that it reaches.

        Not all bars that depend on that bar are in it. They are in the history that is loaded around that bar, and with
        them all that depend on the bars before it.
        """
        ends = changed + track.timeframe - 1
        reach = self._reach[_PLACE[track], symbol]
        if (mine := ends[ends <= reach]).size:
            self.set_reach(symbol, int(mine.max()) - 1, track)

    def level_reach(self, symbols: Codes) -> None:
        """Set the reach of all histories of a symbol to its shortest one, so that they are dropped together."""
        reach = self._reach[:, symbols]
        held = reach != NOT_LOADED
        self._reach[:, symbols] = np.where(held, np.where(held, reach, COMPLETE).min(axis=0), NOT_LOADED)

    def expect_fit(self, marks: Marks) -> None:
        """Drop the histories of symbols that no longer hold a marked bar's whole window, or its 1-minute bars."""
        for track in self.wanted:
            history, mine = self.histories[track], marks[marks["timeframe"] == track.timeframe]
            for mark in mine[mine["minute"] < history.last_minutes(mine["symbol"])]:
                if not history.fits(int(mark["symbol"]), int(mark["minute"])):
                    self.set_reach(int(mark["symbol"]), NOT_LOADED)
        higher = marks[marks["timeframe"] > 1]
        is_there = self.histories[ALL_MINUTES].reach_back(higher["symbol"], higher["minute"])
        for symbol in np.unique(higher["symbol"][~is_there]).tolist():
            self.set_reach(symbol, NOT_LOADED)

    def take_splits(self, minutes: Mapping[str, tuple[int, ...]]) -> None:
        """Set the splits; drop the histories of symbols whose splits changed."""
        if minutes is self.splits.minutes:
            return
        before, self.splits.minutes = self.splits.minutes, minutes
        self._load_again([symbol for symbol in self.symbols if before.get(symbol) != minutes.get(symbol)])

    def take_always_open(self, symbols: AbstractSet[str]) -> None:
        """Set the symbols whose markets never close; drop the histories of those that changed."""
        if symbols is self.sessions.always_open:
            return
        changed, self.sessions.always_open = symbols ^ self.sessions.always_open, symbols
        self._load_again(self.symbols if EVERY_SYMBOL in changed else [s for s in self.symbols if s in changed])

    def take_wanted(self, wanted: frozenset[Track]) -> None:
        """Keep whole windows of these tracks only; drop the histories of tracks that change by this."""
        if wanted is self.wanted:
            return
        changed, self.wanted = wanted ^ self.wanted, wanted
        for track in changed:
            self.histories[track] = self._new_history(track)
            self._reach[_PLACE[track]] = NOT_LOADED

    def _load_again(self, symbols: Sequence[str]) -> None:
        names = set(symbols)
        for code, symbol in enumerate(self.symbols[: self._reach.shape[1]]):
            if symbol in names:
                self.set_reach(code, NOT_LOADED)

    def drop_parts(self, symbols: Codes | None = None) -> None:
        """Drop the histories of these symbols (None: of all) that do not reach the newest bar."""
        some = slice(None) if symbols is None else symbols[symbols < self._reach.shape[1]]
        reach = self._reach[:, some]
        self._reach[:, some] = np.where(reach < COMPLETE, NOT_LOADED, reach)

    def _drop_parts_with(self, bars: ClosedRows) -> None:
        """Drop the histories that do not reach the newest bar, and that these bars change."""
        reach = self._reach_of(bars["symbol"])
        is_inside = ((reach < COMPLETE) & (bars["minute"] <= reach)).any(axis=0)
        self.drop_parts(bars["symbol"][is_inside])

    def _reach_of(self, symbols: Codes) -> Column:
        """Return how far each history reaches: (tracks, n)."""
        known = symbols < self._reach.shape[1]
        reach = np.full((len(TRACKS), len(symbols)), NOT_LOADED, np.int64)
        reach[:, known] = self._reach[:, symbols[known]]
        return reach

    def note_used(self, timeframe: int, symbols: Codes) -> None:
        """Note that these symbols' histories of a timeframe are used now."""
        known = symbols[symbols < self._used.shape[1]]
        for session in SESSIONS:
            self._used[_PLACE[Track(session, timeframe)], known] = self.turn

    @property
    def allocated(self) -> int:
        """The memory of all histories, in bytes."""
        return sum(history.allocated for history in self.histories.values())

    def held(self) -> Column:
        """Return all histories in memory, (4, n): index of the track in TRACKS, symbol, turn of its last use, bytes."""
        parts = []
        for place, track in enumerate(TRACKS):
            history = self.histories[track]
            symbols = history.holds()
            known = symbols < self._used.shape[1]
            used = np.where(known, self._used[place, np.where(known, symbols, 0)] if known.any() else 0, 0)
            parts.append([np.full(len(symbols), place), symbols, used, np.full(len(symbols), history.row_bytes)])
        return np.concatenate([np.array(part, np.int64) for part in parts], axis=1)

    def let_go(self, place: int, symbols: Codes) -> None:
        """Drop some symbols' histories of a track; they are loaded again when they are needed."""
        track = TRACKS[place]
        known = symbols[symbols < self._reach.shape[1]]
        self._reach[place, known] = NOT_LOADED
        self.histories[track].clear(symbols)
        for published in (some for (its, _), some in self._published.items() if its == track):
            for symbol in symbols.tolist():
                published.pop(symbol, None)

    def absorb(self, bars: ClosedRows, revised: Mask, *, publish: bool) -> Marks:
        """Put new and revised 1-minute bars (sorted by symbol, then minute) into their symbols' histories.

        Returns the marks of these bars and of the bars that depend on them. If a bar does not fit into its history (too
        old, or too many at once), the history is dropped, and must be loaded again.
        """
        marks = [marks_of(bars["symbol"], bars["minute"], np.where(revised, REVISED, NEW), publish=publish)]
        self._drop_parts_with(bars)
        self.note_used(1, bars["symbol"])
        self.jumped = []
        regular = bars.compress(self.sessions.are_regular(bars["symbol"], bars["minute"], 1))
        for track, mine in ((ALL_MINUTES, bars), (REGULAR_MINUTES, regular)):
            marks.extend(self._absorb(track, mine, publish=publish))
        return joined(marks)

    def _absorb(self, track: Track, bars: ClosedRows, *, publish: bool) -> list[Marks]:
        """Put 1-minute bars into the histories of one track; return the marks of the bars that depend on them."""
        here, history = self.has(bars["symbol"], track), self.histories[track]
        in_order = here & (bars["minute"] > history.last_minutes(bars["symbol"]))
        marks = [self._put(track, bar, publish=publish) for bar in bars[here & ~in_order]]
        symbols, counts = np.unique(bars["symbol"][in_order], return_counts=True)
        jumps = in_order & history.begin_runs(bars) & self._loads
        jumping = bars["symbol"][jumps]
        if track == REGULAR_MINUTES:
            self.jumped = [(self.symbols[bar["symbol"]], int(bar["minute"])) for bar in bars[jumps]]
        for symbol in {*symbols[counts > SLACK].tolist(), *jumping.tolist()}:
            self.set_reach(symbol, NOT_LOADED)
        history.append(bars.compress(in_order & self.has(bars["symbol"], track)))
        return marks

    def _put(self, track: Track, bar: np.void, *, publish: bool) -> Marks:
        """Put a bar between other bars; return the marks of the later bars, which depend on it."""
        symbol, minute = int(bar["symbol"]), int(bar["minute"])
        history = self.histories[track]
        minutes = history.minutes(symbol)
        if not len(minutes):
            history.append(np.array([bar], CLOSED_DTYPE))
            return NO_MARKS
        if self._loads and not self._fits(track, symbol, minute):
            self.set_reach(symbol, NOT_LOADED)
            return NO_MARKS
        history.put(bar)
        is_first = minute == history.begins(symbol)  # now it may belong to the run before
        if self._loads and track.timeframe == 1 and (is_first or not history.is_one_run(symbol)):
            self.set_reach(symbol, NOT_LOADED)
            return NO_MARKS
        return self._after(track, symbol, minute, publish=publish)

    def _fits(self, track: Track, symbol: int, minute: int) -> bool:
        history = self.histories[track]
        if track in self.wanted:
            return history.fits(symbol, minute)
        return bool(history.reach_back(np.array([symbol]), np.array([minute]))[0]) and minute >= history.begins(symbol)

    def _after(self, track: Track, symbol: int, minute: int, *, publish: bool) -> Marks:
        """Mark the bars of a track after a minute: their detections depend on that minute's bar."""
        if track not in self.wanted:
            return NO_MARKS
        minutes = self.histories[track].minutes(symbol)
        later = minutes[minutes > minute].copy()
        symbols = np.full(len(later), symbol)
        return marks_of(symbols, later, AFFECTED, publish=publish, timeframe=track.timeframe)

    def absorb_higher(self, marks: Marks) -> tuple[HigherBars, Marks]:
        """Make the marked bars of higher timeframes from the 1-minute bars.

        Returns the bars that changed, and the marks of them and of the bars that depend on them. An unchanged bar gives
        no mark.
        """
        rows: list[HigherBars] = []
        changed = []
        for timeframe in HIGHER:
            mine = marks.compress(marks["timeframe"] == timeframe)
            if not len(mine):
                continue
            bars, there = self._higher_bars(mine, timeframe)
            changed.append(mine.compress(there & (mine["kind"] == AFFECTED)))
            changed.append(self._emptied(timeframe, mine.compress(~there)))
            for publish in (True, False):
                part = bars.compress(there & (mine["publish"] == publish))
                changed.append(self._absorb_higher(timeframe, part, rows, publish=publish))
        return np.concatenate([NO_HIGHER_BARS, *rows]), joined(changed)

    def _emptied(self, timeframe: int, marks: Marks) -> Marks:
        """Mark the bars of a higher timeframe whose 1-minute bars are all gone, and the bars that depend on them."""
        gone = marks.copy()
        gone["kind"] = REVISED
        later = [
            self._after(Track(session, timeframe), int(mark["symbol"]), int(mark["minute"]), publish=mark["publish"])
            for session in SESSIONS
            for mark in gone
        ]
        return joined([gone, *later])

    def _absorb_higher(self, timeframe: int, bars: ClosedRows, rows: list[HigherBars], *, publish: bool) -> Marks:
        """Put bars of a higher timeframe into their histories, and the changed ones into `rows`; return the marks."""
        track = Track(EXTENDED, timeframe)
        history = self.histories[track]
        in_order = bars["minute"] > history.last_minutes(bars["symbol"])
        revised, written, marks = np.zeros(len(bars), bool), in_order.copy(), []
        for i in np.flatnonzero(~in_order):
            before = history.bar(int(bars["symbol"][i]), int(bars["minute"][i]))
            revised[i] = before is not None
            written[i] = before is None or before != bars[i]
            if written[i]:
                marks.append(self._put(track, bars[i], publish=publish))
        history.append(bars.compress(in_order))
        kinds = np.where(revised, REVISED, NEW)[written]
        bars = bars.compress(written)
        marks.append(marks_of(bars["symbol"], bars["minute"], kinds, publish=publish, timeframe=timeframe))
        marks.extend(self._absorb_regular(bars, timeframe, publish=publish))
        row = np.empty(len(bars), NO_HIGHER_BARS.dtype)
        row["timeframe"] = timeframe
        for name in CLOSED_DTYPE.names or ():
            row[name] = bars[name]
        rows.append(row)
        return joined(marks)

    def _absorb_regular(self, bars: ClosedRows, timeframe: int, *, publish: bool) -> list[Marks]:
        """Put the changed higher bars of regular hours into their histories; return the marks that depend on them."""
        track = Track(REGULAR, timeframe)
        history = self.histories[track]
        bars = bars.compress(self.sessions.are_regular(bars["symbol"], bars["minute"], timeframe))
        in_order = bars["minute"] > history.last_minutes(bars["symbol"])
        marks = [self._put(track, bar, publish=publish) for bar in bars[~in_order]]
        history.append(bars.compress(in_order))
        return marks

    def _higher_bars(self, marks: Marks, timeframe: int) -> tuple[ClosedRows, Mask]:
        """Merge the 1-minute bars of each marked bar; return the bars, and which of them had any."""
        symbols = marks["symbol"].astype(np.int64)
        bars, inside = self.histories[ALL_MINUTES].span(symbols, marks["minute"], timeframe)
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

    def find_patterns(self, marks: Marks, definitions: Definitions, now_s: float) -> FoundPatterns:
        """Run the patterns on marked bars; now_s: Unix seconds by Redis's clock."""
        (found,) = find_patterns([(self, marks)], definitions, now_s)
        return found

    # -- indicators ------------------------------------------------------------------------------------------------

    def find_indicators(self, marks: Marks, definitions: Definitions, now_s: float) -> FoundIndicators:
        """Compute the indicators of marked bars; now_s: Unix seconds by Redis's clock."""
        found = FoundIndicators()
        for track in TRACKS:
            wanted = [
                definition
                for definition in definitions.indicators
                if definition.session == track.session and track.timeframe in definition.timeframes
            ]
            mine, ends = self.located(track, marks) if wanted else (NO_MARKS, np.zeros(0, np.int64))
            for first in range(0, len(mine), _ROWS_OF_A_BATCH):
                some = slice(first, first + _ROWS_OF_A_BATCH)
                self._compute(track, mine[some], ends[some], wanted, now_s, found)
        return found

    def _compute(
        self,
        track: Track,
        marks: Marks,
        ends: Column,
        wanted: Sequence[IndicatorDefinition],
        now_s: float,
        found: FoundIndicators,
    ) -> None:
        """Add the values and alerts on some bars of a track. ends: the end of each bar's window in its history."""
        symbols = marks["symbol"].astype(np.int64)
        needed = {column for definition in wanted for column in (*definition.indicator.columns, "close")}
        windows = self.histories[track].windows(symbols, ends, WINDOW, needed)
        sums = no_session_sums(len(marks))
        if any(definition.indicator.of_session for definition in wanted):
            # A longer bar may begin before the session: add up those of its minutes that are in it.
            sums = self.histories[REGULAR_MINUTES].session_sums(symbols, marks["minute"], track.timeframe)
        bars = self._named(track, marks)
        is_first = np.isin(marks["kind"], (NEW, NEW_REDETECT))
        computed = computed_on(windows, sums, wanted)
        for rows, column in columns_of(bars, computed, ~is_first, now_s):
            found.columns.append(column)
            self._publish(track, marks.take(rows), column, found)
        told = np.flatnonzero(is_first & marks["publish"])
        found.alerts += alerts_on(bars, windows, sums, computed, told, now_s)

    def _named(self, track: Track, marks: Marks) -> NamedBars:
        symbols = [self.symbols[symbol] for symbol in marks["symbol"].tolist()]
        return NamedBars(symbols, TIMEFRAME_OF[track.timeframe], marks["minute"].tolist())

    def _publish(self, track: Track, marks: Marks, column: IndicatorColumn, found: FoundIndicators) -> None:
        """Choose the values to publish; a recomputed one only if it is the symbol's newest and differs."""
        again, symbols = np.array(column.again), marks["symbol"].tolist()
        is_newest = self.histories[track].last_minutes(marks["symbol"]) == marks["minute"]
        published = self._published.setdefault((track, column.indicator), {})
        told = marks["publish"] & ~again
        latest = [*zip(column.minutes, column.values, strict=True)]
        for row in np.flatnonzero(marks["publish"] & again & is_newest).tolist():
            told[row] = published.get(symbols[row]) != latest[row]
        published |= {symbols[row]: latest[row] for row in np.flatnonzero(told & is_newest).tolist()}
        found.to_publish += column.take(np.flatnonzero(told).tolist()).each()

    def located(self, track: Track, marks: Marks) -> tuple[Marks, Column]:
        """Return the marks of a track's bars, and where each ends in its history; it may lack some bars."""
        mine = marks.compress(marks["timeframe"] == track.timeframe)
        self.note_used(track.timeframe, mine["symbol"])
        self.note_used(1, mine["symbol"])
        ends = self.histories[track].find(mine["symbol"].astype(np.int64), mine["minute"])
        return mine.compress(ends > 0), ends[ends > 0]


def _ends_of(marks: Marks) -> Minutes:
    """Return the last minute of each marked bar."""
    return np.asarray(marks["minute"] + marks["timeframe"] - 1)


def _places_of(session: Session, timeframes: Column) -> Column:
    """Return the index in TRACKS of each timeframe's track of a session."""
    mine = [track.timeframe for track in TRACKS if track.session == session]
    return _PLACE[Track(session, 1)] + np.searchsorted(np.array(mine), timeframes)


class _Sought(NamedTuple):
    """The marked bars of one partition on one track; ends: where each ends in its history."""

    number: int
    detector: Detector
    marks: Marks
    ends: Column

    @property
    def symbols(self) -> Codes:
        return self.marks["symbol"].astype(np.int64)


class FoundBar(NamedTuple):
    """The bar on which a pattern was found. minute: its start. repeat_after: bars since the same event, or 0."""

    symbol: str
    timeframe: str
    minute: int
    repeat_after: int


# (timeframe, symbols (n,), minutes (n, k)) -> volume of each of these bars in shares, (n, k); NaN: no such bar.
VolumesOf = Callable[[int, Sequence[str], Column], Column]


def _no_volumes(timeframe: int, names: Sequence[str], minutes: Column) -> Column:
    del timeframe, names
    return np.full(minutes.shape, np.nan)


def find_patterns(
    sought: Sequence[tuple[Detector, Marks]],
    definitions: Definitions,
    now_s: float,
    volumes_of: VolumesOf = _no_volumes,
) -> list[FoundPatterns]:
    """Run the patterns on marked bars of several partitions at once: one call costs more than its rows.

    now_s: Unix seconds by Redis's clock. volumes_of: for bars that the histories no longer hold. Returns what was found
    for each (detector, marks).
    """
    found = [FoundPatterns([], []) for _ in sought]
    for track in TRACKS:
        wanted = [
            pattern
            for pattern in definitions.patterns
            if pattern.session == track.session and track.timeframe in pattern.timeframes
        ]
        if not wanted:
            continue
        parts = [
            _Sought(number, detector, *detector.located(track, marks))
            for number, (detector, marks) in enumerate(sought)
        ]
        for some in _in_batches([part for part in parts if len(part.marks)]):
            _find_in(found, some, track, wanted, now_s, volumes_of)
    return [_of_one_event(some) for some in found]


def _of_one_event(found: FoundPatterns) -> FoundPatterns:
    """Keep for publishing only the first detection of each event."""
    detections = join_parts(found.detections)
    is_first = [one.event is Event.FIRST for one in detections]
    return FoundPatterns(detections, [*map(operator.and_, found.publish, is_first)])


def _in_batches(parts: Sequence[_Sought]) -> Iterator[list[_Sought]]:
    """Divide the bars of some partitions into batches whose windows fit into the processor's cache."""
    batch: list[_Sought] = []
    room = _ROWS_OF_A_BATCH
    for part in parts:
        first = 0
        while first < len(part.marks):
            some = slice(first, first + room)
            batch.append(part._replace(marks=part.marks[some], ends=part.ends[some]))
            first, room = first + room, room - len(batch[-1].marks)
            if not room:
                yield batch
                batch, room = [], _ROWS_OF_A_BATCH
    if batch:
        yield batch


def _find_in(
    found: Sequence[FoundPatterns],
    parts: Sequence[_Sought],
    track: Track,
    wanted: Sequence[PatternDefinition],
    now_s: float,
    volumes_of: VolumesOf,
) -> None:
    depth = max(LEAST_DEPTH, *(columns_for(pattern.kind, pattern.parameters) for pattern in wanted))
    windows, others = _windows_of(parts, track, depth), _Others(parts, track, volumes_of)
    for pattern in wanted:
        _note(found, parts, hits_of(pattern, windows, others), pattern, windows, now_s)


class _Others(NamedTuple):
    """The other bars that confirm the patterns on marked bars of several partitions, one track. rows: of all parts."""

    parts: Sequence[_Sought]
    track: Track
    volumes_of: VolumesOf

    def other_days(self, rows: Column) -> OtherDays:
        """Return the same minute on other days for some rows."""
        return _other_days(self.parts, rows, self.track, self.volumes_of)

    def earlier(self, rows: Column, bars: Column, depth: int) -> tuple[Windows, OtherDays]:
        """Return the windows that end `bars` bars before some rows, and their other days."""
        parts = _moved_back(self.parts, rows, bars, self.track)
        days = _other_days(parts, np.arange(len(rows)), self.track, self.volumes_of)
        return _windows_of(parts, self.track, depth), days


def _windows_of(parts: Sequence[_Sought], track: Track, depth: int) -> Windows:
    return windows_of([(part.detector.histories[track], part.symbols, part.ends) for part in parts], depth)


def _moved_back(parts: Sequence[_Sought], rows: Column, bars: Column, track: Track) -> list[_Sought]:
    """Return for each row the bar that is `bars` bars before it. rows: of all parts, ascending."""
    earlier, first = [], 0
    for part in parts:
        here = (rows >= first) & (rows < first + len(part.marks))
        mine = rows[here] - first
        marks, ends = part.marks.take(mine), part.ends[mine] - bars[here]
        marks["minute"] = part.detector.histories[track].starts_of(part.symbols[mine], ends, 1)
        earlier.append(part._replace(marks=marks, ends=ends))
        first += len(part.marks)
    return earlier


def _other_days(parts: Sequence[_Sought], rows: Column, track: Track, volumes_of: VolumesOf) -> OtherDays:
    """Return the same minute on other days for some rows (of all parts)."""
    found, first = [], 0
    for part in parts:
        mine = rows[(rows >= first) & (rows < first + len(part.marks))] - first
        found.append((_same_minute(part, mine, track, volumes_of), _are_edges(part, mine, track)))
        first += len(part.marks)
    return OtherDays(*(np.concatenate(column) for column in zip(*found, strict=True)))


def _same_minute(part: _Sought, rows: Column, track: Track, volumes_of: VolumesOf) -> Column:
    """Return the volumes of the same minute on the days before; NaN for days before a split."""
    detector, symbols, minutes = part.detector, part.symbols[rows], part.marks["minute"][rows]
    before = same_minutes_before(minutes, track.timeframe)
    each = np.repeat(np.arange(len(rows)), before.shape[1])
    is_split = detector.splits.lie_between(symbols[each], before.ravel(), minutes[each]).reshape(before.shape)
    before[is_split] = -1
    names = [detector.symbols[symbol] for symbol in symbols.tolist()]
    held = detector.histories[track].volumes_at(symbols, before)  # the bars of this commit, too
    return np.where(np.isnan(held), volumes_of(track.timeframe, names, before), held)


def _are_edges(part: _Sought, rows: Column, track: Track) -> Column:
    """Tell which bars end their day, or have another day among the 20 before; in a market that never closes none."""
    if track.session == EXTENDED:
        return np.zeros(len(rows), bool)
    symbols, ends = part.symbols[rows], part.ends[rows]
    starts = part.detector.histories[track].starts_of(symbols, ends, LEAST_DEPTH)
    minutes = part.marks["minute"][rows]
    is_other_day = starts // _DAY_MINUTES < minutes // _DAY_MINUTES
    is_edge = is_other_day | end_regular_hours(minutes, track.timeframe)
    return np.asarray(is_edge & ~part.detector.sessions.are_always_open(symbols))


def _note(
    found: Sequence[FoundPatterns],
    parts: Sequence[_Sought],
    hits: Hits,
    pattern: PatternDefinition,
    windows: Windows,
    now_s: float,
) -> None:
    """Add a detection for each row (of all parts) in which a pattern was found, to the partition of the row."""
    bounds = np.cumsum([0, *(len(part.marks) for part in parts)])
    owners = (np.searchsorted(bounds, hits.rows, side="right") - 1).tolist()
    bars, publish = [], []
    for row, owner, after in zip(hits.rows.tolist(), owners, hits.since.tolist(), strict=True):
        mark = parts[owner].marks[row - bounds[owner]]
        symbol, timeframe = parts[owner].detector.symbols[mark["symbol"]], TIMEFRAME_OF[int(mark["timeframe"])]
        bars.append(FoundBar(symbol, timeframe, int(mark["minute"]), after))
        publish.append(bool(mark["publish"]))
    detections = detections_of(bars, pattern, hits, windows, now_s)
    for owner, detection, is_told in zip(owners, detections, publish, strict=True):
        found[parts[owner].number].detections.append(detection)
        found[parts[owner].number].publish.append(is_told)


def detections_of(
    bars: Sequence[FoundBar],
    pattern: PatternDefinition,
    hits: Hits,
    windows: Windows,
    now_s: float,
    *,
    tier: str = TIER,
) -> list[Detection]:
    """Return the detections for hits in some windows. now_s: the time of detection, Unix seconds."""
    rows, found = hits.rows, hits.found
    if not len(rows):
        return []
    opened, high, low, close, volume = (column[rows, -LEAST_DEPTH:] for column in windows[:5])
    length, whole = np.minimum(windows.length[rows], LEAST_DEPTH), windows.whole(rows)
    confidences, directions = found.confidence[rows].tolist(), found.direction[rows].tolist()
    return [
        Detection(
            symbol=bar.symbol,
            pattern=pattern.kind.name,
            timeframe=bar.timeframe,
            minute=bar.minute,
            confidence=confidences[i],
            direction=directions[i],
            open=float(opened[i, -1]),
            high=float(high[i, -1]),
            low=float(low[i, -1]),
            close=float(close[i, -1]),
            volume=float(volume[i, -1]),
            detected_at=now_s,
            levels=found.levels[row][~np.isnan(found.levels[row])].tolist(),
            parameters=dict(pattern.parameters),
            base_rate=shipped_rates().find(
                pattern.kind.name, bar.timeframe, directions[i], confidences[i], pattern.parameters
            ),
            price_change=float((close[i, -1] / close[i, -2] - 1) * 100) if length[i] > 1 else 0.0,
            relative_volume=_relative_volume(volume[i], length[i]),
            relative_strength=_relative_strength(whole.close[i], int(whole.length[i])),
            tier=tier,
            repeat_after=bar.repeat_after,
        )
        for i, (row, bar) in enumerate(zip(rows.tolist(), bars, strict=True))
    ]


def waiting_for(marks: Marks, stage: int) -> Marks:
    """Return these marks with another stage."""
    marks = marks.copy()
    marks["stage"] = stage
    return marks


def _relative_volume(volume: Column, length: int) -> float:
    mean = volume[-LEAST_DEPTH:-1].mean() if length >= LEAST_DEPTH else 0.0
    return float(volume[-1] / mean) if mean > 0 else 1.0


def _relative_strength(close: Column, length: int) -> float:
    if length < _RSI_BARS:
        return 1.0
    rsi = float(talib.RSI(np.ascontiguousarray(close[-min(length, WINDOW) :]), timeperiod=14)[-1])
    flat = bool((close[-_RSI_BARS:] == close[-1]).all())
    return 1.0 if flat else min(_MAX_STRENGTH, rsi / (100.0 - rsi)) if rsi < 100.0 else _MAX_STRENGTH
