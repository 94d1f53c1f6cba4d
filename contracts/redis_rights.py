"""The Redis rights of each role: its ACL user gets these and no more; `doctor` checks them.

A call is written as a process sends it, with a key of one partition, so that ACL DRYRUN can check it. Redis before 7.0
cannot limit a command to some keys: there, and in `acl_rules`, each command is allowed on each key of the role.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from .messages import channel_names
from .names import (
    APPLICATION_HEARTBEAT,
    BRIDGE_EPOCH,
    BRIDGE_GROUP,
    COMMAND_CHANNELS,
    DEAD_LETTERS,
    DOOR_ASIDE,
    DOOR_NEXT,
    DOOR_OWNER,
    FRONT_DOOR,
    GROUP,
    HEARTBEAT,
    JOB_CHANNELS,
    JOBS,
    MONITORING_CONTROL,
    TICK_CHANNELS,
    bridge_seq_key,
    flow_key,
    job_status_keys,
    renewal_keys,
    results_key,
    stream_key,
)

Role = Literal["producer", "worker", "bridge", "jobs", "api", "application", "operator"]
Call = tuple[str, ...]

# The first two words of these are the command, and a rule joins them: `xgroup|create`.
_CONTAINERS = ("ACL", "CLUSTER", "MEMORY", "PUBSUB", "SCRIPT", "XGROUP", "XINFO")

_STREAM, _FLOW, _RESULTS, _SEQ = stream_key(0), flow_key(0), results_key(0), bridge_seq_key(1)
_STREAM_KEYS = "tickstock-stream*"  # the front door, the partitions and their flows
_PARTITION_KEYS = "tickstock-stream:*"
_RENEWAL_KEYS = tuple(key.replace("{p0}", "{p*}") for key in renewal_keys(0))
_DOOR_KEYS = "tickstock-door:*"
_RESULTS_KEYS = "tickstock-results:*"
_BRIDGE_KEYS = "tickstock-bridge:*"
_JOB_STATUS = job_status_keys("1")
_JOB_STATUS_KEYS = job_status_keys("*")
_PATTERN_CHANNELS = (channel_names.PATTERNS, channel_names.PATTERNS_STREAMING, channel_names.PATTERNS_DETECTED)
_ALL_CHANNELS = tuple(sorted(name for key, name in vars(channel_names).items() if key.isupper()))


@dataclass(frozen=True, slots=True)
class Selector:
    """Rights on some keys or channels only (Redis 7.0): for commands that are not allowed on the role's other keys.

    patterns: as in rules, `~key`, `&channel`.
    """

    patterns: tuple[str, ...]
    calls: tuple[Call, ...]

    @property
    def rule(self) -> str:
        """Return the rule for ACL SETUSER."""
        return f"({' '.join([*self.patterns, *_added(self.calls)])})"


@dataclass(frozen=True, slots=True)
class RedisRights:
    """The rights of one role. keys, channels: patterns. calls: each command on each kind of key.

    only_read, only_written: keys that no call writes, or reads. selectors: rights on a few keys or channels only.
    courtesies: optional calls; the role works without them.
    """

    keys: tuple[str, ...]
    channels: tuple[str, ...]
    calls: tuple[Call, ...]
    only_read: tuple[str, ...] = ()
    only_written: tuple[str, ...] = ()
    selectors: tuple[Selector, ...] = ()
    courtesies: tuple[Call, ...] = ()

    @property
    def commands(self) -> tuple[str, ...]:
        """Name the commands that are allowed on all keys, each once, as rules do: `xadd`, `xgroup|create`."""
        return tuple(sorted({command_of(call) for call in self.calls}))

    @property
    def needed(self) -> tuple[Call, ...]:
        """Return every call that the role cannot work without."""
        return (*self.calls, *(call for selector in self.selectors for call in selector.calls))

    @property
    def may_ask_for_rights(self) -> bool:
        """Tell whether the role may test the rights of Redis's user `default` (db/look/redis_replay.py)."""
        return _ASK_FOR_RIGHTS in self.courtesies

    def acl_rules(self, *, cluster: bool = False) -> str:
        """Return the rules for ACL SETUSER (Redis 7.0): remove every right, then give the needed ones."""
        keys = (self.key_rule(key) for key in self.keys)
        commands = _added((*self.calls, *self.courtesies, *(CLUSTER_CALLS if cluster else ())))
        selectors = (selector.rule for selector in self.selectors)
        given = (keys, (f"&{name}" for name in self.channels), commands, selectors)
        return " ".join([*NOTHING, *(rule for rules in given for rule in rules)])

    def key_rule(self, key: str) -> str:
        """Return the rule for one of the key patterns."""
        return f"%R~{key}" if key in self.only_read else f"%W~{key}" if key in self.only_written else f"~{key}"


# Redis loads its append-only file as the user `default`, which must exist but accepts no login
# (db/look/redis_replay.py).
DEFAULT_USER = "off resetpass ~* &* +@all"

NOTHING = ("resetkeys", "resetchannels", "clearselectors", "-@all")  # the rules that remove every right


def _added(calls: Iterable[Call]) -> list[str]:
    return sorted({f"+{command_of(call)}" for call in calls})


def command_of(call: Call) -> str:
    """Name the command of a call as in a rule."""
    return "|".join(call[: 2 if call[0] in _CONTAINERS else 1]).lower()


def key_of(call: Call) -> str:
    """Return the key or channel of a call; "" if it has none."""
    words = call[call.index("STREAMS") :] if "STREAMS" in call else call  # skip the group's name, which comes before
    return next((word for word in words[1:] if word.startswith(("tickstock", "job:"))), "")


# SELECT: a database other than 0. INFO: the policy, the memory, the server's run id. A discarded transaction: how
# `doctor` tests rights on a server without ACL DRYRUN.
_EVERYBODY: tuple[Call, ...] = (
    *(("PING",), ("SELECT", "0"), ("INFO",), ("TIME",)),
    *(("MULTI",), ("EXEC",), ("DISCARD",)),
)

# Tests whether a restart of Redis will restore its data (db/look/redis_replay.py). It shows rights, which are not
# secret; ACL GETUSER would show password hashes.
_ASK_FOR_RIGHTS: Call = ("ACL", "DRYRUN", "default", "PING")
# db/streams/bounded_streams.py: reads the ids of a stream with a script that is loaded first. A worker may send whole
# scripts instead.
_READ_IDS: tuple[Call, ...] = (("SCRIPT", "LOAD", "return 1"), ("EVALSHA", "0" * 40, "0", _STREAM))
# db/look/foreign_keys.py: whether our keys have the right types.
_TYPES: tuple[Call, ...] = (("TYPE", _STREAM),)  # used on every key of the role; one call checks the right

# On a cluster, a client also sends these calls to each node.
CLUSTER_CALLS: tuple[Call, ...] = (("CLUSTER", "SLOTS"),)

# db/streams/frame_stream.py: to send frames.
_SEND_FRAMES: tuple[Call, ...] = (
    ("HGET", _FLOW, "sent:p"),
    ("XADD", _STREAM, "*", "f", "frame"),
    ("HSET", _FLOW, "sent:p", "1,1"),
    ("HMGET", _FLOW, "sent:p", "done:p", "want:p"),
    ("HDEL", _FLOW, "sent:p"),
    ("XGROUP", "CREATE", _STREAM, GROUP, "0", "MKSTREAM"),
)

# db/publisher.py: to publish messages in the epoch of the active bridge.
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

# db/look/fleet_look.py: to read the state of the fleet.
_LOOK: tuple[Call, ...] = (
    ("HGETALL", _FLOW),
    ("XRANGE", _STREAM, "-", "+", "COUNT", "1"),
    ("XINFO", "STREAM", _STREAM),
    ("XLEN", _STREAM),
    ("XLEN", _RESULTS),
    ("XLEN", FRONT_DOOR),
    ("XLEN", DOOR_ASIDE),
    ("XLEN", DEAD_LETTERS),
    ("XLEN", JOBS),
)


def _group_calls(key: str) -> Iterable[Call]:
    """Return the calls of a worker on a stream that it reads: a partition's or the front door."""
    yield "XGROUP", "CREATE", key, GROUP, "0", "MKSTREAM"
    yield "XGROUP", "SETID", key, GROUP, "0"
    yield "XINFO", "STREAM", key
    yield "XTRIM", key, "MINID", "0"


def _new_ids(key: str, aside: str, following: str) -> Iterable[Call]:
    """Return the calls of the worker's scripts that give a stream valid ids."""
    yield "XRANGE", key, "-", "+", "COUNT", "1"
    yield "XGROUP", "CREATE", following, GROUP, "0", "MKSTREAM"
    yield "XADD", following, "0-1", "f", "frame"
    yield "RENAME", key, aside
    yield "RENAME", following, key
    yield "EXISTS", aside
    yield "XDEL", aside, "0-1"
    yield "XDEL", key, "0-1"


def _publish(channels: Iterable[str]) -> Iterable[Call]:
    return (("PUBLISH", channel, "{}") for channel in channels)


def _subscribe(channels: Iterable[str]) -> Iterable[Call]:
    return (("PSUBSCRIBE" if "*" in channel else "SUBSCRIBE", channel) for channel in channels)


RIGHTS: dict[Role, RedisRights] = {
    "producer": RedisRights(
        keys=(_STREAM_KEYS,),
        channels=TICK_CHANNELS,
        calls=(*_EVERYBODY, *_SEND_FRAMES, ("EXISTS", _FLOW), *_TYPES, *_subscribe(TICK_CHANNELS)),
    ),
    "worker": RedisRights(
        keys=(_STREAM_KEYS, _DOOR_KEYS, _RESULTS_KEYS, DEAD_LETTERS),
        channels=(),
        calls=(
            *_EVERYBODY,
            *_SEND_FRAMES,  # for the front door
            *_TYPES,
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
            *_new_ids(FRONT_DOOR, DOOR_ASIDE, DOOR_NEXT),
            ("XSETID", DOOR_NEXT, f"{2**43}-0"),
            *(("XLEN", DOOR_ASIDE), ("XINFO", "STREAM", DOOR_ASIDE), ("XTRIM", DOOR_ASIDE, "MINID", "0")),
            *(("GET", DOOR_OWNER), ("SET", DOOR_OWNER, "1")),
            *_new_ids(_STREAM, *renewal_keys(0)[::2]),
            ("XADD", _RESULTS, "MAXLEN", "~", "100000", "1-0", "kind", "bars", "body", ""),
            ("XINFO", "STREAM", _RESULTS),
            ("XADD", DEAD_LETTERS, "*", "reason", "unknown_shape"),
            *(("XLEN", DEAD_LETTERS), ("MEMORY", "USAGE", DEAD_LETTERS), ("XTRIM", DEAD_LETTERS, "MAXLEN", "100000")),
        ),
        selectors=(
            Selector((f"~{_DOOR_KEYS}",), (("UNLINK", DOOR_NEXT), ("DEL", DOOR_ASIDE))),
            Selector(tuple(f"~{key}" for key in _RENEWAL_KEYS), tuple(("DEL", key) for key in renewal_keys(0))),
        ),
        courtesies=(_ASK_FOR_RIGHTS, *_READ_IDS),
    ),
    "bridge": RedisRights(
        keys=(
            *(_STREAM_KEYS, _DOOR_KEYS, _RESULTS_KEYS, _BRIDGE_KEYS),
            *(DEAD_LETTERS, HEARTBEAT, APPLICATION_HEARTBEAT, JOBS),
        ),
        channels=_ALL_CHANNELS,
        calls=(
            *_EVERYBODY,
            *_LOOK,
            *_READ_RESULTS,
            *_SPEAK,
            *_TYPES,
            *_publish(_ALL_CHANNELS),
            ("PUBSUB", "NUMSUB", channel_names.ERRORS),
            ("PUBSUB", "NUMSUB", channel_names.PATTERNS),
            ("GET", HEARTBEAT),
            ("PTTL", HEARTBEAT),
            ("XRANGE", FRONT_DOOR, "-", "+", "COUNT", "1"),
            ("SET", BRIDGE_EPOCH, "1"),
            ("SET", HEARTBEAT, "0", "EX", "120"),
            ("SET", APPLICATION_HEARTBEAT, "0", "EX", "120"),
        ),
        only_read=(_STREAM_KEYS, _DOOR_KEYS, DEAD_LETTERS, JOBS),
        selectors=(Selector((f"&{MONITORING_CONTROL}",), tuple(_subscribe((MONITORING_CONTROL,)))),),
        courtesies=(_ASK_FOR_RIGHTS,),
    ),
    # db/streams/jobs_stream.py, db/tables/run_results.py, workers/daily/loads, workers/backtest/jobs.
    "jobs": RedisRights(
        keys=(JOBS, _RESULTS_KEYS, *_JOB_STATUS_KEYS),
        channels=JOB_CHANNELS,
        calls=(
            *_EVERYBODY,
            ("XGROUP", "CREATE", JOBS, JOBS, "0", "MKSTREAM"),
            ("XADD", JOBS, "*", "step", ""),
            ("XRANGE", JOBS, "-", "+"),
            ("XREADGROUP", "GROUP", JOBS, "doctor", "COUNT", "1", "STREAMS", JOBS, ">"),
            ("XAUTOCLAIM", JOBS, JOBS, "doctor", "5000", "0-0"),
            ("XCLAIM", JOBS, JOBS, "doctor", "0", "0-1", "JUSTID"),
            ("XACK", JOBS, JOBS, "0-1"),
            ("XDEL", JOBS, "0-1"),
            ("XADD", _RESULTS, "MAXLEN", "~", "100000", "1-0", "kind", "run", "body", ""),
            ("XINFO", "STREAM", _RESULTS),
            *_subscribe(JOB_CHANNELS),
            ("UNSUBSCRIBE",),
            *(("SET", key, "{}", "EX", "86400") for key in _JOB_STATUS),
            *(("EXISTS", key) for key in _JOB_STATUS),
            ("XRANGE", _RESULTS, "-", "+", "COUNT", "1"),  # only `doctor`; the rights are given above
        ),
        courtesies=(_ASK_FOR_RIGHTS,),
    ),
    # Reads the fleet's state, and results as they are published. It changes nothing.
    "api": RedisRights(
        keys=(_STREAM_KEYS, _DOOR_KEYS, _RESULTS_KEYS, _BRIDGE_KEYS, DEAD_LETTERS, HEARTBEAT, JOBS),
        channels=_ALL_CHANNELS,
        calls=(
            *_EVERYBODY,
            *_LOOK,
            *_READ_IDS,
            *_TYPES,
            ("GET", HEARTBEAT),
            ("PTTL", HEARTBEAT),
            ("GET", BRIDGE_EPOCH),
            ("PUBSUB", "NUMSUB", channel_names.PATTERNS),
            ("XRANGE", FRONT_DOOR, "-", "+", "COUNT", "1"),
            ("XREAD", "COUNT", "1", "STREAMS", _RESULTS, "0"),
            ("XINFO", "STREAM", _RESULTS),
        ),
        only_read=(_STREAM_KEYS, _DOOR_KEYS, _RESULTS_KEYS, _BRIDGE_KEYS, DEAD_LETTERS, HEARTBEAT, JOBS),
        courtesies=(_ASK_FOR_RIGHTS,),
    ),
    # What the application needs to read our messages and to send ticks; its own keys and channels come on top. It may
    # not publish on our channels. No rule can forbid an XADD that trims or chooses its id: the front door accepts
    # those.
    "application": RedisRights(
        keys=(FRONT_DOOR, _RESULTS_KEYS, HEARTBEAT, APPLICATION_HEARTBEAT),
        channels=_ALL_CHANNELS,
        calls=(
            *_EVERYBODY,
            *_subscribe(_ALL_CHANNELS),
            *(("UNSUBSCRIBE",), ("PUNSUBSCRIBE",)),
            ("XADD", FRONT_DOOR, "*", "data", "{}"),
            ("GET", HEARTBEAT),
            ("PTTL", HEARTBEAT),
            ("EXISTS", APPLICATION_HEARTBEAT),
            ("XREAD", "COUNT", "1", "STREAMS", _RESULTS, "0"),  # to read messages again after a missing `seq`
            ("XRANGE", _RESULTS, "-", "+", "COUNT", "1"),
        ),
        only_read=(_RESULTS_KEYS, HEARTBEAT, APPLICATION_HEARTBEAT),
        only_written=(FRONT_DOOR,),
        selectors=(
            Selector(
                tuple(f"&{channel}" for channel in (*TICK_CHANNELS, *COMMAND_CHANNELS)),
                tuple(_publish((*TICK_CHANNELS, *COMMAND_CHANNELS))),
            ),
        ),
    ),
    # status, doctor, audit, dlq, replay --abandon, watch, contract, publish-test-pattern. Commands that send ticks
    # (replay, demo) or run a worker need that role's rights as well.
    "operator": RedisRights(
        keys=(_STREAM_KEYS, _DOOR_KEYS, _RESULTS_KEYS, _BRIDGE_KEYS, DEAD_LETTERS, HEARTBEAT, JOBS),
        channels=_ALL_CHANNELS,
        calls=(
            *_EVERYBODY,
            *_LOOK,
            *_TYPES,
            ("GET", HEARTBEAT),
            ("PTTL", HEARTBEAT),
            ("GET", BRIDGE_EPOCH),
            ("HGET", _SEQ, ""),
            ("ACL", "WHOAMI"),
            ("PUBSUB", "NUMSUB", channel_names.PATTERNS),
            ("XRANGE", FRONT_DOOR, "-", "+", "COUNT", "1"),
            ("XINFO", "STREAM", _RESULTS),
            ("SCRIPT", "LOAD", "return 1"),
            *_subscribe(_ALL_CHANNELS),
        ),
        only_read=(_STREAM_KEYS, _DOOR_KEYS, _RESULTS_KEYS, _BRIDGE_KEYS, DEAD_LETTERS, HEARTBEAT, JOBS),
        selectors=(
            # dlq requeue; replay --abandon. To delete former partitions: ops/jobs/repartition.py.
            Selector(
                (f"~{_STREAM_KEYS}",),
                (
                    ("XADD", FRONT_DOOR, "*", "data", "{}"),
                    ("XADD", _STREAM, "*", "f", "frame"),
                    ("HDEL", _FLOW, "sent:p"),
                ),
            ),
            Selector((f"~{_PARTITION_KEYS}",), (("UNLINK", _STREAM), ("UNLINK", _FLOW))),
            # The results of former partitions expire later.
            Selector((f"~{_RESULTS_KEYS}",), (("PERSIST", _RESULTS), ("EXPIRE", _RESULTS, "1"))),
            # publish-test-pattern: the script and its calls.
            Selector(
                (f"~{_BRIDGE_KEYS}", *(f"&{channel}" for channel in _PATTERN_CHANNELS)),
                (
                    ("EVALSHA", "0" * 40, "2", BRIDGE_EPOCH, _SEQ),
                    ("HINCRBY", _SEQ, "", "1"),
                    ("EXPIRE", _SEQ, "1"),
                    *_publish(_PATTERN_CHANNELS),
                ),
            ),
        ),
        courtesies=(_ASK_FOR_RIGHTS,),
    ),
}
