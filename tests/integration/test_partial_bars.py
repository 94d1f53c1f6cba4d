"""A minute that a live feed did not hear in full: its bar is partial until a repair or a replay makes it again."""

import json

import numpy as np
import polars as pl
import psycopg
from tickstockpl.contracts.frames.maker import Identity, make_frame
from tickstockpl.contracts.gap import Gap, Hole
from tickstockpl.contracts.gap_reasons import FIRST_MINUTES, STARTED
from tickstockpl.contracts.ticks import Ticks
from tickstockpl.db import postgres
from tickstockpl.db.queries import query
from tickstockpl.db.tables import gaps
from tickstockpl.workers.detect.definitions import seed_definitions

MINUTE_MS = 60_000
REPAIR = Identity("repair-1", "repair", "live")


def rows(servers, statement, *values):
    with psycopg.connect(servers.database_url, autocommit=True) as connection:
        return connection.execute(statement, values).fetchall()


def provenances(stream):
    """Return (symbol, minutes after the first, volume, provenance) of each bar."""
    first = stream.minute_ns // 60_000_000_000
    statement = (
        'SELECT symbol, (extract(epoch FROM "timestamp") / 60)::int, volume::float8, provenance FROM ohlcv_1min'
        ' ORDER BY symbol, "timestamp"'
    )
    return [(symbol, at - first, *rest) for symbol, at, *rest in rows(stream.servers, statement)]


def note(stream, *, after=0, symbols=None, feed="live", why="cut"):
    at_ms = stream.minute_ns // 1_000_000 + after * MINUTE_MS
    with postgres.connect(stream.servers.database_url, name="test") as connection:
        gaps.note_gap(connection, Gap(feed, at_ms + 20_000, at_ms + 23_000, why, symbols))


def test_a_live_bar_in_a_gap_is_partial_and_the_next_one_is_not(stream, work):
    note(stream)
    stream.send(("A", 10.0, 100), ("A", 11.0, 50, 1))
    work(lambda: len(provenances(stream)) == 2)
    assert provenances(stream) == [("A", 0, 100.0, "partial"), ("A", 1, 50.0, "live")]


def test_a_gap_that_is_noted_after_the_bar_makes_it_partial(stream, work):
    stream.send(("A", 10.0, 100), ("B", 5.0, 10), ("A", 11.0, 50, 1))
    work(lambda: len(provenances(stream)) == 3)
    note(stream, symbols=("A",))
    assert provenances(stream) == [("A", 0, 100.0, "partial"), ("A", 1, 50.0, "live"), ("B", 0, 10.0, "live")]


def test_a_gap_of_another_feed_says_nothing(stream, work):
    note(stream, feed="other")
    stream.send(("A", 10.0, 100))
    work(lambda: len(provenances(stream)) == 1)
    note(stream, feed="other")
    assert provenances(stream) == [("A", 0, 100.0, "live")]


def test_a_late_trade_of_a_partial_bar_leaves_it_partial(stream, work):
    note(stream)
    stream.send(("A", 10.0, 100))
    work(lambda: len(provenances(stream)) == 1)
    stream.send(("A", 10.5, 20))
    work(lambda: provenances(stream) == [("A", 0, 120.0, "partial")])
    assert rows(stream.servers, "SELECT revision, feed, replay FROM recent_bar") == [(1, "live", False)]


def test_numbers_that_a_worker_gave_up_make_the_bars_of_its_partition_partial(stream, work):
    stream.send(("A", 10.0, 100), ("B", 5.0, 10))
    work(lambda: len(provenances(stream)) == 2)
    at_ms = stream.minute_ns // 1_000_000
    hole = Hole("live", 0, at_ms + 1_000, at_ms + 2_000, "massive-1", 9)
    with postgres.connect(stream.servers.database_url, name="test") as connection, connection.transaction():
        gaps.note_hole(connection, hole, ["A"], has_detail=False)
    assert provenances(stream) == [("A", 0, 100.0, "partial"), ("B", 0, 10.0, "live")]


def test_a_repair_makes_a_partial_bar_whole_and_no_live_trade_touches_it_after(stream, work):
    note(stream)
    stream.send(("A", 10.0, 100))
    work(lambda: provenances(stream) == [("A", 0, 100.0, "partial")])
    stream.add(whole_minute(stream, 12.0, 400))
    work(lambda: provenances(stream) == [("A", 0, 400.0, "repair")])
    stream.send(("A", 10.0, 7))
    work(lambda: rows(stream.servers, "SELECT sum(superseded)::int FROM ledger WHERE feed = 'live'") == [(2,)])
    note(stream)
    assert provenances(stream) == [("A", 0, 400.0, "repair")]


def whole_minute(stream, price, size):
    """Make a frame of the feed `repair` that holds the first minute of A."""
    ticks = Ticks(
        ("A",), np.zeros(1, "<u2"), np.array([stream.minute_ns], "<i8"), np.array([price]), np.array([float(size)]),
        {"whole_minute": np.ones(1, "<u1")},
    )  # fmt: skip
    return make_frame(REPAIR, ticks, "live", 0, 1, stream.now_ms)


def test_what_is_found_on_a_partial_bar_is_told_as_such(stream, work):
    with postgres.connect(stream.servers.database_url, name="test") as connection:
        seed_definitions(connection)
    note(stream)
    stream.send(*(("A", 10.0 + minute, 100, minute) for minute in range(-4, 2)))
    work(lambda: len(sma_5(stream)) == 2)
    first = stream.minute_ns // 60_000_000_000
    assert [(one["minute"] - first, one["value"], one.get("partial", False)) for one in sma_5(stream)] == [
        (0, 8.0, True),
        (1, 9.0, False),
    ]


def sma_5(stream):
    """Return what is told of this average on 1-minute bars."""
    bodies = rows(stream.servers, "SELECT body FROM outbox WHERE kind = 'indicators' ORDER BY number")
    values = [value for (body,) in bodies for value in json.loads(bytes(body))]
    return [value for value in values if (value["indicator"], value["timeframe"]) == ("SMA_5", "1min")]


def test_bars_and_the_parquet_of_them_say_what_is_partial(stream, work, tickstock, tmp_path):
    note(stream)
    stream.send(("A", 10.0, 100), ("A", 11.0, 50, 1))
    work(lambda: len(provenances(stream)) == 2)
    printed = tickstock("bars", "--format", "json", servers=stream.servers).stdout
    assert [json.loads(line)["provenance"] for line in printed.splitlines()] == ["partial", "live"]
    table = tickstock("bars", servers=stream.servers)
    assert table.stdout.count("*") == 1
    assert table.stderr == "* 1 bars are partial: a live feed missed a part of their minutes\n"
    file = tmp_path / "bars.parquet"
    assert tickstock("bars", "--format", "parquet", "--output", file, servers=stream.servers).returncode == 0
    assert pl.read_parquet(file)["provenance"].to_list() == ["partial", "live"]


def test_a_first_minute_is_no_open_gap_of_the_monitor_until_a_repair_of_it_failed(stream):
    note(stream, why=STARTED)
    counted = query("monitor_gaps")
    with postgres.connect(stream.servers.database_url, name="test") as connection:
        first = {"first_minutes": list(FIRST_MINUTES)}
        assert connection.execute(counted, first).fetchall() == []
        connection.execute("UPDATE gap SET tried = 1")
        assert connection.execute(counted, first).fetchall() == [("open", 1)]
