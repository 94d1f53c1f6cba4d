"""The channel source on one core: the application's JSON at a steady rate, from PUBLISH to frames in Redis."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis
from fill import open_writer
from place import Place, wait_for
from tickstockpl.contracts.frames.maker import Identity
from tickstockpl.contracts.names import TICK_CHANNELS
from tickstockpl.contracts.ticks import Ticks
from tickstockpl.producer.channel import ChannelSource
from tickstockpl.producer.framer import Framer

_SYMBOLS = 70
_A_PIPELINE = 100
_QUIET_S = 3.0  # after the last message: what did not come by then is lost


@dataclass(frozen=True)
class Heard:
    """What the source took of what was published. cpu_s: of this process, framing and sending included."""

    published: int
    heard: int
    gaps: int
    seconds: float
    cpu_s: float

    @property
    def lost(self) -> int:
        """Messages that were published and not heard."""
        return self.published - self.heard

    @property
    def rate(self) -> float:
        """Messages a second, as they were published."""
        return self.heard / self.seconds

    @property
    def cpu_rate(self) -> float:
        """Messages a second that one core could take."""
        return self.heard / self.cpu_s


def channel_rate(place: Place, *, rate: int = 20_000, seconds: float = 10.0) -> Heard:
    """Publish seconds of the default family at a rate from another process; hear, frame and send them on one core."""
    cores = os.sched_getaffinity(0)
    gaps: list[tuple[object, ...]] = []
    source = ChannelSource(place.servers.redis_url, stop=threading.Event(), on_gap=lambda *gap: gaps.append(gap))
    try:
        os.sched_setaffinity(0, {min(cores)})  # of this thread, and of those that it starts: the source's
        batches = iter(source)
        next(batches)
        with _publisher(place, rate, round(rate * seconds), cores) as publisher:
            return _heard(place, batches, publisher, round(rate * seconds), gaps)
    finally:
        source.close()
        os.sched_setaffinity(0, cores)


def _heard(
    place: Place,
    batches: Iterator[Ticks | None],
    publisher: subprocess.Popen[bytes],
    published: int,
    gaps: Sequence[object],
) -> Heard:
    writer = open_writer(place, "bench-channel")
    framer = Framer(Identity("bench-channel", "live", "live"), place.partitions, now_ms=writer.now_ms)
    heard, started, last, cpu_s = 0, 0.0, time.perf_counter(), time.process_time()
    for ticks in batches:
        now = time.perf_counter()
        if ticks is not None:
            started, last = started or now, now
            heard += len(ticks)
            writer.write([*framer.add(ticks), *framer.flush()])
        if heard == published or (publisher.poll() is not None and now > last + _QUIET_S):
            break
    return Heard(published, heard, len(gaps), last - started, time.process_time() - cpu_s)


@contextmanager
def _publisher(place: Place, rate: int, count: int, cores: set[int]) -> Iterator[subprocess.Popen[bytes]]:
    """Publish from a process on any core, once somebody listens."""
    probe = json.dumps({"test": "health_check"})
    wait_for(lambda: place.client.publish(TICK_CHANNELS[0], probe), within_s=10.0)
    command = [sys.executable, str(Path(__file__)), place.servers.redis_url, str(rate), str(count)]
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    process = subprocess.Popen(command)
    os.sched_setaffinity(0, own)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _publish(url: str, rate: int, count: int) -> None:
    """Publish at a steady rate; all commands are made before the first is sent."""
    with redis.Redis.from_url(url) as client:
        connection = client.connection_pool.get_connection()
        commands = [("PUBLISH", TICK_CHANNELS[0], _second(number)) for number in range(count)]
        packed = [
            connection.pack_commands(commands[first : first + _A_PIPELINE]) for first in range(0, count, _A_PIPELINE)
        ]
        started = time.perf_counter()
        for number, some in enumerate(packed):
            time.sleep(max(0.0, started + number * _A_PIPELINE / rate - time.perf_counter()))
            connection.send_packed_command(some)
            for _ in commands[number * _A_PIPELINE : (number + 1) * _A_PIPELINE]:
                connection.read_response()


def _second(number: int) -> bytes:
    """Return a second of the application."""
    price = 100 + number % 800 + 0.25
    tick = {
        "ticker": f"S{number % _SYMBOLS:04d}",
        "price": price,
        "volume": 300,
        "timestamp": 1_764_081_000.0 + number // 20_000,
        "event_type": "A",
        "source": "massive",
        **dict.fromkeys(("tick_open", "tick_high", "tick_low", "tick_close", "tick_vwap"), price),
        "tick_volume": 300,
        "bid": None,
        "ask": None,
    }
    return json.dumps(tick).encode()


if __name__ == "__main__":
    _publish(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
