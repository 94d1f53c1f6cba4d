"""Enable OpenTelemetry, if wanted and installed (extra `otel`); the OTEL_* variables configure the export."""

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import structlog

from ...contracts.errors import UsageError
from ...version import __version__
from .extras import how_to_install

if TYPE_CHECKING:  # the module imports optional packages
    from ...workers.commit.tracing import Tracing

log = structlog.get_logger()

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_LAST_EXPORT_S = 1.5  # of the 5 s that a stop may take


# The standard endpoint is set for a whole host, also for programs without the extra.
Wanted = Literal["no", "if installed", "yes"]


def how_wanted(flag: bool, environment: Mapping[str, str]) -> Wanted:
    """Return whether to trace: by our flag or the standard endpoint, unless OTEL_* disables it."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return "no"
    if environment.get("OTEL_TRACES_EXPORTER", "otlp").strip() == "none":
        return "no"
    if flag:
        return "yes"
    return "if installed" if any(environment.get(name) for name in _ENDPOINTS) else "no"


@contextmanager
def tracing(wanted: Wanted, *, service: str, instance: str) -> "Iterator[Tracing | None]":
    """Yield the tracing of this process, and export the rest at its end; None if not wanted.

    Raises UsageError if our flag asks for it and the extra is not installed.
    """
    if wanted == "no":
        yield None
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

        from ...workers.commit.tracing import FlowIds, Tracing  # noqa: PLC0415
    except ImportError as e:
        do = how_to_install("otel")
        if wanted == "yes":
            raise UsageError(f"OpenTelemetry is not installed ({e}): {do}") from e
        log.warning("no spans: the environment asks for them, but OpenTelemetry is not installed", why=str(e), do=do)
        yield None
        return
    ours = {"service.name": service, "service.instance.id": instance, "service.version": __version__}
    ids = FlowIds()
    provider = TracerProvider(
        resource=Resource(ours).merge(OTELResourceDetector().detect()), id_generator=ids, shutdown_on_exit=False
    )
    logging.getLogger("opentelemetry").addHandler(_ToOurLog())
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    try:
        yield Tracing(provider, ids)
    finally:
        # It takes half a minute if the collector is away; a daemon thread does not delay the exit.
        last_export = threading.Thread(target=provider.shutdown, daemon=True)
        last_export.start()
        last_export.join(_LAST_EXPORT_S)


class _ToOurLog(logging.Handler):
    """Logs the library's warnings, each once: it repeats them for every try."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Log a warning; a repeated one only at level debug."""
        say = log.debug if record.msg in self._said else log.warning
        self._said.add(record.msg)
        say("spans are not exported", why=record.getMessage())
