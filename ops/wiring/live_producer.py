"""The live feeds: Massive's WebSocket, or the application's channels, and the threads beside them.

Beside the producer's loop, one thread records and repairs gaps, and one watches for changes of the universe.
"""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit
from uuid import uuid4

import structlog

from ...contracts.bar import MINUTE_MS
from ...contracts.frames.maker import Identity
from ...contracts.gap import Gap, OnGap
from ...contracts.market_hours import load_calendar
from ...contracts.names import TICK_CHANNELS
from ...contracts.spellings.tick_json import DEFAULT_SECOND_STAMP, SecondStamp
from ...contracts.spellings.trade_conditions import DEFAULT_RULES, TRADE_RULES
from ...contracts.universe import EVERY_SYMBOL
from ...db.metrics import count_gap
from ...db.postgres import Connection
from ...db.queries import query
from ...db.redis import Client, redis_ms
from ...db.tables.universe import Universe
from ...producer.channel import ChannelSource
from ...producer.gap_repair import SETTLE_S
from ...producer.massive.feed import MassiveSource
from ...producer.massive.reader import SILENCE_S, TRADES, MassiveOptions
from ...producer.massive.rest import REST_PER_MINUTE, REST_URL, MassiveRest
from ...producer.produce import Feed, Progress
from ...producer.repair import RepairThread
from ..process.shutdown import Stop
from .live_hours import LiveHours, at_clock
from .live_start import Start
from .producer import ProducerOptions, run_producer
from .servers import Place, wait_for_server, with_postgres

log = structlog.get_logger()

MASSIVE_URL = "wss://socket.massive.com/stocks"
_DELAYED_HOST, DELAYED_MS = "delayed.", 900_000  # delayed.massive.com is 15 minutes behind
_JOIN_S = 8.0  # for the repair: it sends its end and waits shortly for the commit
_RESTART_LOOK_BACK_MINUTES = 4 * 24 * 60  # over a long weekend; after a longer stop, the daily import fills the rest
_STOP_MS = 30_000  # a stop first ends the reading, then waits at most this time for the last commits

Source = Literal["massive", "channel"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveOptions:
    """User options of a live feed. Each name ends with its unit.

    universe: None for every symbol. feed_delay_s, silence_s: None: the feed's default.
    """

    source: Source
    universe: str | None = None
    repair: bool = True
    key: str = field(default="", repr=False)
    rest_url: str = REST_URL
    rest_per_minute: float = REST_PER_MINUTE
    channel: str = TRADES
    massive_url: str = MASSIVE_URL
    rules: TRADE_RULES = DEFAULT_RULES
    feed_delay_s: float | None = None
    silence_s: float | None = None
    watch: Literal["market", "always"] = "market"
    family: str = TICK_CHANNELS[0]
    second_stamp: SecondStamp = DEFAULT_SECOND_STAMP

    @property
    def delay_ms(self) -> int:
        """The feed's delay behind the market."""
        if self.feed_delay_s is not None:
            return int(self.feed_delay_s * 1000)
        is_delayed = self.source == "massive" and (urlsplit(self.massive_url).hostname or "").startswith(_DELAYED_HOST)
        return DELAYED_MS if is_delayed else 0


def run_live(
    where: Place,
    client: Client,
    live: LiveOptions,
    options: ProducerOptions,
    partitions: int,
    stop: Stop,
    on_progress: Callable[[Progress], None],
) -> bool:
    """Produce a live feed until the stop; return whether all of it is committed.

    Raises SetupError if the feed refuses us, or another ingest runs; UsageError if the universe is invalid.
    """
    load_calendar()
    universe = wait_for_server(
        lambda: Universe(live.universe or EVERY_SYMBOL, where.servers.database_url), where.connect_timeout_s
    )
    repair = _repair_thread(where, live, options, partitions, universe, stop)
    hours = LiveHours(
        where.servers.database_url, watches_always=live.watch == "always", never_closes=options.always_open
    )
    with_postgres(where, "tickstock-producer", hours.read)
    since_ms = _complete_until_ms(where, options.feed, live.delay_ms)
    now_ms = _clock(wait_for_server(lambda: redis_ms(client), where.connect_timeout_s), live.delay_ms)

    def on_gap(first_ms: int, last_ms: int, symbols: Sequence[str] | None, why: str) -> None:
        count_gap(why)
        for part in hours.parts(first_ms, last_ms):
            repair.note(Gap(options.feed, *part, why, None if symbols is None else tuple(symbols)))

    source = _source(where, live, universe, stop, now_ms=now_ms, on_gap=on_gap, hours=hours)
    name = f"{live.source}-{uuid4().hex[:12]}"  # contracts.names.MARKET_PRODUCERS has these prefixes
    identity = Identity(name, options.feed, "live", publish=True, delay_ms=live.delay_ms, codec=options.codec)
    with ExitStack() as opened:
        opened.callback(_end, stop, repair)
        repair.start()
        whole_minutes = live.channel == "AM" and live.source == "massive"  # each message covers a whole minute
        start = Start(since_ms, now_ms, on_gap, is_traded=hours.is_traded)
        note_added = (lambda _: None) if whole_minutes else start.note_added
        _TablesWatch(universe, hours, source, stop, note_added).start()
        ticks = opened.enter_context(closing(start.passed_on(source, whole_minutes=whole_minutes)))
        numbers = dict.fromkeys(range(partitions), 0)
        feed = Feed(identity, ticks, numbers, f"producer:{name}", options.linger_ms, ends=True, is_ingest=True,
                    is_up=lambda: source.is_connected, symbols=universe.symbols())  # fmt: skip
        return run_producer(where, client, feed, options, stop, on_progress, on_gap)


def _end(stop: Stop, repair: RepairThread) -> None:
    stop.set()
    repair.join(_JOIN_S)


def _source(
    where: Place,
    live: LiveOptions,
    universe: Universe,
    stop: Stop,
    *,
    now_ms: Callable[[], int],
    on_gap: OnGap,
    hours: LiveHours,
) -> MassiveSource | ChannelSource:
    symbols = _listed(universe.symbols())
    if live.source == "channel":
        return ChannelSource(
            where.servers.redis_url, live.family, second_stamp=live.second_stamp, rules=live.rules, stop=stop,
            on_gap=on_gap, symbols=symbols,
        )  # fmt: skip
    silence_s = live.silence_s or SILENCE_S[live.channel]
    massive = MassiveOptions(live.massive_url, live.key, live.channel, live.rules, silence_s=silence_s)
    is_watched = at_clock(now_ms, hours.is_watched)
    return MassiveSource(massive, symbols, stop=stop, now_ms=now_ms, on_gap=on_gap, is_watched=is_watched)


def _listed(symbols: list[str]) -> list[str] | None:
    return None if EVERY_SYMBOL in symbols else symbols


class _TablesWatch(threading.Thread):
    """Passes a changed universe to the source and reads the market's closures, in a thread: either may take seconds.

    note_added: called with the symbols that are added; None: all.
    """

    def __init__(
        self,
        universe: Universe,
        hours: LiveHours,
        source: MassiveSource | ChannelSource,
        stop: Stop,
        note_added: Callable[[Sequence[str] | None], None],
    ) -> None:
        super().__init__(name="universe", daemon=True)
        self._universe = universe
        self._hours = hours
        self._source = source
        self._stop = stop
        self._note_added = note_added

    def run(self) -> None:
        """Watch until the stop."""
        known = self._universe.symbols()
        while not self._stop.wait(1.0):
            self._hours.refresh()
            symbols = self._universe.changed()
            if symbols is not None:
                self._source.set_symbols(symbols)
                if EVERY_SYMBOL not in known and (added := sorted(set(symbols) - set(known))):
                    self._note_added(None if EVERY_SYMBOL in added else added)
                known = symbols


# -- time, and gaps ---------------------------------------------------------------------------------------------------


def _clock(now_ms: int, delay_ms: int) -> Callable[[], int]:
    """Return a clock of the feed's market time, Unix ms: Redis's clock, continued by the monotonic one."""
    base_ms, base_s = now_ms - delay_ms, time.monotonic()
    return lambda: base_ms + int((time.monotonic() - base_s) * 1000)


def _repair_thread(
    where: Place, live: LiveOptions, options: ProducerOptions, partitions: int, universe: Universe, stop: Stop
) -> RepairThread:
    """Make the thread that records gaps, and repairs them if there is an API key for the vendor."""
    rest = None
    if live.repair and live.key:
        rest = MassiveRest(live.rest_url, live.key, per_minute=live.rest_per_minute, wait=stop.wait)
    elif live.repair:
        log.warning("gaps are recorded, not repaired", why="no API key", do="set MASSIVE_API_KEY, or use --no-repair")
    return RepairThread(
        where.servers.database_url,
        where.servers.redis_url,
        rest,
        partitions=partitions,
        symbols=lambda: _listed(universe.symbols()),
        stop=stop,
        feed=options.feed,
        settle_s=SETTLE_S + live.delay_ms / 1000,
    )


def _complete_until_ms(where: Place, feed: str, delay_ms: int) -> int | None:
    """Return the market time up to which a live feed is complete, Unix ms; None: it sent nothing lately.

    This is the start of its last minute with a bar, or the time at which its last producer stopped without a crash.
    """
    values = {"feed": feed, "look_back": _RESTART_LOOK_BACK_MINUTES}

    def ask(connection: Connection) -> int | None:
        (minute,) = connection.execute(query("last_live_minute"), values).fetchone() or (None,)
        (stopped_s,) = connection.execute(query("last_clean_stop"), {"feed": feed}).fetchone() or (0.0,)
        return None if minute is None else max(minute * MINUTE_MS, int(stopped_s * 1000) - _STOP_MS - delay_ms)

    return with_postgres(where, "tickstock-producer", ask)
