"""A live market of which only the seconds around each minute's end take their time, as a process of its own.

`python closing_market.py OPTIONS` (JSON). Each line on stdin, seconds to run, lets one minute end; the answer is a line
of JSON with that minute and the delay of its frames. Frames say how far the feed runs behind the market (`delay_ms`),
and this delay shrinks from minute to minute: so the worker's own clock jumps over the middle of a minute.
"""

import json
import sys
import time
from dataclasses import replace

import numpy as np
from place import Servers
from tickstockpl.contracts.bar import MINUTE_NS
from tickstockpl.contracts.frames.maker import Identity
from tickstockpl.contracts.spellings.timestamps import SECOND_NS
from tickstockpl.contracts.ticks import Ticks
from tickstockpl.db import redis
from tickstockpl.producer.framer import Framer
from tickstockpl.producer.sending.stream_writer import StreamWriter
from tickstockpl.producer.synthetic import Market, SyntheticSource

_EVERY_S = 0.02  # a send
HISTORY_MINUTES = 120


def source_of(symbols: int, rate: float) -> SyntheticSource:
    """Return the market whose minute n is its chunk n."""
    market = Market(symbols=symbols, rate=rate, chunk_ns=MINUTE_NS)
    return SyntheticSource(market, seconds=HISTORY_MINUTES * 60.0)


class ClosingMarket:
    """Sends the ticks of `first_minute` (minutes since 1970) and of the minutes after it.

    lead_s: of the feed's time before a minute's end; a worker must have read the frames of the whole minute by then.
    """

    def __init__(
        self, servers: Servers, source: SyntheticSource, *, partitions: int, first_minute: int, lead_s: float
    ) -> None:
        self._lead_ns = int(lead_s * SECOND_NS)
        done = dict.fromkeys(range(partitions), 0)
        client = redis.connect(servers.redis_url)
        self._writer = StreamWriter(client, "bench-1", done=done, wait=never_stop, max_lag=sys.maxsize)
        self._framer = Framer(Identity("bench-1", "live", "live"), partitions, now_ms=self._writer.now_ms)
        self._source = source
        self._first_minute = self._minute = first_minute
        self._ticks = self._ticks_of(first_minute)

    def end_minute(self, seconds: float) -> dict[str, int]:
        """Let the next minute end, within so many seconds of the feed's time; return it, and the delay then."""
        minute, delay_ns = self._minute, self._now_ns() - (self._minute + 1) * MINUTE_NS + self._lead_ns
        delay_ms = delay_ns // 1_000_000
        self._framer.identity = replace(self._framer.identity, delay_ms=delay_ms)
        self._minute += 1
        self._ticks = _joined(self._ticks, self._ticks_of(self._minute))
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            began = time.monotonic()
            self._send(self._now_ns() - delay_ns)
            time.sleep(max(0.0, began + _EVERY_S - time.monotonic()))
        return {"minute": minute, "delay_ms": delay_ms}

    def _send(self, until_ns: int) -> None:
        end = int(np.searchsorted(self._ticks.ts, until_ns))
        frames = self._framer.add(self._ticks.take(slice(0, end)))
        self._writer.write([*frames, *self._framer.flush()])
        self._ticks = self._ticks.take(slice(end, None))

    def _ticks_of(self, minute: int) -> Ticks:
        ticks = self._source.chunk((minute - self._first_minute) % HISTORY_MINUTES).ticks
        within = ticks.ts % MINUTE_NS
        order = np.argsort(within, kind="stable")
        return replace(ticks.take(order), ts=within[order] + minute * MINUTE_NS)

    def _now_ns(self) -> int:
        return self._writer.now_ms() * 1_000_000


def _joined(first: Ticks, second: Ticks) -> Ticks:
    """Join the ticks of one source."""
    columns = ("symbol_index", "ts", "price", "size")
    return replace(first, **{name: np.concatenate([getattr(first, name), getattr(second, name)]) for name in columns})


def never_stop(seconds: float) -> bool:
    """Wait so long; for a writer whose source never stops."""
    time.sleep(seconds)
    return False


def main() -> None:
    """End a minute for each line."""
    options = json.loads(sys.argv[1])
    servers = Servers(options["redis_url"], options["database_url"])
    source = source_of(options["symbols"], options["rate"])
    given = {name: options[name] for name in ("partitions", "first_minute", "lead_s")}
    market = ClosingMarket(servers, source, **given)
    for line in sys.stdin:
        sys.stdout.write(json.dumps(market.end_minute(float(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
