"""`tickstock-bridge`: publishes results and the state of the fleet on the documented channels."""

import gc
from contextlib import AbstractContextManager

import click

from ....workers.bridge.bridge import BridgeOptions
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
    otel_option,
    server_options,
    stop_with_stdin_option,
    version_option,
)
from ..parts.setting import option, setting


@click.command("tickstock-bridge", context_settings=CONTEXT)
@version_option("tickstock-bridge")
@option(
    "--name",
    type=Name(),
    default=default_name,
    show_default="HOST-PID",
    envvar="TICKSTOCK_BRIDGE_NAME",
    help="Name of this bridge in logs and in its lease.",
)
@setting(
    BridgeOptions,
    "streaming_rate",
    type=Number(0, 100_000, min_open=True),
    show_default="no limit",
    help="Most messages a second on each of tickstock:patterns:streaming and tickstock:indicators:streaming. Further "
    "ones wait. While 100,000 messages wait, the bridge reads no more results.",
)
@setting(
    BridgeOptions,
    "universe_name",
    former="--universe",
    envvar="TICKSTOCK_UNIVERSE_NAME",  # TICKSTOCK_UNIVERSE lists the symbols of a producer
    type=Name(),
    help="Name of the symbol universe in the session messages.",
)
@metrics_options
@otel_option
@stop_with_stdin_option
@server_options
def bridge(
    where: AbstractContextManager[Place],
    name: str,
    streaming_rate: float | None,
    universe_name: str,
    metrics: MetricsAddress,
    otel: Wanted,
    stop_with_stdin: bool,
) -> None:
    """Publish patterns, indicators, alerts, and heartbeat and health of the fleet, on the channels of the application.

    Start two or more: one is active, the others are on standby and take over. SIGTERM publishes what was read, releases
    the lease and exits 0.
    """
    stop = Stop(with_stdin=stop_with_stdin)
    with (
        metrics_server(metrics, "bridge"),
        where as servers,
        refusals_named(servers.servers.redis_url, "bridge"),
        tracing(otel, service="tickstock-bridge", instance=name) as traced,
    ):
        options = BridgeOptions(name, streaming_rate, universe_name)
        made = make_bridge(servers, options, stop=stop, tracing=traced)
        if made is not None:
            gc.freeze()  # as the worker does
            made.run()
