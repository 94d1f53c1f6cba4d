"""How fast a source's ticks are let out: `max`, or some multiple of market time."""

import time
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from ..contracts.ticks import Column, Ticks

_STEP_S = 0.02


def parse_speed(text: str) -> float | None:
    """Read "max" (None), "1x", "60x" or "60". Raises ValueError."""
    if text == "max":
        return None
    speed = float(text.removesuffix("x"))
    if not 0 < speed < float("inf"):
        raise ValueError(text)
    return speed


def paced(
    batches: Iterable[tuple[Ticks, Column]], speed: float, *, wait: Callable[[float], bool], skip: int = 0
) -> Iterator[Ticks | None]:
    """Let ticks out at their arrival times, sped up; None while there is nothing to let out.

    batches: ticks, and for each row when it arrives, in ns, never falling. skip: so many ticks come at once: a replay
    that goes on does not wait for what is committed.
    """
    started_s: float | None = None
    first_ns = 0
    for ticks, arrival_ns in batches:
        sent, refused = 0, ticks.refused
        if skipped := min(skip, len(ticks)):
            yield ticks.take(slice(skipped), refused)
            sent, refused = skipped, ()
            skip -= skipped
        if started_s is None and sent < len(ticks):
            started_s, first_ns = time.monotonic(), int(arrival_ns[sent])
        while sent < len(ticks) or refused:
            elapsed_ns = int((time.monotonic() - (started_s or 0.0)) * speed * 1e9)
            due = int(np.searchsorted(arrival_ns, first_ns + elapsed_ns, side="right"))
            if due > sent or refused:
                yield ticks.take(slice(sent, due), refused)
                sent, refused = max(sent, due), ()
                continue
            yield None
            ahead_s = (int(arrival_ns[sent]) - first_ns - elapsed_ns) / speed / 1e9
            if wait(min(_STEP_S, max(0.001, ahead_s))):
                return


def by_tick_time(batches: Iterable[Ticks]) -> Iterator[tuple[Ticks, Column]]:
    """Pace recorded ticks by their own time; one that steps back comes at once."""
    latest = 0
    for ticks in batches:
        arrival_ns = np.maximum.accumulate(np.maximum(ticks.ts, latest))
        latest = int(arrival_ns[-1]) if len(ticks) else latest
        yield ticks, arrival_ns
