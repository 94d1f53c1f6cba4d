import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote, urlsplit
from uuid import uuid4

import pytest
from tickstockpl.contracts.errors import SetupError, UsageError
from tickstockpl.contracts.settings import Servers
from tickstockpl.db import postgres
from tickstockpl.db.schema.migrate import check_schema, migrate, open_stream

MIGRATIONS = [
    "0001_fleet.sql",
    "0002_bars.sql",
    "0003_commit.sql",
    "0004_results.sql",
    "0005_gaps.sql",
    "0006_universe.sql",
    "0007_trades.sql",
    "0008_repartition.sql",
    "0009_sent.sql",
    "0010_front_door_loss.sql",
    "0011_replaced.sql",
    "0012_repeated.sql",
    "0013_bounds.sql",
    "0014_application_tables.sql",
    "0016_detection_copies.sql",
    "0017_corporate_action.sql",
    "0018_sessions.sql",
    "0019_repeats.sql",
    "0021_partial_bars.sql",
    "0023_lost_at.sql",
    "0024_runs.sql",
    "0025_api.sql",
    "0026_import_sources.sql",
    "0027_schedule.sql",
    "0028_data_loads.sql",
    "0030_backtests.sql",
    "0031_spool.sql",
]
NOON = 1_381_147_200_000_000_000  # 2013-10-07T12:00:00Z

# The application's own tables, as contracts.md section 5 tells of the older ones.
APPLICATION_TABLES = """
CREATE TABLE symbols (symbol varchar(20) PRIMARY KEY, name text, type text, active boolean DEFAULT true);
CREATE TABLE ohlcv_1min (
    symbol varchar(20) NOT NULL REFERENCES symbols (symbol), "timestamp" timestamptz NOT NULL,
    open numeric(10,4) NOT NULL, high numeric(10,4) NOT NULL, low numeric(10,4) NOT NULL, close numeric(10,4) NOT NULL,
    volume bigint NOT NULL, PRIMARY KEY (symbol, "timestamp"));
INSERT INTO symbols (symbol, name) VALUES ('OLD', 'there before us');
INSERT INTO ohlcv_1min VALUES ('OLD', '2013-10-07T12:00:00Z', 1, 2, 0.5, 1.5, 100);
"""


@pytest.fixture
def flat_file(tmp_path):
    """Write five trades of two symbols in two minutes."""
    trades = [
        ("IBM", "182.5", 0, "100"), ("IBM", "182.33", 1, "50"), ("BAC", "14.03", 2, "1000"), ("IBM", "182.4", 3, "25"),
        ("IBM", "182.25", 60, "10"),
    ]  # fmt: skip
    lines = [f"{ticker},{price},{NOON + second * 10**9},{size}" for ticker, price, second, size in trades]
    file = tmp_path / "trades.csv"
    file.write_text("\n".join(["ticker,price,sip_timestamp,size", *lines]) + "\n")
    return file


FLAT_FILE_BARS = """\
symbol,timestamp,open,high,low,close,volume,trade_count,vwap,provenance
BAC,2013-10-07T12:00:00Z,14.03,14.03,14.03,14.03,1000,1,14.03,replay
IBM,2013-10-07T12:00:00Z,182.5,182.5,182.33,182.4,175,3,182.43714285714285,replay
IBM,2013-10-07T12:01:00Z,182.25,182.25,182.25,182.25,10,1,182.25,replay
"""


def columns(connection, table):
    statement = "SELECT column_name FROM information_schema.columns WHERE table_name = %s ORDER BY ordinal_position"
    return [name for (name,) in connection.execute(statement, [table])]


def connect(servers):
    return postgres.connect(servers.database_url, name="test")


def test_the_command_applies_every_migration_once(empty_servers, tickstock):
    first, second = tickstock("migrate", servers=empty_servers), tickstock("migrate", servers=empty_servers)
    current = "the schema is current; the stream has 16 partitions"
    assert first.stdout.splitlines() == [*(f"applied {name}" for name in MIGRATIONS), current]
    assert second.stdout.splitlines() == [current]
    assert (first.returncode, second.returncode) == (0, 0)


def test_two_processes_at_once_apply_every_migration_once(empty_servers):
    environment = os.environ | {"REDIS_URL": empty_servers.redis_url, "DATABASE_URL": empty_servers.database_url}
    command = [sys.executable, "-m", "tickstockpl.ops", "migrate"]
    started = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=120)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0]
    applied = [line for text in said for line in text.splitlines() if line.startswith("applied")]
    assert applied == [f"applied {name}" for name in MIGRATIONS]


def test_many_migrators_that_start_at_one_moment_apply_every_migration_once(empty_servers):
    connections = [connect(empty_servers) for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        applied = list(threads.map(migrate, connections))
    for connection in connections:
        connection.close()
    assert sorted(applied) == [[], [], [], MIGRATIONS]


def test_a_table_that_is_ours_gets_the_columns_it_lacks_and_keeps_its_rows(empty_servers, tickstock, flat_file):
    with connect(empty_servers) as connection:
        connection.execute(APPLICATION_TABLES)
        migrate(connection)
        added = ["vwap", "trade_count", "revision", "provenance"]
        assert columns(connection, "ohlcv_1min")[-4:] == added
        assert columns(connection, "bar_detail") == []
        kept = connection.execute("SELECT close, volume, vwap, revision FROM ohlcv_1min").fetchall()
        assert kept == [(1.5, 100, None, 0)]
    assert tickstock("replay", flat_file, "--workers", "1", servers=empty_servers).returncode == 0
    old = "OLD,2013-10-07T12:00:00Z,1,2,0.5,1.5,100,,,\n"
    assert tickstock("bars", "--format", "csv", servers=empty_servers).stdout == FLAT_FILE_BARS + old


@pytest.fixture
def application_servers(empty_servers):
    """Give a database whose tables belong to another role; ours may read and write rows, and make tables."""
    role, password = f"role_{uuid4().hex}", uuid4().hex
    with connect(empty_servers) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'")
        connection.execute(f"GRANT CREATE ON SCHEMA public TO {role}")
        connection.execute(APPLICATION_TABLES)
        connection.execute(f"GRANT SELECT, INSERT, UPDATE ON symbols, ohlcv_1min TO {role}")
        url = urlsplit(empty_servers.database_url)
        login = f"{role}:{quote(password)}@{url.hostname}:{url.port}"
        yield Servers(empty_servers.redis_url, url._replace(netloc=login).geturl())
        connection.execute(f"DROP OWNED BY {role} CASCADE")
        connection.execute(f"DROP ROLE {role}")


def test_a_table_of_the_application_stays_as_it_is_and_gets_a_side_table(application_servers):
    with connect(application_servers) as connection:
        assert migrate(connection) == MIGRATIONS
        before = ["symbol", "timestamp", "open", "high", "low", "close", "volume"]
        assert columns(connection, "ohlcv_1min") == before
        detail = ["symbol", "timestamp", "vwap", "trade_count", "revision", "provenance"]
        assert columns(connection, "bar_detail") == detail
        assert migrate(connection) == []


def test_bars_in_the_applications_table_come_out_whole(application_servers, tickstock, flat_file):
    assert tickstock("migrate", "--partitions", "2", servers=application_servers).returncode == 0
    ran = tickstock("replay", flat_file, "--workers", "2", servers=application_servers)
    assert ran.returncode == 0, ran.stderr
    old = "OLD,2013-10-07T12:00:00Z,1,2,0.5,1.5,100,,,\n"
    assert tickstock("bars", "--format", "csv", servers=application_servers).stdout == FLAT_FILE_BARS + old
    with connect(application_servers) as connection:
        assert connection.execute("SELECT symbol FROM symbols ORDER BY 1").fetchall() == [("BAC",), ("IBM",), ("OLD",)]
        told = connection.execute("SELECT DISTINCT revision, provenance FROM bar_detail").fetchall()
        assert told == [(0, "replay")]


def test_replayed_again_nothing_in_the_applications_table_is_touched(application_servers, tickstock, flat_file):
    tickstock("migrate", "--partitions", "2", servers=application_servers)
    replay = ("replay", flat_file, "--workers", "1")
    assert tickstock(*replay, servers=application_servers).returncode == 0
    statement = (
        "SELECT o.xmin, d.xmin, o.* FROM ohlcv_1min o LEFT JOIN bar_detail d USING (symbol, timestamp) ORDER BY 3, 4"
    )
    with connect(application_servers) as connection:
        before = connection.execute(statement).fetchall()
        assert tickstock(*replay, "--again", servers=application_servers).returncode == 0
        assert connection.execute(statement).fetchall() == before


def test_a_missing_right_is_named_with_what_to_do(application_servers, empty_servers, tickstock):
    role = urlsplit(application_servers.database_url).username
    with connect(empty_servers) as connection:
        connection.execute(f"REVOKE CREATE ON SCHEMA public FROM {role}")
    ran = tickstock("migrate", servers=application_servers)
    assert ran.returncode == 1
    assert ran.stderr == (
        "Error: migrate: permission denied for schema public: grant CREATE on the schema to this role\n"
    )


@pytest.mark.parametrize("command", [("bars",), ("worker",), ("producer", "--source", "synthetic")])
def test_a_database_that_was_never_migrated_is_refused(empty_servers, tickstock, command):
    ran = tickstock(*command, servers=empty_servers)
    assert ran.returncode == 1
    assert ran.stderr == (
        "Error: the database's schema is older than this program (0001_fleet.sql is missing): run `tickstock migrate`\n"
    )


def test_an_older_schema_is_refused(migrated_servers):
    with connect(migrated_servers) as connection:
        connection.execute("DELETE FROM schema_migration WHERE name = '0003_commit.sql'")
        with pytest.raises(
            SetupError, match=r"older than this program \(0003_commit.sql is missing\): run `tickstock mig"
        ):
            check_schema(connection)


@pytest.mark.parametrize("look", [check_schema, migrate])
def test_a_newer_schema_is_refused(migrated_servers, look):
    with connect(migrated_servers) as connection:
        connection.execute("INSERT INTO schema_migration (name) VALUES ('0099_later.sql')")
        with pytest.raises(SetupError, match=r"newer than this program \(has 0099_later.sql\): upgrade this program"):
            look(connection)


def test_the_first_process_decides_the_partition_count(migrated_servers):
    with connect(migrated_servers) as connection:
        assert open_stream(connection, 2) == 2
        assert open_stream(connection, None) == 2
        assert open_stream(connection, 2) == 2
        assert connection.execute("SELECT count(*) FROM checkpoint").fetchone() == (2,)


def test_another_partition_count_is_refused_with_both_numbers(migrated_servers, tickstock, flat_file):
    with connect(migrated_servers) as connection:
        open_stream(connection, 2)
        with pytest.raises(UsageError, match="16"):
            open_stream(connection, 16)
    for command in (("worker",), ("replay", flat_file), ("migrate",)):
        ran = tickstock(*command, "--partitions", "16", servers=migrated_servers)
        assert ran.returncode == 2
        assert ran.stderr == ("Error: --partitions is 16, but this stream has 2: leave the option out\n")
