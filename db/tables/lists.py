"""Short lists of stored rows, as a page shows them. Each is one statement with a limit."""

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from ...contracts.timeframe import INTRADAY
from ..postgres import Connection
from ..queries import query
from ..rows import DIRECTIONS


class ListedBar(NamedTuple):
    """A bar. at: its start, ISO-8601 UTC; of a bar of days or longer, its first day.

    vwap, trades, revision: of 1-minute bars only. revision: how many times the bar changed after its first commit.
    """

    at: str
    open: float
    high: float
    low: float
    close: float
    volume: float
    vwap: float | None
    trades: int | None
    provenance: str | None
    revision: int | None


class ListedPattern(NamedTuple):
    """A pattern. at: the end of its bar. bar: the start of its bar; of a bar of days or longer, its first day.

    superseded_at: the time at which it was superseded; None: it is valid. event: as in Detection.
    """

    symbol: str
    at: datetime
    bar: str | None
    timeframe: str
    pattern: str
    confidence: float
    direction: str | None
    price: float | None
    volume: float | None
    levels: list[float]
    flow_id: str | None
    superseded_at: datetime | None
    event: str | None
    parameters: Any
    base_rate: Any


class WantedPatterns(NamedTuple):
    """Which patterns to list: those whose bars end at or after `start` and before `end`. None: no restriction.

    superseded: list superseded patterns, too; only with one symbol. published: list only published patterns.
    """

    symbol: str | None = None
    pattern: str | None = None
    timeframe: str | None = None
    confidence: float = 0.0
    start: datetime | None = None
    end: datetime | None = None
    superseded: bool = False
    published: bool = False


class ListedSymbol(NamedTuple):
    """A known symbol. name, type: None if they are unknown."""

    symbol: str
    name: str | None
    type: str | None
    active: bool


class ListedDefinition(NamedTuple):
    """A row of pattern_definitions or indicator_definitions. timeframes: None: all. threshold: the text of the row."""

    kind: str
    name: str
    description: str | None
    enabled: bool
    timeframes: list[str] | None
    threshold: str | None
    period: int | None


class ListedIndicator(NamedTuple):
    """at: the end of its bar. values: each output by its name."""

    at: datetime
    timeframe: str
    indicator: str
    value: float | None
    values: Any


class CacheSync(NamedTuple):
    """A run with only the phase cache_sync."""

    run_id: UUID
    mode: str
    status: str
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    requested_by: str
    error: str | None


class CacheSyncStats(NamedTuple):
    """How runs of cache_sync ended. average_s: average duration of the completed ones. last_at: end of the last one."""

    total: int
    completed: int
    failed: int
    cancelled: int
    alive: int
    average_s: float | None
    last_at: datetime | None


def bars_of(
    connection: Connection, symbol: str, timeframe: str, *, start: datetime | None, end: datetime | None, limit: int
) -> list[ListedBar]:
    """Return the last bars of a symbol that start at or after `start` and before `end`, oldest first."""
    values = {"symbol": symbol, "timeframe": timeframe, "from": start, "to": end, "limit": limit}
    return [ListedBar(*row) for row in connection.execute(query("bars_of_symbol"), values)]


def symbol_exists(connection: Connection, symbol: str) -> bool:
    """Tell whether a symbol is registered."""
    return connection.execute(query("symbol_exists"), {"symbol": symbol}).fetchone() == (True,)


def patterns_of(connection: Connection, wanted: WantedPatterns, *, limit: int) -> list[ListedPattern]:
    """Return the latest patterns, at most `limit`."""
    values: dict[str, Any] = {"names": list(INTRADAY), "minutes": list(INTRADAY.values())} | wanted._asdict()
    values |= {"from": wanted.start, "to": wanted.end, "limit": limit}
    return [_pattern(*row) for row in connection.execute(query("latest_patterns_of"), values)]


def _pattern(*columns: Any) -> ListedPattern:
    found = ListedPattern(*columns)
    # The table holds the direction as a number, and NULL for no levels.
    return found._replace(direction=DIRECTIONS.get(columns[6]), levels=found.levels or [])


def indicators_of(
    connection: Connection,
    symbol: str,
    *,
    indicator: str | None,
    timeframe: str | None,
    end: datetime | None,
    limit: int,
) -> list[ListedIndicator]:
    """Return the latest values of a symbol's indicators before `end`. None: no restriction."""
    values = {"symbol": symbol, "indicator": indicator, "timeframe": timeframe, "to": end, "limit": limit}
    return [ListedIndicator(*row) for row in connection.execute(query("latest_indicators_of"), values)]


def symbols_like(connection: Connection, search: str, limit: int) -> list[ListedSymbol]:
    """Return the symbols that begin with a text, then those whose name contains it; upper and lower case are equal."""
    values = {"search": search, "limit": limit}
    return [ListedSymbol(*row) for row in connection.execute(query("symbols_like"), values)]


def every_definition(connection: Connection) -> list[ListedDefinition]:
    """Return the patterns and indicators that have a row, enabled or not."""
    return [ListedDefinition(*row) for row in connection.execute(query("every_definition"))]


def cache_syncs(
    connection: Connection, *, run_id: UUID | None = None, days: int | None = None, limit: int
) -> list[CacheSync]:
    """Return the runs with only the phase cache_sync, newest first."""
    values = {"run_id": run_id, "days": days, "limit": limit}
    return [CacheSync(*row) for row in connection.execute(query("cache_syncs"), values)]


def cache_sync_stats(connection: Connection, days: int) -> CacheSyncStats:
    """Return how the runs of cache_sync in the last days ended."""
    row = connection.execute(query("cache_sync_stats"), {"days": days}).fetchone()
    return CacheSyncStats(*(row or (0, 0, 0, 0, 0, None, None)))
