"""Deletes old patterns and indicators, those of days too, and integration events. Bars and ledger stay."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

from ...db.postgres import Connection
from ...db.queries import query
from ...workers.bounds import Keep

_PAGES = 1024  # of 8 kB, in one transaction: some ten thousand rows


class Kind(NamedTuple):
    """What is pruned together. name: as in the queries `prune_NAME` and `old_NAME`; kept: a field of Keep."""

    name: str
    table: str
    kept: str


KINDS = (
    Kind("patterns", "intraday_patterns", "patterns"),
    Kind("events", "integration_events", "events"),
    Kind("indicators", "intraday_indicators", "indicators"),
    *(
        Kind(table, table, "daily")
        for table in (
            *("daily_indicators", "daily_patterns", "weekly_patterns", "monthly_patterns"),
            "daily_intraday_patterns",
        )
    ),
)


class Pruned(NamedTuple):
    """What became of one table. rows: deleted, or to be; None where the table is split into parts."""

    table: str
    before: datetime
    rows: int | None


def prune(
    connection: Connection, keep: Keep, now: datetime, *, dry_run: bool, say: Callable[[str], None]
) -> Iterator[Pruned]:
    """Delete what is older than so many days, by the time of its bar; report one table after the other.

    keep: for how many days, by kind. dry_run: only count. say: hears how far a long table is.
    """
    for kind in KINDS:
        before = now - timedelta(days=getattr(keep, kind.kept))
        pages, has_parts = connection.execute(query("table_pages"), {"table": kind.table}).fetchone() or (0, False)
        if has_parts:
            yield Pruned(kind.table, before, None)
        elif dry_run:
            (rows,) = connection.execute(query(f"old_{kind.name}"), {"before": before}).fetchone() or (0,)
            yield Pruned(kind.table, before, rows)
        else:
            yield Pruned(kind.table, before, _delete(connection, kind, before, pages, say))


def _delete(connection: Connection, kind: Kind, before: datetime, pages: int, say: Callable[[str], None]) -> int:
    rows = 0
    for first in range(0, pages, _PAGES):
        values = {"first": f"({first},0)", "end": f"({first + _PAGES},0)", "before": before}
        rows += connection.execute(query(f"prune_{kind.name}"), values).rowcount
        say(f"{kind.table}: {min(1.0, (first + _PAGES) / pages):.0%}, {rows:,} rows deleted")
    return rows
