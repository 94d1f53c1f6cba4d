"""The demo: a synthetic market at 60x, two workers, and what can be seen of them while they run."""

import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import NamedTuple

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from ..contracts.errors import SetupError
from ..db.postgres import Connection
from ..db.queries import query
from ..db.redis import Client
from . import fleet
from .bars_text import shortest
from .feed_result import FeedResult, read_result
from .shutdown import Stop
from .status import read_status
from .wiring import Place, open_both, open_postgres, open_redis

_LATEST = 8
_FEW = 3
_RATE_OVER_S = 3.0  # a worker commits a replay once a second
_PLAIN_EVERY_S = 2.0


def play(
    where: Place, market: Sequence[str], *, workers: int, seconds: float, stop: Stop
) -> tuple[FeedResult, list[str]]:
    """Show a market at 60x for so many seconds; return what it left, and lines that say more of it.

    market: the producer's options. Raises SetupError where nothing was committed, a demo runs here already, or the
    producer or every worker has ended.
    """
    if where.embedded:
        _start_afresh(where)
    client, _ = open_both(where, partitions=None)
    producer = fleet.start(where, "producer", "--source", "synthetic", *market, "--speed", "60x", "--again")
    processes = [fleet.start(where, "worker", "--consumer", f"demo-{i + 1}") for i in range(workers)]
    with open_postgres(where, name="tickstock-demo") as connection, fleet.stopped_at_the_end(processes):
        with fleet.stopped_at_the_end([producer]):
            _watch(connection, client, [producer, *processes], seconds, stop)
        (name,) = connection.execute(query("latest_replay")).fetchone() or ("none",)
        result = read_result(connection, name)
        if not result.rows:
            raise SetupError("stopped before the first tick was committed: give it a few seconds more")
        return result, list(_outcome(connection, where))


def _watch(
    connection: Connection, client: Client, processes: list[subprocess.Popen[bytes]], seconds: float, stop: Stop
) -> None:
    watcher = _Watcher(connection, client)
    end_s = time.monotonic() + seconds
    with _shown() as show:
        while time.monotonic() < end_s and not stop.wait(0.25):
            fleet.expect_one_alive(processes[:1], "the producer")
            fleet.expect_one_alive(processes[1:])
            show(watcher.look())


class _Glance(NamedTuple):
    """The fleet at one moment. rate: ticks a second over the last moments; lag: ticks sent and not committed."""

    ticks: int
    rate: float
    bars: int
    lag: int
    workers: list[tuple[str, int]]  # (name, partitions)
    latest: list[tuple[str, ...]]


class _Watcher:
    """Looks at the fleet, glance by glance."""

    def __init__(self, connection: Connection, client: Client) -> None:
        self._connection = connection
        self._client = client
        self._seen = deque([(time.monotonic(), self._totals()[0])])

    def _totals(self) -> tuple[int, int]:
        ticks, bars = self._connection.execute(query("fleet_totals")).fetchone() or (0, 0)
        return ticks, bars

    def look(self) -> _Glance:
        """Take a glance."""
        status = read_status(self._connection, self._client)
        ticks, bars = self._totals()
        now_s = time.monotonic()
        self._seen.append((now_s, ticks))
        while len(self._seen) > 2 and self._seen[0][0] < now_s - _RATE_OVER_S:
            self._seen.popleft()
        before_s, before = self._seen[0]
        rate = (ticks - before) / max(0.001, now_s - before_s)
        workers = [(worker.consumer, len(worker.partitions)) for worker in status.workers if worker.running]
        latest = [
            (symbol, f"{at:%H:%M}", *map(shortest, numbers))
            for symbol, at, *numbers in self._connection.execute(query("latest_bars"), {"count": _LATEST})
        ]
        return _Glance(ticks, rate, bars, status.lag_ticks, workers, latest)


def _start_afresh(where: Place) -> None:
    """Empty the demo's own servers. Raises SetupError while another demo runs on them."""
    with open_postgres(where, name="tickstock-demo") as connection:
        if connection.execute(query("live_consumers")).fetchall():
            raise SetupError("a demo runs in this data folder already: stop it, or name another --data-dir")
        connection.execute(query("empty_tables"))
    open_redis(where).flushall()


def _outcome(connection: Connection, where: Place) -> Iterator[str]:
    """Yield a few of the bars and patterns that stand at the end, and how to see more: the servers keep them."""
    place = f" --data-dir {where.data_dir}" if where.data_dir else ""
    yield from _few(
        connection, "latest bars", "latest_bars", "{} {:%H:%M}  open {}  high {}  low {}  close {}  volume {}"
    )
    yield from _few(connection, "latest patterns", "latest_patterns", "{} {:%H:%M}  {}, confidence {:.2f}")
    yield "see them all:"
    yield f"  tickstock bars{place} --symbol AAPL"
    yield f"  tickstock patterns{place}"
    yield f"  tickstock audit{place}"


def _few(connection: Connection, title: str, name: str, form: str) -> Iterator[str]:
    rows = connection.execute(query(name), {"count": _FEW}).fetchall()
    yield f"{title}:" if rows else f"{title}: none yet"
    for symbol, at, *others in rows:
        yield "  " + form.format(symbol, at, *(shortest(n) if isinstance(n, Decimal) else n for n in others))


@contextmanager
def _shown() -> Iterator[Callable[[_Glance], None]]:
    """Show glances: a live table in a terminal, plain lines elsewhere."""
    console = Console()
    if console.is_terminal:
        with Live(console=console, refresh_per_second=4) as live:
            yield lambda glance: live.update(_picture(glance))
        return
    said_s = 0.0

    def say(glance: _Glance) -> None:
        nonlocal said_s
        if time.monotonic() >= said_s + _PLAIN_EVERY_S:
            said_s = time.monotonic()
            print(_line(glance), flush=True)

    yield say


def _line(glance: _Glance) -> str:
    owners = ", ".join(f"{name}: {count}" for name, count in glance.workers) or "no worker yet"
    newest = " ".join(glance.latest[0]) if glance.latest else "none yet"
    return (
        f"{glance.rate:>9,.0f} ticks/s  {glance.ticks:>11,} ticks  {glance.bars:>7,} bars  lag {glance.lag:>7,}"
        f"  partitions: {owners}  latest bar: {newest}"
    )


def _picture(glance: _Glance) -> Group:
    columns = ("ticks/s", "ticks", "bars", "lag in ticks", "partitions by worker")
    table = Table(*columns, title="TickStockPL demo, market at 60x")
    owners = "\n".join(f"{name}: {count}" for name, count in glance.workers) or "no worker yet"
    table.add_row(f"{glance.rate:,.0f}", f"{glance.ticks:,}", f"{glance.bars:,}", f"{glance.lag:,}", owners)
    bars = Table("symbol", "minute (UTC)", "open", "high", "low", "close", "volume", title="latest bars")
    for row in glance.latest:
        bars.add_row(*row)
    return Group(table, bars)
