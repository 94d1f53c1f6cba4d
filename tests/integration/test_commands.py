import json
import os
import secrets
import signal
import subprocess
import sys
from contextlib import contextmanager
from urllib.parse import urlsplit

import psycopg
import pytest
import redis
from processes import Process
from tickstockpl.contracts.frames.maker import Identity
from tickstockpl.contracts.names import FRONT_DOOR, flow_key, stream_key
from tickstockpl.contracts.settings import Servers
from tickstockpl.db import postgres
from tickstockpl.db.redis import connect
from tickstockpl.db.schema.migrate import open_stream
from tickstockpl.db.streams.frame_stream import Send, send
from tickstockpl.ops.doctor.doctor import diagnose
from tickstockpl.producer.framer import Framer
from tickstockpl.producer.replay import ReplaySource

from ..conftest import as_template, emptied_redis, own_database

NOON = 1_381_147_200_000_000_000  # 2013-10-07T12:00:00Z
SECOND = 1_000_000_000
NOBODY = Servers("redis://127.0.0.1:1/0", "postgresql://127.0.0.1:1/none")


@pytest.fixture(scope="module")
def flat_file(tmp_path_factory):
    """Nine good trades in three bars of two symbols (IBM 12:00 out of order), and one bad row."""
    rows = [
        ("IBM", 182.5, 2, 100),
        ("IBM", 182.0, 1, 50),
        ("IBM", 183.25, 30, 0.5),
        ("IBM", 182.75, 59, 10),
        ("AIG", 49.1, 3, 200),
        ("AIG", 49.1, 4, 200),
        ("IBM", -1, 60, 100),
        ("IBM", 190.0, 60, 1),
        ("IBM", 191.0, 61, 1),
        ("IBM", 189.0, 62, 2),
    ]
    file = tmp_path_factory.mktemp("trades") / "trades.csv"
    lines = [f"{ticker},{price},{NOON + at * SECOND},{size}" for ticker, price, at, size in rows]
    file.write_text("\n".join(["ticker,price,sip_timestamp,size", *lines]) + "\n")
    return file


@pytest.fixture(scope="module")
def replay_made(servers, migrated_template, flat_file, tickstock):
    """Replay the flat file in two partitions; give the database's name, and Redis's keys with their contents."""
    with own_database(servers, template=migrated_template) as url:
        made = Servers(emptied_redis(servers), url)
        ran = tickstock("replay", flat_file, "--workers", 1, "--partitions", 2, servers=made)
        assert ran.returncode == 0, ran.stderr
        with redis.Redis.from_url(made.redis_url) as client:
            keys = {key: client.dump(key) for key in client.scan_iter()}
        yield as_template(servers, url), keys


@pytest.fixture
def replayed(servers, replay_made):
    """Give a copy of servers on which the flat file was replayed."""
    template, keys = replay_made
    with own_database(servers, template=template) as url:
        copy = Servers(emptied_redis(servers), url)
        with redis.Redis.from_url(copy.redis_url) as client:
            for key, content in keys.items():
                client.restore(key, 0, content)
        yield copy


@pytest.fixture
def interrupted(migrated_servers, flat_file):
    """Servers on which a replay sent all of its frames but the end, and its producer was killed; and its name."""
    name = "replay-00000000000000000000000000000000"
    with postgres.connect(migrated_servers.database_url, name="test") as connection:
        open_stream(connection, 2)
        connection.execute("INSERT INTO replay (name, source) VALUES (%s, %s)", [name, str(flat_file)])
    with connect(migrated_servers.redis_url) as client:
        framer = Framer(Identity(name, name, "replay", publish=False), 2, now_ms=lambda: 1_381_147_200_000)
        frames = [frame for ticks in ReplaySource([flat_file]) for frame in framer.add(ticks)] + framer.flush()
        sends = [Send(frame.partition, frame.body, f"{frame.last},1") for frame in frames]
        assert not any(outcome.refused for outcome in send(client, name, sends))
    return migrated_servers, name


def environment_of(servers):
    return {"REDIS_URL": servers.redis_url, "DATABASE_URL": servers.database_url} | {
        "TICKSTOCK_SPOOL_DIR": os.environ["TICKSTOCK_SPOOL_DIR"]
    }


@contextmanager
def running_worker(servers, tmp_path):
    """Run a worker `c1` beside the test."""
    arguments = ["worker", "--consumer", "c1", "--commit-ms", "50"]
    with (tmp_path / "worker.log").open("wb") as log:
        process = Process(arguments, env=environment_of(servers), stdout=log, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        assert process.wait(60) == 0, (tmp_path / "worker.log").read_text()


def execute(servers, statement, *values):
    with psycopg.connect(servers.database_url, autocommit=True) as connection:
        cursor = connection.execute(statement, values)
        return cursor.fetchall() if cursor.description else []


def status(tickstock, servers):
    ran = tickstock("status", "--json", servers=servers)
    found = json.loads(ran.stdout)
    assert ran.returncode == (0 if found["healthy"] else 1), ran.stderr
    return found


# -- status --------------------------------------------------------------------------------------------------------


def test_status_of_a_stream_that_nobody_created_yet_says_so(migrated_servers, tickstock):
    found = status(tickstock, migrated_servers)
    assert (found["partitions_total"], found["partitions"], found["workers"], found["replays"]) == (0, [], [], [])
    assert (found["lag_ticks"], found["lag_s"], found["dead_letters"]) == (0, 0.0, {})
    assert found["front_door"] == {"applied": "0-0", "entries": 0, "lag_entries": 0, "lost": 0, "lost_between": None}
    assert found["redis"]["policy"] == "noeviction"
    assert "not created yet" in tickstock("status", servers=migrated_servers).stdout


def test_status_counts_ticks_that_were_sent_and_not_committed(interrupted, tickstock):
    servers, name = interrupted
    found = status(tickstock, servers)
    assert found["partitions_total"] == 2
    assert (found["lag_ticks"], [p["owner"] for p in found["partitions"]]) == (10, [None, None])
    assert found["lag_s"] >= 0
    (replay,) = found["replays"]
    assert (replay["name"], replay["state"], replay["ticks"]) == (name, "unfinished", 0)


def test_status_does_not_know_the_age_of_what_redis_lost(interrupted, tickstock):
    servers, _ = interrupted
    with redis.Redis.from_url(servers.redis_url) as client:
        client.delete(stream_key(0), stream_key(1))
    found = status(tickstock, servers)
    assert (found["lag_ticks"], found["lag_s"]) == (10, None)
    assert "10 ticks, unknown" in tickstock("status", servers=servers).stdout


def test_status_after_a_replay_shows_it_finished_and_nothing_waiting(replayed, tickstock):
    found = status(tickstock, replayed)
    assert (found["lag_ticks"], found["lag_s"]) == (0, 0.0)
    assert all(p["epoch"] >= 1 and p["position"] != "0-0" and p["last_commit"] for p in found["partitions"])
    (replay,) = found["replays"]
    assert (replay["state"], replay["partitions_ended"], replay["ticks"]) == ("finished", 2, 10)
    (worker,) = found["workers"]
    assert (worker["running"], worker["ticks"], worker["bars"]) == (False, 10, 3)
    assert found["dead_letters"] == {"price": 1}
    said = tickstock("status", servers=replayed).stdout
    assert "finished" in said
    assert "Dead letters  1 price" in said


def test_status_shows_who_owns_the_partitions_while_workers_run(migrated_servers, tickstock, tmp_path, wait_for):
    with running_worker(migrated_servers, tmp_path):
        owners = "SELECT owner FROM lease WHERE starts_with(unit, 'partition:')"
        wait_for(lambda: execute(migrated_servers, owners) == [("c1",)] * 16)
        found = status(tickstock, migrated_servers)
    assert {p["owner"] for p in found["partitions"]} == {"c1"}
    (worker,) = found["workers"]
    assert (worker["consumer"], worker["running"], worker["partitions"]) == ("c1", True, list(range(16)))


def test_status_counts_front_door_entries_that_no_partition_has(migrated_servers, tickstock):
    with redis.Redis.from_url(migrated_servers.redis_url) as client:
        for number in (1, 2, 3):
            client.xadd(FRONT_DOOR, {"symbol": "IBM"}, id=f"{number}-0")
    with postgres.connect(migrated_servers.database_url, name="test") as connection:
        open_stream(connection, 2)
    assert status(tickstock, migrated_servers)["front_door"] == {
        "applied": "0-0",
        "entries": 3,
        "lag_entries": 3,
        "lost": 0,
        "lost_between": None,
    }
    for partition, entry_id in ((0, 1 << 20), (1, 3 << 20)):  # an entry id, folded: milliseconds above 20 bits
        execute(
            migrated_servers,
            "INSERT INTO ledger (partition, producer, feed, last_number) VALUES (%s, 'front-door', 'live', %s)",
            partition,
            entry_id,
        )
    assert status(tickstock, migrated_servers)["front_door"] == {
        "applied": "1-0",
        "entries": 3,
        "lag_entries": 2,
        "lost": 0,
        "lost_between": None,
    }


def test_status_counts_one_worker_as_one(migrated_servers, tickstock, tmp_path, wait_for):
    with running_worker(migrated_servers, tmp_path):
        wait_for(lambda: execute(migrated_servers, "SELECT 1 FROM lease WHERE unit = 'consumer:c1' AND owner = 'c1'"))
        said = tickstock("status", servers=migrated_servers).stdout
    assert ", 1 worker\n" in said


# -- bars ----------------------------------------------------------------------------------------------------------


def test_bars_of_a_symbol_that_has_none_are_said_to_be_none(replayed, tickstock):
    ran = tickstock("bars", "--symbol", "XXXX", "--format", "csv", servers=replayed)
    assert (ran.returncode, len(ran.stdout.splitlines())) == (1, 1)
    assert ran.stderr.endswith("no bars of XXXX\n")
    ran = tickstock("bars", "--from", "2014-01-01", servers=replayed)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.endswith("no bars from 2014-01-01T00:00:00+0000\n")


def test_bars_of_some_symbols_are_printed_and_those_without_named(replayed, tickstock):
    ran = tickstock("bars", "--symbol", "IBM, XXXX", "--format", "csv", servers=replayed)
    assert ran.returncode == 0
    assert [line.split(",")[:2] for line in ran.stdout.splitlines()[1:]] == [
        ["IBM", "2013-10-07T12:00:00Z"],
        ["IBM", "2013-10-07T12:01:00Z"],
    ]
    assert ran.stderr.endswith("no bars of XXXX\n")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("bars", "--from", "2014-01-02", "--to", "2014-01-01"), "is not before --to"),
        (("bars", "--output", "nowhere/bars.csv"), "'nowhere' is not a folder"),
        (("producer", "--source", "synthetic", "--record", "nowhere/ticks.csv"), "'nowhere' is not a folder"),
        (("bars", "--symbol", ","), "has no name in it"),
        (("replay", "day.csv", "--abandon", "replay-1"), "cannot go together"),
    ],
)
def test_what_cannot_be_meant_is_refused_once_and_before_any_work(tickstock, arguments, says):
    ran = tickstock(*arguments, servers=NOBODY)
    assert ran.returncode == 2
    assert ran.stderr.count(says) == 1


def test_a_reader_who_has_enough_ends_the_command_in_silence(replayed):
    execute(
        replayed,
        """INSERT INTO ohlcv_1min (symbol, "timestamp", open, high, low, close, volume)
           SELECT 'IBM', '2013-11-01 12:00+00'::timestamptz + n * interval '1 min', 1, 1, 1, 1, 1
             FROM generate_series(1, 20000) AS n""",
    )
    command = [sys.executable, "-m", "tickstockpl.ops", "bars", "--format", "csv"]
    with subprocess.Popen(
        command, env=environment_of(replayed), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141  # as a shell says of what SIGPIPE ended


# -- broken off ----------------------------------------------------------------------------------------------------


def said_when_interrupted(servers, *arguments, until):
    """Run a command until a line of its output has some words in it, then press Ctrl-C; return what it says then."""
    command = [sys.executable, "-m", "tickstockpl.ops", *map(str, arguments)]
    with subprocess.Popen(
        command, env=environment_of(servers), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        while until not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    return said


def test_a_stopped_replay_says_how_it_goes_on(migrated_servers, flat_file):
    arguments = ("producer", "--source", "replay", flat_file, "--partitions", 2)
    said = said_when_interrupted(migrated_servers, *arguments, until="all ticks are sent")
    assert said.endswith("stopped before the end: the same command continues from here\n")


def test_a_demo_that_is_stopped_at_once_says_that_nothing_came_of_it(migrated_servers):
    said = said_when_interrupted(migrated_servers, "demo", until="a market of 70 symbols at 60x: 30,000 ticks/s")
    assert "Error: stopped before the first tick was committed" in said


# -- doctor --------------------------------------------------------------------------------------------------------


def levels(ran):
    """Return the level of each line by its subject."""
    return {line[6:28].strip(): line[:4].strip() for line in ran.stdout.splitlines()}


def test_doctor_finds_nothing_wrong_with_a_good_setup(replayed, tickstock):
    ran = tickstock("doctor", "--partitions", 2, servers=replayed)
    assert ran.returncode == 0, ran.stdout
    assert levels(ran) == dict.fromkeys(
        (
            "hiredis", "Redis version", "Redis eviction", "Redis memory", "Redis persistence", "Redis rights",
            "PostgreSQL version", "PostgreSQL durability", "PostgreSQL schema", "PostgreSQL rights",
            "application's tables", "definitions", "bounds", "partitions", "TimescaleDB", "Redis keys", "clocks",
        ),
        "ok",
    )  # fmt: skip


def test_doctor_says_which_server_is_away_and_checks_the_other(migrated_servers, tickstock):
    ran = tickstock("doctor", servers=Servers(NOBODY.redis_url, migrated_servers.database_url))
    assert ran.returncode == 1
    assert (levels(ran)["Redis"], levels(ran)["PostgreSQL schema"]) == ("FAIL", "ok")
    ran = tickstock("doctor", servers=Servers(migrated_servers.redis_url, NOBODY.database_url))
    assert ran.returncode == 1
    assert (levels(ran)["PostgreSQL"], levels(ran)["Redis rights"]) == ("FAIL", "ok")


def test_doctor_fails_an_eviction_policy_that_loses_streams_and_goes_on(migrated_servers, tickstock):
    with redis.Redis.from_url(migrated_servers.redis_url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        try:
            ran = tickstock("doctor", servers=migrated_servers)
        finally:
            client.config_set("maxmemory-policy", "noeviction")
    assert ran.returncode == 1
    assert "set `maxmemory-policy noeviction`" in ran.stdout
    assert (levels(ran)["Redis eviction"], levels(ran)["Redis rights"], levels(ran)["clocks"]) == ("FAIL", "ok", "ok")


@pytest.mark.parametrize("may_ask", [True, False])
def test_doctor_names_the_redis_commands_that_a_user_may_not_use(migrated_servers, tickstock, may_ask):
    """With ACL DRYRUN, and where that is denied too, by trying."""
    rules = ["~tickstock*", "~job:status:*", "&*", "+@all", "-xtrim", "-xinfo|consumers"]
    rules += [] if may_ask else ["-acl|dryrun"]
    with redis.Redis.from_url(migrated_servers.redis_url) as client:
        client.execute_command("ACL", "SETUSER", "limited", "on", "nopass", *rules)
        try:
            url = urlsplit(migrated_servers.redis_url)
            limited = url._replace(netloc=f"limited@{url.hostname}:{url.port}").geturl()
            ran = tickstock("doctor", servers=Servers(limited, migrated_servers.database_url))
        finally:
            client.execute_command("ACL", "DELUSER", "limited")
        assert client.keys() == []
    assert ran.returncode == 1
    (line,) = [line for line in ran.stdout.splitlines() if "Redis rights" in line]
    assert line.startswith("FAIL")
    streams = "XTRIM tickstock-stream:{p0}; XTRIM tickstock-stream; XINFO CONSUMERS tickstock-stream:{p0}"
    others = "XTRIM tickstock-door:{tickstock-stream}:aside; XTRIM tickstock-dlq"
    assert f"may not: {streams}; {others}  " in line
    assert line.endswith("  -> ACL SETUSER limited +xtrim +xinfo|consumers")


def test_doctor_names_the_rights_that_a_role_lacks(replayed, tickstock):
    role, password = f"limited_{secrets.token_hex(4)}", secrets.token_hex(16)
    execute(replayed, f"CREATE ROLE {role} LOGIN PASSWORD '{password}'")
    execute(replayed, f"GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO {role}")
    execute(replayed, f"REVOKE UPDATE ON ohlcv_1min FROM {role}")
    try:
        url = urlsplit(replayed.database_url)
        limited = url._replace(netloc=f"{role}:{password}@{url.hostname}:{url.port}").geturl()
        ran = tickstock("doctor", servers=Servers(replayed.redis_url, limited))
    finally:
        execute(replayed, f"DROP OWNED BY {role}")
        execute(replayed, f"DROP ROLE {role}")
    assert ran.returncode == 1
    (line,) = [line for line in ran.stdout.splitlines() if "PostgreSQL rights" in line]
    assert "missing: DELETE on always_open, DELETE on backtest_equity, DELETE on backtest_part, " in line
    assert "UPDATE on ohlcv_1min, " in line
    assert "USAGE on sequence dead_letter_id_seq" in line
    assert f'; GRANT USAGE ON SEQUENCE dead_letter_id_seq TO "{role}"' in line


def test_doctor_tells_a_database_that_was_never_migrated_what_to_do(empty_servers, tickstock):
    ran = tickstock("doctor", servers=empty_servers)
    assert ran.returncode == 1
    assert (levels(ran)["PostgreSQL schema"], levels(ran)["PostgreSQL rights"]) == ("FAIL", "ok")
    assert "run `tickstock migrate`" in ran.stdout


def test_doctor_only_warns_of_an_embedded_database_that_the_next_command_migrates(empty_servers):
    found = {finding.subject: finding for finding in diagnose(empty_servers, partitions=None, roles=(), embedded=True)}
    assert found["PostgreSQL schema"].level == "warn"
    assert found["PostgreSQL schema"].do.startswith("nothing: any other command")


def test_doctor_fails_another_partition_count_than_the_one_recorded(replayed, tickstock):
    ran = tickstock("doctor", "--partitions", 16, servers=replayed)
    assert ran.returncode == 1
    assert "--partitions is 16, but this stream has 2" in ran.stdout


# -- dlq -----------------------------------------------------------------------------------------------------------


def add_letter(servers, reason, original):
    ((number,),) = execute(
        servers,
        "INSERT INTO dead_letter (partition, producer, reason, detail, original)"
        " VALUES (0, 'front-door', %s, 'why', %s) RETURNING id",
        reason,
        original,
    )
    return number


def test_dlq_lists_and_shows_a_refused_row_with_its_reason(replayed, flat_file, tickstock):
    ran = tickstock("dlq", "ls", "--json", servers=replayed)
    letter = json.loads(ran.stdout)
    assert (letter["id"], letter["reason"]) == (1, "price")
    assert letter["original"] == f"IBM,-1,{NOON + 60 * SECOND},100"
    assert letter["detail"].startswith(f"{flat_file}:8: ")
    assert "price" in tickstock("dlq", "ls", servers=replayed).stdout
    assert tickstock("dlq", "ls", "--reason", "future", servers=replayed).stdout == "no dead letters\n"
    said = tickstock("dlq", "show", 1, servers=replayed).stdout
    assert f"IBM,-1,{NOON + 60 * SECOND},100\n" in said


def test_dlq_shows_an_original_that_is_no_text_in_hex(migrated_servers, tickstock):
    letter = add_letter(migrated_servers, "bad_frame", b"\xff\x00\x01\x02")
    ran = tickstock("dlq", "show", letter, servers=migrated_servers)
    assert "original   4 bytes, in hex:\n000000  ff000102\n" in ran.stdout
    listed = json.loads(tickstock("dlq", "ls", "--json", servers=migrated_servers).stdout)
    assert (listed["original_hex"], listed["original_bytes"]) == ("ff000102", 4)


def test_dlq_lists_the_first_bytes_of_a_long_original_that_is_no_text(migrated_servers, tickstock):
    add_letter(migrated_servers, "bad_frame", b"\xff" * 60_000)
    listed = json.loads(tickstock("dlq", "ls", "--json", servers=migrated_servers).stdout)
    assert (listed["original_hex"], listed["original_bytes"], listed["original"]) == ("ff" * 256, 60_000, None)


def test_dlq_requeue_sends_what_the_front_door_reads_and_keeps_the_rest(migrated_servers, tickstock):
    json_letter = b'{"symbol":"IBM","price":182.5,"volume":100,"timestamp":1381147200}'
    plain_letter = b"symbol AIG price 49.1 volume 200 timestamp 1381147200"
    add_letter(migrated_servers, "too_late", json_letter)
    add_letter(migrated_servers, "future", plain_letter)
    bad_frame = add_letter(migrated_servers, "bad_frame", b"\xff\x00")
    bad_row = add_letter(migrated_servers, "bad_row", b"IBM,182.5")
    ran = tickstock("dlq", "requeue", "--all", servers=migrated_servers)
    assert ran.returncode == 1
    assert ran.stdout.startswith("2 sent\n")
    assert [line.split(" (")[0] for line in ran.stderr.splitlines() if "stays" in line] == [
        f"{bad_frame} stays: the front door cannot read it",
        f"{bad_row} stays: the front door cannot read it",
    ]
    with redis.Redis.from_url(migrated_servers.redis_url) as client:
        (_, first), (_, second) = client.xrange(FRONT_DOOR)
    assert first == {b"data": json_letter}
    assert second == {b"symbol": b"AIG", b"price": b"49.1", b"volume": b"200", b"timestamp": b"1381147200"}
    assert execute(migrated_servers, "SELECT id FROM dead_letter ORDER BY id") == [(bad_frame,), (bad_row,)]


def test_a_requeued_tick_reaches_its_bar_through_the_workers(migrated_servers, tickstock, tmp_path, wait_for):
    with redis.Redis.from_url(migrated_servers.redis_url) as client:
        minute = (client.time()[0] - 120) // 60 * 60
    original = b'{"symbol":"IBM","price":182.5,"volume":100,"timestamp":%d}' % minute
    letter = add_letter(migrated_servers, "future", original)
    with running_worker(migrated_servers, tmp_path):
        ran = tickstock("dlq", "requeue", letter, servers=migrated_servers)
        assert (ran.returncode, ran.stdout) == (0, "1 sent\n")
        wait_for(lambda: execute(migrated_servers, "SELECT 1 FROM ohlcv_1min"))
    ((symbol, start, close),) = execute(
        migrated_servers, 'SELECT symbol, extract(epoch FROM "timestamp")::bigint, close::float8 FROM ohlcv_1min'
    )
    assert (symbol, start, close) == ("IBM", minute, 182.5)
    assert execute(migrated_servers, "SELECT 1 FROM dead_letter") == []
    ran = tickstock("audit", servers=migrated_servers)
    assert ran.returncode == 0, ran.stdout
    assert "1 bars recounted from the streams: 1 agree, 0 differ" in ran.stdout


def test_dlq_drop_deletes_after_a_yes_only(migrated_servers, tickstock):
    for reason in ("price", "price", "size"):
        add_letter(migrated_servers, reason, b"x")
    ran = tickstock("dlq", "drop", "--all", servers=migrated_servers)
    assert (ran.returncode, "Delete 3 dead letters?" in ran.stdout) == (1, True)
    ran = tickstock("dlq", "drop", "--all", "--reason", "price", "--yes", servers=migrated_servers)
    assert (ran.returncode, ran.stdout) == (0, "2 deleted\n")
    assert execute(migrated_servers, "SELECT reason FROM dead_letter") == [("size",)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("show", 7), "there is no dead letter 7"),
        (("requeue", 7), "there is no dead letter 7"),
        (("drop", 7, "--yes"), "there is no dead letter 7"),
        (("drop", "--yes"), "choose letters"),
        (("requeue", 7, "--all"), "choose letters"),
    ],
)
def test_dlq_refuses_what_it_cannot_mean(migrated_servers, tickstock, arguments, said):
    ran = tickstock("dlq", *arguments, servers=migrated_servers)
    assert ran.returncode == 2
    assert said in ran.stderr


# -- audit ---------------------------------------------------------------------------------------------------------


def test_audit_of_a_file_agrees_in_every_bar(replayed, flat_file, tickstock):
    ran = tickstock("audit", "--file", flat_file, servers=replayed)
    assert ran.returncode == 0, ran.stdout
    assert "the ledger balances in every row" in ran.stdout
    assert "3 bars recounted from the file: 3 agree, 0 differ" in ran.stdout


def test_audit_of_the_streams_agrees_in_every_bar(replayed, tickstock):
    ran = tickstock("audit", servers=replayed)
    assert ran.returncode == 0, ran.stdout
    assert "3 bars recounted from the streams: 3 agree, 0 differ" in ran.stdout


@pytest.mark.parametrize("source", ["file", "streams"])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("open = 182.5", "open: the table has 182.500000, recounted 182.000000"),
        ("volume = volume + 0.000001", "volume: the table has 160.500001, recounted 160.500000"),
        ("trade_count = 5", "trade_count: the table has 5, recounted 4"),
        ("vwap = vwap * 1.000001", "vwap: the table has 182."),
    ],
)
def test_audit_names_the_first_field_that_differs(replayed, flat_file, tickstock, source, change, said):
    execute(replayed, f"UPDATE ohlcv_1min SET {change} WHERE symbol = 'IBM' AND \"timestamp\" = '2013-10-07T12:00Z'")
    execute(replayed, "UPDATE ohlcv_1min SET close = 1 WHERE \"timestamp\" = '2013-10-07T12:01Z'")
    ran = tickstock("audit", *(["--file", flat_file] if source == "file" else []), servers=replayed)
    assert ran.returncode == 1
    assert "1 agree, 2 differ" in ran.stdout
    assert f"first difference: IBM 2013-10-07T12:00:00Z {said}" in ran.stdout


@pytest.mark.parametrize("source", ["file", "streams"])
def test_audit_finds_a_bar_that_the_table_lacks(replayed, flat_file, tickstock, source):
    execute(replayed, "DELETE FROM ohlcv_1min WHERE symbol = 'AIG'")
    ran = tickstock("audit", *(["--file", flat_file] if source == "file" else []), servers=replayed)
    assert ran.returncode == 1
    assert "first difference: AIG 2013-10-07T12:00:00Z bar: the table has no such bar, recounted 2 trades" in ran.stdout


def test_audit_of_a_file_finds_a_bar_of_its_symbols_that_it_does_not_have(replayed, flat_file, tickstock):
    copy = "INSERT INTO ohlcv_1min SELECT 'AIG', %s, open, high, low, close, volume, vwap, 7 FROM ohlcv_1min LIMIT 1"
    execute(replayed, copy, "2013-10-07T12:05Z")  # after the file's last minute: none of its business
    assert tickstock("audit", "--file", flat_file, servers=replayed).returncode == 0
    execute(replayed, copy, "2013-10-07T12:01Z")
    ran = tickstock("audit", "--file", flat_file, servers=replayed)
    assert ran.returncode == 1
    assert "first difference: AIG 2013-10-07T12:01:00Z bar: the table has 7 trades, recounted no such bar" in ran.stdout


def test_audit_of_the_streams_leaves_out_a_replay_whose_frames_were_trimmed(replayed, tickstock):
    with redis.Redis.from_url(replayed.redis_url) as client:
        for partition in (0, 1):
            (first, _), *_ = client.xrange(stream_key(partition))
            client.xdel(stream_key(partition), first)
    ran = tickstock("audit", servers=replayed)
    assert ran.returncode == 0, ran.stdout
    assert "0 bars recounted from the streams: 0 agree, 0 differ" in ran.stdout


def test_audit_fails_a_ledger_that_does_not_balance(replayed, flat_file, tickstock):
    execute(replayed, "UPDATE ledger SET applied = applied - 1 WHERE applied > 2")
    execute(replayed, "UPDATE ledger SET applied = applied + 1 WHERE applied = 2")  # together they still add up
    ran = tickstock("audit", "--file", flat_file, servers=replayed)
    assert ran.returncode == 1
    assert "the ledger does NOT balance" in ran.stdout


# -- replay --abandon ----------------------------------------------------------------------------------------------


def test_an_abandoned_replay_keeps_its_closed_bars_and_drops_the_open_ones(interrupted, tickstock):
    servers, name = interrupted
    ran = tickstock("replay", "--abandon", name, servers=servers)
    assert ran.returncode == 0, ran.stderr
    # IBM's minute 12:00 was closed by its 12:01; the three trades of that, and the two of AIG, were open still.
    assert f"{name} is abandoned: 5 ticks of its open minutes were dropped\n4 ticks stay" in ran.stdout
    assert execute(servers, "SELECT symbol, trade_count FROM ohlcv_1min") == [("IBM", 4)]
    found = status(tickstock, servers)
    assert ([r["state"] for r in found["replays"]], found["lag_ticks"]) == (["abandoned"], 0)
    with redis.Redis.from_url(servers.redis_url) as client:
        assert [field for p in (0, 1) for field in client.hkeys(flow_key(p)) if name.encode() in field] == []
    assert tickstock("audit", servers=servers).returncode == 0


def test_abandoning_a_replay_that_is_over_or_unknown_says_so(replayed, tickstock):
    ((name,),) = execute(replayed, "SELECT name FROM replay")
    ran = tickstock("replay", "--abandon", name, servers=replayed)
    assert (ran.returncode, ran.stderr) == (2, f"Error: {name} is finished: all its bars are kept\n")
    ran = tickstock("replay", "--abandon", "replay-x", servers=replayed)
    assert (ran.returncode, ran.stderr) == (2, "Error: no replay is named replay-x: `tickstock status` names them\n")


def test_replay_wants_either_files_or_a_name_to_abandon(tickstock):
    ran = tickstock("replay", servers=NOBODY)
    assert ran.returncode == 2
    assert "give the FILES to replay, or --abandon NAME to give a replay up" in ran.stderr


def test_a_running_replay_cannot_be_abandoned(interrupted, tickstock):
    servers, name = interrupted
    execute(
        servers,
        "INSERT INTO lease (unit, owner, expires_at) VALUES ('replay', 'replay-y', now() + interval '1 hour')",
    )
    ran = tickstock("replay", "--abandon", name, servers=servers)
    assert ran.returncode == 1
    assert "Error: replay is held by replay-y" in ran.stderr
