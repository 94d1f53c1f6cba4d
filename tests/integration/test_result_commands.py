"""`publish-test-pattern`, `flow` and `watch`; and the worker under its older name."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import UUID, uuid4

import psycopg
import pytest
import redis
from processes import OPS, Process
from tickstockpl.contracts.names import BRIDGE_EPOCH
from tickstockpl.db.publisher import Publisher
from tickstockpl.db.redis import connect
from tickstockpl.ops.jobs.watch import CHANNELS, ReceivedMessage, Sequences, line

FLOW = UUID("6f1f7a3e-1d2c-5b4a-9e8f-0a1b2c3d4e5f")
PATTERN_CHANNELS = ["tickstock.events.patterns", "tickstock:patterns:streaming", "tickstock:patterns:detected"]
CONFIDENT = ("--symbol", "AAPL", "--pattern", "Doji", "--confidence", 0.85)


@pytest.fixture
def client(migrated_servers):
    with redis.Redis.from_url(migrated_servers.redis_url) as client:
        yield client


@pytest.fixture
def publish(migrated_servers, tickstock):
    """Give a function that publishes test patterns; it returns the flow_ids that were printed."""

    def run(*arguments):
        ran = tickstock("publish-test-pattern", *arguments, servers=migrated_servers)
        assert ran.returncode == 0, ran.stderr
        return re.findall(r"flow_id +(\S+)", ran.stdout)

    return run


@pytest.fixture
def subscribed(client):
    """Give a function that returns what was said on the pattern channels up to now: (channel, message)."""
    with client.pubsub(ignore_subscribe_messages=True) as pubsub:
        pubsub.subscribe(*PATTERN_CHANNELS)
        for _ in PATTERN_CHANNELS:
            pubsub.get_message(timeout=60)

        def heard():
            got = []
            pubsub.ping()  # what was published before stands before its answer
            while (message := pubsub.get_message(timeout=60))["type"] != "pong":
                got.append((message["channel"].decode(), json.loads(message["data"])))
            return got

        yield heard


def execute(servers, statement, *values):
    with psycopg.connect(servers.database_url, autocommit=True) as connection:
        cursor = connection.execute(statement, values)
        return cursor.fetchall() if cursor.description else []


def log_checkpoint(servers, flow_id, at, checkpoint, source="TickStockPL", users=None, kind="pattern_detected"):
    execute(
        servers,
        """INSERT INTO integration_events (flow_id, "timestamp", event_type, source_system, checkpoint, channel, symbol,
                                           pattern_name, confidence, user_count)
           VALUES (%s, %s, %s, %s, %s, 'tickstock.events.patterns', 'AAPL', 'Doji', 0.85, %s)""",
        flow_id, at, kind, source, checkpoint, users,
    )  # fmt: skip


def environment_of(servers):
    ours = ("REDIS", "DATABASE", "TICKSTOCK", "NO_COLOR", "FORCE_COLOR")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return clean | {"REDIS_URL": servers.redis_url, "DATABASE_URL": servers.database_url}


class Running(Process):
    """A command that runs beside the test: `lines` and `notes` (stderr) are the whole lines that it has said so far."""

    def __init__(self, arguments, servers, folder, program):
        self._folder, self._kept = Path(folder), {}
        with (self._folder / "lines").open("wb") as out, (self._folder / "notes").open("wb") as err:
            super().__init__(arguments, env=environment_of(servers), stdout=out, stderr=err, program=program)

    @property
    def lines(self):
        return self._kept.get("lines") or whole_lines(self._folder / "lines")

    @property
    def notes(self):
        return self._kept.get("notes") or whole_lines(self._folder / "notes")

    def end(self):
        self.kill()
        self.wait(60)
        self._kept = {name: whole_lines(self._folder / name) for name in ("lines", "notes")}


def whole_lines(file):
    return [line.decode() + "\n" for line in file.read_bytes().split(b"\n")[:-1]]


@contextmanager
def running(servers, *arguments, program=OPS):
    """Run a command beside the test; it is killed at the end."""
    with TemporaryDirectory() as folder:
        process = Running(arguments, servers, folder, program)
        try:
            yield process
        finally:
            process.end()


@contextmanager
def watching(servers, client, wait_for, *arguments):
    """Run `watch` beside the test, from when it has subscribed."""
    with running(servers, "watch", *arguments) as process:
        wait_for(lambda: client.pubsub_channels("tickstock*") or process.poll() is not None)
        assert process.poll() is None, process.notes
        yield process


def said_by(process):
    """Stop a command as Ctrl-C does; return all that it printed."""
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0, process.notes
    return "".join(process.lines)


# -- publish-test-pattern ----------------------------------------------------------------------------------------------


def test_several_symbols_have_a_test_pattern_each(publish, subscribed):
    assert len(publish("--symbol", "AAPL,MSFT", "--confidence", 0.7)) == 2
    events = [message for channel, message in subscribed() if channel == "tickstock.events.patterns"]
    assert [message["data"]["symbol"] for message in events] == ["AAPL", "MSFT"]


def test_a_test_pattern_is_said_in_the_structure_of_seed_001(publish, subscribed):
    (flow_id,) = publish(*CONFIDENT, "--seed", 1)
    channel, message = subscribed()[0]
    assert channel == "tickstock.events.patterns"
    assert (message["event_type"], message["source"]) == ("pattern_detected", "TickStockPL")
    assert isinstance(message["timestamp"], float)
    inside = message["data"]
    assert (inside["symbol"], inside["pattern"], inside["confidence"]) == ("AAPL", "Doji", 0.85)
    assert (inside["flow_id"], inside["tier"], message["flow_id"]) == (flow_id, "test", flow_id)
    assert -5 <= inside["price_change"] <= 5
    assert 100 <= inside["current_price"] <= 500


def test_a_test_pattern_goes_out_on_each_pattern_channel_under_one_flow_id(publish, subscribed):
    (flow_id,) = publish(*CONFIDENT)
    heard = subscribed()
    assert [channel for channel, _ in heard] == PATTERN_CHANNELS
    assert {message["flow_id"] for _, message in heard} == {flow_id}
    assert heard[1][1]["detection"]["metadata"]["flow_id"] == flow_id


def test_below_a_confidence_of_0_8_the_channel_of_detected_patterns_does_not_carry_it(publish, subscribed):
    publish("--confidence", 0.79)
    assert [channel for channel, _ in subscribed()] == PATTERN_CHANNELS[:2]


def test_a_test_pattern_is_logged_as_seed_001_logs_it(publish, migrated_servers):
    (flow_id,) = publish(*CONFIDENT, "--tier", "daily")
    ((*columns, details),) = execute(
        migrated_servers,
        """SELECT flow_id::text, event_type, source_system, checkpoint, channel, symbol, pattern_name, confidence::text,
                  user_count, details FROM integration_events""",
    )
    assert columns == [
        flow_id, "pattern_detected", "TickStockPL", "PATTERN_PUBLISHED", "tickstock.events.patterns", "AAPL", "Doji",
        "0.85", None,
    ]  # fmt: skip
    assert (details["test"], details["tier"]) == (True, "daily")


def test_a_test_pattern_that_redis_has_no_room_for_is_in_the_log_all_the_same(migrated_servers, client, tickstock):
    client.config_set("maxmemory", 1)
    try:
        ran = tickstock("publish-test-pattern", *CONFIDENT, servers=migrated_servers)
    finally:
        client.config_set("maxmemory", 0)
    ((flow_id,),) = execute(migrated_servers, "SELECT flow_id::text FROM integration_events")
    assert ran.returncode == 1
    assert f"flow_id {flow_id} is logged" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_several_test_patterns_of_one_symbol_have_a_flow_id_each(publish, migrated_servers):
    flow_ids = publish(*CONFIDENT, "--count", 3)
    assert len(set(flow_ids)) == 3
    logged = execute(migrated_servers, "SELECT flow_id::text FROM integration_events ORDER BY id")
    assert [flow_id for (flow_id,) in logged] == flow_ids


def test_what_is_not_given_is_drawn_from_what_seed_001_draws(publish, subscribed):
    publish("--count", 40, "--seed", 5)
    said = [message["data"] for channel, message in subscribed() if channel == PATTERN_CHANNELS[0]]
    assert {one["symbol"] for one in said} == {"AAPL", "GOOGL", "MSFT", "TSLA", "NVDA"}
    patterns = {"Volume_Spike", "Price_Breakout", "Support_Test", "Resistance_Break"}
    assert {one["pattern"] for one in said} == patterns
    assert all(0.7 <= one["confidence"] <= 0.99 for one in said)


def test_the_same_seed_draws_the_same_patterns_under_new_flow_ids(publish, subscribed):
    ids = publish("--seed", 3), publish("--seed", 3)
    first, second = (message["data"] for channel, message in subscribed() if channel == PATTERN_CHANNELS[0])
    names = ("symbol", "pattern", "confidence", "price_change", "current_price", "volume")
    assert [first[name] for name in names] == [second[name] for name in names]
    assert ids[0] != ids[1]


def test_a_test_pattern_counts_on_in_the_epoch_of_the_running_bridge(migrated_servers, publish, subscribed):
    with connect(migrated_servers.redis_url) as client:
        bridge = Publisher(client, 7)
        bridge.open()
        bridge.publish([("tickstock.events.patterns", b'{"event_type":"pattern_detected"}')])
        publish(*CONFIDENT)
        bridge.publish([("tickstock.events.patterns", b'{"event_type":"pattern_detected"}')])
    said = [(message["epoch"], message["seq"]) for channel, message in subscribed() if channel == PATTERN_CHANNELS[0]]
    assert said == [(7, 1), (7, 2), (7, 3)]


def test_a_test_pattern_registers_no_epoch(publish, client, subscribed):
    publish(*CONFIDENT)
    assert client.get(BRIDGE_EPOCH) is None
    assert {(message["epoch"], message["seq"]) for _, message in subscribed()} == {(0, 1)}


def test_a_test_pattern_names_the_session_that_runs(publish, migrated_servers, subscribed):
    ended, runs = uuid4(), uuid4()
    insert = "INSERT INTO streaming_session (session_id, universe, started_at, stopped_at) VALUES (%s, 'u', %s, %s)"
    noon, later = datetime(2026, 3, 2, 12, tzinfo=UTC), datetime(2026, 3, 2, 13, tzinfo=UTC)
    execute(migrated_servers, insert, ended, later, later)
    execute(migrated_servers, insert, runs, noon, None)
    publish(*CONFIDENT)
    assert subscribed()[1][1]["session_id"] == str(runs)


def test_publishing_a_test_pattern_says_who_heard_it_and_how_to_follow_it(migrated_servers, tickstock, subscribed):
    ran = tickstock("publish-test-pattern", *CONFIDENT, servers=migrated_servers)
    head, flow_id, heard, follow = ran.stdout.splitlines()
    assert head == "Doji @ AAPL (confidence 0.85, tier test)"
    assert heard.split("heard by")[1].strip() == ", ".join(f"1 on {channel}" for channel in PATTERN_CHANNELS)
    assert follow.split("follow")[1].strip() == f"tickstock flow {flow_id.split()[-1]}"
    assert len(subscribed()) == 3


@pytest.mark.parametrize(
    "arguments", [("--count", 0), ("--confidence", 1.01), ("--symbol", " "), ("--symbol", "A" * 21), ("--tier", "new")]
)
def test_a_test_pattern_that_cannot_be_is_a_usage_error(migrated_servers, tickstock, arguments):
    assert tickstock("publish-test-pattern", *arguments, servers=migrated_servers).returncode == 2
    assert execute(migrated_servers, "SELECT count(*) FROM integration_events") == [(0,)]


# -- flow --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def followed(migrated_servers):
    """Servers on which three checkpoints of FLOW are logged, 40 and 100.5 ms after the first."""
    second = datetime(2026, 3, 2, 14, 31, 0, 250_000, UTC)
    log_checkpoint(migrated_servers, FLOW, second.replace(microsecond=290_000), "EVENT_RECEIVED", "TickStockAppV2")
    log_checkpoint(migrated_servers, FLOW, second, "PATTERN_PUBLISHED")
    log_checkpoint(
        migrated_servers, FLOW, second.replace(microsecond=350_500), "WEBSOCKET_DELIVERED", "TickStockAppV2", 3
    )
    log_checkpoint(migrated_servers, uuid4(), second, "PATTERN_PUBLISHED")
    return migrated_servers


@pytest.fixture
def detected(followed):
    """The same servers, where FLOW is of a detection that is stored."""
    ((pattern_id,),) = execute(
        followed,
        """INSERT INTO intraday_patterns (symbol, pattern_type, confidence, pattern_data, detection_timestamp,
                                          expiration_timestamp, levels, metadata, timeframe)
           VALUES ('AAPL', 'Doji', 0.85, '{"direction": 1, "bar": {"close": 186.25, "volume": 1200.5}}',
                   '2026-03-02 14:31:00.2+00', '2026-03-02 15:31:00.2+00', '{185.5,186}',
                   jsonb_build_object('flow_id', %s::text), '5min') RETURNING id""",
        str(FLOW),
    )
    execute(
        followed,
        "INSERT INTO detection_flow (flow_id, symbol, timeframe, minute, pattern, pattern_id) "
        "VALUES (%s, 'AAPL', 5, 29541025, 'Doji', %s)",
        FLOW, pattern_id,
    )  # fmt: skip
    return followed


def flow_object(tickstock, servers, flow_id=FLOW):
    ran = tickstock("flow", flow_id, "--json", servers=servers)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def test_flow_gives_each_checkpoint_in_order_with_its_latencies(followed, tickstock):
    checkpoints = flow_object(tickstock, followed)["checkpoints"]
    assert [(c["checkpoint"], c["source"], c["since_first_ms"], c["since_last_ms"]) for c in checkpoints] == [
        ("PATTERN_PUBLISHED", "TickStockPL", 0.0, None),
        ("EVENT_RECEIVED", "TickStockAppV2", 40.0, 40.0),
        ("WEBSOCKET_DELIVERED", "TickStockAppV2", 100.5, 60.5),
    ]
    assert {c["channel"] for c in checkpoints} == {"tickstock.events.patterns"}


def test_flow_gives_its_row_of_the_analysis(followed, tickstock):
    analysis = flow_object(tickstock, followed)["analysis"]
    assert analysis["flow_path"] == ["PATTERN_PUBLISHED", "EVENT_RECEIVED", "WEBSOCKET_DELIVERED"]
    del analysis["flow_path"], analysis["start_time"], analysis["end_time"]
    assert analysis == {
        "flow_id": str(FLOW), "total_latency_ms": 100.5, "symbol": "AAPL", "pattern_name": "Doji", "confidence": 0.85,
        "users_notified": 3, "checkpoints_logged": 3,
    }  # fmt: skip


def test_flow_gives_the_detection_that_it_began_with(detected, tickstock):
    found = flow_object(tickstock, detected)["detection"]
    assert (found["symbol"], found["pattern"], found["timeframe"], found["confidence"]) == (
        "AAPL",
        "Doji",
        "5min",
        0.85,
    )
    assert datetime.fromisoformat(found["bar"]) == datetime(2026, 3, 2, 14, 25, tzinfo=UTC)
    assert (found["levels"], found["superseded_at"]) == ([185.5, 186.0], None)


def test_flow_of_a_detection_that_a_revision_took_away_says_when(detected, tickstock):
    execute(detected, "UPDATE detection_flow SET superseded_at = '2026-03-02 14:32:07.5+00'")
    said = tickstock("flow", FLOW, servers=detected).stdout
    assert "Doji @ AAPL (0.85) on the 5min bar of 2026-03-02 14:25" in said
    assert "superseded 2026-03-02 14:32:07.500" in said


def test_flow_of_a_detection_whose_row_was_pruned_still_knows_it(detected, tickstock):
    execute(detected, "DELETE FROM intraday_patterns")
    execute(detected, "DELETE FROM integration_events")
    found = flow_object(tickstock, detected)
    assert (found["checkpoints"], found["analysis"], found["detection"]["detected_at"]) == ([], None, None)
    assert "its row was deleted" in tickstock("flow", FLOW, servers=detected).stdout


def test_flow_of_a_detection_that_nobody_told_says_so(detected, tickstock):
    execute(detected, "DELETE FROM integration_events")
    ran = tickstock("flow", FLOW, servers=detected)
    assert ran.stdout.startswith("Flow       no checkpoint is logged: it was not published")
    replayed_minute = 29541028  # the fourth of the detection's bar
    execute(
        detected,
        """INSERT INTO recent_bar (symbol, minute, feed, replay, whole, revision, open, high, low, close, volume_micro,
                                   notional, trades, open_ts, close_ts)
           VALUES ('AAPL', %s, 'replay-1', true, false, 0, 1, 1, 1, 1, 1, 1, 1, 0, 0)""",
        replayed_minute,
    )
    ran = tickstock("flow", FLOW, servers=detected)
    assert ran.stdout.startswith("Flow       found in a replay that was not published")


# -- patterns ----------------------------------------------------------------------------------------------------------


def test_patterns_are_printed_with_the_bar_that_they_were_found_on(detected, tickstock):
    ran = tickstock("patterns", "--format", "csv", servers=detected)
    assert (ran.returncode, ran.stdout.splitlines()) == (
        0,
        [
            "symbol,bar,timeframe,pattern,confidence,direction,price,volume,levels,flow_id",
            f"AAPL,2026-03-02T14:25:00Z,5min,Doji,0.85,bullish,186.25,1200.5,185.5 186,{FLOW}",
        ],
    )
    ran = tickstock("patterns", "--format", "json", servers=detected)
    assert json.loads(ran.stdout) == {
        "symbol": "AAPL", "bar": "2026-03-02T14:25:00Z", "timeframe": "5min", "pattern": "Doji", "confidence": 0.85,
        "direction": "bullish", "price": 186.25, "volume": 1200.5, "levels": [185.5, 186.0], "flow_id": str(FLOW),
    }  # fmt: skip
    shown = tickstock("patterns", servers=detected).stdout
    assert "2026-03-02 14:25 │ 5min      │ Doji    │ 0.85       │ bullish   │ 186.25 │ 1,200  │ 185.5 186 │" in shown
    assert str(FLOW) in tickstock("patterns", "--flow-ids", servers=detected).stdout


def test_a_pattern_whose_row_was_pruned_is_not_printed(detected, tickstock):
    execute(detected, "DELETE FROM intraday_patterns")
    ran = tickstock("patterns", "--format", "json", servers=detected)
    assert (ran.returncode, ran.stdout) == (1, "")


@pytest.mark.parametrize(
    ("arguments", "found", "note"),
    [
        (("--symbol", "AAPL,IBM"), True, "no patterns of IBM"),
        (("--timeframe", "5min"), True, ""),
        (("--timeframe", "1min"), False, "no patterns"),
        (("--pattern", "Hammer,Doji"), True, ""),
        (("--from", "2026-03-02T14:25", "--to", "2026-03-02T14:26"), True, ""),
        (("--symbol", "IBM"), False, "no patterns of IBM"),
        (("--pattern", "Hammer"), False, "no Hammer patterns"),
        (("--from", "2026-03-02T14:26"), False, "no patterns from 2026-03-02T14:26:00+0000"),
        (("--to", "2026-03-02T14:25"), False, "no patterns to 2026-03-02T14:25:00+0000"),
    ],
)
def test_patterns_are_chosen_by_symbol_name_and_time_and_none_is_exit_1(detected, tickstock, arguments, found, note):
    ran = tickstock("patterns", "--flow-ids", *arguments, servers=detected)
    assert (ran.returncode, str(FLOW) in ran.stdout, ran.stderr.strip()) == (0 if found else 1, found, note)


def test_a_pattern_that_a_revision_took_away_stands_no_more(detected, tickstock):
    execute(detected, "UPDATE detection_flow SET superseded_at = now()")
    assert tickstock("patterns", servers=detected).returncode == 1


@pytest.mark.parametrize("command", ["patterns", "publish-test-pattern"])
def test_a_pattern_that_does_not_exist_is_refused_with_those_that_do(detected, tickstock, command):
    execute(detected, "INSERT INTO pattern_definitions (name, short_description) VALUES ('TheirOwn', 'of the app')")
    ran = tickstock(command, "--pattern", "dojo", servers=detected)
    assert ran.returncode == 2
    assert ran.stderr.startswith("Error: there is no pattern 'dojo': did you mean Doji? There are: AbandonedBaby, ")
    assert ", TheirOwn, " in ran.stderr
    assert tickstock(command, "--pattern", "TheirOwn", servers=detected).returncode != 2


# -- flow, for people --------------------------------------------------------------------------------------------------


def test_flow_prints_a_line_for_each_checkpoint(followed, tickstock):
    said = tickstock("flow", FLOW, servers=followed).stdout.splitlines()
    assert [" ".join(line.split()) for line in said[1:4]] == [
        "2026-03-02 14:31:00.250 PATTERN_PUBLISHED 0.0 ms - TickStockPL tickstock.events.patterns",
        "2026-03-02 14:31:00.290 EVENT_RECEIVED 40.0 ms 40.0 ms TickStockAppV2 tickstock.events.patterns",
        "2026-03-02 14:31:00.350 WEBSOCKET_DELIVERED 100.5 ms 60.5 ms TickStockAppV2 tickstock.events.patterns",
    ]
    assert said[-2].split(None, 1)[1] == (
        "Doji @ AAPL (0.85): 3 checkpoints in 100.5 ms, 3 users notified: "
        "PATTERN_PUBLISHED > EVENT_RECEIVED > WEBSOCKET_DELIVERED"
    )


def test_flow_of_a_test_pattern_says_that_it_is_one(publish, migrated_servers, tickstock):
    (flow_id,) = publish(*CONFIDENT)
    found = flow_object(tickstock, migrated_servers, flow_id)
    assert [checkpoint["checkpoint"] for checkpoint in found["checkpoints"]] == ["PATTERN_PUBLISHED"]
    assert found["detection"] is None
    assert "none: this is a test pattern" in tickstock("flow", flow_id, servers=migrated_servers).stdout


def test_flow_of_a_heartbeat_has_no_pattern(migrated_servers, tickstock):
    at = datetime(2026, 3, 2, tzinfo=UTC)
    log_checkpoint(migrated_servers, FLOW, at, "PRODUCER_ALIVE", kind="heartbeat")
    ran = tickstock("flow", FLOW, servers=migrated_servers)
    assert ran.returncode == 0
    assert "no pattern is logged under this id" in ran.stdout


def test_flow_of_an_unknown_id_says_so_and_fails(followed, tickstock):
    unknown = uuid4()
    ran = tickstock("flow", unknown, servers=followed)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert f"Error: flow_id {unknown} is unknown" in ran.stderr


def test_flow_of_what_is_no_uuid_is_a_usage_error(followed, tickstock):
    ran = tickstock("flow", "doji", servers=followed)
    assert ran.returncode == 2
    assert "'doji' is not a valid UUID" in ran.stderr


def test_flow_that_is_followed_shows_what_is_logged_meanwhile(followed, wait_for):
    with running(followed, "flow", FLOW, "--follow-s", 600) as process:
        wait_for(lambda: len(process.lines) == 4)
        log_checkpoint(followed, FLOW, datetime(2026, 3, 2, 14, 31, 1, tzinfo=UTC), "SHOWN")
        wait_for(lambda: len(process.lines) == 5)
        assert "4 checkpoints in 750.0 ms" in said_by(process)
    assert "SHOWN" in process.lines[4]


def test_flow_that_is_followed_waits_for_an_id_that_nobody_logged_yet(migrated_servers, wait_for):
    with running(migrated_servers, "flow", FLOW, "--follow-s", 600, "--json") as process:
        at = datetime(2026, 3, 2, 14, 31, tzinfo=UTC)
        wait_for(
            lambda: execute(
                migrated_servers, "SELECT 1 FROM pg_stat_activity WHERE application_name = 'tickstock-flow'"
            )
        )
        log_checkpoint(migrated_servers, FLOW, at, "PATTERN_PUBLISHED")
        wait_for(lambda: len(process.lines) == 1)
        log_checkpoint(migrated_servers, FLOW, at, "EVENT_RECEIVED")
        wait_for(lambda: len(process.lines) == 2)
        said_by(process)
    assert [len(json.loads(line)["checkpoints"]) for line in process.lines] == [1, 2]


# -- watch -------------------------------------------------------------------------------------------------------------


def test_watch_shows_a_test_pattern_on_each_of_its_channels(migrated_servers, client, publish, wait_for):
    with watching(migrated_servers, client, wait_for) as process:
        publish(*CONFIDENT)
        wait_for(lambda: len(process.lines) == 4)
        said = [line.split()[1:] for line in process.lines[1:]]
        summary = said_by(process).splitlines()[4:]
    assert said == [
        [PATTERN_CHANNELS[0], "AAPL", "Doji", "confidence", "0.85", "tier", "test", "[0:1]"],
        [PATTERN_CHANNELS[1], "AAPL", "Doji", "confidence", "0.85", "timeframe", "1min", "[0:1]"],
        [PATTERN_CHANNELS[2], "AAPL", "Doji", "confidence", "0.85", "timeframe", "1min", "[0:1]"],
    ]
    assert summary[0] == "-- 3 messages"
    assert [line.split()[1:] for line in summary[1:]] == [["1", channel] for channel in sorted(PATTERN_CHANNELS)]


def test_watch_shows_only_the_symbols_that_are_asked_for(migrated_servers, client, publish, wait_for):
    with watching(migrated_servers, client, wait_for, "--symbol", "IBM, MSFT") as process:
        for symbol in ("AAPL", "MSFT", "IBM"):
            publish("--symbol", symbol, "--confidence", 0.7)
        wait_for(lambda: len(process.lines) == 5)
        said_by(process)
    assert [line.split()[2] for line in process.lines[1:5]] == ["MSFT", "MSFT", "IBM", "IBM"]


def test_watch_listens_only_on_the_channels_that_are_asked_for(migrated_servers, client, wait_for):
    with watching(migrated_servers, client, wait_for, "--channel", "*:errors,tickstock.health.*") as process:
        assert set(client.pubsub_channels()) == {b"tickstock:errors", b"tickstock.health.status"}
        assert client.pubsub_numpat() == 0
        said_by(process)


def test_watch_listens_on_no_channel_of_ticks():
    assert len(CHANNELS) == 29
    ticks = {"tickstock.data.raw", "tickstock.all_ticks", "tickstock:market:ticks"}
    assert not ticks & set(CHANNELS)
    assert not [channel for channel in CHANNELS if channel.startswith("tickstock.ticks.")]


def test_watch_of_a_channel_that_does_not_exist_is_a_usage_error(migrated_servers, tickstock):
    ran = tickstock("watch", "--channel", "tickstock.events.patern*", servers=migrated_servers)
    assert ran.returncode == 2
    assert "tickstock.events.patterns, " in ran.stderr


def test_watch_ends_by_itself_after_its_time(migrated_servers, tickstock):
    ran = tickstock("watch", "--seconds", 0.3, servers=migrated_servers)
    assert (ran.returncode, ran.stdout.splitlines()) == (0, ["-- listening on 29 channels", "-- 0 messages"])


def test_watch_notes_a_hole_in_seq_and_sums_it_up(migrated_servers, client, wait_for):
    with watching(migrated_servers, client, wait_for) as process:
        for seq in (4, 5, 9):
            client.publish("tickstock:errors", json.dumps({"event": "processing_error", "epoch": 2, "seq": seq}))
        wait_for(lambda: len(process.lines) == 5)
        said = said_by(process).splitlines()
    assert said[3] == "-- tickstock:errors: 3 missed, 2:6 to 2:8"
    assert said[-1].split() == ["--", "3", "tickstock:errors,", "3", "missed"]


def test_watch_raw_prints_the_bytes_and_keeps_its_notes_apart(migrated_servers, client, wait_for):
    with watching(migrated_servers, client, wait_for, "--raw") as process:
        client.publish("tickstock:errors", '{"event": "processing_error","epoch":1,"seq":1}')
        client.publish("tickstock:errors", '{"event": "processing_error","epoch":1,"seq":3}')
        wait_for(lambda: len(process.lines) == 2)
        said = said_by(process)
    assert said == (
        'tickstock:errors {"event": "processing_error","epoch":1,"seq":1}\n'
        'tickstock:errors {"event": "processing_error","epoch":1,"seq":3}\n'
    )
    assert "tickstock:errors: 1 missed, 1:2 to 1:2\n" in process.notes


def test_watch_goes_on_when_its_connection_is_cut(migrated_servers, client, wait_for):
    with watching(migrated_servers, client, wait_for, "--channel", "tickstock:errors") as process:
        client.publish("tickstock:errors", b'{"epoch":1,"seq":1}')
        wait_for(lambda: len(process.lines) == 2)
        assert client.client_kill_filter(_type="pubsub") == 1
        wait_for(lambda: len(process.lines) == 3)
        wait_for(client.pubsub_channels)
        client.publish("tickstock:errors", b'{"epoch":1,"seq":4}')
        wait_for(lambda: len(process.lines) == 5)
        said = said_by(process).splitlines()
    assert said[2].startswith("-- Redis went away")
    assert said[3] == "-- tickstock:errors: 2 missed, 1:2 to 1:3"


@pytest.mark.parametrize(
    "body", [b"no JSON", b"[1,2]", b"null", b'{"data":3,"epoch":"x","seq":null}', b"\xff\xfe", b"\x1b[2J\n\x07", b""]
)
def test_watch_shows_a_foreign_message_on_one_line_and_goes_on(migrated_servers, client, wait_for, body):
    with watching(migrated_servers, client, wait_for, "--channel", "tickstock:errors") as process:
        client.publish("tickstock:errors", body)
        client.publish("tickstock:errors", b'{"event":"processing_error","epoch":1,"seq":1}')
        wait_for(lambda: len(process.lines) == 3)
        said = said_by(process)
    assert "processing_error" in said.splitlines()[2]
    assert "\x1b" not in said


def test_watch_is_coloured_in_a_terminal(migrated_servers, client, wait_for):
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "tickstockpl.ops", "watch", "--channel", "tickstock:patterns:detected"]
    environment = environment_of(migrated_servers) | {"TERM": "xterm"}
    said = b""

    def read_pattern():
        nonlocal said
        said += os.read(leader, 4096) if select.select([leader], [], [], 0)[0] else b""
        return b"AAPL" in said

    with subprocess.Popen(command, env=environment, stdin=follower, stdout=follower) as process:
        os.close(follower)
        try:
            wait_for(client.pubsub_channels)
            client.publish("tickstock:patterns:detected", b'{"detection":{"symbol":"AAPL","pattern":"Doji"}}')
            wait_for(read_pattern)
        finally:
            process.terminate()
            process.wait(60)
            os.close(leader)
    assert b"\x1b[32m" in said


NOON = datetime(2026, 3, 2, 12, 0, 0, 7_000, UTC)


@pytest.mark.parametrize(
    ("channel", "message", "shown"),
    [
        (
            "tickstock:indicators:streaming",
            (
                '{"type":"streaming_indicator","event":"indicator_calculated","calculation":{"symbol":"AAPL",'
                '"indicator":"RSI","value":72.51239,"values":{"value":72.5},"timeframe":"1min"},"epoch":3,"seq":12345}'
            ),
            "AAPL RSI value 72.5124 timeframe 1min [3:12345]",
        ),
        (
            "tickstock:alerts:indicators",
            (
                '{"type":"indicator_alert","alert_type":"RSI_OVERBOUGHT","symbol":"AAPL","severity":"warning",'
                '"data":{"rsi":71.0,"indicator":"RSI","value":71.0,"threshold":70.0},"epoch":3,"seq":1}'
            ),
            "AAPL RSI_OVERBOUGHT value 71.0 threshold 70.0 severity warning [3:1]",
        ),
        (
            "tickstock:streaming:session_started",
            '{"event":"session_started","session":{"universe":"u:1","symbol_count":70},"epoch":3,"seq":1}',
            "- session_started universe u:1 symbol_count 70 [3:1]",
        ),
        (
            "tickstock:streaming:health",
            (
                '{"event":"streaming_health","status":"healthy","active_symbols":70,"ticks_per_second":512.25,'
                '"patterns_detected":1,"indicators_calculated":2,"health":{"status":"healthy"},"epoch":3,"seq":1}'
            ),
            (
                "- streaming_health status healthy active_symbols 70 ticks_per_second 512.25 patterns_detected 1 "
                "indicators_calculated 2 [3:1]"
            ),
        ),
        (
            "tickstock:streaming:health",
            (
                '{"event":"streaming_health","status":"degraded","issues":[{"code":"DEAD_LETTERS","message":"3 ticks '
                'were refused: see tickstock dlq","since":"2026-03-02T12:00:00+00:00"},"odd",{"code":"LAG_HIGH"}],'
                '"epoch":3,"seq":2}'
            ),
            ("- streaming_health status degraded issue: 3 ticks were refused: see tickstock dlq issue: LAG_HIGH [3:2]"),
        ),
        (
            "tickstock:errors",
            (
                '{"event":"processing_error","severity":"error","category":"database","message":"disk\\nfull",'
                '"component":"worker","payload":{"message":"disk full"},"epoch":3,"seq":1}'
            ),
            "- processing_error severity error category database component worker message disk full [3:1]",
        ),
        (
            "tickstock:monitoring",
            '{"event_type":"METRIC_UPDATE","metrics":{"system":{"cpu_percent":12.5}},"health_score":{"overall":98.0}}',
            "- METRIC_UPDATE cpu_percent 12.5 overall 98.0",
        ),
        (
            "tickstock:import:progress",
            '{"event":"import_progress","payload":{"current_symbol":"MSFT","percent_complete":40.0}}',
            "MSFT import_progress percent_complete 40.0",
        ),
    ],
)
def test_watch_writes_each_kind_of_message_on_one_line(channel, message, shown):
    written = line(ReceivedMessage(channel, message.encode(), json.loads(message)), NOON)
    assert written.split() == ["12:00:00.007", channel, *shown.split()]


def test_messages_before_the_first_one_heard_are_no_hole():
    assert Sequences().note("c", 3, 17) is None


def test_a_new_epoch_counts_from_1_and_what_lacks_there_is_a_hole():
    sequences = Sequences()
    assert [sequences.note("c", 3, 17), sequences.note("c", 4, 1)] == [None, None]
    assert sequences.note("c", 6, 3) == "c: 2 missed, 6:1 to 6:2"


def test_a_batch_of_the_old_epoch_after_a_new_one_is_no_hole():
    sequences = Sequences()
    assert [sequences.note("c", *at) for at in ((3, 17), (4, 1), (3, 18), (4, 2))] == [None] * 4
    assert sequences.missed["c"] == 0


def test_a_number_that_comes_twice_is_noted():
    sequences = Sequences()
    sequences.note("c", 3, 17)
    assert sequences.note("c", 3, 17) == "c: 3:17 came after 3:17"
    assert sequences.note("c", 3, 18) is None


# -- the worker under its older name -----------------------------------------------------------------------------------


def test_the_older_name_has_the_workers_help():
    ran = subprocess.run(
        [sys.executable, "-m", "tickstockpl.redis_consumer", "--help"], capture_output=True, text=True, check=True
    )
    worker = subprocess.run(
        [sys.executable, "-m", "tickstockpl.ops", "worker", "--help"], capture_output=True, text=True, check=True
    )
    (usage, *said), (_, *expected) = ran.stdout.splitlines(), worker.stdout.splitlines()
    assert usage == "Usage: python -m tickstockpl.redis_consumer [OPTIONS]"
    assert any("--consumer" in line for line in said)
    assert said == expected


def test_the_older_name_starts_a_worker_that_joins_and_stops_on_sigterm(migrated_servers, wait_for):
    def owned():
        return execute(
            migrated_servers, "SELECT count(*) FROM lease WHERE starts_with(unit, 'partition:') AND owner = 'old'"
        )

    options = ("--consumer", "old", "--partitions", 2)
    with running(migrated_servers, *options, program="tickstockpl.redis_consumer") as process:
        wait_for(lambda: process.poll() is not None or owned() == [(2,)])
        process.terminate()
        assert process.wait(60) == 0, process.notes
    assert owned() == [(0,)]
