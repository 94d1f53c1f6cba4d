"""How long after a bar's close its results are published, with every row durable in PostgreSQL before."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import hiredis
import numpy as np
import redis
from closing_market import HISTORY_MINUTES, source_of
from place import Place, running, wait_for
from processor_time import processor_s
from tickstockpl.contracts.spellings.timestamps import SECOND_NS
from tickstockpl.contracts.ticks import SHARE_MICRO
from tickstockpl.workers.partition.bar_book import bars_of

LATENESS_S = 0.5  # a live bar stays open so long: from then on the clock of this case runs
YOUNG_MINUTES = 10  # bars of a symbol in a young database
_THINNED = 4  # of so many ticks of the past one is made, with the size of all of them
WARM_UP = 2  # closes before the first measured one: histories are loaded there
_HOUR = 60
WITHIN_S = 60.0
_CHANNELS = {"patterns": "tickstock:patterns:streaming", "indicators": "tickstock:indicators:streaming"}
_HERE = Path(__file__).parent


@dataclass(frozen=True)
class LatencyCase:
    """A market and a fleet. young: few bars, and statistics of empty tables, as on the first day of a database."""

    symbols: int
    closes: int = 20
    young: bool = False
    workers: int = 1

    @property
    def rate(self) -> float:
        """Ticks a second of the whole market."""
        return max(1_000.0, 2.0 * self.symbols)

    @property
    def lead_s(self) -> float:
        """Seconds before the minute's end in which a worker reads all of its ticks, at up to 300,000 a second."""
        return 1.5 + self.symbols / 4_000

    @property
    def close_s(self) -> float:
        """Seconds that one close gets before the next one."""
        return self.lead_s + 1.0 + self.symbols / 5_000

    def __str__(self) -> str:
        fleet = f", {self.workers} workers" if self.workers > 1 else ""
        return f"{self.symbols:,} symbols{', young database' if self.young else ''}{fleet}"


@dataclass(frozen=True)
class Latency:
    """Seconds from the closes of 1-minute bars to their messages at a subscriber."""

    messages: int
    p50_s: float
    p99_s: float
    max_s: float


@dataclass(frozen=True)
class Measured:
    """All closes of a case. latencies: by kind and kind of minute; cpu_s: of one close, by process and by step."""

    latencies: dict[str, Latency] = field(default_factory=dict)
    cpu_s: dict[str, float] = field(default_factory=dict)
    steps_s: dict[str, float] = field(default_factory=dict)
    worst_s: list[float] = field(default_factory=list)  # the last pattern of each close


def measure_closes(place: Place, case: LatencyCase) -> Measured:
    """Let minutes end one after the other; return what a subscriber measured."""
    first_minute = first_minute_of(case.closes)
    fill_past(place, case, first_minute)
    heard: dict[str, list[tuple[bytes, float]]] = {kind: [] for kind in _CHANNELS}
    with listening(place, heard), tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{n}.json" for n in range(case.workers)]
        delays, cpu_s = _run_closes(place, case, first_minute, files)
        steps = [json.loads(file.read_text()) for file in files]
    waits = {kind: waits_of(messages, delays) for kind, messages in heard.items()}
    return Measured(
        {
            f"{kind}{name}": latency_of(some)
            for kind in _CHANNELS
            for name, some in _by_minute(waits[kind]).items()
            if some
        },
        cpu_s,
        _steps(steps, case.closes),
        [max(some) for some in waits["patterns"].values() if some],
    )


def first_minute_of(closes: int) -> int:
    """Return the minute (since 1970) to begin with, so that an hour ends in the middle of the measured closes."""
    return int(time.time()) // 3600 * _HOUR - 2 * _HOUR - WARM_UP - closes // 2


# -- the past ----------------------------------------------------------------------------------------------------------


def fill_past(place: Place, case: LatencyCase, first_minute: int) -> None:
    """Give each symbol of the market a past that ends at the price where the live one begins.

    It is the market's own first hour, told backwards: a random walk has no direction, and a jump at the start of the
    measured minute would be a pattern of every symbol.
    """
    source, database = source_of(case.symbols, case.rate / _THINNED), place.database
    if case.young:
        for table in ("recent_bar", "ohlcv_1min", "detection_flow", "intraday_patterns", "integration_events"):
            database.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = off)")
        database.execute("ANALYZE")
    with database.cursor().copy(
        "COPY recent_bar (symbol, minute, feed, replay, whole, revision, open, high, low, close, volume_micro,"
        " notional, trades, open_ts, close_ts) FROM STDIN"
    ) as copy:
        for back in range(YOUNG_MINUTES if case.young else HISTORY_MINUTES):
            minute, ticks = first_minute - 1 - back, source.chunk(back).ticks
            at_ns = minute * 60 * SECOND_NS
            copy.write(
                "".join(
                    f"{source.symbols[bar['symbol']]}\t{minute}\tlive\tf\tf\t0\t{bar['close']}\t{bar['high']}"
                    f"\t{bar['low']}\t{bar['open']}\t{_THINNED * bar['volume_micro']}\t{_THINNED * bar['notional']}"
                    f"\t{_THINNED * bar['trades']}"
                    f"\t{at_ns}\t{at_ns}\n"
                    for bar in bars_of(ticks, ticks.symbol_index)
                )
            )
    if not case.young:
        database.execute("INSERT INTO symbols (symbol) SELECT DISTINCT symbol FROM recent_bar ON CONFLICT DO NOTHING")
        database.execute(
            'INSERT INTO ohlcv_1min (symbol, "timestamp", open, high, low, close, volume)'
            " SELECT symbol, to_timestamp(minute * 60.0), open, high, low, close, volume_micro / %s"
            " FROM recent_bar WHERE minute >= %s", (SHARE_MICRO, first_minute - _HOUR)
        )  # fmt: skip
        database.execute("VACUUM ANALYZE")


# -- the closes --------------------------------------------------------------------------------------------------------


def _run_closes(
    place: Place, case: LatencyCase, first_minute: int, files: list[Path]
) -> tuple[dict[int, float], dict[str, float]]:
    """Run the fleet; return the delay (s) of each measured minute, and the processor seconds of one close."""
    with ExitStack() as processes:
        bridge = processes.enter_context(running(place, "bridge"))
        workers = [processes.enter_context(_stepped(place, file)) for file in files]
        wait_for(lambda: is_shared(place, case.workers), within_s=WITHIN_S, every_s=0.1)
        market = processes.enter_context(running_market(place, case, first_minute))
        for _ in range(WARM_UP):
            end_minute(place, market, case.close_s)
        named = {"bridge": [bridge.pid], "worker": [worker.pid for worker in workers]}
        for worker in workers:
            worker.send_signal(signal.SIGUSR1)
        before = processor_s(place, named)
        ended = [end_minute(place, market, case.close_s) for _ in range(case.closes)]
        after = processor_s(place, named)
    delays = {end["minute"]: end["delay_ms"] / 1000 for end in ended}
    return delays, {name: (used - before.get(name, 0.0)) / case.closes for name, used in after.items()}


@contextmanager
def _stepped(place: Place, file: Path) -> Iterator[subprocess.Popen[bytes]]:
    program = (str(_HERE / "stepped_worker.py"), str(file))
    with running(place, "--consumer", file.stem, program=program) as process:
        yield process


@contextmanager
def running_market(place: Place, case: LatencyCase, first_minute: int) -> Iterator[subprocess.Popen[str]]:
    """Run the market of a case; `end_minute` lets its minutes end."""
    options = {
        "redis_url": place.servers.redis_url,
        "database_url": place.servers.database_url,
        "symbols": case.symbols,
        "rate": case.rate,
        "partitions": place.partitions,
        "first_minute": first_minute,
        "lead_s": case.lead_s,
    }
    command = [sys.executable, str(_HERE / "closing_market.py"), json.dumps(options)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True, env=os.environ
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def end_minute(place: Place, market: subprocess.Popen[str], seconds: float) -> dict[str, int]:
    """Let one minute end; return when nothing of it waits for its detectors any more."""
    assert market.stdin is not None
    assert market.stdout is not None
    market.stdin.write(f"{seconds}\n")
    market.stdin.flush()
    ended: dict[str, int] = json.loads(market.stdout.readline())
    wait_for(lambda: not place.count("SELECT sum(undetected) FROM checkpoint"), within_s=WITHIN_S, every_s=0.05)
    return ended


def is_shared(place: Place, workers: int) -> bool:
    """Tell whether so many workers own all partitions."""
    rows = place.database.execute(
        "SELECT count(*) FROM lease WHERE unit LIKE 'partition:%%' AND owner IS NOT NULL GROUP BY owner", ()
    ).fetchall()
    return len(rows) == workers and sum(count for (count,) in rows) == place.partitions


# -- what was heard ----------------------------------------------------------------------------------------------------


@contextmanager
def listening(place: Place, heard: dict[str, list[tuple[bytes, float]]]) -> Iterator[None]:
    """Subscribe to the channels of some kinds; keep each message with the time (Unix s) at which it was heard."""
    ended = threading.Event()
    listeners = [
        threading.Thread(target=_listen, args=(place.servers.redis_url, _CHANNELS[kind], messages, ended))
        for kind, messages in heard.items()
    ]
    for listener in listeners:
        listener.start()
    try:
        yield
    finally:
        ended.set()
        for listener in listeners:
            listener.join()


class _Ear(redis.Connection):
    """A subscriber that only notes when bytes come: to read 20,000 messages in Python takes a second of a core."""

    def hear(self) -> tuple[bytes, float]:
        """Return the next bytes, and the time (Unix s) at which they were there; no bytes if none come."""
        self._sock.settimeout(0.2)
        with suppress(TimeoutError):
            return self._sock.recv(1 << 20), time.time()
        return b"", 0.0


def _listen(url: str, channel: str, heard: list[tuple[bytes, float]], ended: threading.Event) -> None:
    chunks = []
    with closing(redis.ConnectionPool.from_url(url, connection_class=_Ear)) as pool:
        ear = pool.make_connection()
        ear.connect()
        ear.send_command("SUBSCRIBE", channel)
        while not ended.is_set():
            chunks.append(ear.hear())
        ear.disconnect()
    heard += _messages_in(chunks)


def _messages_in(chunks: list[tuple[bytes, float]]) -> Iterator[tuple[bytes, float]]:
    """Yield each message's body, and when its last byte was there."""
    reader = hiredis.Reader()
    for chunk, at_s in chunks:
        reader.feed(chunk)
        while (reply := reader.gets()) is not False:
            if reply[0] == b"message":
                yield reply[2], at_s


def waits_of(messages: list[tuple[bytes, float]], delays: dict[int, float]) -> dict[int, list[float]]:
    """Return the seconds from each measured minute's close to each of its 1-minute results."""
    waits: dict[int, list[float]] = {minute: [] for minute in delays}
    for data, at_s in messages:
        body = json.loads(data)
        result = body.get("detection") or body["calculation"]
        minute = int(datetime.fromisoformat(result["timestamp"]).timestamp()) // 60
        if result["timeframe"] == "1min" and minute in delays:
            waits[minute].append(at_s - ((minute + 1) * 60 + LATENESS_S + delays[minute]))
    if not any(waits.values()):
        raise RuntimeError("nothing was published for the measured minutes")
    return waits


def _by_minute(waits: dict[int, list[float]]) -> dict[str, list[float]]:
    """Join the waits of all minutes, and of those with which longer bars end."""
    ends = {minute + 1: some for minute, some in waits.items()}
    return {
        "": [wait for some in ends.values() for wait in some],
        ", five minutes end": [wait for end, some in ends.items() if end % 5 == 0 and end % _HOUR for wait in some],
        ", an hour ends": [wait for end, some in ends.items() if end % _HOUR == 0 for wait in some],
    }


def latency_of(waits: list[float]) -> Latency:
    p50, p99 = np.percentile(waits, (50, 99))
    return Latency(len(waits), float(p50), float(p99), max(waits))


def _steps(workers: list[dict[str, Any]], closes: int) -> dict[str, float]:
    """Return the processor seconds of one close by step of all workers."""
    return {name: sum(worker[name]["cpu_s"] for worker in workers) / closes for name in workers[0]}
