"""FakeMassive: one port, the WebSocket `/stocks` and the REST calls, in a thread of its own."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Self, TypeVar

from websockets.asyncio.server import serve

from ...contracts.errors import TickStockError, UsageError
from .aggregates import Bar
from .broadcast import Broadcast
from .gate import PATH, Gate
from .misbehaviour import SLOW_S, Misbehaviour, Plan
from .reference import Reference
from .rest import Rest
from .tape import EmptyTape, Tape
from .trade import Trade

_STEP_S = 0.02  # trades are sent in arrays of this duration
_START_WITHIN_S = 60.0

T = TypeVar("T")


class FakeMassive:
    """A fake Massive server on 127.0.0.1, for tests and demos; a context manager.

    The tape always runs: a client that was away has missed its trades, and only REST still has them. Every method may
    be called from any thread.
    """

    def __init__(
        self,
        tape: Tape | None = None,
        *,
        reference: Reference | None = None,
        key: str | None = None,
        port: int = 0,
        plans: Sequence[Plan] = (),
        slow_s: float = SLOW_S,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """tape: None sends only the trades of `tell`. reference: None: no day and no symbol is known.

        key: the only accepted key, None: any. port 0: a free one.
        plans: planned misbehaviour. slow_s: the delay of `slow`. now_ns: returns the time, Unix ns.
        """
        self.port = port
        self._plans = sorted(plans, key=lambda plan: plan.at_s)
        self._now_ns = now_ns
        self._misbehaviour = Misbehaviour(slow_s=slow_s)
        self._broadcast = Broadcast(tape or EmptyTape(), self._misbehaviour, key=key)
        self._rest = Rest(self._broadcast.aggregates.bars, reference or Reference(), self._misbehaviour, key=key)
        self._stopping = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None

    # What a test or a command does

    def start(self) -> Self:
        """Listen, and play the tape up to now. Raises UsageError if the port is in use."""
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), name="fake-massive", daemon=True)
        self._thread.start()
        if not ready.wait(_START_WITHIN_S):
            raise TickStockError(f"the fake server was not up within {_START_WITHIN_S:.0f} s")
        if isinstance(self._failure, OSError):
            raise UsageError(f"port {self.port}: {self._failure.strerror}") from self._failure
        if self._failure:
            raise self._failure
        return self

    def stop(self) -> None:
        """Close every connection and the port. Raises the error that ended the server before, if any."""
        if self._loop and self._thread and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()
        if self._failure:
            raise self._failure

    @property
    def is_up(self) -> bool:
        """Tell whether the server runs."""
        return self._thread is not None and self._thread.is_alive()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def websocket_url(self) -> str:
        """Return the address for WebSocket clients, which need `/stocks`."""
        return f"ws://127.0.0.1:{self.port}{PATH}"

    @property
    def rest_url(self) -> str:
        """Return the base address of REST paths."""
        return f"http://127.0.0.1:{self.port}"

    def tell(self, *trades: Trade) -> None:
        """Send trades now, in addition to the tape; they are in the bars when this returns."""
        self._call(lambda: self._broadcast.step(self._now_ns(), trades))

    def say(self, message: str) -> None:
        """Send a message unchanged to every accepted client; it is in no bar."""
        self._call(partial(self._broadcast.say, message.encode()))

    def misbehave(self, what: str, *, seconds: float | None = None, times: int | None = None) -> None:
        """Switch on one of misbehaviour.KINDS: for some seconds, a number of times, or forever.

        `cut` and `max_connections` without seconds happen once. Raises UsageError.
        """
        self._call(partial(self._broadcast.misbehave, what, seconds=seconds, times=times))

    def behave(self) -> None:
        """End all misbehaviour."""
        self._call(self._misbehaviour.switch_off)

    def bars(
        self, symbol: str | None = None, first_ms: int = 0, last_ms: int | None = None, *, channel: str = "T"
    ) -> list[Bar]:
        """Return the oracle's minutes of the whole tape up to now, by symbol and time; the last may be incomplete.

        first_ms, last_ms: starts of the minutes, Unix ms, both inclusive. channel: T: of the trades by the SIP's rules,
        the same as in AM and REST; A: what a reader of the A events gets, each counted as one.
        """
        return self._call(partial(self._broadcast.aggregates.bars, symbol, first_ms, last_ms, channel=channel))

    @property
    def connections(self) -> int:
        """Return the number of accepted clients."""
        return self._call(lambda: len(self._broadcast.let_in()))

    @property
    def subscribed(self) -> set[str]:
        """Return all subscriptions of the clients, as sent: "T.*"."""
        return self._call(lambda: set().union(*(c.subscribed for c in self._broadcast.connections)))

    @property
    def requests(self) -> list[str]:
        """Return path and query of every REST request since the start, oldest first."""
        return self._call(lambda: list(self._rest.requests))

    def _call(self, function: Callable[[], T]) -> T:
        """Call a function in the server's own thread, between two steps; after its end, in the caller's."""
        if self._loop is None or not self.is_up:
            return function()

        async def called() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(called(), self._loop).result(_START_WITHIN_S)

    # The server's own thread

    def _run(self, ready: threading.Event) -> None:
        try:
            asyncio.run(self._serve(ready))
        except BaseException as e:  # noqa: BLE001  # the caller of start() raises it
            self._failure = e
        finally:
            ready.set()

    async def _serve(self, ready: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._broadcast.step(self._now_ns())
        gate = Gate(self._broadcast, self._rest, self._misbehaviour)
        server = await serve(
            self._broadcast.converse,
            "127.0.0.1",
            self.port,
            process_request=gate.answer,
            compression=None,  # slow in Python, and no test needs it
            close_timeout=10,  # a slow client that is disconnected must still receive the reason
            ping_timeout=None,  # a slow client is disconnected because of its queue, not because of a late pong
        )
        async with server:
            self.port = server.sockets[0].getsockname()[1]
            self._rest.listen_at(self.rest_url)
            ready.set()
            await self._play()

    async def _play(self) -> None:
        started_s = time.monotonic()
        while not self._stopping.is_set():
            while self._plans and time.monotonic() - started_s >= self._plans[0].at_s:
                plan = self._plans.pop(0)
                self._broadcast.misbehave(plan.what, seconds=plan.seconds)
            self._broadcast.step(self._now_ns())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), _STEP_S)
