"""The front door under what others do to its stream: ids of their own, trims, deletions, entries of any size."""

import itertools
import json
import os
import re
import subprocess
import sys
import threading
from contextlib import closing, contextmanager

import psutil
import pytest
import redis
from redis.exceptions import ResponseError
from tickstockpl.contracts.names import FRONT_DOOR, FRONT_DOOR_PRODUCER, flow_key, stream_key
from tickstockpl.db import metrics, postgres
from tickstockpl.db.redis import connect
from tickstockpl.db.schema.migrate import open_stream
from tickstockpl.db.streams.door_stream import DoorStream
from tickstockpl.db.streams.flow import want_field
from tickstockpl.ops.wiring.servers import Place
from tickstockpl.ops.wiring.worker import make_worker
from tickstockpl.workers.door.door_reader import DoorChanged, DoorReader
from tickstockpl.workers.steady_clock import SteadyClock
from tickstockpl.workers.worker_options import WorkerOptions
from waits import KeptConnection

PARTITIONS = 3
SYMBOLS = ("AAPL", "IBM", "MSFT", "F")  # of several partitions
LARGEST = 2**64 - 1


class Door:
    """The front door of a fleet, and one who sends ticks of the minute before last into it."""

    def __init__(self, servers):
        self.servers = servers
        self.redis = redis.Redis.from_url(servers.redis_url)
        self.database = KeptConnection(servers.database_url)
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
        return self.database.rows(statement)

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


class Processes:
    """Workers as processes of their own, to be killed and to be looked at."""

    def __init__(self, door, folder):
        self._door = door
        self._folder = folder
        self._running = {}
        self._highest = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for name in list(self._running):
            self.kill(name)

    def start(self, name):
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("REDIS", "DATABASE", "TICKSTOCK"))}
        env = clean | {"REDIS_URL": self._door.servers.redis_url, "DATABASE_URL": self._door.servers.database_url}
        command = [sys.executable, "-m", "tickstockpl.ops", "worker", "--consumer", name, "--commit-ms", "50"]
        with (self._folder / f"{name}.log").open("w") as log:
            self._running[name] = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def kill(self, name, after_s=0.0):
        process = self._running.pop(name)
        threading.Event().wait(after_s)
        process.kill()
        process.wait(60)

    def highest_mb(self):
        """Return the most that a worker has had resident, of those that run."""
        for name, process in self._running.items():
            assert process.poll() is None, self.said()
            self._highest[name] = max(self._highest.get(name, 0), psutil.Process(process.pid).memory_info().rss / 2**20)
        return max(self._highest.values())

    def said(self):
        return "\n".join(file.read_text() for file in sorted(self._folder.glob("*.log")))


@pytest.fixture
def door(migrated_servers):
    with postgres.connect(migrated_servers.database_url, name="test") as connection:
        open_stream(connection, PARTITIONS)
    door = Door(migrated_servers)
    with door.redis, closing(door.database):
        yield door


@pytest.fixture
def working(door):
    """Give a context in which a worker runs; whatever it dies of, the test raises."""

    @contextmanager
    def run(consumer="w1", **options):
        stop, died = threading.Event(), []

        def work():
            try:
                chosen = WorkerOptions(consumer, commit_ms=50, gather_ms=10, **options)
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
    """Give a function that waits for a condition while a worker lives."""

    def holds(died, condition):
        wait_for(lambda: died() or condition())
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
def test_an_id_out_of_bounds_costs_its_own_entry_and_none_that_comes_later(door, working, until, tickstock, which):
    letters = metrics.DEAD_LETTERS.labels("entry_id")._value.get()
    with working() as died:
        door.add(10)
        until(died, lambda: door.ledger().get("applied") == 10)
        chosen = ids_out_of_bounds(door)[which]
        door.redis.xadd(FRONT_DOOR, {"symbol": "IBM", "price": "99", "volume": "1000", "timestamp": "1"}, id=chosen)
        add_when_possible(door, 20, until, died)
        until(died, lambda: door.ledger() == {"ticks_in": 31, "applied": 30, "refused": 1})
    shown = tickstock("dlq", "ls", servers=door.servers).stdout
    assert "entry_id" in shown
    assert metrics.DEAD_LETTERS.labels("entry_id")._value.get() - letters == 1
    assert door.letters() == [
        ("entry_id", f"id '{chosen}' was chosen by its sender, and is out of bounds",
         "symbol IBM price 99 volume 1000 timestamp 1"),
    ]  # fmt: skip
    assert door.volume() == 30


def add_when_possible(door, count, until, died):
    """Add ticks; behind the largest id Redis refuses all until the door was built anew."""
    for _ in range(count):
        fields = door.tick()
        until(died, lambda fields=fields: is_added(door.redis, fields))


def test_ids_out_of_bounds_all_over_a_backlog_cost_one_entry_each(door, working, until):
    door.add(30)
    for chosen in sorted(ids_out_of_bounds(door).values(), key=lambda text: tuple(map(int, text.split("-")))):
        door.add(1, entry_id=chosen)
        if not chosen.startswith(str(LARGEST)):
            door.add(30)
    with working() as died:
        until(died, lambda: door.ledger().get("ticks_in") == 155)
        door.add(10)
        until(died, lambda: door.ledger().get("ticks_in") == 165)
    assert door.ledger() == {"ticks_in": 165, "applied": 160, "refused": 5}
    assert door.volume() == 160


def test_followers_of_a_bad_id_that_its_sender_deleted_again_are_ordinary_ticks(door, working, until):
    door.add(3)
    bad = door.redis.xadd(FRONT_DOOR, door.tick(), id=f"{door.now_ms() * 1000}-0")
    door.redis.xdel(FRONT_DOOR, bad)
    door.add(3)
    with working() as died:
        until(died, lambda: door.ledger() == {"ticks_in": 7, "applied": 6, "lost": 1})
    assert door.letters() == []


def test_a_last_id_that_nobody_can_follow_is_mended_though_no_entry_shows_it(door, working, until):
    with working() as died:
        door.add(3)
        until(died, lambda: door.ledger().get("applied") == 3)
        door.redis.execute_command("XSETID", FRONT_DOOR, f"{LARGEST}-{LARGEST}")
        add_when_possible(door, 3, until, died)
        until(died, lambda: door.ledger() == {"ticks_in": 6, "applied": 6})


def test_an_id_a_little_ahead_is_its_number_and_its_tick_came_when_it_was_read(door, working, until):
    """Redis counts on in the same millisecond: those behind it must not wait, nor be from the future."""
    ahead = door.now_ms() + 600_000
    door.redis.xadd(FRONT_DOOR, door.tick() | {"timestamp": str(door.now_ms() // 1000 + 1200)}, id=f"{ahead}-0")
    door.add(5)
    with working() as died:
        until(died, lambda: door.ledger() == {"ticks_in": 6, "applied": 5, "future": 1})


def test_what_is_trimmed_before_it_was_read_is_counted_as_lost(door, working, until, tickstock):
    lost = metrics.TICKS_LOST._value.get()
    door.add(200, maxlen=20, approximate=False)
    with working() as died:
        until(died, lambda: door.ledger() == {"ticks_in": 200, "applied": 20, "lost": 180})
        door.add(10)
        until(died, lambda: door.ledger() == {"ticks_in": 210, "applied": 30, "lost": 180})
    with working("w2") as died:
        door.add(5)
        until(died, lambda: door.ledger() == {"ticks_in": 215, "applied": 35, "lost": 180})
        assert metrics.TICKS_LOST._value.get() - lost == 180
    shown = tickstock("status", servers=door.servers).stdout
    assert re.search("180 were trimmed or deleted unread, the last between its start and [0-9-]+ [0-9:]+", shown)
    assert json.loads(tickstock("status", "--json", servers=door.servers).stdout)["front_door"]["lost"] == 180
    assert re.search("front-door.*180", tickstock("audit", servers=door.servers).stdout)


@pytest.mark.parametrize("gone", ["deleted", "flushed", "renamed", "replaced by low ids"])
def test_a_door_that_is_gone_opens_again(door, working, until, gone):
    with working() as died:
        door.add(10)
        until(died, lambda: door.ledger().get("applied") == 10)
        if gone == "flushed":
            door.redis.flushall()
        elif gone == "renamed":
            door.redis.rename(FRONT_DOOR, "elsewhere")
        else:
            door.redis.delete(FRONT_DOOR)
        if gone == "replaced by low ids":
            for number in range(1, 5):
                door.add(1, entry_id=f"5-{number}")
        door.add(10)
        expected = 24 if gone == "replaced by low ids" else 20
        until(died, lambda: door.ledger() == {"ticks_in": expected, "applied": expected})
        until(died, lambda: door.volume() == expected)


def test_a_door_that_is_replaced_before_the_last_one_is_let_go_of_is_read_whole(door):
    """The reader learns of it by the command that would let go of what is applied, and not by a read."""
    clock = SteadyClock(monotonic_ms=lambda: 0, witness_ms=lambda: 0)
    stream = DoorStream(connect(door.servers.redis_url), group="tickstockpl-group")
    reader = DoorReader(stream, clock=clock, max_ahead_ms=900_000)
    reader.register(1)
    reader.open(0, 0, int(door.redis.time()[0]) * 1000)
    door.add(10)
    piece = reader.next_piece()
    reader.note_framed(piece, 10)
    door.redis.delete(FRONT_DOOR)
    for number in range(1, 5):
        door.add(1, entry_id=f"5-{number}")
    door.add(10)
    reader.applied(piece.last)
    with pytest.raises(DoorChanged):
        reader.next_piece()
    reader.open(piece.last, piece.last, int(door.redis.time()[0]) * 1000)
    assert len(reader.next_piece().entries) == 14
    reader.close()


def test_a_door_of_low_ids_that_stood_there_before_a_worker_came_back(door, working, until):
    with working() as died:
        door.add(10)
        until(died, lambda: door.ledger().get("applied") == 10)
    door.redis.delete(FRONT_DOOR)
    for number in range(1, 8):
        door.add(1, entry_id=f"5-{number}")
    with working() as died:
        until(died, lambda: door.ledger() == {"ticks_in": 17, "applied": 17})


def test_a_group_that_is_destroyed_costs_nothing(door, working, until):
    with working() as died:
        door.add(10)
        until(died, lambda: door.ledger().get("applied") == 10)
        door.redis.xgroup_destroy(FRONT_DOOR, "tickstockpl-group")
        door.add(10)
        until(died, lambda: door.ledger() == {"ticks_in": 20, "applied": 20})
    door.redis.xgroup_destroy(FRONT_DOOR, "tickstockpl-group")
    door.add(10)
    with working() as died:
        until(died, lambda: door.ledger() == {"ticks_in": 30, "applied": 30})


def test_entries_of_any_size_cost_at_most_themselves(door, working, until):
    big = b"x" * (40 << 20)
    for size in (5 << 20, 40 << 20, 100, 5 << 20, 40 << 20):
        door.add(3)
        door.redis.xadd(FRONT_DOOR, {"data": big[:size]})
    door.redis.xadd(FRONT_DOOR, {str(i): "x" for i in range(9000)})
    door.add(3)
    with working() as died:
        until(died, lambda: door.ledger() == {"ticks_in": 24, "applied": 18, "refused": 6})
    assert [reason for reason, *_ in sorted(door.letters())] == ["not_json", *["too_large"] * 4, "unknown_shape"]


@pytest.mark.parametrize(("entries", "most_mb"), [(700, 300), pytest.param(3000, 400, marks=pytest.mark.slow)])
def test_a_backlog_of_large_arrays_stops_nobody_and_needs_little_memory(door, wait_for, tmp_path, entries, most_mb):
    """Entries of 64 kB, each an array of 900 ticks: two workers, of which one reads, and leases stay.

    700 entries are ten replies of Redis and 150 pieces, of which one is in memory at a time: 185 MB, where a worker at
    rest has 165. If all that comes is read and parsed together, a worker loses its leases, and has 390 MB. 3,000
    entries have more rows than the door may be ahead.
    """
    element = {"symbol": "IBM", "price": 10, "volume": 1, "timestamp": door.minute_s}
    body = json.dumps([element] * 900)
    pipeline = door.redis.pipeline(transaction=False)
    for _ in range(entries):
        pipeline.xadd(FRONT_DOOR, {"data": body})
    pipeline.execute()
    with Processes(door, tmp_path) as fleet:
        fleet.start("w1")
        fleet.start("w2")
        wait_for(lambda: fleet.highest_mb() and door.ledger().get("applied") == 900 * entries, 240)
        assert fleet.highest_mb() < most_mb
    assert "lease lost" not in fleet.said()
    assert "server away" not in fleet.said()


def test_a_worker_killed_again_and_again_between_bad_ids_and_ticks_leaves_each_tick_once(door, wait_for, tmp_path):
    with Processes(door, tmp_path) as fleet:
        for round_ in range(6):
            fleet.start(f"w{round_}")
            door.add(40)
            wait_for(lambda: door.rows("SELECT 1 FROM lease WHERE unit = 'front-door' AND owner IS NOT NULL"))
            door.redis.xadd(FRONT_DOOR, door.tick(), id=f"{last_ms(door) + 3_600_000}-{round_}")
            door.add(40)
            fleet.kill(f"w{round_}", after_s=0.02 * round_)
            door.rows("UPDATE lease SET expires_at = clock_timestamp()")
        fleet.start("last")
        wait_for(lambda: door.ledger().get("ticks_in", 0) >= 486)
        door.add(10)
        wait_for(lambda: door.ledger() == {"ticks_in": 496, "applied": 490, "refused": 6})
        assert door.volume() == 490
    assert [reason for reason, *_ in door.letters()] == ["entry_id"] * 6


# -- a partition's stream ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["microseconds", "an hour ahead", "a century ahead", "the largest"])
def test_an_id_far_ahead_in_a_partition_costs_its_own_entry_and_none_that_comes_later(door, working, until, which):
    chosen = ids_out_of_bounds(door)[which]
    with working() as died:
        door.add(10)
        until(died, lambda: door.ledger().get("applied") == 10)
        for partition in range(PARTITIONS):
            door.redis.xadd(stream_key(partition), {"f": "no frame"}, id=chosen)
        door.add(10)
        until(died, lambda: door.ledger() == {"ticks_in": 20, "applied": 20})
        until(died, lambda: len(door.letters()) == PARTITIONS)
        until(died, lambda: all(last_ms(door, p) <= door.now_ms() for p in range(PARTITIONS)))
    with working("w2") as died:
        door.add(10)
        until(died, lambda: door.ledger() == {"ticks_in": 30, "applied": 30})
        assert door.volume() == 30
    assert [reason for reason, *_ in door.letters()] == ["bad_frame"] * PARTITIONS
    assert door.redis.keys("*:aside") == door.redis.keys("*:moving") == door.redis.keys("*:next") == []


def last_ms(door, partition=None):
    key = FRONT_DOOR if partition is None else stream_key(partition)
    return int(door.redis.xinfo_stream(key)["last-generated-id"].split(b"-")[0])


@pytest.mark.parametrize("which", ["an hour ahead", "the largest"])
def test_a_producer_goes_on_behind_an_id_far_ahead_in_each_partition(door, tickstock, tmp_path, which):
    """Behind the largest one Redis takes none of its frames, until a worker has given new ids."""
    chosen = ids_out_of_bounds(door)[which]
    for partition in range(PARTITIONS):
        door.redis.xadd(stream_key(partition), {"f": "no frame"}, id=chosen)
    file = tmp_path / "trades.csv"
    rows = [f"{SYMBOLS[i % 4]},10,{1_381_147_200_000_000_000 + i * 10**9},1" for i in range(200)]
    file.write_text("\n".join(["ticker,price,sip_timestamp,size", *rows]) + "\n")
    ran = tickstock("replay", file, "--workers", "1", servers=door.servers)
    assert ran.returncode == 0, ran.stderr
    assert door.volume() == 200
    assert [reason for reason, *_ in door.letters()] == ["bad_frame"] * PARTITIONS


def test_partitions_that_refuse_frames_again_and_again_stop_neither_the_door_nor_each_other(door, working, until):
    """There is hardly a moment in which all partitions take frames, and somebody always asks for frames again."""
    ended = threading.Event()

    def exhaust():
        with redis.Redis.from_url(door.servers.redis_url) as client:
            for turn in itertools.count():
                client.execute_command("XSETID", stream_key(turn % PARTITIONS), f"{LARGEST}-{LARGEST}")
                client.hset(flow_key(turn % PARTITIONS), want_field(FRONT_DOOR_PRODUCER), 0)
                if ended.wait(0.05):
                    return

    stranger = threading.Thread(target=exhaust)
    with working() as died:
        door.add(3)
        until(died, lambda: door.ledger().get("applied") == 3)
        stranger.start()
        try:
            for _ in range(3):
                door.redis.execute_command("XSETID", FRONT_DOOR, f"{LARGEST}-{LARGEST}")
                add_when_possible(door, 20, until, died)
        finally:
            ended.set()
            stranger.join(60)
        until(died, lambda: door.ledger() == {"ticks_in": 63, "applied": 63})
        assert door.volume() == 63


@pytest.mark.parametrize("bad", [15, pytest.param(40, marks=pytest.mark.slow)])
def test_many_senders_beside_a_stranger_of_bad_ids_lose_nothing(door, working, until, bad):
    """The stranger uses the largest id now and then: the others are refused for a moment, and try again."""
    senders, ended = 20, threading.Event()
    added = [0] * senders

    def send(sender):
        with redis.Redis.from_url(door.servers.redis_url) as client:
            fields = {"symbol": SYMBOLS[sender % 4], "price": "10", "volume": "1", "timestamp": door.minute_s}
            while not ended.wait(0.002):  # some thousand ticks a second: more would only be more to parse
                added[sender] += is_added(client, fields)

    threads = [threading.Thread(target=send, args=[sender]) for sender in range(senders)]
    with working() as died:
        for thread in threads:
            thread.start()
        for i in range(bad):
            which = OUT_OF_BOUNDS[i % len(OUT_OF_BOUNDS)]
            until(died, lambda which=which: is_added(door.redis, {"data": "bad"}, ids_out_of_bounds(door)[which]))
        ended.set()
        for thread in threads:
            thread.join(60)
        until(died, lambda: door.ledger().get("ticks_in") == sum(added) + bad)
    assert door.ledger() == {"ticks_in": sum(added) + bad, "applied": sum(added), "refused": bad}
    assert [reason for reason, *_ in door.letters()] == ["entry_id"] * bad


def is_added(client, fields, entry_id="*"):
    """Add an entry, if its id can be one just now."""
    try:
        client.xadd(FRONT_DOOR, fields, id=entry_id)
    except ResponseError as e:
        if "last possible ID" not in str(e) and "equal or smaller" not in str(e):
            raise
        return False
    return True
