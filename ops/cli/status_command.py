"""`tickstock status`."""

from contextlib import AbstractContextManager

import click
import msgspec

from ...db.migrate import check_schema
from ..status import read_status
from ..status_tables import print_status
from ..wiring import Place, open_postgres, open_redis_to_look
from .options import CONTEXT, option, server_options


@click.command(context_settings=CONTEXT, short_help="Print the fleet: partitions, lag, workers.")
@option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@server_options
def status(where: AbstractContextManager[Place], as_json: bool) -> None:
    """Print who owns which partition, how far behind it is, and what workers, replays and dead letters there are.

    Times are UTC. A lag in seconds that nobody can know (Redis lost entries) is ?, in JSON null.

    \b
    epoch        how many owners a partition has had
    lag ticks    sent, and not committed yet
    lag s        the age of the oldest of them
    position     the last entry of tickstock-stream:{pN} that is committed
    pause s      how long it stood still when it changed its owner last
    revisions    bars that a late tick changed after they had been written
    fenced       times that a partition was left out of a commit, because another worker had taken it
    restores     how often partitions were read again from their committed state: each take-over is one
    ended in     partitions in which a replay has come to its end, of all
    """  # noqa: D301  # \b is for click: it leaves the lines below it as they are
    with where as servers, open_postgres(servers, name="tickstock-status") as connection:
        check_schema(connection)
        found = read_status(connection, open_redis_to_look(servers))
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
    else:
        print_status(found)
