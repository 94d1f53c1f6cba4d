"""Whoever only looks at streams takes no entry that somebody else made as large as he liked."""

import json
import secrets
from contextlib import closing
from urllib.parse import urlsplit

import psycopg
import pytest
from click.testing import CliRunner
from tickstockpl.contracts.frames.frame import FIELD
from tickstockpl.contracts.names import DEAD_LETTERS, FRONT_DOOR, stream_key
from tickstockpl.contracts.partition import Position
from tickstockpl.contracts.redis_rights import RIGHTS
from tickstockpl.db import postgres, redis
from tickstockpl.db.look import lag
from tickstockpl.db.schema.migrate import open_stream
from tickstockpl.db.streams.bounded_streams import StreamEnds, count_up_to, read_all, read_ends
from tickstockpl.ops.cli.fleet.status_command import status

HUGE = b"x" * (40 << 20)
REPLY_BYTES = 1 << 20
KEY = stream_key(0)


@pytest.fixture
def small_replies(empty_servers):
    """Give a client that takes no reply of more than 1 MiB."""
    client = redis.connect(empty_servers.redis_url, reply_bytes=REPLY_BYTES)
    yield client
    client.close()


@pytest.fixture
def admin(empty_servers):
    client = redis.connect(empty_servers.redis_url, timeout_s=60)
    yield client
    client.close()


def test_the_ends_of_a_stream_are_known_without_its_entries(admin, small_replies):
    for entry_id in ("5-1", "6-0", "7-3"):
        admin.xadd(KEY, {"f": HUGE}, id=entry_id)
    admin.execute_command("SCRIPT", "FLUSH")
    assert read_ends(small_replies, [(KEY, "(5-1"), (KEY, "(7-3"), (stream_key(1), "-")]) == [
        StreamEnds(3, Position(7, 3), Position(6, 0)),
        StreamEnds(3, Position(7, 3), None),
        StreamEnds(0, None, None),
    ]
    admin.xtrim(KEY, maxlen=0)
    assert read_ends(small_replies, [(KEY, "-")]) == [StreamEnds(0, Position(7, 3), None)]


def test_of_a_key_that_holds_something_else_the_answer_stands_in_its_place(admin, small_replies):
    admin.rpush(KEY, "x")
    admin.xadd(stream_key(1), {"f": "x"}, id="5-1")
    wrong, right = read_ends(small_replies, [(KEY, "-"), (stream_key(1), "-")])
    assert redis.is_foreign(wrong)
    assert right == StreamEnds(1, Position(5, 1), Position(5, 1))
    found = lag.read_partitions(small_replies, {0: Position(0, 0), 1: Position(0, 0)})
    assert (found[0].is_foreign, found[1].oldest) == (True, Position(5, 1))


def test_entries_are_counted_up_to_an_id(admin, small_replies):
    pipeline = admin.pipeline(transaction=False)
    for n in range(1, 2_502):
        pipeline.xadd(FRONT_DOOR, {"a": "b"}, id=f"{n}-0")
    pipeline.execute()
    admin.xadd(FRONT_DOOR, {"data": HUGE}, id="2502-0")
    counts = [count_up_to(small_replies, FRONT_DOOR, Position(ms, 0)) for ms in (0, 999, 1_000, 2_500, 9_999)]
    assert counts == [0, 999, 1_000, 2_500, 2_502]


def test_of_an_entry_that_is_too_large_to_be_ours_only_the_id_is_read(admin, small_replies):
    admin.xadd(KEY, {FIELD: "one"}, id="5-1")
    admin.xadd(KEY, {FIELD: HUGE}, id="6-0")
    admin.xadd(KEY, {FIELD: "three"}, id="7-0")
    assert list(read_all(small_replies, KEY)) == [(b"5-1", [FIELD, b"one"]), (b"6-0", []), (b"7-0", [FIELD, b"three"])]
    pipeline = admin.pipeline(transaction=False)
    for n in range(1, 1_206):
        pipeline.xadd(stream_key(1), {"f": str(n)}, id=f"{n}-0")
    pipeline.execute()
    assert [int(fields[1]) for _, fields in read_all(small_replies, stream_key(1))] == list(range(1, 1_206))


@pytest.mark.parametrize("role", ["operator", "bridge", "worker"])
def test_the_rights_of_each_role_that_looks_are_enough(admin, empty_servers, role):
    """Whoever may only load scripts, and whoever may only send them, reads the same."""
    admin.xadd(KEY, {"f": "x"}, id="5-1")
    admin.execute_command("SCRIPT", "FLUSH")
    name = f"user-{secrets.token_hex(4)}"
    admin.execute_command("ACL", "SETUSER", name, "on", "nopass", *RIGHTS[role].acl_rules().split(" "))
    try:
        url = urlsplit(empty_servers.redis_url)
        with closing(redis.connect(url._replace(netloc=f"{name}@{url.hostname}:{url.port}").geturl())) as client:
            assert read_ends(client, [(KEY, "-")]) == [StreamEnds(1, Position(5, 1), Position(5, 1))]
    finally:
        admin.execute_command("ACL", "DELUSER", name)


def test_status_says_how_long_a_huge_entry_waits(migrated_servers, monkeypatch):
    with postgres.connect(migrated_servers.database_url, name="test") as connection:
        open_stream(connection, 2)
    with psycopg.connect(migrated_servers.database_url, autocommit=True) as connection:
        connection.execute("UPDATE stream SET created_at = clock_timestamp()")
    client = redis.connect(migrated_servers.redis_url, timeout_s=60)
    client.xadd(KEY, {"f": HUGE}, id=f"{redis.redis_ms(client) - 70_000}-0")
    client.xadd(FRONT_DOOR, {"f": HUGE})
    client.xadd(DEAD_LETTERS, {"f": HUGE})
    bounded = redis.connect
    monkeypatch.setattr(redis, "connect", lambda url, **options: bounded(url, **options, reply_bytes=REPLY_BYTES))
    environment = {"REDIS_URL": migrated_servers.redis_url, "DATABASE_URL": migrated_servers.database_url}
    ran = CliRunner().invoke(status, ["--json", "--connect-timeout-s", "30"], env=environment)
    found = json.loads(ran.stdout)
    assert "LAG_HIGH" in [one["code"] for one in found["findings"]]
    assert found["front_door"]["lag_entries"] == 1
    client.close()
