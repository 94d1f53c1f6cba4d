"""What the channels say of one look at the fleet and of its findings."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from tickstockpl.contracts.fleet.fleet_health import HealthFinding
from tickstockpl.contracts.fleet.fleet_look import (
    Away,
    BridgeLook,
    FeedLook,
    FleetLook,
    Freshness,
    FrontDoorLook,
    PartitionLook,
    RedisLook,
    StreamLook,
    Usage,
    WorkerLook,
)
from tickstockpl.contracts.messages.streaming_messages import Issue
from tickstockpl.workers.bridge.health import (
    OwnUsage,
    components_of,
    connection_of,
    data_flow_of,
    issues_of,
    processing_lag_ms,
    resources_of,
    stale_symbols_of,
    status_of,
)
from tickstockpl.workers.bridge.monitoring import Monitoring

AT = datetime(2026, 1, 15, 15, tzinfo=UTC)
REDIS = RedisLook("Redis 7.0.15", 500, 1_000, "noeviction", aof=True)
PARTITION = PartitionLook(0, "w1", 1, 0, 0.0, "0-0", None, None)
LOOK = FleetLook(
    at=AT,
    redis_s=AT.timestamp(),
    fleet=StreamLook(
        stream="tickstock-stream",
        partitions_total=2,
        lag_ticks=0,
        lag_s=0.042,
        partitions=[PARTITION, replace(PARTITION, partition=1, owner=None)],
        front_door=FrontDoorLook("0-0", 0),
        workers=[WorkerLook("w1", True, False, [0], "h", 1, AT, AT, 1, 1, 0, 1, 0, 0)],
        replays=[],
        dead_letters={},
        redis=REDIS,
    ),
    redis_nodes=[REDIS, replace(REDIS, memory_bytes=250)],
    unowned_s={},
    workers_silent_s=0.1,
    bridge=BridgeLook("b1", 1, 0.1, 0, 0, None, 100.0),
    producers=[],
    leases=[],
    feed=FeedLook(True, 0.5, 7, 3, 5, 300.0, 2, 0, 0, 60.0),
    symbols=Freshness(70, 60, ["A", "B"]),
    integration=None,
    usage=Usage(ticks_per_second=1234.5678, cpu_percent=55.0, memory_mb=210.0, commit_lag_ms=12.0),
)
BRIDGE = {"name": "b1"}


def finding(level, code="LAG_HIGH", part="workers", *, alarming=False):
    return HealthFinding(level, code, "so", "do that", part, alarming)


def test_a_finding_that_goes_on_keeps_the_since_of_its_issue():
    before = [Issue(code="LAG_HIGH", message="earlier", since="2026-01-15T14:00:00.000000+00:00")]
    found = issues_of([finding("warn"), finding("note", "DEFINITIONS_IDLE")], AT, before)
    assert [(issue.code, issue.message, issue.since) for issue in found] == [
        ("LAG_HIGH", "so", "2026-01-15T14:00:00.000000+00:00"),
        ("DEFINITIONS_IDLE", "so", "2026-01-15T15:00:00.000000+00:00"),
    ]


@pytest.mark.parametrize(
    ("levels", "stopping", "status"),
    [
        ([], False, "healthy"),
        (["note"], False, "healthy"),
        (["warn", "note"], False, "degraded"),
        (["error", "warn"], False, "error"),
        (["error"], True, "stopping"),
    ],
)
def test_the_status_follows_the_worst_finding(levels, stopping, status):
    assert status_of(LOOK, [finding(level) for level in levels], stopping=stopping) == status


def test_each_part_has_the_status_of_its_own_findings():
    found = [finding("error"), finding("warn", "DEAD_LETTERS", "feed"), finding("note", "APPLICATION_AWAY", "bridge")]
    parts = components_of(LOOK, found, None, BRIDGE)
    assert {name: getattr(parts, name).status for name in parts.__struct_fields__} == {
        "redis": "healthy",
        "database": "healthy",
        "workers": "error",
        "bridge": "healthy",
        "feed": "degraded",
        "jobs": "healthy",
    }


def test_each_part_shows_what_was_measured():
    parts = components_of(LOOK, [], Away("postgresql", "lost", 3.0), BRIDGE)
    assert parts.redis.details == {"memory_share": 0.5}
    assert parts.database.details == {"away_seconds": 3.0}
    assert parts.workers.details == {
        "living": 1,
        "partitions_owned": 1,
        "partitions_total": 2,
        "processing_lag_ms": 42.0,
        "undetected_bars": 5,
    }
    assert parts.feed.details == {
        "ticks_per_second": 1234.568,
        "seconds_without_a_tick": 0.5,
        "dead_letters": 2,
        "ticks_lost": 3,
    }
    assert parts.bridge.details == BRIDGE


def test_the_connection_says_when_the_database_is_away():
    there, away = connection_of(LOOK, None, 2), connection_of(LOOK, Away("postgresql", "lost", 3.0), 2)
    assert (there.redis, there.database, away.database) == ("connected", "connected", "disconnected")
    assert (there.workers, there.partitions_owned, there.partitions_total) == (1, 1, 2)


def test_before_the_first_look_nothing_is_made_up():
    connection, flow = connection_of(None, None, 16), data_flow_of(None)
    assert (connection.workers, connection.partitions_owned, connection.partitions_total) == (0, 0, 16)
    assert (flow.ticks_per_second, flow.bars_per_minute, flow.processing_lag_ms) == (0.0, 0.0, None)
    assert components_of(None, [], None, BRIDGE).workers.details["living"] == 0


@pytest.mark.parametrize(
    ("lag_s", "commit_lag_ms", "said"), [(0.042, 12.0, 42.0), (0.042, 90.0, 90.0), (None, 9.0, None)]
)
def test_the_lag_is_that_of_the_oldest_tick_and_unknown_where_redis_lost_it(lag_s, commit_lag_ms, said):
    look = replace(LOOK, fleet=replace(LOOK.fleet, lag_s=lag_s), usage=replace(LOOK.usage, commit_lag_ms=commit_lag_ms))
    assert processing_lag_ms(look) == said


def test_figures_are_rounded_for_readers_and_the_bridge_counts_too():
    flow, used = data_flow_of(LOOK), resources_of(LOOK, OwnUsage(0.123, 40.0))
    assert (flow.ticks_per_second, flow.bars_per_minute, flow.processing_lag_ms) == (1234.568, 300.0, 42.0)
    assert (used.cpu_percent, used.memory_mb) == (55.12, 250.0)


def test_stale_symbols_are_counted_and_the_first_are_named():
    found = stale_symbols_of(LOOK)
    assert (found.count, found.symbols) == (60, ["A", "B"])


def channels_of(monitoring, *findings):
    said = monitoring.tell_alerts(findings, issues_of(findings, AT), AT.timestamp())
    return [(channel, b"critical" in body, b"RESOLVED" in body) for channel, body in said]


def test_an_alert_is_raised_once_for_each_code_and_taken_back_when_its_finding_goes():
    monitoring = Monitoring()
    lost = finding("warn", "TICKS_LOST", "feed", alarming=True)
    assert channels_of(monitoring, lost, lost, finding("note", "DEFINITIONS_IDLE")) == [
        ("tickstock:monitoring", True, False),
        ("tickstock:alerts:critical", True, False),
    ]
    assert channels_of(monitoring, lost) == []
    assert channels_of(monitoring, finding("warn")) == [
        ("tickstock:monitoring", False, True),
        ("tickstock:monitoring", False, False),
    ]
