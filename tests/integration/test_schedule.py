"""The schedule of daily runs as it is kept, changed and said."""

import json
from datetime import UTC, datetime

import psycopg
import pytest
from tickstockpl.contracts.accepted.acceptance import first_violation
from tickstockpl.contracts.errors import UsageError
from tickstockpl.contracts.universe import UniverseEntry
from tickstockpl.db.tables.runs import list_runs
from tickstockpl.db.tables.schedule import change_schedule, read_schedule
from tickstockpl.db.tables.universe import write_universe
from tickstockpl.db.world import REAL
from tickstockpl.workers.daily.clock import add_run_if_due


@pytest.fixture
def database(migrated_servers):
    with psycopg.connect(migrated_servers.database_url, autocommit=True) as connection:
        yield connection


def said(database):
    return [
        body
        for (text,) in database.execute("SELECT body FROM outbox WHERE partition = -1")
        for body in json.loads(text)
    ]


def test_a_schedule_is_changed_in_part_and_each_change_is_said_once(database):
    database.execute("UPDATE schedule SET enabled = true")
    write_universe(database, UniverseEntry("index", "sp500"), ["AAPL"], kind="stock_universe")
    first = read_schedule(database)
    assert (first.enabled, first.trigger_time, first.timezone) == (True, "16:10", "America/New_York")
    assert (first.universes, first.market_check, first.after_close) == ([], True, False)

    changed = change_schedule(database, trigger_time="6:30", universes=["SP_500"])

    assert changed == read_schedule(database)._replace(next_run=changed.next_run)
    assert (changed.trigger_time, changed.universes, changed.enabled) == ("06:30", ["SP_500"], True)
    assert change_schedule(database, trigger_time="06:30") == changed  # nothing else: nothing is said
    ((channel, body),) = said(database)
    assert channel == "tickstock:processing:schedule"
    assert (body["event"], body["payload"]["trigger_time"]) == ("schedule_updated", "06:30")
    assert first_violation(channel, body | {"epoch": 1, "seq": 1, "result_id": "runs-1"}) is None


def test_a_schedule_that_is_off_has_no_next_run_and_what_was_due_then_is_not_caught_up(database):
    database.execute("UPDATE schedule SET enabled = true, enabled_since = '2020-01-01'")
    assert change_schedule(database, enabled=False).next_run is None
    on = change_schedule(database, enabled=True)
    (now,) = database.execute("SELECT clock_timestamp()").fetchone()
    assert on.next_run > now
    assert (now - on.enabled_since).total_seconds() < 60


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"trigger_time": "24:00"}, "'24:00' is not a time of day: HH:MM"),
        ({"trigger_time": "12:00"}, "at 12:00 the market is open: a time from 16:00 on, or before 9:30, is needed"),
        ({"universes": ["sp600"]}, "there is no universe 'sp600'; there are: index:sp500"),
    ],
)
def test_what_is_no_schedule_is_refused_with_what_is_known(database, change, why):
    write_universe(database, UniverseEntry("index", "sp500"), ["AAPL"], kind="stock_universe")
    before = read_schedule(database)
    with pytest.raises(UsageError, match=why):
        change_schedule(database, enabled=not before.enabled, **change)
    assert read_schedule(database).enabled == before.enabled
    assert said(database) == []


def test_one_of_many_that_ask_adds_the_run_of_a_day_and_marks_it_late(database):
    """Friday the 21st and Monday the 24th, of which Monday's clocks go wrong; Tuesday is missed, Wednesday not."""
    database.execute("UPDATE schedule SET enabled = true, enabled_since = '2025-11-20'")
    schedule = read_schedule(database)
    for time in (
        "2025-11-21T21:09:59", "2025-11-21T21:10:00", "2025-11-21T22:00", "2025-11-21T20:00", "2025-11-22T03:00",
        "2025-11-24T14:29", "2025-11-24T22:00", "2025-11-24T20:00", "2025-11-24T22:01", "2025-11-26T21:10",
    ):  # fmt: skip
        for _ in range(3):
            add_run_if_due(database, schedule, datetime.fromisoformat(f"{time}+00:00"), REAL)
        database.execute("UPDATE run SET status = 'completed', created_at = %s WHERE ended_at IS NULL", [f"{time}Z"])
        database.execute("UPDATE run SET ended_at = created_at WHERE ended_at IS NULL")

    runs = sorted(list_runs(database), key=lambda run: run.run_date)
    assert [(run.run_date.isoformat(), run.trigger, run.is_late) for run in runs] == [
        ("2025-11-21", "automatic", False),
        ("2025-11-24", "automatic", True),
        ("2025-11-26", "automatic", False),
    ]
    lookback = database.execute("SELECT parameters ->> 'lookback_days' FROM run ORDER BY run_date").fetchall()
    assert lookback == [("2",), ("2",), ("2",)]


def test_a_run_that_is_alive_lets_the_one_that_is_due_wait_and_a_missed_week_is_made_up_for(database):
    database.execute("UPDATE schedule SET enabled = true, enabled_since = '2025-11-20'")
    schedule = read_schedule(database)
    assert add_run_if_due(database, schedule, datetime(2025, 11, 20, 22, tzinfo=UTC), REAL)
    week_later = datetime(2025, 11, 28, 22, tzinfo=UTC)
    assert not add_run_if_due(database, schedule, week_later, REAL)
    database.execute("UPDATE run SET status = 'completed'")
    assert add_run_if_due(database, schedule, week_later, REAL)
    lookback = database.execute("SELECT parameters -> 'lookback_days' FROM run ORDER BY run_date DESC").fetchone()
    assert lookback == (5,)  # 21, 24, 25, 26 and 28: the 27th was Thanksgiving


def test_the_symbols_of_a_schedule_are_those_of_its_universes_together(database):
    write_universe(database, UniverseEntry("index", "sp500"), ["AAPL", "IBM"], kind="stock_universe")
    write_universe(database, UniverseEntry("etf", "top"), ["IBM", "SPY"], kind="etf_universe")
    schedule = change_schedule(database, enabled=True, universes=["sp500", "etf:top"])
    schedule = schedule._replace(enabled_since=datetime(2025, 11, 20, tzinfo=UTC))
    add_run_if_due(database, schedule, datetime(2025, 11, 20, 22, tzinfo=UTC), REAL)
    (run,) = database.execute("SELECT universe, parameters -> 'symbols' FROM run")
    assert run == ("sp500,etf:top", ["AAPL", "IBM", "SPY"])


def test_the_schedule_is_shown_and_changed_from_the_shell(migrated_servers, tickstock):
    def run(*arguments):
        ran = tickstock("run", "schedule", *arguments, servers=migrated_servers)
        return ran.returncode, ran.stdout.strip() or ran.stderr.strip()

    assert run("show") == (0, "no run starts by itself: `tickstock run schedule set --enable` turns the schedule on")
    code, text = run("set", "--enable", "--time", "17:05")
    assert (code, text.splitlines()[0]) == (0, "on trading days at 17:05, New York: every symbol that has bars")
    assert "17:05 E" in text.splitlines()[1]
    code, text = run("set", "--after-close")
    assert text.startswith("on trading days ten minutes after the close, New York")
    code, text = run("show", "--json")
    assert json.loads(text)["after_close"] is True
    assert run("set", "--time", "12:00")[0] == 2
