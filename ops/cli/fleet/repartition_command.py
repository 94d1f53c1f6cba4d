"""`tickstock repartition`."""

import time
from contextlib import AbstractContextManager

import click

from ....db.schema.migrate import check_schema
from ...jobs.repartition import repartition as change_partitions
from ...process.shutdown import Stop
from ...wiring.servers import Place, open_postgres, open_redis
from ..parts.options import CONTEXT, Number, option, server_options

_LOOK_EVERY_S = 0.5


@click.command(context_settings=CONTEXT, short_help="Change the number of partitions of a stream at rest.")
@click.argument("partitions", type=click.IntRange(1, 4096))
@option("--wait", type=Number(0, 86_400), default=0.0, help="Seconds to wait until the stream is at rest.")
@click.option(  # no variable may choose what is given up
    "--give-up-spools",
    is_flag=True,
    help="Do not ask for the end of producers that were killed: a spool of theirs becomes a gap.",
)
@server_options
def repartition(where: AbstractContextManager[Place], partitions: int, wait: float, give_up_spools: bool) -> None:
    """Give the stream PARTITIONS partitions, more or fewer than it has.

    The stream must be at rest: stop the producers, wait until `tickstock status` shows no lag and the bridge has
    published everything, then stop workers and bridges. Else nothing is changed, and the command says what is in the
    way.

    Bars that are open go on where they were. Where the command is broken off, the same command ends what it began;
    until then nothing else starts.
    """
    stop = Stop()
    until = time.monotonic() + wait
    with where as servers, open_postgres(servers, name="tickstock-repartition") as connection:
        check_schema(connection)
        outcome = change_partitions(
            connection,
            open_redis(servers),
            partitions,
            give_up_spools=give_up_spools,
            wait=lambda: time.monotonic() < until and not stop.wait(_LOOK_EVERY_S),
        )
    if outcome is None:
        click.echo(f"the stream has {partitions} partitions already")
        return
    bars = "" if outcome.open_bars is None else f", {outcome.open_bars:,} open bars went with their symbols"
    click.echo(f"the stream has {partitions} partitions now, and had {outcome.former}{bars}")
