"""One client of the pretend server: its key, what it subscribed to, and the messages on their way to it."""

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

CHANNELS = ("T", "A", "AM")
_MESSAGE_EVENTS = 500  # of one array at most: most clients take messages up to 1 MiB
_MAX_BEHIND_BYTES = 64 << 20  # a client that is further behind is sent away, as Massive does
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
        self.key: str | None = None  # once it is let in
        self.subscribed: set[str] = set()  # "T.*", "AM.AAPL"
        self._queue: deque[tuple[float, bytes]] = deque()  # (not before, on the monotonic clock; one message)
        self._waiting_bytes = 0
        self._more = asyncio.Event()
        self._closing: tuple[int, str] | None = None

    @property
    def leaves(self) -> bool:
        """Tell whether it was sent away."""
        return self._closing is not None

    async def send_for_ever(self) -> None:
        """Send what is queued, in order, until the client is gone or was sent away."""
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
        """Queue those of some events that it subscribed to. extra: events that each message holds besides."""
        if not self.subscribed:
            return
        wanted = self.subscribed
        mine = [e.text for e in events if f"{e.channel}.*" in wanted or f"{e.channel}.{e.symbol}" in wanted]
        for first in range(0, len(mine), _MESSAGE_EVENTS):
            self.say(b"[" + b",".join([*mine[first : first + _MESSAGE_EVENTS], *extra]) + b"]", delay_s=delay_s)

    def say(self, message: bytes, *, delay_s: float = 0.0) -> None:
        """Queue one message. A client that is too far behind loses all that waits, and is sent away."""
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
        """Say why, then close the connection, after what is queued."""
        self.key = None
        self.subscribed.clear()
        self.say_status((status, message))
        self._closing = (_POLICY_VIOLATION, status)
        self._more.set()

    def cut(self) -> None:
        """End the connection without a word."""
        self.socket.transport.abort()

    def subscribe(self, params: str) -> None:
        """Subscribe to "T.*,AM.AAPL"."""
        self._change(params, "subscribed to", self.subscribed.add)

    def unsubscribe(self, params: str) -> None:
        """Take subscriptions back."""
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
