"""Rows that daily runs are about, runs as the tests write and read them, and the processes that do them."""

import threading
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from uuid import uuid4

from tickstockpl.contracts.runs import RunParameters, WantedRun, phases_of
from tickstockpl.db.tables import runs
from tickstockpl.ops.wiring.day_sources import NO_OPTIONS
from tickstockpl.ops.wiring.jobs import make_jobs
from tickstockpl.ops.wiring.servers import Place

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


@contextmanager
def jobs(servers, *, count=1, options=NO_OPTIONS):
    """Run some processes' loops in threads."""
    place = Place(servers, embedded=False, connect_timeout_s=30)
    stop = threading.Event()
    made = [make_jobs(place, name=f"jobs-{i}-{uuid4().hex[:6]}", stop=stop, options=options) for i in range(count)]
    died = []

    def run(one):
        try:
            one.run()
        except BaseException as e:  # noqa: BLE001  # of any kind: it must not die
            died.append(e)

    threads = [threading.Thread(target=run, args=[one]) for one in made]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)
        if died:
            raise died[0]
