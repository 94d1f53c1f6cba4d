"""`tickstock send`."""

import sys
from contextlib import AbstractContextManager
from datetime import datetime

import click

from ...jobs.send import Sent, send_tick
from ...process.shutdown import Stop
from ...wiring.servers import Place
from ..parts.options import CONTEXT, Number, server_options
from ..parts.selection import TimeType, as_moment


@click.command(
    context_settings=CONTEXT | {"ignore_unknown_options": True},  # -5 is a price, and refused as one
    short_help="Send one tick through the front door.",
)
@click.argument("symbol")
@click.argument("price")
@click.argument("volume")
@click.option("--at", type=TimeType(), show_default="now", help="When it was traded; without a zone UTC.")
@click.option("--wait", type=Number(0, 3600), default=10.0, help="Seconds to wait for what becomes of it; 0: none.")
@server_options
def send(
    where: AbstractContextManager[Place], symbol: str, price: str, volume: str, at: datetime | None, wait: float
) -> None:
    """Put one tick through the front door, as `XADD tickstock-stream` does, and say what became of it.

    A worker must run (make run, or tickstock-worker). The tick is in its bar once it is committed; the bar is printed
    by `tickstock bars` a few seconds after its minute has ended, when a later tick or the clock closes it. A live tick
    of more than 15 minutes before or after now is refused. Exit 1 where it was refused, or nobody took it in time.
    """
    stop = Stop()
    with where as servers:
        became = send_tick(servers, (symbol, price, volume), at=at, wait_s=wait, stop=stop)
    for line in _lines(symbol, became, touches_a_bar=float(volume) > 0):
        click.echo(line)
    if became.refused or (wait and not became.applied):
        sys.exit(1)


def _lines(symbol: str, became: Sent, *, touches_a_bar: bool) -> list[str]:
    entry = f"entry {became.entry_id} of tickstock-stream"
    if became.refused:
        return [f"{entry}: refused, {became.refused}"]
    if not became.applied:
        return [f"{entry}: nobody has taken it yet: does a worker run? `tickstock status` says so"]
    if not touches_a_bar:
        return [f"{entry}: taken; a volume of 0 touches no bar"]
    return [
        f"{entry}: in the bar of {as_moment(became.minute)} UTC",
        f"see it when its minute has ended: tickstock bars --symbol {symbol} --last 1",
    ]
