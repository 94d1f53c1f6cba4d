"""`tickstock keep`."""

import sys

import click

from ...jobs.keep import Keeper
from ...process.logs import set_up_logs
from ..parts.options import CONTEXT, Number, errors_end_the_command, option


@click.command(
    context_settings=CONTEXT | {"allow_interspersed_args": False},  # what follows the command's name is the command's
    short_help="Keep a command running: start it again when it dies.",
)
@click.argument("command", nargs=-1, required=True)
@option(
    "--stop-after", type=Number(0, 3600), default=0.0, help="Pass a stop on so many seconds later, a second at once."
)
@option("--always", is_flag=True, help="Start the command again after exit 0 too: a worker's work has no end.")
@option("--log-json", is_flag=True, help="Log lines as JSON.")
def keep(command: tuple[str, ...], stop_after: float, always: bool, log_json: bool) -> None:
    """Keep a command running.

    \b
    tickstock keep -- tickstock-worker --stop-with-stdin

    When it dies it is started again after half a second, later each time, at most 30 s, and soon again once it has
    lived for a minute. When it was used wrongly (exit 2) this ends too; when it has done its work (exit 0) it is not
    started again, and this waits to be stopped; with --always it is. Each SIGTERM and SIGINT is passed on; a closed
    terminal, and the end of the process that started this, are as SIGTERM. The exit code is the command's.
    Its standard input ends with this process: with --stop-with-stdin our commands then stop, even after a SIGKILL.
    """  # noqa: D301  # \b is for click: it leaves the line below it as it is
    set_up_logs(as_json=log_json)
    with errors_end_the_command():
        sys.exit(Keeper(command, stop_after_s=stop_after, always=always).run())
