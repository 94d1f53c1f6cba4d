"""The messages of the live session: started, stopped, and health every five seconds."""

from collections.abc import Sequence
from typing import Literal

from . import channel_names as channel
from .message import Body, Count, IsoTime, Message, check_finite, iso, message

HealthStatus = Literal["healthy", "degraded", "error", "starting", "stopping"]
Reached = Literal["connected", "disconnected"]


class StartedSession(Body, frozen=True, kw_only=True):
    """A running session; started_at and start_time are the same, because the application reads either."""

    session_id: str
    universe: str
    symbol_universe_key: str
    started_at: IsoTime
    start_time: IsoTime
    symbol_count: Count
    status: Literal["active"] = "active"


class SessionStarted(Body, frozen=True, kw_only=True):
    """On `tickstock:streaming:session_started`; repeated every 60 s, for new subscribers."""

    type: Literal["streaming_session_started"] = "streaming_session_started"
    event: Literal["session_started"] = "session_started"
    timestamp: IsoTime
    session: StartedSession
    data: StartedSession


class StoppedSession(Body, frozen=True, kw_only=True):
    """A session that ended; the totals are of the whole session."""

    session_id: str
    stopped_at: IsoTime
    duration_seconds: float
    total_patterns: Count
    total_indicators: Count
    final_status: str


class SessionStopped(Body, frozen=True, kw_only=True):
    """On `tickstock:streaming:session_stopped`."""

    type: Literal["streaming_session_stopped"] = "streaming_session_stopped"
    event: Literal["session_stopped"] = "session_stopped"
    timestamp: IsoTime
    session: StoppedSession
    data: StoppedSession


class Connection(Body, frozen=True, kw_only=True):
    """The servers that the bridge can reach, the number of workers, and the partitions that they own."""

    redis: Reached
    database: Reached
    workers: Count
    partitions_owned: Count
    partitions_total: Count


class DataFlow(Body, frozen=True, kw_only=True):
    """The rates; processing_lag_ms is null if unknown."""

    ticks_per_second: float
    bars_per_minute: float
    processing_lag_ms: float | None


class Resources(Body, frozen=True, kw_only=True):
    """The resources of the whole fleet; cpu_percent is of one core, so it may exceed 100."""

    cpu_percent: float
    memory_mb: float


class StaleSymbols(Body, frozen=True, kw_only=True):
    """Symbols that had ticks and have none now; symbols: the first of them."""

    count: Count
    symbols: list[str]


class Issue(Body, frozen=True, kw_only=True):
    """Why the status is not healthy; since: `message.iso`."""

    code: str
    message: str
    since: IsoTime


class FlatHealth(Body, frozen=True, kw_only=True):
    """The session's health, written at the top level and again under `health`."""

    type: Literal["streaming_health"] = "streaming_health"
    event: Literal["streaming_health"] = "streaming_health"
    session_id: str
    status: HealthStatus
    timestamp: IsoTime
    active_symbols: Count
    ticks_per_second: float
    patterns_detected: Count
    indicators_calculated: Count
    connection: Connection
    data_flow: DataFlow
    resources: Resources
    stale_symbols: StaleSymbols
    issues: list[Issue]


class StreamingHealth(FlatHealth, frozen=True, kw_only=True):
    """On `tickstock:streaming:health`."""

    health: FlatHealth


def session_started(
    *, now_s: float, session_id: str, universe: str, symbol_universe_key: str, started_at_s: float, symbol_count: int
) -> Message:
    """Announce a session, for the first time or again; times in Unix seconds."""
    session = StartedSession(
        session_id=session_id,
        universe=universe,
        symbol_universe_key=symbol_universe_key,
        started_at=iso(started_at_s),
        start_time=iso(started_at_s),
        symbol_count=symbol_count,
    )
    return message(channel.SESSION_STARTED, SessionStarted(timestamp=iso(now_s), session=session, data=session))


def session_stopped(
    *,
    now_s: float,
    session_id: str,
    stopped_at_s: float,
    duration_seconds: float,
    total_patterns: int,
    total_indicators: int,
    final_status: str,
) -> Message:
    """Announce the end of a session; times in Unix seconds."""
    check_finite(duration_seconds)
    session = StoppedSession(
        session_id=session_id,
        stopped_at=iso(stopped_at_s),
        duration_seconds=duration_seconds,
        total_patterns=total_patterns,
        total_indicators=total_indicators,
        final_status=final_status,
    )
    return message(channel.SESSION_STOPPED, SessionStopped(timestamp=iso(now_s), session=session, data=session))


def streaming_health(  # noqa: PLR0913 - one for each measured part of the documented message
    *,
    now_s: float,
    session_id: str,
    status: HealthStatus,
    active_symbols: int,
    patterns_detected: int,
    indicators_calculated: int,
    connection: Connection,
    data_flow: DataFlow,
    resources: Resources,
    stale_symbols: StaleSymbols,
    issues: Sequence[Issue],
) -> Message:
    """Report the session's health. The message holds data_flow's rate of ticks twice."""
    check_finite(data_flow.ticks_per_second, data_flow.bars_per_minute, data_flow.processing_lag_ms or 0.0)
    check_finite(resources.cpu_percent, resources.memory_mb)
    flat = FlatHealth(
        session_id=session_id,
        status=status,
        timestamp=iso(now_s),
        active_symbols=active_symbols,
        ticks_per_second=data_flow.ticks_per_second,
        patterns_detected=patterns_detected,
        indicators_calculated=indicators_calculated,
        connection=connection,
        data_flow=data_flow,
        resources=resources,
        stale_symbols=stale_symbols,
        issues=list(issues),
    )
    same = {name: getattr(flat, name) for name in flat.__struct_fields__}
    return message(channel.STREAMING_HEALTH, StreamingHealth(**same, health=flat))
