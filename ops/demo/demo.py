"""The demo: a synthetic market at 60x, a fleet, a live view of it, and a daily run at the end."""

import socket
import subprocess
import threading
import time
import webbrowser
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ...contracts.errors import SetupError
from ...contracts.market_hours import day_of
from ...db.look.stream_look import read_stream
from ...db.postgres import Connection
from ...db.queries import query
from ...db.redis import Client
from ...db.rows import DIRECTIONS
from ...producer.synthetic import Market, SyntheticSource
from ..jobs import fleet
from ..jobs.feed_result import FeedResult, read_result
from ..output.bars_text import shortest
from ..page.library import is_built
from ..process.console import Escaped, make_console
from ..process.shutdown import Stop
from ..wiring.producer import wait_for_detectors
from ..wiring.servers import Place, open_both, open_postgres, open_redis
from .daily_run import DayRun, run_day

SPEED = 60.0  # the market's, in multiples of real time
_LATEST_BARS = 6
_LATEST_PATTERNS = 6
_FEW = 3
_RATE_OVER_S = 3.0  # a worker commits a replay once a second
_PLAIN_EVERY_S = 2.0
_LOOK_EVERY_S = 0.2  # try so often whether the API serves the page
_BEGINS_WITHIN_S = 60.0
_API_PORT = 8080  # if another program has it, any free one
_NEARLY = 0.9  # of the speed: below it, print a hint


class Played(NamedTuple):
    """The result of a demo. speed: reached by the market, in multiples of real time; lines: more to print.

    day: its daily run; None if it was stopped before, or the servers are not its own.
    """

    result: FeedResult
    speed: float
    day: DayRun | None
    lines: list[str]


def play(
    where: Place, market: Market, *, workers: int, seconds: float, stop: fleet.WatchedStop, opens_page: bool
) -> Played:
    """Play a market at 60x for some seconds after its first committed tick; return the result.

    opens_page: open the page in a browser, if there is one. If the demo starts its own servers, it ends with a daily
    run of its first day. Raises SetupError if nothing was committed, a demo already runs here, or the producer or every
    worker has ended.
    """
    if where.embedded:
        _start_afresh(where)
    client, _ = open_both(where, partitions=None)
    options = ["--symbols", str(market.symbols), "--rate", str(market.rate), "--scenario", market.scenario]
    options += ["--speed", f"{SPEED:g}x", "--again", "--publish"]
    with open_postgres(where, name="tickstock-demo") as connection:
        if where.embedded:
            connection.execute(query("let_dojis_stand_anywhere"))
        producer = fleet.start(where, "producer", "--source", "synthetic", *options)
        processes = [fleet.start(where, "worker", "--consumer", f"demo-{i + 1}") for i in range(workers)]
        others = _start_others(where, opens_page=opens_page) if where.embedded else []
        day = None
        watcher = _Watcher(connection, client, SyntheticSource(market, seconds=None))
        with fleet.stopped_at_the_end([*processes, *others]):
            with fleet.stopped_at_the_end([producer]):
                _watch(watcher, [producer, *processes], seconds, stop)
            stop.workers = processes
            # otherwise a busy machine would show bars without patterns
            is_done = wait_for_detectors(where, stop, lambda _: None)
            if is_done and others:
                day = run_day(connection, client, day_of(datetime.fromtimestamp(market.start_ns / 1e9, UTC)), stop)
        (name,) = connection.execute(query("latest_replay")).fetchone() or ("none",)
        result = read_result(connection, name)
        if not result.rows:
            raise SetupError("stopped before the first tick was committed: give it a few seconds more")
        return Played(result, watcher.speed, day, list(_outcome(connection, where)))


def says_speed(speed: float) -> str:
    """Return a sentence about the market's speed, and why it is below the requested one."""
    if not speed:
        return "the market's speed is unknown: the demo was too short"
    if speed >= _NEARLY * SPEED:
        return f"the market ran at {SPEED:g}x"
    return f"the market ran at {speed:.0f}x of {SPEED:g}x: this machine is busy, or slow; a lower --rate helps"


def _watch(watcher: "_Watcher", processes: list[subprocess.Popen[bytes]], seconds: float, stop: Stop) -> None:
    end_s = time.monotonic() + _BEGINS_WITHIN_S + seconds  # a busy machine takes long to start processes
    with _shown() as show:
        while time.monotonic() < end_s and not stop.wait(0.25):
            fleet.expect_one_alive(processes[:1], "the producer")
            fleet.expect_one_alive(processes[1:])
            glance = watcher.read()
            if glance.ticks:
                end_s = min(end_s, time.monotonic() + seconds)
            show(glance)


def _start_others(where: Place, *, opens_page: bool) -> list[subprocess.Popen[bytes]]:
    """Start the bridge, the jobs process and the API, and print the address of the page."""
    port = _free_port()
    print(f"the page, while the demo runs: http://127.0.0.1:{port}/", flush=True)
    if not is_built():
        print("  without charts: `make page` or `tickstock page-library` fetches the library for them", flush=True)
    if opens_page:
        threading.Thread(target=open_page, args=(port,), daemon=True).start()
    commands = (("bridge", "--name", "demo-bridge"), ("jobs", "--name", "demo-jobs"), ("api", "--port", str(port)))
    return [fleet.start(where, *command) for command in commands]


def open_page(port: int) -> None:
    """Open the page in a browser as soon as it is served; print a sentence if this machine has no browser."""
    end_s = time.monotonic() + _BEGINS_WITHIN_S
    while time.monotonic() < end_s:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            if not webbrowser.open(f"http://127.0.0.1:{port}/"):
                print("this machine has no browser that could open the page", flush=True)
            return
        time.sleep(_LOOK_EVERY_S)


def _free_port() -> int:
    for port in (_API_PORT, 0):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)) as found:
            return int(found.getsockname()[1])
    return _API_PORT


class _Glance(NamedTuple):
    """The fleet at one moment. rate: ticks per second over the last seconds; lag: ticks sent and not committed.

    at: the market's time of the committed ticks; speed: in multiples of real time, since the first commit.
    """

    at: datetime
    speed: float
    ticks: int
    rate: float
    bars: int
    patterns: int
    lag: int
    workers: list[tuple[str, int]]  # (name, partitions)
    latest_bars: list[tuple[str, ...]]
    latest_patterns: list[tuple[str, ...]]


class _Watcher:
    """Reads the fleet's state again and again. speed: of the last glance."""

    def __init__(self, connection: Connection, client: Client, source: SyntheticSource) -> None:
        self._connection = connection
        self._client = client
        self._source = source
        self.speed = 0.0
        self._began: tuple[float, float] | None = None  # the first commit: by our clock, and by the market's
        self._seen = deque([(time.monotonic(), self._totals()[0])])

    def _totals(self) -> tuple[int, int, int]:
        ticks, bars, patterns = self._connection.execute(query("fleet_totals")).fetchone() or (0, 0, 0)
        return ticks, bars, patterns

    def read(self) -> _Glance:
        """Read the current state."""
        status = read_stream(self._connection, self._client, with_counts=False)
        ticks, bars, patterns = self._totals()
        now_s = time.monotonic()
        self._seen.append((now_s, ticks))
        while len(self._seen) > 2 and self._seen[0][0] < now_s - _RATE_OVER_S:
            self._seen.popleft()
        before_s, before = self._seen[0]
        rate = (ticks - before) / max(0.001, now_s - before_s)
        market_s = self._source.seconds_of(ticks) if ticks else 0.0
        self._note_speed(now_s, market_s)
        return _Glance(
            at=datetime.fromtimestamp(self._source.market.start_ns / 1e9 + market_s, UTC),
            speed=self.speed,
            ticks=ticks,
            rate=rate,
            bars=bars,
            patterns=patterns,
            lag=status.lag_ticks,
            workers=[(worker.consumer, len(worker.partitions)) for worker in status.workers if worker.running],
            latest_bars=[_bar(*row) for row in self._latest("latest_bars", _LATEST_BARS)],
            latest_patterns=[_pattern(*row) for row in self._latest("latest_patterns", _LATEST_PATTERNS)],
        )

    def _note_speed(self, now_s: float, market_s: float) -> None:
        if market_s and self._began is None:
            self._began = now_s, market_s
        elif self._began is not None and now_s > self._began[0]:
            self.speed = (market_s - self._began[1]) / (now_s - self._began[0])

    def _latest(self, name: str, count: int) -> list[tuple[Any, ...]]:
        return self._connection.execute(query(name), {"count": count}).fetchall()


def _bar(symbol: str, at: datetime, *numbers: Any) -> tuple[str, ...]:
    *prices, volume = numbers
    return symbol, f"{at:%H:%M}", *map(shortest, prices), f"{volume:,.0f}"


def _pattern(symbol: str, at: datetime, name: str, confidence: float, direction: int | None) -> tuple[str, ...]:
    return symbol, f"{at:%H:%M}", name, DIRECTIONS.get(direction or 0, ""), f"{confidence:.2f}"


def _start_afresh(where: Place) -> None:
    """Empty the demo's own servers. Raises SetupError while another demo uses them."""
    with open_postgres(where, name="tickstock-demo") as connection:
        if connection.execute(query("live_consumers")).fetchall():
            raise SetupError("a demo already runs in this data folder: stop it, or name another --data-dir")
        connection.execute(query("empty_tables"))
    open_redis(where).execute_command("FLUSHALL")


def _outcome(connection: Connection, where: Place) -> Iterator[str]:
    """Yield a few of the bars and patterns at the end, and how to see more: the servers keep them."""
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
    for symbol, at, *others in rows:  # values without a place in the form are left out
        yield "  " + form.format(symbol, at, *(shortest(n) if isinstance(n, Decimal) else n for n in others))


@contextmanager
def _shown() -> Iterator[Callable[[_Glance], None]]:
    """Return a function that shows glances: a live table in a terminal, else plain lines."""
    console = make_console()
    if console.is_terminal:
        with Live(console=console, refresh_per_second=4) as live:
            yield lambda glance: live.update(Escaped(_picture(glance)))
        return
    said_s = 0.0

    def say(glance: _Glance) -> None:
        nonlocal said_s
        if time.monotonic() >= said_s + _PLAIN_EVERY_S:
            said_s = time.monotonic()
            print(_line(glance), flush=True)

    yield say


def _line(glance: _Glance) -> str:
    newest = " ".join(glance.latest_patterns[0]) if glance.latest_patterns else "none yet"
    return (
        f"{glance.at:%H:%M:%S} at {glance.speed:>2.0f}x  {glance.rate:>7,.0f} ticks/s  {glance.bars:>6,} bars  "
        f"{glance.patterns:>5,} patterns  lag {glance.lag:>7,}  latest: {newest}"
    )


def _picture(glance: _Glance) -> Group:
    """Draw a glance, at most 80 columns wide."""
    columns = ("market (UTC)", "speed", "ticks/s", "bars", "patterns", "lag in ticks")
    fleet_table = Table(*columns, title=f"TickStockPL demo: a market at {SPEED:g}x")
    fleet_table.add_row(
        f"{glance.at:%H:%M:%S}",
        f"{glance.speed:.0f}x" if glance.speed else "-",
        f"{glance.rate:,.0f}",
        f"{glance.bars:,}",
        f"{glance.patterns:,}",
        f"{glance.lag:,}",
    )
    owners = ", ".join(f"{name} has {count}" for name, count in glance.workers) or "no worker yet"
    bars = Table("symbol", "minute", "open", "high", "low", "close", "volume", title="latest bars, the busiest symbols")
    for row in glance.latest_bars:
        bars.add_row(*row)
    patterns = Table("symbol", "minute", "pattern", "direction", "confidence", title="latest patterns")
    for row in glance.latest_patterns:
        patterns.add_row(*row)
    return Group(fleet_table, Text(f"partitions: {owners}"), bars, patterns)
