"""Delete old patterns and indicators, those of days too, and integration events. Bars and ledger stay."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

from ...db.postgres import Connection
from ...db.queries import query
from ...workers.row_retention import Keep

_PAGES = 1024  # of 8 kB, in one transaction: some ten thousand rows


class PrunedTable(NamedTuple):
    """Rows that are pruned together. name: as in the queries `prune_NAME` and `old_NAME`; kept: a field of Keep."""

    name: str
    table: str
    kept: str


KINDS = (
    PrunedTable("patterns", "intraday_patterns", "patterns"),
    PrunedTable("events", "integration_events", "events"),
    PrunedTable("indicators", "intraday_indicators", "indicators"),
    *(
        PrunedTable(table, table, "daily")
        for table in (
            *("daily_indicators", "daily_patterns", "weekly_patterns", "monthly_patterns"),
            "daily_intraday_patterns",
        )
    ),
)


class Pruned(NamedTuple):
    """The result for one table. rows: deleted, or to delete; None if the table is split into parts."""

    table: str
    before: datetime
    rows: int | None


def prune(
    connection: Connection, keep: Keep, now: datetime, *, dry_run: bool, say: Callable[[str], None]
) -> Iterator[Pruned]:
    """Delete rows older than a number of days, by the time of their bars; report one table after the other.

    keep: days to keep, by kind. dry_run: only count. say: receives the progress of a long table.
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


def _delete(connection: Connection, kind: PrunedTable, before: datetime, pages: int, say: Callable[[str], None]) -> int:
    rows = 0
    for first in range(0, pages, _PAGES):
        values = {"first": f"({first},0)", "end": f"({first + _PAGES},0)", "before": before}
        rows += connection.execute(query(f"prune_{kind.name}"), values).rowcount
        say(f"{kind.table}: {min(1.0, (first + _PAGES) / pages):.0%}, {rows:,} rows deleted")
    return rows
