"""One flow: every checkpoint that was logged with a flow_id, its detection, and both as text."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from ...contracts.detection import Event
from ...contracts.timeframe import TIMEFRAME_OF
from ...db.postgres import Connection
from ...db.queries import query

_LINE = "{:<25} {:<28} {:>15} {:>15}  {:<16} {}"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A row of integration_events. since_last_ms: None for the first."""

    id: int
    timestamp: datetime
    checkpoint: str | None
    event_type: str | None
    source: str | None
    channel: str | None
    user_count: int | None
    details: Any
    since_first_ms: float
    since_last_ms: float | None


@dataclass(frozen=True, slots=True)
class Analysis:
    """The flow's row of pattern_flow_analysis."""

    flow_id: UUID
    start_time: datetime
    end_time: datetime
    total_latency_ms: float
    symbol: str | None
    pattern_name: str | None
    confidence: float | None
    users_notified: int | None
    checkpoints_logged: int
    flow_path: list[str | None]


@dataclass(frozen=True, slots=True)
class FlowDetection:
    """The detection of a flow. bar: its start.

    superseded_at: when a revision of the bar removed the pattern, else None. pattern_id: its row in intraday_patterns;
    confidence, detected_at, expires_at and levels are None if that row was deleted. in_replay: a replay wrote the bar.
    event: first, repeat or part; None if the row was deleted, or is older than this field. repeat_after: bars since the
    same was last found. part_of: the pattern on the bar that was published in place of this one.
    """

    symbol: str
    pattern: str
    timeframe: str
    bar: datetime
    superseded_at: datetime | None
    pattern_id: int | None
    confidence: float | None
    detected_at: datetime | None
    expires_at: datetime | None
    levels: list[float | None] | None
    in_replay: bool
    event: str | None
    repeat_after: int | None
    part_of: str | None


@dataclass(frozen=True, slots=True)
class Flow:
    """Everything known about a flow_id. analysis: None without a pattern's checkpoint (a heartbeat's flow).

    detection: None for a test pattern, which has no bar.
    """

    flow_id: UUID
    checkpoints: list[Checkpoint]
    analysis: Analysis | None
    detection: FlowDetection | None


def read_flow(connection: Connection, flow_id: UUID) -> Flow | None:
    """Return the current state of a flow; None if the id is unknown."""
    values = {"flow_id": flow_id}
    checkpoints = [Checkpoint(*row) for row in connection.execute(query("flow_checkpoints"), values)]
    analysis = connection.execute(query("flow_analysis"), values).fetchone()
    detection = connection.execute(query("flow_detection"), values).fetchone()
    if not checkpoints and detection is None:
        return None
    return Flow(flow_id, checkpoints, Analysis(*analysis) if analysis else None, _found(detection))


def _found(row: tuple[Any, ...] | None) -> FlowDetection | None:
    if row is None:
        return None
    symbol, pattern, minutes, *others = row
    return FlowDetection(symbol, pattern, TIMEFRAME_OF.get(minutes, f"{minutes}min"), *others)


# -- for people -------------------------------------------------------------------------------------------------------


class FlowText:
    """Prints a growing flow: each checkpoint once."""

    def __init__(self) -> None:
        self._printed: set[int] = set()
        self._has_head = False

    def show(self, flow: Flow) -> None:
        """Print the checkpoints that were not printed yet."""
        if not self._has_head and flow.checkpoints:
            self._has_head = True
            head = ("time (UTC)", "checkpoint", "since the first", "since the last", "source", "channel")
            print(_LINE.format(*head), flush=True)
        for checkpoint in flow.checkpoints:
            if checkpoint.id not in self._printed:
                self._printed.add(checkpoint.id)
                print(_line(checkpoint).rstrip(), flush=True)

    def end(self, flow: Flow) -> None:
        """Print the lines below the checkpoints."""
        if flow.checkpoints:
            print()
        print(f"Flow       {_of_analysis(flow.analysis) if flow.analysis else _why_no_pattern(flow)}")
        print(f"Detection  {_of_detection(flow.detection) if flow.detection else _why_none(flow)}")


def _line(checkpoint: Checkpoint) -> str:
    names = (checkpoint.source or "-", checkpoint.channel or "")
    latencies = (_ms(checkpoint.since_first_ms), _ms(checkpoint.since_last_ms))
    said = checkpoint.checkpoint or checkpoint.event_type or "-"
    return _LINE.format(_moment(checkpoint.timestamp), said, *latencies, *names)


def _of_analysis(analysis: Analysis) -> str:
    confidence = "" if analysis.confidence is None else f" ({analysis.confidence:.2f})"
    path = " > ".join(step or "-" for step in analysis.flow_path)
    users = "" if analysis.users_notified is None else f", {analysis.users_notified:,} users notified"
    steps = "1 checkpoint" if analysis.checkpoints_logged == 1 else f"{analysis.checkpoints_logged:,} checkpoints"
    name = f"{analysis.pattern_name} @ {analysis.symbol}{confidence}"
    return f"{name}: {steps} in {_ms(analysis.total_latency_ms)}{users}: {path}"


def _of_detection(found: FlowDetection) -> str:
    row = "its row was deleted" if found.detected_at is None else f"intraday_patterns {found.pattern_id}"
    bar = f"{found.bar.astimezone(UTC):%Y-%m-%d %H:%M}"
    gone = f"; superseded {_moment(found.superseded_at)}" if found.superseded_at else ""
    confidence = "" if found.confidence is None else f" ({found.confidence:.2f})"
    return f"{found.pattern} @ {found.symbol}{confidence} on the {found.timeframe} bar of {bar}, {row}{gone}"


def _why_no_pattern(flow: Flow) -> str:
    if flow.checkpoints or flow.detection is None:
        return "no pattern is logged under this id"
    if flow.detection.event == Event.REPEAT:
        return f"not published: the same as {flow.detection.repeat_after} bars before (`cool_down` of its definition)"
    if flow.detection.event == Event.PART:
        return f"not published by itself: it is a part of the {flow.detection.part_of} on its bar, which names it"
    if flow.detection.in_replay:
        return "found in a replay that was not published: `tickstock replay --publish` publishes detections"
    return "no checkpoint is logged: it was not published, or the log was emptied later"


def _why_none(flow: Flow) -> str:
    is_test = any(isinstance(c.details, dict) and c.details.get("test") for c in flow.checkpoints)
    return "none: this is a test pattern" if is_test else "none"


def _ms(latency: float | None) -> str:
    return "-" if latency is None else f"{latency:,.1f} ms"


def _moment(at: datetime | None) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"[:-3] if at else "-"
