"""`tickstock send`: one tick through the front door, and what it says became of it."""

import re
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
import redis
from processes import Process


@pytest.fixture
def worker(migrated_servers, tmp_path):
    """A worker on servers of two partitions; the servers."""
    environment = {"REDIS_URL": migrated_servers.redis_url, "DATABASE_URL": migrated_servers.database_url}
    with (tmp_path / "worker.log").open("wb") as log:
        process = Process(["worker", "--partitions", 2], env=environment, stdout=log, stderr=log)
        yield migrated_servers
        process.terminate()
        process.wait(60)


def test_a_tick_that_was_sent_is_in_the_bar_that_it_says(worker, tickstock, wait_for):
    at = datetime.now(UTC) - timedelta(minutes=2)
    ran = tickstock("send", "IBM", "150.25", "100", "--at", at.isoformat(), "--wait-s", 60, servers=worker)
    assert ran.returncode == 0, ran.stderr
    assert f"in the bar of {at:%Y-%m-%d %H:%M} UTC" in ran.stdout
    with psycopg.connect(worker.database_url, autocommit=True) as connection:
        bars = wait_for(lambda: connection.execute('SELECT symbol, "timestamp", close FROM ohlcv_1min').fetchall())
    assert [(symbol, f"{minute:%H:%M}", float(close)) for symbol, minute, close in bars] == [
        ("IBM", f"{at:%H:%M}", 150.25)
    ]


def test_a_tick_that_a_worker_refuses_is_said_with_its_reason_and_its_letter(worker, tickstock):
    ran = tickstock("send", "IBM", "150.25", "100", "--at", "2020-01-02", "--wait-s", 60, servers=worker)
    assert ran.returncode == 1
    (letter,) = re.findall(r"refused, too_late: .* \(`tickstock dlq show (\d+)`\)", ran.stdout)
    assert '"symbol":"IBM"' in tickstock("dlq", "show", letter, servers=worker).stdout


@pytest.mark.parametrize(
    ("tick", "why"), [(("IBM", "-5", "1"), "price"), (("IBM", "x", "1"), "price"), (("", "5", "1"), "symbol")]
)
def test_what_is_no_tick_is_refused_before_it_is_sent(migrated_servers, tickstock, tick, why):
    ran = tickstock("send", *tick, servers=migrated_servers)
    assert ran.returncode == 2
    assert f"Error: this is not a tick: {why}" in ran.stderr
    with redis.Redis.from_url(migrated_servers.redis_url) as client:
        assert not client.exists("tickstock-stream")


def test_without_a_worker_it_says_that_nobody_took_the_tick(migrated_servers, tickstock):
    ran = tickstock("send", "IBM", "150.25", "100", "--wait-s", 0.2, servers=migrated_servers)
    assert ran.returncode == 1
    assert "no worker has taken it yet" in ran.stdout
