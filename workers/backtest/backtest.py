"""A backtest from the tables to its report. It takes symbols in batches, and reports its progress after each."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

import msgspec
import numpy as np

from ...contracts.errors import NothingFound, UsageError
from ...contracts.market_hours import NEW_YORK, day_of, hours_of
from ...contracts.ticks import SHARE_MICRO
from ...contracts.timeframe import INTRADAY, LONGER
from ...db.look.database_clock import database_now
from ...db.postgres import Connection
from ...db.queries import query
from ...db.sessions import always_open_symbols, market_closures
from ...db.tables import backtests, daily_bars
from ...db.tables.splits import split_minutes
from ..daily.bars import Bars, Split, adjusted
from ..daily.market_days import has_ended, start_of
from ..detect.definition import PatternDefinition
from ..detect.definitions import decoded, pattern_definition
from ..detect.patterns.registry import PATTERNS
from ..history import CLOSED_DTYPE
from ..windows import WINDOW
from .find_signals import Found, Minutes, find_on_bars_of_days, find_on_minutes
from .market import Market
from .orders import joined, part_of
from .report import Report, Request, report_of
from .trading import trade_orders

_FIRST_DAY = date(1970, 1, 1)
_DAY = timedelta(days=1)
_SYMBOLS_OF_A_BATCH = 10
_MINUTES_OF_A_BATCH = 200_000  # bars: some 60 MB; a year of one symbol has half of them
_SESSION_MINUTES, _TRADING_DAYS = 390, 5 / 7
Progress = Callable[[float, str], None]  # called with the share of the symbols that are done, and the next symbol


class Loaded(NamedTuple):
    """The bars of some symbols, as they were traded, and their splits."""

    bars: Bars | Minutes
    splits: Sequence[Split]


def ignore_progress(share: float, symbol: str) -> None:
    """Show no progress."""


def check(request: Request) -> None:
    """Check a request. Raises UsageError, which names the first wrong value."""
    request.rules.check()
    if request.timeframe not in (*INTRADAY, *LONGER):
        raise UsageError(f"there is no timeframe {request.timeframe}; there are: {', '.join((*INTRADAY, *LONGER))}")
    if not request.symbols or not request.patterns:
        raise UsageError("a backtest needs at least one symbol and one pattern")
    if unknown := [name for name in request.patterns if name not in PATTERNS]:
        raise UsageError(f"there is no pattern {unknown[0]}; there are: {', '.join(PATTERNS)}")
    if _day(request.start) >= _day(request.end):
        raise UsageError(f"the end, {request.end}, is not after the start, {request.start}")


def run(connection: Connection, request: Request, progress: Progress = ignore_progress) -> Report:
    """Find the signals, trade them, and report. Raises UsageError; NothingFound if no symbol has bars."""
    patterns = definitions_of(connection, request)
    return report_on(request, (find(loaded, request, patterns) for loaded in load(connection, request, progress)))


def report_on(request: Request, found: Iterable[Found]) -> Report:
    """Trade the signals that were found, some symbols at a time. Raises NothingFound if no symbol has bars."""
    rules = request.rules
    closes, orders, signals = joined([part_of(one, rules) for one in found])
    if not len(closes.time):
        raise NothingFound(f"no {request.timeframe} bars of these symbols from {request.start} to {request.end}")
    return report_of(request, closes, signals, trade_orders(closes, orders, rules))


class PinnedPattern(msgspec.Struct, frozen=True, array_like=True):
    """The settings of a pattern in its row. least: the threshold. least, parameters: None means the default."""

    name: str
    least: float | None
    parameters: Any

    @property
    def definition(self) -> PatternDefinition:
        """Return the definition. Raises UsageError if the row is wrong."""
        try:
            return pattern_definition(self.name, self.least, None, self.parameters)
        except ValueError as e:
            raise UsageError(f"the row of {self.name} in pattern_definitions is wrong: {e}") from e


def definitions_of(connection: Connection, request: Request) -> list[PatternDefinition]:
    """Check a request; return its patterns as their rows define them, or with the defaults if no enabled row exists."""
    return [one.definition for one in pin(connection, request)]


def pin(connection: Connection, request: Request) -> list[PinnedPattern]:
    """Check a request, and read its patterns' rows. Raises UsageError."""
    check(request)
    rows = {name: rest for name, *rest in connection.execute(query("pattern_definitions"))}
    return [_pinned(name, *rows.get(name, (None, None, None))) for name in dict.fromkeys(request.patterns)]


def _pinned(name: str, threshold: str | None, _: object, parameters: str | None) -> PinnedPattern:
    try:
        return PinnedPattern(name, None if threshold is None else float(threshold), decoded(parameters))
    except ValueError as e:
        raise UsageError(f"the row of {name} in pattern_definitions is wrong: {e}") from e


def load(connection: Connection, request: Request, progress: Progress = ignore_progress) -> Iterator[Loaded]:
    """Load the bars, some symbols at a time."""
    symbols, size = sorted(set(request.symbols)), _batch_size(request)
    for first in range(0, len(symbols), size):
        progress(first / len(symbols), symbols[first])
        yield load_symbols(connection, request, symbols[first : first + size])


def _batch_size(request: Request) -> int:
    if request.timeframe in LONGER:
        return _SYMBOLS_OF_A_BATCH
    bars = (_day(request.end) - _day(request.start)).days * _TRADING_DAYS * _SESSION_MINUTES
    return max(1, min(_SYMBOLS_OF_A_BATCH, int(_MINUTES_OF_A_BATCH / bars)))


def load_symbols(connection: Connection, request: Request, symbols: list[str]) -> Loaded:
    """Load the bars of some symbols, in one statement for each kind of row."""
    start, end = _day(request.start), _day(request.end)
    splits = [Split(*one) for one in daily_bars.splits_of(connection, symbols, end)]
    if request.timeframe in LONGER:
        return Loaded(_load_days(connection, request.timeframe, symbols, start, end), splits)
    before = timedelta(days=WINDOW * INTRADAY[request.timeframe] / _SESSION_MINUTES * 7 / 5 + 12)
    return Loaded(_load_minutes(connection, symbols, _midnight(start) - before, _midnight(end + _DAY)), splits)


def find(
    loaded: Loaded, request: Request, patterns: Sequence[PatternDefinition], go_on: Callable[[], object] = lambda: None
) -> Found:
    """Find the signals and the bars to trade on, with prices in the unit of the newest day.

    go_on: called again after some hundreds of milliseconds of work; an exception from it ends the search.
    """
    start = _day(request.start)
    if isinstance(loaded.bars, Bars):
        bars = adjusted(loaded.bars, request.timeframe, loaded.splits)
        return find_on_bars_of_days(bars, (start - _FIRST_DAY).days, request.timeframe, patterns)
    first = int(_midnight(start).timestamp()) // 60
    found = find_on_minutes(loaded.bars, first, INTRADAY[request.timeframe], patterns, go_on)
    return found._replace(market=_in_newest_unit(found.market, loaded.splits))


def _load_days(connection: Connection, timeframe: str, symbols: list[str], start: date, end: date) -> Bars:
    """Load the bars of days, weeks or months that ended by `end`, with a window before the first one."""
    last = _last_start(connection, timeframe, end)
    rows = daily_bars.load_bars(connection, timeframe, symbols, last=last, bars=WINDOW + (end - start).days + 1)
    bounds = np.searchsorted(rows["number"], np.arange(1, len(symbols) + 2))
    values = [rows[name].astype(np.float64) for name in ("open", "high", "low", "close", "volume")]
    return Bars(symbols, bounds, rows["day"].astype(np.int64), *values)


def _last_start(connection: Connection, timeframe: str, end: date) -> date:
    """Return the day up to which bars may begin, so that each has ended by the day `end`, and by now.

    A later bar has trades after `end`, or not all of its own yet: a backtest must not know them.
    """
    now, closures = database_now(connection), market_closures(connection)
    today = day_of(now)
    if end >= today:
        hours = hours_of(today, closures)
        end = today - _DAY if hours is not None and now < hours.closes else today
    if timeframe == "daily":
        return end
    start = start_of(timeframe, end)
    return end if has_ended(timeframe, start, min(now, _midnight(end + _DAY)), closures) else start - _DAY


def _load_minutes(connection: Connection, symbols: list[str], first: datetime, end: datetime) -> Minutes:
    loaded = backtests.load_minutes(connection, symbols, first, end)
    bars = np.zeros(sum(len(one.minute) for one in loaded), CLOSED_DTYPE)
    begin = 0
    for one in loaded:
        rows = bars[begin : begin + len(one.minute)]
        begin += len(rows)
        rows["symbol"], rows["minute"] = one.number - 1, one.minute
        for name in ("open", "high", "low", "close"):
            rows[name] = getattr(one, name)
        rows["volume_micro"] = np.rint(one.volume * SHARE_MICRO)
    splits = {symbol: days for symbol, days in split_minutes(connection).items() if symbol in symbols}
    return Minutes(symbols, bars, splits, always_open_symbols(connection))


def _in_newest_unit(market: Market, splits: Sequence[Split]) -> Market:
    """Return a market whose prices before a split are divided by its ratio; a day begins at midnight in New York."""
    factor, index = np.ones(len(market.time)), {symbol: i for i, symbol in enumerate(market.symbols)}
    for split in splits:
        first, last = market.bounds[index[split.symbol] :][:2]
        begins = int(_midnight(_FIRST_DAY + timedelta(days=split.day)).timestamp()) // 60
        factor[first:last][market.time[first:last] < begins] *= split.ratio
    return market._replace(**{name: getattr(market, name) / factor for name in ("open", "high", "low", "close")})


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=NEW_YORK).astimezone(UTC)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text!r} is not a date: YYYY-MM-DD is needed, as in 2025-11-28") from None
