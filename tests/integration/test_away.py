"""Servers that answer, and do not serve: what a worker does meanwhile, and what it shows."""

import threading
from contextlib import closing

import psycopg
import pytest
import redis
from structlog.testing import capture_logs
from tickstockpl.contracts.names import flow_key
from tickstockpl.db import lease, postgres
from tickstockpl.db.redis import connect, is_gone
from tickstockpl.db.schema.migrate import open_stream
from tickstockpl.db.vitals import Vitals
from tickstockpl.ops.wiring.servers import Place
from tickstockpl.ops.wiring.worker import make_worker
from tickstockpl.producer.framer import Numbered
from tickstockpl.producer.sending import stream_writer
from tickstockpl.producer.sending.stream_writer import StreamWriter
from tickstockpl.workers.worker_options import WorkerOptions


class HurriedStop:
    """A stop that sleeps through no wait, notes each, and comes after so many."""

    def __init__(self, waits):
        self.waits = []
        self._most = waits

    def is_set(self):
        return len(self.waits) >= self._most

    def wait(self, seconds):
        self.waits.append(seconds)
        return self.is_set()


def test_a_worker_without_partitions_waits_longer_each_time_that_redis_refuses(migrated_servers):
    with psycopg.connect(migrated_servers.database_url, autocommit=True) as connection:
        open_stream(connection, 1)
        lease.take(connection, "partition:0", "another")
        stop = HurriedStop(waits=8)
        worker = make_worker(
            Place(migrated_servers, False, 5.0), WorkerOptions("w1", gather_ms=1), partitions=None, stop=stop
        )
        with redis.Redis.from_url(migrated_servers.redis_url) as client:
            client.config_set("min-replicas-to-write", 1)  # it answers INFO, and takes no write
            try:
                worker.run()
            finally:
                client.config_set("min-replicas-to-write", 0)
                worker._database.close()
                worker._client.close()
    longest = [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]  # chance takes up to half off
    assert [most / 2 <= wait <= most for wait, most in zip(stop.waits, longest, strict=True)] == [True] * 8


def test_a_loop_that_waits_for_a_lock_is_not_stuck_and_not_served(migrated_servers, wait_for, monkeypatch):
    vitals = Vitals()
    monkeypatch.setattr(postgres, "VITALS", vitals)
    monkeypatch.setattr(postgres, "_LATE_S", 0.2)
    with (
        psycopg.connect(migrated_servers.database_url) as other,
        postgres.connect(migrated_servers.database_url, name="test", main_loop=True) as connection,
    ):
        vitals.join()
        other.execute("LOCK TABLE symbols IN ACCESS EXCLUSIVE MODE")
        waiting = threading.Thread(target=connection.execute, args=("SELECT count(*) FROM symbols",))
        waiting.start()
        wait_for(lambda: vitals.is_away("postgresql"))
        assert waiting.is_alive()
        turned_at = vitals._turned_at
        wait_for(lambda: vitals._turned_at > turned_at)
        other.rollback()
        waiting.join(60)
        assert not vitals.is_away("postgresql")


def test_a_statement_that_waits_says_once_where_to_look(migrated_servers, wait_for, monkeypatch):
    monkeypatch.setattr(postgres, "_LATE_S", 0.2)
    with (
        psycopg.connect(migrated_servers.database_url) as other,
        postgres.connect(migrated_servers.database_url, name="test") as connection,
        capture_logs() as said,
    ):
        other.execute("LOCK TABLE symbols IN ACCESS EXCLUSIVE MODE")
        waiting = threading.Thread(target=connection.execute, args=("SELECT count(*) FROM symbols",))
        waiting.start()
        wait_for(lambda: said)
        backend = connection.info.backend_pid
        assert other.execute("SELECT pg_blocking_pids(%s)", (backend,)).fetchone() == ([other.info.backend_pid],)
        other.rollback()
        waiting.join(60)
    assert [(line["event"], line["backend"]) for line in said] == [
        ("a statement waits", backend),
        ("the statement continues", backend),
    ]
    assert f"SELECT pg_blocking_pids({backend})" in said[0]["do"]


def test_a_producer_that_waits_for_the_workers_says_so_once(migrated_servers, monkeypatch):
    monkeypatch.setattr(stream_writer, "_SAY_AFTER_S", 0)
    url, waits = migrated_servers.redis_url, []
    with closing(connect(url)) as client, capture_logs() as said:

        def wait(seconds):
            waits.append(seconds)
            if len(waits) == 3:
                client.hset(flow_key(0), "done:p", 5)
            return False

        writer = StreamWriter(client, "p", done={0: 0}, wait=wait, max_lag=4)
        writer.write([Numbered(0, 0, 5, b"frame")])
    assert said == [
        {
            "event": "waiting for the workers",
            "why": "as many ticks are uncommitted as --max-lag-ticks allows",
            "uncommitted": 5,
            "log_level": "warning",
        },
        {"event": "workers commit again", "log_level": "info"},
    ]


@pytest.mark.parametrize(
    "command",
    ["XGROUP SETID gone g 0", "XINFO STREAM gone", "XREADGROUP GROUP g c STREAMS gone >", "XPENDING gone g - + 1"],
)
def test_a_stream_that_vanished_is_known_by_what_each_command_says(migrated_servers, command):
    with redis.Redis.from_url(migrated_servers.redis_url) as client, pytest.raises(redis.ResponseError) as said:
        client.execute_command(*command.split())
    assert is_gone(said.value)
