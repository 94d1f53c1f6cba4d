"""Sends the tape to the connected clients, with the chosen misbehaviour. Runs in the server's own thread."""

import asyncio
import json
from collections.abc import Sequence

import msgspec
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from .aggregates import Aggregates
from .connection import Connection, Event
from .misbehaviour import ONCE, Misbehaviour
from .tape import Tape
from .trade import Trade

_MAX_CONNECTIONS = "Maximum number of connections exceeded: another process has connected with this key"

# Clients must survive these: a quote, an unknown event, invalid trades.
_GARBAGE = (
    b'{"ev":"Q","sym":"AAPL","bp":1.0,"ap":2.0,"t":1}',
    b'{"ev":"NEW","sym":"AAPL"}',
    b'{"ev":"T","sym":"AAPL","p":-1.0,"s":100,"t":1700000000000}',
    b'{"ev":"T","sym":null,"p":"many","t":[]}',
)


class Broadcast:
    """The connected clients, the trades sent, and their bars."""

    def __init__(self, tape: Tape, misbehaviour: Misbehaviour, *, key: str | None) -> None:
        """key: the only accepted key; None: any."""
        self.aggregates = Aggregates()
        self.connections: set[Connection] = set()
        self._tape = tape
        self._misbehaviour = misbehaviour
        self._key = key

    def step(self, now_ns: int, told: Sequence[Trade] = ()) -> None:
        """Send the trades that are due since the last step, and those of `told`. now_ns: Unix ns."""
        trades = [*self._tape.until(now_ns), *told]
        self.aggregates.add(trades)
        due = self.aggregates.due(now_ns // 1_000_000)
        if not self.let_in() or self._misbehaviour.does("stall"):
            return
        events = [Event("T", trade.symbol, msgspec.json.encode(trade)) for trade in trades]
        events += [Event(event["ev"], event["sym"], msgspec.json.encode(event)) for event in due]
        extra = _GARBAGE if self._misbehaviour.does("garbage") else ()
        for connection in self.let_in():
            connection.tell(events, delay_s=self._misbehaviour.delay_s(), extra=extra)

    def misbehave(self, what: str, *, seconds: float | None = None, times: int | None = None) -> None:
        """Misbehave from now on, or once. Raises UsageError."""
        self._misbehaviour.switch_on(what, seconds=seconds, times=times)
        if what in ONCE:
            for connection in list(self.connections):
                connection.cut() if what == "cut" else connection.send_away("max_connections", _MAX_CONNECTIONS)

    def say(self, message: bytes) -> None:
        """Send a message unchanged to all clients."""
        for connection in self.let_in():
            connection.say(message)

    def let_in(self) -> list[Connection]:
        """Return the clients whose keys were accepted."""
        return [connection for connection in self.connections if connection.key is not None]

    async def converse(self, socket: ServerConnection) -> None:
        """Serve one client until it disconnects."""
        connection = Connection(socket)
        sender = asyncio.create_task(connection.send_for_ever())
        self.connections.add(connection)
        connection.say_status(("connected", "Connected Successfully"))
        try:
            async for message in socket:
                self._hear(connection, message)
        except ConnectionClosed:
            pass
        finally:
            self.connections.discard(connection)
            sender.cancel()

    def _hear(self, connection: Connection, message: str | bytes) -> None:
        if connection.leaves:
            return
        try:
            said = json.loads(message)
            action, params = said["action"], str(said.get("params", ""))
        except (ValueError, TypeError, KeyError, AttributeError):
            connection.say_status(("error", "a JSON object with an action is needed"))
            return
        if action == "auth":
            self._authenticate(connection, params)
        elif connection.key is None:
            connection.say_status(("error", "not authorized"))
        elif action == "subscribe":
            connection.subscribe(params)
        elif action == "unsubscribe":
            connection.unsubscribe(params)
        else:
            connection.say_status(("error", f"unknown action: {action}"))

    def _authenticate(self, connection: Connection, key: str) -> None:
        """Accept a key, or refuse it. The older connection with this key is closed, as Massive does."""
        if not key or self._key not in (None, key) or self._misbehaviour.does("auth_failed"):
            connection.send_away("auth_failed", "authentication failed")
            return
        if self._misbehaviour.does("max_connections"):
            connection.send_away("max_connections", _MAX_CONNECTIONS)
            return
        for other in self.let_in():
            if other.key == key and other is not connection:
                other.send_away("max_connections", _MAX_CONNECTIONS)
        connection.key = key
        connection.say_status(("auth_success", "authenticated"))
