"""The clients of /events. Each receives every result after the one that it names, through a bounded queue."""

import asyncio
import re
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ....contracts.errors import UsageError
from ....contracts.names import RUNS
from ....db.metrics import EVENT_CLIENTS, EVENT_CLIENTS_DROPPED

MOST_CLIENTS = 200
_MOST_WAITING_BYTES = 32 << 20  # queued for one client; all clients share one copy of the data
_REMEMBERED_BYTES = 16 << 20
_EACH_BYTES = 200  # memory of an event without its data
_ID = re.compile(r"(runs|\d{1,5})-(\d{1,18})")


class Event(NamedTuple):
    """A row of the outbox as clients receive it. data: JSON in one line."""

    partition: int
    number: int
    kind: str
    data: bytes

    @property
    def id(self) -> str:
        """Return the result's id, as in the field `result_id` of messages."""
        return f"{'runs' if self.partition == RUNS else self.partition}-{self.number}"

    @property
    def size(self) -> int:
        """Return its memory in bytes."""
        return len(self.data) + _EACH_BYTES


def read_id(text: str) -> tuple[int, int]:
    """Return partition and number of a result's id. Raises UsageError."""
    found = _ID.fullmatch(text)
    if found is None:
        raise UsageError(f"{text[:40]!r} is not the id of an event: PARTITION-NUMBER is needed")
    return RUNS if found[1] == "runs" else int(found[1]), int(found[2])


class TooManyClients(UsageError):
    """The most clients are connected: answer 503."""


class Client:
    """One client, made by the task that sends to it. Any thread may call `offer` and `close`."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._news = asyncio.Event()
        self._waiting: deque[Event] = deque()
        self._bytes = 0
        self._sent: dict[int, int] = {}
        self._is_closed = False

    def offer(self, events: Iterable[Event]) -> bool:
        """Queue events; return False if too many bytes are queued."""
        for event in events:
            self._waiting.append(event)
            self._bytes += event.size
        self._loop.call_soon_threadsafe(self._news.set)
        return self._bytes <= _MOST_WAITING_BYTES

    def put_first(self, events: Sequence[Event]) -> None:
        """Queue events that come before all queued ones."""
        self._waiting.extendleft(reversed(events))
        self._bytes += sum(event.size for event in events)
        self._news.set()

    def close(self, *, now: bool = False) -> None:
        """End the client after its queued events; now: also cancel a send that waits for the client."""
        self._is_closed = True
        self._loop.call_soon_threadsafe(self._news.set)
        if now and self._task is not None:
            self._loop.call_soon_threadsafe(self._task.cancel)

    async def next(self, within_s: float) -> list[Event] | None:
        """Return the new events, each once; [] if none came within the time (seconds); None at the end."""
        if not self._waiting and not self._is_closed:
            self._news.clear()
            if not self._waiting:
                await _until(self._news, within_s)
        if not self._waiting and self._is_closed:
            return None
        return [event for event in self._taken() if self._is_new(event)]

    def _taken(self) -> Iterable[Event]:
        while self._waiting:
            event = self._waiting.popleft()
            self._bytes -= event.size
            yield event

    def _is_new(self, event: Event) -> bool:
        if event.number <= self._sent.get(event.partition, 0):
            return False
        self._sent[event.partition] = event.number
        return True


async def _until(news: asyncio.Event, within_s: float) -> None:
    try:
        await asyncio.wait_for(news.wait(), within_s)
    except TimeoutError:
        return


class EventHub:
    """Has the clients, and the last events in the order in which they were published."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._clients: set[Client] = set()
        self._last: deque[Event] = deque()
        self._bytes = 0
        self._is_closed = False

    def tell(self, events: Sequence[Event]) -> None:
        """Remember events, and queue them for each client; a client with too many queued bytes is disconnected."""
        with self._lock:
            for event in events:
                self._last.append(event)
                self._bytes += event.size
            while self._bytes > _REMEMBERED_BYTES:
                self._bytes -= self._last.popleft().size
            for client in [one for one in self._clients if not one.offer(events)]:
                self._clients.discard(client)
                EVENT_CLIENTS_DROPPED.labels("slow").inc()
                client.close(now=True)
            EVENT_CLIENTS.set(len(self._clients))

    def check_room(self) -> None:
        """Raise TooManyClients if the most clients are connected."""
        if len(self._clients) >= MOST_CLIENTS:
            EVENT_CLIENTS_DROPPED.labels("too_many").inc()
            raise TooManyClients(f"{MOST_CLIENTS} clients are connected, no more are allowed")

    def join(self, after: tuple[int, int] | None) -> tuple[Client, bool]:
        """Add a client that receives the events after one; return whether that event is still remembered.

        after: partition and number; None: the client receives new events only.
        """
        with self._lock:
            client = Client()
            missed = [] if after is None else self._after(after)
            if missed:
                client.offer(missed)
            self._clients.add(client)
            EVENT_CLIENTS.set(len(self._clients))
            if self._is_closed:
                client.close()
            return client, missed is not None

    def _after(self, seen: tuple[int, int]) -> list[Event] | None:
        missed: list[Event] = []
        for event in reversed(self._last):
            if event[:2] == seen:
                return missed[::-1]
            missed.append(event)
        return None

    def leave(self, client: Client) -> None:
        """Forget a client."""
        with self._lock:
            self._clients.discard(client)
            EVENT_CLIENTS.set(len(self._clients))

    def close(self) -> None:
        """End every client after its queued events."""
        with self._lock:
            self._is_closed = True
            for client in self._clients:
                client.close()
