"""Several PostgreSQL servers in one address: the one that commits is found, and a promoted standby goes on."""

import secrets
import shutil
import signal
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from tickstockpl.contracts.errors import ServerAway, SetupError
from tickstockpl.contracts.settings import Servers
from tickstockpl.db import postgres
from tickstockpl.db.postgres import address
from tickstockpl.ops.embedded.folder import ServerRecord
from tickstockpl.ops.embedded.server_processes import Postgres, stop

from .fleet import assert_ledger_balances, assert_same_bars, fleet_on, recount, wait_for

PARTITIONS = 3
DEAD = "127.0.0.1:1"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:w@h1,h2/db", "h1:5432,h2:5432/db"),
        ("postgresql://u:w@h1:1,h2:2/db?target_session_attrs=any", "h1:1,h2:2/db"),
        ("postgresql://u:w@h1,h2:2/db", "h1:5432,h2:2/db"),
        ("host=h1,h2 port=6000 user=u password=w dbname=db", "h1:6000,h2:6000/db"),
        ("postgresql://u:w@h1/db", "h1:5432/db"),
        ("postgresql:///db", "localhost:5432/db"),
    ],
)
def test_an_address_is_shown_with_all_its_hosts_and_no_secret(url, shown):
    assert address(url) == shown


def with_dead(url):
    there = urlsplit(url)
    login, _, host = there.netloc.rpartition("@")
    return there._replace(netloc=f"{login}@{DEAD},{host}").geturl()


def test_the_host_that_lives_serves_and_the_dead_one_is_passed_over(servers):
    with postgres.connect(with_dead(servers.database_url), name="test") as connection:
        assert connection.execute("SELECT pg_is_in_recovery()").fetchone() == (False,)


def test_hosts_are_tried_in_any_order_where_the_address_says_so(servers):
    url = f"{with_dead(servers.database_url)}?load_balance_hosts=random&connect_timeout=2"
    for _ in range(4):
        postgres.connect(url, name="test").close()


def test_where_no_host_serves_each_reason_is_told(servers):
    if urlsplit(servers.database_url).password is None:
        pytest.skip("TICKSTOCK_TEST_DATABASE_URL names a server that asks for no password")
    wrong = urlsplit(with_dead(servers.database_url))
    login, _, hosts = wrong.netloc.rpartition("@")
    word = secrets.token_hex(8)
    with pytest.raises(SetupError) as refused:
        postgres.connect(wrong._replace(netloc=f"{login.partition(':')[0]}:{word}@{hosts}").geturl(), name="test")
    assert "Connection refused; " in str(refused.value)
    assert "password authentication failed" in str(refused.value)
    assert word not in str(refused.value)
    with pytest.raises(ServerAway, match="Connection refused"):
        postgres.connect(wrong._replace(netloc=f"{login}@{DEAD},127.0.0.1:2").geturl(), name="test")


class Standby(Postgres):
    """A copy of another server that follows it, until it is promoted."""

    name = "standby"

    def __init__(self, folder, primary):
        super().__init__(folder, ServerRecord(password=primary.record.password))
        self._primary = primary

    def _initialise(self, fresh):
        record = self._primary.record
        source = f"host=127.0.0.1 port={record.port} user=tickstock password={record.password}"
        copied = self._run_postgres("pg_basebackup", "-D", str(fresh), "-d", source, "-R", "-X", "stream", "-c", "fast")
        assert copied.wait(60) == 0, self._last_lines()

    def check(self):
        with self.connect() as connection:
            connection.execute("SELECT 1")

    def connect(self):
        login = f"tickstock:{self.record.password}"
        return psycopg.connect(f"postgresql://{login}@127.0.0.1:{self.record.port}/tickstock", autocommit=True)

    def stop_following(self):
        """Hear no more of the other server: what it commits from now on is lost with it."""
        with self.connect() as connection:
            connection.execute("ALTER SYSTEM SET primary_conninfo = ''")
            connection.execute("SELECT pg_reload_conf()")
            receiver = "SELECT count(*) FROM pg_stat_wal_receiver"
            wait_for(lambda: connection.execute(receiver).fetchone() == (0,), 20, "the end of replication")

    def bars(self):
        with self.connect() as connection:
            return connection.execute("SELECT count(*) FROM ohlcv_1min").fetchone()[0]


@pytest.fixture
def pair():
    """Give a primary and its hot standby, which end with the test."""
    folder = Path(tempfile.mkdtemp(prefix="tickstock-standby-"))
    folder.chmod(0o711)
    (folder / "1").mkdir(mode=0o711)
    (folder / "2").mkdir(mode=0o711)
    started = []
    try:
        primary = Postgres(folder / "1", ServerRecord())
        for server in (primary, Standby(folder / "2", primary)):
            server.take_port()
            server.start()
            started.append(server)
            server.wait_until_ready()
        yield started
    finally:
        stop(started)
        shutil.rmtree(folder)


def both(pair):
    primary, standby = (server.record for server in pair)
    hosts = f"127.0.0.1:{primary.port},127.0.0.1:{standby.port}"
    return f"postgresql://tickstock:{primary.password}@{hosts}/tickstock"


@pytest.mark.slow
@pytest.mark.parametrize("commits_are_lost", [False, True])
def test_bars_stay_exact_when_a_standby_is_promoted(pair, migrated_servers, tmp_path, trades, commits_are_lost):
    file, ticks = trades
    primary, standby = pair
    servers = Servers(migrated_servers.redis_url, both(pair))
    with fleet_on(servers, tmp_path, partitions=PARTITIONS) as fleet:
        fleet.start_worker("worker", "--commit-ms", 50)
        wait_for(lambda: fleet.owners() == {"worker": PARTITIONS}, 40, lambda: f"the worker\n{fleet.logs()}")
        fleet.start_replay("producer", [file], "--speed", "300x")
        wait_for(lambda: len(fleet.bars()) > 20, 40, lambda: f"some bars\n{fleet.logs()}")
        if commits_are_lost:
            standby.stop_following()
            wait_for(lambda: len(fleet.bars()) > standby.bars() + 10, 40, lambda: f"more bars\n{fleet.logs()}")
        primary.send(signal.SIGKILL)
        assert primary.has_ended(10)
        with standby.connect() as connection:
            assert connection.execute("SELECT pg_promote()").fetchone() == (True,)
        assert fleet.exit_code("producer", 60) == 0, fleet.logs()
        assert fleet.stop("worker") == 0, fleet.logs()
        assert_same_bars(fleet.bars(), recount(file))
        assert_ledger_balances(fleet, ticks)
