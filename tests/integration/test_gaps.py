"""What a live feed missed: noted, fetched from the pretend vendor, sent through a worker, listed."""

import json
import threading
from contextlib import contextmanager
from uuid import uuid4

import psycopg
import pytest
import redis
from tickstockpl.contracts.frames.frame import FIELD, decode, ticks_of
from tickstockpl.contracts.gap import Gap, Hole
from tickstockpl.contracts.names import stream_key
from tickstockpl.contracts.partition import partition_of
from tickstockpl.db import lease as leases
from tickstockpl.db import postgres
from tickstockpl.db.tables import gaps
from tickstockpl.db.tables.gaps import MissingMinutes
from tickstockpl.ops.fake_massive import FakeMassive
from tickstockpl.ops.fake_massive.trade import trade_of
from tickstockpl.ops.jobs.gaps import as_object, read_gaps
from tickstockpl.producer import gap_repair, repair
from tickstockpl.producer.massive.rest import MassiveRest
from tickstockpl.producer.repair import RepairThread

KEY = uuid4().hex
MINUTE_MS = 60_000


@pytest.fixture
def connection(module_servers):
    with postgres.connect(module_servers.database_url, name="test") as connection:
        connection.execute("TRUNCATE gap, gap_missing, symbols, recent_bar RESTART IDENTITY CASCADE")
        yield connection


@pytest.fixture
def minute(stream):
    """Give a minute since 1970 that is over for some minutes."""
    return stream.minute_ns // 60_000_000_000 - 3


@pytest.fixture
def fake(minute):
    """Give a vendor with two trades of A in the first of three minutes, one of A in the third, and one of B there."""
    first_ms, third_ms = minute * MINUTE_MS, (minute + 2) * MINUTE_MS
    with FakeMassive(key=KEY) as server:
        server.tell(
            trade_of("A", first_ms + 1, 10.0, 100, trade_id="1"),
            trade_of("A", first_ms + 2, 12.0, 300, trade_id="2"),
            trade_of("A", third_ms + 1, 11.0, 50, trade_id="3"),
            trade_of("B", third_ms + 1, 99.0, 5, trade_id="4"),
        )
        yield server


@pytest.fixture
def gap(minute):
    """Give the gap of those three minutes, for every symbol of the feed."""
    return Gap("live", minute * MINUTE_MS + 500, (minute + 2) * MINUTE_MS + 700, "connection lost")


class Repairs:
    """Repair threads on one stream and one vendor."""

    def __init__(self, servers, fake, wait_for):
        self.servers = servers
        self.fake = fake
        self.wait_for = wait_for

    @contextmanager
    def running(self, *, symbols=("A", "B"), repairs=True, partitions=1):
        stop = threading.Event()
        rest = MassiveRest(self.fake.rest_url, KEY, per_minute=60_000, wait=lambda s: stop.wait(min(s, 0.01)))
        thread = RepairThread(
            self.servers.database_url,
            self.servers.redis_url,
            rest if repairs else None,
            partitions=partitions,
            symbols=lambda: symbols,
            stop=stop,
            settle_s=0.0,
        )
        thread.start()
        try:
            yield thread
        finally:
            stop.set()
            thread.join(60)
            rest.close()
            assert not thread.is_alive()

    def connection(self):
        return postgres.connect(self.servers.database_url, name="test")

    def gaps(self):
        with self.connection() as connection:
            return read_gaps(connection, state=None, limit=100)

    def backends(self):
        mine = "datname = current_database() AND application_name = 'tickstock-repair'"
        return rows(self.servers, f"SELECT pid FROM pg_stat_activity WHERE {mine}")

    def states(self):
        return [gap.state for gap in reversed(self.gaps())]


@pytest.fixture
def repairs(stream, fake, wait_for, monkeypatch):
    monkeypatch.setattr(repair, "_LOOK_EVERY_S", 0.05)
    monkeypatch.setattr(gap_repair, "_DRAIN_DEADLINE_S", 0.5)
    return Repairs(stream.servers, fake, wait_for)


def rows(servers, statement):
    with psycopg.connect(servers.database_url, autocommit=True) as connection:
        return connection.execute(statement).fetchall()


def bars(servers, minute):
    """Return (symbol, minutes after, open, high, low, close, volume) of every bar."""
    statement = (
        'SELECT symbol, (extract(epoch FROM "timestamp") / 60)::int, open::float8, high::float8, low::float8,'
        ' close::float8, volume::float8 FROM ohlcv_1min ORDER BY symbol, "timestamp"'
    )
    return [(symbol, at - minute, *values) for symbol, at, *values in rows(servers, statement)]


BARS = [
    ("A", 0, 10.0, 12.0, 10.0, 12.0, 400.0),
    ("A", 2, 11.0, 11.0, 11.0, 11.0, 50.0),
    ("B", 2, 99.0, 99.0, 99.0, 99.0, 5.0),
]


# -- noting ------------------------------------------------------------------------------------------------------------


def noted(connection):
    found = reversed(read_gaps(connection, state=None, limit=100))
    return [(gap.symbols, gap.partition, gap.first_minute, gap.last_minute, gap.lost_ticks) for gap in found]


def test_a_gap_is_kept_as_the_minutes_that_it_touches(connection):
    gaps.note_gap(connection, Gap("live", 120_000, 299_999, "cut", ("B", "A")))
    assert noted(connection) == [(["A", "B"], None, 2, 4, None)]


def test_gaps_that_touch_for_one_reason_are_one(connection):
    for first, last, lost in ((60_000, 60_100, 1), (120_000, 120_100, 2), (90_000, 100_000, 4)):
        gaps.note_gap(connection, Gap("live", first, last, "cut", lost_ticks=lost))
    assert noted(connection) == [(None, None, 1, 2, 7)]


@pytest.mark.parametrize(
    "other",
    [
        Gap("live", 60_000, 60_000, "another reason"),
        Gap("other", 60_000, 60_000, "cut"),
        Gap("live", 60_000, 60_000, "cut", ("A",)),
        Gap("live", 60_000, 60_000, "cut", None, 3),
        Gap("live", 240_000, 240_000, "cut"),  # a whole minute lies between
    ],
)
def test_gaps_of_different_kinds_stay_apart(connection, other):
    gaps.note_gap(connection, Gap("live", 60_000, 120_000, "cut"))
    gaps.note_gap(connection, other)
    assert len(noted(connection)) == 2


def test_a_gap_that_is_being_repaired_grows_no_more(connection):
    gaps.note_gap(connection, Gap("live", 60_000, 60_000, "cut"))
    (found,) = gaps.due_gaps(connection, "live", settle_s=0, count=10)
    assert gaps.begin(connection, found)
    gaps.note_gap(connection, Gap("live", 120_000, 120_000, "cut"))
    assert noted(connection) == [(None, None, 1, 1, None), (None, None, 2, 2, None)]


def test_a_gap_that_grew_since_it_was_read_is_not_begun(connection):
    gaps.note_gap(connection, Gap("live", 60_000, 60_000, "cut"))
    (found,) = gaps.due_gaps(connection, "live", settle_s=0, count=10)
    gaps.note_gap(connection, Gap("live", 120_000, 120_000, "cut"))
    assert not gaps.begin(connection, found)


def test_a_hole_is_a_gap_of_its_partition_with_the_ticks_that_are_lost(connection):
    with connection.transaction():
        gaps.note_hole(connection, Hole("live", 7, 60_000, 60_100, "massive-1", 512), [], has_detail=False)
    assert noted(connection) == [(None, 7, 1, 1, 512)]
    assert rows_of(connection, "SELECT why FROM gap") == [("missing frames of massive-1",)]


def rows_of(connection, statement):
    return connection.execute(statement).fetchall()


def test_a_gap_is_due_when_its_last_minute_is_over_for_long_enough(connection):
    (now,) = connection.execute("SELECT extract(epoch FROM clock_timestamp())::bigint").fetchone()
    gaps.note_gap(connection, Gap("live", (now - 300) * 1000, (now - 300) * 1000, "cut"))
    assert len(gaps.due_gaps(connection, "live", settle_s=20, count=10)) == 1
    assert gaps.due_gaps(connection, "live", settle_s=400, count=10) == []
    assert gaps.due_gaps(connection, "other", settle_s=20, count=10) == []


def test_a_repaired_gap_comes_once_more_while_late_trades_may_come(connection):
    gaps.note_gap(connection, Gap("live", 60_000, 60_000, "cut"))
    (now,) = connection.execute("SELECT extract(epoch FROM clock_timestamp())::bigint").fetchone()
    gaps.note_gap(connection, Gap("live", (now - 300) * 1000, (now - 300) * 1000, "cut"))
    for found in gaps.due_gaps(connection, "live", settle_s=0, count=10):
        gaps.finish(connection, found, repaired=1, missing=[], final_s=960)
    ready = "SELECT state, not_before = 'infinity', not_before > clock_timestamp() FROM gap ORDER BY id"
    assert rows_of(connection, ready) == [("repaired", True, True), ("repaired", False, True)]
    assert gaps.due_gaps(connection, "live", settle_s=0, count=10) == []


def test_the_minutes_that_are_missing_are_those_of_the_last_try(connection):
    gaps.note_gap(connection, Gap("live", 60_000, 600_000, "cut"))
    (found,) = gaps.due_gaps(connection, "live", settle_s=0, count=10)
    gaps.finish(connection, found, repaired=0, missing=[MissingMinutes("A", 1, 10)], final_s=0)
    gaps.finish(
        connection, found, repaired=7, missing=[MissingMinutes("A", 2, 3), MissingMinutes("A", 9, 9)], final_s=0
    )
    (gap,) = read_gaps(connection, state="missing", limit=10)
    assert (gap.minutes_repaired, gap.minutes_missing) == (7, 3)
    assert as_object(gap)["missing"] == [
        {"symbol": "A", "first_minute": "1970-01-01T00:02Z", "last_minute": "1970-01-01T00:03Z"},
        {"symbol": "A", "first_minute": "1970-01-01T00:09Z", "last_minute": "1970-01-01T00:09Z"},
    ]


# -- repairing ---------------------------------------------------------------------------------------------------------


def test_the_minutes_of_a_gap_become_bars_and_what_the_vendor_lacks_is_listed(repairs, gap, minute, work):
    with repairs.running() as thread:
        thread.note(gap)
        work(lambda: repairs.states() == ["missing"])
        work(lambda: bars(repairs.servers, minute) == BARS)
    (found,) = repairs.gaps()
    assert (found.minutes_repaired, found.minutes_missing, found.tried, found.error) == (3, 3, 1, None)
    assert found.missing == [
        MissingMinutes("A", minute + 1, minute + 1), MissingMinutes("B", minute, minute + 1),
    ]  # fmt: skip


def test_a_gap_of_which_the_vendor_had_all_is_repaired(repairs, gap, minute, work):
    with repairs.running() as thread:
        thread.note(gap._replace(symbols=("A",), last_ms=gap.first_ms))
        work(lambda: repairs.states() == ["repaired"])
    assert bars(repairs.servers, minute) == BARS[:1]


def test_a_gap_stays_open_until_what_was_sent_is_committed(repairs, gap, work):
    with repairs.running() as thread:
        thread.note(gap)
        repairs.wait_for(lambda: frames_of(repairs))
        assert repairs.states() == ["open"]
        work(lambda: repairs.states() == ["missing"])


def frames_of(repairs):
    with redis.Redis.from_url(repairs.servers.redis_url) as client:
        return [decode(fields[FIELD]) for _, fields in client.xrange(stream_key(0))]


def test_repaired_minutes_are_told_as_whole_minutes_of_the_feed_repair(repairs, gap):
    with repairs.running() as thread:
        thread.note(gap)
        (frame,) = repairs.wait_for(lambda: frames_of(repairs))
    assert (frame.feed, frame.kind, frame.publish, frame.previous, frame.last) == ("repair", "live", True, 0, 3)
    assert ticks_of(frame).optional["whole_minute"].tolist() == [1, 1, 1]


def test_a_repair_that_died_before_the_commit_is_made_again_and_counts_nothing_twice(repairs, gap, minute, work):
    with repairs.running() as thread:
        thread.note(gap)
        repairs.wait_for(lambda: frames_of(repairs))
    assert repairs.states() == ["open"]
    with repairs.running():
        work(lambda: repairs.states() == ["missing"])
        work(lambda: bars(repairs.servers, minute) == BARS)
    assert len({frame.producer for frame in frames_of(repairs)}) == 2


def test_a_repair_that_stops_says_its_end(repairs, gap, work, monkeypatch):
    monkeypatch.setattr(gap_repair, "_DRAIN_DEADLINE_S", 60.0)
    with repairs.running() as thread:
        thread.note(gap)
        work(lambda: repairs.states() == ["missing"])
    assert rows(repairs.servers, "SELECT ended, lost FROM ledger") == [(True, 0)]
    assert rows(repairs.servers, "SELECT unit FROM lease WHERE owner LIKE 'repair-%'") == []


def test_a_hole_asks_only_for_the_symbols_of_its_partition(repairs, fake, minute):
    symbols = ["A", "B", "C", "D"]
    homes = {symbol: partition_of(symbol, 2) for symbol in symbols}
    assert homes == {"A": 1, "B": 1, "C": 1, "D": 0}
    with repairs.connection() as connection:
        connection.execute("UPDATE stream SET partitions = 2")
        hole = Hole("live", 0, minute * MINUTE_MS, minute * MINUTE_MS, "massive-1", 9)
        gaps.note_hole(connection, hole, symbols, has_detail=False)
    with repairs.running(symbols=symbols, partitions=2):
        repairs.wait_for(lambda: repairs.states() == ["missing"])
    assert [path.split("/")[4] for path in fake.requests] == ["D"]


def test_a_feed_without_a_list_asks_for_what_had_bars_in_the_week_before(repairs, fake, gap, minute, work):
    with repairs.connection() as connection:
        connection.execute("INSERT INTO symbols (symbol) VALUES ('B'), ('OLD'), ('NEVER')")
        for symbol, at in (("B", minute - 60), ("OLD", minute - 8 * 24 * 60)):
            connection.execute(
                "INSERT INTO recent_bar VALUES (%s, %s, 'live', false, false, 0, 1, 1, 1, 1, 1, 1, 1, 0, 0)",
                (symbol, at),
            )
    with repairs.running(symbols=["*"]) as thread:
        thread.note(gap)
        work(lambda: repairs.states() == ["missing"])
    assert [path.split("/")[4] for path in fake.requests] == ["B"]


@pytest.mark.parametrize(("what", "says"), [("5xx", "fails: status 50"), ("next_url_loop", "next_url never ends")])
def test_a_gap_that_the_vendor_fails_stays_open_with_the_reason(repairs, fake, gap, what, says):
    fake.misbehave(what)
    with repairs.running() as thread:
        thread.note(gap)
        repairs.wait_for(lambda: repairs.gaps() and repairs.gaps()[0].error)
    (found,) = repairs.gaps()
    assert (found.state, found.tried) == ("open", 1)
    assert says in found.error
    assert rows(repairs.servers, "SELECT not_before > clock_timestamp() FROM gap") == [(True,)]


def test_a_vendor_that_refuses_the_key_is_asked_for_one_symbol_only(repairs, gap):
    with FakeMassive(key=uuid4().hex) as other:
        repairs.fake = other
        with repairs.running() as thread:
            thread.note(gap)
            repairs.wait_for(lambda: repairs.gaps() and repairs.gaps()[0].error)
        assert len(other.requests) == 1
    assert "check the API key" in repairs.gaps()[0].error


def test_without_the_vendor_gaps_are_noted_and_stay_open(repairs, gap):
    with repairs.running(repairs=False) as thread:
        thread.note(gap)
        repairs.wait_for(lambda: repairs.states() == ["open"])


def test_a_gap_that_is_found_at_the_very_end_is_noted(repairs, gap):
    with repairs.running() as thread:
        repairs.wait_for(repairs.backends)
        thread.note(gap)
    assert repairs.states() == ["open"]


def test_a_gap_that_is_found_while_the_database_is_away_is_noted_when_it_is_back(repairs, gap):
    with repairs.running(repairs=False) as thread:
        repairs.wait_for(repairs.backends)
        with repairs.connection() as connection:
            for (pid,) in repairs.backends():
                connection.execute("SELECT pg_terminate_backend(%s)", (pid,))
            thread.note(gap)
        repairs.wait_for(lambda: repairs.states() == ["open"])


# -- the commands ------------------------------------------------------------------------------------------------------


def note_a_gap(repairs, gap):
    with repairs.connection() as connection:
        gaps.note_gap(connection, gap)


def test_gaps_repair_fetches_what_is_open_and_no_output_holds_the_key(repairs, fake, gap, minute, work, tickstock):
    note_a_gap(repairs, gap)
    command = ("gaps", "repair", "--rest-url", fake.rest_url, "--universe", "A,B", "--log-level", "debug")
    ran = []
    runs = {"servers": repairs.servers, "MASSIVE_API_KEY": KEY}
    thread = threading.Thread(target=lambda: ran.append(tickstock(*command, **runs)))
    thread.start()
    work(lambda: ran)
    thread.join()
    assert (ran[0].returncode, ran[0].stdout) == (0, "1 gaps: 3 minutes repaired, 3 missing at the vendor too\n")
    assert KEY not in ran[0].stdout + ran[0].stderr
    assert bars(repairs.servers, minute) == BARS


def test_gaps_repair_says_which_gap_stays_open(repairs, fake, gap, tickstock):
    note_a_gap(repairs, gap)
    fake.misbehave("next_url_elsewhere")
    command = ("gaps", "repair", "--rest-url", fake.rest_url, "--universe", "A")
    ran = tickstock(*command, servers=repairs.servers, MASSIVE_API_KEY=KEY)
    assert ran.returncode == 1
    assert "gap 1 stays open: 127.0.0.1 links to another host" in ran.stderr


def test_two_processes_do_not_repair_at_once(repairs, fake, gap, tickstock):
    note_a_gap(repairs, gap)
    with repairs.connection() as connection:
        leases.take(connection, "repair", "another")
        ran = tickstock("gaps", "repair", "--rest-url", fake.rest_url, servers=repairs.servers, MASSIVE_API_KEY=KEY)
    assert (ran.returncode, fake.requests) == (1, [])
    assert "repair is held by another" in ran.stderr


def test_gaps_repair_without_a_key_is_a_usage_error(migrated_servers, tickstock):
    ran = tickstock("gaps", "repair", servers=migrated_servers)
    assert ran.returncode == 2
    assert "set MASSIVE_API_KEY, or name a file with --api-key-file" in ran.stderr


def test_gaps_lists_as_json_what_stayed_missing(repairs, gap, minute, tickstock):
    note_a_gap(repairs, gap._replace(lost_ticks=12))
    with repairs.connection() as connection:
        (found,) = gaps.due_gaps(connection, "live", settle_s=0, count=10)
        gaps.finish(connection, found, repaired=5, missing=[MissingMinutes("B", minute, minute + 1)], final_s=0)
    ran = tickstock("gaps", "--json", "--state", "missing", servers=repairs.servers)
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert {name: told[name] for name in ("id", "feed", "state", "why", "symbols", "lost_ticks")} == {
        "id": 1, "feed": "live", "state": "missing", "why": "connection lost", "symbols": None, "lost_ticks": 12,
    }  # fmt: skip
    assert (told["minutes_repaired"], told["minutes_missing"], len(told["missing"])) == (5, 2, 1)
    table = tickstock("gaps", servers=repairs.servers)
    assert "connection lost" in table.stdout
