"""`python tests/bench/sizes.py CASE…`: fleets and markets of unusual sizes, and what they took. No case: all."""

import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import psutil
from drain import has_partition, is_drained, worker_drain
from fill import Filled, fill, market
from place import Place, fresh_place, running, wait_for
from rich.console import Console
from tickstockpl.contracts.settings import Servers
from tickstockpl.contracts.ticks import Ticks
from tickstockpl.ops.embedded.servers import embedded_servers
from tickstockpl.producer.synthetic import Market, SyntheticSource

_WITHIN_S = 900.0
_OPENING_NS = 1_381_152_600_000_000_000  # 2013-10-07 13:30 UTC
_STANDBYS_S = 20.0
_ALIVE = "SELECT count(*) FROM lease WHERE unit LIKE 'consumer:%%' AND expires_at > clock_timestamp()"

# 250 bars of each timeframe, in a past that ends now.
_FILL_WINDOWS = """
INSERT INTO recent_bar (symbol, minute, feed, replay, whole, revision, open, high, low, close, volume_micro, notional,
                        trades, open_ts, close_ts)
SELECT 'S' || lpad(s::text, 5, '0'), %(now)s - b, 'live', false, false, 0, 50, 50.1, 49.9, 50 + (b %% 7) / 70.0, 1e9,
       50000, 9, 0, 0
  FROM generate_series(0, %(symbols)s - 1) AS s, generate_series(3, 252) AS b
"""
_FILL_HIGHER_WINDOWS = """
INSERT INTO recent_higher_bar (symbol, timeframe, minute, open, high, low, close, volume_micro, notional)
SELECT 'S' || lpad(s::text, 5, '0'), t, %(now)s / t * t - b * t, 50, 50.1, 49.9, 50 + (b %% 7) / 70.0, 1e9, 50000
  FROM generate_series(0, %(symbols)s - 1) AS s, unnest(ARRAY[5, 15, 30, 60]) AS t, generate_series(1, 250) AS b
"""


def hot_symbol(ticks: int) -> Iterator[Ticks]:
    """Make ticks of 70 symbols, four of five of them in one."""
    numbers = np.random.default_rng(1)
    symbols = [f"S{n:02}" for n in range(70)]
    for first in range(0, ticks, 50_000):
        codes = np.where(numbers.random(50_000) < 0.8, 0, numbers.integers(0, 70, 50_000)).astype("<u2")
        ts = _OPENING_NS + (first + np.arange(50_000)) * 5_000_000
        yield Ticks(symbols, codes, ts, 50 + numbers.random(50_000).round(2), np.full(50_000, 100.0))


def drained(place: Place, filled: Filled, *options: str) -> str:
    """Let one worker drain a replay; say what it took."""
    measured = worker_drain(place, filled, *options)
    return (
        f"{measured.ticks:,} ticks to {measured.bars:,} bars in {measured.seconds:.1f} s, {measured.rate:,.0f} ticks/s "
        f"by wall, {measured.cpu_rate:,.0f} by its own processor time, resident {measured.resident_mb:.0f} MB"
    )


def partitions_256(servers: Servers) -> str:
    """One worker on 256 partitions."""
    with fresh_place(servers, 256) as place:
        return drained(place, fill(place, market(1000, 2_000_000, 300)), "--no-detect")


def one_hot_symbol(servers: Servers) -> str:
    """Four of five ticks in one symbol."""
    with fresh_place(servers, 16) as place:
        return drained(place, fill(place, hot_symbol(2_000_000)))


def day_of_24_hours(servers: Servers) -> str:
    """24 hours of market time in one run, with patterns and indicators."""
    with fresh_place(servers, 16) as place:
        source = SyntheticSource(Market(symbols=70, rate=20, chunk_ns=60 * 10**9), seconds=86_400.0)
        return drained(place, fill(place, (chunk.ticks for chunk in source)))


def hundred_workers(servers: Servers) -> str:
    """100 workers on 16 partitions: 84 stand by; and one that has a partition is killed."""
    with fresh_place(servers, 16) as place, ExitStack() as fleet:
        workers = []
        for number in range(100):
            workers.append(fleet.enter_context(running(place, "worker", "--consumer", f"w{number:03}", "--no-detect")))
            wait_for(lambda made=number + 1: place.count(_ALIVE) == made, within_s=_WITHIN_S, every_s=0.1)
        owned = (
            "SELECT count(DISTINCT owner) FROM lease WHERE unit LIKE 'partition:%%' AND expires_at > clock_timestamp()"
        )
        wait_for(lambda: place.count(owned) == 16, within_s=_WITHIN_S, every_s=0.2)
        processes = [psutil.Process(worker.pid) for worker in workers]
        standby = processes[16:]
        before, transactions, started = _cpu_s(standby), _transactions(place), time.monotonic()
        time.sleep(_STANDBYS_S)
        seconds = time.monotonic() - started
        cpu, asked = (_cpu_s(standby) - before) / seconds, (_transactions(place) - transactions) / seconds
        resident = sum(process.memory_info().rss for process in standby) / len(standby) / 1e6
        workers[0].kill()
        killed = time.monotonic()
        free = "SELECT count(*) FROM lease WHERE unit LIKE 'partition:%%' AND owner = 'w000'"
        wait_for(lambda: place.count(free) == 0 and place.count(owned) == 16, within_s=60, every_s=0.05)
        moved_s = time.monotonic() - killed
        filled = fill(place, market(70, 1_000_000, 300))
        wait_for(lambda: is_drained(place, filled.replay), within_s=_WITHIN_S)
        bars = place.count("SELECT count(*) FROM ohlcv_1min")
    return (
        f"84 standbys take {cpu:.2f} cores and {resident:.0f} MB each; the fleet asks PostgreSQL {asked:.0f} times a "
        f"second; a killed worker's partition moved after {moved_s:.1f} s; 1,000,000 ticks became {bars:,} bars"
    )


def whole_windows(servers: Servers) -> str:
    """A worker with 250 bars of each timeframe of 2,000 symbols, with the usual bound and without one."""
    said = []
    for options in ((), ("--history-mb", "100000")):
        with fresh_place(servers, 16) as place:
            values = {"now": int(time.time()) // 60, "symbols": 2000}
            place.database.execute(_FILL_WINDOWS, values)
            place.database.execute(_FILL_HIGHER_WINDOWS, values)
            said.append(f"{' '.join(options) or 'as usual'}: {_resident_after_closes(place, *options):.0f} MB")
    return f"2,000 symbols, resident after two minutes: {'; '.join(said)}"


def _resident_after_closes(place: Place, *options: str) -> float:
    with running(place, "worker", *options) as worker:
        wait_for(lambda: has_partition(place), within_s=_WITHIN_S)
        names = [f"S{n:05}" for n in range(2000)]
        codes = np.arange(2000, dtype="<u2")
        minute_ns = (int(time.time()) // 60 - 2) * 60 * 10**9
        ticks = [
            Ticks(
                names, codes, np.full(2000, minute_ns + later * 60 * 10**9), np.full(2000, 50.0), np.full(2000, 100.0)
            )
            for later in range(2)
        ]
        filled = fill(place, ticks)
        most = 0.0

        def is_done() -> bool:
            nonlocal most
            most = max(most, psutil.Process(worker.pid).memory_info().rss / 1e6)
            return is_drained(place, filled.replay)

        wait_for(is_done, within_s=_WITHIN_S, every_s=0.02)
        return most


def _cpu_s(processes: list[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def _transactions(place: Place) -> int:
    return place.count("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()")


CASES: dict[str, Callable[[Servers], str]] = {
    case.__name__: case for case in (partitions_256, one_hot_symbol, day_of_24_hours, whole_windows, hundred_workers)
}


def main() -> None:
    """Run the cases that are named, each on a database of its own."""
    folder = Path(tempfile.mkdtemp(prefix="tickstock-sizes-"))
    folder.chmod(0o711)
    try:
        with embedded_servers(folder / "data", log=lambda _: None) as servers:
            for name in sys.argv[1:] or CASES:
                Console(width=200).print(f"{name}: {CASES[name](servers)}", highlight=False)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
