"""What the flat files of a replay cover: for each symbol and day, from which time to which. Pure.

In these times the files count as complete: a bar of another feed without a trade in the files is deleted. All rows of a
file count, including those that are left out or refused: a cancelled trade is covered too.

Each file counts alone, so that two files of one command do not cover the days between them. In a file ordered by time,
each symbol is covered from the day's first row to its last row. The same holds for a file grouped by ticker, except for
its first and last ticker: they may continue in another file. In all other files a symbol is covered from its own first
row to its own last row.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ..contracts.ticks import MAX_TS_NS, MIN_TS_NS, Column

DAY_NS = 86_400_000_000_000
_DAY_BEGINS_NS = DAY_NS * 5 // 24  # 05:00 UTC: midnight in New York, or an hour past it, when nothing is traded
_NEVER = np.iinfo(np.int64)


class Covered(NamedTuple):
    """A span of time (Unix ns, both ends included) that a file covers for a symbol."""

    symbol: str
    first_ns: int
    last_ns: int


class Coverage:
    """Collects the times of the rows of some files, block after block."""

    def __init__(self) -> None:
        self._files: list[_File] = []

    def begin_file(self) -> None:
        """Begin the next file."""
        self._files.append(_File())

    def note(self, symbols: Sequence[str], code: Column, ts: Column) -> None:
        """Record rows of the file, in order. code: (n,) index in `symbols`, -1: no valid symbol; ts: (n,) Unix ns."""
        sound = (code >= 0) & (ts >= MIN_TS_NS) & (ts < MAX_TS_NS)
        if not sound.all():
            code, ts = code[sound], ts[sound]
        if len(ts):
            self._files[-1].note(symbols, code, ts)

    @property
    def groups_by_ticker(self) -> bool:
        """Tell whether some file has its rows ticker by ticker, and not by time."""
        return any(file.is_grouped and not file.is_by_time for file in self._files)

    def spans(self) -> list[Covered]:
        """Return the symbols and times that the files cover."""
        return [span for file in self._files for span in file.spans()]


class _File:
    def __init__(self) -> None:
        self._codes: dict[str, int] = {}
        self._bounds: dict[int, Column] = {}  # by day: the first and last time of each symbol
        self._latest = 0
        self.is_by_time = True
        self._runs = 0
        self._first_code = self._last_code = -1

    def note(self, symbols: Sequence[str], code: Column, ts: Column) -> None:
        known = self._codes
        codes = np.fromiter((known.setdefault(symbol, len(known)) for symbol in symbols), "<i8", len(symbols))
        code = codes[code]
        self.is_by_time = self.is_by_time and int(ts[0]) >= self._latest and bool((ts[1:] >= ts[:-1]).all())
        self._latest = int(ts[-1])
        self._runs += int((code[1:] != code[:-1]).sum()) + (int(code[0]) != self._last_code)
        self._first_code = int(code[0]) if self._first_code < 0 else self._first_code
        self._last_code = int(code[-1])
        first_day, last_day = ((int(at) - _DAY_BEGINS_NS) // DAY_NS for at in (ts.min(), ts.max()))
        if first_day == last_day:
            self._note_day(first_day, code, ts)
            return
        days = (ts - _DAY_BEGINS_NS) // DAY_NS
        for day in np.unique(days).tolist():
            self._note_day(day, code[days == day], ts[days == day])

    def _note_day(self, day: int, code: Column, ts: Column) -> None:
        bounds = self._bounds.get(day)
        known = 0 if bounds is None else bounds.shape[1]
        if bounds is None or known < len(self._codes):
            grown = np.empty((2, 2 * len(self._codes)), "<i8")
            grown[0], grown[1] = _NEVER.max, _NEVER.min
            if bounds is not None:
                grown[:, :known] = bounds
            bounds = self._bounds[day] = grown
        np.minimum.at(bounds[0], code, ts)
        np.maximum.at(bounds[1], code, ts)

    @property
    def is_grouped(self) -> bool:
        return len(self._codes) > 1 and self._runs == len(self._codes)

    def spans(self) -> Iterator[Covered]:
        symbols = list(self._codes)
        for _, bounds in sorted(self._bounds.items()):
            first, last = bounds[:, : len(symbols)]
            there = np.flatnonzero(first <= last)
            earliest, latest = int(first[there].min()), int(last[there].max())
            for code in there.tolist():
                begins_whole = self.is_by_time or (self.is_grouped and code != self._first_code)
                ends_whole = self.is_by_time or (self.is_grouped and code != self._last_code)
                first_ns = earliest if begins_whole else int(first[code])
                yield Covered(symbols[code], first_ns, latest if ends_whole else int(last[code]))
