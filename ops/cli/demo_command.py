"""`tickstock demo`: the whole system in one command, on this machine alone."""

import subprocess
import sys
import time
from contextlib import AbstractContextManager

import click

from ...db.postgres import Connection
from ...db.redis import Client
from .. import fleet
from ..demo import Watcher, shown, start_afresh
from ..ledger import read_ledger
from ..shutdown import Stop
from ..summary import print_ledger
from ..wiring import Place, open_both, open_postgres
from .options import CONTEXT, Number, option, server_options_in


# Of a synthetic day, see producer/synthetic.py: at 60x a demo of a minute sees its first hour.
_OPENING = "It opens 1.8 times as busy: 500 begin as 500 x 60 x 1.8 = 54,000 a second."


@click.command(context_settings=CONTEXT)
@option("--seconds", type=Number(1, 1e8), default=60.0, help="How long it runs.")
@option("--workers", type=click.IntRange(1, 64), default=2, help="Worker processes.")
@option("--symbols", type=click.IntRange(1, 20_000), default=70, help="Symbols of the market.")
@option(
    "--rate",
    type=Number(1, 10_000_000),
    default=500.0,
    help=f"Ticks a second of market time, which runs at 60x: the mean of a 6.5 h day. {_OPENING}",
)
@server_options_in("demo")
def demo(where: AbstractContextManager[Place], seconds: float, workers: int, symbols: int, rate: float) -> None:
    """Show a synthetic market become 1-minute bars: embedded servers, a producer at 60x, workers, and a live table.

    Ends by itself with the ledger: every tick that went in, and what became of it. Embedded servers are the demo's own,
    in the folder `demo` of the data folder, and start empty.
    """
    stop = Stop(deadline_s=60.0)
    started_s = time.monotonic()
    with where as servers:
        if servers.embedded:
            start_afresh(servers)
        client, _ = open_both(servers, partitions=None)
        market = ["--symbols", str(symbols), "--rate", str(rate), "--speed", "60x", "--again"]
        producer = fleet.start(servers, "producer", "--source", "synthetic", *market)
        processes = [fleet.start(servers, "worker", "--consumer", f"demo-{i + 1}") for i in range(workers)]
        with open_postgres(servers, name="tickstock-demo") as connection, fleet.stopped_at_the_end(processes):
            with fleet.stopped_at_the_end([producer]):
                _watch(connection, client, [producer, *processes], seconds, stop)
            names = [name for (name,) in connection.execute("SELECT name FROM replay ORDER BY started_at DESC LIMIT 1")]
            rows = read_ledger(connection, names[0] if names else None)
    print_ledger(rows, seconds=time.monotonic() - started_s)
    if not rows or any(row.gap for row in rows):
        sys.exit(1)


def _watch(
    connection: Connection, client: Client, processes: list[subprocess.Popen[bytes]], seconds: float, stop: Stop
) -> None:
    watcher = Watcher(connection, client)
    end_s = time.monotonic() + seconds
    with shown() as show:
        while time.monotonic() < end_s and not stop.wait(0.25):
            fleet.expect_one_alive(processes[:1], "the producer")
            fleet.expect_one_alive(processes[1:])
            show(watcher.look())
