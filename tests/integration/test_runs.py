"""Daily runs on real servers: what they make of minutes, what they find, what they say, and in which order."""

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import uuid4

import psycopg
import pytest
import redis
from daily_rows import FRIDAY, OPENS, add_days, add_minutes, ended, jobs, rows, start
from tickstockpl.contracts.errors import UsageError
from tickstockpl.contracts.names import JOBS, RUNS, results_key
from tickstockpl.contracts.runs import ALL_PHASES, RunParameters, StepKey, WantedRun, phases_of
from tickstockpl.contracts.universe import UniverseEntry
from tickstockpl.db import postgres
from tickstockpl.db.redis import connect, make_group
from tickstockpl.db.streams.jobs_stream import JobsStream
from tickstockpl.db.tables import runs
from tickstockpl.db.tables.universe import write_universe
from tickstockpl.workers.daily.run_moves import RunMoves


@pytest.fixture
def database(migrated_servers):
    with psycopg.connect(migrated_servers.database_url, autocommit=True) as connection:
        yield connection


def said(database):
    """Return (channel, event) of every message of runs in the outbox, in order."""
    bodies = rows(database, "SELECT body FROM outbox WHERE partition = -1 AND kind = 'run' ORDER BY number")
    return [(channel, body["event"]) for (text,) in bodies for channel, body in json.loads(text)]


def test_minutes_become_bars_of_a_day_a_week_and_a_month(database, migrated_servers, wait_for):
    add_minutes(database, "AAPL", 10, 12, 9, 11)
    add_minutes(database, "AAPL", 50, opens=OPENS - timedelta(minutes=1))  # before the opening
    add_days(database, "AAPL", [8], last=FRIDAY - timedelta(days=1))
    with jobs(migrated_servers):
        run = ended(database, start(database, "import"), wait_for)
    assert (run.status, run.symbols_processed, run.symbols_failed) == ("completed", 1, 0)
    columns = "open::float, high::float, low::float, close::float, volume::float, provenance, is_final"
    bars = f"SELECT {{}}, {columns} FROM {{}} ORDER BY 1"
    day = (FRIDAY, 10.0, 12.0, 9.0, 11.0, 400.0, "own", True)
    assert rows(database, bars.format("date", "ohlcv_daily"))[1] == day
    week = (date(2025, 11, 17), 8.0, 12.0, 7.0, 11.0, 1400.0, "own", True)
    assert rows(database, bars.format("week_start", "ohlcv_weekly")) == [week]
    assert rows(database, bars.format("month_start", "ohlcv_monthly")) == [(date(2025, 11, 1), *week[1:])]


def test_the_events_of_a_run_come_in_their_order_under_both_names(database, migrated_servers, wait_for):
    add_minutes(database, "AAPL", 10, 12, 9, 11)
    with jobs(migrated_servers):
        run = ended(database, start(database), wait_for)
    assert run.status == "completed"
    events = [event for _, event in said(database)]
    assert events[:3] == ["processing_started", "daily_processing_started", "import_started"]
    channels = [channel.removeprefix("tickstock:") for channel, event in said(database) if "daily_" not in event]
    without_repeats = [channel for i, channel in enumerate(channels) if channel not in channels[i - 1 : i]]
    assert without_repeats == [
        "processing:status", "import:started", "import:progress", "import:completed", "cache:started",
        "cache:completed", "indicators:started", "indicators:progress", "indicators:completed", "patterns:started",
        "patterns:progress", "patterns:completed", "processing:status",
    ]  # fmt: skip
    assert events[-2:] == ["processing_completed", "daily_processing_completed"]


def trending(database, symbols):
    """Give symbols 60 days that go up and down, and minutes of the last one that make a hammer."""
    for i in range(symbols):
        symbol = f"S{i:02}"
        add_minutes(database, symbol, 100 + i, 90 + i, 100.2 + i, volume=5000)
        add_days(database, symbol, [100 + i + (day * 7 + i) % 11 for day in range(60)], last=FRIDAY - timedelta(days=1))


FOUND = (
    "SELECT symbol, indicator_type, value, value_data, timeframe, calculation_timestamp, id FROM daily_indicators",
    "SELECT symbol, pattern_type, confidence, pattern_data, detection_timestamp, levels, id FROM daily_patterns",
    "SELECT id, symbol, pattern_type, confidence FROM weekly_patterns",
    "SELECT symbol, date, open, high, low, close, volume, provenance, is_final, xmin::text FROM ohlcv_daily",
    "SELECT symbol, week_start, open, high, low, close, volume, provenance, is_final, xmin::text FROM ohlcv_weekly",
)


def found_rows(database):
    return [sorted(map(str, rows(database, sql))) for sql in FOUND]


def test_the_same_run_twice_changes_no_row_and_tells_nothing_again(database, migrated_servers, wait_for):
    trending(database, 4)
    with jobs(migrated_servers):
        first = ended(database, start(database), wait_for)
        before = found_rows(database)
        again = ended(database, start(database), wait_for)
    assert all(before[:2])
    assert found_rows(database) == before
    assert (again.indicators, again.patterns) == (first.indicators, first.patterns)
    assert rows(database, "SELECT count(*) FROM outbox WHERE partition = -1 AND kind = 'patterns'") == [(1,)]
    assert rows(database, f"SELECT sum(changed) FROM run_step WHERE run_id = '{again.run_id}'") == [(0,)]


def test_the_values_of_a_day_are_those_of_talib_on_the_adjusted_closes(database, migrated_servers, wait_for):
    """2 for 1 on the last day: 29 closes from before it count half."""
    thursday = FRIDAY - timedelta(days=1)
    add_days(database, "AAPL", [200.0 + i for i in range(29)], last=thursday)
    add_minutes(database, "AAPL", 116.0)
    database.execute("INSERT INTO corporate_action (symbol, ex_date, ratio) VALUES ('AAPL', %s, 2)", [FRIDAY])
    with jobs(migrated_servers):
        ended(database, start(database, "import", "indicators"), wait_for)
    found = dict(rows(database, "SELECT indicator_type, value::float FROM daily_indicators WHERE timeframe = 'daily'"))
    closes = [100 + i / 2 for i in range(29)] + [116.0]
    assert found["SMA_5"] == pytest.approx(sum(closes[-5:]) / 5)
    assert found["SMA_20"] == pytest.approx(sum(closes[-20:]) / 20)
    assert found["RSI"] == pytest.approx(100.0)  # nothing fell
    # The week is in the unit of its Friday, and complete.
    week = "SELECT open::float, close::float, volume::float FROM ohlcv_weekly"
    assert rows(database, week) == [((200 + 25) / 2, 116.0, 4 * 2000 + 100)]


def test_a_week_is_looked_at_when_it_is_complete(database, migrated_servers, wait_for):
    add_days(database, "AAPL", [100 + i % 7 for i in range(120)], last=FRIDAY)
    with jobs(migrated_servers):
        ended(database, start(database, "import", lookback_days=120), wait_for)
        ended(database, start(database, "indicators", run_date=FRIDAY - timedelta(days=1)), wait_for)
        frames = "SELECT DISTINCT timeframe FROM daily_indicators"
        assert rows(database, frames) == [("daily",)]
        ended(database, start(database, "indicators"), wait_for)
    assert sorted(rows(database, frames)) == [("daily",), ("weekly",)]


def test_one_run_is_alive_at_a_time_and_the_second_is_told_which(database):
    first = start(database)
    with pytest.raises(runs.RunAlive, match=str(first)):
        start(database)
    assert runs.cancel_run(database) == first


def test_an_unknown_phase_is_refused_with_the_known_ones():
    with pytest.raises(UsageError, match="there is no phase nonsense; there are: all, import, cache_sync, indicators"):
        phases_of(["nonsense"])
    assert phases_of(["data_import"]) == ("import",)
    assert phases_of([]) == ALL_PHASES


def test_a_cancelled_run_ends_with_what_is_done_and_says_so(database, migrated_servers, wait_for):
    trending(database, 2)
    blocked = psycopg.connect(migrated_servers.database_url)
    blocked.execute("LOCK TABLE ohlcv_daily IN EXCLUSIVE MODE")
    with jobs(migrated_servers):
        run_id = start(database)
        wait_for(lambda: rows(database, "SELECT 1 FROM run WHERE phase = 'import'"))
        runs.cancel_run(database)
        blocked.close()
        run = ended(database, run_id, wait_for)
    assert run.status in ("cancelled", "completed")
    assert run.status == "cancelled" or not rows(database, "SELECT 1 FROM run_step WHERE status <> 'done'")
    statuses = {status for (status,) in rows(database, "SELECT status FROM run_step")}
    assert statuses <= {"done", "cancelled"}
    assert said(database)[-1] == ("tickstock:processing:status", "daily_processing_completed")


def test_a_cancel_does_not_wait_while_the_symbols_of_a_run_are_looked_up(database, migrated_servers):
    run_id = uuid4()
    parameters = RunParameters()
    assert runs.add_run(database, run_id, WantedRun(FRIDAY, "manual", "a:long", ALL_PHASES, parameters))

    def symbols_of(universe):
        database.execute("SET lock_timeout = '1s'")
        assert (universe, runs.cancel_run(database)) == ("a:long", run_id)
        return ["AAPL"]

    with postgres.connect(migrated_servers.database_url, name="test") as coordinator:
        assert RunMoves(coordinator, symbols_of).move(say_progress=False) is None
    assert rows(database, "SELECT status, symbols FROM run") == [("cancelled", None)]


def test_a_symbol_that_cannot_be_done_is_parted_from_the_others_and_retried(database, migrated_servers, wait_for):
    trending(database, 5)
    database.execute("ALTER TABLE ohlcv_daily ADD CONSTRAINT not_this CHECK (symbol <> 'S03' OR date <> '2025-11-21')")
    with jobs(migrated_servers):
        run = ended(database, start(database, "import"), wait_for)
        assert (run.status, run.symbols_processed, run.symbols_failed) == ("completed", 4, 1)
        (failure,) = runs.failures_of(database, run.run_id)
        assert (failure.symbol, failure.phase) == ("S03", "import")
        assert "not_this" in failure.why
        assert runs.symbols_to_retry(database, run.run_id) == ["S03"]


def test_a_run_of_which_no_symbol_succeeds_has_failed(database, migrated_servers, tickstock):
    """Their bars are of the day before: the import has nothing to make a day of, and so says the exit code."""
    for symbol in ("AAPL", "IBM"):
        add_minutes(database, symbol, 10, 12, opens=OPENS - timedelta(days=1))
    with jobs(migrated_servers):
        command = ("run", "start", "--date", str(FRIDAY), "--phase", "import")
        none = tickstock(*command, servers=migrated_servers)
        assert (none.returncode, none.stdout.splitlines()[1]) == (
            1,
            "failed: 0 symbols, 2 failed, 0 indicator values, 0 patterns",
        )
        assert "none of its symbols succeeded: 2 failed" in none.stderr
        assert tickstock("run", "show", servers=migrated_servers).returncode == 1
        add_minutes(database, "AAPL", 10, 12)
        some = tickstock(*command, servers=migrated_servers)
        assert (some.returncode, some.stdout.splitlines()[1]) == (
            0,
            "completed: 1 symbols, 1 failed, 0 indicator values, 0 patterns",
        )
        assert "1 symbols failed: `tickstock run show" in some.stderr
    statuses = rows(database, "SELECT status, symbols_processed, symbols_failed FROM run ORDER BY created_at")
    assert statuses == [("failed", 0, 2), ("completed", 1, 1)]


def test_what_redis_forgot_is_dealt_again_and_what_it_repeats_changes_nothing(database, migrated_servers, wait_for):
    trending(database, 6)
    client = redis.Redis.from_url(migrated_servers.redis_url)
    start(database, batch=2)
    with jobs(migrated_servers):
        ended(database, runs.alive_run_id(database), wait_for)
    before = found_rows(database)
    with jobs(migrated_servers, count=2):
        run_id = start(database, batch=1)
        for _ in range(5):
            for _, fields in client.xrange(JOBS):
                client.xadd(JOBS, fields)  # each once more
            client.xadd(JOBS, {"no": "step"})
            client.flushall()
        run = ended(database, run_id, wait_for)
    assert run.status == "completed"
    assert found_rows(database) == before


def test_a_step_that_a_dead_process_read_is_taken_over_by_another(migrated_servers, monkeypatch):
    monkeypatch.setattr("tickstockpl.db.streams.jobs_stream.CLAIM_AFTER_MS", 0)
    client = connect(migrated_servers.redis_url)
    make_group(client, JOBS, JOBS)
    dead, living, key = JobsStream(client, "dead"), JobsStream(client, "living"), StepKey(uuid4(), "import", "", 3)
    dead.deal([(key, 7)])
    assert dead.read().key == key
    taken = living.claim()
    assert (taken.key, taken.token, taken.is_taken_over) == (key, 7, True)
    living.ack(taken)
    assert (living.claim(), client.xlen(JOBS)) == (None, 0)


def test_the_results_stream_has_every_message_in_order(database, migrated_servers, wait_for):
    add_minutes(database, "AAPL", 10)
    client = redis.Redis.from_url(migrated_servers.redis_url)
    with jobs(migrated_servers):
        ended(database, start(database), wait_for)
        numbers = [number for (number,) in rows(database, "SELECT number FROM outbox WHERE partition = -1 ORDER BY 1")]
        wait_for(lambda: client.xlen(results_key(RUNS)) == len(numbers))
    assert [int(entry.split(b"-")[0]) for entry, _ in client.xrange(results_key(RUNS))] == numbers
    assert numbers == list(range(1, len(numbers) + 1))


def test_a_run_is_started_shown_and_retried_from_the_shell(database, migrated_servers, tickstock):
    add_minutes(database, "AAPL", 10, 12)
    database.execute("INSERT INTO symbols (symbol) VALUES ('GONE')")
    with jobs(migrated_servers):
        started = tickstock("run", "start", "--date", "2025-11-21", "--universe", "AAPL,GONE", servers=migrated_servers)
        assert started.returncode == 0, started.stderr
        assert "completed: 1 symbols, 1 failed" in started.stdout
        shown = json.loads(tickstock("run", "show", "--json", servers=migrated_servers).stdout)
        assert shown["failures"] == [{"symbol": "GONE", "phase": "import", "why": "no bars of that day"}]
        again = tickstock("run", "retry", shown["run_id"], servers=migrated_servers)
        assert (again.returncode, again.stdout.splitlines()[1][:27]) == (1, "failed: 0 symbols, 1 failed")
        listed = tickstock("run", "ls", "--json", servers=migrated_servers).stdout.splitlines()
        assert [json.loads(line)["trigger"] for line in listed] == ["retry", "manual"]


def test_one_word_that_is_no_symbol_names_a_universe_as_in_the_schedule(database, migrated_servers, tickstock):
    add_minutes(database, "AAPL", 10, 12)
    write_universe(database, UniverseEntry("index", "sp500"), ["AAPL"], kind="stock_universe")
    write_universe(database, UniverseEntry("index", "AAPL"), ["IBM"], kind="stock_universe")
    asked = {}
    for word in ("SP500", "index:sp500", "AAPL", "NEWCOMER"):
        options = ("--no-wait", "--date", "2025-11-21", "--universe", word)
        ran = tickstock("run", "start", *options, servers=migrated_servers)
        assert ran.returncode == 0, ran.stderr
        asked[word] = rows(database, "SELECT universe FROM run")
        database.execute("DELETE FROM run")
    assert asked == {
        "SP500": [("index:sp500",)],
        "index:sp500": [("index:sp500",)],
        "AAPL": [("AAPL",)],
        "NEWCOMER": [("NEWCOMER",)],
    }


def test_what_cannot_be_started_is_refused_with_what_is_known(database, migrated_servers, tickstock):
    def refused(*options):
        ran = tickstock("run", "start", "--no-wait", *options, servers=migrated_servers)
        return ran.returncode, ran.stderr.strip()

    assert refused("--phase", "nonsense")[0] == 2
    assert refused("--date", "2025-11-22") == (
        2,
        "Error: the market was closed on 2025-11-22: --skip-market-check starts a run for it anyway",
    )
    assert refused("--symbol", "NOPE", "--date", "2025-11-21")[0] == 2
    assert refused("--timeframe", "yearly")[0] == 2
    run_id = start(database)
    code, why = refused()
    assert code == 1
    assert str(run_id) in why
    assert tickstock("run", "cancel", servers=migrated_servers).returncode == 0


def test_connections_that_are_ended_in_the_middle_change_nothing(database, migrated_servers, wait_for):
    trending(database, 6)
    ending = (
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name LIKE 'tickstock-jobs%'"
    )
    with jobs(migrated_servers):
        run_id = start(database, batch=1)
        for state in ("import", "indicators", "patterns"):
            wait_for(
                lambda state=state: rows(database, f"SELECT 1 FROM run WHERE phase = '{state}' OR ended_at < now()")
            )
            assert rows(database, ending)[0][0] >= 1
        run = ended(database, run_id, wait_for)
        disturbed = found_rows(database)
        again = ended(database, start(database, batch=1), wait_for)
    assert (run.status, run.symbols_failed) == ("completed", 0)
    assert found_rows(database) == disturbed
    assert (again.indicators, again.patterns) == (run.indicators, run.patterns)


def test_three_processes_add_one_run_that_is_due(database, migrated_servers, wait_for):
    """The market is closed from today on for ten days: the last day's run is due all the time."""
    add_minutes(database, "AAPL", 10)
    database.execute("UPDATE schedule SET enabled_since = '2020-01-01', enabled = true")
    database.execute(
        "INSERT INTO market_closure (day) SELECT (now() AT TIME ZONE 'America/New_York')::date + i"
        " FROM generate_series(0, 10) AS i"
    )
    with jobs(migrated_servers, count=3):
        wait_for(lambda: rows(database, "SELECT 1 FROM run WHERE status = 'completed'"), 20)
        database.execute("NOTIFY tickstock_runs")
    assert rows(database, "SELECT trigger, requested_by, created_at > due_at FROM run") == [
        ("automatic", "schedule", True)
    ]


def test_a_pattern_of_the_day_that_one_of_its_session_confirms_is_a_combo(database, migrated_servers, wait_for):
    """The day is a Hammer, which is bullish; of its session's patterns the surest bullish one counts."""
    add_minutes(database, "S00", 100, 90, 100.2, volume=5000)
    add_days(database, "S00", [100 + (day * 7) % 11 for day in range(60)], last=FRIDAY - timedelta(days=1))
    with jobs(migrated_servers):
        ended(database, start(database), wait_for)
        daily = rows(database, "SELECT id, pattern_type, confidence, pattern_data ->> 'direction' FROM daily_patterns")
        bullish = [row for row in daily if row[3] == "1"]
        assert bullish
        assert rows(database, "SELECT count(*) FROM daily_intraday_patterns") == [(0,)]
        for minute, confidence, direction, event in (
            (10, 0.55, 1, "first"), (20, 0.6, 1, "first"), (30, 0.9, -1, "first"), (40, 0.95, 1, "repeat"),
        ):  # fmt: skip
            database.execute(
                "INSERT INTO intraday_patterns (symbol, pattern_type, confidence, pattern_data, detection_timestamp,"
                " expiration_timestamp, timeframe) VALUES ('S00', 'Engulfing', %s, %s, %s, now(), '5min')",
                [confidence, json.dumps({"direction": direction, "event": event}), OPENS + timedelta(minutes=minute)],
            )
        ended(database, start(database, "patterns"), wait_for)
        combos = rows(
            database,
            "SELECT daily_pattern_id, pattern_type, confidence, intraday_signal ->> 'confidence', metadata ->> 'tier',"
            " detection_timestamp FROM daily_intraday_patterns ORDER BY 1",
        )
        closes = datetime(2025, 11, 21, 21, tzinfo=UTC)
        assert combos == [
            (id_, pattern, min(confidence, Decimal("0.6")), "0.6", "combo", closes)
            for id_, pattern, confidence, _ in sorted(bullish)
        ]
        before = rows(database, "SELECT id FROM daily_intraday_patterns ORDER BY 1")
        ended(database, start(database, "patterns"), wait_for)
    assert rows(database, "SELECT id FROM daily_intraday_patterns ORDER BY 1") == before
    told = [
        one for (body,) in rows(database, "SELECT body FROM outbox WHERE kind = 'patterns'") for one in json.loads(body)
    ]
    assert {one["tier"] for one in told} == {"daily", "combo"}
