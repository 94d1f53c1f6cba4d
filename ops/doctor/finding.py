"""A finding of the doctor, and the rule that no check keeps the next one from being made."""

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
    """One line. subject: what was looked at; says: what was found; do: what to change (none where all is well)."""

    level: Literal["ok", "warn", "FAIL"]
    subject: str
    says: str
    do: str = ""


def by_rule(code: str, subject: str, says: str) -> Finding:
    """Make a finding of what a rule of the fleet's health judges too: at its level, with its advice."""
    rule = RULE_OF[code]
    return Finding("FAIL" if rule.level == "error" else "warn", subject, says, rule.do)


def findings_of(server: T, checks: Iterable[tuple[str, Callable[[T], Iterator[Finding]]]]) -> Iterator[Finding]:
    """Make each check (its subject, and the check itself); one that the server refuses or breaks off is a finding."""
    for subject, check in checks:
        try:
            yield from check(server)
        except (RedisError, psycopg.Error, OSError) as e:
            says = f"could not be checked: {first_line(e)}"
            yield Finding("FAIL", subject, says, "grant the right, or look at the server's log")
