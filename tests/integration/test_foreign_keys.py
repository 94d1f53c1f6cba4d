"""Keys of ours that hold something else: what needs them waits and is named, all else goes on, and nothing is lost."""

import threading
from contextlib import ExitStack, closing, contextmanager

import numpy as np
import psycopg
import pytest
import redis
from structlog.testing import capture_logs
from tickstockpl.contracts.frames.maker import Identity
from tickstockpl.contracts.names import (
    BRIDGE_EPOCH,
    DEAD_LETTERS,
    DOOR_ASIDE,
    DOOR_MOVING,
    DOOR_NEXT,
    DOOR_OWNER,
    FRONT_DOOR,
    HEARTBEAT,
    SHARED_KEYS,
    bridge_seq_key,
    flow_key,
    partition_keys,
    results_key,
    stream_key,
)
from tickstockpl.contracts.partition import partition_of
from tickstockpl.contracts.ticks import Ticks
from tickstockpl.db import postgres
from tickstockpl.db.look.foreign_keys import ForeignKeyWatch, all_keys, foreign_keys
from tickstockpl.db.redis import connect
from tickstockpl.db.schema.migrate import open_stream
from tickstockpl.db.streams.flow import number_in, sent_numbers
from tickstockpl.db.world import REAL
from tickstockpl.ops.doctor.doctor import diagnose
from tickstockpl.ops.status.observer import Observer
from tickstockpl.ops.wiring.bridge import make_bridge
from tickstockpl.ops.wiring.servers import Place
from tickstockpl.ops.wiring.worker import make_worker
from tickstockpl.producer.framer import Framer
from tickstockpl.producer.sending.stream_writer import StreamWriter
from tickstockpl.producer.spool.spool import Spool
from tickstockpl.producer.spool.spooled_writer import SpooledWriter
from tickstockpl.workers.bridge.bridge import BridgeOptions
from tickstockpl.workers.worker_options import WorkerOptions

PARTITIONS = 2
BAD, GOOD = 0, 1
SYMBOLS = {BAD: "D", GOOD: "C"}  # crc32 mod 2: 0 and 1
LIVE = Identity("test-live", "live", "live")

# What somebody may put under any name, by the type that Redis gives it.
FILLS = {
    "string": lambda client, key: client.set(key, "x"),
    "list": lambda client, key: client.rpush(key, "x"),
    "set": lambda client, key: client.sadd(key, "x"),
    "zset": lambda client, key: client.zadd(key, {"x": 1.0}),
    "hash": lambda client, key: client.hset(key, "x", "y"),
    "stream": lambda client, key: client.xadd(key, {"x": "y"}),
}
SAID = {
    "string": "a string", "list": "a list", "set": "a set", "zset": "a sorted set", "hash": "a hash",
    "stream": "a stream",
}  # fmt: skip


def wrong_types(key):
    wanted = (SHARED_KEYS | partition_keys(BAD))[key]
    return [kind for kind in FILLS if kind != wanted]


class Feed:
    """A live producer of the test's, which sends one tick a call and keeps what Redis does not take."""

    def __init__(self, servers, writer):
        self.servers = servers
        self.writer = writer
        self.framer = Framer(LIVE, PARTITIONS, now_ms=writer.now_ms, skip=dict.fromkeys(range(PARTITIONS), 0))
        self.minute_ns = (writer.now_ms() // 60_000 - 5) * 60 * 10**9  # over for longer than the allowed lateness
        self.sent = dict.fromkeys(SYMBOLS.values(), 0)

    def send(self, partition):
        """Send a tick of size 1 for the partition's symbol."""
        symbol = SYMBOLS[partition]
        ts = np.array([self.minute_ns + self.sent[symbol]], "<i8")
        ticks = Ticks([symbol], np.zeros(1, "<u2"), ts, np.array([10.0]), np.array([1.0]))
        self.writer.write([*self.framer.add(ticks), *self.framer.flush()])
        self.sent[symbol] += 1


@pytest.fixture
def stream(migrated_servers):
    with postgres.connect(migrated_servers.database_url, name="test") as connection:
        open_stream(connection, PARTITIONS)
    return migrated_servers


@pytest.fixture
def client(stream):
    with redis.Redis.from_url(stream.redis_url) as client:
        yield client


@pytest.fixture(params=["stream writer", "spooled writer"])
def feed(request, stream, tmp_path):
    with ExitStack() as opened:
        client = opened.enter_context(closing(connect(stream.redis_url)))
        how = {"done": dict.fromkeys(range(PARTITIONS), 0), "wait": threading.Event().wait, "max_lag": 1000}
        if request.param == "stream writer":
            writer = StreamWriter(client, LIVE.producer, **how)
        else:
            spool = opened.enter_context(Spool(tmp_path / "spool", max_bytes=1 << 20))
            writer = SpooledWriter(client, LIVE.producer, **how, spool=spool)
        yield Feed(stream, writer)


@contextmanager
def running(make):
    """Run a worker or a bridge in a thread for the block; what it raises, the block's end raises."""
    stop, died, made = threading.Event(), [], []

    def run():
        try:
            made.append(make(stop))
            made[0].run()
        except BaseException as e:  # noqa: BLE001  # of any kind: it must not die
            died.append(e)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield died
    finally:
        stop.set()
        thread.join(60)
        for one in made:
            one._client.close()
            one._database.close()
    assert not died, died


def worker_on(servers):
    options = WorkerOptions("w", commit_ms=50, missing_frames_wait_s=60.0, gather_ms=10)
    return running(lambda stop: make_worker(Place(servers, False, 5.0), options, partitions=None, stop=stop))


def bridge_on(servers):
    place = Place(servers, False, 5.0)
    return running(lambda stop: make_bridge(place, BridgeOptions("b"), stop=stop))


def volumes(servers):
    """Return the volume of each symbol's bars: 1 a tick."""
    with psycopg.connect(servers.database_url) as connection:
        return dict(connection.execute("SELECT symbol, sum(volume)::int FROM ohlcv_1min GROUP BY symbol"))


def told_by_bridge(servers):
    """Return how many results of each partition the bridge has told, and how many there are."""
    statement = """
        SELECT c.partition, coalesce(p.number, 0), c.outbox_number
          FROM checkpoint c LEFT JOIN bridge_position p ON p.partition = c.partition"""
    with psycopg.connect(servers.database_url) as connection:
        return {partition: (told, all_of_them) for partition, told, all_of_them in connection.execute(statement)}


def look(servers):
    with closing(Observer(Place(servers, False, 5.0))) as observer:
        return observer.observe()


def types_found(servers):
    found = diagnose(servers, partitions=None, roles=["operator"])
    return [(finding.level, finding.says, finding.do) for finding in found if finding.subject == "Redis keys"]


# -- every key, every wrong type -------------------------------------------------------------------------------------


def test_the_symbols_of_these_tests_are_in_their_partitions():
    assert {partition_of(symbol, PARTITIONS): symbol for symbol in SYMBOLS.values()} == SYMBOLS


@pytest.mark.parametrize("key", [*partition_keys(BAD), *SHARED_KEYS])
def test_while_a_fleet_runs_a_foreign_key_stops_nothing_else_and_heals_exactly(key, stream, client, feed, wait_for):
    with worker_on(stream) as worker_died, bridge_on(stream) as bridge_died:

        def until(condition):
            def seen():
                feed.writer.poll_if_due(every_s=0.05)
                return worker_died or bridge_died or condition()

            wait_for(seen)
            assert not worker_died, worker_died
            assert not bridge_died, bridge_died

        feed.send(BAD)
        feed.send(GOOD)
        until(lambda: volumes(stream) == {"D": 1, "C": 1})
        for kind in wrong_types(key):
            client.delete(key)
            FILLS[kind](client, key)
            feed.send(BAD)
            feed.send(GOOD)
            until(lambda: volumes(stream).get("C") == feed.sent["C"])
            if key != HEARTBEAT:  # which the bridge has set again by then
                found = look(stream)
                assert [f"{key} holds {SAID[kind]}" in f.message for f in found.findings if f.code == "FOREIGN_KEYS"]
            client.delete(key)
            until(lambda: volumes(stream) == feed.sent)
        until(lambda: all(told == count for told, count in told_by_bridge(stream).values()))
    with psycopg.connect(stream.database_url) as connection:
        assert connection.execute("SELECT sum(applied)::int, sum(lost)::int FROM ledger").fetchone() == (
            sum(feed.sent.values()),
            0,
        )


@pytest.mark.parametrize("key", [*partition_keys(BAD), *SHARED_KEYS])
@pytest.mark.parametrize("feed", ["stream writer"], indirect=True)
def test_a_fleet_starts_beside_a_foreign_key_and_heals(key, stream, client, feed, wait_for):
    FILLS["string" if SHARED_KEYS.get(key) != "string" else "hash"](client, key)
    with worker_on(stream) as worker_died, bridge_on(stream) as bridge_died:
        feed.send(BAD)
        feed.send(GOOD)

        def until(condition):
            wait_for(lambda: feed.writer.poll_if_due(every_s=0.05) or worker_died or bridge_died or condition())
            assert not worker_died, worker_died
            assert not bridge_died, bridge_died

        until(lambda: volumes(stream).get("C") == 1)
        client.delete(key)
        until(lambda: volumes(stream) == {"D": 1, "C": 1})
        until(lambda: all(told == count for told, count in told_by_bridge(stream).values()))


@pytest.mark.parametrize("key", [*partition_keys(BAD), *SHARED_KEYS])
def test_status_and_doctor_name_the_key_and_what_to_do(key, stream, client):
    for kind in wrong_types(key):
        client.delete(key)
        FILLS[kind](client, key)
        (finding,) = [finding for finding in look(stream).findings if finding.code == "FOREIGN_KEYS"]
        assert finding.message.startswith(f"{key} holds {SAID[kind]}, not a ")
        ((level, says, do),) = types_found(stream)
        assert (level, do) == ("FAIL", finding.do)
        assert says in finding.message
        assert f"RENAME '{key}'" in do
    client.delete(key)
    assert not [finding for finding in look(stream).findings if finding.code == "FOREIGN_KEYS"]
    assert [level for level, _, _ in types_found(stream)] == ["ok"]


# -- the front door and the bridge's own counts ------------------------------------------------------------------------


def test_the_front_door_goes_on_for_the_other_partitions(stream, client, wait_for):
    client.set(stream_key(BAD), "x")
    with worker_on(stream) as died:
        for n in range(3):
            for symbol in SYMBOLS.values():
                knock(client, symbol)
            wait_for(lambda n=n: died or ledger_of(stream) == {GOOD: n + 1})
        client.delete(stream_key(BAD))
        wait_for(lambda: died or ledger_of(stream) == {BAD: 3, GOOD: 3})


def test_the_front_door_goes_on_for_the_others_however_long(stream, client, monkeypatch, wait_for):
    monkeypatch.setattr("tickstockpl.workers.door.door_reader.DOOR_ROWS_AHEAD", 2)
    client.set(flow_key(BAD), "x")
    with worker_on(stream) as died:
        for n in range(4):
            for symbol in (SYMBOLS[BAD], *[SYMBOLS[GOOD]] * 2):
                knock(client, symbol)
            wait_for(lambda n=n: died or ledger_of(stream) == {GOOD: 2 * n + 2})
        client.delete(flow_key(BAD))
        wait_for(lambda: died or ledger_of(stream) == {BAD: 4, GOOD: 8})
    assert not died, died


@pytest.mark.parametrize("key", [DOOR_OWNER, DOOR_ASIDE, DOOR_NEXT, DOOR_MOVING])
@pytest.mark.parametrize("feed", ["stream writer"], indirect=True)
def test_the_front_door_opens_again_when_its_own_key_is_right(key, stream, client, feed, wait_for):
    with worker_on(stream) as died:
        knock(client, SYMBOLS[GOOD])
        wait_for(lambda: died or ledger_of(stream) == {GOOD: 1})
        client.delete(key)
        FILLS["list"](client, key)
        client.xadd(FRONT_DOOR, {"data": "late"}, id=f"{2**60}-0")  # so that every key of the door is needed
        knock(client, SYMBOLS[GOOD])
        feed.send(GOOD)
        wait_for(lambda: died or volumes(stream) == {"C": 1})
        if key in SHARED_KEYS:
            ((level, says, _),) = types_found(stream)
            assert (level, says.startswith(f"{key} holds a ")) == ("FAIL", True)
            client.delete(key)
        wait_for(lambda: died or ledger_of(stream).get(GOOD) == 2)
    assert not died, died


@pytest.mark.parametrize("epoch", ["inf", "9223372036854775807", "nan", "-5", "0x10", b"\xff\x00"])
def test_an_owner_of_the_front_door_that_is_no_epoch_of_ours_is_nobody(epoch, stream, client, wait_for):
    client.set(DOOR_OWNER, epoch)
    with worker_on(stream) as died:
        knock(client, SYMBOLS[GOOD])
        wait_for(lambda: died or ledger_of(stream) == {GOOD: 1})


def knock(client, symbol):
    """Send a tick of now to the front door."""
    seconds, _ = client.time()
    client.xadd(FRONT_DOOR, {"symbol": symbol, "price": 10, "volume": 1, "timestamp": seconds * 1000})


def ledger_of(servers):
    with psycopg.connect(servers.database_url) as connection:
        return dict(connection.execute("SELECT partition, applied::int FROM ledger WHERE applied > 0"))


@pytest.mark.parametrize("value", ["abc", str(10**30), "-5", "1e400", "1.5"])
def test_an_epoch_that_is_no_number_of_ours_is_none(stream, client, value, wait_for):
    client.set(BRIDGE_EPOCH, value)
    with bridge_on(stream) as died:
        wait_for(lambda: died or number_in(client.get(BRIDGE_EPOCH)) in range(1, 1000))


def test_counts_that_others_wrote_begin_a_new_epoch(stream, client, wait_for):
    with bridge_on(stream) as died:
        for spoil in (
            lambda key: client.set(key, "x"),
            lambda key: client.hset(key, "", "abc"),
            lambda key: client.hset(key, "tickstock:streaming:health", "abc"),
            lambda key: client.hset(key, "tickstock:streaming:health", 2**63 - 1),
        ):
            wait_for(lambda: died or client.exists(bridge_seq_key(number_in(client.get(BRIDGE_EPOCH)))))
            epoch = number_in(client.get(BRIDGE_EPOCH))
            client.delete(bridge_seq_key(epoch))
            spoil(bridge_seq_key(epoch))
            wait_for(lambda epoch=epoch: died or number_in(client.get(BRIDGE_EPOCH)) > epoch)


# -- what a flow hash may hold -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (None, 0), (b"", 0), (b"17", 17), (b"abc", 0), (b"-1", 0), (b"1.5", 0), (b" 1", 0), (b"1_0", 0),
        (b"9223372036854775807", 2**63 - 1), (b"9223372036854775808", 0), (b"1" * 5000, 0), (b"\xff", 0),
    ],
)  # fmt: skip
def test_a_number_in_a_flow_hash_is_one_that_a_column_holds_or_none(text, number):
    assert number_in(text) == number


def test_names_that_no_producer_has_are_left_out():
    flow = {
        b"sent:p": b"5,1", b"sent:\xff\xfe": b"3,1", b"sent:a\x00b": b"3,1", b"sent:" + b"x" * 400: b"3,1",
        b"sent:": b"1", b"done:p": b"4", b"sent:q": b"abc",
    }  # fmt: skip
    assert {name: n for name, n in sent_numbers(flow).items() if name.isascii()} == {"p": 5}
    assert all(name.isprintable() for name in sent_numbers(flow))


FLOW = ["sent", "done", "want"]


@pytest.mark.parametrize("value", [b"abc", str(10**30).encode(), b"-1", b"\xff\x00", b"1,2,3"])
def test_whatever_a_flow_hash_holds_the_bars_are_exact(value, stream, client, feed, wait_for):
    for name in (LIVE.producer, "front-door", "stranger", "\x00"):
        client.hset(flow_key(BAD), mapping={f"{field}:{name}": value for field in FLOW})
    with worker_on(stream) as worker_died, bridge_on(stream) as bridge_died:
        for _ in range(3):
            feed.send(BAD)
            client.hset(flow_key(BAD), mapping={f"{field}:{LIVE.producer}": value for field in FLOW})
            knock(client, "D")
            feed.send(GOOD)
        wait_for(
            lambda: (
                feed.writer.poll_if_due(every_s=0.05)
                or worker_died
                or bridge_died
                or ledger_of_producer(stream) == {LIVE.producer: 6, "front-door": 3}
            )
        )
        look(stream)


def ledger_of_producer(servers):
    with psycopg.connect(servers.database_url) as connection:
        statement = "SELECT producer, sum(applied)::int FROM ledger WHERE applied > 0 GROUP BY producer"
        return dict(connection.execute(statement))


@pytest.mark.parametrize("feed", ["spooled writer"], indirect=True)
def test_a_done_that_is_above_all_that_was_sent_forgets_nothing(stream, client, feed, wait_for):
    client.hset(flow_key(BAD), f"done:{LIVE.producer}", 10**9)
    feed.send(BAD)
    feed.writer.poll_if_due(every_s=0)
    assert client.xlen(stream_key(BAD)) == 1
    assert feed.writer.lag == 1
    client.delete(stream_key(BAD), flow_key(BAD))
    feed.send(BAD)
    with worker_on(stream) as died:
        wait_for(lambda: feed.writer.poll_if_due(every_s=0.05) or died or volumes(stream) == {"D": 2})


# -- results that no worker wrote --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry_id", "fields"),
    [
        ("*", {"kind": "bars", "body": ""}),
        ("1-1", {"kind": "bars", "body": ""}),
        ("1-0", {"a": "b"}),
        ("5-0", {"kind": b"\xff", "body": b"\xff"}),
        ("7-0", {"kind": "void", "body": '{"from": -5, "to": 7}'}),
        ("7-0", {"kind": "void", "body": "["}),
        (f"{2**63}-5", {"kind": "patterns", "body": "[]"}),
        (f"{2**64 - 1}-{2**64 - 1}", {"kind": "patterns", "body": "[]"}),
    ],
)
@pytest.mark.parametrize("feed", ["stream writer"], indirect=True)
def test_an_entry_of_the_results_that_no_worker_wrote_costs_no_result(
    entry_id, fields, stream, client, feed, wait_for, monkeypatch
):
    monkeypatch.setattr("tickstockpl.workers.bridge.bridge._LOOK_EVERY_S", 0.1)
    client.xadd(results_key(BAD), fields, id=entry_id)
    with worker_on(stream) as worker_died, bridge_on(stream) as bridge_died:
        for _ in range(3):
            feed.send(BAD)
            feed.send(GOOD)
            wait_for(lambda: worker_died or bridge_died or volumes(stream) == feed.sent)
        wait_for(
            lambda: worker_died or bridge_died or all(told >= count for told, count in told_by_bridge(stream).values())
        )


# -- the watch ---------------------------------------------------------------------------------------------------------


def test_a_key_is_said_once_and_said_to_be_right_once(stream, client, wait_for):
    with closing(connect(stream.redis_url)) as ours, capture_logs() as said:
        watch = ForeignKeyWatch(ours, partition_keys, world=REAL)
        client.set(flow_key(BAD), "x")
        assert watch.check([BAD, GOOD]) == {BAD}
        assert watch.check([BAD, GOOD]) == set()
        assert watch.left_out == {BAD}
        assert watch.put_right() == set()  # it is too early to look
        client.delete(flow_key(BAD))
        wait_for(lambda: watch.put_right() == {BAD})
        assert watch.left_out == set()
    assert [(line["event"], line["log_level"]) for line in said] == [
        ("a key holds another type", "error"),
        ("the key is correct again", "info"),
    ]
    assert said[0]["why"] == f"{flow_key(BAD)} holds a string, not a hash of ours"


def test_every_key_of_ours_is_looked_at(stream, client):
    wanted = all_keys(PARTITIONS)
    assert set(wanted) == {
        "tickstock-stream", "tickstock-dlq", "tickstock-bridge:{bridge}:epoch", "tickstock:producer:heartbeat",
        *(f"tickstock-stream:{{p{p}}}" for p in range(2)), *(f"tickstock-stream:{{p{p}}}:flow" for p in range(2)),
        *(f"tickstock-results:{{p{p}}}" for p in range(2)), *(f"tickstock-stream:{{p{p}}}:aside" for p in range(2)),
        "tickstock-jobs", "tickstock-results:{runs}",
        "tickstock-door:{tickstock-stream}:owner", "tickstock-door:{tickstock-stream}:aside",
    }  # fmt: skip
    for key in wanted:
        client.rpush(key, "x")
    with closing(connect(stream.redis_url)) as ours:
        assert [foreign.key for foreign in foreign_keys(ours, wanted)] == list(wanted)
    assert client.type(DEAD_LETTERS) == b"list"
