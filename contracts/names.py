"""Every Redis key, stream and group. The braces are the Redis Cluster hash tag: a partition's keys share a slot."""

from typing import Literal

FRONT_DOOR = "tickstock-stream"
GROUP = "tickstockpl-group"
DEAD_LETTERS = "tickstock-dlq"

RUNS = -1  # outbox partition of the runs' messages, which belong to no partition of ticks
JOBS = "tickstock-jobs"  # the stream that deals steps of runs; its group has the same name

REQUEUED = b"requeued"  # field of a front-door entry: its trades come from a dead letter and were never counted
FRONT_DOOR_PRODUCER = "front-door"
DETECTOR = "detector"  # the producer in dead letters of detections that cannot be stored
LIVE_FEED = "live"
MARKET_PRODUCERS = ("massive-", "channel-")  # name prefixes of the producers of real market data
MINUTE_FEED_ENDING = ".AM"  # no producer's own feed has this ending
REPAIR_FEED = "repair"  # minutes that a live feed missed, fetched later: they replace its bars


# The front door's own keys share its slot: scripts read and write them together (db/streams/door_stream.py).
DOOR_OWNER = f"tickstock-door:{{{FRONT_DOOR}}}:owner"  # epoch of the lease that allows rebuilding the front door
DOOR_NEXT = f"tickstock-door:{{{FRONT_DOOR}}}:next"  # the new stream while the front door is rebuilt
DOOR_ASIDE = f"tickstock-door:{{{FRONT_DOOR}}}:aside"  # entries with invalid ids, until they get new ones
DOOR_MOVING = f"tickstock-door:{{{FRONT_DOOR}}}:moving"  # the same, within one step


def is_front_door(producer: str) -> bool:
    """Tell whether a producer is a generation of the front door: its row numbers are the ids of the entries."""
    return producer == FRONT_DOOR_PRODUCER or producer.startswith(f"{FRONT_DOOR_PRODUCER}#")


def stream_key(partition: int) -> str:
    """Name the stream that carries the frames of a partition."""
    return f"tickstock-stream:{{p{partition}}}"


def flow_key(partition: int) -> str:
    """Name the hash with `sent:PRODUCER` = "number,sends" and `done:PRODUCER` = "number" of a partition."""
    return f"tickstock-stream:{{p{partition}}}:flow"


def renewal_keys(partition: int) -> tuple[str, str, str]:
    """Name the keys that give a partition's stream new ids: waiting entries, those of one step, the new stream."""
    key = stream_key(partition)
    return f"{key}:aside", f"{key}:moving", f"{key}:next"


def results_key(partition: int) -> str:
    """Name the stream of a partition's results, or of the runs; an entry's id is its outbox number."""
    return f"tickstock-results:{{{partition_name(partition)}}}"


def partition_name(partition: int) -> str:
    """Name a partition, or the runs, in a key or a message."""
    return "runs" if partition == RUNS else f"p{partition}"


def minute_feed(feed: str) -> str:
    """Name the feed of minute aggregates (Massive `AM`) that belongs to a feed of trades: the two are never mixed."""
    return f"{feed}{MINUTE_FEED_ENDING}"


# The bridge's own keys share a slot: one script reads and writes them all.
BRIDGE_GROUP = "tickstock-bridge"
BRIDGE_EPOCH = "tickstock-bridge:{bridge}:epoch"
HEARTBEAT = "tickstock:producer:heartbeat"
# The application shows us as offline after 30 s in one place and 60 s in another.
HEARTBEAT_KEPT_S = 120
# the application shows TickStockPL as connected only while this key exists
APPLICATION_HEARTBEAT = "tickstockpl:heartbeat"


def job_status_keys(job_id: str) -> tuple[str, str]:
    """Name the two keys that hold the state of a data load: versions of the application read different ones."""
    return f"tickstock.jobs.status:{job_id}", f"job:status:{job_id}"


def bridge_seq_key(epoch: int) -> str:
    """Name the hash with the number of messages per channel in one epoch of the bridge."""
    return f"tickstock-bridge:{{bridge}}:seq:{epoch}"


KeyType = Literal["stream", "hash", "string"]  # as Redis's TYPE names them

# Every key that belongs to no partition, and its type; the keys of the runs' results are named like a partition's.
SHARED_KEYS: dict[str, KeyType] = {
    FRONT_DOOR: "stream",
    DEAD_LETTERS: "stream",
    BRIDGE_EPOCH: "string",
    HEARTBEAT: "string",
    DOOR_OWNER: "string",
    DOOR_ASIDE: "stream",
    JOBS: "stream",
}

# The keys that the owner of the front door reads. A foreign value under its other keys is overwritten.
DOOR_KEYS: dict[str, KeyType] = {key: SHARED_KEYS[key] for key in (FRONT_DOOR, DOOR_OWNER, DOOR_ASIDE)}


def frame_keys(partition: int) -> dict[str, KeyType]:
    """Name the keys that carry a partition's frames, and their types."""
    return {stream_key(partition): "stream", flow_key(partition): "hash"}


def partition_keys(partition: int) -> dict[str, KeyType]:
    """Name every key of a partition that we read, and its type."""
    aside, _, _ = renewal_keys(partition)
    return frame_keys(partition) | results_keys(partition) | {aside: "stream"}


def results_keys(partition: int) -> dict[str, KeyType]:
    """Name the key of a partition's results, and its type."""
    return {results_key(partition): "stream"}


# The application publishes each tick in each of these families: reading two of them doubles every volume.
MONITORING_CONTROL = "tickstock:monitoring:control"  # requests of the application to the fleet
TICK_CHANNELS = ("tickstock.data.raw", "tickstock:market:ticks", "tickstock.all_ticks", "tickstock.ticks.*")

JOBS_DATA_LOAD = "tickstock.jobs.data_load"  # requests for data loads
JOBS_CONTROL = "tickstock.jobs.control"  # cancels of data loads
JOBS_BACKTEST = "tickstock.jobs.backtest"  # requests for backtests
JOBS_CANCEL = "tickstock.jobs.cancel"  # cancels of backtests
JOB_CHANNELS = (JOBS_DATA_LOAD, JOBS_CONTROL, JOBS_BACKTEST, JOBS_CANCEL)

# Requests of the application, and its connection tests.
COMMAND_CHANNELS = (
    *JOB_CHANNELS,
    "tickstock:monitoring:control",
    "tickstock.test.connectivity",
    "tickstock.health.check",
)
