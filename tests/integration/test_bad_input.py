import json
import os
import re
import socket
import threading
from contextlib import closing
from dataclasses import replace
from urllib.parse import urlsplit
from zlib import crc32

import numpy as np
import psycopg
import pytest
import redis
from tickstockpl.contracts.frames.frame import FIELD, decode, encode
from tickstockpl.contracts.frames.maker import Identity, make_frame
from tickstockpl.contracts.names import DEAD_LETTERS, FRONT_DOOR, flow_key, results_key, stream_key
from tickstockpl.contracts.settings import Servers
from tickstockpl.contracts.ticks import Ticks
from tickstockpl.db import postgres
from tickstockpl.db.metrics import HOLES
from tickstockpl.db.queries import query
from tickstockpl.db.schema.migrate import open_stream
from tickstockpl.db.sessions import set_always_open
from tickstockpl.ops.wiring.servers import Place
from tickstockpl.ops.wiring.worker import make_worker
from tickstockpl.workers import lookout, upkeep
from tickstockpl.workers.commit import teller
from tickstockpl.workers.partition import frame_intake
from tickstockpl.workers.partition_reader import pages_of
from tickstockpl.workers.worker_options import WorkerOptions

HEADER = "ticker,price,sip_timestamp,size"
NOON = 1_381_147_200_000_000_000  # 2013-10-07T12:00:00Z
LIVE = Identity("test-producer", "live", "live")
REPLAY = Identity("replay-x", "replay-x", "replay")


# -- files ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("missing.csv", None, "No such file or directory"),
        ("folder", "a folder", "Is a directory"),
        ("empty.csv", b"", "empty"),
        (
            "other.csv",
            b"date,open,close\n",
            "not a trade flat file: its first line lacks ticker, price, size, sip_timestamp",
        ),
        ("twice.csv", b"ticker,price,size,sip_timestamp,price\n", "its first line names price twice"),
        ("cut.csv.gz", b"\x1f\x8b\x08\x00", "broken or cut off"),
    ],
)
@pytest.mark.parametrize("command", [("replay",), ("producer", "--source", "replay")])
def test_a_file_that_is_none_ends_the_command_with_one_clear_line(tmp_path, tickstock, command, name, content, said):
    file = tmp_path / name
    if content == "a folder":
        file.mkdir()
    elif content is not None:
        file.write_bytes(content)
    ran = tickstock(*command, file, servers=Servers("redis://127.0.0.1:1/0", "postgresql://127.0.0.1:1/none"))
    assert ran.returncode == 2
    assert re.fullmatch(f"Error: {re.escape(str(file))}: .*{re.escape(said)}.*\n", ran.stderr)


def test_a_row_that_does_not_parse_is_a_dead_letter_with_file_and_line(tmp_path, tickstock, migrated_servers):
    file = tmp_path / "trades.csv"
    rows = [f"IBM,182.5,{NOON},100", "IBM,182.5", f"IBM,-1,{NOON},100", f",1,{NOON},1", f"IBM,182.6,{NOON},50"]
    file.write_text("\n".join([HEADER, *rows]) + "\n")
    ran = tickstock("replay", file, "--workers", "1", "--partitions", "2", servers=migrated_servers)
    assert ran.returncode == 0, ran.stderr
    found = dead_letters(migrated_servers)
    assert {(reason, detail.split(": ")[0], original) for _, reason, detail, original in found} == {
        ("bad_row", f"{file}:3", b"IBM,182.5"),
        ("price", f"{file}:4", f"IBM,-1,{NOON},100".encode()),
        ("symbol", f"{file}:5", f",1,{NOON},1".encode()),
    }
    assert ledger(migrated_servers) == {"ticks_in": 5, "applied": 2, "refused": 3}
    assert bars(migrated_servers) == [("IBM", 182.5, 182.6, 150)]


def test_a_dead_letter_stands_in_redis_too(tmp_path, tickstock, migrated_servers):
    file = tmp_path / "trades.csv"
    file.write_text(f"{HEADER}\nIBM,0,{NOON},100\nIBM,5,{NOON},1\n")
    assert tickstock("replay", file, "--workers", "1", servers=migrated_servers).returncode == 0
    with redis.Redis.from_url(migrated_servers.redis_url) as client:
        ((_, letter),) = client.xrange(DEAD_LETTERS)
    assert letter[b"reason"] == b"price"
    assert letter[b"detail"].startswith(f"{file}:2: ".encode())
    assert letter[b"original"] == f"IBM,0,{NOON},100".encode()
    assert letter[b"producer"].startswith(b"replay-")


# -- what comes through the stream ---------------------------------------------------------------------------------


class Stream:
    """Partition 0 of a stream of one, with a worker on it, and this test as its producer."""

    def __init__(self, servers):
        self.servers = servers
        self.redis = redis.Redis.from_url(servers.redis_url)
        seconds, _ = self.redis.time()
        self.now_ms = seconds * 1000
        self.minute_ns = (seconds - 180) // 60 * 60 * 10**9  # over for longer than the allowed lateness
        self.number = 0
        self.missing_frames_wait_s = 0.2
        with postgres.connect(servers.database_url, name="test") as connection:
            set_always_open(connection, ["*"], is_open=True)  # a test runs at any time of day

    def frame(self, *ticks, identity=LIVE):
        """Make the next frame of (symbol, price, size[, minutes later]), all within one minute."""
        symbols = list(dict.fromkeys(tick[0] for tick in ticks))
        codes = np.array([symbols.index(tick[0]) for tick in ticks], "<u2")
        later = [tick[3] * 60 * 10**9 if len(tick) > 3 else 0 for tick in ticks]
        ts = np.array([self.minute_ns + add + i for i, add in enumerate(later)], "<i8")
        price, size = (np.array([tick[i] for tick in ticks], "<f8") for i in (1, 2))
        previous, self.number = self.number, self.number + len(ticks)
        return make_frame(
            identity, Ticks(symbols, codes, ts, price, size), identity.kind, previous, self.number, self.now_ms
        )

    def add(self, body, field=FIELD):
        self.redis.xadd(stream_key(0), {field: body})

    def send(self, *ticks):
        self.add(self.frame(*ticks))


@pytest.fixture
def stream(migrated_servers):
    with postgres.connect(migrated_servers.database_url, name="test") as connection:
        open_stream(connection, 1)
    stream = Stream(migrated_servers)
    with stream.redis:
        yield stream


@pytest.fixture
def work(stream, wait_for):
    """Give a function that lets a worker run until a condition holds; what it raises, the test raises."""
    stop, died = threading.Event(), []

    def run():
        options = WorkerOptions(
            "test-worker", commit_ms=50, missing_frames_wait_s=stream.missing_frames_wait_s, gather_ms=10
        )
        try:
            worker = make_worker(Place(stream.servers, False, 5.0), options, partitions=None, stop=stop)
            with worker._client, closing(worker._database):
                worker.run()
        except BaseException as e:  # noqa: BLE001  # of any kind: the worker must not die of bad input
            died.append(e)

    thread = threading.Thread(target=run)

    def until(condition):
        if not thread.ident:
            thread.start()
        wait_for(lambda: died or condition())
        if died:
            raise died[0]

    yield until
    stop.set()
    if thread.ident:
        thread.join(60)
    assert not died


def dead_letters(servers):
    statement = "SELECT producer, reason, detail, original FROM dead_letter ORDER BY id"
    with psycopg.connect(servers.database_url) as connection:
        return [(*row[:3], bytes(row[3])) for row in connection.execute(statement)]


def ledger(servers):
    """Sum the ledger's columns; those that are 0 are left out."""
    names = ("ticks_in", "applied", "quote_or_zero", "refused", "future", "too_late", "superseded", "lost")
    with psycopg.connect(servers.database_url) as connection:
        row = connection.execute(f"SELECT {', '.join(f'sum({n})::int' for n in names)} FROM ledger").fetchone()
    return {name: count for name, count in zip(names, row, strict=True) if count}


def bars(servers):
    statement = (
        'SELECT symbol, open::float8, close::float8, volume::float8 FROM ohlcv_1min ORDER BY symbol, "timestamp"'
    )
    with psycopg.connect(servers.database_url) as connection:
        return connection.execute(statement).fetchall()


def truncated(body):
    return body[: len(body) // 2]


def without_version(body):
    return body[2:]


def of_a_later_version(body):
    """Write version 2 into a frame, and the checksum that goes with it."""
    array = body[:1] + b"\x02" + body[2:-4]
    return array + crc32(array).to_bytes(4, "little")


@pytest.mark.parametrize(
    ("broken", "field", "said"),
    [
        (truncated, FIELD, "not a frame"),
        (without_version, FIELD, "not a frame"),
        (lambda _: b"", FIELD, "not a frame"),
        (lambda _: b"\xff" * 300, FIELD, "not a frame"),
        (lambda _: b"AAPL", b"symbol", "not a frame"),
        (of_a_later_version, FIELD, "frame version 2, but this program reads version 1: upgrade it"),
    ],
)
def test_an_entry_that_is_no_frame_is_a_dead_letter_and_the_partition_goes_on(stream, work, broken, field, said):
    stream.send(("A", 10.0, 100))
    body = broken(stream.frame(("A", 99.0, 1)))
    stream.number = 1
    stream.add(body, field)
    stream.send(("A", 11.0, 50))
    work(lambda: bars(stream.servers) == [("A", 10, 11, 150)])
    ((producer, reason, detail, original),) = dead_letters(stream.servers)
    assert (producer, reason, original) == ("", "bad_frame", body if field == FIELD else b"symbol\nAAPL")
    assert detail.startswith(said)


def test_a_frame_with_a_corrupt_block_counts_all_of_its_ticks_as_refused(stream, work):
    stream.send(("A", 10.0, 100))
    frame = decode(stream.frame(("A", 50.0, 1), ("B", 51.0, 1), ("A", 52.0, 1)))
    block = bytearray(frame.block)
    block[-1] ^= 1
    body = encode(type(frame)(*[bytes(block) if v is frame.block else v for v in as_list(frame)]))
    stream.add(body)
    stream.send(("A", 11.0, 50))
    work(lambda: bars(stream.servers) == [("A", 10, 11, 150)])
    ((producer, reason, detail, original),) = dead_letters(stream.servers)
    assert (producer, reason, original) == (LIVE.producer, "bad_frame", body)
    assert detail.startswith("corrupt block: ")
    assert ledger(stream.servers) == {"ticks_in": 5, "applied": 2, "refused": 3}


def as_list(frame):
    return [getattr(frame, name) for name in frame.__struct_fields__]


def test_a_frame_whose_numbers_overlap_is_a_dead_letter_and_the_partition_goes_on(stream, work):
    stream.send(("A", 10.0, 100), ("A", 10.5, 100))
    stream.number = 1
    stream.send(("A", 99.0, 1), ("A", 99.0, 1))
    stream.number = 2
    stream.send(("A", 11.0, 50))
    work(lambda: bars(stream.servers) == [("A", 10, 10.5, 250)])
    ((_, reason, detail, _),) = dead_letters(stream.servers)
    assert (reason, detail) == ("bad_frame", "numbers 1-3 overlap 2")


def test_entries_that_no_reply_can_hold_are_dead_letters_by_their_size(stream, work):
    stream.send(("A", 10.0, 100))
    for _ in range(5):
        stream.add(bytes(9 << 20))
    stream.send(("A", 11.0, 50))
    work(lambda: bars(stream.servers) == [("A", 10, 11, 150)])
    found = dead_letters(stream.servers)
    assert [(reason, detail) for _, reason, detail, _ in found] == [
        ("bad_frame", "an entry of so many bytes: 9437185, at most 8388608 are read")
    ] * 5
    stream.send(("A", 12.0, 50))
    work(lambda: bars(stream.servers) == [("A", 10, 12, 200)])


def test_what_was_given_up_is_kept_by_who_still_has_it_until_it_came(stream, work):
    """The producer is gone, and so is what Redis had; another process finds its frames on a disk, and sends them."""
    execute(
        stream.servers,
        f"""INSERT INTO lease (unit, owner, expires_at, renewed_at, feed, sent, sent_since, sent_at) VALUES
            ('producer:{LIVE.producer}', NULL, '-infinity', now() - interval '1 minute', '{LIVE.feed}', '{{3}}',
             now() - interval '2 minutes', now() - interval '1 minute')""",
    )
    work(lambda: ledger(stream.servers).get("lost") == 3)

    def done():
        return int(stream.redis.hget(flow_key(0), f"done:{LIVE.producer}") or 0)

    for number, price in enumerate((10.0, 11.0, 12.0), 1):
        stream.send(("A", price, 1))
        work(lambda number=number: ledger(stream.servers).get("lost", 0) == 3 - number and done() >= number)
        assert done() == number
    work(lambda: bars(stream.servers) == [("A", 10, 12, 3)])
    stream.send(("A", 13.0, 1))
    work(lambda: done() == 4)


def test_a_turn_whose_reply_was_too_large_is_not_taken_for_one_that_found_nothing(stream):
    for _ in range(5):
        stream.add(bytes(9 << 20))
    stop = threading.Event()
    place = Place(stream.servers, False, 5.0)
    worker = make_worker(place, WorkerOptions("test-worker", commit_ms=60_000, gather_ms=1), partitions=None, stop=stop)
    with worker._client, closing(worker._database):
        worker.join()
        while not worker._states:
            worker.turn()  # the one in which it has the partition reads it, too
        (state,) = worker._states.values()
        assert [len(state.uncommitted.unacked), len(state.uncommitted.dead_letters)] == [5, 5]
        worker._end()


def test_a_text_that_is_no_utf_8_stops_no_worker(stream, work):
    stream.send(("A", 10.0, 100))
    array = stream.frame(("BAD", 99.0, 1))[:-4].replace(b"\xa3BAD", b"\xa3B\xffD")
    stream.number = 1
    stream.add(array + crc32(array).to_bytes(4, "little"))
    stream.send(("A", 11.0, 50))
    work(lambda: bars(stream.servers) == [("A", 10, 11, 150)])
    ((_, reason, detail, _),) = dead_letters(stream.servers)
    assert (reason, detail[:35]) == ("bad_frame", "not a frame: 'utf-8' codec can't de")


def test_bad_frames_are_not_read_over_and_over_by_the_next_worker(stream, work):
    stream.add(b"no frame")
    stream.send(("A", 10.0, 100))
    work(lambda: bars(stream.servers) == [("A", 10, 10, 100)])
    group = "tickstockpl-group"
    work(lambda: stream.redis.xpending(stream_key(0), group)["pending"] == 0)
    assert len(dead_letters(stream.servers)) == 1


def test_an_entry_that_is_no_frame_is_kept_once_however_often_it_is_read(migrated_servers):
    letter = {"partition": [0], "producer": [""], "reason": ["bad_frame"], "detail": ["?"], "original": [b"?"]}
    with psycopg.connect(migrated_servers.database_url) as connection:
        for entry in ("5-0", "5-0", "6-0", None, None):
            connection.execute(query("append_dead_letters"), letter | {"entry": [entry]})
        rows = connection.execute("SELECT entry FROM dead_letter ORDER BY id").fetchall()
    assert rows == [("5-0",), ("6-0",), (None,), (None,)]


def test_a_hole_is_read_twice_before_it_is_believed(stream, work):
    def met():
        return HOLES.collect()[0].samples[0].value

    before = met()
    first, second, third = [stream.frame(("A", 10.0 + i, 1), identity=REPLAY) for i in range(3)]
    stream.add(second)
    work(lambda: met() == before + 1)
    stream.add(third)
    work(lambda: stream.redis.hget(flow_key(0), f"want:{REPLAY.producer}") == b"0")
    stream.add(first)
    work(lambda: ledger(stream.servers) == {"ticks_in": 3, "applied": 3})
    assert met() == before + 1


def test_a_hole_that_nobody_read_for_long_is_asked_for_before_it_is_called_lost(stream, work):
    stream.missing_frames_wait_s = 30
    first, second = stream.frame(("A", 10.0, 1)), stream.frame(("A", 11.0, 1))
    stream.redis.xadd(stream_key(0), {FIELD: second}, id=f"{stream.now_ms - 60_000}-0")
    work(lambda: stream.redis.hget(flow_key(0), f"want:{LIVE.producer}") == b"0")
    stream.number = 0
    stream.add(stream.frame(("A", 12.0, 1), identity=replace(LIVE, producer="another")))
    work(lambda: ledger(stream.servers).get("applied"))
    assert ledger(stream.servers) == {"ticks_in": 1, "applied": 1}
    stream.add(first)
    work(lambda: ledger(stream.servers) == {"ticks_in": 3, "applied": 3})


def test_a_hole_is_given_up_though_what_was_sent_elsewhere_is_looked_for_again_and_again(stream, work, monkeypatch):
    """The partition is restored more often than a hole waits: that must not begin its wait anew."""
    monkeypatch.setattr(lookout, "_NEVER", lookout._NEVER._replace(wait_s=0.5))
    monkeypatch.setattr(lookout, "_MAX_VAIN_RESTORE_WAIT_S", 0.5)
    monkeypatch.setattr(lookout, "_LOOK_EVERY_S", 0.1)
    stream.missing_frames_wait_s = 3
    with psycopg.connect(stream.servers.database_url) as connection:
        connection.execute("INSERT INTO lease (unit, renewed_at) VALUES ('producer:gone', clock_timestamp())")
    stream.redis.hset(flow_key(0), "sent:gone", "5,5")
    stream.frame(("A", 10.0, 1))
    stream.send(("A", 11.0, 1))
    work(lambda: ledger(stream.servers).get("lost"))
    assert ledger(stream.servers) == {"ticks_in": 2, "applied": 1, "lost": 1}


def test_invented_producers_do_not_keep_their_places_until_none_is_left(stream, work, monkeypatch):
    monkeypatch.setattr(frame_intake, "MAX_PRODUCERS", 8)
    monkeypatch.setattr(upkeep, "_CROWD", 4)
    for i in range(20):
        stream.number = 0
        stream.add(stream.frame(("A", 10.0, 1), identity=replace(LIVE, producer=f"invented-{i}")))
        work(lambda sent=i + 1: ledger(stream.servers) == {"ticks_in": sent, "applied": sent})
        if i % 5 == 4:
            work(lambda: sum(b"done:invented" in field for field in stream.redis.hkeys(flow_key(0))) < 4)
    assert dead_letters(stream.servers) == []


def test_large_dead_letters_have_a_bound_in_bytes_in_redis_and_stay_whole_in_the_table(stream, work, monkeypatch):
    monkeypatch.setattr(teller, "_MAX_DEAD_LETTER_BYTES", 1 << 20)
    for i in range(100):
        stream.add(b"%03d" % i + os.urandom(40_000))
    work(lambda: len(dead_letters(stream.servers)) == 100)
    work(lambda: stream.redis.xrevrange(DEAD_LETTERS, count=1)[0][1][b"original"].startswith(b"099"))
    work(lambda: stream.redis.xlen(DEAD_LETTERS) < 30)
    assert {len(original) for *_, original in dead_letters(stream.servers)} == {40_003}


def test_frames_without_room_behind_a_hole_are_read_again_when_it_is_filled(stream, work, monkeypatch):
    monkeypatch.setattr(frame_intake, "HELD_FRAMES", 2)
    first, *others = [stream.frame(("A", 10.0 + i, 1), identity=REPLAY) for i in range(8)]
    for body in others:
        stream.add(body)
    work(lambda: stream.redis.hget(flow_key(0), f"want:{REPLAY.producer}") == b"0")
    stream.add(first)
    work(lambda: ledger(stream.servers) == {"ticks_in": 8, "applied": 8})


def test_a_replay_that_a_database_which_came_back_older_forgot_is_applied_again(stream, work):
    stream.add(stream.frame(("A", 10.0, 5), ("A", 12.0, 5), identity=REPLAY))
    stream.add(make_frame(REPLAY, Ticks.empty(), "end", 2, 3, stream.now_ms))
    with psycopg.connect(stream.servers.database_url, autocommit=True) as connection:
        work(lambda: bars(stream.servers) == [("A", 10, 12, 10)])
        for table in ("outbox", "ledger", "finished_replay", "ohlcv_1min", "recent_bar"):
            connection.execute(f"DELETE FROM {table}")
        connection.execute("UPDATE checkpoint SET position = '0-0', state = NULL, token = 1, outbox_number = 0")
        others = "pid <> pg_backend_pid() AND datname = current_database()"
        connection.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")
    work(lambda: bars(stream.servers) == [("A", 10, 12, 10)])
    assert ledger(stream.servers) == {"ticks_in": 2, "applied": 2}


def test_a_connection_that_an_error_left_in_its_pipeline_is_lost(migrated_servers):
    connection = postgres.connect(migrated_servers.database_url, name="test")
    with closing(connection):
        connection.pgconn.enter_pipeline_mode()  # as psycopg leaves it where the last results came late
        connection.pgconn.send_query_params(b"SELECT 1 / 0", None)
        connection.pgconn.pipeline_sync()
        with pytest.raises(psycopg.OperationalError, match="not allowed in pipeline mode") as raised:
            connection.execute("SELECT 1")
        assert postgres.is_lost(connection, raised.value)


def test_a_trade_and_an_aggregate_of_one_minute_are_never_mixed(stream, work):
    ms = stream.minute_ns // 10**6
    trade = {"ev": "T", "sym": "A", "p": 10.0, "s": 5, "t": ms + 1000}
    prices = {"o": 20.0, "h": 20.0, "l": 20.0, "c": 20.0, "vw": 20.0}
    minute = {"ev": "AM", "sym": "A", "v": 7, "s": ms, "e": ms + 60_000} | prices
    stream.redis.xadd(FRONT_DOOR, {"data": json.dumps([trade, minute])})
    work(lambda: ledger(stream.servers) == {"ticks_in": 2, "applied": 1, "superseded": 1})
    ((_, _, close, volume),) = bars(stream.servers)
    assert (close, volume) in ((10, 5), (20, 7))


def test_a_frame_that_is_missing_at_the_end_of_the_stream_is_asked_for(stream, work):
    stream.send(("A", 10.0, 100))
    stream.redis.hset(flow_key(0), f"sent:{LIVE.producer}", "9,2")  # so much was sent once; the rest is gone
    work(lambda: stream.redis.hget(flow_key(0), f"want:{LIVE.producer}") == b"1")


def test_refused_ticks_are_counted_and_kept_with_their_reason(stream, work):
    next_year = 366 * 24 * 60
    stream.send(
        ("A", 10.0, 100), ("A", -1.0, 1), ("A", float("nan"), 1), ("A", 1.0, float("inf")), ("A", 1.0, 0.0),
        ("A", 1.0, 1.0, next_year), ("A", 1.0, 1.0, -60), ("A", 11.0, 50),
    )  # fmt: skip
    work(lambda: bars(stream.servers) == [("A", 10, 11, 150)])
    assert ledger(stream.servers) == {
        "ticks_in": 8, "applied": 2, "quote_or_zero": 1, "refused": 3, "future": 1, "too_late": 1,
    }  # fmt: skip
    found = dead_letters(stream.servers)
    assert sorted(reason for _, reason, _, _ in found) == ["future", "price", "price", "size", "too_late"]
    (future,) = [json.loads(original) for _, reason, _, original in found if reason == "future"]
    assert future == {
        "symbol": "A", "price": 1.0, "volume": 1.0, "timestamp": stream.minute_ns + next_year * 60 * 10**9 + 5,
    }  # fmt: skip
    work(lambda: len(stream.redis.xrange(DEAD_LETTERS)) == 5)


# -- what the database refuses -------------------------------------------------------------------------------------


def execute(servers, statement):
    with psycopg.connect(servers.database_url) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def told_symbols(stream):
    messages = [json.loads(entry[b"body"]) for _, entry in stream.redis.xrange(results_key(0))]
    return sorted(bar["symbol"] for message in messages for bar in message["bars"])


def test_a_price_too_large_for_the_applications_column_is_refused_by_itself(stream, work):
    for name in ("open", "high", "low", "close"):
        execute(stream.servers, f"ALTER TABLE ohlcv_1min ALTER {name} TYPE numeric(10,4)")
    stream.send(("A", 10.0, 100), ("A", 5_000_000.0, 1), ("B", 20.0, 1), ("A", 999_999.0, 1))
    work(lambda: bars(stream.servers) == [("A", 10, 999_999, 101), ("B", 20, 20, 1)])
    ((_, reason, _, original),) = dead_letters(stream.servers)
    assert (reason, json.loads(original)["price"]) == ("price", 5_000_000.0)
    assert ledger(stream.servers) == {"ticks_in": 4, "applied": 3, "refused": 1}


def trigger(table, events, condition, how):
    """Return what makes a trigger of the application's that refuses rows."""
    return (
        f"CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {how}; END $$;"
        f" CREATE TRIGGER refuses BEFORE {events} ON {table} FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION refuse()"
    )


@pytest.mark.parametrize(
    "refusal",
    [
        "ALTER TABLE ohlcv_1min ADD CONSTRAINT not_this_one CHECK (symbol <> 'BAD')",
        trigger("ohlcv_1min", "INSERT", "NEW.symbol = 'BAD'", "RAISE EXCEPTION 'not_this_one'"),
    ],
)
def test_a_bar_that_the_database_refuses_does_not_stop_the_others(refusal, stream, work):
    execute(stream.servers, refusal)
    stream.send(("A", 10.0, 100), ("BAD", 5.0, 7), ("B", 20.0, 1), ("BAD", 6.0, 8))
    work(lambda: bars(stream.servers) == [("A", 10, 10, 100), ("B", 20, 20, 1)])
    ((producer, reason, detail, original),) = dead_letters(stream.servers)
    assert (producer, reason) == (LIVE.producer, "unstorable")
    assert "not_this_one" in detail
    assert json.loads(original) == {
        "symbol": "BAD", "timestamp": stream.minute_ns // 10**9, "open": 5.0, "high": 6.0, "low": 5.0, "close": 6.0,
        "volume": 15.0, "vwap": 83 / 15, "trade_count": 2, "revision": 0,
    }  # fmt: skip
    assert ledger(stream.servers) == {"ticks_in": 4, "applied": 2, "refused": 2}


def test_a_bar_that_the_database_refuses_is_not_told(stream, work):
    execute(stream.servers, "ALTER TABLE ohlcv_1min ADD CHECK (symbol <> 'BAD')")
    stream.send(("A", 10.0, 100), ("BAD", 5.0, 7))
    work(lambda: told_symbols(stream) == ["A"])


def test_a_symbol_whose_first_bar_was_refused_gets_its_next_one(stream, work):
    execute(stream.servers, "ALTER TABLE ohlcv_1min ADD CHECK (high < 1000)")
    stream.send(("A", 10.0, 100), ("NEW", 5000.0, 7))
    work(lambda: len(dead_letters(stream.servers)) == 1)
    stream.send(("NEW", 50.0, 7, 1))
    work(lambda: bars(stream.servers) == [("A", 10, 10, 100), ("NEW", 50, 50, 7)])


def test_a_symbol_that_somebody_deleted_is_registered_again(stream, work):
    stream.send(("A", 10.0, 100))
    work(lambda: bars(stream.servers) == [("A", 10, 10, 100)])
    execute(stream.servers, "DELETE FROM ohlcv_1min")
    execute(stream.servers, "DELETE FROM symbols")
    stream.send(("A", 11.0, 100, 1))
    work(lambda: bars(stream.servers) == [("A", 11, 11, 100)])


def test_a_volume_that_outgrows_its_column_refuses_only_its_bar(stream, work):
    stream.send(("A", 10.0, 9e13), ("A", 10.0, 9e13), ("B", 20.0, 1))
    work(lambda: bars(stream.servers) == [("B", 20, 20, 1)])
    ((_, reason, detail, _),) = dead_letters(stream.servers)
    assert (reason, detail.split("\n")[0]) == ("unstorable", "numeric field overflow")
    assert ledger(stream.servers) == {"ticks_in": 3, "applied": 1, "refused": 2}


def test_the_driver_says_nothing_of_its_own(tmp_path, tickstock, migrated_servers):
    file = tmp_path / "trades.csv"
    file.write_text(f"{HEADER}\nA,10,{NOON},{9 * 10**13}\nA,10,{NOON},{9 * 10**13}\nB,20,{NOON},1\n")
    ran = tickstock("replay", file, "--workers", "1", "--partitions", "1", servers=migrated_servers)
    assert {reason for _, reason, *_ in dead_letters(migrated_servers)} == {"unstorable"}
    assert "psycopg" not in ran.stderr  # such lines hold addresses, whatever --log-level is


def test_a_sum_of_bars_that_no_column_holds_costs_its_higher_bars_and_no_worker(tmp_path, tickstock, migrated_servers):
    file = tmp_path / "trades.csv"
    trades = [("A", 9e13, 0), ("A", 9e13, 1), ("A", 1, 6), ("B", 1, 0), ("B", 1, 6)]
    rows = [f"{symbol},10,{NOON + minute * 60 * 10**9},{size:.0f}" for symbol, size, minute in trades]
    file.write_text("\n".join([HEADER, *rows]) + "\n")
    ran = tickstock("replay", file, "--workers", "1", "--partitions", "1", servers=migrated_servers)
    assert ran.returncode == 0, ran.stderr
    letters = dead_letters(migrated_servers)
    assert {letter[:2] for letter in letters} == {("detector", "unstorable_finding")}
    five = "SELECT symbol, volume::float8 FROM ohlcv_5min ORDER BY symbol, timestamp"
    assert ("B", 1.0) in execute(migrated_servers, five)
    assert ("A", 1.8e14) not in execute(migrated_servers, five)
    assert len(bars(migrated_servers)) == 5
    assert ledger(migrated_servers) == {"ticks_in": 5, "applied": 5}


def falling_to_a_doji():
    """Make ten falling bars and a Doji at the low: (prices, minutes later)."""
    fall = [(tuple(round(p + 0.3 * back, 1) for p in (10.0, 10.5, 9.5, 10.4)), -back) for back in range(10, 0, -1)]
    return [*fall, ((10.0, 10.5, 9.0, 10.0), 0)]


REFUSING_A = trigger(
    "intraday_patterns", "INSERT", "NEW.symbol = 'A'", "RAISE EXCEPTION 'not this' USING ERRCODE = 'X1111'"
)


@pytest.mark.parametrize(
    "refusal",
    [
        "ALTER TABLE intraday_patterns ADD CHECK (symbol <> 'A')",
        REFUSING_A,
        # At COMMIT.
        REFUSING_A.replace("TRIGGER refuses BEFORE", "CONSTRAINT TRIGGER refuses AFTER").replace(
            "FOR EACH", "DEFERRABLE INITIALLY DEFERRED FOR EACH"
        ),
    ],
)
def test_a_pattern_that_the_database_refuses_leaves_bars_and_other_symbols(refusal, stream, work):
    execute(stream.servers, refusal)
    ends = falling_to_a_doji()
    stream.send(*((symbol, price, 100, later) for symbol in "AB" for bar, later in ends for price in bar))
    found = "SELECT DISTINCT symbol FROM intraday_patterns WHERE pattern_type = 'Doji' AND timeframe = '1min'"
    work(lambda: execute(stream.servers, found) == [("B",)] and len(bars(stream.servers)) == 22)
    assert {reason for _, reason, *_ in dead_letters(stream.servers)} == {"unstorable_finding"}


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE intraday_patterns DROP COLUMN levels",
        "ALTER TABLE intraday_patterns RENAME TO patterns_of_before",
        "ALTER TABLE intraday_indicators DROP COLUMN metadata",
        "ALTER TABLE intraday_indicators RENAME TO old; CREATE VIEW intraday_indicators AS SELECT DISTINCT * FROM old",
    ],
)
def test_a_table_of_findings_that_changes_in_the_middle_stops_no_bar(stream, work, change):
    stream.send(("B", 10.0, 100))
    work(lambda: len(bars(stream.servers)) == 1)
    execute(stream.servers, change)
    ends = falling_to_a_doji()
    stream.send(*(("A", price, 100, later) for bar, later in ends for price in bar))
    lost = "SELECT DISTINCT reason FROM dead_letter"
    work(lambda: len(bars(stream.servers)) == 12 and execute(stream.servers, lost) == [("unstorable_finding",)])
    assert ledger(stream.servers) == {"ticks_in": 45, "applied": 45}


def test_a_column_that_we_can_do_without_may_go_in_the_middle(stream, work):
    stream.send(("B", 10.0, 100))
    work(lambda: len(bars(stream.servers)) == 1)
    execute(stream.servers, "ALTER TABLE intraday_indicators DROP COLUMN value")
    stream.send(*(("A", price, 100, later) for bar, later in falling_to_a_doji() for price in bar))
    averages = "SELECT count(*) FROM intraday_indicators WHERE indicator_type = 'SMA_5' AND timeframe = '1min'"
    work(lambda: execute(stream.servers, averages) == [(7,)])
    assert dead_letters(stream.servers) == []


def test_a_former_finding_that_the_database_keeps_stops_nothing(stream, work):
    kept = "RAISE EXCEPTION 'kept'"
    execute(stream.servers, trigger("intraday_patterns", "UPDATE", "true", kept))
    execute(stream.servers, trigger("intraday_indicators", "DELETE", "true", kept).replace("refuse()", "keep()"))
    ends = falling_to_a_doji()
    stream.send(*((symbol, price, 100, later) for symbol in "AB" for bar, later in ends for price in bar))
    found = "SELECT DISTINCT symbol FROM intraday_patterns WHERE pattern_type = 'Doji' AND timeframe = '1min'"
    values = "SELECT count(*) FROM intraday_indicators WHERE indicator_type = 'SMA_5' AND timeframe = '1min'"
    work(lambda: len(execute(stream.servers, found)) == 2 and execute(stream.servers, values) == [(14,)])
    stream.send(("A", 14.0, 100), ("C", 10.0, 100))  # A's bar is no Doji any more
    lost = "SELECT count(*) FROM dead_letter WHERE detail = 'kept' AND reason = 'unstorable_finding'"
    waiting = "SELECT undetected FROM checkpoint"
    work(lambda: len(bars(stream.servers)) == 23 and execute(stream.servers, waiting) == [(0,)])
    assert execute(stream.servers, lost) > [(1,)]
    assert execute(stream.servers, values) == [(14,)]
    assert ledger(stream.servers) == {"ticks_in": 90, "applied": 90}


def test_a_stream_is_read_again_to_its_end_also_behind_the_largest_id_there_is(stream):
    stream.send(("A", 10.0, 100))
    stream.redis.xadd(stream_key(0), {"f": "x"}, id=f"{2**64 - 1}-{2**64 - 1}")
    (page,) = pages_of(stream.redis, 0, "-", "+")
    assert [body for _, body in page][1:] == [b"x"]


# -- servers -------------------------------------------------------------------------------------------------------


@pytest.fixture
def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def test_a_database_that_is_away_is_named_with_place_and_reason_and_waited_for(
    tickstock, migrated_servers, closed_port
):
    away = Servers(migrated_servers.redis_url, f"postgresql://me:secret@127.0.0.1:{closed_port}/bars")
    ran = tickstock("worker", "--connect-timeout-s", "0.5", servers=away)
    assert ran.returncode == 1
    waiting, error = ran.stderr.splitlines()
    assert "waiting for a server" in waiting
    for line in (waiting, error):
        assert f"PostgreSQL at 127.0.0.1:{closed_port}/bars: " in line
        assert "Connection refused" in line
    assert error.startswith("Error: ")
    assert "secret" not in ran.stderr


def test_a_redis_that_is_away_is_named_with_place_and_reason_and_waited_for(tickstock, migrated_servers, closed_port):
    away = Servers(f"redis://:secret@127.0.0.1:{closed_port}/0", migrated_servers.database_url)
    ran = tickstock("worker", "--connect-timeout-s", "0.5", servers=away)
    assert ran.returncode == 1
    waiting, error = ran.stderr.splitlines()
    assert "waiting for a server" in waiting
    for line in (waiting, error):
        assert f"Redis at 127.0.0.1:{closed_port}: " in line
        assert "Connection refused" in line
    assert "secret" not in ran.stderr


def test_a_server_that_comes_within_the_timeout_is_used(tickstock, migrated_servers, closed_port):
    there = urlsplit(migrated_servers.database_url)
    late = there._replace(netloc=f"{there.username}:{there.password}@127.0.0.1:{closed_port}").geturl()
    stop = threading.Event()
    forwarder = threading.Thread(target=forward_after_one_refusal, args=(closed_port, there, stop))
    forwarder.start()
    ran = tickstock("bars", "--format", "csv", servers=Servers(migrated_servers.redis_url, late))
    stop.set()
    forwarder.join()
    assert ran.stdout.splitlines() == ["symbol,timestamp,open,high,low,close,volume,trade_count,vwap,provenance"]
    assert ran.stderr.endswith("no bars\n")
    assert ran.stderr.count("waiting for a server") == 1


def forward_after_one_refusal(port, there, stop):
    """Listen on a port: hang up on the first caller, connect the next ones with the database."""
    with socket.create_server(("127.0.0.1", port)) as server:
        server.settimeout(0.05)
        pumps, callers = [], 0
        while not stop.is_set():
            try:
                caller, _ = server.accept()
            except TimeoutError:
                continue
            callers += 1
            if callers == 1:
                caller.close()
                continue
            onward = socket.create_connection((there.hostname, there.port))
            pumps += [threading.Thread(target=pump, args=pair) for pair in ((caller, onward), (onward, caller))]
            for thread in pumps[-2:]:
                thread.start()
        for thread in pumps:
            thread.join()


def pump(source, target):
    with source, target:
        try:
            while piece := source.recv(65_536):
                target.sendall(piece)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            return


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgres//me:secret@host/bars", "the database address cannot be read"),
        ("postgresql://me:secret@127.0.0.1:port/bars", "PostgreSQL at"),
        ("postgresql://me:secret@host/bars?sslmod=x", 'cannot be read (invalid URI query parameter: "sslmod")'),
        ("postgresql://host/bars?password=the&secret=1", "cannot be read: postgresql://"),
        ("postgresql://me:word@127.0.0.1/bars?sslmode=secrets", "invalid sslmode value"),
    ],
)
def test_a_database_address_that_cannot_be_read_is_refused_without_its_secrets(tickstock, migrated_servers, url, said):
    ran = tickstock("bars", "--connect-timeout-s", "0", servers=Servers(migrated_servers.redis_url, url))
    assert ran.returncode == 2
    assert said in ran.stderr
    assert "secret" not in ran.stderr.replace("secrets", "")


@pytest.mark.parametrize("url", ["http://:secret@host:6379", "redis://:secret/more@host:6379/0"])
def test_a_redis_address_that_cannot_be_read_is_refused_without_its_secrets(tickstock, migrated_servers, url):
    ran = tickstock("worker", servers=Servers(url, migrated_servers.database_url))
    assert ran.returncode == 2
    assert ran.stderr.startswith("Error: the Redis address cannot be read")
    assert "secret" not in ran.stderr


def test_a_wrong_password_is_refused_at_once(tickstock, migrated_servers):
    database = urlsplit(migrated_servers.database_url)
    if database.password is None:
        pytest.skip("TICKSTOCK_TEST_DATABASE_URL names a server that asks for no password")
    wrong = database._replace(netloc=f"{database.username}:wrong@{database.hostname}:{database.port}").geturl()
    ran = tickstock("bars", servers=Servers(migrated_servers.redis_url, wrong))
    assert ran.returncode == 1
    (line,) = ran.stderr.splitlines()
    assert "password authentication failed" in line


def test_a_redis_that_evicts_whole_streams_is_refused_with_what_to_do(tickstock, migrated_servers):
    with redis.Redis.from_url(migrated_servers.redis_url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        try:
            ran = tickstock("worker", servers=migrated_servers)
        finally:
            client.config_set("maxmemory-policy", "noeviction")
    assert ran.returncode == 1
    (line,) = ran.stderr.splitlines()
    assert "maxmemory-policy allkeys-lru" in line
    assert line.endswith("set `maxmemory-policy noeviction`")


@pytest.mark.parametrize("given", ["REDIS_URL", "DATABASE_URL"])
def test_only_one_of_the_two_servers_is_refused(tickstock, given):
    ran = tickstock("bars", **{given: "redis://x" if given == "REDIS_URL" else "postgresql://x"})
    assert ran.returncode == 2
    (line,) = ran.stderr.splitlines()
    assert line.startswith(f"Error: {given} is set but no ")


def test_no_server_at_all_is_refused_where_embedded_ones_are_not_wanted(tickstock):
    ran = tickstock("bars", "--embedded", "never")
    assert ran.returncode == 2
    assert ran.stderr == ("Error: no server is set: set REDIS_URL and DATABASE_URL, or leave out --embedded never\n")
