"""Each rule of the one table, its state caused on real servers, through every view: the command, JSON, the channels."""

import json
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from click.testing import CliRunner
from tickstockpl.contracts.fleet import fleet_rules
from tickstockpl.contracts.fleet.fleet_rules import RULES
from tickstockpl.contracts.market_hours import Hours
from tickstockpl.contracts.messages.channel_names import PATTERNS
from tickstockpl.contracts.names import DEAD_LETTERS, FRONT_DOOR, HEARTBEAT, stream_key
from tickstockpl.db import postgres, redis
from tickstockpl.db.look import fleet_look
from tickstockpl.db.postgres import Database
from tickstockpl.db.schema.migrate import open_stream
from tickstockpl.ops.cli.fleet.status_command import status
from tickstockpl.workers.bridge.voice import Voice

HEALTH, CRITICAL, MONITORING = "tickstock:streaming:health", "tickstock:alerts:critical", "tickstock:monitoring"
WORDS = {"healthy": "healthy", "degraded": "degraded", "starting": "starting", "error": "UNHEALTHY"}
LEAVE_S = 600.0  # by the voice's clock: until then it reads all anew
ALARMING = {rule.code for rule in RULES if rule.alarming}

LIVE = "clock_timestamp() + interval '1 h'"
STARTED = "clock_timestamp() - interval '2 h'"


class Fleet:
    """Servers on which a fleet seems to run: a worker that owns both partitions, a bridge that speaks, a listener."""

    def __init__(self, servers):
        self.servers = servers
        self.admin = psycopg.connect(servers.database_url, autocommit=True)
        self.client = redis.connect(servers.redis_url)
        self.now_s = 1_000.0
        self.database = Database(servers.database_url, name="b1", impatient=True)
        self.voice = Voice(self.database, self.client, name="b1", universe="market", partitions=2)
        self.listener = self.client.pubsub()

    def run(self):
        """Let all of them run, and the bridge say its first words."""
        self.listener.subscribe(PATTERNS)
        self.listener.get_message(timeout=60)
        with postgres.connect(self.servers.database_url, name="test") as connection:
            open_stream(connection, 2)
        self.do(
            f"INSERT INTO lease (unit, owner, epoch, expires_at, renewed_at, backend_start) VALUES"
            f" ('consumer:w1', 'w1', 1, {LIVE}, clock_timestamp(), {STARTED}),"
            f" ('bridge', 'b1', 1, {LIVE}, clock_timestamp(), {STARTED})",
            f"UPDATE lease SET owner = 'w1', expires_at = {LIVE}, renewed_at = clock_timestamp()"
            " WHERE unit LIKE 'partition:%'",
        )
        self.voice.begin(1)
        self.speak()

    def speak(self, after_s=0.0):
        self.now_s += after_s
        return [(channel, json.loads(body)) for channel, body in self.voice.speak(self.now_s)]

    def do(self, *statements):
        for statement in statements:
            self.admin.execute(statement)

    def status(self, *options):
        environment = {"REDIS_URL": self.servers.redis_url, "DATABASE_URL": self.servers.database_url}
        return CliRunner().invoke(status, ["--connect-timeout-s", "30", *options], env=environment)

    def silence(self, unit, seconds=20):
        self.do(
            f"UPDATE lease SET renewed_at = clock_timestamp() - interval '{seconds} s',"
            f" expires_at = clock_timestamp() - interval '{seconds - 5} s' WHERE unit = '{unit}'"
        )

    def log(self, checkpoint, flow=1, ago_s=60):
        source = "TickStockPL" if checkpoint == "PATTERN_PUBLISHED" else "TickStockAppV2"
        self.admin.execute(
            'INSERT INTO integration_events (flow_id, "timestamp", event_type, source_system, checkpoint)'
            " VALUES (%s::text::uuid, clock_timestamp() - make_interval(secs => %s), 'pattern_detected', %s, %s)",
            (f"00000000-0000-0000-0000-{flow:012}", ago_s, source, checkpoint),
        )

    def define(self, name, timeframes):
        self.admin.execute(
            "INSERT INTO pattern_definitions (name, short_description, enabled, applicable_timeframes)"
            " VALUES (%s, 'x', true, %s) ON CONFLICT (name) DO UPDATE"
            " SET enabled = true, applicable_timeframes = excluded.applicable_timeframes",
            (name, timeframes),
        )

    def wait_in_stream(self, seconds):
        self.client.xadd(stream_key(1), {"f": "x"}, id=f"{redis.redis_ms(self.client) - seconds * 1000}-0")

    def close(self):
        self.listener.close()
        self.database.close()
        self.client.close()
        self.admin.close()


@pytest.fixture
def fleet(migrated_servers, monkeypatch):
    is_open_here(monkeypatch, is_open=False)
    with closing(Fleet(migrated_servers)) as fleet:
        yield fleet


def is_open_here(monkeypatch, *, is_open):
    """Let the market be open, for two hours now, or closed, whatever day it is."""

    def hours(_day, _closures):
        now = datetime.now(UTC)
        return Hours(*(now + timedelta(hours=h) for h in (-4, -2, 2, 4)))

    monkeypatch.setattr(fleet_look, "is_market_open", lambda _at, _closures: is_open)
    monkeypatch.setattr(fleet_look, "hours_of", hours)


@contextmanager
def setting(client, name, value):
    before = client.config_get(name)[name]
    client.config_set(name, value)
    try:
        yield
    finally:
        client.config_set(name, before)


# -- causes ------------------------------------------------------------------------------------------------------------
# Each is a function of the fleet, or a context in which its state stands; with what every view must say of it.

LEDGER = "INSERT INTO ledger (partition, producer, feed, last_number, updated_at, lost, lost_at) VALUES (0, "
AGO = "clock_timestamp() - interval"


def no_workers(fleet):
    fleet.silence("consumer:w1")


def partitions_unowned(fleet):
    fleet.silence("partition:1")


def no_bridge(fleet):
    fleet.silence("bridge")


@contextmanager
def heartbeat_stale(fleet):
    """As if the bridge hung between two of its beats."""
    timer = fleet.voice._key_timer
    timer.done(1e12)
    fleet.client.set(HEARTBEAT, str(datetime.now(UTC).timestamp() - 40))
    yield


def heartbeat_unlogged(fleet):
    fleet.do(f"UPDATE integration_events SET \"timestamp\" = {AGO} '200 s'")


def results_untold(fleet):
    fleet.do(
        "UPDATE checkpoint SET outbox_number = 3 WHERE partition = 1",
        f"INSERT INTO outbox SELECT 1, n, 'bars', '', {AGO} '1 min' FROM generate_series(1, 3) AS n",
    )


def lag_unknown(fleet):
    """What was committed is no more in Redis, which is another finding too."""
    fleet.do("UPDATE checkpoint SET position = '5-0' WHERE partition = 1")


def redis_forgot(fleet):
    fleet.do(
        "INSERT INTO lease (unit, feed, sent, sent_since, sent_at) VALUES"
        " ('producer:hand-1', 'live', '{12,0}', clock_timestamp(), clock_timestamp())",
    )


def feed_silent(fleet):
    fleet.do(f"{LEDGER} 'massive-1', 'live', 9, {AGO} '100 s', 0, NULL)")


def stale_symbols(fleet):
    fleet.do("INSERT INTO symbols (symbol) VALUES ('NOW'), ('A'), ('B')")
    for symbol, minute in {"NOW": 10_000, "A": 9_990, "B": 9_990}.items():
        fleet.do(
            f"INSERT INTO recent_bar VALUES ('{symbol}', {minute}, 'live', false, false, 0, 1, 1, 1, 1, 1, 1, 1, 0, 0)"
        )


def redis_evicts(fleet):
    return setting(fleet.client, "maxmemory-policy", "allkeys-lru")


def redis_no_aof(fleet):
    return setting(fleet.client, "appendonly", "no")


@contextmanager
def redis_memory_high(fleet):
    fleet.client.setrange("filler", 20_000_000, "x")  # what connections hold makes no difference beside it
    with setting(fleet.client, "maxmemory", int(fleet.client.info("memory")["used_memory"] * 1.05)):
        yield


@contextmanager
def redis_ahead(seconds):
    """Let Redis's clock be another one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fleet_look, "redis_ms", lambda client: redis.redis_ms(client) + round(seconds * 1000))
        yield


@contextmanager
def redis_forgets(fleet):
    """A command that stands in Redis's file for those of ours, and that its user `default` may not call."""
    fleet.client.execute_command("ACL", "SETUSER", "default", "-xclaim")
    try:
        yield
    finally:
        fleet.client.execute_command("ACL", "SETUSER", "default", "+xclaim")


def foreign_keys(fleet):
    fleet.client.rpush(DEAD_LETTERS, "x")


def no_pattern_received(fleet):
    fleet.log("PATTERN_PUBLISHED")
    fleet.log("APPLICATION_STARTED", flow=9)


def one_pattern_not_received(fleet):
    no_pattern_received(fleet)
    for checkpoint in ("PATTERN_PUBLISHED", "EVENT_RECEIVED", "EVENT_PARSED"):
        fleet.log(checkpoint, flow=2)


def pattern_not_parsed(fleet):
    fleet.log("PATTERN_PUBLISHED")
    fleet.log("EVENT_RECEIVED")


def producers_gone(fleet):
    fleet.do(
        "INSERT INTO lease (unit, owner, expires_at, renewed_at) VALUES"
        f" ('producer:massive-1', 'massive-1', {AGO} '1 min', {AGO} '1 min')"
    )


def ticks_lost(fleet):
    fleet.do(
        f"{LEDGER} 'massive-1', 'live', 9, clock_timestamp(), 5, {AGO} '10 min')",
        f"{LEDGER} 'massive-2', 'live', 9, clock_timestamp(), 6, {AGO} '20 min')",
    )


def dead_letters(fleet):
    fleet.do("INSERT INTO dead_letter (partition, producer, reason, detail, original) VALUES (0, 'p', 'price', '', '')")


def gaps_open(fleet):
    fleet.do("INSERT INTO gap (feed, first_minute, last_minute, why, state) VALUES ('live', 1, 2, '', 'open')")


def front_door_waits(fleet):
    pipeline = fleet.client.pipeline(transaction=False)
    for _ in range(10_001):
        pipeline.xadd(FRONT_DOOR, {"a": "b"})
    pipeline.execute()


def undetected_bars(fleet):
    fleet.do("UPDATE checkpoint SET undetected = 1001 WHERE partition = 1")


def replay_unfinished(fleet):
    fleet.do("INSERT INTO replay (name, source) VALUES ('replay-1', 'day.csv')")


def application_away(fleet):
    fleet.listener.unsubscribe()
    fleet.listener.get_message(timeout=60)


def add_run(fleet, status, ended="NULL", failed=0):
    fleet.do(
        "INSERT INTO run (run_id, run_date, trigger, universe, phases, status, created_at, ended_at, symbols_failed)"
        f" VALUES (gen_random_uuid(), '2025-06-02', 'manual', 'all', '{{import}}', '{status}', {AGO} '2 min',"
        f" {ended}, {failed})"
    )


def no_jobs(fleet):
    add_run(fleet, "queued")


@contextmanager
def run_stuck(fleet):
    """A process of jobs is there, for longer than a run may stand still."""
    add_run(fleet, "running")
    name = {"application_name": "tickstock-jobs-coordinator j1"}
    with pytest.MonkeyPatch.context() as patch, psycopg.connect(fleet.servers.database_url, **name):
        patch.setattr(fleet_rules, "RUN_STILL_S", 0.0)
        yield


def run_failed(fleet):
    add_run(fleet, "failed", f"{AGO} '1 min'")


def run_incomplete(fleet):
    add_run(fleet, "completed", f"{AGO} '1 min'", failed=2)


CAUSES = [
    (no_workers, [("error", "NO_WORKERS")]),
    (partitions_unowned, [("error", "PARTITIONS_UNOWNED")]),
    (no_bridge, [("error", "NO_BRIDGE")]),
    (heartbeat_stale, [("error", "HEARTBEAT_STALE")]),
    (heartbeat_unlogged, [("warn", "HEARTBEAT_UNLOGGED")]),
    (results_untold, [("error", "RESULTS_UNTOLD")]),
    (lag_unknown, [("error", "LAG_UNKNOWN"), ("warn", "REDIS_FORGOT")]),
    (redis_forgot, [("error", "LAG_UNKNOWN"), ("error", "REDIS_FORGOT")]),
    (lambda fleet: fleet.wait_in_stream(10), [("warn", "LAG_HIGH")]),
    (lambda fleet: fleet.wait_in_stream(70), [("error", "LAG_HIGH")]),
    (feed_silent, [("error", "FEED_SILENT")]),
    (stale_symbols, [("warn", "STALE_SYMBOLS")]),
    (redis_evicts, [("error", "REDIS_EVICTS")]),
    (redis_no_aof, [("warn", "REDIS_NO_AOF")]),
    (lambda _: redis_ahead(20.0), [("warn", "CLOCKS_DIFFER")]),
    (lambda _: redis_ahead(-7_200.0), [("error", "CLOCKS_DIFFER")]),
    (redis_memory_high, [("error", "REDIS_MEMORY_HIGH")]),
    (redis_forgets, [("error", "REDIS_FORGETS")]),
    (foreign_keys, [("error", "FOREIGN_KEYS")]),
    (no_pattern_received, [("error", "FLOWS_NOT_RECEIVED")]),
    (one_pattern_not_received, [("warn", "FLOWS_NOT_RECEIVED")]),
    (pattern_not_parsed, [("warn", "FLOWS_NOT_PARSED")]),
    (producers_gone, [("warn", "PRODUCERS_GONE")]),
    (ticks_lost, [("warn", "TICKS_LOST")]),
    (dead_letters, [("warn", "DEAD_LETTERS")]),
    (gaps_open, [("warn", "GAPS_OPEN")]),
    (front_door_waits, [("warn", "FRONT_DOOR_WAITS")]),
    (undetected_bars, [("warn", "UNDETECTED_BARS")]),
    (replay_unfinished, [("warn", "REPLAY_UNFINISHED")]),
    (no_jobs, [("error", "NO_JOBS")]),
    (run_stuck, [("error", "RUN_STUCK")]),
    (run_failed, [("warn", "RUN_FAILED")]),
    (run_incomplete, [("note", "RUN_INCOMPLETE")]),
    (application_away, [("note", "APPLICATION_AWAY")]),
    (lambda fleet: fleet.define("Doji", ["daily"]), [("note", "DEFINITIONS_IDLE")]),
    (lambda fleet: fleet.define("NoSuchPattern", None), [("note", "DEFINITIONS_WRONG")]),
]
OPEN_MARKET = (feed_silent, stale_symbols)


def word_of(findings):
    levels = {level for level, _ in findings}
    return "error" if "error" in levels else "degraded" if "warn" in levels else "healthy"


def expect_in_every_view(fleet, findings, said):
    """Hold each view against the findings. said: by the bridge."""
    word = word_of(findings)
    ran = fleet.status("--json")
    found = json.loads(ran.stdout)
    assert [(one["level"], one["code"]) for one in found["findings"]] == findings
    assert (found["status"], found["healthy"], ran.exit_code) == (word, word != "error", int(word == "error"))

    ran = fleet.status()
    text = ran.stdout.splitlines()
    at = text.index(f"Health        {WORDS[word]}")
    assert [tuple(line.split()[:2]) for line in text[at + 1 :]] == findings
    assert ran.exit_code == int(word == "error")

    (health,) = [body for channel, body in said if channel == HEALTH]
    codes = [code for _, code in findings]
    assert [issue["code"] for issue in health["issues"]] == codes
    assert health["status"] == word
    raised = [body["alert"]["level"] for channel, body in said if channel == MONITORING and "alert" in body]
    assert raised == ["critical" if code in ALARMING else "warning" for level, code in findings if level != "note"]
    critical = [body["data"]["code"] for channel, body in said if channel == CRITICAL]
    assert critical == [code for level, code in findings if code in ALARMING and level != "note"]
    parts = {one["part"]: [f for f in found["findings"] if f["part"] == one["part"]] for one in found["findings"]}
    (checked,) = [body["health"] for channel, body in said if channel == MONITORING and "health" in body]
    for part, its in parts.items():
        its_word = word_of([(one["level"], one["code"]) for one in its])
        assert checked["components"][part]["status"] == ("OK" if its_word == "healthy" else its_word)


def test_a_fleet_that_works_is_healthy_in_every_view(fleet):
    fleet.run()
    expect_in_every_view(fleet, [], fleet.speak(LEAVE_S))


@pytest.mark.parametrize(("cause", "findings"), CAUSES, ids=[findings[0][1] for _, findings in CAUSES])
def test_what_is_wrong_is_the_same_in_every_view(fleet, monkeypatch, cause, findings):
    fleet.run()
    is_open_here(monkeypatch, is_open=cause in OPEN_MARKET)
    state = cause(fleet)
    with state if state is not None and hasattr(state, "__enter__") else closing(fleet.voice._controls):
        # A heartbeat is logged each minute: only before that can one be missing.
        said = fleet.speak(59.0 if cause is heartbeat_unlogged else LEAVE_S)
        expect_in_every_view(fleet, findings, said)


def test_without_a_stream_every_view_says_so(fleet):
    fleet.do(
        f"INSERT INTO lease (unit, owner, epoch, expires_at, renewed_at, backend_start) VALUES"
        f" ('consumer:w1', 'w1', 1, {LIVE}, clock_timestamp(), {STARTED}),"
        f" ('bridge', 'b1', 1, {LIVE}, clock_timestamp(), {STARTED})"
    )
    fleet.listener.subscribe(PATTERNS)
    fleet.listener.get_message(timeout=60)
    fleet.voice.begin(1)
    expect_in_every_view(fleet, [("error", "NO_STREAM")], fleet.speak())


def test_after_replays_alone_every_view_is_well_without_workers(fleet):
    fleet.run()
    fleet.do(
        "INSERT INTO replay (name, source, partitions) VALUES ('replay-1', 'day.csv', 2)",
        "INSERT INTO finished_replay (replay, partition, last_number, abandoned)"
        " SELECT 'replay-1', partition, 1, false FROM checkpoint",
    )
    fleet.silence("consumer:w1")
    expect_in_every_view(fleet, [("note", "NO_WORKERS")], fleet.speak(LEAVE_S))


def test_a_fleet_that_starts_in_the_morning_is_not_blamed_for_the_night(fleet):
    fleet.run()
    fleet.silence("consumer:w1", 30_000)
    fleet.silence("partition:0", 30_000)
    fleet.do("UPDATE lease SET backend_start = clock_timestamp() WHERE unit = 'bridge'")
    said = fleet.speak(LEAVE_S)
    (health,) = [body for channel, body in said if channel == HEALTH]
    found = json.loads(fleet.status("--json").stdout)
    assert (health["status"], health["issues"]) == ("starting", [])
    assert (found["status"], found["findings"], found["healthy"]) == ("starting", [], True)
    fleet.do(
        f"UPDATE lease SET expires_at = {LIVE}, renewed_at = clock_timestamp(), backend_start = clock_timestamp()"
        " WHERE unit = 'consumer:w1'"
    )
    expect_in_every_view(fleet, [], fleet.speak(LEAVE_S))  # partition 0 is not taken yet


def test_a_database_that_is_away_is_the_same_code_in_every_view(fleet):
    fleet.run()
    fleet.do(f"SELECT pg_terminate_backend({fleet.database.backend.pid}, 5000)")
    said = fleet.speak(LEAVE_S)
    (health,) = [body for channel, body in said if channel == HEALTH]
    assert ([issue["code"] for issue in health["issues"]], health["status"]) == (["DATABASE_AWAY"], "error")
    assert [body["data"]["code"] for channel, body in said if channel == CRITICAL] == ["DATABASE_AWAY"]


@pytest.mark.parametrize(
    ("elsewhere", "codes"),
    [
        ({"DATABASE_URL": "postgresql://127.0.0.1:1/none"}, ["DATABASE_AWAY"]),
        ({"REDIS_URL": "redis://127.0.0.1:1/0"}, ["REDIS_AWAY"]),
    ],
    ids=["database", "redis"],
)
def test_a_server_that_does_not_answer_ends_the_status_with_its_code(migrated_servers, elsewhere, codes):
    environment = {"REDIS_URL": migrated_servers.redis_url, "DATABASE_URL": migrated_servers.database_url} | elsewhere
    ran = CliRunner().invoke(status, ["--json", "--connect-timeout-s", "0"], env=environment)
    found = json.loads(ran.stdout)
    assert ([one["code"] for one in found["findings"]], found["status"], ran.exit_code) == (codes, "error", 1)
    ran = CliRunner().invoke(status, ["--connect-timeout-s", "0"], env=environment)
    assert (ran.stdout.splitlines()[0], ran.exit_code) == ("Health        UNHEALTHY", 1)
    assert ran.stdout.splitlines()[1].startswith(f"  error  {codes[0]}  ")


def test_every_rule_is_driven_here():
    driven = {code for _, findings in CAUSES for _, code in findings} | {"NO_STREAM", "DATABASE_AWAY", "REDIS_AWAY"}
    assert driven == {rule.code for rule in RULES}
