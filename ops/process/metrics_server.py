"""Serve `/metrics`, `/healthz` and `/readyz` over HTTP, in threads of their own."""

import errno
import json
import platform
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from socketserver import TCPServer
from typing import Any, NamedTuple
from wsgiref.simple_server import WSGIRequestHandler

import structlog
from prometheus_client import PlatformCollector, ProcessCollector, disable_created_metrics, make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer

from ...contracts.errors import SetupError
from ...contracts.server import SERVERS
from ...db.metrics import BUILD, OF_KIND, REGISTRY, ProcessKind
from ...db.vitals import VITALS, Vitals
from ...version import __version__

log = structlog.get_logger()

STUCK_S = 30.0  # longer than any commit, and than any wait for a server
_SLOW_S = 10.0  # twice a client's wait for a server: a loop that has not turned for this time does no work
_POLL_S = 0.1  # delay at the end of a process

Answer = tuple[bool, dict[str, object]]  # whether all is well, and the details
_Respond = Callable[[str, list[tuple[str, str]]], object]
_Application = Callable[[dict[str, Any], _Respond], Iterable[bytes]]


class MetricsAddress(NamedTuple):
    """The address of the metrics. port 0: do not serve them."""

    host: str
    port: int


def health(vitals: Vitals) -> Answer:
    """Tell whether the main loop turns. A starting process counts as healthy."""
    still_s = vitals.still_s
    return still_s <= STUCK_S, {"loop": _loop(still_s, STUCK_S), "seconds_since_turn": round(still_s, 1)}


def readiness(vitals: Vitals) -> Answer:
    """Tell whether the process has joined the fleet, its loop turns, and both servers answer."""
    still_s = vitals.still_s
    servers: dict[str, object] = {server: "away" if vitals.is_away(server) else "up" for server in SERVERS}
    is_ready = vitals.has_joined and still_s <= _SLOW_S and "away" not in servers.values()
    return is_ready, {"joined": vitals.has_joined, "loop": _loop(still_s, _SLOW_S), **servers}


def _loop(still_s: float, bound_s: float) -> str:
    return "turns" if still_s <= bound_s else "stuck"


@contextmanager
def metrics_server(address: MetricsAddress, kind: ProcessKind) -> Iterator[None]:
    """Serve this process's metrics while the block runs. Raises SetupError if the address cannot be bound."""
    if not address.port:
        yield
        return
    disable_created_metrics()  # type: ignore[no-untyped-call]  # one more series per counter, which no rate needs
    BUILD.info({"version": __version__, "python": platform.python_version(), "component": kind})
    shown = (*OF_KIND[kind], ProcessCollector(registry=None), PlatformCollector(registry=None))
    with _listening(address) as server:
        for collector in shown:
            REGISTRY.register(collector)
        threading.Thread(target=server.serve_forever, args=(_POLL_S,), name="metrics", daemon=True).start()
        log.info("metrics served", host=address.host, port=address.port)
        try:
            yield
        finally:
            server.shutdown()
            for collector in shown:
                REGISTRY.unregister(collector)


def _listening(address: MetricsAddress) -> "_Server":
    try:
        return _Server(address)
    except OSError as e:
        why = f"metrics on {address.host} port {address.port}: {e.strerror}"
        others = ", and another fleet may still run here" if e.errno == errno.EADDRINUSE else ""
        raise SetupError(f"{why}{others}: set another --metrics-port, or --metrics-host") from e


class _Server(ThreadingWSGIServer):
    """One thread per request."""

    def __init__(self, address: MetricsAddress) -> None:
        self.address_family = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)[0][0]
        super().__init__(address, _Handler)
        self.set_app(_application(VITALS))

    def server_bind(self) -> None:
        """Bind without asking a name server for our name: without a network that takes seconds."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002  # the base class's own
        """Log the error of one request."""
        log.debug("metrics request failed", why=str(sys.exception()))


class _Handler(WSGIRequestHandler):
    """Logs no request, and waits for one no longer than a scraper waits for us."""

    timeout = 10

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's own signature
        """Log nothing."""


def _application(vitals: Vitals) -> _Application:
    metrics = make_wsgi_app(REGISTRY)

    def application(environ: dict[str, Any], respond: _Respond) -> Iterable[bytes]:
        match environ["PATH_INFO"]:
            case "/metrics":
                exposed: Iterable[bytes] = metrics(environ, respond)
                return exposed
            case "/healthz":
                return _answer(respond, *health(vitals))
            case "/readyz":
                return _answer(respond, *readiness(vitals))
        respond("404 Not Found", [("Content-Type", "text/plain")])
        return [b"/metrics, /healthz, /readyz\n"]

    return application


def _answer(respond: _Respond, is_well: bool, said: dict[str, object]) -> Iterable[bytes]:
    respond("200 OK" if is_well else "503 Service Unavailable", [("Content-Type", "application/json")])
    return [json.dumps({"ok": is_well, **said}).encode() + b"\n"]
