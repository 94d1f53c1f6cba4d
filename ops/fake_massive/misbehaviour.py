"""The misbehaviours of the fake server, with start and duration."""

import math
import re
import time
from dataclasses import dataclass

from ...contracts.errors import UsageError

KINDS = {
    "auth_failed": "every key is refused",
    "max_connections": "open connections are closed, as if another process had taken the feed",
    "stall": "connections stay open and no trade is sent",
    "slow": "every message and every answer comes late, by SLOW_S",
    "cut": "connections are cut without a message; while it lasts, new ones as well",
    "garbage": "every message also holds invalid events",
    "429": "REST: too many requests, Retry-After 1",
    "5xx": "REST and new connections: 500, 502, 503 in turn",
    "next_url_loop": "REST: the next page is always this page",
    "next_url_elsewhere": "REST: the next page is on another host",
    "empty": "REST: no minute and no day has a bar",
    "html": "REST: an HTML page, with status 200",
    "truncated": "REST: the second half of the answer is missing",
    "duplicates": "REST: the first row of a day or of the splits comes twice, the last one twice with other values",
}
ONCE = frozenset(("cut", "max_connections"))  # without a duration these happen once
SLOW_S = 2.0

_SPELLING = re.compile(r"(?P<what>[a-z0-9_]+)(?:@(?P<at>\d+(?:\.\d+)?))?(?:\+(?P<for>\d+(?:\.\d+)?))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Plan:
    """A planned misbehaviour. at_s: seconds after the start. seconds: how long; None: forever, or once."""

    what: str
    at_s: float = 0.0
    seconds: float | None = None


def parse_plan(text: str) -> Plan:
    """Read `cut`, `stall@30` or `cut@30+10` (from second 30 on, for 10 s). Raises UsageError."""
    found = _SPELLING.fullmatch(text)
    if not found or found["what"] not in KINDS:
        raise UsageError(
            f"misbehaviour {text!r} is unknown: WHAT[@SECONDS][+FOR_SECONDS], WHAT one of {', '.join(KINDS)}"
        )
    return Plan(found["what"], float(found["at"] or 0), float(found["for"]) if found["for"] else None)


class Misbehaviour:
    """The misbehaviours that are on."""

    def __init__(self, *, slow_s: float = SLOW_S) -> None:
        """slow_s: the delay of `slow`, per message or answer."""
        self._slow_s = slow_s
        self._until_s: dict[str, float] = {}  # on the monotonic clock
        self._times_left: dict[str, int] = {}

    def switch_on(self, what: str, *, seconds: float | None = None, times: int | None = None) -> None:
        """Switch a misbehaviour on, for some seconds, or a number of times, or forever. Raises UsageError.

        times: for requests and keys.
        """
        if what not in KINDS:
            raise UsageError(f"misbehaviour {what!r} is unknown: one of {', '.join(KINDS)}")
        self.switch_off(what)
        if what in ONCE and seconds is None:
            return
        self._until_s[what] = math.inf if seconds is None else time.monotonic() + seconds
        if times is not None:
            self._times_left[what] = times

    def switch_off(self, what: str | None = None) -> None:
        """Switch one misbehaviour off, or (None) all."""
        for kind in KINDS if what is None else (what,):
            self._until_s.pop(kind, None)
            self._times_left.pop(kind, None)

    def does(self, what: str) -> bool:
        """Tell whether to misbehave now; it counts as one of the times."""
        if time.monotonic() >= self._until_s.get(what, -math.inf):
            return False
        left = self._times_left.get(what)
        if left is not None:
            self._times_left[what] = left - 1
        return left is None or left > 0

    def delay_s(self) -> float:
        """Return the delay of a message or answer, in seconds."""
        return self._slow_s if self.does("slow") else 0.0
