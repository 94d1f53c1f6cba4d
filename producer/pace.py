"""How fast a source's ticks are sent: `max`, or a multiple of market time."""

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
import structlog

from ..contracts.errors import UsageError
from ..contracts.ticks import Column, Ticks
from ..db.world import REAL, World

log = structlog.get_logger()

JUMP_NS = 15 * 60 * 1_000_000_000  # a rarely traded share pauses less than this; a night is longer
JUMP_PASSES_NS = 60 * 1_000_000_000
MAX_JUMPS = 1000
NOT_BY_TIME = "only a file that is sorted by sip_timestamp can be paced; sort it, or leave out --speed"

_STEP_S = 0.02
_SAY_EVERY_S = 5.0


def parse_speed(text: str) -> float | None:
    """Read "max" (None), "1x", "60x" or "60". Raises ValueError."""
    if text == "max":
        return None
    speed = float(text.removesuffix("x"))
    if not 0 < speed < float("inf"):
        raise ValueError(text)
    return speed


def paced(
    batches: Iterable[tuple[Ticks, Column]],
    speed: float,
    *,
    wait: Callable[[float], bool],
    skip: int = 0,
    world: World = REAL,
) -> Iterator[Ticks | None]:
    """Yield ticks at their arrival times, sped up; None while nothing has arrived.

    batches: ticks, and the arrival time of each row in ns, never falling. skip: this many ticks are yielded at once,
    because a continued replay does not wait for committed ticks.
    """
    started_s: float | None = None
    first_ns = 0
    said_s = world.monotonic_s()
    for ticks, arrival_ns in batches:
        sent, refused = 0, ticks.refused
        if skipped := min(skip, len(ticks)):
            yield ticks.take(slice(skipped), refused)
            sent, refused = skipped, ()
            skip -= skipped
        if started_s is None and sent < len(ticks):
            started_s, first_ns = world.monotonic_s(), int(arrival_ns[sent])
        while sent < len(ticks) or refused:
            elapsed_ns = int((world.monotonic_s() - (started_s or 0.0)) * speed * 1e9)
            due = int(np.searchsorted(arrival_ns, first_ns + elapsed_ns, side="right"))
            if due > sent or refused:
                yield ticks.take(slice(sent, due), refused)
                sent, refused = max(sent, due), ()
                said_s = world.monotonic_s()
                continue
            yield None
            ahead_s = (int(arrival_ns[sent]) - first_ns - elapsed_ns) / speed / 1e9
            if world.monotonic_s() >= said_s + _SAY_EVERY_S:
                said_s = world.monotonic_s()
                log.info("waiting for the next tick", of=_spelled(int(ticks.ts[sent])), in_s=round(ahead_s, 1))
            if wait(min(_STEP_S, max(0.001, ahead_s))):
                return


class Jump(NamedTuple):
    """Two consecutive ticks whose times are too far apart to wait. Unix ns."""

    from_ns: int
    to_ns: int

    def __str__(self) -> str:
        return f"from {_spelled(self.from_ns)} to {_spelled(self.to_ns)}"


class TickTimes:
    """Turns the times of recorded ticks into arrival times that never fall, batch after batch.

    Two consecutive times that differ by more than JUMP_NS are a jump: over a night or a weekend, or to a row of another
    year. A jump forward passes JUMP_PASSES_NS of arrival time, a jump back none. A tick that is earlier than the one
    before by less than JUMP_NS arrives together with it.
    """

    def __init__(self) -> None:
        self._latest: int | None = None  # tick time minus arrival time
        self._ahead_ns = 0  # of the arrival times: less than this is the tick's own

    def arrivals(self, ts: Column) -> tuple[Column, list[Jump]]:
        """Return the arrival time of each tick, and the jumps."""
        arrival_ns = np.empty(len(ts), "<i8")
        jumps = []
        first = 0
        while first < len(ts):
            if self._latest is None:
                self._latest = int(ts[first])
            reached = np.maximum.accumulate(np.maximum(ts[first:], self._latest))
            before = np.concatenate(([self._latest], reached[:-1]))
            far = np.flatnonzero(np.abs(ts[first:] - before) > JUMP_NS)
            count = int(far[0]) if len(far) else len(reached)
            arrival_ns[first : first + count] = reached[:count] - self._ahead_ns
            self._latest = int(reached[count - 1]) if count else self._latest
            first += count
            if first < len(ts):
                jump = Jump(self._latest, int(ts[first]))
                passes_ns = JUMP_PASSES_NS if jump.to_ns > jump.from_ns else 0
                self._ahead_ns += jump.to_ns - jump.from_ns - passes_ns
                self._latest = jump.to_ns
                jumps.append(jump)
        return arrival_ns, jumps


def by_tick_time(batches: Iterable[Ticks]) -> Iterator[tuple[Ticks, Column]]:
    """Pace recorded ticks by their own time; log each jump and do not wait for it."""
    times = TickTimes()
    for ticks in batches:
        arrival_ns, jumps = times.arrivals(ticks.ts)
        for jump in jumps:
            log.warning("jump in tick time: not waiting for it", jump=str(jump))
        yield ticks, arrival_ns


def find_jumps(batches: Iterable[Ticks]) -> list[Jump]:
    """Read recorded ticks to their end and check their jumps. Raises UsageError if there are too many to pace them."""
    times = TickTimes()
    found: list[Jump] = []
    for ticks in batches:
        found += times.arrivals(ticks.ts)[1]
        if len(found) > MAX_JUMPS:
            raise UsageError(
                f"these ticks are not in the order of their time (they jump {found[0]}, and {MAX_JUMPS} times more): "
                f"{NOT_BY_TIME}"
            )
    return found


def _spelled(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
