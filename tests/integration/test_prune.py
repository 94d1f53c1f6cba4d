"""`tickstock prune`: what is old goes, what is not stays, whatever else uses the tables."""

import psycopg
import pytest

FILL = """
CREATE TEMP VIEW times AS SELECT now() - make_interval(days => days) AS at FROM unnest(ARRAY[1, 8, 31, 91]) AS days;
INSERT INTO intraday_patterns (symbol, pattern_type, confidence, detection_timestamp, expiration_timestamp, metadata)
SELECT 'A', 'Doji', 0.9, at, at, jsonb_build_object('flow_id', gen_random_uuid()) FROM times;
INSERT INTO intraday_indicators (symbol, indicator_type, value, calculation_timestamp)
SELECT 'A', 'RSI', 50, at FROM times;
INSERT INTO integration_events (event_type, "timestamp") SELECT 'heartbeat', at FROM times;
"""
FILL_DAYS = """
CREATE TEMP VIEW days AS SELECT now() - make_interval(days => days) AS at FROM unnest(ARRAY[91, 399, 401]) AS days;
INSERT INTO daily_indicators (symbol, indicator_type, value, value_data, calculation_timestamp, expiration_date)
SELECT 'A', 'RSI', 50, '{}', at, at FROM days;
INSERT INTO daily_patterns (symbol, pattern_type, confidence, pattern_data, detection_timestamp, expiration_date)
SELECT 'A', 'Doji', 0.9, '{}', at, at FROM days;
"""
FILL_LONGER = """
INSERT INTO {} (symbol, pattern_type, confidence, pattern_data, detection_timestamp, expiration_timestamp)
SELECT 'A', 'Doji', 0.9, '{{}}', at, at FROM days
"""
LONGER = ("weekly_patterns", "monthly_patterns", "daily_intraday_patterns")
TABLES = ("intraday_patterns", "integration_events", "intraday_indicators")


@pytest.fixture
def filled(migrated_servers):
    """Give servers on which each of the three tables has rows of 1, 8, 31 and 91 days, and a function that counts."""
    with psycopg.connect(migrated_servers.database_url, autocommit=True) as database:
        database.execute(FILL)

        def rows():
            return [database.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in TABLES]

        yield migrated_servers, rows


def test_what_is_older_than_its_days_goes(tickstock, filled):
    servers, rows = filled
    run = tickstock("prune", servers=servers)
    assert run.returncode == 0, run.stderr
    assert rows() == [3, 2, 1]
    assert [line.split(" rows")[0] for line in run.stdout.splitlines()[:3]] == [
        "intraday_patterns: 1",
        "integration_events: 2",
        "intraday_indicators: 3",
    ]


def test_what_daily_runs_found_goes_after_its_own_days(tickstock, filled):
    servers, _ = filled
    with psycopg.connect(servers.database_url) as database:
        database.execute(FILL_DAYS)
        for table in LONGER:
            database.execute(FILL_LONGER.format(table))
    run = tickstock("prune", "--dry-run", servers=servers)
    assert run.stdout.count("_patterns: 1 rows") == 5
    assert tickstock("prune", "--keep-daily-days", 100, servers=servers).returncode == 0
    with psycopg.connect(servers.database_url) as database:
        for table in ("daily_indicators", "daily_patterns", *LONGER):
            assert database.execute(f"SELECT count(*) FROM {table}").fetchone() == (1,)


def test_days_are_options(tickstock, filled):
    servers, rows = filled
    days = {"--keep-patterns-days": 7, "--keep-events-days": 60, "--keep-indicators-days": 100}
    tickstock("prune", *(word for pair in days.items() for word in pair), servers=servers)
    assert rows() == [1, 3, 4]


def test_a_dry_run_deletes_nothing(tickstock, filled):
    servers, rows = filled
    run = tickstock("prune", "--dry-run", servers=servers)
    assert rows() == [4, 4, 4]
    assert "intraday_indicators: 3 rows" in run.stdout
    assert "would be deleted" in run.stdout


def test_a_table_of_many_pages_is_pruned_to_its_end(tickstock, filled):
    servers, rows = filled
    with psycopg.connect(servers.database_url) as database:
        database.execute(
            'INSERT INTO integration_events (event_type, details, "timestamp")'
            " SELECT 'old', jsonb_build_object('padding', repeat('x', 1500)), now() - interval '40 days'"
            " FROM generate_series(1, 12000)"
        )
    tickstock("prune", servers=servers)
    assert rows() == [3, 2, 1]


def test_a_table_that_is_split_into_parts_is_left_alone(tickstock, filled):
    servers, rows = filled
    with psycopg.connect(servers.database_url) as database:
        database.execute("CREATE TABLE a_part () INHERITS (integration_events)")
    run = tickstock("prune", servers=servers)
    assert rows() == [3, 4, 1]
    assert "integration_events: split into parts" in run.stdout
