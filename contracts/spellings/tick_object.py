"""A tick that a caller of the library passes, a mapping or an object with the same attributes -> Ticks. Pure."""

import json
import math
from collections.abc import Mapping
from typing import Any

from ..ticks import Ticks
from .tick_json import DEFAULT_SECOND_STAMP, SecondStamp, parse_json
from .tick_values import NotATick, shown
from .trade_conditions import DEFAULT_RULES, TRADE_RULES

# The attributes that are read: the names of the application's ticks.
_ATTRIBUTES = (
    "symbol",
    "ticker",
    "price",
    "volume",
    "size",
    "timestamp",
    "event_type",
    "type",
    "tick_open",
    "tick_high",
    "tick_low",
    "tick_close",
    "tick_volume",
    "tick_vwap",
    "conditions",
)


def ticks_of_object(
    tick: object, *, second_stamp: SecondStamp = DEFAULT_SECOND_STAMP, rules: TRADE_RULES = DEFAULT_RULES
) -> Ticks:
    """Read one tick like the channels' JSON; no row for a harmless message that is not a tick (a health check).

    Raises NotATick, whose reason is one of ticks.REASONS.
    """
    if isinstance(tick, Mapping):
        named = {str(name): _plain(value) for name, value in tick.items()}
    else:
        named = {name: _plain(value) for name in _ATTRIBUTES if (value := getattr(tick, name, None)) is not None}
        if not named:
            raise NotATick("not_an_object", f"neither a mapping nor an object with a tick's attributes: {shown(tick)}")
    ticks = parse_json(json.dumps(named).encode(), second_stamp=second_stamp, rules=rules)
    if ticks.refused:
        raise NotATick(ticks.refused[0].reason, ticks.refused[0].detail)
    if "undoes" in ticks.optional:
        raise NotATick("cannot_undo", "send cancels and corrections to the stream: it still holds the minute")
    if "whole_minute" in ticks.optional:
        raise NotATick("unknown_shape", "a whole-minute aggregate replaces its minute, and is never mixed with ticks")
    return ticks


def _plain(value: Any) -> Any:
    """Return a value as JSON can hold it; any other value as its text.

    NaN becomes text as well: null would mean that the feed has no such value. Conditions are a list.
    """
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(element) for element in value]
    if getattr(value, "ndim", None) == 1 and hasattr(value, "tolist"):
        return _plain(value.tolist())  # a numpy array
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0 and not hasattr(value, "astimezone"):
        value = value.item() if getattr(value.dtype, "kind", "") in "biuf" else str(value)  # a numpy scalar
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, str | int | float) else str(value)
