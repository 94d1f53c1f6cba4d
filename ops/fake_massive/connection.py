"""One client of the fake server: its key, its subscriptions, and its queued messages."""

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

CHANNELS = ("T", "A", "AM")
_MESSAGE_EVENTS = 500  # in one array: most clients accept messages up to 1 MiB
_MAX_BEHIND_BYTES = 64 << 20  # a client that is further behind is disconnected, as Massive does
_POLICY_VIOLATION = 1008


class Event(NamedTuple):
    """One event of the tape."""

    channel: str
    symbol: str
    text: bytes  # its JSON


class Connection:
    """A connected client."""

    def __init__(self, socket: ServerConnection) -> None:
        self.socket = socket
        self.key: str | None = None  # set when it is accepted
        self.subscribed: set[str] = set()  # "T.*", "AM.AAPL"
        self._queue: deque[tuple[float, bytes]] = deque()  # (earliest send time on the monotonic clock, message)
        self._waiting_bytes = 0
        self._more = asyncio.Event()
        self._closing: tuple[int, str] | None = None

    @property
    def leaves(self) -> bool:
        """Tell whether it is being disconnected."""
        return self._closing is not None

    async def send_for_ever(self) -> None:
        """Send queued messages, in order, until the client disconnects or is disconnected."""
        try:
            while True:
                while self._queue:
                    due_s, message = self._queue.popleft()
                    self._waiting_bytes -= len(message)
                    if (wait_s := due_s - time.monotonic()) > 0:
                        await asyncio.sleep(wait_s)
                    await self.socket.send(message, text=True)
                if self._closing:
                    await self.socket.close(*self._closing)
                    return
                self._more.clear()
                await self._more.wait()
        except ConnectionClosed:
            return

    def tell(self, events: Iterable[Event], *, delay_s: float = 0.0, extra: Sequence[bytes] = ()) -> None:
        """Queue the subscribed events. extra: events added to each message."""
        if not self.subscribed:
            return
        wanted = self.subscribed
        mine = [e.text for e in events if f"{e.channel}.*" in wanted or f"{e.channel}.{e.symbol}" in wanted]
        for first in range(0, len(mine), _MESSAGE_EVENTS):
            self.say(b"[" + b",".join([*mine[first : first + _MESSAGE_EVENTS], *extra]) + b"]", delay_s=delay_s)

    def say(self, message: bytes, *, delay_s: float = 0.0) -> None:
        """Queue one message. A client that is too far behind loses all queued messages, and is disconnected."""
        if self._closing:
            return
        self._queue.append((time.monotonic() + delay_s, message))
        self._waiting_bytes += len(message)
        if self._waiting_bytes > _MAX_BEHIND_BYTES:
            self._queue.clear()
            self._waiting_bytes = 0
            self.send_away("slow_consumer", "you read too slowly")
        self._more.set()

    def say_status(self, *statuses: tuple[str, str]) -> None:
        """Queue a message of status events: (status, message)."""
        events = [{"ev": "status", "status": s, "message": text} for s, text in statuses]
        self.say(json.dumps(events).encode())

    def send_away(self, status: str, message: str) -> None:
        """Send the reason, then close the connection, after the queued messages."""
        self.key = None
        self.subscribed.clear()
        self.say_status((status, message))
        self._closing = (_POLICY_VIOLATION, status)
        self._more.set()

    def cut(self) -> None:
        """Cut the connection without a message."""
        self.socket.transport.abort()

    def subscribe(self, params: str) -> None:
        """Subscribe to "T.*,AM.AAPL"."""
        self._change(params, "subscribed to", self.subscribed.add)

    def unsubscribe(self, params: str) -> None:
        """Remove subscriptions."""
        self._change(params, "unsubscribed to", self.subscribed.discard)

    def _change(self, params: str, done: str, change: Callable[[str], None]) -> None:
        statuses = []
        for name in filter(None, (part.strip() for part in params.split(","))):
            channel, _, symbol = name.partition(".")
            if channel not in CHANNELS or not symbol:
                statuses.append(("error", f"invalid param: {name}"))
                continue
            change(name)
            statuses.append(("success", f"{done}: {name}"))
        self.say_status(*statuses)
