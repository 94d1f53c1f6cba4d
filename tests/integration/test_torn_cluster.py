"""What commands say of a Redis Cluster that does not answer for every key."""

import json
import re
from contextlib import closing

import pytest
from redis.exceptions import AskError, ClusterDownError, MovedError, OutOfMemoryError, ResponseError, TryAgainError
from tickstockpl.contracts.errors import ServerAway
from tickstockpl.contracts.settings import Servers
from tickstockpl.db import postgres
from tickstockpl.db.schema.migrate import open_stream
from tickstockpl.ops.wiring.servers import wait_for_server

from ..fleet.redis_nodes import CLUSTER_OPTIONS, HOST, Node, free_port, nodes

PARTITIONS = 2
DOWN = "The cluster is down"
DOWN_IN_A_SCRIPT = "Can not execute a command 'xrange' while the cluster is down"


@pytest.fixture
def torn(migrated_servers, tmp_path):
    """Give servers whose Redis is a cluster of one node, which lacks the last slot: so it is down for every key."""
    with nodes() as started:
        node = Node(tmp_path, "node", *CLUSTER_OPTIONS, f"cluster-port {free_port()}")
        started.append(node)
        node.client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16_382)
        with closing(postgres.connect(migrated_servers.database_url, name="test")) as connection:
            open_stream(connection, PARTITIONS)
        yield Servers(f"redis+cluster://{HOST}:{node.port}", migrated_servers.database_url)


def test_the_status_calls_redis_away(torn, tickstock):
    ran = tickstock("status", "--json", servers=torn)
    assert ran.returncode == 1
    assert [(one["code"], one["message"]) for one in json.loads(ran.stdout)["findings"]] == [("REDIS_AWAY", DOWN)]
    assert "Traceback" not in ran.stderr


def test_the_doctor_reads_a_key_of_each_partition(torn, tickstock):
    ran = tickstock("doctor", servers=torn)
    assert ran.returncode == 1
    _, line = (
        line for line in ran.stdout.splitlines() if line.startswith("FAIL")
    )  # the streams cannot be read, either
    assert re.fullmatch(f"FAIL +Redis keys +partition 0, 1: {DOWN}  -> CLUSTER INFO and CLUSTER NODES name .*", line)


@pytest.mark.parametrize(
    ("command", "why"),
    [(("audit",), DOWN_IN_A_SCRIPT), (("repartition", 4, "--wait-s", 0), DOWN)],
    ids=lambda given: given[0],
)
def test_a_command_ends_with_one_line(torn, tickstock, command, why):
    ran = tickstock(*command, servers=torn)
    assert (ran.returncode, ran.stderr.splitlines()[-1]) == (1, f"Error: Redis cannot do this now: {why}")
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize(
    "why", [MovedError("1 h:1"), AskError("1 h:1"), TryAgainError("x"), ClusterDownError("x"), OutOfMemoryError("x")]
)
def test_who_waits_for_a_server_waits_for_a_slot_too(why):
    answers = iter([why, "answered"])

    def ask():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert wait_for_server(ask, 5) == "answered"


def test_who_waits_for_a_slot_does_not_wait_for_ever():
    def ask():
        raise ClusterDownError(DOWN)

    with pytest.raises(ServerAway, match=DOWN):
        wait_for_server(ask, 0)


def test_a_command_that_redis_does_not_know_is_not_waited_for():
    def ask():
        raise ResponseError("unknown command")

    with pytest.raises(ResponseError, match="unknown"):
        wait_for_server(ask, 5)
