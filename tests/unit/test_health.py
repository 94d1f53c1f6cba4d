from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from tickstockpl.contracts.channels import Component, Issue
from tickstockpl.db.foreign_keys import ForeignKey
from tickstockpl.workers.bridge.figures import Figures
from tickstockpl.workers.bridge.health import (
    RULES,
    components_of,
    connection_of,
    data_flow_of,
    issues_of,
    resources_of,
    score_of,
    stale_symbols_of,
    status_of,
)

TRADING = datetime(2026, 1, 15, 15, tzinfo=UTC)
NIGHT = datetime(2026, 1, 15, 3, tzinfo=UTC)
THANKSGIVING = datetime(2026, 11, 26, 16, tzinfo=UTC)
WELL = Figures(
    workers=2,
    partitions_owned=16,
    partitions_total=16,
    ticks_per_second=1234.5678,
    bars_per_minute=300.0,
    lag_ms=42.0,
    cpu_percent=55.125,
    memory_mb=210.0,
    active_symbols=70,
    uptime_s=100.0,
)
BRIDGE = Component(status="healthy", details={"name": "b1"})


def codes(at=TRADING, **figures):
    return [issue.code for issue in issues_of(replace(WELL, **figures), at)]


def issue(code, since="2026-01-15T14:00:00.000000+00:00"):
    return Issue(code=code, message="so", since=since)


@pytest.mark.parametrize(
    ("code", "just_well", "just_not"),
    [
        ("NO_WORKERS", {"workers": 0, "workerless_s": 14.9}, {"workers": 0, "workerless_s": 15.0}),
        ("PARTITIONS_UNOWNED", {"unowned_s": 14.9}, {"unowned_s": 15.0}),
        ("FEED_SILENT", {"silent_s": 60.0}, {"silent_s": 60.1}),
        ("LAG_HIGH", {"lag_ms": 5000.0}, {"lag_ms": 5000.1}),
        ("DEAD_LETTERS", {"dead_letters": 0}, {"dead_letters": 1}),
        ("TICKS_LOST", {"ticks_lost": 0}, {"ticks_lost": 1}),
        ("REDIS_MEMORY_HIGH", {"redis_memory_share": 0.9}, {"redis_memory_share": 0.91}),
        ("DATABASE_AWAY", {"database_away_s": None}, {"database_away_s": 0.0}),
        ("FOREIGN_KEYS", {}, {"foreign_keys": (ForeignKey("tickstock-dlq", "a list", "a stream"),)}),
        ("UNDETECTED_BARS", {"undetected": 1000}, {"undetected": 1001}),
    ],
)
def test_each_issue_begins_at_its_bound(code, just_well, just_not):
    assert (codes(**just_well), codes(**just_not)) == ([], [code])


def test_every_rule_has_a_bound_tested_here():
    assert len(RULES) == 10


def test_bars_that_wait_are_no_issue_while_a_minute_brings_as_many():
    assert codes(undetected=5000, bars_per_minute=5000.0) == []


def test_silence_outside_market_hours_is_no_issue():
    assert codes(at=NIGHT, silent_s=3600.0) == []


def test_silence_on_a_holiday_is_no_issue():
    assert codes(at=THANKSGIVING, silent_s=3600.0) == []


def test_silence_on_a_half_day_is_an_issue_until_one_in_new_york():
    close = datetime(2026, 11, 27, 18, tzinfo=UTC)
    assert codes(at=close - timedelta(seconds=1), silent_s=61.0) == ["FEED_SILENT"]
    assert codes(at=close, silent_s=61.0) == []


def test_partitions_without_an_owner_are_no_issue_of_their_own_where_no_worker_lives():
    assert codes(workers=0, workerless_s=20.0, partitions_owned=0, unowned_s=20.0) == ["NO_WORKERS"]


def test_an_unknown_lag_is_no_issue():
    assert codes(lag_ms=None) == []


def test_an_issue_that_goes_on_keeps_its_since():
    before = [issue("LAG_HIGH")]
    found = issues_of(replace(WELL, lag_ms=9000.0, dead_letters=3), TRADING, before)
    assert [(i.code, i.since) for i in found] == [
        ("LAG_HIGH", "2026-01-15T14:00:00.000000+00:00"),
        ("DEAD_LETTERS", "2026-01-15T15:00:00.000000+00:00"),
    ]


def test_an_issue_says_how_much():
    (found,) = issues_of(replace(WELL, partitions_owned=12, unowned_s=30.0), TRADING)
    assert found.message == "4 of 16 partitions have no owner"


@pytest.mark.parametrize(
    ("found", "figures", "stopping", "status"),
    [
        ([], {}, False, "healthy"),
        (["DEAD_LETTERS"], {}, False, "degraded"),
        (["TICKS_LOST"], {}, False, "degraded"),
        (["NO_WORKERS", "DEAD_LETTERS"], {}, False, "error"),
        (["DATABASE_AWAY"], {}, False, "error"),
        ([], {"workers": 0, "uptime_s": 14.9}, False, "starting"),
        (["DEAD_LETTERS"], {"workers": 0, "uptime_s": 1.0}, False, "starting"),
        (["DATABASE_AWAY"], {"workers": 0, "uptime_s": 1.0}, False, "error"),
        ([], {"workers": 1, "uptime_s": 1.0}, False, "healthy"),
        (["DATABASE_AWAY"], {}, True, "stopping"),
    ],
)
def test_the_status_follows_the_worst_issue(found, figures, stopping, status):
    assert status_of(replace(WELL, **figures), [issue(code) for code in found], stopping=stopping) == status


@pytest.mark.parametrize(
    ("found", "score"),
    [
        ([], 100),
        (["DEAD_LETTERS"], 85),
        (["DEAD_LETTERS", "LAG_HIGH"], 70),
        (["NO_WORKERS"], 40),
        (["NO_WORKERS", "DATABASE_AWAY"], 0),
    ],
)
def test_the_score_falls_with_each_issue(found, score):
    assert score_of([issue(code) for code in found]) == score


def test_each_part_has_the_status_of_its_own_issues():
    found = [issue("NO_WORKERS"), issue("DEAD_LETTERS")]
    parts = components_of(WELL, found, BRIDGE)
    statuses = {name: getattr(parts, name).status for name in ("redis", "database", "workers", "bridge", "feed")}
    assert statuses == {
        "redis": "healthy",
        "database": "healthy",
        "workers": "error",
        "bridge": "healthy",
        "feed": "degraded",
    }


def test_the_workers_part_shows_what_was_measured():
    assert components_of(WELL, [], BRIDGE).workers.details == {
        "living": 2,
        "partitions_owned": 16,
        "partitions_total": 16,
        "processing_lag_ms": 42.0,
        "undetected_bars": 0,
    }


def test_the_connection_says_when_the_database_is_away():
    there, away = connection_of(WELL), connection_of(replace(WELL, database_away_s=3.0))
    assert (there.redis, there.database, away.database) == ("connected", "connected", "disconnected")
    assert (there.workers, there.partitions_owned, there.partitions_total) == (2, 16, 16)


def test_figures_are_rounded_for_readers():
    flow, used = data_flow_of(WELL), resources_of(WELL)
    assert (flow.ticks_per_second, flow.bars_per_minute, flow.processing_lag_ms) == (1234.568, 300.0, 42.0)
    assert (used.cpu_percent, used.memory_mb) == (55.12, 210.0)


def test_stale_symbols_are_counted_and_the_first_are_named():
    found = stale_symbols_of(replace(WELL, stale_symbol_count=60, stale_symbols=("A", "B")))
    assert (found.count, found.symbols) == (60, ["A", "B"])
