"""`tickstock application-login`."""

import asyncio
import ipaddress
import os

import click

from ....contracts.errors import SetupError, UsageError
from ....contracts.settings import redis_url_from
from ...process.logs import set_up_logs
from ...secrets.application_login import serve, upstream_of
from ...secrets.files import with_secrets
from ..parts.options import CONTEXT, errors_end_the_command


@click.command(
    "application-login", context_settings=CONTEXT, short_help="Log programs in to Redis that know no password."
)
@click.option("--host", default="127.0.0.1", help="Where to listen.")
@click.option("--port", type=click.IntRange(0, 65535), default=6380, help="0: any that is free.")
@click.option(
    "--open-to-others", is_flag=True, help="Allow a --host that others reach: in a container, whose port is not."
)
def application_login(host: str, port: int, open_to_others: bool) -> None:
    """Take connections of programs that know no password, and log each in to Redis as `application`.

    Whoever may connect here has the rights of that user, and no others; Redis itself stays closed. REDIS_URL, or
    REDIS_HOST, REDIS_USER and REDIS_PASSWORD (REDIS_PASSWORD_FILE), say where it is and how `application` logs in.
    """
    set_up_logs(level="info", as_json=os.environ.get("TICKSTOCK_LOG_JSON") == "1")
    with errors_end_the_command():
        if not open_to_others and not _is_loopback(host):
            raise UsageError(f"--host {host}: others reach it, and need no password here: --open-to-others allows it")
        environ = with_secrets(os.environ)
        if not environ.get("REDIS_URL") and not environ.get("REDIS_HOST"):
            raise UsageError("no Redis is set: set REDIS_URL, or REDIS_HOST and REDIS_PASSWORD")
        upstream = upstream_of(redis_url_from({"REDIS_USER": "application", **environ}))
        try:
            asyncio.run(serve(host, port, upstream, listening=lambda at: click.echo(f"listens on {host}:{at}")))
        except OSError as e:
            raise SetupError(f"{host}:{port}: {e.strerror or e}") from e


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
