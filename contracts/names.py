"""Every Redis key, stream and group. The braces are the Redis Cluster hash tag: a partition's keys share a slot."""

FRONT_DOOR = "tickstock-stream"
GROUP = "tickstockpl-group"
DEAD_LETTERS = "tickstock-dlq"

FRONT_DOOR_PRODUCER = "front-door"
DETECTOR = "detector"  # the dead letters' producer of what was found and cannot be stored
LIVE_FEED = "live"
MARKET_PRODUCERS = ("massive-", "channel-")  # how the names of those begin who bring the real market in
REPAIR_FEED = "repair"  # minutes that a live feed missed, fetched later: they replace what it wrote


def stream_key(partition: int) -> str:
    """Name the stream that carries the frames of a partition."""
    return f"tickstock-stream:{{p{partition}}}"


def flow_key(partition: int) -> str:
    """Name the hash with `sent:PRODUCER` = "number,sends" and `done:PRODUCER` = "number" of a partition."""
    return f"tickstock-stream:{{p{partition}}}:flow"


def results_key(partition: int) -> str:
    """Name the stream of a partition's results; an entry's id is its outbox number."""
    return f"tickstock-results:{{p{partition}}}"


def minute_feed(feed: str) -> str:
    """Name the feed of whole-minute aggregates (Massive `AM`) that came in with a feed: the two are never mixed."""
    return f"{feed}.AM"


# The bridge's own keys share a slot: one script reads and writes them.
BRIDGE_GROUP = "tickstock-bridge"
BRIDGE_EPOCH = "tickstock-bridge:{bridge}:epoch"
HEARTBEAT = "tickstock:producer:heartbeat"
APPLICATION_HEARTBEAT = "tickstockpl:heartbeat"  # the application shows us as connected only while this key exists, too


def bridge_seq_key(epoch: int) -> str:
    """Name the hash that counts, for each channel, the messages said in a bridge's epoch."""
    return f"tickstock-bridge:{{bridge}}:seq:{epoch}"


# The application publishes each tick in every one of these families: who reads two doubles every volume.
MONITORING_CONTROL = "tickstock:monitoring:control"  # what the application asks of the fleet
TICK_CHANNELS = ("tickstock.data.raw", "tickstock:market:ticks", "tickstock.all_ticks", "tickstock.ticks.*")
