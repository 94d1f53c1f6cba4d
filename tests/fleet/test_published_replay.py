"""A replay told on the channels while workers and bridges are killed, replies get lost and Redis is full."""

import json
import threading
from collections import defaultdict
from contextlib import contextmanager
from urllib.parse import urlsplit

import redis
from tickstockpl.contracts.settings import Servers
from tickstockpl.db import postgres
from tickstockpl.workers.detect.definitions import seed_definitions

from .fleet import assert_same_bars, fleet_on, recount, wait_for, wait_until_detected
from .proxy import proxy_to

PATTERN_CHANNELS = ("tickstock.events.patterns", "tickstock:patterns:streaming")
PARTITIONS = 3


class Listener:
    """What a subscriber of the pattern channels heard, in its order."""

    def __init__(self, url):
        self._client = redis.Redis.from_url(url)
        self._pubsub = self._client.pubsub(ignore_subscribe_messages=True)
        self._pubsub.subscribe(*PATTERN_CHANNELS)
        self._pubsub.get_message(timeout=60)
        self.heard = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self):
        while not self._ended.is_set():
            if message := self._pubsub.get_message(timeout=0.1):
                self.heard.append((message["channel"].decode(), json.loads(message["data"])))

    def close(self):
        self._ended.set()
        self._thread.join()
        self._pubsub.close()
        self._client.close()

    def flow_ids(self, channel):
        bodies = [body for heard_on, body in list(self.heard) if heard_on == channel]
        return [
            body["data"]["flow_id"] if "data" in body else body["detection"]["metadata"]["flow_id"] for body in bodies
        ]

    def seqs(self):
        """Return the seq of each message by (epoch, channel)."""
        seqs = defaultdict(list)
        for channel, body in self.heard:
            seqs[body["epoch"], channel].append(body["seq"])
        return seqs


@contextmanager
def listening(servers):
    listener = Listener(servers.redis_url)
    try:
        yield listener
    finally:
        listener.close()


def pattern_rows(fleet):
    """Return the flow_ids of the patterns that are the first of their event: what is told."""
    first = "SELECT metadata ->> 'flow_id' FROM intraday_patterns WHERE pattern_data ->> 'event' = 'first'"
    return {flow_id for (flow_id,) in fleet.rows(first)}


def assert_every_pattern_was_told(fleet, listener):
    """Each first of an event is in the log, and was heard with its flow_id on both channels; a repeat is in neither."""
    wait_until_detected(fleet)
    rows = pattern_rows(fleet)
    assert rows
    ((repeats,),) = fleet.rows("SELECT count(*) FROM intraday_patterns WHERE pattern_data ->> 'event' = 'repeat'")
    assert repeats > 0
    for channel in PATTERN_CHANNELS:
        wait_for(lambda c=channel: rows <= set(listener.flow_ids(c)), 90, f"{channel}\n{fleet.logs()}")
        assert set(listener.flow_ids(channel)) == rows
    logged = fleet.rows("SELECT flow_id FROM integration_events WHERE checkpoint = 'PATTERN_PUBLISHED'")
    assert sorted(str(flow_id) for (flow_id,) in logged) == sorted(rows)
    flows = fleet.rows("SELECT flow_id, checkpoints_logged FROM pattern_flow_analysis")
    assert {str(flow_id) for flow_id, _ in flows} == rows
    kept, flows = fleet.rows("SELECT (SELECT count(*) FROM intraday_patterns), (SELECT count(*) FROM detection_flow)")[
        0
    ]
    assert kept == flows > len(rows)


def assert_no_hole(listener):
    for seqs in listener.seqs().values():
        assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))


def start_fleet(fleet, servers=None):
    with postgres.connect(fleet.servers.database_url, name="test") as connection:
        seed_definitions(connection)
        connection.execute("UPDATE pattern_definitions SET parameters = '{\"min_move\": 0}' WHERE name = 'Doji'")
    fleet.start_worker("w1", "--commit-ms", "50", "--read-count", "1", servers=servers)
    fleet.start("b1", "bridge", "--name", "b1")
    wait_for(lambda: fleet.rows("SELECT 1 FROM bridge_position"), 90, "the bridge")


def test_a_worker_and_a_bridge_killed_on_the_way_lose_no_pattern(migrated_servers, tmp_path, trades):
    with fleet_on(migrated_servers, tmp_path, partitions=PARTITIONS) as fleet, listening(migrated_servers) as listener:
        start_fleet(fleet)
        fleet.start("b2", "bridge", "--name", "b2")
        fleet.start_replay("producer", [trades[0]], "--publish", "--speed", "300")
        wait_for(lambda: len(listener.heard) > 5, 90, lambda: f"a first pattern\n{fleet.logs()}")
        fleet.kill("b1")
        fleet.kill("w1")
        fleet.end_leases_of("w1")
        fleet.start_worker("w2", "--commit-ms", "50")
        assert fleet.exit_code("producer", 120) == 0, fleet.logs()
        assert_every_pattern_was_told(fleet, listener)
        assert_no_hole(listener)
        assert len({epoch for epoch, _ in listener.seqs()}) == 2
        assert_same_bars(fleet.bars(), recount(trades[0]))


def test_a_lost_reply_of_the_results_transaction_loses_no_pattern(migrated_servers, tmp_path, trades):
    url = urlsplit(migrated_servers.redis_url)
    with (
        proxy_to(url.hostname, url.port, {b"tickstock-results": (2, 9, 30)}) as proxy,
        fleet_on(migrated_servers, tmp_path, partitions=PARTITIONS) as fleet,
        listening(migrated_servers) as listener,
    ):
        netloc = f"{url.netloc.rpartition('@')[0]}@127.0.0.1:{proxy.port}"
        start_fleet(fleet, Servers(url._replace(netloc=netloc).geturl(), migrated_servers.database_url))
        fleet.start_replay("producer", [trades[0]], "--publish")
        assert fleet.exit_code("producer", 120) == 0, fleet.logs()
        assert_every_pattern_was_told(fleet, listener)
        assert_no_hole(listener)
        assert proxy.lost


def test_redis_without_room_on_the_way_loses_no_pattern(migrated_servers, tmp_path, trades):
    with fleet_on(migrated_servers, tmp_path, partitions=PARTITIONS) as fleet, listening(migrated_servers) as listener:
        start_fleet(fleet)
        fleet.start_replay("producer", [trades[0]], "--publish", "--speed", "300")
        wait_for(lambda: listener.heard, 90, lambda: f"a first pattern\n{fleet.logs()}")
        try:
            fleet.redis.config_set("maxmemory", 1)
            before = len(listener.heard)
            full = "redis|Redis|memory"
            wait_for(lambda: any(word in fleet.logs() for word in full.split("|")), 90, "a word about it")
        finally:
            fleet.redis.config_set("maxmemory", 0)
        assert fleet.exit_code("producer", 120) == 0, fleet.logs()
        assert_every_pattern_was_told(fleet, listener)
        assert len(listener.heard) > before
        assert_no_hole(listener)
