"""The fleet's voice on real servers: what it says, when, and what it writes down. The clocks are handed in."""

import json
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
import pytest
from redis.exceptions import ResponseError
from tickstockpl.contracts.messages.channel_names import PATTERNS
from tickstockpl.contracts.names import APPLICATION_HEARTBEAT, HEARTBEAT, MONITORING_CONTROL, stream_key
from tickstockpl.db import lease, redis
from tickstockpl.db.postgres import Database
from tickstockpl.db.schema.migrate import open_stream
from tickstockpl.db.world import REAL
from tickstockpl.workers.bridge.voice import Voice

STARTED = "tickstock:streaming:session_started"
STOPPED = "tickstock:streaming:session_stopped"
HEALTH = "tickstock:streaming:health"
STATUS = "tickstock.health.status"
ERRORS = "tickstock:errors"
CRITICAL = "tickstock:alerts:critical"
MONITORING = "tickstock:monitoring"

TRADING = datetime(2026, 1, 15, 15, 0, tzinfo=UTC)  # a Thursday, 10:00 in New York
EVENING = datetime(2026, 1, 15, 23, 0, tzinfo=UTC)


class Fleet:
    """A database, a Redis and a clock; bridges that speak, and workers that are rows."""

    def __init__(self, servers):
        self.admin = psycopg.connect(servers.database_url, autocommit=True)
        self.client = redis.connect(servers.redis_url)
        self.at = TRADING
        self.now_s = 1_000.0
        self._url = servers.database_url
        self.databases = []
        open_stream(self.admin, 2)
        self._application = self.client.pubsub()
        self._application.subscribe(PATTERNS)
        self._application.get_message(timeout=60)

    def voice(self, name="b1", universe="market"):
        database = Database(self._url, name=name, impatient=True)
        self.databases.append(database)
        world = replace(REAL, unix_ns=lambda: round(self.at.timestamp() * 1e9))
        return Voice(database, self.client, name=name, universe=universe, partitions=2, world=world)

    def begun(self, *, connected_s=3_600, **options):
        """Let a bridge speak that has been connected for so long, as its lease says."""
        voice = self.voice(**options)
        voice.begin(1)
        self.admin.execute(
            "INSERT INTO lease (unit, owner, epoch, expires_at, renewed_at, backend_start) VALUES ('bridge', 'b1', 1,"
            " now() + interval '1 hour', now(), now() - make_interval(secs => %s)) ON CONFLICT DO NOTHING",
            (connected_s,),
        )
        return voice

    def connected(self, seconds):
        self.admin.execute(
            "UPDATE lease SET backend_start = now() - make_interval(secs => %s) WHERE unit = 'bridge'", (seconds,)
        )

    def later(self, seconds):
        self.at += timedelta(seconds=seconds)
        self.now_s += seconds

    def speak(self, voice, *, after_s=0.0):
        """Let time pass in steps of five seconds; return all that is said, decoded."""
        end_s = self.now_s + after_s
        said = heard(voice.speak(self.now_s))
        while self.now_s < end_s:
            self.later(min(5.0, end_s - self.now_s))
            said += heard(voice.speak(self.now_s))
        return said

    def worker(self, name="w", *, ticks=0, bars=0, partitions=(0, 1), started="2026-01-15 14:00+00", **figures):
        """Write a worker's row and leases as a commit does, just now."""
        self.admin.execute(
            "INSERT INTO worker AS w (consumer, host, pid, started_at, ticks, bars, cpu_s, memory_mb, lag_ms,"
            " undetected) VALUES (%(name)s, 'h', 1, %(started)s, %(ticks)s, %(bars)s, %(cpu_s)s, %(memory_mb)s,"
            " %(lag_ms)s, %(undetected)s) ON CONFLICT (consumer) DO UPDATE SET started_at = excluded.started_at,"
            " ticks = excluded.ticks, bars = excluded.bars, cpu_s = excluded.cpu_s, memory_mb = excluded.memory_mb,"
            " lag_ms = excluded.lag_ms, undetected = excluded.undetected, updated_at = clock_timestamp()",
            {"name": name, "started": started, "ticks": ticks, "bars": bars}
            | {"cpu_s": 0, "memory_mb": 0, "lag_ms": 0, "undetected": 0}
            | figures,
        )
        for unit in (f"consumer:{name}", *(f"partition:{p}" for p in partitions)):
            self.admin.execute(
                "INSERT INTO lease (unit, owner, expires_at, renewed_at) VALUES"
                " (%s, %s, now() + interval '1 hour', now())"
                " ON CONFLICT (unit) DO UPDATE SET owner = excluded.owner, expires_at = excluded.expires_at,"
                " renewed_at = excluded.renewed_at",
                (unit, name),
            )

    def end_leases(self, like, *, silent_s):
        self.admin.execute(
            "UPDATE lease SET expires_at = now() - interval '1 s', renewed_at = now() - make_interval(secs => %s)"
            " WHERE unit LIKE %s",
            (silent_s, like),
        )

    def live_tick(self, *, ago_s):
        self.admin.execute(
            "INSERT INTO ledger (partition, producer, feed, last_number, updated_at)"
            " VALUES (0, 'massive-1', 'live', 1, clock_timestamp() - make_interval(secs => %s))"
            " ON CONFLICT (partition, producer) DO UPDATE SET updated_at = excluded.updated_at",
            (ago_s,),
        )

    def bar(self, symbol, minute):
        self.admin.execute("INSERT INTO symbols (symbol) VALUES (%s) ON CONFLICT DO NOTHING", (symbol,))
        self.admin.execute(
            "INSERT INTO recent_bar VALUES (%s, %s, 'live', false, false, 0, 1, 1, 1, 1, 1, 1, 1, 0, 0)",
            (symbol, minute),
        )

    def dead_letter(self, reason, *, age_s=10.0):
        self.admin.execute(
            "INSERT INTO dead_letter (partition, producer, reason, detail, original, created_at)"
            " VALUES (0, 'p', %s, '', '', clock_timestamp() - make_interval(secs => %s))",
            (reason, age_s),
        )

    def lose(self, ticks, *, ago_s=0):
        self.admin.execute(
            "INSERT INTO ledger AS l (partition, producer, feed, last_number, lost, lost_at)"
            " VALUES (0, 'p', 'live', 1, %s, clock_timestamp() - make_interval(secs => %s))"
            " ON CONFLICT (partition, producer)"
            " DO UPDATE SET lost = l.lost + excluded.lost, lost_at = excluded.lost_at",
            (ticks, ago_s),
        )

    def rows(self, statement):
        return self.admin.execute(statement).fetchall()

    def close(self):
        self._application.close()
        for database in self.databases:
            database.close()
        self.client.close()
        self.admin.close()


@pytest.fixture
def fleet(migrated_servers):
    fleet = Fleet(migrated_servers)
    yield fleet
    fleet.close()


def heard(messages):
    return [(channel, json.loads(body)) for channel, body in messages]


def on(channel, said):
    return [body for found, body in said if found == channel]


def monitoring(kind, said):
    return [body for body in on(MONITORING, said) if body["event_type"] == kind]


# -- heartbeat ---------------------------------------------------------------------------------------------------------


def test_the_heartbeat_key_holds_unix_seconds_and_ends_after_two_minutes(fleet):
    fleet.speak(fleet.begun())
    assert float(fleet.client.get(HEARTBEAT)) == TRADING.timestamp()
    assert fleet.client.get(APPLICATION_HEARTBEAT) == fleet.client.get(HEARTBEAT)
    assert 110 < fleet.client.ttl(APPLICATION_HEARTBEAT) <= 120
    assert 110 < fleet.client.ttl(HEARTBEAT) <= 120


def test_the_heartbeat_key_is_set_every_five_seconds(fleet):
    voice = fleet.begun()
    fleet.speak(voice)
    fleet.later(4.9)
    fleet.speak(voice)
    assert float(fleet.client.get(HEARTBEAT)) == TRADING.timestamp()
    fleet.later(0.1)
    fleet.speak(voice)
    assert float(fleet.client.get(HEARTBEAT)) == TRADING.timestamp() + 5


def test_a_heartbeat_row_is_logged_each_minute_under_a_flow_of_its_own(fleet):
    voice = fleet.begun()
    fleet.speak(voice, after_s=60)
    voice.note(3, 10)
    fleet.speak(voice, after_s=60)
    rows = fleet.rows(
        "SELECT flow_id, source_system, checkpoint, details FROM integration_events"
        " WHERE event_type = 'heartbeat' ORDER BY id"
    )
    noted_at = TRADING.timestamp() + 60
    assert [row[1:] for row in rows] == [
        (
            "TickStockPL",
            "PRODUCER_ALIVE",
            {"patterns_detected": patterns, "uptime_seconds": uptime, "last_pattern_time": last},
        )
        for patterns, uptime, last in ((0, 0, None), (0, 60, None), (3, 120, noted_at))
    ]
    assert len({row[0] for row in rows}) == 3


def test_the_start_is_logged_under_its_own_flow(fleet):
    voice = fleet.begun(name="b7")
    fleet.speak(voice, after_s=10)
    ((flow_id, source, checkpoint, details),) = fleet.rows(
        "SELECT flow_id, source_system, checkpoint, details FROM integration_events WHERE event_type = 'startup'"
    )
    assert isinstance(flow_id, UUID)
    assert (source, checkpoint) == ("TickStockPL", "SERVICE_STARTED")
    assert details == {"bridge": "b7", "epoch": 1, "partitions": 2}


# -- session -----------------------------------------------------------------------------------------------------------


def test_the_fleets_start_starts_a_session(fleet):
    fleet.admin.execute("INSERT INTO symbols (symbol, active) VALUES ('A', true), ('B', NULL), ('C', false)")
    voice = fleet.voice(universe="all")
    (message,) = on(STARTED, heard(voice.begin(1)))
    assert message["session"] == {
        "session_id": voice.session_id,
        "universe": "all",
        "symbol_universe_key": "all",
        "started_at": "2026-01-15T15:00:00.000000+00:00",
        "start_time": "2026-01-15T15:00:00.000000+00:00",
        "symbol_count": 2,
        "status": "active",
    }
    assert message["data"] == message["session"]


@pytest.mark.parametrize("kind", ["jsonb", "json", "text"])
def test_the_symbols_of_a_universe_of_the_application_are_counted(fleet, kind):
    fleet.admin.execute(f"ALTER TABLE cache_entries ALTER value TYPE {kind} USING value::text::{kind}")
    fleet.admin.execute(
        "INSERT INTO cache_entries (type, name, key, value) VALUES ('u', 'a', 'list', '[\"X\", \"Y\"]'),"
        " ('u', 'a', 'symbols', '{\"symbols\": [\"X\"]}'),"
        ' (\'u\', \'a\', \'stocks\', \'{"stocks": [{"ticker": "X"}, {"ticker": "Y"}, {"ticker": "Z"}]}\')'
    )
    counts = {}
    for universe in ("a:list", "a:symbols", "a:stocks", "a:unknown"):
        voice = fleet.voice(universe=universe)
        counts[universe] = on(STARTED, heard(voice.begin(1)))[0]["session"]["symbol_count"]
        voice.end(another_takes_over=False)
    assert counts == {"a:list": 2, "a:symbols": 1, "a:stocks": 3, "a:unknown": 0}


@pytest.mark.parametrize("made", ["'a' AS name, 'list' AS key, 'no JSON' AS value", "'a' AS name, 'list' AS symbols"])
def test_a_universe_that_cannot_be_read_counts_no_symbols(fleet, made):
    fleet.admin.execute("DROP TABLE cache_entries")
    fleet.admin.execute(f"CREATE TABLE cache_entries AS SELECT {made}")
    (message,) = on(STARTED, heard(fleet.voice(universe="a:list").begin(1)))
    assert message["session"]["symbol_count"] == 0


def test_a_session_is_announced_once_at_the_start(fleet):
    voice = fleet.voice()
    said = heard(voice.begin(1)) + fleet.speak(voice, after_s=55)
    assert len(on(STARTED, said)) == 1


def test_a_session_is_announced_again_each_minute(fleet):
    voice = fleet.begun()
    fleet.speak(voice)
    said = fleet.speak(voice, after_s=180)
    assert [body["session"]["session_id"] for body in on(STARTED, said)] == [voice.session_id] * 3
    assert len(fleet.rows("SELECT FROM streaming_session")) == 1


def test_another_bridge_goes_on_with_the_session(fleet):
    first = fleet.begun()
    first.note(5, 50)
    fleet.speak(first)  # and it dies
    second = fleet.voice(name="b2")
    fleet.later(10)
    (message,) = on(STARTED, heard(second.begin(2)))
    assert second.session_id == first.session_id
    assert message["session"]["started_at"] == "2026-01-15T15:00:00.000000+00:00"
    second.note(1, 10)
    (health,) = on(HEALTH, fleet.speak(second))
    assert (health["patterns_detected"], health["indicators_calculated"]) == (6, 60)


def test_a_session_stops_at_the_close_with_its_totals(fleet):
    fleet.at = datetime(2026, 1, 15, 20, 59, 50, tzinfo=UTC)
    voice = fleet.begun()
    voice.note(2, 30)
    (message,) = on(STOPPED, fleet.speak(voice, after_s=20))
    assert message["session"] == {
        "session_id": voice.session_id,
        "stopped_at": "2026-01-15T21:00:00.000000+00:00",
        "duration_seconds": 10.0,
        "total_patterns": 2,
        "total_indicators": 30,
        "final_status": "stopped",
    }
    assert message["data"] == message["session"]
    ((stopped_at, patterns, indicators),) = fleet.rows("SELECT stopped_at, patterns, indicators FROM streaming_session")
    assert (stopped_at, patterns, indicators) == (datetime(2026, 1, 15, 21, tzinfo=UTC), 2, 30)


def test_after_the_close_nothing_is_announced_and_the_last_session_is_named(fleet):
    fleet.at = datetime(2026, 1, 15, 20, 59, 55, tzinfo=UTC)
    voice = fleet.begun()
    last = voice.session_id
    fleet.speak(voice, after_s=10)
    said = fleet.speak(voice, after_s=120)
    assert on(STARTED, said) == []
    assert {body["session_id"] for body in on(HEALTH, said)} == {last}


def test_a_session_starts_at_the_opening(fleet):
    fleet.at = datetime(2026, 1, 15, 20, 59, 55, tzinfo=UTC)
    voice = fleet.begun()
    last = voice.session_id
    fleet.speak(voice, after_s=10)
    fleet.at = datetime(2026, 1, 16, 14, 29, 50, tzinfo=UTC)
    (message,) = on(STARTED, fleet.speak(voice, after_s=20))
    assert message["session"]["started_at"] == "2026-01-16T14:30:00.000000+00:00"
    assert voice.session_id == message["session"]["session_id"] != last


def test_no_session_starts_on_a_holiday_and_that_of_a_half_day_ends_at_one(fleet):
    fleet.at = datetime(2026, 11, 25, 20, 59, 55, tzinfo=UTC)
    voice = fleet.begun()
    fleet.speak(voice, after_s=10)
    fleet.at = datetime(2026, 11, 26, 14, 29, 50, tzinfo=UTC)  # Thanksgiving
    assert on(STARTED, fleet.speak(voice, after_s=20)) == []
    fleet.at = datetime(2026, 11, 27, 14, 29, 50, tzinfo=UTC)
    (started,) = on(STARTED, fleet.speak(voice, after_s=20))
    assert started["session"]["started_at"] == "2026-11-27T14:30:00.000000+00:00"
    fleet.at = datetime(2026, 11, 27, 17, 59, 50, tzinfo=UTC)  # 12:59:50 in New York
    assert len(on(STOPPED, fleet.speak(voice, after_s=20))) == 1
    assert fleet.rows("SELECT max(stopped_at) FROM streaming_session") == [(datetime(2026, 11, 27, 18, tzinfo=UTC),)]


def test_no_session_starts_on_a_day_that_was_closed_at_short_notice(fleet):
    fleet.at = datetime(2026, 1, 15, 20, 59, 55, tzinfo=UTC)
    voice = fleet.begun()
    fleet.speak(voice, after_s=10)
    fleet.admin.execute("INSERT INTO market_closure (day) VALUES ('2026-01-16')")
    fleet.at = datetime(2026, 1, 16, 14, 29, 50, tzinfo=UTC)
    assert on(STARTED, fleet.speak(voice, after_s=20)) == []
    assert on(STARTED, heard(fleet.voice(name="b2").begin(2))) != []  # a fleet that starts has a session on any day


def test_a_session_ends_with_a_close_that_was_set_at_short_notice(fleet):
    fleet.at = datetime(2026, 1, 15, 17, 59, 50, tzinfo=UTC)
    held = lease.take(fleet.admin, "bridge", "b1")
    first = fleet.begun()
    fleet.admin.execute("INSERT INTO market_closure (day, closes_at) VALUES ('2026-01-15', '13:00')")
    (message,) = on(STOPPED, fleet.speak(first, after_s=30))
    assert message["session"]["stopped_at"] == "2026-01-15T18:00:00.000000+00:00"
    assert on(STARTED, fleet.speak(first, after_s=60)) == []
    lease.release(fleet.admin, "b1", [held])
    lease.take(fleet.admin, "bridge", "b2")
    second = fleet.voice(name="b2")
    assert second.begin(2) == []
    assert second.session_id == first.session_id


def test_a_fleet_that_starts_in_the_evening_starts_a_session(fleet):
    fleet.at = EVENING
    voice = fleet.voice()
    assert len(on(STARTED, heard(voice.begin(1)))) == 1
    assert on(STOPPED, fleet.speak(voice, after_s=60)) == []


def test_a_bridge_that_takes_over_after_the_close_starts_no_session(fleet):
    fleet.at = datetime(2026, 1, 15, 20, 59, 55, tzinfo=UTC)
    held = lease.take(fleet.admin, "bridge", "b1")
    first = fleet.begun()
    fleet.speak(first, after_s=10)
    lease.release(fleet.admin, "b1", [held])
    lease.take(fleet.admin, "bridge", "b2")
    second = fleet.voice(name="b2")
    assert second.begin(2) == []
    assert second.session_id == first.session_id


def test_a_bridge_that_takes_over_across_the_close_stops_the_session_and_starts_none(fleet):
    fleet.at = datetime(2026, 1, 15, 20, 59, 55, tzinfo=UTC)
    held = lease.take(fleet.admin, "bridge", "b1")
    fleet.begun()
    lease.release(fleet.admin, "b1", [held])
    lease.take(fleet.admin, "bridge", "b2")
    fleet.later(10)
    said = heard(fleet.voice(name="b2").begin(2))
    assert [channel for channel, _ in said] == [STOPPED]
    assert said[0][1]["session"]["stopped_at"] == "2026-01-15T21:00:00.000000+00:00"


def test_a_session_that_nobody_stopped_is_stopped_before_the_next_one_starts(fleet):
    fleet.begun()
    fleet.later(86_400)
    said = heard(fleet.voice().begin(2))
    assert [channel for channel, _ in said] == [STOPPED, STARTED]
    assert said[0][1]["session"]["session_id"] != said[1][1]["session"]["session_id"]
    assert said[0][1]["session"]["stopped_at"] == "2026-01-15T21:00:00.000000+00:00"


def test_a_shutdown_stops_the_session_and_says_so_everywhere(fleet):
    voice = fleet.begun()
    fleet.speak(voice)
    fleet.later(30)
    said = heard(voice.end(another_takes_over=False))
    assert [channel for channel, _ in said] == [STOPPED, HEALTH, STATUS, MONITORING]
    assert on(STOPPED, said)[0]["session"]["duration_seconds"] == 30
    assert on(HEALTH, said)[0]["status"] == "stopping"
    assert on(STATUS, said)[0]["data"]["status"] == "stopping"
    assert monitoring("SYSTEM_STATUS", said)[0]["status"] == "stopping"
    assert fleet.rows("SELECT stopped_at FROM streaming_session") == [(TRADING + timedelta(seconds=30),)]


@pytest.mark.parametrize(("away_s", "goes_on"), [(59, True), (61, False)])
def test_a_bridge_that_is_started_again_within_a_minute_goes_on_with_the_session(fleet, away_s, goes_on):
    fleet.worker()
    first = fleet.begun()
    session = first.session_id
    first.end(another_takes_over=False)
    fleet.later(away_s)
    second = fleet.voice(name="b2")
    (started,) = on(STARTED, heard(second.begin(2)))
    assert (started["session"]["session_id"] == session) is goes_on
    assert fleet.rows("SELECT count(*) FROM streaming_session WHERE stopped_at IS NULL") == [(1,)]


def test_a_bridge_that_leaves_the_word_to_another_leaves_the_session_too(fleet):
    voice = fleet.begun()
    voice.note(4, 40)
    assert voice.end(another_takes_over=True) == []
    assert fleet.rows("SELECT stopped_at, patterns, indicators FROM streaming_session") == [(None, 4, 40)]


def test_a_standby_has_nothing_to_end(fleet):
    assert fleet.voice().end(another_takes_over=False) == []


# -- health ------------------------------------------------------------------------------------------------------------


def test_health_is_said_at_once_and_then_every_five_seconds(fleet):
    voice = fleet.begun()
    assert len(on(HEALTH, fleet.speak(voice))) == 1
    fleet.later(4.9)
    assert fleet.speak(voice) == []
    fleet.later(0.1)
    assert len(on(HEALTH, fleet.speak(voice))) == 1


def test_health_stands_flat_and_under_its_own_key(fleet):
    voice = fleet.begun()
    fleet.worker()
    (body,) = on(HEALTH, fleet.speak(voice))
    assert body.pop("health") == body
    assert body["connection"] == {
        "redis": "connected",
        "database": "connected",
        "workers": 1,
        "partitions_owned": 2,
        "partitions_total": 2,
    }
    assert (body["status"], body["issues"]) == ("healthy", [])


def test_ticks_a_second_are_what_the_workers_added(fleet):
    voice = fleet.begun()
    fleet.worker("a", ticks=1000, partitions=[0])
    fleet.worker("b", ticks=500, partitions=[1])
    fleet.speak(voice)
    fleet.worker("a", ticks=3500)
    fleet.worker("b", ticks=1000)
    fleet.later(5)
    (body,) = on(HEALTH, fleet.speak(voice))
    assert (body["ticks_per_second"], body["data_flow"]["ticks_per_second"]) == (600, 600)
    fleet.worker("a", ticks=50, started="2026-01-15 15:00+00")  # it died and started again
    fleet.later(5)
    (body,) = on(HEALTH, fleet.speak(voice))
    assert body["ticks_per_second"] == 10


def test_the_first_words_of_a_bridge_are_no_zeros_while_ticks_flow(fleet):
    fleet.worker(ticks=10_000_000, bars=70_000)
    (body,) = on(HEALTH, fleet.speak(fleet.begun()))
    assert body["ticks_per_second"] > 0
    assert body["data_flow"]["bars_per_minute"] > 0


def test_resources_are_of_all_workers_and_of_the_bridge(fleet):
    voice = fleet.begun()
    fleet.worker("a", cpu_s=10, memory_mb=1_000)
    fleet.worker("b", cpu_s=20, memory_mb=2_000)
    fleet.speak(voice)
    fleet.worker("a", cpu_s=12, memory_mb=1_000)
    fleet.worker("b", cpu_s=25.5, memory_mb=2_000)
    fleet.later(5)
    (body,) = on(HEALTH, fleet.speak(voice))
    assert body["resources"]["cpu_percent"] >= 150
    assert 3_005 < body["resources"]["memory_mb"] < 4_000


def test_the_lag_is_the_workers_own(fleet):
    voice = fleet.begun()
    fleet.worker("a", lag_ms=120.5)
    fleet.worker("b", lag_ms=80)
    (body,) = on(HEALTH, fleet.speak(voice))
    assert body["data_flow"]["processing_lag_ms"] == 120.5


def test_an_entry_that_no_worker_commits_is_a_lag_too(fleet):
    voice = fleet.begun()
    fleet.worker()
    fleet.client.xadd(stream_key(1), {"f": "x"}, id=f"{redis.redis_ms(fleet.client) - 60_000}-0")
    (body,) = on(HEALTH, fleet.speak(voice))
    assert 60_000 <= body["data_flow"]["processing_lag_ms"] < 120_000
    assert [(issue["code"], issue["since"]) for issue in body["issues"]] == [
        ("LAG_HIGH", "2026-01-15T15:00:00.000000+00:00")
    ]
    assert body["status"] == "error"  # for longer than a minute: nobody commits


def test_symbols_are_active_or_stale_by_their_newest_bar(fleet):
    voice = fleet.begun()
    for symbol, minute in {"NOW": 10_000, "NEAR": 9_995, "STALE": 9_994, "OLDEST": 9_520, "GONE": 9_519}.items():
        fleet.bar(symbol, minute)
        fleet.bar(symbol, minute - 3)
    (body,) = on(HEALTH, fleet.speak(voice))
    assert body["active_symbols"] == 2
    assert body["stale_symbols"] == {"count": 2, "symbols": ["OLDEST", "STALE"]}


def test_at_most_fifty_stale_symbols_are_named(fleet):
    voice = fleet.begun()
    fleet.bar("NOW", 10_000)
    for n in range(60):
        fleet.bar(f"S{n:02d}", 9_900)
    (body,) = on(HEALTH, fleet.speak(voice))
    assert body["stale_symbols"]["count"] == 60
    assert body["stale_symbols"]["symbols"] == [f"S{n:02d}" for n in range(50)]


def test_patterns_and_indicators_are_those_of_the_session(fleet):
    voice = fleet.begun()
    voice.note(2, 20)
    voice.note(1, 0)
    (body,) = on(HEALTH, fleet.speak(voice))
    assert (body["patterns_detected"], body["indicators_calculated"]) == (3, 20)


def test_a_redis_that_is_nearly_full_is_an_issue(fleet):
    fleet.worker()
    voice = fleet.begun()
    fleet.client.setrange("filler", 20_000_000, "x")  # what connections hold makes no difference beside it
    used = fleet.client.info("memory")["used_memory"]
    fleet.client.config_set("maxmemory", int(used * 1.05))
    try:
        (body,) = on(HEALTH, fleet.speak(voice))
    finally:
        fleet.client.config_set("maxmemory", 0)
    assert [issue["code"] for issue in body["issues"]] == ["REDIS_MEMORY_HIGH"]


def test_a_silent_feed_is_an_issue_in_market_hours(fleet):
    fleet.worker(ticks=10)
    voice = fleet.begun()
    found = []
    for ago_s in (30, 90, 30):
        fleet.live_tick(ago_s=ago_s)
        said = fleet.speak(voice)
        found += [[issue["code"] for issue in body["issues"]] for body in on(HEALTH, said)]
        fleet.later(5)
    assert found == [[], ["FEED_SILENT"], []]


# -- status and monitoring ---------------------------------------------------------------------------------------------


def test_the_status_is_said_every_fifteen_seconds(fleet):
    fleet.worker()
    voice = fleet.begun()
    said = fleet.speak(voice, after_s=30)
    assert [body["timestamp"] for body in on(STATUS, said)] == [TRADING.timestamp() + s for s in (0, 15, 30)]
    assert set(on(STATUS, said)[0]["data"]["components"]) == {"redis", "database", "workers", "bridge", "feed", "jobs"}


def test_the_host_and_the_checks_are_said_every_fifteen_seconds(fleet):
    fleet.worker()
    voice = fleet.begun()
    said = fleet.speak(voice, after_s=30)
    metrics, checks = monitoring("METRIC_UPDATE", said), monitoring("HEALTH_CHECK", said)
    assert (len(metrics), len(checks)) == (3, 3)
    assert 0 < metrics[-1]["metrics"]["system"]["memory_percent"] <= 100
    assert metrics[-1]["health_score"] == {"overall": 100.0}
    assert (checks[-1]["health"]["overall_score"], checks[-1]["health"]["status"]) == (100.0, "healthy")
    assert checks[-1]["health"]["components"]["workers"]["details"]["living"] == 1


def test_the_systems_status_is_said_on_a_change_and_each_minute(fleet):
    fleet.worker()
    voice = fleet.begun()
    fleet.speak(voice)
    fleet.dead_letter("bad_price")
    said = fleet.speak(voice, after_s=65)
    assert [body["status"] for body in monitoring("SYSTEM_STATUS", said)] == ["degraded", "degraded"]
    assert [body["timestamp"] for body in on(STATUS, said)] == [TRADING.timestamp() + s for s in (5, 15, 30, 45, 60)]


def test_a_fleet_without_workers_is_starting_and_then_an_error(fleet):
    voice = fleet.begun(connected_s=0)
    assert [body["status"] for body in on(HEALTH, fleet.speak(voice, after_s=5))] == ["starting"] * 2
    fleet.connected(16)
    said = fleet.speak(voice, after_s=5)
    assert [body["status"] for body in on(HEALTH, said)] == ["error"]
    (alert,) = on(CRITICAL, said)
    assert (alert["severity"], alert["component"], alert["data"]["code"]) == ("critical", "workers", "NO_WORKERS")
    (triggered,) = monitoring("ALERT_TRIGGERED", said)
    fleet.worker()
    said = fleet.speak(voice, after_s=10)
    assert [body["alert_id"] for body in monitoring("ALERT_RESOLVED", said)] == [triggered["alert"]["id"]]
    assert on(HEALTH, said)[-1]["status"] == "healthy"
    assert on(CRITICAL, said) == []


def test_partitions_without_an_owner_are_an_issue_after_a_take_overs_time(fleet):
    fleet.worker()
    voice = fleet.begun()
    fleet.speak(voice)
    said = []
    for silent_s in (10, 20):
        fleet.end_leases("partition:1", silent_s=silent_s)
        said += fleet.speak(voice, after_s=5)
    found = [[issue["message"] for issue in body["issues"]] for body in on(HEALTH, said)]
    assert found == [[], ["without an owner for up to 20 s: partition 1"]]


# -- errors ------------------------------------------------------------------------------------------------------------


def test_dead_letters_are_told_once_by_reason(fleet):
    fleet.worker()
    fleet.dead_letter("before")
    voice = fleet.begun()
    fleet.speak(voice)
    for reason in ("bad_price", "bad_price", "no_symbol"):
        fleet.dead_letter(reason)
    (error,) = on(ERRORS, fleet.speak(voice, after_s=20))
    assert (error["category"], error["severity"]) == ("validation", "warning")
    assert error["context"] == {"count": 3, "reasons": {"bad_price": 2, "no_symbol": 1}}
    assert error["payload"]["error_code"] == "DEAD_LETTERS"


def test_dead_letters_that_came_while_no_bridge_spoke_are_told_by_the_next_one(fleet):
    fleet.worker()
    held = lease.take(fleet.admin, "bridge", "b1")
    fleet.admin.execute("UPDATE lease SET renewed_at = now() - interval '60 s' WHERE unit = 'bridge'")
    fleet.admin.execute("UPDATE lease SET owner = NULL WHERE unit = %s", (held.unit,))
    fleet.dead_letter("told by b1", age_s=70)
    fleet.dead_letter("missed", age_s=50)
    lease.take(fleet.admin, "bridge", "b2")
    (error,) = on(ERRORS, fleet.speak(fleet.begun(name="b2")))
    assert error["context"]["reasons"] == {"missed": 1}


def test_an_issue_of_dead_letters_goes_after_five_minutes(fleet):
    fleet.worker()
    voice = fleet.begun()
    fleet.speak(voice)
    fleet.dead_letter("bad_price")
    said = fleet.speak(voice, after_s=5)
    fleet.admin.execute("UPDATE dead_letter SET created_at = created_at - interval '300 s'")
    said += fleet.speak(voice, after_s=5)
    issues = [[issue["code"] for issue in body["issues"]] for body in on(HEALTH, said)]
    assert issues == [["DEAD_LETTERS"], []]
    assert len(monitoring("ALERT_RESOLVED", said)) == 1


def test_lost_ticks_are_told_by_their_number_and_raise_a_critical_alert_once(fleet):
    fleet.worker()
    fleet.lose(100, ago_s=86_400)
    voice = fleet.begun()
    assert on(ERRORS, fleet.speak(voice)) == []
    fleet.lose(7)
    said = fleet.speak(voice, after_s=10)
    fleet.lose(1)
    said += fleet.speak(voice, after_s=10)
    assert [error["context"] for error in on(ERRORS, said)] == [
        {"count": 7, "total": 107},
        {"count": 1, "total": 108},
    ]
    assert {error["category"] for error in on(ERRORS, said)} == {"network"}
    assert [alert["data"]["code"] for alert in on(CRITICAL, said)] == ["TICKS_LOST"]
    (issue,) = on(HEALTH, said)[-1]["issues"]
    assert issue["message"] == "producers lost ticks in the last 15 minutes; they lost 108 in all"


def test_a_wrong_definition_is_told_once_and_again_when_it_changes(fleet):
    fleet.worker()
    fleet.admin.execute(
        "INSERT INTO pattern_definitions (name, short_description, enabled) VALUES ('NoSuchPattern', 'x', true)"
    )
    voice = fleet.begun()
    said = fleet.speak(voice, after_s=120)
    (error,) = on(ERRORS, said)
    assert (error["category"], error["payload"]["error_code"]) == ("configuration", "WRONG_DEFINITION")
    assert (error["context"]["table"], error["context"]["name"]) == ("pattern_definitions", "NoSuchPattern")
    fleet.admin.execute("DELETE FROM pattern_definitions WHERE name = 'NoSuchPattern'")
    assert on(ERRORS, fleet.speak(voice, after_s=60)) == []
    fleet.admin.execute(
        "INSERT INTO pattern_definitions (name, short_description, enabled) VALUES ('NoSuchPattern', 'x', true)"
    )
    assert len(on(ERRORS, fleet.speak(voice, after_s=60))) == 1


def test_who_begins_to_listen_hears_of_wrong_and_idle_definitions_again(fleet, wait_for):
    fleet.worker()
    fleet.admin.execute(
        "INSERT INTO pattern_definitions (name, short_description, enabled, applicable_timeframes)"
        " VALUES ('NoSuchPattern', 'x', true, NULL), ('Doji', 'x', true, '{daily}')"
    )
    voice = fleet.begun()
    codes = ["WRONG_DEFINITION", "IDLE_DEFINITION"]
    assert [error["payload"]["error_code"] for error in on(ERRORS, fleet.speak(voice, after_s=120))] == codes
    with closing(fleet.client.pubsub()) as application:
        application.subscribe(ERRORS)
        wait_for(lambda: fleet.client.pubsub_numsub(ERRORS)[0][1])
        again = on(ERRORS, fleet.speak(voice, after_s=120))
    assert [error["payload"]["error_code"] for error in again] == codes
    assert "`tickstock definitions live` enables it there" in again[1]["message"]


# -- what the application asks for -------------------------------------------------------------------------------------


def test_a_health_check_that_is_asked_for_is_said_at_once(fleet, wait_for):
    fleet.worker()
    voice = fleet.begun()
    fleet.speak(voice, after_s=1)
    assert monitoring("HEALTH_CHECK", fleet.speak(voice, after_s=1)) == []
    fleet.client.publish(MONITORING_CONTROL, json.dumps({"action": "FORCE_HEALTH_CHECK", "requested_by": "admin"}))
    (check,) = wait_for(lambda: monitoring("HEALTH_CHECK", fleet.speak(voice)))
    assert check["health"]["components"]["workers"]["status"] == "OK"


def test_definitions_are_read_at_once_when_asked_for_and_the_workers_are_told(fleet, wait_for):
    fleet.worker()
    voice = fleet.begun()
    fleet.speak(voice, after_s=1)
    fleet.admin.execute("LISTEN tickstock_definitions")
    fleet.admin.execute(
        "INSERT INTO pattern_definitions (name, short_description, enabled) VALUES ('NoSuchPattern', 'x', true)"
    )
    fleet.client.publish(MONITORING_CONTROL, json.dumps({"action": "RELOAD_PATTERNS"}))
    wait_for(lambda: on(ERRORS, fleet.speak(voice)))
    assert [notify.channel for notify in fleet.admin.notifies(timeout=10, stop_after=1)] == ["tickstock_definitions"]


@pytest.mark.parametrize(
    "body", ["", "[" * 100_000, b"\xff", '{"action": 1}', '{"action": "RESTART_WORKERS"}', '{"a": {}}']
)
def test_what_asks_nothing_of_us_is_passed_over(fleet, wait_for, body):
    fleet.worker()
    voice = fleet.begun()
    fleet.speak(voice)
    fleet.client.publish(MONITORING_CONTROL, body)
    fleet.client.publish(MONITORING_CONTROL, json.dumps({"action": "FORCE_HEALTH_CHECK"}))
    wait_for(lambda: monitoring("HEALTH_CHECK", fleet.speak(voice)))


def test_each_error_has_an_id_of_its_own(fleet):
    fleet.worker()
    voice = fleet.begun()
    fleet.speak(voice)
    fleet.dead_letter("a")
    fleet.lose(1)
    said = fleet.speak(voice, after_s=5)
    assert len({UUID(error["error_id"]) for error in on(ERRORS, said)}) == 2


# -- PostgreSQL away ---------------------------------------------------------------------------------------------------


def end_backend(fleet, database):
    fleet.admin.execute("SELECT pg_terminate_backend(%s, 5000)", (database.backend.pid,))


def test_with_postgresql_away_the_voice_goes_on_with_its_last_figures(fleet):
    fleet.worker(ticks=100)
    voice = fleet.begun()
    fleet.speak(voice)
    fleet.worker(ticks=600)
    fleet.speak(voice, after_s=5)
    end_backend(fleet, fleet.databases[0])
    said = fleet.speak(voice, after_s=20)
    body = on(HEALTH, said)[-1]
    assert body["status"] == "error"
    assert (body["connection"]["database"], body["connection"]["workers"]) == ("disconnected", 1)
    assert body["ticks_per_second"] == 100
    assert on(STATUS, said)[-1]["data"]["components"]["database"]["status"] == "error"
    assert float(fleet.client.get(HEARTBEAT)) == TRADING.timestamp() + 25
    assert [error["category"] for error in on(ERRORS, said)] == ["database"]
    assert [alert["data"]["code"] for alert in on(CRITICAL, said)] == ["DATABASE_AWAY"]


def test_when_postgresql_is_back_the_voice_catches_up(fleet):
    fleet.at = datetime(2026, 1, 15, 20, 59, 30, tzinfo=UTC)
    fleet.worker()
    voice = fleet.begun()
    fleet.speak(voice, after_s=5)
    end_backend(fleet, fleet.databases[0])
    assert on(STOPPED, fleet.speak(voice, after_s=70)) == []
    fleet.databases[0].reopen()
    said = fleet.speak(voice, after_s=5)
    assert len(on(STOPPED, said)) == 1
    assert on(HEALTH, said)[-1]["status"] == "healthy"
    assert len(monitoring("ALERT_RESOLVED", said)) == 1
    rows = fleet.rows("SELECT details->'uptime_seconds' FROM integration_events WHERE event_type = 'heartbeat'")
    assert rows == [(0,), (80,)]


def test_a_shutdown_with_postgresql_away_leaves_the_session_to_the_next_fleet(fleet):
    voice = fleet.begun()
    fleet.speak(voice)
    end_backend(fleet, fleet.databases[0])
    said = heard(voice.end(another_takes_over=False))
    assert on(STOPPED, said) == []
    assert on(HEALTH, said)[0]["status"] == "stopping"
    assert fleet.begun(name="b2").session_id == voice.session_id


def test_what_was_ready_when_redis_refused_is_said_when_it_serves_again(fleet):
    fleet.at = datetime(2026, 1, 15, 20, 59, 58, tzinfo=UTC)
    fleet.worker()
    voice = fleet.begun()
    fleet.speak(voice)
    fleet.later(5)
    fleet.client.execute_command("ACL", "SETUSER", "default", "-hgetall")
    try:
        with pytest.raises(ResponseError):
            voice.speak(fleet.now_s)
    finally:
        fleet.client.execute_command("ACL", "SETUSER", "default", "+hgetall")
    assert len(on(STOPPED, fleet.speak(voice))) == 1
