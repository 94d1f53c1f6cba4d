"""`tickstock prune`."""

from contextlib import AbstractContextManager

import click

from ....db.look.database_clock import database_now
from ....db.schema.migrate import check_schema
from ....workers.row_retention import Keep
from ...jobs.prune import Pruned
from ...jobs.prune import prune as prune_tables
from ...process.progress import now_and_then
from ...wiring.servers import Place, open_postgres
from ..parts.options import CONTEXT, server_options
from ..parts.setting import typed
from ..parts.worker_settings import keep_options


@click.command(context_settings=CONTEXT, short_help="Delete old patterns, indicators and events.")
@keep_options("patterns", "events", "indicators", "daily", formerly=("patterns", "events", "indicators"))
@typed("--dry-run", is_flag=True, help="Count the rows, and delete none.")
@server_options
def prune(where: AbstractContextManager[Place], keep: Keep, dry_run: bool) -> None:
    """Delete old rows of patterns, indicators and integration events. Run it once a day.

    The age of a row is that of its bar, so what a replay of an old day found is old too. Bars stay, and so do the rows
    that prevent a detection from being stored twice. Rows are deleted in small transactions: a running fleet does not
    wait for them, and if the command is stopped, what is deleted stays deleted. Autovacuum frees the space.

    A table that is split into parts (partitioned, a hypertable) is left alone: drop its old parts instead.
    """
    with where as place, open_postgres(place, name="tickstock-prune") as connection:
        check_schema(connection)
        say = now_and_then(lambda line: click.echo(line, err=True))
        for pruned in prune_tables(connection, keep, database_now(connection), dry_run=dry_run, say=say):
            click.echo(_line(pruned, dry_run=dry_run))


def _line(pruned: Pruned, *, dry_run: bool) -> str:
    before = f"before {pruned.before:%Y-%m-%d %H:%M} UTC"
    if pruned.rows is None:
        return f"{pruned.table}: split into parts, left alone: drop the parts {before}"
    return f"{pruned.table}: {pruned.rows:,} rows {before} {'would be deleted' if dry_run else 'deleted'}"
