"""Backtests as jobs on real servers: messages that become rows, what is said on the way, and what is kept."""

import json
from contextlib import contextmanager
from datetime import date, timedelta

import psycopg
import pytest
import redis
from daily_rows import jobs, rows
from tickstockpl.contracts.names import JOBS_BACKTEST, JOBS_CANCEL

LAST = date(2025, 11, 21)
SPAN = {"start_date": "2025-01-02", "end_date": str(LAST)}


@pytest.fixture
def database(migrated_servers):
    with psycopg.connect(migrated_servers.database_url, autocommit=True) as connection:
        yield connection


def add_market(database, *symbols, days=230):
    """Give symbols bars of days that fall into a hammer and rise behind it, again and again."""
    for number, symbol in enumerate(symbols):
        database.execute("INSERT INTO symbols (symbol) VALUES (%s)", [symbol])
        first = LAST - timedelta(days=days * 7 // 5)
        found = [first + timedelta(days=n) for n in range(days * 7 // 5 + 1)]
        with database.cursor().copy(
            "COPY ohlcv_daily (symbol, date, open, high, low, close, volume) FROM STDIN"
        ) as copy:
            for n, day in enumerate(day for day in found if day.weekday() < 5):
                level = 100 + number + (20 - n % 20 if n % 40 < 20 else n % 20)
                is_hammer = n % 40 == 19
                low = level - (4.0 if is_hammer else 0.6)
                copy.write_row((symbol, day, level, level + (0.15 if is_hammer else 0.6), low, level + 0.1, 1e6))


class Application:
    """Sends jobs as the application does."""

    def __init__(self, servers):
        self.client = redis.Redis.from_url(servers.redis_url)

    def ask(self, job_id, **fields):
        body = {
            "type": "backtest_job", "job_id": job_id, "user_id": 7, "symbols": ["A", "B"], "patterns": ["Hammer"],
            **SPAN, "timestamp": "2025-11-21T10:00:00", "source": "TickStockAppV2",
        }  # fmt: skip
        self.send(JOBS_BACKTEST, body | fields)

    def cancel(self, job_id):
        self.send(JOBS_CANCEL, {"type": "cancel_job", "job_id": job_id})

    def send(self, channel, body):
        self.client.publish(channel, body if isinstance(body, bytes) else json.dumps(body))


@contextmanager
def application(servers, wait_for, *, count=1):
    """Run processes; yield who sends them jobs, once they listen."""
    sender = Application(servers)
    with jobs(servers, count=count):
        wait_for(lambda: sender.client.pubsub_numsub(JOBS_CANCEL) == [(JOBS_CANCEL.encode(), count)], 30)
        yield sender


def said(database, job_id):
    """Return what was said of a job, as the bridge publishes it."""
    bodies = rows(database, "SELECT body FROM outbox WHERE partition = -1 ORDER BY number")
    every = [message for (text,) in bodies for message in json.loads(text)]
    return [(channel.rpartition(".")[2], body) for channel, body in every if body.get("job_id") == job_id]


def ended(database, job_id):
    found = database.execute("SELECT status FROM run WHERE job_id = %s AND ended_at IS NOT NULL", [job_id]).fetchone()
    return found and found[0]


def test_a_job_is_done_once_and_leaves_the_bytes_of_the_command(database, migrated_servers, wait_for, tickstock):
    """It is heard by two processes, and sent twice."""
    add_market(database, "A", "B")
    with application(migrated_servers, wait_for, count=2) as sender:
        for _ in range(2):
            sender.ask("backtest_1732185600_5f0c")
        wait_for(lambda: ended(database, "backtest_1732185600_5f0c"), 60)
        sender.ask("backtest_1732185600_5f0c")
        sender.ask("again", parameters={"initial_capital": 100_000, "stop_loss_pct": 0.05})
        wait_for(lambda: ended(database, "again"), 60)
    messages = said(database, "backtest_1732185600_5f0c")
    assert [name for name, _ in messages].count("results") == 1
    print(messages)
    assert rows(database, "SELECT kind, status, count(*) FROM run GROUP BY 1, 2") == [("backtest", "completed", 2)]
