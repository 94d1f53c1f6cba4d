"""Check whether the application accepts a message of a documented channel. Pure."""

from collections.abc import Mapping
from typing import Any

from .processing_shapes import PROCESSING_SHAPES
from .shape import COUNT, FLOW_ID, ORDINAL, WORD, or_null, violation
from .streaming_shapes import HEALTH, SHAPES, Shape

ACCEPTED: Mapping[str, list[Shape]] = {**SHAPES, **PROCESSING_SHAPES}

# Keys that any message may have beside its own; every message has the first two.
_ADDED: Shape = {"epoch": COUNT, "seq": ORDINAL}
_ALLOWED: Shape = {"result_id": or_null(WORD), "flow_id": FLOW_ID}

# Values that a message holds twice, because its readers expect them in two places.
_REPEATED: Mapping[str, tuple[tuple[str, str], ...]] = {
    "tickstock.events.patterns": (("data.flow_id", "flow_id"), ("data.source", "data.tier")),
    "tickstock:patterns:streaming": (("detection.metadata.session_id", "session_id"),),
    "tickstock:patterns:detected": (("detection.metadata.session_id", "session_id"),),
    "tickstock:streaming:session_started": (("data", "session"),),
    "tickstock:streaming:session_stopped": (("data", "session"),),
    "tickstock:streaming:health": tuple((f"health.{key}", key) for key in HEALTH),
    "tickstock:errors": (
        *((f"payload.{key}", key) for key in ("severity", "component", "message", "context")),
        ("payload.error_message", "message"),
    ),
}


def first_violation(channel: str, message: Any) -> str | None:
    """Return where and how a decoded message first differs from the accepted shape of its channel, or None."""
    shapes = ACCEPTED[channel]
    shape = shapes[0]
    if len(shapes) > 1:
        key = next(iter(shape))
        found = [s for s in shapes if isinstance(message, dict) and s[key] == message.get(key)]
        if not found:
            return f"{key}: is not one of {', '.join(str(s[key]) for s in shapes)}"
        shape = found[0]
    allowed = {key: rule for key, rule in _ALLOWED.items() if isinstance(message, dict) and key in message}
    return violation(message, {**allowed, **_ADDED, **shape}) or _disagreement(channel, message)


def _disagreement(channel: str, message: Any) -> str | None:
    for repeated, said in _REPEATED.get(channel, ()):
        if _at(message, repeated) != _at(message, said):
            return f"{repeated}: differs from {said}"
    if channel == "tickstock:patterns:detected" and message["detection"]["confidence"] < 0.8:
        return "detection.confidence: below 0.8; such a pattern belongs on tickstock:patterns:streaming only"
    return None


def _at(message: Any, path: str) -> Any:
    for key in path.split("."):
        message = message.get(key) if isinstance(message, dict) else None
    return message
