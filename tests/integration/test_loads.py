"""Data loads on real servers: messages that become rows, what is loaded, and the state under both keys."""

import json
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
import redis
from daily_rows import add_minutes, jobs, rows
from jobs_process import KEY
from tickstockpl.contracts.daily.trading_days import session_on
from tickstockpl.contracts.names import JOBS_CONTROL, JOBS_DATA_LOAD, job_status_keys
from tickstockpl.contracts.universe import UniverseEntry
from tickstockpl.db.tables.universe import read_universe, write_universe
from tickstockpl.ops.fake_massive import FakeMassive
from tickstockpl.ops.fake_massive.reference import DayRow, Reference
from tickstockpl.ops.wiring.day_sources import SourceOptions
from tickstockpl.workers.daily.market_days import latest_session

LATEST = latest_session(datetime.now(UTC))
FEW_DAYS = 0.01  # years


@pytest.fixture
def database(migrated_servers):
    with psycopg.connect(migrated_servers.database_url, autocommit=True) as connection:
        yield connection


class Application:
    """Sends messages as the application does, and reads its jobs' states."""

    def __init__(self, servers, wait_for):
        self.client = redis.Redis.from_url(servers.redis_url)
        self.wait_for = wait_for

    def load(self, job_id, **fields):
        self.send(JOBS_DATA_LOAD, {"job_id": job_id, "requested_by": "admin", "years": FEW_DAYS, **fields})

    def cancel(self, job_id):
        self.send(JOBS_CONTROL, {"job_id": job_id, "action": "cancel", "requested_by": "admin"})

    def send(self, channel, message):
        self.client.publish(channel, message if isinstance(message, bytes) else json.dumps(message))

    def state(self, job_id, status):
        """Wait until both keys tell a status; return what they tell."""

        def look():
            texts = {self.client.get(key) for key in job_status_keys(job_id) if self.client.type(key) == b"string"}
            states = [json.loads(text) for text in texts if text and text.startswith(b"{")]
            return states[0] if len(states) == 1 and states[0]["status"] == status else None

        return self.wait_for(look, 30)


@contextmanager
def application(servers, wait_for, *, count=1, **options):
    """Run processes; yield who sends them jobs, once they listen."""
    sender = Application(servers, wait_for)
    with jobs(servers, count=count, options=SourceOptions(**options)):
        wait_for(
            lambda: dict(sender.client.pubsub_numsub(JOBS_DATA_LOAD, JOBS_CONTROL))[b"tickstock.jobs.control"] == count,
            30,
        )
        yield sender


def test_a_load_is_done_once_and_told_over_what_its_sender_wrote(database, migrated_servers, wait_for):
    """It is heard by two processes, sent twice, and its keys are written by the application after it was sent."""
    add_minutes(database, "AAPL", 10, 12, 9, 11, opens=LATEST.opens)
    with application(migrated_servers, wait_for, count=2) as sender:
        for _ in range(2):
            sender.load("5f0c", job_type="historical_load", symbols=["AAPL", "GONE"], timespan="day")
        ours, theirs = job_status_keys("5f0c")
        sender.client.set(ours, "submitted")
        sender.client.delete(theirs)
        sender.client.hset(theirs, "status", "submitted")
        state = sender.state("5f0c", "completed")
        assert 86_000 < sender.client.ttl(ours) <= 86_400

        sender.client.flushall()
        assert sender.state("5f0c", "completed") == state | {
            "timestamp": sender.state("5f0c", "completed")["timestamp"]
        }
    assert {name: state[name] for name in state if not name.endswith("_at") and name != "timestamp"} == {
        "job_id": "5f0c", "status": "completed", "progress": 100.0, "message": "completed: 2 of 2 symbols",
        "current_symbol": None, "total_symbols": 2, "processed_symbols": 2, "successful_symbols": ["AAPL"],
        "failed_symbols": ["GONE"], "error_message": None,
        "log_messages": [
            "no source of bars of days is set up: they are made from our own minutes", "daily bars: 1 own",
            "GONE: no bars of that day",
        ],
    }  # fmt: skip
    assert datetime.fromisoformat(state["completed_at"]) > datetime.fromisoformat(state["started_at"])
    assert rows(database, "SELECT kind, requested_by, count(*) FROM run GROUP BY 1, 2") == [("data_load", "admin", 1)]
    assert rows(database, "SELECT date, close::float FROM ohlcv_daily") == [(LATEST.day, 11.0)]
    assert rows(database, "SELECT count(*) FROM outbox WHERE partition = -1") == [(0,)]


def test_a_cancel_ends_a_load_that_runs_and_one_that_has_not_come_yet(database, migrated_servers, wait_for):
    add_minutes(database, "AAPL", 10, opens=LATEST.opens)
    blocked = psycopg.connect(migrated_servers.database_url)
    blocked.execute("LOCK TABLE ohlcv_daily IN EXCLUSIVE MODE")
    with application(migrated_servers, wait_for) as sender:
        sender.cancel("later")
        sender.load("later", job_type="historical_load", symbols=["AAPL"])
        assert sender.state("later", "cancelled")["successful_symbols"] == []
        sender.load("now", job_type="historical_load", symbols=["AAPL", *(f"S{i}" for i in range(20))])
        assert "completed_at" not in sender.state("now", "running")
        sender.cancel("now")
        wait_for(lambda: rows(database, "SELECT FROM run WHERE status = 'cancelling'"))
        blocked.close()
        assert sender.state("now", "cancelled")["completed_at"]
    assert rows(database, "SELECT job_id, status FROM run ORDER BY 1") == [("later", "cancelled"), ("now", "cancelled")]


def test_a_file_becomes_a_universe_and_another_universe_is_loaded(database, migrated_servers, wait_for, tmp_path):
    add_minutes(database, "IBM", 10, opens=LATEST.opens)
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "dow.csv").write_text("symbol\nAAPL\nIBM\n")
    (tmp_path / "outside.csv").write_text("symbol\nIBM\n")
    write_universe(database, UniverseEntry("index", "sp500"), ["IBM", "MSFT"], kind="stock_universe")
    with application(migrated_servers, wait_for, csv_dir=tmp_path / "lists") as sender:
        sender.load("csv", job_type="csv_universe_load", csv_file="dow.csv", universe_type="DOW30", include_ohlcv=False)
        state = sender.state("csv", "completed")
        assert state["log_messages"] == ["2 symbols are the universe job:dow30"]
        assert state["message"] == "completed: 2 symbols, no bars were asked for"
        sender.load("seed", job_type="universe_seed", universe_type="SP500", refresh=True)
        assert sender.state("seed", "completed")["successful_symbols"] == ["IBM"]
        sender.load("out", job_type="csv_universe_load", csv_file="../outside.csv", universe_type="x")
        assert "is outside the folder" in sender.state("out", "failed")["error_message"]
        sender.load("hour", job_type="multi_timeframe_load", symbols=["IBM"], timeframes=["hour"])
        assert "come from the live feed" in sender.state("hour", "failed")["error_message"]
        sender.load("none", job_type="historical_load", symbols=["GONE"])
        assert sender.state("none", "failed")["error_message"] == "there are no bars of any of its 1 symbols"
    assert read_universe(database, UniverseEntry("job", "dow30")) == ["AAPL", "IBM"]
    assert {symbol for (symbol,) in rows(database, "SELECT symbol FROM symbols")} == {"AAPL", "IBM", "MSFT", "GONE"}


def test_a_vendor_is_asked_where_there_is_a_key(database, migrated_servers, wait_for):
    reference = Reference()
    reference.days[LATEST.day] = [DayRow("AAPL", 10.0, 12.0, 9.0, 11.5, 1000.0)]
    with FakeMassive(reference=reference, key=KEY) as fake:
        options = {"key": KEY, "rest_url": fake.rest_url, "per_minute": 60_000}
        with application(migrated_servers, wait_for, **options) as sender:
            sender.load("5f0c", job_type="historical_load", symbols=["AAPL"])
            state = sender.state("5f0c", "completed")
        asked = [request for request in fake.requests if request.startswith("/v2/aggs/ticker/AAPL/range/1/day/")]
    assert (state["successful_symbols"], len(asked)) == (["AAPL"], 1)
    assert state["log_messages"] == ["daily bars: 1 aggregates"]
    bars = rows(database, "SELECT date, close::float, provenance FROM ohlcv_daily")
    assert bars == [(LATEST.day, 11.5, "aggregates")]


def test_a_load_says_once_what_its_files_lack_and_which_could_not_be_read(migrated_servers, wait_for, tmp_path):
    heading = "ticker,volume,open,close,high,low,window_start,transactions\n"
    (tmp_path / f"{LATEST.day}.csv").write_text(heading + "AAPL,100,10,11,12,9,0,1\n")
    before = [day for day in (LATEST.day - timedelta(n) for n in range(1, 30)) if session_on(day)]
    (tmp_path / f"{before[0]}.csv").write_text("AAPL,1\n")
    with application(migrated_servers, wait_for, flat_days_dir=tmp_path) as sender:
        sender.load("files", job_type="historical_load", symbols=["AAPL", "GONE"], years=4 / 252)
        log = sender.state("files", "completed")["log_messages"]
    bad = f"{before[0]}.csv is not a file of day aggregates: Column 'ticker' in include_columns does not exist"
    assert log[0] == "daily bars: 1 flat"
    assert log[1].startswith(f"questions to the sources without an answer: 3, such as {before[0]}: flat: {bad}")
    assert log[2].startswith("GONE: no bars of that day: ")
    assert (log[2].count(bad), log[2].count("no source has a bar of that day"), len(log)) == (1, 1, 3)


def test_a_load_does_not_wait_for_the_close_of_a_delayed_feed(migrated_servers, wait_for):
    delay_s = (datetime.now(UTC) - LATEST.closes).total_seconds() + 600  # the vendor has the close in ten minutes
    reference = Reference()
    reference.days[LATEST.day] = [DayRow("AAPL", 10.0, 12.0, 9.0, 11.5, 1000.0)]
    with FakeMassive(reference=reference, key=KEY) as fake:
        options = {"key": KEY, "rest_url": fake.rest_url, "per_minute": 60_000, "data_delay_s": delay_s}
        with application(migrated_servers, wait_for, **options) as sender:
            sender.load("5f0c", job_type="historical_load", symbols=["AAPL"])
            assert sender.state("5f0c", "completed")["successful_symbols"] == ["AAPL"]


def test_a_load_is_heard_after_both_servers_ended_the_connections(database, migrated_servers, wait_for):
    add_minutes(database, "AAPL", 10, opens=LATEST.opens)
    with application(migrated_servers, wait_for) as sender:
        sender.client.client_kill_filter(_type="pubsub")
        wait_for(lambda: sender.client.pubsub_numsub(JOBS_DATA_LOAD) == [(b"tickstock.jobs.data_load", 1)], 30)
        ending = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'tickstock-jobs%'"
        assert len(rows(database, ending)) == 3
        sender.load("5f0c", job_type="historical_load", symbols=["AAPL"])
        assert sender.state("5f0c", "completed")["successful_symbols"] == ["AAPL"]


def test_a_bad_message_is_said_once_and_nothing_dies_of_it(database, migrated_servers, wait_for):
    with application(migrated_servers, wait_for, count=2) as sender:
        for bad in (
            b"",
            b"\xff\0",
            b"[]",
            b'{"job_id": "\\u0000"}',
            b"[" * 5000,
            {"job_id": "x" * 300},
            {"test": "connectivity"},
        ):
            sender.send(JOBS_DATA_LOAD, bad)
            sender.send(JOBS_CONTROL, bad)
        sender.load("odd", job_type="nonsense")
        assert "there is no job_type 'nonsense'" in sender.state("odd", "failed")["error_message"]
        sender.cancel("last")
        sender.state("last", "cancelled")
    bodies = [json.loads(text) for (text,) in rows(database, "SELECT body FROM outbox WHERE partition = -1")]
    said = [(channel, body["payload"]["error_code"]) for messages in bodies for channel, body in messages]
    assert said == [("tickstock:errors", "JOB_REFUSED")] * (2 * 6 + 1)
