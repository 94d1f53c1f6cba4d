"""The fleet's own messages: health, critical alerts, errors; and the progress of a backtest."""

from collections.abc import Mapping
from typing import Any, Literal

from . import channel_names as channel
from .message import (
    SOURCE,
    Body,
    Figure,
    Fraction,
    IsoTime,
    Message,
    UnixSeconds,
    check_figures,
    check_finite,
    iso,
    message,
)
from .streaming_messages import HealthStatus

Severity = Literal["critical", "error", "warning", "info", "debug"]
Category = Literal[
    "pattern",
    "database",
    "network",
    "validation",
    "performance",
    "security",
    "configuration",
    "integration",
    "websocket",
    "redis",
]


class Component(Body, frozen=True, kw_only=True):
    """The state of one part; details: measured values by name."""

    status: HealthStatus
    details: dict[str, Figure]


class Components(Body, frozen=True, kw_only=True):
    """The parts of the fleet."""

    redis: Component
    database: Component
    workers: Component
    bridge: Component
    feed: Component
    jobs: Component


class HealthData(Body, frozen=True, kw_only=True):
    """The health of the fleet and of its parts."""

    status: HealthStatus
    components: Components


class SystemHealth(Body, frozen=True, kw_only=True):
    """On `tickstock.health.status`."""

    event_type: Literal["system_health"] = "system_health"
    source: Literal["TickStockPL"] = SOURCE
    timestamp: UnixSeconds
    data: HealthData


class CriticalAlert(Body, frozen=True, kw_only=True):
    """On `tickstock:alerts:critical`."""

    type: Literal["critical_alert"] = "critical_alert"
    message: str
    severity: Severity
    component: str
    timestamp: IsoTime
    data: dict[str, Any]


class ErrorPayload(Body, frozen=True, kw_only=True):
    """An error. Two programs read it under different keys, so two fields have the message."""

    severity: Severity
    component: str
    error_code: str
    message: str
    error_message: str
    context: dict[str, Any]


class ProcessingError(Body, frozen=True, kw_only=True):
    """On `tickstock:errors`, for both readers."""

    event: Literal["processing_error"] = "processing_error"
    version: Literal["1.0"] = "1.0"
    error_id: str
    source: Literal["TickStockPL"] = SOURCE
    severity: Severity
    category: Category
    message: str
    component: str
    traceback: str | None
    context: dict[str, Any]
    timestamp: IsoTime
    payload: ErrorPayload


class BacktestProgress(Body, frozen=True, kw_only=True):
    """On `tickstock.events.backtesting.progress`."""

    event_type: Literal["backtest_progress"] = "backtest_progress"
    source: Literal["TickStockPL"] = SOURCE
    timestamp: UnixSeconds
    job_id: str
    progress: Fraction
    current_symbol: str | None
    estimated_completion: UnixSeconds | None


class BacktestResults(Body, frozen=True, kw_only=True):
    """On `tickstock.events.backtesting.results`."""

    event_type: Literal["backtest_results"] = "backtest_results"
    source: Literal["TickStockPL"] = SOURCE
    timestamp: UnixSeconds
    job_id: str
    status: Literal["completed", "failed"]
    results: dict[str, Figure]


def health_status(*, now_s: float, status: HealthStatus, components: Components) -> Message:
    """Report the status of the system and of each part."""
    for name in components.__struct_fields__:
        check_figures(getattr(components, name).details)
    return message(
        channel.HEALTH_STATUS, SystemHealth(timestamp=now_s, data=HealthData(status=status, components=components))
    )


def critical_alert(*, now_s: float, text: str, component: str, details: Mapping[str, Any]) -> Message:
    """Make an alert that needs a person now; details: measured values, sent as `data`."""
    check_figures(details)
    body = CriticalAlert(
        message=text, severity="critical", component=component, timestamp=iso(now_s), data=dict(details)
    )
    return message(channel.ALERTS_CRITICAL, body)


def error(  # noqa: PLR0913 - one for each part of the documented message
    *,
    now_s: float,
    error_id: str,
    severity: Severity,
    category: Category,
    component: str,
    error_code: str,
    text: str,
    context: Mapping[str, Any],
) -> Message:
    """Report an error; error_id: a uuid. The context must hold no secret: every subscriber can read it."""
    check_figures(context)
    payload = ErrorPayload(
        severity=severity,
        component=component,
        error_code=error_code,
        message=text,
        error_message=text,
        context=dict(context),
    )
    body = ProcessingError(
        error_id=error_id,
        severity=severity,
        category=category,
        message=text,
        component=component,
        traceback=None,  # it may hold a secret
        context=payload.context,
        timestamp=iso(now_s),
        payload=payload,
    )
    return message(channel.ERRORS, body)


def backtest_progress(
    *, now_s: float, job_id: str, progress: float, current_symbol: str | None, estimated_completion_s: float | None
) -> Message:
    """Report the progress of a backtest; progress: 0..1, times in Unix seconds, None if unknown."""
    check_finite(progress, estimated_completion_s or 0.0)
    body = BacktestProgress(
        timestamp=now_s,
        job_id=job_id,
        progress=progress,
        current_symbol=current_symbol,
        estimated_completion=estimated_completion_s,
    )
    return message(channel.BACKTEST_PROGRESS, body)


def backtest_results(
    *, now_s: float, job_id: str, status: Literal["completed", "failed"], results: Mapping[str, Figure]
) -> Message:
    """Report the end of a backtest. results: its figures, each finite or None; of a failed backtest, the `error`."""
    check_figures(results)
    return message(
        channel.BACKTEST_RESULTS, BacktestResults(timestamp=now_s, job_id=job_id, status=status, results=dict(results))
    )
