"""What a report means: findings, each with a code, what was seen and what to do.

The fleet is unhealthy while a finding of level `error` stands: ticks do not become bars, results are not told, or the
servers are set up so that ticks may be lost. A `warn` is to be looked at, and the fleet does its work.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from ..contracts.names import frame_keys
from ..contracts.server import Server
from ..db.redis import FULL_SHARE
from ..workers.bridge.health import GRACE_S, LAG_S, SILENT_S, UNDETECTED_BARS
from .first_few import first_few
from .monitor import Report
from .redis_replay import DROPS, GRANT

_HEARTBEAT_S = 30.0  # from there on the application shows us as offline
_HEARTBEAT_ROW_S = 150.0  # one is logged each 60 s
_STUCK_S = 60.0  # for so long nobody commits: no worker is only slow then
_UNTOLD_S = 30.0
_FEED_KNOWN_S = 4 * 86_400.0  # a live feed within that time: a weekend and a holiday are shorter
_FRONT_DOOR = 10_000  # as the alert TickStockFrontDoorWaits


@dataclass(frozen=True, slots=True)
class HealthFinding:
    """One thing that is wrong. code: stays the same as long as it is wrong; do: the next step of a person."""

    level: Literal["error", "warn"]
    code: str
    message: str
    do: str


def is_healthy(findings: Sequence[HealthFinding]) -> bool:
    """Tell whether no finding is an error."""
    return not any(finding.level == "error" for finding in findings)


def findings_of(report: Report) -> list[HealthFinding]:
    """Return what is wrong, errors first."""
    found = [finding for check in _CHECKS for finding in check(report)]
    return sorted(found, key=lambda finding: finding.level != "error")


def server_away(server: Server, why: str) -> HealthFinding:
    """Make the finding of a server that does not answer: then nothing else can be looked at."""
    if server == "redis":
        return _error("REDIS_AWAY", why, "start Redis; producers that keep a spool lose nothing meanwhile")
    return _error("DATABASE_AWAY", why, "start PostgreSQL; ticks wait in Redis meanwhile")


def has_only_replayed(report: Report) -> bool:
    """Tell whether nothing but replays ever came in, all of them ended, and nothing waits: then no process need run."""
    fleet = report.fleet
    ended = all(replay.state in ("finished", "abandoned") for replay in fleet.replays)
    waits = fleet.lag_ticks or fleet.lag_s != 0.0 or fleet.front_door.lag_entries or report.feed.undetected_bars
    is_live = report.feed.silent_s is not None or report.producers
    return bool(fleet.replays) and ended and not waits and not is_live


# -- workers -----------------------------------------------------------------------------------------------------------


def _no_stream(report: Report) -> Iterator[HealthFinding]:
    if not report.fleet.partitions_total:
        yield _error("NO_STREAM", "no process has created the stream yet", "start a worker or a producer")


def _no_workers(report: Report) -> Iterator[HealthFinding]:
    silent_s = report.workers_silent_s
    if any(worker.running for worker in report.fleet.workers) or (silent_s is not None and silent_s < GRACE_S):
        return
    since = "no worker was ever started" if silent_s is None else f"no worker for {_duration(silent_s)}"
    if has_only_replayed(report):
        yield _warn("NO_WORKERS", f"{since}, and none is needed: every replay has come to its end", "nothing")
        return
    yield _error("NO_WORKERS", since, "start one: tickstock-worker")


def _partitions_unowned(report: Report) -> Iterator[HealthFinding]:
    if not any(worker.running for worker in report.fleet.workers):
        return
    unowned = {partition: s for partition, s in report.unowned_s.items() if s >= GRACE_S}
    if unowned:
        says = f"without an owner for up to {_duration(max(unowned.values()))}: partition {first_few(unowned)}"
        yield _error("PARTITIONS_UNOWNED", says, "look at the workers' logs: who has too few takes what is free")


def _lag(report: Report) -> Iterator[HealthFinding]:
    lags = [partition.lag_s for partition in report.fleet.partitions]
    foreign = {foreign.key for foreign in report.foreign_keys}  # of which that finding says more
    unknown = [
        str(p.partition)
        for p in report.fleet.partitions
        if p.lag_s is None and foreign.isdisjoint(frame_keys(p.partition))
    ]
    if unknown:
        says = f"ticks wait in partition {', '.join(unknown)}, and Redis has lost when they came"
        yield _error("LAG_UNKNOWN", says, "look whether their producers run: they send again what they keep")
    oldest_s = max((s for s in lags if s is not None), default=0.0)
    if oldest_s > LAG_S:
        says = f"the oldest tick waits for {_duration(oldest_s)}, {report.fleet.lag_ticks:,} ticks in all"
        make = _error if oldest_s > _STUCK_S else _warn
        yield make("LAG_HIGH", says, "add workers, up to one a partition; look at those of the partitions that lag")


def _front_door(report: Report) -> Iterator[HealthFinding]:
    entries = report.fleet.front_door.lag_entries
    if entries is not None and entries > _FRONT_DOOR:
        says = f"{entries:,} entries wait at the front door"
        yield _warn("FRONT_DOOR_WAITS", says, "run workers; the slowest partition holds it up: look at its worker")


def _undetected_bars(report: Report) -> Iterator[HealthFinding]:
    if report.feed.undetected_bars > max(UNDETECTED_BARS, report.feed.bars_per_minute):
        says = f"{report.feed.undetected_bars:,} closed bars wait for their detectors"
        yield _warn("UNDETECTED_BARS", says, "add workers")


def _unfinished_replays(report: Report) -> Iterator[HealthFinding]:
    for replay in report.fleet.replays:
        if replay.state == "unfinished":
            says = f"{replay.name} stopped before its end: its last minutes stay open"
            yield _warn("REPLAY_UNFINISHED", says, "run it again, or drop them: tickstock replay --abandon NAME")


# -- the bridge and the application ------------------------------------------------------------------------------------


def _no_bridge(report: Report) -> Iterator[HealthFinding]:
    bridge = report.bridge
    if bridge.owner is None and (bridge.silent_s is None or bridge.silent_s >= GRACE_S):
        never = "no bridge was ever started"
        since = never if bridge.silent_s is None else f"no bridge has spoken for {_duration(bridge.silent_s)}"
        if has_only_replayed(report) and not bridge.untold:
            yield _warn("NO_BRIDGE", f"{since}, and no result waits to be told", "nothing")
            return
        yield _error("NO_BRIDGE", f"nobody tells the results: {since}", "start one: tickstock-bridge")


def _heartbeat(report: Report) -> Iterator[HealthFinding]:
    if report.bridge.owner is None:
        return
    beats = report.integration.heartbeats
    if beats.key_s is None or beats.key_s > _HEARTBEAT_S:
        age = "is not there" if beats.key_s is None else f"is {_duration(beats.key_s)} old"
        says = f"the key tickstock:producer:heartbeat {age}, though a bridge speaks"
        yield _error("HEARTBEAT_STALE", says, f"look at the log of the bridge {report.bridge.owner}")
    if report.integration.window_s > _HEARTBEAT_ROW_S and (beats.logged_s is None or beats.logged_s > _HEARTBEAT_ROW_S):
        says = "no PRODUCER_ALIVE was logged in integration_events for more than two minutes"
        yield _warn("HEARTBEAT_UNLOGGED", says, "wait if the bridge has just started; otherwise look at its log")


def _results_untold(report: Report) -> Iterator[HealthFinding]:
    bridge = report.bridge
    if bridge.owner is not None and bridge.untold_s is not None and bridge.untold_s > _UNTOLD_S:
        says = f"{bridge.untold:,} results wait to be told, the first for {_duration(bridge.untold_s)}"
        yield _error("RESULTS_UNTOLD", says, "look at the bridge's log; is --streaming-rate too low?")


def _application(report: Report) -> Iterator[HealthFinding]:
    beats = report.integration.heartbeats
    if report.bridge.owner is not None and beats.application_s is None and not beats.subscribers:
        says = f"nobody listens on the pattern channel, nor logged a checkpoint for {_duration(_window(report))}"
        yield _warn("APPLICATION_AWAY", says, "start TickStockAppV2, if it is meant to run")


def _orphans(report: Report) -> Iterator[HealthFinding]:
    """Only where the application logs: without it nothing would ever be received."""
    flows = report.integration.flows
    if report.integration.heartbeats.application_s is None:
        return
    if flows.never_received:
        says = f"{flows.never_received:,} of {flows.settled:,} patterns were published and never received"
        make = _error if flows.never_received == flows.settled else _warn
        yield make("FLOWS_NOT_RECEIVED", says, "does the application listen? tickstock flow FLOW_ID shows its path")
    if flows.never_parsed:
        says = f"{flows.never_parsed:,} patterns were received and never parsed"
        yield _warn("FLOWS_NOT_PARSED", says, "look at the application's log; tickstock contract checks the messages")


# -- what comes in -----------------------------------------------------------------------------------------------------


def _feed_silent(report: Report) -> Iterator[HealthFinding]:
    silent_s = report.feed.silent_s
    if report.feed.market_open and silent_s is not None and SILENT_S < silent_s < _FEED_KNOWN_S:
        says = f"no live tick was committed for {_duration(silent_s)}, and the market is open"
        yield _error("FEED_SILENT", says, "look at the producers, and whether the vendor sends")


def _producers_gone(report: Report) -> Iterator[HealthFinding]:
    gone = [producer.name for producer in report.producers if not producer.running]
    if gone and not any(producer.running for producer in report.producers):
        says = f"fell silent without a word, and no other runs: {', '.join(gone)}"
        yield _warn("PRODUCERS_GONE", says, "start tickstock-producer; a spool that was left behind is sent first")


def _ticks_lost(report: Report) -> Iterator[HealthFinding]:
    if report.feed.lost_lately:
        says = f"{report.feed.lost_lately:,} ticks are missing from producers of the last minutes"
        yield _warn("TICKS_LOST", says, "tickstock audit names the producers, tickstock gaps what is repaired")


def _dead_letters(report: Report) -> Iterator[HealthFinding]:
    if report.feed.dead_letters_lately:
        says = f"{report.feed.dead_letters_lately:,} rows were refused in the last 5 minutes"
        yield _warn("DEAD_LETTERS", says, "tickstock dlq ls shows them, with their reasons")


def _gaps(report: Report) -> Iterator[HealthFinding]:
    if report.feed.open_gaps:
        says = f"{report.feed.open_gaps:,} gaps of live feeds are not repaired yet"
        yield _warn("GAPS_OPEN", says, "tickstock gaps lists them, tickstock gaps repair repairs them now")


def _stale_symbols(report: Report) -> Iterator[HealthFinding]:
    symbols = report.symbols
    if report.feed.market_open and symbols.stale > symbols.active:
        says = f"{symbols.stale:,} symbols have had no bar for 5 minutes, {symbols.active:,} have"
        yield _warn("STALE_SYMBOLS", says, "look at the subscription, and whether the vendor sends")


def _forgotten(report: Report) -> Iterator[HealthFinding]:
    for one in report.fleet.forgotten:
        make = _error if one.loses else _warn
        yield make("REDIS_FORGOT", one.says, one.do)


# -- Redis -------------------------------------------------------------------------------------------------------------


def _redis(report: Report) -> Iterator[HealthFinding]:
    nodes = report.redis_nodes
    policies = {node.policy for node in nodes} - {"noeviction"}
    if policies:
        says = f"the eviction policy is {', '.join(sorted(policies))}: whole streams vanish in silence"
        yield _error("REDIS_EVICTS", says, "set `maxmemory-policy noeviction`")
    share = max((node.memory_bytes / node.max_memory_bytes for node in nodes if node.max_memory_bytes), default=0.0)
    if share > FULL_SHARE:
        yield _error("REDIS_MEMORY_HIGH", f"{share:.0%} of maxmemory: producers wait", "raise maxmemory, add workers")
    if any(node.replay == "drops" for node in nodes):
        yield _error("REDIS_FORGETS", DROPS, GRANT)
    if not all(node.aof for node in nodes):
        says = "no AOF: ticks that are not committed yet are lost when Redis stops"
        yield _warn("REDIS_NO_AOF", says, "set `appendonly yes`")


def _foreign_keys(report: Report) -> Iterator[HealthFinding]:
    if report.foreign_keys:
        says = first_few([foreign.says for foreign in report.foreign_keys])
        yield _error("FOREIGN_KEYS", f"{says}: what needs it waits", report.foreign_keys[0].do)


def _definitions(report: Report) -> Iterator[HealthFinding]:
    if report.idle_definitions:
        says = f"on, but for no timeframe that workers detect on: {first_few(report.idle_definitions)}"
        yield _warn("DEFINITIONS_IDLE", says, "`tickstock definitions live` switches the default set on")
    if report.wrong_definitions:
        says = f"definition rows that are skipped: {first_few(report.wrong_definitions)}"
        yield _warn("DEFINITIONS_WRONG", says, "correct the rows, or switch them off; `tickstock definitions ls`")


_CHECKS: tuple[Callable[[Report], Iterator[HealthFinding]], ...] = (
    _no_stream,
    _no_workers,
    _partitions_unowned,
    _no_bridge,
    _heartbeat,
    _results_untold,
    _lag,
    _forgotten,
    _feed_silent,
    _redis,
    _foreign_keys,
    _orphans,
    _application,
    _producers_gone,
    _ticks_lost,
    _dead_letters,
    _gaps,
    _front_door,
    _undetected_bars,
    _stale_symbols,
    _unfinished_replays,
    _definitions,
)


def _window(report: Report) -> float:
    return report.integration.window_s


def _error(code: str, message: str, do: str) -> HealthFinding:
    return HealthFinding("error", code, message, do)


def _warn(code: str, message: str, do: str) -> HealthFinding:
    return HealthFinding("warn", code, message, do)


def _duration(seconds: float) -> str:
    """Say how long in the unit that people would: 12 s, 7 min, 3 h, 2 days."""
    for least, unit, name in ((2 * 86_400, 86_400, "days"), (2 * 3_600, 3_600, "h"), (120, 60, "min")):
        if seconds >= least:
            return f"{seconds / unit:,.0f} {name}"
    return f"{seconds:,.0f} s"
