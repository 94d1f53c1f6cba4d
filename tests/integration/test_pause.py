"""For how long a partition stood still when it moved: kept once for each move, and never across an outage."""

import threading
from contextlib import contextmanager

import psycopg
import pytest
import redis
from tickstockpl.db import lease
from tickstockpl.db.postgres import Database
from tickstockpl.db.schema.migrate import open_stream
from tickstockpl.db.world import REAL
from tickstockpl.ops.wiring.servers import Place
from tickstockpl.ops.wiring.worker import make_worker
from tickstockpl.workers.assignment import Assignment
from tickstockpl.workers.partition.partition_state import Held
from tickstockpl.workers.worker_options import WorkerOptions


@pytest.fixture
def admin(migrated_servers):
    with psycopg.connect(migrated_servers.database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def taken(migrated_servers, admin):
    """A partition whose former owner gave its last sign of life since the server's start; and the assignment."""
    open_stream(admin, 1)
    first = lease.take(admin, "partition:0", "w1")
    lease.release(admin, "w1", [first])
    admin.execute(
        "UPDATE lease SET renewed_at = started + (clock_timestamp() - started) / 2"
        " FROM pg_postmaster_start_time() AS started WHERE unit = 'partition:0'"
    )
    held = Held(0, lease.take(admin, "partition:0", "w2"), token=1)
    database = Database(migrated_servers.database_url, name="test")
    yield held, Assignment(database, "w2", 1, world=REAL)
    database.close()


def kept(admin):
    return admin.execute("SELECT pause_s FROM lease WHERE unit = 'partition:0'").fetchone()[0]


def test_the_pause_of_a_move_is_kept_once(admin, taken):
    held, assignment = taken
    noted = assignment.note_pause(held, served_s=None)
    assert noted > 0
    assert kept(admin) == noted
    assert assignment.note_pause(held, served_s=None) is None  # read again from its committed state
    assert kept(admin) == noted


@pytest.mark.parametrize("away", ["the worker's servers", "a PostgreSQL that was started again"])
def test_a_pause_in_which_a_server_was_away_is_unknown(admin, taken, away):
    held, assignment = taken
    if away == "a PostgreSQL that was started again":
        before = "UPDATE lease SET idle_since = pg_postmaster_start_time() - interval '1 s' WHERE unit = 'partition:0'"
        admin.execute(before)
    assert assignment.note_pause(held, served_s=0.0 if away == "the worker's servers" else None) is None
    assert kept(admin) is None


def test_a_pause_after_an_outage_is_known(taken):
    held, assignment = taken
    assert assignment.note_pause(held, served_s=1e6) > 0


@contextmanager
def working(servers):
    stop = threading.Event()
    worker = make_worker(Place(servers, False, 30.0), WorkerOptions("w1", gather_ms=50), partitions=None, stop=stop)
    running = threading.Thread(target=worker.run)
    running.start()
    try:
        yield worker
    finally:
        stop.set()
        running.join(60)
        worker._database.close()


def test_an_outage_leaves_the_pauses_of_partitions_that_did_not_move_as_they_are(migrated_servers, admin, wait_for):
    open_stream(admin, 1)
    with working(migrated_servers) as worker, redis.Redis.from_url(migrated_servers.redis_url) as client:
        noted = wait_for(lambda: dict(worker._assignment._noted))
        restores = worker._figures.counts.restores
        admin.execute(
            "UPDATE lease SET pause_s = 0.25, idle_since = now() - interval '90 s' WHERE unit = 'partition:0'"
        )
        client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        wait_for(lambda: worker._figures.counts.restores > restores and not worker._reader.restoring)
        wait_for(lambda: worker._recovery.is_over)
    assert worker._assignment._noted == noted  # it is the same move still
    assert kept(admin) == 0.25
