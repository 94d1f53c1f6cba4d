"""① Massive's live feed: a thread reads messages into a bounded inbox, the producer's loop takes them as Ticks."""

import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence

import structlog

from ...contracts.gap import OnGap
from ...contracts.spellings.massive_json import parse_messages
from ...contracts.spellings.same_trade import SameTrades
from ...contracts.stop import Stop
from ...contracts.ticks import Ticks
from ...db.world import REAL, World
from .reader import MassiveOptions, MassiveReader

log = structlog.get_logger()

MAX_WAITING_BYTES = 128 << 20  # about a million trades: some seconds of the busiest market
_WAIT_S = 0.005  # for a first message; the framer must check its linger time meanwhile
_COMPANY_S = 0.002  # how long a message waits for others: a batch costs as much as 100 trades
_MAX_BATCH_BYTES = 2 << 20


class Inbox:
    """A bounded queue of messages for the producer's loop: when it is full, `put` waits and nothing is read."""

    def __init__(self, max_bytes: int = MAX_WAITING_BYTES) -> None:
        self.times_full = 0
        self._max_bytes = max_bytes
        self._bodies: deque[bytes] = deque()
        self._bytes = 0
        self._closed = False
        self._changed = threading.Condition()

    def put(self, body: bytes) -> None:
        """Add a message; wait while there is no room."""
        with self._changed:
            if self._bytes >= self._max_bytes and not self._closed:
                self.times_full += 1
                log.warning("feed waits: ticks come faster than they can be sent", times=self.times_full)
                self._changed.wait_for(lambda: self._closed or self._bytes <= self._max_bytes // 2)
            self._bodies.append(body)
            self._bytes += len(body)
            self._changed.notify_all()

    def wait(self, seconds: float) -> bool:
        """Wait for a message; return whether there is one."""
        with self._changed:
            return self._changed.wait_for(lambda: bool(self._bodies), seconds)

    def take(self) -> list[bytes]:
        """Return the waiting messages in order, at most some MB."""
        taken: list[bytes] = []
        size = 0
        with self._changed:
            while self._bodies and size < _MAX_BATCH_BYTES:
                taken.append(self._bodies.popleft())
                size += len(taken[-1])
            self._bytes -= size
            self._changed.notify_all()
        return taken

    def close(self) -> None:
        """End every wait of `put`."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class MassiveSource:
    """The ticks of Massive's live feed, as they come; None while there are none.

    symbols: None for every symbol. on_gap: called in another thread, with the market time that was missed and why.
    now_ms: the feed's market time. is_watched: whether silence means a dead connection now.
    """

    def __init__(
        self,
        options: MassiveOptions,
        symbols: Sequence[str] | None,
        *,
        stop: Stop,
        now_ms: Callable[[], int],
        on_gap: OnGap,
        is_watched: Callable[[], bool] = lambda: True,
        world: World = REAL,
    ) -> None:
        self._world = world
        self._rules = options.rules
        self._stop = stop
        self._inbox = Inbox()
        self._unknown: set[Hashable] = set()
        self._same = SameTrades()
        self._reader = MassiveReader(
            options,
            symbols,
            put=self._inbox.put,
            on_gap=on_gap,
            now_ms=now_ms,
            is_watched=is_watched,
            world=world,
        )

    @property
    def times_full(self) -> int:
        """How often the reader had to wait for the producer's loop."""
        return self._inbox.times_full

    @property
    def is_connected(self) -> bool:
        """Tell whether messages arrive."""
        return self._reader.is_connected

    def set_symbols(self, symbols: Sequence[str]) -> None:
        """Subscribe to these symbols from now on; any thread may call it."""
        self._reader.set_symbols(symbols)

    def __iter__(self) -> Iterator[Ticks | None]:
        """Listen until the stop. Raises SetupError if the API key is refused."""
        self._reader.start()
        try:
            while not self._stop.is_set():
                failure = self._reader.failure
                if not self._world.wait(self._inbox, _WAIT_S):
                    if failure is not None:
                        raise failure
                    yield None
                    continue
                self._world.wait(self._stop, _COMPANY_S)
                yield self._ticks_of(self._inbox.take())
        finally:
            self._inbox.close()
            self._reader.close()

    def _ticks_of(self, bodies: Sequence[bytes]) -> Ticks | None:
        parsed = parse_messages(bodies, self._rules)
        if new := parsed.unknown - self._unknown:
            self._unknown |= new
            log.warning("unknown trade conditions: such trades count for volume only", conditions=sorted(map(str, new)))
        return self._same.mark(parsed.ticks) if len(parsed.ticks) or parsed.ticks.refused else None
