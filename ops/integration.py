"""Both systems as the flow log shows them: their signs of life, how far patterns came, and which of them got stuck."""

import math
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from redis.exceptions import ResponseError

from ..contracts.channel_names import PATTERNS
from ..contracts.names import HEARTBEAT
from ..db.postgres import Connection
from ..db.queries import query
from ..db.redis import Client, is_foreign, masters, redis_ms

OURS = "TickStockPL"

_GRACE_S = 10.0  # for a step of the application; a flow is whole within 100 ms
_ALIVE = ("PRODUCER_ALIVE", "SERVICE_STARTED")


@dataclass(frozen=True, slots=True)
class CheckpointCount:
    """last_s: seconds since it was logged last."""

    source: str
    checkpoint: str
    count: int
    last_s: float


@dataclass(frozen=True, slots=True)
class Heartbeats:
    """Seconds since each sign of life; None: none, or none within the window.

    key_s: our key in Redis; logged_s: our row in the flow log, of a heartbeat or a start; application_s: whatever the
    application logged last. subscribers: connections on `tickstock.events.patterns`.
    """

    key_s: float | None
    logged_s: float | None
    application_s: float | None
    subscribers: int


@dataclass(frozen=True, slots=True)
class Flows:
    """Patterns published within the window. settled: those that have had 10 s for the application's steps.

    Orphans among those: never received; received and never parsed; parsed and delivered to nobody. Latencies in
    milliseconds since the publication; None where nothing came so far.
    """

    published: int
    received: int
    parsed: int
    delivered: int
    settled: int
    never_received: int
    never_parsed: int
    never_delivered: int
    received_ms_median: float | None
    received_ms_p95: float | None
    delivered_ms_median: float | None
    delivered_ms_p95: float | None


@dataclass(frozen=True, slots=True)
class RecentFlow:
    """A row of pattern_flow_analysis."""

    flow_id: UUID
    start_time: datetime
    symbol: str | None
    pattern: str | None
    confidence: float | None
    total_latency_ms: float | None
    users_notified: int | None
    checkpoints_logged: int
    flow_path: list[str | None]


@dataclass(frozen=True, slots=True)
class Integration:
    """window_s: how far back the log was read. checkpoints: of both systems. latest: the newest flow first."""

    window_s: float
    heartbeats: Heartbeats
    flows: Flows
    checkpoints: list[CheckpointCount]
    latest: list[RecentFlow]


def read_integration(connection: Connection, client: Client, *, window_s: float, latest: int) -> Integration:
    """Read the flow log and the heartbeat. latest: how many flows to show."""
    values = {"window_s": window_s, "grace_s": _GRACE_S, "count": latest}
    checkpoints = [CheckpointCount(*row) for row in connection.execute(query("monitor_checkpoints"), values)]
    flows = Flows(*(connection.execute(query("monitor_flows"), values).fetchone() or ()))
    flow_ids = [flow_id for (flow_id,) in connection.execute(query("monitor_latest_flows"), values)]
    rows = connection.execute(query("monitor_flow_analyses"), {"flow_ids": flow_ids})
    return Integration(
        window_s=window_s,
        heartbeats=_heartbeats(client, checkpoints),
        flows=flows,
        checkpoints=checkpoints,
        latest=[RecentFlow(*row) for row in rows],
    )


def _heartbeats(client: Client, checkpoints: list[CheckpointCount]) -> Heartbeats:
    ours = [c.last_s for c in checkpoints if c.source == OURS and c.checkpoint in _ALIVE]
    theirs = [c.last_s for c in checkpoints if c.source not in (OURS, "-")]
    return Heartbeats(
        key_s=_key_s(client),
        logged_s=min(ours, default=None),
        application_s=min(theirs, default=None),
        subscribers=sum(count for node in masters(client) for _, count in node.pubsub_numsub(PATTERNS)),
    )


def _key_s(client: Client) -> float | None:
    try:
        beat_s = float(client.get(HEARTBEAT) or "nan")
    except ValueError:  # somebody else wrote it: no sign of life of ours
        return None
    except ResponseError as e:
        if not is_foreign(e):
            raise
        return None
    return max(0.0, redis_ms(client) / 1000 - beat_s) if math.isfinite(beat_s) else None
