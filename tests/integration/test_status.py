"""`tickstock status`: what it says of a whole fleet, when it exits 1, and how it watches."""

import json
import os
import pty
import re
import secrets
import signal
import subprocess
import sys
from contextlib import closing, contextmanager
from datetime import timedelta
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import psycopg
import redis
from processes import Process
from tickstockpl.contracts.fleet.fleet_look import Flows
from tickstockpl.contracts.names import HEARTBEAT
from tickstockpl.contracts.settings import Servers
from tickstockpl.db import postgres
from tickstockpl.db.look.flow_log import read_integration
from tickstockpl.db.redis import connect
from tickstockpl.db.schema.migrate import open_stream
from tickstockpl.ops.status.observer import Observer
from tickstockpl.ops.wiring.servers import Place

NOBODY = Servers("redis://127.0.0.1:1/0", "postgresql://127.0.0.1:1/none")


def execute(servers, statement, *values):
    with psycopg.connect(servers.database_url, autocommit=True) as connection:
        cursor = connection.execute(statement, values)
        return cursor.fetchall() if cursor.description else []


def environment_of(servers):
    return {"REDIS_URL": servers.redis_url, "DATABASE_URL": servers.database_url, "TERM": "xterm"} | {
        "TICKSTOCK_SPOOL_DIR": os.environ["TICKSTOCK_SPOOL_DIR"]
    }


def command(*arguments):
    return [sys.executable, "-m", "tickstockpl.ops", *map(str, arguments)]


@contextmanager
def running(servers, log, *arguments):
    """Run a command beside the test; what is still there at its end is killed."""
    with log.open("wb") as out:
        process = Process(arguments, env=environment_of(servers), stdout=out, stderr=out)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def look(servers, **options):
    place = Place(servers, embedded=False, connect_timeout_s=30)
    with closing(Observer(place)) as observer:
        return observer.observe(**options)


def looks_well(found):
    """Tell whether all is there, also the first heartbeat's row: it is logged after the start's."""
    return found.is_healthy and len(found.fleet.integration.checkpoints) == 2


def codes(found):
    return [finding.code for finding in found.findings]


# -- the verdict -----------------------------------------------------------------------------------------------------


def test_a_fleet_is_healthy_until_its_only_worker_is_killed(migrated_servers, tickstock, tmp_path, wait_for):
    with (
        running(migrated_servers, tmp_path / "worker", "worker", "--consumer", "c1", "--partitions", 2) as worker,
        running(migrated_servers, tmp_path / "bridge", "bridge", "--name", "b1"),
    ):
        wait_for(lambda: looks_well(look(migrated_servers)))
        ran = tickstock("status", "--json", servers=migrated_servers)
        assert ran.returncode == 0, ran.stdout
        found = json.loads(ran.stdout)
        assert found["healthy"] is True
        assert [one["code"] for one in found["findings"]] == ["APPLICATION_AWAY"]
        assert (found["bridge"]["owner"], found["bridge"]["epoch"], found["bridge"]["standbys"]) == ("b1", 1, 0)
        assert found["integration"]["heartbeats"]["key_s"] < 30
        assert {one["checkpoint"] for one in found["integration"]["checkpoints"]} == {
            "SERVICE_STARTED",
            "PRODUCER_ALIVE",
        }
        assert {"bridge", "front-door"} <= {lease["unit"] for lease in found["leases"]}

        worker.kill()
        worker.wait()
        execute(  # a killed worker's leases, a quarter of a minute later
            migrated_servers,
            "UPDATE lease SET renewed_at = clock_timestamp() - interval '20 s', expires_at = clock_timestamp()"
            " - interval '15 s' WHERE owner = 'c1'",
        )
        wait_for(lambda: "NO_WORKERS" in codes(look(migrated_servers)))  # the bridge has just come, too
        ran = tickstock("status", servers=migrated_servers)
        assert ran.returncode == 1
        assert "Health        UNHEALTHY\n  error  NO_WORKERS  no worker for " in ran.stdout
        assert "│ nobody │" in ran.stdout
        assert re.search(r"│ c1 +│ silent ", ran.stdout)
        assert "\x1b" not in ran.stdout
        assert "Application   nothing logged in the last 15 min, subscribers: " in ran.stdout
        assert "position" in ran.stdout
        assert [line for line in ran.stdout.splitlines() if line.endswith(" ")] == []

        narrow = tickstock("status", servers=migrated_servers, FORCE_COLOR="1", COLUMNS="80")
        lines = re.sub(r"\x1b\[[0-9;]*m", "", narrow.stdout).splitlines()
        assert len([line for line in lines if line[:1] in "┏┃┡│└"]) > 10
        assert [line for line in lines if len(line) > 80] == []
        assert any(line.startswith("              ") for line in lines)  # below the text, not below the label
        assert "position" not in narrow.stdout


def test_the_table_of_findings_comes_of_what_the_servers_say(migrated_servers):
    with postgres.connect(migrated_servers.database_url, name="test") as connection:
        open_stream(connection, 2)
    assert codes(look(migrated_servers)) == ["NO_WORKERS", "NO_BRIDGE"]

    execute(
        migrated_servers,
        """
        -- a worker and a bridge that live, a partition that nobody takes, a producer that was killed
        INSERT INTO lease (unit, owner, epoch, expires_at, renewed_at) VALUES
            ('consumer:c1', 'c1', 1, clock_timestamp() + interval '1 h', clock_timestamp()),
            ('bridge', 'b1', 7, clock_timestamp() + interval '1 h', clock_timestamp()),
            ('producer:massive-1', 'massive-1', 1, clock_timestamp() - interval '1 min', clock_timestamp());
        UPDATE lease SET owner = 'c1', expires_at = clock_timestamp() + interval '1 h' WHERE unit = 'partition:0';
        UPDATE stream SET created_at = clock_timestamp() - interval '1 min';
        -- of three results, the bridge has told one
        UPDATE checkpoint SET outbox_number = 3 WHERE partition = 1;
        INSERT INTO bridge_position VALUES (1, 1, 7);
        INSERT INTO outbox
            SELECT 1, n, 'bars', '', clock_timestamp() - interval '1 min' FROM generate_series(1, 3) AS n;
        -- five ticks were lost ten minutes ago, six long ago
        INSERT INTO ledger (partition, producer, feed, last_number, ticks_in, lost, updated_at, lost_at) VALUES
            (0, 'massive-1', 'live', 9, 9, 5, clock_timestamp(), clock_timestamp() - interval '10 min'),
            (0, 'massive-0', 'live', 9, 9, 7, clock_timestamp(), clock_timestamp() - interval '20 min'),
            (0, 'old', 'live', 9, 9, 6, '2026-01-01', NULL);
        INSERT INTO dead_letter (partition, producer, reason, detail, original, created_at) VALUES
            (0, 'p', 'price', '', '', '2026-01-01'), (0, 'p', 'price', '', '', clock_timestamp());
        INSERT INTO gap (feed, first_minute, last_minute, why, state) VALUES
            ('live', 1, 2, '', 'open'), ('live', 1, 2, '', 'missing'), ('live', 1, 2, '', 'repaired');
        INSERT INTO replay (name, source) VALUES ('replay-1', 'day.csv');
        """,
    )
    found = look(migrated_servers)
    assert codes(found) == [
        "PARTITIONS_UNOWNED", "HEARTBEAT_STALE", "RESULTS_UNTOLD",
        "HEARTBEAT_UNLOGGED", "PRODUCERS_GONE", "TICKS_LOST", "DEAD_LETTERS", "GAPS_OPEN", "REPLAY_UNFINISHED",
        "APPLICATION_AWAY",
    ]  # fmt: skip
    report = found.fleet
    assert list(report.unowned_s) == [1]
    assert (report.bridge.untold, report.bridge.untold_s > 59) == (2, True)
    assert (report.feed.lost, report.feed.lost_lately, report.feed.dead_letters_lately) == (18, 5, 1)
    assert (report.feed.open_gaps, report.feed.missing_gaps) == (1, 1)
    (producer,) = report.producers
    assert (producer.name, producer.running, producer.ticks, producer.lost) == ("massive-1", False, 9, 5)

    with redis.Redis.from_url(migrated_servers.redis_url) as client:
        seconds, _ = client.time()
        client.set(HEARTBEAT, f"{seconds - 3}.5")
        with client.pubsub() as pubsub:
            pubsub.subscribe("tickstock.events.patterns")
            pubsub.get_message(timeout=60)
            found = look(migrated_servers)
        assert not {"HEARTBEAT_STALE", "APPLICATION_AWAY"} & set(codes(found))
        assert found.fleet.integration.heartbeats.subscribers == 1
        client.set(HEARTBEAT, f"{seconds - 7200}.5", ex=118)  # set two seconds ago by a machine with another clock
        assert "HEARTBEAT_STALE" not in codes(look(migrated_servers))
        client.set(HEARTBEAT, f"{seconds + 7200}.5", ex=60)
        assert "HEARTBEAT_STALE" in codes(look(migrated_servers))
        client.set(HEARTBEAT, "soon")
    assert "HEARTBEAT_STALE" in codes(look(migrated_servers))


def test_status_says_which_server_is_away_also_as_json(migrated_servers, tickstock):
    ran = tickstock("status", "--json", "--connect-timeout-s", 0, servers=NOBODY)
    assert ran.returncode == 1
    found = json.loads(ran.stdout)
    assert (found["healthy"], [one["code"] for one in found["findings"]]) == (False, ["DATABASE_AWAY", "REDIS_AWAY"])
    ran = tickstock(
        "status", "--connect-timeout-s", 0, servers=Servers(NOBODY.redis_url, migrated_servers.database_url)
    )
    assert ran.returncode == 1
    assert ran.stdout.startswith("Health        UNHEALTHY\n  error  REDIS_AWAY  Redis at 127.0.0.1:1: ")


def test_a_missing_right_ends_the_status_and_is_named(migrated_servers, tickstock):
    with redis.Redis.from_url(migrated_servers.redis_url) as admin:
        name = f"user-{secrets.token_hex(4)}"
        admin.execute_command("ACL", "SETUSER", name, "on", "nopass", "~*", "&*", "+@all", "-pubsub|numsub")
        try:
            url = urlsplit(migrated_servers.redis_url)
            limited = url._replace(netloc=f"{name}@{url.hostname}:{url.port}").geturl()
            ran = tickstock("status", servers=Servers(limited, migrated_servers.database_url))
        finally:
            admin.execute_command("ACL", "DELUSER", name)
    assert ran.returncode == 1
    assert f"ACL SETUSER {name} +pubsub|numsub" in ran.stderr


# -- flows -----------------------------------------------------------------------------------------------------------


def log(servers, flow_id, checkpoint, at, *, users=None):
    execute(
        servers,
        """INSERT INTO integration_events (flow_id, "timestamp", event_type, source_system, checkpoint, symbol,
                                           pattern_name, confidence, user_count)
           VALUES (%s, %s, 'pattern_detected', %s, %s, 'IBM', 'Doji', 0.9, %s)""",
        flow_id, at, "TickStockPL" if checkpoint == "PATTERN_PUBLISHED" else "TickStockAppV2", checkpoint, users,
    )  # fmt: skip


def test_flows_are_counted_by_how_far_they_came(migrated_servers):
    whole, fresh, unreceived, unparsed, unseen, old = (UUID(int=n) for n in range(1, 7))
    ((now,),) = execute(migrated_servers, "SELECT clock_timestamp()")
    for flow_id, seconds_ago in {
        whole: (60, 59.960, 59.950, 59.900),
        fresh: (-60,),
        unreceived: (50,),
        unparsed: (40, 39.980),
        unseen: (30, 29.990, 29.985),
        old: (1_000, 999),
    }.items():
        names = ("PATTERN_PUBLISHED", "EVENT_RECEIVED", "EVENT_PARSED", "WEBSOCKET_DELIVERED")
        for name, ago_s in zip(names, seconds_ago, strict=False):
            log(migrated_servers, flow_id, name, now - timedelta(seconds=ago_s), users=4 if name == names[3] else None)
    log(migrated_servers, uuid4(), "EVENT_RECEIVED", now - timedelta(seconds=20))  # of a flow that is not ours
    with postgres.connect(migrated_servers.database_url, name="test") as connection:
        client = connect(migrated_servers.redis_url)
        found = read_integration(connection, client, at=now, window_s=900, latest=3)
    assert found.flows == Flows(
        published=5, received=3, parsed=2, delivered=1, settled=4,
        never_received=1, never_parsed=1, never_delivered=1,
        received_ms_median=20.0, received_ms_p95=38.0, delivered_ms_median=100.0, delivered_ms_p95=100.0,
    )  # fmt: skip
    assert [(one.source, one.checkpoint, one.count) for one in found.checkpoints] == [
        ("TickStockAppV2", "EVENT_PARSED", 2),
        ("TickStockAppV2", "EVENT_RECEIVED", 4),
        ("TickStockAppV2", "WEBSOCKET_DELIVERED", 1),
        ("TickStockPL", "PATTERN_PUBLISHED", 5),
    ]
    assert found.heartbeats.application_s > 20
    assert found.heartbeats.logged_s is None
    assert [flow.flow_id for flow in found.latest] == [fresh, unseen, unparsed]
    assert found.latest[1].flow_path == ["PATTERN_PUBLISHED", "EVENT_RECEIVED", "EVENT_PARSED"]
    assert found.latest[1].total_latency_ms == 15.0


# -- watching --------------------------------------------------------------------------------------------------------


def test_watching_goes_on_while_a_server_is_away(migrated_servers):
    place = Place(migrated_servers, embedded=False, connect_timeout_s=30)
    with closing(Observer(place)) as observer:
        assert observer.observe().fleet is not None
        execute(
            migrated_servers,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'tickstock-status' AND datname = current_database()",
        )
        assert codes(observer.observe()) == ["DATABASE_AWAY"]
        assert observer.observe().fleet is not None


def test_watch_prints_one_json_line_a_look_and_leaves_with_ctrl_c(migrated_servers):
    with subprocess.Popen(
        command("status", "--watch", "--json", "--every-s", "0.1"),
        env=environment_of(migrated_servers), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        first, second = (json.loads(process.stdout.readline()) for _ in range(2))
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=120)
    assert (process.returncode, said) == (0, "")
    assert first["at"] < second["at"]
    assert first["healthy"] is False


def test_watch_in_a_terminal_redraws_one_coloured_picture_and_leaves_the_verdict(migrated_servers):
    with postgres.connect(migrated_servers.database_url, name="test") as connection:
        open_stream(connection, 2)
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        command("status", "--watch", "--every-s", "0.1"),
        env=environment_of(migrated_servers) | {"COLUMNS": "100", "LINES": "60"},
        stdin=theirs, stdout=theirs, stderr=theirs,
    ) as process:  # fmt: skip
        os.close(theirs)
        said = ""
        while said.count("NO_BRIDGE") < 3:  # three pictures
            said += os.read(ours, 65_536).decode(errors="replace")
        process.send_signal(signal.SIGINT)
        rest = read_to_end(ours)
        assert process.wait(120) == 0
    os.close(ours)
    assert "\x1b[1;31mUNHEALTHY" in said  # bold red
    assert "\x1b[?1049h" in said  # the other screen, and back
    _, _, left = (said + rest).rpartition("\x1b[?1049l")
    assert "UNHEALTHY" in left
    assert "Traceback" not in left


def read_to_end(descriptor):
    parts = []
    while True:
        try:
            part = os.read(descriptor, 65_536)
        except OSError:  # Linux says so when the other side of a terminal is closed
            part = b""
        if not part:
            return b"".join(parts).decode(errors="replace")
        parts.append(part)
