"""A trade that comes after its bar was closed: the bar is revised, and what was found on it and behind it."""

import json

import psycopg
import pytest
from tickstockpl.contracts.bar import MINUTE_NS
from tickstockpl.contracts.frames.maker import Identity
from tickstockpl.contracts.names import results_key
from tickstockpl.db import postgres
from tickstockpl.workers.commit.committer import Committer
from tickstockpl.workers.detect.definitions import seed_definitions

ORDINARY = (10.0, 10.5, 9.5, 10.4)
DOJI = (10.0, 10.5, 9.5, 10.0)


@pytest.fixture
def live(stream):
    """Give a stream whose definitions are there."""
    with postgres.connect(stream.servers.database_url, name="test") as connection:
        seed_definitions(connection)
        connection.execute(
            'UPDATE pattern_definitions SET parameters = \'{"rule": "talib", "min_move": 0}\' WHERE name = \'Doji\''
        )
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


def test_a_doji_that_a_late_trade_takes_away_is_superseded_and_expired(live, work):
    send_eleven_bars(live, DOJI)
    work(lambda: doji(live) == [(False, False)])
    live.send(("A", 10.4, 100))  # the earliest of its minute: it opens the bar
    work(lambda: doji(live) == [(True, True)])
    assert len(told_patterns(live)) == 1
    assert rows(live, "SELECT count(*) FROM integration_events WHERE pattern_name = 'Doji' AND details ->> 'timeframe'"
                " = '1min'") == [(1,)]  # fmt: skip


def test_a_doji_that_a_late_trade_leaves_is_found_again_under_its_flow_id_and_not_told_again(live, work):
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


def test_a_late_trade_that_makes_a_doji_has_it_found_and_told(live, work):
    send_eleven_bars(live, (10.0, 10.5, 9.5, 10.4))
    averages = "SELECT count(*) FROM intraday_indicators WHERE timeframe = '1min' AND indicator_type = 'SMA_5'"
    work(lambda: rows(live, averages) == [(7,)])
    assert doji(live) == []
    live.send(("A", 10.4, 100))
    work(lambda: doji(live) == [(False, False)] and len(told_patterns(live)) == 1)


def test_a_late_close_changes_every_average_that_hangs_on_it(live, work):
    send_eleven_bars(live, ORDINARY)
    averages = (
        "SELECT value::float8 FROM intraday_indicators WHERE timeframe = '1min' AND indicator_type = 'SMA_5'"
        " AND symbol = 'A' ORDER BY calculation_timestamp"
    )
    work(lambda: rows(live, averages) == [(pytest.approx(10.4),)] * 7)
    # Behind fifty trades of another symbol its time is later than that of the bar's own trades: it closes the bar.
    live.send(*[("B", 5.0, 1)] * 50, ("A", 15.4, 100, -3))
    work(lambda: rows(live, averages) == [(pytest.approx(10.4),)] * 3 + [(pytest.approx(11.4),)] * 4)


def test_a_pattern_that_was_taken_away_and_comes_back_is_told_again(live, work):
    send_eleven_bars(live, DOJI)
    work(lambda: doji(live) == [(False, False)])
    live.send(("A", 10.4, 100))
    work(lambda: doji(live) == [(True, True)])
    live.send(*[("B", 5.0, 1)] * 50, ("A", 10.4, 100))  # now it closes where it opened
    work(lambda: doji(live) == [(False, False)] and len(told_patterns(live)) == 2)


def events(live):
    """Return {minutes from the newest bar: (event, is superseded)} of each Doji of a minute."""
    found = rows(
        live,
        "SELECT f.minute, p.pattern_data ->> 'event', f.superseded_at IS NOT NULL"
        " FROM detection_flow f JOIN intraday_patterns p ON p.id = f.pattern_id"
        " WHERE f.pattern = 'Doji' AND f.timeframe = 1",
    )
    return {minute - live.minute_ns // MINUTE_NS: (event, gone) for minute, event, gone in found}


def told_minutes(live):
    return [found["minute"] - live.minute_ns // MINUTE_NS for found in told_patterns(live)]


def send_two_dojis(live):
    """Send four ordinary bars, a Doji by its own range, two ordinary ones, and a Doji."""
    with psycopg.connect(live.servers.database_url, autocommit=True) as connection:
        connection.execute("UPDATE pattern_definitions SET parameters = '{\"min_move\": 0}' WHERE name = 'Doji'")
    prices = [*[(ORDINARY, -back) for back in range(7, 3, -1)], (DOJI, -3), (ORDINARY, -2), (ORDINARY, -1), (DOJI, 0)]
    live.send(*(("A", price, 100, later) for bar, later in prices for price in bar))


def test_the_same_again_is_written_and_not_told(live, work):
    send_two_dojis(live)
    work(lambda: events(live) == {-3: ("first", False), 0: ("repeat", False)})
    assert told_minutes(live) == [-3]
    logged = "SELECT count(*) FROM integration_events WHERE pattern_name = 'Doji' AND details ->> 'timeframe' = '1min'"
    assert rows(live, logged) == [(1,)]


def test_a_repeat_is_told_when_a_late_trade_takes_the_first_of_its_event_away(live, work):
    send_two_dojis(live)
    work(lambda: events(live) == {-3: ("first", False), 0: ("repeat", False)})
    live.send(("A", 10.4, 100, -3))  # it opens the bar now
    work(lambda: events(live) == {-3: ("first", True), 0: ("first", False)} and told_minutes(live) == [-3, 0])
    # Back again, under its own name; what was told on the newest bar is a repeat now, and is not told again.
    live.send(*[("B", 5.0, 1)] * 50, ("A", 10.4, 100, -3))  # now it closes where it opened
    work(lambda: events(live) == {-3: ("first", False), 0: ("repeat", False)} and told_minutes(live) == [-3, 0, -3])


def test_a_higher_bar_closes_by_the_clock_alone(live, work):
    """Its only minute is written long before, and no tick comes any more."""
    minute = live.minute_ns // MINUTE_NS
    first = (minute - 5) // 5 * 5  # of a span that has ended
    ends_ms = (first + 5) * 60_000 + 500
    identity = Identity("test-producer", "live", "live", delay_ms=live.now_ms - ends_ms + 1_500)
    live.add(live.frame(("A", 10.0, 100, first - minute), identity=identity))
    work(lambda: rows(live, "SELECT count(*) FROM ohlcv_1min") == [(1,)])
    work(lambda: rows(live, "SELECT timeframe, minute FROM recent_higher_bar WHERE timeframe = 5") == [(5, first)])
    work(lambda: rows(live, "SELECT sum(undetected) FROM checkpoint") == [(0,)])


# -- a close of many bars ------------------------------------------------------------------------------------------

OTHERS = [f"S{n:03}" for n in range(520)]
MINUTES_BEFORE = range(-10, 0)


def send_minute_of_many(live, last):
    live.send(*((symbol, 10.0, 100) for symbol in OTHERS), *(("A", price, 100) for price in last))


def after_many_bars(live):
    """Send ten minutes of many symbols, then, once their detectors are through, one that is a Doji of A."""
    live.send(
        *((symbol, 10.0, 100, back) for back in MINUTES_BEFORE for symbol in OTHERS),
        *(("A", price, 100, back) for back in MINUTES_BEFORE for price in ORDINARY),
    )
    sent = []

    def closed():
        (counted,) = rows(live, "SELECT (SELECT count(*) FROM recent_bar), (SELECT sum(undetected) FROM checkpoint)")
        if not sent and counted == (10 * 521, 0):
            sent.append(send_minute_of_many(live, DOJI))
        return counted == (11 * 521, 0)

    return closed


def told_kinds(live):
    """Return what was told of the last minute: of bars, of how many symbols."""
    told = [(entry[b"kind"].decode(), json.loads(entry[b"body"])) for _, entry in live.redis.xrange(results_key(0))]
    last = [(kind, body) for kind, body in told if kind in ("bars", "patterns")]
    return [(kind, len(body["bars"]) if kind == "bars" else len(body)) for kind, body in last]


def test_a_bar_with_a_pattern_is_told_before_the_many_without(live, work):
    work(after_many_bars(live))
    kinds = told_kinds(live)
    first = kinds.index(("bars", 1))
    assert [kind for kind, _ in kinds[first:]] == ["bars", "patterns", "bars"]
    assert kinds[-1] == ("bars", 520)
    assert doji(live) == [(False, False)]


def remember_before(live, minute):
    """Store twenty ordinary bars of A before a minute, and as many of five minutes."""
    with psycopg.connect(live.servers.database_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO recent_bar SELECT 'A', %s::int - back, 'live', false, false, 0, %s, %s, %s, %s, 4e8, 4040,"
            " 4, 0, 1 FROM generate_series(1, 20) AS back",
            (minute, *ORDINARY),
        )
        connection.execute(
            "INSERT INTO recent_higher_bar SELECT 'A', 5, %s::int - 5 * back, %s, %s, %s, %s, 2e9, 20200"
            " FROM generate_series(1, 20) AS back",
            (minute, *ORDINARY),
        )


def test_of_what_closes_together_a_minutes_patterns_are_told_first_and_indicators_last(live, work):
    minute = live.now_ms // 60_000 // 5 * 5 - 5
    live.minute_ns = minute * 60 * 10**9
    remember_before(live, minute)
    bars = [ORDINARY] * 4 + [DOJI]  # the five minutes as a whole are a Doji, too
    live.send(*(("A", price, 100, later) for later, bar in enumerate(bars) for price in bar))

    def told():
        entries = [entry for _, entry in live.redis.xrange(results_key(0)) if entry[b"kind"] != b"bars"]
        return [(entry[b"kind"], {one["timeframe"] for one in json.loads(entry[b"body"])}) for entry in entries]

    work(lambda: any(kind == b"indicators" for kind, _ in told()))
    assert told()[:3] == [(b"patterns", {"1min"}), (b"patterns", {"5min"}), (b"indicators", {"1min", "5min"})]


def test_a_database_lost_between_the_two_commits_of_a_close_doubles_nothing(live, work, monkeypatch):
    whole, lost = Committer.stage_rest, []

    def stage_rest(committer, durable):
        if durable.held_back and not lost:
            lost.append(True)
            committer._database.connection.close()
        return whole(committer, durable)

    monkeypatch.setattr(Committer, "stage_rest", stage_rest)
    work(after_many_bars(live))
    assert lost
    assert rows(live, "SELECT count(*), sum(volume)::int FROM ohlcv_1min") == [(11 * 521, 11 * (520 * 100 + 400))]
    assert rows(live, "SELECT sum(applied)::int, sum(ticks_in)::int FROM ledger") == [(11 * 524, 11 * 524)]
    assert doji(live) == [(False, False)]
    assert len(told_patterns(live)) == 1
    assert sum(count for kind, count in told_kinds(live) if kind == "bars") == 11 * 521
