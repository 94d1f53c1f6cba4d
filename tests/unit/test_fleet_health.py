"""What is wrong with a fleet: each case is one look by hand, with one thing wrong in it."""

import io
import re
from dataclasses import replace
from datetime import UTC, date, datetime
from uuid import UUID

import msgspec
import pytest
import yaml
from rich.console import Console
from rich.text import Text
from tickstockpl.contracts.fleet.fleet_health import HealthFinding, health_of, is_healthy, judge, score_of
from tickstockpl.contracts.fleet.fleet_look import (
    Away,
    BridgeLook,
    FeedLook,
    FleetLook,
    Flows,
    ForeignKey,
    Forgotten,
    Freshness,
    FrontDoorLook,
    Heartbeats,
    Integration,
    JobsLook,
    PartitionLook,
    ProducerLook,
    RecentFlow,
    RedisLook,
    ReplayLook,
    RunLook,
    StreamLook,
    WorkerLook,
)
from tickstockpl.contracts.fleet.fleet_rules import RULES
from tickstockpl.ops.status.monitor_tables import glance_of, print_line

AT = datetime(2026, 11, 20, 15, 0, tzinfo=UTC)
REDIS = RedisLook("Redis 7.0.15", 500, 1_000, "noeviction", aof=True)
WORKER = WorkerLook("c1", True, False, [0, 1], "host", 7, AT, AT, 1_000, 10, 0, 9, 0, 2)
PARTITION = PartitionLook(0, "c1", 3, 0, 0.0, "5-0", AT, None)
FLEET = StreamLook(
    stream="tickstock-stream",
    partitions_total=2,
    lag_ticks=0,
    lag_s=0.0,
    partitions=[PARTITION, replace(PARTITION, partition=1)],
    front_door=FrontDoorLook("0-0", 0),
    workers=[WORKER],
    replays=[],
    dead_letters={"price": 40},
    redis=REDIS,
)
BEATS = Heartbeats(key_s=2.0, logged_s=31.0, application_s=5.0, subscribers=1)
FLOWS = Flows(9, 9, 9, 8, 9, 0, 0, 1, 12.0, 30.0, 40.0, 90.0)
INTEGRATION = Integration(900.0, BEATS, FLOWS, [], [])
FEED = FeedLook(True, 0.5, 7, 0, 10, 70.0, 0, 0, 3, open_s=1_800.0)
HEALTHY = FleetLook(
    at=AT,
    redis_s=AT.timestamp(),
    fleet=FLEET,
    redis_nodes=[REDIS],
    unowned_s={},
    workers_silent_s=0.4,
    bridge=BridgeLook("b1", 4, 1.2, 1, 3, 0.2, connected_s=600.0),
    producers=[ProducerLook("massive-1", True, "live", 1_000, 0, 0.5)],
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


def producers(**changes):
    return replace(HEALTHY, producers=[replace(HEALTHY.producers[0], **changes)])


def foreign(key):
    return replace(HEALTHY, foreign_keys=[ForeignKey(key, "a list", "a stream")])


RUN = RunLook(UUID(int=9), date(2026, 11, 20), "running", "patterns", took_s=700.0, still_s=2.0)
ENDED_RUN = replace(RUN, status="completed", still_s=0.0, ended_s=60.0)
JOBS = JobsLook(processes=2, connected_s=9_000.0, waiting_steps=7, untold=1, run=RUN)


def jobs(run, **changes):
    return replace(HEALTHY, jobs=replace(JOBS, run=run, **changes))


def just_begun(connected_s):
    return replace(HEALTHY.bridge, connected_s=connected_s)


def replay(state):
    return ReplayLook("replay-1", state, "day.csv", AT, None, 1, 10, 16)


ENDED = replace(WORKER, running=False)


def test_a_fleet_that_works_has_no_findings():
    assert judge(HEALTHY) == []
    assert is_healthy([])


# Each rule with its level, what makes it, and words of what it says.
CASES = [
    (fleet(partitions_total=0, partitions=[]), "error", "NO_STREAM", "no process has created the stream yet"),
    (replace(fleet(workers=[]), workers_silent_s=None), "error", "NO_WORKERS", "no worker was ever started"),
    (replace(fleet(workers=[ENDED]), workers_silent_s=15.0), "error", "NO_WORKERS", "no worker for 15 s"),
    (replace(HEALTHY, unowned_s={0: 5.0, 1: 200.0}), "error", "PARTITIONS_UNOWNED", "up to 3 min: partition 1"),
    (bridge(owner=None, silent_s=None), "error", "NO_BRIDGE", "no bridge was ever started"),
    (bridge(owner=None, silent_s=7_200.0), "error", "NO_BRIDGE", "no bridge was active for 2 h"),
    (beats(key_s=None), "error", "HEARTBEAT_STALE", "does not exist, though a bridge is active"),
    (beats(key_s=30.5), "error", "HEARTBEAT_STALE", "is 30 s old"),
    (beats(logged_s=None), "warn", "HEARTBEAT_UNLOGGED", "no PRODUCER_ALIVE"),
    (beats(logged_s=151.0), "warn", "HEARTBEAT_UNLOGGED", "no PRODUCER_ALIVE"),
    (
        bridge(untold=50, untold_s=31.0),
        "error",
        "RESULTS_UNTOLD",
        "50 results wait to be published, the first for 31 s",
    ),
    (lag(0.0, 5.1), "warn", "LAG_HIGH", "the oldest tick waits for 5 s, 1,234 ticks in all"),
    (lag(0.0, 61.0), "error", "LAG_HIGH", "the oldest tick waits for 61 s"),
    (lag(0.0, None), "error", "LAG_UNKNOWN", "ticks wait in partition 1,"),
    (feed(silent_s=60.1), "error", "FEED_SILENT", "no live tick was committed for 60 s"),
    (fleet(forgotten=[Forgotten("12 ticks are gone", "replay", loses=True)]), "error", "REDIS_FORGOT", "12 ticks are"),
    (fleet(forgotten=[Forgotten("12 ticks are gone", "wait")]), "warn", "REDIS_FORGOT", "12 ticks are gone"),
    (redis(policy="allkeys-lru"), "error", "REDIS_EVICTS", "the eviction policy is allkeys-lru"),
    (foreign("tickstock-dlq"), "error", "FOREIGN_KEYS", "tickstock-dlq holds a list, not a stream of ours"),
    (redis(memory_bytes=901), "error", "REDIS_MEMORY_HIGH", "90% of maxmemory"),
    (redis(replay="drops"), "error", "REDIS_FORGETS", "MULTI/EXEC"),
    (redis(aof=False), "warn", "REDIS_NO_AOF", "no AOF"),
    (
        replace(HEALTHY, redis_ahead_s=10.0),
        "warn",
        "CLOCKS_DIFFER",
        "10 s ahead of PostgreSQL's: live bars close early",
    ),
    (
        replace(HEALTHY, redis_ahead_s=-899.0),
        "warn",
        "CLOCKS_DIFFER",
        "15 min behind PostgreSQL's: live bars close",
    ),
    (replace(HEALTHY, redis_ahead_s=900.0), "error", "CLOCKS_DIFFER", "live ticks are refused (too_late)"),
    (replace(HEALTHY, redis_ahead_s=-7_200.0), "error", "CLOCKS_DIFFER", "2 h behind PostgreSQL's: live ticks are"),
    (flows(never_received=9), "error", "FLOWS_NOT_RECEIVED", "9 of 9 patterns were published and never received"),
    (flows(never_received=1), "warn", "FLOWS_NOT_RECEIVED", "1 of 9 patterns"),
    (flows(never_parsed=2), "warn", "FLOWS_NOT_PARSED", "2 patterns were received and never parsed"),
    (beats(application_s=None, subscribers=0), "note", "APPLICATION_AWAY", "for 15 min"),
    (producers(running=False), "warn", "PRODUCERS_GONE", "no other runs: massive-1"),
    (feed(lost_lately=5), "warn", "TICKS_LOST", "15 minutes; they lost 5 in all"),
    (feed(dead_letters_lately=4), "warn", "DEAD_LETTERS", "4 rows were refused"),
    (feed(open_gaps=2), "warn", "GAPS_OPEN", "2 gaps"),
    (fleet(front_door=FrontDoorLook("0-0", 10_001)), "warn", "FRONT_DOOR_WAITS", "10,001 entries"),
    (feed(undetected_bars=1_001), "warn", "UNDETECTED_BARS", "1,001 closed bars"),
    (replace(HEALTHY, symbols=Freshness(30, 40, [])), "warn", "STALE_SYMBOLS", "40 symbols"),
    (
        jobs(replace(RUN, still_s=15.0), processes=0, connected_s=None),
        "error",
        "NO_JOBS",
        "the run of 2026-11-20 waits",
    ),
    (
        jobs(ENDED_RUN, processes=0, connected_s=None, jobs_still_s=15.0),
        "error",
        "NO_JOBS",
        "data loads or backtests wait",
    ),
    (jobs(ENDED_RUN, jobs_still_s=601.0), "error", "RUN_STUCK", "no data load or backtest advanced for 10 min"),
    (jobs(replace(RUN, still_s=601.0)), "error", "RUN_STUCK", "in the phase patterns, and has not moved for 10 min"),
    (jobs(replace(ENDED_RUN, status="failed", error="no day")), "warn", "RUN_FAILED", "2026-11-20 failed: no day"),
    (jobs(replace(ENDED_RUN, failed_symbols=3)), "note", "RUN_INCOMPLETE", "could not do 3 symbols"),
    (replace(HEALTHY, idle_definitions=["Doji"]), "note", "DEFINITIONS_IDLE", "Doji"),
    (replace(HEALTHY, wrong_definitions=["Cup (why)"]), "note", "DEFINITIONS_WRONG", "Cup (why)"),
    (fleet(replays=[replay("unfinished")]), "warn", "REPLAY_UNFINISHED", "replay-1 stopped before its end"),
]


@pytest.mark.parametrize(("look", "level", "code", "says"), CASES)
def test_one_thing_that_is_wrong_is_one_finding(look, level, code, says):
    (finding,) = judge(look)
    assert (finding.level, finding.code) == (level, code)
    assert says in finding.message
    assert finding.do
    assert is_healthy([finding]) is (level != "error")
    assert health_of(look, [finding]) == {"error": "error", "warn": "degraded", "note": "healthy"}[level]


def test_messages_of_runs_that_wait_are_said_among_the_results():
    look = replace(bridge(untold=50, untold_s=31.0), jobs=replace(JOBS, untold=4))
    assert [finding.message for finding in judge(look)] == [
        "50 results wait to be published, 4 of them of runs, the first for 31 s"
    ]


def test_every_rule_has_its_case_here():
    away = {"DATABASE_AWAY", "REDIS_AWAY"}
    assert {code for _, _, code, _ in CASES} | away == {rule.code for rule in RULES}


@pytest.mark.parametrize(
    "look",
    [
        replace(fleet(workers=[ENDED]), workers_silent_s=14.0),  # being restarted
        replace(fleet(workers=[ENDED]), workers_silent_s=9_000.0, bridge=just_begun(14.0)),  # a fleet that starts
        replace(fleet(workers=[]), workers_silent_s=None, bridge=just_begun(14.0)),
        replace(HEALTHY, unowned_s={0: 14.0}),  # being taken over
        bridge(owner=None, silent_s=14.0),
        bridge(connected_s=29.0, untold=50, untold_s=9_000.0),  # it publishes what waited for it
        replace(beats(key_s=None), bridge=just_begun(29.0)),
        replace(beats(logged_s=None), bridge=just_begun(149.0)),
        lag(0.0, 5.0),
        fleet(front_door=FrontDoorLook("0-0", 10_000)),
        feed(undetected_bars=1_000),
        feed(undetected_bars=5_000, bars_per_minute=5_000.0),  # what one minute brings
        feed(silent_s=60.0),
        feed(silent_s=61.0, market_open=False),
        feed(silent_s=61.0, market_open=False, open_s=None),
        feed(silent_s=60_000.0, open_s=60.0),  # the market has just opened
        replace(feed(silent_s=60_000.0), bridge=just_begun(60.0)),
        feed(silent_s=None),  # never a live feed: replays only
        feed(silent_s=5 * 86_400.0),  # none any more
        flows_without_application(never_received=9),
        beats(application_s=None),  # it listens
        beats(subscribers=0),  # it logs
        replace(HEALTHY, symbols=Freshness(30, 40, []), feed=replace(FEED, market_open=False)),
        fleet(replays=[replay("running")]),
        redis(max_memory_bytes=None, memory_bytes=10**12),
        redis(memory_bytes=900),
        replace(HEALTHY, redis_ahead_s=-9.9),
        replace(HEALTHY, integration=None),  # not read yet
        jobs(RUN),
        jobs(replace(RUN, still_s=14.0), processes=0, connected_s=None),  # being restarted
        replace(jobs(replace(RUN, still_s=9_000.0), processes=0, connected_s=None), bridge=just_begun(14.0)),
        jobs(replace(RUN, still_s=9_000.0), connected_s=60.0),  # all of them were away
        jobs(ENDED_RUN, processes=0, connected_s=None),  # nothing waits for them
        jobs(replace(ENDED_RUN, status="cancelled", failed_symbols=3)),
        jobs(replace(ENDED_RUN, status="failed", ended_s=5 * 86_400.0)),
    ],
)
def test_what_will_pass_or_is_nobodys_fault_is_no_finding(look):
    assert judge(look) == []


def test_a_fleet_whose_bridge_has_just_come_before_every_worker_is_starting():
    look = replace(fleet(workers=[]), workers_silent_s=None, bridge=just_begun(14.0))
    assert health_of(look, judge(look)) == "starting"
    assert health_of(HEALTHY, []) == "healthy"
    later = replace(look, bridge=just_begun(15.0))
    assert health_of(later, judge(later)) == "error"


def test_a_partition_whose_key_is_foreign_has_no_lag_that_was_lost():
    look = replace(lag(None, 0.0), foreign_keys=[ForeignKey("tickstock-stream:{p0}", "a list", "a stream")])
    assert [finding.code for finding in judge(look)] == ["FOREIGN_KEYS"]


def test_errors_stand_before_what_is_only_to_be_looked_at():
    wrong = replace(
        feed(open_gaps=1), bridge=replace(HEALTHY.bridge, owner=None, silent_s=99.0), idle_definitions=["x"]
    )
    found = judge(wrong)
    assert [finding.level for finding in found] == ["error", "warn", "note"]
    assert not is_healthy(found)


def test_a_server_that_is_away_is_an_error_by_itself():
    found = judge(None, [Away("redis", "no answer"), Away("postgresql", "refused")])
    assert [(finding.code, finding.message) for finding in found] == [
        ("DATABASE_AWAY", "refused"),
        ("REDIS_AWAY", "no answer"),
    ]
    assert health_of(None, found) == "error"


def test_of_a_server_that_was_lost_it_is_said_for_how_long_beside_what_was_seen_last():
    found = judge(feed(open_gaps=1), [Away("postgresql", "refused", 130.0)])
    assert [(finding.code, finding.message.partition(":")[0]) for finding in found] == [
        ("DATABASE_AWAY", "PostgreSQL has not answered for 2 min"),
        ("GAPS_OPEN", "1 gaps of live feeds are not repaired yet"),
    ]


@pytest.mark.parametrize(
    ("looks", "score"),
    [([], 100), (["warn"], 85), (["warn", "warn"], 70), (["error"], 40), (["error", "error"], 0), (["note"], 100)],
)
def test_the_score_falls_with_each_finding(looks, score):
    assert score_of([HealthFinding(level, "C", "", "", "feed", alarming=False) for level in looks]) == score


def test_a_person_must_look_now_where_the_alert_of_the_same_thing_is_critical(pytestconfig):
    groups = yaml.safe_load((pytestconfig.rootpath / "ops/prometheus/rules.yml").read_text())["groups"]
    severity = {r["alert"]: r["labels"]["severity"] for group in groups for r in group["rules"] if "alert" in r}
    assert {r.code: r.alarming for r in RULES if r.alert} == {
        r.code: severity[r.alert] == "critical" for r in RULES if r.alert
    }
    assert [r.code for r in RULES if r.alarming and not r.alert] == []


def test_what_is_only_a_note_alarms_nobody():
    assert [finding.alarming for finding in judge(AFTER_A_REPLAY)] == [False, False]


def test_every_rule_is_documented_as_the_table_has_it(pytestconfig):
    text = (pytestconfig.rootpath / "docs/status.md").read_text()
    rows = re.findall(r"^\| `([A-Z_]+)` \| ([^|]+) \| (\w+) \| (yes|) ?\|", text, re.MULTILINE)
    documented = {
        code: (re.findall(r"error|warn|note", levels)[0], part, now == "yes") for code, levels, part, now in rows
    }
    assert len(rows) == len(RULES)
    assert documented == {rule.code: (rule.level, rule.part, rule.alarming) for rule in RULES}


def test_a_look_is_the_same_after_json():
    flow = RecentFlow(UUID(int=7), AT, "IBM", "Doji", 0.9, 12.5, 3, 4, ["PATTERN_PUBLISHED", None])
    look = replace(
        lag(0.0, None),
        unowned_s={3: 4.5},
        integration=replace(INTEGRATION, latest=[flow]),
        foreign_keys=[ForeignKey("tickstock-dlq", "a list", "a stream")],
        jobs=JOBS,
    )
    assert msgspec.json.decode(msgspec.json.encode(look), type=FleetLook) == look


ENDED_REPLAY = ReplayLook("replay-1", "finished", "day.csv", AT, AT, 2, 10, 2)
AFTER_A_REPLAY = replace(
    HEALTHY,
    fleet=replace(FLEET, workers=[ENDED], replays=[ENDED_REPLAY]),
    workers_silent_s=90.0,
    bridge=BridgeLook(None, 0, None, 0, 0, None),
    producers=[],
    feed=replace(FEED, silent_s=None, undetected_bars=0),
)


def test_after_replays_alone_no_process_need_run():
    found = judge(AFTER_A_REPLAY)
    assert [(finding.level, finding.code) for finding in found] == [("note", "NO_WORKERS"), ("note", "NO_BRIDGE")]
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
    assert not is_healthy(judge(replace(AFTER_A_REPLAY, **changes)))


# -- the picture of a small terminal --------------------------------------------------------------------------------


def picture(findings=(), *, width=80, height=24, look=HEALTHY):
    console = Console(file=io.StringIO(), width=width, height=height)
    console.print(glance_of(look, list(findings), width=width, height=height))
    return console.file.getvalue().splitlines()


def finding(number):
    return HealthFinding(
        "error", f"CODE_{number}", "a message that goes on for very long " * 3, "do", "feed", alarming=False
    )


@pytest.mark.parametrize("count", [0, 1, 5, 30])
def test_it_fits_80_by_24(count):
    lines = picture(map(finding, range(count)))
    assert len(lines) <= 23
    assert max(map(len, lines)) <= 80


def test_the_verdict_stands_first_and_then_a_line_for_each_part():
    names = [line.split("  ")[0] for line in picture()]
    assert names == [
        "Health", "Stream", "Partitions", "Workers", "Producers", "Lag", "Front door", "Dead letters", "Redis",
        "Bridge", "Feed", "Symbols", "Jobs", "TickStockPL", "Application", "Flows", "Latency",
    ]  # fmt: skip


def test_findings_that_do_not_fit_are_counted():
    lines = picture(map(finding, range(30)))
    shown = sum("CODE_" in line for line in lines)
    assert f"and {30 - shown} more: tickstock status" in "\n".join(lines)


def test_workers_are_named_with_their_partitions():
    workers = [WORKER, replace(WORKER, consumer="c2", running=False, partitions=[])]
    text = "\n".join(picture(look=replace(HEALTHY, fleet=replace(FLEET, workers=workers))))
    assert "Workers       c1 2; 1 ended" in text
    assert "Partitions    2; most behind: 0 of c1, 0.0 s, 0 ticks" in text


def printed(line, indent, *, is_terminal):
    console = Console(file=io.StringIO(), width=40, force_terminal=is_terminal, color_system=None)
    print_line(console, Text(line), indent)
    return console.file.getvalue().splitlines()


def test_a_line_that_is_too_long_for_a_terminal_goes_on_below_its_own_text():
    line = "  warn   CODE  one two three four five six seven eight  -> do it"
    assert [part.rstrip() for part in printed(line, 9, is_terminal=True)] == [
        "  warn   CODE  one two three four five",
        "         six seven eight  -> do it",
    ]
    assert printed(line, 9, is_terminal=False) == [line]


def test_without_a_look_only_the_verdict_is_shown():
    assert picture([finding(1)], look=None)[0].startswith("Health")
