"""`tickstock prune`."""

from contextlib import AbstractContextManager
from datetime import UTC, datetime

import click

from ....db.schema.migrate import check_schema
from ...jobs.prune import KEEP_DAYS, Pruned
from ...jobs.prune import prune as prune_tables
from ...process.progress import now_and_then
from ...wiring.servers import Place, open_postgres
from ..parts.options import CONTEXT, option, server_options

_DAYS = click.IntRange(1, 36_500)


@click.command(context_settings=CONTEXT, short_help="Delete old patterns, indicators and events.")
@option("--patterns-days", type=_DAYS, default=KEEP_DAYS["patterns"], help="Days to keep rows of intraday_patterns.")
@option("--events-days", type=_DAYS, default=KEEP_DAYS["events"], help="Days to keep rows of integration_events.")
@option(
    "--indicators-days", type=_DAYS, default=KEEP_DAYS["indicators"], help="Days to keep rows of intraday_indicators."
)
@option(
    "--daily-days",
    type=_DAYS,
    default=KEEP_DAYS["daily"],
    help="Days to keep rows of daily_indicators and of daily_, weekly_, monthly_ and daily_intraday_patterns.",
)
@click.option("--dry-run", is_flag=True, help="Count, and delete nothing.")
@server_options
def prune(
    where: AbstractContextManager[Place],
    patterns_days: int,
    events_days: int,
    indicators_days: int,
    daily_days: int,
    dry_run: bool,
) -> None:
    """Delete patterns, indicators and integration events that are older than so many days. Run it once a day.

    The age is that of the bar, so what a replay of an old day found is old too. Bars stay, and so does what keeps each
    detection from being stored twice. Rows go in small transactions: a running fleet is not held up, and a stop half
    way loses nothing. The space is given back by autovacuum.

    A table that is split into parts (partitioned, a hypertable) is left alone: drop its old parts instead.
    """
    keep_days = {
        "patterns": patterns_days,
        "events": events_days,
        "indicators": indicators_days,
        "daily": daily_days,
    }
    with where as place, open_postgres(place, name="tickstock-prune") as connection:
        check_schema(connection)
        say = now_and_then(lambda line: click.echo(line, err=True))
        for pruned in prune_tables(connection, keep_days, datetime.now(UTC), dry_run=dry_run, say=say):
            click.echo(_told(pruned, dry_run=dry_run))


def _told(pruned: Pruned, *, dry_run: bool) -> str:
    before = f"before {pruned.before:%Y-%m-%d %H:%M} UTC"
    if pruned.rows is None:
        return f"{pruned.table}: split into parts, left alone: drop the parts {before}"
    return f"{pruned.table}: {pruned.rows:,} rows {before} {'would be deleted' if dry_run else 'deleted'}"
