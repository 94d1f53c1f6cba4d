"""A live feed whose Redis and whose producer are killed, or whose Redis is full: what was taken from it is in the bars.

What a producer took stands in its --record file, written before the ticks are framed; a killed one's last batch may be
there without having been framed.
"""

import re
import shutil
import signal
from zlib import crc32

import polars as pl
import pytest
from tickstockpl.contracts.frames.frame import decode
from tickstockpl.contracts.frames.maker import Identity
from tickstockpl.contracts.names import stream_key
from tickstockpl.contracts.settings import Servers
from tickstockpl.ops.embedded.folder import ServerRecord
from tickstockpl.ops.embedded.server_processes import Valkey
from tickstockpl.producer.framer import Framer

from .fleet import assert_same_bars, fleet_on, recount, wait_for

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


def noted_spool(fleet):
    """Return the bytes that the producer has recorded for `tickstock status`."""
    [(noted,)] = fleet.rows("SELECT spool_bytes FROM lease WHERE starts_with(unit, 'producer:')")
    return noted


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
    wait_for(lambda: noted_spool(fleet), 90, fleet.logs)
    fleet.redis.config_set("maxmemory", 0)
    taken = len(recorded(fleet, "producer"))
    wait_for(lambda: len(recorded(fleet, "producer")) > taken, 90, fleet.logs)  # there is room again
    assert fleet.stop("producer") == 0, fleet.logs()
    assert_exact(fleet, recorded_rows(fleet, "producer"))
    assert_order_was_kept(fleet)
    assert spool_files(fleet) == []
    assert noted_spool(fleet) == 0
    dropped = re.findall(rb"spool full: ticks dropped.*?ticks=(\d+)", fleet.log_file("producer").read_bytes())
    assert (sum(map(int, dropped)) > 0) == is_small  # before they got a number: the ledger has no hole
