"""How long after a bar's close its results are published, at 1x, with every row durable in PostgreSQL before."""

import json
import threading
import time
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import redis
from place import Place, running, wait_for
from tickstockpl.producer.synthetic import Market, SyntheticSource

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


def publish_latency(place: Place, *, symbols: int, rate: float) -> dict[str, Latency]:
    """Run a live market over two ends of a minute; return what a subscriber measured at the second, by kind."""
    _fill_history(place, symbols)
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


def _fill_history(place: Place, symbols: int) -> None:
    """Give each symbol of the market a past, so that detectors have their windows."""
    now = int(time.time()) // 60
    minutes = np.arange(now - HISTORY_MINUTES, now - 3)
    numbers = np.random.default_rng(20131007)
    with place.database.cursor().copy(
        "COPY recent_bar (symbol, minute, feed, replay, whole, revision, open, high, low, close, volume_micro,"
        " notional, trades, open_ts, close_ts) FROM STDIN"
    ) as copy:
        for name in SyntheticSource(Market(symbols=symbols), seconds=1.0).symbols:
            close = np.round(100 + np.cumsum(numbers.normal(0, 0.05, len(minutes))), 2)
            opened = np.concatenate(([100.0], close[:-1]))
            copy.write(
                "".join(
                    f"{name}\t{minute}\tlive\tf\tf\t0\t{o}\t{max(o, c) + 0.03}\t{min(o, c) - 0.03}\t{c}\t1e9\t1e5\t300"
                    f"\t{minute * 60_000_000_000}\t{minute * 60_000_000_000}\n"
                    for minute, o, c in zip(minutes.tolist(), opened.tolist(), close.tolist(), strict=True)
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
