"""What a live producer left behind in its spool: who sends it, when, and what counts as lost until then."""

import os
import shutil
from contextlib import closing, contextmanager
from threading import Event, Thread
from urllib.parse import urlsplit

import numpy as np
import redis
from tickstockpl.contracts.frames.maker import Identity, make_frame
from tickstockpl.contracts.gap_reasons import SPOOL_TOO_OLD
from tickstockpl.contracts.names import flow_key, stream_key
from tickstockpl.contracts.ticks import Ticks
from tickstockpl.db import lease as leases
from tickstockpl.db import postgres
from tickstockpl.db.redis import connect
from tickstockpl.producer.framer import Numbered
from tickstockpl.producer.spool.left_behind import SpoolTarget, send_left_behind
from tickstockpl.producer.spool.spool import Spool
from tickstockpl.producer.spool.spooled_writer import SpooledWriter

from .fleet import wait_for
from .proxy import proxy_to
from .test_spool import PARTITIONS, fleet, own_redis  # noqa: F401  # fixtures


def frames_of(producer, born_ms):
    """Make a frame of one tick for each birth."""
    identity = Identity(producer, "live", "live")
    for n, at_ms in enumerate(born_ms):
        ts, price = np.array([at_ms * 10**6], "<i8"), np.array([10.0])
        tick = Ticks(["A"], np.zeros(1, "<u2"), ts, price, np.array([100.0]))
        yield Numbered(0, n, n + 1, make_frame(identity, tick, "live", n, n + 1, at_ms))


def spool_of(producer, folder, born_ms):
    """Leave a spool with a frame for each birth, as a producer that was killed does."""
    with Spool(folder / producer, max_bytes=1 << 20) as spool:
        spool.append(frames_of(producer, born_ms))
    return folder / producer


def send(folder, servers, stop=None):
    """Send what was left behind; return the gaps that were told."""
    gaps = []
    target = SpoolTarget(servers.redis_url, servers.database_url, PARTITIONS, max_lag=1000)
    send_left_behind(folder, target, stop or Event(), lambda *gap: gaps.append(gap))
    return gaps


@contextmanager
def sending(folder, servers):
    """Send what was left behind in a thread of its own, until the block ends."""
    stop = Event()
    sender = Thread(target=send, args=(folder, servers, stop))
    sender.start()
    try:
        yield
    finally:
        stop.set()
        sender.join(60)


@contextmanager
def way_to(url):
    """Give a proxy to a server, and the URL that goes through it."""
    there = urlsplit(url)
    with proxy_to(there.hostname, there.port) as way:
        yield way, there._replace(netloc=f"{there.netloc.rpartition('@')[0]}@127.0.0.1:{way.port}").geturl()


def hold_name(servers, producer, length):
    """Let a producer hold its name for so long from now on; 0: it has died."""
    with postgres.connect(servers.database_url, name="test") as connection:
        leases.take(connection, f"producer:{producer}", producer)
        expiry = "UPDATE lease SET expires_at = clock_timestamp() + %s::interval WHERE unit = %s"
        connection.execute(expiry, (length, f"producer:{producer}"))


def test_what_was_given_up_of_a_dead_producer_counts_when_its_spool_is_sent(fleet, tmp_path):  # noqa: F811
    """Of five frames the stream has lost the second and the fourth; both holes are given up before somebody sends."""
    fleet.start_worker("w1", "--missing-frames-wait-s", "1")
    folder = spool_of("synthetic-dead", tmp_path / "spool", born_ms=[int(fleet.redis.time()[0]) * 1000] * 5)
    hold_name(fleet.servers, "synthetic-dead", "0")
    with Spool(folder, max_bytes=1 << 20) as spool:
        frames = spool.read(10)
    for frame in (frames[0], frames[2], frames[4]):
        fleet.redis.xadd(stream_key(0), {"f": frame.body})
    counted = "SELECT ticks_in, lost FROM ledger WHERE producer = 'synthetic-dead' AND partition = 0"
    wait_for(lambda: fleet.rows(counted) == [(5, 2)], 60, lambda: f"{fleet.rows(counted)}\n{fleet.logs()}")
    with sending(folder.parent, fleet.servers):
        wait_for(lambda: not folder.exists(), 60, fleet.logs)
    assert fleet.rows(counted) == [(5, 0)]


def test_what_was_given_up_of_a_living_producer_counts_when_its_spool_is_sent(fleet, tmp_path):  # noqa: F811
    """The stream loses the second of three frames; a worker gives it up while the producer does not reach Redis."""
    name, done = "synthetic-alive", dict.fromkeys(range(PARTITIONS), 0)
    counted = f"SELECT ticks_in, lost FROM ledger WHERE producer = '{name}' AND partition = 0"
    hold_name(fleet.servers, name, "1 hour")
    with (
        way_to(fleet.servers.redis_url) as (way, url),
        closing(connect(url)) as client,
        Spool(tmp_path / "spool", max_bytes=1 << 20) as spool,
    ):
        writer = SpooledWriter(client, name, done=done, wait=Event().wait, max_lag=1000, spool=spool)

        def poll_until(condition):
            wait_for(lambda: writer.poll_if_due(every_s=0.0) or condition(), 60, fleet.logs)

        writer.write(frames_of(name, [int(fleet.redis.time()[0]) * 1000] * 3))
        poll_until(lambda: writer.is_sent)
        way.refuse()
        poll_until(lambda: not writer.is_sent)
        fleet.redis.xdel(stream_key(0), fleet.redis.xrange(stream_key(0))[1][0])
        fleet.start_worker("w1", "--hole-wait", "1")
        wait_for(lambda: fleet.rows(counted) == [(3, 1)], 60, fleet.logs)
        way.accept()
        poll_until(lambda: fleet.rows(counted) == [(3, 0)])
        poll_until(lambda: writer.is_drained)


def test_frames_below_done_are_sent_again_where_redis_forgets_them_at_once(fleet, tmp_path):  # noqa: F811
    """Their numbers were given up, so `done` is above them; a Redis that is killed forgets its last second."""
    folder = spool_of("synthetic-dead", tmp_path / "spool", born_ms=[1_000, 1_000])
    fleet.redis.hset(flow_key(0), "done:synthetic-dead", 2)
    done = dict.fromkeys(range(PARTITIONS), 0)
    with Spool(folder, max_bytes=1 << 20) as spool, closing(connect(fleet.servers.redis_url)) as client:
        how = {"done": done, "wait": Event().wait, "max_lag": 1000, "spool": spool}
        writer = SpooledWriter(client, "synthetic-dead", **how)

        def has_sent():
            writer.poll_if_due(every_s=0.0)
            return fleet.redis.xlen(stream_key(0)) == 2 and writer.is_sent

        wait_for(has_sent, 60, "both frames")
        for _ in range(3):
            writer.poll_if_due(every_s=0.0)
        fleet.redis.delete(stream_key(0))
        fleet.redis.hdel(flow_key(0), "sent:synthetic-dead")
        wait_for(has_sent, 60, "both frames once more")
        wait_for(lambda: writer.poll_if_due(every_s=0.0) or writer.is_drained, 60, "the end of what is owed")


def test_what_a_killed_sender_had_told_the_end_of_is_not_ended_again(fleet, tmp_path):  # noqa: F811
    """Two have sent a dead producer's frames and its end before, and were killed while they waited for the commit."""
    fleet.start_worker("w1")
    folder = spool_of("synthetic-dead", tmp_path / "spool", born_ms=[1_000])
    identity = Identity("synthetic-dead", "live", "live")
    with Spool(folder, max_bytes=1 << 20) as spool:
        spool.append([Numbered(0, 1, 2, make_frame(identity, Ticks.empty(), "end", 1, 2, 2_000))])
    hold_name(fleet.servers, "synthetic-dead", "0")
    copy = shutil.copytree(folder, tmp_path / "copy")
    for _ in range(2):
        with sending(folder.parent, fleet.servers):
            wait_for(lambda: not folder.exists(), 60, fleet.logs)
        shutil.copytree(copy, folder)
    rows = fleet.rows(
        "SELECT last_number, ticks_in, ended FROM ledger WHERE producer = 'synthetic-dead' AND partition = 0"
    )
    assert rows == [(2, 1, True)]


def test_a_partition_that_is_always_busy_keeps_no_hole_of_another_one_open(fleet):  # noqa: F811
    """The worker reads one frame of a partition in a turn, and in one of them more come than it reads."""
    identity = Identity("synthetic-gone", "live", "live")
    born_ms = int(fleet.redis.time()[0]) * 1000
    ts = np.array([born_ms * 10**6], "<i8")
    tick, busy = (Ticks([symbol], np.zeros(1, "<u2"), ts, np.array([10.0]), np.array([100.0])) for symbol in "EA")
    behind = make_frame(identity, tick, "live", 1, 2, born_ms)
    again = make_frame(Identity("synthetic-busy", "live", "live"), busy, "live", 0, 1, born_ms)
    stop = Event()

    def keep_busy():
        while not stop.is_set():
            with fleet.redis.pipeline(transaction=False) as pipeline:
                for _ in range(100):
                    pipeline.xadd(stream_key(3), {"f": again})
                pipeline.execute()

    sender = Thread(target=keep_busy)
    sender.start()
    try:
        fleet.start_worker("w1", "--missing-frames-wait-s", "1", "--read-count", "1")
        wait_for(lambda: fleet.owners() == {"w1": PARTITIONS}, 60, fleet.logs)
        fleet.redis.xadd(stream_key(2), {"f": behind})
        lost = "SELECT ticks_in, lost FROM ledger WHERE producer = 'synthetic-gone'"
        wait_for(lambda: fleet.rows(lost) == [(2, 1)], 60, lambda: f"{fleet.rows(lost)}\n{fleet.logs()}")
    finally:
        stop.set()
        sender.join(60)


def test_a_spool_that_has_to_wait_keeps_no_other_one_waiting(fleet, tmp_path):  # noqa: F811
    """Somebody seems to hold the name of the first one still; the other is committed meanwhile."""
    fleet.start_worker("w1")
    born_ms = [int(fleet.redis.time()[0]) * 1000]
    waits, goes = (spool_of(f"synthetic-{name}", tmp_path / "spool", born_ms) for name in ("a", "b"))
    hold_name(fleet.servers, waits.name, "1 hour")
    hold_name(fleet.servers, goes.name, "0")
    with sending(waits.parent, fleet.servers):
        wait_for(lambda: not goes.exists(), 60, fleet.logs)
    assert waits.exists()


def test_a_spool_whose_numbers_are_forgotten_is_not_sent_but_is_a_gap(migrated_servers, tmp_path):
    folder = spool_of("synthetic-old", tmp_path, born_ms=[2_000, 1_000, 3_000])
    with postgres.connect(migrated_servers.database_url, name="test") as connection:
        leases.take(connection, "producer:synthetic-old", "synthetic-old")
        connection.execute("UPDATE lease SET renewed_at = renewed_at - interval '23 hours 1 minute'")
    assert send(tmp_path, migrated_servers) == [(1_000, 3_000, None, SPOOL_TOO_OLD)]
    assert not folder.exists()
    with redis.Redis.from_url(migrated_servers.redis_url) as client:
        assert client.keys("tickstock-stream*") == []


def test_a_spool_without_a_whole_frame_is_deleted(migrated_servers, tmp_path):
    folder = spool_of("synthetic-torn", tmp_path, born_ms=[1_000])
    os.truncate(folder / "00000001.frames", 20)
    with postgres.connect(migrated_servers.database_url, name="test") as connection:
        leases.take(connection, "producer:synthetic-torn", "synthetic-torn")
    assert send(tmp_path, migrated_servers) == []
    assert not folder.exists()


def test_a_spool_that_a_process_uses_is_not_touched(migrated_servers, tmp_path):
    folder = spool_of("synthetic-alive", tmp_path, born_ms=[1_000])
    with Spool(folder, max_bytes=1):
        assert send(tmp_path, migrated_servers) == []
    assert (folder / "00000001.frames").exists()
