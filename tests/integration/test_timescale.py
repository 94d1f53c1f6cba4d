"""Bars in a hypertable: on a server with TimescaleDB, which TICKSTOCK_TEST_DATABASE_URL names; skipped on others."""

import re
import threading
from datetime import timedelta
from decimal import Decimal

import psycopg
import pytest
from daily_rows import FRIDAY, add_days, add_minutes, ended, jobs, start
from tickstockpl.db import postgres
from tickstockpl.db.queries import query
from tickstockpl.db.schema.hypertable import read_days_in_chunks
from tickstockpl.db.tables.bars import open_stage
from tickstockpl.ohlcv_writer import LiveOHLCVWriter
from tickstockpl.ops.doctor.postgres import judge_days_in_chunks

from .test_detection import APPLICATION_TABLES, replay, rows, trade, write

DAYS = 60
FIRST_DAY = 16_000  # since 1970: 2013-10-22
CHUNK = re.compile(r"_hyper_\d+_\d+_chunk\b")
STATUS = """SELECT h.table_name, c.status FROM _timescaledb_catalog.chunk c
              JOIN _timescaledb_catalog.hypertable h ON h.id = c.hypertable_id AND h.table_name = 'ohlcv_1min'
             ORDER BY c.id"""
COMPRESSED, PARTLY = 1, 9  # chunk.status: compressed; and with rows beside what is compressed
MINUTES = [trade("A", 50 + minute % 7 / 7, minute * 60 + second, 10) for minute in range(30) for second in (5, 50)]
DAYS_TABLES = (
    ("ohlcv_daily", "date", "7 days"),
    ("ohlcv_weekly", "week_start", "1 year"),
    ("ohlcv_monthly", "month_start", "1 year"),
)
STANDING = 'SELECT * FROM ohlcv_1min ORDER BY symbol, "timestamp"'


@pytest.fixture
def timescale(migrated_servers):
    """Give servers whose bars are a hypertable."""
    if not rows(migrated_servers, "SELECT 1 FROM pg_extension WHERE extname = 'timescaledb'"):
        pytest.skip("no TimescaleDB here: TICKSTOCK_TEST_DATABASE_URL names a server that preloads it")
    return migrated_servers


@pytest.fixture
def compressed(timescale, tickstock, tmp_path):
    """Give servers on which half an hour of one symbol was replayed and compressed, and its file."""
    file = write(tmp_path / "day.csv", MINUTES)
    replay(tickstock, timescale, file)
    rows(timescale, "ALTER TABLE ohlcv_1min SET (timescaledb.compress, timescaledb.compress_segmentby = 'symbol')")
    assert len(rows(timescale, "SELECT compress_chunk(c) FROM show_chunks('ohlcv_1min') AS c")) == 1
    assert rows(timescale, STATUS) == [("ohlcv_1min", COMPRESSED)]
    return timescale, file


@pytest.fixture
def many_chunks(timescale):
    """Give a connection to a database with a bar of two symbols in each of 60 chunks."""
    with postgres.connect(timescale.database_url, name="test", by_keys=True) as connection:
        connection.execute("INSERT INTO symbols (symbol) VALUES ('A'), ('B')")
        connection.execute(
            """INSERT INTO ohlcv_1min (symbol, "timestamp", open, high, low, close, volume, provenance)
               SELECT s, to_timestamp(d * 86400.0 + 54000), 1, 1, 1, 1, 1, 'replay'
                 FROM generate_series(%s::int, %s::int) AS d, unnest(ARRAY['A', 'B']) AS s""",
            [FIRST_DAY, FIRST_DAY + DAYS - 1],
        )
        open_stage(connection)
        yield connection


def test_the_bars_are_a_hypertable_with_a_chunk_for_each_day(many_chunks):
    found = many_chunks.execute("SELECT hypertable_name, num_chunks FROM timescaledb_information.hypertables")
    assert found.fetchall() == [("ohlcv_1min", DAYS)]


# -- chunks that a statement touches -----------------------------------------------------------------------------------

MINUTE = (FIRST_DAY + 30) * 1440 + 900
BATCH = {
    "partitions": [0], "symbols": ["A"], "first_minute": MINUTE, "last_minute": MINUTE + 10, "first": 0, "last": 9,
    "price_decimals": 6, "volume_decimals": 6, "minutes": [MINUTE], "window": 250, "slack": 250, "behind": 250,
    "replay": "r", "partition": 0, "from": None, "to": None, "is_whole": [True], "half_days": [],
}  # fmt: skip


STATEMENTS = [
    ("mark_standing", {}),
    ("unpriced_bars_stand", {}),
    ("delete_unpriced_bars", {}),
    ("delete_emptied_higher_bars", {}),
    ("put_back_staged", {}),
    ("put_back_around", {}),
    ("put_back_5min_bars", {}),
    ("put_back_15min_bars", {}),
    ("put_back_30min_bars", {}),
    ("put_back_hourly_bars", {}),
    ("forgotten_minutes_not_held", {}),
    ("audited_bars", {"first": MINUTE, "last": MINUTE + 10}),
]


@pytest.mark.parametrize(("name", "values"), STATEMENTS)
def test_the_batch_has_a_value_for_each_parameter_of_a_statement(name, values):
    """On every server: the test below runs on few."""
    assert set(re.findall(r"%\((\w+)\)s", query(name).as_string())) <= (BATCH | values).keys()


@pytest.mark.parametrize(("name", "values"), STATEMENTS)
def test_a_statement_on_bars_is_planned_for_the_chunks_of_its_batch_alone(name, values, many_chunks):
    statement = query(name).as_string(many_chunks)
    with many_chunks.transaction(force_rollback=True):
        plan = many_chunks.execute(f"EXPLAIN (FORMAT TEXT) {statement}", BATCH | values, prepare=False).fetchall()
    assert set(CHUNK.findall("\n".join(line for (line,) in plan))) <= chunks_of(many_chunks)


def chunks_of(connection):
    """Return the names of the chunks of the batch's day."""
    found = connection.execute(
        "SELECT c::text FROM show_chunks('ohlcv_1min', newer_than => to_timestamp(%s * 86400.0),"
        " older_than => to_timestamp(%s * 86400.0)) AS c", [FIRST_DAY + 30, FIRST_DAY + 31],
    )  # fmt: skip
    return {name.split(".")[-1] for (name,) in found}


def test_to_ask_for_unpriced_bars_locks_the_chunks_of_the_batch_alone(many_chunks):
    with many_chunks.transaction():
        many_chunks.execute(query("unpriced_bars_stand"), BATCH, prepare=False)
        locked = many_chunks.execute("SELECT relation::regclass::text FROM pg_locks WHERE pid = pg_backend_pid()")
        chunks = {name for (text,) in locked if text for name in CHUNK.findall(text)}
    assert chunks == chunks_of(many_chunks)


def test_a_bar_without_a_price_that_stands_in_the_table_is_found_and_goes(many_chunks):
    many_chunks.execute("INSERT INTO stage_bar (partition, symbol, minute, open) VALUES (0, 'A', %s, 'NaN')", [MINUTE])
    assert many_chunks.execute(query("unpriced_bars_stand"), BATCH).fetchone() == (True,)
    many_chunks.execute(query("delete_unpriced_bars"), BATCH)
    assert many_chunks.execute(query("unpriced_bars_stand"), BATCH).fetchone() == (False,)
    assert many_chunks.execute("SELECT count(*) FROM ohlcv_1min").fetchone() == (2 * DAYS - 1,)


# -- who makes a chunk -------------------------------------------------------------------------------------------------


@pytest.fixture
def maker(timescale):
    """Hold the lock of who makes chunks, as another worker does; give the connection, which releases it at its end."""
    with psycopg.connect(timescale.database_url, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(hashtext('tickstockpl.chunk'))")
        yield connection


def waits_without_a_symbol(servers):
    """Tell whether some session of ours waits for the lock of who makes chunks, and has locked no table of bars yet."""
    waiting = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    pids = [pid for (pid,) in rows(servers, waiting)]
    held = "SELECT DISTINCT relation::regclass::text FROM pg_locks WHERE pid = ANY (%s) AND relation IS NOT NULL"
    names = {name for (name,) in rows(servers, held, pids)}
    return bool(pids) and not names & {"symbols", "ohlcv_1min", "checkpoint"}


def test_a_worker_waits_for_who_makes_chunks_before_it_locks_anything(stream, work, timescale, maker):
    stream.send(("A", 10.0, 100, -3))
    work(lambda: waits_without_a_symbol(timescale))
    maker.execute("SELECT pg_advisory_unlock_all()")
    work(lambda: rows(timescale, "SELECT count(*) FROM ohlcv_1min") == [(1,)])


def test_a_worker_whose_chunk_is_there_waits_for_nobody(stream, work, timescale, maker):
    maker.execute("SELECT pg_advisory_unlock_all()")
    stream.send(("A", 10.0, 100, -5))
    work(lambda: rows(timescale, "SELECT count(*) FROM ohlcv_1min") == [(1,)])
    maker.execute("SELECT pg_advisory_lock(hashtext('tickstockpl.chunk'))")
    stream.send(("B", 10.0, 100, -5))  # of the same minute, and so of the same day
    work(lambda: rows(timescale, "SELECT count(*) FROM ohlcv_1min") == [(2,)])


def test_the_library_waits_for_who_makes_chunks_before_it_locks_anything(timescale, maker, wait_for):
    def write_a_bar():
        with LiveOHLCVWriter(timescale.database_url) as writer:
            writer.process_tick({"symbol": "A", "price": 1.0, "volume": 1, "timestamp": "2013-10-07T13:37:01Z"})

    thread = threading.Thread(target=write_a_bar)
    thread.start()
    wait_for(lambda: waits_without_a_symbol(timescale))
    maker.execute("SELECT pg_advisory_unlock_all()")
    thread.join(60)
    assert rows(timescale, "SELECT count(*) FROM ohlcv_1min") == [(1,)]


@pytest.fixture
def days_in_chunks(timescale):
    """Give a database whose daily, weekly and monthly bars are hypertables that refer to `symbols`."""
    with psycopg.connect(timescale.database_url, autocommit=True) as connection:
        for table, column, step in DAYS_TABLES:
            connection.execute(f"ALTER TABLE {table} ADD FOREIGN KEY (symbol) REFERENCES symbols (symbol)")
            connection.execute(
                f"SELECT create_hypertable('{table}', '{column}', chunk_time_interval => interval '{step}')"
            )
        yield connection


def test_an_import_waits_for_who_makes_chunks_before_it_locks_anything(days_in_chunks, timescale, maker, wait_for):
    add_minutes(days_in_chunks, "A", 10, 12, 9, 11)
    with jobs(timescale):
        run = start(days_in_chunks, "import")
        wait_for(lambda: waits_without_a_symbol(timescale))
        maker.execute("SELECT pg_advisory_unlock_all()")
        assert ended(days_in_chunks, run, wait_for).status == "completed"
        maker.execute("SELECT pg_advisory_lock(hashtext('tickstockpl.chunk'))")
        again = ended(days_in_chunks, start(days_in_chunks, "import"), wait_for)  # every chunk exists
    assert (again.status, rows(timescale, "SELECT count(*) FROM ohlcv_monthly")) == ("completed", [(1,)])


@pytest.mark.parametrize(
    "name",
    [
        "import_vendor_days",
        "vendor_days",
        "days_without_vendor",
        "days_by_source",
        "symbols_with_days",
        "make_weeks",
        "make_months",
    ],
)
def test_a_statement_on_daily_bars_is_planned_for_the_chunks_of_its_days_alone(name, days_in_chunks):
    add_days(days_in_chunks, "A", [10.0] * 300, last=FRIDAY)
    starts = {"make_weeks": FRIDAY - timedelta(days=4), "make_months": FRIDAY.replace(day=1)}
    first = starts.get(name, FRIDAY)
    columns = {each: [1.0] for each in ("opens", "highs", "lows", "closes", "volumes")}
    values = columns | {
        "symbols": ["A"], "days": [FRIDAY], "starts": [first], "ended": [first], "first": first, "last": FRIDAY,
        "are_final": [True], "source": "grouped",
    }  # fmt: skip
    statement = query(name).as_string(days_in_chunks)
    plan = days_in_chunks.execute(f"EXPLAIN {statement}", values, prepare=False).fetchall()
    planned = {chunk for line in plan for chunk in CHUNK.findall(*line)}
    newer = "SELECT c::text FROM show_chunks('ohlcv_daily', newer_than => %s - 7) AS c"
    assert planned
    assert planned <= {name.split(".")[-1] for (name,) in days_in_chunks.execute(newer, [first])}


def test_the_doctor_warns_of_daily_bars_in_more_chunks_than_the_server_can_lock(days_in_chunks):
    add_days(days_in_chunks, "A", [10.0] * 20, last=FRIDAY)  # four weeks, in chunks that begin on a Thursday
    (table,) = (each for each in read_days_in_chunks(days_in_chunks) if each.name == "ohlcv_daily")
    assert (table.chunks, table.locks) == (5, 15)  # each with the indexes of its key and of its time
    assert list(judge_days_in_chunks([table._replace(room_for_locks=120)])) == []
    (warning,) = judge_days_in_chunks([table._replace(room_for_locks=119)])
    assert warning.says == "ohlcv_daily has 5 chunks: a step of a run locks each, 15 locks of 119"


# -- compressed days ---------------------------------------------------------------------------------------------------


def test_a_replay_that_changes_nothing_decompresses_nothing(compressed, tickstock):
    servers, file = compressed
    standing = rows(servers, STANDING)
    replay(tickstock, servers, file, "--again")
    assert rows(servers, STANDING) == standing
    assert rows(servers, STATUS) == [("ohlcv_1min", COMPRESSED)]


def test_a_replay_mends_bars_of_a_compressed_day_that_somebody_changed(compressed, tickstock):
    servers, file = compressed
    standing = rows(servers, STANDING)
    rows(servers, "UPDATE ohlcv_1min SET high = 99 WHERE \"timestamp\" = '2013-10-07 13:37Z'")
    rows(servers, "DELETE FROM ohlcv_1min WHERE \"timestamp\" = '2013-10-07 13:38Z'")
    replay(tickstock, servers, file, "--again")
    assert rows(servers, STANDING) == standing


def test_late_trades_of_a_compressed_day_pass_whatever_the_database_allows_to_decompress(
    compressed, tickstock, tmp_path
):
    servers, _ = compressed
    (name,) = rows(servers, "SELECT current_database()")[0]
    rows(servers, f"ALTER DATABASE {name} SET timescaledb.max_tuples_decompressed_per_dml_transaction = 5")
    late = write(tmp_path / "late.csv", [trade("A", 60, minute * 60 + 30, 1) for minute in range(30)])
    replay(tickstock, servers, late)
    assert rows(servers, "SELECT count(*), min(open), sum(volume) FROM ohlcv_1min") == [(30, 60, 30)]
    assert rows(servers, STATUS) == [("ohlcv_1min", PARTLY)]
    rows(servers, "SELECT compress_chunk(c) FROM show_chunks('ohlcv_1min') AS c")
    assert rows(servers, STATUS) == [("ohlcv_1min", COMPRESSED)]
    assert rows(servers, "SELECT count(*), min(open), sum(volume) FROM ohlcv_1min") == [(30, 60, 30)]


# -- how the bars are kept ---------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("timescale")
def test_a_plain_table_with_bars_becomes_a_hypertable_whose_policies_the_doctor_tells(empty_servers, tickstock):
    rows(empty_servers, APPLICATION_TABLES)
    rows(empty_servers, "INSERT INTO symbols VALUES ('OLD')")
    rows(empty_servers, "INSERT INTO ohlcv_1min VALUES ('OLD', '2013-10-01 14:00Z', 9, 9.5, 8.5, 9.25, 100)")
    rows(empty_servers, "CREATE EXTENSION IF NOT EXISTS timescaledb")
    ran = tickstock("migrate", servers=empty_servers)
    assert ran.returncode == 0, ran.stderr
    assert timescale_finding(tickstock, empty_servers)[1].endswith("ohlcv_1min is a plain table, which is enough")

    options = ("--chunk-days", 7, "--compress-after-days", 30, "--drop-after-days", 36_500)
    ran = tickstock("migrate", "--timescale", *options, servers=empty_servers)
    kept = "1 chunks of ohlcv_1min, of 7 days each, compressed after 30 days, dropped after 36500 days"
    assert (ran.returncode, ran.stdout.splitlines()[0]) == (0, f"TimescaleDB: {kept}"), ran.stderr
    level, says = timescale_finding(tickstock, empty_servers)
    assert (level, says.split(": ")[1]) == ("ok", kept)
    assert rows(empty_servers, "SELECT symbol, close FROM ohlcv_1min") == [("OLD", Decimal("9.2500"))]
    by = "SELECT attname, segmentby_column_index, orderby_column_index"
    columns = rows(empty_servers, f"{by} FROM timescaledb_information.compression_settings ORDER BY 1")
    assert columns == [("symbol", 1, None), ("timestamp", None, 1)]


def test_policies_are_changed_and_taken_away_again(timescale, tickstock):
    def said(*options):
        ran = tickstock("migrate", "--timescale", *options, servers=timescale)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout.splitlines()[0].split(", ")[1:]

    assert said() == ["of 1 day each", "not compressed", "kept for ever"]
    options = ("--compress-after-days", 7, "--drop-after-days", 730)
    assert said(*options) == ["of 1 day each", "compressed after 7 days", "dropped after 730 days"]
    options = ("--compress-after-days", 14, "--drop-after-days", 0, "--chunk-days", 2)
    assert said(*options) == ["of 2 days each", "compressed after 14 days", "kept for ever"]
    assert said() == ["of 2 days each", "compressed after 14 days", "kept for ever"]


def test_a_database_without_timescaledb_is_told_what_it_lacks(migrated_servers, tickstock):
    if rows(migrated_servers, "SELECT 1 FROM pg_extension WHERE extname = 'timescaledb'"):
        rows(migrated_servers, "DROP EXTENSION timescaledb CASCADE")
    ran = tickstock("migrate", "--timescale", servers=migrated_servers)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("Error: --timescale: this database has no TimescaleDB: preload its library")


def test_options_of_timescaledb_without_it_are_refused(migrated_servers, tickstock):
    ran = tickstock("migrate", "--drop-after-days", 7, servers=migrated_servers)
    assert ran.returncode == 2
    assert "need --timescale" in ran.stderr


def timescale_finding(tickstock, servers):
    said = tickstock("doctor", servers=servers).stdout
    return re.search(r"^(\S+) +TimescaleDB +(.*)$", said, re.MULTILINE).groups()
