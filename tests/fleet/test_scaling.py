"""A live feed while workers come and go: nothing is applied twice or missed."""

import polars as pl
import pytest
from tickstockpl.contracts.lease import Lease
from tickstockpl.contracts.partition import Position
from tickstockpl.workers.partition.partition_state import Held, PartitionState
from tickstockpl.workers.partition.tick_check import Limits

from .fleet import assert_same_bars, fleet_on, recount, wait_for

PARTITIONS = 16


def share(fleet):
    """Return how many partitions each worker holds, sorted."""
    return sorted(fleet.owners().values())


def open_trades(fleet):
    """Count the ticks in the bars that are still open in the checkpoints."""
    trades = 0
    for partition, position, saved in fleet.rows("SELECT partition, position, state FROM checkpoint"):
        held = Held(partition, Lease("", 0), 0)
        state = PartitionState(held, position=Position.parse(position), limits=Limits(0, 0, 0.0, 0.0, 0.0))
        state.load(saved)
        trades += sum(int(feed.bars["trades"].sum()) for feed in state.feeds.values())
    return trades


@pytest.fixture
def fleet(migrated_servers, tmp_path):
    with fleet_on(migrated_servers, tmp_path, partitions=PARTITIONS) as fleet:
        yield fleet


def test_scaling_a_live_feed_from_one_to_four_to_two_workers_loses_and_repeats_nothing(fleet, tmp_path):
    record = tmp_path / "record.csv"
    market = ("--source", "synthetic", "--speed", "1x", "--rate", "200", "--zero-share", "0.01", "--record", record)
    fleet.start_worker("w1")
    wait_for(lambda: share(fleet) == [16], 90, "one worker to own all")
    fleet.start("feed", "producer", *market)
    for name in ("w2", "w3", "w4"):
        fleet.start_worker(name)
    wait_for(lambda: share(fleet) == [4, 4, 4, 4], 90, "four workers to share")
    # A minute that began after the producer's start is closed by the clock at its end + 500 ms.
    wait_for(lambda: len(fleet.bars()), 90, "a closed minute")
    assert [fleet.stop("w1"), fleet.stop("w3")] == [0, 0], fleet.logs()
    wait_for(lambda: share(fleet) == [8, 8], 90, "two workers to share")
    assert fleet.stop("feed") == 0, fleet.logs()
    # Each partition's last owner has noted how long nobody had it, once it had read up to the stream's end.
    unknown = "SELECT 1 FROM lease WHERE starts_with(unit, 'partition:') AND pause_s IS NULL"
    wait_for(lambda: not fleet.rows(unknown), 90, fleet.logs)
    assert [fleet.stop("w2"), fleet.stop("w4")] == [0, 0], fleet.logs()

    ticks = pl.read_csv(record)
    [row] = fleet.ledger()
    assert row.gap == 0
    assert row.ticks_in == len(ticks)
    assert row.applied == len(ticks.filter(pl.col("size") > 0))
    assert row.quote_or_zero == len(ticks.filter(pl.col("size") == 0))
    bars = fleet.bars()
    assert sum(trade_count for *_, trade_count, _ in bars.values()) + open_trades(fleet) == row.applied
    recounted = recount(record)
    last_minute = max(minute for _, minute in bars)
    closed = {key: values for key, values in recounted.items() if key[1] <= last_minute}
    assert_same_bars({key: bars[key] for key in closed}, closed)


def test_second_worker_of_a_name_is_refused(fleet):
    fleet.start_worker("w1")
    wait_for(lambda: fleet.has_joined("w1"), 90, "the first worker's start")
    second = fleet.start("second", "worker", "--consumer", "w1")
    assert second.wait(60) == 1
    error = fleet.log_file("second").read_text().splitlines()[-1]
    assert error.startswith("Error: a worker named w1 runs already: start this one with another --consumer")
    assert fleet.processes["w1"].poll() is None


def test_worker_stops_while_it_waits_for_its_name(fleet):
    fleet.start_worker("w1")
    wait_for(lambda: fleet.has_joined("w1"), 90, "the first worker's start")
    fleet.start("second", "worker", "--consumer", "w1")
    wait_for(lambda: "waiting for the name" in fleet.log_file("second").read_text(), 90, "the second one's wait")
    assert fleet.stop("second") == 0
