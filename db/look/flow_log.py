"""Both systems in the flow log: signs of life, the progress of patterns, and patterns that got stuck."""

import math
from datetime import datetime

from redis.exceptions import ResponseError

from ...contracts.fleet.fleet_look import CheckpointCount, Flows, Heartbeats, Integration, RecentFlow
from ...contracts.messages.channel_names import PATTERNS
from ...contracts.names import HEARTBEAT, HEARTBEAT_KEPT_S
from ..postgres import Connection
from ..queries import query
from ..redis import Client, is_foreign, masters

OURS = "TickStockPL"

_GRACE_S = 10.0  # for a step of the application; a flow normally ends within 100 ms
_ALIVE = ("PRODUCER_ALIVE", "SERVICE_STARTED")


def read_integration(
    connection: Connection, client: Client, *, at: datetime, window_s: float, latest: int
) -> Integration:
    """Read the flow log and the heartbeat. at: time of the reading; latest: number of flows to show."""
    values = {"window_s": window_s, "grace_s": _GRACE_S, "count": latest}
    checkpoints = [CheckpointCount(*row) for row in connection.execute(query("monitor_checkpoints"), values)]
    flows = Flows(*(connection.execute(query("monitor_flows"), values).fetchone() or ()))
    flow_ids = [flow_id for (flow_id,) in connection.execute(query("monitor_latest_flows"), values)]
    rows = connection.execute(query("monitor_flow_analyses"), {"flow_ids": flow_ids})
    return Integration(
        window_s=window_s,
        heartbeats=_heartbeats(client, checkpoints, at),
        flows=flows,
        checkpoints=checkpoints,
        latest=[RecentFlow(*row) for row in rows],
    )


def _heartbeats(client: Client, checkpoints: list[CheckpointCount], at: datetime) -> Heartbeats:
    ours = [c.last_s for c in checkpoints if c.source == OURS and c.checkpoint in _ALIVE]
    theirs = [c.last_s for c in checkpoints if c.source not in (OURS, "-")]
    return Heartbeats(
        key_s=_key_s(client, at),
        logged_s=min(ours, default=None),
        application_s=min(theirs, default=None),
        subscribers=sum(count for node in masters(client) for _, count in node.pubsub_numsub(PATTERNS)),
    )


def _key_s(client: Client, at: datetime) -> float | None:
    """Return the seconds since the last heartbeat; None: there is none.

    The key's remaining time tells them: its value is the time of the bridge's machine, whose clock may be wrong.
    """
    try:
        beat_s = float(client.get(HEARTBEAT) or "nan")
    except ValueError:  # another program wrote it: not our sign of life
        return None
    except ResponseError as e:
        if not is_foreign(e):
            raise
        return None
    if not math.isfinite(beat_s):
        return None
    left_ms = client.pttl(HEARTBEAT)  # negative: the key has no end, or it is gone meanwhile
    return max(0.0, HEARTBEAT_KEPT_S - left_ms / 1000 if left_ms > 0 else at.timestamp() - beat_s)
