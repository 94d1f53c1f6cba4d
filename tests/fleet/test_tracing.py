"""Spans of real processes: what a worker and a bridge export of one detection stands in one trace, its flow_id's."""

import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
from structlog.testing import capture_logs
from tickstockpl.contracts.detection import Detection
from tickstockpl.contracts.errors import UsageError
from tickstockpl.db.tables.results import OutboxRow
from tickstockpl.ops.process.tracing import how_wanted, tracing
from tickstockpl.workers.commit.tracing import FlowIds, Tracing

from ..integration.one_stream import Stream
from .fleet import fleet_on, wait_for, wait_until_detected

OFF = """
import sys
from tickstockpl.ops.cli.fleet import bridge_command, worker_command
from tickstockpl.ops.process.tracing import tracing

with tracing("no", service="s", instance="i") as traced:
    assert traced is None
# The Redis client imports a part of the library where that is installed: its metrics.
ours = ("opentelemetry.exporter", "opentelemetry.sdk.trace", "tickstockpl.workers.commit.tracing")
print([name for name in sys.modules if name.startswith(ours)])
"""
FALLING = [[round(price + 0.3 * back, 1) for price in (10.0, 10.5, 9.5, 10.4)] for back in range(10, 0, -1)]
DOJI = (10.0, 10.5, 9.0, 10.0)


def detections(count):
    prices = dict.fromkeys(("open", "high", "low", "close", "volume", "confidence", "detected_at"), 1.0)
    bar = {"pattern": "Doji", "timeframe": "1min", "minute": 29_000_000, "direction": 0}
    return [Detection(symbol=f"S{n}", **bar, **prices) for n in range(count)]


def row_of(found):
    return OutboxRow(0, 1, "patterns", msgspec.json.encode(found))


@contextmanager
def collector():
    """Run an OTLP receiver; give its address and the spans: (service, span)."""
    spans = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self):  # the library's name
            body = self.rfile.read(int(self.headers["Content-Length"]))
            for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                names = {a.key: a.value.string_value for a in of_resource.resource.attributes}
                for of_scope in of_resource.scope_spans:
                    spans.extend((names["service.name"], span) for span in of_scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", spans
        finally:
            server.shutdown()
            thread.join()


def test_one_trace_holds_the_spans_of_worker_and_bridge(migrated_servers, tmp_path, monkeypatch):
    with collector() as (url, spans), fleet_on(migrated_servers, tmp_path, partitions=1) as fleet:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        fleet.start_worker("w1", "--commit-ms", "50")
        fleet.start("b1", "bridge", "--name", "b1")
        stream = Stream(migrated_servers)
        with stream.redis:
            bars = zip(range(10, 0, -1), FALLING, strict=True)
            stream.send(*(("A", price, 100, -back) for back, bar in bars for price in bar))
            wait_for(lambda: len(fleet.bars()) == 10, 30, fleet.logs)
            wait_until_detected(fleet)
            stream.send(*(("A", price, 100) for price in DOJI))

        def of_doji():
            return [(service, span) for service, span in spans if "Doji" in str(span.attributes)]

        wait_for(lambda: {"frame", "commit", "publish"} <= {span.name for _, span in of_doji()}, 30, fleet.logs)
        assert [fleet.stop("w1"), fleet.stop("b1")] == [0, 0], fleet.logs()
        ((flow_id,),) = fleet.rows("SELECT flow_id FROM detection_flow WHERE pattern = 'Doji' AND timeframe = 1")
    trace = {span.name: (service, span) for service, span in of_doji() if span.trace_id == flow_id.bytes}
    assert {name: service for name, (service, _) in trace.items()} == {
        "frame": "tickstock-worker",
        "commit": "tickstock-worker",
        "publish": "tickstock-bridge",
    }
    frame, commit, publish = (trace[name][1] for name in ("frame", "commit", "publish"))
    assert (frame.parent_span_id, commit.parent_span_id, publish.parent_span_id) == (b"", frame.span_id, commit.span_id)
    assert frame.start_time_unix_nano <= frame.end_time_unix_nano == commit.start_time_unix_nano
    assert commit.start_time_unix_nano < commit.end_time_unix_nano
    attributes = {a.key: a.value.string_value or a.value.int_value for a in commit.attributes}
    assert attributes["tickstock.flow_id"] == str(flow_id)
    assert [attributes[f"tickstock.{name}"] for name in ("symbol", "ticks", "bars")] == ["A", 4, 1]


def test_a_collector_that_is_away_does_not_keep_a_process_from_its_end(monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")

    def work():
        with tracing("yes", service="s", instance="i") as traced:
            traced.published([row_of(detections(1))], 1)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(120)
    assert not thread.is_alive()


def test_nothing_of_it_is_imported_when_it_is_off():
    said = subprocess.run([sys.executable, "-c", OFF], capture_output=True, text=True, check=True)
    assert said.stdout == "[]\n"


def test_without_the_extra_the_start_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace.export", None)
    with (
        pytest.raises(UsageError, match=r"OpenTelemetry is not installed .*pip install .*\[otel\]"),
        tracing("yes", service="s", instance="i"),
    ):
        pass


def test_without_the_extra_an_environment_that_asks_for_it_stops_nobody(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace.export", None)
    with capture_logs() as lines, tracing("if installed", service="s", instance="i") as traced:
        assert traced is None
    assert [line["event"] for line in lines] == [
        "no spans: the environment asks for them, but OpenTelemetry is not installed"
    ]


@pytest.mark.parametrize(
    ("flag", "environment", "wanted"),
    [
        (False, {}, "no"),
        (True, {}, "yes"),
        (False, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, "if installed"),
        (False, {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, "if installed"),
        (True, {"OTEL_SDK_DISABLED": "true"}, "no"),
        (True, {"OTEL_TRACES_EXPORTER": "none"}, "no"),
    ],
)
def test_the_standard_variables_turn_it_on_and_off(flag, environment, wanted):
    assert how_wanted(flag, environment) == wanted


def test_a_share_of_the_detections_is_sampled_and_both_sides_choose_the_same():
    exporter, ids = InMemorySpanExporter(), FlowIds()
    provider = TracerProvider(sampler=ParentBasedTraceIdRatio(0.25), id_generator=ids, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    traced = Tracing(provider, ids)
    made = detections(400)
    for detection in made:
        traced._follow(detection, {}, (1, 2, 3))
    committed = {span.context.trace_id for span in exporter.get_finished_spans()}
    exporter.clear()
    ids.trace_id = ids.span_id = 0
    traced.published([row_of(made)], 4)
    published = {span.context.trace_id for span in exporter.get_finished_spans()}
    assert committed == published
    assert 60 < len(committed) < 140
