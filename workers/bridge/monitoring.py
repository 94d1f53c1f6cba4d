"""The messages of `tickstock:monitoring` and the critical alerts, made from the host, the health and the findings."""

from collections.abc import Sequence
from uuid import NAMESPACE_URL, uuid5

import psutil

from ...contracts.fleet.fleet_health import HealthFinding, score_of
from ...contracts.messages.message import Message
from ...contracts.messages.monitoring_messages import (
    monitoring_alert_resolved,
    monitoring_alert_triggered,
    monitoring_health_check,
    monitoring_metric_update,
    monitoring_system_status,
)
from ...contracts.messages.streaming_messages import HealthStatus, Issue
from ...contracts.messages.system_messages import Component, Components, critical_alert


def alert_id_of(code: str) -> str:
    """Return the id of an issue's alert: the same from every bridge, so that the next one can resolve it."""
    return str(uuid5(NAMESPACE_URL, f"tickstockpl:alert:{code}"))


class Monitoring:
    """Remembers the open alerts: raised when their finding appears, resolved when it disappears."""

    def __init__(self) -> None:
        self._standing: set[str] = set()  # codes
        psutil.cpu_percent()  # each later call measures since the last one

    def tell_alerts(self, findings: Sequence[HealthFinding], issues: Sequence[Issue], at_s: float) -> list[Message]:
        """Return the alerts raised or resolved since the last call, one per code; a note raises none.

        issues: of the findings, in the same order. at_s: Unix seconds.
        """
        found = {f.code: (f, issue) for f, issue in zip(findings, issues, strict=True) if f.level != "note"}
        before, self._standing = self._standing, set(found)
        said = [monitoring_alert_resolved(alert_id=alert_id_of(code)) for code in sorted(before - self._standing)]
        for code, (finding, issue) in found.items():
            if code not in before:
                said += _raise(finding, issue, at_s)
        return said

    def metric_update(self, findings: Sequence[HealthFinding]) -> Message:
        """Measure the host, and report the fleet's score."""
        return monitoring_metric_update(
            cpu_percent=min(100.0, psutil.cpu_percent()),
            memory_percent=psutil.virtual_memory().percent,
            overall=score_of(findings),
        )

    def health_check(self, status: HealthStatus, findings: Sequence[HealthFinding], components: Components) -> Message:
        """Report the score, the status and the parts."""
        parts: dict[str, Component] = {name: getattr(components, name) for name in components.__struct_fields__}
        return monitoring_health_check(overall_score=score_of(findings), status=status, components=parts)

    def system_status(self, status: HealthStatus, findings: Sequence[HealthFinding], uptime_s: float) -> Message:
        """Report the status, and its reasons."""
        details = {"uptime_seconds": round(uptime_s, 1), "issues": [finding.code for finding in findings]}
        return monitoring_system_status(status=status, details=details)


def _raise(finding: HealthFinding, issue: Issue, at_s: float) -> list[Message]:
    level = "critical" if finding.alarming else "warning"
    said = [monitoring_alert_triggered(alert_id=alert_id_of(issue.code), level=level, text=issue.message)]
    if finding.alarming:
        details = {"code": issue.code, "since": issue.since, "do": finding.do}
        said.append(critical_alert(now_s=at_s, text=issue.message, component=finding.part, details=details))
    return said
