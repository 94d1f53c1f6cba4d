"""`tickstock contract`."""

import sys
from contextlib import AbstractContextManager

import click

from ...jobs.contract_check import is_good, listen, report
from ...wiring.servers import Place, open_redis_to_look
from ..parts.options import CONTEXT, Number, option, server_options


@click.group(context_settings=CONTEXT, short_help="Hold the channels' messages to the contract.")
def contract() -> None:
    """Hold what is said on the documented channels against what its readers expect."""


@contract.command(context_settings=CONTEXT, short_help="Listen, and report what is not as it must be.")
@option(
    "--seconds",
    type=Number(min=0, min_open=True, max=86_400),
    default=65.0,
    help="How long to listen; a session is announced every 60 s.",
)
@server_options
def check(where: AbstractContextManager[Place], seconds: float) -> None:
    """Listen on every documented channel, and report for each what was heard, and what is not as it must be.

    Each message is held key by key against the shapes that the application was seen to accept; `seq` shows what this
    listener missed. Exit 1 if a message differs, or if nothing was heard. Ctrl-C reports what was heard until then.
    """
    with where as place:
        client = open_redis_to_look(place)
        click.echo(f"listening for {seconds:g} s", err=True)
        heard = listen(client, seconds=seconds, say=lambda line: click.echo(line, err=True))
    for line in report(heard):
        click.echo(line)
    if not is_good(heard):
        sys.exit(1)
