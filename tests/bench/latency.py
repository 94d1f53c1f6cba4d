"""How long after a bar's close its results are published, at 1x, with every row durable in PostgreSQL before."""

import json
import threading
import time
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import redis
from place import Place, running, wait_for
from tickstockpl.contracts.spellings.timestamps import SECOND_NS
from tickstockpl.producer.synthetic import Market, SyntheticSource
from tickstockpl.workers.partition.bar_book import bars_of

LATENESS_S = 0.5  # a live bar stays open so long: from then on the clock of this case runs
HISTORY_MINUTES = 260
_CHANNELS = {"patterns": "tickstock:patterns:streaming", "indicators": "tickstock:indicators:streaming"}


@dataclass(frozen=True)
class Latency:
    """Seconds from a 1-minute bar's close to its message at a subscriber."""

    messages: int
    p50_s: float
    p99_s: float
    max_s: float


def publish_latency(place: Place, *, symbols: int, rate: float, young: bool = False) -> dict[str, Latency]:
    """Run a live market over two ends of a minute; return what a subscriber measured at the second, by kind.

    young: the statistics are those of the empty tables, as on the first day of a database.
    """
    if young:
        for table in ("recent_bar", "detection_flow", "intraday_patterns", "integration_events"):
            place.database.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = off)")
        place.database.execute("ANALYZE")
    _fill_history(place, symbols, rate)
    heard: dict[str, list[tuple[str, float]]] = {kind: [] for kind in _CHANNELS}
    ended = threading.Event()
    listeners = [
        threading.Thread(target=_listen, args=(place.servers.redis_url, channel, heard[kind], ended))
        for kind, channel in _CHANNELS.items()
    ]
    for listener in listeners:
        listener.start()
    market = ("--source", "synthetic", "--speed", "1", "--symbols", str(symbols), "--rate", str(rate))
    try:
        with running(place, "bridge"), running(place, "worker"), running(place, "producer", *market):
            first_end = (time.time() // 60 + 1) * 60
            wait_for(lambda: time.time() > first_end + 60 + 15, within_s=200, every_s=0.2)
    finally:
        ended.set()
        for listener in listeners:
            listener.join()
    return {kind: _latency(messages, first_end) for kind, messages in heard.items()}


def _fill_history(place: Place, symbols: int, rate: float) -> None:
    """Give each symbol of the market a past that ends at the price where the live one begins.

    It is the market's own first hours, told backwards: a random walk has no direction, and a jump at the start of the
    measured minute would be a pattern of every symbol.
    """
    market = Market(symbols=symbols, rate=rate, chunk_ns=60 * SECOND_NS)
    source = SyntheticSource(market, seconds=HISTORY_MINUTES * 60.0)
    last_minute = int(time.time()) // 60 - 3
    with place.database.cursor().copy(
        "COPY recent_bar (symbol, minute, feed, replay, whole, revision, open, high, low, close, volume_micro,"
        " notional, trades, open_ts, close_ts) FROM STDIN"
    ) as copy:
        for back, chunk in enumerate(source.chunks()):
            minute = last_minute - back
            bars = bars_of(chunk.ticks, chunk.ticks.symbol_index)
            copy.write(
                "".join(
                    f"{source.symbols[bar['symbol']]}\t{minute}\tlive\tf\tf\t0\t{bar['close']}\t{bar['high']}"
                    f"\t{bar['low']}\t{bar['open']}\t{bar['volume_micro']}\t{bar['notional']}\t{bar['trades']}"
                    f"\t{minute * 60 * SECOND_NS}\t{minute * 60 * SECOND_NS}\n"
                    for bar in bars
                )
            )


def _listen(url: str, channel: str, heard: list[tuple[str, float]], ended: threading.Event) -> None:
    with redis.Redis.from_url(url) as client, client.pubsub(ignore_subscribe_messages=True) as pubsub:
        pubsub.subscribe(channel)
        while not ended.is_set():
            if message := pubsub.get_message(timeout=0.2):
                heard.append((message["data"], time.time()))


def _latency(messages: list[tuple[str, float]], first_end: float) -> Latency:
    """Look at the bars of the second minute alone: the first one's histories were still being loaded."""
    waits = []
    for data, at_s in messages:
        body = json.loads(data)
        result = body.get("detection") or body["calculation"]
        start_s = datetime.fromisoformat(result["timestamp"]).timestamp()
        if result["timeframe"] == "1min" and start_s == first_end:
            waits.append(at_s - (start_s + 60 + LATENESS_S))
    if not waits:
        raise RuntimeError("nothing was published for the measured minute")
    p50, p99 = np.percentile(waits, (50, 99))
    return Latency(len(waits), float(p50), float(p99), max(waits))
