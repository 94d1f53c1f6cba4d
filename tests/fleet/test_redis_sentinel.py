"""A master that dies with entries that it had acknowledged: Sentinels promote a replica that never got them."""

from contextlib import closing
from urllib.parse import urlsplit

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.sentinel import Sentinel
from tickstockpl.contracts.errors import ServerAway
from tickstockpl.contracts.names import flow_key
from tickstockpl.contracts.settings import Servers
from tickstockpl.db import redis
from tickstockpl.db.redis import connect

from .fleet import assert_all_told, assert_ledger_balances, assert_same_bars, fleet_on, recount, wait_for
from .proxy import proxy_to
from .redis_nodes import HOST, MASTER, Node, nodes, start_sentinels


@pytest.fixture(scope="module")
def watched_redis(tmp_path_factory):
    """Give (master, replica, the proxy before the master, the URL)."""
    folder = tmp_path_factory.mktemp("redis")
    with nodes() as started:
        master = Node(folder, "master", "appendonly yes", "repl-diskless-sync-delay 0")
        started.append(master)
        with proxy_to(HOST, master.port, discarding=b"PSYNC") as proxy:
            replica = Node(folder, "replica", "appendonly yes", f"replicaof {HOST} {proxy.port}")
            started.append(replica)
            wait_for(lambda: replica.client.info("replication")["master_link_status"] == "up", 30, "the replica")
            yield master, replica, proxy, start_sentinels(folder, started, master_port=proxy.port)


def test_a_master_that_no_sentinel_knows_is_named(tickstock, migrated_servers, watched_redis):
    wrong = watched_redis[-1].replace(f"/{MASTER}/", "/nobody/")
    run = tickstock("status", "--connect-timeout-s", "0.2", servers=Servers(wrong, migrated_servers.database_url))
    assert run.returncode == 1
    hosts = urlsplit(wrong).netloc.replace(",", ", ")
    assert f"no Sentinel of {hosts} names a master `nobody`: none of them watches it" in run.stdout
    assert "Traceback" not in run.stdout + run.stderr


def test_a_sentinel_that_answers_with_an_error_hides_no_other(watched_redis):
    master, _, proxy, url = watched_redis
    with connect(url.replace("//", f"//{HOST}:{master.port},")) as client:  # it knows no SENTINEL command
        assert client.info("server")["tcp_port"] == master.port
        assert client.connection_pool.get_master_address() == (HOST, proxy.port)


def test_a_connection_to_the_master_that_ended_while_it_lay_idle_is_told_once(watched_redis):
    master, *_, url = watched_redis
    with closing(connect(url)) as client:
        idle = client.client_id()
        assert master.client.client_kill_filter(_id=idle) == 1
        with pytest.raises(RedisConnectionError):
            client.ping()
        assert client.client_id() != idle


def test_sentinels_that_are_away_are_said_without_the_librarys_objects():
    url = "redis+sentinel://127.0.0.1:1,127.0.0.1:2/mine"
    with closing(redis.connect(url)) as client, pytest.raises(ServerAway) as away:
        redis.check(client, url)
    said = str(away.value)
    assert said.startswith("no Sentinel of 127.0.0.1:1, 127.0.0.1:2 names a master `mine`: Error 111 connecting to ")
    assert "<" not in said


def test_the_address_of_a_sentinel_needs_its_own_scheme(tickstock, migrated_servers, watched_redis):
    host = urlsplit(watched_redis[-1]).netloc.split(",")[0]
    run = tickstock("worker", servers=Servers(f"redis://{host}", migrated_servers.database_url))
    assert run.returncode == 1
    assert "is a sentinel server: redis+sentinel:// is its address" in run.stderr


def sent(client):
    """Return how many ticks the producers say they have sent, over all partitions."""
    return sum(
        int(value.partition(b",")[0])
        for partition in range(16)
        for name, value in client.hgetall(flow_key(partition)).items()
        if name.startswith(b"sent:")
    )


def test_a_failover_that_loses_acknowledged_entries_leaves_the_bars_exact(
    migrated_servers, watched_redis, trades, tmp_path
):
    master, replica, proxy, url = watched_redis
    file, ticks = trades
    sentinels = [tuple(host.split(":")) for host in urlsplit(url).netloc.split(",")]
    logs = tmp_path / "logs"
    logs.mkdir()
    with (
        closing(Sentinel([(host, int(port)) for host, port in sentinels]).master_for(MASTER)) as client,
        fleet_on(Servers(url, migrated_servers.database_url), logs, client=client) as fleet,
    ):
        fleet.start_worker("w1")
        fleet.start_worker("w2")
        fleet.start_replay("replay", [file], "--publish", "--speed", "300")
        wait_for(lambda: sent(master.client) > ticks // 6, 60, fleet.logs)
        proxy.discards.set()
        kept = sent(replica.client)
        wait_for(lambda: sent(master.client) > kept + ticks // 10, 60, fleet.logs)
        master.kill()
        assert sent(replica.client) < ticks // 2, "the replica has to miss what was acknowledged"
        wait_for(lambda: replica.client.info("replication")["role"] == "master", 60, "the promotion")
        assert fleet.exit_code("replay", 90) == 0, fleet.logs()
        assert_same_bars(fleet.bars(), recount(file))
        assert_ledger_balances(fleet, ticks)
        assert_all_told(fleet)
        assert [fleet.stop(name) for name in ("w1", "w2")] == [0, 0], fleet.logs()
