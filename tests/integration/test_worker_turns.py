"""A worker's turns on real servers, in a world whose clock stands still until a test moves it."""

import time
from contextlib import closing
from urllib.parse import urlsplit

import numpy as np
import psycopg
import pytest
from structlog.testing import capture_logs
from tickstockpl.contracts.frames.frame import FIELD
from tickstockpl.contracts.frames.maker import Identity, make_frame
from tickstockpl.contracts.names import stream_key
from tickstockpl.contracts.ticks import Ticks
from tickstockpl.db import redis
from tickstockpl.db.postgres import Database
from tickstockpl.db.schema.migrate import open_stream
from tickstockpl.workers.worker import Worker
from tickstockpl.workers.worker_options import WorkerOptions

from ..fake_world import HeldClock
from ..fleet.proxy import proxy_to

TURNS = 20
SECOND_NS = 1_000_000_000


class StopWhen:
    """A stop that comes when something holds."""

    def __init__(self):
        self.when = lambda: False

    def is_set(self):
        return self.when()

    def wait(self, _seconds):
        return self.when()


class Stage:
    """A worker with one partition, a producer's frames, and a world."""

    def __init__(self, servers, *, database_url=None, **options):
        self.fake = HeldClock()
        self.stop = StopWhen()
        self.client = redis.connect(servers.redis_url)
        self.database = Database(database_url or servers.database_url, name="w", main_loop=True, by_keys=True)
        self.admin = psycopg.connect(servers.database_url, autocommit=True)
        open_stream(self.admin, 1)
        self.worker = Worker(
            WorkerOptions("w", detects=False, **({"gather_ms": 1} | options)),
            database=self.database,
            client=self.client,
            redis_url=servers.redis_url,
            partitions=1,
            stop=self.stop,
            world=self.fake.world,
        )
        self.worker.join()
        self.turns()  # it has its partition

    def turns(self, *, after_s=0.0):
        """Let the worker's clock pass, then let it take some turns."""
        self.fake.now_s += after_s
        for _ in range(TURNS):
            self.worker.turn()

    def send(self, numbers, *, at_ns=None):
        """Add a frame of one tick for each number; numbers: from, to."""
        first, last = numbers
        ts = np.full(last - first, at_ns or time.time_ns(), "<i8")
        ticks = Ticks(["IBM"], np.zeros(len(ts), "<u2"), ts, np.full(len(ts), 10.0), np.ones(len(ts)))
        body = make_frame(Identity("channel-1", "live", "live"), ticks, "live", first, last, int(ts[0]) // 1_000_000)
        self.client.xadd(stream_key(0), {FIELD: body})

    def applied_and_lost(self):
        return self.admin.execute(
            "SELECT coalesce(sum(applied), 0)::int, coalesce(sum(lost), 0)::int FROM ledger"
        ).fetchone()

    def bars(self):
        return self.admin.execute("SELECT volume::int FROM ohlcv_1min ORDER BY 1").fetchall()

    def redis_s(self):
        return self.client.time()[0]

    def close(self):
        self.database.close()
        self.client.close()
        self.admin.close()


@pytest.fixture
def stage(migrated_servers):
    with closing(Stage(migrated_servers, commit_ms=1000, missing_frames_wait_s=1.0)) as stage:
        yield stage


def test_a_commit_comes_when_the_worlds_clock_says_so_and_not_before(stage):
    stage.send((0, 3))
    stage.turns(after_s=0.0)
    stage.turns(after_s=0.999)
    assert stage.applied_and_lost() == (0, 0)
    stage.turns(after_s=0.001)
    assert stage.applied_and_lost() == (3, 0)


def test_a_minute_closes_after_the_lateness_by_the_worlds_clock(stage, wait_for):
    now_s = wait_for(lambda: (at_s := stage.redis_s()) % 60 < 50 and at_s)  # so that the frame comes in this minute
    stage.send((0, 2))
    stage.turns()
    to_the_end_s = 60 - now_s % 60
    stage.turns(after_s=to_the_end_s - 1.0)  # the frame came up to a second later than we looked: 0.5 s of lateness
    assert stage.bars() == []
    stage.turns(after_s=1.5)
    assert stage.bars() == [(2,)]


def test_entries_gather_from_one_read_to_the_next_but_not_past_a_close(migrated_servers, wait_for):
    with closing(Stage(migrated_servers, gather_ms=50)) as stage:
        at_ns = wait_for(lambda: (now_ns := time.time_ns()) // SECOND_NS % 60 < 50 and now_ns)
        stage.send((0, 2), at_ns=at_ns)  # its frame says whole milliseconds
        stage.turns()
        assert set(stage.fake.waits[-TURNS + 1 :]) == {0.05}
        left_s = 60.5 - at_ns // 10**6 % 60_000 / 1000
        for until_s in (0.051, 0.0195, -0.001):
            stage.fake.now_s += left_s - until_s
            left_s = until_s
            stage.worker.turn()
        # The last read was 31.5 ms ago; then the bar is due, and 3 ms are to spare.
        assert stage.fake.waits[-2:] == pytest.approx([0.0185, 0.002])
        stage.turns()
        assert stage.bars() == [(2,)]


def test_a_worker_that_has_not_read_to_the_streams_end_reads_on_at_once(migrated_servers):
    with closing(Stage(migrated_servers, gather_ms=50, read_count=1)) as stage:
        stage.turns()
        stage.send((0, 1)), stage.send((1, 2)), stage.send((2, 3))
        stage.fake.waits.clear()
        for _ in range(4):
            stage.worker.turn()
        assert len(stage.fake.waits) == 1  # before the first of four reads, of which the last found nothing


def test_a_stream_read_entry_by_entry_has_ended_only_when_a_read_finds_nothing(migrated_servers):
    with closing(Stage(migrated_servers)) as stage:
        reader = stage.worker._reader
        reader._large.add(0)
        for _ in range(7):
            stage.client.xadd(stream_key(0), {FIELD: bytes(1 << 20)})
        found = []
        while 0 in reader.one_by_one:
            found.append(len(reader.read([0], count=100).get(0, ())))
        assert sum(found) == 7
        assert found[0] < 7  # the reply was full
        assert found[-1] == 0


def test_a_hole_is_given_up_after_the_worlds_wait_however_long_the_servers_have_run(stage, wait_for):
    stage.send((0, 1))
    stage.turns(after_s=1.0)
    stage.send((4, 5))  # 2, 3 and 4 are missing
    stage.turns(after_s=1.0)
    stage.turns(after_s=1.0)  # it is asked for what is missing
    began_s = stage.redis_s()
    wait_for(lambda: stage.redis_s() >= began_s + 3)
    stage.turns()
    assert stage.applied_and_lost() == (1, 0)
    stage.turns(after_s=1.0)
    stage.turns(after_s=1.0)
    assert stage.applied_and_lost() == (2, 3)


@pytest.mark.parametrize(
    ("chance", "pauses"),
    [(1.0, [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]), (0.0, [0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0])],
)
def test_a_worker_without_its_database_pauses_longer_each_time_and_not_in_step(migrated_servers, chance, pauses):
    url = urlsplit(migrated_servers.database_url)
    with proxy_to(url.hostname, url.port) as proxy, capture_logs() as lines:
        through = url._replace(netloc=f"{url.netloc.rpartition('@')[0]}@127.0.0.1:{proxy.port}").geturl()
        with closing(Stage(migrated_servers, database_url=through)) as stage:
            fake = stage.fake
            fake.chance = chance
            fake.waits.clear()
            fake.on_wait = lambda: proxy.accept() if len(fake.waits) == len(pauses) else None
            stage.stop.when = lambda: any(line["event"] == "server back" for line in lines)
            proxy.refuse()
            stage.worker.work()

    assert fake.waits == pytest.approx(pauses)
    said = [(line["event"], line["server"]) for line in lines if line["event"] in ("server away", "server back")]
    assert said == [("server away", "postgresql"), ("server back", "postgresql")]
