"""What makes the fleet unhealthy: each case is one report by hand, with one thing wrong in it."""

import io
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console
from tickstockpl.db.foreign_keys import ForeignKey
from tickstockpl.db.freshness import Freshness
from tickstockpl.ops import verdict
from tickstockpl.ops.integration import Flows, Heartbeats, Integration
from tickstockpl.ops.monitor import BridgeStatus, FeedStatus, ProducerStatus, Report
from tickstockpl.ops.monitor_tables import glance_of
from tickstockpl.ops.status import (
    FrontDoorStatus,
    PartitionStatus,
    RedisStatus,
    ReplayStatus,
    Status,
    WorkerStatus,
)
from tickstockpl.ops.verdict import HealthFinding, findings_of, is_healthy, server_away

AT = datetime(2026, 11, 20, 15, 0, tzinfo=UTC)
REDIS = RedisStatus("Redis 7.0.15", 500, 1_000, "noeviction", aof=True)
WORKER = WorkerStatus("c1", True, False, [0, 1], "host", 7, AT, AT, 1_000, 10, 0, 9, 0, 2)
PARTITION = PartitionStatus(0, "c1", 3, 0, 0.0, "5-0", AT, None)
FLEET = Status(
    stream="tickstock-stream",
    partitions_total=2,
    lag_ticks=0,
    lag_s=0.0,
    partitions=[PARTITION, replace(PARTITION, partition=1)],
    front_door=FrontDoorStatus("0-0", 0),
    workers=[WORKER],
    replays=[],
    dead_letters={"price": 40},
    redis=REDIS,
)
BEATS = Heartbeats(key_s=2.0, logged_s=31.0, application_s=5.0, subscribers=1)
FLOWS = Flows(9, 9, 9, 8, 9, 0, 0, 1, 12.0, 30.0, 40.0, 90.0)
INTEGRATION = Integration(900.0, BEATS, FLOWS, [], [])
FEED = FeedStatus(True, 0.5, 7, 0, 10, 70.0, 0, 0, 3)
HEALTHY = Report(
    at=AT,
    fleet=FLEET,
    redis_nodes=[REDIS],
    unowned_s={},
    workers_silent_s=0.4,
    bridge=BridgeStatus("b1", 4, 1.2, 1, 3, 0.2),
    producers=[ProducerStatus("massive-1", True, "live", 1_000, 0, 0.5)],
    leases=[],
    feed=FEED,
    symbols=Freshness(70, 2, ["AIG", "IBM"]),
    integration=INTEGRATION,
)


def fleet(**changes):
    return replace(HEALTHY, fleet=replace(FLEET, **changes))


def lag(*seconds):
    return fleet(partitions=[replace(PARTITION, partition=p, lag_s=s) for p, s in enumerate(seconds)], lag_ticks=1_234)


def bridge(**changes):
    return replace(HEALTHY, bridge=replace(HEALTHY.bridge, **changes))


def feed(**changes):
    return replace(HEALTHY, feed=replace(FEED, **changes))


def redis(**changes):
    return replace(HEALTHY, redis_nodes=[REDIS, replace(REDIS, **changes)])


def beats(**changes):
    return replace(HEALTHY, integration=replace(INTEGRATION, heartbeats=replace(BEATS, **changes)))


def flows(**changes):
    return replace(HEALTHY, integration=replace(INTEGRATION, flows=replace(FLOWS, **changes)))


def flows_without_application(**changes):
    silent = replace(INTEGRATION, heartbeats=replace(BEATS, application_s=None))
    return replace(HEALTHY, integration=replace(silent, flows=replace(FLOWS, **changes)))


ENDED = replace(WORKER, running=False)


def test_a_fleet_that_works_has_no_findings():
    assert findings_of(HEALTHY) == []
    assert is_healthy([])


@pytest.mark.parametrize(
    ("report", "level", "code", "says"),
    [
        (fleet(partitions_total=0, partitions=[]), "error", "NO_STREAM", "no process has created the stream yet"),
        (replace(fleet(workers=[]), workers_silent_s=None), "error", "NO_WORKERS", "no worker was ever started"),
        (replace(fleet(workers=[ENDED]), workers_silent_s=15.0), "error", "NO_WORKERS", "no worker for 15 s"),
        (replace(HEALTHY, unowned_s={0: 5.0, 1: 200.0}), "error", "PARTITIONS_UNOWNED", "up to 3 min: partition 1"),
        (bridge(owner=None, silent_s=None), "error", "NO_BRIDGE", "no bridge was ever started"),
        (bridge(owner=None, silent_s=7_200.0), "error", "NO_BRIDGE", "no bridge has spoken for 2 h"),
        (beats(key_s=None), "error", "HEARTBEAT_STALE", "is not there, though a bridge speaks"),
        (beats(key_s=30.5), "error", "HEARTBEAT_STALE", "is 30 s old"),
        (beats(logged_s=None), "warn", "HEARTBEAT_UNLOGGED", "no PRODUCER_ALIVE"),
        (beats(logged_s=151.0), "warn", "HEARTBEAT_UNLOGGED", "no PRODUCER_ALIVE"),
        (bridge(untold=50, untold_s=31.0), "error", "RESULTS_UNTOLD", "50 results wait to be told, the first for 31 s"),
        (lag(0.0, 5.1), "warn", "LAG_HIGH", "the oldest tick waits for 5 s, 1,234 ticks in all"),
        (lag(0.0, 61.0), "error", "LAG_HIGH", "the oldest tick waits for 61 s"),
        (lag(0.0, None), "error", "LAG_UNKNOWN", "ticks wait in partition 1,"),
        (feed(silent_s=61.0), "error", "FEED_SILENT", "no live tick was committed for 61 s"),
        (redis(policy="allkeys-lru"), "error", "REDIS_EVICTS", "the eviction policy is allkeys-lru"),
        (
            replace(HEALTHY, foreign_keys=[ForeignKey("tickstock-dlq", "a list", "a stream")]),
            "error", "FOREIGN_KEYS", "tickstock-dlq holds a list, not a stream of ours",
        ),
        (redis(memory_bytes=901), "error", "REDIS_MEMORY_HIGH", "90% of maxmemory"),
        (redis(replay="drops"), "error", "REDIS_FORGETS", "MULTI/EXEC"),
        (redis(aof=False), "warn", "REDIS_NO_AOF", "no AOF"),
        (flows(never_received=9), "error", "FLOWS_NOT_RECEIVED", "9 of 9 patterns were published and never received"),
        (flows(never_received=1), "warn", "FLOWS_NOT_RECEIVED", "1 of 9 patterns"),
        (flows(never_parsed=2), "warn", "FLOWS_NOT_PARSED", "2 patterns were received and never parsed"),
        (beats(application_s=None, subscribers=0), "warn", "APPLICATION_AWAY", "for 15 min"),
        (
            replace(HEALTHY, producers=[replace(HEALTHY.producers[0], running=False)]),
            "warn", "PRODUCERS_GONE", "no other runs: massive-1",
        ),
        (feed(lost_lately=5), "warn", "TICKS_LOST", "5 ticks are missing"),
        (feed(dead_letters_lately=4), "warn", "DEAD_LETTERS", "4 rows were refused"),
        (feed(open_gaps=2), "warn", "GAPS_OPEN", "2 gaps"),
        (fleet(front_door=FrontDoorStatus("0-0", 10_001)), "warn", "FRONT_DOOR_WAITS", "10,001 entries"),
        (feed(undetected_bars=1_001), "warn", "UNDETECTED_BARS", "1,001 closed bars"),
        (replace(HEALTHY, symbols=Freshness(30, 40, [])), "warn", "STALE_SYMBOLS", "40 symbols"),
        (replace(HEALTHY, idle_definitions=["Doji"]), "warn", "DEFINITIONS_IDLE", "Doji"),
        (replace(HEALTHY, wrong_definitions=["Cup (why)"]), "warn", "DEFINITIONS_WRONG", "Cup (why)"),
        (
            fleet(replays=[ReplayStatus("replay-1", "unfinished", "day.csv", AT, None, 1, 10, 16)]),
            "warn", "REPLAY_UNFINISHED", "replay-1 stopped before its end",
        ),
    ],
)  # fmt: skip
def test_one_thing_that_is_wrong_is_one_finding(report, level, code, says):
    (finding,) = findings_of(report)
    assert (finding.level, finding.code) == (level, code)
    assert says in finding.message
    assert finding.do
    assert is_healthy([finding]) is (level == "warn")


@pytest.mark.parametrize(
    "report",
    [
        replace(fleet(workers=[ENDED]), workers_silent_s=14.0),  # being restarted
        replace(HEALTHY, unowned_s={0: 14.0}),  # being taken over
        bridge(owner=None, silent_s=14.0),
        lag(0.0, 5.0),
        fleet(front_door=FrontDoorStatus("0-0", 10_000)),
        feed(undetected_bars=1_000),
        feed(undetected_bars=5_000, bars_per_minute=5_000.0),  # what one minute brings
        feed(silent_s=61.0, market_open=False),
        feed(silent_s=None),  # never a live feed: replays only
        feed(silent_s=5 * 86_400.0),  # none any more
        flows_without_application(never_received=9),
        beats(application_s=None),  # it listens
        beats(subscribers=0),  # it logs
        replace(HEALTHY, symbols=Freshness(30, 40, []), feed=replace(FEED, market_open=False)),
        fleet(replays=[ReplayStatus("replay-1", "running", "day.csv", AT, None, 1, 10, 16)]),
        redis(max_memory_bytes=None, memory_bytes=10**12),
    ],
)  # fmt: skip
def test_what_will_pass_or_is_nobodys_fault_is_no_finding(report):
    assert findings_of(report) == []


def test_errors_stand_before_what_is_only_to_be_looked_at():
    found = findings_of(replace(feed(open_gaps=1), bridge=replace(HEALTHY.bridge, owner=None, silent_s=99.0)))
    assert [finding.level for finding in found] == ["error", "warn"]
    assert not is_healthy(found)


def test_a_server_that_is_away_is_an_error_by_itself():
    assert [server_away(server, "no answer").code for server in ("redis", "postgresql")] == [
        "REDIS_AWAY",
        "DATABASE_AWAY",
    ]
    assert not is_healthy([server_away("redis", "no answer")])


def test_every_finding_is_documented(pytestconfig):
    codes = set(re.findall(r'(?:_error|_warn|make)\(\s*"([A-Z_]+)"', Path(verdict.__file__).read_text()))
    documented = re.findall(r"^\| `([A-Z_]+)` \|", (pytestconfig.rootpath / "docs/status.md").read_text(), re.MULTILINE)
    assert len(codes) > 25
    assert set(documented) == codes


ENDED_REPLAY = ReplayStatus("replay-1", "finished", "day.csv", AT, AT, 2, 10, 2)
AFTER_A_REPLAY = replace(
    HEALTHY,
    fleet=replace(FLEET, workers=[ENDED], replays=[ENDED_REPLAY]),
    workers_silent_s=90.0,
    bridge=BridgeStatus(None, 0, None, 0, 0, None),
    producers=[],
    feed=replace(FEED, silent_s=None, undetected_bars=0),
)


def test_after_replays_alone_no_process_need_run():
    found = findings_of(AFTER_A_REPLAY)
    assert [(finding.level, finding.code) for finding in found] == [("warn", "NO_WORKERS"), ("warn", "NO_BRIDGE")]
    assert is_healthy(found)


@pytest.mark.parametrize(
    "changes",
    [
        {"fleet": replace(AFTER_A_REPLAY.fleet, replays=[replace(ENDED_REPLAY, state="unfinished")])},
        {"fleet": replace(AFTER_A_REPLAY.fleet, lag_ticks=5)},
        {"fleet": replace(AFTER_A_REPLAY.fleet, replays=[])},
        {"feed": replace(FEED, silent_s=3_600.0)},
        {"feed": replace(FEED, silent_s=None, undetected_bars=1)},
        {"producers": HEALTHY.producers},
    ],
)
def test_where_more_than_ended_replays_came_in_workers_are_missed(changes):
    assert not is_healthy(findings_of(replace(AFTER_A_REPLAY, **changes)))


# -- the picture of a small terminal --------------------------------------------------------------------------------


def picture(findings=(), *, width=80, height=24, report=HEALTHY):
    console = Console(file=io.StringIO(), width=width, height=height)
    console.print(glance_of(report, list(findings), width=width, height=height))
    return console.file.getvalue().splitlines()


def finding(number):
    return HealthFinding("error", f"CODE_{number}", "a message that goes on for very long " * 3, "do something")


@pytest.mark.parametrize("count", [0, 1, 5, 30])
def test_it_fits_80_by_24(count):
    lines = picture(map(finding, range(count)))
    assert len(lines) <= 23
    assert max(map(len, lines)) <= 80


def test_the_verdict_stands_first_and_then_a_line_for_each_part():
    names = [line.split("  ")[0] for line in picture()]
    assert names == [
        "Health", "Stream", "Partitions", "Workers", "Producers", "Lag", "Front door", "Dead letters", "Redis",
        "Bridge", "Feed", "Symbols", "TickStockPL", "Application", "Flows", "Latency",
    ]  # fmt: skip


def test_findings_that_do_not_fit_are_counted():
    lines = picture(map(finding, range(30)))
    shown = sum("CODE_" in line for line in lines)
    assert f"and {30 - shown} more: tickstock status" in "\n".join(lines)


def test_workers_are_named_with_their_partitions():
    workers = [WORKER, replace(WORKER, consumer="c2", running=False, partitions=[])]
    text = "\n".join(picture(report=replace(HEALTHY, fleet=replace(FLEET, workers=workers))))
    assert "Workers       c1 2; 1 ended" in text
    assert "Partitions    2; most behind: 0 of c1, 0.0 s, 0 ticks" in text


def test_without_a_report_only_the_verdict_is_shown():
    assert picture([finding(1)], report=None)[0].startswith("Health")
