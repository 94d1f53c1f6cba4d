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
from ..parts.fleet_settings import partitions_option
from ..parts.options import CONTEXT, server_options
from ..parts.setting import option

_LONGEST_DAYS = 36_500


@click.command(context_settings=CONTEXT, short_help="Bring the database's schema up to date.")
@partitions_option
@option(
    "--timescale",
    is_flag=True,
    help="Make ohlcv_1min a hypertable of TimescaleDB, even if it has bars. The options below need this one.",
)
@option(
    "--chunk-days", type=click.IntRange(1, _LONGEST_DAYS), show_default="1", help="Days in a chunk, for new chunks."
)
@option(
    "--compress-after-days",
    type=click.IntRange(0, _LONGEST_DAYS),
    help="Compress chunks older than this, by symbol and time; 0: none.",
)
@option(
    "--drop-after-days",
    type=click.IntRange(0, _LONGEST_DAYS),
    help="Drop chunks older than this, with their bars; 0: none.",
)
@server_options
def migrate(
    where: AbstractContextManager[Place], partitions: int | None, *, timescale: bool, **days: int | None
) -> None:
    """Bring the schema of the database up to date, and record the partition count of the stream.

    You can run it twice, and in two processes at once. What --timescale sets stays until you set it again.
    """
    if not timescale and any(wish is not None for wish in days.values()):
        raise UsageError("--chunk-days, --compress-after-days and --drop-after-days need --timescale")
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
            click.echo(f"note: {row.name} is never detected: {row.why}: `tickstock definitions live` switches it on")
        click.echo(f"the schema is current; the stream has {open_stream(connection, partitions)} partitions")
