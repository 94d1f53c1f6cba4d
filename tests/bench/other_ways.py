"""What a user would write without us: the same dict of bars in (c) a plain loop, (d) FastStream, (e) Bytewax."""

import asyncio
import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import redis
from fill import market
from place import Place

_STREAM = "bench:ticks"
_GROUP = "bench"
_COUNT = 1000

Bars = dict[tuple[str, int], list[float]]


@dataclass(frozen=True)
class Looped:
    """One run; cpu_s: of this process alone."""

    ticks: int
    seconds: float
    cpu_s: float
    bars: int

    @property
    def rate(self) -> float:
        """Ticks a second of wall time."""
        return self.ticks / self.seconds


def json_ticks(count: int) -> list[bytes]:
    """Write ticks of the main case as JSON, one a message."""
    rows: Iterator[bytes] = (
        json.dumps({"symbol": batch.symbols[s], "price": price, "volume": size, "timestamp": ts / 1e9}).encode()
        for batch in market(70, count, 300)
        for s, ts, price, size in zip(
            *(column.tolist() for column in (batch.symbol_index, batch.ts, batch.price, batch.size)), strict=True
        )
    )
    return list(islice(rows, count))


def add_tick(bars: Bars, tick: dict[str, Any]) -> None:
    """Add one tick to a dict of bars: open, high, low, close, volume, count."""
    key = (tick["symbol"], int(tick["timestamp"] // 60))
    price, volume = tick["price"], tick["volume"]
    bar = bars.get(key)
    if bar is None:
        bars[key] = [price, price, price, price, volume, 1]
        return
    bar[1] = max(bar[1], price)
    bar[2] = min(bar[2], price)
    bar[3] = price
    bar[4] += volume
    bar[5] += 1


def plain_loop(place: Place, messages: list[bytes]) -> Looped:
    """(c) XREADGROUP, json.loads, a dict of bars, XACK; no database."""
    client = redis.Redis.from_url(place.servers.redis_url)
    _send(client, b"data", messages)
    bars: Bars = {}

    def loop() -> None:
        while reply := client.xreadgroup(_GROUP, "bench", {_STREAM: ">"}, count=_COUNT):
            for _, entries in reply:
                for _, fields in entries:
                    add_tick(bars, json.loads(fields[b"data"]))
                client.xack(_STREAM, _GROUP, *[entry_id for entry_id, _ in entries])

    return _timed(loop, messages, bars)


def faststream(place: Place, messages: list[bytes]) -> Looped:
    """(d) FastStream's stream subscriber, in batches, with the messages in its own format."""
    from faststream.redis import RedisBroker, StreamSub  # noqa: PLC0415  # optional: extra `bench`
    from faststream.redis.parser import BinaryMessageFormatV1  # noqa: PLC0415

    async def wrapped() -> list[bytes]:
        ticks = map(json.loads, messages)
        return [
            await BinaryMessageFormatV1.encode(message=tick, reply_to=None, headers=None, correlation_id="bench")
            for tick in ticks
        ]

    _send(redis.Redis.from_url(place.servers.redis_url), b"__data__", asyncio.run(wrapped()))
    bars: Bars = {}

    async def run() -> None:
        broker = RedisBroker(place.servers.redis_url, logger=None)
        complete, seen = asyncio.Event(), 0

        @broker.subscriber(stream=StreamSub(_STREAM, group=_GROUP, consumer="bench", batch=True, max_records=_COUNT))
        async def on_ticks(ticks: list[dict[str, Any]]) -> None:
            nonlocal seen
            for tick in ticks:
                add_tick(bars, tick)
            seen += len(ticks)
            if seen == len(messages):
                complete.set()

        async with broker:
            await broker.start()
            await complete.wait()

    return _timed(lambda: asyncio.run(run()), messages, bars)


def bytewax(place: Place, messages: list[bytes]) -> Looped:  # noqa: ARG001  # it reads memory, in its favour
    """(e) Bytewax's tumbling window of a minute, from a list in memory."""
    import bytewax.operators as op  # noqa: PLC0415  # optional: extra `bench`
    from bytewax.dataflow import Dataflow  # noqa: PLC0415
    from bytewax.operators.windowing import EventClock, TumblingWindower, fold_window  # noqa: PLC0415
    from bytewax.testing import TestingSink, TestingSource, run_main  # noqa: PLC0415

    bars: list[Any] = []
    flow = Dataflow("bench")
    parsed = op.map("parse", op.input("ticks", flow, TestingSource(messages, batch_size=_COUNT)), json.loads)
    clock = EventClock(lambda tick: datetime.fromtimestamp(tick["timestamp"], UTC), timedelta(seconds=0))
    minutes = TumblingWindower(timedelta(minutes=1), datetime(2025, 1, 1, tzinfo=UTC))
    keyed = op.key_on("symbol", parsed, lambda tick: tick["symbol"])

    def fold(made: Bars, tick: dict[str, Any]) -> Bars:
        add_tick(made, tick)
        return made

    windows = fold_window("bars", keyed, clock, minutes, dict, fold, lambda one, other: one | other)
    op.output("out", windows.down, TestingSink(bars))
    return _timed(lambda: run_main(flow), messages, bars)


def _send(client: redis.Redis, field: bytes, bodies: Iterable[bytes]) -> None:
    client.delete(_STREAM)
    client.xgroup_create(_STREAM, _GROUP, id="0", mkstream=True)
    waiting = iter(bodies)
    while batch := list(islice(waiting, _COUNT)):
        pipeline = client.pipeline(transaction=False)
        for body in batch:
            pipeline.xadd(_STREAM, {field: body})
        pipeline.execute()


def _timed(run: Callable[[], None], messages: list[bytes], bars: Any) -> Looped:
    cpu_before, started = time.process_time(), time.perf_counter()
    run()
    return Looped(len(messages), time.perf_counter() - started, time.process_time() - cpu_before, len(bars))
