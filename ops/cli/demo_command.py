"""`tickstock demo`: the whole system in one command, on this machine alone."""

import sys
import time
from contextlib import AbstractContextManager

import click

from ..demo import play
from ..feed_result import print_result
from ..shutdown import Stop
from ..wiring import Place
from .options import CONTEXT, Number, option, server_options_in

# Of a synthetic day, see producer/synthetic.py: at 60x a demo of a minute sees its first hour.
_OPENING_RUSH = 1.8


@click.command(context_settings=CONTEXT, short_help="Show a market become bars, for a minute.")
@option("--seconds", type=Number(1, 1e8), default=60.0, help="How long it runs.")
@option("--workers", type=click.IntRange(1, 64), default=2, help="Worker processes.")
@option("--symbols", type=click.IntRange(1, 20_000), default=70, help="Symbols of the market.")
@option(
    "--rate",
    type=Number(1, 10_000_000),
    default=500.0,
    help="Ticks a second of market time, which runs at 60x; the mean of a 6.5 h day, its opening is 1.8 times as busy.",
)
@server_options_in("demo")
def demo(where: AbstractContextManager[Place], seconds: float, workers: int, symbols: int, rate: float) -> None:
    """Show a synthetic market become 1-minute bars: embedded servers, a producer at 60x, workers, and a live table.

    Ends by itself with the ledger: every tick that went in, and what became of it. Embedded servers are the demo's own,
    in the folder `demo` of the data folder, and start empty.
    """
    stop = Stop(deadline_s=60.0)
    click.echo(
        f"a market of {symbols} symbols at 60x: {rate * 60:,.0f} ticks/s are the mean of its day, "
        f"{rate * 60 * _OPENING_RUSH:,.0f} its opening"
    )
    market = ["--symbols", str(symbols), "--rate", str(rate)]
    started_s = time.monotonic()
    with where as servers:
        result, lines = play(servers, market, workers=workers, seconds=seconds, stop=stop)
    print_result(result, seconds=time.monotonic() - started_s)
    for line in lines:
        click.echo(line)
    if any(row.gap for row in result.rows):
        sys.exit(1)
