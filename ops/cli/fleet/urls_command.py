"""`tickstock urls`."""

from contextlib import AbstractContextManager

import click

from ...process.shutdown import Stop
from ...wiring.servers import REQUIRE_SCRAM, Place
from ..parts.options import CONTEXT, server_options
from ..parts.setting import typed

_WHILE_USED = (
    "the embedded servers stop with the last command that uses them: "
    "`tickstock urls --hold` in another terminal keeps them running"
)
_HOLD_S = 3600.0


@click.command(context_settings=CONTEXT, short_help="Print the addresses of the servers for a shell.")
@typed("--hold", is_flag=True, help="After that, keep the embedded servers running until Ctrl-C.")
@server_options
def urls(where: AbstractContextManager[Place], hold: bool) -> None:
    """Print the addresses of the servers, with passwords, as lines for a shell: eval "$(tickstock urls)".

    The embedded servers run only while a command of ours uses them. To use the addresses without one, first run
    `tickstock urls --hold` in another terminal.
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
