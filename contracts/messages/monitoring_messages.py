"""The five messages of `tickstock:monitoring`; `event_type` names the kind."""

from collections.abc import Mapping
from typing import Any, Literal

from . import channel_names as channel
from .message import Body, Figure, Message, Percent, check_figures, check_finite, message
from .streaming_messages import HealthStatus
from .system_messages import Component


class SystemMetrics(Body, frozen=True, kw_only=True):
    """The host's load, of all its cores and of all its memory."""

    cpu_percent: Percent
    memory_percent: Percent


class Metrics(Body, frozen=True, kw_only=True):
    """The metrics of a METRIC_UPDATE."""

    system: SystemMetrics


class HealthScore(Body, frozen=True, kw_only=True):
    """The score of a METRIC_UPDATE, 0..100; 100: no problem."""

    overall: Percent


class MetricUpdate(Body, frozen=True, kw_only=True):
    """METRIC_UPDATE."""

    event_type: Literal["METRIC_UPDATE"] = "METRIC_UPDATE"
    metrics: Metrics
    health_score: HealthScore


class MonitoringAlert(Body, frozen=True, kw_only=True):
    """An alert that is open until ALERT_RESOLVED names its id."""

    id: str
    level: str
    message: str


class AlertTriggered(Body, frozen=True, kw_only=True):
    """ALERT_TRIGGERED."""

    event_type: Literal["ALERT_TRIGGERED"] = "ALERT_TRIGGERED"
    alert: MonitoringAlert


class AlertResolved(Body, frozen=True, kw_only=True):
    """ALERT_RESOLVED."""

    event_type: Literal["ALERT_RESOLVED"] = "ALERT_RESOLVED"
    alert_id: str


class CheckedComponent(Body, frozen=True, kw_only=True):
    """A part in a HEALTH_CHECK. status: OK if healthy: the application logs a warning for any other word."""

    status: Literal["OK", "degraded", "error", "starting", "stopping"]
    details: dict[str, Figure]


class CheckedHealth(Body, frozen=True, kw_only=True):
    """The health that a HEALTH_CHECK found."""

    overall_score: Percent
    status: HealthStatus
    components: dict[str, CheckedComponent]


class HealthCheck(Body, frozen=True, kw_only=True):
    """HEALTH_CHECK."""

    event_type: Literal["HEALTH_CHECK"] = "HEALTH_CHECK"
    health: CheckedHealth


class SystemStatus(Body, frozen=True, kw_only=True):
    """SYSTEM_STATUS. status: RUNNING if healthy: the application logs a warning for any other word."""

    event_type: Literal["SYSTEM_STATUS"] = "SYSTEM_STATUS"
    status: Literal["RUNNING", "degraded", "error", "starting", "stopping"]
    details: dict[str, Any]


def monitoring_metric_update(*, cpu_percent: float, memory_percent: float, overall: float) -> Message:
    """Report the host's load and the fleet's score, each 0..100."""
    check_finite(cpu_percent, memory_percent, overall)
    body = MetricUpdate(
        metrics=Metrics(system=SystemMetrics(cpu_percent=cpu_percent, memory_percent=memory_percent)),
        health_score=HealthScore(overall=overall),
    )
    return message(channel.MONITORING, body)


def monitoring_alert_triggered(*, alert_id: str, level: str, text: str) -> Message:
    """Raise an alert."""
    return message(channel.MONITORING, AlertTriggered(alert=MonitoringAlert(id=alert_id, level=level, message=text)))


def monitoring_alert_resolved(*, alert_id: str) -> Message:
    """Resolve an alert."""
    return message(channel.MONITORING, AlertResolved(alert_id=alert_id))


def monitoring_health_check(
    *, overall_score: float, status: HealthStatus, components: Mapping[str, Component]
) -> Message:
    """Report the result of a health check; overall_score: 0..100."""
    check_finite(overall_score)
    for component in components.values():
        check_figures(component.details)
    checked = {
        name: CheckedComponent(status="OK" if part.status == "healthy" else part.status, details=part.details)
        for name, part in components.items()
    }
    health = CheckedHealth(overall_score=overall_score, status=status, components=checked)
    return message(channel.MONITORING, HealthCheck(health=health))


def monitoring_system_status(*, status: HealthStatus, details: Mapping[str, Any]) -> Message:
    """Report a change of the system's status; details: measured values."""
    check_figures(details)
    word: Literal["RUNNING", "degraded", "error", "starting", "stopping"]
    word = "RUNNING" if status == "healthy" else status
    return message(channel.MONITORING, SystemStatus(status=word, details=dict(details)))
