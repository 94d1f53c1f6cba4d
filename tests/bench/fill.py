"""Streams filled beforehand, by the product's own framer and writer; and what a tick takes in Redis."""

import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from uuid import uuid4

from place import Place
from tickstockpl.contracts.frames.maker import Identity
from tickstockpl.contracts.names import stream_key
from tickstockpl.contracts.ticks import Ticks
from tickstockpl.producer.framer import Framer
from tickstockpl.producer.sending.stream_writer import StreamWriter
from tickstockpl.producer.synthetic import Market, SyntheticSource

CHUNK_TICKS = 50_000


@dataclass(frozen=True)
class Filled:
    """A finished replay that waits in the streams. seconds: from the first tick made to the last frame in Redis."""

    replay: str
    ticks: int
    seconds: float
    bytes_a_tick: float

    @property
    def rate(self) -> float:
        """Ticks a second of making them, framing them and sending the frames."""
        return self.ticks / self.seconds


def market(symbols: int, ticks: int, ticks_a_bar: int) -> Iterator[Ticks]:
    """Make a synthetic market of so many ticks, with a mean number of ticks in each symbol's minute."""
    rate = symbols * ticks_a_bar / 60
    chunk_ns = int(min(60.0, CHUNK_TICKS / rate) * 1e9)
    source = SyntheticSource(Market(symbols=symbols, rate=rate, chunk_ns=chunk_ns), seconds=ticks / rate)
    return (chunk.ticks for chunk in source)


def fill(place: Place, batches: Iterable[Ticks], *, codec: str = "zstd") -> Filled:
    """Frame batches as one replay, end frames included, and send them all."""
    name = f"replay-bench-{uuid4().hex}"
    started = time.perf_counter()
    writer = open_writer(place, name)
    framer = Framer(Identity(name, name, "replay", publish=False, codec=codec), place.partitions, now_ms=writer.now_ms)
    ticks = 0
    for batch in batches:
        ticks += len(batch)
        writer.write(framer.add(batch))
    writer.write(framer.end())
    seconds = time.perf_counter() - started
    return Filled(name, ticks, seconds, stream_bytes(place) / ticks)


def open_writer(place: Place, replay: str) -> StreamWriter:
    """Make a writer that never waits for a worker."""
    done = dict.fromkeys(range(place.partitions), 0)
    return StreamWriter(place.client, replay, done=done, wait=lambda _: False, max_lag=sys.maxsize)


def stream_bytes(place: Place) -> int:
    """Return the memory of all partitions' streams, every node counted."""
    return sum(place.client.memory_usage(stream_key(p), samples=0) or 0 for p in range(place.partitions))
