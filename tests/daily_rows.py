"""Rows that daily runs are about, and runs, as the tests write and read them."""

from datetime import UTC, date, datetime, timedelta
from uuid import uuid4

from tickstockpl.contracts.runs import RunParameters, WantedRun, phases_of
from tickstockpl.db.tables import runs

FRIDAY = date(2025, 11, 21)
OPENS = datetime(2025, 11, 21, 14, 30, tzinfo=UTC)  # 9:30 in New York


def add_minutes(database, symbol, *prices, opens=OPENS, volume=100):
    """Give a symbol a bar a minute, each flat at one price."""
    database.execute("INSERT INTO symbols (symbol) VALUES (%s) ON CONFLICT DO NOTHING", [symbol])
    for i, price in enumerate(prices):
        database.execute(
            'INSERT INTO ohlcv_1min (symbol, "timestamp", open, high, low, close, volume)'
            " VALUES (%s, %s, %s, %s, %s, %s, %s)",
            [symbol, opens + timedelta(minutes=i), price, price, price, price, volume],
        )


def add_days(database, symbol, closes, *, last, provenance="own"):
    """Give a symbol bars of days, the last of them on a day; weekends have none."""
    database.execute("INSERT INTO symbols (symbol) VALUES (%s) ON CONFLICT DO NOTHING", [symbol])
    day, rows = last, []
    for close in reversed(closes):
        while day.weekday() > 4:
            day -= timedelta(days=1)
        rows.append((symbol, day, close, close + 1, close - 1, close, 1000, provenance))
        day -= timedelta(days=1)
    database.cursor().executemany(
        "INSERT INTO ohlcv_daily (symbol, date, open, high, low, close, volume, provenance, is_final)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, true)",
        rows,
    )


def start(database, *phases, run_date=FRIDAY, **parameters):
    wanted = WantedRun(run_date, "manual", "all", phases_of(phases), RunParameters(**parameters))
    run_id = uuid4()
    assert runs.add_run(database, run_id, wanted)
    return run_id


def ended(database, run_id, wait_for):
    """Wait for the end of a run; return its row."""

    def look():
        (run,) = runs.list_runs(database, run_id=run_id)
        return run if run.ended_at else None

    return wait_for(look)


def rows(database, sql):
    return database.execute(sql).fetchall()
