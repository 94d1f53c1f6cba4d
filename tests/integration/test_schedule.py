"""The schedule of daily runs as it is kept, changed and said."""

import json

import psycopg
import pytest
from tickstockpl.contracts.accepted.acceptance import first_violation
from tickstockpl.contracts.errors import UsageError
from tickstockpl.contracts.universe import UniverseEntry
from tickstockpl.db.tables.schedule import change_schedule, read_schedule
from tickstockpl.db.tables.universe import write_universe


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
        ({"trigger_time": "24:00"}, "'24:00' is no time of the day: HH:MM"),
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
