"""The gauges are a view of the look that the channels are judged by."""

import math
from dataclasses import replace
from datetime import UTC, date, datetime
from uuid import UUID

import pytest
from tickstockpl.contracts.fleet.fleet_look import (
    BridgeLook,
    FeedLook,
    FleetLook,
    ForeignKey,
    Freshness,
    FrontDoorLook,
    JobsLook,
    PartitionLook,
    RedisLook,
    RunLook,
    StreamLook,
    WorkerLook,
)
from tickstockpl.db import metrics
from tickstockpl.db.world import REAL
from tickstockpl.workers.bridge.fleet_gauges import FleetGauges

AT = datetime(2026, 1, 15, 15, tzinfo=UTC)
REDIS = RedisLook("Redis 7.0.15", 500, 1_000, "noeviction", aof=True)
KNOWN = PartitionLook(0, "w1", 1, 40, 2.5, "0-0", None, None, entries=7, results=3)
FOREIGN = PartitionLook(1, None, 1, 0, None, "0-0", None, None, entries=None, results=None)
RUNNING = WorkerLook("w1", True, False, [0], "h", 1, AT, AT, 1, 1, 0, 1, 0, 0)
LOOK = FleetLook(
    at=AT,
    redis_s=AT.timestamp(),
    fleet=StreamLook(
        stream="tickstock-stream",
        partitions_total=2,
        lag_ticks=40,
        lag_s=None,
        partitions=[KNOWN, FOREIGN],
        front_door=FrontDoorLook("0-0", 5, entries=6),
        workers=[RUNNING, replace(RUNNING, running=False)],
        replays=[],
        dead_letters={},
        redis=REDIS,
    ),
    redis_nodes=[REDIS, RedisLook("Redis 7.0.15", 900, None, "noeviction", aof=True)],
    unowned_s={},
    workers_silent_s=0.1,
    bridge=BridgeLook("b1", 1, 0.1, 0, 12, 1.0),
    producers=[],
    leases=[],
    feed=FeedLook(True, 0.5, 7, 0, 0, 300.0, 0, 4, 9),
    symbols=Freshness(70, 60, []),
    integration=None,
    foreign_keys=[ForeignKey("tickstock-dlq", "a list", "a stream")],
    dead_letter_entries=None,
    jobs=JobsLook(2, 60.0, 7, 3, RunLook(UUID(int=9), date(2026, 1, 15), "running", "patterns", 30.0, 4.0)),
)


def value(gauge, *labels):
    return (gauge.labels(*labels) if labels else gauge)._value.get()


@pytest.fixture
def gauges():
    gauges = FleetGauges(2, world=REAL)
    gauges.show()
    yield gauges
    gauges.hide()


def test_each_gauge_shows_what_the_look_says(gauges):
    gauges.take(LOOK, {"tickstock:errors": 2})
    assert value(metrics.PARTITIONS) == 2
    assert (value(metrics.WORKERS), value(metrics.PARTITIONS_WITHOUT_OWNER)) == (1, 1)
    assert (value(metrics.OUTBOX_ROWS), value(metrics.OPEN_GAPS), value(metrics.FOREIGN_KEYS)) == (12, 4, 1)
    assert (value(metrics.ACTIVE_SYMBOLS), value(metrics.STALE_SYMBOLS), value(metrics.MARKET_OPEN)) == (70, 60, 1)
    assert (value(metrics.REDIS_MEMORY), value(metrics.REDIS_MAX_MEMORY)) == (500, 1_000)
    assert value(metrics.FRONT_DOOR_ENTRIES) == 6
    assert value(metrics.CHANNEL_RECEIVERS, "tickstock:errors") == 2
    of_partition = (metrics.LAG_TICKS, metrics.LAG_SECONDS, metrics.STREAM_ENTRIES, metrics.RESULTS_ENTRIES)
    assert [value(gauge, 0) for gauge in of_partition] == [40, 2.5, 7, 3]
    assert (value(metrics.JOBS_PROCESSES), value(metrics.JOBS_WAITING_STEPS)) == (2, 7)
    assert (value(metrics.RUN_UNTOLD_MESSAGES), value(metrics.RUN_FAILED_SYMBOLS)) == (3, 0)
    assert (value(metrics.RUN_DURATION), value(metrics.RUN_STILL)) == (30, 4)
    assert [value(metrics.RUN_STATUS, status) for status in ("queued", "running", "failed")] == [0, 1, 0]
    assert gauges.now_s() == pytest.approx(AT.timestamp(), abs=60)


def test_what_is_not_known_is_no_number(gauges):
    gauges.take(LOOK, {})
    of_partition = (metrics.LAG_TICKS, metrics.LAG_SECONDS, metrics.STREAM_ENTRIES, metrics.RESULTS_ENTRIES)
    assert all(math.isnan(value(gauge, 1)) for gauge in of_partition)
    assert math.isnan(value(metrics.DEAD_LETTER_ENTRIES))
    gauges.take(replace(LOOK, jobs=JobsLook(waiting_steps=None)), {})
    assert math.isnan(value(metrics.JOBS_WAITING_STEPS))
    assert math.isnan(value(metrics.RUN_DURATION))
    gauges.forget()
    assert math.isnan(value(metrics.RUN_STATUS, "running"))
    assert math.isnan(value(metrics.WORKERS))
    assert math.isnan(value(metrics.LAG_TICKS, 0))
