"""`tickstock watch`."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import click

from ...jobs.watch import View, choose_channels, listen
from ...process.shutdown import Stop
from ...wiring.servers import Place, open_redis_to_look
from ..parts.options import CONTEXT, F, Number, option, server_options
from ..parts.selection import NamesType


def _option(name: str, *names: str, **kwargs: Any) -> Callable[[F], F]:
    """Make an option with a variable of this command's own: TICKSTOCK_CHANNEL is a producer's, T, A or AM."""
    return option(name, *names, envvar=f"TICKSTOCK_WATCH_{name.removeprefix('--').upper()}", **kwargs)


@click.command(context_settings=CONTEXT, short_help="Show the messages of the channels live.")
@_option("--symbol", "symbols", type=NamesType(), show_default="all", help="Show only messages on these symbols.")
@_option(
    "--channel", "globs", type=NamesType(), metavar="GLOB,…", show_default="all", help="Listen only on such channels."
)
@_option("--seconds", type=Number(0, 1e8), show_default="until Ctrl-C", help="How long to listen.")
@_option("--raw", is_flag=True, help="Print channel and JSON of each message; the notes go to stderr.")
@server_options
def watch(
    where: AbstractContextManager[Place],
    symbols: tuple[str, ...] | None,
    globs: tuple[str, ...] | None,
    seconds: float | None,
    raw: bool,
) -> None:
    """Show what goes out on the documented channels, a line a message: time, channel, symbol, what, [epoch:seq].

    A hole in seq is noted: those messages were said, and did not come here. At the end: how many on each channel.
    """
    channels = choose_channels(globs or ())
    stop = Stop()
    view = View(symbols=symbols or (), raw=raw)
    with where as servers:
        listen(open_redis_to_look(servers), channels, seconds=seconds, stop=stop, view=view)
        view.end()
