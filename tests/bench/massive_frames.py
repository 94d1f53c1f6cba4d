"""Massive's JSON to frames, on one core: what the producer does between its socket and Redis."""

import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tickstockpl.contracts.frames.maker import Identity
from tickstockpl.contracts.spellings.massive_json import parse_messages
from tickstockpl.producer.framer import Framer

_START_MS = 1_757_601_000_000  # 2025-09-11T14:30:00Z: 10:30 in New York
_SYMBOLS = 500
_PARTITIONS = 16
_BATCH_MESSAGES = 100  # that wait when the producer takes them
_CONDITIONS = ([], [], [14, 41], [37], [14, 37, 41], [12, 37])
_ROUNDS = 5


@dataclass(frozen=True)
class Framed:
    """events_a_s: the best of some rounds, parsing and framing. bytes_an_event: of JSON."""

    events_a_s: float
    parsed_a_s: float
    bytes_an_event: float


def massive_frames_rate(channel: str = "T", *, events: int = 100_000, events_a_message: int = 100) -> Framed:
    """Turn messages of one channel (T or A) into frames; they are made before the clock starts."""
    dice = random.Random(1)
    event_of = {"T": _trade, "A": _second}[channel]
    bodies = [
        json.dumps([event_of(dice, first + i) for i in range(events_a_message)], separators=(",", ":")).encode()
        for first in range(0, events, events_a_message)
    ]
    count = len(bodies) * events_a_message
    return Framed(
        count / _best(lambda: _frame(bodies)),
        count / _best(lambda: _parse(bodies)),
        sum(map(len, bodies)) / count,
    )


def _frame(bodies: Sequence[bytes]) -> None:
    framer = Framer(Identity("bench", "live", "live"), _PARTITIONS, now_ms=lambda: _START_MS)
    for first in range(0, len(bodies), _BATCH_MESSAGES):
        framer.add(parse_messages(bodies[first : first + _BATCH_MESSAGES]).ticks)
    framer.flush()


def _parse(bodies: Sequence[bytes]) -> None:
    for first in range(0, len(bodies), _BATCH_MESSAGES):
        parse_messages(bodies[first : first + _BATCH_MESSAGES])


def _best(work: Callable[[], None]) -> float:
    """Return the processor time of the quickest round, s: others may use this machine."""
    rounds = []
    for _ in range(_ROUNDS):
        started_s = time.process_time()
        work()
        rounds.append(time.process_time() - started_s)
    return min(rounds)


def _trade(dice: random.Random, number: int) -> dict[str, object]:
    size = dice.choice([100, 200, 1, 7, 35])
    return {
        "ev": "T", "sym": f"S{dice.randrange(_SYMBOLS):03}", "x": dice.randint(1, 20),
        "i": str(52_983_525_000_000 + number), "z": 3, "p": round(dice.uniform(5, 500), 2), "s": size,
        "ds": f"{size}.0", "c": dice.choice(_CONDITIONS), "t": _START_MS + number // 100, "q": number,
    }  # fmt: skip


def _second(dice: random.Random, number: int) -> dict[str, object]:
    low = round(dice.uniform(5, 500), 2)
    start_ms = _START_MS + number // _SYMBOLS * 1000
    return {
        "ev": "A", "sym": f"S{number % _SYMBOLS:03}", "v": 200, "dv": "200.0", "av": 8_642_007, "dav": "8642007.0",
        "op": low, "vw": low + 0.02, "o": low + 0.01, "c": low + 0.03, "h": low + 0.04, "l": low, "a": low, "z": 50,
        "s": start_ms, "e": start_ms + 1000,
    }  # fmt: skip


if __name__ == "__main__":
    for name in ("T", "A"):
        print(name, massive_frames_rate(name))  # noqa: T201  # run by itself, it says its figure
