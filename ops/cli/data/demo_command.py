"""`tickstock demo`: the whole system in one command, on this machine alone."""

import sys
import time
from contextlib import AbstractContextManager

import click

from ....producer.synthetic import MAX_SYMBOLS, Market
from ...demo.demo import play, says_speed
from ...jobs.feed_result import print_result
from ...jobs.fleet import WatchedStop
from ...wiring.servers import Place
from ..parts.options import CONTEXT, Number, server_options_in
from ..parts.setting import typed, typed_setting

# Of a synthetic day, see producer/synthetic.py: at 60x a demo of a minute sees its first hour.
_OPENING_RUSH = 1.8


@click.command(context_settings=CONTEXT, short_help="Make bars of a synthetic market for a minute, and show them.")
@typed("--seconds", type=Number(1, 1e8), default=60.0, help="How long to run after the first tick is in a bar.")
@typed("--workers", type=click.IntRange(1, 64), default=2, help="Number of worker processes.")
@typed_setting(Market, "symbols", type=click.IntRange(1, MAX_SYMBOLS), help="Number of symbols of the market.")
@typed_setting(
    Market,
    "rate",
    type=Number(1, 10_000_000),
    help="Ticks a second of market time, which runs at 60x: the mean of a 6.5 h day. Its opening has 1.8 times that.",
)
@typed("--open", "opens_page", is_flag=True, help="Open the page in a browser, if this machine has one.")
@server_options_in("demo")
def demo(
    where: AbstractContextManager[Place], seconds: float, workers: int, symbols: int, rate: float, opens_page: bool
) -> None:
    """Make 1-minute bars of a synthetic market at 60x: with embedded servers, a producer, workers and a live table.

    The command first prints the address of the page, which shows the market in a browser.

    At the end it prints the ledger, which counts the result of every tick, and does a daily run over the bars. The demo
    starts its own embedded servers, which are empty, in the folder `demo` of the data folder.
    """
    stop = WatchedStop(deadline_s=60.0)
    click.echo(
        f"a market of {symbols} symbols at 60x: {rate * 60:,.0f} ticks/s are the mean of its day, "
        f"{rate * 60 * _OPENING_RUSH:,.0f} its opening"
    )
    market = Market(symbols=symbols, rate=rate, scenario="lively")  # with patterns from its first minute on
    started_s = time.monotonic()
    with where as servers:
        played = play(servers, market, workers=workers, seconds=seconds, stop=stop, opens_page=opens_page)
    print_result(played.result, seconds=time.monotonic() - started_s)
    click.echo(says_speed(played.speed))
    for line in (*(played.day.lines() if played.day else ()), *played.lines):
        click.echo(line)
    if any(row.gap for row in played.result.rows) or (played.day and not played.day.is_good):
        sys.exit(1)
