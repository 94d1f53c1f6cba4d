"""`tickstock migrate`."""

from contextlib import AbstractContextManager

import click

from ...db.foreign_tables import lacking_columns
from ...db.migrate import migrate as apply_migrations
from ...db.migrate import open_stream
from ...workers.definitions import read_definitions, seed_definitions
from ..wiring import Place, open_postgres
from .options import CONTEXT, option, server_options


@click.command(context_settings=CONTEXT, short_help="Bring the database's schema up to date.")
@option("--partitions", type=click.IntRange(1, 4096), help="Partition count of a new stream.  [default: 16]")
@server_options
def migrate(where: AbstractContextManager[Place], partitions: int | None) -> None:
    """Bring the database's schema up to this program, and record the stream's partition count.

    Safe to run twice, and by two processes at once.
    """
    with where as servers, open_postgres(servers._replace(embedded=False), name="tickstock-migrate") as connection:
        for name in apply_migrations(connection):
            click.echo(f"applied {name}")
        seed_definitions(connection)
        for lack in lacking_columns(connection):
            click.echo(f"note: {lack} (`{lack.mend}` as its owner adds it)")
        for row in read_definitions(connection).idle:
            click.echo(f"note: {row.name} is never looked for: {row.why}: `tickstock definitions live` switches it on")
        click.echo(f"the schema is current; the stream has {open_stream(connection, partitions)} partitions")
