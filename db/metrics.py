"""All metrics: names, labels, help. Base units; `_total` for counters; no label has a value per symbol.

A process exports the metrics of its kind, in one registry. Only the active bridge exports the fleet's gauges. An
unknown value is NaN, never an old value.
"""

from collections.abc import Iterable, Sequence
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, Metric
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.registry import Collector

from ..contracts import gap_reasons
from ..contracts.runs import ALL_PHASES, STATUSES
from ..contracts.server import SERVERS
from ..contracts.ticks import REASONS

ProcessKind = Literal["worker", "producer", "bridge", "jobs", "api"]

REGISTRY = CollectorRegistry()

OTHER = "other"  # for unknown reasons: outside input must not create labels


def _counter(name: str, says: str, *labels: str) -> Counter:
    return Counter(name, says, labels, registry=None)


def _gauge(name: str, says: str, *labels: str) -> Gauge:
    return Gauge(name, says, labels, registry=None)


def _histogram(name: str, says: str, buckets: Sequence[float], *labels: str) -> Histogram:
    return Histogram(name, says, labels, buckets=buckets, registry=None)


# -- every process -----------------------------------------------------------------------------------------------------

BUILD = Info("tickstock_build", "The program's version, Python's, and the kind of this process.", registry=None)
SERVER_UP = _gauge("tickstock_server_up", "1: the server answered this process's last request.", "server")
RECONNECTS = _counter("tickstock_reconnects_total", "Times that this process lost a server and reconnected.", "server")

# -- a worker: contents of its commits ---------------------------------------------------------------------------------

TICKS_IN = _counter(
    "tickstock_ticks_in_total",
    "Committed ticks by their numbers: applied, late, rejected, superseded, repeated, without trade and lost.",
    "partition",
)
TICKS_APPLIED = _counter("tickstock_ticks_applied_total", "Ticks that are in a committed or open bar.", "partition")
TICKS_DUPLICATE = _counter(
    "tickstock_ticks_duplicate_total",
    "Repeated ticks dropped by their number; not counted in ticks_in.",
    "partition",
)
TICKS_REPEATED = _counter(
    "tickstock_ticks_repeated_total",
    "Repeated trades (same ids within a minute), applied once; counted in ticks_in.",
)
TICKS_LATE = _counter(
    "tickstock_ticks_late_total",
    "Live ticks refused as more than 15 minutes older than their arrival (dead letters: too_late).",
    "partition",
)
TICKS_REJECTED = _counter(
    "tickstock_ticks_rejected_total",
    "Ticks that reached no bar. future: later than their arrival; refused: any other reason.",
    "reason",
)
TICKS_SUPERSEDED = _counter("tickstock_ticks_superseded_total", "Ticks of bars that another feed's bar replaced.")
TICKS_WITHOUT_TRADE = _counter("tickstock_ticks_without_trade_total", "Quotes, and ticks of size zero.")
TICKS_LOST = _counter(
    "tickstock_ticks_lost_total",
    "Ticks counted as lost: their frames were not sent again within --missing-frames-wait-s.",
)
BARS_CLOSED = _counter("tickstock_bars_closed_total", "1-minute bars written for the first time.", "partition")
BARS_REVISED = _counter("tickstock_bars_revised_total", "1-minute bars changed after their close.", "partition")
PATTERNS_DETECTED = _counter("tickstock_patterns_detected_total", "Patterns found on committed bars.", "pattern")
INDICATORS_CALCULATED = _counter("tickstock_indicators_calculated_total", "Indicator values committed.")
UNDETECTED_BARS = _gauge("tickstock_undetected_bars", "Committed bars of this worker that wait for detection.")
HISTORIES_DROPPED_EARLY = _counter(
    "tickstock_histories_dropped_early_total", "Histories of 1-minute bars that did not fit into --history-mb."
)
COMMIT_DURATION = _histogram(
    "tickstock_commit_duration_seconds",
    "Time of a commit, from staging its bars (detection included) to the database's answer.",
    # Some milliseconds without a closed bar; a minute's bars with patterns take tenths of a second. A lease lasts 5 s:
    # a longer commit has lost its partitions to another worker.
    (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
COMMIT_TICKS = _histogram(
    "tickstock_commit_ticks",
    "Ticks in one commit.",
    # a commit is due after 1 M ticks; the other buckets are orders of magnitude
    (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000),
)
TICK_TO_COMMIT = _histogram(
    "tickstock_tick_to_commit_seconds",
    "Per partition, time from the arrival of a commit's newest live frame in Redis to the database's answer.",
    # A commit that closes a bar waits 15 ms for others, any other at most --commit-ms (1 s); more than 5 s is the issue
    # LAG_HIGH.
    (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 2.5, 5.0, 10.0, 30.0, 60.0),
)
PARTITIONS_OWNED = _gauge("tickstock_partitions_owned", "Partitions whose lease this worker holds.")
TAKEOVERS = _counter("tickstock_takeovers_total", "Partitions that this worker took.")
COMMITS_FENCED = _counter(
    "tickstock_commits_fenced_total",
    "Partitions lost to another worker, found at a commit.",
)
HOLES = _counter("tickstock_holes_total", "Times that frames were missing before a received frame; most arrive later.")
DEAD_LETTERS = _counter("tickstock_dead_letters_total", "Ticks, entries and bars stored as dead letters.", "reason")

# -- a bridge ----------------------------------------------------------------------------------------------------------

BRIDGE_ACTIVE = _gauge("tickstock_bridge_active", "1: this bridge is active; 0: it is standby.")
MESSAGES_PUBLISHED = _counter("tickstock_messages_published_total", "Messages that this bridge published.", "channel")
BAR_CLOSE_TO_PUBLISH = _histogram(
    "tickstock_bar_close_to_publish_seconds",
    "From the end of a live bar's last minute, by Redis's clock, to the publication of a pattern found on it.",
    # --allowed-lateness-ms is 500, so nothing comes earlier; two commits and thousands of symbols fit into 2 s.
    (0.5, 0.55, 0.6, 0.7, 0.85, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0),
)

# -- a jobs process ----------------------------------------------------------------------------------------------------

RUN_STEPS = _counter(
    "tickstock_run_steps_total",
    "Steps of runs. done: committed; failed: an attempt that failed; redone: taken over from a silent process.",
    "phase",
    "outcome",
)
RUN_STEP_DURATION = _histogram(
    "tickstock_run_step_duration_seconds",
    "From the reading of a step's rows to the database's answer to its commit.",
    # 250 symbols take 0.2 s to 2 s; a step that waits for a vendor's rate limit takes longer.
    (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0),
    "phase",
)
COORDINATOR = _gauge("tickstock_jobs_coordinator", "1: this process coordinates runs; 0: it only does steps.")

# -- the fleet, exported by the active bridge --------------------------------------------------------------------------

LAG_TICKS = _gauge("tickstock_lag_ticks", "Ticks sent and not committed; NaN: unknown.", "partition")
LAG_SECONDS = _gauge(
    "tickstock_lag_seconds", "Age of the oldest uncommitted entry; 0: none waits; NaN: unknown.", "partition"
)
PARTITIONS = _gauge("tickstock_partitions", "Partitions of the stream.")
PARTITIONS_WITHOUT_OWNER = _gauge("tickstock_partitions_without_owner", "Partitions whose lease no worker holds.")
WORKERS = _gauge("tickstock_workers", "Workers that run.")
STREAM_ENTRIES = _gauge(
    "tickstock_stream_entries",
    "Entries in a partition's stream, including committed ones within the retention.",
    "partition",
)
RESULTS_ENTRIES = _gauge("tickstock_results_entries", "Entries in a partition's stream of results.", "partition")
FRONT_DOOR_ENTRIES = _gauge("tickstock_front_door_entries", "Entries in the plain key tickstock-stream.")
DEAD_LETTER_ENTRIES = _gauge("tickstock_dead_letter_entries", "Entries in tickstock-dlq; 100,000 are kept.")
OUTBOX_ROWS = _gauge("tickstock_outbox_rows", "Committed results that the bridge has not published yet.")
REDIS_MEMORY = _gauge("tickstock_redis_memory_bytes", "Memory that Redis uses; in a cluster, of the fullest server.")
REDIS_MAX_MEMORY = _gauge("tickstock_redis_max_memory_bytes", "maxmemory of the same server; 0: no limit.")
CHANNEL_RECEIVERS = _gauge(
    "tickstock_channel_receivers", "Subscribers that received a channel's last message.", "channel"
)
STALE_SYMBOLS = _gauge(
    "tickstock_stale_symbols", "Symbols with a bar in the last 8 hours, but none in the last 5 minutes."
)
ACTIVE_SYMBOLS = _gauge(
    "tickstock_active_symbols", "Symbols with a bar in the last 5 minutes, by the newest bar's time."
)
MARKET_OPEN = _gauge("tickstock_market_open", "1: the US stock market trades, by its calendar and the clock.")
FOREIGN_KEYS = _gauge(
    "tickstock_foreign_keys", "Our Redis keys that hold another type, because other programs use their names."
)
OPEN_GAPS = _gauge("tickstock_open_gaps", "Gaps of live feeds that are not repaired yet.")
JOBS_PROCESSES = _gauge("tickstock_jobs_processes", "Processes tickstock-jobs that run.")
JOBS_WAITING_STEPS = _gauge(
    "tickstock_jobs_waiting_steps", "Steps of runs in the stream tickstock-jobs: waiting, or being done."
)
RUN_STATUS = _gauge("tickstock_run_status", "1 for the status of the latest daily run, 0 for all others.", "status")
RUN_DURATION = _gauge(
    "tickstock_run_duration_seconds",
    "Duration of the latest daily run, until now if it is active; NaN: there was no run.",
)
RUN_STILL = _gauge(
    "tickstock_run_still_seconds",
    "Seconds since the active daily run, or any active job, last ended a step: the longer of both; 0: none is active.",
)
RUN_FAILED_SYMBOLS = _gauge("tickstock_run_failed_symbols", "Symbols that failed in the latest daily run.")
RUN_UNTOLD_MESSAGES = _gauge(
    "tickstock_run_untold_messages",
    "Messages of runs that the bridge has not published yet; the outbox's rows include them.",
)

# -- a producer --------------------------------------------------------------------------------------------------------

PRODUCER_TICKS = _counter("tickstock_producer_ticks_total", "Ticks that Redis accepted, each once.", "feed")
PRODUCER_FRAMES = _counter("tickstock_producer_frames_total", "Frames that Redis accepted, each once.", "feed")
PRODUCER_LAG = _gauge("tickstock_producer_lag_ticks", "Ticks sent or waiting to be sent, and not committed.", "feed")
PRODUCER_UP = _gauge("tickstock_producer_up", "1: the source is connected.", "feed")
SPOOL_BYTES = _gauge("tickstock_spool_bytes", "Ticks that wait on disk while Redis is away or full.")
SPOOL_DROPPED = _counter("tickstock_spool_dropped_ticks_total", "Ticks dropped because the spool was full.")
GAPS = _counter("tickstock_gaps_total", "Gaps: market times that a live feed may have missed.", "reason")

# -- an API ------------------------------------------------------------------------------------------------------------

REQUEST_DURATION = _histogram(
    "tickstock_request_duration_seconds",
    "From a request's arrival to the end of its answer; without streams of events.",
    # A call runs one short statement; the application waits 2 s for the answer.
    (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0),
    *("route", "method", "status"),
)
EVENT_CLIENTS = _gauge("tickstock_event_clients", "Connected clients of /events.")
EVENT_CLIENTS_DROPPED = _counter(
    "tickstock_event_clients_dropped_total", "Clients of /events that were disconnected or refused.", "reason"
)

# -- the metrics of each kind of process -------------------------------------------------------------------------------

COMMON: tuple[MetricWrapperBase, ...] = (BUILD, SERVER_UP, RECONNECTS)
WORKER: tuple[MetricWrapperBase, ...] = (
    TICKS_IN, TICKS_APPLIED, TICKS_DUPLICATE, TICKS_REPEATED, TICKS_LATE, TICKS_REJECTED, TICKS_SUPERSEDED,
    TICKS_WITHOUT_TRADE, TICKS_LOST, BARS_CLOSED, BARS_REVISED, PATTERNS_DETECTED, INDICATORS_CALCULATED,
    UNDETECTED_BARS, COMMIT_DURATION, COMMIT_TICKS, TICK_TO_COMMIT, PARTITIONS_OWNED, TAKEOVERS, COMMITS_FENCED, HOLES,
    DEAD_LETTERS, HISTORIES_DROPPED_EARLY,
)  # fmt: skip
JOBS: tuple[MetricWrapperBase, ...] = (RUN_STEPS, RUN_STEP_DURATION, COORDINATOR)
BRIDGE: tuple[MetricWrapperBase, ...] = (BRIDGE_ACTIVE, MESSAGES_PUBLISHED, BAR_CLOSE_TO_PUBLISH)
FLEET: tuple[MetricWrapperBase, ...] = (
    LAG_TICKS, LAG_SECONDS, PARTITIONS, PARTITIONS_WITHOUT_OWNER, WORKERS, STREAM_ENTRIES, RESULTS_ENTRIES,
    FRONT_DOOR_ENTRIES, DEAD_LETTER_ENTRIES, OUTBOX_ROWS, REDIS_MEMORY, REDIS_MAX_MEMORY, CHANNEL_RECEIVERS,
    STALE_SYMBOLS, ACTIVE_SYMBOLS, MARKET_OPEN, OPEN_GAPS, FOREIGN_KEYS, JOBS_PROCESSES, JOBS_WAITING_STEPS, RUN_STATUS,
    RUN_DURATION, RUN_STILL, RUN_FAILED_SYMBOLS, RUN_UNTOLD_MESSAGES,
)  # fmt: skip
PRODUCER: tuple[MetricWrapperBase, ...] = (
    PRODUCER_TICKS, PRODUCER_FRAMES, PRODUCER_LAG, PRODUCER_UP, SPOOL_BYTES, SPOOL_DROPPED, GAPS,
)  # fmt: skip
API: tuple[MetricWrapperBase, ...] = (REQUEST_DURATION, EVENT_CLIENTS, EVENT_CLIENTS_DROPPED)
ALL: tuple[MetricWrapperBase, ...] = (*COMMON, *WORKER, *JOBS, *BRIDGE, *FLEET, *PRODUCER, *API)


class FleetCollector(Collector):
    """The fleet's gauges, exported only while this process is the active bridge."""

    def __init__(self) -> None:
        self.are_shown = False

    def describe(self) -> Iterable[Metric]:
        """Return the gauges' names, exported or not: no other metric may use them."""
        return [metric for gauge in FLEET for metric in gauge.describe()]

    def collect(self) -> Iterable[Metric]:
        """Return the gauges, or nothing while this process is not the active bridge."""
        return [metric for gauge in FLEET for metric in gauge.collect()] if self.are_shown else []


FLEET_GAUGES = FleetCollector()
OF_KIND: dict[ProcessKind, tuple[Collector, ...]] = {
    "worker": (*COMMON, *WORKER),
    "producer": (*COMMON, *PRODUCER),
    "bridge": (*COMMON, *BRIDGE, FLEET_GAUGES),
    "jobs": (*COMMON, *JOBS),
    "api": (*COMMON, *API),
}


def count_gap(why: str) -> None:
    """Count a gap of a live feed; why: its reason."""
    GAPS.labels(gap_reasons.label_of(why) or OTHER).inc()


def dead_letter_reason(reason: str) -> str:
    """Return a dead letter's reason as a label."""
    return reason if reason in REASONS else OTHER


# Export these as 0 from the start, so that rate() sees the first event.
for _server in SERVERS:
    SERVER_UP.labels(_server)
    RECONNECTS.labels(_server)
for _reason in (*REASONS, OTHER):
    DEAD_LETTERS.labels(_reason)
for _reason in ("refused", "future"):
    TICKS_REJECTED.labels(_reason)
for _phase in ALL_PHASES:
    RUN_STEP_DURATION.labels(_phase)
    for _outcome in ("done", "failed", "redone"):
        RUN_STEPS.labels(_phase, _outcome)
for _status in STATUSES:
    RUN_STATUS.labels(_status)
for _reason in (*gap_reasons.LABELS, OTHER):
    GAPS.labels(_reason)
for _reason in ("slow", "too_many"):
    EVENT_CLIENTS_DROPPED.labels(_reason)
