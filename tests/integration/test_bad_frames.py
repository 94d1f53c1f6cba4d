"""What comes through a partition's stream and is no frame, or out of order, or missing: no worker stops."""

import json
import os
import threading
from contextlib import closing
from dataclasses import replace
from zlib import crc32

import psycopg
import pytest
from tickstockpl.contracts.frames.frame import FIELD, decode, encode
from tickstockpl.contracts.frames.maker import make_frame
from tickstockpl.contracts.names import DEAD_LETTERS, FRONT_DOOR, flow_key, stream_key
from tickstockpl.contracts.ticks import Ticks
from tickstockpl.db import postgres
from tickstockpl.db.metrics import HOLES
from tickstockpl.db.queries import query
from tickstockpl.ops.wiring.servers import Place
from tickstockpl.ops.wiring.worker import make_worker
from tickstockpl.workers import lookout, upkeep
from tickstockpl.workers.commit import teller
from tickstockpl.workers.partition import frame_intake
from tickstockpl.workers.partition_reader import pages_of
from tickstockpl.workers.worker_options import WorkerOptions

from .one_stream import LIVE, REPLAY, bars, dead_letters, execute, ledger


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


def test_a_stream_is_read_again_to_its_end_also_behind_the_largest_id_there_is(stream):
    stream.send(("A", 10.0, 100))
    stream.redis.xadd(stream_key(0), {"f": "x"}, id=f"{2**64 - 1}-{2**64 - 1}")
    (page,) = pages_of(stream.redis, 0, "-", "+")
    assert [body for _, body in page][1:] == [b"x"]
