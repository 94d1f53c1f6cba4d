"""`tickstock keep`."""

import sys

import click

from ...jobs.keep import Keeper
from ...process.logs import set_up_logs
from ..parts.options import CONTEXT, Number, errors_end_the_command, log_json_option
from ..parts.setting import typed


@click.command(
    context_settings=CONTEXT
    | {"allow_interspersed_args": False},  # options after the name of the command belong to the command
    short_help="Keep a command running: start it again when it dies.",
)
@click.argument("command", nargs=-1, required=True)
@typed(
    "--stop-after-s",
    former="--stop-after",
    type=Number(0, 3600),
    default=0.0,
    help="How long to wait before passing on a stop. A second stop is passed on at once.",
)
@typed(
    "--always", is_flag=True, help="Also start the command again after exit 0, as for a worker, which never finishes."
)
@log_json_option
def keep(command: tuple[str, ...], stop_after_s: float, always: bool, log_json: bool) -> None:
    """Keep a command running.

    \b
    tickstock keep -- tickstock-worker --stop-with-stdin

    If the command dies, start it again after 0.5 s; after each further death wait longer, at most 30 s. Once it has run
    for a minute, the wait is 0.5 s again. After exit 2 (wrong usage) end too. After exit 0 (finished) do not start it
    again, and wait for a stop; with --always start it again. SIGTERM and SIGINT are passed on. A closed terminal, and
    the end of the process that started this one, have the effect of SIGTERM. The exit code is that of the command. The
    standard input of the command ends with this process: with --stop-with-stdin our programs then stop, also after a
    SIGKILL.
    """  # noqa: D301  # \b: click does not wrap the line below it
    set_up_logs(as_json=log_json)
    with errors_end_the_command():
        sys.exit(Keeper(command, stop_after_s=stop_after_s, always=always).run())
