"""Massive's daily bars with unadjusted prices: the whole market on one day, or the days of one symbol."""

from collections.abc import Sequence
from datetime import date, datetime
from urllib.parse import quote

import msgspec

from ...contracts.daily.day_bars import DayBars, bars_of_rows, day_number, joined, wanted_of
from ...contracts.market_hours import NEW_YORK
from ..rest_client import RestClient
from .pages import Page, PageReader

_LIMIT = 50_000  # base aggregates of a page, at most, by the manual of /v2/aggs
_NAN = float("nan")


class _Day(msgspec.Struct):
    t: int  # Unix ms: the begin of the day in New York, or (grouped) its end
    T: str = ""  # the symbol, in an answer with several
    o: float | None = None
    h: float | None = None
    l: float | None = None  # noqa: E741  # the vendor's name for the low
    c: float | None = None
    v: float | None = None
    dv: str | None = None  # the volume as decimal text, if it is fractional


class MassiveDays:
    """Asks for daily bars. Its methods are DaySources; they raise RestAway, RestRefused, RestBroken, RestStopped."""

    def __init__(self, client: RestClient) -> None:
        self._days = PageReader(client, Page[_Day], "bars of days")

    def grouped(self, days: Sequence[date], symbols: Sequence[str]) -> DayBars:
        """Return the bars of some symbols from the whole market's answer: one request per day."""
        return joined([self._market(day, symbols) for day in days])

    def _market(self, day: date, symbols: Sequence[str]) -> DayBars:
        path = f"/v2/aggs/grouped/locale/us/market/stocks/{day}"
        rows = [row for page in self._days.read(f"{path}?adjusted=false&include_otc=false") for row in page]
        return wanted_of(_columns(rows, [row.T for row in rows], _DayNumbers()), [day], symbols)

    def aggregates(self, days: Sequence[date], symbols: Sequence[str]) -> DayBars:
        """Return the bars of single symbols: one request per symbol."""
        first, last = min(days), max(days)
        return joined([self._symbol(symbol, first, last, days) for symbol in symbols])

    def _symbol(self, symbol: str, first: date, last: date, days: Sequence[date]) -> DayBars:
        path = f"/v2/aggs/ticker/{quote(symbol, safe='')}/range/1/day/{first}/{last}"
        rows = [row for page in self._days.read(f"{path}?adjusted=false&sort=asc&limit={_LIMIT}") for row in page]
        wanted = frozenset(map(day_number, days))
        number = _DayNumbers()
        # The range may contain days that were not asked for: leave them out, they are not errors.
        rows = [row for row in rows if not first <= number.day(row.t) <= last or number(row.t) in wanted]
        return wanted_of(_columns(rows, [symbol] * len(rows), number), days, [symbol])


class _DayNumbers:
    """Converts Unix ms to the day in New York, with a cache: an answer has few different times."""

    def __init__(self) -> None:
        self._days: dict[int, date] = {}

    def day(self, at_ms: int) -> date:
        if at_ms not in self._days:
            self._days[at_ms] = _day_of(at_ms)
        return self._days[at_ms]

    def __call__(self, at_ms: int) -> int:
        return day_number(self.day(at_ms))


def _day_of(at_ms: int) -> date:
    try:
        return datetime.fromtimestamp(at_ms / 1000, NEW_YORK).date()
    except (ValueError, OverflowError, OSError):
        return date.min  # no valid day: the check refuses the row as one of another day


def _columns(rows: Sequence[_Day], symbols: Sequence[str], number: _DayNumbers) -> DayBars:
    values = [(number(row.t), *map(_number, (row.o, row.h, row.l, row.c)), _volume(row)) for row in rows]
    return bars_of_rows(values, symbols)


def _number(value: float | None) -> float:
    return _NAN if value is None else value


def _volume(row: _Day) -> float:
    try:
        return _number(row.v) if row.dv is None else float(row.dv)
    except ValueError:
        return _NAN
