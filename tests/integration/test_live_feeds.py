"""`tickstock-producer` on live sources: leases, keys, what is noted of a break, and the application's channels."""

import json
import os
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import NamedTemporaryFile
from uuid import uuid4

import psycopg
import pytest
import redis
from processes import Process
from tickstockpl.contracts.errors import SetupError
from tickstockpl.contracts.frames.frame import decode, ticks_of
from tickstockpl.contracts.names import stream_key
from tickstockpl.ops.fake_massive import FakeMassive
from tickstockpl.ops.fake_massive.tape import SyntheticTape
from tickstockpl.ops.wiring import live_hours
from tickstockpl.ops.wiring.live_hours import LiveHours
from tickstockpl.producer import producer_lease
from tickstockpl.producer.producer_lease import ProducerLease
from tickstockpl.producer.synthetic import Market

KEY = uuid4().hex  # a random one: no key stands in a file


@pytest.fixture
def fake():
    with FakeMassive(key=KEY) as server:
        yield server


@contextmanager
def producing(servers, *options, key=KEY):
    """Run the producer's command until the end of the block; what it says comes with `said`."""
    clean = {n: v for n, v in os.environ.items() if not n.startswith(("REDIS", "DATABASE", "TICKSTOCK", "MASSIVE"))}
    arguments = ["producer", "--log-level", "debug", "--partitions", "1", *options]
    env = clean | {"REDIS_URL": servers.redis_url, "DATABASE_URL": servers.database_url, "MASSIVE_API_KEY": key}
    with NamedTemporaryFile() as log:
        process = Process(arguments, env=env, stdout=log, stderr=log)
        process.said = lambda: Path(log.name).read_text()
        try:
            yield process
        finally:
            process.kill()
            process.wait(60)


def massive(fake, spool_dir):
    return ("--source", "massive", "--massive-url", fake.websocket_url, "--rest-url", fake.rest_url,
            "--spool-dir", spool_dir)  # fmt: skip


def holder(servers):
    with psycopg.connect(servers.database_url) as connection:
        row = connection.execute("SELECT owner FROM lease WHERE unit = 'ingest' AND owner IS NOT NULL").fetchone()
    return row and row[0]


def test_a_second_ingest_is_refused_and_told_who_holds_the_lease(migrated_servers, monkeypatch):
    monkeypatch.setattr(producer_lease, "_INGEST_WAIT_S", 0.3)  # less than the first one's time to live
    url, wait = migrated_servers.database_url, threading.Event().wait
    first = ProducerLease(url, "producer:one", "one", wait=wait, is_ingest=True)
    try:
        with pytest.raises(SetupError, match=r"ingest is held by one: two ingests would double every volume"):
            ProducerLease(url, "producer:two", "two", wait=wait, is_ingest=True)
    finally:
        first.release()

    ProducerLease(url, "producer:two", "two", wait=wait, is_ingest=True).release()


@pytest.mark.slow
def test_a_second_producer_ends_with_an_error_and_the_first_keeps_the_feed(migrated_servers, fake, wait_for, tmp_path):
    with producing(migrated_servers, *massive(fake, tmp_path)):
        name = wait_for(lambda: holder(migrated_servers))
        wait_for(lambda: fake.connections == 1)
        with producing(migrated_servers, *massive(fake, tmp_path)) as second:
            assert second.wait(60) == 1
            assert f"ingest is held by {name}" in second.said()
            assert fake.connections == 1


def test_a_producer_whose_key_is_refused_ends_at_once_and_no_log_holds_a_key(migrated_servers, fake, tmp_path):
    key = uuid4().hex
    with producing(migrated_servers, *massive(fake, tmp_path), key=key) as process:
        assert process.wait(60) == 1
        assert "check MASSIVE_API_KEY" in process.said()
        assert key not in process.said()


def test_massive_is_not_started_without_a_key(tickstock):
    done = tickstock("producer", "--source", "massive", MASSIVE_API_KEY="")

    assert done.returncode == 2
    assert "MASSIVE_API_KEY" in done.stderr


def test_what_the_application_publishes_on_a_channel_is_in_the_stream(migrated_servers, wait_for, tmp_path):
    tick = {"ticker": "AAPL", "price": 12.5, "volume": 7, "timestamp": 1764081000.25, "event_type": "T"}

    with (
        redis.Redis.from_url(migrated_servers.redis_url) as application,
        producing(migrated_servers, "--source", "channel", "--spool-dir", tmp_path, "--no-repair"),
    ):
        wait_for(lambda: application.publish("tickstock.data.raw", json.dumps(tick)))
        (_, fields), *_ = wait_for(lambda: application.xrange("tickstock-stream:{p0}"))
        assert holder(migrated_servers).startswith("channel-")

    frame = decode(fields[b"f"])
    ticks = ticks_of(frame)
    assert (frame.feed, frame.kind, list(frame.symbols)) == ("live", "live", ["AAPL"])
    assert (ticks.ts[0], ticks.price[0], ticks.size[0]) == (1_764_081_000_250_000_000, 12.5, 7.0)


def test_a_locked_lease_table_holds_no_tick_back(migrated_servers, wait_for, tmp_path):
    tape = SyntheticTape(Market(symbols=5, rate=500.0, start_ns=time.time_ns()))
    with (
        FakeMassive(tape, key=KEY) as fake,
        redis.Redis.from_url(migrated_servers.redis_url) as client,
        producing(migrated_servers, *massive(fake, tmp_path)),
        psycopg.connect(migrated_servers.database_url) as connection,
        psycopg.connect(migrated_servers.database_url, autocommit=True) as watcher,  # a transaction sees activity once
    ):
        wait_for(lambda: client.xlen(stream_key(0)) > 5)
        connection.execute("LOCK TABLE lease IN ACCESS EXCLUSIVE MODE")
        waits = (
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE query LIKE '%lease%' AND wait_event_type = 'Lock' AND datname = current_database()"
        )
        wait_for(lambda: watcher.execute(waits).fetchone() == (1,))
        before = client.xlen(stream_key(0))
        wait_for(lambda: client.xlen(stream_key(0)) > before + 50)


@pytest.mark.parametrize("option", ["--watch=always", "--always-open"])
def test_what_a_feed_of_a_market_that_never_closes_missed_is_one_gap(
    migrated_servers, fake, wait_for, tmp_path, option
):
    """A day and an hour: at some time of it, no exchange trades stocks."""
    with psycopg.connect(migrated_servers.database_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO recent_bar (symbol, minute, feed, replay, whole, revision, open, high, low, close,"
            " volume_micro, notional, trades, open_ts, close_ts)"
            " SELECT 'AAPL', extract(epoch FROM now())::int / 60 - 1500,"
            " 'live', false, false, 0, 1, 1, 1, 1, 1e6, 1, 1, 0, 0"
        )
        with producing(migrated_servers, *massive(fake, tmp_path), "--no-repair", option):
            found = wait_for(lambda: connection.execute("SELECT first_minute, last_minute FROM gap").fetchall())
    ((first, last),) = found
    assert last - first in (1500, 1501)


def test_a_closing_is_read_again_while_a_feed_runs_and_stays_while_the_database_is_away(migrated_servers, monkeypatch):
    monkeypatch.setattr(live_hours, "_READ_EVERY_S", 0)
    tuesday = datetime(2026, 12, 15, 15, tzinfo=UTC)
    hours = LiveHours(migrated_servers.database_url, watches_always=False, never_closes=False)
    hours.refresh()
    assert hours.is_watched(tuesday)
    with psycopg.connect(migrated_servers.database_url, autocommit=True) as connection:
        connection.execute("INSERT INTO market_closure (day) VALUES ('2026-12-15'), ('infinity')")
        connection.execute("INSERT INTO market_closure (day, closes_at) VALUES ('2026-12-16', '24:00')")
        hours.refresh()
        assert not hours.is_watched(tuesday)
        assert hours.is_watched(tuesday + timedelta(days=1))
        connection.execute("ALTER TABLE market_closure RENAME TO elsewhere")
        hours.refresh()
    assert not hours.is_watched(tuesday)
