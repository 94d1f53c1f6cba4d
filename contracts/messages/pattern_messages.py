"""The messages of each result on a closed bar: a pattern, an indicator's value, an alert.

Names and order of keys are the application's; `result_id` and a second `flow_id` are additions. A result always gives
the same bytes: every time in its messages comes from the result.
"""

from typing import Literal
from uuid import UUID

from msgspec import UNSET, UnsetType

from ..detection import LIFETIME_S, BaseRate, Detection, IndicatorAlert, IndicatorValue, flow_id_of, iso_minute
from . import channel_names as channel
from .message import (
    SOURCE,
    Body,
    Fraction,
    IsoTime,
    Message,
    Shares,
    UnixSeconds,
    check_figures,
    check_finite,
    iso,
    message,
    whole,
)

# Present only if the live feed did not receive the whole minute of the bar.
Provenance = Literal["partial"] | UnsetType

DETECTED_FROM = 0.8  # the smallest confidence on `tickstock:patterns:detected`


class RelativeFigures(Body, frozen=True, kw_only=True):
    """A detection's own indicators."""

    relative_strength: float
    relative_volume: float


class PartOfEvent(Body, frozen=True, kw_only=True):
    """Another pattern on the same bar, which has no message of its own. direction: 1 bullish, -1 bearish, 0 neither."""

    pattern: str
    confidence: Fraction
    direction: int
    levels: list[float]
    flow_id: UUID


class PatternData(Body, frozen=True, kw_only=True):
    """A pattern as the application caches it. source repeats the tier, because the application reads it there.

    parts: the other patterns on the bar; they have no message of their own.
    """

    symbol: str
    pattern: str
    confidence: Fraction
    flow_id: UUID
    tier: str
    source: str
    price_change: float
    current_price: float
    volume: Shares
    timestamp: UnixSeconds
    expires_at: UnixSeconds
    indicators: RelativeFigures
    parts: list[PartOfEvent]
    bar_provenance: Provenance = UNSET


class PatternEvent(Body, frozen=True, kw_only=True):
    """A detection on `tickstock.events.patterns`."""

    event_type: Literal["pattern_detected"] = "pattern_detected"
    source: Literal["TickStockPL"] = SOURCE
    timestamp: UnixSeconds
    flow_id: UUID
    data: PatternData
    result_id: str | None


class BarData(Body, frozen=True, kw_only=True):
    """The bar that a pattern was found on."""

    open: float
    high: float
    low: float
    close: float
    volume: Shares


class DetectionMetadata(Body, frozen=True, kw_only=True):
    """The session and flow of a streamed detection, the other patterns on its bar, and its base rate.

    base_rate: null if never measured.
    """

    session_id: str
    flow_id: UUID
    parts: list[PartOfEvent]
    base_rate: BaseRate | None
    bar_provenance: Provenance = UNSET


class StreamedDetection(Body, frozen=True, kw_only=True):
    """A pattern as the live dashboard shows it. timestamp: the bar's start."""

    symbol: str
    pattern: str
    pattern_type: str
    confidence: Fraction
    timestamp: IsoTime
    timeframe: str
    parameters: dict[str, float | str]
    bar_data: BarData
    metadata: DetectionMetadata


class StreamingPattern(Body, frozen=True, kw_only=True):
    """A detection on `tickstock:patterns:streaming` and `tickstock:patterns:detected`."""

    type: Literal["streaming_pattern"] = "streaming_pattern"
    event: Literal["pattern_detected"] = "pattern_detected"
    session_id: str
    timestamp: IsoTime
    detection: StreamedDetection
    flow_id: UUID
    result_id: str | None


class CalculationMetadata(Body, frozen=True, kw_only=True):
    """How an indicator was calculated; period: in bars, null if it has none."""

    period: int | None
    bar_provenance: Provenance = UNSET


class Calculation(Body, frozen=True, kw_only=True):
    """An indicator's value.

    The application ignores `value` and shows `values` as JSON text: a number for one value, an object for several. It
    keeps the last message per symbol and indicator. Therefore, above one minute, the name includes the timeframe:
    SMA_5_5min.
    """

    symbol: str
    indicator: str
    indicator_type: str
    value: float
    values: float | dict[str, float]
    timestamp: IsoTime
    timeframe: str
    metadata: CalculationMetadata


class StreamingIndicator(Body, frozen=True, kw_only=True):
    """An indicator's value on `tickstock:indicators:streaming`."""

    type: Literal["streaming_indicator"] = "streaming_indicator"
    event: Literal["indicator_calculated"] = "indicator_calculated"
    session_id: str
    timestamp: IsoTime
    calculation: Calculation
    result_id: str | None


class AlertData(Body, frozen=True, kw_only=True):
    """The indicator, its value and the threshold that it crossed. rsi: null in an alert of another indicator."""

    rsi: float | None
    indicator: str
    value: float
    threshold: float
    bar_provenance: Provenance = UNSET


class IndicatorAlertEvent(Body, frozen=True, kw_only=True):
    """A crossing on `tickstock:alerts:indicators`."""

    type: Literal["indicator_alert"] = "indicator_alert"
    alert_type: str
    symbol: str
    timestamp: IsoTime
    session_id: str
    severity: str
    data: AlertData
    result_id: str | None


def pattern_messages(d: Detection, *, session_id: str, result_id: str | None) -> list[Message]:
    """Return a detection's messages: as an event, as a streamed pattern, and as a detected one if confident enough.

    result_id: `PARTITION-NUMBER` of the outbox row; None for a detection that is not in the outbox. Raises ValueError
    for a number that JSON cannot hold, and for a confidence outside 0..1.
    """
    _check(d)
    flow_id, parts = d.flow_id, _parts(d)
    data = _pattern_data(d, flow_id, parts)
    event = PatternEvent(timestamp=d.detected_at, flow_id=flow_id, data=data, result_id=result_id)
    streaming = StreamingPattern(
        session_id=session_id,
        timestamp=iso(d.detected_at),
        detection=_streamed(
            d,
            DetectionMetadata(
                session_id=session_id,
                flow_id=flow_id,
                parts=parts,
                base_rate=d.base_rate,
                bar_provenance=_provenance(d),
            ),
        ),
        flow_id=flow_id,
        result_id=result_id,
    )
    streamed = message(channel.PATTERNS_STREAMING, streaming)
    said = [message(channel.PATTERNS, event), streamed]
    if d.confidence >= DETECTED_FROM:
        said.append((channel.PATTERNS_DETECTED, streamed[1]))
    return said


def indicator_message(v: IndicatorValue, *, session_id: str, result_id: str | None) -> Message:
    """Return the message of an indicator's value. Raises ValueError for a number that JSON cannot hold."""
    check_finite(v.value, v.calculated_at, *v.values.values())
    name = v.indicator if v.timeframe == "1min" else f"{v.indicator}_{v.timeframe}"
    calculation = Calculation(
        symbol=v.symbol,
        indicator=name,
        indicator_type=name,
        value=v.value,
        values=v.value if len(v.values) == 1 else v.values,
        timestamp=iso_minute(v.minute),
        timeframe=v.timeframe,
        metadata=CalculationMetadata(period=v.period, bar_provenance=_provenance(v)),
    )
    body = StreamingIndicator(
        session_id=session_id, timestamp=iso(v.calculated_at), calculation=calculation, result_id=result_id
    )
    return message(channel.INDICATORS_STREAMING, body)


def alert_message(a: IndicatorAlert, *, session_id: str, result_id: str | None) -> Message:
    """Return the message of an indicator's crossing. Raises ValueError for a number that JSON cannot hold."""
    check_finite(a.value, a.threshold, a.raised_at, a.rsi or 0.0)
    body = IndicatorAlertEvent(
        alert_type=a.alert_type,
        symbol=a.symbol,
        timestamp=iso(a.raised_at),
        session_id=session_id,
        severity=a.severity,
        data=AlertData(
            rsi=a.rsi, indicator=a.indicator, value=a.value, threshold=a.threshold, bar_provenance=_provenance(a)
        ),
        result_id=result_id,
    )
    return message(channel.ALERTS_INDICATORS, body)


def _provenance(result: Detection | IndicatorValue | IndicatorAlert) -> Provenance:
    return "partial" if result.partial is True else UNSET


def _check(d: Detection) -> None:
    check_finite(
        d.open, d.high, d.low, d.close, d.volume, d.detected_at, d.price_change, d.relative_volume, d.relative_strength
    )
    check_figures(d.parameters)
    for confidence in (d.confidence, *(part.confidence for part in d.parts)):
        if not 0.0 <= confidence <= 1.0:
            raise ValueError(f"a confidence is 0..1, not {confidence}")
    for part in d.parts:
        check_finite(*part.levels)


def _parts(d: Detection) -> list[PartOfEvent]:
    return [
        PartOfEvent(
            pattern=part.pattern,
            confidence=part.confidence,
            direction=part.direction,
            levels=part.levels,
            flow_id=flow_id_of(d.symbol, part.pattern, d.timeframe, d.minute),
        )
        for part in d.parts
    ]


def _pattern_data(d: Detection, flow_id: UUID, parts: list[PartOfEvent]) -> PatternData:
    return PatternData(
        symbol=d.symbol,
        pattern=d.pattern,
        confidence=d.confidence,
        flow_id=flow_id,
        tier=d.tier,
        source=d.tier,
        price_change=d.price_change,
        current_price=d.close,
        volume=whole(d.volume),
        timestamp=d.detected_at,
        expires_at=d.detected_at + LIFETIME_S,
        indicators=RelativeFigures(relative_strength=d.relative_strength, relative_volume=d.relative_volume),
        parts=parts,
        bar_provenance=_provenance(d),
    )


def _streamed(d: Detection, metadata: DetectionMetadata) -> StreamedDetection:
    return StreamedDetection(
        symbol=d.symbol,
        pattern=d.pattern,
        pattern_type=d.pattern,
        confidence=d.confidence,
        timestamp=iso_minute(d.minute),
        timeframe=d.timeframe,
        parameters=d.parameters,
        bar_data=BarData(open=d.open, high=d.high, low=d.low, close=d.close, volume=whole(d.volume)),
        metadata=metadata,
    )
