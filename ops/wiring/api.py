"""Make the HTTP API: connections, threads that read the fleet's state and the results, sockets, the server."""

import errno
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from typing import NamedTuple

import structlog
import uvicorn
from litestar.concurrency import set_asyncio_executor

from ...contracts.errors import SetupError
from ...contracts.market_hours import load_calendar
from ...db.pool import Pool
from ...db.postgres import Database
from ...db.schema.migrate import check_schema
from ...db.vitals import VITALS
from ...db.world import REAL
from ..api.app import make_app
from ..api.glance import Glance
from ..api.head import AnswersHead
from ..api.live.event_hub import EventHub
from ..api.live.results_feed import ResultsFeed
from ..api.measured import Measured
from ..api.processing_look import ProcessingLook
from ..api.service import Service
from ..api.who_may import Rules
from ..process.shutdown import Stop
from ..status.observer import Observer
from .servers import Place, open_postgres, open_redis, wait_for_server

log = structlog.get_logger()

LOOPBACK = ("127.0.0.1", "::1")
_THREADS = 6  # calls that ask PostgreSQL at the same time; the others wait
_STATUS_THREADS = 2
_TURN_S = 0.5
_SELDOM_S = 15.0  # between two readings of the parts that take long and change slowly
_FLOWS = 5
_OPEN_S = 5.0  # the shortest wait for the connections of the calls: the server has just answered
# The application calls on one open connection every five seconds; uvicorn's default limit of five would close it then.
_KEEP_ALIVE_S = 75
_END_S = 2.0  # at the stop, the time for open calls to finish
_MISSING = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)  # this machine has no such address


class Listening(NamedTuple):
    """The addresses to listen on. hosts: names or addresses; empty: loopback."""

    hosts: Sequence[str]
    port: int


def run_api(where: Place, listening: Listening, rules: Rules, *, name: str, stop: Stop) -> None:
    """Serve until the stop. Raises SetupError if the servers do not fit, or if an address cannot be used."""
    with ExitStack() as opened:
        sockets = listen(listening, opened)
        service = opened.enter_context(_service(where, name, stop))
        executor = opened.enter_context(ThreadPoolExecutor(_THREADS, "api"))
        set_asyncio_executor(executor)
        config = uvicorn.Config(
            AnswersHead(Measured(make_app(service, rules))),
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=int(_END_S),
        )
        server = uvicorn.Server(config)

        def end() -> None:
            service.hub.close()
            server.should_exit = True

        with _beside("http", lambda: server.run(sockets), stop, end=end):
            log.info("API served", addresses=[_shown(one) for one in sockets])
            VITALS.join()
            while not stop.wait(_TURN_S):
                VITALS.turn()


@contextmanager
def _service(where: Place, name: str, stop: Stop) -> Iterator[Service]:
    """Open the connections of the calls, and start the threads that read the fleet's state and the results."""
    load_calendar()
    with closing(open_postgres(where, name="tickstock-api")) as connection:
        check_schema(connection)
    url, timeout_s = where.servers.database_url, where.connect_timeout_s
    client = open_redis(where, "api")
    pool = Pool(url, name=f"tickstock-api {name}", size=_THREADS + _STATUS_THREADS)
    reads = wait_for_server(lambda: Database(url, name=f"tickstock-api-feed {name}", impatient=True), timeout_s)
    with closing(pool), ThreadPoolExecutor(_STATUS_THREADS, "status") as status_threads:
        pool.open(max(timeout_s, _OPEN_S))
        observer = Observer(where, role="api", seldom_s=_SELDOM_S, latest_flows=_FLOWS)
        hub = EventHub()
        feed = ResultsFeed(reads, client, hub, stop=stop, world=REAL)
        processing = ProcessingLook(pool, status_threads)
        service = Service(pool, processing, Glance(observer, processing), hub, feed)
        processing.look()
        with _beside("glance", lambda: service.glance.run(stop), stop), _beside("results", feed.run, stop):
            yield service


@contextmanager
def _beside(
    name: str, work: Callable[[], object], stop: Stop, *, end: Callable[[], object] = lambda: None
) -> Iterator[None]:
    """Run a function in a thread while the block runs. If it ends or fails, the process ends. end: asks it to end.

    A thread that still waits for a server at the end is not joined: it holds no lease and no data.
    """
    died: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as e:  # noqa: BLE001  # raised again when the process ends
            died.append(e)
        finally:
            stop.set()

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        end()
        thread.join(_END_S + 0.5)
    if died:
        raise died[0]


def listen(listening: Listening, opened: ExitStack) -> list[socket.socket]:
    """Open a socket for each address. Loopback's second one may be missing on this machine. Raises SetupError."""
    sockets: list[socket.socket] = []
    port = listening.port
    for host in listening.hosts or LOOPBACK:
        try:
            one = _bound(host, port)
        except OSError as e:
            if host == LOOPBACK[1] and e.errno in _MISSING and not listening.hosts:
                continue
            raise SetupError(_why_not(host, port, e)) from e
        sockets.append(opened.enter_context(one))
        port = port or one.getsockname()[1]  # the same port for both addresses
    return sockets


def _bound(host: str, port: int) -> socket.socket:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, address = found[0]
    # asyncio sets TCP_NODELAY only if the protocol is given; without it a call waits 40 ms for the client's ack.
    one = socket.socket(family, kind, protocol)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind(address)
    except OSError:
        one.close()
        raise
    return one


def _why_not(host: str, port: int, error: OSError) -> str:
    others = ": another program listens there, or another fleet runs here" if error.errno == errno.EADDRINUSE else ""
    return f"the API on {host} port {port}: {error.strerror}{others}: set another --port, or --host"


def _shown(one: socket.socket) -> str:
    host, port = one.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
