"""Resident memory of one worker after 10 M and after 100 M ticks: the same frames, again and again, under new names."""

from uuid import uuid4

import msgspec
import psutil
from drain import is_drained
from fill import market, open_writer
from place import Place, running, wait_for
from tickstockpl.contracts.frames import frame as frames
from tickstockpl.contracts.frames.maker import Identity
from tickstockpl.producer.framer import Framer, Numbered

_WITHIN_S = 600.0


def resident_mb(place: Place, ticks_a_round: int, rounds: int) -> list[float]:
    """Return the worker's resident memory after each round; committed frames leave Redis at once."""
    measured = []
    with running(place, "worker", "--consumer", "bench", "--retention-s", "0") as process:
        worker = psutil.Process(process.pid)
        made = _frames(place, ticks_a_round)
        for _ in range(rounds):
            name = f"replay-bench-{uuid4().hex}"
            open_writer(place, name).write([_renamed(frame, name) for frame in made])
            wait_for(lambda name=name: is_drained(place, name), within_s=_WITHIN_S)
            measured.append(worker.memory_info().rss / 1e6)
    return measured


def _frames(place: Place, ticks: int) -> list[Numbered]:
    identity = Identity("bench", "bench", "replay", publish=False)
    framer = Framer(identity, place.partitions, now_ms=open_writer(place, "bench").now_ms)
    return [frame for batch in market(70, ticks, 300) for frame in framer.add(batch)] + framer.end()


def _renamed(frame: Numbered, name: str) -> Numbered:
    body = msgspec.structs.replace(frames.decode(frame.body), producer=name, feed=name)
    return frame._replace(body=frames.encode(body))
