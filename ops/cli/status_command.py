"""`tickstock status`."""

from contextlib import AbstractContextManager

import click
import msgspec

from ...db.migrate import check_schema
from ..status import read_status
from ..status_tables import print_status
from ..wiring import Place, open_postgres, open_redis_to_look
from .options import CONTEXT, option, server_options


@click.command(context_settings=CONTEXT)
@option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@server_options
def status(where: AbstractContextManager[Place], as_json: bool) -> None:
    """Print who owns which partition, how far behind it is, and what workers, replays and dead letters there are.

    Times are UTC. A lag in seconds that nobody can know (Redis lost entries) is ?, in JSON null.
    """
    with where as servers, open_postgres(servers, name="tickstock-status") as connection:
        check_schema(connection)
        found = read_status(connection, open_redis_to_look(servers))
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
    else:
        print_status(found)
