"""A Redis Cluster under a running fleet: a slot that moves, a node that dies and whose replica takes its place."""

import os
import signal
import time
from contextlib import closing
from threading import Event

import pytest
import redis
from redis.cluster import ClusterNode, RedisCluster
from redis.crc import key_slot
from tickstockpl.contracts.messages.channel_names import PATTERNS
from tickstockpl.contracts.names import FRONT_DOOR, HEARTBEAT, flow_key, stream_key
from tickstockpl.contracts.settings import Servers
from tickstockpl.db.redis import connect
from tickstockpl.producer.spool.spool import Spool
from tickstockpl.producer.spool.spooled_writer import SpooledWriter

from .fleet import assert_all_told, assert_ledger_balances, assert_same_bars, fleet_on, recount, wait_for
from .redis_nodes import HOST, node_id, nodes, owner_of, start_cluster
from .test_redis_sentinel import sent


@pytest.fixture
def cluster(tmp_path):
    """Give (masters, the first one's replica, the URL)."""
    with nodes() as started:
        yield start_cluster(tmp_path, started)


def refused(tickstock, servers):
    """Start a worker that has to refuse; return why."""
    run = tickstock("worker", servers=servers)
    assert run.returncode == 1
    return run.stderr


def move_slot(source, target, slot):
    """Move a slot as `redis-cli --cluster reshard` does."""
    target.client.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", node_id(source))
    source.client.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", node_id(target))
    keys = source.client.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 100)
    assert keys
    for key in keys:  # one by one: between two of them the slot is torn
        source.client.execute_command("MIGRATE", HOST, target.port, key, 0, 5000)
    for node in (target, source):
        node.client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", node_id(target))


def test_a_moved_slot_and_a_lost_node_leave_the_bars_exact(tickstock, migrated_servers, cluster, trades, tmp_path):
    heads, replica, url = cluster
    file, ticks = trades
    logs = tmp_path / "logs"
    logs.mkdir()
    startup = [ClusterNode(HOST, node.port) for node in heads]
    with (
        closing(RedisCluster(startup_nodes=startup)) as client,
        fleet_on(Servers(url, migrated_servers.database_url), logs, client=client) as fleet,
        closing(heads[1].client.pubsub(ignore_subscribe_messages=True)) as subscriber,
    ):
        subscriber.subscribe(PATTERNS)
        fleet.let_dojis_stand_anywhere()
        alone = Servers(f"redis://{HOST}:{heads[0].port}", migrated_servers.database_url)
        assert "redis+cluster:// is its address" in refused(tickstock, alone)
        fleet.start_worker("w1")
        fleet.start_worker("w2")
        fleet.start("bridge", "bridge", "--name", "b1")
        fleet.start_replay("replay", [file], "--publish", "--speed", "250")
        wait_for(lambda: sent(client) > ticks // 6, 60, fleet.logs)
        slots = {key_slot(stream_key(p).encode()): client.xlen(stream_key(p)) for p in range(16)}
        slot = next(slot for slot, entries in slots.items() if entries and owner_of(heads, slot) is heads[1])
        move_slot(heads[1], heads[2], slot)
        wait_for(lambda: sent(client) > ticks // 3, 60, fleet.logs)
        heads[0].kill()
        wait_for(lambda: replica.client.info("replication")["role"] == "master", 60, "the promotion")
        assert fleet.exit_code("replay", 90) == 0, fleet.logs()
        assert_same_bars(fleet.bars(), recount(file))
        assert_ledger_balances(fleet, ticks)
        assert_all_told(fleet)
        assert owner_of([heads[2], heads[1], replica], slot) is heads[2]
        told = "SELECT count(*) FROM outbox o JOIN bridge_position b USING (partition) WHERE o.number > b.number"
        wait_for(lambda: fleet.rows(told) == [(0,)], 30, fleet.logs)
        assert wait_for(subscriber.get_message, 30, "a pattern on another node")
        wait_for(lambda: client.get(HEARTBEAT), 30, fleet.logs)
        client.xadd(FRONT_DOOR, {"symbol": "DOOR", "price": "10", "volume": "1", "timestamp": "1381152600"})
        wait_for(lambda: fleet.rows("SELECT 1 FROM dead_letter"), 30, fleet.logs)
        wait_for(lambda: fleet.status()["lag_ticks"] == 0, 30, fleet.logs)
        doctor = tickstock("doctor", servers=fleet.servers)
        assert doctor.returncode == 0, doctor.stdout
        assert [fleet.stop(name) for name in ("w1", "w2", "bridge")] == [0, 0, 0], fleet.logs()


@pytest.mark.slow
def test_a_node_that_is_cut_off_from_the_others_is_not_believed(cluster):
    heads, replica, url = cluster
    with closing(connect(url)) as client:
        key = next(flow_key(p) for p in range(64) if owner_of(heads, key_slot(flow_key(p).encode())) is heads[0])
        client.hset(key, "a", 1)
        heads[0].client.execute_command("DEBUG", "DROP-CLUSTER-PACKET-FILTER", -2)  # its clients still reach it
        wait_for(lambda: replica.client.info("replication")["role"] == "master", 60, "the promotion")

        def is_written():
            try:
                return client.hset(key, "b", 2)
            except (redis.RedisError, OSError):
                return False

        wait_for(is_written, 60, "a write to the promoted node")
        assert replica.client.hget(key, "b") == b"2"


@pytest.mark.slow
def test_a_live_producer_waits_once_for_a_node_that_hangs(cluster, tmp_path):
    heads, _, url = cluster
    owners = {p: owner_of(heads, key_slot(flow_key(p).encode())) for p in range(64)}
    hung = next(head for head in heads[1:] if head is not owners[0])
    partition = next(p for p, owner in owners.items() if owner is hung)
    stalls, answers = 0, 0
    with closing(connect(url, timeout_s=1.0)) as client, Spool(tmp_path / "spool", max_bytes=1 << 20) as spool:
        writer = SpooledWriter(client, "p", done={0: 0, partition: 0}, wait=lambda _: False, max_lag=1000, spool=spool)
        writer.write([])
        os.kill(hung.process.pid, signal.SIGSTOP)
        try:
            while stalls <= 2 and answers < 200:
                begun_s = time.monotonic()
                writer.poll_if_due(every_s=0)
                is_stall = time.monotonic() - begun_s > 0.9
                stalls, answers = stalls + is_stall, answers + (not is_stall)
                Event().wait(0.01)  # the source's own pace
        finally:
            os.kill(hung.process.pid, signal.SIGCONT)
    assert stalls <= 2
