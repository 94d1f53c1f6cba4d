"""The common parts of every message on a documented channel: how bodies, numbers and times are written.

A body is one JSON object without `epoch` and `seq`: the publisher's script adds those two before the last brace.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from math import isfinite
from typing import Annotated, Final

import msgspec
from msgspec import Meta

Message = tuple[str, bytes]  # channel and body

SOURCE: Final = "TickStockPL"

# Types with a more precise JSON schema than Python's types.
UnixSeconds = Annotated[float, Meta(description="Unix seconds, UTC")]
IsoTime = Annotated[str, Meta(description="ISO 8601, UTC", extra_json_schema={"format": "date-time"})]
Fraction = Annotated[float, Meta(ge=0, le=1)]
Percent = Annotated[float, Meta(ge=0, le=100)]
Count = Annotated[int, Meta(ge=0)]
Shares = Annotated[int | float, Meta(description="shares; a whole number is written without a fraction")]
Figure = str | int | float | bool | None

_encoder = msgspec.json.Encoder()


class Body(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One JSON object: all fields, always, in their order."""


def message(channel: str, body: Body) -> Message:
    """Encode a body for its channel."""
    return channel, _encoder.encode(body)


@lru_cache(maxsize=256)  # all results of a commit share one time
def iso(at_s: float) -> str:
    """Write Unix seconds as ISO 8601 UTC with microseconds: 2025-11-21T14:31:00.250000+00:00."""
    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="microseconds")


def whole(volume: float) -> int | float:
    """Return a volume, as an int if it is whole: readers expect 1000, not 1000.0."""
    return int(volume) if volume.is_integer() else volume


def check_finite(*numbers: float) -> None:
    """Raise ValueError for NaN or infinity: JSON has neither, and the encoder would write null."""
    # A sum of finite prices and volumes is finite: one test for all of them is cheap enough for the hot path.
    if not isfinite(sum(numbers)):
        raise ValueError(f"a message holds finite numbers only, not {numbers}")


def check_figures(figures: Mapping[str, object] | Iterable[object]) -> None:
    """Raise ValueError if any float in free figures, at any depth, is NaN or infinite."""
    for figure in figures.values() if isinstance(figures, Mapping) else figures:
        if isinstance(figure, float):
            check_finite(figure)
        elif isinstance(figure, Mapping | list | tuple):
            check_figures(figure)
