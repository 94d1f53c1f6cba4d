"""A Redis Cluster as one client: each command goes to the node with its key, and nothing is retried.

The library's own cluster client follows redirections and repeats commands. Here a redirection is an error like a lost
connection: the slot map is read again, and the caller restores from the committed position, as after any error.
"""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Literal

from redis.commands import CoreCommands
from redis.connection import AbstractConnection
from redis.crc import key_slot
from redis.exceptions import AskError, ClusterDownError, ReadOnlyError, RedisError, ResponseError, TryAgainError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from ..contracts.names import FRONT_DOOR
from .redis_address import Host
from .redis_commands import Node

OnError = Callable[[], object]

# After these errors the slot map may be wrong. To the library, MOVED is an AskError.
_ODD = (AskError, TryAgainError, ClusterDownError, ReadOnlyError, RedisConnectionError, RedisTimeoutError, OSError)

# Commands without a key go to one node, that of the front door: so TIME always comes from the same clock.
_KEYLESS = frozenset({"INFO", "TIME", "PING", "PUBLISH", "CONFIG", "ACL", "CLIENT", "PUBSUB"})


class Cluster(CoreCommands):
    """The nodes of a cluster. make_node: makes a client of one host, which reports errors there."""

    def __init__(self, seeds: Sequence[Host], make_node: Callable[[Host, OnError], Node]) -> None:
        self._seeds = tuple(seeds)
        self._make_node = make_node
        self._nodes: dict[Host, Node] = {}
        self._slots: list[tuple[int, int, Host]] | None = None  # None: read it before the next use
        self._failed_at: dict[Host, float] = {}  # failed nodes are asked for the map last
        self._lock = threading.Lock()

    # -- which node ------------------------------------------------------------------------------------------------

    def node_of(self, key: str | bytes) -> Node:
        """Return the client of the node that holds a key. Raises ClusterDownError if no node holds its slot."""
        slot = key_slot(key if isinstance(key, bytes) else key.encode())
        for first, last, host in self._read_slots():
            if first <= slot <= last:
                return self._node(host)
        self._slots = None
        raise ClusterDownError(f"no node of the cluster holds slot {slot}", status_code="CLUSTERDOWN")

    def masters(self) -> list[Node]:
        """Return a client of each node that has slots."""
        return [self._node(host) for host in dict.fromkeys(host for _, _, host in self._read_slots())]

    def _read_slots(self) -> list[tuple[int, int, Host]]:
        slots = self._slots
        if slots is not None:
            return slots
        why: Exception = RedisConnectionError("the cluster has no nodes")
        known = dict.fromkeys((*self._nodes, *self._seeds))
        for host in sorted(known, key=lambda host: self._failed_at.get(host, 0.0)):
            try:
                reply = self._node(host).execute_command("CLUSTER SLOTS")
            except ResponseError:
                raise  # it is not a cluster, or we lack the right
            except (RedisError, OSError) as e:
                why = e
                continue
            if reply:
                slots = [(first, last, _host(node, host)) for first, last, node, *_ in reply]
                self._drop_all_but({_host(node, host) for _, _, *nodes in reply for node in nodes})
                self._slots = slots
                return slots
        raise RedisConnectionError(f"no node of the cluster answers: {why}") from why

    def _node(self, host: Host) -> Node:
        with self._lock:
            if host not in self._nodes:
                self._nodes[host] = self._make_node(host, partial(self._note_failure, host))
            return self._nodes[host]

    def _note_failure(self, host: Host) -> None:
        """Read the map again, and from another node: a node that is cut off still has its old map."""
        self._failed_at[host] = time.monotonic()
        self._slots = None

    def _drop_all_but(self, named: set[Host]) -> None:
        """Drop nodes that have left the cluster."""
        with self._lock:
            gone = [self._nodes.pop(host) for host in self._nodes.keys() - named - {*self._seeds}]
        for node in gone:
            node.close()

    # -- the interface of a client ---------------------------------------------------------------------------------

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send a command to the node that holds its key."""
        if args[0] == "SCRIPT LOAD":
            return [node.execute_command(*args, **options) for node in self.masters()][-1]
        return self.node_of(_key_of(args)).execute_command(*args, **options)

    def pipeline(self, *, transaction: Literal[False]) -> "_Pipeline":  # noqa: ARG002  # as redis-py's: True has one node
        """Collect commands; put those of a transaction between MULTI and EXEC."""
        return _Pipeline(self)  # type: ignore[abstract]  # an attribute of the library's own clients

    def pubsub(self, **options: Any) -> Any:
        """Subscribe: a message published on any node reaches every node."""
        return self.node_of(FRONT_DOOR).pubsub(**options)

    def get_encoder(self) -> Any:
        """Return the text encoder, for scripts."""
        return self._node(self._seeds[0]).get_encoder()

    def close(self) -> None:
        """Close the connections of every node."""
        for node in list(self._nodes.values()):
            node.close()


class _Pipeline(CoreCommands):
    """Commands that are sent together, node by node. Commands of one key stay in order."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._commands: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = []

    def execute_command(self, *args: Any, **options: Any) -> "_Pipeline":
        """Collect a command until `execute`."""
        self._commands.append((None if args[0] in ("MULTI", "EXEC") else _key_of(args), args, options))
        return self

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Send all commands; return the replies in their order. Raises if a connection is lost."""
        commands, self._commands = self._commands, []
        replies: list[Any] = [None] * len(commands)
        for node, places in self._by_node(commands).items():
            pipeline = node.pipeline(transaction=False)
            for place in places:
                _, args, options = commands[place]
                pipeline.execute_command(*args, **options)
            for place, reply in zip(places, pipeline.execute(raise_on_error=False), strict=True):
                replies[place] = reply
        if raise_on_error:
            for reply in replies:
                if isinstance(reply, Exception):
                    raise reply
        return replies

    def _by_node(self, commands: Sequence[tuple[Any, tuple[Any, ...], dict[str, Any]]]) -> dict[Node, list[int]]:
        """Assign a node to each command; MULTI goes with the key after it, EXEC with the one before."""
        by_node: dict[Node, list[int]] = {}
        last: Any = None
        for place, (key, args, _) in enumerate(commands):
            last = key or (commands[place + 1][0] if args[0] == "MULTI" else last)
            by_node.setdefault(self._cluster.node_of(last), []).append(place)
        return by_node


def noting(connection_class: type[AbstractConnection], on_error: OnError) -> type[AbstractConnection]:
    """Return a connection class that reports when the slot map may be wrong: every use of a node passes here."""

    class Noting(connection_class):  # type: ignore[valid-type, misc]
        def connect(self) -> None:
            try:
                super().connect()
            except _ODD:
                on_error()
                raise

        def send_packed_command(self, *args: Any, **named: Any) -> None:
            try:
                super().send_packed_command(*args, **named)
            except _ODD:
                on_error()
                raise

        def read_response(self, *args: Any, **named: Any) -> Any:
            try:
                return super().read_response(*args, **named)
            except _ODD:
                on_error()
                raise

    return Noting


def _host(node: Sequence[Any], asked: Host) -> Host:
    """Return the address of a node; an empty name means the host that was asked."""
    name = node[0].decode() if isinstance(node[0], bytes) else node[0]
    return (name or asked[0], int(node[1]))


def _key_of(args: Sequence[Any]) -> Any:
    """Return the key of a command, as the library or our code writes it."""
    command = str(args[0]).partition(" ")[0].upper()
    if command in _KEYLESS:
        return FRONT_DOOR
    if command in ("EVAL", "EVALSHA"):
        return args[3]
    if command in ("XREAD", "XREADGROUP"):
        return args[_index_of("STREAMS", args) + 1]
    # XGROUP and XINFO have a second word; the library puts it into the first argument.
    return args[2] if args[0] in ("XGROUP", "XINFO") else args[1]


def _index_of(word: str, args: Iterable[Any]) -> int:
    return next(place for place, arg in enumerate(args) if arg in (word, word.encode()))
