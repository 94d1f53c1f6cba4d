"""`tickstock-worker`: one worker of the fleet."""

import gc
from contextlib import AbstractContextManager

import click

from ....contracts.names import GROUP
from ....contracts.spellings.trade_conditions import DEFAULT_RULES, TRADE_RULES
from ....workers.bounds import KEEP, SHORTEST_BARS_DAYS, Keep
from ....workers.detect.history_memory import HISTORY_MB
from ....workers.worker_options import WorkerOptions
from ...process.metrics_server import MetricsAddress, metrics_server
from ...process.shutdown import Stop
from ...process.tracing import Wanted, tracing
from ...wiring.redis_refusals import refusals_named
from ...wiring.servers import Place
from ...wiring.worker import make_worker
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
    trade_rules_option,
    version_option,
)

_LONGEST_DAYS = 36_500  # for ever
_DAYS = click.IntRange(1, _LONGEST_DAYS)
_BARS_DAYS = click.IntRange(SHORTEST_BARS_DAYS, _LONGEST_DAYS)


@click.command("tickstock-worker", context_settings=CONTEXT)
@version_option("tickstock-worker")
@option("--group", type=Name(), default=GROUP, help="Consumer group. All workers of a database share its partitions.")
@option(
    "--consumer",
    type=Name(),
    default=default_name,
    show_default="HOST-PID",
    envvar=["TICKSTOCK_CONSUMER", "TICKSTOCKPL_CONSUMER_ID"],
    help="This worker's name; one worker runs under a name at a time.",
)
@option("--partitions", type=click.IntRange(1, 4096), help="Partition count of a new stream.  [default: 16]")
@option(
    "--read-count",
    type=click.IntRange(1, 100_000),
    envvar=["TICKSTOCK_READ_COUNT", "TICKSTOCKPL_BATCH_SIZE"],
    help="Entries of a partition in one read.  [default: as many as 262,144 ticks fill]",
)
@option("--commit-ms", type=click.IntRange(1, 60_000), default=1000, help="Commit at the latest after this time.")
@option(
    "--allowed-lateness",
    type=click.IntRange(0, 600_000),
    default=500,
    help="Milliseconds that a live bar stays open after its end.",
)
@option(
    "--max-future",
    type=Number(0, 86_400),
    default=900.0,
    help="Seconds a tick may be ahead of its arrival.",
)
@option(
    "--hole-wait",
    type=Number(0, 3600),
    default=10.0,
    help="Seconds to wait for missing frames before their ticks count as lost.",
)
@option("--retention", type=Number(0, 31_536_000), default=900.0, help="Seconds committed entries stay in the streams.")
@option(
    "--second-stamp",
    type=click.Choice(["end", "start"]),
    default="end",
    help="Front door: whether a time on a whole second is the start or the end of that second (ticks without a type).",
)
@trade_rules_option
@option("--detect/--no-detect", default=True, help="Find patterns and indicators on the bars.")
@option(
    "--history-mb",
    type=click.IntRange(1, 1_000_000),
    default=HISTORY_MB,
    help="Memory for the bars that detectors read; what was not used for longest is loaded again.",
)
@option(
    "--keep-bars-days",
    type=_BARS_DAYS,
    default=KEEP.bars,
    help="Days to keep our own copy of a bar after its last change.",
)
@option("--keep-patterns-days", type=_DAYS, default=KEEP.patterns, help="Days to keep rows of intraday_patterns.")
@option("--keep-events-days", type=_DAYS, default=KEEP.events, help="Days to keep rows of integration_events.")
@option("--keep-indicators-days", type=_DAYS, default=KEEP.indicators, help="Days to keep rows of intraday_indicators.")
@option("--keep-records-days", type=_DAYS, default=KEEP.records, help="Days to keep dead letters, and who ran what.")
@metrics_options(9101)
@otel_option
@stop_with_stdin_option
@server_options
def worker(
    where: AbstractContextManager[Place],
    partitions: int | None,
    allowed_lateness: int,
    max_future: float,
    hole_wait: float,
    retention: float,
    trade_rules: TRADE_RULES | None,
    detect: bool,
    keep_bars_days: int,
    keep_patterns_days: int,
    keep_events_days: int,
    keep_indicators_days: int,
    keep_records_days: int,
    metrics: MetricsAddress,
    otel: Wanted,
    stop_with_stdin: bool,
    **options: object,
) -> None:
    """Turn the partitions of tickstock-stream that are this worker's share into 1-minute bars.

    Start as many as you like: they share the partitions among themselves. SIGTERM commits, releases and exits 0.
    """
    stop = Stop(with_stdin=stop_with_stdin)
    settings = WorkerOptions(
        allowed_lateness_ms=allowed_lateness,
        max_future_s=max_future,
        hole_wait_s=hole_wait,
        retention_s=retention,
        trade_rules=trade_rules or DEFAULT_RULES,
        detects=detect,
        keep=Keep(keep_bars_days, keep_patterns_days, keep_events_days, keep_indicators_days, keep_records_days),
        **options,  # type: ignore[arg-type]  # the options of the same names, checked by click
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
