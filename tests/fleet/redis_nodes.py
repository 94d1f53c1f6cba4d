"""Redis servers of a test's own: a master with Sentinels, or a Cluster. Real processes of the embedded program."""

import subprocess
from contextlib import contextmanager
from pathlib import Path

import redis
from ports import free_port
from tickstockpl.ops.embedded.programs import valkey_program

from .fleet import wait_for

HOST = "127.0.0.1"
MASTER = "tickstock"


class Node:
    """One server process."""

    def __init__(self, folder, name, *options, sentinel=False):
        self.port = free_port()
        self.folder = Path(folder) / name
        self.folder.mkdir()
        config = self.folder / "server.conf"
        config.write_text("\n".join((f"port {self.port}", f"bind {HOST}", f"dir {self.folder}", *options)))
        command = [valkey_program(), config, *(("--sentinel",) if sentinel else ())]
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.client = redis.Redis(HOST, self.port)
        wait_for(self.client.ping, 20, f"the server {name}")

    def kill(self):
        """SIGKILL, and wait until the process is gone."""
        self.process.kill()
        self.process.wait()

    def end(self):
        self.client.close()
        self.kill()


@contextmanager
def nodes():
    """Give a list to put nodes into; they end with the block."""
    started = []
    try:
        yield started
    finally:
        for node in started:
            node.end()


def start_sentinels(folder, started, *, master_port, count=3):
    """Start Sentinels that watch a master; wait until they know each other and its replica. Return the URL."""
    sentinels = [
        Node(
            folder,
            f"sentinel{n}",
            f"sentinel monitor {MASTER} {HOST} {master_port} 2",
            f"sentinel down-after-milliseconds {MASTER} 1000",
            f"sentinel failover-timeout {MASTER} 3000",
            sentinel=True,
        )
        for n in range(count)
    ]
    started += sentinels
    for node in sentinels:  # they look at their servers, and tell each other of them, more often than every 10 and 2 s
        node.client.execute_command("SENTINEL", "DEBUG", "INFO-PERIOD", 300, "PUBLISH-PERIOD", 300, "PING-PERIOD", 300)
    for node in sentinels:
        wait_for(lambda node=node: _knows_all(node.client.sentinel_master(MASTER), count), 30, "the sentinels")
    return f"redis+sentinel://{','.join(f'{HOST}:{node.port}' for node in sentinels)}/{MASTER}/0"


def _knows_all(master, count):
    return master["num-other-sentinels"] == count - 1 and master["num-slaves"] == 1


CLUSTER_OPTIONS = (
    "cluster-enabled yes", "cluster-node-timeout 1000", "cluster-replica-validity-factor 0",
    "appendonly yes", "repl-diskless-sync-delay 0", "enable-debug-command yes",
)  # fmt: skip


def start_cluster(folder, started, *, masters=3):
    """Start a cluster whose first master has a replica. Return (masters, replica, URL)."""
    made = [
        Node(
            folder,
            f"node{n}",
            *CLUSTER_OPTIONS,
            f"cluster-port {free_port()}",
            "appendonly yes",
            "repl-diskless-sync-delay 0",
        )
        for n in range(masters + 1)
    ]
    started += made
    *heads, replica = made
    share = 16384 // masters
    for n, node in enumerate(heads):
        last = 16383 if n == masters - 1 else (n + 1) * share - 1
        node.client.execute_command("CLUSTER", "ADDSLOTSRANGE", n * share, last)
    for node in made[1:]:
        bus = int(node.client.config_get("cluster-port")["cluster-port"])
        made[0].client.execute_command("CLUSTER", "MEET", HOST, node.port, bus)
    for node in made:
        wait_for(lambda node=node: _info(node)["cluster_known_nodes"] == str(masters + 1), 30, "the nodes to meet")
    replica.client.execute_command("CLUSTER", "REPLICATE", node_id(heads[0]))
    for node in made:
        wait_for(lambda node=node: _info(node)["cluster_state"] == "ok", 30, "the cluster")
    wait_for(lambda: replica.client.info("replication").get("master_link_status") == "up", 30, "the replica")
    return heads, replica, f"redis+cluster://{','.join(f'{HOST}:{node.port}' for node in heads)}"


def node_id(node):
    return node.client.execute_command("CLUSTER", "MYID").decode()


def owner_of(nodes_, slot):
    """Return the node that holds a slot."""
    for first, last, head, *_ in nodes_[0].client.execute_command("CLUSTER SLOTS"):
        if first <= slot <= last:
            return next(node for node in nodes_ if node.port == head[1])
    raise AssertionError(slot)


def _info(node):
    said = node.client.execute_command("CLUSTER INFO")
    if isinstance(said, dict):
        return said
    return dict(line.split(":", 1) for line in said.decode().split())
