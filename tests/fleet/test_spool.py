"""A live feed whose Redis and whose producer are killed, or whose Redis is full: what was taken from it is in the bars.

What a producer took stands in its --record file, written before the ticks are framed; a killed one's last batch may be
there without having been framed.
"""

import os
import re
import shutil
import signal
from contextlib import closing, contextmanager
from threading import Event, Thread
from urllib.parse import urlsplit
from zlib import crc32

import numpy as np
import polars as pl
import pytest
import redis
from tickstockpl.contracts.frames.frame import decode
from tickstockpl.contracts.frames.maker import Identity, make_frame
from tickstockpl.contracts.gap_reasons import SPOOL_TOO_OLD
from tickstockpl.contracts.names import flow_key, stream_key
from tickstockpl.contracts.settings import Servers
from tickstockpl.contracts.ticks import Ticks
from tickstockpl.db import lease as leases
from tickstockpl.db import postgres
from tickstockpl.db.redis import connect
from tickstockpl.ops.embedded.folder import ServerRecord
from tickstockpl.ops.embedded.server_processes import Valkey
from tickstockpl.producer.framer import Framer, Numbered
from tickstockpl.producer.spool.left_behind import SpoolTarget, send_left_behind
from tickstockpl.producer.spool.spool import Spool
from tickstockpl.producer.spool.spooled_writer import SpooledWriter

from .fleet import assert_same_bars, fleet_on, recount, wait_for
from .proxy import proxy_to

PARTITIONS = 4


class OwnRedis:
    """A Redis of one test, with its AOF: it comes back at the same address, with or without what it had."""

    def __init__(self, folder):
        self._folder = folder
        self._server = Valkey(folder, ServerRecord())
        self._server.take_port()
        self.start()
        self.url = f"redis://:{self._server.record.password}@127.0.0.1:{self._server.record.port}/0"

    def start(self):
        self._server.start()
        self._server.wait_until_ready()

    def forget(self):
        """Lose everything, as a replica does that takes over before it has received a thing."""
        shutil.rmtree(self._folder / "valkey")

    def kill(self):
        self._server.send(signal.SIGKILL)
        assert self._server.has_ended(60)


@pytest.fixture
def own_redis(tmp_path):
    server = OwnRedis(tmp_path)
    yield server
    server.kill()


@pytest.fixture
def fleet(own_redis, migrated_servers, tmp_path):
    with fleet_on(Servers(own_redis.url, migrated_servers.database_url), tmp_path, partitions=PARTITIONS) as started:
        yield started


def start_producer(fleet, name, *options, rate):
    fleet.start(
        name, "producer", "--source", "synthetic", "--rate", rate, "--record", fleet.folder / f"{name}.csv",
        "--spool-dir", fleet.folder / "spool", *options,
    )  # fmt: skip


def recorded(fleet, name):
    """Read the whole rows that a producer took: a killed one's last may be torn."""
    file = fleet.folder / f"{name}.csv"
    if not file.exists():
        return b""
    return file.read_bytes().rpartition(b"\n")[0] + b"\n"


def recorded_rows(fleet, name):
    return pl.read_csv(recorded(fleet, name), schema_overrides={"price": pl.Float64, "size": pl.Float64})


def spool_files(fleet):
    return sorted((fleet.folder / "spool").glob("synthetic-*/*.frames"))


def spool_size(fleet):
    return sum(file.stat().st_size for file in spool_files(fleet))


def rows_safe_on_disk(fleet, name):
    """Return a number of recorded rows that are certainly in the spool, of a producer whose Redis is away.

    Each batch is recorded first, then written to the spool: when the spool has grown and the record has grown after
    that, the batch that was seen half recorded is in the spool.
    """
    rows = recorded(fleet, name).count(b"\n") - 1
    size = spool_size(fleet)
    wait_for(lambda: spool_size(fleet) > size, 90, "the spool to grow")
    length = len(recorded(fleet, name))
    wait_for(lambda: len(recorded(fleet, name)) > length, 90, "the record to grow")
    return rows


def applied(fleet):
    return sum(row.ticks_in for row in fleet.ledger())


def framed_rows(fleet, name, producer):
    """Return the recorded rows that a producer has framed: of each partition the first, as many as the ledger says."""
    rows = recorded_rows(fleet, name)
    home = rows["ticker"].map_elements(lambda symbol: crc32(symbol.encode()) % PARTITIONS, return_dtype=pl.Int64)
    counts = dict(fleet.rows("SELECT partition, ticks_in FROM ledger WHERE producer = %s", producer))
    rows = rows.with_columns(home=home).with_row_index("at")
    kept = [rows.filter(pl.col("home") == p).head(count) for p, count in counts.items()]
    return pl.concat(kept).sort("at").drop("home", "at")


def close_the_last_minute(fleet):
    """Let the feed's clock, which is Redis's, run two minutes ahead by a frame whose entry id says so."""
    seconds, _ = fleet.redis.time()
    later_ms = (seconds + 120) * 1000
    for frame in Framer(Identity("closer", "live", "live"), PARTITIONS, now_ms=lambda: later_ms).end():
        fleet.redis.xadd(stream_key(frame.partition), {"f": frame.body}, id=f"{later_ms}-0")
    closed = "SELECT coalesce(sum(trade_count), 0)::bigint FROM ohlcv_1min"
    wait_for(lambda: fleet.rows(closed)[0][0] >= applied(fleet), 90, fleet.logs)


def assert_exact(fleet, rows):
    """Compare the bars with a recount of these rows, and see that no number was lost on the way."""
    close_the_last_minute(fleet)
    rows.write_csv(fleet.folder / "all.csv")
    assert_same_bars(fleet.bars(), recount(fleet.folder / "all.csv"))
    ledger = fleet.ledger()
    assert [(row.lost, row.gap) for row in ledger] == [(0, 0)] * len(ledger)
    assert applied(fleet) == len(rows)


def assert_order_was_kept(fleet):
    """See in the streams that no frame of a producer stood ahead of a hole, and that each was made only once."""
    for p in range(PARTITIONS):
        reached, bodies = {}, {}
        for _, entry in fleet.redis.xrange(stream_key(p)):
            frame = decode(entry[b"f"])
            before = reached.setdefault(frame.producer, frame.previous)  # what was committed may be gone
            assert frame.previous <= before
            reached[frame.producer] = max(frame.last, before)
            assert bodies.setdefault((frame.producer, frame.last), entry[b"f"]) == entry[b"f"]


def survive_kills(fleet, own_redis, *, rate, ticks_away, seconds_after, redis_forgets=False, redis_back_first=False):
    """Kill Redis under a live feed, and the producer too; look at every bar in the end."""
    fleet.start_worker("w1")
    start_producer(fleet, "first", rate=rate)
    wait_for(lambda: applied(fleet) > rate / 2, 90, fleet.logs)
    own_redis.kill()
    if redis_forgets:
        own_redis.forget()
    rows = recorded(fleet, "first").count(b"\n")
    wait_for(lambda: recorded(fleet, "first").count(b"\n") > rows + ticks_away, 90, fleet.logs)
    safe = rows_safe_on_disk(fleet, "first")
    (producer,) = {file.parent.name for file in spool_files(fleet)}
    if redis_back_first:  # it sends what waited when it is killed
        own_redis.start()
        before = applied(fleet)
        wait_for(lambda: applied(fleet) > before, 90, fleet.logs)
        fleet.kill("first")
    else:
        fleet.kill("first")
        own_redis.start()
    fleet.end_leases_of(producer)
    start_producer(fleet, "second", "--seconds", seconds_after, rate=rate)
    assert fleet.exit_code("second", 120) == 0, fleet.logs()
    first = framed_rows(fleet, "first", producer)
    assert len(first) >= safe
    assert spool_files(fleet) == []
    assert_order_was_kept(fleet)
    assert_exact(fleet, pl.concat([first, recorded_rows(fleet, "second")]))


def test_nothing_is_lost_when_redis_and_the_producer_are_killed(fleet, own_redis):
    stranger = fleet.folder / "spool" / "of-another-database" / "00000001.frames"
    stranger.parent.mkdir(parents=True)
    stranger.write_bytes(b"frames")
    survive_kills(fleet, own_redis, rate=5000, ticks_away=2000, seconds_after=0.5, redis_forgets=True)
    assert stranger.read_bytes() == b"frames"


@pytest.mark.slow
@pytest.mark.parametrize("redis_back_first", [False, True])
def test_half_a_minute_without_redis_at_50_000_ticks_a_second(fleet, own_redis, redis_back_first):
    survive_kills(
        # At its opening the synthetic market is 1.8 times as quick as over the day.
        fleet,
        own_redis,
        rate=50_000,
        ticks_away=2_700_000,
        seconds_after=10,
        redis_back_first=redis_back_first,
    )


@pytest.mark.parametrize("spool_bytes", [pytest.param(1 << 30, marks=pytest.mark.slow), 300_000])
def test_live_feed_goes_on_while_redis_is_out_of_memory(fleet, spool_bytes):
    is_small = spool_bytes == 300_000
    fleet.start_worker("w1")
    start_producer(fleet, "producer", "--codec", "none", "--spool-max-bytes", spool_bytes, rate=5000)
    wait_for(lambda: applied(fleet) > 1000, 90, fleet.logs)
    fleet.redis.config_set("maxmemory", 1)  # every write is refused from here on
    rows = recorded(fleet, "producer").count(b"\n")
    if is_small:
        wait_for(lambda: spool_size(fleet) >= spool_bytes, 90)
    else:
        wait_for(lambda: recorded(fleet, "producer").count(b"\n") > rows + 3000, 90)
    fleet.redis.config_set("maxmemory", 0)
    taken = len(recorded(fleet, "producer"))
    wait_for(lambda: len(recorded(fleet, "producer")) > taken, 90, fleet.logs)  # there is room again
    assert fleet.stop("producer") == 0, fleet.logs()
    assert_exact(fleet, recorded_rows(fleet, "producer"))
    assert_order_was_kept(fleet)
    assert spool_files(fleet) == []
    dropped = re.findall(rb"spool full: ticks dropped.*?ticks=(\d+)", fleet.log_file("producer").read_bytes())
    assert (sum(map(int, dropped)) > 0) == is_small  # before they got a number: the ledger has no hole


# -- what is found and not sent ----------------------------------------------------------------------------------------


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


def test_what_was_given_up_of_a_dead_producer_counts_when_its_spool_is_sent(fleet, tmp_path):
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


def test_what_was_given_up_of_a_living_producer_counts_when_its_spool_is_sent(fleet, tmp_path):
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


def test_frames_below_done_are_sent_again_where_redis_forgets_them_at_once(fleet, tmp_path):
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


def test_what_a_killed_sender_had_told_the_end_of_is_not_ended_again(fleet, tmp_path):
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


def test_a_partition_that_is_always_busy_keeps_no_hole_of_another_one_open(fleet):
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


def test_a_spool_that_has_to_wait_keeps_no_other_one_waiting(fleet, tmp_path):
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
