"""`tickstock openapi`."""

import json

import click

from ...api.app import openapi_document
from ..parts.options import CONTEXT


@click.command(context_settings=CONTEXT, short_help="Print the OpenAPI document of the HTTP API.")
def openapi() -> None:
    """Print the OpenAPI 3.1 document of every call of tickstock-api, as in docs/openapi.json. It needs no server."""
    click.echo(json.dumps(openapi_document(), indent=2, ensure_ascii=False))
