"""OpenTelemetry spans of a detection: its frames, their commit, its publish. Imported only if tracing is on.

The trace id is the detection's flow_id, and the span id of the commit follows from it. The bridge reads the flow_id in
any case, so no message needs another field.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID, uuid5

import msgspec
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags, set_span_in_context

from ...contracts.detection import Detection
from ...contracts.messages.channel_names import PATTERNS
from ...contracts.partition import Position
from ...db.tables.results import OutboxRow
from ...db.world import REAL, World
from ...version import __version__
from .plan import PartitionPlan

_CHANNEL = {"messaging.system": "redis", "messaging.destination.name": PATTERNS}
_decode = msgspec.json.Decoder(list[Detection]).decode


class FlowIds(IdGenerator):
    """Gives the next span the ids that were set; random ones if none were set."""

    def __init__(self) -> None:
        self._random = RandomIdGenerator()
        self.trace_id = self.span_id = 0

    def generate_trace_id(self) -> int:
        """Return the id of the next root span's trace."""
        return self.trace_id or self._random.generate_trace_id()

    def generate_span_id(self) -> int:
        """Return the id of the next span."""
        return self.span_id or self._random.generate_span_id()


class FlowSampler(Sampler):
    """Gives another sampler the first half of a flow_id: samplers use the last bits, which are random in it."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler

    def should_sample(self, parent_context: Context | None, trace_id: int, *rest: Any, **named: Any) -> SamplingResult:
        """Decide by the trace id alone, so that worker and bridge decide alike."""
        return self._sampler.should_sample(parent_context, trace_id >> 64, *rest, **named)

    def get_description(self) -> str:
        """Return the other sampler's description."""
        return self._sampler.get_description()


class Begun(NamedTuple):
    """A commit that began. oldest_ms: by partition, when its oldest frame arrived, Unix ms by Redis's clock."""

    at_ns: int
    oldest_ms: dict[int, int]


class Tracing:
    """The spans of one process. Times are by this host's clock; the arrival of frames is by Redis's."""

    def __init__(self, provider: TracerProvider, ids: FlowIds, *, world: World = REAL) -> None:
        """ids: the provider's source of ids."""
        self._world = world
        provider.sampler = FlowSampler(provider.sampler)
        self._sampler = provider.sampler
        self._tracer = provider.get_tracer("tickstockpl", __version__)
        self._ids = ids

    def begin(self, plans: Sequence[PartitionPlan]) -> Begun:
        """Note when a commit begins, and its oldest frames. Call it before the ack."""
        oldest = {
            plan.state.partition: plan.state.uncommitted.unacked[0] for plan in plans if plan.state.uncommitted.unacked
        }
        return Begun(
            self._world.unix_ns(), {partition: Position.parse(entry).ms for partition, entry in oldest.items()}
        )

    def committed(self, plans: Sequence[PartitionPlan], begun: Begun) -> None:
        """Make the spans `frame` and `commit` of each committed detection that is published."""
        ended_ns = self._world.unix_ns()
        for plan in plans:
            partition = plan.state.partition
            arrived_ns = min(begun.oldest_ms.get(partition, begun.at_ns) * 1_000_000, begun.at_ns)
            ticks = sum(counts.ticks_in for counts in plan.counts.values())
            measured = {"tickstock.partition": partition, "tickstock.ticks": ticks, "tickstock.bars": plan.bars}
            for detection in plan.found.to_publish:
                self._follow(detection, measured, (arrived_ns, begun.at_ns, ended_ns))
        self._ids.trace_id = self._ids.span_id = 0

    def _follow(self, detection: Detection, measured: dict[str, int], times_ns: tuple[int, int, int]) -> None:
        flow, attributes = detection.flow_id, _attributes(detection) | measured
        arrived_ns, begun_ns, ended_ns = times_ns
        self._ids.trace_id, self._ids.span_id = flow.int, _span_id(flow, "frame")
        frame = self._tracer.start_span("frame", Context(), start_time=arrived_ns, attributes=attributes)
        frame.end(begun_ns)
        self._ids.span_id = _span_id(flow, "commit")
        parent = set_span_in_context(frame, Context())
        self._tracer.start_span("commit", parent, start_time=begun_ns, attributes=attributes).end(ended_ns)

    def published(self, rows: Sequence[OutboxRow], began_ns: int) -> None:
        """Make the span `publish` of each detection in rows of kind `patterns`."""
        ended_ns = self._world.unix_ns()
        for row in rows:
            where = {"tickstock.partition": row.partition, "tickstock.result": row.number}
            for detection in _decode(row.body):
                attributes = _attributes(detection) | where | _CHANNEL
                span = self._tracer.start_span(
                    "publish",
                    set_span_in_context(NonRecordingSpan(self._commit_of(detection)), Context()),
                    kind=SpanKind.PRODUCER,
                    start_time=began_ns,
                    attributes=attributes,
                )
                span.end(ended_ns)

    def _commit_of(self, detection: Detection) -> SpanContext:
        flow = detection.flow_id
        decision = self._sampler.should_sample(None, flow.int, "frame").decision
        flags = TraceFlags(TraceFlags.SAMPLED if decision is Decision.RECORD_AND_SAMPLE else TraceFlags.DEFAULT)
        return SpanContext(flow.int, _span_id(flow, "commit"), is_remote=True, trace_flags=flags)


def _span_id(flow_id: UUID, step: str) -> int:
    return uuid5(flow_id, step).int >> 64


def _attributes(detection: Detection) -> dict[str, str | int]:
    return {
        "tickstock.flow_id": str(detection.flow_id),
        "tickstock.symbol": detection.symbol,
        "tickstock.pattern": detection.pattern,
        "tickstock.timeframe": detection.timeframe,
    }
