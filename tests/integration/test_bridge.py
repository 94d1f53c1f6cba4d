"""One bridge on real servers; the test is the worker that commits and tells, and the subscriber that listens."""

import json
import threading
from collections import defaultdict
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

import psycopg
import pytest
import redis
from tickstockpl.contracts.errors import EpochForgotten, LeaseLost
from tickstockpl.contracts.names import BRIDGE_EPOCH, BRIDGE_GROUP, HEARTBEAT, bridge_seq_key, results_key
from tickstockpl.contracts.settings import Servers
from tickstockpl.db import postgres
from tickstockpl.db.publisher import Publisher, current_epoch
from tickstockpl.db.queries import query
from tickstockpl.db.schema.migrate import open_stream
from tickstockpl.ops.wiring.bridge import make_bridge
from tickstockpl.ops.wiring.servers import Place
from tickstockpl.workers.bridge import bridge as bridge_loop
from tickstockpl.workers.bridge import pacing, voice
from tickstockpl.workers.bridge.bridge import BridgeOptions

from ..fleet.proxy import proxy_to

PATTERNS = "tickstock.events.patterns"
STREAMED = "tickstock:patterns:streaming"
DETECTED = "tickstock:patterns:detected"
INDICATORS = "tickstock:indicators:streaming"
ALERTS = "tickstock:alerts:indicators"
OF_RESULTS = (PATTERNS, STREAMED, DETECTED, INDICATORS, ALERTS)
PARTITIONS = 2
MINUTE = 29_395_590  # 2025-11-21 14:30 UTC


def detection(symbol, confidence=0.9):
    bar = {"open": 10.0, "high": 11.0, "low": 9.0, "close": 10.5, "volume": 100.0}
    return bar | {
        "symbol": symbol, "pattern": "Doji", "timeframe": "1min", "minute": MINUTE, "confidence": confidence,
        "direction": 0, "detected_at": 1763735460.25,
    }  # fmt: skip


def patterns(*symbols):
    return "patterns", [detection(symbol) for symbol in symbols]


def indicators(*symbols):
    value = {"indicator": "RSI", "timeframe": "1min", "minute": MINUTE, "value": 55.5, "values": {"rsi_14": 55.5}}
    return "indicators", [value | {"symbol": s, "period": 14, "calculated_at": 1763735460.25} for s in symbols]


def alerts(*symbols):
    alert = {"alert_type": "RSI_OVERBOUGHT", "indicator": "RSI", "timeframe": "1min", "minute": MINUTE, "value": 71.0}
    rest = {"threshold": 70.0, "severity": "warning", "raised_at": 1763735460.25, "rsi": 71.0}
    return "alerts", [alert | rest | {"symbol": symbol} for symbol in symbols]


BARS = ("bars", [])


class Results:
    """The outbox and the results streams of two partitions, written as a worker writes them."""

    def __init__(self, servers):
        self.servers = servers
        self.redis = redis.Redis.from_url(servers.redis_url)
        self.connection = psycopg.connect(servers.database_url, autocommit=True)
        open_stream(self.connection, PARTITIONS)
        self.number = [0] * PARTITIONS

    def commit(self, kind, body, partition=0, number=None):
        """Write a row of the outbox; return its number."""
        number = self.number[partition] = number or self.number[partition] + 1
        row = {"partition": [partition], "number": [number], "kind": [kind], "body": [json.dumps(body).encode()]}
        self.connection.execute(query("append_outbox"), row)
        statement = "UPDATE checkpoint SET outbox_number = %s WHERE partition = %s"
        self.connection.execute(statement, (number, partition))
        return number

    def tell(self, kind, body, number, partition=0):
        entry = {"kind": kind, "body": json.dumps(body)}
        self.redis.xadd(results_key(partition), entry, id=f"{number}-0")

    def send(self, kind, body, partition=0):
        """Commit and tell."""
        self.tell(kind, body, self.commit(kind, body, partition), partition)

    def positions(self):
        rows = self.connection.execute(
            "SELECT partition, number FROM bridge_position WHERE partition >= 0 ORDER BY partition"
        )
        return [number for _, number in rows]


class Listener:
    """A subscriber to everything; it remembers each message in order."""

    def __init__(self, servers):
        self._pubsub = redis.Redis.from_url(servers.redis_url).pubsub(ignore_subscribe_messages=True)
        self._pubsub.psubscribe("tickstock*")
        self._pubsub.get_message(timeout=60)
        self.messages = []

    def close(self):
        self._pubsub.close()

    def hear(self):
        """Read up to the answer of a PING: what was published before it is there then."""
        self._pubsub.ping()
        while (message := self._pubsub.get_message(timeout=60))["type"] != "pong":
            self.messages.append((message["channel"].decode(), json.loads(message["data"])))
        return self.messages

    def of(self, *channels):
        return [body for channel, body in self.hear() if channel in channels]

    def symbols(self, channel=PATTERNS):
        """Return the symbols in the order in which they were said."""
        return [symbol_of(body) for body in self.of(channel)]

    def seqs(self):
        """Return the seqs of each (epoch, channel) in the order in which they came."""
        seqs = defaultdict(list)
        for channel, body in self.hear():
            seqs[body["epoch"], channel].append(body["seq"])
        return seqs


def symbol_of(body):
    inner = body.get("data") or body.get("detection") or body.get("calculation")
    return body.get("symbol") or inner["symbol"]


def assert_no_holes(listener):
    for key, seqs in listener.seqs().items():
        assert seqs == list(range(1, len(seqs) + 1)), key


@pytest.fixture
def results(migrated_servers):
    results = Results(migrated_servers)
    with results.redis, results.connection:
        yield results


@pytest.fixture
def heard(migrated_servers):
    listener = Listener(migrated_servers)
    yield listener
    listener.close()


@contextmanager
def bridge_on(servers, *, name="test", streaming_rate=None):
    """Run a bridge in a thread for the block; what it raises, the block's end raises."""
    stop, died = threading.Event(), []
    place = Place(servers, False, 5.0)
    made = make_bridge(place, BridgeOptions(name, streaming_rate), stop=stop)

    def run():
        try:
            made.run()
        except BaseException as e:  # noqa: BLE001  # of any kind: the bridge must not die
            died.append(e)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield made
    finally:
        stop.set()
        thread.join(60)
        made._client.close()
        made._database.close()
    assert not died, died


def test_a_bridge_waits_for_the_stream_that_a_worker_makes(migrated_servers, wait_for):
    stop, made = threading.Event(), []

    def make():
        place = Place(migrated_servers, False, 5.0)
        made.append(make_bridge(place, BridgeOptions("test"), stop=stop))

    asked = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'tickstock-bridge' AND query LIKE %s"
    thread = threading.Thread(target=make)
    with psycopg.connect(migrated_servers.database_url, autocommit=True) as connection:
        thread.start()
        try:
            wait_for(lambda: connection.execute(asked, ("%FROM stream WHERE%",)).fetchone() == (1,))
            assert not made
            open_stream(connection, 3)
            thread.join(60)
        finally:
            stop.set()
            thread.join(60)
    (bridge,) = made
    assert bridge._partitions == 3
    bridge._client.close()
    bridge._database.close()


# -- what is told, and in which order ------------------------------------------------------------------------------


def test_a_result_goes_out_on_the_channels_of_its_kind(results, heard, wait_for):
    with bridge_on(results.servers):
        results.send(*patterns("A"))
        results.send(*indicators("B"))
        results.send(*alerts("C"))
        wait_for(lambda: len(heard.of(*OF_RESULTS)) == 5)
    said = [(channel, symbol_of(body)) for channel, body in heard.messages if channel in OF_RESULTS]
    assert said == [(PATTERNS, "A"), (STREAMED, "A"), (DETECTED, "A"), (INDICATORS, "B"), (ALERTS, "C")]
    assert [body["result_id"] for body in heard.of(PATTERNS, INDICATORS, ALERTS)] == ["0-1", "0-2", "0-3"]
    (event,) = heard.of(PATTERNS)
    assert event["data"]["flow_id"] == event["flow_id"]
    assert (event["epoch"], event["seq"]) == (1, 1)


def test_results_of_a_partition_are_told_in_the_order_of_their_numbers(results, heard, wait_for):
    for n in range(200):
        results.send(*(patterns if n % 3 else indicators)(f"S{n}"))
    with bridge_on(results.servers):
        wait_for(lambda: results.positions() == [200, 0])
        wait_for(lambda: len(heard.of(PATTERNS, INDICATORS)) == 200)
    assert [symbol_of(body) for body in heard.of(PATTERNS, INDICATORS)] == [f"S{n}" for n in range(200)]
    assert_no_holes(heard)


def test_patterns_do_not_wait_for_the_indicators_of_another_partition(results, heard, wait_for):
    for n in range(3):
        results.send(*indicators(*(f"I{n}-{k}" for k in range(1000))), partition=0)
        results.send(*patterns(f"P{n}"), partition=1)
    with bridge_on(results.servers):
        wait_for(lambda: len(heard.of(INDICATORS)) == 3000)
    said = [symbol_of(body) for body in heard.of(PATTERNS, INDICATORS)]
    assert said[:3] == ["P0", "P1", "P2"]


def test_bars_are_not_told_and_move_the_position(results, heard, wait_for):
    results.send(*BARS)
    results.send(*patterns("A"))
    results.send(*BARS)
    with bridge_on(results.servers):
        wait_for(lambda: results.positions() == [3, 0])
        wait_for(lambda: heard.symbols() == ["A"])


def test_what_cannot_be_read_is_left_out_and_what_follows_is_told(results, heard, wait_for):
    results.send("patterns", {"no": "list"})
    results.send("of a newer worker", [])
    results.send("patterns", [detection("LATE"), detection("BAD", confidence=1.5), detection("GOOD")])
    with bridge_on(results.servers):
        wait_for(lambda: heard.symbols() == ["LATE", "GOOD"])
        wait_for(lambda: results.positions() == [3, 0])


# -- the stream is the fast way, the outbox the truth --------------------------------------------------------------


def test_a_number_that_is_missing_in_the_stream_is_fetched_from_the_outbox(results, heard, wait_for):
    numbers = {symbol: results.commit(*patterns(symbol)) for symbol in "ABCDEF"}
    for symbol in "ADF":
        results.tell(*patterns(symbol), numbers[symbol])
    with bridge_on(results.servers) as bridge:
        wait_for(lambda: len(heard.of(PATTERNS)) == 6)
        assert heard.symbols() == list("ABCDEF")
        assert bridge._reader.lost == 0


def test_a_long_gap_is_fetched_whole_and_in_order(results, heard, wait_for):
    for n in range(300):
        number = results.commit(*patterns(f"S{n}"))
    results.tell(*patterns("S299"), number)
    with bridge_on(results.servers):
        wait_for(lambda: len(heard.of(PATTERNS)) == 300)
    assert heard.symbols() == [f"S{n}" for n in range(300)]


def test_rows_that_nobody_told_are_found_in_the_outbox(results, heard, wait_for, monkeypatch):
    monkeypatch.setattr(bridge_loop, "_LOOK_EVERY_S", 0.3)
    for n in range(100):
        results.commit(*patterns(f"S{n}"))
    with bridge_on(results.servers):
        wait_for(lambda: len(heard.of(PATTERNS)) == 100)
        results.commit(*patterns("LATER"))
        wait_for(lambda: heard.symbols()[100:] == ["LATER"])
    assert heard.symbols() == [*(f"S{n}" for n in range(100)), "LATER"]


def test_a_row_that_is_told_late_is_said_once(results, heard, wait_for):
    number = results.commit(*patterns("A"))
    with bridge_on(results.servers):
        wait_for(lambda: heard.symbols() == ["A"])
        results.tell(*patterns("A"), number)
        results.send(*patterns("B"))
        wait_for(lambda: "B" in heard.symbols())
    assert heard.symbols() == ["A", "B"]


def test_redis_that_forgot_a_results_stream_loses_no_result(results, heard, wait_for):
    with bridge_on(results.servers):
        results.send(*patterns("A"))
        wait_for(lambda: heard.symbols() == ["A"])
        results.commit(*patterns("B"))
        results.redis.delete(results_key(0))
        results.send(*patterns("C"))
        wait_for(lambda: heard.symbols() == ["A", "B", "C"])


def test_a_number_that_is_nowhere_is_skipped(results, heard, wait_for):
    results.number[0] = 6  # deleted, after the retention
    results.send(*patterns("G"))
    with bridge_on(results.servers) as bridge:
        wait_for(lambda: heard.symbols() == ["G"])
        wait_for(lambda: results.positions() == [7, 0])
        assert bridge._reader.lost == 6


def test_numbers_that_a_void_row_explains_are_not_missed(results, heard, wait_for):
    results.send(*patterns("A"))
    results.number[0] = 10
    results.send("void", {"from": 2, "to": 10})
    results.send(*patterns("L"))
    with bridge_on(results.servers) as bridge:
        wait_for(lambda: heard.symbols() == ["A", "L"])
        wait_for(lambda: results.positions() == [12, 0])
        assert bridge._reader.lost == 0


def test_a_position_above_all_results_is_set_back(results, heard, wait_for):
    results.send(*patterns("A"))
    results.connection.execute("INSERT INTO bridge_position VALUES (0, 70, 0), (1, 70, 0)")
    with bridge_on(results.servers):
        wait_for(lambda: results.positions() == [1, 0])
        results.send(*patterns("B"))
        wait_for(lambda: heard.symbols() == ["B"])


# -- epoch and seq -------------------------------------------------------------------------------------------------


def test_the_next_bridge_goes_on_behind_the_position_in_a_new_epoch(results, heard, wait_for):
    with bridge_on(results.servers):
        results.send(*patterns("A"))
        wait_for(lambda: heard.symbols() == ["A"])
    with bridge_on(results.servers):
        results.send(*patterns("B"))
        wait_for(lambda: len(heard.of(PATTERNS)) == 2)
    assert [(symbol_of(body), body["epoch"], body["seq"]) for body in heard.of(PATTERNS)] == [("A", 1, 1), ("B", 2, 1)]
    assert_no_holes(heard)


def test_a_redis_that_was_emptied_gets_a_new_epoch(results, heard, wait_for):
    with bridge_on(results.servers):
        results.send(*patterns("A"))
        wait_for(lambda: results.positions() == [1, 0])  # what is told and not committed is told again
        results.redis.flushall()
        results.send(*patterns("B"))
        wait_for(lambda: "B" in heard.symbols())
    assert [(body["epoch"], body["seq"]) for body in heard.of(PATTERNS)] == [(1, 1), (2, 1)]
    assert_no_holes(heard)


def test_a_new_database_beside_an_old_redis_speaks_above_its_epoch(results, heard, wait_for):
    results.redis.set(BRIDGE_EPOCH, 41)
    with bridge_on(results.servers):
        results.send(*patterns("A"))
        wait_for(lambda: heard.symbols() == ["A"])
        assert current_epoch(results.redis) == 42
    assert heard.of(PATTERNS)[0]["epoch"] == 42


def test_positions_that_a_newer_bridge_claimed_are_not_moved(results, heard, wait_for):
    with bridge_on(results.servers) as bridge:
        wait_for(lambda: results.positions() == [0, 0])
        results.connection.execute("UPDATE bridge_position SET epoch = 8")
        results.send(*patterns("A"))
        wait_for(lambda: bridge._lease is None)
        assert results.positions() == [0, 0]
        results.connection.execute("UPDATE lease SET expires_at = clock_timestamp() WHERE unit = 'bridge'")
        wait_for(lambda: results.positions() == [1, 0])
    assert [(symbol_of(body), body["epoch"]) for body in heard.of(PATTERNS)] == [("A", 1), ("A", 9)]
    assert_no_holes(heard)


def test_nothing_is_published_under_an_epoch_that_is_over(results, heard):
    former, newer = Publisher(results.redis, 1), Publisher(results.redis, 2)
    former.open()
    newer.open()
    with pytest.raises(LeaseLost):
        former.publish([("tickstock:errors", b'{"a":1}')])
    with pytest.raises(LeaseLost):
        former.open()
    assert heard.hear() == []


def test_nothing_is_published_once_redis_lost_the_epoch(results, heard):
    publisher = Publisher(results.redis, 1)
    publisher.open()
    results.redis.delete(BRIDGE_EPOCH)
    with pytest.raises(EpochForgotten):
        publisher.publish([("tickstock:errors", b'{"a":1}')])
    assert heard.hear() == []


def test_nothing_is_published_once_redis_counts_less_than_was_said(results, heard, wait_for):
    publisher = Publisher(results.redis, 1)
    publisher.open()
    publisher.publish([("tickstock:errors", b'{"a":1}')] * 2)
    wait_for(lambda: len(heard.hear()) == 2)
    results.redis.hset(bridge_seq_key(1), mapping={"": 1, "tickstock:errors": 1})  # as a replica has it that lags
    with pytest.raises(EpochForgotten):
        publisher.publish([("tickstock:errors", b'{"a":1}')])
    assert heard.hear()[2:] == []


def test_each_channel_counts_its_own_messages(results, heard, wait_for):
    publisher = Publisher(results.redis, 3)
    publisher.open()
    assert publisher.publish([("tickstock:a", b'{"n":1}'), ("tickstock:b", b'{"n":2}'), ("other", b'{"n":3}')]) == [
        1, 1, 0
    ]  # fmt: skip
    publisher.publish([("tickstock:a", b'{"n":4}')])
    wait_for(lambda: len(heard.hear()) == 3)
    assert heard.messages == [
        ("tickstock:a", {"n": 1, "epoch": 3, "seq": 1}),
        ("tickstock:b", {"n": 2, "epoch": 3, "seq": 1}),
        ("tickstock:a", {"n": 4, "epoch": 3, "seq": 2}),
    ]
    assert publisher.receivers == {"tickstock:a": 1, "tickstock:b": 1, "other": 0}


# -- room, rate, subscribers ---------------------------------------------------------------------------------------


def refusals(client):
    return client.info("errorstats").get("errorstat_OOM", {"count": 0})["count"]


def test_a_redis_without_room_delays_results_and_loses_none(results, heard, wait_for):
    with bridge_on(results.servers):
        wait_for(lambda: results.redis.get(HEARTBEAT))
        before = refusals(results.redis)
        results.redis.config_set("maxmemory", 1)
        try:
            for n in range(5):
                results.commit(*patterns(f"S{n}"))  # a worker cannot tell them now
            wait_for(lambda: refusals(results.redis) > before)
            assert heard.symbols() == []
        finally:
            results.redis.config_set("maxmemory", 0)
        wait_for(lambda: len(heard.of(PATTERNS)) == 5)
    assert heard.symbols() == ["S0", "S1", "S2", "S3", "S4"]
    assert_no_holes(heard)


def test_a_streaming_rate_holds_back_no_other_channel(results, heard, wait_for):
    results.send(*indicators(*(f"I{n}" for n in range(1000))))
    results.send(*patterns("A", "B", "C"))
    results.send(*alerts("D"))
    with bridge_on(results.servers, streaming_rate=10.0):
        wait_for(lambda: len(heard.of(PATTERNS, DETECTED, ALERTS)) == 7)
        assert len(heard.of(INDICATORS)) < 100
        wait_for(lambda: heard.symbols(STREAMED) == ["A", "B", "C"])
        assert results.positions() == [0, 0]


def test_what_waits_for_its_rate_is_told_when_the_bridge_ends(results, heard, wait_for):
    results.send(*indicators(*(f"I{n}" for n in range(200))))
    with bridge_on(results.servers, streaming_rate=10.0):
        wait_for(lambda: len(heard.of(INDICATORS)) > 2)
    wait_for(lambda: len(heard.of(INDICATORS)) == 200)
    assert heard.symbols(INDICATORS) == [f"I{n}" for n in range(200)]
    assert results.positions() == [1, 0]


def test_a_full_queue_is_emptied_before_more_is_read(results, heard, wait_for, monkeypatch):
    monkeypatch.setattr(pacing, "_MAX_WAITING", 10)
    for n in range(10):
        results.send(*indicators(*(f"I{n}-{k}" for k in range(10))))
    with bridge_on(results.servers, streaming_rate=1000.0):
        wait_for(lambda: results.positions() == [10, 0])
    wait_for(lambda: len(heard.of(INDICATORS)) == 100)
    assert heard.symbols(INDICATORS) == [f"I{n}-{k}" for n in range(10) for k in range(10)]


@pytest.fixture
def small_output_limit(results):
    """Let Redis cut a subscriber that leaves more than 1 MB unread: ten times what the bridge says in one step."""
    name = "client-output-buffer-limit"
    before = results.redis.config_get(name)[name]
    results.redis.config_set(name, "pubsub 1000000 1000000 60")
    yield
    results.redis.config_set(name, before)


@pytest.mark.usefixtures("small_output_limit")
def test_a_subscriber_that_stops_reading_disturbs_nobody_and_sees_its_gap(results, heard, wait_for):
    lazy = redis.Redis.from_url(results.servers.redis_url).pubsub(ignore_subscribe_messages=True)
    lazy.subscribe(INDICATORS)
    lazy.get_message(timeout=60)
    with bridge_on(results.servers):
        results.send(*indicators("FIRST"))
        wait_for(lambda: heard.symbols(INDICATORS) == ["FIRST"])
        first = json.loads(wait_for(lazy.get_message)["data"])
        sent = 1
        while results.redis.pubsub_numsub(INDICATORS)[0][1]:  # until Redis has cut the lazy one
            results.send(*indicators(*(f"I{sent + n}" for n in range(500))))
            sent += 500
            wait_for(lambda expected=sent: len(heard.of(INDICATORS)) == expected)
        again = Listener(results.servers)
        results.send(*indicators("LAST"))
        (last,) = wait_for(lambda: again.of(INDICATORS))
        again.close()
    assert (first["seq"], last["seq"]) == (1, sent + 1)
    assert last["epoch"] == first["epoch"]
    assert len(heard.symbols(INDICATORS)) == sent + 1
    assert_no_holes(heard)
    lazy.close()


# -- what is seen of it, and what stays ----------------------------------------------------------------------------


def test_receivers_are_counted(results, heard, wait_for):
    with bridge_on(results.servers) as bridge:
        results.send(*patterns("A"))
        # Redis hands a message to its subscribers before it answers the bridge.
        wait_for(lambda: bridge.receivers.get(PATTERNS) == 1)
    assert heard.symbols() == ["A"]


def test_the_consumer_group_shows_where_the_bridge_stands(results, wait_for, monkeypatch):
    monkeypatch.setattr(bridge_loop, "_LOOK_EVERY_S", 0.05)
    with bridge_on(results.servers):
        for symbol in "ABC":
            results.send(*patterns(symbol))
        wait_for(
            lambda: (
                [(group["name"], group["last-delivered-id"]) for group in results.redis.xinfo_groups(results_key(0))]
                == [(BRIDGE_GROUP.encode(), b"3-0")]
            )
        )


def test_a_bridge_that_ends_leaves_the_lease(results, wait_for):
    with bridge_on(results.servers):
        wait_for(lambda: results.redis.get(HEARTBEAT))
    assert results.connection.execute("SELECT owner FROM lease WHERE unit = 'bridge'").fetchone() == (None,)


def test_a_released_lease_is_taken_by_the_standby(results, heard, wait_for):
    with ExitStack() as first_runs:
        first = first_runs.enter_context(bridge_on(results.servers, name="first"))
        wait_for(lambda: first._publisher)
        with bridge_on(results.servers, name="second") as second:
            results.send(*patterns("A"))
            wait_for(lambda: heard.symbols() == ["A"])
            assert second._lease is None
            first_runs.close()
            results.send(*patterns("B"))
            wait_for(lambda: heard.symbols() == ["A", "B"])
    assert [body["epoch"] for body in heard.of(PATTERNS)] == [1, 2]


# -- a PostgreSQL that is locked, or hangs -------------------------------------------------------------------------


@pytest.fixture
def quick_beats(monkeypatch):
    """Beat ten times a second, and look as often; each statement waits 200 ms for a lock."""
    monkeypatch.setattr(voice, "_KEY_EVERY_S", 0.1)
    monkeypatch.setattr(voice, "_HEALTH_EVERY_S", 0.1)
    monkeypatch.setattr(voice, "_ROW_EVERY_S", 0.1)
    monkeypatch.setattr(postgres, "_IMPATIENT_OPTIONS", "-c lock_timeout=200 -c statement_timeout=1s")


def beats_on(results, wait_for, times=5):
    """Wait until the heartbeat key has changed some times."""
    for _ in range(times):
        beat = results.redis.get(HEARTBEAT)
        wait_for(lambda beat=beat: results.redis.get(HEARTBEAT) != beat)


LOCKED = ["integration_events", "streaming_session", "symbols", "outbox", "bridge_position", "lease"]


@pytest.mark.usefixtures("quick_beats")
@pytest.mark.parametrize("table", LOCKED)
def test_a_table_that_is_locked_stops_no_heartbeat(results, heard, wait_for, table):
    with bridge_on(results.servers) as bridge:
        wait_for(lambda: bridge._publisher)
        with results.connection.transaction():
            results.connection.execute(f"LOCK TABLE {table}")
            beats_on(results, wait_for)
        results.send(*patterns("A"))
        wait_for(lambda: "A" in heard.symbols())
    assert_no_holes(heard)


@pytest.mark.usefixtures("quick_beats")
@pytest.mark.parametrize("table", ["integration_events", "streaming_session"])
def test_results_are_told_while_a_table_of_the_voice_is_locked(results, heard, wait_for, table):
    with bridge_on(results.servers) as bridge, psycopg.connect(results.servers.database_url) as locking:
        wait_for(lambda: bridge._publisher)
        locking.execute(f"LOCK TABLE {table} IN SHARE MODE")
        results.send(*patterns("A"))
        wait_for(lambda: heard.symbols() == ["A"])
        wait_for(lambda: heard.of("tickstock:streaming:health")[-1]["connection"]["database"] == "disconnected")
        locking.rollback()
        wait_for(lambda: heard.of("tickstock:streaming:health")[-1]["connection"]["database"] == "connected")


@pytest.mark.usefixtures("quick_beats")
@pytest.mark.parametrize("table", ["integration_events", "streaming_session"])
def test_a_table_that_is_locked_from_the_start_stops_no_heartbeat(results, wait_for, table):
    with results.connection.transaction():
        results.connection.execute(f"LOCK TABLE {table} IN SHARE MODE")
        with bridge_on(results.servers):
            beats_on(results, wait_for)


@pytest.mark.usefixtures("quick_beats")
def test_a_server_that_hangs_with_its_socket_open_stops_no_heartbeat(results, heard, wait_for, monkeypatch):
    monkeypatch.setattr(postgres, "_SILENCE_S", 0.3)
    monkeypatch.setattr(postgres, "_CONNECT_TIMEOUT_S", 2)  # seconds, the least that there is
    url = urlsplit(results.servers.database_url)
    with proxy_to(url.hostname, url.port) as proxy:
        netloc = f"{url.netloc.rpartition('@')[0]}@127.0.0.1:{proxy.port}"
        with bridge_on(Servers(results.servers.redis_url, url._replace(netloc=netloc).geturl())) as bridge:
            wait_for(lambda: bridge._publisher)
            proxy.flows.clear()
            beats_on(results, wait_for, times=3)
            proxy.flows.set()
            results.send(*patterns("A"))
            wait_for(lambda: "A" in heard.symbols())


# -- bridges that leave at once ------------------------------------------------------------------------------------


@contextmanager
def standby_on(servers):
    """Make a bridge that is told to stop before it took its first turn."""
    stop = threading.Event()
    standby = make_bridge(Place(servers, False, 5.0), BridgeOptions("standby"), stop=stop)
    stop.set()
    try:
        yield standby
    finally:
        standby._client.close()
        standby._database.close()


def last_words(heard):
    """Return how often a session was said to have stopped, and the last status."""
    return len(heard.of("tickstock:streaming:session_stopped")), heard.of("tickstock:streaming:health")[-1]["status"]


def sessions(results):
    return results.connection.execute("SELECT stopped_at IS NOT NULL FROM streaming_session").fetchall()


def test_the_session_stops_where_the_active_bridge_leaves_it_to_a_standby_that_leaves_too(results, heard, wait_for):
    with standby_on(results.servers) as standby:
        with bridge_on(results.servers) as active:
            wait_for(lambda: active._publisher)
        assert sessions(results) == [(False,)]  # the standby is still there
        standby.run()
    assert sessions(results) == [(True,)]
    assert last_words(heard) == (1, "stopping")
    assert len(heard.of("tickstock:streaming:session_started")) == 1
    assert results.connection.execute("SELECT owner FROM lease WHERE unit = 'bridge'").fetchone() == (None,)


def test_the_session_stops_where_the_standby_left_before_the_active_bridge(results, heard, wait_for):
    with standby_on(results.servers) as standby:
        with bridge_on(results.servers) as active:
            wait_for(lambda: active._publisher)
            standby.run()
        assert sessions(results) == [(True,)]
    assert last_words(heard) == (1, "stopping")


def test_a_standby_that_leaves_stops_nothing(results, heard, wait_for):
    with bridge_on(results.servers) as active:
        wait_for(lambda: active._publisher)
        with standby_on(results.servers) as standby:
            standby.run()
        results.send(*patterns("A"))
        wait_for(lambda: heard.symbols() == ["A"])
        assert sessions(results) == [(False,)]


# -- the outbox is pruned behind the bridge ------------------------------------------------------------------------


@pytest.fixture
def rows_of_two_hours(results):
    """Give five rows of the outbox, two hours old; the first is 25 hours old. All were told."""
    for symbol in "ABCDE":
        results.commit(*patterns(symbol))
    results.connection.execute("UPDATE outbox SET created_at = now() - interval '2 hours'")
    results.connection.execute("UPDATE outbox SET created_at = now() - interval '25 hours' WHERE number = 1")
    return results


def prune(results, *, retention_s=900.0, told=4):
    """Prune; return how many were deleted that the bridge had not told, and the numbers that are left."""
    values = {"partition": 0, "told": told, "retention_s": retention_s}
    (unpassed,) = results.connection.execute(query("prune_outbox"), values).fetchone()
    left = results.connection.execute("SELECT number FROM outbox ORDER BY number")
    return unpassed, [number for (number,) in left]


def test_without_a_bridge_what_is_told_is_pruned_after_the_retention(rows_of_two_hours):
    assert prune(rows_of_two_hours) == (0, [5])


def test_within_the_retention_nothing_is_pruned(rows_of_two_hours):
    assert prune(rows_of_two_hours, retention_s=100_000.0) == (0, [1, 2, 3, 4, 5])


def test_what_the_bridge_has_not_told_is_pruned_after_a_day_only(rows_of_two_hours):
    rows_of_two_hours.connection.execute("INSERT INTO bridge_position VALUES (0, 0, 1)")
    assert prune(rows_of_two_hours) == (1, [2, 3, 4, 5])


def test_what_the_bridge_has_told_is_pruned_after_the_retention(rows_of_two_hours):
    rows_of_two_hours.connection.execute("INSERT INTO bridge_position VALUES (0, 3, 1)")
    assert prune(rows_of_two_hours) == (0, [4, 5])
