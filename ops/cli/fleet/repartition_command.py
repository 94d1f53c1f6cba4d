"""`tickstock repartition`."""

import time
from contextlib import AbstractContextManager

import click

from ....db.schema.migrate import check_schema
from ...jobs.repartition import repartition as change_partitions
from ...process.shutdown import Stop
from ...wiring.servers import Place, open_postgres, open_redis
from ..parts.options import CONTEXT, Number, server_options
from ..parts.setting import typed

_LOOK_EVERY_S = 0.5


@click.command(context_settings=CONTEXT, short_help="Change the partition count of a stream at rest.")
@click.argument("partitions", type=click.IntRange(1, 4096))
@typed(
    "--wait-s",
    former="--wait",
    type=Number(0, 86_400),
    default=0.0,
    help="How long to wait until the stream is at rest.",
)
@typed(
    "--give-up-spools",
    is_flag=True,
    help="Do not wait for the end of producers that were killed. Frames in their spools become a gap.",
)
@server_options
def repartition(where: AbstractContextManager[Place], partitions: int, wait_s: float, give_up_spools: bool) -> None:
    """Change the number of partitions of the stream to PARTITIONS.

    The stream must be at rest: stop the producers, wait until `tickstock status` shows no lag and the bridge has
    published everything, then stop workers and bridges. If it is not at rest, the command changes nothing and names the
    reason.

    Open bars continue. If the command is interrupted, run it again: no other process starts before it has finished.
    """
    stop = Stop()
    until = time.monotonic() + wait_s
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
