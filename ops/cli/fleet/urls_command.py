"""`tickstock urls`."""

from contextlib import AbstractContextManager

import click

from ...process.shutdown import Stop
from ...wiring.servers import REQUIRE_SCRAM, Place
from ..parts.options import CONTEXT, option, server_options

_WHILE_USED = (
    "the embedded servers stop with the last command that uses them: "
    "`tickstock urls --hold`, in a terminal of its own, keeps them running"
)
_HOLD_S = 3600.0


@click.command(context_settings=CONTEXT, short_help="Print the servers' addresses for a shell.")
@option("--hold", is_flag=True, help="Then keep the embedded servers running, until Ctrl-C.")
@server_options
def urls(where: AbstractContextManager[Place], hold: bool) -> None:
    """Print the servers' addresses, passwords included, as lines for a shell: eval "$(tickstock urls)".

    The embedded servers run as long as a command of ours uses them. Where none does, the addresses lead nowhere: run
    `tickstock urls --hold` in a terminal of its own first.
    """
    stop = Stop() if hold else None
    with where as place:
        click.echo(f"export REDIS_URL='{place.servers.redis_url}'")
        # psql before 16 does not know the option.
        click.echo(f"export DATABASE_URL='{place.servers.database_url.removesuffix(REQUIRE_SCRAM)}'")
        if stop and place.embedded:
            click.echo("the servers run until Ctrl-C", err=True)
            while not stop.wait(_HOLD_S):
                pass
        elif place.embedded:
            click.echo(_WHILE_USED, err=True)
