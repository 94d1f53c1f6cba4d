"""Every Redis key, stream and group. The braces are the Redis Cluster hash tag: a partition's keys share a slot."""

from typing import Literal

FRONT_DOOR = "tickstock-stream"
GROUP = "tickstockpl-group"
DEAD_LETTERS = "tickstock-dlq"

RUNS = -1  # the partition that messages of runs have in the outbox: they belong to no partition of ticks
JOBS = "tickstock-jobs"  # the stream that deals steps of runs, and its group

REQUEUED = b"requeued"  # the field that says of a front-door entry: a dead letter, whose trades were never counted
FRONT_DOOR_PRODUCER = "front-door"
DETECTOR = "detector"  # the dead letters' producer of detections that cannot be stored
LIVE_FEED = "live"
MARKET_PRODUCERS = ("massive-", "channel-")  # how the names of those begin who bring the real market in
MINUTE_FEED_ENDING = ".AM"  # no feed of a producer's is called so
REPAIR_FEED = "repair"  # minutes that a live feed missed, fetched later: they replace what it wrote


# The front door's own keys share its slot: scripts read and write them together (db/streams/door_stream.py).
DOOR_OWNER = f"tickstock-door:{{{FRONT_DOOR}}}:owner"  # the epoch of the lease of who may rebuild it
DOOR_NEXT = f"tickstock-door:{{{FRONT_DOOR}}}:next"  # the stream that takes its place, while it is made
DOOR_ASIDE = f"tickstock-door:{{{FRONT_DOOR}}}:aside"  # entries whose ids are no numbers, until they have new ones
DOOR_MOVING = f"tickstock-door:{{{FRONT_DOOR}}}:moving"  # the same, within one step


def is_front_door(producer: str) -> bool:
    """Tell whether a producer numbers its rows by the ids of the front door's entries: of one of its generations."""
    return producer == FRONT_DOOR_PRODUCER or producer.startswith(f"{FRONT_DOOR_PRODUCER}#")


def stream_key(partition: int) -> str:
    """Name the stream that carries the frames of a partition."""
    return f"tickstock-stream:{{p{partition}}}"


def flow_key(partition: int) -> str:
    """Name the hash with `sent:PRODUCER` = "number,sends" and `done:PRODUCER` = "number" of a partition."""
    return f"tickstock-stream:{{p{partition}}}:flow"


def renewal_keys(partition: int) -> tuple[str, str, str]:
    """Name the keys through which a partition's stream gets new ids: what waits, what one step moves, what comes."""
    key = stream_key(partition)
    return f"{key}:aside", f"{key}:moving", f"{key}:next"


def results_key(partition: int) -> str:
    """Name the stream of a partition's results, or of the runs'; an entry's id is its outbox number."""
    return f"tickstock-results:{{{partition_name(partition)}}}"


def partition_name(partition: int) -> str:
    """Name a partition, or the runs, in a key or a message."""
    return "runs" if partition == RUNS else f"p{partition}"


def minute_feed(feed: str) -> str:
    """Name the feed of whole-minute aggregates (Massive `AM`) that came in with a feed: the two are never mixed."""
    return f"{feed}{MINUTE_FEED_ENDING}"


# The bridge's own keys share a slot: one script reads and writes them.
BRIDGE_GROUP = "tickstock-bridge"
BRIDGE_EPOCH = "tickstock-bridge:{bridge}:epoch"
HEARTBEAT = "tickstock:producer:heartbeat"
APPLICATION_HEARTBEAT = "tickstockpl:heartbeat"  # the application shows us as connected only while this key exists, too


def job_status_keys(job_id: str) -> tuple[str, str]:
    """Name the keys under which the state of a job is told: its readers differ."""
    return f"tickstock.jobs.status:{job_id}", f"job:status:{job_id}"


def bridge_seq_key(epoch: int) -> str:
    """Name the hash that counts, for each channel, the messages said in a bridge's epoch."""
    return f"tickstock-bridge:{{bridge}}:seq:{epoch}"


KeyType = Literal["stream", "hash", "string"]  # as TYPE names them

# Every key of ours that is no partition's, and what it holds; the runs' results are named as a partition's are.
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
    """Name the keys that a partition's frames go through, and what each holds."""
    return {stream_key(partition): "stream", flow_key(partition): "hash"}


def partition_keys(partition: int) -> dict[str, KeyType]:
    """Name every key of a partition that is read, and what each holds."""
    aside, _, _ = renewal_keys(partition)
    return frame_keys(partition) | results_keys(partition) | {aside: "stream"}


def results_keys(partition: int) -> dict[str, KeyType]:
    """Name the key that a partition's results go through, and what it holds."""
    return {results_key(partition): "stream"}


# The application publishes each tick in every one of these families: who reads two doubles every volume.
MONITORING_CONTROL = "tickstock:monitoring:control"  # what the application asks of the fleet
TICK_CHANNELS = ("tickstock.data.raw", "tickstock:market:ticks", "tickstock.all_ticks", "tickstock.ticks.*")

JOBS_DATA_LOAD = "tickstock.jobs.data_load"  # data loads that are asked for
JOBS_CONTROL = "tickstock.jobs.control"  # and their ends

# What the application asks us to do, and tries connections on.
COMMAND_CHANNELS = (
    JOBS_DATA_LOAD,
    JOBS_CONTROL,
    "tickstock.jobs.backtest",
    "tickstock.jobs.cancel",
    "tickstock:monitoring:control",
    "tickstock.test.connectivity",
    "tickstock.health.check",
)
