"""The histories of a partition: take in closed bars, make bars of higher timeframes, mark what changed. Pure.

The bars of a commit go into the histories of symbols that are loaded. Other bars are only marked; they come in with the
history when it is loaded (`workers/commit/find/history_loader.py`).
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

import numpy as np
from numpy.typing import NDArray

from ...contracts.ticks import Codes, Column, Mask, Minutes
from ...contracts.timeframe import HIGHER
from ...contracts.universe import EVERY_SYMBOL
from ..bar_runs import Splits
from ..history import CLOSED_DTYPE, SLACK, ClosedRows, History
from ..marks import AFFECTED, NEW, NO_MARKS, REVISED, Marks, joined, marks_of
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
)
from .patterns.base_rates import shipped_rates
from .published_values import PublishedValues

COMPLETE, NOT_LOADED = 2**62, -1  # how far a symbol's history reaches; in between: the last minute that it holds
HigherBars = NDArray[np.void]  # (n,) of the columns of NO_HIGHER_BARS; timeframe: minutes
NO_HIGHER_BARS: HigherBars = np.empty(0, [("timeframe", "<i2"), *CLOSED_DTYPE.descr])

# Bars beyond a window in a history that can be loaded again. More of them take memory, fewer make more loads.
_SLACK = 50
# A track without a definition keeps only the bars from which higher bars are made: 1-minute bars for the longest
# timeframe and for late trades; of a higher timeframe the bars that a late trade may still change.
_UNUSED_WINDOWS = {timeframe: max(8, 80 // timeframe) for timeframe in (1, *HIGHER)}
_UNUSED_SLACK = 20
_PLACE = {track: place for place, track in enumerate(TRACKS)}


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
        self.published = PublishedValues()

    def _new_history(self, track: Track) -> History:
        sums = track == REGULAR_MINUTES
        if track in self.wanted:
            return History(_SLACK if self._loads else SLACK, self.splits, sums=sums)
        return History(_UNUSED_SLACK, self.splits, _UNUSED_WINDOWS[track.timeframe], sums=sums)

    # -- histories -------------------------------------------------------------------------------------------------

    def have(self, symbols: Codes) -> Mask:
        """Tell for each track (in the order of TRACKS) which symbols have a history up to the newest committed bar."""
        return np.asarray(self._reach_of(symbols) == COMPLETE)

    def has(self, symbols: Codes, track: Track) -> Mask:
        """Tell which symbols have a history of this track up to the newest committed bar."""
        return np.asarray(self._reach_of(symbols, _PLACE[track]) == COMPLETE)

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
            mine = mine.compress(mine["minute"] < history.last_minutes(mine["symbol"]))
            self._drop(mine["symbol"][~history.fit(mine["symbol"], mine["minute"])])
        higher = marks[marks["timeframe"] > 1]
        is_there = self.histories[ALL_MINUTES].reach_back(higher["symbol"], higher["minute"])
        self._drop(higher["symbol"][~is_there])

    def _drop(self, symbols: Codes) -> None:
        """Drop all histories of some symbols."""
        if len(symbols):
            self.set_reach(symbols, NOT_LOADED)

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

    def _reach_of(self, symbols: Codes, place: int | slice = slice(None)) -> Column:
        """Return how far each history reaches: (tracks, n), or (n,) of the track with this place."""
        known = symbols < self._reach.shape[1]
        if known.all():
            return np.asarray(self._reach[place, symbols])
        reach = np.full((*self._reach[place].shape[:-1], len(symbols)), NOT_LOADED, np.int64)
        reach[..., known] = self._reach[place][..., symbols[known]]
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
        self.published.forget(track, symbols)

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
            return bool(history.fit(np.array([symbol]), np.array([minute]))[0])
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
            if not there.all():
                changed.append(self._emptied(timeframe, mine.compress(~there)))
            for publish in (True, False):
                part = bars.compress(there & (mine["publish"] == publish))
                if len(part):
                    changed.append(self._absorb_higher(timeframe, part, rows, publish=publish))
        return np.concatenate([NO_HIGHER_BARS, *rows], dtype=NO_HIGHER_BARS.dtype), joined(changed)

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
