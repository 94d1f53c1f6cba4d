"""What each user of the users' file may do and may not, asked of real servers: each right is tried both ways."""

import secrets

import pytest
from redis.exceptions import NoPermissionError, ResponseError
from redis_programs import KINDS
from tickstockpl.contracts.messages import channel_names
from tickstockpl.contracts.names import (
    BRIDGE_EPOCH,
    COMMAND_CHANNELS,
    DEAD_LETTERS,
    FRONT_DOOR,
    GROUP,
    HEARTBEAT,
    TICK_CHANNELS,
    bridge_seq_key,
    flow_key,
    results_key,
    stream_key,
)

from .test_redis_restart import server_of

RESULT_CHANNELS = tuple(name for key, name in vars(channel_names).items() if key.isupper())
PATTERN_CHANNELS = ("tickstock.events.patterns", "tickstock:patterns:streaming", "tickstock:patterns:detected")
SAID_BY_THE_APPLICATION = (*TICK_CHANNELS[:3], "tickstock.ticks.IBM", *COMMAND_CHANNELS)
STREAM, FLOW, RESULTS, SEQ = stream_key(0), flow_key(0), results_key(0), bridge_seq_key(1)
ADDED_BY_HAND = ("XADD", FRONT_DOOR, "*", "symbol", "IBM", "price", "1", "volume", "1", "timestamp", "1")
DESTROYS = (
    *(("XTRIM", FRONT_DOOR, "MAXLEN", "0"), ("XDEL", FRONT_DOOR, "1-0"), ("DEL", FRONT_DOOR), ("UNLINK", FRONT_DOOR)),
    *(("XSETID", FRONT_DOOR, "9-9"), ("RENAME", FRONT_DOOR, "tickstock-stream:x"), ("SET", FRONT_DOOR, "x")),
    *(("XGROUP", "DESTROY", FRONT_DOOR, GROUP), ("EXPIRE", FRONT_DOOR, "1"), ("FLUSHALL",), ("FLUSHDB",)),
    *(("SWAPDB", "0", "1"), ("RESTORE", FRONT_DOOR, "0", "x", "REPLACE"), ("COPY", RESULTS, FRONT_DOOR)),
)
TAKES_OVER = (
    *(("CONFIG", "SET", "dir", "/tmp"), ("CONFIG", "GET", "*"), ("ACL", "GETUSER", "admin"), ("ACL", "LIST")),
    *(("ACL", "SETUSER", "x", "on"), ("MODULE", "LIST"), ("SHUTDOWN",), ("MONITOR",)),
    *(("REPLICAOF", "NO", "ONE"), ("CLIENT", "KILL", "TYPE", "normal"), ("SCRIPT", "FLUSH"), ("FUNCTION", "FLUSH")),
    *(("BGREWRITEAOF",), ("SAVE",), ("KEYS", "*"), ("SCAN", "0")),
)

ALLOWED = {
    "application": (
        ADDED_BY_HAND,
        *(("PUBLISH", channel, "{}") for channel in SAID_BY_THE_APPLICATION),
        *(("SUBSCRIBE", channel) for channel in RESULT_CHANNELS),
        *(("GET", HEARTBEAT), ("XRANGE", RESULTS, "-", "+"), ("XREAD", "STREAMS", RESULTS, "0")),
    ),
    "operator": (
        ADDED_BY_HAND,
        *(("PUBLISH", channel, "{}") for channel in PATTERN_CHANNELS),
        *(("SUBSCRIBE", channel) for channel in RESULT_CHANNELS),
        *(("XRANGE", FRONT_DOOR, "-", "+"), ("XADD", STREAM, "*", "f", "x"), ("HDEL", FLOW, "sent:p")),
        *(("UNLINK", STREAM), ("UNLINK", FLOW), ("EXPIRE", RESULTS, "1"), ("PERSIST", RESULTS)),
        *(("HGETALL", FLOW), ("GET", BRIDGE_EPOCH), ("GET", HEARTBEAT), ("HINCRBY", SEQ, "", "1")),
    ),
    "producer": (("XADD", STREAM, "*", "f", "x"), ("HSET", FLOW, "sent:p", "1,1"), ("SUBSCRIBE", TICK_CHANNELS[0])),
    "worker": (
        ("XTRIM", STREAM, "MINID", "0"),
        ("XADD", RESULTS, "1-0", "k", "v"),
        ("XADD", DEAD_LETTERS, "*", "r", "x"),
    ),
    "bridge": (*(("PUBLISH", channel, "{}") for channel in RESULT_CHANNELS), ("SET", HEARTBEAT, "1")),
}

DENIED = {
    "application": (
        *(("PUBLISH", channel, "{}") for channel in RESULT_CHANNELS),
        ("SPUBLISH", PATTERN_CHANNELS[0], "{}"),
        # It hears results, not what others say to us; and does not read others' ticks.
        *(("SUBSCRIBE", channel) for channel in SAID_BY_THE_APPLICATION),
        *(("PSUBSCRIBE", "*"), ("PSUBSCRIBE", "tickstock*"), ("PUBLISH", "tickstock.ticks", "{}")),
        *(("XRANGE", FRONT_DOOR, "-", "+"), ("XREAD", "STREAMS", FRONT_DOOR, "0"), ("XREAD", "STREAMS", STREAM, "0")),
        *(("XADD", STREAM, "*", "f", "x"), ("XADD", RESULTS, "*", "f", "x"), ("XADD", DEAD_LETTERS, "*", "f", "x")),
        *(("HSET", FLOW, "done:p", "9"), ("SET", HEARTBEAT, "1"), ("SET", BRIDGE_EPOCH, "9")),
        *(
            ("EVAL", "return redis.call('XTRIM', KEYS[1], 'MAXLEN', 0)", "1", FRONT_DOOR),
            ("FCALL", "f", "1", FRONT_DOOR),
        ),
        *DESTROYS,
        *TAKES_OVER,
    ),
    "operator": (
        *(("PUBLISH", channel, "{}") for channel in RESULT_CHANNELS if channel not in PATTERN_CHANNELS),
        *(("PUBLISH", channel, "{}") for channel in SAID_BY_THE_APPLICATION),
        *(("XADD", RESULTS, "*", "f", "x"), ("XADD", DEAD_LETTERS, "*", "f", "x"), ("HSET", FLOW, "done:p", "9")),
        *(("UNLINK", RESULTS), ("UNLINK", DEAD_LETTERS), ("UNLINK", HEARTBEAT), ("UNLINK", BRIDGE_EPOCH)),
        *(("EXPIRE", STREAM, "1"), ("EXPIRE", HEARTBEAT, "1"), ("SET", HEARTBEAT, "1"), ("SET", BRIDGE_EPOCH, "9")),
        *(("XTRIM", STREAM, "MAXLEN", "0"), ("XACK", STREAM, GROUP, "1-0"), ("XGROUP", "SETID", STREAM, GROUP, "$")),
        *DESTROYS,
        *TAKES_OVER,
    ),
    "producer": (
        *(("PUBLISH", channel, "{}") for channel in (*RESULT_CHANNELS, *SAID_BY_THE_APPLICATION)),
        *(("XADD", RESULTS, "*", "f", "x"), ("XRANGE", STREAM, "-", "+"), ("XTRIM", STREAM, "MAXLEN", "0")),
        *(("XACK", STREAM, GROUP, "1-0"), ("UNLINK", STREAM), ("SET", HEARTBEAT, "1")),
        *DESTROYS,
        *TAKES_OVER,
    ),
    "worker": (
        *(("PUBLISH", channel, "{}") for channel in (*RESULT_CHANNELS, *SAID_BY_THE_APPLICATION)),
        *(("SET", HEARTBEAT, "1"), ("SET", BRIDGE_EPOCH, "9"), ("UNLINK", STREAM), ("DEL", FRONT_DOOR)),
        *TAKES_OVER,
    ),
    "bridge": (
        *(("PUBLISH", channel, "{}") for channel in SAID_BY_THE_APPLICATION),
        *(("XADD", STREAM, "*", "f", "x"), ("XADD", FRONT_DOOR, "*", "f", "x"), ("XADD", RESULTS, "*", "f", "x")),
        *(("HSET", FLOW, "done:p", "9"), ("XTRIM", RESULTS, "MAXLEN", "0"), ("DEL", STREAM)),
        *DESTROYS,
        *TAKES_OVER,
    ),
}


@pytest.fixture(scope="module", params=KINDS)
def server(request, tmp_path_factory):
    with server_of(request.param, tmp_path_factory.mktemp("redis")) as started:
        yield started


@pytest.fixture
def clean(server):
    server.admin.flushall()
    return server


def answer(server, user, call):
    """Return what a user is answered: "denied", or what came of it."""
    client = server.client(user)
    connection = client.connection_pool.get_connection()
    try:
        connection.send_command(*call)
        return connection.read_response()
    except NoPermissionError:
        return "denied"
    except ResponseError as e:
        # A script and a server without a command (Redis 7 and later have all of these) say it in words of their own.
        return "denied" if "can't run this command" in str(e) or "ACL failure" in str(e) else str(e)
    finally:
        connection.disconnect()
        client.connection_pool.release(connection)


@pytest.mark.parametrize("role", list(ALLOWED))
def test_a_role_may_do_its_work(clean, role):
    assert [call for call in ALLOWED[role] if answer(clean, role, call) == "denied"] == []


@pytest.mark.parametrize("role", list(DENIED))
def test_a_role_may_do_nothing_else(clean, role):
    assert [call for call in DENIED[role] if answer(clean, role, call) != "denied"] == []


def test_a_refused_call_changes_nothing(clean):
    assert clean.client("application").execute_command(*ADDED_BY_HAND)
    for call in DENIED["application"]:
        answer(clean, "application", call)
    assert clean.admin.xlen(FRONT_DOOR) == 1
    assert clean.admin.keys() == [FRONT_DOOR.encode()]


def test_no_rule_of_redis_keeps_an_xadd_from_trimming_or_choosing_its_id(clean):
    """Who may XADD at all may also do this: docs/security.md says what the front door makes of it."""
    application = clean.client("application")
    for number in range(3):
        application.xadd(FRONT_DOOR, {"symbol": "IBM"}, id=f"{2**44 + number}-0")
    application.xadd(FRONT_DOOR, {"symbol": "IBM"}, maxlen=1, approximate=False)
    found = clean.admin.xinfo_stream(FRONT_DOOR)
    assert (found["length"], found["entries-added"]) == (1, 4)  # which tells that three are gone


def test_who_is_not_trusted_with_that_sends_ticks_on_a_channel(clean):
    clean.admin.execute_command("ACL", "SETUSER", "application", "-xadd")
    try:
        assert answer(clean, "application", ADDED_BY_HAND) == "denied"
        assert answer(clean, "application", ("PUBLISH", TICK_CHANNELS[1], "{}")) == 0
    finally:
        clean.admin.execute_command("ACL", "SETUSER", "application", "+xadd")


def test_the_rights_outlive_a_save_and_a_load_of_the_file(clean):
    """The server writes selectors in words of its own."""
    clean.admin.execute_command("ACL", "SETUSER", "replica", f">{secrets.token_hex(8)}")
    clean.admin.execute_command("ACL", "SAVE")
    clean.admin.execute_command("ACL", "LOAD")
    assert answer(clean, "application", ("PUBLISH", PATTERN_CHANNELS[0], "{}")) == "denied"
    assert answer(clean, "application", ("PUBLISH", TICK_CHANNELS[0], "{}")) == 0
    assert answer(clean, "operator", ("UNLINK", RESULTS)) == "denied"
    assert answer(clean, "operator", ("UNLINK", STREAM)) == 0
