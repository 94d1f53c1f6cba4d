"""A stream of one partition, with a test as its producer and a worker on it; and what became of its ticks."""

import threading
from contextlib import closing

import numpy as np
import psycopg
import pytest
import redis
from tickstockpl.contracts.frames.frame import FIELD
from tickstockpl.contracts.frames.maker import Identity, make_frame
from tickstockpl.contracts.names import stream_key
from tickstockpl.contracts.ticks import Ticks
from tickstockpl.db import postgres
from tickstockpl.db.schema.migrate import open_stream
from tickstockpl.db.sessions import set_always_open
from tickstockpl.ops.wiring.servers import Place
from tickstockpl.ops.wiring.worker import make_worker
from tickstockpl.workers.worker_options import WorkerOptions

LIVE = Identity("test-producer", "live", "live")
REPLAY = Identity("replay-x", "replay-x", "replay")


class Stream:
    """Partition 0 of a stream of one, with a worker on it, and this test as its producer."""

    def __init__(self, servers):
        self.servers = servers
        self.redis = redis.Redis.from_url(servers.redis_url)
        seconds, _ = self.redis.time()
        self.now_ms = seconds * 1000
        self.minute_ns = (seconds - 180) // 60 * 60 * 10**9  # over for longer than the allowed lateness
        self.number = 0
        self.missing_frames_wait_s = 0.2
        with postgres.connect(servers.database_url, name="test") as connection:
            set_always_open(connection, ["*"], is_open=True)  # a test runs at any time of day

    def frame(self, *ticks, identity=LIVE):
        """Make the next frame of (symbol, price, size[, minutes later]), all within one minute."""
        symbols = list(dict.fromkeys(tick[0] for tick in ticks))
        codes = np.array([symbols.index(tick[0]) for tick in ticks], "<u2")
        later = [tick[3] * 60 * 10**9 if len(tick) > 3 else 0 for tick in ticks]
        ts = np.array([self.minute_ns + add + i for i, add in enumerate(later)], "<i8")
        price, size = (np.array([tick[i] for tick in ticks], "<f8") for i in (1, 2))
        previous, self.number = self.number, self.number + len(ticks)
        return make_frame(
            identity, Ticks(symbols, codes, ts, price, size), identity.kind, previous, self.number, self.now_ms
        )

    def add(self, body, field=FIELD):
        self.redis.xadd(stream_key(0), {field: body})

    def send(self, *ticks):
        self.add(self.frame(*ticks))


@pytest.fixture
def stream(migrated_servers):
    with postgres.connect(migrated_servers.database_url, name="test") as connection:
        open_stream(connection, 1)
    stream = Stream(migrated_servers)
    with stream.redis:
        yield stream


@pytest.fixture
def work(stream, wait_for):
    """Give a function that lets a worker run until a condition holds; what it raises, the test raises."""
    stop, died = threading.Event(), []

    def run():
        options = WorkerOptions(
            "test-worker", commit_ms=50, missing_frames_wait_s=stream.missing_frames_wait_s, gather_ms=10
        )
        try:
            worker = make_worker(Place(stream.servers, False, 5.0), options, partitions=None, stop=stop)
            with worker._client, closing(worker._database):
                worker.run()
        except BaseException as e:  # noqa: BLE001  # of any kind: the worker must not die of bad input
            died.append(e)

    thread = threading.Thread(target=run)

    def until(condition):
        if not thread.ident:
            thread.start()
        wait_for(lambda: died or condition())
        if died:
            raise died[0]

    yield until
    stop.set()
    if thread.ident:
        thread.join(60)
    assert not died


def dead_letters(servers):
    statement = "SELECT producer, reason, detail, original FROM dead_letter ORDER BY id"
    with psycopg.connect(servers.database_url) as connection:
        return [(*row[:3], bytes(row[3])) for row in connection.execute(statement)]


def ledger(servers):
    """Sum the ledger's columns; those that are 0 are left out."""
    names = ("ticks_in", "applied", "quote_or_zero", "refused", "future", "too_late", "superseded", "lost")
    with psycopg.connect(servers.database_url) as connection:
        row = connection.execute(f"SELECT {', '.join(f'sum({n})::int' for n in names)} FROM ledger").fetchone()
    return {name: count for name, count in zip(names, row, strict=True) if count}


def bars(servers):
    statement = (
        'SELECT symbol, open::float8, close::float8, volume::float8 FROM ohlcv_1min ORDER BY symbol, "timestamp"'
    )
    with psycopg.connect(servers.database_url) as connection:
        return connection.execute(statement).fetchall()


def execute(servers, statement):
    with psycopg.connect(servers.database_url) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []
