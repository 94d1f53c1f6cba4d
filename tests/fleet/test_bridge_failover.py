"""Bridges that are killed, stopped and cut off: the heartbeat goes on, nothing is lost, no epoch has a hole."""

import json
import os
import signal
import time
from collections import defaultdict
from contextlib import closing
from urllib.parse import urlsplit

import psycopg
import pytest
import redis
from tickstockpl.contracts.names import HEARTBEAT, results_key
from tickstockpl.contracts.settings import Servers
from tickstockpl.db import postgres
from tickstockpl.db.queries import query
from tickstockpl.ops.embedded.folder import read_state

from .fleet import fleet_on, wait_for
from .proxy import proxy_to

PATTERNS = "tickstock.events.patterns"
INDICATORS = "tickstock:indicators:streaming"
HEALTH = "tickstock:streaming:health"
PARTITIONS = 2
MINUTE = 29_395_590  # 2025-11-21 14:30 UTC
BATCH = 1000
HEARTBEAT_MAX_AGE_S = 15.0  # older than that, the application takes the fleet for dead


def patterns(*symbols):
    bar = {"open": 10.0, "high": 11.0, "low": 9.0, "close": 10.5, "volume": 100.0}
    found = {"pattern": "Doji", "timeframe": "1min", "minute": MINUTE, "confidence": 0.9, "direction": 0}
    return "patterns", [bar | found | {"symbol": symbol, "detected_at": 1763735460.25} for symbol in symbols]


def indicators(*symbols):
    value = {"indicator": "RSI", "timeframe": "1min", "minute": MINUTE, "value": 55.5, "values": {"rsi_14": 55.5}}
    return "indicators", [value | {"symbol": s, "period": 14, "calculated_at": 1763735460.25} for s in symbols]


class Market:
    """The worker's part and the subscriber's: rows of the outbox, told on the results streams; and all that is heard.

    Every result has a symbol of its own: PARTITION-COUNT.
    """

    def __init__(self, fleet):
        self._fleet = fleet
        self._connection = postgres.connect(fleet.servers.database_url, name="test-worker")
        self._pubsub = redis.Redis.from_url(fleet.servers.redis_url).pubsub(ignore_subscribe_messages=True)
        self._pubsub.psubscribe("tickstock*")
        self._pubsub.get_message(timeout=60)
        self._numbers = [0] * PARTITIONS
        self.sent = [[] for _ in range(PARTITIONS)]  # symbols
        self.heard = []  # (channel, body)
        self._symbols = set()

    def close(self):
        self._pubsub.close()
        self._connection.close()

    def send(self, rows=1, made_by=patterns, results=3):
        """Commit and tell rows in every partition."""
        for partition in range(PARTITIONS):
            for _ in range(rows):
                symbols = [f"{partition}-{len(self.sent[partition]) + n}" for n in range(results)]
                kind, body = made_by(*symbols)
                self.sent[partition] += symbols
                number, entry = self.commit(partition, kind, body)
                self._fleet.redis.xadd(results_key(partition), entry, id=f"{number}-0")

    def commit(self, partition, kind, body):
        """Write a row of the outbox; return its number and its entry of the results stream."""
        number = self._numbers[partition] = self._numbers[partition] + 1
        encoded = json.dumps(body).encode()
        row = {"partition": [partition], "number": [number], "kind": [kind], "body": [encoded]}
        self._connection.execute(query("append_outbox"), row)
        self._connection.execute("UPDATE checkpoint SET outbox_number = %s WHERE partition = %s", (number, partition))
        return number, {"kind": kind, "body": encoded}

    def hear(self):
        """Read up to the answer of a PING, and so all that was published before; return how many results were heard."""
        self._pubsub.ping()
        while (message := self._pubsub.get_message(timeout=60))["type"] != "pong":
            self.heard.append((message["channel"].decode(), json.loads(message["data"])))
            self._symbols.update(symbol for symbol, _ in results_of(self.heard[-1:]))
        return len(self._symbols)

    def results(self):
        """Return (symbol, epoch) of each result, in the order in which they were heard."""
        return results_of(self.heard)

    def sent_count(self):
        return sum(map(len, self.sent))

    def all_heard(self):
        return self.hear() == self.sent_count()

    def epochs(self):
        self.hear()
        return sorted({body["epoch"] for _, body in self.heard})


def results_of(heard):
    inner = {PATTERNS: "data", INDICATORS: "calculation"}
    return [(body[inner[channel]]["symbol"], body["epoch"]) for channel, body in heard if channel in inner]


def assert_sound(market):
    """Nothing is lost; the order of each partition is kept in each epoch; each epoch and channel counts from 1."""
    market.hear()
    seqs = defaultdict(list)
    for channel, body in market.heard:
        seqs[body["epoch"], channel].append(body["seq"])
    for key, numbers in seqs.items():
        assert numbers == list(range(1, len(numbers) + 1)), key
    for partition, sent in enumerate(market.sent):
        mine = [(symbol, epoch) for symbol, epoch in market.results() if symbol.startswith(f"{partition}-")]
        assert list(dict.fromkeys(symbol for symbol, _ in mine)) == sent, "the first time that each was heard"


@pytest.fixture
def fleet(migrated_servers, tmp_path):
    with fleet_on(migrated_servers, tmp_path, partitions=PARTITIONS) as fleet:
        yield fleet


@pytest.fixture
def market(fleet):
    market = Market(fleet)
    yield market
    market.close()


def start_bridge(fleet, name, *options, **how):
    return fleet.start(name, "bridge", "--name", name, *options, **how)


def start_two(fleet, market):
    """Start a bridge that speaks, and one that stands by."""
    start_bridge(fleet, "b1")
    wait_for(lambda: "bridge is active" in fleet.log_file("b1").read_text(), 90, fleet.logs)
    start_bridge(fleet, "b2")
    wait_for(lambda: "bridge is standby" in fleet.log_file("b2").read_text(), 90, fleet.logs)
    market.send()
    wait_for(market.all_heard, 90, fleet.logs)


def test_a_second_bridge_of_a_name_says_that_the_name_is_taken(fleet):
    start_bridge(fleet, "b1")
    wait_for(lambda: "bridge is active" in fleet.log_file("b1").read_text(), 90, fleet.logs)
    fleet.start("again", "bridge", "--name", "b1")
    wait_for(lambda: "another bridge has the same name" in fleet.log_file("again").read_text(), 90, fleet.logs)


def send_until(market, condition):
    """Keep results coming until a condition holds."""

    def look():
        market.send(results=1)
        market.hear()
        return condition()

    wait_for(look, 90)


def stop_in_the_middle(fleet, market, name):
    """SIGSTOP a bridge that has told some of thousands of results and not all."""
    bridge = fleet.processes[name]

    def is_caught():
        before = market.hear()
        market.send(rows=12, made_by=indicators, results=1000)
        bridge.send_signal(signal.SIGSTOP)
        if before < market.hear() < market.sent_count():
            return True
        bridge.send_signal(signal.SIGCONT)  # it had not begun, or was done already
        return False

    wait_for(is_caught, 90, fleet.logs)


def test_the_standby_goes_on_after_a_kill_and_loses_nothing(fleet, market):
    start_two(fleet, market)
    stop_in_the_middle(fleet, market, "b1")
    fleet.kill("b1")
    send_until(market, lambda: market.epochs() == [1, 2] and market.all_heard())
    assert_sound(market)
    repeats = [symbol for symbol, epoch in market.results() if epoch == 2]
    assert len(repeats) == len(set(repeats)), "a bridge repeats only what its predecessor said"


@pytest.mark.slow
def test_the_heartbeat_goes_on_in_time_after_a_kill(fleet, market):
    start_two(fleet, market)
    ages_s = []

    def look():
        ages_s.append(time.time() - float(fleet.redis.get(HEARTBEAT)))
        return market.epochs() == [1, 2]

    fleet.kill("b1")
    send_until(market, look)
    assert max(ages_s) < HEARTBEAT_MAX_AGE_S


def test_the_standby_goes_on_at_once_after_sigterm(fleet, market):
    start_two(fleet, market)
    market.send(rows=20)
    fleet.rows("UPDATE lease SET expires_at = now() + interval '1 hour' WHERE unit = 'bridge'")
    assert fleet.stop("b1") == 0, fleet.logs()
    market.send()
    wait_for(market.all_heard, 90, fleet.logs)  # the lease was given back: its time to live is an hour
    assert_sound(market)
    heard = market.results()
    assert len(heard) == len({symbol for symbol, _ in heard}), "nothing is repeated after a planned end"


def test_two_bridges_that_are_stopped_at_once_stop_the_session_once(fleet, market):
    start_two(fleet, market)
    for name in ("b2", "b1"):
        fleet.processes[name].terminate()
    assert [fleet.exit_code(name, 120) for name in ("b1", "b2")] == [0, 0], fleet.logs()
    market.hear()
    stopped = [body for channel, body in market.heard if channel == "tickstock:streaming:session_stopped"]
    healths = [body["status"] for channel, body in market.heard if channel == HEALTH]
    assert (len(stopped), healths[-1]) == (1, "stopping")
    assert fleet.rows("SELECT stopped_at IS NOT NULL FROM streaming_session") == [(True,)]


def test_a_bridge_that_was_stopped_says_at_most_a_batch_more_under_its_old_epoch(fleet, market):
    start_two(fleet, market)
    stop_in_the_middle(fleet, market, "b1")
    fleet.end_leases_of("b1")
    send_until(market, lambda: market.epochs() == [1, 2] and market.all_heard())
    before = sum(body["epoch"] == 1 for _, body in market.heard)
    fleet.processes["b1"].send_signal(signal.SIGCONT)
    wait_for(lambda: "bridge is no longer active" in fleet.log_file("b1").read_text(), 90, fleet.logs)
    market.send(rows=5)
    wait_for(market.all_heard, 90, fleet.logs)
    assert sum(body["epoch"] == 1 for _, body in market.heard) - before <= BATCH
    assert_sound(market)
    fleet.kill("b2")  # and it is a standby like any other now
    fleet.end_leases_of("b2")
    send_until(market, lambda: len(market.epochs()) == 3 and market.all_heard())
    assert_sound(market)


def test_kills_again_and_again_lose_nothing(fleet, market):
    for life in range(5):
        before = market.hear()
        market.send(rows=10, made_by=indicators if life % 2 else patterns, results=60)
        start_bridge(fleet, "b1")
        wait_for(lambda heard=before: market.hear() > heard, 90, fleet.logs)
        fleet.kill("b1")
        fleet.end_leases_of("b1")
    start_bridge(fleet, "b1")
    market.send()
    wait_for(market.all_heard, 90, fleet.logs)
    assert_sound(market)
    assert fleet.stop("b1") == 0, fleet.logs()


# -- lost replies --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["EVALSHA", "XREAD", "XINFO"])
def test_a_lost_reply_of_redis_makes_no_hole(fleet, market, command):
    url = urlsplit(fleet.servers.redis_url)
    losing = {command.encode(): (2, 5, 9)}
    with proxy_to(url.hostname, url.port, losing) as proxy:
        netloc = f"{url.netloc.rpartition('@')[0]}@127.0.0.1:{proxy.port}"
        way = Servers(url._replace(netloc=netloc).geturl(), fleet.servers.database_url)
        go_on_until_lost(fleet, market, way, proxy)
    flow_ids = {body["data"]["symbol"]: body["flow_id"] for c, body in market.heard if c == PATTERNS}
    for channel, body in market.heard:
        if channel == PATTERNS:
            assert body["flow_id"] == flow_ids[body["data"]["symbol"]]
    assert len(market.epochs()) == 1


@pytest.mark.parametrize(
    "command", ["UPDATE bridge_position", "INSERT INTO bridge_position", "UPDATE lease l", "UPDATE streaming_session"]
)
def test_a_lost_reply_of_postgres_loses_nothing(fleet, market, command):
    url = urlsplit(fleet.servers.database_url)
    losing = {command.encode(): (1, 2)}
    with proxy_to(url.hostname, url.port, losing) as proxy:
        netloc = f"{url.netloc.rpartition('@')[0]}@127.0.0.1:{proxy.port}"
        way = Servers(fleet.servers.redis_url, url._replace(netloc=netloc).geturl())
        go_on_until_lost(fleet, market, way, proxy)


def go_on_until_lost(fleet, market, way, proxy):
    """Send results through a bridge behind a proxy until a reply was lost and all was heard."""
    start_bridge(fleet, "b1", servers=way)
    wait_for(lambda: fleet.redis.get(HEARTBEAT), 90, fleet.logs)
    send_until(market, lambda: proxy.lost and len(market.sent[0]) > 20)
    wait_for(market.all_heard, 90, fleet.logs)
    assert fleet.stop("b1") == 0, fleet.logs()
    assert_sound(market)


def test_while_postgres_is_cut_off_the_voice_goes_on(fleet, market):
    url = urlsplit(fleet.servers.database_url)
    with proxy_to(url.hostname, url.port) as proxy:
        netloc = f"{url.netloc.rpartition('@')[0]}@127.0.0.1:{proxy.port}"
        start_bridge(fleet, "b1", servers=Servers(fleet.servers.redis_url, url._replace(netloc=netloc).geturl()))
        wait_for(lambda: fleet.redis.get(HEARTBEAT), 90, fleet.logs)
        market.send()
        wait_for(market.all_heard, 90, fleet.logs)
        proxy.close()
        wait_for(lambda: "server away" in fleet.log_file("b1").read_text(), 90, fleet.logs)
        beat = fleet.redis.get(HEARTBEAT)
        market.send()

        def goes_on():
            market.hear()
            healths = [body["status"] for channel, body in market.heard if channel == HEALTH]
            return healths[-1] == "error" and fleet.redis.get(HEARTBEAT) != beat

        wait_for(goes_on, 90, fleet.logs)
        assert not market.all_heard(), "no result is told whose position cannot be kept"
    fleet.kill("b1")
    fleet.end_leases_of("b1")
    start_bridge(fleet, "b2")
    wait_for(market.all_heard, 90, fleet.logs)
    assert_sound(market)


# -- Redis is killed -----------------------------------------------------------------------------------------------


@pytest.fixture
def killable(own_servers, tmp_path):
    """Give a fleet with a bridge that speaks, the market, and the process id of its Redis."""
    folder, servers = own_servers
    with fleet_on(servers, tmp_path, partitions=PARTITIONS) as fleet:
        start_bridge(fleet, "b1")
        wait_for(lambda: fleet.redis.get(HEARTBEAT), 90, fleet.logs)
        with closing(Market(fleet)) as market:
            market.send()
            wait_for(market.all_heard, 90, fleet.logs)
            assert market.epochs() == [1]
            yield fleet, market, read_state(folder).valkey.pid


def assert_new_epoch(fleet):
    """Wait until the bridge speaks in its second epoch, and in no other any more."""
    wait_for(lambda: "epoch=2" in fleet.log_file("b1").read_text(), 90, fleet.logs)
    with closing(Market(fleet)) as market:
        wait_for(market.epochs, 90, fleet.logs)
        assert market.epochs() == [2]
    assert fleet.stop("b1") == 0, fleet.logs()


def test_a_redis_that_was_killed_gets_a_new_epoch_and_what_came_meanwhile(killable):
    fleet, market, redis_pid = killable
    os.kill(redis_pid, signal.SIGKILL)
    wait_for(lambda: "server away" in fleet.log_file("b1").read_text(), 90, fleet.logs)
    for partition in range(PARTITIONS):
        market.commit(partition, *patterns(f"{partition}-meanwhile"))  # nobody can tell it now
    wait_for(lambda: fleet.rows("SELECT count(*) FROM bridge_position WHERE number = 2") == [(2,)], 90, fleet.logs)
    assert_new_epoch(fleet)


def test_a_redis_that_is_back_before_the_bridge_asks_it_again_gets_a_new_epoch_too(killable):
    fleet, market, redis_pid = killable
    former = fleet.redis.info("server")["run_id"]
    with psycopg.connect(fleet.servers.database_url) as other:
        other.execute("LOCK TABLE bridge_position")
        market.send()
        wait_for(lambda: fleet.waits_for_lock("tickstock-bridge b1"), 90, fleet.logs)
        fleet.processes["b1"].send_signal(signal.SIGSTOP)  # outside of Redis
        os.kill(redis_pid, signal.SIGKILL)
        wait_for(lambda: fleet.redis.info("server")["run_id"] != former, 90, fleet.logs)
    fleet.processes["b1"].send_signal(signal.SIGCONT)
    assert_new_epoch(fleet)
