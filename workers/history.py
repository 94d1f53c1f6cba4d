"""The last closed bars of each symbol for detectors: stored in columns, returned as windows up to one bar. Pure.

A window depends only on the bars before its bar, not on earlier results: a restored worker finds the same values as the
former one.
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ..contracts.bar import BAR_DTYPE
from ..contracts.ticks import SHARE_MICRO, Column
from .bar_runs import NO_SPLITS, Splits, begin_runs_after
from .sessions import session_of
from .windows import WINDOW, SessionSums, Windows

SLACK = 250  # bars kept beyond a window: those whose results depend on a revised bar

_FIRST_CAPACITY = 48  # most symbols and timeframes have fewer bars in a day
_EMPTY = 0  # the shared row of all symbols without bars
_BAR_BYTES, _SUMS_BYTES = 56, 16  # of a column of one row
_ROWS_MOVED = 512  # per copy of 10 MB

# One closed bar of a history: the columns of a bar up to its notional.
CLOSED_DTYPE = np.dtype(BAR_DTYPE.descr[:8])
ClosedRows = NDArray[np.void]  # (n,) of CLOSED_DTYPE
_PRICES = ("open", "high", "low", "close")
# Millionths of dollars or shares, 2.3 million millions: larger session sums are unknown. The sum of two still fits.
LARGEST_SUM = 2**61
_CLOSE, _VOLUME, _NOTIONAL = 3, 4, 5  # rows of a history's values


class History:
    """The last bars of each symbol in one timeframe; a symbol is its index in the partition's symbols.

    A symbol with bars has a row in the columns; rows of cleared symbols are used again. sums: running sums over each
    session, in whole millionths, so that they do not depend on the order of trades.
    """

    def __init__(
        self, slack: int = SLACK, splits: Splits = NO_SPLITS, window: int = WINDOW, *, sums: bool = True
    ) -> None:
        """window: bars to keep. slack: additional room of a row that grows bar by bar, at most SLACK.

        sums: whether to keep session sums; without them, `session_sums` must not be called.
        """
        self._splits = splits
        self.window = window
        self._capacity, self._usual_capacity = window + SLACK, window + slack
        self.end = np.zeros(0, np.int64)  # number of filled columns of a symbol's row
        self._is_cut = np.zeros(0, bool)  # there may be bars before the first one here
        self._begins = np.zeros(
            0, np.int64
        )  # the minute of the first one, where those before are of another run; else 0
        self._row = np.zeros(0, np.int32)
        self._free = np.zeros(0, np.int32)  # unused rows
        self._minute = np.zeros((1, _FIRST_CAPACITY), np.int64)
        self._values = np.zeros((6, 1, _FIRST_CAPACITY))
        self._sums = np.zeros((2 if sums else 0, 1, _FIRST_CAPACITY), np.int64)

    @property
    def row_bytes(self) -> int:
        """Return the memory of one symbol with bars, in bytes."""
        return self._minute.shape[1] * (_BAR_BYTES + _SUMS_BYTES * bool(len(self._sums)))

    @property
    def allocated(self) -> int:
        """Return the memory of all rows, used or not, in bytes."""
        return len(self._minute) * self.row_bytes

    def holds(self) -> Column:
        """Return the symbols that have a row."""
        return np.flatnonzero(self._row != _EMPTY)

    def give_back(self) -> None:
        """Free the memory of unused rows, if they are more than an eighth."""
        if len(self._free) * 8 <= len(self._minute):
            return
        symbols = self.holds()
        rows = np.concatenate([[_EMPTY], self._row[symbols]])
        self._minute = self._minute[rows]
        self._values = self._values[:, rows]
        self._sums = self._sums[:, rows]
        self._row[symbols] = np.arange(1, len(rows))
        self._free = np.zeros(0, np.int32)

    def load(self, symbol: int, bars: Column, before: Sequence[int] = (0, 0)) -> None:
        """Set a symbol's bars (CLOSED_DTYPE, by minute), at most a window and SLACK.

        before: session sums of (notional, volume) of the first bar's session before that bar, in millionths.
        """
        self.clear(np.array([symbol]))
        self.append(bars)
        self.add_before(symbol, before)

    def clear(self, symbols: Column) -> None:
        """Forget the bars of some symbols."""
        self._know(int(symbols.max()) + 1)
        rows = self._row[symbols]
        self._free = np.concatenate([self._free, rows[rows != _EMPTY]])
        self.end[symbols], self._is_cut[symbols], self._row[symbols], self._begins[symbols] = 0, False, _EMPTY, 0

    def note_cut(self, symbols: Column, is_cut: Column, begins: Column) -> None:
        """Record which symbols have bars before the first one here, and the minute at which its run begins, or 0."""
        self._is_cut[symbols], self._begins[symbols] = is_cut, begins

    def add_before(self, symbol: int, before: Sequence[int]) -> None:
        """Add the session sums before a symbol's first bar to those of the bars of its session."""
        minutes = self.minutes(symbol)
        if len(minutes) and any(before):
            sessions = session_of(minutes)
            same = (sessions == sessions[0]) & (sessions >= 0)
            sums = self._sums[:, self._row[symbol], : len(minutes)]
            sums[:] = _added(sums, np.where(same, np.array(before)[:, None], 0))

    def append(self, bars: Column) -> None:
        """Append bars after each symbol's last one; sorted by symbol, then minute, at most SLACK each."""
        if not len(bars):
            return
        first = np.flatnonzero(np.diff(bars["symbol"], prepend=-1))
        symbols, counts = bars["symbol"][first], np.diff(first, append=len(bars))
        self._know(int(symbols[-1]) + 1)
        jumps = self.begin_runs(bars)[first]
        if jumps.any():
            self.clear(symbols[jumps])
            self._begins[symbols[jumps]] = bars["minute"][first[jumps]]
        self._make_room(symbols, int(counts.max()), int((self.end[symbols] + counts).max()))
        full = symbols[self.end[symbols] + counts > self._minute.shape[1]]
        self._move_left(full)
        rows = self._row[bars["symbol"]]
        rank = np.arange(len(bars)) - np.repeat(first, counts)
        at = self.end[bars["symbol"]] + rank
        self._minute[rows, at] = bars["minute"]
        for value, name in enumerate(_PRICES):
            self._values[value, rows, at] = bars[name]
        self._values[_VOLUME, rows, at] = bars["volume_micro"] / SHARE_MICRO
        self._values[_NOTIONAL, rows, at] = bars["notional"]
        if len(self._sums):
            self._sums[:, rows, at] = self._running_sums(bars, rank, at)
        self.end[symbols] += counts

    def drop_last(self, symbols: Column) -> None:
        """Remove the last bar of some symbols; each of them must have a bar."""
        self.end[symbols] -= 1

    def begin_runs(self, bars: Column) -> Column:
        """Return a mask of the bars (by symbol, then minute, after the symbol's last one here) that begin a run."""
        minutes, closes = np.roll(bars["minute"], 1), np.roll(bars["close"], 1)
        first = np.flatnonzero(np.diff(bars["symbol"], prepend=-1))
        minutes[first] = self.last_minutes(bars["symbol"][first])
        closes[first] = self._last_closes(bars["symbol"][first])
        return (minutes >= 0) & begin_runs_after(minutes, closes, bars, self._splits)

    def _running_sums(self, bars: Column, rank: Column, at: Column) -> Column:
        """Return the session sums up to each bar, including earlier bars: (2, n).

        If the running totals exceed 64 bits, the differences are still right, and floats show which are too large.
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
        last = (self._row[bars["symbol"]], np.maximum(at - 1, 0))
        goes_on = (rank == 0) & (at > 0) & (sessions >= 0) & (session_of(self._minute[last]) == sessions)
        before = np.where(goes_on, self._sums[:, last[0], last[1]], 0)
        return _added(sums, before[:, start])

    def put(self, bar: np.void) -> None:
        """Replace or insert one bar (CLOSED_DTYPE) between others, and correct the session sums after it."""
        symbol, minute = int(bar["symbol"]), int(bar["minute"])
        bars = self.bars(symbol)
        at = int(np.searchsorted(bars["minute"], minute))
        before = self._sums[:, self._row[symbol], 0].copy()
        before = np.where(before < LARGEST_SUM, before - self._own_sums(bars[0]), before)
        is_cut, begins = bool(self._is_cut[symbol]), int(self._begins[symbol])
        first, stands = bars[0].copy(), at < len(bars) and bars["minute"][at] == minute
        if stands:
            bars[at] = bar
        else:
            bars = np.insert(bars, at, bar)
            if len(bars) > self._capacity:
                bars, before, is_cut = bars[1:], _added(before, self._own_sums(bars[0])), True
        same_session = session_of(bars["minute"][:1]) == session_of(first["minute"][None])
        keeps = same_session and (at > 0 or stands)
        self.load(symbol, bars, before.tolist() if keeps else (0, 0))
        self._is_cut[symbol], self._begins[symbol] = is_cut, begins

    def _own_sums(self, bar: Column) -> Column:
        """Return what a bar adds to the session sums that are kept: (2,) or (0,)."""
        return _millionths(bar)[: len(self._sums)]

    def fit(self, symbols: Column, minutes: Column) -> Column:
        """Return a mask of the (symbol, minute) with their whole window here: all bars of the run before, or enough."""
        known = symbols < len(self.end)
        is_cut, begins = np.zeros(len(symbols), bool), np.zeros(len(symbols), np.int64)
        is_cut[known], begins[known] = self._is_cut[symbols[known]], self._begins[symbols[known]]
        is_whole = ~is_cut
        is_whole[is_cut] = self._before(symbols[is_cut], minutes[is_cut]) >= self.window - 1
        return is_whole & (minutes >= begins)

    def reach_back(self, symbols: Column, minutes: Column) -> Column:
        """Return a mask of the (symbol, minute) from which on all bars of the symbol's run are here."""
        known = symbols < len(self.end)
        is_cut = np.zeros(len(symbols), bool)
        is_cut[known] = self._is_cut[symbols[known]]
        return np.asarray(~is_cut | (self._minute[self._rows_of(symbols), 0] <= minutes))

    def begins(self, symbol: int) -> int:
        """Return the minute of the first bar here if earlier stored bars are of another run; else 0."""
        return int(self._begins[symbol]) if symbol < len(self._begins) else 0

    def is_one_run(self, symbol: int) -> bool:
        """Tell whether no bar here except the first begins a run."""
        bars = self.bars(symbol)
        return not begin_runs_after(bars["minute"][:-1], bars["close"][:-1], bars[1:], self._splits).any()

    def bars(self, symbol: int) -> Column:
        """Return a copy of a symbol's bars (CLOSED_DTYPE), oldest first."""
        end = self.end_of(symbol)
        bars = np.empty(end, CLOSED_DTYPE)
        bars["symbol"] = symbol
        if end:
            row = self._row[symbol]
            bars["minute"] = self._minute[row, :end]
            for value, name in enumerate(_PRICES):
                bars[name] = self._values[value, row, :end]
            bars["volume_micro"] = np.rint(self._values[_VOLUME, row, :end] * SHARE_MICRO)
            bars["notional"] = self._values[_NOTIONAL, row, :end]
        return bars

    def end_of(self, symbol: int) -> int:
        """Return the number of a symbol's bars here."""
        return int(self.end[symbol]) if symbol < len(self.end) else 0

    def minutes(self, symbol: int) -> Column:
        """Return the minutes of a symbol's bars, oldest first."""
        if symbol >= len(self.end):
            return np.zeros(0, np.int64)
        return self._minute[self._row[symbol], : self.end_of(symbol)]

    def last_minutes(self, symbols: Column) -> Column:
        """Return the minute of each symbol's last bar, -1 if it has none."""
        ends = self._ends_of(symbols)
        last = np.full(len(symbols), -1, np.int64)
        has = ends > 0
        last[has] = self._minute[self._row[symbols[has]], ends[has] - 1]
        return last

    def _last_closes(self, symbols: Column) -> Column:
        """Return the close of each symbol's last bar; any number if it has none."""
        ends = np.maximum(self._ends_of(symbols), 1)
        return np.asarray(self._values[_CLOSE, self._rows_of(symbols), ends - 1])

    def find(self, symbols: Column, minutes: Column) -> Column:
        """Return for each (symbol, minute) the number of bars up to and including it; 0 if it is not here."""
        found = np.zeros(len(symbols), np.int64)
        ends = self._ends_of(symbols)
        last = np.flatnonzero(ends > 0)
        newest = self._minute[self._row[symbols[last]], ends[last] - 1]
        last = last[newest == minutes[last]]  # the usual case: it has just closed
        found[last] = ends[last]
        others = np.flatnonzero((found == 0) & (ends > 0))
        at = self._before(symbols[others], minutes[others])
        is_here = at < ends[others]
        others, at = others[is_here], at[is_here]
        is_here = self._minute[self._row[symbols[others]], at] == minutes[others]
        found[others[is_here]] = at[is_here] + 1
        return found

    def _before(self, symbols: Column, minutes: Column) -> Column:
        """Return the number of bars of each symbol before a minute, by a binary search in all rows at once."""
        rows, low = self._rows_of(symbols), np.zeros(len(symbols), np.int64)
        high = self._ends_of(symbols)
        for _ in range(int(high.max(initial=0)).bit_length()):
            middle = (low + high) // 2
            is_earlier = (low < high) & (self._minute[rows, np.minimum(middle, self._minute.shape[1] - 1)] < minutes)
            low, high = np.where(is_earlier, middle + 1, low), np.where(is_earlier, high, middle)
        return low

    def bar(self, symbol: int, minute: int) -> Column | None:
        """Return the bar of a symbol that starts at this minute."""
        minutes = self.minutes(symbol)
        at = int(np.searchsorted(minutes, minute))
        return self.bars(symbol)[at] if at < len(minutes) and minutes[at] == minute else None

    def span(self, symbols: Column, starts: Column, length: int) -> tuple[Column, Column]:
        """Return the bars within [start, start + length) minutes of each symbol, and a mask of the valid columns.

        (n, length) of CLOSED_DTYPE: the last bar is in the last column, so that sums do not depend on earlier columns.
        """
        ends = np.zeros(len(symbols), np.int64)
        last = self.last_minutes(symbols)
        whole = (last >= starts) & (last < starts + length)
        ends[whole] = self.end[symbols[whole]]
        ends[~whole] = self._before(symbols[~whole], starts[~whole] + length)
        at = ends[:, None] + np.arange(-length, 0)
        rows, columns = self._rows_of(symbols)[:, None], np.maximum(at, 0)
        bars = np.empty(at.shape, CLOSED_DTYPE)
        bars["symbol"], bars["minute"] = symbols[:, None], self._minute[rows, columns]
        for value, name in enumerate(_PRICES):
            bars[name] = self._values[value, rows, columns]
        bars["volume_micro"] = np.rint(self._values[_VOLUME, rows, columns] * SHARE_MICRO)
        bars["notional"] = self._values[_NOTIONAL, rows, columns]
        inside = (at >= 0) & (bars["minute"] >= starts[:, None]) & (bars["minute"] < starts[:, None] + length)
        return bars, inside

    def windows(
        self, symbols: Column, ends: Column, depth: int, names: Collection[str] = Windows._fields[:_NOTIONAL]
    ) -> Windows:
        """Return the windows of `depth` bars up to these places (from `find`). names: as of `windows_of`."""
        return windows_of([(self, symbols, ends)], depth, names)

    def fill(self, columns: Mapping[int, Column], symbols: Column, ends: Column) -> None:
        """Write the windows up to these places into columns (n, depth), NaN if a bar is missing.

        columns: by the row of their values.
        """
        mine = self._rows_of(symbols)
        depth = next((column.shape[1] for column in columns.values()), 0)
        long, short = np.flatnonzero(ends >= depth), np.flatnonzero(ends < depth)
        most = int(ends[short].max(initial=0))
        at = ends[short, None] + np.arange(-most, 0)
        lacks, places = at < 0, np.maximum(at, 0) + mine[short, None] * np.int64(self._minute.shape[1])
        for value, column in columns.items():
            if len(long):
                view = sliding_window_view(self._values[value], depth, axis=1)
                column[long] = view[mine[long], ends[long] - depth]
            if len(short):
                column[short, : depth - most] = np.nan
                column[short, depth - most :] = np.where(lacks, np.nan, self._values[value].ravel()[places])

    def volumes_at(self, symbols: Column, minutes: Column) -> Column:
        """Return the volume of the bars at these minutes (n, k) of each symbol, NaN if not here."""
        volumes = np.full(minutes.shape, np.nan)
        first = self._minute[self._rows_of(symbols), 0]
        row, column = np.nonzero((minutes >= first[:, None]) & (self._ends_of(symbols) > 0)[:, None])
        places = self.find(symbols[row], minutes[row, column])
        row, column, places = row[places > 0], column[places > 0], places[places > 0]
        volumes[row, column] = self._values[_VOLUME, self._row[symbols[row]], places - 1]
        return volumes

    def starts_of(self, symbols: Column, ends: Column, depth: int) -> Column:
        """Return the minute of the first of up to `depth` bars that end at each place (from `find`)."""
        return np.asarray(self._minute[self._rows_of(symbols), np.maximum(ends - depth, 0)])

    def session_sums(self, symbols: Column, starts: Column, length: int) -> SessionSums:
        """Return the session sums up to each symbol's last bar within [start, start + length) minutes."""
        places = self._before(symbols, starts + length) - 1
        rows, places, has_bar = self._rows_of(symbols), np.maximum(places, 0), places >= 0
        minutes = self._minute[rows, places]
        notional, volume = self._sums[:, rows, places]
        is_known = has_bar & (minutes >= starts) & (session_of(minutes) >= 0)
        is_known &= np.maximum(notional, volume) < LARGEST_SUM
        return SessionSums(*(np.where(is_known, sums / 1e6, np.nan) for sums in (notional, volume)))

    def _ends_of(self, symbols: Column) -> Column:
        known = symbols < len(self.end)
        ends = np.zeros(len(symbols), np.int64)
        ends[known] = self.end[symbols[known]]
        return ends

    def _rows_of(self, symbols: Column) -> Column:
        known = symbols < len(self._row)
        rows = np.full(len(symbols), _EMPTY, np.int32)
        rows[known] = self._row[symbols[known]]
        return rows

    def _know(self, symbols: int) -> None:
        """Make room for this number of symbols."""
        if (more := max(symbols, 2 * len(self.end)) - len(self.end)) > 0 and symbols > len(self.end):
            self.end, self._row = np.pad(self.end, (0, more)), np.pad(self._row, (0, more))
            self._is_cut, self._begins = np.pad(self._is_cut, (0, more)), np.pad(self._begins, (0, more))

    def _make_room(self, symbols: Column, most: int, columns: int) -> None:
        """Give each of some symbols a row with columns for so many bars, up to the limit of a full row.

        most: the largest number of bars appended to one of them.
        """
        rows, have = self._minute.shape
        without = symbols[self._row[symbols] == _EMPTY]
        if lacking := max(0, len(without) - len(self._free)):
            lacking = max(lacking, rows // 4)
            self._free = np.concatenate([self._free, np.arange(rows, rows + lacking, dtype=np.int32)])
            rows += lacking
        usual = self._usual_capacity
        wanted = columns if columns <= usual else self.window + most
        if wanted > have:
            # A whole window exists since its load: make room for all later bars then, not when the next bar closes.
            grown = usual if wanted >= self.window else min(usual, max(wanted, 2 * have))
            have = grown if wanted <= grown else self._capacity
        self._minute, self._sums = _grown(self._minute, rows, have), _grown(self._sums, rows, have)
        self._values = _grown(self._values, rows, have)
        if len(without):
            self._row[without] = self._free[-len(without) :]
            self._free = self._free[: -len(without)]

    def _move_left(self, symbols: Column) -> None:
        """Drop the oldest bars of full rows: a window stays, and room for more."""
        ends = self.end[symbols]
        for end in np.unique(ends).tolist():
            kept = min(self.window, end)
            begin = end - kept
            mine = symbols[ends == end]
            for some in np.array_split(self._row[mine], range(_ROWS_MOVED, len(mine), _ROWS_MOVED)):
                self._minute[some, :kept] = self._minute[some, begin:end]
                self._values[:, some, :kept] = self._values[:, some, begin:end]
                self._sums[:, some, :kept] = self._sums[:, some, begin:end]
            self.end[mine] = kept
            self._is_cut[mine] |= begin > 0


def _grown(columns: Column, rows: int, length: int) -> Column:
    """Return columns (..., rows, bars) with more room; the system allocates only memory that is written."""
    if columns.shape[-2:] == (rows, length):
        return columns
    grown = np.zeros((*columns.shape[:-2], rows, length), columns.dtype)
    grown[..., : columns.shape[-2], : columns.shape[-1]] = columns
    return grown


def windows_of(
    parts: Sequence[tuple[History, Column, Column]], depth: int, names: Collection[str] = Windows._fields[:_NOTIONAL]
) -> Windows:
    """Return the windows of `depth` bars of several histories, one after the other; parts: history, symbols, ends.

    names: the columns that are needed, which saves the copies of others; these are NaN.
    """
    ends = np.concatenate([ends for _, _, ends in parts])
    shape = (len(ends), depth)
    columns = {value: np.empty(shape) for value, name in enumerate(Windows._fields[:_NOTIONAL]) if name in names}
    bounds = np.cumsum([0, *(len(mine) for _, _, mine in parts)])
    for (history, symbols, mine), first in zip(parts, bounds.tolist(), strict=False):
        some = {value: column[first : first + len(mine)] for value, column in columns.items()}
        history.fill(some, symbols, mine)

    def wider(rows: Column) -> Windows:
        part = np.searchsorted(bounds, rows, side="right") - 1
        some = [
            (history, symbols[rows[part == number] - first], mine[rows[part == number] - first])
            for number, ((history, symbols, mine), first) in enumerate(zip(parts, bounds.tolist(), strict=False))
        ]
        return windows_of(some, WINDOW, names)

    unneeded = np.broadcast_to(np.nan, shape)
    opened, high, low, close, volume = (columns.get(value, unneeded) for value in range(_NOTIONAL))
    return Windows(opened, high, low, close, volume, np.minimum(ends, depth), wider if depth < WINDOW else None)


def _millionths(bars: Column) -> Column:
    """Return the notional and volume of bars in whole millionths, at most LARGEST_SUM: int64, (2, ...)."""
    values = np.rint([bars["notional"] * 1e6, bars["volume_micro"]])
    return np.minimum(values, LARGEST_SUM).astype(np.int64)


def _added(sums: Column, more: Column) -> Column:
    """Add sums, each at most LARGEST_SUM; the result is limited too."""
    return np.asarray(np.minimum(sums + more, LARGEST_SUM))
