"""(k) `tickstock backtest` itself, from PostgreSQL to its report: `python tests/bench/backtest_runs.py [SYMBOLS DAYS]`.

100 symbols x 2 years of days, and 70 symbols x a year of minutes, or SYMBOLS x DAYS of minutes; 5 patterns.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import psycopg
from daily_run import postgres_cpu_s
from place import Place, fresh_place
from rich.console import Console
from tickstockpl.contracts.market_hours import Hours, hours_of
from tickstockpl.contracts.settings import Servers
from tickstockpl.contracts.universe import EVERY_SYMBOL
from tickstockpl.db.sessions import set_always_open
from tickstockpl.ops.embedded.servers import embedded_servers

PATTERNS = ("Hammer", "HeadShoulders", "Price_Breakout", "Support_Test", "Volume_Spike")
DAILY, MINUTES = (100, 504), (70, 252)  # symbols, days
_LAST = date(2025, 11, 26)
_STAGE = "CREATE TEMP TABLE stage (at bigint, open float8, high float8, low float8, close float8, volume float8)"
_LAYOUT = [("fields", ">i2"), ("at bytes", ">i4"), ("at", ">i8")] + [
    (name + kind, form)
    for name in ("open", "high", "low", "close", "volume")
    for kind, form in ((" bytes", ">i4"), ("", ">f8"))
]
_INTO = {
    "1min": """INSERT INTO ohlcv_1min (symbol, "timestamp", open, high, low, close, volume)
               SELECT %s, to_timestamp(at * 60), open, high, low, close, volume FROM stage""",
    "daily": """INSERT INTO ohlcv_daily (symbol, date, open, high, low, close, volume, provenance, is_final)
                SELECT %s, date '1970-01-01' + at::int, open, high, low, close, volume, 'grouped', true FROM stage""",
}
_STEP = {"1min": 0.0006, "daily": 0.02}  # standard deviation of a bar's return


@dataclass(frozen=True)
class BacktestRun:
    """One run of the command. cpu_s: its own processor time; postgres_cpu_s: of its backend; peak_mb: resident."""

    bars: int
    trades: int
    seconds: float
    cpu_s: float
    postgres_cpu_s: float
    peak_mb: float


def fill_bars(place: Place, timeframe: str, symbols: int, days: int) -> tuple[list[str], list[Hours], int]:
    """Write bars of prices that wander in cents; return the symbols, the days' hours, and the number of bars."""
    names, hours = [f"S{number:03}" for number in range(symbols)], _trading_hours(days)
    if timeframe == "1min":
        at = np.concatenate([np.arange(_minute(one.opens), _minute(one.closes)) for one in hours])
    else:
        at = np.array([(one.opens.date() - date(1970, 1, 1)).days for one in hours])
    set_always_open(place.database, [EVERY_SYMBOL], is_open=False)
    place.database.execute(_STAGE)
    for number, name in enumerate(names):
        place.database.execute("INSERT INTO symbols (symbol) VALUES (%s) ON CONFLICT DO NOTHING", [name])
        _stage(place.database, _wandering(at, _STEP[timeframe], number))
        place.database.execute(_INTO[timeframe], [name])
    place.database.execute("DROP TABLE stage")
    place.database.execute("VACUUM ANALYZE ohlcv_1min, ohlcv_daily")
    place.database.execute("CHECKPOINT")
    return names, hours, len(names) * len(at)


def _trading_hours(count: int) -> list[Hours]:
    days = (_LAST - timedelta(days=back) for back in range(count * 2))
    return [hours for day in days if (hours := hours_of(day))][:count][::-1]


def _minute(at: datetime) -> int:
    return int(at.timestamp()) // 60


def _wandering(at: np.ndarray, step: float, seed: int) -> np.ndarray:
    """Return bars in PostgreSQL's binary COPY format."""
    chance, n = np.random.default_rng(seed), len(at)
    bars = np.empty(n, _LAYOUT)
    bars["fields"], bars["at"] = 6, at
    for name in bars.dtype.names or ():
        if name.endswith(" bytes"):
            bars[name] = 8
    close = 50 * np.exp(np.cumsum(chance.normal(0, step, n)))
    opened = np.append(50.0, close[:-1]) * np.exp(chance.normal(0, step / 6, n))
    up, down = np.exp(np.abs(chance.normal(0, step / 2, (2, n))))
    bars["open"], bars["close"] = opened.round(2), close.round(2)
    bars["high"] = (np.maximum(bars["open"], bars["close"]) * up).round(2)
    bars["low"] = (np.minimum(bars["open"], bars["close"]) / down).round(2)
    bars["volume"] = chance.lognormal(8, 1, n).round()
    return bars


def _stage(database: psycopg.Connection, bars: np.ndarray) -> None:
    database.execute("TRUNCATE stage")
    with database.cursor().copy("COPY stage FROM STDIN (FORMAT binary)") as copy:
        copy.write(b"PGCOPY\n\xff\r\n\0" + bytes(8) + bars.tobytes() + b"\xff\xff")


def run_backtest(place: Place, timeframe: str, names: list[str], hours: list[Hours], bars: int) -> BacktestRun:
    """Run the command once. Raises CalledProcessError if it fails."""
    arguments = ("--symbols", ",".join(names), "--patterns", ",".join(PATTERNS), "--timeframe", timeframe)
    span = ("--from", f"{hours[0].opens:%Y-%m-%d}", "--to", f"{hours[-1].opens:%Y-%m-%d}")
    command = [sys.executable, "-m", "tickstockpl.ops", "backtest", *arguments, *span, "--json", "--embedded", "never"]
    addresses = {"REDIS_URL": place.servers.redis_url, "DATABASE_URL": place.servers.database_url}
    postgres_s, started = postgres_cpu_s(place), time.monotonic()
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(command, env=os.environ | addresses, stdout=out)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - started
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, command)
        out.seek(0)
        trades = msgspec.json.decode(out.read())["trades"]["trades"]
    cpu_s = used.ru_utime + used.ru_stime
    return BacktestRun(bars, trades, seconds, cpu_s, postgres_cpu_s(place) - postgres_s, used.ru_maxrss / 1024)


def backtest_runs(servers: Servers, minutes: tuple[int, int] = MINUTES) -> Iterator[tuple[str, BacktestRun]]:
    """Run the daily case and the case of minutes; yield the name and the figures of each."""
    for timeframe, (symbols, days) in (("daily", DAILY), ("1min", minutes)):
        with fresh_place(servers, 1) as place:
            yield (
                f"{symbols} symbols x {days} days, {timeframe}",
                run_backtest(place, timeframe, *fill_bars(place, timeframe, symbols, days)),
            )


def main() -> None:
    """Print both cases."""
    minutes = (int(sys.argv[1]), int(sys.argv[2])) if len(sys.argv) > 2 else MINUTES
    folder = Path(tempfile.mkdtemp(prefix="tickstock-backtests-"))
    folder.chmod(0o711)
    try:
        with embedded_servers(folder / "data", log=lambda _: None) as servers:
            for name, run in backtest_runs(servers, minutes):
                Console(width=200).print(f"{name}: {said(run)}", highlight=False)
    finally:
        shutil.rmtree(folder)


def said(run: BacktestRun) -> str:
    """Say what a run took."""
    return (
        f"{run.bars:,} bars, {run.trades:,} trades in {run.seconds:.1f} s; processor: itself {run.cpu_s:.1f} s, "
        f"PostgreSQL {run.postgres_cpu_s:.1f} s; peak memory {run.peak_mb:.0f} MB"
    )


if __name__ == "__main__":
    main()
