"""Judge a fleet: apply the table of rules to one reading, and derive one word from the findings. Pure.

All views show these findings: `tickstock status`, its JSON and exit code, the bridge's channels and alerts.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from .fleet_look import Away, FleetLook
from .fleet_rules import GRACE_S, RULE_OF, RULES, Level, Part, Rule, Seen, duration

Health = Literal["healthy", "degraded", "error", "starting"]

_LEVELS: tuple[Level, ...] = ("error", "warn", "note")  # worst first
_COSTS: dict[Level, float] = {"error": 60.0, "warn": 15.0, "note": 0.0}  # of a score of 100
_AWAY = {
    "postgresql": ("DATABASE_AWAY", "PostgreSQL has not answered for {}: nothing is committed"),
    "redis": ("REDIS_AWAY", "Redis has not answered for {}: nothing arrives"),
}


@dataclass(frozen=True, slots=True)
class HealthFinding:
    """One problem. code: the same as long as the problem lasts; do: the next step for a person.

    alarming: a person must act now.
    """

    level: Level
    code: str
    message: str
    do: str
    part: Part
    alarming: bool


def judge(look: FleetLook | None, away: Collection[Away] = ()) -> list[HealthFinding]:
    """Return the findings, worst first, then in the table's order.

    look: None if a server has not answered yet. While a server is away: the last successful reading.
    """
    found = [_of_server(one) for one in sorted(away, key=lambda one: one.server)]
    if look is not None:
        found += [_finding(rule, seen) for rule in RULES for seen in rule.sees(look)]
    return sorted(found, key=lambda finding: _LEVELS.index(finding.level))


def _of_server(away: Away) -> HealthFinding:
    code, for_so_long = _AWAY[away.server]
    says = away.why if away.for_s is None else for_so_long.format(duration(away.for_s))
    return _finding(RULE_OF[code], Seen(says))


def _finding(rule: Rule, seen: Seen) -> HealthFinding:
    level = seen.level or rule.level
    do = rule.do if seen.do is None else seen.do
    return HealthFinding(level, rule.code, seen.says, do, rule.part, rule.alarming and level != "note")


def is_healthy(findings: Sequence[HealthFinding]) -> bool:
    """Tell whether no finding is an error: then `tickstock status` exits 0."""
    return not any(finding.level == "error" for finding in findings)


def is_starting(look: FleetLook | None) -> bool:
    """Tell whether the bridge has just started and no worker runs yet."""
    if look is None or look.bridge.connected_s is None:
        return False
    return not look.fleet.running_workers and look.bridge.connected_s < GRACE_S


def health_of(look: FleetLook | None, findings: Sequence[HealthFinding]) -> Health:
    """Return the state in one word: the same in `tickstock status` and on the channels."""
    if not is_healthy(findings):
        return "error"
    if is_starting(look):
        return "starting"
    return health_of_part(findings)


def health_of_part(findings: Sequence[HealthFinding]) -> Literal["healthy", "degraded", "error"]:
    """Return the state of one part from its own findings."""
    if not is_healthy(findings):
        return "error"
    return "degraded" if any(finding.level == "warn" for finding in findings) else "healthy"


def score_of(findings: Sequence[HealthFinding]) -> float:
    """Return 100 less 60 for each error and 15 for each warning; 0 at least."""
    return max(0.0, 100.0 - sum(_COSTS[finding.level] for finding in findings))
