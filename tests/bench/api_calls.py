"""(k) Every call of the HTTP API, 50 a second, beside a live fleet; then while PostgreSQL stands still."""

import asyncio
import json
import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from uuid import UUID

import numpy as np
import psutil
from daily_run import fill_days
from place import Place, running, wait_for

SYMBOLS, RATE = 500, 1_000.0
A_SECOND = 50
_ENDED_SYNC = (
    "INSERT INTO run (run_id, run_date, trigger, universe, phases, status, ended_at)"
    " VALUES (gen_random_uuid(), current_date, 'manual', 'all', '{cache_sync}', 'completed', now())"
)
_LAST = "/api/processing/cache-sync/status/"
_TRIGGER = "POST /api/processing/trigger-"
READS = (
    "GET /health", "GET /api/processing/status", "GET /api/processing/history?days=7", "GET /api/processing/schedule",
    f"GET {_LAST}", "GET /api/processing/cache-sync/history", "GET /api/processing/cache-sync/stats", "GET /api/fleet",
    "GET /api/bars?symbol=S00001&timeframe=daily&limit=200", "GET /api/bars?symbol=AAPL&timeframe=5min&limit=200",
    "GET /api/patterns?limit=100", "GET /api/indicators?symbol=S00001", "GET /api/gaps", "GET /api/dead-letters",
)  # fmt: skip
WRITES = {
    f"{_TRIGGER}manual": {"skip_market_check": True, "phases": ["all"]},
    f"{_TRIGGER}import": {"timeframes": ["daily", "weekly"], "lookback_days": 30},
    f"{_TRIGGER}indicators": {"timeframe": "daily", "symbols": ["S00001"], "indicators": ["RSI"]},
    f"{_TRIGGER}patterns": {"timeframe": "daily", "patterns": ["Doji"]},
    "POST /api/processing/retry-imports": {"original_run_id": str(UUID(int=1))},
    "POST /api/processing/schedule": {},
    "POST /api/processing/cache-sync/trigger": {"mode": "full"},
    "DELETE /api/processing/cancel": None,
}
REMEMBERED = ("GET /health", "GET /api/processing/status", "GET /api/fleet")  # answered while a server hangs


@dataclass(frozen=True)
class Answer:
    """One call. due_s: when it was to be sent, since the start; seconds: from then on, not from the sending."""

    call: str
    due_s: float
    seconds: float
    status: int


@dataclass(frozen=True)
class Answered:
    """All calls of one kind. faults: those that were answered with a 5xx, or not at all."""

    calls: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    faults: int


class Client:
    """Sends calls at their times, whatever became of those before. Connections are kept; each carries one call."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def send(self, calls: Sequence[str], bodies: dict[str, object], seconds: float) -> list[Answer]:
        """Send the calls in turn, A_SECOND of them a second."""
        began_s = time.monotonic() + 0.2
        planned = [(i / A_SECOND, calls[i % len(calls)]) for i in range(int(seconds * A_SECOND))]
        return await asyncio.gather(*[self._at(began_s, due_s, call, bodies.get(call)) for due_s, call in planned])

    async def _at(self, began_s: float, due_s: float, call: str, body: object) -> Answer:
        await asyncio.sleep(began_s + due_s - time.monotonic())
        try:
            status = await asyncio.wait_for(self._call(call, body), 10)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            status = 0
        return Answer(call, due_s, time.monotonic() - began_s - due_s, status)

    async def _call(self, call: str, body: object) -> int:
        reader, writer = self._free.pop() if self._free else await asyncio.open_connection("127.0.0.1", self._port)
        sent = b"" if body is None else json.dumps(body).encode()
        kind = "" if body is None else "Content-Type: application/json\r\n"
        if reader.at_eof():  # closed meanwhile, as it was not used
            return await self._call(call, body)
        head = f"{call} HTTP/1.1\r\nHost: localhost\r\n{kind}Content-Length: {len(sent)}\r\n\r\n"
        writer.write(head.encode() + sent)
        answer = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        await reader.readexactly(int(answer.partition("content-length: ")[2].split()[0]))
        self._free.append((reader, writer))
        return int(answer.split()[1])


def api_calls(place: Place, port: int, seconds: float) -> tuple[dict[str, Answered], dict[str, Answered]]:
    """Return how long each call took beside a fleet, and the remembered ones while PostgreSQL is stopped."""
    fill_days(place, SYMBOLS)
    live = ("--source", "synthetic", "--speed", "1", "--symbols", str(SYMBOLS), "--rate", str(RATE))
    fleet = (("bridge",), ("worker",), ("producer", *live), ("jobs",), ("api", "--port", str(port)))
    with ExitStack() as stack:
        for command in fleet:
            stack.enter_context(running(place, *command))
        wait_for(lambda: place.count("SELECT count(*) FROM ohlcv_1min"), within_s=200, every_s=0.2)
        place.database.execute(_ENDED_SYNC)
        (run_id,) = place.database.execute("SELECT run_id FROM run").fetchone() or (None,)
        calls = [f"{call}{run_id}" if call.endswith(_LAST) else call for call in READS]
        beside = asyncio.run(Client(port).send([*calls, *WRITES], dict(WRITES), seconds))
        with _stopped_postgres(place):
            hung = asyncio.run(Client(port).send(READS, {}, 10))
    return _by_call(beside), _by_call([answer for answer in hung if answer.call in REMEMBERED])


def _by_call(answers: Sequence[Answer]) -> dict[str, Answered]:
    return {call: answered([one for one in answers if one.call == call]) for call in sorted({a.call for a in answers})}


def answered(answers: Sequence[Answer]) -> Answered:
    """Return how long these calls took."""
    took_ms = [answer.seconds * 1000 for answer in answers]
    p50, p99 = np.percentile(took_ms, (50, 99))
    faults = sum(answer.status >= 500 or not answer.status for answer in answers)
    return Answered(len(answers), float(p50), float(p99), max(took_ms), faults)


@contextmanager
def _stopped_postgres(place: Place) -> Iterator[None]:
    (pid,) = place.database.execute("SELECT pg_backend_pid()").fetchone() or (0,)
    server = psutil.Process(pid).parents()[0]
    processes = [server, *server.children()]
    for process in processes:
        os.kill(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGCONT)
