"""Requests of the application on `tickstock:monitoring:control`, read by the active bridge."""

from typing import Any

import msgspec
import structlog

from ...contracts.names import MONITORING_CONTROL
from ...db.redis import Client, masters

log = structlog.get_logger()

FORCE_HEALTH_CHECK = "FORCE_HEALTH_CHECK"
RELOAD_PATTERNS = "RELOAD_PATTERNS"
# The application's page also has buttons for these; it expects no answer, and there is nothing to do.
_UNUSED = {"FORCE_GC", "CLEAR_CACHE", "RESTART_WORKERS", "ENABLE_COMPONENT", "ALERT_RESOLVED"}
_MOST = 100  # messages read per call


class _Control(msgspec.Struct):
    action: str


_decode = msgspec.json.Decoder(_Control).decode


class Controls:
    """A subscription, opened on the first call and again after Redis was away."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._subscription: Any = None

    def take(self) -> set[str]:
        """Return the actions requested since the last call, without waiting. Raises Redis's errors."""
        if self._subscription is None:
            self._subscription = masters(self._client)[0].pubsub(ignore_subscribe_messages=True)
            self._subscription.subscribe(MONITORING_CONTROL)
        try:
            return {action for action in map(_action, self._received()) if action}
        except Exception:
            self.close()
            raise

    def close(self) -> None:
        """Close the subscription."""
        if self._subscription is not None:
            self._subscription.close()
            self._subscription = None

    def _received(self) -> list[bytes]:
        bodies = []
        for _ in range(_MOST):
            message = self._subscription.get_message(timeout=0)
            if message is not None:
                bodies.append(message["data"])
            elif not self._subscription.connection.can_read(timeout=0):
                break
        return bodies


def _action(body: bytes) -> str | None:
    try:
        action = _decode(body).action
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None  # not a request
    if action in (FORCE_HEALTH_CHECK, RELOAD_PATTERNS):
        log.info("action requested", action=action)
        return action
    if action not in _UNUSED:
        log.info("unknown action", action=action[:64])
    return None
