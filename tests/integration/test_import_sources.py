"""Bars of days from a vendor: a pretend one on loopback, which also goes wrong; real servers, real rows."""

import json
from datetime import UTC, date, datetime, timedelta

import psycopg
import pytest
from daily_rows import FRIDAY, add_days, add_minutes, ended, rows, start
from jobs_process import KEY, OneProcess
from tickstockpl.contracts.accepted.acceptance import first_violation
from tickstockpl.db.tables import run_steps, runs
from tickstockpl.ops.fake_massive import FakeMassive
from tickstockpl.ops.fake_massive.reference import DayRow, Reference
from tickstockpl.ops.wiring.day_sources import SourceOptions

THURSDAY = FRIDAY - timedelta(days=1)
_SLOW_S = 6.0  # a step whose process says nothing for 5 s is taken over
DAYS = "SELECT symbol, date, close::float, provenance, is_final FROM ohlcv_daily ORDER BY 1, 2"


@pytest.fixture
def database(migrated_servers):
    with psycopg.connect(migrated_servers.database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def reference():
    return Reference()


@pytest.fixture
def fake(reference):
    with FakeMassive(reference=reference, key=KEY, slow_s=_SLOW_S) as server:
        yield server


@pytest.fixture
def vendor_jobs(migrated_servers, fake):
    """Start a process that asks the pretend vendor; give a function that takes other options."""
    made = []

    def begin(**options):
        wanted = {"key": KEY, "rest_url": fake.rest_url, "per_minute": 60_000} | options
        made.append(OneProcess(migrated_servers, SourceOptions(**wanted)))

    yield begin
    for one in made:
        one.close()


def bar(symbol, close):
    """Make a day that is flat at one price."""
    return DayRow(symbol, close, close, close, close, 1000.0)


def listed(database, *symbols):
    database.cursor().executemany(
        "INSERT INTO symbols (symbol) VALUES (%s) ON CONFLICT DO NOTHING", [(symbol,) for symbol in symbols]
    )


def errors_said(database):
    bodies = rows(database, "SELECT body FROM outbox WHERE partition = -1 AND kind = 'run' ORDER BY number")
    return [body for (text,) in bodies for channel, body in json.loads(text) if channel == "tickstock:errors"]


def test_the_whole_markets_day_is_imported_with_two_requests(database, vendor_jobs, fake, reference, wait_for):
    symbols = [f"S{i:05}" for i in range(10_000)]
    reference.days[FRIDAY] = [bar(symbol, 1 + i / 100) for i, symbol in enumerate(symbols)]
    listed(database, *symbols)
    vendor_jobs()
    run = ended(database, start(database, "import", symbols=tuple(symbols), batch=2500), wait_for)
    assert (run.status, run.symbols_processed, run.symbols_failed) == ("completed", 10_000, 0)
    assert [request.partition("?")[0] for request in sorted(fake.requests)] == [
        "/v2/aggs/grouped/locale/us/market/stocks/2025-11-21",
        "/v3/reference/splits",
    ]
    assert run_steps.sources_of(database, run.run_id) == {"grouped": 10_000}
    count = "SELECT count(*), sum(close)::float, bool_and(is_final), min(provenance) FROM {}"
    whole = (10_000, 10_000 + 9_999 * 10_000 / 2 / 100, True, "grouped")
    assert rows(database, count.format("ohlcv_daily")) == [whole]
    assert rows(database, count.format("ohlcv_weekly")) == [whole]


def test_a_vendors_bar_replaces_ours_and_what_it_lacks_is_ours(database, vendor_jobs, reference, wait_for):
    add_minutes(database, "AAPL", 10, 12)
    add_minutes(database, "OURS", 7)
    reference.days[FRIDAY] = [bar("AAPL", 11.5), bar("OTHER", 1.0)]
    listed(database, "GONE")
    vendor_jobs()
    run = ended(database, start(database, "import", symbols=("AAPL", "OURS", "GONE")), wait_for)
    assert rows(database, DAYS) == [
        ("AAPL", FRIDAY, 11.5, "grouped", True),
        ("OURS", FRIDAY, 7.0, "own", True),
    ]
    assert [(one.symbol, one.why) for one in runs.failures_of(database, run.run_id)] == [
        ("GONE", "no bars of that day")
    ]
    assert run_steps.sources_of(database, run.run_id) == {"grouped": 1, "own": 1}
    before = rows(database, "SELECT xmin::text, * FROM ohlcv_daily ORDER BY 2")
    ended(database, start(database, "import", symbols=("AAPL", "OURS", "GONE")), wait_for)
    assert rows(database, "SELECT xmin::text, * FROM ohlcv_daily ORDER BY 2") == before


def test_a_day_that_was_not_final_is_asked_for_again_and_its_week_made_again(
    database, vendor_jobs, fake, reference, wait_for
):
    add_days(database, "AAPL", [10.0], last=THURSDAY, provenance="grouped")
    add_days(database, "DONE", [20.0], last=THURSDAY, provenance="grouped")
    database.execute("UPDATE ohlcv_daily SET is_final = false WHERE symbol = 'AAPL'")
    reference.days[THURSDAY] = [bar("AAPL", 10.25), bar("DONE", 20.0)._replace(high=21.0, low=19.0)]
    reference.days[FRIDAY] = [bar("AAPL", 11.0), bar("DONE", 21.0)]
    vendor_jobs()
    run = ended(database, start(database, "import", symbols=("AAPL", "DONE")), wait_for)
    assert rows(database, DAYS) == [
        ("AAPL", THURSDAY, 10.25, "grouped", True),
        ("AAPL", FRIDAY, 11.0, "grouped", True),
        ("DONE", THURSDAY, 20.0, "grouped", True),
        ("DONE", FRIDAY, 21.0, "grouped", True),
    ]
    assert run_steps.answers_of(database, run.run_id, "import")["2025-11-20"]["revised"] == 1
    week = "SELECT open::float, close::float, volume::float FROM ohlcv_weekly WHERE symbol = 'AAPL'"
    assert rows(database, week) == [(10.25, 11.0, 2000.0)]
    assert len(fake.requests) == 3  # two days, and the splits
    ended(database, start(database, "import", symbols=("AAPL", "DONE")), wait_for)
    assert len(fake.requests) == 4  # every bar is final: only the splits


def test_a_day_before_the_delayed_close_is_not_final(database, vendor_jobs, reference, wait_for):
    """A day of the plan's future, so to say: its tape is not whole, and half an hour is not enough to wait."""
    today = datetime.now(UTC).date()
    reference.days[today] = [bar("AAPL", 10.0)]
    listed(database, "AAPL")
    vendor_jobs(data_delay_s=86_400)
    wanted = {"run_date": today, "symbols": ("AAPL",), "skip_market_check": True}
    run = ended(database, start(database, "import", **wanted), wait_for)
    assert run.status == "completed"
    assert rows(database, DAYS) == [("AAPL", today, 10.0, "grouped", False)]


def test_an_exhausted_quota_is_waited_for_and_told_with_retry_after(database, vendor_jobs, fake, reference, wait_for):
    reference.days[FRIDAY] = [bar("AAPL", 10.0)]
    listed(database, "AAPL")
    fake.misbehave("429", times=1)
    vendor_jobs()
    run = ended(database, start(database, "import", symbols=("AAPL",)), wait_for)
    assert (run.status, run.symbols_failed) == ("completed", 0)
    (said,) = errors_said(database)
    assert first_violation("tickstock:errors", said | {"epoch": 1, "seq": 1, "result_id": "runs-1"}) is None
    assert (said["payload"]["error_code"], said["payload"]["component"]) == ("RATE_LIMIT_EXCEEDED", "data_import")
    assert said["context"] == {"run_id": str(run.run_id), "phase": "import", "retry_after": 1.0}


@pytest.mark.parametrize(
    ("wrong", "code"),
    [("html", "DATA_SOURCE_BROKEN"), ("truncated", "DATA_SOURCE_BROKEN"), ("auth", "DATA_SOURCE_REFUSED")],
)
def test_a_run_goes_on_without_a_vendor_that_answers_wrongly(
    database, vendor_jobs, fake, reference, wait_for, wrong, code
):
    add_minutes(database, "OURS", 7)
    listed(database, "AAPL")
    reference.days[FRIDAY] = [bar("AAPL", 10.0), bar("OURS", 8.0)]
    if wrong == "auth":
        vendor_jobs(key="secret-of-nobody")
    else:
        fake.misbehave(wrong)
        vendor_jobs()
    run = ended(database, start(database, "import", symbols=("AAPL", "OURS")), wait_for)
    assert (run.status, run.symbols_processed, run.symbols_failed) == ("completed", 1, 1)
    assert rows(database, DAYS) == [("OURS", FRIDAY, 7.0, "own", True)]
    failures = {one.symbol: one.why for one in runs.failures_of(database, run.run_id)}
    assert failures["AAPL"]
    assert {said["payload"]["error_code"] for said in errors_said(database)} == {code}
    kept = str(rows(database, "SELECT detail, failed_symbols FROM run_step")) + str(errors_said(database))
    assert KEY not in kept
    assert "secret-of-nobody" not in kept


def test_a_run_with_fewer_symbols_than_days_asks_for_each_symbol_once(database, vendor_jobs, fake, reference, wait_for):
    reference.days |= {FRIDAY: [bar("AAPL", 11.0)], THURSDAY: [bar("AAPL", 10.0)]}
    listed(database, "AAPL")
    vendor_jobs()
    wanted = {"symbols": ("AAPL",), "lookback_days": 3}
    run = ended(database, start(database, "import", **wanted), wait_for)
    assert run.status == "completed"
    assert rows(database, DAYS) == [
        ("AAPL", THURSDAY, 10.0, "aggregates", True),
        ("AAPL", FRIDAY, 11.0, "aggregates", True),
    ]
    assert len(fake.requests) == 2


def test_a_split_that_contradicts_what_stands_is_refused_and_told(database, vendor_jobs, reference, wait_for):
    listed(database, "AAPL")
    reference.days[FRIDAY] = [bar("AAPL", 10.0)]
    row = {"execution_date": "2025-11-21", "split_from": 1, "split_to": 2}
    reference.splits += [row | {"ticker": "AAPL"}, row | {"ticker": "IBM"}, row | {"ticker": "IBM"}]
    database.execute("INSERT INTO corporate_action (symbol, ex_date, ratio) VALUES ('AAPL', %s, 4)", [FRIDAY])
    vendor_jobs()
    ended(database, start(database, "import", symbols=("AAPL",)), wait_for)
    splits = rows(database, "SELECT symbol, ratio::int FROM corporate_action ORDER BY 1")
    assert splits == [("AAPL", 4), ("IBM", 2)]
    (said,) = errors_said(database)
    assert said["payload"]["error_code"] == "SPLIT_REFUSED"
    assert said["message"] == "AAPL on 2025-11-21 is 2:1, but the table has 4:1"


def test_days_of_long_ago_come_from_flat_files_without_a_request(database, vendor_jobs, fake, tmp_path, wait_for):
    day = date(2020, 3, 5)
    (tmp_path / f"{day}.csv").write_text("ticker,volume,open,close,high,low\nAAPL,400,10,11,12,9\n")
    listed(database, "AAPL", "IBM")
    vendor_jobs(key="", flat_days_dir=tmp_path)
    run = ended(database, start(database, "import", run_date=day, symbols=("AAPL", "IBM")), wait_for)
    assert rows(database, DAYS) == [("AAPL", day, 11.0, "flat", True)]
    assert (run.symbols_processed, run.symbols_failed, fake.requests) == (1, 1, [])


def test_a_cancel_is_heard_while_the_vendor_lets_us_wait(database, vendor_jobs, fake, reference, wait_for):
    listed(database, "AAPL")
    fake.misbehave("429")
    vendor_jobs()
    run_id = start(database, "import", symbols=("AAPL",))
    wait_for(lambda: rows(database, "SELECT 1 FROM run_step WHERE waits_until IS NOT NULL"))
    runs.cancel_run(database)
    assert ended(database, run_id, wait_for).status == "cancelled"
    fake.behave()
    reference.days[FRIDAY] = [bar("AAPL", 10.0)]
    assert ended(database, start(database, "import", symbols=("AAPL",)), wait_for).symbols_failed == 0


def test_a_slow_answer_is_awaited_by_one_process_and_asked_for_once(database, vendor_jobs, fake, reference, wait_for):
    reference.days[FRIDAY] = [bar("AAPL", 10.0)]
    listed(database, "AAPL")
    fake.misbehave("slow")
    vendor_jobs()
    vendor_jobs()
    run = ended(database, start(database, "import", symbols=("AAPL",)), wait_for)
    assert (run.status, run.symbols_failed) == ("completed", 0)
    assert len(fake.requests) == 2  # the day, and the splits
