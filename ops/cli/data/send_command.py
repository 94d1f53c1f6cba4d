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
from ..parts.setting import typed


@click.command(
    context_settings=CONTEXT | {"ignore_unknown_options": True},  # -5 is read as a price and refused
    short_help="Send one tick through the front door.",
)
@click.argument("symbol")
@click.argument("price")
@click.argument("volume")
@typed("--at", type=TimeType(), show_default="now", help="Time of the trade; UTC if it has no zone.")
@typed(
    "--wait-s",
    former="--wait",
    type=Number(0, 3600),
    default=10.0,
    help="How long to wait until a worker has taken it; 0: do not wait.",
)
@server_options
def send(
    where: AbstractContextManager[Place], symbol: str, price: str, volume: str, at: datetime | None, wait_s: float
) -> None:
    """Send one tick through the front door, as `XADD tickstock-stream` does, and print what became of it.

    A worker must run (make run, tickstock-worker). `tickstock bars` prints the bar a few seconds after its minute has
    ended, when a later tick or the clock has closed it. A live tick more than 15 minutes before or after now is
    refused. Exit 1 if it was refused, or if no worker took it in time.
    """
    stop = Stop()
    with where as servers:
        became = send_tick(servers, (symbol, price, volume), at=at, wait_s=wait_s, stop=stop)
    for line in _lines(symbol, became, touches_a_bar=float(volume) > 0):
        click.echo(line)
    if became.refused or (wait_s and not became.applied):
        sys.exit(1)


def _lines(symbol: str, became: Sent, *, touches_a_bar: bool) -> list[str]:
    entry = f"entry {became.entry_id} of tickstock-stream"
    if became.refused:
        return [f"{entry}: refused, {became.refused}"]
    if not became.applied:
        return [f"{entry}: no worker has taken it yet: `tickstock status` shows whether one runs"]
    if not touches_a_bar:
        return [f"{entry}: taken; a volume of 0 changes no bar"]
    return [
        f"{entry}: in the bar of {as_moment(became.minute)} UTC",
        f"see it when its minute has ended: tickstock bars --symbol {symbol} --last 1",
    ]
