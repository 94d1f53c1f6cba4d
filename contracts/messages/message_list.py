"""The list of all messages of all channels. The AsyncAPI document is made from it."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from . import channel_names as channel
from .message import Body
from .monitoring_messages import AlertResolved, AlertTriggered, HealthCheck, MetricUpdate, SystemStatus
from .pattern_messages import IndicatorAlertEvent, PatternEvent, StreamingIndicator, StreamingPattern
from .processing_events import (
    CALCULATED,
    PHASES,
    RUN_COMPLETED,
    RUN_PROGRESS,
    RUN_STARTED,
    SCHEDULED,
    CacheCompleted,
    Envelope,
    ImportCompleted,
    IndicatorCalculated,
    IndicatorsCompleted,
    PatternsCompleted,
    PhaseName,
    PhaseProgress,
    PhaseStarted,
    RunCompleted,
    RunProgress,
    RunStarted,
    Schedule,
)
from .streaming_messages import SessionStarted, SessionStopped, StreamingHealth
from .system_messages import BacktestProgress, BacktestResults, CriticalAlert, ProcessingError, SystemHealth

_KIND_KEYS = ("event", "event_type", "type")  # the first of these keys in a body is the message's kind


class ChannelMessage(NamedTuple):
    """One message of one channel. kind: the name in its body."""

    channel: str
    kind: str
    body: Any  # a Body's class, or an Envelope of one


def kind_of(body: Any) -> str | None:
    """Return the kind that a decoded body names; None if it names none."""
    if not isinstance(body, dict):
        return None
    return next((body[key] for key in _KIND_KEYS if isinstance(body.get(key), str)), None)


def _plain(on: str, *bodies: type[Body]) -> Iterator[ChannelMessage]:
    for body in bodies:
        defaults = dict(zip(reversed(body.__struct_fields__), reversed(body.__struct_defaults__), strict=False))
        yield ChannelMessage(on, next(defaults[key] for key in _KIND_KEYS if isinstance(defaults.get(key), str)), body)


def _enveloped(on: str, names: tuple[str, ...], payload: type[Body]) -> Iterator[ChannelMessage]:
    for name in names:
        yield ChannelMessage(on, name, Envelope[payload])  # type: ignore[valid-type]  # one of a few classes


_COMPLETED: dict[PhaseName, type[Body]] = {
    "import": ImportCompleted,
    "cache_sync": CacheCompleted,
    "indicators": IndicatorsCompleted,
    "patterns": PatternsCompleted,
}


def _of_phases() -> Iterator[ChannelMessage]:
    for name, phase in PHASES.items():
        started, progress, completed = phase.channels
        yield from _enveloped(started, phase.started, PhaseStarted)
        yield from _enveloped(progress, phase.progress, PhaseProgress)
        yield from _enveloped(completed, phase.completed, _COMPLETED[name])


CHANNEL_MESSAGES: tuple[ChannelMessage, ...] = (
    *_plain(channel.PATTERNS, PatternEvent),
    *_plain(channel.PATTERNS_STREAMING, StreamingPattern),
    *_plain(channel.PATTERNS_DETECTED, StreamingPattern),
    *_plain(channel.INDICATORS_STREAMING, StreamingIndicator),
    *_plain(channel.ALERTS_INDICATORS, IndicatorAlertEvent),
    *_plain(channel.SESSION_STARTED, SessionStarted),
    *_plain(channel.SESSION_STOPPED, SessionStopped),
    *_plain(channel.STREAMING_HEALTH, StreamingHealth),
    *_plain(channel.HEALTH_STATUS, SystemHealth),
    *_plain(channel.ALERTS_CRITICAL, CriticalAlert),
    *_plain(channel.ERRORS, ProcessingError),
    *_plain(channel.MONITORING, MetricUpdate, AlertTriggered, AlertResolved, HealthCheck, SystemStatus),
    *_plain(channel.BACKTEST_PROGRESS, BacktestProgress),
    *_plain(channel.BACKTEST_RESULTS, BacktestResults),
    *_enveloped(channel.PROCESSING_STATUS, RUN_STARTED, RunStarted),
    *_enveloped(channel.PROCESSING_STATUS, RUN_PROGRESS, RunProgress),
    *_enveloped(channel.PROCESSING_STATUS, RUN_COMPLETED, RunCompleted),
    *_enveloped(channel.PROCESSING_SCHEDULE, SCHEDULED, Schedule),
    *_of_phases(),
    *_enveloped(channel.INDICATORS_CALCULATED, CALCULATED, IndicatorCalculated),
)
CHANNELS: tuple[str, ...] = tuple(dict.fromkeys(entry.channel for entry in CHANNEL_MESSAGES))
