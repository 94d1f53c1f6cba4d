"""What the detectors find on closed bars, as the outbox and the results streams hold it: patterns, values, alerts.

A message of kind `patterns`, `indicators` or `alerts` is a JSON list of these. The bridge turns each item into the
messages of the documented channels (`channel_names.py`).
"""

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Self
from uuid import NAMESPACE_URL, UUID, uuid5

import msgspec
from msgspec import Meta

LIFETIME_S = 3600  # of a detection and of an indicator's value: then the application hides it
TIER = "intraday"


class BaseRate(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How often the price moved as a pattern predicts, on the measured days (docs/measured_patterns.md).

    of: the number of measured detections. hits: how many of them were followed, `after_bars` bars later, by a close at
    least half an ATR further in the pattern's direction. expected: how many hits there would be if the price had moved
    after them as after all bars at the same times of day.
    """

    hits: Annotated[int, Meta(ge=0)]
    of: Annotated[int, Meta(ge=1)]
    expected: Annotated[float, Meta(ge=0)]
    after_bars: Annotated[int, Meta(ge=1)]
    days: Annotated[int, Meta(ge=1)]


@lru_cache(maxsize=16_384)  # each step of a detection calls it
def flow_id_of(symbol: str, pattern: str, timeframe: str, minute: int) -> UUID:
    """Return the flow_id of a detection; minute: the bar's start, in minutes since 1970 (UTC).

    It does not depend on the bar's revision: a detection found again on a revised bar keeps its id.
    """
    return uuid5(NAMESPACE_URL, f"tickstockpl:{symbol}|{pattern}|{timeframe}|{iso_minute(minute)}")


@lru_cache(maxsize=256)  # thousands of results share one bar start
def iso_minute(minute: int) -> str:
    """Write a bar's start as ISO 8601 UTC: 2025-11-21T14:30:00+00:00."""
    return datetime.fromtimestamp(minute * 60, UTC).isoformat()


class Part(msgspec.Struct, frozen=True):
    """Another detection on the same bar that is published with this one, as stored in its row."""

    pattern: str
    confidence: float
    direction: int
    levels: list[float]


class Event(StrEnum):
    """Whether a detection is published: only FIRST is."""

    FIRST = "first"
    REPEAT = "repeat"  # the same pattern was found before, within its cool-down
    PART = "part"  # it is published as a part of another pattern on the bar


class Detection(msgspec.Struct, frozen=True, kw_only=True):
    """A pattern on one bar. Prices in dollars, volume in shares.

    minute: the bar's start, in minutes since 1970 (UTC). confidence: 0..1. direction: 1 bullish, -1 bearish, 0 neither.
    price_change: percent, the close against the close before. relative_volume: the bar's volume against the mean of the
    20 bars before. relative_strength: Wilder's RS, mean gain against mean loss over 14 bars. Both are 1.0 if there are
    too few bars. detected_at: Unix seconds by Redis's clock. base_rate: None if never measured. partial: the feed
    did not receive the whole minute; unset for a complete bar.

    repeat_after: bars since the same event was last found; 0 if it is new. parts: other detections on the bar,
    published with this one. part_of: the pattern that is published in place of this one.
    """

    symbol: str
    pattern: str
    timeframe: str
    minute: int
    confidence: float
    direction: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    detected_at: float
    levels: list[float] = []
    parameters: dict[str, float | str] = {}
    base_rate: BaseRate | None = None
    price_change: float = 0.0
    relative_volume: float = 1.0
    relative_strength: float = 1.0
    tier: str = TIER
    repeat_after: int = 0
    parts: list[Part] = []
    part_of: str | None = None
    partial: bool | msgspec.UnsetType = msgspec.UNSET

    @property
    def flow_id(self) -> UUID:
        """Return the detection's stable id."""
        return flow_id_of(self.symbol, self.pattern, self.timeframe, self.minute)

    @property
    def event(self) -> Event:
        """Return whether the detection is published, or why not."""
        if self.repeat_after:
            return Event.REPEAT
        return Event.PART if self.part_of else Event.FIRST


class IndicatorValue(msgspec.Struct, frozen=True, kw_only=True):
    """An indicator's value on one bar. values: every output by name, as `rsi_14`; value: the first one.

    partial: as of a Detection.
    """

    symbol: str
    indicator: str
    timeframe: str
    minute: int
    value: float
    values: dict[str, float]
    period: int | None
    calculated_at: float
    partial: bool | msgspec.UnsetType = msgspec.UNSET


@dataclass(frozen=True, slots=True)
class IndicatorColumn:
    """The values of one indicator on n bars of a timeframe.

    symbols, minutes, again, values: one entry for each bar. again: whether the bar's value may be stored already. An
    entry of values has the outputs in the order of `keys`.
    """

    indicator: str
    timeframe: str
    period: int | None
    keys: tuple[str, ...]
    calculated_at: float
    symbols: Sequence[str]
    minutes: Sequence[int]
    again: Sequence[bool]
    values: Sequence[Sequence[float]]

    def take(self, rows: Sequence[int]) -> Self:
        """Return the values on some of the bars."""
        return replace(
            self,
            symbols=[self.symbols[row] for row in rows],
            minutes=[self.minutes[row] for row in rows],
            again=[self.again[row] for row in rows],
            values=[self.values[row] for row in rows],
        )

    def without(self, symbols: AbstractSet[str]) -> Self:
        """Return the values of all other symbols."""
        return self.take([row for row, symbol in enumerate(self.symbols) if symbol not in symbols])

    def each(self) -> Iterator[IndicatorValue]:
        """Yield the value on each bar."""
        for symbol, minute, values in zip(self.symbols, self.minutes, self.values, strict=True):
            yield IndicatorValue(
                symbol=symbol,
                indicator=self.indicator,
                timeframe=self.timeframe,
                minute=minute,
                value=values[0],
                values=dict(zip(self.keys, values, strict=True)),
                period=self.period,
                calculated_at=self.calculated_at,
            )


class IndicatorAlert(msgspec.Struct, frozen=True, kw_only=True):
    """An indicator crossed a threshold on this bar. Published only on the crossing.

    alert_type: RSI_OVERBOUGHT, RSI_OVERSOLD, MACD_BULLISH_CROSS, MACD_BEARISH_CROSS, BB_UPPER_BREAK, BB_LOWER_BREAK.
    partial: as of a Detection.
    """

    symbol: str
    alert_type: str
    indicator: str
    timeframe: str
    minute: int
    value: float
    threshold: float
    severity: str
    raised_at: float
    rsi: float | None = None
    partial: bool | msgspec.UnsetType = msgspec.UNSET
