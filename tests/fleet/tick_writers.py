"""The application's two ways in, as threads that remember each tick: entries of the front door, and channels."""

import itertools
import json
import random
import time
from datetime import UTC, datetime
from typing import NamedTuple

from redis.exceptions import ResponseError
from tickstockpl.contracts.names import FRONT_DOOR

from .background import Background, client_of

MS_NS = 1_000_000
LATE_MS = 300_000  # the window for late trades is three times as long


class Tick(NamedTuple):
    symbol: str
    ts_ns: int
    price: float
    size: float


class RandomTicks:
    """Ticks of now and of a little while ago, in whole cents, each time on a whole millisecond but no whole second."""

    def __init__(self, symbols, seed):
        self._symbols = symbols
        self._numbers = random.Random(seed)

    def tick(self):
        numbers = self._numbers
        at_ms = time.time_ns() // MS_NS - numbers.randrange(400)
        if numbers.random() < 0.03:
            at_ms -= numbers.randrange(1000, LATE_MS)
        at_ms += at_ms % 1000 == 0
        size = numbers.choice((0, 1, 25, 100, 300, 0.5, 1.25, 0.000001 * numbers.randrange(1, 10**6)))
        price = numbers.randrange(9_000, 11_000) / 100
        return Tick(numbers.choice(self._symbols), at_ms * MS_NS, price, round(size, 6))

    def choice(self, values):
        return self._numbers.choice(values)


# -- the front door ----------------------------------------------------------------------------------------------------


def seconds(ts_ns):
    return f"{ts_ns // 10**9}.{ts_ns // MS_NS % 1000:03}"


def iso(ts_ns):
    return datetime.fromtimestamp(ts_ns // MS_NS / 1000, UTC).isoformat(timespec="milliseconds")


def text(size):
    return f"{size:.6f}".rstrip("0").rstrip(".")


def plain_seconds(tick, _):
    return ["symbol", tick.symbol, "price", tick.price, "volume", text(tick.size), "timestamp", seconds(tick.ts_ns)]


def plain_milliseconds(tick, _):
    at_ms = tick.ts_ns // MS_NS
    return ["ticker", tick.symbol, "price", tick.price, "size", text(tick.size), "timestamp", at_ms, "source", "soak"]


def plain_nanoseconds(tick, _):
    return ["timestamp", tick.ts_ns, "type", "trade", "symbol", f" {tick.symbol} ", "volume", text(tick.size), "price",
            f"{tick.price:.4f}"]  # fmt: skip


def plain_iso(tick, number):
    return ["event_type", "T", "symbol", tick.symbol, "price", tick.price, "volume", text(tick.size), "timestamp",
            iso(tick.ts_ns), "exchange", "11", "trade_id", f"soak-{number}"]  # fmt: skip


def json_of_the_application(tick, _):
    message = {"event_type": "T", "ticker": tick.symbol, "price": tick.price, "volume": tick.size}
    return ["data", json.dumps(message | {"timestamp": tick.ts_ns / 1e9})]


def json_of_the_vendor(tick, number):
    message = {"ev": "T", "sym": tick.symbol, "x": 4, "i": str(number), "z": 3, "p": tick.price, "ds": text(tick.size)}
    return ["data", json.dumps([message | {"t": tick.ts_ns // MS_NS, "q": number}])]


SPELLINGS = (
    plain_seconds, plain_milliseconds, plain_nanoseconds, plain_iso, json_of_the_application, json_of_the_vendor,
)  # fmt: skip

# A batch and its number in one step: whoever got no answer sends it once more, and it is added once. An entry that the
# server refuses ends the script before the number is noted.
ADD = """
if redis.call('GET', KEYS[2]) == ARGV[1] then return 'known' end
local at = 2
while ARGV[at] do
    local fields = tonumber(ARGV[at])
    redis.call('XADD', KEYS[1], '*', unpack(ARGV, at + 1, at + fields))
    at = at + fields + 1
end
redis.call('SET', KEYS[2], ARGV[1])
return 'added'
"""
COUNTER = "soak:door"


class DoorWriter(Background):
    """Adds ticks to the front door at a rate (a second) in every spelling. ticks: those that were taken, in order."""

    def __init__(self, servers, symbols, *, rate, seed):
        super().__init__()
        self.ticks = []
        self.refused = 0  # answers of Redis that took nothing
        self._client = client_of(servers)
        self._ticks = RandomTicks(symbols, seed)
        self._a_batch = max(1, rate // 20)
        self._numbers = itertools.count(1)
        self._batches = itertools.count(1)
        self._waiting = None

    def turn(self):
        self._waiting = self._waiting or self._make()
        number, ticks, arguments = self._waiting
        try:
            self._client.eval(ADD, 2, FRONT_DOOR, COUNTER, number, *arguments)
        except ResponseError:  # out of memory; the last id there is was taken by somebody
            self.refused += 1
            return 0.2
        self.ticks += ticks
        self._waiting = None
        return 0.05

    def _make(self):
        ticks = [self._ticks.tick() for _ in range(self._a_batch)]
        arguments = []
        for tick in ticks:
            fields = self._ticks.choice(SPELLINGS)(tick, next(self._numbers))
            arguments += [len(fields), *fields]
        return next(self._batches), ticks, arguments

    def finish(self, within_s=300):
        """End with a batch that was answered: of any other, nobody knows."""
        super().finish(within_s)
        deadline = time.monotonic() + within_s
        while self._waiting:
            assert time.monotonic() < deadline, f"the front door takes nothing, {self.refused} answers were errors"
            self._turn()
        self._client.close()


# -- the channels ------------------------------------------------------------------------------------------------------


class ChannelWriter(Background):
    """Publishes ticks at a rate (a second) as the application does: each on all its channels. ticks: all of them."""

    def __init__(self, servers, symbols, *, rate, seed):
        super().__init__()
        self.ticks = []
        self._client = client_of(servers)
        self._ticks = RandomTicks(symbols, seed)
        self._a_batch = max(1, rate // 20)

    def turn(self):
        pipeline = self._client.pipeline(transaction=False)
        for _ in range(self._a_batch):
            tick = self._ticks.tick()
            self.ticks.append(tick)  # before: of a message without an answer nobody knows whether it was heard
            for channel, message in messages_of(tick):
                pipeline.publish(channel, json.dumps(message))
        pipeline.execute()
        return 0.05

    def finish(self, within_s=120):
        super().finish(within_s)
        self._client.close()


def messages_of(tick):
    said = {"price": tick.price, "volume": tick.size, "timestamp": tick.ts_ns / 1e9, "source": "soak"}
    named = said | {"ticker": tick.symbol}
    yield "tickstock.data.raw", named | {"event_type": "T", "tick_open": None, "bid": None, "ask": None}
    yield "tickstock:market:ticks", said | {"type": "market_tick", "symbol": tick.symbol}
    yield "tickstock.all_ticks", named | {"event_type": "tick_data", "market_status": "REGULAR"}
    yield f"tickstock.ticks.{tick.symbol}", named | {"event_type": "tick_data", "market_status": "REGULAR"}
