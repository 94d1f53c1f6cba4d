"""`tickstock urls`."""

from contextlib import AbstractContextManager

import click

from ..wiring import Place
from .options import CONTEXT, server_options


@click.command(context_settings=CONTEXT)
@server_options
def urls(where: AbstractContextManager[Place]) -> None:
    """Print the servers' addresses, passwords included, as lines for a shell: eval "$(tickstock urls)"."""
    with where as place:
        click.echo(f"export REDIS_URL='{place.servers.redis_url}'")
        click.echo(f"export DATABASE_URL='{place.servers.database_url}'")
