"""A connection to Redis that ends while nobody uses it."""

from contextlib import closing

import pytest
import redis
from redis.exceptions import ConnectionError as RedisConnectionError
from tickstockpl.db.redis import connect

from ..fleet.fleet import wait_for
from ..fleet.redis_nodes import CLUSTER_OPTIONS, HOST, Node, free_port, nodes


@pytest.fixture
def one_server(servers):
    """Give a Redis and our address of it."""
    with redis.Redis.from_url(servers.redis_url) as client:
        yield client, servers.redis_url


@pytest.fixture
def one_cluster(tmp_path):
    """Give the only node of a cluster, and our address of that."""
    with nodes() as started:
        node = Node(tmp_path, "node", *CLUSTER_OPTIONS, f"cluster-port {free_port()}")
        started.append(node)
        node.client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16_383)
        wait_for(lambda: node.client.execute_command("CLUSTER INFO")["cluster_state"] == "ok", 60)
        yield node.client, f"redis+cluster://{HOST}:{node.port}"


@pytest.mark.parametrize("kind", ["one_server", "one_cluster"])
def test_a_connection_that_ended_while_it_lay_idle_is_told_once(kind, request):
    server, url = request.getfixturevalue(kind)
    with closing(connect(url)) as client:
        idle = client.client_id()
        assert server.client_kill_filter(_id=idle) == 1
        with pytest.raises(RedisConnectionError):
            client.ping()
        assert client.client_id() != idle
