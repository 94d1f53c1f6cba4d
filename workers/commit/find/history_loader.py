"""Loads histories from the stored bars: those that marked bars need, and before a close those of open bars."""

from collections.abc import Sequence

import numpy as np

from ....contracts.ticks import Codes, Mask, Minutes
from ....contracts.timeframe import HIGHER
from ....db.postgres import Connection
from ....db.tables.detections import WantedBars, load_bars, session_sums_before
from ....db.tables.forgotten_bars import bars_kept, put_back_around
from ...detect.detector import COMPLETE, NOT_LOADED, Detector
from ...detect.history_memory import WHOLE_WINDOW_BYTES, HistoryMemory
from ...marks import AFFECTED, PATTERNS, Marks, joined, marks_of
from ...partition.bar_book import NO_BARS
from ...partition.partition_state import PartitionState
from ...sessions import ALL_MINUTES, EXTENDED, REGULAR_MINUTES, TRACKS, Sessions, Track, session_of
from ...windows import CLOSED_DTYPE, SLACK, ClosedRows, run_around

_LOADED_SYMBOLS = 256  # of a partition in one call of load_ahead: bars are read between two calls
_NO_MINUTE = 2**31 - 1


class HistoryLoader:
    """Loads histories through one connection, into a bounded memory."""

    def __init__(self, connection: Connection, memory: HistoryMemory) -> None:
        self._connection = connection
        self._memory = memory

    def load_ahead(self, detector: Detector, state: PartitionState) -> bool:
        """Load histories of symbols with open bars, before the bars close; return whether any were loaded.

        Only while there is room: otherwise it would push out other histories, which would be loaded again, and so on.
        """
        symbols = np.unique(
            np.concatenate([NO_BARS["symbol"], *(book.bars["symbol"] for book in state.feeds.values())])
        )
        if len(state.marks) or not len(symbols):
            return False
        for track in TRACKS:
            missing = symbols[~detector.has(symbols, track)]
            if len(missing) and (most := min(self._memory.room() // WHOLE_WINDOW_BYTES, _LOADED_SYMBOLS)):
                self._memory.note(detector)
                some = missing[:most].astype(np.int32)
                self._load_track(detector, track, some, np.full(len(some), _NO_MINUTE))
                detector.drop_parts()
                return True
        return False

    def load(self, detector: Detector, marks: Marks, now_s: float) -> Marks:
        """Load the histories that marked bars need; return the marks, and those of the bars that depend on them."""
        missing = np.unique(marks["symbol"][~detector.covers(marks)])[: self._memory.symbols_of_a_step]
        if not len(missing):
            return marks
        mine = marks[np.isin(marks["symbol"], missing)]
        affected: list[Marks] = []
        for track in (ALL_MINUTES, REGULAR_MINUTES):
            short = np.unique(mine["symbol"][detector.short_of(track, mine)])
            if not len(short):
                continue
            of_short = mine[np.isin(mine["symbol"], short)]
            # A higher bar needs only the 1-minute bars of its own span, which begin before its end.
            first = np.minimum(
                _first_minutes(of_short[of_short["timeframe"] == 1], short),
                _first_minutes(of_short[of_short["timeframe"] > 1], short) + HIGHER[-1],
            )
            loaded = self._load_track(detector, track, short, np.minimum(first, _NO_MINUTE), now_s)
            if track in detector.wanted:
                its = _of_track(mine, track, detector.sessions)
                affected += [
                    _affected(its[its["symbol"] == symbol], minutes)
                    for symbol, minutes in zip(short.tolist(), loaded, strict=True)
                ]
        for track in TRACKS:
            its = mine[(mine["timeframe"] == track.timeframe) & (track.timeframe > 1)]
            symbols = np.unique(its["symbol"][detector.short_of(track, its)])
            if len(symbols):
                self._load_track(detector, track, symbols, _first_minutes(its, symbols), now_s)
        detector.level_reach(missing)
        return joined([marks, *affected])

    def _load_track(
        self, detector: Detector, track: Track, symbols: Codes, first: Minutes, now_s: float | None = None
    ) -> list[Minutes]:
        """Load one track of some symbols, around these minutes, and note how far each history reaches.

        Returns the minutes of each symbol's loaded bars. Some may belong to another run, which the history leaves out.
        now_s: None to load the newest bars, which `recent_bar` always holds.
        """
        history = detector.histories[track]
        names = [detector.symbols[symbol] for symbol in symbols]
        is_whole = [True] * len(names)
        if track.session != EXTENDED:
            is_whole = detector.sessions.are_always_open(symbols).tolist()
        minutes = dict(zip(names, first.tolist(), strict=True))
        wanted = WantedBars(track.timeframe, minutes, is_whole, history.window, SLACK)
        with bars_kept(self._connection, first if now_s is not None else first[:0], now_s or 0.0) as are_old:
            if are_old:
                put_back_around(self._connection, wanted)
            loaded = load_bars(self._connection, wanted)
            found = [_closed_bars(int(symbol), rows) for symbol, rows in zip(symbols, loaded, strict=True)]
            runs = [
                run_around(rows, minute, detector.splits) for rows, minute in zip(found, first.tolist(), strict=True)
            ]
            bars = [rows[run] for rows, run in zip(found, runs, strict=True)]
            sums = self._session_sums(names, bars) if track == REGULAR_MINUTES else {}
        history.clear(symbols)
        history.append(np.concatenate(bars))
        before = [(rows["minute"] <= minute).sum() for rows, minute in zip(bars, first, strict=True)]
        begins = [rows["minute"][0] if run.start else 0 for rows, run in zip(bars, runs, strict=True)]
        history.note_cut(symbols, np.array(before) >= history.window, np.array(begins))
        for i, (symbol, rows) in enumerate(zip(symbols.tolist(), bars, strict=True)):
            history.add_before(symbol, sums.get(i, (0, 0)))
            reach = COMPLETE
            if runs[i].stop < len(loaded[i]):  # there is no bar up to the begin of the next run
                reach = loaded[i]["minute"][runs[i].stop] - 1
            elif (rows["minute"] > first[i]).sum() == SLACK:  # there may be more
                reach = rows["minute"][-1]
            detector.set_reach(symbol, reach, track)
        detector.note_used(track.timeframe, symbols)
        return [rows["minute"] for rows in loaded]

    def _session_sums(self, names: Sequence[str], bars: Sequence[ClosedRows]) -> dict[int, tuple[int, int]]:
        """Return the session sums before the first loaded bar, for each index whose bars begin inside a session."""
        wanted = {}
        for i, rows in enumerate(bars):
            session = int(session_of(rows["minute"][:1])[0]) if len(rows) else NOT_LOADED
            if 0 <= session < (rows["minute"][0] if len(rows) else 0):
                wanted[i] = (names[i], session, int(rows["minute"][0]))
        if not wanted:
            return {}
        sums = session_sums_before(self._connection, list(wanted.values()))
        return {i: sums[number] for number, i in enumerate(wanted) if number in sums}


def _closed_bars(symbol: int, rows: ClosedRows) -> ClosedRows:
    bars = np.empty(len(rows), CLOSED_DTYPE)
    for name in CLOSED_DTYPE.names or ():
        bars[name] = symbol if name == "symbol" else rows[name]
    return bars


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


def _affected(marks: Marks, minutes: Minutes) -> Marks:
    """Mark the loaded 1-minute bars of a symbol that are later than a marked one: they depend on it.

    Also those of the next run: its begin may depend on the marked bar. Bars that are marked already are left out.
    """
    mine = marks.compress((marks["timeframe"] == 1) & (marks["stage"] == PATTERNS) & (marks["kind"] != AFFECTED))
    if not len(mine):
        return mine
    later = np.setdiff1d(minutes[minutes > mine["minute"].min()], mine["minute"])
    publish = bool(mine["publish"].any())
    return marks_of(np.full(len(later), mine["symbol"][0]), later, AFFECTED, publish=publish)
