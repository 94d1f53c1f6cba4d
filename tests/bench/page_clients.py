"""(l) What 50 open pages cost the fleet and the API, one of them a client that never reads; and the API's memory."""

import asyncio
import selectors
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import psutil
from api_calls import READS, Answered, Client, answered
from closing_market import source_of
from latency import Latency, latency_of, listening, waits_of
from page_fleet import SYMBOLS, PageFleet, page_fleet
from place import Place

CLIENTS = 50
_CALLS = [call for call in READS if not call.endswith("/")]  # without the one that needs a run


@dataclass(frozen=True)
class Beside:
    """Closes beside some clients. api_cpu_s: processor seconds of the API in one close, its calls included."""

    published: Latency
    calls: Answered
    api_cpu_s: float


@dataclass(frozen=True)
class Clients:
    """without and beside: the same closes and calls with no client and with 50. resident_mb: by closes heard since."""

    without: Beside
    beside: Beside
    resident_mb: list[tuple[int, float]]


def page_clients(place: Place, port: int, closes: int, busy_closes: int) -> Clients:
    """Let minutes end without clients and beside them; then more, for the memory: `busy_closes`, each a minute's."""
    with page_fleet(place, port, busy_closes) as fleet:
        without = _closes(fleet, closes)
        with _streams(port) as streams:
            beside = _closes(fleet, closes)
            resident = [(closes, _resident_mb(fleet))]
            for heard in range(2 * closes, busy_closes + 1, closes):
                streams.stick_again()
                fleet.end_minutes(closes)
                resident.append((heard, _resident_mb(fleet)))
    return Clients(without, beside, resident)


def _closes(fleet: PageFleet, closes: int) -> Beside:
    heard: dict[str, list[tuple[bytes, float]]] = {"patterns": []}
    before = _cpu_s(fleet)
    with listening(fleet.place, heard), ThreadPoolExecutor(1) as beside:
        calls = beside.submit(lambda: asyncio.run(Client(fleet.port).send(_CALLS, {}, closes * fleet.close_s)))
        delays = fleet.end_minutes(closes)
    waits = waits_of(heard["patterns"], delays)
    published = latency_of([wait for some in waits.values() for wait in some])
    return Beside(published, answered(calls.result()), (_cpu_s(fleet) - before) / closes)


def _cpu_s(fleet: PageFleet) -> float:
    return sum(psutil.Process(fleet.api).cpu_times()[:2])


def _resident_mb(fleet: PageFleet) -> float:
    return float(psutil.Process(fleet.api).memory_info().rss / 1e6)


class _Streams:
    """Open pages, half with the Patterns view and half with a symbol's, and one that asks for all and never reads."""

    def __init__(self, port: int) -> None:
        self._port = port
        symbols = source_of(SYMBOLS, 1.0).symbols
        self._stuck = self._open("")
        self._readers = [
            self._open("?kinds=patterns" if n % 2 else f"?kinds=bars,patterns&symbol={symbols[n]}")
            for n in range(CLIENTS - 1)
        ]
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _open(self, query: str) -> socket.socket:
        one = socket.create_connection(("127.0.0.1", self._port), timeout=30)
        one.sendall(f"GET /events{query} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        return one

    def _read(self) -> None:
        with selectors.DefaultSelector() as selector:
            for one in self._readers:
                selector.register(one, selectors.EVENT_READ)
            while not self._ended.is_set():
                for key, _ in selector.select(0.1):
                    if not key.fileobj.recv(1 << 20):  # type: ignore[union-attr]
                        raise ConnectionError("the API ended a stream that reads")

    def stick_again(self) -> None:
        """Let another client be the one that does not read: the API disconnects it after a while."""
        self._stuck.close()
        self._stuck = self._open("")

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        for one in (self._stuck, *self._readers):
            one.close()


@contextmanager
def _streams(port: int) -> Iterator[_Streams]:
    streams = _Streams(port)
    try:
        yield streams
    finally:
        streams.close()
