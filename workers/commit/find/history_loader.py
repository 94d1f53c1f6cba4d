"""Loads histories from the stored bars: those that marked bars need, and before a close those of open bars."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ....contracts.ticks import Codes, Column, Mask, Minutes
from ....contracts.timeframe import HIGHER
from ....db.postgres import Connection
from ....db.tables.own_bars.forgotten_bars import bars_kept, put_back_around
from ....db.tables.own_bars.history_bars import LoadedBars, WantedBars, load_bars, session_sums_before
from ...bar_runs import runs_around
from ...detect.detector import COMPLETE, NOT_LOADED, Detector
from ...detect.history_memory import LOADED_SYMBOLS, HistoryMemory
from ...history import CLOSED_DTYPE, SLACK, ClosedRows, History
from ...marks import AFFECTED, NO_MARKS, PATTERNS, Marks, joined, marks_of
from ...partition.bar_book import NO_BARS
from ...partition.partition_state import PartitionState
from ...sessions import EXTENDED, REGULAR_MINUTES, TRACKS, Sessions, Track, session_of

_NO_MINUTE = 2**31 - 1


class _Part(NamedTuple):
    """Some symbols of one partition whose histories are loaded together with those of others.

    marks: of these symbols only.
    """

    detector: Detector
    symbols: Codes
    marks: Marks


class _Place(NamedTuple):
    """Where histories of a track are loaded: around the minute `first` of each symbol of a partition."""

    detector: Detector
    symbols: Codes
    first: Minutes

    @property
    def names(self) -> list[str]:
        return [self.detector.symbols[symbol] for symbol in self.symbols.tolist()]


class HistoryLoader:
    """Loads histories through one connection, into a bounded memory."""

    def __init__(self, connection: Connection, memory: HistoryMemory) -> None:
        self._connection = connection
        self._memory = memory

    def load_ahead(self, detector: Detector, state: PartitionState, most: int) -> bool:
        """Load histories of at most so many symbols with open bars; return whether any were loaded.

        The newest bars are loaded, which `recent_bar` always holds.
        """
        if len(state.marks):
            return False
        symbols = np.unique(
            np.concatenate([NO_BARS["symbol"], *(book.bars["symbol"] for book in state.feeds.values())])
        )
        missing = ~detector.have(symbols)
        if not missing.any():
            return False
        place = int(missing.any(axis=1).argmax())
        some = symbols[missing[place]][:most].astype(np.int32)
        self._memory.note(detector)
        newest = _Place(detector, some, np.full(len(some), _NO_MINUTE))
        self._load_tracks({TRACKS[place]: [newest]}, are_old=False)
        detector.drop_parts()
        return True

    def load(self, wanted: Sequence[tuple[Detector, Marks]], now_s: float) -> list[Marks]:
        """Load the histories that the marked bars of each partition need.

        Returns the marks of each partition, and those of the bars that depend on them.
        """
        found = [[marks] for _, marks in wanted]
        for numbers, parts in _in_steps(self._missing(wanted)):
            first = np.concatenate([part.marks["minute"] for part in parts])
            with bars_kept(self._connection, first, now_s) as are_old:
                for number, affected in zip(numbers, self._load_parts(parts, are_old=are_old), strict=True):
                    found[number] += affected
        return [joined(marks) for marks in found]

    def _missing(self, wanted: Sequence[tuple[Detector, Marks]]) -> list[tuple[int, _Part]]:
        """Return the symbols to load, with the number of their partition in `wanted`.

        A history that does not reach every marked bar of its symbol serves those that it reaches first.
        """
        missing = []
        for number, (detector, marks) in enumerate(wanted):
            covered = detector.covers(marks)
            symbols = np.setdiff1d(marks["symbol"][~covered], marks["symbol"][covered])
            timeframes = np.union1d(marks["timeframe"], [1])  # the longer bars are made of minutes
            symbols = symbols[: self._memory.symbols_of_a_step(len(timeframes))]
            if len(symbols):
                detector.drop_parts(symbols)
                mine = marks.compress(np.isin(marks["symbol"], symbols))
                missing.append((number, _Part(detector, symbols, mine)))
        return missing

    def _load_parts(self, parts: Sequence[_Part], *, are_old: bool) -> list[list[Marks]]:
        """Load every track of these symbols; return for each part the marks of bars that depend on its marked ones."""
        affected: list[list[Marks]] = [[] for _ in parts]
        needed = {track: [_needed(part, track) for part in parts] for track in TRACKS}
        loaded = self._load_tracks(needed, are_old=are_old)
        for track, places in needed.items():
            for i, part in enumerate(parts):
                if track in part.detector.wanted:
                    affected[i] += _affected_on(track, part, places[i], loaded[track][i])
        for part in parts:
            part.detector.level_reach(part.symbols)
        return affected

    def _load_tracks(
        self, needed: Mapping[Track, Sequence[_Place]], *, are_old: bool
    ) -> dict[Track, list[list[Minutes]]]:
        """Load tracks around these places, and note how far each history reaches.

        Returns for each place the minutes of each symbol's loaded bars. Some may belong to another run, which the
        history leaves out. are_old: our copy of the bars may not hold all of them any more.
        """
        wanted = [_wanted_bars(track, places) for track, places in needed.items()]
        for some in wanted:
            if are_old and some.symbols:
                put_back_around(self._connection, some)
        loaded = load_bars(self._connection, wanted)
        return {
            track: [self._take(track, *one) for one in _of_places(places, bars)]
            for (track, places), bars in zip(needed.items(), loaded, strict=True)
        }

    def _take(self, track: Track, place: _Place, rows: ClosedRows, counts: Column) -> list[Minutes]:
        """Put loaded bars into the histories of one partition; return the minutes of each symbol's bars."""
        detector, symbols, first = place
        if not len(symbols):
            return []
        history, bars = detector.histories[track], _closed_bars(np.repeat(symbols, counts), rows)
        begin, stop = runs_around(bars, counts, first, detector.splits)
        ends, minutes, owner = np.cumsum(counts), rows["minute"], np.repeat(np.arange(len(counts)), counts)
        at = np.arange(len(bars))
        in_run = (at >= begin[owner]) & (at < stop[owner])
        later = np.bincount(owner[in_run & (minutes > first[owner])], minlength=len(counts))
        minutes = np.append(minutes, 0)  # a history without bars reads the place behind the last one
        begins = minutes[begin]
        history.clear(symbols)
        history.append(bars.compress(in_run))
        has_earlier_run = begin > ends - counts
        history.note_cut(symbols, stop - begin - later >= history.window, np.where(has_earlier_run, begins, 0))
        if track == REGULAR_MINUTES:
            self._add_session_sums(place, history, np.where(counts > 0, begins, NOT_LOADED))
        reach = np.where(later == SLACK, minutes[stop - 1], COMPLETE)  # so many: there may be more
        # There is no bar up to the begin of the next run.
        detector.set_reach(symbols, np.where(stop < ends, minutes[stop] - 1, reach), track)
        detector.note_used(track.timeframe, symbols)
        return np.split(rows["minute"], ends[:-1])

    def _add_session_sums(self, place: _Place, history: History, first: Minutes) -> None:
        """Add the session sums before each symbol's first bar (its minute), if it begins inside a session."""
        sessions = session_of(first)
        inside = np.flatnonzero((sessions >= 0) & (sessions < first))
        if not len(inside):
            return
        names = place.names
        wanted = [(names[i], int(sessions[i]), int(first[i])) for i in inside.tolist()]
        for number, sums in session_sums_before(self._connection, wanted).items():
            history.add_before(int(place.symbols[inside[number]]), sums)


def _wanted_bars(track: Track, places: Sequence[_Place]) -> WantedBars:
    names = [name for place in places for name in place.names]
    minutes = [minute for place in places for minute in place.first.tolist()]
    is_whole = [True] * len(names)
    if track.session != EXTENDED:
        is_whole = [one for place in places for one in place.detector.sessions.are_always_open(place.symbols).tolist()]
    window = places[0].detector.histories[track].window  # the same for all: the same definitions are in force
    return WantedBars(track.timeframe, names, minutes, is_whole, window, SLACK)


def _of_places(places: Sequence[_Place], loaded: LoadedBars) -> Iterator[tuple[_Place, ClosedRows, Column]]:
    """Yield each place with its rows, and the number of bars of each of its symbols."""
    bounds = np.cumsum([0, *(len(place.symbols) for place in places)])
    ends = np.concatenate([[0], np.cumsum(loaded.counts)])
    for place, (begin, end) in zip(places, pairwise(bounds.tolist()), strict=True):
        yield place, loaded.rows[ends[begin] : ends[end]], loaded.counts[begin:end]


def _closed_bars(symbols: Codes, rows: ClosedRows) -> ClosedRows:
    bars = np.empty(len(rows), CLOSED_DTYPE)
    for name in CLOSED_DTYPE.names or ():
        bars[name] = symbols if name == "symbol" else rows[name]
    return bars


def _in_steps(missing: Sequence[tuple[int, _Part]]) -> Iterator[tuple[list[int], list[_Part]]]:
    """Divide the symbols to load into steps of at most LOADED_SYMBOLS."""
    numbers: list[int] = []
    step: list[_Part] = []
    room = LOADED_SYMBOLS
    for number, part in missing:
        if step and len(part.symbols) > room:
            yield numbers, step
            numbers, step, room = [], [], LOADED_SYMBOLS
        numbers.append(number)
        step.append(part)
        room -= len(part.symbols)
    if step:
        yield numbers, step


def _needed(part: _Part, track: Track) -> _Place:
    return _minutes_needed(part, track) if track.timeframe == 1 else _bars_needed(part, track)


def _minutes_needed(part: _Part, track: Track) -> _Place:
    """Return the symbols whose 1-minute bars of a track do not reach far enough, and the first minute of each."""
    short = np.unique(part.marks["symbol"][part.detector.short_of(track, part.marks)])
    if not len(short):
        return _Place(part.detector, short, NO_MARKS["minute"])
    # A higher bar needs only the 1-minute bars of its own span, which begin before its end.
    first = np.minimum(
        _first_minutes(part.marks.compress(part.marks["timeframe"] == 1), short),
        _first_minutes(part.marks.compress(part.marks["timeframe"] > 1), short) + HIGHER[-1],
    )
    return _Place(part.detector, short, np.minimum(first, _NO_MINUTE))


def _bars_needed(part: _Part, track: Track) -> _Place:
    """Return the symbols whose bars of a higher timeframe do not reach far enough, and the first minute of each."""
    its = part.marks.compress(part.marks["timeframe"] == track.timeframe)
    symbols = np.unique(its["symbol"][part.detector.short_of(track, its)])
    return _Place(part.detector, symbols, _first_minutes(its, symbols) if len(symbols) else NO_MARKS["minute"])


def _first_minutes(marks: Marks, symbols: Codes) -> Minutes:
    """Return each symbol's earliest marked minute; far in the future if it has none."""
    marks = marks[np.isin(marks["symbol"], symbols)]
    first = np.full(int(symbols.max()) + 1, _NO_MINUTE, np.int64)
    np.minimum.at(first, marks["symbol"], marks["minute"])
    return first[symbols]


def _of_track(marks: Marks, track: Track, sessions: Sessions) -> Marks:
    """Return the marks of a track's bars."""
    marks = marks[marks["timeframe"] == track.timeframe]
    if track.session == EXTENDED:
        return marks
    is_regular: Mask = sessions.are_regular(marks["symbol"], marks["minute"], track.timeframe)
    return marks[is_regular]


def _affected_on(track: Track, part: _Part, place: _Place, minutes: Sequence[Minutes]) -> list[Marks]:
    """Mark the loaded 1-minute bars that depend on marked ones; leave to the next load what has others behind it.

    minutes: of each symbol's loaded bars. The bars that depend on higher ones are marked when these are made.
    """
    marks = part.marks.compress((part.marks["stage"] == PATTERNS) & (part.marks["kind"] != AFFECTED))
    changed = joined([_of_track(marks, track, part.detector.sessions)])
    bounds = zip(*(np.searchsorted(changed["symbol"], place.symbols, side) for side in ("left", "right")), strict=True)
    found = []
    for symbol, first, rows, (begin, end) in zip(place.symbols.tolist(), place.first, minutes, bounds, strict=True):
        mine = changed[begin:end]
        if (rows > first).sum() == SLACK:  # there may be more
            part.detector.leave_last(symbol, track, mine["minute"][mine["minute"] > first])
        if track.timeframe == 1:
            found.append(_affected(mine, rows))
    return found


def _affected(mine: Marks, minutes: Minutes) -> Marks:
    """Mark the loaded 1-minute bars of a symbol that are later than a changed one: they depend on it.

    Also those of the next run: its begin may depend on the changed bar. Bars that are changed too are left out.
    """
    if not len(mine):
        return mine
    later = np.setdiff1d(minutes[minutes > mine["minute"].min()], mine["minute"])
    publish = bool(mine["publish"].any())
    return marks_of(np.full(len(later), mine["symbol"][0]), later, AFFECTED, publish=publish)
