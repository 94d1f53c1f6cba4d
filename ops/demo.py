"""The demo: a synthetic market at 60x, two workers, and what can be seen of them while they run."""

import time
from collections import deque
from collections.abc import Callable, Iterator
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
from .bars_text import shortest
from .status import read_status
from .wiring import Place, open_postgres, open_redis

_LATEST = 8
_FEW = 3
_RATE_OVER_S = 3.0  # a worker commits a replay once a second
_PLAIN_EVERY_S = 2.0


class Glance(NamedTuple):
    """The fleet at one moment. rate: ticks a second over the last moments; lag: ticks sent and not committed."""

    ticks: int
    rate: float
    bars: int
    lag: int
    workers: list[tuple[str, int]]  # (name, partitions)
    latest: list[tuple[str, ...]]


class Watcher:
    """Looks at the fleet, glance by glance."""

    def __init__(self, connection: Connection, client: Client) -> None:
        self._connection = connection
        self._client = client
        self._seen = deque([(time.monotonic(), self._totals()[0])])

    def _totals(self) -> tuple[int, int]:
        ticks, bars = self._connection.execute(query("fleet_totals")).fetchone() or (0, 0)
        return ticks, bars

    def look(self) -> Glance:
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
        return Glance(ticks, rate, bars, status.lag_ticks, workers, latest)


def start_afresh(where: Place) -> None:
    """Empty the demo's own servers. Raises SetupError while another demo runs on them."""
    with open_postgres(where, name="tickstock-demo") as connection:
        if connection.execute(query("live_consumers")).fetchall():
            raise SetupError("a demo runs in this data folder already: stop it, or name another --data-dir")
        connection.execute(query("empty_tables"))
    open_redis(where).flushall()


def outcome(connection: Connection, where: Place) -> Iterator[str]:
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
def shown() -> Iterator[Callable[[Glance], None]]:
    """Show glances: a live table in a terminal, plain lines elsewhere."""
    console = Console()
    if console.is_terminal:
        with Live(console=console, refresh_per_second=4) as live:
            yield lambda glance: live.update(_picture(glance))
        return
    said_s = 0.0

    def say(glance: Glance) -> None:
        nonlocal said_s
        if time.monotonic() >= said_s + _PLAIN_EVERY_S:
            said_s = time.monotonic()
            print(_line(glance), flush=True)

    yield say


def _line(glance: Glance) -> str:
    owners = ", ".join(f"{name}: {count}" for name, count in glance.workers) or "no worker yet"
    newest = " ".join(glance.latest[0]) if glance.latest else "none yet"
    return (
        f"{glance.rate:>9,.0f} ticks/s  {glance.ticks:>11,} ticks  {glance.bars:>7,} bars  lag {glance.lag:>7,}"
        f"  partitions: {owners}  latest bar: {newest}"
    )


def _picture(glance: Glance) -> Group:
    columns = ("ticks/s", "ticks", "bars", "lag in ticks", "partitions by worker")
    fleet = Table(*columns, title="TickStockPL demo, market at 60x")
    owners = "\n".join(f"{name}: {count}" for name, count in glance.workers) or "no worker yet"
    fleet.add_row(f"{glance.rate:,.0f}", f"{glance.ticks:,}", f"{glance.bars:,}", f"{glance.lag:,}", owners)
    bars = Table("symbol", "minute (UTC)", "open", "high", "low", "close", "volume", title="latest bars")
    for row in glance.latest:
        bars.add_row(*row)
    return Group(fleet, bars)
