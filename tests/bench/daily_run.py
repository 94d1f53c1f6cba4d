"""(j) A daily run over a whole market: indicators and patterns of days, weeks, months, by any number of processes."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date, timedelta
from uuid import UUID, uuid4

import numpy as np
import psutil
from place import Place, running, wait_for
from tickstockpl.contracts.messages.processing_events import PhaseName
from tickstockpl.contracts.runs import RunParameters, WantedRun
from tickstockpl.db.tables.runs import add_run

DAY = date(2025, 11, 28)  # the last trading day of its week and of its month: all three timeframes are looked at
DAYS = 250
_SEED = 14
_WITHIN_S = 1_800.0
_BARS = "COPY ohlcv_daily (symbol, date, open, high, low, close, volume, provenance, is_final) FROM STDIN"
_FOUND = "daily_indicators, daily_patterns, weekly_patterns, monthly_patterns, integration_events"


@dataclass(frozen=True)
class DailyRun:
    """One run. seconds: from its start to its end; cpu_s: of all the processes; postgres_cpu_s: of the server.

    found: rows of indicators and patterns that are there after it.
    """

    processes: int
    seconds: float
    cpu_s: float
    postgres_cpu_s: float
    found: int


def fill_days(place: Place, symbols: int) -> None:
    """Write a year of days that wander, and weeks and months of them."""
    names = [f"S{number:05}" for number in range(symbols)]
    with place.database.cursor() as cursor:
        cursor.executemany("INSERT INTO symbols (symbol) VALUES (%s)", [(name,) for name in names])
        with cursor.copy(_BARS) as copy:
            for block in _bars(names):
                copy.write(block)
    for table, unit in (("ohlcv_weekly", "week"), ("ohlcv_monthly", "month")):
        place.database.execute(f"""
            INSERT INTO {table} SELECT symbol, date_trunc('{unit}', date)::date, (array_agg(open ORDER BY date))[1],
                max(high), min(low), (array_agg(close ORDER BY date DESC))[1], sum(volume), 'grouped', true
              FROM ohlcv_daily GROUP BY 1, 2""")
    place.database.execute("VACUUM ANALYZE ohlcv_daily, ohlcv_weekly, ohlcv_monthly")


def daily_run(place: Place, processes: int) -> DailyRun:
    """Let so many processes do the indicators and patterns of a day, on tables without any."""
    place.database.execute(f"TRUNCATE {_FOUND}")
    place.database.execute("CHECKPOINT")
    with ExitStack() as stack:
        started = [stack.enter_context(running(place, "jobs", "--name", f"bench-{n}")) for n in range(processes)]
        asked = "SELECT count(*) FROM pg_stat_activity WHERE starts_with(application_name, 'tickstock-jobs ')"
        wait_for(lambda: place.count(asked) == processes, within_s=120)
        watched = [psutil.Process(process.pid) for process in started]
        before, postgres_before = _cpu_s(watched), postgres_cpu_s(place)
        run_id = _start(place, ("indicators", "patterns"), RunParameters())
        _wait_for_end(place, run_id)
        cpu_s, of_postgres_s = _cpu_s(watched) - before, postgres_cpu_s(place) - postgres_before
    (seconds, status, found) = place.database.execute(
        "SELECT extract(epoch FROM ended_at - started_at)::float8, status, indicators + patterns FROM run"
        " WHERE run_id = %s",
        [run_id],
    ).fetchone() or (0.0, "none", 0)
    if status != "completed":
        raise RuntimeError(f"the run is {status}")
    return DailyRun(processes, seconds, cpu_s, of_postgres_s, found)


def _bars(names: list[str]) -> Iterator[str]:
    """Yield each symbol's days as COPY takes them."""
    chance = np.random.default_rng(_SEED)
    days = [DAY - timedelta(days=back) for back in range(DAYS * 7 // 5 + 9, -1, -1)]
    days = [day for day in days if day.weekday() < 5][-DAYS:]
    for name in names:
        closes = 50 * np.exp(np.cumsum(chance.normal(0, 0.02, DAYS + 1)))
        spread = chance.uniform(1.0, 1.02, (2, DAYS))
        opens, ends = closes[:-1], closes[1:]
        highs, lows = np.maximum(opens, ends) * spread[0], np.minimum(opens, ends) / spread[1]
        yield "".join(
            f"{name}\t{day}\t{o:.4f}\t{h:.4f}\t{low:.4f}\t{c:.4f}\t{100_000}\tgrouped\tt\n"
            for day, o, h, low, c in zip(days, opens, highs, lows, ends, strict=True)
        )


def _start(place: Place, phases: tuple[PhaseName, ...], parameters: RunParameters) -> UUID:
    run_id = uuid4()
    add_run(place.database, run_id, WantedRun(DAY, "manual", "all", phases, parameters, "bench"))
    return run_id


def _wait_for_end(place: Place, run_id: UUID) -> None:
    ended = "SELECT count(*) FROM run WHERE run_id = %s AND ended_at IS NOT NULL"
    wait_for(lambda: place.count(ended, run_id), within_s=_WITHIN_S, every_s=0.1)


def _cpu_s(processes: list[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def postgres_cpu_s(place: Place) -> float:
    """Return the processor time of the server and of all its backends, those that ended included."""
    (pid,) = place.database.execute("SELECT pg_backend_pid()").fetchone() or (0,)
    server = psutil.Process(pid).parent()
    if server is None:
        return 0.0
    own = server.cpu_times()
    living = sum(sum(child.cpu_times()[:2]) for child in server.children() if child.is_running())
    return float(own.children_user + own.children_system + living)
