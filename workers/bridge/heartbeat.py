"""The fleet's heartbeat: keys in Redis that the application reads, and rows in the flow log."""

import json
from datetime import datetime
from uuid import UUID

from ...contracts.names import APPLICATION_HEARTBEAT, HEARTBEAT, HEARTBEAT_KEPT_S
from ...db.postgres import Connection
from ...db.queries import query
from ...db.redis import Client


def beat(client: Client, at: datetime) -> None:
    """Set both keys to Unix seconds. Raises Redis's errors."""
    for key in (HEARTBEAT, APPLICATION_HEARTBEAT):
        client.set(key, str(at.timestamp()), ex=HEARTBEAT_KEPT_S)


def log_alive(
    connection: Connection, flow_id: UUID, *, patterns: int, uptime_s: float, last_pattern_at: datetime | None
) -> None:
    """Log a heartbeat row, under a new flow_id.

    patterns: published since this bridge became active; last_pattern_at: None before the first.
    """
    details: dict[str, object] = {
        "patterns_detected": patterns,
        "uptime_seconds": int(uptime_s),
        "last_pattern_time": last_pattern_at.timestamp() if last_pattern_at else None,
    }
    _log(connection, flow_id, "heartbeat", "PRODUCER_ALIVE", details)


def log_startup(connection: Connection, flow_id: UUID, *, name: str, epoch: int, partitions: int) -> None:
    """Log that this bridge is now the active one."""
    _log(connection, flow_id, "startup", "SERVICE_STARTED", {"bridge": name, "epoch": epoch, "partitions": partitions})


def _log(connection: Connection, flow_id: UUID, event_type: str, checkpoint: str, details: dict[str, object]) -> None:
    values = {"flow_id": str(flow_id), "event_type": event_type, "checkpoint": checkpoint}
    connection.execute(query("log_bridge_event"), values | {"details": json.dumps(details)})
