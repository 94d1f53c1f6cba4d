"""`tickstock-jobs`: does the steps of daily runs."""

import gc
from contextlib import AbstractContextManager

import click

from ...process.metrics_server import MetricsAddress, metrics_server
from ...process.shutdown import Stop
from ...wiring.day_sources import SourceOptions
from ...wiring.jobs import make_jobs
from ...wiring.redis_refusals import refusals_named
from ...wiring.servers import Place
from ..parts.options import (
    CONTEXT,
    Name,
    default_name,
    metrics_options,
    server_options,
    stop_with_stdin_option,
    version_option,
)
from ..parts.setting import option
from ..parts.source_options import source_options


@click.command("tickstock-jobs", context_settings=CONTEXT)
@version_option("tickstock-jobs")
@option(
    "--name",
    type=Name(),
    default=default_name,
    show_default="HOST-PID",
    envvar="TICKSTOCK_JOBS_NAME",
    help="Name of this process in logs, in the stream and in the coordinator's lease. Only one process has it.",
)
@source_options
@metrics_options
@stop_with_stdin_option
@server_options
def jobs(
    where: AbstractContextManager[Place],
    name: str,
    source_options: SourceOptions,
    metrics: MetricsAddress,
    stop_with_stdin: bool,
) -> None:
    """Do the steps of daily runs: import, cache_sync, and indicators and patterns on daily, weekly and monthly bars.

    Daily bars come from the vendor (with an API key), from files (with --flat-days-dir), or from our own 1-minute bars.
    It also does the data loads that the application asks for. Start as many processes as you like, with the same
    options: they share the steps, and one of them is the coordinator. SIGTERM ends after the current step and exits 0.
    """
    stop = Stop(with_stdin=stop_with_stdin)
    with metrics_server(metrics, "jobs"), where as servers, refusals_named(servers.servers.redis_url, "jobs"):
        made = make_jobs(servers, name=name, stop=stop, options=source_options)
        gc.freeze()  # as the worker does
        made.run()
