"""`tickstock-bridge`: the results on the documented channels, and the fleet's one voice."""

import gc
from contextlib import AbstractContextManager

import click

from ...process.metrics_server import MetricsAddress, metrics_server
from ...process.shutdown import Stop
from ...process.tracing import Wanted, tracing
from ...wiring.bridge import make_bridge
from ...wiring.redis_refusals import refusals_named
from ...wiring.servers import Place
from ..parts.options import (
    CONTEXT,
    Name,
    Number,
    default_name,
    metrics_options,
    option,
    otel_option,
    server_options,
    stop_with_stdin_option,
    version_option,
)


@click.command("tickstock-bridge", context_settings=CONTEXT)
@version_option("tickstock-bridge")
@option(
    "--name",
    type=Name(),
    default=default_name,
    show_default="HOST-PID",
    envvar="TICKSTOCK_BRIDGE_NAME",
    help="This bridge's name in logs and in its lease.",
)
@option(
    "--streaming-rate",
    type=Number(0, 100_000, min_open=True),
    help="Messages a second on each of tickstock:patterns:streaming and tickstock:indicators:streaming; those that "
    "come faster wait, and while 100,000 do, nothing more is read.  [default: no limit]",
)
@option("--universe", type=Name(), default="live", help="Name of the symbol universe in the session messages.")
@metrics_options(9103)
@otel_option
@stop_with_stdin_option
@server_options
def bridge(
    where: AbstractContextManager[Place],
    name: str,
    streaming_rate: float | None,
    universe: str,
    metrics: MetricsAddress,
    otel: Wanted,
    stop_with_stdin: bool,
) -> None:
    """Tell patterns, indicators and alerts on the channels that the application listens to; heartbeat and health too.

    Start two or more: one speaks, the others stand by and take over. SIGTERM says what was read, releases and exits 0.
    """
    stop = Stop(with_stdin=stop_with_stdin)
    with (
        metrics_server(metrics, "bridge"),
        where as servers,
        refusals_named(servers.servers.redis_url, "bridge"),
        tracing(otel, service="tickstock-bridge", instance=name) as traced,
    ):
        made = make_bridge(
            servers, name=name, universe=universe, streaming_rate=streaming_rate, stop=stop, tracing=traced
        )
        if made is not None:
            gc.freeze()  # as the worker does
            made.run()
