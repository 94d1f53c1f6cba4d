"""What PostgreSQL may answer in the middle of a run: each is said once with what to do, waited for, and heals."""

import threading
from contextlib import contextmanager
from urllib.parse import urlsplit

import numpy as np
import psycopg
import pytest
import redis
from structlog.testing import capture_logs
from tickstockpl.contracts.errors import SetupError
from tickstockpl.contracts.frames.maker import Identity, make_frame
from tickstockpl.contracts.names import stream_key
from tickstockpl.contracts.settings import Servers
from tickstockpl.contracts.ticks import Ticks
from tickstockpl.db import postgres
from tickstockpl.db.schema.migrate import open_stream
from tickstockpl.db.streams.frame_stream import Send, send
from tickstockpl.ops.wiring.bridge import make_bridge
from tickstockpl.ops.wiring.servers import Place
from tickstockpl.ops.wiring.worker import make_worker
from tickstockpl.workers.bridge.bridge import BridgeOptions
from tickstockpl.workers.worker_options import WorkerOptions

LIVE = Identity("test-producer", "live", "live")


class Side:
    """A stream of one partition on a database whose role is no superuser; the test may everything."""

    def __init__(self, servers):
        self.admin_servers = servers
        self.name = urlsplit(servers.database_url).path.lstrip("/")
        self.role = f"r_{self.name}"
        self.admin = psycopg.connect(servers.database_url, autocommit=True)
        open_stream(self.admin, 1)
        self.execute(f"CREATE ROLE {self.role} LOGIN PASSWORD 'first'")
        for what in ("TABLES", "SEQUENCES", "FUNCTIONS"):
            self.execute(f"GRANT ALL ON ALL {what} IN SCHEMA public TO {self.role}")
        self.execute(f"GRANT TEMPORARY ON DATABASE {self.name} TO {self.role}")
        where = urlsplit(servers.database_url)
        place = where.netloc.rpartition("@")[2]
        url = where._replace(netloc=f"{self.role}:first@{place}").geturl()
        self.servers = Servers(servers.redis_url, url)
        self.redis = redis.Redis.from_url(servers.redis_url)
        seconds, _ = self.redis.time()
        self.minute_ns = (seconds - 300) // 60 * 60 * 10**9
        self.sent = 0

    def execute(self, statement):
        return self.admin.execute(statement)

    def end_backends(self):
        self.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{self.role}'")

    def send(self):
        """Send a tick of size 1."""
        ts = np.array([self.minute_ns + self.sent], "<i8")
        ticks = Ticks(["A"], np.zeros(1, "<u2"), ts, np.array([10.0]), np.array([1.0]))
        body = make_frame(LIVE, ticks, "live", self.sent, self.sent + 1, self.redis.time()[0] * 1000)
        self.sent += 1
        send(self.redis, LIVE.producer, [Send(0, body, f"{self.sent},{self.sent}")])

    def volume(self):
        row = self.execute("SELECT coalesce(sum(volume), 0)::int, count(*) FROM ohlcv_1min").fetchone()
        return row[0]

    def close(self):
        self.redis.close()
        self.admin.execute(f"DROP OWNED BY {self.role}")
        self.admin.execute(f"DROP ROLE {self.role}")
        self.admin.close()


@pytest.fixture
def side(migrated_servers):
    side = Side(migrated_servers)
    yield side
    side.close()


@contextmanager
def running(make):
    """Run a worker or a bridge in a thread for the block; yield what it dies of."""
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


def worker_on(side):
    options = WorkerOptions("w", commit_ms=50, gather_ms=10)
    return running(lambda stop: make_worker(Place(side.servers, False, 5.0), options, partitions=None, stop=stop))


def bridge_on(side):
    place = Place(side.servers, False, 5.0)
    return running(lambda stop: make_bridge(place, BridgeOptions("b"), stop=stop))


def refuse(side, table, state):
    """Let each change of a table fail with a SQLSTATE, as the server itself does where it is full or broken."""
    side.execute(
        f"CREATE FUNCTION refused() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION 'it is so' USING ERRCODE = '{state}'; END $$"
    )
    side.execute(
        f"CREATE TRIGGER refused BEFORE INSERT OR UPDATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION refused()"
    )


def serve_again(side, table):
    side.execute(f"DROP TRIGGER refused ON {table}")
    side.execute("DROP FUNCTION refused")


STATES = [
    ("53100", "its disk is full"), ("53200", "it lacks memory"), ("25006", "read only"),
    ("42501", "a right is missing"), ("57014", "a statement was cancelled"), ("58030", ""), ("XX001", "check its log"),
    ("0A000", ""), ("P0001", ""), ("40001", ""), ("55P03", ""), ("42P01", "the schema has changed"), ("54001", ""),
]  # fmt: skip


@pytest.mark.parametrize(("state", "do"), STATES)
@pytest.mark.parametrize("table", ["ledger", "lease"])
def test_a_worker_says_what_the_database_answers_and_goes_on_when_it_serves(side, wait_for, table, state, do):
    with capture_logs() as said, worker_on(side) as died:
        side.send()
        wait_for(lambda: died or side.volume() == 1)
        refuse(side, table, state)
        side.send()
        wait_for(lambda: died or any(line["event"] == "server away" for line in said))
        serve_again(side, table)
        wait_for(lambda: died or side.volume() == 2)
        assert not died
    away = [line for line in said if line["event"] == "server away"]
    assert len({line["why"] for line in away}) == len(away)  # each reason once
    assert do in away[0].get("do", "")


@pytest.mark.parametrize("table", ["ledger", "outbox", "ohlcv_1min", "checkpoint", "lease", "recent_bar"])
def test_a_worker_waits_for_a_table_that_vanished_in_the_middle(side, wait_for, table):
    with capture_logs() as said, worker_on(side) as died:
        side.send()
        wait_for(lambda: died or side.volume() == 1)
        side.execute(f"ALTER TABLE {table} RENAME TO gone")
        side.send()
        wait_for(lambda: died or any(line["event"] == "server away" for line in said))
        side.execute(f"ALTER TABLE gone RENAME TO {table}")
        wait_for(lambda: died or side.volume() == 2)
        assert not died
    away = [line for line in said if line["event"] == "server away"]
    assert all(line["do"].startswith("the schema has changed") for line in away)
    assert table in away[0]["why"]


def test_a_worker_waits_for_a_right_that_was_taken_away_in_the_middle(side, wait_for):
    with capture_logs() as said, worker_on(side) as died:
        side.send()
        wait_for(lambda: died or side.volume() == 1)
        side.execute(f"REVOKE INSERT ON ledger FROM {side.role}")
        side.send()
        wait_for(lambda: died or any(line["event"] == "server away" for line in said))
        side.execute(f"GRANT INSERT ON ledger TO {side.role}")
        wait_for(lambda: died or side.volume() == 2)
        assert not died
    (away,) = [line for line in said if line["event"] == "server away"]
    assert away["why"] == "permission denied for table ledger"
    assert "tickstock doctor" in away["do"]


def change_and_back(side, how):
    """Make the database unusable in a way that new connections meet too; return how to make it usable again."""
    if how == "read only":
        side.execute(f"ALTER ROLE {side.role} SET default_transaction_read_only = on")
        return f"ALTER ROLE {side.role} RESET default_transaction_read_only"
    if how == "too many connections":
        side.execute(f"ALTER ROLE {side.role} CONNECTION LIMIT 0")
        return f"ALTER ROLE {side.role} CONNECTION LIMIT -1"
    side.execute(f"ALTER ROLE {side.role} NOLOGIN")
    return f"ALTER ROLE {side.role} LOGIN"


@pytest.mark.parametrize("how", ["read only", "too many connections", "no login"])
@pytest.mark.parametrize("kind", ["worker", "bridge"])
def test_a_database_that_serves_no_new_connection_is_waited_for(side, wait_for, how, kind):
    with worker_on(side) as worker_died, bridge_on(side) as bridge_died:
        died = worker_died if kind == "worker" else bridge_died
        side.send()
        wait_for(lambda: died or side.volume() == 1)
        back = change_and_back(side, how)
        side.end_backends()
        side.send()
        wait_for(lambda: died or not_connected(side, how))
        side.execute(back)
        if how == "read only":
            side.end_backends()
        wait_for(lambda: worker_died or bridge_died or side.volume() == 2)
        assert not worker_died
        assert not bridge_died


def not_connected(side, how):
    count = f"SELECT count(*) FROM pg_stat_activity WHERE usename = '{side.role}'"
    return how == "read only" or side.execute(count).fetchone() == (0,)


def renamed(other, name, new_name):
    """Rename a database, ending who is in it; return whether nobody was quicker to come back."""
    other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
    try:
        other.execute(f"ALTER DATABASE {name} RENAME TO {new_name}")
    except psycopg.errors.ObjectInUse:
        return False
    return True


def test_a_database_that_was_renamed_is_waited_for_and_at_the_start_ends_the_command(side, wait_for, tickstock):
    postgres_url = side.admin_servers.database_url.replace(side.name, "postgres")
    with (
        psycopg.connect(postgres_url, autocommit=True) as other,
        capture_logs() as said,
        worker_on(side) as worker_died,
        bridge_on(side) as bridge_died,
    ):
        side.send()
        wait_for(lambda: side.volume() == 1)
        side.admin.close()
        wait_for(lambda: renamed(other, side.name, f"{side.name}_x"))
        try:
            ran = tickstock("worker", servers=side.servers)
        finally:
            other.execute(f"ALTER DATABASE {side.name}_x RENAME TO {side.name}")
        assert (ran.returncode, ran.stderr.count("\n")) == (1, 1)
        assert "does not exist" in ran.stderr
        side.admin = psycopg.connect(side.admin_servers.database_url, autocommit=True)
        side.send()
        wait_for(lambda: worker_died or bridge_died or side.volume() == 2)
        assert not worker_died
        assert not bridge_died
    assert sum("does not exist" in str(line.get("why")) for line in said if line["log_level"] == "warning") <= 2


@pytest.mark.parametrize("start", [worker_on, bridge_on])
def test_a_password_that_was_changed_ends_the_process_with_one_sentence(side, wait_for, start):
    """A new process reads the new one, out of its file: to wait with the old one would help nobody."""
    with start(side) as died:
        wait_for(lambda: side.execute("SELECT count(*) FROM lease WHERE owner IS NOT NULL").fetchone()[0] > 0)
        side.execute(f"ALTER ROLE {side.role} PASSWORD 'second'")
        side.end_backends()
        if not password_is_asked(side):
            pytest.skip("this server trusts whoever comes from this host")
        wait_for(lambda: died)
    (error,) = died
    assert isinstance(error, SetupError)
    assert "authentication failed" in str(error)
    assert "first" not in str(error)


def password_is_asked(side):
    try:
        postgres.connect(side.servers.database_url, name="test").close()
    except SetupError:
        return True
    return False


@pytest.mark.parametrize(("state", "do"), STATES)
def test_a_bridge_says_what_the_database_answers_and_speaks_on(side, wait_for, state, do):
    with capture_logs() as said, worker_on(side) as worker_died, bridge_on(side) as bridge_died:
        side.send()
        wait_for(lambda: bridge_died or worker_died or is_told(side))
        refuse(side, "bridge_position", state)
        for _ in range(3):
            side.send()
        wait_for(lambda: bridge_died or worker_died or side.volume() == 4)
        serve_again(side, "bridge_position")
        wait_for(lambda: bridge_died or worker_died or is_told(side))
        assert not bridge_died
        assert not worker_died
    away = [line for line in said if line["event"] == "server away"]
    assert len(away) <= 2
    assert all(do in line.get("do", "") for line in away)


def is_told(side):
    statement = """
        SELECT c.outbox_number > 0 AND p.number = c.outbox_number
          FROM checkpoint c JOIN bridge_position p ON p.partition = c.partition"""
    return side.execute(statement).fetchone() == (True,)


def test_the_stream_of_these_tests_is_what_they_send(side):
    side.send()
    assert side.redis.xlen(stream_key(0)) == 1
