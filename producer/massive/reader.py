"""Connects to Massive's WebSocket again and again: login, subscription, messages, and the gap of each break.

The official client's rules lose data (a lifetime limit of reconnects, a silent return on a normal close, its handler
awaited inline), so this one is ours. Massive keeps nothing for a client that was away: each break is reported as a gap.
"""

import logging
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import islice
from urllib.parse import urlsplit

import certifi
import msgspec
import structlog
from websockets.exceptions import WebSocketException
from websockets.sync import client as websocket_client
from websockets.sync.client import ClientConnection, connect

from ...contracts import gap_reasons
from ...contracts.errors import SetupError, TickStockError, UsageError
from ...contracts.gap import OnGap
from ...contracts.spellings.massive_json import ServerStatus, parse_messages
from ...contracts.spellings.trade_conditions import DEFAULT_RULES, TRADE_RULES
from ...db.backoff import Backoff
from ...db.outage import Outage
from ...db.world import World
from .breaks import Breaks

log = structlog.get_logger()

_TOPICS_A_MESSAGE = 500
_MAX_MESSAGE_BYTES = 32 << 20
_LOGIN_S = 15.0
_LOOK_EVERY_S = 0.5  # for silence, while nothing comes
_STEADY_S = 10.0  # after a connection of this length the next pause is short again
_MOST_SAID = 100  # different statuses of the server that are logged
_SHOWN_LENGTH = 200
_LOOK_AT_ACCOUNT = "check the account, and MASSIVE_API_KEY or --api-key-file"
_LONGEST_SILENCE = 16  # times silence_s: with symbols that hardly trade, or while trading is halted, all are silent

# The library's own logger writes every message at its debug level, and one of them holds the key.
_SILENT = logging.getLogger("tickstockpl.massive.websocket")
_SILENT.setLevel(logging.CRITICAL + 1)


# Only the address itself is tried: a redirect would take the key to another host.
websocket_client.MAX_REDIRECTS = 1


TRADES = "T"  # the channel of trades
SILENCE_S = {TRADES: 30.0, "A": 30.0, "AM": 150.0}  # until a reconnect, by channel; minutes come once a minute


@dataclass(frozen=True, slots=True)
class MassiveOptions:
    """The address of the feed, and what to subscribe to.

    channel: T trades, A seconds, AM minutes. rules: whether trades' conditions decide what they set. silence_s:
    reconnect after this time without a message. held_s: wait this time if another process has taken the feed.
    """

    url: str
    key: str = field(repr=False)
    channel: str = TRADES
    rules: TRADE_RULES = DEFAULT_RULES
    silence_s: float = SILENCE_S[TRADES]
    held_s: float = 60.0

    def __post_init__(self) -> None:
        """Raise UsageError if the key would be sent unencrypted, or if the URL is not that of a WebSocket."""
        try:
            parts = urlsplit(self.url)
            host, _ = parts.hostname or "", parts.port
        except ValueError as e:
            raise UsageError(f"{self.url!r} is not an address: {e}") from e
        if parts.scheme not in ("ws", "wss") or not host:
            raise UsageError(f"{self.url!r} is not an address of a WebSocket: wss://HOST/stocks is needed")
        if parts.scheme == "ws" and host.endswith(("massive.com", "polygon.io")):
            raise UsageError(f"{self.url!r} would send the API key in the clear: use wss://")


class _Held(TickStockError):
    """Another process connected with our key, and the server closed our connection: wait before connecting again."""


class _Silent(TickStockError):
    """No message came for too long: the connection may be dead."""


class MassiveReader(threading.Thread):
    """Reads messages and hands over their bytes; on_gap and put are called in this thread.

    put: may block; then nothing is read, and the server disconnects us after a while. is_watched: whether silence means
    a dead connection now. now_ms: the feed's market time, Unix ms: with a delayed feed less its delay.
    """

    def __init__(
        self,
        options: MassiveOptions,
        symbols: Sequence[str] | None,
        *,
        put: Callable[[bytes], None],
        on_gap: OnGap,
        now_ms: Callable[[], int],
        is_watched: Callable[[], bool],
        world: World,
    ) -> None:
        super().__init__(name="tickstock-massive", daemon=True)
        self._world = world
        self._backoff = Backoff(world, first_s=0.2, longest_s=30.0)
        # A back-off of its own: the loop's pauses grow until a connection lasts.
        self._outage = Outage("massive", Backoff(world), every_reason=True)
        self.failure: Exception | None = None
        self._was_in = False  # the key was accepted once
        self._said: set[tuple[str, str]] = set()
        self._where = _shown(options.url)
        self._options = options
        self._put = put
        self._breaks = Breaks(options.channel, now_ms=now_ms, on_gap=on_gap, world=world)
        self._is_watched = is_watched
        self._tls = _tls() if urlsplit(options.url).scheme == "wss" else None
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._symbols = symbols  # guarded by the lock, like the two below
        self._connection: ClientConnection | None = None
        self._subscribed: set[str] = set()
        self._listens_since: float | None = None  # monotonic
        self._silence = 1  # times silence_s

    @property
    def is_connected(self) -> bool:
        """Tell whether messages come: we are subscribed, and the feed is not silent for too long."""
        return not self._breaks.is_away

    def set_symbols(self, symbols: Sequence[str]) -> None:
        """Subscribe to these symbols from now on; any thread may call it.

        What was missed of a new symbol before is not a gap.
        """
        with self._lock:
            self._symbols = tuple(symbols)
            try:
                self._send_difference()
            except (WebSocketException, OSError) as e:
                log.debug("subscription waits for the next connection", why=str(e))

    def close(self) -> None:
        """End the connection and the thread."""
        self._closed.set()
        with self._lock:
            connection = self._connection
        if connection is not None:
            connection.close()
        self.join(timeout=2.0)  # while it connects, it may take longer: it is a daemon

    def run(self) -> None:
        """Read until closed; an error that a new connection cannot solve is kept in `failure`."""
        try:
            while not self._closed.is_set():
                self._read_one_connection()
        except Exception as e:  # noqa: BLE001  # the thread's only loop: its owner raises what stopped it
            self.failure = e
        with self._lock:
            symbols = self._symbols
        self._breaks.close(symbols)

    def _read_one_connection(self) -> None:
        self._listens_since = None
        least_s = 0.0
        try:
            with self._connect() as connection:
                self._log_in(connection)
                self._subscribe(connection)
                self._listen(connection)
        except _Held as e:
            least_s = self._options.held_s
            self._note_break(e)
        except (_Silent, WebSocketException, OSError) as e:
            self._note_break(e)
        finally:
            with self._lock:
                self._connection = None
        self._pause(least_s)

    def _pause(self, least_s: float) -> None:
        """Wait before the next connection, longer each time, unless the last one lasted."""
        if self._listens_since is not None and self._world.monotonic_s() > self._listens_since + _STEADY_S:
            self._backoff.reset()
        self._world.wait(self._closed, max(self._backoff.pause_s(), least_s * self._world.uniform(0.5, 1.0)))

    def _connect(self) -> AbstractContextManager[ClientConnection]:
        return connect(
            self._options.url, ssl=self._tls, max_size=_MAX_MESSAGE_BYTES, close_timeout=1, logger=_SILENT
        )  # fmt: skip

    # -- login and subscription ----------------------------------------------------------------------------------------

    def _log_in(self, connection: ClientConnection) -> None:
        """Send the key, and wait until it is accepted. Raises SetupError if it is refused."""
        self._await_status(connection, "connected")
        connection.send(msgspec.json.encode({"action": "auth", "params": self._options.key}), text=True)
        self._await_status(connection, "auth_success")
        self._was_in = True

    def _await_status(self, connection: ClientConnection, wanted: str) -> None:
        deadline = self._world.monotonic_s() + _LOGIN_S
        while True:
            body = connection.recv(timeout=max(0.0, deadline - self._world.monotonic_s()), decode=False)
            if any(status.status == wanted for status in self._heed(body)):
                return

    def _heed(self, body: bytes) -> list[ServerStatus]:
        """Return the statuses in a message, and act on those that end a connection. Raises SetupError, _Held."""
        statuses = parse_messages([body]).statuses if b'"status"' in body else []
        for status in statuses:
            match status.status:
                case "auth_failed" if not self._was_in:
                    raise SetupError(
                        f"Massive at {self._where} refuses the API key: check MASSIVE_API_KEY or --api-key-file"
                    )
                case "auth_failed":  # it accepted the key before, and may do so again
                    log.error("massive refuses the API key that it took before", url=self._where, do=_LOOK_AT_ACCOUNT)
                    raise _Held(gap_reasons.KEY_REFUSED)
                case "max_connections":
                    raise _Held(gap_reasons.FEED_TAKEN)
                case "error" | "not_authorized":
                    self._say(status, "check what the plan allows, and the symbols")
                case "connected" | "auth_success" | "success":
                    pass
                case _:
                    self._say(status, "nothing, if ticks come; else look up this status at the vendor")
        return statuses

    def _say(self, status: ServerStatus, do: str) -> None:
        """Log each status of the server once: it may send the same one for each symbol or each second."""
        what = (status.status, self._masked(status.message)[:_SHOWN_LENGTH])
        if what in self._said or len(self._said) >= _MOST_SAID:
            return
        self._said.add(what)
        log.error(
            "massive says", url=self._where, channel=self._options.channel, status=ascii(what[0][:_SHOWN_LENGTH])[1:-1],
            why=ascii(what[1])[1:-1], do=do,
        )  # fmt: skip

    def _subscribe(self, connection: ClientConnection) -> None:
        with self._lock:
            self._connection, self._subscribed = connection, set()
            self._send_difference()

    def _send_difference(self) -> None:
        if self._connection is None:
            return
        wanted = {
            f"{self._options.channel}.{symbol}" for symbol in (("*",) if self._symbols is None else self._symbols)
        }
        changes = (("unsubscribe", self._subscribed - wanted), ("subscribe", wanted - self._subscribed))
        self._subscribed = wanted
        for action, topics in changes:
            for some in _chunks(sorted(topics)):
                self._connection.send(msgspec.json.encode({"action": action, "params": ",".join(some)}), text=True)

    # -- messages, silence and breaks ----------------------------------------------------------------------------------

    def _listen(self, connection: ClientConnection) -> None:
        self._listens_since = self._world.monotonic_s()
        self._breaks.listen()
        while not self._closed.is_set():
            try:
                body = connection.recv(timeout=_LOOK_EVERY_S, decode=False)
            except TimeoutError:
                self._look_for_silence()
                continue
            if not self._heed(body):
                self._silence = 1
            if self._breaks.is_away:
                self._note_return()
            self._put(body)
            self._breaks.hear(body)  # after the put: while that waited, we read nothing

    def _look_for_silence(self) -> None:
        if self._is_watched() and self._breaks.silent_s > self._options.silence_s * self._silence:
            self._silence = min(_LONGEST_SILENCE, self._silence * 2)
            raise _Silent(gap_reasons.SILENT)

    def _note_break(self, error: Exception) -> None:
        why = self._masked(str(error) or type(error).__name__)
        if self._closed.is_set():
            return
        if self._breaks.is_away:
            self._say_away(why)
            return
        self._outage.say(why, url=self._where, silent_s=round(self._breaks.silent_s, 1))
        reason = str(error) if isinstance(error, _Held | _Silent) else gap_reasons.CONNECTION_LOST
        self._breaks.begin(reason, was_silent=isinstance(error, _Silent))

    def _say_away(self, why: str) -> None:
        """Log once why there is no connection, for each different reason."""
        self._outage.say(why, do="look at --massive-url and the network", url=self._where)

    def _masked(self, text: str) -> str:
        """Remove the key from a text of the server, which may quote it."""
        return text.replace(self._options.key, "***") if self._options.key else text

    def _note_return(self) -> None:
        with self._lock:
            symbols = self._symbols
        count = "*" if symbols is None else len(symbols)
        self._outage.end(url=self._where)
        log.info("massive connected", url=self._where, channel=self._options.channel, symbols=count)
        self._breaks.end(symbols)


def _shown(url: str) -> str:
    """Return an address without its query, for logs: a query may contain a key."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _chunks(topics: Sequence[str]) -> Iterator[list[str]]:
    left = iter(topics)
    while some := list(islice(left, _TOPICS_A_MESSAGE)):
        yield some


def _tls() -> ssl.SSLContext:
    """Trust the system's roots, which may hold a company's own, and those of certifi, which are always there."""
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context
