"""The front door under what others do to its stream: ids of their own, trims, deletions, entries of any size."""

import json
import threading
from contextlib import closing, contextmanager

import psycopg
import pytest
import redis
from redis.exceptions import ResponseError
from tickstockpl.contracts.names import FRONT_DOOR
from tickstockpl.db import postgres
from tickstockpl.db.migrate import open_stream
from tickstockpl.ops.wiring import Place
from tickstockpl.ops.worker_wiring import make_worker
from tickstockpl.workers.worker import WorkerOptions

PARTITIONS = 3
SYMBOLS = ("AAPL", "IBM", "MSFT", "F")  # of several partitions
LARGEST = 2**64 - 1


class Door:
    """The front door of a fleet, and one who sends ticks of the minute before last into it."""

    def __init__(self, servers):
        self.servers = servers
        self.redis = redis.Redis.from_url(servers.redis_url)
        self.sent = 0
        seconds, _ = self.redis.time()
        self.minute_s = (seconds - 120) // 60 * 60

    def now_ms(self):
        seconds, micros = self.redis.time()
        return seconds * 1000 + micros // 1000

    def tick(self):
        """Return the fields of a tick, each of its own size: 1, 2, 4 and so on in turn."""
        self.sent += 1
        symbol = SYMBOLS[self.sent % len(SYMBOLS)]
        return {"symbol": symbol, "price": "10", "volume": "1", "timestamp": str(self.minute_s + self.sent % 60)}

    def add(self, count=1, entry_id="*", **options):
        for _ in range(count):
            self.redis.xadd(FRONT_DOOR, self.tick(), id=entry_id, **options)

    def rows(self, statement):
        with psycopg.connect(self.servers.database_url) as connection:
            return connection.execute(statement).fetchall()

    def volume(self):
        """Return the shares in all bars: one for each tick that is in a bar."""
        ((volume,),) = self.rows("SELECT coalesce(sum(volume), 0)::float8 FROM ohlcv_1min")
        return volume

    def ledger(self):
        """Return the sums of the door's ledger; those that are 0 are left out."""
        names = ("ticks_in", "applied", "quote_or_zero", "refused", "future", "too_late", "superseded", "lost")
        sums = ", ".join(f"coalesce(sum({name}), 0)::int" for name in names)
        (row,) = self.rows(f"SELECT {sums} FROM ledger WHERE producer = 'front-door'")
        return {name: count for name, count in zip(names, row, strict=True) if count}

    def letters(self):
        return self.rows("SELECT reason, detail, convert_from(original, 'UTF8') FROM dead_letter ORDER BY id")


@pytest.fixture
def door(migrated_servers):
    with postgres.connect(migrated_servers.database_url, name="test") as connection:
        open_stream(connection, PARTITIONS)
    door = Door(migrated_servers)
    with door.redis:
        yield door


@pytest.fixture
def working(door):
    """Give a context in which a worker runs; whatever it dies of, the test raises."""

    @contextmanager
    def run(consumer="w1", **options):
        stop, died = threading.Event(), []

        def work():
            try:
                chosen = WorkerOptions(consumer, commit_ms=50, block_ms=10, **options)
                worker = make_worker(Place(door.servers, False, 5.0), chosen, partitions=None, stop=stop)
                with worker._client, closing(worker._database):
                    worker.run()
            except BaseException as e:  # noqa: BLE001  # of any kind: the worker must not die of what it reads
                died.append(e)

        thread = threading.Thread(target=work)
        thread.start()
        yield lambda: died
        stop.set()
        thread.join(60)
        if died:
            raise died[0]

    return run


@pytest.fixture
def until(wait_for):
    def holds(died, condition, within_s=60):
        wait_for(lambda: died() or condition(), within_s)
        if died():
            raise died()[0]

    return holds


def ids_out_of_bounds(door):
    now_ms = door.now_ms()
    return {
        "microseconds": f"{now_ms * 1000}-0",
        "an hour ahead": f"{now_ms + 3_600_000}-0",
        "a century ahead": f"{now_ms + 3_155_760_000_000}-5",
        "a sequence number": f"{now_ms + 60_000}-1048576",
        "the largest": f"{LARGEST}-{LARGEST}",
    }


OUT_OF_BOUNDS = ("microseconds", "an hour ahead", "a century ahead", "a sequence number", "the largest")


@pytest.mark.parametrize("which", OUT_OF_BOUNDS)
def test_an_id_out_of_bounds_costs_its_own_entry_and_none_that_comes_later(door, working, until, which):
    with working() as died:
        door.add(10)
        until(died, lambda: door.ledger().get("applied") == 10)
        chosen = ids_out_of_bounds(door)[which]
        door.redis.xadd(FRONT_DOOR, {"symbol": "IBM", "price": "99", "volume": "1000", "timestamp": "1"}, id=chosen)
        add_when_possible(door, 20, until, died)
        until(died, lambda: door.ledger() == {"ticks_in": 31, "applied": 30, "refused": 1})
    assert door.letters() == [
        ("entry_id", f"id {chosen} was chosen by its sender, and is out of bounds",
         "symbol IBM price 99 volume 1000 timestamp 1"),
    ]  # fmt: skip
    assert door.volume() == 30


def add_when_possible(door, count, until, died):
    """Add ticks; behind the largest id Redis refuses all until the door was built anew."""

    def added():
        try:
            door.add()
        except ResponseError as e:
            assert "last possible ID" in str(e)
            door.sent -= 1
            return False
        return True

    for _ in range(count):
        until(died, added)
