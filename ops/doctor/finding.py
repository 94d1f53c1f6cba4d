"""A finding of `doctor`; a failing check does not stop the next one."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeVar

import psycopg
from redis.exceptions import RedisError

from ...contracts.errors import first_line
from ...contracts.fleet.fleet_rules import RULE_OF

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line. subject: what was checked; says: the result; do: what to change ("" if nothing)."""

    level: Literal["ok", "warn", "FAIL"]
    subject: str
    says: str
    do: str = ""


def by_rule(code: str, subject: str, says: str) -> Finding:
    """Make a finding for a rule of the fleet's health: with its level and its advice."""
    rule = RULE_OF[code]
    return Finding("FAIL" if rule.level == "error" else "warn", subject, says, rule.do)


def findings_of(server: T, checks: Iterable[tuple[str, Callable[[T], Iterator[Finding]]]]) -> Iterator[Finding]:
    """Run each check (its subject, and the check); one that the server refuses or interrupts is a finding."""
    for subject, check in checks:
        try:
            yield from check(server)
        except (RedisError, psycopg.Error, OSError) as e:
            says = f"could not be checked: {first_line(e)}"
            yield Finding("FAIL", subject, says, "grant the right, or check the server's log")
