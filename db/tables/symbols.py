"""Reference data in PostgreSQL: the table `symbols`, which may be the application's, and closed days of the market."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from ...contracts.daily.reference import Closure
from ...contracts.daily.universe_rules import Member
from ..postgres import Connection
from ..queries import query


def update_symbols(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> int:
    """Write reference data of symbols, in the columns that the table has; return how many rows are new or changed.

    rows: all with the same keys. None: unknown, the stored value stays.
    """
    if not rows:
        return 0
    (count,) = connection.execute(query("update_symbols"), {"rows": msgspec.json.encode(rows).decode()}).fetchone() or (
        0,
    )
    return int(count)


def mark_delisted(connection: Connection, symbols: Sequence[str]) -> int:
    """Record that symbols are delisted; return how many were listed before."""
    return connection.execute(query("mark_delisted"), {"symbols": list(symbols)}).rowcount


def members_of_market(connection: Connection) -> list[Member]:
    """Return every symbol that is listed."""
    return [Member(*row) for row in connection.execute(query("members_of_market"), {})]


def symbols_to_value(connection: Connection, symbols: Sequence[str], limit: int) -> list[str]:
    """Return the companies among some symbols whose market capitalisation is unknown or old."""
    values = {"symbols": list(symbols), "limit": limit}
    return [symbol for (symbol,) in connection.execute(query("symbols_to_value"), values)]


def add_closures(connection: Connection, closures: Sequence[Closure]) -> int:
    """Add days on which the market is closed or closes early; return how many are new or changed."""
    values = {
        "days": [one.day for one in closures],
        "closes": [one.closes_at for one in closures],
        "reasons": [one.reason for one in closures],
    }
    return connection.execute(query("add_closures"), values).rowcount
