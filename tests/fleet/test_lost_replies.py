"""The reply of one command is lost and its connection cut, for every kind of command: nobody knows whether it ran."""

from contextlib import ExitStack
from urllib.parse import urlsplit

import psycopg
import pytest
from tickstockpl.contracts.names import results_key
from tickstockpl.contracts.settings import Servers

from .fleet import assert_all_told, assert_ledger_balances, assert_same_bars, fleet_on, recount, wait_for
from .proxy import proxy_to

PARTITIONS = 3
EACH = (1, 2, 5)  # the first, the second and the fifth of a kind lose their reply

# A pipeline loses the replies of all its commands with that of the named one.
OF_REDIS = ["XGROUP", "XREADGROUP", "XACK", "HSET", "XTRIM", "EXEC"]
LOOKS_OF_REDIS = ["INFO", "XINFO", "XPENDING", "EVAL", "HGETALL"]
OF_POSTGRES = [
    "lock_checkpoints",
    "COMMIT",
    "INSERT INTO ohlcv_1min",
    "INSERT INTO outbox",
    "UPDATE checkpoint c",
    "UPDATE checkpoint SET epoch",
    "SELECT epoch, token, position",
    "UPDATE lease l",
]
LOOKS_OF_POSTGRES = [
    "TRUNCATE stage_bar",
    "COPY stage_bar",
    "SELECT s.row_number, b.feed",
    "SELECT number, kind, body FROM outbox",
    "FROM finished_replay",
]
OF_JOIN = ["LISTEN", "NOTIFY", "INSERT INTO worker"]  # the name is taken then: each loss waits for its lease's end
# What changes nothing that a commit rests on is left to `make soak`.
SLOWLY = pytest.mark.slow
OF_PRODUCER = ["XADD", "HMGET", "INFO", "TIME", "HDEL"]


@pytest.fixture
def behind(migrated_servers):
    """Give a function that puts a proxy before each server and returns the way through them."""
    with ExitStack() as open_proxies:

        def put(of_redis=None, of_postgres=None):
            redis_url, database_url = urlsplit(migrated_servers.redis_url), urlsplit(migrated_servers.database_url)
            proxies = [
                open_proxies.enter_context(proxy_to(url.hostname, url.port, losing))
                for url, losing in ((redis_url, of_redis), (database_url, of_postgres))
            ]
            urls = [
                url._replace(netloc=f"{url.netloc.rpartition('@')[0]}@127.0.0.1:{proxy.port}").geturl()
                for url, proxy in zip((redis_url, database_url), proxies, strict=True)
            ]
            return Servers(*urls), *proxies

        yield put


def assert_exact(fleet, trades):
    file, ticks = trades
    assert_same_bars(fleet.bars(), recount(file))
    assert_ledger_balances(fleet, ticks)
    wait_for(lambda: fleet.unacked_of_all() == 0, 90, "the last acks")
    assert_all_told(fleet)


def run_worker_behind(fleet, trades, way):
    fleet.start_worker("w1", "--commit-ms", "20", "--read-count", "2", servers=way)
    fleet.start_replay("producer", [trades[0]], "--publish")
    assert fleet.exit_code("producer", 120) == 0, fleet.logs()
    assert fleet.processes["w1"].poll() is None, fleet.logs()
    assert_exact(fleet, trades)
    assert fleet.stop("w1") == 0, fleet.logs()


@pytest.mark.parametrize("command", [*OF_REDIS, *(pytest.param(command, marks=SLOWLY) for command in LOOKS_OF_REDIS)])
def test_worker_survives_a_lost_reply_of_redis(behind, migrated_servers, tmp_path, trades, command):
    way, proxy, _ = behind(of_redis={command.encode(): EACH})
    with fleet_on(migrated_servers, tmp_path, partitions=PARTITIONS) as fleet:
        run_worker_behind(fleet, trades, way)
    assert proxy.lost, "the worker sent no such command"


@pytest.mark.parametrize(
    ("command", "numbers"),
    [
        *((command, EACH) for command in OF_POSTGRES),
        *(pytest.param(command, EACH, marks=SLOWLY) for command in LOOKS_OF_POSTGRES),
        *(pytest.param(command, (1,), marks=SLOWLY) for command in OF_JOIN),
    ],
)
def test_worker_survives_a_lost_reply_of_postgres(behind, migrated_servers, tmp_path, trades, command, numbers):
    way, _, proxy = behind(of_postgres={command.encode(): numbers})
    with fleet_on(migrated_servers, tmp_path, partitions=PARTITIONS) as fleet:
        run_worker_behind(fleet, trades, way)
    assert proxy.lost, "the worker sent no such command"


@pytest.mark.parametrize("command", OF_PRODUCER)
def test_producer_survives_a_lost_reply_of_redis(behind, migrated_servers, tmp_path, trades, command):
    way, proxy, _ = behind(of_redis={command.encode(): EACH})
    with fleet_on(migrated_servers, tmp_path, partitions=PARTITIONS) as fleet:
        fleet.start_worker("w1")
        fleet.start_replay("producer", [trades[0]], "--publish", servers=way)
        assert fleet.exit_code("producer", 120) == 0, fleet.logs()
        assert_exact(fleet, trades)
    assert proxy.lost, "the producer sent no such command"


def test_idle_connections_that_are_reset_are_made_again(behind, migrated_servers, tmp_path, trades):
    way, to_redis, to_postgres = behind()
    with fleet_on(migrated_servers, tmp_path, partitions=PARTITIONS) as fleet:
        fleet.start_worker("w1", servers=way)
        wait_for(lambda: fleet.owners() == {"w1": PARTITIONS}, 90, "the worker's start")
        to_redis.cut()
        to_postgres.cut()
        wait_for(lambda: "server back" in fleet.log_file("w1").read_text(), 90, "the worker's new connections")
        fleet.start_replay("producer", [trades[0]], "--publish", servers=way)
        assert fleet.exit_code("producer", 120) == 0, fleet.logs()
        assert_exact(fleet, trades)


def test_results_that_redis_lost_while_the_worker_waited_for_postgres_are_told_again(
    migrated_servers, tmp_path, trades
):
    with fleet_on(migrated_servers, tmp_path, partitions=PARTITIONS) as fleet:
        fleet.start_worker("w1")
        fleet.start_replay("producer", [trades[0]], "--publish")
        assert fleet.exit_code("producer", 120) == 0, fleet.logs()
        assert_all_told(fleet)
        with psycopg.connect(migrated_servers.database_url) as other:
            other.execute("LOCK TABLE lease")
            wait_for(lambda: fleet.waits_for_lock("tickstock-worker w1"), 90, fleet.logs)
            fleet.redis.client_kill_filter(_type="normal", skipme=True)  # as one that is started again without them
            fleet.redis.delete(*map(results_key, range(PARTITIONS)))
        assert_all_told(fleet)
