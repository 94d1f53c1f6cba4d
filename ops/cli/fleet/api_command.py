"""`tickstock-api`: the HTTP API."""

import os
from contextlib import AbstractContextManager
from pathlib import Path

import click

from ....contracts.errors import UsageError
from ...api.who_may import is_loopback, rules_of
from ...process.metrics_server import MetricsAddress, metrics_server
from ...process.shutdown import Stop
from ...wiring.api import Listening, run_api
from ...wiring.redis_refusals import refusals_named
from ...wiring.servers import Place
from ..parts.options import (
    CONTEXT,
    Name,
    content_of,
    default_name,
    metrics_options,
    server_options,
    stop_with_stdin_option,
    version_option,
)
from ..parts.setting import option


@click.command("tickstock-api", context_settings=CONTEXT)
@version_option("tickstock-api")
@option(
    "--host",
    "hosts",
    multiple=True,
    envvar="TICKSTOCK_API_HOST",
    show_default="127.0.0.1 and ::1",
    help="Address to listen on. Can be given more than once. Not only loopback: needs --api-key-file or --open.",
)
@option(
    "--port", type=click.IntRange(0, 65_535), default=8080, envvar="TICKSTOCK_API_PORT", help="Port; 0: any free one."
)
@option(
    "--api-key-file",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="TICKSTOCKPL_API_KEY_FILE",
    help="File with the API key. Calls that change something must send it as X-API-Key.  "
    "[default: TICKSTOCKPL_API_KEY of the environment]",
)
@option(
    "--open",
    "is_open",
    is_flag=True,
    envvar="TICKSTOCK_API_OPEN",
    help="Listen to other machines without a key: everyone who reaches the port may start and cancel runs.",
)
@option(
    "--allowed-host",
    "names",
    multiple=True,
    envvar="TICKSTOCK_API_ALLOWED_HOST",
    help="Another name of this server in the Host header. Addresses and localhost are always allowed.",
)
@option(
    "--cors-origin",
    "origins",
    multiple=True,
    envvar="TICKSTOCK_API_CORS_ORIGIN",
    help="Origin of another site, https://HOST, whose pages may call this server.",
)
@option(
    "--name",
    type=Name(),
    default=default_name,
    show_default="HOST-PID",
    envvar="TICKSTOCK_API_NAME",
    help="Name of this process in logs.",
)
@metrics_options
@stop_with_stdin_option
@server_options
def api(
    where: AbstractContextManager[Place],
    hosts: tuple[str, ...],
    port: int,
    api_key_file: Path | None,
    is_open: bool,
    names: tuple[str, ...],
    origins: tuple[str, ...],
    name: str,
    metrics: MetricsAddress,
    stop_with_stdin: bool,
) -> None:
    """Serve the HTTP API: start, watch and cancel daily runs; read bars, patterns and indicators; receive results live.

    Without a key everyone on this machine may call. SIGTERM finishes the open calls and exits 0.
    """
    key = _key(api_key_file)
    if key is None and not is_open and (beyond := [host for host in hosts if not is_loopback(host)]):
        raise UsageError(f"other machines can reach {beyond[0]}: give --api-key-file or --open")
    stop = Stop(with_stdin=stop_with_stdin)
    rules = rules_of(names=[*names, *hosts], origins=origins, api_key=key)
    with (
        metrics_server(metrics, "api"),
        where as servers,
        refusals_named(servers.servers.redis_url, "api"),
    ):
        run_api(servers, Listening(hosts, port), rules, name=name, stop=stop)


def _key(file: Path | None) -> str | None:
    """Read the key. Raises UsageError if the file is empty."""
    if file is None:
        return os.environ.get("TICKSTOCKPL_API_KEY", "").strip() or None
    key = content_of(file).decode(errors="replace").strip()
    if not key:
        raise UsageError(f"{file} contains no key")
    return key
