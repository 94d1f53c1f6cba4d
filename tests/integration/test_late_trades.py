"""A trade that comes after its bar was closed: the bar is revised, and what was found on it and behind it."""

import json

import psycopg
import pytest
from tickstockpl.contracts.names import results_key
from tickstockpl.db import postgres
from tickstockpl.workers.definitions import seed_definitions

from .test_bad_input import stream, work  # noqa: F401  # fixtures

ORDINARY = (10.0, 10.5, 9.5, 10.4)
DOJI = (10.0, 10.5, 9.5, 10.0)


@pytest.fixture
def live(stream):  # noqa: F811
    """Give a stream whose definitions are there."""
    with postgres.connect(stream.servers.database_url, name="test") as connection:
        seed_definitions(connection)
    return stream


def rows(live, statement, *values):
    with psycopg.connect(live.servers.database_url, autocommit=True) as connection:
        return connection.execute(statement, values).fetchall()


def send_eleven_bars(live, last):
    """Send ten ordinary bars and one whose prices are given."""
    prices = [(ORDINARY, -back) for back in range(10, 0, -1)] + [(last, 0)]
    live.send(*(("A", price, 100, later) for bar, later in prices for price in bar))


def doji(live):
    """Return of each kept Doji of a minute: is it superseded, is it expired."""
    return rows(
        live,
        "SELECT f.superseded_at IS NOT NULL, p.expiration_timestamp <= clock_timestamp()"
        " FROM detection_flow f JOIN intraday_patterns p ON p.id = f.pattern_id"
        " WHERE f.pattern = 'Doji' AND f.timeframe = 1",
    )


def told_patterns(live):
    entries = [entry for _, entry in live.redis.xrange(results_key(0)) if entry[b"kind"] == b"patterns"]
    found = [found for entry in entries for found in json.loads(entry[b"body"])]
    return [one for one in found if (one["pattern"], one["timeframe"]) == ("Doji", "1min")]


def test_a_doji_that_a_late_trade_takes_away_is_superseded_and_expired(live, work):  # noqa: F811
    send_eleven_bars(live, DOJI)
    work(lambda: doji(live) == [(False, False)])
    live.send(("A", 10.4, 100))  # the earliest of its minute: it opens the bar
    work(lambda: doji(live) == [(True, True)])
    assert len(told_patterns(live)) == 1
    assert rows(live, "SELECT count(*) FROM integration_events WHERE pattern_name = 'Doji' AND details ->> 'timeframe'"
                " = '1min'") == [(1,)]  # fmt: skip


def test_a_doji_that_a_late_trade_leaves_is_found_again_under_its_flow_id_and_not_told_again(live, work):  # noqa: F811
    send_eleven_bars(live, DOJI)
    work(lambda: doji(live) == [(False, False)])
    before = rows(live, "SELECT flow_id FROM detection_flow WHERE pattern = 'Doji' AND timeframe = 1")
    live.send(("A", 10.0, 900))
    volume = (
        "SELECT (pattern_data #>> '{bar,volume}')::float8 FROM intraday_patterns"
        " WHERE pattern_type = 'Doji' AND timeframe = '1min'"
    )
    work(lambda: rows(live, volume) == [(1300.0,)])
    assert rows(live, "SELECT flow_id FROM detection_flow WHERE pattern = 'Doji' AND timeframe = 1") == before
    assert doji(live) == [(False, False)]
    assert len(told_patterns(live)) == 1


def test_a_late_trade_that_makes_a_doji_has_it_found_and_told(live, work):  # noqa: F811
    send_eleven_bars(live, (10.0, 10.5, 9.5, 10.4))
    averages = "SELECT count(*) FROM intraday_indicators WHERE timeframe = '1min' AND indicator_type = 'SMA_5'"
    work(lambda: rows(live, averages) == [(7,)])
    assert doji(live) == []
    live.send(("A", 10.4, 100))
    work(lambda: doji(live) == [(False, False)] and len(told_patterns(live)) == 1)


def test_a_late_close_changes_every_average_that_hangs_on_it(live, work):  # noqa: F811
    send_eleven_bars(live, ORDINARY)
    averages = (
        "SELECT value::float8 FROM intraday_indicators WHERE timeframe = '1min' AND indicator_type = 'SMA_5'"
        " AND symbol = 'A' ORDER BY calculation_timestamp"
    )
    work(lambda: rows(live, averages) == [(pytest.approx(10.4),)] * 7)
    # Behind fifty trades of another symbol its time is later than that of the bar's own trades: it closes the bar.
    live.send(*[("B", 5.0, 1)] * 50, ("A", 15.4, 100, -3))
    work(lambda: rows(live, averages) == [(pytest.approx(10.4),)] * 3 + [(pytest.approx(11.4),)] * 4)


def test_a_pattern_that_was_taken_away_and_comes_back_is_told_again(live, work):  # noqa: F811
    send_eleven_bars(live, DOJI)
    work(lambda: doji(live) == [(False, False)])
    live.send(("A", 10.4, 100))
    work(lambda: doji(live) == [(True, True)])
    live.send(*[("B", 5.0, 1)] * 50, ("A", 10.4, 100))  # now it closes where it opened
    work(lambda: doji(live) == [(False, False)] and len(told_patterns(live)) == 2)
