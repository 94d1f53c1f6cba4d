"""`tickstock watch`."""

from contextlib import AbstractContextManager

import click

from ...jobs.watch import View, choose_channels, listen
from ...process.shutdown import Stop
from ...wiring.servers import Place, open_redis_to_look
from ..parts.options import CONTEXT, Number, server_options
from ..parts.selection import NamesType
from ..parts.setting import typed


@click.command(context_settings=CONTEXT, short_help="Show the messages of the channels live.")
@typed("--symbol", "symbols", type=NamesType(), show_default="all", help="Show only messages about these symbols.")
@typed(
    "--channel", "globs", type=NamesType(), metavar="GLOB,…", show_default="all", help="Listen only on these channels."
)
@typed("--seconds", type=Number(0, 1e8), show_default="until Ctrl-C", help="How long to listen.")
@typed("--raw", is_flag=True, help="Print channel and JSON of each message; print notes to stderr.")
@server_options
def watch(
    where: AbstractContextManager[Place],
    symbols: tuple[str, ...] | None,
    globs: tuple[str, ...] | None,
    seconds: float | None,
    raw: bool,
) -> None:
    """Show the messages of the documented channels, one a line: time, channel, symbol, content, [epoch:seq].

    A note reports numbers that are missing in seq: those messages were published and did not arrive here. The last
    lines are the number of messages of each channel.
    """
    channels = choose_channels(globs or ())
    stop = Stop()
    view = View(symbols=symbols or (), raw=raw)
    with where as servers:
        listen(open_redis_to_look(servers), channels, seconds=seconds, stop=stop, view=view)
        view.end()
