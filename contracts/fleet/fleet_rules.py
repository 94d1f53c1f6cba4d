"""The table of problems that a fleet can have. Each rule reads a FleetLook and returns what it finds. Pure.

Levels. `error`: ticks do not become bars, results are not published, a daily run does not go on, or the servers are set
up so that ticks may be lost. `warn`: needs attention; the fleet works. `note`: worth knowing, without harm.

Durations come from the tables, so that all views agree and a new bridge knows them at once. A fleet that has just
started is not blamed for work it could not do yet: a duration counts from the moment when the responsible process was
there (`_missed_s`).
"""

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

from ..bounds import FULL_SHARE
from ..names import frame_keys
from ..printable import first_few
from ..redis_rights import DEFAULT_USER
from .fleet_look import FleetLook

Level = Literal["error", "warn", "note"]
Part = Literal["redis", "database", "workers", "bridge", "feed", "jobs"]

GRACE_S = 15.0  # a killed worker's partitions are taken over within 6 s; a fleet starts its parts one by one
SILENT_S = 60.0
LAG_S = 5.0  # a worker commits each second
STUCK_S = 60.0  # without a commit for this time, a worker is stuck, not only slow
UNDETECTED_BARS = 1_000
HEARTBEAT_S = 30.0  # after it the application shows us as offline
HEARTBEAT_ROW_S = 150.0  # one row is logged every 60 s
UNTOLD_S = 30.0
# the fleet has a live feed if it sent ticks within this time, longer than a weekend and a holiday
FEED_KNOWN_S = 4 * 86_400.0
RUN_STILL_S = 600.0  # a step of 250 symbols takes seconds; one that waits for a vendor's rate limit takes minutes
RUN_KNOWN_S = 4 * 86_400.0  # an older failure is no finding: longer than a weekend and a holiday
CLOCKS_S = 10.0  # Redis's clock tells when a live bar closes
ARRIVAL_S = 900.0  # a live tick is refused if its time differs from its arrival, by Redis's clock, by more
FRONT_DOOR_ENTRIES = 10_000  # the same as in the alert TickStockFrontDoorWaits

DROPS = "a restart of Redis would lose all writes of MULTI/EXEC and scripts: its user `default` may not write"
GRANT = (
    f"ACL SETUSER default {DEFAULT_USER}, as `tickstock redis-acl` prints it, and ACL SAVE; no user can log in with it"
)


class Seen(NamedTuple):
    """A problem that a rule found. says: in words, with figures. level, do: None means those of the rule's row."""

    says: str
    level: Level | None = None
    do: str | None = None


class Rule(NamedTuple):
    """One row of the table of problems.

    code: names the problem in every view; it never changes. part: the part of the fleet that has the problem. level:
    `error` makes `tickstock status` exit with 1. alarming: a person must act now, so the problem is also published on
    `tickstock:alerts:critical`. alert: the name of Prometheus's alert for the same problem, explained in the runbook;
    "" if Prometheus has no such alert. sees: looks for the problem in a reading. do: the next step for a person.
    """

    code: str
    part: Part
    level: Level
    alarming: bool
    alert: str
    sees: Callable[[FleetLook], Iterator[Seen]]
    do: str


def duration(seconds: float) -> str:
    """Write a duration in a common unit: 12 s, 7 min, 3 h, 2 days."""
    for least, unit, name in ((2 * 86_400, 86_400, "days"), (2 * 3_600, 3_600, "h"), (120, 60, "min")):
        if seconds >= least:
            return f"{seconds / unit:,.0f} {name}"
    return f"{seconds:,.0f} s"


def has_only_replayed(look: FleetLook) -> bool:
    """Tell whether only replays ever came in, all ended, and nothing waits: then no process needs to run."""
    fleet = look.fleet
    ended = all(replay.state in ("finished", "abandoned") for replay in fleet.replays)
    waits = fleet.lag_ticks or fleet.lag_s != 0.0 or fleet.front_door.lag_entries or look.feed.undetected_bars
    is_live = look.feed.silent_s is not None or look.producers
    return bool(fleet.replays) and ended and not waits and not is_live


def _missed_s(look: FleetLook, seconds: float) -> float:
    """Return how long something has been missing, at most as long as a bridge has been active.

    A fleet that was stopped overnight has had no worker for hours, but is healthy some seconds after its start.
    """
    return min(seconds, seconds if look.bridge.connected_s is None else look.bridge.connected_s)


# -- workers -----------------------------------------------------------------------------------------------------------


def _no_stream(look: FleetLook) -> Iterator[Seen]:
    if not look.fleet.partitions_total:
        yield Seen("no process has created the stream yet")


def _no_workers(look: FleetLook) -> Iterator[Seen]:
    silent_s = look.workers_silent_s
    if look.fleet.running_workers or _missed_s(look, GRACE_S if silent_s is None else silent_s) < GRACE_S:
        return
    since = "no worker was ever started" if silent_s is None else f"no worker for {duration(silent_s)}"
    if has_only_replayed(look):
        yield Seen(f"{since}, and none is needed: all replays have ended", "note", "nothing")
        return
    yield Seen(since)


def _partitions_unowned(look: FleetLook) -> Iterator[Seen]:
    """Only while workers run: without them NO_WORKERS is enough."""
    if not look.fleet.running_workers:
        return
    unowned = {partition: s for partition, s in look.unowned_s.items() if s >= GRACE_S}
    if unowned:
        yield Seen(f"without an owner for up to {duration(max(unowned.values()))}: partition {first_few(unowned)}")


def _lag_unknown(look: FleetLook) -> Iterator[Seen]:
    foreign = {foreign.key for foreign in look.foreign_keys}  # FOREIGN_KEYS reports these
    unknown = [
        p.partition for p in look.fleet.partitions if p.lag_s is None and foreign.isdisjoint(frame_keys(p.partition))
    ]
    if unknown:
        yield Seen(f"ticks wait in partition {', '.join(map(str, unknown))}, and Redis has lost their arrival times")


def _lag_high(look: FleetLook) -> Iterator[Seen]:
    oldest_s = max((p.lag_s for p in look.fleet.partitions if p.lag_s is not None), default=0.0)
    if oldest_s > LAG_S:
        says = f"the oldest tick waits for {duration(oldest_s)}, {look.fleet.lag_ticks:,} ticks in all"
        yield Seen(says, "error" if oldest_s > STUCK_S else "warn")


def _undetected_bars(look: FleetLook) -> Iterator[Seen]:
    if look.feed.undetected_bars > max(UNDETECTED_BARS, look.feed.bars_per_minute):
        yield Seen(f"{look.feed.undetected_bars:,} closed bars wait for their detectors")


def _replay_unfinished(look: FleetLook) -> Iterator[Seen]:
    for replay in look.fleet.replays:
        if replay.state == "unfinished":
            yield Seen(f"{replay.name} stopped before its end: its last minutes stay open")


def _definitions_idle(look: FleetLook) -> Iterator[Seen]:
    if look.idle_definitions:
        yield Seen(f"enabled, but for no timeframe that workers detect on: {first_few(look.idle_definitions)}")


def _definitions_wrong(look: FleetLook) -> Iterator[Seen]:
    if look.wrong_definitions:
        yield Seen(f"skipped definition rows: {first_few(look.wrong_definitions)}")


# -- the bridge and the application ------------------------------------------------------------------------------------


def _no_bridge(look: FleetLook) -> Iterator[Seen]:
    bridge = look.bridge
    if bridge.owner is not None or (bridge.silent_s is not None and bridge.silent_s < GRACE_S):
        return
    never = "no bridge was ever started"
    since = never if bridge.silent_s is None else f"no bridge was active for {duration(bridge.silent_s)}"
    if has_only_replayed(look) and not bridge.untold:
        yield Seen(f"{since}, and no result waits to be published", "note", "nothing")
        return
    yield Seen(f"results are not published: {since}")


def _heartbeat_stale(look: FleetLook) -> Iterator[Seen]:
    if look.bridge.owner is None or look.integration is None or _missed_s(look, HEARTBEAT_S) < HEARTBEAT_S:
        return
    key_s = look.integration.heartbeats.key_s
    if key_s is None or key_s > HEARTBEAT_S:
        age = "does not exist" if key_s is None else f"is {duration(key_s)} old"
        says = f"the key tickstock:producer:heartbeat {age}, though a bridge is active"
        yield Seen(says, do=f"look at the log of the bridge {look.bridge.owner}")


def _heartbeat_unlogged(look: FleetLook) -> Iterator[Seen]:
    if look.bridge.owner is None or look.integration is None or _missed_s(look, HEARTBEAT_ROW_S) < HEARTBEAT_ROW_S:
        return
    logged_s, window_s = look.integration.heartbeats.logged_s, look.integration.window_s
    if window_s > HEARTBEAT_ROW_S and (logged_s is None or logged_s > HEARTBEAT_ROW_S):
        yield Seen("no PRODUCER_ALIVE was logged in integration_events for more than two minutes")


def _results_untold(look: FleetLook) -> Iterator[Seen]:
    """Find results that wait. A bridge that has just started gets the time to publish them first."""
    bridge = look.bridge
    if bridge.owner is not None and bridge.untold_s is not None and _missed_s(look, bridge.untold_s) > UNTOLD_S:
        of_runs = f", {look.jobs.untold:,} of them of runs" if look.jobs.untold else ""
        yield Seen(
            f"{bridge.untold:,} results wait to be published{of_runs}, the first for {duration(bridge.untold_s)}"
        )


def _application_away(look: FleetLook) -> Iterator[Seen]:
    if look.bridge.owner is None or look.integration is None:
        return
    beats = look.integration.heartbeats
    if beats.application_s is None and not beats.subscribers:
        window = duration(look.integration.window_s)
        yield Seen(f"no subscriber on the pattern channel, and no checkpoint logged for {window}")


def _flows_not_received(look: FleetLook) -> Iterator[Seen]:
    """Find patterns that the application did not receive. If it logs nothing, this is unknown, and not reported."""
    if look.integration is None or look.integration.heartbeats.application_s is None:
        return
    flows = look.integration.flows
    if flows.never_received:
        says = f"{flows.never_received:,} of {flows.settled:,} patterns were published and never received"
        yield Seen(says, "error" if flows.never_received == flows.settled else "warn")


def _flows_not_parsed(look: FleetLook) -> Iterator[Seen]:
    if look.integration is None or look.integration.heartbeats.application_s is None:
        return
    if look.integration.flows.never_parsed:
        yield Seen(f"{look.integration.flows.never_parsed:,} patterns were received and never parsed")


# -- what comes in -----------------------------------------------------------------------------------------------------


def _feed_silent(look: FleetLook) -> Iterator[Seen]:
    """Find a silent feed, only while the market is open; silence before the open does not count."""
    feed = look.feed
    if not feed.market_open or feed.silent_s is None or feed.silent_s >= FEED_KNOWN_S:
        return
    open_s = feed.silent_s if feed.open_s is None else feed.open_s
    if _missed_s(look, min(feed.silent_s, open_s)) > SILENT_S:
        yield Seen(f"no live tick was committed for {duration(feed.silent_s)}, and the market is open")


def _producers_gone(look: FleetLook) -> Iterator[Seen]:
    gone = [producer.name for producer in look.producers if not producer.running]
    if gone and not any(producer.running for producer in look.producers):
        yield Seen(f"stopped without ending their leases, and no other runs: {', '.join(gone)}")


def _ticks_lost(look: FleetLook) -> Iterator[Seen]:
    if look.feed.lost_lately:
        yield Seen(f"producers lost ticks in the last 15 minutes; they lost {look.feed.lost_lately:,} in all")


def _dead_letters(look: FleetLook) -> Iterator[Seen]:
    if look.feed.dead_letters_lately:
        yield Seen(f"{look.feed.dead_letters_lately:,} rows were refused in the last 5 minutes")


def _gaps_open(look: FleetLook) -> Iterator[Seen]:
    if look.feed.open_gaps:
        yield Seen(f"{look.feed.open_gaps:,} gaps of live feeds are not repaired yet")


def _front_door_waits(look: FleetLook) -> Iterator[Seen]:
    entries = look.fleet.front_door.lag_entries
    if entries is not None and entries > FRONT_DOOR_ENTRIES:
        yield Seen(f"{entries:,} entries wait at the front door")


def _stale_symbols(look: FleetLook) -> Iterator[Seen]:
    symbols = look.symbols
    if look.feed.market_open and symbols.stale > symbols.active:
        yield Seen(f"{symbols.stale:,} symbols have had no bar for 5 minutes, {symbols.active:,} have")


# -- daily runs --------------------------------------------------------------------------------------------------------


def _no_jobs(look: FleetLook) -> Iterator[Seen]:
    run = look.jobs.run
    if run and run.is_alive and not look.jobs.processes and _missed_s(look, run.still_s) >= GRACE_S:
        yield Seen(f"{run.name} waits, and no tickstock-jobs runs; it has not moved for {duration(run.still_s)}")
    still_s = look.jobs.jobs_still_s
    if not look.jobs.processes and _missed_s(look, still_s) >= GRACE_S:
        yield Seen(f"data loads or backtests wait, and no tickstock-jobs runs; none advanced for {duration(still_s)}")


def _run_stuck(look: FleetLook) -> Iterator[Seen]:
    """Find a run or job that does not advance, counted only while a process that could advance it is connected."""
    run, there_s = look.jobs.run, look.jobs.connected_s
    if run and run.is_alive and there_s is not None and min(run.still_s, there_s) > RUN_STILL_S:
        phase = f" in the phase {run.phase}" if run.phase else ""
        yield Seen(f"{run.name} is {run.status}{phase}, and has not moved for {duration(run.still_s)}")
    still_s = look.jobs.jobs_still_s
    if there_s is not None and min(still_s, there_s) > RUN_STILL_S:
        yield Seen(
            f"no data load or backtest advanced for {duration(still_s)}",
            do="look at the logs of tickstock-jobs; `tickstock backtests cancel` ends a backtest",
        )


def _run_failed(look: FleetLook) -> Iterator[Seen]:
    run = look.jobs.run
    if run and run.status == "failed" and run.ended_s is not None and run.ended_s < RUN_KNOWN_S:
        yield Seen(f"{run.name} failed{f': {run.error}' if run.error else ''}")


def _run_incomplete(look: FleetLook) -> Iterator[Seen]:
    run = look.jobs.run
    if run and run.status == "completed" and run.failed_symbols and (run.ended_s or 0.0) < RUN_KNOWN_S:
        yield Seen(f"{run.name} could not do {run.failed_symbols:,} symbols")


# -- Redis -------------------------------------------------------------------------------------------------------------


def _redis_forgot(look: FleetLook) -> Iterator[Seen]:
    for one in look.fleet.forgotten:
        yield Seen(one.says, "error" if one.loses else "warn", one.do)


def _redis_evicts(look: FleetLook) -> Iterator[Seen]:
    policies = {node.policy for node in look.redis_nodes} - {"noeviction"}
    if policies:
        yield Seen(f"the eviction policy is {', '.join(sorted(policies))}: Redis may delete whole streams")


def _redis_memory_high(look: FleetLook) -> Iterator[Seen]:
    share = max((node.memory_share for node in look.redis_nodes), default=0.0)
    if share > FULL_SHARE:
        yield Seen(f"{share:.0%} of maxmemory: producers wait")


def _clocks_differ(look: FleetLook) -> Iterator[Seen]:
    apart_s = abs(look.redis_ahead_s)
    if apart_s < CLOCKS_S:
        return
    where, reason, when = ("ahead of", "too_late", "early") if look.redis_ahead_s > 0 else ("behind", "future", "late")
    says = f"Redis's clock is {duration(apart_s)} {where} PostgreSQL's"
    if apart_s < ARRIVAL_S:
        yield Seen(f"{says}: live bars close {when}")
    else:
        yield Seen(f"{says}: live ticks are refused ({reason})", "error")


def _redis_forgets(look: FleetLook) -> Iterator[Seen]:
    if any(node.replay == "drops" for node in look.redis_nodes):
        yield Seen(DROPS)


def _redis_no_aof(look: FleetLook) -> Iterator[Seen]:
    if not all(node.aof for node in look.redis_nodes):
        yield Seen("no AOF: ticks that are not committed yet are lost when Redis stops")


def _foreign_keys(look: FleetLook) -> Iterator[Seen]:
    if look.foreign_keys:
        says = first_few([foreign.says for foreign in look.foreign_keys])
        yield Seen(f"{says}: the work on it waits", do=look.foreign_keys[0].do)


def _nothing(_: FleetLook) -> Iterator[Seen]:
    """Find nothing: these problems mean that a server gave no answer, and `fleet_health.judge` reports that."""
    yield from ()


# TICKS_LOST is a warning, because the fleet works again, and alarming, because bars lack ticks until a repair.
RULES = (
    Rule("DATABASE_AWAY", "database", "error", True, "TickStockServerAway", _nothing,
         "start PostgreSQL; ticks wait in Redis meanwhile"),
    Rule("REDIS_AWAY", "redis", "error", True, "TickStockServerAway", _nothing,
         "start Redis; producers that keep a spool lose nothing meanwhile"),
    Rule("NO_STREAM", "workers", "error", False, "", _no_stream,
         "start a worker or a producer"),
    Rule("NO_WORKERS", "workers", "error", True, "TickStockNoWorkers", _no_workers,
         "start one: tickstock-worker"),
    Rule("PARTITIONS_UNOWNED", "workers", "error", True, "TickStockPartitionsWithoutOwner", _partitions_unowned,
         "look at the workers' logs: a worker takes free partitions within seconds"),
    Rule("NO_BRIDGE", "bridge", "error", True, "TickStockNoBridgeSpeaks", _no_bridge,
         "start one: tickstock-bridge"),
    Rule("HEARTBEAT_STALE", "bridge", "error", False, "", _heartbeat_stale,
         "look at the log of the bridge"),
    Rule("RESULTS_UNTOLD", "bridge", "error", False, "TickStockOutboxGrows", _results_untold,
         "look at the bridge's log; is --streaming-rate too low?"),
    Rule("LAG_UNKNOWN", "workers", "error", False, "TickStockLagUnknown", _lag_unknown,
         "check that their producers run: they send kept frames again"),
    Rule("LAG_HIGH", "workers", "warn", False, "TickStockLagHigh", _lag_high,
         "add workers, up to one a partition; look at those of the partitions that lag"),
    Rule("REDIS_FORGOT", "redis", "error", False, "", _redis_forgot,
         "check Redis's append-only file"),
    Rule("FEED_SILENT", "feed", "error", True, "TickStockNoTicks", _feed_silent,
         "check the producers, and whether the vendor sends"),
    Rule("REDIS_EVICTS", "redis", "error", False, "", _redis_evicts,
         "set `maxmemory-policy noeviction`"),
    Rule("REDIS_MEMORY_HIGH", "redis", "error", True, "TickStockRedisMemoryFull", _redis_memory_high,
         "raise maxmemory, add workers"),
    Rule("REDIS_FORGETS", "redis", "error", False, "", _redis_forgets,
         GRANT),
    Rule("FOREIGN_KEYS", "redis", "error", True, "TickStockForeignKeys", _foreign_keys,
         "RENAME or DEL the key"),
    Rule("NO_JOBS", "jobs", "error", False, "TickStockNoJobs", _no_jobs,
         "start one: tickstock-jobs"),
    Rule("RUN_STUCK", "jobs", "error", False, "TickStockRunStuck", _run_stuck,
         "look at the logs of tickstock-jobs; `tickstock run cancel` ends it"),
    Rule("FLOWS_NOT_RECEIVED", "bridge", "warn", False, "", _flows_not_received,
         "does the application listen? tickstock flow FLOW_ID shows its path"),
    Rule("FLOWS_NOT_PARSED", "bridge", "warn", False, "", _flows_not_parsed,
         "look at the application's log; tickstock contract checks the messages"),
    Rule("HEARTBEAT_UNLOGGED", "bridge", "warn", False, "", _heartbeat_unlogged,
         "look at the bridge's log, and at its rights on integration_events"),
    Rule("PRODUCERS_GONE", "feed", "warn", False, "", _producers_gone,
         "start tickstock-producer; it first sends a spool that was left behind"),
    Rule("TICKS_LOST", "feed", "warn", True, "TickStockTicksLost", _ticks_lost,
         "tickstock audit names the producers, tickstock gaps lists the repairs"),
    Rule("DEAD_LETTERS", "feed", "warn", False, "TickStockDeadLetters", _dead_letters,
         "tickstock dlq ls shows them, with their reasons"),
    Rule("GAPS_OPEN", "feed", "warn", False, "TickStockOpenGaps", _gaps_open,
         "tickstock gaps lists them, tickstock gaps repair repairs them now"),
    Rule("RUN_FAILED", "jobs", "warn", False, "TickStockRunFailed", _run_failed,
         "tickstock run show says why; `tickstock run start` makes another"),
    Rule("FRONT_DOOR_WAITS", "feed", "warn", False, "TickStockFrontDoorWaits", _front_door_waits,
         "run workers; all wait for the slowest partition: look at its worker"),
    Rule("UNDETECTED_BARS", "workers", "warn", False, "TickStockDetectorsBehind", _undetected_bars,
         "add workers"),
    Rule("STALE_SYMBOLS", "feed", "warn", False, "TickStockStaleSymbols", _stale_symbols,
         "check the subscription, and whether the vendor sends"),
    Rule("APPLICATION_AWAY", "bridge", "note", False, "TickStockNoReceivers", _application_away,
         "start TickStockAppV2, if it is meant to run"),
    Rule("CLOCKS_DIFFER", "redis", "warn", False, "", _clocks_differ,
         "run NTP on the hosts of both servers"),
    Rule("REDIS_NO_AOF", "redis", "warn", False, "", _redis_no_aof,
         "set `appendonly yes`"),
    Rule("REPLAY_UNFINISHED", "feed", "warn", False, "", _replay_unfinished,
         "run it again, or drop them: tickstock replay --abandon NAME"),
    Rule("RUN_INCOMPLETE", "jobs", "note", False, "", _run_incomplete,
         "tickstock run show names them, `tickstock run retry` does them again"),
    Rule("DEFINITIONS_IDLE", "workers", "note", False, "", _definitions_idle,
         "`tickstock definitions live` enables the default set"),
    Rule("DEFINITIONS_WRONG", "workers", "note", False, "", _definitions_wrong,
         "correct the rows, or disable them; `tickstock definitions ls`"),
)  # fmt: skip
RULE_OF = {rule.code: rule for rule in RULES}
