"""`tickstock migrate`."""

from contextlib import AbstractContextManager

import click

from ....contracts.errors import UsageError
from ....db.schema.foreign_tables import lacking_columns
from ....db.schema.hypertable import Wishes, set_hypertable
from ....db.schema.migrate import migrate as apply_migrations
from ....db.schema.migrate import open_stream
from ....workers.detect.definitions import correct_references, read_definitions, seed_definitions
from ...wiring.servers import Place, open_postgres
from ..parts.options import CONTEXT, option, server_options


@click.command(context_settings=CONTEXT, short_help="Bring the database's schema up to date.")
@option("--partitions", type=click.IntRange(1, 4096), help="Partition count of a new stream.  [default: 16]")
@option(
    "--timescale",
    is_flag=True,
    help="Keep ohlcv_1min as a hypertable of TimescaleDB, also one that is a plain table with bars; and what follows.",
)
@option("--chunk-days", type=click.IntRange(min=1), help="Days of a chunk, for new chunks.  [default: 1]")
@option("--compress-after-days", type=click.IntRange(min=0), help="Compress older chunks, by symbol and time; 0: none.")
@option("--drop-after-days", type=click.IntRange(min=0), help="Drop older chunks, bars and all; 0: none.")
@server_options
def migrate(
    where: AbstractContextManager[Place], partitions: int | None, *, timescale: bool, **days: int | None
) -> None:
    """Bring the database's schema up to this program, and record the stream's partition count.

    Safe to run twice, and by two processes at once. What --timescale sets stays until it is set again.
    """
    if not timescale and any(wish is not None for wish in days.values()):
        raise UsageError("--chunk-days, --compress-after-days and --drop-after-days go with --timescale")
    with where as servers, open_postgres(servers._replace(embedded=False), name="tickstock-migrate") as connection:
        for name in apply_migrations(connection):
            click.echo(f"applied {name}")
        if timescale:
            click.echo(f"TimescaleDB: {set_hypertable(connection, Wishes(**days))}")
        seed_definitions(connection)
        correct_references(connection)
        for lack in lacking_columns(connection):
            click.echo(f"note: {lack} (`{lack.mend}` as its owner adds it)")
        for row in read_definitions(connection).idle:
            click.echo(f"note: {row.name} is never looked for: {row.why}: `tickstock definitions live` switches it on")
        click.echo(f"the schema is current; the stream has {open_stream(connection, partitions)} partitions")
