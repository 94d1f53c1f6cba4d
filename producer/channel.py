"""① Reads one family of the application's tick channels in a thread of its own.

Redis keeps no message of a channel: a message that is published while nobody listens is lost. So the thread only reads,
and each time that the connection is cut, it calls `on_gap` with the market time that was missed.
"""

import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

import numpy as np
import structlog
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from ..contracts.errors import SetupError, UsageError
from ..contracts.gap import OnGap
from ..contracts.gap_reasons import channel_lost
from ..contracts.names import TICK_CHANNELS
from ..contracts.spellings.same_trade import SameTrades
from ..contracts.spellings.tick_json import DEFAULT_SECOND_STAMP, SecondStamp, parse_bodies
from ..contracts.spellings.trade_conditions import DEFAULT_RULES, TRADE_RULES
from ..contracts.stop import Stop
from ..contracts.ticks import Ticks
from ..contracts.universe import EVERY_SYMBOL
from ..db.backoff import Backoff
from ..db.outage import Outage
from ..db.redis import AWAY, address, connect, node_of
from ..db.world import REAL, World

log = structlog.get_logger()

MAX_WAITING_BYTES = (
    256 << 20
)  # over half a minute of 20,000 messages a second; then Redis buffers 32 MB, then it disconnects us
_SILENCE_S = 2.0  # then we ask whether the server is still there
_SILENCES = 3  # in a row; then the server is gone
_WAIT_S = 0.01  # for a first message; the framer must check its linger time meanwhile
_COMPANY_S = 0.002  # how long a message waits for others: a batch costs as much as 40 messages
_MAX_BATCH = 5_000


class ChannelSource:
    """The ticks of a channel family, as they come; None while there are none.

    family: one of names.TICK_CHANNELS. second_stamp: whether a timestamp on a whole second marks the start or the end
    of that second, for ticks without a kind. rules: whether a trade's conditions decide which fields of a bar it sets.
    on_gap: called in the thread that iterates. symbols: only these; None: all that are published.
    """

    def __init__(  # noqa: PLR0913  # how a channel is read
        self,
        redis_url: str,
        family: str = TICK_CHANNELS[0],
        *,
        second_stamp: SecondStamp = DEFAULT_SECOND_STAMP,
        rules: TRADE_RULES = DEFAULT_RULES,
        stop: Stop,
        on_gap: OnGap = lambda *_: None,
        symbols: Collection[str] | None = None,
        world: World = REAL,
    ) -> None:
        self._world = world
        if family not in TICK_CHANNELS:
            raise UsageError(f"channel family {family!r} is unknown: one of {', '.join(TICK_CHANNELS)}")
        self.family = family
        self._redis_url = redis_url
        self._second_stamp: SecondStamp = second_stamp
        self._rules: TRADE_RULES = rules
        self._same = SameTrades()
        self._stop = stop
        self._on_gap = on_gap
        self._last_ms: int | None = None  # market time of the last message
        self._cut: str | None = None  # why messages may be missing since then
        self._listener: _Listener | None = None
        self._wanted: frozenset[str] | None = None
        if symbols is not None:
            self.set_symbols(symbols)

    @property
    def is_connected(self) -> bool:
        """Tell whether we are subscribed."""
        return self._listener is not None and self._listener.is_subscribed

    def set_symbols(self, symbols: Collection[str]) -> None:
        """From now on take only the ticks of these symbols; all if `*` is among them. Any thread may call it."""
        self._wanted = None if EVERY_SYMBOL in symbols else frozenset(symbols)

    def __iter__(self) -> Iterator[Ticks | None]:
        """Listen until the stop. Raises SetupError if Redis refuses us from the start."""
        self._listener = listener = _Listener(self._redis_url, self.family, world=self._world)
        listener.start()
        try:
            while not self._stop.is_set():
                heard = listener.take()
                ticks = self._ticks_of(heard.bodies, listener.since_ms)
                self._cut = self._cut or heard.cut
                yield ticks
        finally:
            self.close()

    def close(self) -> None:
        """Stop listening, when the iteration has ended. A cut that has not ended is reported as a gap until now."""
        if self._listener is None:
            return
        listener, self._listener = self._listener, None
        listener.close()
        if self._cut:
            self._tell_gap(_now_ms(self._world), listener.since_ms)

    def _ticks_of(self, bodies: Sequence[bytes], since_ms: int) -> Ticks | None:
        if not bodies:
            return None
        ticks = self._same.mark(parse_bodies(bodies, second_stamp=self._second_stamp, rules=self._rules))
        if len(ticks):
            at_ms = min(_market_ms(ticks), _now_ms(self._world))
            if self._cut:
                self._tell_gap(at_ms, since_ms)
            self._last_ms = at_ms
            ticks = self._wanted_of(ticks)
        return ticks if len(ticks) or ticks.refused else None

    def _wanted_of(self, ticks: Ticks) -> Ticks:
        wanted = self._wanted
        if wanted is None:
            return ticks
        chosen = np.fromiter((symbol in wanted for symbol in ticks.symbols), np.bool_, len(ticks.symbols))
        return ticks if chosen.all() else ticks.take(chosen[ticks.symbol_index], ticks.refused)

    def _tell_gap(self, at_ms: int, since_ms: int) -> None:
        """Report the gap that ends at market time at_ms; it begins at the last message, or when we began to listen."""
        why, self._cut = str(self._cut), None
        first_ms = since_ms if self._last_ms is None else self._last_ms
        last_ms = max(first_ms, at_ms)
        log.warning("ticks were missed", channel=self.family, first_ms=first_ms, last_ms=last_ms, why=why)
        self._on_gap(first_ms, last_ms, None, why)


def _market_ms(ticks: Ticks) -> int:
    """Return the median market time of a batch, Unix ms. One tick with a wrong time does not change the median much.

    A gap begins at the median of the last batch and ends at the median of the next, so it covers all missed ticks.
    """
    middle = len(ticks) // 2
    return int(np.partition(ticks.ts, middle)[middle]) // 1_000_000


def _now_ms(world: World) -> int:
    return world.unix_ns() // 1_000_000


class _Heard(NamedTuple):
    """Messages in their order. cut: why messages may be missing after them."""

    bodies: list[bytes]
    cut: str | None = None


class _Listener(threading.Thread):
    """Reads a subscription into a queue, and subscribes again for ever.

    since_ms: when it first was subscribed, Unix ms; 0 before.
    """

    def __init__(self, url: str, family: str, *, world: World) -> None:
        super().__init__(name="tickstock-channel", daemon=True)
        self.since_ms = 0
        self._world = world
        self._backoff = Backoff(world)
        self._outage = Outage("redis", self._backoff)
        self._url = url
        self._family = family
        self._client = connect(url, timeout_s=_SILENCE_S)
        self._connection: Any = None
        self._closed = threading.Event()
        self._away = False
        # One thread writes each of these two, so their difference needs no lock.
        self._bytes_put = 0
        self._bytes_taken = 0
        self._queue: SimpleQueue[bytes | _Heard | Exception] = SimpleQueue()
        self._arrived = threading.Event()

    @property
    def is_subscribed(self) -> bool:
        """Tell whether Redis sends us what is published."""
        return bool(self.since_ms) and not self._away

    def take(self) -> _Heard:
        """Return the messages that wait, up to a cut; an empty list after 10 ms without one. Raises SetupError."""
        bodies: list[bytes] = []
        try:
            item = self._first()
            self._world.wait(self._closed, _COMPANY_S)
            while isinstance(item, bytes):
                bodies.append(item)
                if len(bodies) == _MAX_BATCH:
                    break
                item = self._queue.get_nowait()
        except Empty:
            item = b""
        self._bytes_taken += sum(map(len, bodies))
        if isinstance(item, Exception):
            raise item
        return _Heard(bodies, item.cut if isinstance(item, _Heard) else None)

    def _first(self) -> bytes | _Heard | Exception:
        """Return the first item that waits. Raises Empty after 10 ms without one.

        The queue's own timeout is not used: in Python 3.11 and 3.12 it never ends if a signal's handler runs for longer
        than the timeout, and the handler of our stop signal may.
        """
        with suppress(Empty):
            return self._queue.get_nowait()
        self._world.wait(self._arrived, _WAIT_S)
        self._arrived.clear()
        return self._queue.get_nowait()

    def close(self) -> None:
        """Stop listening."""
        self._closed.set()
        if self._connection is not None:
            self._connection.disconnect()  # wakes the thread
        self.join()
        self._client.close()

    # -- in the thread -----------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Listen until closed; if Redis refuses our first subscription, hand the error over and end."""
        while not self._closed.is_set():
            try:
                self._subscribe()
                self._listen()
            except (*AWAY, RedisError) as e:
                if isinstance(e, AuthenticationError | ResponseError) and not self.since_ms:
                    self._hand_over(SetupError(f"Redis at {address(self._url)}, {self._family}: {e}"))
                    return
                if isinstance(e, NoPermissionError):
                    self._hand_over(e)
                    return
                self._note_cut(str(e))
            except Exception as e:  # noqa: BLE001  # the loop that takes raises it again: it must not wait for ever
                self._hand_over(e)
                return
            finally:
                if self._connection is not None:
                    self._connection.disconnect()
            self._world.wait(self._closed, self._backoff.pause_s())

    def _subscribe(self) -> None:
        # A new connection each time: the master or the cluster's nodes may have changed.
        self._connection = node_of(self._client, self._family).connection_pool.make_connection()
        self._connection.connect()
        self._connection.send_command("PSUBSCRIBE" if "*" in self._family else "SUBSCRIBE", self._family)
        self._connection.read_response()
        self.since_ms = self.since_ms or _now_ms(self._world)
        self._away = False
        self._outage.end(channel=self._family)
        log.info("listening", channel=self._family)

    def _listen(self) -> None:
        silences = 0
        while not self._closed.is_set():
            try:
                reply = self._connection.read_response(disconnect_on_error=False)
            except RedisTimeoutError:
                silences += 1
                if silences == _SILENCES:
                    raise
                self._connection.send_command("PING")
                continue
            silences = 0
            if reply[0] in (b"message", b"pmessage"):
                self._put(reply[-1])

    def _put(self, body: bytes) -> None:
        self._hand_over(body)
        self._bytes_put += len(body)
        if self._bytes_put - self._bytes_taken > MAX_WAITING_BYTES:
            self._await_room()

    def _hand_over(self, item: bytes | _Heard | Exception) -> None:
        self._queue.put(item)
        self._arrived.set()

    def _await_room(self) -> None:
        """Read nothing until half of what waits is taken. If Redis disconnects us meanwhile, that is a gap."""
        log.warning("channel waits: ticks come faster than they can be sent", channel=self._family)
        while self._bytes_put - self._bytes_taken > MAX_WAITING_BYTES // 2:
            if self._world.wait(self._closed, 0.01):
                return

    def _note_cut(self, why: str) -> None:
        if self._closed.is_set():
            return
        self._outage.say(why, channel=self._family)
        if self._away:
            return
        self._away = True
        if self.since_ms:
            self._hand_over(_Heard([], channel_lost(self._family, why)))
