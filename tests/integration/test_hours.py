"""At another hour: the clock of the database decides, not that of the machine on which a process runs."""

import threading
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime, timedelta

import psycopg
import pytest
from daily_rows import FRIDAY, OPENS, add_days, add_minutes, ended, jobs, rows, start
from database_hour import set_hour
from jobs_process import KEY, OneProcess
from tickstockpl.contracts.errors import UsageError
from tickstockpl.contracts.fleet.fleet_look import DefinitionFaults
from tickstockpl.db import postgres, redis
from tickstockpl.db.look.fleet_look import FleetReader
from tickstockpl.db.schema.migrate import open_stream
from tickstockpl.db.tables.runs import notes_of
from tickstockpl.db.world import REAL
from tickstockpl.ops.fake_massive import FakeMassive
from tickstockpl.ops.fake_massive.reference import DayRow, Reference
from tickstockpl.ops.jobs.backtests import start_backtest
from tickstockpl.ops.jobs.runs import day_of_run
from tickstockpl.ops.wiring.bridge import make_bridge
from tickstockpl.ops.wiring.day_sources import SourceOptions
from tickstockpl.ops.wiring.servers import Place
from tickstockpl.workers.backtest.backtest import load_symbols
from tickstockpl.workers.backtest.jobs.taking import TakeBacktest
from tickstockpl.workers.backtest.report import Request
from tickstockpl.workers.bridge.bridge import BridgeOptions
from tickstockpl.workers.daily.loads.taking import TakeControl, TakeLoad

from .test_api import served


@pytest.fixture
def database(migrated_servers):
    with psycopg.connect(migrated_servers.database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def at_hour(migrated_servers, database):
    """Give a function that connects as a process does, while the database's clock shows a time."""

    @contextmanager
    def connected(text):
        set_hour(database, migrated_servers, datetime.fromisoformat(text).replace(tzinfo=UTC))
        with postgres.connect(migrated_servers.database_url, name="test") as connection:
            yield connection

    return connected


@contextmanager
def vendor_jobs(servers, reference):
    with FakeMassive(reference=reference, key=KEY) as fake:
        one = OneProcess(servers, SourceOptions(key=KEY, rest_url=fake.rest_url, per_minute=60_000))
        yield fake
        one.close()


MONDAY_BEFORE_AND_AFTER_ELEVEN = [("2025-11-24 15:59", False), ("2025-11-24 16:01", True)]


@pytest.mark.parametrize(("at", "is_final"), MONDAY_BEFORE_AND_AFTER_ELEVEN)
def test_a_vendors_bar_is_final_from_eleven_of_the_next_trading_day_by_the_databases_clock(
    migrated_servers, database, at_hour, wait_for, at, is_final
):
    reference = Reference()
    reference.days[FRIDAY] = [DayRow("AAPL", 10.0, 10.0, 10.0, 10.0, 1000.0)]
    database.execute("INSERT INTO symbols (symbol) VALUES ('AAPL')")
    with at_hour(at) as connection, vendor_jobs(migrated_servers, reference):
        run = ended(connection, start(connection, "import", symbols=("AAPL",)), wait_for)
    assert (run.status, run.symbols_failed) == ("completed", 0)
    assert rows(database, "SELECT provenance, is_final FROM ohlcv_daily") == [("grouped", is_final)]


DAYS = [
    ("2026-11-27 14:29", date(2026, 11, 25)),  # Thanksgiving is before it
    ("2026-11-27 14:31", date(2026, 11, 27)),
    ("2026-11-28 04:59", date(2026, 11, 27)),  # before midnight in New York
    ("2026-11-30 13:00", date(2026, 11, 27)),
    ("2026-09-07 18:00", date(2026, 9, 4)),  # a holiday that is a Monday
    ("2028-02-29 20:00", date(2028, 2, 29)),
]


@pytest.mark.parametrize(("at", "day"), DAYS)
def test_the_day_of_a_run_or_load_is_the_last_that_has_opened_by_the_databases_clock(at_hour, at, day):
    with at_hour(at) as connection:
        assert day_of_run(connection, None, skip_market_check=False) == day
        TakeLoad(REAL)(
            connection, b'{"job_id": "5f0c", "job_type": "historical_load", "symbols": ["AAPL"], "years": 1}'
        )
        assert rows(connection, "SELECT run_date FROM run") == [(day,)]


def test_a_cancel_before_its_load_is_of_the_day_in_new_york(at_hour):
    with at_hour("2026-11-28 04:59") as connection:
        TakeControl(REAL)(connection, b'{"job_id": "5f0c", "action": "cancel"}')
        assert rows(connection, "SELECT run_date FROM run") == [(date(2026, 11, 27),)]


@pytest.mark.parametrize(("at", "has_come"), [("2026-03-09 03:59", False), ("2026-03-09 04:00", True)])
def test_a_backtest_may_end_on_the_day_that_has_begun_in_new_york(database, at_hour, at, has_come):
    """The clocks were changed on the day before: New York is four hours behind."""
    database.execute("INSERT INTO symbols (symbol) VALUES ('AAPL')")
    asked = {"symbols": ["AAPL"], "patterns": ["Doji"], "start_date": "2026-02-02", "end_date": "2026-03-09"}
    with at_hour(at) as connection:
        why = None
        try:
            start_backtest(connection, asked, requested_by="test", job_id="one")
        except UsageError as e:
            why = str(e)
        assert why == (None if has_come else "end_date 2026-03-09 has not come yet")


@pytest.mark.parametrize(
    ("at", "timeframe", "last"),
    [
        ("2026-03-13 19:59", "daily", date(2026, 3, 12)),
        ("2026-03-13 20:00", "daily", date(2026, 3, 13)),
        ("2026-03-13 19:59", "weekly", date(2026, 3, 2)),
        ("2026-03-13 20:00", "weekly", date(2026, 3, 9)),
    ],
)
def test_a_backtest_that_ends_today_takes_no_bar_before_its_last_session_has_ended(
    database, at_hour, at, timeframe, last
):
    database.execute("INSERT INTO symbols (symbol) VALUES ('A')")
    for table, column, step in (("ohlcv_daily", "date", "1 day"), ("ohlcv_weekly", "week_start", "7 days")):
        database.execute(
            f"INSERT INTO {table} (symbol, {column}, open, high, low, close, volume)"
            " SELECT 'A', day, 10, 11, 9, 10, 100"
            f" FROM generate_series(date '2026-03-02', '2026-03-13', '{step}') AS day"
        )
    asked = Request(symbols=("A",), patterns=("Doji",), start="2026-03-02", end="2026-03-13", timeframe=timeframe)
    with at_hour(at) as connection:
        bars = load_symbols(connection, asked, ["A"]).bars
        assert date(1970, 1, 1) + timedelta(days=int(bars.day[-1])) == last


@pytest.mark.parametrize(("at", "rows_left"), [("2026-12-31 12:00", 1), ("2027-03-31 12:00", 0)])
def test_prune_counts_the_age_of_rows_by_the_databases_clock(
    migrated_servers, database, at_hour, tickstock, at, rows_left
):
    database.execute(
        'INSERT INTO integration_events (flow_id, event_type, source_system, checkpoint, "timestamp")'
        " VALUES (gen_random_uuid(), 'pattern_detected', 'TickStockPL', 'PATTERN_PUBLISHED', '2026-12-30')"
    )
    with at_hour(at):
        assert tickstock("prune", servers=migrated_servers).returncode == 0
    assert rows(database, "SELECT count(*)::int FROM integration_events") == [(rows_left,)]


@pytest.mark.parametrize(("at", "day"), [("2026-03-09 03:59", "2026-03-08"), ("2026-03-09 04:00", "2026-03-09")])
def test_the_api_says_which_day_it_is_for_whoever_chooses_the_days_of_a_backtest(migrated_servers, at_hour, at, day):
    with at_hour(at), served(migrated_servers) as api:
        assert api.get("/api/backtests").json()["today"] == day


def test_a_backtest_of_the_application_has_the_databases_day(database, at_hour):
    database.execute("INSERT INTO symbols (symbol) VALUES ('AAPL')")
    body = (
        b'{"type": "backtest_job", "job_id": "one", "symbols": ["AAPL"], "patterns": ["Doji"],'
        b' "start_date": "2026-02-02", "end_date": "2026-03-09"}'
    )
    with at_hour("2026-03-09 03:59") as connection:
        with pytest.raises(UsageError, match="end_date 2026-03-09 has not come yet"):
            TakeBacktest(REAL)(connection, body)
        assert rows(connection, "SELECT run_date FROM run") == [(date(2026, 3, 8),)]


BRIDGE = BridgeOptions(name="bridge-of-another-hour")
HALF_DAY = [
    ("2026-11-27 14:29", False),
    ("2026-11-27 14:31", True),
    ("2026-11-27 17:59", True),
    ("2026-11-27 18:01", False),  # it closes at 13:00
    ("2026-11-26 15:00", False),  # Thanksgiving
]


AT_SHORT_NOTICE = [("2026-11-24 15:59", True), ("2026-11-24 16:01", False), ("2026-11-25 16:00", False)]


@pytest.mark.parametrize(("at", "is_open"), AT_SHORT_NOTICE)
def test_the_market_is_not_open_on_a_day_or_after_an_hour_of_the_table_of_closures(
    migrated_servers, database, at_hour, at, is_open
):
    open_stream(database, 1)
    database.execute("INSERT INTO market_closure (day, closes_at) VALUES ('2026-11-24', '11:00'), ('2026-11-25', NULL)")
    reader = FleetReader(lambda _: DefinitionFaults([], []), now=lambda: datetime.fromisoformat(at + "+00:00"))
    with at_hour(at) as connection, closing(redis.connect(migrated_servers.redis_url)) as client:
        feed = reader.read(connection, client).feed
    assert (feed.market_open, feed.open_s is not None) == (is_open, is_open)


@pytest.mark.parametrize(("at", "is_open"), HALF_DAY)
def test_a_bridge_tells_of_the_market_and_the_session_by_the_databases_clock(
    migrated_servers, database, at_hour, wait_for, at, is_open
):
    open_stream(database, 1)
    with at_hour(at):
        stop = threading.Event()
        bridge = make_bridge(Place(migrated_servers, embedded=False, connect_timeout_s=30), BRIDGE, stop=stop)
        thread = threading.Thread(target=bridge.run)
        thread.start()
        look = wait_for(lambda: bridge._voice.fleet.last, 30)
        (started,) = wait_for(lambda: database.execute("SELECT started_at FROM streaming_session").fetchone(), 30)
        stop.set()
        thread.join(30)
        bridge._database.close()
    assert look.feed.market_open is is_open
    for seen in (look.at, started):
        assert abs((seen - datetime.fromisoformat(at).replace(tzinfo=UTC)).total_seconds()) < 60


@pytest.mark.parametrize(("at", "is_over"), [("2025-11-21 20:59", False), ("2025-11-21 21:00", True)])
def test_nothing_is_found_on_the_bars_of_a_day_and_week_before_their_last_session_has_ended(
    migrated_servers, database, at_hour, wait_for, at, is_over
):
    """A Friday: from its close on, its day and its week are examined."""
    add_minutes(database, "AAPL", 100, 90, 100.2, volume=50_000)
    add_days(database, "AAPL", [100 + day * 7 % 11 for day in range(300)], last=FRIDAY - timedelta(days=1))
    add_weeks(database, "AAPL", 30)
    enable = "UPDATE {}_definitions SET enabled = true, applicable_timeframes = '{{daily,weekly}}'"
    with at_hour(at) as connection, jobs(migrated_servers):
        for kind in ("pattern", "indicator"):
            database.execute(enable.format(kind))
        run = ended(connection, start(connection), wait_for)
    assert run.status == "completed"
    assert rows(database, "SELECT close::float FROM ohlcv_daily WHERE date = '2025-11-21'") == [(100.2,)]
    found = (
        "SELECT DISTINCT timeframe, calculation_timestamp FROM daily_indicators"
        " UNION SELECT 'pattern of a day', detection_timestamp FROM daily_patterns ORDER BY 1"
    )
    closes = datetime(2025, 11, 21, 21, tzinfo=UTC)
    assert rows(database, found) == (
        [(of, closes) for of in ("daily", "pattern of a day", "weekly")] if is_over else []
    )
    assert bool(rows(database, "SELECT FROM outbox WHERE kind = 'patterns'")) is is_over
    left_out = [note for note in notes_of(database, run.run_id) if "its session has not ended" in note]
    assert len(left_out) == (0 if is_over else 2)


def add_weeks(database, symbol, count):
    database.execute(
        "INSERT INTO ohlcv_weekly (symbol, week_start, open, high, low, close, volume)"
        " SELECT %s, '2025-11-10'::date - 7 * i, 100, 102, 99, 101, 1000 FROM generate_series(0, %s) AS i",
        [symbol, count],
    )


def test_a_run_of_the_saturday_after_a_week_replaces_what_fridays_found_on_it(
    migrated_servers, database, at_hour, wait_for
):
    for day in (0, 1):
        add_minutes(database, "AAPL", 100, 90, 100.2, volume=50_000, opens=OPENS + timedelta(days=day))
    add_weeks(database, "AAPL", 30)
    with at_hour("2025-11-22 21:10") as connection, jobs(migrated_servers):
        database.execute("UPDATE pattern_definitions SET enabled = true, applicable_timeframes = '{weekly}'")
        for day in (0, 1):
            on = FRIDAY + timedelta(days=day)
            ended(connection, start(connection, run_date=on, skip_market_check=True), wait_for)
    assert rows(database, "SELECT volume::float FROM ohlcv_weekly ORDER BY week_start DESC LIMIT 1") == [(300_000.0,)]
    found = (
        "SELECT pattern_type, detection_timestamp, (pattern_data #>> '{bar,volume}')::float FROM weekly_patterns"
        " WHERE pattern_type = 'Volume_Spike'"
    )
    assert rows(database, found) == [("Volume_Spike", datetime(2025, 11, 21, 21, tzinfo=UTC), 300_000.0)]


@pytest.mark.parametrize(
    ("at", "are_final"), [("2025-11-20 21:10", (True, False, False)), ("2025-11-21 21:10", (True, True, False))]
)
def test_a_week_and_a_month_that_go_on_are_not_final(migrated_servers, database, at_hour, wait_for, at, are_final):
    """On a Thursday and on a Friday, whose days are final."""
    day = date.fromisoformat(at[:10])
    add_minutes(database, "AAPL", 10, 12, opens=OPENS - timedelta(days=(FRIDAY - day).days))
    with at_hour(at) as connection, jobs(migrated_servers):
        ended(connection, start(connection, "import", run_date=day), wait_for)
    tables = ("ohlcv_daily", "ohlcv_weekly", "ohlcv_monthly")
    assert tuple(rows(database, f"SELECT is_final FROM {table}") for table in tables) == tuple(
        [(is_final,)] for is_final in are_final
    )
