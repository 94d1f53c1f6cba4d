"""The fleet's health as published, made from one reading and its findings (`fleet_health.py`). Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from ...contracts.fleet.fleet_health import HealthFinding, health_of, health_of_part
from ...contracts.fleet.fleet_look import Away, FleetLook
from ...contracts.fleet.fleet_rules import Part
from ...contracts.messages.message import iso
from ...contracts.messages.streaming_messages import Connection, DataFlow, HealthStatus, Issue, Resources, StaleSymbols
from ...contracts.messages.system_messages import Component, Components

Details = Mapping[str, str | int | float | bool | None]


class OwnUsage(NamedTuple):
    """The resources of the bridge's own process. cpu_percent: of one core, since the last reading."""

    cpu_percent: float
    memory_mb: float


def issues_of(findings: Sequence[HealthFinding], at: datetime, before: Sequence[Issue] = ()) -> list[Issue]:
    """Return an issue for each finding, in order; an issue that existed before keeps its `since`."""
    since = {issue.code: issue.since for issue in before}
    now = iso(at.timestamp())
    return [Issue(code=f.code, message=f.message, since=since.get(f.code, now)) for f in findings]


def status_of(look: FleetLook | None, findings: Sequence[HealthFinding], *, stopping: bool = False) -> HealthStatus:
    """Return the fleet's status: the same as `tickstock status` prints, or `stopping` once the bridge stops."""
    return "stopping" if stopping else health_of(look, findings)


def components_of(
    look: FleetLook | None, findings: Sequence[HealthFinding], away: Away | None, bridge: Details
) -> Components:
    """Return the status and the figures of each part. away: PostgreSQL; bridge: our own figures."""

    def part(name: Part, details: Details) -> Component:
        status = health_of_part([finding for finding in findings if finding.part == name])
        return Component(status=status, details=dict(details))

    share = max((node.memory_share for node in look.redis_nodes), default=0.0) if look else 0.0
    silent_s = look.feed.silent_s if look else None
    return Components(
        redis=part("redis", {"memory_share": round(share, 4)}),
        database=part("database", {"away_seconds": away.for_s if away else None}),
        workers=part(
            "workers",
            {
                "living": look.fleet.running_workers if look else 0,
                "partitions_owned": look.fleet.owned_partitions if look else 0,
                "partitions_total": look.fleet.partitions_total if look else 0,
                "processing_lag_ms": processing_lag_ms(look),
                "undetected_bars": look.feed.undetected_bars if look else 0,
            },
        ),
        feed=part(
            "feed",
            {
                "ticks_per_second": round(look.usage.ticks_per_second, 3) if look else 0.0,
                "seconds_without_a_tick": None if silent_s is None else round(silent_s, 1),
                "dead_letters": look.feed.dead_letters_lately if look else 0,
                "ticks_lost": look.feed.lost_lately if look else 0,
            },
        ),
        bridge=part("bridge", bridge),
        jobs=part("jobs", _of_jobs(look)),
    )


def _of_jobs(look: FleetLook | None) -> Details:
    run = look.jobs.run if look else None
    return {
        "processes": look.jobs.processes if look else 0,
        "waiting_steps": look.jobs.waiting_steps if look else None,
        "run_id": str(run.run_id) if run else None,
        "run_status": run.status if run else None,
    }


def processing_lag_ms(look: FleetLook | None) -> float | None:
    """Return the age of the oldest uncommitted tick, or, if larger, of the oldest tick in a last commit.

    None before the first reading, and if Redis has lost the ticks.
    """
    if look is None or look.fleet.lag_s is None:
        return None
    return max(look.fleet.lag_s * 1000, look.usage.commit_lag_ms)


def connection_of(look: FleetLook | None, away: Away | None, partitions: int) -> Connection:
    """Return the bridge's connections. Redis is connected: otherwise this message could not be published."""
    return Connection(
        redis="connected",
        database="disconnected" if away else "connected",
        workers=look.fleet.running_workers if look else 0,
        partitions_owned=look.fleet.owned_partitions if look else 0,
        partitions_total=look.fleet.partitions_total if look else partitions,
    )


def data_flow_of(look: FleetLook | None) -> DataFlow:
    """Return the rates of ticks and bars."""
    lag_ms = processing_lag_ms(look)
    return DataFlow(
        ticks_per_second=round(look.usage.ticks_per_second, 3) if look else 0.0,
        bars_per_minute=round(look.feed.bars_per_minute, 3) if look else 0.0,
        processing_lag_ms=None if lag_ms is None else round(lag_ms, 3),
    )


def resources_of(look: FleetLook | None, own: OwnUsage) -> Resources:
    """Return the CPU and memory that all workers and the bridge use."""
    cpu_percent, memory_mb = (look.usage.cpu_percent, look.usage.memory_mb) if look else (0.0, 0.0)
    return Resources(cpu_percent=round(cpu_percent + own.cpu_percent, 2), memory_mb=round(memory_mb + own.memory_mb, 2))


def stale_symbols_of(look: FleetLook | None) -> StaleSymbols:
    """Return the symbols that had ticks before and have no ticks now."""
    if look is None:
        return StaleSymbols(count=0, symbols=[])
    return StaleSymbols(count=look.symbols.stale, symbols=list(look.symbols.stale_symbols))
