"""`tickstock contract`."""

import sys
from contextlib import AbstractContextManager

import click

from ...jobs.contract_check import is_good, listen, report
from ...wiring.servers import Place, open_redis_to_look
from ..parts.options import CONTEXT, Number, server_options
from ..parts.setting import typed


@click.group(context_settings=CONTEXT, short_help="Compare the messages of the channels with the contract.")
def contract() -> None:
    """Compare the messages on the documented channels with what their readers expect."""


@contract.command(context_settings=CONTEXT, short_help="Listen, and report the messages that differ.")
@typed(
    "--seconds",
    type=Number(min=0, min_open=True, max=86_400),
    default=65.0,
    help="How long to listen. A session message comes every 60 s.",
)
@server_options
def check(where: AbstractContextManager[Place], seconds: float) -> None:
    """Listen on every documented channel. Report for each channel how many messages came, and which ones differ.

    Each message is compared key by key with the shapes that the application accepts; `seq` shows the messages that this
    listener missed. Exit 1 if a message differs or no message came. Ctrl-C stops early and reports.
    """
    with where as place:
        client = open_redis_to_look(place)
        click.echo(f"listening for {seconds:g} s", err=True)
        heard = listen(client, seconds=seconds, say=lambda line: click.echo(line, err=True))
    for line in report(heard):
        click.echo(line)
    if not is_good(heard):
        sys.exit(1)
