"""Its tables first, ours first, or some of each; as the owner, and as a role that owns nothing but has the rights."""

from contextlib import contextmanager
from urllib.parse import quote, urlsplit
from uuid import uuid4

import pytest
from application_schema import QUERIES, ROWS, SCHEMA
from tickstockpl.contracts.settings import Servers
from tickstockpl.db import postgres

NOON = 1_381_147_200_000_000_000  # 2013-10-07T12:00:00Z
ALWAYS_OPEN = "INSERT INTO always_open VALUES ('*')"  # for that is before the opening
ROLE_RIGHTS = "SELECT, INSERT, UPDATE, DELETE"


def statements(script):
    """Split a script where a line ends a statement; the body of a function holds others."""
    parts, inside = [""], False
    for line in script.splitlines(keepends=True):
        parts[-1] += line
        inside ^= line.count("$f$") % 2 == 1
        if line.rstrip().endswith(";") and not inside:
            parts.append("")
    return [part for part in parts if part.strip()]


@contextmanager
def role_of_the_application(servers):
    """Make a role that owns nothing and may use what others made; yield servers that it logs in to."""
    role, password = f"role_{uuid4().hex}", uuid4().hex
    with postgres.connect(servers.database_url, name="test") as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'")
        connection.execute(f"GRANT CREATE ON SCHEMA public TO {role}")
        connection.execute(f"ALTER DEFAULT PRIVILEGES GRANT {ROLE_RIGHTS} ON TABLES TO {role}")
        connection.execute(f"ALTER DEFAULT PRIVILEGES GRANT USAGE ON SEQUENCES TO {role}")
        url = urlsplit(servers.database_url)
        login = f"{role}:{quote(password)}@{url.hostname}:{url.port}"
        try:
            yield Servers(servers.redis_url, url._replace(netloc=login).geturl())
        finally:
            connection.execute(f"DROP OWNED BY {role} CASCADE")
            connection.execute(f"DROP ROLE {role}")


@pytest.fixture(params=["owner", "app_readwrite"])
def login(request, empty_servers):
    """Give the servers as whoever runs `tickstock migrate`; the application's tables belong to the owner."""
    if request.param == "owner":
        yield empty_servers
        return
    with role_of_the_application(empty_servers) as servers:
        yield servers


def run_script(servers, parts):
    with postgres.connect(servers.database_url, name="test") as connection:
        for statement in parts:
            connection.execute(statement)


@pytest.fixture
def flat_file(tmp_path):
    """Write half an hour of one symbol; after a fall of ten minutes its last one is a hammer.

    It opens at 96.70, goes down to 88 and closes at 96.75.
    """
    trades = [
        (first - 0.01 * minute - 0.2 * max(0, minute - 20), 60 * minute + second, 100)
        for minute in range(30)
        for second, first in ((0, 100.0), (30, 99.0))
    ]
    trades += [(price, 60 * 30 + second, 100) for second, price in enumerate([96.7, 88.0, 96.75])]
    lines = [f"IBM,{price:.2f},{NOON + second * 10**9},{size}" for price, second, size in trades]
    file = tmp_path / "trades.csv"
    file.write_text("\n".join(["ticker,price,sip_timestamp,size", *lines]) + "\n")
    return file


def rows(servers, statement):
    with postgres.connect(servers.database_url, name="test") as connection:
        return connection.execute(statement).fetchall()


HALVES = (statements(SCHEMA)[::2], statements(SCHEMA)[1::2])


@pytest.mark.parametrize("order", ["its first", "ours first", "its first in part"])
def test_both_programs_work_whoever_made_the_tables(empty_servers, login, tickstock, flat_file, order):
    first, rest = {
        "its first": (statements(SCHEMA + ROWS), []),
        "ours first": ([], statements(SCHEMA + ROWS)),
        # What others refer to comes first in any case.
        "its first in part": (statements(SCHEMA)[:1] + HALVES[1][:-1], statements(SCHEMA + ROWS)),
    }[order]
    run_script(empty_servers, first)
    migrated = tickstock("migrate", "--partitions", "2", servers=login)
    assert migrated.returncode == 0, migrated.stderr
    # What runs later, runs as who owns the database; where we made a table, it needs what it gives itself elsewhere.
    run_script(empty_servers, [*rest, *QUERIES])
    run_script(empty_servers, [ALWAYS_OPEN])
    switched = tickstock("definitions", "live", servers=login)
    assert switched.returncode == 0, switched.stderr
    ran = tickstock("replay", flat_file, "--workers", "1", "--publish", servers=login)
    assert ran.returncode == 0, ran.stderr
    bars = tickstock("bars", "--format", "csv", servers=login).stdout.splitlines()
    assert (len(bars), bars[-1]) == (32, "IBM,2013-10-07T12:30:00Z,96.7,96.75,88,96.75,300,3,93.81666666666666,replay")
    found = rows(login, "SELECT DISTINCT pattern_type, timeframe FROM intraday_patterns WHERE timeframe = '1min'")
    assert ("Hammer", "1min") in found
    statement = (
        "SELECT (value_data ->> 'sma_5')::float8 FROM intraday_indicators WHERE indicator_type = 'SMA_5'"
        " AND timeframe = '1min' ORDER BY calculation_timestamp LIMIT 1"
    )
    assert rows(login, statement) == [(98.98,)]  # of 99, 98.99 ... 98.96
    assert rows(login, "SELECT count(*) FROM dead_letter") == [(0,)]
    run_script(empty_servers, QUERIES)


def test_rows_for_days_alone_are_named_and_one_command_switches_them_on(empty_servers, tickstock):
    run_script(empty_servers, statements(SCHEMA + ROWS))
    migrated = tickstock("migrate", "--partitions", "2", servers=empty_servers).stdout
    assert "note: Doji is never detected: it is on for daily alone" in migrated
    doctor = tickstock("doctor", servers=empty_servers).stdout
    for words in (
        "Doji is never detected",
        "Hammer is never detected",
        "WeeklyCup: there is no pattern of this name",
    ):
        assert words in " ".join(doctor.split())
    live = tickstock("definitions", "live", servers=empty_servers)
    assert live.stdout == "switched on for 1min, 5min, 15min, 30min, hourly: Doji, Hammer\n"
    again = tickstock("definitions", "live", servers=empty_servers)
    assert again.stdout == "all are on for 1min, 5min, 15min, 30min, hourly\n"
    kept = "SELECT applicable_timeframes, confidence_threshold::float8 FROM pattern_definitions WHERE name = 'Doji'"
    assert rows(empty_servers, kept) == [(["daily", "1min", "5min", "15min", "30min", "hourly"], 0.5)]


def test_a_column_that_is_needed_and_lacking_is_named_with_what_adds_it(empty_servers, tickstock):
    run_script(empty_servers, ["CREATE TABLE intraday_patterns (id serial, symbol varchar(20), confidence numeric)"])
    ran = tickstock("migrate", servers=empty_servers)
    assert ran.returncode == 1
    assert "intraday_patterns has no column pattern_type" in ran.stderr
    assert 'ALTER TABLE intraday_patterns ADD COLUMN "pattern_type" varchar(50)' in ran.stderr


def test_a_view_in_place_of_a_table_that_is_written_is_named(empty_servers, tickstock):
    run_script(empty_servers, [*statements(SCHEMA), "CREATE VIEW ohlcv_weekly AS SELECT * FROM ohlcv_hourly"])
    ran = tickstock("migrate", servers=empty_servers)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "they are views or continuous aggregates: ohlcv_weekly. Rename them" in " ".join(ran.stderr.split())


def test_a_role_that_may_create_is_not_told_to_be_granted_that(empty_servers, tickstock):
    with role_of_the_application(empty_servers) as login:
        run_script(empty_servers, ["CREATE TABLE schema_migration (name text PRIMARY KEY)"])
        run_script(empty_servers, ["REVOKE ALL ON schema_migration FROM " + urlsplit(login.database_url).username])
        ran = tickstock("migrate", servers=login)
    assert ran.returncode == 1
    assert "permission denied for table schema_migration" in ran.stderr
    assert "grant CREATE" not in ran.stderr


# -- detections once more ------------------------------------------------------------------------------------------

COPIES = """
SELECT d.name, p.symbol, p.detected_at::text, p.price_at_detection::float8, p.volume_at_detection,
       p.pattern_data ->> 'timeframe'
  FROM pattern_detections p JOIN pattern_definitions d ON d.id = p.pattern_id ORDER BY p.detected_at
"""
HOURLY = "SELECT pattern_type, symbol, detection_timestamp AT TIME ZONE 'UTC' FROM hourly_patterns ORDER BY 3"


def hours(last_price):
    """Make 13 hours of a symbol, each opened and closed at 100, so that it is a Doji; the last one closes as said."""
    prices = [price for hour in range(13) for price in (100, 101, 99, 100 if hour < 12 else last_price)]
    lines = [f"IBM,{price},{NOON + i * 15 * 60 * 10**9},100" for i, price in enumerate(prices)]
    return "\n".join(["ticker,price,sip_timestamp,size", *lines]) + "\n"


def test_detections_stand_in_the_tables_of_its_pages_as_long_as_they_stand_in_ours(empty_servers, tickstock, tmp_path):
    run_script(empty_servers, statements(SCHEMA + ROWS))
    assert tickstock("migrate", "--partitions", "1", servers=empty_servers).returncode == 0
    only_hours = (
        "UPDATE pattern_definitions SET applicable_timeframes = '{hourly}', enabled = name = 'Doji',"
        " parameters = '{\"min_move\": 0}'"
    )
    run_script(empty_servers, [only_hours, ALWAYS_OPEN])
    for last_price, last in ((100, ["2013-10-08 01:00:00"]), (100.9, []), (100, ["2013-10-08 01:00:00"])):
        file = tmp_path / f"{last_price}.csv"
        file.write_text(hours(last_price))
        ran = tickstock("replay", file, "--workers", "1", "--again", servers=empty_servers)
        assert ran.returncode == 0, ran.stderr
        ends = [*(f"2013-10-0{7 if hour < 24 else 8} {hour % 24:02}:00:00" for hour in range(13, 25)), *last]
        assert rows(empty_servers, COPIES) == [("Doji", "IBM", end, 100.0, 400, "hourly") for end in ends]
        assert [(*row[:2], str(row[2])) for row in rows(empty_servers, HOURLY)] == [
            ("Doji", "IBM", end) for end in ends
        ]


def test_a_table_of_its_pages_that_does_not_fit_stops_nothing(empty_servers, tickstock, tmp_path):
    run_script(empty_servers, statements(SCHEMA + ROWS))
    assert tickstock("migrate", "--partitions", "1", servers=empty_servers).returncode == 0
    odd = "ALTER TABLE pattern_detections ADD COLUMN ours integer NOT NULL CHECK (ours > 0)"
    no_table = ["DROP TABLE hourly_patterns", "CREATE VIEW hourly_patterns AS SELECT 1 AS one"]
    run_script(empty_servers, [odd, *no_table, ALWAYS_OPEN])
    file = tmp_path / "hours.csv"
    file.write_text(hours(100))
    run_script(empty_servers, ["UPDATE pattern_definitions SET parameters = '{\"min_move\": 0}' WHERE name = 'Doji'"])
    assert tickstock("definitions", "live", servers=empty_servers).returncode == 0
    ran = tickstock("replay", file, "--workers", "1", servers=empty_servers)
    assert ran.returncode == 0, ran.stderr
    found = "SELECT count(*) FROM intraday_patterns WHERE timeframe = 'hourly' AND pattern_type = 'Doji'"
    assert rows(empty_servers, found) == [(13,)]
    assert rows(empty_servers, "SELECT count(*) FROM pattern_detections") == [(0,)]
    said = [line for line in ran.stderr.splitlines() if "does not take detections" in line]
    assert len(said) == 1
    assert "pattern_detections: null value in column" in said[0]
    assert "hourly_patterns: " in said[0]
