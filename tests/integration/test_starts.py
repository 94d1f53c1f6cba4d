"""Commands that start while a server restarts: each waits for it, at whatever step it goes away."""

import socket
import threading
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

import psycopg
import pytest
import redis
from structlog.testing import capture_logs
from tickstockpl.contracts.names import GROUP, stream_key
from tickstockpl.contracts.settings import Servers
from tickstockpl.db import postgres
from tickstockpl.db.schema.migrate import open_stream
from tickstockpl.ops.wiring.bridge import make_bridge
from tickstockpl.ops.wiring.servers import Place
from tickstockpl.ops.wiring.worker import make_worker
from tickstockpl.workers.bridge.bridge import BridgeOptions
from tickstockpl.workers.worker_options import WorkerOptions


class Restarting:
    """A way to a server that answers its clients one by one: the first `refused` find nobody.

    cut: the numbers of those (1 is the first that was let in) that are cut off with their second message, in the middle
    of what they do.
    """

    def __init__(self, url, *, refused, cut):
        self._there = urlsplit(url)
        self._refused, self._cut = refused, cut
        self.count = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        login = self._there.netloc.rpartition("@")[0]
        place = f"{login}@127.0.0.1:{port}" if login else f"127.0.0.1:{port}"
        self.url = self._there._replace(netloc=place).geturl()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        _shut(self._listener)

    def _accept(self):
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.count += 1
                if self.count <= self._refused:
                    client.close()
                    continue
                server = socket.create_connection((self._there.hostname, self._there.port))
                messages = 3 if self.count - self._refused in self._cut else None
                threading.Thread(target=_pump, args=(client, server, messages), daemon=True).start()
                threading.Thread(target=_pump, args=(server, client, None), daemon=True).start()


def _pump(source, target, messages):
    with suppress(OSError):
        while piece := source.recv(65_536):
            if messages is not None:
                messages -= 1
                if messages == 0:
                    break
            target.sendall(piece)
    _shut(source)
    _shut(target)


def _shut(end):
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()


@contextmanager
def restarting(servers, which, **how):
    url = getattr(servers, which)
    way = Restarting(url, **how)
    try:
        yield Servers(**{"redis_url": servers.redis_url, "database_url": servers.database_url} | {which: way.url})
    finally:
        way.close()


@contextmanager
def running(make):
    stop, died, made = threading.Event(), [], []

    def run():
        try:
            made.append(make(stop))
            made[0].run()
        except BaseException as e:  # noqa: BLE001  # of any kind: it must not die
            died.append(e)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield died
    finally:
        stop.set()
        thread.join(60)
        for one in made:
            one._client.close()
            one._database.close()
    assert not died, died


def worker_of(servers, stop):
    options = WorkerOptions("w", commit_ms=50, gather_ms=10)
    return make_worker(Place(servers, False, 30.0), options, partitions=None, stop=stop)


def bridge_of(servers, stop):
    return make_bridge(Place(servers, False, 30.0), BridgeOptions("b"), stop=stop)


@pytest.fixture
def stream(migrated_servers):
    with postgres.connect(migrated_servers.database_url, name="test") as connection:
        open_stream(connection, 1)
    return migrated_servers


def has_lease(servers, unit):
    statement = "SELECT count(*) FROM lease WHERE unit = %s AND expires_at > clock_timestamp()"
    with psycopg.connect(servers.database_url) as connection:
        return connection.execute(statement, (unit,)).fetchone() == (1,)


@pytest.mark.parametrize("which", ["database_url", "redis_url"])
@pytest.mark.parametrize("cut", [(1,), (2,), (3,), (4,), (1, 2, 3, 4, 5)])
@pytest.mark.parametrize(("make", "unit"), [(worker_of, "partition:0"), (bridge_of, "bridge")])
def test_a_process_of_the_fleet_starts_while_a_server_restarts(stream, wait_for, which, cut, make, unit):
    with restarting(stream, which, refused=2, cut=cut) as way, running(lambda stop: make(way, stop)) as died:
        wait_for(lambda: died or has_lease(stream, unit))


def test_a_bridge_that_waits_for_a_stream_outlasts_a_restart(migrated_servers, wait_for):
    opened = (
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'tickstock-bridge' AND datname = current_database()"
    )
    with (
        psycopg.connect(migrated_servers.database_url, autocommit=True) as admin,
        running(lambda stop: bridge_of(migrated_servers, stop)) as died,
    ):
        for _ in range(3):
            (pid,) = wait_for(lambda: died or admin.execute(opened).fetchone())
            admin.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
        open_stream(admin, 1)
        wait_for(lambda: died or has_lease(migrated_servers, "bridge"))


@pytest.mark.parametrize("which", ["database_url", "redis_url"])
@pytest.mark.parametrize("cut", [(1,), (2,), (3,)])
def test_a_producer_starts_while_a_server_restarts(stream, tickstock, which, cut):
    market = ("--source", "synthetic", "--speed", "max", "--seconds", "61", "--rate", "10", "--symbols", "2")
    with (
        running(lambda stop: worker_of(stream, stop)),
        restarting(stream, which, refused=2, cut=cut) as way,
    ):
        ran = tickstock("producer", *market, servers=way)
    assert ran.returncode == 0, ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize(("which", "code"), [("database_url", "DATABASE_AWAY"), ("redis_url", "REDIS_AWAY")])
def test_status_says_at_once_of_a_server_that_restarts_that_it_is_away(stream, tickstock, which, code):
    with restarting(stream, which, refused=2, cut=()) as way:
        ran = tickstock("status", servers=way)
    assert ran.returncode == 1
    assert code in ran.stdout


def test_a_worker_that_finds_another_group_says_which_and_that_it_shares_the_partitions(migrated_servers):
    with postgres.connect(migrated_servers.database_url, name="test") as connection:
        open_stream(connection, 2)
    with redis.Redis.from_url(migrated_servers.redis_url) as client:
        client.xgroup_create(stream_key(1), GROUP, mkstream=True)
    said = {group: said_at_start(migrated_servers, group) for group in (GROUP, "other")}
    assert said[GROUP] == []
    ((group, others),) = said["other"]
    assert (group, others) == ("other", [GROUP])


def said_at_start(servers, group):
    """Return what a worker says of other groups."""
    with capture_logs() as logs:
        worker = make_worker(
            Place(servers, False, 5.0), WorkerOptions("w", group=group), partitions=None, stop=threading.Event()
        )  # fmt: skip
        worker._client.close()
        worker._database.close()
    return [(log["group"], log["others"]) for log in logs if log["event"] == "the stream has another consumer group"]
