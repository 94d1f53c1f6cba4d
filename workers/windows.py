"""The last closed bars of each symbol, as detectors read them: kept in columns, handed out as windows up to one bar.

A window is a function of the bars that stand before its bar, never of what was computed before: so a restored worker
finds the very numbers that the dead one would have found.
"""

from collections.abc import Sequence
from datetime import date, timedelta
from functools import cache
from typing import NamedTuple

import numpy as np

from ..contracts.market_hours import hours_if_open
from ..contracts.ticks import SHARE_MICRO, Column

WINDOW = 250  # bars: Wilder's RSI started on as many differs from one over all history by less than 1e-6
SLACK = 250  # bars that a history holds beyond a window: all that hang on a bar that was revised
MAX_GAP_MINUTES = 10 * 1440  # longer than any holiday: what comes after it is not the market that was before

_CAPACITY = WINDOW + SLACK
_FIRST_CAPACITY = 48  # most symbols and timeframes never have more in a day
_DAY_MINUTES = 1440
_FIRST_DAY = date(1970, 1, 1)

# One closed bar, as a history takes it. minute: its start since 1970 (UTC). volume: shares. notional: dollars.
CLOSED_DTYPE = np.dtype(
    [
        ("symbol", "<i4"),
        ("minute", "<i8"),
        ("open", "<f8"),
        ("high", "<f8"),
        ("low", "<f8"),
        ("close", "<f8"),
        ("volume_micro", "<f8"),
        ("notional", "<f8"),
    ]
)
_PRICES = ("open", "high", "low", "close")
# Millionths of dollars or shares, 2.3 million millions: session sums from here on are unknown. Two of them still fit.
LARGEST_SUM = 2**61
_VOLUME, _NOTIONAL = 4, 5  # rows of a history's values, behind the prices


class Windows(NamedTuple):
    """n windows, each the last `depth` bars up to one bar, oldest first: the last column is that bar.

    open, high, low, close, volume: (n, depth) float64, volume in shares; bars that are missing, at the left, are NaN.
    length: (n,) int64, how many bars are there.
    """

    open: Column
    high: Column
    low: Column
    close: Column
    volume: Column
    length: Column

    def last(self, depth: int) -> "Windows":
        """Return the last `depth` columns."""
        opened, high, low, close, volume = (column[:, -depth:] for column in self[:5])
        return Windows(opened, high, low, close, volume, np.minimum(self.length, depth))


class Series(NamedTuple):
    """The last bars of one symbol up to one bar, at most WINDOW, oldest first: (k,) float64, contiguous.

    session_notional, session_volume: sums of price x size (dollars) and of shares from the market's opening up to this
    bar; NaN for a bar outside the regular hours, and where a sum is too large.
    """

    open: Column
    high: Column
    low: Column
    close: Column
    volume: Column
    session_notional: float
    session_volume: float


class History:
    """The last bars of each symbol in one timeframe; a symbol is its index in the partition's symbols.

    sums: running sums over each session, of whole millionths, so that they are the same in whatever order trades came.
    """

    def __init__(self) -> None:
        self.end = np.zeros(0, np.int64)  # how many columns of a row are filled
        self._is_cut = np.zeros(0, bool)  # there may be bars before the first one here
        self._minute = np.zeros((0, _FIRST_CAPACITY), np.int64)
        self._values = np.full((6, 0, _FIRST_CAPACITY), np.nan)
        self._sums = np.zeros((2, 0, _FIRST_CAPACITY), np.int64)

    def load(self, symbol: int, bars: Column, before: tuple[int, int] = (0, 0)) -> None:
        """Take over a symbol's bars (CLOSED_DTYPE, by minute), at most WINDOW + SLACK.

        before: session sums of (notional, volume) of the first bar's session up to that bar, in millionths.
        """
        self.clear(np.array([symbol]))
        self.append(bars)
        self.add_before(symbol, before)

    def clear(self, symbols: Column) -> None:
        """Forget the bars of some symbols."""
        self._make_room(int(symbols.max()) + 1, 0)
        self.end[symbols], self._is_cut[symbols] = 0, False

    def note_cut(self, symbols: Column, is_cut: Column) -> None:
        """Note which of some symbols have bars before the first one here."""
        self._is_cut[symbols] = is_cut

    def add_before(self, symbol: int, before: tuple[int, int]) -> None:
        """Add the session sums up to a symbol's first bar to those of the bars of its session."""
        minutes = self.minutes(symbol)
        if len(minutes) and any(before):
            sessions = session_of(minutes)
            same = (sessions == sessions[0]) & (sessions >= 0)
            sums = self._sums[:, symbol, : len(minutes)]
            sums[:] = _added(sums, np.where(same, np.array(before)[:, None], 0))

    def append(self, bars: Column) -> None:
        """Append bars behind each symbol's last one; bars are sorted by symbol, then minute, and at most SLACK each."""
        if not len(bars):
            return
        symbols, first, counts = np.unique(bars["symbol"], return_index=True, return_counts=True)
        jumped = symbols[self._jumps(symbols, bars["minute"][first])]
        if len(jumped):
            self.clear(jumped)
        self._make_room(int(symbols[-1]) + 1, int((self._ends_of(symbols) + counts).max()))
        full = symbols[self.end[symbols] + counts > self._minute.shape[1]]
        self._move_left(full)
        rows = bars["symbol"]
        rank = np.arange(len(bars)) - np.repeat(first, counts)
        at = self.end[rows] + rank
        self._minute[rows, at] = bars["minute"]
        for value, name in enumerate(_PRICES):
            self._values[value, rows, at] = bars[name]
        self._values[_VOLUME, rows, at] = bars["volume_micro"] / SHARE_MICRO
        self._values[_NOTIONAL, rows, at] = bars["notional"]
        self._sums[:, rows, at] = self._running_sums(bars, rank, at)
        self.end[symbols] += counts

    def _jumps(self, symbols: Column, minutes: Column) -> Column:
        """Tell where a symbol's next bar is so far behind its last one that no window reaches over the gap."""
        last = self.last_minutes(symbols)
        return np.asarray((last >= 0) & (minutes - last > MAX_GAP_MINUTES))

    def _running_sums(self, bars: Column, rank: Column, at: Column) -> Column:
        """Return the session sums up to each bar, those of the bars that stand before included: (2, n).

        Where the running totals leave 64 bits, the differences are right all the same, and floats tell which are too
        large.
        """
        own = _millionths(bars)
        sessions, place = session_of(bars["minute"]), np.arange(len(bars))
        starts = (rank == 0) | (sessions < 0)
        starts[1:] |= sessions[1:] != sessions[:-1]
        start = np.maximum.accumulate(np.where(starts, place, 0))
        sums = own.cumsum(axis=1)
        sums -= (sums - own)[:, start]
        about = own.cumsum(axis=1, dtype=np.float64)
        about -= (about - own)[:, start]
        sums = np.where(about < LARGEST_SUM, sums, LARGEST_SUM)
        last = (bars["symbol"], np.maximum(at - 1, 0))
        goes_on = (rank == 0) & (at > 0) & (sessions >= 0) & (session_of(self._minute[last]) == sessions)
        before = np.where(goes_on, self._sums[:, last[0], last[1]], 0)
        return _added(sums, before[:, start])

    def put(self, bar: Column) -> None:
        """Replace or insert one bar (CLOSED_DTYPE) between others, and set the session sums behind it right."""
        symbol, minute = int(bar["symbol"]), int(bar["minute"])
        bars = self.bars(symbol)
        at = int(np.searchsorted(bars["minute"], minute))
        before = self._sums[:, symbol, 0]
        before = np.where(before < LARGEST_SUM, before - _millionths(bars[0]), before)
        is_cut = bool(self._is_cut[symbol])
        first, stands = bars[0].copy(), at < len(bars) and bars["minute"][at] == minute
        if stands:
            bars[at] = bar
        else:
            bars = np.insert(bars, at, bar)
            if len(bars) > _CAPACITY:
                bars, before, is_cut = bars[1:], _added(before, _millionths(bars[0])), True
        same_session = session_of(bars["minute"][:1]) == session_of(first["minute"][None])
        keeps = same_session and (at > 0 or stands)
        self.load(symbol, bars, tuple(before.tolist()) if keeps else (0, 0))
        self._is_cut[symbol] = is_cut

    def fits(self, symbol: int, minute: int) -> bool:
        """Tell whether a bar at this minute has a whole window here: all bars before it, or enough of them."""
        is_whole = symbol >= len(self.end) or not self._is_cut[symbol]
        return is_whole or bool(np.searchsorted(self.minutes(symbol), minute) >= WINDOW - 1)

    def bars(self, symbol: int) -> Column:
        """Return a copy of a symbol's bars (CLOSED_DTYPE), oldest first."""
        end = self.end_of(symbol)
        bars = np.empty(end, CLOSED_DTYPE)
        bars["symbol"] = symbol
        if end:
            bars["minute"] = self._minute[symbol, :end]
            for value, name in enumerate(_PRICES):
                bars[name] = self._values[value, symbol, :end]
            bars["volume_micro"] = np.rint(self._values[_VOLUME, symbol, :end] * SHARE_MICRO)
            bars["notional"] = self._values[_NOTIONAL, symbol, :end]
        return bars

    def end_of(self, symbol: int) -> int:
        """Return how many bars a symbol has here."""
        return int(self.end[symbol]) if symbol < len(self.end) else 0

    def minutes(self, symbol: int) -> Column:
        """Return the minutes of a symbol's bars, oldest first."""
        return self._minute[symbol, : self.end_of(symbol)] if symbol < len(self.end) else np.zeros(0, np.int64)

    def last_minutes(self, symbols: Column) -> Column:
        """Return the minute of each symbol's last bar, -1 where it has none."""
        ends = self._ends_of(symbols)
        last = np.full(len(symbols), -1, np.int64)
        has = ends > 0
        last[has] = self._minute[symbols[has], ends[has] - 1]
        return last

    def find(self, symbols: Column, minutes: Column) -> Column:
        """Return for each (symbol, minute) how many bars its window may reach back over, itself included; else 0."""
        found = np.zeros(len(symbols), np.int64)
        ends = self._ends_of(symbols)
        last = np.flatnonzero(ends > 0)
        last = last[self._minute[symbols[last], ends[last] - 1] == minutes[last]]  # the usual case: it just closed
        found[last] = ends[last]
        for i in np.flatnonzero((found == 0) & (ends > 0)):
            at = int(np.searchsorted(self.minutes(symbols[i]), minutes[i]))
            if at < ends[i] and self._minute[symbols[i], at] == minutes[i]:
                found[i] = at + 1
        return found

    def bar(self, symbol: int, minute: int) -> Column | None:
        """Return the bar of a symbol that starts at this minute."""
        minutes = self.minutes(symbol)
        at = int(np.searchsorted(minutes, minute))
        return self.bars(symbol)[at] if at < len(minutes) and minutes[at] == minute else None

    def span(self, symbols: Column, starts: Column, length: int) -> tuple[Column, Column]:
        """Return the bars within [start, start + length) minutes of each symbol, and which columns are such bars.

        (n, length) of CLOSED_DTYPE: the last column is the last of them, so that sums do not depend on what is before.
        """
        ends = np.zeros(len(symbols), np.int64)
        last = self.last_minutes(symbols)
        whole = (last >= starts) & (last < starts + length)
        ends[whole] = self.end[symbols[whole]]
        for i in np.flatnonzero(~whole):
            ends[i] = np.searchsorted(self.minutes(int(symbols[i])), starts[i] + length)
        at = ends[:, None] + np.arange(-length, 0)
        rows, columns = symbols[:, None], np.maximum(at, 0)
        bars = np.empty(at.shape, CLOSED_DTYPE)
        bars["symbol"], bars["minute"] = symbols[:, None], self._minute[rows, columns]
        for value, name in enumerate(_PRICES):
            bars[name] = self._values[value, rows, columns]
        bars["volume_micro"] = np.rint(self._values[_VOLUME, rows, columns] * SHARE_MICRO)
        bars["notional"] = self._values[_NOTIONAL, rows, columns]
        inside = (at >= 0) & (bars["minute"] >= starts[:, None]) & (bars["minute"] < starts[:, None] + length)
        return bars, inside

    def windows(self, symbols: Column, ends: Column, depth: int) -> Windows:
        """Return the windows of `depth` bars up to these places (as `find` gives them)."""
        return windows_of([(self, symbols, ends)], depth)

    def fill(self, columns: Column, symbols: Column, ends: Column) -> None:
        """Write the windows up to these places into columns (5, n, depth), NaN where a bar is missing."""
        depth = columns.shape[2]
        for end in np.unique(ends):  # rows of one length are copied as slices, ten times faster than bar by bar
            rows, length = np.flatnonzero(ends == end), min(int(end), depth)
            columns[:, rows, : depth - length] = np.nan
            columns[:, rows, depth - length :] = self._values[:_NOTIONAL, symbols[rows], end - length : end]

    def series(self, symbol: int, end: int) -> Series:
        """Return the window of one symbol up to a place (as `find` gives it), as views."""
        values = self._values[:_NOTIONAL, symbol, max(0, end - WINDOW) : end]
        notional, volume = self._sums[:, symbol, end - 1].tolist()
        is_known = _is_in_session(int(self._minute[symbol, end - 1])) and max(notional, volume) < LARGEST_SUM
        sums = (notional / 1e6, volume / 1e6) if is_known else (np.nan, np.nan)
        return Series(values[0], values[1], values[2], values[3], values[_VOLUME], *sums)

    def _ends_of(self, symbols: Column) -> Column:
        known = symbols < len(self.end)
        ends = np.zeros(len(symbols), np.int64)
        ends[known] = self.end[symbols[known]]
        return ends

    def _make_room(self, rows: int, columns: int) -> None:
        """Let there be rows for so many symbols, and columns for so many bars, up to the capacity."""
        have_rows, have_columns = self._minute.shape
        if rows > have_rows:
            more = max(rows, 2 * have_rows) - have_rows
            self.end, self._is_cut = np.pad(self.end, (0, more)), np.pad(self._is_cut, (0, more))
            self._minute = np.pad(self._minute, ((0, more), (0, 0)))
            self._values = np.pad(self._values, ((0, 0), (0, more), (0, 0)), constant_values=np.nan)
            self._sums = np.pad(self._sums, ((0, 0), (0, more), (0, 0)))
        if columns > have_columns < _CAPACITY:
            # A whole window is there at its load: room for all that follows is made then, not when the next bar closes.
            more = (_CAPACITY if columns >= WINDOW else max(columns, 2 * have_columns)) - have_columns
            self._minute = np.pad(self._minute, ((0, 0), (0, more)))
            self._values = np.pad(self._values, ((0, 0), (0, 0), (0, more)), constant_values=np.nan)
            self._sums = np.pad(self._sums, ((0, 0), (0, 0), (0, more)))

    def _move_left(self, rows: Column) -> None:
        """Drop the oldest bars of full rows: what stays is a window and room for SLACK more."""
        for row in rows:
            kept = min(WINDOW, int(self.end[row]))
            begin = int(self.end[row]) - kept
            self._minute[row, :kept] = self._minute[row, begin : begin + kept]
            self._values[:, row, :kept] = self._values[:, row, begin : begin + kept]
            self._sums[:, row, :kept] = self._sums[:, row, begin : begin + kept]
            self.end[row] = kept
            self._is_cut[row] |= begin > 0


def windows_of(parts: Sequence[tuple[History, Column, Column]], depth: int) -> Windows:
    """Return the windows of `depth` bars of several histories, one behind the other; parts: history, symbols, ends."""
    ends = np.concatenate([ends for _, _, ends in parts])
    columns = np.empty((_NOTIONAL, len(ends), depth))
    first = 0
    for history, symbols, mine in parts:
        history.fill(columns[:, first : first + len(mine)], symbols, mine)
        first += len(mine)
    opened, high, low, close, volume = columns
    return Windows(opened, high, low, close, volume, np.minimum(ends, depth))


def after_gap(bars: Column, last: Column) -> Column:
    """Tell which bars (sorted by symbol, then minute) come behind a gap that no window reaches over.

    last: the minute of each symbol's last bar before them, -1 where there is none.
    """
    before = last.copy()
    same = bars["symbol"][1:] == bars["symbol"][:-1]
    before[1:] = np.where(same, bars["minute"][:-1], last[1:])
    return np.asarray((before >= 0) & (bars["minute"] - before > MAX_GAP_MINUTES))


def run_around(minutes: Column, minute: int) -> slice:
    """Return where the run of bars without such a gap lies that leads up to a minute, or follows it."""
    cuts = np.flatnonzero(np.diff(minutes) > MAX_GAP_MINUTES) + 1
    at = max(0, int(np.searchsorted(minutes, minute, side="right")) - 1)
    place = int(np.searchsorted(cuts, at, side="right"))
    bounds = [0, *cuts.tolist(), len(minutes)]
    return slice(bounds[place], bounds[place + 1])


def _millionths(bars: Column) -> Column:
    """Return the notional and volume of bars in whole millionths, at most LARGEST_SUM: int64, (2, ...)."""
    values = np.rint([bars["notional"] * 1e6, bars["volume_micro"]])
    return np.minimum(values, LARGEST_SUM).astype(np.int64)


def _added(sums: Column, more: Column) -> Column:
    """Add sums, each at most LARGEST_SUM; so is the result."""
    return np.asarray(np.minimum(sums + more, LARGEST_SUM))


def session_of(minutes: Column) -> Column:
    """Return for each minute the start of its regular session, in minutes since 1970; -1 outside it."""
    days = minutes // _DAY_MINUTES
    opens, closes = np.empty((2, len(minutes)), np.int64)
    for day in np.unique(days):
        mine = days == day
        opens[mine], closes[mine] = _session(int(day))
    return np.where((minutes >= opens) & (minutes < closes), opens, -1)


def _is_in_session(minute: int) -> bool:
    opens, closes = _session(minute // _DAY_MINUTES)
    return opens <= minute < closes


@cache
def _session(day: int) -> tuple[int, int]:
    """Return a day's regular hours, [first, end): they lie within one day of UTC."""
    hours = hours_if_open(_FIRST_DAY + timedelta(days=day))
    return int(hours.opens.timestamp()) // 60, int(hours.closes.timestamp()) // 60
