"""What is said on `tickstock:monitoring`, and the critical alerts: from the host, the health and the issues."""

from collections.abc import Sequence
from uuid import NAMESPACE_URL, uuid5

import psutil

from ...contracts.channels import (
    Component,
    Components,
    Issue,
    Message,
    Status,
    critical_alert,
    monitoring_alert_resolved,
    monitoring_alert_triggered,
    monitoring_health_check,
    monitoring_metric_update,
    monitoring_system_status,
)
from .health import component_of, is_alarming, score_of


def alert_id_of(code: str) -> str:
    """Return the id of an issue's alert: the same from each bridge, so that the next one can take it back."""
    return str(uuid5(NAMESPACE_URL, f"tickstockpl:alert:{code}"))


class Monitoring:
    """Remembers which issues were told: an alert is raised when its issue appears, and taken back when it goes."""

    def __init__(self) -> None:
        self._told: set[str] = set()  # the codes of the issues that stand
        psutil.cpu_percent()  # each later call measures from the one before

    def tell_issues(self, issues: Sequence[Issue], at_s: float) -> list[Message]:
        """Return the alerts for issues that appeared or went since the last call. at_s: Unix seconds."""
        before, self._told = self._told, {issue.code for issue in issues}
        said = [monitoring_alert_resolved(alert_id=alert_id_of(code)) for code in sorted(before - self._told)]
        for issue in issues:
            if issue.code not in before:
                said += _raise(issue, at_s)
        return said

    def metric_update(self, issues: Sequence[Issue]) -> Message:
        """Measure the host, and score the whole."""
        return monitoring_metric_update(
            cpu_percent=min(100.0, psutil.cpu_percent()),
            memory_percent=psutil.virtual_memory().percent,
            overall=score_of(issues),
        )

    def health_check(self, status: Status, issues: Sequence[Issue], components: Components) -> Message:
        """Say the score, the status and the parts."""
        parts: dict[str, Component] = {name: getattr(components, name) for name in components.__struct_fields__}
        return monitoring_health_check(overall_score=score_of(issues), status=status, components=parts)

    def system_status(self, status: Status, issues: Sequence[Issue], uptime_s: float) -> Message:
        """Say the status, and why."""
        details = {"uptime_seconds": round(uptime_s, 1), "issues": [issue.code for issue in issues]}
        return monitoring_system_status(status=status, details=details)


def _raise(issue: Issue, at_s: float) -> list[Message]:
    level = "critical" if is_alarming(issue) else "warning"
    said = [monitoring_alert_triggered(alert_id=alert_id_of(issue.code), level=level, text=issue.message)]
    if is_alarming(issue):
        details = {"code": issue.code, "since": issue.since}
        said.append(critical_alert(now_s=at_s, text=issue.message, component=component_of(issue), details=details))
    return said
