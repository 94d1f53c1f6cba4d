"""A small market whose days a run is about, and every row that it leaves: runs that were disturbed leave the same."""

from datetime import UTC, date, datetime, timedelta
from uuid import uuid4

import numpy as np
import psycopg
from tickstockpl.contracts.runs import RunParameters, WantedRun, phases_of
from tickstockpl.db.tables import runs

FRIDAY = date(2025, 11, 28)  # a half day, and the last of its week and month
OPENS = datetime(2025, 11, 28, 14, 30, tzinfo=UTC)
SYMBOLS, DAYS, MINUTES = 24, 260, 30
FOUND = {
    "daily_indicators": "symbol, indicator_type, value, value_data, timeframe, calculation_timestamp, expiration_date",
    "daily_patterns": "symbol, pattern_type, confidence, pattern_data, detection_timestamp, levels, metadata",
    "weekly_patterns": "symbol, pattern_type, confidence, pattern_data, detection_timestamp, levels, metadata",
    "monthly_patterns": "symbol, pattern_type, confidence, pattern_data, detection_timestamp, levels, metadata",
    "ohlcv_daily": "symbol, date, open, high, low, close, volume, provenance, is_final",
    "ohlcv_weekly": "symbol, week_start, open, high, low, close, volume, provenance, is_final",
    "ohlcv_monthly": "symbol, month_start, open, high, low, close, volume, provenance, is_final",
}


def fill(fleet):
    """Write a year of days, and the minutes of the last one, of symbols that wander."""
    numbers = np.random.default_rng(14)
    days = [FRIDAY - timedelta(days=back) for back in range(DAYS * 7 // 5 + 7, 0, -1)]
    days = [day for day in days if day.weekday() < 5][-DAYS:]
    with psycopg.connect(fleet.servers.database_url, autocommit=True) as connection:
        for number in range(SYMBOLS):
            symbol = f"S{number:02}"
            connection.execute("INSERT INTO symbols (symbol) VALUES (%s)", [symbol])
            closes = 50 * np.exp(np.cumsum(numbers.normal(0, 0.02, DAYS + 1)))
            into = "COPY ohlcv_daily (symbol, date, open, high, low, close, volume, provenance, is_final) FROM STDIN"
            with connection.cursor().copy(into) as copy:
                for day, opened, close in zip(days, closes, closes[1:], strict=False):
                    low, high = min(opened, close) * 0.99, max(opened, close) * 1.01
                    copy.write_row(
                        (symbol, day, opened, high, low, close, int(numbers.integers(1000, 9000)), "grouped", True)
                    )
            with connection.cursor().copy(
                'COPY ohlcv_1min (symbol, "timestamp", open, high, low, close, volume) FROM STDIN'
            ) as copy:
                for minute, price in enumerate(closes[-1] + np.cumsum(numbers.normal(0, 0.3, MINUTES))):
                    copy.write_row(
                        (symbol, OPENS + timedelta(minutes=minute), price, price + 0.1, price - 0.1, price, 300)
                    )


def start(fleet, batch=3):
    run_id = uuid4()
    wanted = WantedRun(FRIDAY, "manual", "all", phases_of(["all"]), RunParameters(lookback_days=300, batch=batch))
    with psycopg.connect(fleet.servers.database_url, autocommit=True) as connection:
        assert runs.add_run(connection, run_id, wanted)
    return run_id


def has_ended(fleet, run_id):
    return fleet.rows("SELECT status FROM run WHERE run_id = %s AND ended_at IS NOT NULL", run_id)


def found_rows(fleet):
    return {table: sorted(map(str, fleet.rows(f"SELECT {columns} FROM {table}"))) for table, columns in FOUND.items()}


def forget(fleet):
    """Delete what runs have found: the next one finds it again."""
    for table in FOUND:
        fleet.rows(f"DELETE FROM {table}" + (" WHERE date = '2025-11-28'" if table == "ohlcv_daily" else ""))
