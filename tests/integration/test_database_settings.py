"""The settings of a database or of the user's shell that say how dates and numbers are written change nothing."""

from urllib.parse import urlsplit

import psycopg
import pytest
from tickstockpl.db import postgres
from tickstockpl.db.pool import Pool

SETTINGS = (
    "timezone = 'Asia/Tokyo'",
    "datestyle = 'SQL, DMY'",
    "intervalstyle = 'sql_standard'",
    "extra_float_digits = 0",
)
SHELL = {"PGTZ": "Asia/Tokyo", "PGDATESTYLE": "German", "TZ": "America/Los_Angeles"}
VALUES = "SELECT '2026-03-08 07:30Z'::timestamptz, interval '26 hours', 3.0000000000000004::float8, '2026-03-08'::date"


@pytest.fixture
def database(migrated_servers):
    with psycopg.connect(migrated_servers.database_url, autocommit=True) as connection:
        connection.execute("INSERT INTO symbols (symbol) VALUES ('AAPL')")
        for table in ("ohlcv_1min", "ohlcv_5min"):
            connection.execute(
                f'INSERT INTO {table} (symbol, "timestamp", open, high, low, close, volume)'
                " SELECT 'AAPL', '2026-03-08 06:00Z'::timestamptz + make_interval(hours => i), 10, 16, 9, 15, 500"
                " FROM generate_series(0, 4) AS i"  # over the night on which New York's clocks change
            )
        connection.execute(
            "INSERT INTO run (run_id, run_date, trigger, universe, phases, parameters, status, started_at, ended_at)"
            " VALUES (gen_random_uuid(), '2026-03-06', 'manual', 'all', '{import}', '{}', 'completed', now(), now())"
        )
        yield connection


def set_otherwise(connection, servers):
    for setting in SETTINGS:
        connection.execute(f"ALTER DATABASE {urlsplit(servers.database_url).path.lstrip('/')} SET {setting}")


COMMANDS = (
    ("bars", "--timeframe", "5min", "--format", "csv"),
    ("bars", "--from", "2026-03-08T01:30:00-05:00"),
    ("run", "ls"),
    ("run", "schedule", "show"),
)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command[:3]))
def test_a_command_prints_the_same_in_whatever_form_database_and_shell_write_dates(
    migrated_servers, database, tickstock, command
):
    plain = tickstock(*command, servers=migrated_servers)
    assert (plain.returncode, plain.stderr) == (0, "")

    set_otherwise(database, migrated_servers)
    other = tickstock(*command, servers=migrated_servers, **SHELL)

    assert (other.returncode, other.stdout, other.stderr) == (0, plain.stdout, "")


def test_a_connection_and_one_of_the_pool_read_the_same_values_as_ever(migrated_servers, database, monkeypatch):
    with postgres.connect(migrated_servers.database_url, name="test") as connection:
        plain = connection.execute(VALUES).fetchone()
    set_otherwise(database, migrated_servers)
    for name, value in SHELL.items():
        monkeypatch.setenv(name, value)

    with postgres.connect(migrated_servers.database_url, name="test") as connection:
        assert connection.execute(VALUES).fetchone() == plain
        assert connection.execute("SHOW timezone").fetchone() == ("UTC",)
    pool = Pool(migrated_servers.database_url, name="test", size=1)
    pool.open(10.0)
    with pool.connection() as connection:
        assert connection.execute(VALUES).fetchone() == plain
        assert connection.execute("SHOW timezone").fetchone() == ("UTC",)
    pool.close()
