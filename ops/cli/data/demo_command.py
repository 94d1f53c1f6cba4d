"""`tickstock demo`: the whole system in one command, on this machine alone."""

import sys
import time
from contextlib import AbstractContextManager

import click

from ....producer.synthetic import Market
from ...demo.demo import play, says_speed
from ...jobs.feed_result import print_result
from ...jobs.fleet import WatchedStop
from ...wiring.servers import Place
from ..parts.options import CONTEXT, Number, server_options_in

# Of a synthetic day, see producer/synthetic.py: at 60x a demo of a minute sees its first hour.
_OPENING_RUSH = 1.8


@click.command(context_settings=CONTEXT, short_help="Show a market become bars, for a minute.")
@click.option("--seconds", type=Number(1, 1e8), default=60.0, help="How long it runs, from the first tick in a bar on.")
@click.option("--workers", type=click.IntRange(1, 64), default=2, help="Worker processes.")
@click.option("--symbols", type=click.IntRange(1, 20_000), default=70, help="Symbols of the market.")
@click.option(
    "--rate",
    type=Number(1, 10_000_000),
    default=500.0,
    help="Ticks a second of market time, which runs at 60x; the mean of a 6.5 h day, its opening is 1.8 times as busy.",
)
@server_options_in("demo")
def demo(where: AbstractContextManager[Place], seconds: float, workers: int, symbols: int, rate: float) -> None:
    """Show a synthetic market become 1-minute bars: embedded servers, a producer at 60x, workers, and a live table.

    Ends by itself with the ledger: every tick that went in, and what became of it; and with a daily run over the bars.
    Embedded servers are the demo's own, in the folder `demo` of the data folder, and start empty.
    """
    stop = WatchedStop(deadline_s=60.0)
    click.echo(
        f"a market of {symbols} symbols at 60x: {rate * 60:,.0f} ticks/s are the mean of its day, "
        f"{rate * 60 * _OPENING_RUSH:,.0f} its opening"
    )
    market = Market(symbols=symbols, rate=rate, scenario="lively")  # with patterns from its first minute on
    started_s = time.monotonic()
    with where as servers:
        played = play(servers, market, workers=workers, seconds=seconds, stop=stop)
    print_result(played.result, seconds=time.monotonic() - started_s)
    click.echo(says_speed(played.speed))
    for line in (*(played.day.lines() if played.day else ()), *played.lines):
        click.echo(line)
    if any(row.gap for row in played.result.rows) or (played.day and not played.day.is_good):
        sys.exit(1)
