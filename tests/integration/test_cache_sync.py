"""cache_sync: what the vendor knows of symbols, and the universes made of it; real rows, a pretend vendor."""

import json
from datetime import date, time

import pytest
from daily_rows import FRIDAY, ended, rows, start
from jobs_process import KEY, OneProcess
from psycopg import connect
from tickstockpl.contracts.accepted.acceptance import first_violation
from tickstockpl.contracts.universe import UniverseEntry
from tickstockpl.db.tables import runs
from tickstockpl.db.tables.universe import write_universe
from tickstockpl.ops.fake_massive import FakeMassive
from tickstockpl.ops.fake_massive.reference import Reference
from tickstockpl.ops.wiring.day_sources import SourceOptions

UNIVERSES = "SELECT name || ':' || key, value FROM cache_entries WHERE type <> 'app_settings' ORDER BY 1"


@pytest.fixture
def database(migrated_servers):
    with connect(migrated_servers.database_url, autocommit=True) as connection:
        yield connection


def ticker(symbol, type_="CS", **others):
    return {
        "ticker": symbol,
        "name": f"{symbol} Inc.",
        "type": type_,
        "active": True,
        "primary_exchange": "XNAS",
    } | others


@pytest.fixture
def synced(database, migrated_servers, wait_for):
    """Give a function that runs cache_sync with a vendor that knows this, and returns the run's last event of it."""

    def sync(reference, **parameters):
        with FakeMassive(reference=reference, key=KEY) as fake:
            options = SourceOptions(KEY, fake.rest_url, 60_000) if reference else SourceOptions()
            process = OneProcess(migrated_servers, options)
            try:
                assert ended(database, start(database, "cache_sync", **parameters), wait_for).status == "completed"
            finally:
                process.close()
        bodies = rows(database, "SELECT body FROM outbox WHERE partition = -1 AND kind = 'run' ORDER BY number")
        said = [(channel, body) for (text,) in bodies for channel, body in json.loads(text)]
        channel, body = next(one for one in reversed(said) if one[0] == "tickstock:cache:completed")
        assert first_violation(channel, body | {"epoch": 1, "seq": 1, "result_id": "runs-1"}) is None
        return body["payload"]

    return sync


def test_symbols_and_universes_are_made_of_what_the_vendor_says(database, synced):
    database.execute(
        "INSERT INTO symbols (symbol, name) VALUES ('AAPL', 'as it was'), ('OLD', 'Old one'), ('OURS', NULL)"
    )
    write_universe(database, UniverseEntry("themes", "chips"), ["NVDA", "OLD", "AMD"], kind="themes")
    reference = Reference(
        tickers=[ticker("AAPL"), ticker("NVDA"), ticker("AMD"), ticker("SPY", "ETF"), ticker("OLD", active=False)],
        market_caps={"AAPL": 3e12, "NVDA": 4e12, "AMD": 150e9},
        listings=[
            {"ticker": "AMD", "listing_date": "2025-11-03"},
            {"ticker": "NOT.LISTED", "listing_date": "2025-11-04"},
        ],
        holidays=[
            {"exchange": "NYSE", "date": "2027-01-05", "status": "closed", "name": "A funeral"},
            {"exchange": "NYSE", "date": "2026-12-25", "status": "closed", "name": "Christmas"},
        ],
    )
    payload = synced(reference, symbols=("AAPL", "NVDA", "AMD"))
    known = rows(database, "SELECT symbol, name, type, exchange, active, market_cap FROM symbols ORDER BY 1")
    assert known == [
        ("AAPL", "AAPL Inc.", "CS", "XNAS", True, 3 * 10**12),
        ("AMD", "AMD Inc.", "CS", "XNAS", True, 150 * 10**9),
        ("NVDA", "NVDA Inc.", "CS", "XNAS", True, 4 * 10**12),
        ("OLD", "Old one", None, None, False, None),
        ("OURS", None, None, None, True, None),
        ("SPY", "SPY Inc.", "ETF", "XNAS", True, None),
    ]
    universes = dict(rows(database, UNIVERSES))
    assert universes["market_leaders:top_10"] == ["NVDA", "AAPL", "AMD"]
    assert universes["market_cap:mega"] == ["AAPL", "NVDA"]
    assert universes["market_cap:large"] == ["AMD"]
    assert universes["listed:etfs"] == ["SPY"]
    assert universes["themes:chips"] == ["NVDA", "AMD"]
    assert universes["ipos:last_90_days"] == ["AMD"]
    assert payload["universes"]["themes:chips"] == {"added": [], "removed": ["OLD"]}
    assert payload["universes"]["market_cap:mega"] == {"added": ["AAPL", "NVDA"], "removed": []}
    assert (payload["mode"], payload["skipped"], payload["symbols_removed"]) == ("full", None, 1)
    # Only what the calendar does not know.
    assert rows(database, "SELECT day, closes_at, reason FROM market_closure") == [
        (date(2027, 1, 5), None, "A funeral")
    ]

    again = synced(reference, symbols=("AAPL", "NVDA", "AMD"))
    assert (again["entries_updated"], again["universes"]) == (0, {})

    reference.market_caps["AMD"] = 250e9
    moved = synced(reference, symbols=("AMD",), cache_mode="market_cap")
    assert moved["universes"] == {
        "market_cap:large": {"added": [], "removed": ["AMD"]},
        "market_cap:mega": {"added": ["AMD"], "removed": []},
    }


def test_an_early_close_that_the_calendar_does_not_know_is_kept_in_new_yorks_time(database, synced):
    day = {"exchange": "NYSE", "date": "2027-01-05", "status": "early-close", "name": "Storm"}
    synced(Reference(holidays=[day | {"close": "2027-01-05T18:00:00.000Z"}]))
    assert rows(database, "SELECT closes_at FROM market_closure") == [(time(13),)]


@pytest.mark.parametrize("closes_at", ["2026-11-27T18:00:00.000Z", "2026-11-27T13:00:00-05:00", "2026-11-27T18:00:00"])
def test_a_half_day_that_the_calendar_knows_is_not_kept(database, synced, closes_at):
    day = {"exchange": "NYSE", "date": "2026-11-27", "status": "early-close", "name": "Thanksgiving"}
    synced(Reference(holidays=[day | {"close": closes_at}]))
    assert rows(database, "SELECT * FROM market_closure") == []


def test_without_a_key_nothing_is_touched_and_the_reason_is_told(database, synced):
    before = rows(database, UNIVERSES)
    payload = synced(None)
    assert payload["skipped"] == "no API key: symbols and universes stay as they are"
    assert rows(database, UNIVERSES) == before
    (run,) = runs.list_runs(database)
    assert run.run_date == FRIDAY
    assert runs.notes_of(database, run.run_id) == [f"cache_sync: {payload['skipped']}"]


def test_a_vendor_that_fails_ends_no_run_and_empties_no_universe(database, synced):
    write_universe(database, UniverseEntry("themes", "chips"), ["AMD"], kind="themes")
    database.execute("INSERT INTO symbols (symbol) VALUES ('AMD')")
    payload = synced(Reference(tickers=[{"ticker": 7, "active": True}]), symbols=("AMD",))
    assert payload["universes"] == {}
    assert dict(rows(database, UNIVERSES))["themes:chips"] == ["AMD"]
    failures = runs.failures_of(database, runs.list_runs(database)[0].run_id)
    assert [(one.symbol, one.phase) for one in failures] == [("*", "cache_sync")]
