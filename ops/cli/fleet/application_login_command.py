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
from ..parts.options import CONTEXT, errors_end_the_command, log_json_option
from ..parts.setting import typed


@click.command("application-login", context_settings=CONTEXT, short_help="Log programs without a password in to Redis.")
@typed("--host", default="127.0.0.1", help="Address to listen on.")
@typed("--port", type=click.IntRange(0, 65535), default=6380, help="Port to listen on; 0: a free one.")
@typed(
    "--open-to-others",
    is_flag=True,
    help="Allow a --host that other machines can reach, as in a container whose port is not published.",
)
@log_json_option
def application_login(host: str, port: int, open_to_others: bool, log_json: bool) -> None:
    """Accept connections of programs without a password, and log each in to Redis as `application`.

    Each program that can connect here has the rights of that user and no others. Redis itself accepts no connection
    without a password. REDIS_URL, or REDIS_HOST, REDIS_USER and REDIS_PASSWORD (REDIS_PASSWORD_FILE), give the address
    of Redis and the login of `application`.
    """
    set_up_logs(level="info", as_json=log_json)
    with errors_end_the_command():
        if not open_to_others and not _is_loopback(host):
            raise UsageError(
                f"--host {host}: other machines can reach it without a password: allow it with --open-to-others"
            )
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
