"""`tickstock demo`: the whole system in one command, on this machine alone."""

import subprocess
import sys
import time
from contextlib import AbstractContextManager

import click

from ...contracts.errors import SetupError
from ...db.postgres import Connection
from ...db.queries import query
from ...db.redis import Client
from .. import fleet
from ..demo import Watcher, outcome, shown, start_afresh
from ..ledger import read_ledger
from ..ledger_table import print_ledger, print_result
from ..shutdown import Stop
from ..wiring import Place, open_both, open_postgres
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
            (name,) = connection.execute(query("latest_replay")).fetchone() or ("none",)
            rows = read_ledger(connection, name)
            bars, patterns = connection.execute(query("bars_of_feed"), {"feed": name}).fetchone() or (0, 0)
            lines = list(outcome(connection, servers))
    if not rows:
        raise SetupError("stopped before the first tick was committed: give it a few seconds more")
    print_ledger(rows, seconds=time.monotonic() - started_s)
    print_result(bars, patterns)
    for line in lines:
        click.echo(line)
    if any(row.gap for row in rows):
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
