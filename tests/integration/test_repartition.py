"""Another number of partitions for a stream at rest: what is kept, what is refused, and what a SIGKILL leaves."""

import os
import random
import signal
import subprocess
import sys
import threading
from contextlib import closing, contextmanager
from pathlib import Path
from zlib import crc32

import numpy as np
import psycopg
import pytest
from structlog.testing import capture_logs
from tickstockpl.contracts.errors import SetupError, UsageError
from tickstockpl.contracts.frames.maker import Identity
from tickstockpl.contracts.gap_reasons import SPOOL_TOO_OLD
from tickstockpl.contracts.names import FRONT_DOOR, flow_key, results_key, stream_key
from tickstockpl.contracts.settings import Servers
from tickstockpl.contracts.ticks import Ticks
from tickstockpl.db import postgres
from tickstockpl.db.look.stream_look import read_stream
from tickstockpl.db.publisher import current_epoch
from tickstockpl.db.redis import connect as connect_redis
from tickstockpl.db.schema.migrate import open_stream
from tickstockpl.db.tables import bridge_positions
from tickstockpl.db.tables.replays import open_replay
from tickstockpl.db.world import REAL
from tickstockpl.ops.audit.audit import unbalanced_rows
from tickstockpl.ops.doctor.postgres import _partitions
from tickstockpl.ops.jobs.repartition import RepartitionOutcome, repartition
from tickstockpl.ops.wiring.bridge import make_bridge
from tickstockpl.ops.wiring.producer import ProducerOptions, replay_feed, run_producer
from tickstockpl.ops.wiring.servers import Place, open_both
from tickstockpl.ops.wiring.worker import make_worker
from tickstockpl.producer.framer import Framer
from tickstockpl.producer.producer_lease import ProducerLease
from tickstockpl.producer.replay import ReplaySource
from tickstockpl.producer.sending.stream_writer import StreamWriter
from tickstockpl.producer.spool import left_behind
from tickstockpl.producer.spool.spool import Spool
from tickstockpl.workers.assignment import Assignment
from tickstockpl.workers.bridge.bridge import BridgeOptions
from tickstockpl.workers.partition.saved_state import load_state
from tickstockpl.workers.worker_options import WorkerOptions

from ..fleet.redis_nodes import nodes, start_cluster

KILLED = Path(__file__).with_name("killed_repartition.py")
SYMBOLS = [f"S{n}" for n in range(40)]
DELAY_MS = 600_000  # of the first feed: its minute stays open for as long as only it is heard
SEED = 20261121


class World:
    """One stream; the test is its live producers and subscribers, and runs workers and bridges in threads."""

    def __init__(self, servers, connection, client):
        self.servers = servers
        self.connection = connection
        self.client = client
        self.place = Place(servers, False, 5.0)
        seconds, _ = client.time()
        self.minute = (seconds - DELAY_MS // 1000) // 60 + 1
        self.ticks = []  # (symbol, minute, price, size), as they came

    @property
    def partitions(self):
        return self.rows("SELECT partitions FROM stream")[0][0]

    def rows(self, statement, *values):
        cursor = self.connection.execute(statement, values)
        return cursor.fetchall() if cursor.description else []

    def repartition(self, partitions, **options):
        """Open connections of its own, as the command does."""
        how = {"give_up_spools": False, "wait": lambda: False} | options
        with postgres.connect(self.servers.database_url, name="tickstock-repartition") as connection:
            return repartition(connection, self.client, partitions, **how)

    # -- who works -------------------------------------------------------------------------------------------------

    @contextmanager
    def working(self, name="w1"):
        options = WorkerOptions(name, commit_ms=20, gather_ms=5)
        with running(lambda stop: make_worker(self.place, options, partitions=None, stop=stop)):
            yield

    @contextmanager
    def speaking(self, name="b1"):
        with running(lambda stop: make_bridge(self.place, BridgeOptions(name), stop=stop)) as bridge:
            yield bridge

    # -- what comes in ---------------------------------------------------------------------------------------------

    def market(self, count, minutes=(0,)):
        """Make trades in whole cents."""
        numbers = random.Random(SEED + len(self.ticks))
        made = [
            (
                numbers.choice(SYMBOLS),
                self.minute + numbers.choice(minutes),
                numbers.randrange(900, 1100) / 100,
                numbers.randrange(1, 500),
            )
            for _ in range(count)
        ]
        self.ticks += made
        return made

    def send(self, name, ticks, *, delay_ms=0, end=True, lease=True):
        """Be a live producer that sends trades in their order; return its writer."""
        partitions = self.partitions
        numbers = dict.fromkeys(range(partitions), 0)
        held = (
            ProducerLease(
                self.servers.database_url, f"producer:{name}", name, wait=lambda _: False, partitions=partitions
            )
            if lease
            else None
        )
        writer = StreamWriter(self.client, name, done=numbers, wait=threading.Event().wait, max_lag=10**6)
        framer = Framer(Identity(name, "live", "live", delay_ms=delay_ms), partitions, now_ms=writer.now_ms)
        writer.write([*framer.add(as_ticks(ticks)), *(framer.end() if end else framer.flush())])
        if held:
            held.release()
        return writer

    def knock(self, ticks):
        """Add plain entries to the front door."""
        for symbol, minute, price, size in ticks:
            entry = {"symbol": symbol, "price": price, "size": size, "timestamp": minute * 60_000 + 1000}
            self.client.xadd(FRONT_DOOR, entry)

    # -- what came of it -------------------------------------------------------------------------------------------

    def is_committed(self):
        """Everything sent is in the ledger, and every partition knows how far the front door was read."""
        (applied,) = self.rows("SELECT coalesce(sum(applied), 0) FROM ledger")[0]  # first: the door may still be read
        door = "SELECT last_number FROM ledger WHERE producer = 'front-door' AND partition < %s"
        read_to = [number for (number,) in self.rows(door, self.partitions)]
        (ended,) = self.rows("SELECT coalesce(bool_and(ended), true) FROM ledger WHERE producer <> 'front-door'")[0]
        is_even = not read_to or (len(read_to) == self.partitions and len(set(read_to)) == 1)
        return applied == len(self.ticks) and ended and is_even

    def bars(self):
        """Return each bar of the table: (symbol, minute) -> (open, high, low, close, volume, trades)."""
        rows = self.rows(
            'SELECT symbol, (extract(epoch FROM "timestamp") / 60)::int, open::float8, high::float8, low::float8,'
            " close::float8, volume::float8, trade_count FROM ohlcv_1min"
        )
        return {(symbol, minute): tuple(values) for symbol, minute, *values in rows}

    def counted(self):
        """Count the bars of all trades again, tick by tick."""
        bars = {}
        for symbol, minute, price, size in self.ticks:
            opened, high, low, _, volume, trades = bars.get((symbol, minute), (price, price, price, price, 0.0, 0))
            bars[symbol, minute] = (opened, max(high, price), min(low, price), price, volume + size, trades + 1)
        return bars

    def numbers(self):
        return dict(self.rows("SELECT partition, outbox_number FROM checkpoint ORDER BY partition"))

    def shape(self):
        return self.rows("SELECT partitions, former_partitions FROM stream")[0]


def as_ticks(ticks):
    symbols = sorted({tick[0] for tick in ticks})
    codes = np.array([symbols.index(tick[0]) for tick in ticks], "<u2")
    ts = np.array([minute * 60 * 10**9 + 10**9 for _, minute, _, _ in ticks], "<i8")
    price, size = (np.array([tick[i] for tick in ticks], "<f8") for i in (2, 3))
    return Ticks(symbols, codes, ts, price, size)


@contextmanager
def running(make):
    """Run a worker or a bridge in a thread to its own end."""
    stop, died = threading.Event(), []
    process = make(stop)

    def run():
        try:
            process.run()
        except BaseException as e:  # noqa: BLE001  # the test raises it
            died.append(e)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield process
    finally:
        stop.set()
        thread.join(120)
        process._database.close()
        process._client.close()
    if died:
        raise died[0]


@pytest.fixture
def world_of(migrated_servers):
    """Give a function that makes the world of a stream of so many partitions."""
    with (
        postgres.connect(migrated_servers.database_url, name="test") as connection,
        connect_redis(migrated_servers.redis_url) as client,
    ):

        def make(partitions):
            open_stream(connection, partitions)
            return World(migrated_servers, connection, client)

        yield make


# -- what is kept --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("before", "after"), [(16, 4), (4, 32), (1, 3)])
def test_bars_that_were_open_go_on_exactly(world_of, wait_for, before, after):
    world = world_of(before)
    with world.working():
        world.send("first", world.market(400), delay_ms=DELAY_MS)
        wait_for(lambda: world.rows("SELECT sum(applied) FROM ledger") == [(400,)])
        world.knock(world.market(20))
        wait_for(world.is_committed)
    assert world.bars() == {}
    open_bars = len(world.counted())
    assert world.repartition(after) == RepartitionOutcome(before, open_bars)
    for partition, state in world.rows("SELECT partition, state FROM checkpoint"):
        assert {crc32(symbol.encode()) % after for symbol in load_state(state, partition).symbols} <= {partition}

    with world.working():
        world.knock(world.market(20))
        wait_for(world.is_committed)
        assert world.bars() == {}  # no clock was moved
        world.send("second", world.market(400, minutes=(0, 1, 2)))
        wait_for(lambda: len(world.bars()) == len(world.counted()))
        wait_for(world.is_committed)
    assert world.bars() == world.counted()
    assert unbalanced_rows(world.connection) == []
    owners = dict(world.rows("SELECT producer, count(*) FROM ledger WHERE partition < %s GROUP BY producer", after))
    assert owners == {"first": after, "second": after, "front-door": after}


@pytest.mark.slow
def test_open_bars_go_on_exactly_on_a_redis_cluster(migrated_servers, tmp_path, wait_for):
    with nodes() as started:
        *_, url = start_cluster(tmp_path, started)
        servers = Servers(url, migrated_servers.database_url)
        with (
            postgres.connect(servers.database_url, name="test") as connection,
            closing(connect_redis(url)) as client,
        ):
            open_stream(connection, 8)
            world = World(servers, connection, client)
            with world.working():
                world.send("first", world.market(400), delay_ms=DELAY_MS)
                world.knock(world.market(20))
                wait_for(world.is_committed, 60)
            assert world.repartition(3) == RepartitionOutcome(8, len(world.counted()))
            with world.working():
                world.send("second", world.market(400, minutes=(0, 1, 2)))
                wait_for(lambda: world.bars() == world.counted(), 60)
            assert unbalanced_rows(connection) == []


def replayed(world, file):
    """Replay a file to its end with a worker; None where it was replayed before."""
    stop, options = threading.Event(), ProducerOptions()
    feed = replay_feed(world.place, [file], options, world.partitions, stop, ReplaySource([file]))
    if feed is None:
        return None
    with world.working():
        assert run_producer(world.place, world.client, feed, options, stop, lambda _: None)
    return feed.identity.producer


def test_a_file_that_was_replayed_changes_no_bar_when_it_is_replayed_again(world_of, tmp_path):
    world = world_of(4)
    file = tmp_path / "trades.csv"
    rows = [f"{s},{10 + i / 100},{(1_381_147_200 + i) * 10**9},{i + 1}" for i, s in enumerate(SYMBOLS * 4)]
    file.write_text("\n".join(["ticker,price,sip_timestamp,size", *rows]) + "\n")
    in_table = 'SELECT * FROM ohlcv_1min ORDER BY symbol COLLATE "C", "timestamp"'
    first = replayed(world, str(file))
    bars = world.rows(in_table)
    assert len(bars) > len(SYMBOLS)
    assert world.repartition(3) == RepartitionOutcome(4, 0)
    second = replayed(world, str(file))  # another replay: its frames are other frames
    assert second not in (None, first)
    assert world.rows(in_table) == bars
    assert unbalanced_rows(world.connection) == []
    replays = read_stream(world.connection, world.client).replays
    assert [(r.name, r.state, r.partitions_ended, r.partitions) for r in replays] == [
        (first, "finished", 4, 4),
        (second, "finished", 3, 3),
    ]
    assert world.repartition(4) == RepartitionOutcome(3, 0)
    assert replayed(world, str(file)) is None


def test_results_are_counted_on_and_published_in_a_new_epoch(world_of, wait_for):
    world = world_of(4)

    def trade_and_publish(name):
        with world.speaking() as bridge, world.working():
            world.send(name, world.market(200, minutes=(-2, -1)))  # within the 15 minutes of a live tick
            wait_for(world.is_committed)
            wait_for(lambda: world.rows("SELECT sum(undetected) FROM checkpoint") == [(0,)])
            told = "SELECT bool_and(number = outbox_number) FROM checkpoint JOIN bridge_position USING (partition)"
            wait_for(lambda: world.rows(told) == [(True,)])
        assert bridge._reader.lost == 0
        return world.numbers(), current_epoch(world.client)

    numbers, epoch = trade_and_publish("one")
    assert min(numbers.values()) > 0
    assert world.repartition(2).former == 4
    assert world.numbers() == {0: numbers[0], 1: numbers[1]}
    assert world.client.ttl(results_key(3)) > 0  # for who was away
    between, next_epoch = trade_and_publish("two")
    assert next_epoch > epoch
    assert world.repartition(4).former == 2
    assert world.numbers() == between | {2: numbers[2], 3: numbers[3]}
    assert world.client.ttl(results_key(3)) == -1
    after, last_epoch = trade_and_publish("three")
    assert last_epoch > next_epoch
    assert all(after[p] > (between | {2: numbers[2], 3: numbers[3]})[p] for p in range(4))
    results = [int(entry.partition(b"-")[0]) for entry, _ in world.client.xrange(results_key(3))]
    assert results == list(range(1, after[3] + 1))
    assert sum(volume for *_, volume, _ in world.bars().values()) == sum(size for *_, size in world.ticks)


def test_frames_that_redis_brings_back_are_not_applied_again(world_of, wait_for):
    world = world_of(2)
    with world.working():
        world.send("one", world.market(100), delay_ms=DELAY_MS)
        world.knock(world.market(5))
        wait_for(world.is_committed)
    kept = {key: world.client.dump(key) for p in range(2) for key in (stream_key(p), flow_key(p))}
    world.repartition(3)
    for key, body in kept.items():
        world.client.restore(key, 0, body)
    with world.working():
        world.send("two", world.market(100))
        wait_for(lambda: world.bars() == world.counted())
        wait_for(world.is_committed)
    assert unbalanced_rows(world.connection) == []


def test_a_lost_hole_of_one_partition_is_fetched_for_all_symbols(world_of):
    world = world_of(4)
    world.rows("INSERT INTO gap (feed, partition, first_minute, last_minute, why) VALUES ('live', 3, 1, 2, 'a hole')")
    world.repartition(2)
    assert world.rows("SELECT partition, state FROM gap") == [(None, "open")]


# -- what is refused -----------------------------------------------------------------------------------------------


def refusal(world, partitions=8, **options):
    with capture_logs() as logged, pytest.raises(SetupError) as refused:
        world.repartition(partitions, **options)
    # Who does not wait is told once. The bridges and workers of other threads may say something, too.
    assert "repartition waits: the stream is not at rest" not in [entry["event"] for entry in logged]
    first, *obstacles = str(refused.value).split("\n- ")
    assert first == "nothing was changed, because the stream is not at rest:"
    assert world.shape() == (world.partitions, None)
    return obstacles


def test_two_commands_do_not_run_at_the_same_time(world_of):
    world = world_of(4)
    world.rows("SELECT pg_advisory_lock(hashtext('tickstockpl.repartition'))")
    with pytest.raises(SetupError, match="another `tickstock repartition` is running"):
        world.repartition(2)
    world.rows("SELECT pg_advisory_unlock(hashtext('tickstockpl.repartition'))")
    assert world.repartition(2).former == 4


def test_a_fleet_that_runs_is_named(world_of, wait_for):
    world = world_of(2)
    with world.working(), world.speaking():
        wait_for(lambda: world.rows("SELECT count(*) FROM lease WHERE owner IN ('w1', 'b1')") == [(5,)])
        assert refusal(world) == [
            "b1 runs (it holds the lease bridge): stop it",
            "w1 runs (it holds the lease consumer:w1): stop it",
        ]
    # One that hangs: its leases end, its connection does not.
    with psycopg.connect(world.servers.database_url, application_name="tickstock-worker w9"):
        assert refusal(world) == ["a worker w9 is connected: stop it"]
    for loop in ("jobs", "jobs-coordinator", "jobs-listener"):
        with psycopg.connect(world.servers.database_url, application_name=f"tickstock-{loop} j9"):
            assert refusal(world) == ["a jobs j9 is connected: stop it"]
    looks = []
    assert world.repartition(8, wait=lambda: looks.append(1) or len(looks) < 400) == RepartitionOutcome(2, 0)


def test_what_runs_have_to_say_stays_and_is_told_afterwards(world_of, wait_for):
    world = world_of(2)
    with world.working():
        wait_for(lambda: world.rows("SELECT count(*) FROM lease WHERE owner = 'w1'") == [(4,)])
    world.rows("INSERT INTO outbox (partition, number, kind, body) VALUES (-1, 1, 'run', '[]')")
    world.rows("UPDATE run_result SET number = 1")
    assert world.repartition(1) == RepartitionOutcome(2, 0)
    assert world.rows("SELECT partition, number FROM outbox") == [(-1, 1)]
    with world.working(), world.speaking():
        wait_for(lambda: world.rows("SELECT number FROM bridge_position WHERE partition = -1") == [(1,)])


def test_what_is_not_done_yet_is_named_with_what_does_it(world_of):
    world = world_of(1)
    world.send("one", world.market(30), lease=False)
    world.knock(world.market(2))
    open_replay(world.connection, "replay-1", "a.csv", 1, again=False)
    world.rows("INSERT INTO outbox (partition, number, kind, body) VALUES (0, 7, 'bars', '[]')")
    world.rows("UPDATE checkpoint SET outbox_number = 7")
    world.rows("INSERT INTO bridge_position (partition, number, epoch) VALUES (0, 6, 1)")
    unfinished = (
        "replay-1 (a.csv) is not finished: replay it to its end with the same command, or give it up with "
        "`tickstock replay --abandon replay-1`"
    )
    do = "run a worker until `tickstock status` shows no lag"
    assert refusal(world) == [
        f"31 ticks were sent to partitions 0 and are not committed: {do}",
        f"2 entries of tickstock-stream are not applied everywhere: {do}",
        unfinished,
        "results of partitions 0 are not copied to Redis: run a worker until they are",
        "results of partitions 0 are not published: run a bridge until they are",
    ]


def test_what_no_bridge_ever_published_does_not_vanish_with_its_partition(world_of):
    world = world_of(2)
    for partition in range(2):
        world.rows("INSERT INTO outbox (partition, number, kind, body) VALUES (%s, 1, 'patterns', '[]')", partition)
        world.client.xadd(results_key(partition), {"kind": "patterns", "body": "[]"}, "1-0")
    world.rows("UPDATE checkpoint SET outbox_number = 1")
    assert refusal(world, 1) == [
        "results of partitions 1 were never published, and would be lost with them: run a bridge until they are"
    ]
    world.rows("UPDATE outbox SET kind = 'bars' WHERE partition = 1")  # of which no bridge says anything
    assert world.repartition(1) == RepartitionOutcome(2, 0)


def test_the_spool_of_a_killed_producer_is_sent_first_or_given_up_as_a_gap(world_of, wait_for, tmp_path):
    world = world_of(2)
    with world.working():
        world.send("killed-1", world.market(50), end=False)
        wait_for(lambda: world.rows("SELECT sum(applied) FROM ledger") == [(50,)])
    said = (
        "producer killed-1 was killed, and may have left a spool, which would be lost: "
        "start a producer on its host once, which sends it, or use --give-up-spools"
    )
    assert refusal(world) == [said]
    numbers = dict.fromkeys(range(2), 100)
    framer = Framer(Identity("killed-1", "live", "live"), 2, now_ms=lambda: 1_000, skip={})
    with Spool(tmp_path / "killed-1", max_bytes=10**6) as spool:
        spool.append([*framer.add(as_ticks(world.market(50))), *framer.flush()])
    assert world.repartition(1, give_up_spools=True).former == 2
    assert world.repartition(3).former == 1  # it is not asked for again
    gaps = []
    target = left_behind.SpoolTarget(world.servers.redis_url, world.servers.database_url, 3, 10**6)
    left_behind.send_left_behind(tmp_path, target, threading.Event(), lambda *gap: gaps.append(gap))
    assert gaps == [(1_000, 1_000, None, SPOOL_TOO_OLD)]
    assert [world.client.exists(stream_key(p)) for p in numbers] == [0, 0]


def test_who_began_with_the_former_number_is_refused(world_of):
    world = world_of(16)
    world.repartition(4)
    said = "the stream now has 4 partitions, not 16: restart this process"
    database = postgres.Database(world.servers.database_url, name="test")
    with database.connection as connection:
        with pytest.raises(SetupError, match=said):
            Assignment(database, "w1", 16, world=REAL).join()
        with pytest.raises(SetupError, match=said):
            ProducerLease(world.servers.database_url, "producer:p", "p", wait=lambda _: False, partitions=16)
        with pytest.raises(SetupError, match=said):
            bridge_positions.claim(connection, 1, 16)
        with pytest.raises(UsageError, match="--partitions is 16, but this stream has 4: leave the option out"):
            open_stream(connection, 16)
        assert connection.execute("SELECT count(*) FROM lease WHERE owner IS NOT NULL").fetchone() == (0,)


def test_the_command_says_what_it_did_and_a_second_time_does_nothing(world_of, tickstock):
    world = world_of(2)
    ran = tickstock("repartition", "3", "--wait-s", "20", servers=world.servers)
    assert (ran.returncode, ran.stdout) == (
        0,
        "the stream has 3 partitions now, and had 2, 0 open bars went with their symbols\n",
    )
    assert world.repartition(3) is None


# -- broken off ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["before-commit", "after-commit", "half-cleared", "cleared"])
def test_killed_at_a_step_it_is_ended_by_the_same_command(world_of, wait_for, step):
    world = world_of(2)
    with world.working():
        world.send("one", world.market(100), delay_ms=DELAY_MS)
        world.knock(world.market(5))
        wait_for(world.is_committed)
    environment = os.environ | {"REDIS_URL": world.servers.redis_url, "DATABASE_URL": world.servers.database_url}
    killed = subprocess.run([sys.executable, KILLED, step, "3"], env=environment, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    if step == "before-commit":
        assert world.shape() == (2, None)
        with world.working("w2"):  # as if nothing had been
            world.send("between", world.market(50), delay_ms=DELAY_MS)
            wait_for(world.is_committed)
    else:
        again = "the change from 2 to 3 partitions was not finished: run `tickstock repartition 3` "
        (finding,) = _partitions(world.connection, None)
        assert (finding.level, finding.do) == ("FAIL", "run `tickstock repartition 3` again")
        with pytest.raises(SetupError, match=again + "again"):
            open_both(world.place, partitions=None)
        with pytest.raises(SetupError, match=again + "again"):
            make_bridge(world.place, BridgeOptions("b"), stop=threading.Event())
        with pytest.raises(SetupError, match=again + "first"):
            world.repartition(5)
    wait_for(lambda: world.rows("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == [(0,)])
    outcome = world.repartition(3)
    assert (outcome.former, outcome.open_bars is None) == (2, step != "before-commit")
    assert [world.client.exists(stream_key(p), flow_key(p)) for p in range(3)] == [0, 0, 0]
    with world.working():
        world.send("two", world.market(100))
        wait_for(lambda: world.bars() == world.counted())
        wait_for(world.is_committed)
    assert unbalanced_rows(world.connection) == []
