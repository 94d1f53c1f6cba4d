"""`tickstock asyncapi`."""

import json

import click

from ....contracts.messages.asyncapi import asyncapi_document
from ..parts.options import CONTEXT


@click.command(context_settings=CONTEXT, short_help="Print the AsyncAPI document of every channel.")
def asyncapi() -> None:
    """Print the AsyncAPI 3.0 document of every channel: JSON, with an example of each message.

    It is generated from the types of the messages. It needs no server.
    """
    click.echo(json.dumps(asyncapi_document(), indent=2, ensure_ascii=False))
