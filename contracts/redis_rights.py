"""What each role asks of Redis: the ACL of its user gives this and no more, and the doctor asks for it.

A call is written as a process sends it, on a key of one partition, so that ACL DRYRUN can judge it. Redis before 7.0
knows no rights for single pairs of command and key: there, and in `acl_rules`, each command goes with each key.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from . import channel_names
from .names import (
    APPLICATION_HEARTBEAT,
    BRIDGE_EPOCH,
    BRIDGE_GROUP,
    DEAD_LETTERS,
    FRONT_DOOR,
    GROUP,
    HEARTBEAT,
    MONITORING_CONTROL,
    TICK_CHANNELS,
    bridge_seq_key,
    flow_key,
    results_key,
    stream_key,
)

Role = Literal["producer", "worker", "bridge", "application", "operator"]
Call = tuple[str, ...]

# Of these the first two words name the command, and a rule joins them: `xgroup|create`.
_CONTAINERS = ("ACL", "CLUSTER", "PUBSUB", "SCRIPT", "XGROUP", "XINFO")

_STREAM, _FLOW, _RESULTS, _SEQ = stream_key(0), flow_key(0), results_key(0), bridge_seq_key(1)
_STREAM_KEYS = "tickstock-stream*"  # the front door, the partitions and their flows
_RESULTS_KEYS = "tickstock-results:*"
_BRIDGE_KEYS = "tickstock-bridge:*"
_ALL_CHANNELS = tuple(sorted(name for key, name in vars(channel_names).items() if key.isupper()))


@dataclass(frozen=True, slots=True)
class RedisRights:
    """What one role needs. keys, channels: patterns; calls: each command on each kind of key that it is sent on.

    only_read: those of the keys that no call writes.
    """

    keys: tuple[str, ...]
    channels: tuple[str, ...]
    calls: tuple[Call, ...]
    only_read: tuple[str, ...] = ()

    @property
    def commands(self) -> tuple[str, ...]:
        """Name the commands as rules do, each once: `xadd`, `xgroup|create`."""
        return tuple(sorted({command_of(call) for call in self.calls}))

    def acl_rules(self, *, cluster: bool = False) -> str:
        """Return the rules for ACL SETUSER (Redis 7.0): they take every right away, and then give what is needed."""
        commands = sorted({*self.commands, *(command_of(call) for call in CLUSTER_CALLS)} if cluster else self.commands)
        keys = (f"%R~{key}" if key in self.only_read else f"~{key}" for key in self.keys)
        given = (keys, (f"&{name}" for name in self.channels), (f"+{command}" for command in commands))
        return " ".join(["resetkeys", "resetchannels", "-@all", *(rule for rules in given for rule in rules)])


def command_of(call: Call) -> str:
    """Name a call's command as a rule does."""
    return "|".join(call[: 2 if call[0] in _CONTAINERS else 1]).lower()


def key_of(call: Call) -> str:
    """Return the key or channel of a call; "" where it has none."""
    words = call[call.index("STREAMS") :] if "STREAMS" in call else call  # a group's name comes before them
    return next((word for word in words[1:] if word.startswith("tickstock")), "")


# SELECT: for another database than 0; INFO: the policy, the memory, the server's run id; a transaction that is
# discarded: how the doctor asks a server that has no ACL DRYRUN.
_EVERYBODY: tuple[Call, ...] = (
    *(("PING",), ("SELECT", "0"), ("INFO",), ("TIME",)),
    *(("MULTI",), ("EXEC",), ("DISCARD",)),
)

# What the nodes of a cluster are asked besides.
CLUSTER_CALLS: tuple[Call, ...] = (("CLUSTER", "SLOTS"),)

# db/frame_stream.py: who sends frames.
_SEND_FRAMES: tuple[Call, ...] = (
    ("HGET", _FLOW, "sent:p"),
    ("XADD", _STREAM, "*", "f", "frame"),
    ("HSET", _FLOW, "sent:p", "1,1"),
    ("HMGET", _FLOW, "sent:p", "done:p", "want:p"),
    ("HDEL", _FLOW, "sent:p"),
    ("XGROUP", "CREATE", _STREAM, GROUP, "0", "MKSTREAM"),
)

# db/publisher.py: messages in the epoch of the running bridge.
_SPEAK: tuple[Call, ...] = (
    ("SCRIPT", "LOAD", "return 1"),
    ("EVALSHA", "0" * 40, "2", BRIDGE_EPOCH, _SEQ),
    ("GET", BRIDGE_EPOCH),
    ("HGET", _SEQ, ""),
    ("HINCRBY", _SEQ, "", "1"),
    ("EXPIRE", _SEQ, "1"),
)

_READ_RESULTS: tuple[Call, ...] = (
    ("XREAD", "COUNT", "1", "STREAMS", _RESULTS, "0"),
    ("XINFO", "STREAM", _RESULTS),
    ("XGROUP", "CREATE", _RESULTS, BRIDGE_GROUP, "0"),
    ("XGROUP", "SETID", _RESULTS, BRIDGE_GROUP, "0"),
)

# ops/status.py and the bridge's figures.
_LOOK: tuple[Call, ...] = (
    ("HGETALL", _FLOW),
    ("XRANGE", _STREAM, "-", "+", "COUNT", "1"),
    ("XINFO", "STREAM", _STREAM),
    ("XLEN", _STREAM),
    ("XLEN", _RESULTS),
    ("XLEN", FRONT_DOOR),
    ("XLEN", DEAD_LETTERS),
)


def _group_calls(key: str) -> Iterable[Call]:
    """Return what a worker does with a stream that it reads: the partitions' and the front door."""
    yield "XGROUP", "CREATE", key, GROUP, "0", "MKSTREAM"
    yield "XGROUP", "SETID", key, GROUP, "0"
    yield "XINFO", "STREAM", key
    yield "XTRIM", key, "MINID", "0"


def _publish(channels: Iterable[str]) -> Iterable[Call]:
    return (("PUBLISH", channel, "{}") for channel in channels)


def _subscribe(channels: Iterable[str]) -> Iterable[Call]:
    return (("PSUBSCRIBE" if "*" in channel else "SUBSCRIBE", channel) for channel in channels)


RIGHTS: dict[Role, RedisRights] = {
    "producer": RedisRights(
        keys=(_STREAM_KEYS,),
        channels=TICK_CHANNELS,
        calls=(*_EVERYBODY, *_SEND_FRAMES, ("EXISTS", _FLOW), *_subscribe(TICK_CHANNELS)),
    ),
    "worker": RedisRights(
        keys=(_STREAM_KEYS, _RESULTS_KEYS, DEAD_LETTERS),
        channels=(),
        calls=(
            *_EVERYBODY,
            *_SEND_FRAMES,  # of the front door
            *_group_calls(_STREAM),
            *_group_calls(FRONT_DOOR),
            ("XREADGROUP", "GROUP", GROUP, "doctor", "COUNT", "1", "STREAMS", _STREAM, ">"),
            ("XREAD", "COUNT", "1", "STREAMS", FRONT_DOOR, "0"),
            ("XRANGE", _STREAM, "-", "+", "COUNT", "1"),
            ("XINFO", "GROUPS", _STREAM),
            ("XPENDING", _STREAM, GROUP, "-", "+", "1"),
            ("XACK", _STREAM, GROUP, "0-1"),
            ("HGETALL", _FLOW),
            ("EVAL", "return 1", "1", _STREAM),
            ("XINFO", "CONSUMERS", _STREAM, GROUP),
            ("XGROUP", "DELCONSUMER", _STREAM, GROUP, "doctor"),
            ("XSETID", FRONT_DOOR, f"{2**43}-0"),
            ("XDEL", FRONT_DOOR, "0-1"),
            ("XADD", _RESULTS, "MAXLEN", "~", "100000", "1-0", "kind", "bars", "body", ""),
            ("XINFO", "STREAM", _RESULTS),
            ("XADD", DEAD_LETTERS, "*", "reason", "unknown_shape"),
        ),
    ),
    "bridge": RedisRights(
        keys=(_STREAM_KEYS, _RESULTS_KEYS, _BRIDGE_KEYS, DEAD_LETTERS, HEARTBEAT, APPLICATION_HEARTBEAT),
        channels=(*_ALL_CHANNELS, MONITORING_CONTROL),
        calls=(
            *_EVERYBODY,
            *_LOOK,
            *_READ_RESULTS,
            *_SPEAK,
            *_publish(_ALL_CHANNELS),
            ("PUBSUB", "NUMSUB", channel_names.ERRORS),
            *_subscribe((MONITORING_CONTROL,)),
            ("SET", BRIDGE_EPOCH, "1"),
            ("SET", HEARTBEAT, "0", "EX", "120"),
            ("SET", APPLICATION_HEARTBEAT, "0", "EX", "120"),
        ),
        only_read=(_STREAM_KEYS, DEAD_LETTERS),
    ),
    # What the application, which hears us and sends us ticks, needs of ours. Its own keys and channels come on top.
    "application": RedisRights(
        keys=(FRONT_DOOR, _RESULTS_KEYS, HEARTBEAT, APPLICATION_HEARTBEAT),
        channels=(*_ALL_CHANNELS, *TICK_CHANNELS),
        calls=(
            *_EVERYBODY,
            *_subscribe(_ALL_CHANNELS),
            *(("UNSUBSCRIBE",), ("PUNSUBSCRIBE",)),
            *_publish(TICK_CHANNELS),
            ("XADD", FRONT_DOOR, "*", "data", "{}"),
            ("GET", HEARTBEAT),
            ("EXISTS", APPLICATION_HEARTBEAT),
            ("XREAD", "COUNT", "1", "STREAMS", _RESULTS, "0"),  # what a hole in `seq` missed
            ("XRANGE", _RESULTS, "-", "+", "COUNT", "1"),
        ),
        only_read=(_RESULTS_KEYS, HEARTBEAT, APPLICATION_HEARTBEAT),
    ),
    # status, doctor, audit, dlq, replay --abandon, watch, contract, publish-test-pattern. What sends ticks (replay,
    # demo) or runs a worker needs that role's rights too.
    "operator": RedisRights(
        keys=(_STREAM_KEYS, _RESULTS_KEYS, _BRIDGE_KEYS, DEAD_LETTERS, HEARTBEAT),
        channels=_ALL_CHANNELS,
        calls=(
            *_EVERYBODY,
            *_LOOK,
            *_SPEAK,
            ("GET", HEARTBEAT),
            ("ACL", "WHOAMI"),
            ("PUBSUB", "NUMSUB", channel_names.PATTERNS),
            ("XRANGE", FRONT_DOOR, "-", "+", "COUNT", "1"),
            ("XADD", FRONT_DOOR, "*", "data", "{}"),
            ("XADD", _STREAM, "*", "f", "frame"),
            ("HDEL", _FLOW, "sent:p"),
            # ops/repartition.py: streams of a partition that is no more, and its results, kept for a while.
            *(("UNLINK", _STREAM), ("UNLINK", _FLOW), ("PERSIST", _RESULTS), ("EXPIRE", _RESULTS, "1")),
            ("XINFO", "STREAM", _RESULTS),
            *_subscribe(_ALL_CHANNELS),
            *_publish(
                (channel_names.PATTERNS, channel_names.PATTERNS_STREAMING, channel_names.PATTERNS_DETECTED),
            ),
        ),
    ),
}
