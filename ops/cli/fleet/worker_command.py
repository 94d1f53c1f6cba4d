"""`tickstock-worker`: one worker of the fleet."""

import gc
from contextlib import AbstractContextManager

import click

from ....contracts.spellings.trade_conditions import DEFAULT_RULES, TRADE_RULES
from ....workers.row_retention import Keep
from ....workers.worker_options import WorkerOptions
from ...process.metrics_server import MetricsAddress, metrics_server
from ...process.shutdown import Stop
from ...process.tracing import Wanted, tracing
from ...wiring.redis_refusals import refusals_named
from ...wiring.servers import Place
from ...wiring.worker import make_worker
from ..parts.fleet_settings import partitions_option, second_stamp_option, trade_rules_option
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
from ..parts.worker_settings import commit_ms_option, keep_options, max_future_option, read_count_option


@click.command("tickstock-worker", context_settings=CONTEXT)
@version_option("tickstock-worker")
@setting(
    WorkerOptions,
    "group",
    type=Name(),
    help="Consumer group in Redis. All workers of a database share its partitions, whatever their group is.",
)
@option(
    "--consumer",
    type=Name(),
    default=default_name,
    show_default="HOST-PID",
    also=["TICKSTOCKPL_CONSUMER_ID"],
    help="Name of this worker. Only one worker can run under a name at a time.",
)
@partitions_option
@read_count_option
@commit_ms_option
@setting(
    WorkerOptions,
    "allowed_lateness_ms",
    former="--allowed-lateness",
    type=click.IntRange(0, 600_000),
    help="How long a live bar stays open after its end, for late ticks.",
)
@max_future_option
@setting(
    WorkerOptions,
    "missing_frames_wait_s",
    former="--hole-wait",
    type=Number(0, 3600),
    help="How long to wait for missing frames before counting their ticks as lost.",
)
@setting(
    WorkerOptions,
    "retention_s",
    former="--retention",
    type=Number(0, 31_536_000),
    help="How long committed entries stay in the streams.",
)
@second_stamp_option
@trade_rules_option
@setting(WorkerOptions, "detects", "--detect/--no-detect", help="Detect patterns and indicators on the bars.")
@setting(
    WorkerOptions,
    "history_mb",
    type=click.IntRange(1, 1_000_000),
    help="Memory for the bars that detectors read. Bars that were not used for longest are dropped and loaded again.",
)
@keep_options("bars", "patterns", "events", "indicators", "records", "backtests")
@metrics_options
@otel_option
@stop_with_stdin_option
@server_options
def worker(
    where: AbstractContextManager[Place],
    partitions: int | None,
    trade_rules: TRADE_RULES | None,
    keep: Keep,
    metrics: MetricsAddress,
    otel: Wanted,
    stop_with_stdin: bool,
    **options: object,
) -> None:
    """Make 1-minute bars of the ticks in this worker's share of the partitions.

    Start as many workers as you like: they share the partitions. SIGTERM commits, releases the partitions and exits 0.
    """
    stop = Stop(with_stdin=stop_with_stdin)
    settings = WorkerOptions(
        trade_rules=trade_rules or DEFAULT_RULES,
        keep=keep,
        **options,  # type: ignore[arg-type]  # the fields of the same names, checked by click
    )
    with (
        metrics_server(metrics, "worker"),
        where as servers,
        refusals_named(servers.servers.redis_url, "worker"),
        tracing(otel, service="tickstock-worker", instance=settings.consumer) as traced,
    ):
        made = make_worker(servers, settings, partitions=partitions, stop=stop, tracing=traced)
        gc.freeze()  # else a full collection walks through the whole program: some 30 ms in the middle of a close
        made.run()
